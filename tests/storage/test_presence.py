"""A process that is frozen while nobody writes shows by its silence."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from config.clock import SystemClock
from config.processes import has_ended, process_name
from devservers.postgres import PrivatePostgres
from fedyard.wire.times import SECOND
from fedyard.wire.version import __version__
from storage.clocks import ClockWatch, DatabaseClock, Reported, report, report_together
from storage.database import Database, open_database
from storage.leadership import lead, step_down
from storage.migrate import migrate
from storage.presence import NAMED_FOR, SILENT_AFTER, STAND_BY, Heard, clear_away, heard, sign_off, silent
from storage.views.vitals import processes
from tests.databases import lent_postgres
from tests.hub import TestClock
from tests.waiting import until

NOW = 1_000_000 * SECOND
WELL = {"decider": [3], "doer": [7], "reconciler": [5], "ticker": [9], "relay": [30], "web": [0]}


def heard_of(ages_s: dict[str, list[int]]) -> list[Heard]:
    return [
        Heard(f"{role}@{chr(97 + number)}:1", role, NOW - age * SECOND)
        for role, ages in ages_s.items()
        for number, age in enumerate(ages)
    ]


@pytest.mark.parametrize(
    ("ages_s", "part", "words"),
    [
        ({}, None, ""),
        ({"decider": [31]}, "decider", "no decider reports; the last one, decider@a:1, was heard of 31 s ago"),
        ({"ticker": [4000]}, "ticker", "heard of 4000 s ago"),
        ({"relay": [31, 45]}, "relay", "the last one, relay@a:1"),
        ({"decider": []}, "decider", "no decider has ever reported"),
        ({"decider": [2, 31]}, STAND_BY, "decider@b:1, was heard of 31 s ago"),
        ({"decider": [31, 2]}, STAND_BY, "decider@a:1"),
        ({"ticker": [2, 40, 50]}, STAND_BY, "ticker@b:1, was heard of 40 s ago, ticker@c:1, was heard of 50 s ago"),
        ({"web": [0, 31]}, STAND_BY, "web@b:1"),
        ({"decider": [2, NAMED_FOR // SECOND + 1]}, None, ""),
    ],
)
def test_who_does_not_report_is_named(ages_s: dict[str, list[int]], part: str | None, words: str) -> None:
    found = silent(heard_of({**WELL, **ages_s}), NOW, NOW - SILENT_AFTER - 1)
    assert list(found) == ([] if part is None else [part])
    assert words in "".join(found.values())


def test_a_hub_that_is_starting_misses_nobody_yet() -> None:
    assert silent([], NOW, NOW - SILENT_AFTER) == {}


def test_the_last_report_of_a_role_is_kept_however_old(database: Database) -> None:
    """A decider that is frozen for hours would otherwise be forgotten, and the hub be ready again."""
    report(database, Reported("decider@a:1", "decider", 0), NOW - 7200 * SECOND)
    report(database, Reported("decider@a:2", "decider", 0), NOW - 7100 * SECOND)
    report(database, Reported("web@a:3", "web", 0), NOW)
    assert [one.process for one in sorted(heard(database))] == ["decider@a:2", "web@a:3"]
    assert "decider@a:2" in silent(heard(database), NOW, NOW)["decider"]


def test_who_ends_in_order_is_forgotten_if_another_goes_on(database: Database) -> None:
    report(database, Reported("decider@a:1", "decider", 0), NOW)
    report(database, Reported("decider@b:1", "decider", 0), NOW)
    sign_off(database, "decider@a:1", NOW)
    sign_off(database, "decider@b:1", NOW)
    assert [one.process for one in heard(database)] == ["decider@b:1"]


def test_a_watch_signs_off_and_clears_away_who_was_killed(database: Database) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    killed, lives = process_name("ticker").replace(f":{os.getpid()}", f":{ended.pid}"), f"ticker@elsewhere:{ended.pid}"
    now = SystemClock().now()
    for process in (killed, lives):
        report(database, Reported(process, "ticker", 0), now)
    assert (has_ended(killed), has_ended(lives), has_ended(process_name("ticker"))) == (True, False, False)
    clear_away(database, "decider")
    assert {one.process for one in heard(database)} == {killed, lives}
    stop = threading.Event()
    ClockWatch(database, DatabaseClock(SystemClock().now, SystemClock()), "ticker").start(stop)
    try:
        assert {one.process for one in heard(database)} == {process_name("ticker"), lives}
    finally:
        stop.set()
    for thread in [one for one in threading.enumerate() if one.name == "fedyard-clock"]:
        thread.join()
    assert {one.process for one in heard(database)} == {lives}


def test_a_report_that_did_not_get_through_is_made_again_the_next_second(empty: Database) -> None:
    own = TestClock()
    watch = ClockWatch(empty, DatabaseClock(lambda: own.micros, own), "relay")
    table = (
        "CREATE TABLE process_clocks (process TEXT NOT NULL PRIMARY KEY, role TEXT, offset_us BIGINT, seen_at BIGINT,"
        " version TEXT, started_at BIGINT, leads BOOLEAN)"
    )
    with empty.connection(), pytest.raises(Exception, match="process_clocks"):
        watch.turn()
    with empty.connection():
        empty.execute(table)
    own.sleep(1.0)
    watch.turn()
    assert len(heard(empty)) == 1


def test_who_leads_knows_it_and_who_has_stepped_down_does_not(postgres: PrivatePostgres) -> None:
    with lent_postgres(postgres) as url:
        one, other = open_database(url, pool=1), open_database(url, pool=1)
        try:
            assert (one.leads, other.leads) == (None, None)
            assert (lead(one, 7), lead(other, 7)) == (True, False)
            assert (one.leads, other.leads) == (True, False)
            step_down(one)
            until(lambda: lead(other, 7))
            assert (one.leads, other.leads) == (False, True)
        finally:
            one.close()
            other.close()


def test_parts_of_an_embedded_hub_report_together(empty: Database) -> None:
    migrate(empty)
    stop, clock = threading.Event(), SystemClock()
    stop.set()
    report_together(empty, ["web", "ticker"], clock, stop)
    for thread in [one for one in threading.enumerate() if one.name == "fedyard-reports"]:
        thread.join()
    found = {one.role: one for one in processes(empty, clock.now()).items}
    assert {role: one.leads for role, one in found.items()} == {"web": None, "ticker": True}
    assert {one.version for one in found.values()} == {__version__}
    assert found["web"].started_at == found["ticker"].started_at
