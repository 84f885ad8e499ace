"""Forms as people fill them in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedyard.look.forms import Form
from web.page.wizard_steps import first_form


def typed(values: Mapping[str, str | Sequence[str]], into: Form | None = None) -> Form:
    """The form with these values typed into it; without one, into the wizard's first."""
    form = first_form() if into is None else into
    lists = {name: [value] if isinstance(value, str) else list(value) for name, value in values.items()}
    return Form({**form.values, **lists})
