"""Restrictions on data, as announcements carry them: an object, JSON in a text, or what Python's repr made of one.

Kafka-ML's own programs announce all three. They are compared by what they say, so each is brought into one form, JSON
text with its keys in order: two restrictions are deeply equal if, and only if, their texts are. Nothing is evaluated:
literals are read by the grammar below, and what it does not know is refused.

Numbers are equal by value, as 1 and 1.0 are; true is not 1. Where nothing is said (no value, null, an empty text) there
are none: {}.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import msgspec

from domain.streams.nesting import is_deep

MAX_DEPTH = 32
"""So deep restrictions may be nested, texts within texts counted as well."""
_WIDEST = 2**63
"""Whole numbers below are kept to the last digit."""

_encoder = msgspec.json.Encoder(order="deterministic")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      | (?P<number>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
      | (?P<name>None|True|False)
      | (?P<mark>[][{},:])
    )\s*""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_NAMES = {"None": None, "True": True, "False": False}
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}


class NoRestrictions(ValueError):
    """These restrictions say nothing that could be compared; the text says why, without quoting them."""


def canonical(announced: object) -> str:
    """What was announced (a value decoded from JSON) as JSON text, the same for all that is deeply equal.

    Raises `NoRestrictions`: neither JSON nor a Python literal, not a number that JSON can carry, too deep.
    """
    value = announced
    if isinstance(announced, str):
        value = _read(announced) if announced.strip() else None
    for _ in range(MAX_DEPTH):  # a text in a text
        if not isinstance(value, str):
            break
        try:
            inner = _read(value)
        except NoRestrictions:
            break
        if not isinstance(inner, dict | list | str):
            break  # "5" says "5", and not 5
        value = inner
    return _encoder.encode(_plain({} if value is None else value, MAX_DEPTH)).decode()


def _read(text: str) -> object:
    try:
        if not is_deep(text.encode()):
            return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        pass
    return _literal(text)


def _plain(value: object, depth: int) -> object:
    """As JSON has it, with each number in one form."""
    if depth == 0:
        raise NoRestrictions(f"they are nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        if not all(isinstance(name, str) for name in value):
            raise NoRestrictions("a name in them is no text")
        return {_sound(name): _plain(each, depth - 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth - 1) for each in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _sound(value)
    if isinstance(value, int | float):
        return _number(value)
    raise NoRestrictions(f"{type(value).__name__} is nothing that JSON can carry")


def _sound(text: str) -> str:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise NoRestrictions("they hold half a character")
    return text


def _number(value: float) -> float:
    """A whole number as int, as far as that is exact; others as float."""
    if isinstance(value, int):
        if -_WIDEST <= value < _WIDEST:
            return value
        try:
            wide = float(value)
        except OverflowError:
            wide = math.inf
        if wide != value:
            raise NoRestrictions("a number in them is too large")
        return wide
    if not math.isfinite(value):
        raise NoRestrictions("a number in them is too large")
    return int(value) if value.is_integer() and -_WIDEST <= value < _WIDEST else value


# Python's literals, as repr() writes what JSON can carry


def _literal(text: str) -> object:
    tokens = _tokens(text)
    value = _value(next(tokens), tokens, MAX_DEPTH)
    if next(tokens) != ("end", ""):
        raise _unreadable()
    return value


def _unreadable() -> NoRestrictions:
    return NoRestrictions("they are neither JSON nor a literal of Python")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of each, "end" at last."""
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _unreadable()
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()
    while True:
        yield "end", ""


def _value(token: tuple[str, str], tokens: Iterator[tuple[str, str]], depth: int) -> object:
    if depth == 0:
        raise NoRestrictions(f"they are nested deeper than {MAX_DEPTH}")
    match token:
        case "text", text:
            return _ESCAPE.sub(_unescaped, text[1:-1])
        case "number", text:
            return _of_digits(text)
        case "name", text:
            return _NAMES[text]
        case "mark", "[":
            return _several(tokens, depth)
        case "mark", "{":
            return _named(tokens, depth)
        case _:
            raise _unreadable()


def _of_digits(text: str) -> float:
    if text.lstrip("+-").isdigit():
        try:
            return int(text)
        except ValueError:
            raise NoRestrictions("a number in them is too large") from None
    return float(text)


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    if code is None:
        if found[4] not in _ESCAPED:
            raise _unreadable()
        return _ESCAPED[found[4]]
    if int(code, 16) > 0x10FFFF:
        raise _unreadable()
    return chr(int(code, 16))


def _several(tokens: Iterator[tuple[str, str]], depth: int) -> list[object]:
    found: list[object] = []
    token = next(tokens)
    while token != ("mark", "]"):
        found.append(_value(token, tokens, depth - 1))
        token = _after_one("]", tokens)
    return found


def _named(tokens: Iterator[tuple[str, str]], depth: int) -> dict[object, object]:
    found: dict[object, object] = {}
    token = next(tokens)
    while token != ("mark", "}"):
        name = _value(token, tokens, 1)
        if not isinstance(name, str):
            raise NoRestrictions("a name in them is no text")
        if next(tokens) != ("mark", ":"):
            raise _unreadable()
        found[name] = _value(next(tokens), tokens, depth - 1)
        token = _after_one("}", tokens)
    return found


def _after_one(end: str, tokens: Iterator[tuple[str, str]]) -> tuple[str, str]:
    """What follows an entry: the end, or behind a comma the next one."""
    token = next(tokens)
    if token == ("mark", ","):
        return next(tokens)
    if token != ("mark", end):
        raise _unreadable()
    return token
