"""Others' text at a terminal: nothing that steers it, no markup, and an end."""

from __future__ import annotations

import io
import re
import time
from datetime import UTC, datetime

import pytest
from rich.console import Console

from fedyard.actions.why import WaitsFor, Why
from fedyard.cli.listing import Listing
from fedyard.client.errors import Refused
from fedyard.python.runs import LogLine
from fedyard.wire.answers import Problem
from fedyard.wire.shown import MAX_LINE, Plain, shown
from tests.ops.program import ROOT

ODD = [
    ("Ward [/b]", "Ward [/b]"),
    ("[link=file:///etc/passwd]x[/link]", "[link=file:///etc/passwd]x[/link]"),
    ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    ("\x1b[2Jgone", "\\x1b[2Jgone"),
    ("a\x9b31mb", "a\\x9b31mb"),
    ("a\nb\rc\td", "a\\x0ab\\x0dc\\x09d"),
    ("abc\u202edef", "abc\\u202edef"),
    ("Os\u200blo", "Os\\u200blo"),
    ("x\u2028y", "x\\u2028y"),
    ("\udcff", "\\udcff"),
    ("Tromsø 京都 ελ", "Tromsø 京都 ελ"),
]


@pytest.mark.parametrize(("text", "seen"), ODD)
def test_others_text_is_shown_as_it_is(text: str, seen: str) -> None:
    assert shown(text) == seen
    table = Listing("site", "notes")
    table.add_row(text, text)
    out = io.StringIO()
    table.print(Console(file=out, width=200, force_terminal=True, no_color=True))
    assert out.getvalue().count(seen) == 2
    assert "\x1b[2J" not in out.getvalue()
    assert "\x1b]" not in out.getvalue()
    printed = io.StringIO()
    print(f"fedyard: {text}", file=Plain(printed))  # type: ignore[type-var]
    assert not set(printed.getvalue()) & set("\x1b\x9b\x07\r\u202e\u200b\u2028\udcff")
    printed.getvalue().encode()


def test_no_text_fills_the_screen() -> None:
    assert shown("x" * 10_000) == "x" * 500 + "… (9500 characters more)"
    assert len(shown("\x1b" * 10_000)) < 600


def test_a_line_of_a_hundred_million_characters_holds_nobody_up() -> None:
    out, begun = io.StringIO(), time.process_time()
    print("\x00" * 100_000_000, file=Plain(out))  # type: ignore[type-var]
    assert len(out.getvalue()) < 2 * MAX_LINE
    assert time.process_time() - begun < 5, "the cost is that of what is shown, not of what there is"


def test_nobody_else_has_rules_of_his_own() -> None:
    """Whether a character may be seen is asked in one place; a check of a name refuses, and replaces nothing."""
    replaces = re.compile(r"isprintable\(\) else|unicode_escape|category\(.*\belse\b")
    sources = [path for part in ("fedyard", "ops", "demo") for path in (ROOT / part).rglob("*.py")]
    found = [path.relative_to(ROOT).as_posix() for path in sources if replaces.search(path.read_text("utf-8"))]
    assert found == ["fedyard/wire/shown.py"]


def test_lines_of_ones_own_stay() -> None:
    printed = io.StringIO()
    print("one\n  two\tthree", file=Plain(printed))  # type: ignore[type-var]
    assert printed.getvalue() == "one\n  two\tthree\n"


STEERING = "\x1b]0;x\x07\u202ey"


@pytest.mark.parametrize(
    "what",
    [
        Why(
            run_id="r",
            state="failed",
            sentence=STEERING,
            cause=None,
            waits=[WaitsFor("t", 1, "selecting", [("s", STEERING, "ready")], 0, 1, None, "fails")],
            requests_waiting=0,
            lines=[STEERING],
        ),
        LogLine(at=datetime(2026, 3, 1, tzinfo=UTC), site=STEERING, task="t", round=1, text=STEERING),
        Refused("GET /v1/me", 403, Problem(type="about:blank", title=STEERING, status=403)),
    ],
    ids=lambda what: type(what).__name__,
)
def test_what_people_print_in_python_steers_no_terminal(what: object) -> None:
    text = str(what)
    assert "\\x1b" in text
    assert "\\u202e" in text
    assert all(line.isprintable() for line in text.split("\n"))
