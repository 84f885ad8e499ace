"""The fair queue before the decider: whoever sends much waits for himself.

Start-time fair queueing (Goyal, Vin and Cheng, 1996) with a cost of one for each command. A subject's n-th waiting
command comes after everybody's first n - 1; its own order is kept. The hub's own commands (deadlines, what
decisions entail) come in their turn as if each were of a subject of its own. Without a flood that is the order of
arrival.
"""

from __future__ import annotations

import heapq
import re
from queue import Queue
from typing import Any

from domain.ids import HUB

_LANES_KEPT = 10_000
_BY = re.compile(r'"by":\{[^}]*?"id":"([0-9a-f-]{36})"')
_HEAD = 400
"""A command's text begins with its id, its time and its subject."""


def lane_of(text: str) -> str | None:
    """The id of the subject that a command's text names; None for the hub, or where it names none."""
    found = _BY.search(text, 0, _HEAD)
    return None if found is None or found[1] == HUB else found[1]


class FairQueue(Queue[Any]):
    """A Dramatiq worker's work queue. Its items have a `message` whose first argument is the command's text."""

    def _init(self, maxsize: int) -> None:  # noqa: ARG002 - it has no size of its own: each queue's prefetch bounds it
        self._heap: list[tuple[int, int, Any]] = []
        self._last: dict[str, int] = {}
        self._turn = 0
        self._arrived = 0

    def _qsize(self) -> int:
        return len(self._heap)

    def _put(self, item: Any) -> None:
        args = item.message.args
        lane = lane_of(args[0]) if args and isinstance(args[0], str) else None
        turn = self._turn if lane is None else max(self._turn, self._last.get(lane, -1) + 1)
        if lane is not None:
            self._last[lane] = turn
        self._arrived += 1
        heapq.heappush(self._heap, (turn, self._arrived, item))

    def _get(self) -> Any:
        self._turn, _, item = heapq.heappop(self._heap)
        if not self._heap:
            self._turn = 0
            self._last.clear()
        elif len(self._last) > _LANES_KEPT:
            self._last = {lane: turn for lane, turn in self._last.items() if turn >= self._turn}
        return item
