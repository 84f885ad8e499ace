"""The actors: one for each command, named after it, on the queue of its route."""

from __future__ import annotations

from collections.abc import Callable

import dramatiq

from actors.deciding import EARLY_AGAIN_MS, Decider
from actors.doing import EXPECTED, Doer
from broker.routes import ROUTES
from domain import codec
from domain.commands import Command
from domain.ids import Id
from domain.table import TABLE, Kind


def register_deciding(broker: dramatiq.Broker, decider: Decider) -> list[str]:
    """Declare the actors of what is decided or packed; their names. A stock worker could run them one at a time."""

    def decide(text: str) -> None:
        envelope = codec.decode(text)
        early = decider.decide([envelope], frozenset[Id]())
        if envelope.id in early:
            raise dramatiq.errors.Retry(early[envelope.id].detail, delay=EARLY_AGAIN_MS)

    return [_declare(broker, kind, decide) for kind, row in TABLE.items() if row.kind is not Kind.DONE]


def register_doing(broker: dramatiq.Broker, doer: Doer) -> list[str]:
    """Declare the actors of what is done; their names."""
    return [_declare(broker, kind, doer.do, throws=EXPECTED) for kind in doer.commands]


def _declare(broker: dramatiq.Broker, kind: type[Command], work: Callable[[str], None], **options: object) -> str:
    route = ROUTES[kind]
    dramatiq.Actor(work, actor_name=route.actor, queue_name=route.queue, broker=broker, priority=0, options=options)
    return route.actor
