"""The actors: one for each command, named after it, on the queue of its route."""

from __future__ import annotations

import dramatiq

from actors.deciding import EARLY_AGAIN_MS, Decider
from broker.routes import ROUTES
from domain import codec
from domain.ids import Id


def register(broker: dramatiq.Broker, decider: Decider) -> list[str]:
    """Declare every actor on `broker`; their names. A stock Dramatiq worker could run them one at a time."""

    def decide(text: str) -> None:
        envelope = codec.decode(text)
        early = decider.decide([envelope], frozenset[Id]())
        if envelope.id in early:
            raise dramatiq.errors.Retry(early[envelope.id].detail, delay=EARLY_AGAIN_MS)

    for route in ROUTES.values():
        dramatiq.Actor(decide, actor_name=route.actor, queue_name=route.queue, broker=broker, priority=0, options={})
    return sorted(route.actor for route in ROUTES.values())
