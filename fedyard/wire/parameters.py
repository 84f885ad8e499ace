"""What a task's parameters may hold. The hub asks it of who writes them, and a site of what the hub shows it.

What `check_written` lets pass, `check_shown` lets pass: otherwise a project could be made that no site can read.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from fedyard.wire.shown import shown

MAX_NESTED = 32
"""Levels: far above anybody's need, far below what a parser's stack holds."""
MAX_VALUES = 100_000
"""However they are nested."""
MAX_NAME = 200
NAME_SHOWN = 40
MAX_TEXT = 65_536
"""Characters of one text."""


def check_depth(parameters: object) -> None:
    """Raises `ValueError` for what is nested too deep."""
    for _ in _levels(parameters):
        pass


def check_shown(parameters: object) -> None:
    """Raises `ValueError` for what a task cannot be handed: integers over 64 bits, too deep or too many values."""
    count = 0
    for level in _levels(parameters):
        count += len(level)
        _check_count(count)
        if any(isinstance(part, int) and not _has_64_bits(part) for part in level):
            raise ValueError("parameters hold an integer that has no 64 bits")


def check_written(parameters: dict[str, object]) -> None:
    """Raises `ValueError` with the path of the first value that not every site could be handed; never with the value.

    For what callers write. What is stored was checked then, or is from before, and must stay readable.
    """
    count = 0
    waiting: list[tuple[str, object]] = [("parameters", parameters)]
    while waiting:
        path, value = waiting.pop()
        count += len(_parts(value))
        _check_count(count)
        if isinstance(value, dict):
            for name in value:
                if not (isinstance(name, str) and len(name) <= MAX_NAME and _is_unicode(name)):
                    raise ValueError(f"{path}: a name in it is longer than {MAX_NAME} characters, or no Unicode")
            waiting += ((f"{path}.{shown(name, NAME_SHOWN)}", part) for name, part in value.items())
        elif isinstance(value, list):
            waiting += ((f"{path}[{place}]", part) for place, part in enumerate(value))
        elif isinstance(value, str):
            if len(value) > MAX_TEXT or not _is_unicode(value):
                raise ValueError(f"{path}: a text longer than {MAX_TEXT} characters, or no Unicode")
        elif isinstance(value, int):
            if not _has_64_bits(value):
                raise ValueError(f"{path}: a whole number beyond 64 bits; send it as text or as a float")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{path}: not a finite number")


def _check_count(count: int) -> None:
    if count > MAX_VALUES:
        raise ValueError(f"parameters hold more than {MAX_VALUES} values; large things travel as artifacts")


def _levels(whole: object) -> Iterator[list[object]]:
    """What lies at each level. Raises `ValueError` for what is nested too deep."""
    level = list(_parts(whole))
    for _ in range(MAX_NESTED):
        if not level:
            return
        yield level
        level = [part for each in level for part in _parts(each)]
    if level:
        raise ValueError(f"parameters may be nested {MAX_NESTED} levels deep")


def _parts(whole: object) -> Collection[object]:
    """What an array or an object holds."""
    if isinstance(whole, dict):
        return whole.values()
    return whole if isinstance(whole, list) else ()


def _has_64_bits(number: int) -> bool:
    return -(2**63) <= number < 2**64


def _is_unicode(text: str) -> bool:
    """False for lone surrogates, which no encoding carries."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)
