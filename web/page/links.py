"""Addresses of pages with what is asked for: what is empty is left out."""

from __future__ import annotations

from urllib.parse import urlencode


def href(path: str, **query: str | None) -> str:
    asked = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(asked)}" if asked else path
