"""Probes may come as often as they like."""

from __future__ import annotations

import threading

from tests.hub import TestClock
from web.live.probe_cache import FOR_S, ProbeCache


class Part:
    """Says what it is told to say, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.trouble: str | None = None

    def ask(self) -> str | None:
        self.asked += 1
        return self.trouble


def test_an_answer_is_remembered_for_some_seconds() -> None:
    part, clock = Part(), TestClock()
    remembered = ProbeCache(part.ask, clock)
    assert [remembered.trouble() for _ in range(3)] == [None] * 3
    part.trouble = "it burns"
    assert (remembered.trouble(), part.asked) == (None, 1)
    clock.sleep(FOR_S)
    assert [remembered.trouble() for _ in range(3)] == ["it burns"] * 3
    assert part.asked == 2


def test_nobody_waits_for_who_asks() -> None:
    asks, answers, clock = threading.Event(), threading.Event(), TestClock()
    part = Part()

    def slow() -> str | None:
        if part.ask() is None and part.asked > 1:
            asks.set()
            answers.wait(20)
            return "it was slow"
        return None

    remembered = ProbeCache(slow, clock)
    assert remembered.trouble() is None
    clock.sleep(FOR_S)
    asking = threading.Thread(target=remembered.trouble)
    asking.start()
    asks.wait(20)
    assert [remembered.trouble() for _ in range(3)] == [None] * 3
    answers.set()
    asking.join()
    assert (remembered.trouble(), part.asked) == ("it was slow", 2)
