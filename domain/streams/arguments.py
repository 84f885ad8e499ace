"""Arguments of `fit` and of its validation, as people write them: `epochs=5, shuffle=true`. Read, never evaluated."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

Argument: TypeAlias = "bool | int | float | str | None"
MAX_ARGUMENTS: Final = 100

_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,99}"
_ONE = re.compile(
    rf"""\s*(?P<name>{_NAME})\s*=\s*
    (?P<value>"[^"\\]*"|'[^'\\]*'|[^\s,'"=]+)
    \s*(?:,|$)""",
    re.VERBOSE,
)
_WORDS: dict[str, Argument] = {"true": True, "false": False, "none": None, "null": None}
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?")


def arguments_of(text: str) -> dict[str, Argument]:
    """Name -> literal: a number, true, false, none, or text in quotes. Raises ValueError with what is wrong."""
    found: dict[str, Argument] = {}
    rest = text.strip()
    while rest:
        one = _ONE.match(rest)
        if one is None:
            raise ValueError(f"{_start(rest)} is not `name=value`, with commas between several of them")
        name = one["name"]
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = _literal(name, one["value"])
        if len(found) > MAX_ARGUMENTS:
            raise ValueError(f"there are more than {MAX_ARGUMENTS} arguments")
        rest = rest[one.end() :]
    return found


def _literal(name: str, text: str) -> Argument:
    if text[0] in "\"'":
        return text[1:-1]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    raise ValueError(f"{name}={text[:40]}: the value is a number, true, false, none, or text in quotes")


def _start(text: str) -> str:
    return f"`{text[:40]}`"
