"""What a body may have where somebody sent something else, for the sentence that refuses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from msgspec import inspect

MAX_NAMES = 30
"""Of longer lists nothing is said."""
_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `([^`]*)`)?", re.DOTALL)
_NO_VALUE = re.compile(r"Invalid enum value(?: - at `([^`]*)`)?")
_STEP = re.compile(r"\.([A-Za-z_0-9]+)|(\[[^\]]*\])")


def expected(kind: Any, rule: str) -> str:
    """What belongs behind msgspec's sentence; empty if there is nothing to say. Nothing that was sent is in it."""
    if unknown := _UNKNOWN.fullmatch(rule):
        names = _fields(kind, unknown[2] or "$")
        close = get_close_matches(unknown[1][:100], names, n=1)
        return f"; is it {close[0]}?" if close else _listed("; there are", names)
    if no_value := _NO_VALUE.fullmatch(rule):
        return _listed("; it is one of", _values(kind, no_value[1] or "$"))
    return ""


def _listed(what: str, names: tuple[str, ...]) -> str:
    return f"{what} {', '.join(names)}" if 0 < len(names) <= MAX_NAMES else ""


@cache
def _fields(kind: Any, path: str) -> tuple[str, ...]:
    found = [one for one in _at(kind, path) if isinstance(one, inspect.StructType)]
    return tuple(sorted({field.encode_name for one in found for field in one.fields}))


@cache
def _values(kind: Any, path: str) -> tuple[str, ...]:
    values: list[object] = []
    for one in _at(kind, path):
        if isinstance(one, inspect.EnumType):
            values += [each.value for each in one.cls]
        elif isinstance(one, inspect.LiteralType):
            values += one.values
    return tuple(sorted(map(str, values)))


def _at(kind: Any, path: str) -> list[inspect.Type]:
    """The types that are allowed at a path as msgspec writes it: `$.contract`, `$.items[...].name`."""
    found = list(_alternatives(inspect.type_info(kind)))
    for name, _ in _STEP.findall(path):
        found = [each for one in found for below in _below(one, name) for each in _alternatives(below)]
    return found


def _below(one: inspect.Type, name: str) -> Iterator[inspect.Type]:
    """name: of a field; empty: an item."""
    match one:
        case inspect.StructType():
            yield from (field.type for field in one.fields if field.encode_name == name)
        case inspect.DictType():
            yield one.value_type
        case inspect.ListType() | inspect.VarTupleType():
            yield one.item_type
        case _:
            return


def _alternatives(one: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(one, inspect.Metadata):
        yield from _alternatives(one.type)
    elif isinstance(one, inspect.UnionType):
        for each in one.types:
            yield from _alternatives(each)
    else:
        yield one
