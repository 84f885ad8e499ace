"""Bytes on their way through the web: how many at once, which of them, and in blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

from flask import Request

from domain.values import Subject
from fedyard.wire.chunks import CHUNK_BYTES, Chunk
from fedyard.wire.problems import ProblemType
from storage.blobs.port import INTAKE_BYTES, StorageFull, StorageUnavailable
from web.live.shares import Places
from web.problems import Refused, busy

AGAIN_S = 2.0

Direction = Literal["in", "out"]
_WAYS: dict[Direction, str] = {"in": "could not be written", "out": "could not be read"}
Outcome = Literal["whole", "cut", "refused", "failed", "no_place"]
"""whole: all that was announced or asked for. cut: the other side went away. refused: the caller's fault. failed: ours,
or the store's."""


@dataclass
class Place:
    """One transfer. outcome: cut, until more is known."""

    direction: Direction
    outcome: Outcome = "cut"


class Transfers:
    """The places for transfers; each holds a thread for as long as the other side takes. What they did is counted.

    each: of one subject at once. occupied: told whenever one begins.
    """

    def __init__(self, cap: int, occupied: Callable[[], None] = lambda: None, each: int | None = None) -> None:
        self._places = Places("transfers", cap, cap if each is None else each, lambda: _too_many(cap))
        self._occupied = occupied
        self._lock = threading.Lock()
        self._failing: dict[Direction, str] = {}
        self.under_way: dict[Direction, int] = dict.fromkeys(get_args(Direction), 0)
        self.moved_bytes: dict[Direction, int] = dict.fromkeys(get_args(Direction), 0)
        self.ended: dict[tuple[Direction, Outcome], int] = {
            (direction, outcome): 0 for direction in get_args(Direction) for outcome in get_args(Outcome)
        }

    def trouble(self) -> str | None:
        """What the store said when the last transfer in or out failed; None once one was whole."""
        said = [f"the last chunk {_WAYS[way]}: {text}" for way, text in sorted(self._failing.items())]
        return "; ".join(said) or None

    @property
    def refused(self) -> int:
        """Those refused with 429: their subject's share was taken."""
        return self._places.refused

    @contextmanager
    def place(self, direction: Direction, by: Subject) -> Iterator[Place]:
        """Raises 429 if the subject has its share, 503 if no place is free."""
        try:
            self._places.enter(by)
        except Refused:
            with self._lock:
                self.ended[direction, "no_place"] += 1
            raise
        with self._lock:
            self.under_way[direction] += 1
        self._occupied()
        place = Place(direction)
        try:
            yield place
            if place.outcome == "whole":
                self._failing.pop(direction, None)
        except Refused:
            if place.outcome == "cut":
                place.outcome = "refused"
            raise
        except Exception as error:
            place.outcome = "failed"
            if isinstance(error, StorageFull | StorageUnavailable):
                self._failing[direction] = str(error)
            raise
        finally:
            self._places.leave(by)
            with self._lock:
                self.under_way[direction] -= 1
                self.ended[direction, place.outcome] += 1

    def count(self, direction: Direction, size_bytes: int) -> None:
        with self._lock:
            self.moved_bytes[direction] += size_bytes


class Incoming:
    """A request's body as it comes, no more than was announced; `taken` counts."""

    def __init__(self, request: Request, length: int) -> None:
        self._input = request.environ["wsgi.input"]
        self._left = length
        self.taken = 0

    def read(self, size: int) -> bytes:
        block: bytes = self._input.read(min(size, self._left)) if self._left else b""
        self._left -= len(block)
        self.taken += len(block)
        return block

    def throw_away(self) -> None:
        """Read what is left: who is refused in the middle of sending would not hear why."""
        while self.read(INTAKE_BYTES):
            pass


def _too_many(cap: int) -> Refused:
    detail = f"all {cap} places for transfers are taken; try again in a moment"
    return busy(ProblemType.TOO_MANY_TRANSFERS, detail, AGAIN_S)


def range_of(request: Request, size_bytes: int, etag: str) -> tuple[int, int] | None:
    """The bytes asked for (the end not included); None for all of them. Raises 416.

    Only a single range counts. One that depends on another version of what never changes asks for all.
    """
    condition = request.headers.get("If-Range")
    wanted = request.range if condition in (None, f'"{etag}"') else None
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return None
    first, _ = wanted.ranges[0]
    if first is not None and first < 0 < size_bytes <= -first:  # the last bytes, and more than there are: all of them
        return 0, size_bytes
    found = wanted.range_for_length(size_bytes)
    if found is None:
        headers = {"Content-Range": f"bytes */{size_bytes}"}
        raise Refused(ProblemType.RANGE_NOT_SATISFIABLE, f"the artifact has {size_bytes} bytes", headers)
    return found


def blocks(
    chunks: Iterable[Chunk], start: int, end: int, read: Callable[[Chunk, int, int], Iterator[bytes]]
) -> Iterator[bytes]:
    """The bytes `start` to `end` (not included) of what lies in these chunks. read: a part of one."""
    for chunk in chunks:
        first = chunk.number * CHUNK_BYTES
        here, there = max(start, first) - first, min(end, first + chunk.size_bytes) - first
        if here < there:
            yield from read(chunk, here, there)
