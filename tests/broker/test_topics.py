"""Topics and records: one suite for the cluster in memory and for two real brokers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition

from broker.kafka_log import KafkaLog
from broker.kafka_writing import KafkaTopics
from broker.streams import EmbeddedTopics, NotAccepted, Topics, Unreachable
from devservers.kafka import PrivateKafka, PrivateNoida
from devservers.ports import free_port
from domain.stream_commands import NewRecord, NewTopic, Written
from tests.waiting import until

AWAY_WITHIN_S = 0.3


@pytest.fixture(params=["embedded", "noida", "tansu"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Topics]:
    if request.param == "embedded":
        yield EmbeddedTopics()
        return
    server: PrivateKafka = request.getfixturevalue(request.param)
    real = KafkaTopics({"bootstrap.servers": server.bootstrap_servers})
    yield real
    real.close()


def record(topic: str, value: bytes = b"v", key: bytes | None = b"k") -> NewRecord:
    return NewRecord(topic=topic, key=key, value=value)


def test_a_topic_is_there_once_it_was_created_and_stays_as_it_is(cluster: Topics) -> None:
    cluster.create([])
    cluster.create([NewTopic(name="topics-made", partitions=2, config={"max.message.bytes": "50000"})])
    cluster.create([NewTopic(name="topics-made", partitions=7), NewTopic(name="topics-made-2")])
    assert cluster.ends(["topics-made", "topics-made-2"]) == {
        "topics-made": {0: (0, 0), 1: (0, 0)},
        "topics-made-2": {0: (0, 0)},
    }


def test_a_topic_that_is_not_there_is_not_made_by_asking(cluster: Topics) -> None:
    assert cluster.ends([]) == {}
    assert cluster.ends(["topics-never"]) == {}
    assert cluster.ends(["topics-never"]) == {}


def test_what_was_written_is_where_the_report_says(cluster: Topics) -> None:
    cluster.create([NewTopic(name="topics-written")])
    assert cluster.write([]) == []
    assert cluster.write([record("topics-written", b"1")]) == [Written(topic="topics-written", partition=0, offset=0)]
    assert cluster.write([record("topics-written", b"2", key=None)]) == [
        Written(topic="topics-written", partition=0, offset=1)
    ]
    assert cluster.ends(["topics-written"]) == {"topics-written": {0: (0, 2)}}


def test_several_records_are_reported_in_their_order(cluster: Topics) -> None:
    cluster.create([NewTopic(name="topics-several-1"), NewTopic(name="topics-several-2")])
    names = ["topics-several-2", "topics-several-1", "topics-several-2"]
    written = cluster.write([record(name) for name in names])
    assert [(one.topic, one.offset) for one in written] == [(names[0], 0), (names[1], 0), (names[2], 1)]


def test_key_value_and_headers_arrive(noida: PrivateNoida) -> None:
    real = KafkaTopics({"bootstrap.servers": noida.bootstrap_servers})
    real.create([NewTopic(name="topics-whole")])
    real.write(
        [NewRecord(topic="topics-whole", key=bytes([1, 44]), value=b"{}", headers=[("a", b"b"), ("none", None)])]
    )
    real.close()
    reader = Consumer({"bootstrap.servers": noida.bootstrap_servers, "group.id": "topics-whole", "log_level": 0})
    reader.assign([TopicPartition("topics-whole", 0, 0)])
    found = reader.poll(20)
    reader.close()
    assert found is not None
    assert (found.key(), found.value(), found.headers()) == (bytes([1, 44]), b"{}", [("a", b"b"), ("none", None)])


def test_whoever_writes_is_idempotent_whatever_the_settings_say(noida: PrivateNoida) -> None:
    """So librdkafka says of itself, which then takes no other acks than those of all replicas."""
    said: list[str] = []
    weak = {"acks": "1", "enable.idempotence": "false", "statistics.interval.ms": "20", "stats_cb": said.append}
    settings = {"bootstrap.servers": noida.bootstrap_servers, **weak}
    real, log = KafkaTopics(settings), KafkaLog(settings, "topics-log", {})
    real.create([NewTopic(name="topics-once")])
    for write in (lambda: real.write([record("topics-once")]), lambda: log.append([(b"k", b"v")], lambda: True)):
        said.clear()
        until(lambda write=write: write() and said)
        assert "idemp_state" in json.loads(said[-1]).get("eos", {})
    real.close()
    log.close()


def test_what_the_cluster_refuses_is_told_as_refused(noida: PrivateNoida) -> None:
    real = KafkaTopics({"bootstrap.servers": noida.bootstrap_servers})
    with pytest.raises(NotAccepted, match=r"^topic topics/odd: TOPIC_EXCEPTION"):
        real.create([NewTopic(name="topics/odd")])
    real.create([NewTopic(name="topics-small", config={"max.message.bytes": "1000"})])
    with pytest.raises(NotAccepted, match=r"^MSG_SIZE_TOO_LARGE"):
        real.write([record("topics-small", b"x" * 5000)])
    real.close()
    with pytest.raises(NotAccepted, match="settings are refused"):
        KafkaTopics({"no.such.property": "1"}).ends(["topics-small"])


def test_a_cluster_that_is_away_is_told_as_away_and_is_there_again(noida: PrivateNoida) -> None:
    nobody = KafkaTopics({"bootstrap.servers": f"127.0.0.1:{free_port()}"}, within_s=AWAY_WITHIN_S)
    for ask in (lambda: nobody.ends(["t"]), lambda: nobody.create([NewTopic(name="t")])):
        with pytest.raises(Unreachable):
            ask()
    with pytest.raises(Unreachable):
        nobody.write([record("t")])
    nobody.close()
    real = KafkaTopics({"bootstrap.servers": noida.bootstrap_servers}, within_s=AWAY_WITHIN_S)
    real.create([NewTopic(name="topics-back")])
    noida.pause()
    try:
        with pytest.raises(Unreachable):
            real.write([record("topics-back")])
    finally:
        noida.go_on()
    patient = KafkaTopics({"bootstrap.servers": noida.bootstrap_servers})
    assert len(patient.write([record("topics-back")])) == 1
    patient.close()
    real.close()
