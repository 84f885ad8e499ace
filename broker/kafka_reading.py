"""A member of a group of Kafka's: `broker.reading.Reader` by librdkafka.

The group's offsets are ours to commit, and where reading begins is ours to say: the client neither commits nor jumps by
itself. What it holds in advance is bounded.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from operator import methodcaller
from typing import Any

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from broker.reading import Committed, Listener, Place, Taken
from broker.streams import NotAccepted, Unreachable

ANSWERS_WITHIN_S = 5.0
_OURS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "range",
    "isolation.level": "read_committed",
    "allow.auto.create.topics": False,
}
_UNLESS_SAID: Mapping[str, Any] = {
    "topic.metadata.refresh.interval.ms": 10_000,
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 50,
    "queued.max.messages.kbytes": 8192,
    "fetch.max.bytes": 8_388_608,
    "socket.timeout.ms": 10_000,
    "max.poll.interval.ms": 60_000,
    "socket.keepalive.enable": True,
}
"""What the settings file of a cluster may say otherwise."""
_FOUND_OUT = frozenset({"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE", "UNKNOWN_TOPIC_OR_PART"})
"""What whoever asks finds out, and says better: a quiet connection is closed every now and then, and of the topics that
are not there librdkafka names one."""
_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""A topic id of zeros."""
_LAST_MS = 253_402_300_799_999
"""The end of the calendar: a producer may say any time, and no record was written later."""
_ask_headers = methodcaller("headers")
_log = logging.getLogger(__name__)


class KafkaReader:
    """See `broker.reading.Reader`. properties: of librdkafka, that say where the cluster is.

    Raises `NotAccepted` for such as there are not.
    """

    def __init__(self, properties: Mapping[str, Any], group: str) -> None:
        self._properties = dict(properties)
        settings = {**_UNLESS_SAID, **self._properties, **_OURS, "group.id": group}
        callbacks = {"error_cb": self._complained, "on_commit": self._on_commit, "logger": _log}
        try:
            self._consumer = Consumer({**settings, **callbacks})
        except KafkaException as error:
            raise NotAccepted(f"the settings are refused: {without_values(error.args[0].str())}") from None
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._trouble: str | None = None
        self._over: str | None = None
        self._listener: Listener | None = None

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """See `Reader.subscribe`."""
        self._listener = listener
        self._consumer.subscribe(
            list(topics),
            on_assign=self._on_assign,
            on_revoke=lambda _, those: listener.revoked(_places(those)),
            on_lost=lambda _, those: listener.lost(_places(those)),
        )

    def poll(self, seconds: float, at_most: int) -> list[Taken]:
        """See `Reader.poll`."""
        if self._over is not None:
            raise NotAccepted(self._over)
        try:
            first = self._consumer.poll(seconds)
            rest = self._consumer.consume(at_most - 1, 0) if first is not None and at_most > 1 else []
        except KafkaException as error:
            raise _meant(error) from None
        return [taken for each in (first, *rest) if each is not None and (taken := self._taken(each)) is not None]

    def committed_offsets(self, places: Iterable[Place]) -> dict[Place, Committed]:
        """See `Reader.committed_offsets`."""
        try:
            found = self._consumer.committed(_partitions(places), timeout=ANSWERS_WITHIN_S)
        except KafkaException as error:
            raise _meant(error) from None
        return {
            Place(one.topic, one.partition): Committed(one.offset, one.metadata or "")
            for one in found
            if one.offset >= 0
        }

    def ends(self, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """See `Reader.ends`."""
        try:
            return {
                place: self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=ANSWERS_WITHIN_S)
                for place in places
            }
        except KafkaException as error:
            raise _meant(error) from None

    def first_since(self, places: Iterable[Place], at_ms: int) -> dict[Place, int]:
        """See `Reader.first_since`."""
        wanted = [TopicPartition(*place, at_ms) for place in places]
        try:
            found = self._consumer.offsets_for_times(wanted, timeout=ANSWERS_WITHIN_S)
        except KafkaException as error:
            raise _meant(error) from None
        return {Place(one.topic, one.partition): one.offset for one in found if one.offset >= 0}

    def assign(self, positions: Mapping[Place, int]) -> None:
        """See `Reader.assign`."""
        self._consumer.assign([TopicPartition(*place, offset) for place, offset in sorted(positions.items())])

    def pause(self, places: Iterable[Place]) -> None:
        """See `Reader.pause`."""
        self._consumer.pause(_partitions(places))

    def resume(self, places: Iterable[Place]) -> None:
        """See `Reader.resume`."""
        self._consumer.resume(_partitions(places))

    def commit(self, offsets: Mapping[Place, int], notes: Mapping[Place, str], *, wait: bool) -> None:
        """See `Reader.commit`."""
        wanted = [
            TopicPartition(place.topic, place.partition, offset, notes.get(place, ""))
            for place, offset in offsets.items()
        ]
        try:
            if wait:
                self._on_commit(None, self._consumer.commit(offsets=wanted, asynchronous=False) or [])
            else:
                self._consumer.commit(offsets=wanted, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], wanted)

    def trouble(self) -> str | None:
        """See `Reader.trouble`."""
        return self._trouble

    def cluster_id(self) -> str:
        """See `Reader.cluster_id`."""
        try:
            found = self._asking().describe_cluster(request_timeout=ANSWERS_WITHIN_S).result(ANSWERS_WITHIN_S + 1)
        except KafkaException as error:
            raise _meant(error) from None
        except TimeoutError:
            raise Unreachable(f"no answer within {ANSWERS_WITHIN_S:.0f} s") from None
        return found.cluster_id or ""

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """See `Reader.topic_ids`."""
        ids: dict[str, str] = {}
        try:
            asked = self._asking().describe_topics(TopicCollection(sorted(topics)), request_timeout=ANSWERS_WITHIN_S)
            for name, future in asked.items():
                try:
                    id = str(future.result(ANSWERS_WITHIN_S + 1).topic_id)
                except KafkaException as error:
                    if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                        raise
                else:
                    ids[name] = "" if id == _NO_ID else id
        except KafkaException as error:
            raise _meant(error) from None
        except TimeoutError:
            raise Unreachable(f"no answer within {ANSWERS_WITHIN_S:.0f} s") from None
        return ids

    def close(self) -> None:
        """See `Reader.close`."""
        self._consumer.close()

    def _taken(self, message: Message) -> Taken | None:
        error = message.error()
        place = Place(message.topic() or "", message.partition() or 0)
        if error is None:
            self._trouble = None
            kind, at_ms = message.timestamp()
            return Taken(
                place,
                message.offset() or 0,
                0 if kind == TIMESTAMP_NOT_AVAILABLE or not 0 <= at_ms <= _LAST_MS else at_ms * 1000,
                _bytes(message.key()),
                _bytes(message.value()),
                _headers(message),
            )
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):  # noqa: SLF001 - so called
            assert self._listener is not None, "nothing comes before `subscribe`"
            self._listener.out_of_range(place)
        elif error.fatal():
            raise NotAccepted(_fact(error))
        else:
            self._complained(error)
        return None

    def _on_assign(self, _: Consumer, those: list[TopicPartition]) -> None:
        assert self._listener is not None, "nothing is assigned before `subscribe`"
        self._trouble = None
        self._listener.assigned(_places(those))

    def _complained(self, error: KafkaError) -> None:
        """What nobody finds out otherwise."""
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - so called
            self._over = _fact(error)  # fenced, say: this consumer brings nothing any more, and says so just once
        if error.name() not in _FOUND_OUT:
            self._trouble = _fact(error)

    def _on_commit(self, error: KafkaError | None, those: list[TopicPartition]) -> None:
        assert self._listener is not None, "nothing is committed before `subscribe`"
        failed = error or next((one.error for one in those if one.error is not None), None)
        if failed is not None:
            self._listener.refused(_fact(failed))
        if error is None:
            done = {Place(one.topic, one.partition): one.offset for one in those if one.error is None}
            self._listener.committed(done)

    def _asking(self) -> AdminClient:
        with self._lock:
            if self._admin is None:
                self._admin = AdminClient(dict(self._properties), logger=_log)
            return self._admin


def without_values(text: str) -> str:
    """What librdkafka says of settings, which may be secrets."""
    return re.sub(r'value "[^"]*"', "value", text)


def _places(those: Iterable[TopicPartition]) -> list[Place]:
    return [Place(one.topic, one.partition) for one in those]


def _partitions(places: Iterable[Place]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in places]


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _headers(message: Message) -> list[tuple[str, bytes | None]]:
    """None where one has a name that is no UTF-8: there the client leaves holes, which nobody may look into.

    It returns them with an error set. A call that the interpreter has specialised, as it does with one that is made
    often, does not look for that, and dies of the first hole; one through `methodcaller` is never specialised.
    """
    try:
        found: Any = _ask_headers(message) or ()  # pairs, whatever its types say
    except (SystemError, UnicodeDecodeError):
        return []
    return [(name, _bytes(value)) for name, value in found]


def _fact(error: KafkaError) -> str:
    return f"{error.name()}: {error.str()}"[:500]


def _meant(error: KafkaException) -> Unreachable | NotAccepted:
    """What is not refused for good is tried again."""
    told: KafkaError = error.args[0]
    return NotAccepted(_fact(told)) if told.fatal() or "AUTHORIZATION" in told.name() else Unreachable(_fact(told))
