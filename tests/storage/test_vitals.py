"""Samples become curves, and a reading takes the place of the one before."""

from __future__ import annotations

from domain.ids import derive
from fedyard.wire.times import SECOND
from storage.clocks import Reported, report_all
from storage.database import Database
from storage.views.vitals import processes, vitals
from storage.vitals import (
    KEEP_SAMPLES,
    BackupReading,
    DiskReading,
    Point,
    QueueReading,
    Sampled,
    TakenReading,
    curve,
    forget_samples,
    outbox_age,
    size_of,
    tell,
    told,
    write_samples,
)

NOW = 1_000_000 * SECOND


def test_what_was_decided_is_added_up_and_of_all_else_the_greatest_stands(database: Database) -> None:
    for ago_s, process, decided, wait in (
        (15, "a", 40, 0.5),
        (15, "b", 20, 2.0),
        (25, "a", 30, 1.0),
        (45, "a", 10, 4.0),
    ):
        values = {Sampled.DECIDED: float(decided), Sampled.WAIT_P99: wait}
        write_samples(database, process, NOW - ago_s * SECOND, values)
    after = NOW - 60 * SECOND
    assert curve(database, Sampled.DECIDED, after, NOW, 2) == [Point(NOW - 30 * SECOND, 10 / 30), Point(NOW, 3.0)]
    assert curve(database, Sampled.WAIT_P99, after, NOW, 2) == [Point(NOW - 30 * SECOND, 4.0), Point(NOW, 2.0)]
    assert curve(database, Sampled.OUTBOX_AGE, after, NOW, 2) == []


def test_a_sample_on_the_edge_belongs_to_the_stretch_that_ends_there(database: Database) -> None:
    write_samples(database, "a", NOW - 30 * SECOND, {Sampled.OUTBOX_AGE: 1.0})
    write_samples(database, "a", NOW - 60 * SECOND, {Sampled.OUTBOX_AGE: 9.0})
    assert curve(database, Sampled.OUTBOX_AGE, NOW - 60 * SECOND, NOW, 2) == [Point(NOW - 30 * SECOND, 1.0)]


def test_samples_of_a_day_are_kept(database: Database) -> None:
    for at in (NOW - KEEP_SAMPLES - 1, NOW - KEEP_SAMPLES):
        write_samples(database, "a", at, {Sampled.DECIDED: 10.0})
    forget_samples(database, NOW)
    with database.connection():
        assert database.all("SELECT at FROM samples") == [(NOW - KEEP_SAMPLES,)]


def test_the_newest_reading_stands(database: Database) -> None:
    newer, older = DiskReading(used=1, free=2, total=3), DiskReading(used=9, free=9, total=9)
    tell(database, NOW, {"records": newer})
    tell(database, NOW - 1, {"records": older})
    assert told(database, DiskReading) == {"records": (NOW, newer)}
    assert told(database, BackupReading) == {}


def test_the_age_of_the_outbox_is_that_of_its_oldest_row(database: Database) -> None:
    assert outbox_age(database, NOW) == 0
    with database.connection():
        for number, ago_s in enumerate((5, 70)):
            row = (derive("row", number), "{}", NOW - ago_s * SECOND)
            database.execute("INSERT INTO outbox (id, envelope_json, created_at) VALUES (%s, %s, %s)", row)
    assert outbox_age(database, NOW) == 70 * SECOND
    assert size_of(database) > 8_192


def test_how_old_the_oldest_in_a_queue_can_be_is_known_by_what_was_taken_and_when_it_was_empty(
    database: Database,
) -> None:
    def waits(ready: int, oldest_at: int | None, empty_at: int | None) -> QueueReading:
        return QueueReading(ready=ready, delayed=1, dead=2, oldest_at=oldest_at, empty_at=empty_at)

    minute = 60 * SECOND
    readings = {
        "a said": waits(3, NOW - minute, None),
        "b empty": waits(0, None, NOW),
        "c taken": waits(3, None, NOW - 9 * minute),
        "d empty before": waits(3, None, NOW - minute),
        "e unknown": waits(3, None, None),
    }
    tell(database, NOW, readings)
    tell(database, NOW, {"c taken": TakenReading(NOW - 2 * minute), "d empty before": TakenReading(NOW - 5 * minute)})
    found = {one.queue: one for one in vitals(database, NOW, 3600).queues}
    assert {name: one.oldest_since for name, one in found.items()} == {
        "a said": "1970-01-12T13:45:40.000000Z",
        "b empty": None,
        "c taken": "1970-01-12T13:44:40.000000Z",
        "d empty before": "1970-01-12T13:45:40.000000Z",
        "e unknown": None,
    }
    assert (found["a said"].ready, found["a said"].delayed, found["a said"].dead) == (3, 1, 2)


def test_a_curve_has_no_more_points_than_it_shall(database: Database) -> None:
    for second in range(0, 7200, 60):
        write_samples(database, "a", NOW - second * SECOND, {Sampled.DECIDED: 10.0})
    of_an_hour, of_a_day = vitals(database, NOW, 3600), vitals(database, NOW, 86_400)
    assert (of_an_hour.stretch_s, of_a_day.stretch_s) == (10.0, 240.0)
    assert len(of_an_hour.curves[0].points) == 60
    assert {point.value for point in of_a_day.curves[0].points[1:-1]} == {40 / 240}


def test_a_process_says_what_it_is(database: Database) -> None:
    leads = Reported("ticker@east:7", "ticker", 5 * SECOND, "1.2", NOW - 90 * SECOND, True)
    stands_by = Reported("ticker@west:8", "ticker", 0, "1.1", NOW - 80 * SECOND, False)
    report_all(database, [stands_by, Reported("web@east:9", "web", 0)], NOW - 31 * SECOND)
    report_all(database, [leads], NOW)
    found = {one.process: one for one in processes(database, NOW).items}
    assert list(found) == ["ticker@east:7", "ticker@west:8", "web@east:9"]
    first, second, third = found.values()
    assert (first.host, first.version, first.state, first.leads, first.clock_ahead_s) == (
        "east",
        "1.2",
        "live",
        True,
        5.0,
    )
    assert (second.host, second.state, second.leads) == ("west", "silent", False)
    assert (third.leads, third.started_at) == (None, None)
    assert [one.process for one in processes(database, NOW + 600 * SECOND).items] == ["ticker@east:7"]
