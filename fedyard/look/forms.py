"""What a form of a page shows: what was typed before, what is wrong with it, and what it sends besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_STEPS = 12
"""Of a field's name between dots: deeper than any body of ours."""
MAX_PLACE_DIGITS = 6


@dataclass(frozen=True)
class Form:
    """values: by field name, what was typed, or what a form begins with. errors: by field name, a sentence.

    A field inside of another is named with dots: `contract.quorum`, `tasks.0.rounds`.
    """

    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Form({', '.join(sorted(self.values))})"  # what is typed may be a secret

    @classmethod
    def of(cls, **values: object) -> Form:
        """A form that begins with these values; a list for a field with several."""
        return cls({name: _texts(value) for name, value in values.items()})

    def value(self, name: str, default: str = "") -> str:
        """The first value of a field, as text."""
        found = self.values.get(name)
        return found[0] if found else default

    def all(self, name: str) -> Sequence[str]:
        """Every value of a field."""
        return self.values.get(name, ())

    def has(self, name: str, value: str) -> bool:
        """Is it one of the field's values? What a box or a choice that is marked sends."""
        return value in self.values.get(name, ())

    def error(self, name: str) -> str:
        """What is wrong with a field; empty if nothing is."""
        return self.errors.get(name, "")

    @property
    def first_wrong(self) -> str:
        """The field to begin with for who has to mend it; empty if nothing is wrong."""
        return next(iter(self.errors), "")

    def with_error(self, name: str, sentence: str) -> Form:
        """The same, shown again with what is wrong."""
        return Form(self.values, {**self.errors, name: sentence})

    def body(self, *names: str) -> dict[str, Any]:
        """Values as a body has them: fields with dots are nested, numbers between dots are places in a list.

        names: only these fields, and those inside of them; all, if none is named. Fields that begin with `_` are the
        form's own. A field that was left empty is left out, as is one that lies deeper than `MAX_STEPS`; with several
        values it is a list.
        """
        found: dict[str, Any] = {}
        for name, values in self.values.items():
            wanted = not names or name in names or any(name.startswith(f"{one}.") for one in names)
            filled = [value for value in values if value.strip()]
            steps = name.split(".", MAX_STEPS)
            if wanted and filled and len(steps) <= MAX_STEPS and not name.startswith("_"):
                _put(found, steps, filled[0] if len(filled) == 1 else list(filled))
        return {name: _listed(value) for name, value in found.items()}


def is_place(step: str) -> bool:
    """Is it a place in a list, between dots? A number of more digits is a name like any other."""
    return step.isdecimal() and len(step) <= MAX_PLACE_DIGITS


def _texts(value: object) -> Sequence[str]:
    if isinstance(value, (list, tuple)):
        return [str(one) for one in value]
    return [] if value is None else [str(value)]


def _put(into: dict[str, Any], steps: Sequence[str], value: object) -> None:
    """A name that is both a field and a field with others inside keeps what came first."""
    *before, last = steps
    for step in before:
        inside = into.setdefault(step, {})
        if not isinstance(inside, dict):
            return
        into = inside
    into.setdefault(last, value)


def _listed(value: Any) -> Any:
    """Objects whose every name is a number become lists, in the order of these."""
    if not isinstance(value, dict):
        return value
    made = {name: _listed(one) for name, one in value.items()}
    if made and all(map(is_place, made)):
        return [made[name] for name in sorted(made, key=int)]
    return made
