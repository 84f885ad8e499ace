"""The cluster of Kafka as the doing process calls it. It may die before a call and after it, and hear of nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from broker.streams import Ends, Unreachable
from domain.stream_commands import NewRecord, NewTopic, Written

if TYPE_CHECKING:
    from tests.simulation.world import Process, World


class SimulatedTopics:
    """`broker.streams.Topics` for one life of a process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._topics = world.kafka.topics

    def create(self, topics: Sequence[NewTopic]) -> None:
        """See `Topics.create`."""
        self._before()
        self._topics.create(topics)
        self._after()

    def ends(self, topics: Iterable[str]) -> Ends:
        """See `Topics.ends`."""
        self._before()
        return self._topics.ends(topics)

    def write(self, records: Sequence[NewRecord]) -> list[Written]:
        """See `Topics.write`."""
        self._before()
        written = self._topics.write(records)
        self._after()
        return written

    def close(self) -> None:
        """Nothing is held."""

    def _before(self) -> None:
        self._world.place(self._process, "before a call to Kafka")

    def _after(self) -> None:
        self._world.place(self._process, "after a call to Kafka")
        if self._world.kafka.goes_unheard():
            raise Unreachable("it was done, and nobody hears of it")
