"""The probe cache: how a part is that costs something to be asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from config.clock import Clock

FOR_S = 5.0
T = TypeVar("T")


class ProbeCache(Generic[T]):
    """The last answer, for some seconds. ask: what is wrong (a sentence, or one by part), or None; it raises nothing.

    One thread asks at a time; others meanwhile get what was answered before, so that no probe adds to the load of what
    is slow already.
    """

    def __init__(self, ask: Callable[[], T | None], clock: Clock, for_s: float = FOR_S) -> None:
        self._ask = ask
        self._clock = clock
        self._for_s = for_s
        self._asking = threading.Lock()
        self._asked_at: float | None = None
        self._answer: T | None = None

    def trouble(self) -> T | None:
        if not self._asking.acquire(blocking=self._asked_at is None):
            return self._answer
        try:
            if self._asked_at is None or self._clock.monotonic() - self._asked_at >= self._for_s:
                self._answer = self._ask()
                self._asked_at = self._clock.monotonic()
        finally:
            self._asking.release()
        return self._answer


class LastFound:
    """What was found the last time: said once, however often it is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: object = None

    def changed(self, found: object) -> bool:
        """True if this is not what was found the time before."""
        with self._lock:
            before, self._found = self._found, found
        return before != found
