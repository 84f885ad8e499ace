"""Others' text at a terminal: nothing that steers it, no markup, and an end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from controller.cli_common import table_of
from controller.shown import Plain, shown

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
    table = table_of("site", "notes")
    table.add_row(text, text)
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True).print(table)
    assert out.getvalue().count(seen) == 2
    assert "\x1b[2J" not in out.getvalue()
    assert "\x1b]" not in out.getvalue()
    printed = io.StringIO()
    print(f"fedyard-site: {text}", file=Plain(printed))  # type: ignore[type-var]
    assert not set(printed.getvalue()) & set("\x1b\x9b\x07\r\u202e\u200b\u2028\udcff")
    printed.getvalue().encode()


def test_no_text_fills_the_screen() -> None:
    assert shown("x" * 10_000) == "x" * 500 + "… (9500 characters more)"
    assert len(shown("\x1b" * 10_000)) < 600


def test_lines_of_ones_own_stay() -> None:
    printed = io.StringIO()
    print("one\n  two\tthree", file=Plain(printed))  # type: ignore[type-var]
    assert printed.getvalue() == "one\n  two\tthree\n"
