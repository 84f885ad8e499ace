"""The broker of the embedded hub: Dramatiq's StubBroker over a journal, and the publisher of the same process.

A command is on disk when `send` returns, gone after its acknowledgement, and enqueued again at the next
start. Heartbeats are only in memory.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import TimeoutError as NotInTime
from pathlib import Path
from queue import Empty, Queue

from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.stub import StubBroker
from dramatiq.common import dq_name, q_name
from dramatiq.errors import QueueNotFound

from broker.journal import Entry, Journal, entry_of
from broker.messages import Delivery, DramatiqMessage, Unreadable, message_in, message_of
from broker.port import BrokerUnavailable, Sending, Sent
from broker.retries import ROUTE_OF_ACTOR, SafeRetries
from broker.routes import QUEUES, TRANSIENT, Route
from config.clock import Clock, SystemClock
from domain.commands import Envelope

SEND_WITHIN_S = 2.0
TRANSIENT_LIMIT = 1_000
PREFETCH_DELAYED = 10_000

logger = logging.getLogger(__name__)


class EmbeddedBroker(StubBroker):
    """Dramatiq's broker and `broker.port.Publisher` in one object. Raises `JournalLocked` if the file is in use.

    prefetch: messages in hand for each queue that `prefetch_of` says nothing of.
    """

    def __init__(
        self,
        path: Path,
        *,
        prefetch: int = 500,
        routes: Mapping[str, Route] = ROUTE_OF_ACTOR,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(middleware=[])
        self.clock = clock or SystemClock()
        self.prefetch = prefetch
        self.prefetch_of: dict[str, int] = {}
        self.journal = Journal(path, self.clock)
        self._moved: set[int] = set()
        self._moving = threading.Lock()
        self.closed = False
        self.add_middleware(SafeRetries(routes, self.clock))
        for queue in QUEUES:
            self.declare_queue(queue.name)
        self._load()

    # the publisher's side

    def begin(self, envelopes: Sequence[Envelope], failed: Callable[[], None]) -> Sending:  # noqa: ARG002 - the port
        """See `Publisher.begin`. The disk is quicker than any decision, so it is waited for."""
        self.send(envelopes)
        return Sent()

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """See `Publisher.send`."""
        messages = [message_of(envelope) for envelope in envelopes]
        for message in messages:
            if message.queue_name in TRANSIENT:
                self._put_transient(message)
        self._keep([message for message in messages if message.queue_name not in TRANSIENT])

    def ready(self) -> str | None:
        """See `Publisher.ready`."""
        return "the embedded broker is closed" if self.closed else None

    def close(self) -> None:
        """Write what is left and let go of the journal. Stop the worker first."""
        self.closed = True
        self.journal.close()

    # Dramatiq's side

    def enqueue(self, message: DramatiqMessage, *, delay: int | None = None) -> DramatiqMessage:
        """Enqueue a new message (on disk when this returns), or move one that lies in the journal already."""
        if delay is not None:
            eta = self.clock.now() // 1000 + delay
            message = message.copy(queue_name=dq_name(message.queue_name), options={"eta": eta})
        self.emit_before("enqueue", message, delay)
        row = message.options.get("journal", 0)
        if row:
            self._move(row, message, write=delay is not None)
        elif q_name(message.queue_name) in TRANSIENT:
            self._put_transient(message)
        else:
            self._keep([message])
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:  # noqa: ARG002 - its signature
        """A consumer with this broker's own prefetch; Dramatiq's argument is not used."""
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)
        delayed = queue_name != q_name(queue_name)
        at_most = PREFETCH_DELAYED if delayed else self.prefetch_of.get(queue_name, self.prefetch)
        return EmbeddedConsumer(self, queue_name, at_most, timeout)

    def settle(self, delivery: Delivery) -> None:
        """Acknowledged: gone from the journal, unless it was moved to another queue meanwhile."""
        row = delivery.options.get("journal", 0)
        with self._moving:
            moved = row in self._moved
            self._moved.discard(row)
        if row and not moved:
            self.journal.remove(row, len(delivery.args[0]))

    def bury(self, delivery: Delivery) -> None:
        """Rejected: a dead letter. A heartbeat is just gone."""
        row = delivery.options.get("journal", 0)
        if not delivery.reason and delivery.error is not None:
            delivery.note_failure(delivery.error, self.clock.now() // 1000)
        if row:
            failures = delivery.options.get("retries", 0)
            self.journal.bury(row, entry_of(delivery.copy()), failures, delivery.reason or "rejected")

    # inside

    def _load(self) -> None:
        for row, id, queue, body in self.journal.live():
            self.declare_queue(q_name(queue))
            try:
                self.put(row, message_in(body, queue))
            except Unreadable as error:
                logger.error("journal row %d: %s; dead letter", row, error)  # noqa: TRY400 - the text says it all
                self.journal.bury(row, Entry(id, queue, "unreadable", body, 0), 0, str(error))

    def _keep(self, messages: Sequence[DramatiqMessage]) -> None:
        if not messages:
            return
        for message in messages:
            if message.queue_name not in self.queues:
                raise QueueNotFound(message.queue_name)

        def on_disk(rows: Sequence[int]) -> None:
            for row, message in zip(rows, messages, strict=True):
                self.put(row, message)

        kept = self.journal.add([entry_of(message) for message in messages], on_disk)
        try:
            kept.result(SEND_WITHIN_S)
        except NotInTime:
            raise BrokerUnavailable(f"the journal was not written within {SEND_WITHIN_S} s: the disk is slow") from None

    def _move(self, row: int, message: DramatiqMessage, *, write: bool) -> None:
        with self._moving:
            self._moved.add(row)
        if write:
            self.journal.replace(row, entry_of(message))
        self.put(row, message)

    def put(self, row: int, message: DramatiqMessage) -> None:
        """Hand a message that lies in the journal to the consumers of its queue."""
        self.queues[message.queue_name].put(message.copy(options={"journal": row}))

    def _put_transient(self, message: DramatiqMessage) -> None:
        queue = self.queues[message.queue_name]
        while queue.qsize() >= TRANSIENT_LIMIT:
            _drop_oldest(queue)
        queue.put(message)


class EmbeddedConsumer(Consumer):
    """Hands out at most `prefetch` unacknowledged messages."""

    def __init__(self, broker: EmbeddedBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        self.broker = broker
        self.queue: Queue[DramatiqMessage] = broker.queues[queue_name]
        self.timeout_s = timeout / 1000
        self.slots = threading.Semaphore(prefetch)

    def __next__(self) -> Delivery | None:
        if not self.slots.acquire(timeout=self.timeout_s):
            return None
        try:
            return Delivery(self.queue.get(timeout=self.timeout_s))
        except Empty:
            self.slots.release()
            return None

    def ack(self, message: MessageProxy) -> None:
        assert isinstance(message, Delivery)
        if message.to_return:
            self.requeue([message])
            return
        self.broker.settle(message)
        self._done()

    def nack(self, message: MessageProxy) -> None:
        assert isinstance(message, Delivery)
        self.broker.bury(message)
        self._done()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            self.queue.put(message.copy())
            self._done()

    def _done(self) -> None:
        self.queue.task_done()
        self.slots.release()


def _drop_oldest(queue: Queue[DramatiqMessage]) -> None:
    try:
        queue.get_nowait()
    except Empty:
        return
    queue.task_done()
