"""One time for the whole hub, and what is said of clocks that are off."""

from __future__ import annotations

import threading

import pytest

from config.clock import SystemClock
from devservers.postgres import PrivatePostgres
from fedyard.wire.times import SECOND
from storage.clocks import MAX_OFF, ClockWatch, DatabaseClock, Reported, open_clock, report, reports, trouble
from storage.database import Database, DatabaseUnavailable, open_database
from tests.databases import lent_postgres
from tests.hub import START, TestClock

HOUR = 3600 * SECOND
DAYS = 8 * 24 * HOUR


class Off(SystemClock):
    """A machine whose wall clock is wrong."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead

    def now(self) -> int:
        return super().now() + self.ahead


def test_time_is_the_databases_and_goes_on_by_the_monotonic_clock() -> None:
    own, database = TestClock(), [START + DAYS]
    clock = DatabaseClock(lambda: database[0], own)
    clock.measure()
    own.micros += 3 * SECOND
    assert clock.now() == START + DAYS + 3 * SECOND
    assert clock.offset() == -DAYS
    assert not clock.reliable()


@pytest.mark.parametrize(("ahead", "reliable"), [(0, True), (MAX_OFF, True), (MAX_OFF + 1, False), (-DAYS, False)])
def test_a_clock_that_is_far_off_may_not_lead(ahead: int, reliable: bool) -> None:
    own = TestClock()
    clock = DatabaseClock(lambda: START - ahead, own)
    clock.measure()
    assert clock.reliable() == reliable


def test_an_answer_that_took_long_says_too_little() -> None:
    own, takes = TestClock(), [0.0]

    def ask() -> int:
        own.sleep(takes[0])
        return START if takes[0] else own.micros

    clock = DatabaseClock(ask, own)
    clock.measure()
    own.micros += 10 * SECOND
    takes[0] = 5.0
    clock.measure()
    assert clock.now() == own.micros


def test_while_the_database_is_away_time_goes_on() -> None:
    own, away = TestClock(), [False]

    def ask() -> int:
        if away[0]:
            raise DatabaseUnavailable("gone")
        return own.micros

    clock = DatabaseClock(ask, own)
    clock.measure()
    away[0] = True
    own.micros += 60 * SECOND
    with pytest.raises(DatabaseUnavailable):
        clock.measure()
    assert clock.now() == own.micros


def said(*clocks: tuple[str, float]) -> list[Reported]:
    return [Reported(f"{role}@host:{number}", role, int(off * SECOND)) for number, (role, off) in enumerate(clocks)]


@pytest.mark.parametrize(
    ("clocks", "words"),
    [
        ([], None),
        ([("web", 29), ("decider", -29), ("ticker", 1)], None),
        ([("web", 0), ("ticker", 691_200), ("ticker", 0)], None),
        ([("ticker", 691_200)], "ticker 691200 s ahead"),
        ([("decider", -31), ("ticker", 0)], "decider 31 s behind"),
        ([("web", 40), ("ticker", 0)], "web 40 s ahead"),
    ],
)
def test_the_hub_is_not_ready_where_a_wrong_clock_stops_something(
    clocks: list[tuple[str, float]], words: str | None
) -> None:
    """A stand-by ticker with a wrong clock stops nothing: the other one leads. It shows in /metrics."""
    told = trouble(said(*clocks))
    assert (told is None) == (words is None)
    assert words is None or (words in (told or "") and "host" not in (told or ""))


def test_reports_are_replaced_and_forgotten(database: Database) -> None:
    report(database, Reported("web@a:1", "web", 5), START)
    report(database, Reported("ticker@a:2", "ticker", 7), START)
    report(database, Reported("web@a:1", "web", 6), START + 30 * SECOND)
    assert [one.offset for one in reports(database, START + 30 * SECOND)] == [7, 6]
    assert [one.role for one in reports(database, START + 80 * SECOND)] == ["web"]
    report(database, Reported("ticker@b:3", "ticker", 7), START + 2 * HOUR)
    report(database, Reported("web@a:1", "web", 6), START + 2 * HOUR)
    with database.connection():
        assert database.all("SELECT process FROM process_clocks ORDER BY 1") == [("ticker@b:3",), ("web@a:1",)]


def test_a_process_with_a_wrong_clock_has_postgresqls_time_and_says_so(postgres: PrivatePostgres) -> None:
    stop = threading.Event()
    with lent_postgres(postgres) as url:
        database = open_database(url, pool=2)
        try:
            clock = open_clock(database, "ticker", stop, Off(DAYS))
            assert abs(clock.now() - SystemClock().now()) < 60 * SECOND
            assert isinstance(clock, DatabaseClock)
            assert not clock.reliable()
            found = reports(database, clock.now())
            assert [(one.role, abs(one.offset - DAYS) < 60 * SECOND) for one in found] == [("ticker", True)]
        finally:
            stop.set()
            database.close()


def test_a_watch_measures_each_time_and_reports_now_and_then(database: Database) -> None:
    own, asked = TestClock(), [0]

    def ask() -> int:
        asked[0] += 1
        return own.micros

    clock = DatabaseClock(ask, own)
    watch = ClockWatch(database, clock, "web")
    for _ in range(25):
        watch.turn()
        own.sleep(1.0)
    assert asked[0] == 25
    with database.connection():
        assert database.all("SELECT count(*), max(seen_at) FROM process_clocks") == [(1, START + 20 * SECOND)]


def test_a_standby_that_is_not_promoted_yet_counts_as_away(postgres: PrivatePostgres) -> None:
    with lent_postgres(postgres) as url:
        database = open_database(url, pool=1)
        with database.connection():
            database.execute("SET default_transaction_read_only = on")
            with pytest.raises(DatabaseUnavailable, match="read-only"):
                report(database, Reported("web@a:1", "web", 5), START)
        database.close()
