"""How deep JSON is nested, before anybody reads it.

Where a reader's stack ends is another number in every process, and within one: what is understood where rows are asked
for may be too deep where it is decided. So there is a bound of our own, far below any stack's.
"""

from __future__ import annotations

import re

MAX_DEPTH = 64
_MARK = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)|[][{}]', re.DOTALL)
"""A text, or where a level begins or ends."""


def is_deep(content: bytes) -> bool:
    """Is it deeper than MAX_DEPTH? What is no JSON may be either."""
    if content.count(b"[") + content.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for found in _MARK.finditer(content):
        depth += (found[0] in (b"[", b"{")) - (found[0] in (b"]", b"}"))
        if depth > MAX_DEPTH:
            return True
    return False
