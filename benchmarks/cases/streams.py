"""Streams: from a record in Kafka to its decision, a hundred thousand of them at once, and what matching costs.

Kafka is tansu here, which takes many times what the hub does. Each case has topics of its own.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import psutil

from benchmarks import crew, scenes
from benchmarks.board import Board
from benchmarks.figures import percentile
from benchmarks.yard import Hub, Watch
from broker.kafka_writing import KafkaTopics
from config.clock import draw_id
from config.settings import path_url
from devservers.kafka import PrivateTansu
from domain.stream_commands import NewRecord, NewTopic
from fedyard.client.client import Client

WITHIN_S = 100.0
LOOK_EVERY_S = 0.02
PARTITIONS = 4
AT_ONCE = 2_000
SEATS = 5
BEGINS = """
date +%s.%N > "$1/new-$DEPLOYMENT_ID"
mv "$1/new-$DEPLOYMENT_ID" "$1/$DEPLOYMENT_ID"
"""
"""A training job that says when it began, and ends."""
CODE = """
class Net:
    def loss_fn(self): ...
    def optimizer(self): ...
    def metrics(self): ...

model = Net()
"""
KEY = b"\xff\xff\xff"
"""Of a deployment that is not there."""
PROPERTIES = "session.timeout.ms=6000\nheartbeat.interval.ms=1000\n"
"""This broker keeps whoever joins a group waiting for half a session: three seconds."""
CONTROL, MODELS, DATA = "bench-control", "bench-models", "bench-data"
SETTINGS = """
events_cluster = "cloud"
door_url = "http://127.0.0.1:9"
[images]
tensorflow_federated = "local/nothing"
pytorch_training = "local/begins"
[clusters.cloud]
bootstrap_servers = "{servers}"
control_topics = ["{control}"]
model_topics = ["{models}"]
settings_file = "{properties}"
models_project = "{project}"
[clusters.edge]
bootstrap_servers = "{servers}"
group = "fedyard-edge"
data_topics = ["{data}"]
settings_file = "{properties}"
"""
_TAKEN = "SELECT count(*), min(taken_at), max(taken_at) FROM data_sources WHERE data_topic LIKE %s"
_UNTOLD = (
    "SELECT coalesce(sum(streams.last_seq - coalesce(event_tellings.seq, 0)), 0) FROM streams "
    "LEFT JOIN event_tellings ON event_tellings.stream_id = streams.id WHERE streams.kind = 'project'"
)
_TIMES = "SELECT taken_at FROM data_sources WHERE data_topic LIKE %s ORDER BY taken_at"


class Made(msgspec.Struct, frozen=True):
    """What was made: its id, and the number by which Kafka-ML's programs know it."""

    id: str
    number: int


class Streams:
    """A hub that listens to a Kafka, and what is written there."""

    def __init__(self, hub: Hub, kafka: PrivateTansu) -> None:
        self.hub = hub
        self.topics = KafkaTopics({"bootstrap.servers": kafka.bootstrap_servers}, within_s=60.0)

    def announce(self, name: str, count: int, topic: str = CONTROL, key: bytes = KEY) -> None:
        """Data sources of that name, for a deployment that is not there."""
        for first in range(0, count, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, count))
            self.topics.write([NewRecord(topic, key, _data_source(f"{name}-{number}:0:0:9")) for number in numbers])

    def taken(self, name: str) -> tuple[int, float]:
        """How many of that name are decided, and the seconds between the first and the last."""
        with self.hub.database.connection():
            found = self.hub.database.one(_TAKEN, f"{name}-%")
        count, first, last = found or (0, None, None)
        return int(count), ((last or 0) - (first or 0)) / 1_000_000

    def longest_gap(self, name: str) -> float:
        """Seconds between two decisions of that name, one after the other."""
        with self.hub.database.connection():
            times = [int(at) for (at,) in self.hub.database.all(_TIMES, f"{name}-%")]
        return max(after - before for before, after in pairwise(times)) / 1_000_000

    def count(self, table: str) -> int:
        """Rows of that table."""
        with self.hub.database.connection():
            found = self.hub.database.one(f"SELECT count(*) FROM {table}")  # noqa: S608 - names of ours
        assert found is not None
        return int(found[0])

    def untold(self) -> int:
        """Events that were not told yet."""
        with self.hub.database.connection():
            found = self.hub.database.one(_UNTOLD)
        assert found is not None
        return int(found[0])

    def await_taken(self, name: str, count: int) -> float:
        """Seconds from the first decision to the last one, once so many are decided."""
        until(f"{count} records of {name} are decided", lambda: self.taken(name)[0] >= count)
        return max(self.taken(name)[1], 0.001)


class NotInTime(AssertionError):
    """What was waited for has not come."""


def measure(board: Board) -> None:
    """Twice at most: a group of this broker's may never be given anything again, if its members come and go at once."""
    figures = len(board.figures)
    try:
        _measure(board)
    except NotInTime:
        del board.figures[figures:]
        _measure(board)


def _measure(board: Board) -> None:
    folder = board.yard.folder.resolve() / f"streams-{time.monotonic_ns()}"
    kafka = PrivateTansu(folder / "kafka")
    board.hub.stop()
    kafka.start()
    try:
        with _hub(board, kafka, folder) as streams:
            _records(board, streams)
            _catch_up(board, streams)
            _outage(board, streams)
            _rebalance(board, streams)
            _events(board, streams)
            _spawning(board, streams, folder / "marks")
            _matching(board, streams)
            streams.topics.close()
    finally:
        kafka.kill()
        board.hub.start()


@contextmanager
def _hub(board: Board, kafka: PrivateTansu, folder: Path) -> Iterator[Streams]:
    file = folder / "streams.toml"
    (folder / "marks").mkdir()
    script = folder / "begins.sh"
    script.write_text(BEGINS)
    settings = {
        "FEDYARD_STREAMS": str(file),
        "FEDYARD_CLUSTERS": f"hub={path_url('processes', folder / 'cluster')}",
        "FEDYARD_PROCESS_IMAGES": f"local/begins=/bin/sh {script} {folder / 'marks'}",
        "FEDYARD_WORKLOADS_PER_PROJECT": "100000",
        "FEDYARD_WORKLOADS_PER_DAY": "1000000",
    }
    hub = board.yard.hub(settings=settings)
    project = scenes.project(hub, scenes.sites(hub, 1))
    properties = folder / "kafka.properties"
    properties.write_text(PROPERTIES)
    topics = {"control": CONTROL, "models": MODELS, "data": DATA}
    named = {"servers": kafka.bootstrap_servers, "project": project, "properties": properties}
    file.write_text(SETTINGS.format(**topics, **named))
    streams = Streams(hub, kafka)
    streams.topics.create([NewTopic(name, PARTITIONS) for name in (CONTROL, MODELS, DATA)])
    with hub.running():
        # this broker never gives anything again to a group whose first member went while it was joining
        streams.announce("first", 1)
        streams.await_taken("first", 1)
        yield streams


def _records(board: Board, streams: Streams) -> None:
    """The bridge starts on what lies there."""
    watch = Watch(streams.hub)
    rates = []
    for turn in range(board.sizes.runs):
        name = f"rate{turn}"
        streams.hub.stop("bridge")
        streams.announce(name, board.sizes.records)
        with watch.on():
            streams.hub.start("bridge")
            spent = streams.await_taken(name, board.sizes.records)
        rates.append(board.sizes.records / spent)
    board.add("control_records_per_s", "decided", rates, watch)


def _catch_up(board: Board, streams: Streams) -> None:
    """A bridge that was away finds very many."""
    count = board.sizes.backlog
    streams.hub.stop("bridge")
    streams.announce("backlog", count)
    streams.hub.start("bridge")
    with _peak(streams.hub, "bridge") as peak:
        spent = streams.await_taken("backlog", count)
    board.add("catch_up", "s", [spent])
    board.add("catch_up", "bridge peak", [peak[0]])
    board.add("catch_up", "lost or doubled", [abs(count - streams.taken("backlog")[0])])


def _outage(board: Board, streams: Streams) -> None:
    """RabbitMQ is away, and records come on."""
    streams.hub.yard.rabbitmq.stop()
    begun = time.monotonic()
    with _peak(streams.hub, "bridge") as peak:
        streams.announce("outage", board.sizes.records)
        time.sleep(max(0.0, board.sizes.outage_s - (time.monotonic() - begun)))
    streams.hub.yard.rabbitmq.start()
    streams.await_taken("outage", board.sizes.records)
    board.add("catch_up", "bridge while rabbitmq is away", [peak[0]])


def _rebalance(board: Board, streams: Streams) -> None:
    """Two bridges; one is killed. Of streams over all partitions, the longest time without a decision of one."""
    steady = {str(number): f"steady{number}" for number in range(10)}
    hub = streams.hub
    first = hub.processes.pop("bridge")
    hub.start("bridge")
    stopping = threading.Event()

    def steadily() -> None:
        number = 0
        while not stopping.wait(0.05):
            records = [
                NewRecord(CONTROL, key.encode(), _data_source(f"{name}-{number}:0:0:9")) for key, name in steady.items()
            ]
            streams.topics.write(records)
            number += 1

    writing = threading.Thread(target=steadily)
    writing.start()
    try:
        until("records are decided", lambda: all(streams.taken(name)[0] > 10 for name in steady.values()))
        time.sleep(board.sizes.settle_s / 2)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait(10)
        time.sleep(board.sizes.settle_s)
    finally:
        stopping.set()
        writing.join()
    board.add("rebalance_gap_s", "kill -9", [max(map(streams.longest_gap, steady.values()))])


def _events(board: Board, streams: Streams) -> None:
    """Events of runs that have begun, told from the first one on."""
    rates = []
    for _ in range(board.sizes.runs):
        streams.hub.stop("relay")
        crew.runs(streams.hub, max(1, board.sizes.reports // 10), SEATS)
        untold = streams.untold()
        begun = time.perf_counter()
        streams.hub.start("relay")
        until("all events are told", lambda: streams.untold() == 0)
        rates.append(untold / (time.perf_counter() - begun))
    board.add("events_out_per_s", "told", rates)


def _spawning(board: Board, streams: Streams, marks: Path) -> None:
    """One after the other: from an announcement being written until the job that it is for has begun."""
    (site,) = scenes.sites(streams.hub, 1)
    project = scenes.project(streams.hub, [site])
    client = Client(streams.hub.url, site.token)
    body = {"name": "small", "framework": "pth", "code": CODE, "imports": ""}
    architecture = client.write("POST", f"/v1/projects/{project}/architectures", body, Made, key=draw_id()).id
    deployment = {"architecture_ids": [architecture], "contract": {"pth_kwargs_fit": "max_epochs=1"}, "attempts": 1}
    streams.topics.create([NewTopic("begun-0", 1)])
    for _ in range(9):  # one by one: this broker's end is wrong after a batch of several
        streams.topics.write([NewRecord("begun-0", None, b"a sample")])
    spans = []
    for _ in range(board.sizes.trips):
        number = client.write("POST", f"/v1/projects/{project}/deployments", deployment, Made, key=draw_id()).number
        begun = time.time()
        streams.topics.write([NewRecord(CONTROL, number.to_bytes(3, "big"), _data_source("begun-0:0:0:9"))])
        mark = marks / str(number)
        until(f"the job of deployment {number} has begun", mark.exists)
        spans.append(1000 * (float(mark.read_text()) - begun))
    client.close()
    board.add("announce_to_spawn_ms", "p50", [percentile(spans, 0.5)])
    board.add("announce_to_spawn_ms", "p99", [percentile(spans, 0.99)])


def _matching(board: Board, streams: Streams) -> None:
    """As many federated models as data, each of which fits one: from the data's first decision to the last match."""
    count = board.sizes.models
    streams.topics.write([NewRecord(MODELS, None, _model(number)) for number in range(count)])
    until("all models are known", lambda: streams.count("model_announcements") >= count)
    begun = time.perf_counter()
    records = [NewRecord(DATA, None, _data_source(f"fits-{number}:0:0:9", f"{number} 28")) for number in range(count)]
    streams.topics.write(records)
    until("all are matched", lambda: streams.count("matches") >= count)
    board.add("matching_s", "1000x1000", [time.perf_counter() - begun])


@contextmanager
def _peak(hub: Hub, name: str) -> Iterator[list[float]]:
    """The most memory of that process in the block, in MB."""
    found, stopping = [0.0], threading.Event()
    process = psutil.Process(hub.processes[name].pid)

    def look() -> None:
        while not stopping.wait(0.1):
            found[0] = max(found[0], process.memory_info().rss / 1_000_000)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield found
    finally:
        stopping.set()
        looking.join()


def _model(number: int) -> bytes:
    return json.dumps(
        {
            "model_format": {"input_shape": f"{number} 28", "output_shape": "10"},
            "federated_params": {"federated_string_id": f"m{number:07d}", "data_restriction": "{}", "min_data": 5},
            "framework": "tf",
            "distributed": False,
            "incremental": False,
        }
    ).encode()


def _data_source(where: str, shape: str = "28 28") -> bytes:
    config = {"data_type": "uint8", "label_type": "uint8", "data_reshape": shape, "label_reshape": ""}
    return json.dumps(
        {
            "topic": where,
            "unsupervised_topic": None,
            "input_format": "RAW",
            "input_config": config,
            "description": "of the board",
            "dataset_restrictions": {},
            "validation_rate": 0.1,
            "test_rate": 0.1,
            "total_msg": 9,
            "incremental": False,
        }
    ).encode()


def until(what: str, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        if time.monotonic() > end:
            raise NotInTime(f"{what}: not within {WITHIN_S:.0f} s")
        time.sleep(LOOK_EVERY_S)
