"""Where each command goes, as its row in the table of commands says. The sender looks here and never imports an actor.

Queues are named by subject, so that RabbitMQ's management UI tells the story; the version suffix
is there because a queue's arguments cannot be changed later.
"""

from __future__ import annotations

from dataclasses import dataclass

from domain import commands as c
from domain.table import ROWS, Kind, Row

QUEUE_VERSION = "v1"
PATIENCE = 150
"""Tries of what is done outside while the system there is away: some twelve hours, five minutes apart in the end."""


@dataclass(frozen=True)
class Route:
    """queue: where to publish. actor: the Dramatiq actor's name.

    durable: survives a restart of the broker and is publisher-confirmed.
    retries: tries after the first; patience: those after an error that is `Temporary`; min and max back-off in
    milliseconds, doubled with jitter.
    limit_bytes: largest envelope.
    """

    queue: str
    actor: str
    durable: bool = True
    retries: int = 8
    patience: int = 8
    min_backoff_ms: int = 200
    max_backoff_ms: int = 30_000
    limit_bytes: int = 2_097_152


@dataclass(frozen=True)
class Queue:
    """kind: of all its commands. meaning: one sentence for the operator, printed by `make up` and listed in
    docs/operations.md.
    """

    name: str
    kind: Kind
    meaning: str

    @property
    def durable(self) -> bool:
        """What is packed is worth little, and a newer one comes soon."""
        return self.kind is not Kind.PACKED


def _queue(row: Row) -> str:
    return f"{row.about.subject}.{QUEUE_VERSION}"


def _route(row: Row) -> Route:
    match row.kind:
        case Kind.DECIDED:
            return Route(_queue(row), row.name)
        case Kind.DONE:
            return Route(
                _queue(row), row.name, retries=3, patience=PATIENCE, min_backoff_ms=1_000, max_backoff_ms=300_000
            )
        case Kind.PACKED:
            return Route(_queue(row), row.name, durable=False, retries=0, patience=0)


QUEUES = tuple({_queue(row): Queue(_queue(row), row.kind, row.about.meaning) for row in ROWS}.values())
ROUTES: dict[type[c.Command], Route] = {row.command: _route(row) for row in ROWS}
TRANSIENT = frozenset(queue.name for queue in QUEUES if not queue.durable)
"""The queues whose messages go with the broker's process."""


def route_of(command: c.Command) -> Route:
    """The route of a command; KeyError would be a command without one, which a test rules out."""
    return ROUTES[type(command)]


def queues_of(*kinds: Kind) -> frozenset[str]:
    """The queues whose commands are of these kinds."""
    return frozenset(queue.name for queue in QUEUES if queue.kind in kinds)
