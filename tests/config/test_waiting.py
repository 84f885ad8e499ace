"""Waiting at the start: until it works, until told to stop, and for nothing but what is waited for."""

from __future__ import annotations

import logging
import threading

import pytest

from config.waiting import wait_until


class Absent(Exception):
    pass


def test_it_is_tried_until_it_works(caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    def attempt() -> None:
        tries.append(1)
        if len(tries) < 2:
            raise Absent("nobody listens there")

    wait_until(attempt, there="broker", absent=Absent, stop=threading.Event(), log=logging.getLogger("waiting"))
    assert len(tries) == 2
    assert [record.getMessage() for record in caplog.records] == ["waits for the broker"]


def test_who_is_told_to_stop_waits_no_longer() -> None:
    stop, tries = threading.Event(), []

    def attempt() -> None:
        tries.append(1)
        stop.set()
        raise Absent

    wait_until(attempt, there="broker", absent=Absent, stop=stop, log=logging.getLogger("waiting"))
    assert len(tries) == 1


def test_another_error_is_not_waited_out() -> None:
    def attempt() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        wait_until(attempt, there="broker", absent=Absent, stop=threading.Event(), log=logging.getLogger("waiting"))
