"""Where one is led after signing in, or after an action: to pages of this hub alone, whatever a link or a form says."""

from __future__ import annotations

import re

from web.page.rendering import WHERE

HOME = f"{WHERE}/now"
"""Where one comes who wanted to go nowhere in particular."""
_MAX_LENGTH = 2000
_ELSEWHERE = re.compile(r"//|[\\{}]|/(?:\.|%2e)", re.IGNORECASE)
"""A browser goes up for each dot between slashes, however it is written: to what else the host has."""


def place(where: str, otherwise: str = HOME) -> str:
    """Where one wants to go, if that is a page of ours."""
    ours = where.startswith(f"{WHERE}/") and len(where) <= _MAX_LENGTH and where.isascii() and where.isprintable()
    return where if ours and not _ELSEWHERE.search(where) else otherwise
