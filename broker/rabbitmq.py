"""Dramatiq's RabbitMQ broker without its ways to lose messages.

- A delivery is acknowledged only on the channel that delivered it: after a reconnect its tag would mean another one.
- A retry that cannot be published gives the original back to its queue (`SafeRetries`).
- Whatever is published is confirmed and mandatory, in bounded time, through one `GroupPublisher` of the process.
- Acknowledgements are gathered: one wake-up of the connection and one frame for all that came in order.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

import dramatiq.worker
import pika
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import dq_name, q_name, xq_name
from dramatiq.errors import ConnectionClosed

from broker.causes import cause_of
from broker.messages import Delivery, DramatiqMessage, Unreadable, message_in, wire_of
from broker.port import BrokerUnavailable
from broker.publisher import GroupPublisher
from broker.retries import ROUTE_OF_ACTOR, SafeRetries
from broker.routes import TRANSIENT, Route
from broker.topology import declarations, parameters_of
from config.clock import Clock, SystemClock
from config.faults import in_a_line

RESTART_DELAY_S = 0.5
RETURN_PAUSE_S = 1.0
"""A message goes back to its queue this long after its retry could not be published, else it would spin."""

PREFETCH_DELAYED = 1_000

dramatiq.worker.CONSUMER_RESTART_DELAY_SECS = RESTART_DELAY_S
"""How long Dramatiq waits before it consumes again after a lost connection (3 s otherwise; there is no argument)."""

logger = logging.getLogger(__name__)


class RabbitBroker(RabbitmqBroker):
    """For a worker process. prefetch: messages in hand for each queue. routes: by actor name, for retries."""

    def __init__(
        self,
        url: str,
        role: str,
        *,
        prefetch: int,
        routes: Mapping[str, Route] = ROUTE_OF_ACTOR,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(url=url.split(","), confirm_delivery=True, middleware=[])
        self.url, self.role = url, role
        self.parameters = parameters_of(url, role)
        self.prefetch = prefetch
        self.clock = clock or SystemClock()
        self.publisher = GroupPublisher(url, f"{role} publisher", self.clock)
        self.outage = Outage()
        self.add_middleware(SafeRetries(routes, self.clock))

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:  # noqa: ARG002 - Dramatiq's signature
        """Take note of a queue; RabbitMQ hears of it from the consumer, or when a message for it comes back.

        A queue of heartbeats has no delay queue: they are not retried.
        """
        queue = q_name(queue_name)
        if queue in self.queues:
            return
        self.emit_before("declare_queue", queue)
        self.queues.add(queue)
        self.emit_after("declare_queue", queue)
        if queue not in TRANSIENT:
            self.delay_queues.add(dq_name(queue))
            self.emit_after("declare_delay_queue", dq_name(queue))

    def enqueue(self, message: DramatiqMessage, *, delay: int | None = None) -> DramatiqMessage:
        """Confirmed when this returns. Raises Dramatiq's `ConnectionClosed` within about two seconds otherwise."""
        if delay is not None:
            eta = self.clock.now() // 1000 + delay
            message = message.copy(queue_name=dq_name(message.queue_name), options={"eta": eta})
        self.emit_before("enqueue", message, delay)
        try:
            self.publisher.publish([message])
        except BrokerUnavailable as error:
            raise ConnectionClosed(error) from None
        self.emit_after("enqueue", message, delay)
        return message

    def bury(self, delivery: Delivery) -> bool:
        """Put a copy that says why into the dead-letter queue; False if that was not confirmed, or nobody knows why."""
        error = delivery.error
        if not delivery.reason and error is not None:
            delivery.note_failure(error, self.clock.now() // 1000)
        if not delivery.reason:
            return False
        try:
            self.publisher.deliver([(xq_name(delivery.queue_name), delivery.message_id, wire_of(delivery.copy()))])
        except BrokerUnavailable:
            return False
        return True

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:  # noqa: ARG002 - its signature
        """A consumer with this broker's own prefetch; Dramatiq's argument is not used."""
        self.declare_queue(queue_name)
        delayed = queue_name != q_name(queue_name)
        return RabbitConsumer(self, queue_name, PREFETCH_DELAYED if delayed else self.prefetch, timeout)

    def close(self) -> None:
        """Stop the worker first."""
        self.publisher.close()
        super().close()


class Outage:
    """Says once that queues cannot be consumed, and once that all can again: each has a connection of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._away: set[str] = set()

    def begins(self, queue: str, cause: str) -> None:
        """Nothing can be consumed from the queue."""
        with self._lock:
            first = not self._away
            self._away.add(queue)
        if first:
            logger.warning(
                "RabbitMQ is away (%s): commands wait there; trying again every %s s", cause, RESTART_DELAY_S
            )

    def ends(self, queue: str) -> None:
        """The queue is consumed (again)."""
        with self._lock:
            last = self._away == {queue}
            self._away.discard(queue)
        if last:
            logger.warning("RabbitMQ is back: every queue is consumed again")


class RabbitConsumer(Consumer):
    """One connection, one channel, one queue. Deliveries know it, and are settled here or nowhere."""

    def __init__(self, broker: RabbitBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        self.broker = broker
        self.queue_name = queue_name
        self._lock = threading.Lock()
        self._acks: list[int] = []
        self._settled: set[int] = set()
        self._lowest = 1
        try:
            parameters = parameters_of(broker.url, f"{broker.role} {queue_name}")
            self.connection = pika.BlockingConnection(parameters)
        except Exception as error:  # noqa: BLE001 - pika raises more than it documents; Dramatiq knows this one
            raise self._lost(error) from None
        try:
            self.channel = self.connection.channel()
            for each in declarations(queue_name):
                self.channel.queue_declare(each.name, durable=True, arguments=each.arguments)
            self.channel.basic_qos(prefetch_count=prefetch)
            self.iterator = self.channel.consume(queue_name, inactivity_timeout=timeout / 1000)
        except Exception as error:  # noqa: BLE001 - as above
            self.close()
            raise self._lost(error) from None
        broker.outage.ends(queue_name)

    def __next__(self) -> Delivery | None:
        try:
            method, _, body = next(self.iterator)
        except Exception as error:  # noqa: BLE001 - also StopIteration: the queue was deleted
            raise self._lost(error) from None
        if method is None:
            return None
        try:
            message = message_in(body, self.queue_name)
        except Unreadable as error:
            logger.error("%s: %s; dead letter", self.queue_name, error)  # noqa: TRY400 - the text says it all
            self._nack(method.delivery_tag, requeue=False)
            return None
        return _RabbitDelivery(message, self, method.delivery_tag)

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge, or give back what could not be retried. What a lost connection delivered comes again anyway."""
        assert isinstance(message, _RabbitDelivery)
        if message.consumer is not self:
            return
        if message.to_return:
            self._do(lambda: self.connection.call_later(RETURN_PAUSE_S, lambda: self._nack(message.tag, requeue=True)))
            return
        with self._lock:
            self._acks.append(message.tag)
            first = len(self._acks) == 1
        if first:
            self._do(self._flush)

    def nack(self, message: MessageProxy) -> None:
        """To the dead-letter queue: with the reason if that can be confirmed, else by RabbitMQ without it."""
        assert isinstance(message, _RabbitDelivery)
        if message.consumer is not self:
            return
        if self.queue_name not in TRANSIENT and self.broker.bury(message):
            self.ack(message)
        else:
            self._do(lambda: self._nack(message.tag, requeue=False))

    def close(self) -> None:
        """Send the acknowledgements that wait, then close. Never raises: Dramatiq's thread would end by it."""
        try:
            if self.connection.is_open:
                self._finish_callbacks()
                self.connection.close()
        except Exception as error:  # noqa: BLE001 - see above
            logger.info("%s: closing: %s", self.queue_name, in_a_line(error))

    def _lost(self, error: Exception) -> ConnectionClosed:
        cause = "the queue was deleted" if isinstance(error, StopIteration) else cause_of(error)
        self.broker.outage.begins(self.queue_name, cause)
        return ConnectionClosed(f"{self.queue_name}: {cause}")

    def _do(self, work: object) -> None:
        """Have the connection's own thread do it. If the connection is gone the message comes again by itself."""
        try:
            self.connection.add_callback_threadsafe(work)
        except pika.exceptions.ConnectionWrongStateError:
            logger.info("%s: the connection is gone; what was not acknowledged comes again", self.queue_name)

    # on the connection's thread

    def _finish_callbacks(self) -> None:
        done = threading.Event()
        self.connection.add_callback_threadsafe(done.set)
        while not done.is_set():
            self.connection.process_data_events(0)

    def _flush(self) -> None:
        """Acknowledge: all up to the first that is still in hand with one frame, the others one by one."""
        with self._lock:
            acks, self._acks = self._acks, []
        self._settled.update(acks)
        while self._lowest in self._settled:
            self._settled.remove(self._lowest)
            self._lowest += 1
        in_order = [tag for tag in acks if tag < self._lowest]
        if in_order:
            self.channel.basic_ack(max(in_order), multiple=True)
        for tag in acks:
            if tag >= self._lowest:
                self.channel.basic_ack(tag)

    def _nack(self, tag: int, *, requeue: bool) -> None:
        if self.channel.is_open:
            self.channel.basic_nack(tag, requeue=requeue)
            self._settled.add(tag)


class _RabbitDelivery(Delivery):
    def __init__(self, message: DramatiqMessage, consumer: RabbitConsumer, tag: int) -> None:
        super().__init__(message)
        self.consumer = consumer
        self.tag = tag
