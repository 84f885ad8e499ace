"""Coalescing of requests: reads that come at the same time are made together, one query for many, where a crowd was
woken at once.

Nobody waits for company: who comes while nobody reads, reads at once, alone. Who comes during a read waits for its end
and then goes with all others that came meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

AT_ONCE = 32
"""Keys in one read."""
READERS = 2
"""Reads at the same time."""


class _Asked(Generic[K, V]):
    """One key that somebody waits for. It may be told to lead the next read."""

    __slots__ = ("error", "key", "leads", "told", "value")

    def __init__(self, key: K) -> None:
        self.key = key
        self.value: V | None = None
        self.error: BaseException | None = None
        self.leads = False
        self.told = threading.Lock()
        self.told.acquire()


class CoalescedReads(Generic[K, V]):
    """read_many: the values of some keys, in their order; an error of it reaches everybody who waited for that read."""

    def __init__(self, read_many: Callable[[Sequence[K]], Sequence[V]]) -> None:
        self._read_many = read_many
        self._lock = threading.Lock()
        self._waiting: deque[_Asked[K, V]] = deque()
        self._readers = 0

    def read(self, key: K) -> V:
        """The key's value, by a read that began after this call. Raises what the read raised."""
        mine: _Asked[K, V] = _Asked(key)
        with self._lock:
            mine.leads = self._readers < READERS
            if mine.leads:
                self._readers += 1
            else:
                self._waiting.append(mine)
        if not mine.leads:
            mine.told.acquire()
        if mine.leads:
            self._lead(mine)
        if mine.error is not None:
            raise mine.error
        return mine.value  # type: ignore[return-value]

    def _lead(self, mine: _Asked[K, V]) -> None:
        """Read for all who wait, as far as one read goes; then somebody who came meanwhile leads."""
        with self._lock:
            others = [self._waiting.popleft() for _ in range(min(AT_ONCE - 1, len(self._waiting)))]
        together = [mine, *others]
        try:
            for asked, value in zip(together, self._read_many([asked.key for asked in together]), strict=True):
                asked.value = value
        except BaseException as error:  # noqa: BLE001 - whatever it is, everybody hears of it, each in its own thread
            for asked in together:
                asked.error = error
        self._hand_over()
        for asked in others:
            asked.told.release()

    def _hand_over(self) -> None:
        with self._lock:
            if not self._waiting:
                self._readers -= 1
                return
            following = self._waiting.popleft()
        following.leads = True
        following.told.release()
