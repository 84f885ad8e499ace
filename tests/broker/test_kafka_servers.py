"""What the hub relies on of a Kafka broker, on both implementations that the tests have; and where they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from devservers.kafka import PrivateKafka, PrivateNoida, PrivateTansu
from tests.ops.program import all_gone

WITHIN_S = 20.0


@pytest.fixture(params=["noida", "tansu"])
def kafka(request: pytest.FixtureRequest) -> PrivateKafka:
    server: PrivateKafka = request.getfixturevalue(request.param)
    return server


def settings(server: PrivateKafka, **more: Any) -> dict[str, Any]:
    return {"bootstrap.servers": server.bootstrap_servers, "log_level": 0, **more}


def create(server: PrivateKafka, name: str, partitions: int = 1, **config: str) -> str:
    """A fresh topic, named after the test."""
    admin = AdminClient(settings(server))  # which has to outlive what it is asked
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(WITHIN_S)
    return name


def send(server: PrivateKafka, topic: str, values: Sequence[bytes | None], **more: Any) -> list[Message]:
    """The delivery reports, in order."""
    reports: list[Message] = []
    producer = Producer(settings(server, acks="all", **{"linger.ms": 0, **more}))
    for value in values:
        producer.produce(topic, value, key=b"k", partition=0, on_delivery=lambda _, report: reports.append(report))
    assert producer.flush(WITHIN_S) == 0
    return reports


ONE_BY_ONE = {"batch.num.messages": 1}
IN_ORDER = {"enable.idempotence": True}
"""It takes such a producer half a second to begin, so most tests go without."""


@contextmanager
def consumer(server: PrivateKafka, group: str, **more: Any) -> Iterator[Consumer]:
    session = 1500 if isinstance(server, PrivateTansu) else 6000
    timing = {"session.timeout.ms": session, "heartbeat.interval.ms": 300, "fetch.wait.max.ms": 50}
    rules = {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", **more}
    one = Consumer(settings(server, **timing, **rules))
    try:
        yield one
    finally:
        one.close()


def read(one: Consumer, count: int) -> list[Message]:
    messages = [one.poll(WITHIN_S) for _ in range(count)]
    assert all(message is not None and message.error() is None for message in messages)
    return messages  # type: ignore[return-value]  # None was refused above


def code_of(error: KafkaException) -> int:
    return int(error.args[0].code())


def test_a_topic_is_created_once(kafka: PrivateKafka) -> None:
    create(kafka, "created", partitions=3)
    with pytest.raises(KafkaException) as twice:
        create(kafka, "created", partitions=3)
    assert code_of(twice.value) == KafkaError.TOPIC_ALREADY_EXISTS
    metadata = AdminClient(settings(kafka)).list_topics(timeout=WITHIN_S)
    assert sorted(metadata.topics["created"].partitions) == [0, 1, 2]
    assert metadata.cluster_id


def test_a_missing_topic_is_told(kafka: PrivateKafka) -> None:
    admin = AdminClient(settings(kafka))
    asked = admin.describe_topics(TopicCollection(["missing"]))["missing"]
    with pytest.raises(KafkaException) as missing:
        asked.result(WITHIN_S)
    assert code_of(missing.value) == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_delivery_reports_tell_the_offset_and_the_watermarks_follow(kafka: PrivateKafka) -> None:
    topic = create(kafka, "reported")
    reports = send(kafka, topic, [b"a", b"b", b"c"], **ONE_BY_ONE, **IN_ORDER)
    assert [(report.error(), report.offset()) for report in reports] == [(None, 0), (None, 1), (None, 2)]
    with consumer(kafka, "reported") as one:
        assert one.get_watermark_offsets(TopicPartition(topic, 0), timeout=WITHIN_S) == (0, 3)


def test_a_record_comes_as_it_was_sent(kafka: PrivateKafka) -> None:
    topic = create(kafka, "faithful")
    producer = Producer(settings(kafka))
    producer.produce(topic, b'{"a": 1}', key=bytes([1, 44]), headers=[("h", b"v"), ("empty", b"")], timestamp=1_000_000)
    producer.flush(WITHIN_S)
    producer.produce(topic, None, key=None)
    assert producer.flush(WITHIN_S) == 0
    with consumer(kafka, "faithful") as one:
        one.assign([TopicPartition(topic, 0, 0)])
        first, second = read(one, 2)
    assert (first.key(), first.value()) == (bytes([1, 44]), b'{"a": 1}')
    assert first.headers() == [("h", b"v"), ("empty", b"")]
    assert first.timestamp()[1] == 1_000_000
    assert (second.key(), second.value()) == (None, None)


def test_what_a_group_did_not_commit_comes_again(kafka: PrivateKafka) -> None:
    topic = create(kafka, "again")
    send(kafka, topic, [b"a", b"b", b"c"])
    with consumer(kafka, "again") as one:
        one.subscribe([topic])
        assert [message.value() for message in read(one, 3)] == [b"a", b"b", b"c"]
        one.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    with consumer(kafka, "again") as one:
        one.subscribe([topic])
        assert [message.value() for message in read(one, 2)] == [b"b", b"c"]
        (committed,) = one.committed([TopicPartition(topic, 0)], timeout=WITHIN_S)
    assert committed.offset == 1


def test_a_topic_made_again_begins_at_offset_0(kafka: PrivateKafka) -> None:
    topic = create(kafka, "again-from-0")
    send(kafka, topic, [b"old", b"old"])
    admin = AdminClient(settings(kafka))
    admin.delete_topics([topic])[topic].result(WITHIN_S)
    create(kafka, topic)
    (report,) = send(kafka, topic, [b"new"])
    assert report.offset() == 0


def test_a_broker_that_is_paused_delays_and_loses_nothing(kafka: PrivateKafka) -> None:
    topic = create(kafka, "paused")
    producer = Producer(settings(kafka, acks="all"))
    kafka.pause()
    try:
        producer.produce(topic, b"a", partition=0)
        assert producer.flush(0.2) == 1
    finally:
        kafka.go_on()
    assert producer.flush(WITHIN_S) == 0
    with consumer(kafka, "paused") as one:
        assert one.get_watermark_offsets(TopicPartition(topic, 0), timeout=WITHIN_S) == (0, 1)


def test_a_broker_leaves_no_process(kafka: PrivateKafka) -> None:
    other = type(kafka)(kafka.folder.parent / f"{kafka.folder.name}-2")
    other.start()
    assert other.port != kafka.port
    processes = [psutil.Process(pid) for pid in other.pids]
    assert processes
    other.stop()
    all_gone(processes)


def test_noida_is_right_about_the_end_after_a_batch_and_tansu_is_not(noida: PrivateNoida, tansu: PrivateTansu) -> None:
    """So the end of a log is asked of noida only, or is what a delivery report says."""
    ends = {}
    for server in (noida, tansu):
        topic = create(server, "batch")
        reports = send(server, topic, [b"a", b"b", b"c"], **{"linger.ms": 50})
        assert [report.offset() for report in reports] == [0, 1, 2]
        with consumer(server, "batch") as one:
            ends[type(server)] = one.get_watermark_offsets(TopicPartition(topic, 0), timeout=WITHIN_S)[1]
    assert ends == {PrivateNoida: 3, PrivateTansu: 1}


def test_only_tansu_has_ids_of_topics_and_clusters(noida: PrivateNoida, tansu: PrivateTansu) -> None:
    """So that a topic was made again shows on tansu alone, and two noidas are one cluster by their id."""
    told = {}
    for server in (noida, tansu):
        admin = AdminClient(settings(server))
        topics = [create(server, f"with-an-id-{number}") for number in (1, 2)]
        described = admin.describe_topics(TopicCollection(topics))
        told[type(server)] = len({str(described[topic].result(WITHIN_S).topic_id) for topic in topics})
    assert told == {PrivateNoida: 1, PrivateTansu: 2}


def test_noida_hides_what_was_aborted(noida: PrivateNoida) -> None:
    topic = create(noida, "aborted")
    producer = Producer(settings(noida, **{"transactional.id": "aborted"}))
    producer.init_transactions(WITHIN_S)
    for value, end in ((b"no", producer.abort_transaction), (b"yes", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value, partition=0)
        producer.flush(WITHIN_S)
        end(WITHIN_S)
    with consumer(noida, "aborted", **{"isolation.level": "read_committed"}) as one:
        one.assign([TopicPartition(topic, 0, 0)])
        assert [message.value() for message in read(one, 1)] == [b"yes"]


def test_noida_tells_what_is_out_of_range_and_what_is_too_large(noida: PrivateNoida) -> None:
    topic = create(noida, "limited", **{"max.message.bytes": "1000"})
    (report,) = send(noida, topic, [b"x" * 5000])
    assert report.error().code() == KafkaError.MSG_SIZE_TOO_LARGE
    send(noida, topic, [b"a"])
    with consumer(noida, "limited", **{"auto.offset.reset": "error"}) as one:
        one.assign([TopicPartition(topic, 0, 700)])
        message = one.poll(WITHIN_S)
    assert message is not None
    assert message.error().code() == KafkaError._AUTO_OFFSET_RESET


def test_noida_keeps_what_it_has_through_a_kill(noida: PrivateNoida) -> None:
    topic = create(noida, "kept")
    send(noida, topic, [b"a", b"b"])
    with consumer(noida, "kept") as one:
        one.assign([TopicPartition(topic, 0, 0)])
        read(one, 1)
        one.commit(offsets=[TopicPartition(topic, 0, 1)], asynchronous=False)
    noida.settle()
    noida.kill()
    assert noida.pids == []
    noida.start()
    with consumer(noida, "kept") as one:
        assert one.get_watermark_offsets(TopicPartition(topic, 0), timeout=WITHIN_S) == (0, 2)
        (committed,) = one.committed([TopicPartition(topic, 0)], timeout=WITHIN_S)
    assert committed.offset == 1
