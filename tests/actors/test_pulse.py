"""A decider tells its pace, and the relay's process what lies in queues and on disks; each at its own time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.gauging import Gauging, folders_of
from actors.pulse import Pulse
from broker.depths import Depth
from broker.port import BrokerUnavailable
from config.settings import Settings
from domain import codec
from domain import commands as c
from domain.commands import Envelope
from domain.ids import derive
from fedyard.wire.times import SECOND
from storage.database import Database, open_database
from storage.vitals import DiskReading, Point, QueueReading, Sampled, TakenReading, curve, told
from tests.databases import fresh_sqlite
from tests.hub import TestClock


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(fresh_sqlite(tmp_path / "store.sqlite"))
    yield opened
    opened.close()


def asked(number: int, at: int) -> Envelope:
    return codec.envelope_of(c.CreateOrganisation(name="x"), id=derive("asked", number), by=codec.THE_HUB, at=at)


def values(database: Database, clock: TestClock, name: Sampled) -> list[float]:
    return [point.value for point in curve(database, name, clock.now() - 3600 * SECOND, clock.now(), 360)]


def test_a_decider_tells_how_much_it_decided_and_how_long_that_had_waited(database: Database) -> None:
    clock = TestClock()
    pulse = Pulse(database, "decider@a:1", clock)
    now = clock.now()
    pulse.took([asked(number, now - number * SECOND) for number in range(100)], now)
    pulse.turn()
    assert values(database, clock, Sampled.DECIDED) == []
    clock.sleep(10.0)
    pulse.turn()
    pulse.turn()
    assert values(database, clock, Sampled.DECIDED) == [10.0]
    assert (values(database, clock, Sampled.WAIT_P50), values(database, clock, Sampled.WAIT_P99)) == ([50.0], [99.0])
    assert told(database, TakenReading) == {"sites.v1": (clock.now(), TakenReading(now))}


def test_a_decider_with_nothing_to_do_tells_that(database: Database) -> None:
    clock = TestClock()
    pulse = Pulse(database, "decider@a:1", clock)
    clock.sleep(10.0)
    pulse.turn()
    assert curve(database, Sampled.DECIDED, clock.now() - 10 * SECOND, clock.now(), 1) == [Point(clock.now(), 0.0)]
    assert values(database, clock, Sampled.WAIT_P99) == []


def test_the_relays_process_reads_what_is_due(database: Database, tmp_path: Path) -> None:
    clock, asks = TestClock(), [0]

    def depths() -> list[Depth]:
        asks[0] += 1
        return [Depth("runs.v1", 2 if asks[0] > 1 else 0, 1, 3)]

    gauging = Gauging(
        database, "relay@a:1", clock, depths, {"artifacts": tmp_path, "commands": tmp_path / "not" / "made" / "yet"}
    )
    gauging.turn()
    assert asks == [0]
    clock.sleep(10.0)
    gauging.turn()
    begun = clock.now()
    clock.sleep(10.0)
    gauging.turn()
    assert asks == [1]
    clock.sleep(20.0)
    gauging.turn()
    waits = QueueReading(ready=2, delayed=1, dead=3, oldest_at=None, empty_at=begun)
    assert told(database, QueueReading) == {"runs.v1": (clock.now(), waits)}
    disks = told(database, DiskReading)
    assert disks.keys() == {"artifacts", "commands", "records"}
    assert disks["commands"][1].total == disks["artifacts"][1].total
    assert 0 < (disks["artifacts"][1].free or 0) <= (disks["artifacts"][1].total or 0)
    assert (disks["records"][1].used or 0) > 8_192
    assert values(database, clock, Sampled.OUTBOX_AGE) == [0.0, 0.0, 0.0, 0.0]


def test_a_broker_that_is_away_keeps_its_last_reading(database: Database) -> None:
    clock, away = TestClock(), [False]

    def depths() -> list[Depth]:
        if away[0]:
            raise BrokerUnavailable("away", retry_after_s=1)
        return [Depth("runs.v1", 0, 0, 0)]

    gauging = Gauging(database, "relay@a:1", clock, depths, {})
    clock.sleep(10.0)
    gauging.turn()
    first = clock.now()
    away[0] = True
    clock.sleep(30.0)
    gauging.turn()
    assert told(database, QueueReading)["runs.v1"][0] == first


def test_folders_are_those_that_the_hub_has_here(tmp_path: Path) -> None:
    here = Settings(
        broker_url=f"embedded:///{tmp_path}/journal.sqlite",
        database_url=f"sqlite:///{tmp_path}/store.sqlite",
        artifacts_url=f"file:///{tmp_path}/artifacts",
    )
    assert folders_of(here) == {"records": tmp_path, "commands": tmp_path, "artifacts": tmp_path / "artifacts"}
    elsewhere = Settings(
        broker_url="amqp://u:p@host/v", database_url="postgresql://u:p@host/v", artifacts_url="s3://b?endpoint=http://x"
    )
    assert folders_of(elsewhere) == {}
