"""Commands that could not be decided, for the operator: list, show, replay, purge. Never the payload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import pika
from dramatiq.common import dq_name, q_name, xq_name

from broker.causes import cause_of
from broker.journal import Journal, entry_of
from broker.messages import DramatiqMessage, Unreadable, message_in
from broker.port import BrokerUnavailable
from broker.publisher import GroupPublisher
from broker.routes import QUEUES
from broker.topology import declarations, parameters_of
from config.clock import SystemClock
from config.settings import Settings, url_path
from domain.ids import sha256_hex
from domain.values import Micros
from fedyard.wire.times import SECOND

LOOKED_FOR_S = 3.0
BACK_WITHIN_S = 2.0
"""How long letters that were looked at are waited for; another look at the same time may hold them."""
UNREADABLE = "unreadable"
"""The kind of a body that is no message. Its id is the first half of its digest. It can only be shown and purged."""


@dataclass(frozen=True)
class DeadLetter:
    """queue: the one it was for. kind: its actor. at: when it died. failures: how often it was tried and failed.

    size_bytes and digest (SHA-256) are of the encoded command.
    """

    queue: str
    id: str
    kind: str
    at: Micros
    failures: int
    reason: str
    size_bytes: int
    digest: str


class DeadLetters(Protocol):
    """Raises `BrokerUnavailable` if the broker cannot be asked."""

    def list(self, queue: str | None = None, limit: int = 1000) -> Sequence[DeadLetter]:
        """Of one queue or of all, oldest first in each."""

    def show(self, id: str) -> DeadLetter | None:
        """The one of that id."""

    def replay(self, id: str | None = None, queue: str | None = None) -> int:
        """Back to their queues with their failures forgotten: one, those of a queue, or all. How many that were.

        An unreadable one stays. One that fails again comes back as a new dead letter.
        """

    def purge(self, id: str | None = None, queue: str | None = None) -> int:
        """Throw away one, or all of a queue. How many that were. One of the two must be given."""

    def close(self) -> None:
        """Let go of the broker."""


def open_dead_letters(settings: Settings) -> DeadLetters:
    """For the command line. Embedded: only while no hub runs; `JournalLocked` says which process has the journal."""
    if settings.embedded:
        return EmbeddedDeadLetters(Journal(Path(url_path(settings.broker_url)).absolute(), SystemClock()))
    return RabbitDeadLetters(settings.broker_url)


Wanted: TypeAlias = Callable[[DeadLetter], bool]
_Found: TypeAlias = tuple[DeadLetter, DramatiqMessage | None, Callable[[], None]]


def _wanted(id: str | None, queue: str | None) -> Wanted:
    return lambda letter: (id is None or letter.id == id) and (queue is None or letter.queue == queue)


class EmbeddedDeadLetters:
    """On the journal, closed with it. What is replayed while no hub runs is decided when one starts.

    requeue: how a running broker takes a message back (row, message).
    """

    def __init__(self, journal: Journal, requeue: Callable[[int, DramatiqMessage], None] | None = None) -> None:
        self.journal = journal
        self.requeue = requeue

    def list(self, queue: str | None = None, limit: int = 1000) -> Sequence[DeadLetter]:
        return [letter for _, letter, _ in self._found(_wanted(None, queue))][:limit]

    def show(self, id: str) -> DeadLetter | None:
        return next((letter for _, letter, _ in self._found(_wanted(id, None))), None)

    def replay(self, id: str | None = None, queue: str | None = None) -> int:
        replayed = 0
        for row, _, message in self._found(_wanted(id, queue)):
            if message is not None:
                fresh = _anew(message)
                self.journal.revive(row, entry_of(fresh))
                if self.requeue is not None:
                    self.requeue(row, fresh)
                replayed += 1
        return replayed

    def purge(self, id: str | None = None, queue: str | None = None) -> int:
        assert id or queue
        rows = [row for row, _, _ in self._found(_wanted(id, queue))]
        self.journal.forget(rows)
        return len(rows)

    def close(self) -> None:
        self.journal.close()

    def _found(self, wanted: Wanted) -> Sequence[tuple[int, DeadLetter, DramatiqMessage | None]]:
        found = []
        for row, id, queue, body, dead_at, failures, reason in self.journal.dead():
            message = _readable(body, queue)
            letter = _letter(message, body, queue=q_name(queue), id=id, at=dead_at, failures=failures, reason=reason)
            if wanted(letter):
                found.append((row, letter, message))
        return found


class RabbitDeadLetters:
    """On the .XQ queues. Looking takes the messages for a moment and gives them back: look from one place at a time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.publisher = GroupPublisher(url, "dead-letters")
        self._clock = SystemClock()

    def list(self, queue: str | None = None, limit: int = 1000) -> Sequence[DeadLetter]:
        found: list[DeadLetter] = []
        with self._walk(queue) as letters:
            for letter, _, _ in letters:
                found.append(letter)
                if len(found) == limit:
                    break
        return found

    def show(self, id: str) -> DeadLetter | None:
        with self._walk(None) as letters:
            return next((letter for letter, _, _ in letters if letter.id == id), None)

    def replay(self, id: str | None = None, queue: str | None = None) -> int:
        return self._looked_for(lambda: self._replay(id, queue), id)

    def _replay(self, id: str | None, queue: str | None) -> int:
        wanted, replayed = _wanted(id, queue), 0
        with self._walk(queue) as letters:
            for letter, message, acknowledge in letters:
                if wanted(letter) and message is not None:
                    self.publisher.publish([_anew(message)])
                    acknowledge()
                    replayed += 1
        return replayed

    def purge(self, id: str | None = None, queue: str | None = None) -> int:
        assert id or queue
        return self._looked_for(lambda: self._purge(id, queue), id)

    def _purge(self, id: str | None, queue: str | None) -> int:
        wanted, purged = _wanted(id, queue), 0
        with self._walk(queue) as letters:
            for letter, _, acknowledge in letters:
                if wanted(letter):
                    acknowledge()
                    purged += 1
        return purged

    def _looked_for(self, settle: Callable[[], int], id: str | None) -> int:
        """One that is not there may be in the hand of who looks at them just then, as a page does once somebody has
        acted: it is looked for again for a while."""
        end = self._clock.monotonic() + LOOKED_FOR_S
        while (settled := settle()) == 0 and id is not None and self._clock.monotonic() < end:
            self._clock.sleep(0.2)
        return settled

    def close(self) -> None:
        self.publisher.close()

    @contextmanager
    def _walk(self, queue: str | None) -> Iterator[Iterator[_Found]]:
        """Each letter that was there at the beginning. What is not acknowledged is given back at the end."""
        try:
            connection = pika.BlockingConnection(parameters_of(self.url, "dead-letters"))
        except Exception as error:  # noqa: BLE001 - pika raises more than it documents
            raise BrokerUnavailable(f"RabbitMQ cannot be reached: {cause_of(error)}") from None
        try:
            channel, held = connection.channel(), Counter[str]()
            yield self._letters(channel, [queue] if queue else [q.name for q in QUEUES if q.durable], held)
            channel.basic_recover(requeue=True)
            self._see_again(channel, held)
        except pika.exceptions.AMQPError as error:
            raise BrokerUnavailable(f"RabbitMQ went away: {cause_of(error)}") from None
        finally:
            if connection.is_open:
                connection.close()

    def _letters(self, channel: Any, queues: Sequence[str], held: Counter[str]) -> Iterator[_Found]:
        """held: is told how many letters of each queue are in hand."""
        for queue in queues:
            for _ in range(_count(channel, queue)):
                method, properties, body = channel.basic_get(xq_name(queue))
                if method is None:
                    break
                held[queue] += 1

                def acknowledge(tag: int = method.delivery_tag, queue: str = queue) -> None:
                    channel.basic_ack(tag)
                    held[queue] -= 1

                message = _readable(body, queue)
                yield _rabbit_letter(message, queue, body, properties), message, acknowledge

    def _see_again(self, channel: Any, held: Counter[str]) -> None:
        """A quorum queue takes letters back after it was told to; who looks again at once shall find them."""
        end = self._clock.monotonic() + BACK_WITHIN_S
        for queue, count in held.items():
            while _count(channel, queue) < count and self._clock.monotonic() < end:
                self._clock.sleep(0.01)


def _count(channel: Any, queue: str) -> int:
    """How many dead letters of a queue nobody has in hand."""
    first = declarations(queue)[0]
    return int(channel.queue_declare(first.name, durable=True, arguments=first.arguments).method.message_count)


def _rabbit_letter(message: DramatiqMessage | None, queue: str, body: bytes, properties: Any) -> DeadLetter:
    """Our own note if there is one; else what RabbitMQ noted when it moved the message."""
    noted = message.options if message is not None else {}
    deaths = (properties.headers or {}).get("x-death") or [{}]
    died = deaths[0].get("time")
    at = noted["failed_at"] * 1000 if "failed_at" in noted else int(died.timestamp() * SECOND) if died else 0
    reason = noted.get("reason") or str(deaths[0].get("reason", "unknown"))
    id = sha256_hex(body)[:32]
    return _letter(message, body, queue=queue, id=id, at=at, failures=noted.get("retries", 0), reason=reason)


def _letter(
    message: DramatiqMessage | None, body: bytes, *, queue: str, id: str, at: Micros, failures: int, reason: str
) -> DeadLetter:
    """`id` is for a body that names none."""
    content = body if message is None else message.args[0].encode()
    return DeadLetter(
        queue=queue,
        id=id if message is None else message.message_id,
        kind=UNREADABLE if message is None else message.actor_name,
        at=at,
        failures=failures,
        reason=reason,
        size_bytes=len(content),
        digest=sha256_hex(content),
    )


def _readable(body: bytes, queue: str) -> DramatiqMessage | None:
    """The message in a body that lay in the queue or in its delay queue; None if it is none."""
    for name in (q_name(queue), dq_name(queue)):
        try:
            return message_in(body, name)
        except Unreadable:
            continue
    return None


def _anew(message: DramatiqMessage) -> DramatiqMessage:
    """As it was before it failed, for its own queue."""
    return replace(message, queue_name=q_name(message.queue_name), options={})
