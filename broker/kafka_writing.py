"""Topics and records in a cluster of Kafka: an admin client and an idempotent producer, both made when first needed.

Whatever a call waits for has a limit; what is not done by then is `Unreachable`. A record is written when its delivery
report says so, never by a flush alone: a flush that ends in time says nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import (
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from confluent_kafka.cimpl import NewTopic as TopicToMake

from broker.kafka_reading import without_values
from broker.streams import Ends, NotAccepted, Unreachable
from domain.stream_commands import NewRecord, NewTopic, Written

T = TypeVar("T")

ANSWERS_WITHIN_S = 10.0
_TURN_S = 0.05
_EARLIEST, _LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]
MAX_MESSAGE_BYTES = 2_097_152
ONCE: Mapping[str, Any] = {"acks": "all", "enable.idempotence": True}
"""Of every producer: a record is on all replicas that are in step, and a retry writes it no second time."""
THE_BROKERS_DEFAULT = -1
"""Replicas of a topic, as the cluster is set up."""
_AWAY = frozenset(
    {
        "_TRANSPORT",
        "_ALL_BROKERS_DOWN",
        "_RESOLVE",
        "_TIMED_OUT",
        "_TIMED_OUT_QUEUE",
        "_MSG_TIMED_OUT",
        "_WAIT_COORD",
        "_PURGE_QUEUE",
        "_PURGE_INFLIGHT",
        "_DESTROY",
        "REQUEST_TIMED_OUT",
        "BROKER_NOT_AVAILABLE",
        "LEADER_NOT_AVAILABLE",
        "NOT_LEADER_FOR_PARTITION",
        "NETWORK_EXCEPTION",
        "NOT_ENOUGH_REPLICAS",
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "NOT_CONTROLLER",
        "KAFKA_STORAGE_ERROR",
        "THROTTLING_QUOTA_EXCEEDED",
    }
)
"""Names of errors after which another try may help; those with an underscore are the client's own."""
_log = logging.getLogger(__name__)


class KafkaTopics:
    """`broker.streams.Topics` of a real cluster. settings: properties of librdkafka that say where it is."""

    def __init__(self, settings: Mapping[str, Any], within_s: float = ANSWERS_WITHIN_S) -> None:
        self._settings = dict(settings)
        self._within_s = within_s
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._producer: Producer | None = None

    def create(self, topics: Sequence[NewTopic]) -> None:
        """See `Topics.create`. What is there is not asked for: it may have been made by who alone may make topics."""
        there = self._partitions([one.name for one in topics])
        lacking = [one for one in topics if one.name not in there]
        if not lacking:
            return
        wanted = [TopicToMake(one.name, one.partitions, THE_BROKERS_DEFAULT, config=one.config) for one in lacking]
        made = self._asked(lambda admin: admin.create_topics(wanted, request_timeout=self._within_s))
        for name, future in made.items():
            try:
                self._result(future)
            except NotAccepted as error:
                if not _is(error, "TOPIC_ALREADY_EXISTS"):
                    raise NotAccepted(f"topic {name}: {error.fact}") from None

    def ends(self, topics: Iterable[str]) -> Ends:
        """See `Topics.ends`."""
        partitions = self._partitions(sorted(set(topics)))
        every = [TopicPartition(name, number) for name, numbers in partitions.items() for number in numbers]
        if not every:
            return {name: {} for name in partitions}
        first, end = (self._offsets(every, spec) for spec in (_EARLIEST, _LATEST))
        return {
            name: {number: (first[name, number], end[name, number]) for number in numbers}
            for name, numbers in partitions.items()
        }

    def _partitions(self, topics: list[str]) -> dict[str, list[int]]:
        """By topic that is there. Described, not looked up: a look-up makes a topic where the cluster lets it."""
        if not topics:
            return {}
        collection = TopicCollection(topics)
        asked = self._asked(lambda admin: admin.describe_topics(collection, request_timeout=self._within_s))
        found: dict[str, list[int]] = {}
        for name, future in asked.items():
            try:
                found[name] = [partition.id for partition in self._result(future).partitions]
            except NotAccepted as error:
                if not _is(error, "UNKNOWN_TOPIC_OR_PART"):
                    raise NotAccepted(f"topic {name}: {error.fact}") from None
        return found

    def _offsets(self, every: Sequence[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        asked = self._asked(
            lambda admin: admin.list_offsets(
                dict.fromkeys(every, spec),
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=self._within_s,
            )
        )
        return {(one.topic, one.partition): self._offset(future) for one, future in asked.items()}

    def _offset(self, future: Future[Any]) -> int:
        try:
            return int(self._result(future).offset)
        except NotAccepted as error:
            if not _is(error, "UNKNOWN_TOPIC_OR_PART"):
                raise
            # it was described a moment ago: not every broker has heard of it
            raise Unreachable(error.fact) from None

    def write(self, records: Sequence[NewRecord]) -> list[Written]:
        """See `Topics.write`."""
        reports: dict[int, tuple[KafkaError | None, Message]] = {}

        def report_to(place: int) -> Callable[[KafkaError | None, Message], None]:
            def heard(error: KafkaError | None, message: Message) -> None:
                reports[place] = (error, message)

            return heard

        producer = self._producing()
        try:
            for place, record in enumerate(records):
                headers: list[tuple[str, str | bytes | None]] = [*record.headers]
                producer.produce(
                    record.topic, record.value, key=record.key, headers=headers, on_delivery=report_to(place)
                )
        except (KafkaException, BufferError) as error:
            raise meant(error) from None
        left_s = self._within_s
        while len(reports) < len(records) and left_s > 0:
            producer.poll(_TURN_S)  # hands out reports, to whoever's records they are about
            left_s -= _TURN_S
        if len(reports) < len(records):
            raise Unreachable(f"no delivery report within {self._within_s:.0f} s")
        return [self._written(*reports[place]) for place in range(len(records))]

    def _written(self, error: KafkaError | None, message: Message) -> Written:
        if error is not None:
            if error.fatal():
                self.close()  # this producer is of no more use; the next one begins its numbers anew
            raise meant(KafkaException(error))
        return Written(topic=message.topic() or "", partition=message.partition() or 0, offset=message.offset() or 0)

    def close(self) -> None:
        """See `Topics.close`. What was not reported was promised to nobody."""
        with self._lock:
            if self._producer is not None:
                self._producer.purge()
                self._producer.flush(1)
            self._producer = self._admin = None

    def _asked(self, ask: Any) -> dict[Any, Future[Any]]:
        with self._lock:
            if self._admin is None:
                self._admin = made(AdminClient, self._settings)
            admin = self._admin
        try:
            futures: dict[Any, Future[Any]] = ask(admin)
        except KafkaException as error:
            raise meant(error) from None
        return futures

    def _result(self, future: Future[T]) -> T:
        try:
            return future.result(self._within_s + 1)
        except KafkaException as error:
            raise meant(error) from None
        except TimeoutError:
            raise Unreachable(f"no answer within {self._within_s:.0f} s") from None

    def _producing(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = made(
                    Producer,
                    {
                        **self._settings,
                        **ONCE,
                        "linger.ms": 0,
                        "delivery.timeout.ms": int(self._within_s * 1000),
                        "message.max.bytes": MAX_MESSAGE_BYTES,
                    },
                )
            return self._producer


def made(client: Any, settings: Mapping[str, Any]) -> Any:
    """A client; librdkafka's own words go to our log."""
    try:
        return client(dict(settings), logger=_log)
    except KafkaException as error:
        raise NotAccepted(f"the settings are refused: {without_values(error.args[0].str())}") from None


def _is(error: NotAccepted, name: str) -> bool:
    return error.fact.startswith(f"{name}: ")


def meant(error: KafkaException | BufferError) -> Unreachable | NotAccepted:
    """Whether another try may help."""
    if isinstance(error, BufferError):
        return Unreachable("too many records wait for the cluster")
    told: KafkaError = error.args[0]
    fact = f"{told.name()}: {told.str()}"[:500]
    return Unreachable(fact) if told.name() in _AWAY or told.retriable() else NotAccepted(fact)
