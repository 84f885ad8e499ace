"""What is declared in RabbitMQ, and how we connect to it. Every argument here is known to RabbitMQ 3.10 and to 4.

A queue's arguments cannot change later, so only what must not change is an argument; limits are policies
(broker/policies.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import pika
from dramatiq.common import dq_name, q_name, xq_name

from broker.causes import cause_of
from broker.port import BrokerUnavailable
from broker.routes import QUEUES, TRANSIENT
from config.processes import process_name

DELIVERY_LIMIT = 20
"""Deliveries without an answer (a worker died) until a message is a dead letter; a crash counts for all in hand."""

NO_LIMIT = 1_000_000_000
"""Looking at a dead letter counts as a delivery, and RabbitMQ 4 would throw it away after 20 by default."""

TRANSIENT_KEPT = 10_000
TRANSIENT_TTL_MS = 30_000

CONNECT_WITHIN_S = 0.9
HEARTBEAT_S = 20


@dataclass(frozen=True)
class Declaration:
    """A durable queue and its arguments."""

    name: str
    arguments: dict[str, str | int]


def declarations(queue: str) -> tuple[Declaration, ...]:
    """The queues behind the name of one: itself, its delays and retries (.DQ), its dead letters (.XQ).

    Order matters: a queue's dead-letter queue is there before it.
    """
    queue = q_name(queue)
    if queue in TRANSIENT:
        return (Declaration(queue, _transient()),)
    return (
        Declaration(xq_name(queue), {"x-queue-type": "quorum", "x-delivery-limit": NO_LIMIT}),
        Declaration(dq_name(queue), _commands(queue)),
        Declaration(queue, _commands(queue)),
    )


def declare_all(url: str, role: str) -> None:
    """Declare every queue, one after the other on one connection; what exists stays as it is.

    RabbitMQ 3.10 answers 541 or refuses messages when one connection uses a quorum queue that another is just
    declaring, so this comes before anybody consumes or publishes. Raises `BrokerUnavailable`; try again later.
    """
    try:
        connection = pika.BlockingConnection(parameters_of(url, f"{role} declares"))
        try:
            channel = connection.channel()
            for queue in QUEUES:
                for each in declarations(queue.name):
                    channel.queue_declare(each.name, durable=True, arguments=each.arguments)
        finally:
            if connection.is_open:
                connection.close()
    except Exception as error:  # noqa: BLE001 - pika raises more than it documents
        raise BrokerUnavailable(f"RabbitMQ cannot be asked for its queues: {cause_of(error)}") from None


def parameters_of(url: str, role: str) -> list[pika.URLParameters]:
    """Connection parameters with every wait bounded, one for each node that the URL names, to be tried in turn.

    `role` is shown in the management UI with host and pid.
    """
    return [_of_node(node, role) for node in url.split(",")]


def _of_node(url: str, role: str) -> pika.URLParameters:
    parameters = pika.URLParameters(url)
    parameters.connection_attempts = 1
    parameters.socket_timeout = CONNECT_WITHIN_S
    parameters.stack_timeout = CONNECT_WITHIN_S
    parameters.blocked_connection_timeout = 2.0
    parameters.heartbeat = HEARTBEAT_S
    parameters.client_properties = {"connection_name": f"fedyard {process_name(role)}"}
    return parameters


def _commands(queue: str) -> dict[str, str | int]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": xq_name(queue),
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _transient() -> dict[str, str | int]:
    return {
        "x-queue-type": "classic",
        "x-message-ttl": TRANSIENT_TTL_MS,
        "x-max-length": TRANSIENT_KEPT,
        "x-overflow": "drop-head",
    }
