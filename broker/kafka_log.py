"""A topic of Kafka at whose end records are put, in order: one idempotent producer that never gives up by itself.

Librdkafka keeps the order of a partition through its own retries as long as no record runs out of time, so none does:
a cluster that is away delays all of them. Whoever gives up, or finds a record refused, throws the producer away with
what is still in it, and the next one begins behind the last record that is known to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from broker.kafka_writing import ONCE, KafkaTopics, made, meant
from broker.streams import NotAccepted, Unreachable
from domain.stream_commands import NewTopic

PARTITIONS = 6
"""Of a topic that is not there yet; an operator who wants others makes it."""
_TURN_S = 0.1
_FOREVER = 0


class KafkaLog:
    """`broker.streams.Log` of a real cluster; for one thread. settings: properties that say where it is."""

    def __init__(self, settings: Mapping[str, Any], topic: str, headers: Mapping[str, str]) -> None:
        """headers: of each record."""
        self._settings = dict(settings)
        self._topic = topic
        self._headers: list[tuple[str, str | bytes | None]] = [*headers.items()]
        self._producer: Producer | None = None

    def append(self, records: Sequence[tuple[bytes, bytes]], goes_on: Callable[[], bool]) -> tuple[int, str]:
        """See `Log.append`."""
        if not records:
            return 0, ""
        try:
            producer = self._producing()
        except (Unreachable, NotAccepted) as error:
            return 0, error.fact
        reports: dict[int, KafkaError | None] = {}
        refused: KafkaError | None = None
        sent = 0
        for key, value in records:
            try:
                while not self._put(producer, key, value, _to(reports, sent)):
                    if not goes_on():
                        return self._given_up(reports)
                    producer.poll(_TURN_S)
            except KafkaException as error:  # such a record never leaves us; those before it do
                refused = error.args[0]
                break
            sent += 1
        while len(reports) < sent:
            producer.poll(_TURN_S)
            if len(reports) < sent and not goes_on():
                return self._given_up(reports)
        refused = _refused(reports) or refused
        if refused is None:
            return len(records), ""
        written, _ = self._given_up(reports)
        return written, meant(KafkaException(refused)).fact

    def close(self) -> None:
        """See `Log.close`."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(1)
            self._producer = None

    def _put(self, producer: Producer, key: bytes, value: bytes, heard: Callable[[Any, Message], None]) -> bool:
        """False where there is no room in the queue at the moment."""
        try:
            producer.produce(self._topic, value, key=key, headers=self._headers, on_delivery=heard)
        except BufferError:
            return False
        return True

    def _given_up(self, reports: Mapping[int, KafkaError | None]) -> tuple[int, str]:
        """With reports that come while it is closed: what was sent last may have arrived."""
        self.close()
        return _leading(reports), ""

    def _producing(self) -> Producer:
        """Once the topic is there. Raises `Unreachable`, `NotAccepted`."""
        if self._producer is None:
            topics = KafkaTopics(self._settings)
            try:
                if self._topic not in topics.ends([self._topic]):
                    topics.create([NewTopic(name=self._topic, partitions=PARTITIONS)])
            finally:
                topics.close()
            own = {**ONCE, "delivery.timeout.ms": _FOREVER, "linger.ms": 5}
            self._producer = made(Producer, self._settings | own)
        return self._producer


def _to(reports: dict[int, KafkaError | None], place: int) -> Callable[[KafkaError | None, Message], None]:
    def heard(error: KafkaError | None, _: Message) -> None:
        reports[place] = error

    return heard


def _refused(reports: Mapping[int, KafkaError | None]) -> KafkaError | None:
    return next((error for error in reports.values() if error is not None), None)


def _leading(reports: Mapping[int, KafkaError | None]) -> int:
    """How many, from the first on, were written."""
    place = 0
    while place in reports and reports[place] is None:
        place += 1
    return place
