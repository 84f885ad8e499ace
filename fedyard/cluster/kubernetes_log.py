"""A log of Kubernetes from a byte on: pure.

The API counts lines from the end and seconds, not bytes. Read with the times of its lines, a log tells at which byte a
second begins; whoever goes on there later asks from that second on alone, instead of from the first byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d) ")
MAX_STAMP: Final = 64


class Mark(NamedTuple):
    """The line that begins at `byte` is the first of second `since` (RFC 3339); empty: of the log."""

    byte: int = 0
    since: str = ""


def read(pieces: Iterable[bytes], mark: Mark, *, after: int, most: int) -> tuple[bytes, Mark]:
    """What stands from byte `after` on, so many bytes at most, and where to go on.

    pieces: of the log with times, from the mark's second on; no more of them is taken than needed.
    """
    kept, byte, rest, begins = bytearray(), mark.byte, b"", True
    for piece in pieces:
        rest += piece
        at = 0
        while at < len(rest):
            if begins:
                stamp = _STAMP.match(rest, at)
                if stamp is None and b"\n" not in rest[at:] and len(rest) - at < MAX_STAMP:
                    break  # not all of it has come
                if stamp is not None:
                    since = (stamp[1] + stamp[2]).decode()
                    mark = Mark(byte, since) if since != mark.since else mark
                    at = stamp.end()
                begins = False
            newline = rest.find(b"\n", at)
            end = len(rest) if newline < 0 else newline + 1
            kept += rest[at + min(max(after - byte, 0), end - at) : end]
            byte, at, begins = byte + end - at, end, newline >= 0
            if len(kept) >= most:
                return bytes(kept[:most]), mark
        rest = rest[at:]
    return bytes(kept), mark
