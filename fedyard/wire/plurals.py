"""How many of what, as people say it: 1 seat, 2 seats."""

from __future__ import annotations


def counted(count: int, one: str, more: str = "") -> str:
    """The number with its noun, and a verb where one follows. more: of any other number than one; `one` and an s."""
    return f"{count} {one if count == 1 else more or one + 's'}"
