"""How much waits in each queue. RabbitMQ is asked by AMQP what it counts; the embedded broker's journal is read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dramatiq.common import dq_name, q_name, xq_name

from broker.journal import Journal
from broker.messages import Unreadable, message_in
from broker.port import BrokerUnavailable
from broker.routes import QUEUES
from domain.values import Micros

DURABLE = tuple(queue.name for queue in QUEUES if queue.durable)


@dataclass(frozen=True)
class Depth:
    """ready: commands that wait; of the embedded broker those in hand, too. delayed: those that wait to be tried again.

    dead: dead letters. oldest_at: when the oldest ready one was asked for; None if there is none, or nobody can say:
    RabbitMQ has to hand a message out before anybody can see it.
    """

    queue: str
    ready: int
    delayed: int
    dead: int
    oldest_at: Micros | None = None


def depths_of_journal(journal: Journal) -> list[Depth]:
    """Of every durable queue. Raises `BrokerUnavailable`."""
    ready, delayed, dead = Counter[str](), Counter[str](), Counter[str]()
    oldest: dict[str, Micros] = {}
    for queue, is_dead, count, body in journal.counted():
        name = q_name(queue)
        if is_dead:
            dead[name] += count
        elif queue == name:
            ready[name] += count
            try:
                oldest[name] = message_in(body, queue).message_timestamp * 1000
            except Unreadable:
                continue
        else:
            delayed[name] += count
    return [Depth(name, ready[name], delayed[name], dead[name], oldest.get(name)) for name in DURABLE]


def depths_of_rabbitmq(url: str) -> list[Depth]:
    """Of every durable queue, on a connection of its own. Raises `BrokerUnavailable`."""
    import pika  # noqa: PLC0415 - heavy, and an embedded hub has no use for it

    from broker.causes import cause_of  # noqa: PLC0415 - as above
    from broker.topology import parameters_of  # noqa: PLC0415 - as above

    try:
        connection = pika.BlockingConnection(parameters_of(url, "depths"))
        try:
            channel = connection.channel()

            def count(queue: str) -> int:
                return int(channel.queue_declare(queue, passive=True).method.message_count)

            return [Depth(name, count(name), count(dq_name(name)), count(xq_name(name))) for name in DURABLE]
        finally:
            if connection.is_open:
                connection.close()
    except Exception as error:  # noqa: BLE001 - pika raises more than it documents
        raise BrokerUnavailable(f"RabbitMQ cannot be asked what waits: {cause_of(error)}") from None
