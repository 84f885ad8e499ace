"""Addresses of pages with what is asked for, and times as forms send them."""

from __future__ import annotations

from urllib.parse import urlencode


def href(path: str, **query: str | None) -> str:
    """What is empty is left out."""
    asked = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(asked)}" if asked else path


def next_page(path: str, cursor: str | None, **query: str | None) -> str:
    """Where a list goes on; empty at its end."""
    return "" if cursor is None else href(path, **query, after=cursor)


_TO_THE_MINUTE = len("2027-01-01T00:00")


def utc_text(local: str) -> str:
    """A `datetime-local` field's value, which is meant in UTC, as RFC 3339; what is none stays none."""
    return f"{local}:00Z" if len(local) == _TO_THE_MINUTE else f"{local}Z"
