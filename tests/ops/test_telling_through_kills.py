"""Events through kills: the hub, and the broker that it tells them to, killed and stopped while runs go on. Nothing is
lost, and what belongs to a run is in its order."""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from broker.kafka_log import PARTITIONS
from devservers.kafka import PrivateNoida
from domain.streams.cloud_events import KINDS
from storage.database import Database, open_database
from storage.telling import backlog
from tests.ops.program import Program
from tests.ops.test_streams import Streams
from tests.waiting import until

RUNS = 6
"""Begun and stopped between two kills."""


@pytest.fixture
def killed(servers_folder: Path) -> Iterator[PrivateNoida]:
    server = PrivateNoida(servers_folder / "killed-while-told")
    server.start()
    yield server
    server.kill()


def begin_again(streams: Streams, folder: Path) -> None:
    """After a kill."""
    streams.hub.send(signal.SIGKILL)
    streams.hub.end()
    where = ("--data", streams.folder, "--port", "0")
    streams.hub = Program(folder / "log", "embedded", *where, FEDYARD_STREAMS=str(folder / "streams.toml"))
    streams.api = streams.hub.ready()


def happened(database: Database) -> dict[str, list[int]]:
    """By run, the numbers of its events."""
    with database.connection():
        found = database.all("SELECT run_id, seq, kind FROM events WHERE run_id IS NOT NULL ORDER BY stream_id, seq")
    runs: dict[str, list[int]] = defaultdict(list)
    for run, seq, kind in found:
        if kind in {each.value for each in KINDS}:
            runs[run].append(seq)
    return runs


def told(kafka: PrivateNoida) -> dict[str, list[int]]:
    """The same as the topic has it, each event where it came first."""
    reader = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "reads",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    reader.assign([TopicPartition("ops.events.v1", number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    runs: dict[str, list[int]] = defaultdict(list)
    seen: set[str] = set()
    ended = 0
    while ended < PARTITIONS:
        message = reader.poll(20)
        assert message is not None
        error = message.error()
        if error is not None:
            assert error.code() == KafkaError._PARTITION_EOF
            ended += 1
            continue
        said = json.loads(message.value() or b"")
        if said["id"] not in seen:
            seen.add(said["id"])
            runs[said["subject"]].append(int(said["sequence"]))
    reader.close()
    return runs


def test_nothing_is_lost_and_nothing_is_out_of_order(killed: PrivateNoida, tmp_path: Path) -> None:
    streams = Streams(killed, tmp_path)
    try:
        for turn in range(4):
            for number in range(RUNS):
                run = streams.ok(f"/v1/projects/{streams.project}/runs", {})["id"]
                streams.ok(f"/v1/runs/{run}/stop", {})
                if turn == 1 and number == 2:
                    killed.pause()
            if turn == 1:
                killed.go_on()
            if turn == 2:
                killed.settle()
                killed.kill()
            begin_again(streams, tmp_path)
            if turn == 2:
                killed.start()
        database = open_database(f"sqlite:///{streams.folder}/store.sqlite")
        until(lambda: backlog(database).events == 0)
        wanted = happened(database)
        assert len(wanted) == 4 * RUNS
        assert told(killed) == wanted
        database.close()
    finally:
        streams.hub.end()
        streams.topics.close()
