"""Many threads send, one thread owns one connection to RabbitMQ; publisher confirms come back in a window.

What is sent at the same time shares round trips and fsyncs. Nobody waits longer than `SEND_WITHIN_S`: two
attempts, each bounded, then `BrokerUnavailable`; for a second after that everybody is told so at once. A queue that
refuses is asked a few times more, since asking costs little.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

import pika
from dramatiq.common import q_name
from pika.adapters.select_connection import IOLoop

from broker.causes import cause_of
from broker.messages import DramatiqMessage, message_of
from broker.parcels import SEND_WITHIN_S, Batch, Parcel, parcel_of, refusal
from broker.port import BrokerUnavailable, Sending
from broker.routes import TRANSIENT
from broker.topology import declarations, parameters_of
from config.clock import Clock, SystemClock
from config.faults import in_a_line
from config.outages import Outage
from domain.commands import Envelope

ATTEMPTS = 2
ATTEMPT_S = 0.95
"""From connecting to a usable channel, and from publishing to its confirm."""

REFUSED_PAUSES_S = (0.1, 0.2, 0.4, 0.8)
"""RabbitMQ also refuses while a quorum queue has no leader: just declared, or after its node died."""

BREAKER_S = 1.0
WINDOW = 1_000
WINDOW_BYTES = 16_777_216
TRANSIENT_WAITING = 1_000

BLOCKED = "RabbitMQ accepts nothing at the moment: a memory or disk alarm is on"

logger = logging.getLogger(__name__)


class _Aborted(Exception):
    """We ended the connection ourselves."""


class GroupPublisher:
    """`broker.port.Publisher` for RabbitMQ. Connects when first asked to send; starts anew in a forked child."""

    def __init__(self, url: str, role: str, clock: Clock | None = None) -> None:
        self.url, self.role = url, role
        self.clock = clock or SystemClock()
        self._start_afresh()
        _publishers.add(self)

    def begin(self, envelopes: Sequence[Envelope], failed: Callable[[], None]) -> Sending:
        """See `Publisher.begin`."""
        return self._begin(list(map(parcel_of, map(message_of, envelopes))), failed)

    def send(self, envelopes: Sequence[Envelope]) -> None:
        """See `Publisher.send`."""
        self.publish([message_of(envelope) for envelope in envelopes])

    def publish(self, messages: Sequence[DramatiqMessage]) -> None:
        """Like `send`, for messages that are made already, each to the queue that it names.

        A few thousand at once at most: what is not confirmed in time counts as failed.
        """
        self.deliver(list(map(parcel_of, messages)))

    def deliver(self, parcels: Sequence[tuple[str, str, bytes]]) -> None:
        """The same for (queue, id, body)."""
        self._begin(parcels, None).wait()

    def ready(self) -> str | None:
        """See `Publisher.ready`. Connects if there is no connection; takes a second at most."""
        with self._changed:
            trouble = "the publisher is closed" if self._closing else self._trouble_now()
            if trouble is None and self._channel is None:
                self._asked = True
                self._wake()
                self._changed.wait_for(lambda: self._channel or self._trouble_now(), ATTEMPT_S)
                trouble = self._trouble_now()
                if trouble is None and self._channel is None:
                    trouble = f"{self._place} does not answer"
            return trouble

    def close(self) -> None:
        """Send what was accepted, then let go of the connection."""
        with self._changed:
            self._closing = True
            thread = self._thread
            self._wake()
        if thread is not None:
            thread.join(2 * SEND_WITHIN_S)

    def _begin(self, parcels: Sequence[tuple[str, str, bytes]], failed: Callable[[], None] | None) -> Batch:
        """On its way, or `BrokerUnavailable`. Heartbeats are confirmed to nobody, and nobody hears of their failure."""
        batch = Batch(sum(1 for queue, _, _ in parcels if queue not in TRANSIENT), self._place, failed)
        trouble = self._submit(parcels, batch)
        if trouble is not None and not batch.done.is_set():
            raise BrokerUnavailable(trouble)
        return batch

    def _submit(self, parcels: Sequence[tuple[str, str, bytes]], batch: Batch) -> str | None:
        """Hand them to the publishing thread, or say at once why not. Heartbeats over a limit are dropped."""
        with self._changed:
            trouble = "the publisher is closed" if self._closing else self._trouble_now()
            trouble = trouble or self._refusal_now(parcels)
            if trouble is None:
                for queue, id, body in parcels:
                    if queue not in TRANSIENT:
                        self._waiting.append(Parcel(queue, id, body, batch))
                    elif len(self._waiting) < TRANSIENT_WAITING:
                        self._waiting.append(Parcel(queue, id, body, None))
                self._wake()
            return trouble

    # shared by all threads, under _changed

    def _start_afresh(self) -> None:
        self._nodes = parameters_of(self.url, self.role)
        for node in self._nodes:
            node.blocked_connection_timeout = None  # a blocked connection is kept, to hear when it may go on
        self._at = 0
        self._changed = threading.Condition()
        self._waiting: deque[Parcel] = deque()
        self._thread: threading.Thread | None = None
        self._loop: IOLoop | None = None
        self._closing = self._asked = self._woken = self._blocked = False
        self._trouble = ""
        self._away = Outage(logger, "RabbitMQ is away: nothing can be sent", "RabbitMQ takes them again", self.clock)
        self._broken_until = 0.0
        self._connection: Any = None
        self._channel: Any = None
        self._unconfirmed: dict[int, Parcel] = {}
        self._unconfirmed_bytes = 0
        self._returned: set[str] = set()
        self._undeclared: dict[str, list[Parcel]] = {}
        self._refusing: dict[str, float] = {}
        self._tag = 0
        self._watching = False

    @property
    def _place(self) -> str:
        """The node that we talk to, or try next."""
        node = self._nodes[self._at]
        return f"RabbitMQ at {node.host}:{node.port}"

    def _trouble_now(self) -> str | None:
        if self._blocked:
            return BLOCKED
        return self._trouble if self.clock.monotonic() < self._broken_until else None

    def _refusal_now(self, parcels: Sequence[tuple[str, str, bytes]]) -> str | None:
        now = self.clock.monotonic()
        return next((refusal(queue) for queue, _, _ in parcels if now < self._refusing.get(queue, 0.0)), None)

    def _wake(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            if self._closing and not self._waiting:
                return
            self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
            self._thread.start()
        if self._loop is None:
            self._changed.notify_all()
        elif not self._woken:
            self._woken = True
            self._loop.add_callback_threadsafe(self._drain)

    # the publishing thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._asked or self._closing):
                    self._changed.wait()
                if self._closing and not self._waiting:
                    return
            try:
                self._hold_connection()
            except Exception as error:
                # The thread must outlive it, and whoever waits is told.
                self._trouble = f"{self._place}: {in_a_line(error)}"
                logger.exception("the publishing thread starts anew")
            self._connection_gone()

    def _hold_connection(self) -> None:
        """One connection, from connecting to its end."""
        loop = IOLoop()
        self._trouble = f"{self._place} closed the connection"
        pika.SelectConnection(
            self._nodes[self._at],
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_no_connection,
            on_close_callback=self._on_closed,
            custom_ioloop=loop,
        )
        with self._changed:
            self._loop = loop
        loop.call_later(2 * ATTEMPT_S, self._give_up_opening)
        try:
            loop.start()
        finally:
            with self._changed:
                self._loop = None
                self._woken = False
            loop.close()

    def _connection_gone(self) -> None:
        """Whatever was not confirmed gets another attempt, or its sender is told."""
        with self._changed:
            undeclared = [parcel for parcels in self._undeclared.values() for parcel in parcels]
            left = [*self._unconfirmed.values(), *undeclared, *self._waiting]
            self._connection = self._channel = None
            self._at = (self._at + 1) % len(self._nodes)
            self._blocked = self._watching = False
            self._unconfirmed.clear()
            self._unconfirmed_bytes = self._tag = 0
            self._returned.clear()
            self._undeclared.clear()
            self._waiting.clear()
            for parcel in left:
                parcel.attempts += 1
                if parcel.batch is not None and not parcel.unwanted and parcel.attempts < ATTEMPTS:
                    self._waiting.append(parcel)
                else:
                    parcel.fail(self._trouble)
            if self._asked or (left and not self._waiting):
                self._broken_until = self.clock.monotonic() + BREAKER_S
                self._asked = False
                self._away.lasts(self._trouble)
            self._changed.notify_all()

    def _on_open(self, connection: Any) -> None:
        self._connection = connection
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        connection.channel(on_open_callback=self._on_channel)

    def _on_no_connection(self, _connection: Any, error: BaseException) -> None:
        self._trouble = f"{self._place} cannot be reached: {cause_of(error)}"
        self._stop()

    def _on_closed(self, _connection: Any, error: BaseException) -> None:
        if not isinstance(error, _Aborted):
            self._trouble = f"{self._place} closed the connection: {cause_of(error)}"
        self._stop()

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_return_callback(self._on_return)
        channel.add_on_close_callback(self._on_channel_closed)
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._on_usable(channel))

    def _on_usable(self, channel: Any) -> None:
        with self._changed:
            self._channel = channel
            self._asked = False
            self._changed.notify_all()
        self._away.over()
        self._drain()

    def _on_channel_closed(self, _channel: Any, error: Exception) -> None:
        with self._changed:
            self._channel = None
        if self._connection is not None and self._connection.is_open:
            self._abort(f"{self._place} closed the channel: {cause_of(error)}")

    def _on_blocked(self, _connection: Any, _frame: Any) -> None:
        """Whatever is in the socket may still get through later; its senders need not wait for it."""
        with self._changed:
            self._blocked = True
            for parcel in (*self._unconfirmed.values(), *self._waiting):
                parcel.fail(BLOCKED)
            self._unconfirmed.clear()
            self._unconfirmed_bytes = 0
            self._waiting.clear()
            self._changed.notify_all()
        logger.warning("%s", BLOCKED)

    def _on_unblocked(self, _connection: Any, _frame: Any) -> None:
        with self._changed:
            self._blocked = False
        logger.info("RabbitMQ accepts messages again")
        self._drain()

    def _drain(self) -> None:
        """Publish what waits, as far as the window allows."""
        with self._changed:
            self._woken = False
            room = WINDOW - len(self._unconfirmed)
            ready = self._channel is not None and not self._blocked
            parcels: list[Parcel] = []
            while ready and self._waiting and len(parcels) < room and self._unconfirmed_bytes < WINDOW_BYTES:
                parcel = self._waiting.popleft()
                if not parcel.unwanted:
                    parcels.append(parcel)
                    self._unconfirmed_bytes += len(parcel.body)
            finished = self._closing and not (parcels or self._waiting or self._unconfirmed or self._undeclared)
        now = self.clock.monotonic()
        for parcel in parcels:
            self._tag += 1
            parcel.published_at = now
            self._unconfirmed[self._tag] = parcel
            self._channel.basic_publish("", parcel.queue, parcel.body, parcel.properties, mandatory=True)
        if self._unconfirmed and not self._watching:
            self._watch()
        if finished:
            self._say_goodbye()

    def _watch(self) -> None:
        """Confirms that do not come are the sign of a silent host."""
        oldest = next(iter(self._unconfirmed.values()), None)
        self._watching = oldest is not None
        if oldest is None or self._loop is None:
            return
        left = oldest.published_at + ATTEMPT_S - self.clock.monotonic()
        if left <= 0:
            self._abort(f"{self._place} did not confirm within {ATTEMPT_S} s")
        else:
            self._loop.call_later(left, self._watch)

    def _on_return(self, _channel: Any, _method: Any, properties: Any, _body: bytes) -> None:
        self._returned.add(properties.message_id)

    def _on_confirm(self, frame: Any) -> None:
        refused = isinstance(frame.method, pika.spec.Basic.Nack)
        tag = frame.method.delivery_tag
        tags = [tag]
        if frame.method.multiple:
            tags = list(takewhile(lambda known: known <= tag, self._unconfirmed))
        for known in tags:
            parcel = self._unconfirmed.pop(known, None)
            if parcel is not None:
                self._unconfirmed_bytes -= len(parcel.body)
                self._settle(parcel, refused=refused)
        self._drain()

    def _settle(self, parcel: Parcel, *, refused: bool) -> None:
        returned = parcel.id in self._returned
        self._returned.discard(parcel.id)
        if refused:
            self._refused(parcel)
        elif not returned:
            parcel.confirm()
        elif parcel.attempts + 1 < ATTEMPTS:
            parcel.attempts += 1
            self._declare(parcel)
        else:
            parcel.fail(f"queue {parcel.queue} does not exist")

    def _refused(self, parcel: Parcel) -> None:
        if parcel.refusals < len(REFUSED_PAUSES_S) and parcel.batch is not None and self._loop is not None:
            pause = REFUSED_PAUSES_S[parcel.refusals]
            parcel.refusals += 1
            self._loop.call_later(pause, lambda: self._again([parcel]))
            return
        with self._changed:
            self._refusing[parcel.queue] = self.clock.monotonic() + BREAKER_S
        parcel.fail(refusal(parcel.queue))

    def _declare(self, parcel: Parcel) -> None:
        """The queue is missing: declare it, then publish again what came back."""
        queue = q_name(parcel.queue)
        if queue in self._undeclared:
            self._undeclared[queue].append(parcel)
            return
        self._undeclared[queue] = [parcel]
        *before, last = declarations(queue)
        for each in before:
            self._channel.queue_declare(each.name, durable=True, arguments=each.arguments, callback=_ignore)
        self._channel.queue_declare(
            last.name,
            durable=True,
            arguments=last.arguments,
            callback=lambda _frame: self._again(self._undeclared.pop(queue, [])),
        )

    def _again(self, parcels: Sequence[Parcel]) -> None:
        with self._changed:
            self._waiting.extendleft(reversed(parcels))
        self._drain()

    def _give_up_opening(self) -> None:
        if self._channel is None:
            self._abort(f"{self._place} does not answer")

    def _abort(self, trouble: str) -> None:
        """End the connection without waiting for the other side. Pika has no public way to do that."""
        self._trouble = trouble
        if self._connection is not None and not self._connection.is_closed:
            self._connection._terminate_stream(_Aborted(trouble))  # noqa: SLF001 - pika's one way to end it from inside
        else:
            self._stop()

    def _say_goodbye(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
            if self._loop is not None:
                self._loop.call_later(ATTEMPT_S, self._stop)

    def _stop(self) -> None:
        if self._loop is not None:
            self._loop.stop()


def _ignore(_frame: Any) -> None:
    """A callback for an answer of which only the order matters."""


_publishers: weakref.WeakSet[GroupPublisher] = weakref.WeakSet()


def _forget_connections() -> None:
    """In a forked child: the parent's thread is not here, and its connection is not ours."""
    for publisher in list(_publishers):
        publisher._start_afresh()  # noqa: SLF001 - this module's own


os.register_at_fork(after_in_child=_forget_connections)
