"""The doing actor of streams: what it makes, what it reports, and that a second time it makes nothing twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from actors.streams import AWAY_S, TRIED_FOR_S, StreamDoer
from broker.kafka_writing import KafkaTopics
from broker.port import Temporary
from broker.streams import EmbeddedTopics, NotAccepted
from devservers.kafka import PrivateNoida
from domain import codec
from domain import stream_commands as sc
from domain.ids import derive
from fedyard.wire.times import SECOND
from tests.hub import TestClock

ABOUT = derive("about")


@pytest.fixture
def kafka() -> EmbeddedTopics:
    return EmbeddedTopics()


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def doer(kafka: EmbeddedTopics, clock: TestClock) -> StreamDoer:
    return StreamDoer({"cloud": lambda: kafka}, clock)


def do(doer: StreamDoer, clock: TestClock, at: int | None = None, **fields: Any) -> sc.ReportStream:
    command = sc.PrepareStream(**{"cluster": "cloud", "purpose": "training", "about_id": ABOUT, "attempt": 2} | fields)
    (report,) = doer(
        codec.envelope_of(command, id=derive("command"), by=codec.THE_HUB, at=clock.now() if at is None else at)
    )
    assert isinstance(report, sc.ReportStream)
    assert (report.about_id, report.purpose, report.attempt) == (ABOUT, command.purpose, 2)
    return report


def record(topic: str, **fields: Any) -> sc.NewRecord:
    return sc.NewRecord(topic=topic, key=b"\1", value=b"{}", **fields)


def range_of(topic: str, start: int, end: int, partition: int = 0) -> sc.Range:
    return sc.Range(topic=topic, partition=partition, start=start, end=end)


def test_topics_are_made_before_the_record_is_written(
    doer: StreamDoer, kafka: EmbeddedTopics, clock: TestClock
) -> None:
    report = do(doer, clock, topics=[sc.NewTopic(name="own")], records=[record("own")])
    assert report.reason == ""
    assert report.written == [sc.Written(topic="own", partition=0, offset=0)]
    assert kafka.records == {"own": [record("own")]}


def test_a_second_time_nothing_is_made_twice(doer: StreamDoer, kafka: EmbeddedTopics, clock: TestClock) -> None:
    for _ in range(2):
        report = do(doer, clock, topics=[sc.NewTopic(name="own")], records=[record("own")])
        assert report.reason == ""
    assert len(kafka.records["own"]) == 1
    do(doer, clock, records=[record("own", once=False)])
    assert len(kafka.records["own"]) == 2


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"needs": ["data", "lost"]}, "topic_missing", "topic lost is not there"),
        ({"records": [record("lost")]}, "topic_missing", "topic lost is not there"),
        ({"ranges": [range_of("lost", 0, 1)]}, "topic_missing", "topic lost is not there"),
        ({"ranges": [range_of("data", 0, 1, 9)]}, "topic_missing", "partition 9 of topic data is not there"),
        ({"ranges": [range_of("data", 2, 5)]}, "range_gone", "records 2 to 3 are gone"),
        ({"ranges": [range_of("data", 3, 6)]}, "range_ahead", "6 is announced as the end of the range, the log's is 5"),
        ({"ranges": [range_of("data", 3, 5), range_of("data", 0, 0)]}, "", ""),
        ({"ranges": [range_of("data", 3, 5)], "needs": ["data"]}, "", ""),
    ],
)
def test_what_is_missing_is_reported_and_no_record_written(
    doer: StreamDoer, kafka: EmbeddedTopics, clock: TestClock, fields: dict[str, Any], reason: str, detail: str
) -> None:
    kafka.create([sc.NewTopic(name="data"), sc.NewTopic(name="own")])
    kafka.write([record("data")] * 5)
    kafka.first["data"] = 3
    report = do(doer, clock, **{"records": [record("own")]} | fields)
    assert report.reason == reason
    assert detail in report.detail
    assert len(kafka.records["own"]) == (reason == "")


def test_a_cluster_that_is_away_is_tried_again_and_told_after_minutes(
    doer: StreamDoer, kafka: EmbeddedTopics, clock: TestClock
) -> None:
    began = clock.now()
    kafka.away = "_TRANSPORT: nobody there"
    with pytest.raises(Temporary, match="cluster cloud is away: _TRANSPORT"):
        do(doer, clock, at=began)
    kafka.away = ""
    with pytest.raises(Temporary, match="a moment ago"):
        do(doer, clock, at=began)
    clock.sleep(AWAY_S)
    assert do(doer, clock, at=began).reason == ""
    kafka.away = "_TRANSPORT: nobody there"
    report = do(doer, clock, at=began - TRIED_FOR_S * SECOND)
    assert (report.reason, report.detail) == ("not_reached", "_TRANSPORT: nobody there")
    kafka.away = ""
    assert do(doer, clock, at=began - TRIED_FOR_S * SECOND).reason == ""  # the last attempt is a real one


def test_what_a_cluster_does_not_accept_is_reported_at_once(clock: TestClock) -> None:
    class Strict(EmbeddedTopics):
        def create(self, topics: Sequence[sc.NewTopic]) -> None:
            raise NotAccepted(f"topic {topics[0].name}: POLICY_VIOLATION: too few replicas")

    doer = StreamDoer({"cloud": Strict}, clock)
    report = do(doer, clock, topics=[sc.NewTopic(name="own")])
    assert (report.reason, report.detail) == ("refused", "topic own: POLICY_VIOLATION: too few replicas")


def test_a_topic_that_was_made_and_is_not_seen_yet_is_no_missing_one(clock: TestClock) -> None:
    class Slow(EmbeddedTopics):
        def create(self, topics: Sequence[sc.NewTopic]) -> None:
            """Only the controller knows of them."""

    doer = StreamDoer({"cloud": Slow}, clock)
    with pytest.raises(Temporary, match="not seen everywhere yet"):
        do(doer, clock, topics=[sc.NewTopic(name="own")], records=[record("own")])


def test_a_cluster_that_the_settings_do_not_know_is_reported(doer: StreamDoer, clock: TestClock) -> None:
    report = do(doer, clock, cluster="edge")
    assert (report.reason, report.detail) == ("refused", "the hub's settings know no cluster 'edge'")


@pytest.fixture
def real(noida: PrivateNoida) -> Iterator[KafkaTopics]:
    cluster = KafkaTopics({"bootstrap.servers": noida.bootstrap_servers})
    yield cluster
    cluster.close()


def test_on_a_real_broker(real: KafkaTopics, clock: TestClock) -> None:
    doer = StreamDoer({"cloud": lambda: real}, clock)
    real.create([sc.NewTopic(name="doer-data")])
    real.write([record("doer-data")] * 3)
    wanted: dict[str, Any] = {"topics": [sc.NewTopic(name="doer-own")], "records": [record("doer-own")]}
    for _ in range(2):
        assert do(doer, clock, ranges=[range_of("doer-data", 0, 3)], **wanted).reason == ""
    assert real.ends(["doer-own"]) == {"doer-own": {0: (0, 1)}}
    assert do(doer, clock, ranges=[range_of("doer-data", 0, 4)], **wanted).reason == "range_ahead"
    assert do(doer, clock, needs=["doer-lost"]).reason == "topic_missing"
