"""Forms that ask for a page: what a browser sends of them as they stand is taken, empty choices with the rest."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from tests.page.goldens import FOLDER
from web.page import table

FORM = re.compile(r"<form\b.*?</form>", re.DOTALL)
"""Nothing else of a page is parsed, for this is done by whoever collects the tests."""
SHOWN = {one.path: one for noun in table.NOUNS for one in noun.OPERATIONS if one.method == "GET"}


class Asking(HTMLParser):
    """asked: of each form with method GET, where it leads and what it sends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._open = False
        self._choice = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = found.get("method", "get").lower() == "get"
            if self._open:
                self.asked.append((found["action"], {}))
        elif self._open and tag == "input" and "name" in found and found.get("type") != "checkbox":
            self.asked[-1][1][found["name"]] = found.get("value", "")
        elif self._open and tag == "select":
            assert "required" not in found
            self._choice = found["name"]
        elif self._open and tag == "option":
            sent = self.asked[-1][1]
            if self._choice not in sent or "selected" in found:
                sent[self._choice] = found["value"]

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "form"


FORMS = sorted(
    {
        (action.partition("?")[0], tuple(sent.items()))
        for file in FOLDER.glob("*.html")
        for form in FORM.findall(file.read_text(encoding="utf-8"))
        for action, sent in Asking(form).asked
    }
)


def test_there_are_such_forms() -> None:
    assert {"/page/runs", "/page/sites", "/page/projects"} <= {action for action, _ in FORMS}


@pytest.mark.parametrize(("action", "sent"), FORMS)
def test_what_a_form_sends_as_it_stands_is_taken(action: str, sent: tuple[tuple[str, str], ...]) -> None:
    [kind] = [one.query for path, one in SHOWN.items() if re.fullmatch(re.sub(r"{\w+}", "[0-9a-f-]{36}", path), action)]
    for empty in (False, True):
        msgspec.convert(
            {name: "" if empty and _may_be(name, kind) else value for name, value in sent}, kind, strict=False
        )


def _may_be(name: str, kind: type[msgspec.Struct]) -> bool:
    return next(one.default for one in msgspec.structs.fields(kind) if one.name == name) == ""
