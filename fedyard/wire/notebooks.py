"""Values as HTML for notebooks (`_repr_html_`). Others' text is escaped, and made visible as everywhere (shown.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from fedyard.wire.shown import shown

MAX_ROWS = 200
"""Of one table; what is beyond is counted."""
MAX_WORDS = 8
"""Of a list or a mapping within a cell."""
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


def escaped(text: str) -> str:
    """As text of a document, and as the value of an attribute."""
    return shown(text).translate(_ESCAPES)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> str:
    """A table of values; each is escaped here."""
    said = f"<caption>{escaped(caption)}</caption>" if caption else ""
    head = "".join(f"<th>{escaped(one)}</th>" for one in headings)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows[:MAX_ROWS])
    more = f"<p>and {len(rows) - MAX_ROWS} more</p>" if len(rows) > MAX_ROWS else ""
    return f"<table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def struct_html(value: msgspec.Struct) -> str:
    """One value with its fields; of a class that hides some of them (it has a `__repr__` of its own) what that says."""
    if _hides(value):
        return f"<pre>{escaped(repr(value))}</pre>"
    rows = [(name, getattr(value, name)) for name in value.__struct_fields__]
    return table(("", type(value).__name__), rows)


def list_html(items: Sequence[object]) -> str:
    """A list of values of one kind, a row each."""
    if not items:
        return "<p>nothing</p>"
    first = items[0]
    if not isinstance(first, msgspec.Struct) or _hides(first):
        return table(("",), [(one if isinstance(one, str) else repr(one),) for one in items])
    names = first.__struct_fields__
    return table(names, [[getattr(one, name, None) for name in names] for one in items])


def _hides(value: msgspec.Struct) -> bool:
    return type(value).__repr__ is not msgspec.Struct.__repr__


def _cell(value: object) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    style = ' style="text-align: right"' if number else ""
    return f"<td{style}>{escaped(text_of(value))}</td>"


def text_of(value: object) -> str:
    """A value in a cell, in short."""
    found = str(value)
    if value is None or value is msgspec.UNSET:
        found = ""
    elif isinstance(value, float):
        found = f"{value:.6g}"
    elif isinstance(value, datetime):
        found = value.isoformat(" ", "seconds")
    elif isinstance(value, bytes | msgspec.Raw):
        found = f"{len(bytes(value))} bytes"
    elif isinstance(value, Mapping):
        found = _some([f"{name}: {text_of(one)}" for name, one in value.items()])
    elif isinstance(value, list | tuple):
        found = _some(map(text_of, value))
    elif isinstance(value, msgspec.Struct):
        found = repr(value) if _hides(value) else str(getattr(value, "name", type(value).__name__))
    return found


def _some(words: Iterable[str]) -> str:
    every = list(words)
    more = f" and {len(every) - MAX_WORDS} more" if len(every) > MAX_WORDS else ""
    return ", ".join(every[:MAX_WORDS]) + more
