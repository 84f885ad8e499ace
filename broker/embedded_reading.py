"""`broker.reading.Reader` over a cluster in memory (`broker.streams.EmbeddedTopics`), for the simulation and for tests.

Its topics have one partition that holds anything, 0. One reader of a group has all partitions, the newest one; the
others hear that they lost theirs. Records have no times; a topic's id changes with `make_anew`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from broker.reading import Committed, Listener, Place, Taken
from broker.streams import EmbeddedTopics, Unreachable


@dataclass
class EmbeddedGroup:
    """What a cluster keeps of a group. ids: of topics, by name. refuses: the next commits are refused."""

    topics: EmbeddedTopics
    offsets: dict[Place, Committed] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    leader: EmbeddedReader | None = None
    refuses: int = 0

    def make_anew(self, topic: str) -> None:
        """Delete a topic and make it again: it is empty, begins at 0, and is another one."""
        self.topics.records[topic] = []
        self.topics.first[topic] = 0
        self.ids[topic] = self.ids.get(topic, 0) + 1
        self.offsets.pop(Place(topic, 0), None)


class EmbeddedReader:
    """See `broker.reading.Reader`."""

    def __init__(self, group: EmbeddedGroup) -> None:
        self._group = group
        self._topics: Sequence[str] = ()
        self._listener: Listener | None = None
        self._positions: dict[Place, int] = {}
        self._paused: set[Place] = set()

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """See `Reader.subscribe`."""
        self._topics, self._listener = topics, listener

    def poll(self, seconds: float, at_most: int) -> list[Taken]:  # noqa: ARG002 - nothing comes while one waits
        """See `Reader.poll`. Never waits."""
        self._join()
        taken: list[Taken] = []
        for place in sorted(self._positions.keys() - self._paused):
            first, end = self._ends(place)
            at = self._positions[place]
            if not first <= at <= end:
                self._told.out_of_range(place)
                continue
            for offset in range(at, min(end, at + at_most - len(taken))):
                record = self._group.topics.records[place.topic][offset]
                taken.append(Taken(place, offset, 0, record.key, record.value, record.headers))
                self._positions[place] = offset + 1
        return taken

    def _join(self) -> None:
        if self._group.leader is self:
            return
        before, self._group.leader = self._group.leader, self
        if before is not None:
            before.give_up()
        self._told.assigned([Place(topic, 0) for topic in self._topics])

    def give_up(self) -> None:
        """Another one has them."""
        places, self._positions = list(self._positions), {}
        self._told.lost(places)

    @property
    def _told(self) -> Listener:
        assert self._listener is not None, "nothing comes before `subscribe`"
        return self._listener

    def committed_offsets(self, places: Iterable[Place]) -> dict[Place, Committed]:
        """See `Reader.committed_offsets`."""
        self._answer()
        return {place: self._group.offsets[place] for place in places if place in self._group.offsets}

    def ends(self, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """See `Reader.ends`."""
        self._answer()
        return {place: self._ends(place) for place in places}

    def _ends(self, place: Place) -> tuple[int, int]:
        there = self._group.topics
        return there.first.get(place.topic, 0), len(there.records.get(place.topic, ()))

    def first_since(self, places: Iterable[Place], at_ms: int) -> dict[Place, int]:  # noqa: ARG002 - no record has a time
        """See `Reader.first_since`. Every record is old."""
        self._answer()
        return {}

    def assign(self, positions: Mapping[Place, int]) -> None:
        """See `Reader.assign`."""
        self._positions = dict(positions)
        self._paused.clear()

    def pause(self, places: Iterable[Place]) -> None:
        """See `Reader.pause`."""
        self._paused.update(places)

    def resume(self, places: Iterable[Place]) -> None:
        """See `Reader.resume`."""
        self._paused.difference_update(places)

    def commit(self, offsets: Mapping[Place, int], notes: Mapping[Place, str], *, wait: bool) -> None:  # noqa: ARG002 - it is done at once
        """See `Reader.commit`. At once, whether it is waited for or not."""
        if self._group.leader is not self or self._group.refuses or self._group.topics.away:
            self._group.refuses = max(0, self._group.refuses - 1)
            self._told.refused("it is not the member that has these")
            return
        self._group.offsets.update({place: Committed(offset, notes[place]) for place, offset in offsets.items()})
        self._told.committed(offsets)

    def trouble(self) -> str | None:
        """See `Reader.trouble`."""
        return self._group.topics.away or None

    def cluster_id(self) -> str:
        """See `Reader.cluster_id`."""
        self._answer()
        return "embedded"

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """See `Reader.topic_ids`."""
        self._answer()
        there = self._group.topics.topics
        return {topic: f"{topic}-{self._group.ids.get(topic, 0)}" for topic in topics if topic in there}

    def close(self) -> None:
        """See `Reader.close`."""
        if self._group.leader is self:
            self._told.revoked(list(self._positions))
            self._group.leader = None
            self._positions = {}

    def _answer(self) -> None:
        if self._group.topics.away:
            raise Unreachable(self._group.topics.away)
