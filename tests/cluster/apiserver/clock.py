"""The server's time: the real one, plus what a test has skipped."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable


class Clock:
    """`advance` lets deadlines and TTLs pass at once; who waits for a time is told."""

    def __init__(self) -> None:
        self._skipped_s = 0.0
        self._told: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._skipped_s

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._skipped_s += seconds
        for tell in self._told:
            tell()

    def tell(self, changed: Callable[[], None]) -> None:
        """Call that whenever time was skipped."""
        self._told.append(changed)

    def stamp(self) -> str:
        """Now, as `creationTimestamp` has it: whole seconds."""
        return stamp(self.now())


def stamp(at: float) -> str:
    return dt.datetime.fromtimestamp(int(at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def nano(at: float) -> str:
    """As log lines have it."""
    return micro(at)[:-1] + f"{int(at * 1e9) % 1000:03d}Z"


def parsed(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()
