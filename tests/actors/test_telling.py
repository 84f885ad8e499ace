"""Telling events over Kafka: all of them, in order for each run, and a cursor never before what is written."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from actors.telling import Teller, cursors_of
from broker.kafka_log import PARTITIONS, KafkaLog
from broker.streams import EmbeddedLog
from devservers.kafka import PrivateNoida, PrivateTansu
from devservers.postgres import PrivatePostgres
from domain import records as r
from domain.streams.cloud_events import CONTENT_TYPE, KINDS, record_of, schema
from storage.database import open_database
from storage.telling import Tellings, backlog
from tests.databases import fresh_sqlite, lent_postgres
from tests.hub import Hub
from tests.waiting import until

VALID = jsonschema.Draft202012Validator(schema())


@pytest.fixture
def log() -> EmbeddedLog:
    return EmbeddedLog()


def teller_of(hub: Hub, log: Any) -> Teller:
    return Teller(Tellings(hub.database), log, hub.clock, threading.Event())


def two_runs(hub: Hub) -> list[str]:
    """Of two projects, both ended."""
    sites = hub.sites(2)
    runs = [hub.start(hub.project(sites), sites[0]) for _ in range(2)]
    for number in (1, 2):
        for run in runs:
            hub.whole_round(run, sites, number)
    return runs


def expected(hub: Hub) -> dict[str, list[int]]:
    """By run, the numbers of its events, in order."""
    events = sorted(hub.rows(r.Event, "run_id IS NOT NULL"), key=lambda event: (event.stream_id, event.seq))
    found: dict[str, list[int]] = defaultdict(list)
    for event in events:
        if event.kind in KINDS:
            found[event.run_id].append(event.seq)
    return found


def told(records: list[tuple[bytes, bytes]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for key, value in records:
        said = msgspec.json.decode(value)
        VALID.validate(said)
        assert said["subject"] == key.decode()
        found[said["subject"]].append(int(said["sequence"]))
    return found


def tell_all(teller: Teller) -> None:
    while teller.turn():
        pass


def test_everything_is_told_once_and_in_order(hub: Hub, log: EmbeddedLog) -> None:
    runs = two_runs(hub)
    teller = teller_of(hub, log)
    tell_all(teller)
    assert told(log.records) == expected(hub)
    assert set(told(log.records)) == set(runs)
    assert len(expected(hub)[runs[0]]) > 10
    before = len(log.records)
    tell_all(teller_of(hub, log))
    assert len(log.records) == before


def test_the_backlog_is_what_is_not_told_yet(hub: Hub, log: EmbeddedLog) -> None:
    assert backlog(hub.database) == (0, None)
    two_runs(hub)
    waiting = backlog(hub.database)
    events = hub.rows(r.Event, "stream_id IN (SELECT id FROM projects)")
    assert waiting == (len(events), min(event.at for event in events))
    log.takes = 5
    teller_of(hub, log).turn()
    assert 0 < backlog(hub.database).events < waiting.events
    log.takes = None
    tell_all(teller_of(hub, log))
    assert backlog(hub.database) == (0, None)


def test_a_cluster_that_is_away_delays_and_nothing_is_lost(hub: Hub, log: EmbeddedLog) -> None:
    two_runs(hub)
    log.away = "_TRANSPORT: nobody there"
    teller = teller_of(hub, log)
    assert [teller.turn() for _ in range(3)] == [0, 0, 0]
    assert log.records == []
    log.away = ""
    tell_all(teller)
    assert told(log.records) == expected(hub)


def test_a_cursor_stays_before_what_is_not_written(hub: Hub, log: EmbeddedLog) -> None:
    two_runs(hub)
    log.takes = 5
    teller = teller_of(hub, log)
    while True:
        before = len(log.records)
        if teller.turn() or len(log.records) == before:
            break
    seen = [msgspec.json.decode(value)["id"] for _, value in log.records]
    assert len(seen) == len(set(seen))
    assert told(log.records) == expected(hub)


def test_who_dies_before_the_cursor_moves_tells_again_under_the_same_ids(hub: Hub, log: EmbeddedLog) -> None:
    two_runs(hub)
    (stretch, other) = Tellings(hub.database).waiting()
    records = [record for event in stretch.events + other.events if (record := record_of(event)) is not None]
    log.append(records, lambda: True)
    tell_all(teller_of(hub, log))
    ids = [msgspec.json.decode(value)["id"] for _, value in log.records]
    assert len(ids) == 2 * len(set(ids))
    assert ids[: len(ids) // 2] == ids[len(ids) // 2 :]


def test_of_two_processes_one_tells_and_the_other_takes_over(postgres: PrivatePostgres) -> None:
    with lent_postgres(postgres) as url:
        one, other = (Tellings(open_database(url)) for _ in range(2))
        assert (one.lead(), other.lead(), one.lead()) == (True, False, True)
        one.step_down()
        until(other.lead)  # the server notices a moment later that the connection is gone
        other.step_down()


def test_cursors_follow_what_was_written() -> None:
    def event(stream: str, seq: int) -> r.Event:
        return r.Event(stream, seq, "run_started", 0, "", "", "", "run", None, "{}", "")

    events = [event("a", 1), event("a", 2), event("a", 3), event("b", 8), event("b", 9)]
    records = [None, record_of(events[1]), record_of(events[2]), None, record_of(events[4])]
    assert cursors_of(events, records, 0) == {"a": 1, "b": 8}
    assert cursors_of(events, records, 1) == {"a": 2, "b": 8}
    assert cursors_of(events, records, 2) == {"a": 3, "b": 8}
    assert cursors_of(events, records, 3) == {"a": 3, "b": 9}


def test_a_long_stream_holds_up_no_other(hub: Hub) -> None:
    runs = two_runs(hub)
    tellings = Tellings(hub.database, streams_at_once=1, events_at_once=2)
    streams = [tellings.waiting()[0].stream_id for _ in range(3)]
    assert streams[0] != streams[1]
    assert {hub.run(run).project_id for run in runs} == set(streams)


# on real brokers


def read(server: PrivateNoida | PrivateTansu, topic: str) -> list[tuple[bytes, bytes]]:
    """Everything, partition by partition, to their ends."""
    reader = Consumer(
        {
            "bootstrap.servers": server.bootstrap_servers,
            "group.id": "reads-all",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    found: list[tuple[bytes, bytes]] = []
    ended = 0
    while ended < PARTITIONS:
        message = reader.poll(20)
        assert message is not None
        error = message.error()
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF
            ended += 1
            continue
        assert message.headers() == [("content-type", CONTENT_TYPE.encode())]
        found.append((message.key() or b"", message.value() or b""))
    reader.close()
    return found


@pytest.fixture(params=["noida", "tansu"])
def server(request: pytest.FixtureRequest) -> PrivateNoida | PrivateTansu:
    found: PrivateNoida | PrivateTansu = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def sqlite_hub(tmp_path: Path) -> Iterator[Hub]:
    database = open_database(fresh_sqlite(tmp_path / "store.sqlite"))
    database.hold()
    yield Hub(database)
    database.close()


def log_of(bootstrap: str, topic: str) -> KafkaLog:
    return KafkaLog({"bootstrap.servers": bootstrap}, topic, {"content-type": CONTENT_TYPE})


def test_on_a_real_broker(sqlite_hub: Hub, server: PrivateNoida | PrivateTansu) -> None:
    two_runs(sqlite_hub)
    log = log_of(server.bootstrap_servers, "told.events.v1")
    tell_all(teller_of(sqlite_hub, log))
    log.close()
    assert told(read(server, "told.events.v1")) == expected(sqlite_hub)


def test_a_broker_that_stops_answering_delays(sqlite_hub: Hub, noida: PrivateNoida) -> None:
    """While it is away the telling waits, and asks whether it shall go on; when it is back all is there, once."""
    two_runs(sqlite_hub)
    log = log_of(noida.bootstrap_servers, "paused.events.v1")
    log.append([(b"first", b"{}")], lambda: True)  # it knows the broker
    noida.pause()
    asked = 0

    def goes_on() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            noida.go_on()
        return True

    try:
        assert log.append([(b"k", str(number).encode()) for number in range(100)], goes_on) == (100, "")
    finally:
        noida.go_on()
    assert asked >= 3
    values = [value for key, value in read(noida, "paused.events.v1") if key == b"k"]
    assert values == [str(number).encode() for number in range(100)]
    log.close()


def test_it_ends_when_it_is_told_to_while_the_cluster_is_away(noida: PrivateNoida) -> None:
    log = log_of(noida.bootstrap_servers, "ended.events.v1")
    assert log.append([(b"k", b"0")], lambda: True) == (1, "")
    noida.pause()
    try:
        assert log.append([(b"k", b"1")], lambda: False) == (0, "")
    finally:
        noida.go_on()
    assert log.append([(b"k", b"2")], lambda: True) == (1, "")
    log.close()
    values = [value for _, value in read(noida, "ended.events.v1")]
    assert [value for value in values if value != b"1"] == [b"0", b"2"]


def test_what_the_cluster_refuses_is_told_and_what_is_before_it_counts(noida: PrivateNoida) -> None:
    log = log_of(noida.bootstrap_servers, "refused.events.v1")
    assert log.append([(b"k", b"0")], lambda: True) == (1, "")
    written, trouble = log.append([(b"k", b"1"), (b"k", b"x" * 2_000_000), (b"k", b"2")], lambda: True)
    assert written == 1
    assert len(read(noida, "refused.events.v1")) == 2
    assert "MSG_SIZE_TOO_LARGE" in trouble
    log.close()


def test_a_broker_that_is_killed_loses_nothing_that_was_counted(servers_folder: Path) -> None:
    """It is started again while the telling waits, which sends what had no report; in order, and nothing is lost."""
    server = PrivateNoida(servers_folder / "killed")
    server.start()
    log = log_of(server.bootstrap_servers, "killed.events.v1")
    values = [str(number).encode() for number in range(200)]
    assert log.append([(b"k", value) for value in values[:100]], lambda: True) == (100, "")
    server.settle()
    server.kill()
    asked = 0

    def goes_on() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            server.start()
        return True

    try:
        assert log.append([(b"k", value) for value in values[100:]], goes_on) == (100, "")
        found = [value for key, value in read(server, "killed.events.v1") if key == b"k"]
        assert list(dict.fromkeys(found)) == values
    finally:
        log.close()
        server.kill()
