"""The templates that both faces are made of: the hub's page and the site's portal.

What others wrote is text: everything that a template shows is escaped, and what it forgot to be given is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fedyard.look.assets import assets
from fedyard.look.drawing.figures import figures
from fedyard.look.filters import FILTERS
from fedyard.look.states import tone_of
from fedyard.wire.version import __version__

TEMPLATES = Path(__file__).parent / "templates"
WHERE = "/static"
"""Below it the app serves what `assets()` has."""


DEFAULTS: Mapping[str, object] = {
    "nav": (),
    "who": None,
    "place": "",
    "home": "/",
    "csrf": "",
    "key": "",
    "said": None,
    "problem": None,
    "now": None,
    "form": None,
    "docs_href": "",
    "account_href": "",
    "sign_out_href": "",
}
"""What every page may be given, and is empty where it is not. who: has `name` and `role`. place: the hub or site that
this is, said in the title. said: has `tone` and `text`: what the last action came to. problem: has `title` and
`detail`. csrf, key: of the page's forms."""


@dataclass(frozen=True)
class NavItem:
    """One way on. count: of what needs somebody there, if that is known."""

    href: str
    word: str
    current: bool = False
    count: int | None = None
    group: str = ""
    """Under which heading it stands."""


def environment(templates: Sequence[Path]) -> Environment:
    """templates: folders of the face's own, which are looked through before those that both have."""
    made = Environment(
        loader=FileSystemLoader([*templates, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        auto_reload=False,
        cache_size=-1,
    )
    made.filters.update(FILTERS)
    made.globals.update(DEFAULTS, asset=asset, version=__version__, tone_of=tone_of, figures=figures)
    made.globals["parts"] = made.get_template("parts.html").module
    return made


@functools.cache
def asset(name: str) -> str:
    """Where a file that pages load is served. Raises `KeyError` if there is none of this name."""
    return f"{WHERE}/{assets()[name].name}"
