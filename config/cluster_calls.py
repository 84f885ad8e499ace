"""Calls of clusters, counted until somebody tells them: what `/metrics` shows by cluster and verb.

Doer and reconciler call clusters, and the web is asked: so each process keeps what it has counted until it has told it
(storage/cluster_calls.py).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

Outcome: TypeAlias = Literal["ok", "unavailable", "refused", "failed"]
"""failed: it raised what a cluster should not."""
BOUNDS_MS: Final = (5, 20, 100, 500, 2000, 10_000)
"""Of the spans that are told apart; 0 stands for all that is longer."""


class Call(NamedTuple):
    """What is counted together."""

    cluster: str
    verb: str
    outcome: Outcome
    within_ms: int


class Count(NamedTuple):
    """How many, and how long all of them took."""

    calls: int
    micros: int


class Calls:
    """Of one process. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[Call] = Counter()
        self._micros: Counter[Call] = Counter()

    def add(self, call: Call, count: Count) -> None:
        with self._lock:
            self._calls[call] += count.calls
            self._micros[call] += count.micros

    def take(self) -> dict[Call, Count]:
        """What came since the last time; it is the caller's now."""
        with self._lock:
            taken = {call: Count(calls, self._micros[call]) for call, calls in self._calls.items()}
            self._calls.clear()
            self._micros.clear()
        return taken

    def put_back(self, taken: Mapping[Call, Count]) -> None:
        """It could not be told."""
        for call, count in taken.items():
            self.add(call, count)
