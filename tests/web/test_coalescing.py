"""Reads made together: everybody gets its own value, or the error; nobody waits for company."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from web.live.coalescing import AT_ONCE, READERS, CoalescedReads


class Slow:
    """Reads when it is let; notes what was asked for together."""

    def __init__(self) -> None:
        self.reads: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def __call__(self, keys: Sequence[int]) -> list[int]:
        self.reads.append(list(keys))
        self.entered.release()
        self.let.acquire()
        if -1 in keys:
            raise ValueError("no such key")
        return [key * 10 for key in keys]


class Crowd:
    """Threads that each read one key."""

    def __init__(self, reads: CoalescedReads[int, int]) -> None:
        self.reads = reads
        self.values: dict[int, int] = {}
        self.failed: list[int] = []
        self.threads: list[threading.Thread] = []

    def ask(self, key: int) -> None:
        thread = threading.Thread(target=self._ask, args=(key,))
        thread.start()
        self.threads.append(thread)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(10)

    def _ask(self, key: int) -> None:
        try:
            self.values[key] = self.reads.read(key)
        except ValueError:
            self.failed.append(key)


def test_one_alone_reads_at_once() -> None:
    asked: list[list[int]] = []

    def read(keys: Sequence[int]) -> list[int]:
        asked.append(list(keys))
        return [key + 1 for key in keys]

    assert CoalescedReads(read).read(1) == 2
    assert asked == [[1]]


def busy(slow: Slow) -> Crowd:
    """Reads all of whose readers read."""
    crowd = Crowd(CoalescedReads(slow))
    for key in range(READERS):
        crowd.ask(key)
        slow.entered.acquire()
    return crowd


def wait_until_queued(crowd: Crowd, count: int) -> None:
    while len(crowd.reads._waiting) < count:
        threading.Event().wait(0.001)


def test_who_comes_meanwhile_goes_together() -> None:
    slow = Slow()
    crowd = busy(slow)
    late = range(100, 100 + AT_ONCE + 5)
    for number, key in enumerate(late):
        crowd.ask(key)
        wait_until_queued(crowd, number + 1)
    slow.let.release(100)
    crowd.join()
    assert crowd.values == {key: key * 10 for key in (*range(READERS), *late)}
    assert max(map(len, slow.reads)) > 1
    assert all(len(read) <= AT_ONCE for read in slow.reads)
    assert sorted(key for read in slow.reads for key in read) == sorted(crowd.values)


def test_an_error_reaches_those_of_its_read_only() -> None:
    slow = Slow()
    crowd = busy(slow)
    for number, key in enumerate((-1, 7)):
        crowd.ask(key)
        wait_until_queued(crowd, number + 1)
    slow.let.release(100)
    crowd.join()
    together = next(read for read in slow.reads if -1 in read)
    assert sorted(crowd.failed) == sorted(together)
    assert set(crowd.values) == {*range(READERS), 7} - set(together)


def test_after_an_error_it_reads_again() -> None:
    def read(keys: Sequence[int]) -> list[int]:
        if keys[0] < 0:
            raise ValueError("no such key")
        return list(keys)

    reads = CoalescedReads(read)
    for _ in range(3):
        with pytest.raises(ValueError, match="no such key"):
            reads.read(-1)
        assert reads.read(1) == 1
