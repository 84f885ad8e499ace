"""Others' text before people: what would steer a terminal, reorder the line or hide is made visible, and has an end.

The one home of it, for both command lines, for the agent's notices, and for what a hook says of itself and others.
Names, notes, reasons, descriptions, log texts and problems come from other people; a terminal obeys escape sequences
in them, and a reader believes a line that was reordered. Tables: listing.py.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

MAX_CELL = 500
"""Characters of one cell of a table."""
MAX_LINE = 20_000
"""Characters of one line."""
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
"""Categories of Unicode: controls, format characters (bidi, zero width), surrogates, unassigned, line separators."""


def shown(text: str, at_most: int = MAX_CELL, *, lines: bool = False) -> str:
    """The text as it may be put before people. lines: its line breaks and tabs stay."""
    begin = text[:at_most]  # nobody waits until a text of millions is made visible
    plain = begin if begin.isascii() and begin.isprintable() else "".join(_visible(one, lines=lines) for one in begin)
    more = len(plain) - at_most + len(text) - len(begin)
    return f"{plain[:at_most]}… ({more} characters more)" if more > 0 else plain


def _visible(character: str, *, lines: bool) -> str:
    if unicodedata.category(character) not in HIDDEN or (lines and character in "\n\t"):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Plain:
    """A stream that lets through nothing that steers a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        lines = text.split("\n")
        self.raw.write("\n".join(shown(line, MAX_LINE, lines=True) for line in lines))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def plain_output() -> Iterator[None]:
    """For the block whatever is printed is made visible. Tables go by `terminal`, which writes escapes of its own."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Plain(sys.stdout), Plain(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
