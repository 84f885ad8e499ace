"""What comes over Kafka: every record once, none before it is safe, none twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

import broker.intake
import config.clock
import domain.decisions.streams.records
from broker.bridge import Bridge
from broker.partitions import Partition
from domain import stream_commands as sc
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World


@bug("the bridge commits what it has read, and publishes it afterwards", shown_by=3)
def offsets_committed_before_the_confirm(_: World) -> list[Swap]:
    def hasty(self: Partition) -> int | None:
        return self.position if self.items and self.position != self.committed else None

    return [(Partition, "to_commit", hasty)]


def _ids(of: Callable[[sc.TakeRecord], str]) -> list[Swap]:
    return [(broker.intake, "id_of", of), (domain.decisions.streams.records, "id_of", of)]


@bug("ids of records are drawn, so that what is read twice is taken twice", shown_by=3)
def drawn_ids_of_records(_: World) -> list[Swap]:
    return _ids(lambda _: config.clock.draw_id())


@bug("ids of records say nothing of the topic's own: those of one made anew are taken for the old ones", shown_by=11)
def offsets_used_again(_: World) -> list[Swap]:
    right = broker.intake.id_of
    return _ids(lambda command: right(msgspec.structs.replace(command, topic_id="the same")))


@bug("a bridge goes on where its group was, whatever a restored store has forgotten", shown_by=35)
def restored_stores_read_nothing_again(_: World) -> list[Swap]:
    positioned: Any = Bridge._positioned

    def trusting(self: Bridge, *args: Any) -> Partition:
        *rest, _ = args
        placed: Partition = positioned(self, *rest, None)
        return placed

    return [(Bridge, "_positioned", trusting)]
