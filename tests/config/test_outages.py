"""What is away is said once, once a minute, and when it is back."""

from __future__ import annotations

import logging

import pytest

from config.outages import Outage
from tests.hub import TestClock


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, object, object]]:
    found = [(one.getMessage(), one.unit["for_s"], one.unit["tries"]) for one in caplog.records]  # type: ignore[attr-defined]
    caplog.clear()
    return found


def test_it_is_said_once_a_minute_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    clock = TestClock()
    outage = Outage(logging.getLogger("config.tried"), "it waits", "it goes on", clock)
    outage.over()
    for _ in range(130):
        outage.lasts("refused")
        clock.sleep(1)
    assert lines(caplog) == [("it waits", 0, 1), ("it waits", 60, 61), ("it waits", 120, 121)]
    outage.over()
    outage.over()
    assert lines(caplog) == [("it goes on", 130, 130)]
    outage.lasts("refused")
    assert lines(caplog) == [("it waits", 0, 1)]


def test_one_whose_end_nobody_tells_begins_anew_after_a_minute_without_a_try(caplog: pytest.LogCaptureFixture) -> None:
    clock = TestClock()
    outage = Outage(logging.getLogger("config.tried"), "it waits", "it goes on", clock)
    outage.lasts("refused")
    clock.sleep(61)
    outage.lasts("refused", waiting=3)
    assert lines(caplog) == [("it waits", 0, 1), ("it waits", 0, 1)]
