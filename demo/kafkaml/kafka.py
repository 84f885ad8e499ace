"""The Kafka of these programs: ranges read, ends asked, records written with reports of their delivery."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as At
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from demo.kafkaml.expression import Range

WITHIN_S = 60.0
"""As long as a broker may take for anything that is there."""
LARGEST_RECORD_BYTES = 10_000_000
BY_KEY = -1
_POLL_S = 0.5


class KafkaTimeout(Exception):
    """Kafka took too long; the sentence says for what."""


class Record(NamedTuple):
    """One record: `key` and `value` are bytes, empty ones for none."""

    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


def partitions(servers: str, topic: str) -> list[int]:
    """Of a topic; none if it is not there (a broker may make it then)."""
    found = AdminClient(_settings(servers)).list_topics(topic, timeout=WITHIN_S).topics[topic]
    return sorted(found.partitions)


def make(servers: str, topics: Mapping[str, Mapping[str, str]]) -> None:
    """Topics of one partition, by name with their configurations; those that exist stay as they are."""
    wanted = [NewTopic(name, num_partitions=1, config=dict(config)) for name, config in topics.items()]
    admin = AdminClient(_settings(servers))  # its answers end with it
    for name, made in admin.create_topics(wanted, request_timeout=WITHIN_S).items():
        try:
            made.result(WITHIN_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise RuntimeError(f"topic {name} cannot be made: {error.args[0].str()}") from None


def ends(servers: str, topic: str) -> dict[int, int]:
    """Of each partition the offset behind its last record."""
    consumer = _consumer(servers, "nobody", {})
    try:
        return {
            one: consumer.get_watermark_offsets(At(topic, one), timeout=WITHIN_S)[1]
            for one in partitions(servers, topic)
        }
    finally:
        consumer.close()


def write(servers: str, topic: str, records: Iterable[Record], partition: int | None = None) -> dict[int, Range]:
    """Back when all are delivered: what each partition got. partition: by the key if it is not given."""
    ranges: dict[int, Range] = {}
    failed: list[str] = []

    def reported(error: KafkaError | None, message: Message) -> None:
        at, number = message.offset(), message.partition()
        if error is not None or at is None or number is None:
            failed.append(str(error))
            return
        known = ranges.get(number, Range(topic, number, at, at))
        ranges[number] = Range(topic, number, min(known.start, at), max(known.end, at + 1))

    producer = Producer(
        {
            **_settings(servers),
            "acks": "all",
            "max.in.flight.requests.per.connection": 1,
            "message.max.bytes": LARGEST_RECORD_BYTES,
            "message.timeout.ms": round(1000 * WITHIN_S),
        }
    )
    for one in records:
        producer.produce(
            topic,
            one.value,
            one.key or None,
            partition=BY_KEY if partition is None else partition,
            on_delivery=reported,
            headers=list(one.headers),
        )
        producer.poll(0)
    left = producer.flush(WITHIN_S)
    if left or failed:
        raise KafkaTimeout(f"{left + len(failed)} records were not delivered to {topic}: {', '.join(failed[:1])}")
    return ranges


def between(servers: str, ranges: Iterable[Range]) -> Iterator[Record]:
    """The records of the ranges, one partition after the other; of an empty range none."""
    consumer = _consumer(servers, "nobody", {"enable.partition.eof": True})
    try:
        for one in ranges:
            if one.start < one.end:
                consumer.assign([At(one.topic, one.partition, one.start)])
                yield from _until(consumer, one)
    finally:
        consumer.close()


def _until(consumer: Consumer, wanted: Range) -> Iterator[Record]:
    end = time.monotonic() + WITHIN_S
    while time.monotonic() < end:
        message = consumer.poll(_POLL_S)
        if message is None:
            continue
        at, error = message.offset() or 0, message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            raise KafkaException(error)
        if error is None and at < wanted.end:
            yield _record(message)
        if at >= (wanted.end - 1 if error is None else wanted.end):
            return
    raise KafkaTimeout(f"{wanted.topic}:{wanted.partition} is not there up to {wanted.end}")


def everything(servers: str, topic: str) -> Iterator[Record]:
    """Each record from the first on, and then those that come, for ever; in no group."""
    consumer = _consumer(servers, "nobody", {})
    try:
        consumer.assign([At(topic, one, OFFSET_BEGINNING) for one in partitions(servers, topic)])
        while True:
            message = consumer.poll(_POLL_S)
            if message is not None and message.error() is None:
                yield _record(message)
    finally:
        consumer.close()


class Group:
    """One member of a consumer group of one topic: records from the first that the group has not committed."""

    def __init__(self, servers: str, topic: str, group: str) -> None:
        self._consumer = _consumer(servers, group, {"partition.assignment.strategy": "range"})
        self._consumer.subscribe([topic])

    def next(self) -> Record:
        """The next record, whenever it comes."""
        while True:
            message = self._consumer.poll(_POLL_S)
            if message is not None and message.error() is None:
                return _record(message)

    def commit(self) -> None:
        """What has been handed out is done."""
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:  # a partition that was taken away meanwhile: its new owner reads again
            if error.args[0].code() not in (KafkaError._NO_OFFSET, KafkaError.REBALANCE_IN_PROGRESS):  # noqa: SLF001 - as above
                raise

    def skip(self) -> None:
        """Forget what lies there already: the next record is one that comes from now on."""
        for one in self._consumer.assignment():
            _, end = self._consumer.get_watermark_offsets(one, timeout=WITHIN_S)
            self._consumer.seek(At(one.topic, one.partition, end or OFFSET_END))

    def close(self) -> None:
        self._consumer.close()


def _consumer(servers: str, group: str, more: Mapping[str, str | bool]) -> Consumer:
    return Consumer(
        {
            **_settings(servers),
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
            "session.timeout.ms": 6000,
            **more,
        }
    )


def _settings(servers: str) -> dict[str, str | int | float | bool]:
    """log_level: warnings and worse; of less librdkafka writes a line when an admin client goes."""
    return {"bootstrap.servers": servers, "topic.metadata.refresh.interval.ms": 1000, "log_level": 4}


def _record(message: Message) -> Record:
    given: Sequence[tuple[str, object]] = message.headers() or []  # type: ignore[assignment] # a list, if there are any
    headers = [(name, value) for name, value in given if isinstance(value, bytes)]
    return Record(message.key() or b"", message.value() or b"", headers)
