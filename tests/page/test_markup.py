"""What holds of every page's HTML, read from the golden files: nothing inline, plain forms, tables with captions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.page.goldens import path_of
from tests.page.scenes import EVIL
from tests.page.views import VIEWS, View

ROOT = Path(__file__).resolve().parent.parent.parent
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
MARKUP_IS_MADE_IN = ("fedyard/look/drawing/", "fedyard/look/rendering.py", "fedyard/look/filters.py")


class Element:
    """One start tag, and those around it."""

    def __init__(self, tag: str, attributes: dict[str, str], within: tuple[Element, ...]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.within = within
        self.children: list[str] = []

    def __repr__(self) -> str:
        return f"<{self.tag} {self.attributes}>"


class Reading(HTMLParser):
    """A page's elements in their order. unclosed: those that nothing closes, and what closes nothing."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.unclosed: list[str] = []
        self._open: list[Element] = []
        self.feed(text)
        self.unclosed += [repr(one) for one in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = self._add(tag, attrs)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1].tag == tag:
            self._open.pop()
        else:
            self.unclosed.append(f"</{tag}> in {self._open[-1] if self._open else 'nothing'}")

    def _add(self, tag: str, attrs: list[tuple[str, str | None]]) -> Element:
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(self._open))
        if self._open:
            self._open[-1].children.append(tag)
        self.elements.append(element)
        return element


@pytest.fixture(params=VIEWS, ids=lambda view: view.name)
def page(request: pytest.FixtureRequest) -> Reading:
    view: View = request.param
    return Reading(path_of(view).read_text(encoding="utf-8"))


def test_a_page_is_well_formed_and_obeys_its_policy(page: Reading) -> None:
    """Whatever is inline, the browser refuses: it would be missing and nobody would see why."""
    assert page.unclosed == []
    assert [one for one in page.elements for name in one.attributes if name == "style" or name.startswith("on")] == []
    assert [one for one in page.elements if one.tag in ("style", "iframe", "object", "embed", "base")] == []
    assert [one for one in page.elements if one.tag == "script" and not one.attributes.get("src")] == []
    leads = [one.attributes.get(name, "") for one in page.elements for name in ("href", "src", "action", "hx-get")]
    assert [lead for lead in leads if not re.match(r"(?:/(?!/)|#|\?|https://|data:image/|$)", lead)] == []
    ids = Counter(one.attributes["id"] for one in page.elements if "id" in one.attributes)
    assert [ident for ident, count in ids.items() if count > 1] == []


def test_a_page_can_be_read_aloud(page: Reading) -> None:
    tags = Counter(one.tag for one in page.elements if all(around.tag != "svg" for around in one.within))
    assert (tags["h1"], tags["main"], tags["title"]) == (1, 1, 1)
    assert [one.attributes.get("lang") for one in page.elements if one.tag == "html"] == ["en"]
    assert [one for one in page.elements if one.tag == "table" and one.children[:1] != ["caption"]] == []
    assert len([one for one in page.elements if one.attributes.get("role") == "status"]) == 1
    assert [one for one in page.elements if one.attributes.get("tabindex", "0") not in ("0", "-1")] == []


def test_forms_work_without_a_script(page: Reading) -> None:
    """They are sent somewhere, with what proves the session; and every button is in one."""
    forms = [one for one in page.elements if one.tag == "form"]
    assert [one for one in forms if not one.attributes.get("action") or "method" not in one.attributes] == []
    posts = [one for one in forms if one.attributes["method"].lower() == "post"]
    proving = [one.within for one in page.elements if one.attributes.get("name") == "_csrf"]
    sign_in = [one for one in posts if one.attributes["action"].startswith("/page/sign-in")]
    unproved = [form for form in posts if not any(form in within for within in proving) and form not in sign_in]
    assert unproved == []
    sends = [one for one in page.elements if one.tag == "button" and one.attributes.get("type") != "button"]
    assert [
        one for one in sends if not any(around.tag == "form" for around in one.within) and "form" not in one.attributes
    ] == []


def test_text_of_others_is_escaped_by_jinja_alone() -> None:
    """Nobody else says that something is markup already."""
    said = re.compile(r"\bMarkup\b|\|\s*safe\b|autoescape")
    found = [
        f"{name}:{number}"
        for path in _sources()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if said.search(line) and not (name := path.relative_to(ROOT).as_posix()).startswith(MARKUP_IS_MADE_IN)
    ]
    assert found == []


def test_what_is_hostile_would_be_noticed() -> None:
    assert [one.tag for one in Reading(f'<p title="{EVIL}">').elements] == ["p", "img"]


def _sources() -> Iterator[Path]:
    for room in ("fedyard/look", "fedyard/portal", "web/page"):
        for pattern in ("*.py", "*.html"):
            yield from (ROOT / room).rglob(pattern)
