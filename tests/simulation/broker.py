"""A broker at its worst within its promise: what it confirmed is delivered at least once, and that is all.

It delivers twice, late and out of order, loses acknowledgements, forgets what is transient, and refuses although it has
the message. The bytes in its queues are those of the real one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import dramatiq
from dramatiq.common import q_name
from dramatiq.errors import Retry

from broker.messages import Delivery, DramatiqMessage, envelope_in, message_in, message_of, wire_of
from broker.port import BrokerUnavailable, Sending, Sent
from broker.retries import SafeRetries
from broker.routes import TRANSIENT
from domain.commands import Envelope
from tests.simulation.turns import Turns
from tests.simulation.world import Broken, Killed, Process, World


@dataclass
class Item:
    """A message in a queue. holder: the process that has it unacknowledged, and in which life."""

    tag: int
    queue: str
    body: bytes
    due: int
    holder: tuple[Process, int] | None = None


class Broker(Process):
    """The queues. Its turns are its own troubles; it never dies, since what it confirmed is replicated and on disk."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "broker")
        self.items: dict[int, Item] = {}
        self.sent: dict[str, Envelope] = {}
        """Every envelope that anybody tried to send, by id: the first of each."""
        self.digests: set[tuple[str, str]] = set()
        """(id, digest) of all: what two tickers find at two moments differs in its words."""
        self.senders: dict[str, str] = {}
        """What kind of process tried first."""
        self.confirmed: set[str] = set()
        self.has_had: set[str] = set()
        self._tags = itertools.count(1)

    def step(self) -> float:
        if self.world.befalls("broker restart"):
            self.world.tell("the broker restarts")
            self.items = {tag: item for tag, item in self.items.items() if item.queue not in TRANSIENT}
            for item in self.items.values():
                item.holder = None
        return 1.0

    def put(self, message: DramatiqMessage, delay_ms: int = 0) -> None:
        """Into its queue, perhaps more than once, perhaps late."""
        self.has_had.add(message.message_id)
        for _ in range(3 if self.world.befalls("twice") else 1):
            late_s = self.world.chance.uniform(0, 8) if self.world.befalls("late") else 0.0
            tag = next(self._tags)
            due = self.world.micros + delay_ms * 1000 + int(late_s * 1_000_000)
            self.items[tag] = Item(tag, message.queue_name, wire_of(message), due)

    def take(self, process: Process, at_most: int, queues: frozenset[str]) -> list[Delivery]:
        """What is due in these queues and in nobody's hands."""
        due = [
            item
            for item in self.items.values()
            if item.holder is None and item.due <= self.world.micros and q_name(item.queue) in queues
        ]
        deliveries = []
        for item in sorted(due, key=lambda item: (item.due, item.tag))[:at_most]:
            item.holder = (process, process.life)
            delivery = Delivery(message_in(item.body, item.queue))
            delivery.tag = item.tag  # type: ignore[attr-defined]
            deliveries.append(delivery)
        return deliveries

    def settle(self, process: Process, delivery: Any) -> None:
        """Acknowledged by who holds it; or that gets lost, and it comes again."""
        item = self.items.get(delivery.tag)
        if item is None or item.holder != (process, process.life):
            return
        if self.world.befalls("lost acknowledgement"):
            self.give_back(process, delivery)
        else:
            del self.items[delivery.tag]

    def give_back(self, process: Process, delivery: Any) -> None:
        item = self.items.get(delivery.tag)
        if item is not None and item.holder == (process, process.life):
            item.holder, item.due = None, self.world.micros + 100_000

    def lost(self, process: Process) -> None:
        """A consumer is gone: what it held comes again."""
        for item in self.items.values():
            if item.holder is not None and item.holder[0] is process:
                item.holder = None

    def held(self) -> set[str]:
        """Ids of the commands that it has."""
        return {message_in(item.body, item.queue).message_id for item in self.items.values()}

    def waiting(self) -> int:
        """Durable messages that are not done with."""
        return sum(item.queue not in TRANSIENT for item in self.items.values())


class SimulatedPublisher:
    """`broker.port.Publisher` for one life of a process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._life = process.life

    def begin(self, envelopes: Sequence[Envelope], failed: Callable[[], None]) -> Sending:
        self.send(envelopes)
        return Sent()

    def send(self, envelopes: Sequence[Envelope]) -> None:
        if self._life != self._process.life or not self._process.alive:
            raise Killed(self._process)
        broker = self._world.broker
        messages = [message_of(envelope) for envelope in envelopes]
        for envelope in envelopes:
            broker.sent.setdefault(envelope.id, envelope)
            broker.digests.add((envelope.id, envelope.digest))
            broker.senders.setdefault(envelope.id, self._process.kind)
        self._world.place(self._process, "before publishing")
        refused = self._world.befalls("refuse")
        taken = self._world.chance.randint(0, len(messages)) if refused else len(messages)
        for message in messages[:taken]:
            broker.put(message)
        if refused:
            self._world.tell(f"the broker refuses {self._process.name}, but takes {taken} of {len(messages)}")
            raise BrokerUnavailable("not confirmed in time")
        broker.confirmed.update(envelope.id for envelope in envelopes)
        self._world.place(self._process, "after publishing")

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class WorkersBroker(dramatiq.Broker):
    """What a deciding thread of Dramatiq sees of the broker: retries by the production middleware, settling."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(middleware=[SafeRetries(clock=process)])
        self._world = world
        self._process = process
        self.work = Turns()

    def enqueue(self, message: DramatiqMessage, *, delay: int | None = None) -> DramatiqMessage:
        """A retry."""
        self._world.place(self._process, "before publishing a retry")
        refused = self._world.befalls("refuse")
        if not refused or self._world.chance.random() < 0.5:
            self._world.broker.put(message, delay or 0)
        if refused:
            raise BrokerUnavailable("the retry was not confirmed in time")
        return message

    # the consumers of every queue, by name

    def __getitem__(self, queue: str) -> WorkersBroker:
        return self

    def post_process_message(self, message: Delivery) -> None:
        """As the real consumers do it: a failed one is a dead letter, one whose retry was not published goes back."""
        error = message.error
        if error is not None and not isinstance(error, Retry):
            raise Broken(f"command {envelope_in(message).id} failed with {type(error).__name__}: {error}")
        if message.failed:
            raise Broken(f"command {envelope_in(message).id} became a dead letter: {message.reason}")
        self._world.place(self._process, "before acknowledging")
        if message.to_return:
            self._world.broker.give_back(self._process, message)
        else:
            self._world.broker.settle(self._process, message)

    def requeue_messages(self, messages: Iterable[Delivery]) -> None:
        for message in messages:
            self._world.broker.give_back(self._process, message)
