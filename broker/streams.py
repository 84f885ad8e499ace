"""What the hub asks of a cluster of Kafka beside reading: topics, records, a log to append to; and each in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from domain.stream_commands import NewRecord, NewTopic, Written

Ends: TypeAlias = Mapping[str, Mapping[int, tuple[int, int]]]
"""By topic, by partition: the offset of the first record that is still there, and the one that the next gets."""


class Unreachable(Exception):
    """The cluster did not answer in time, or not as a whole. fact: in our own words and the client's, for logs."""

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.fact = fact


class NotAccepted(Exception):
    """The cluster answered, and does not do it: another try brings the same. fact: as for `Unreachable`."""

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.fact = fact


class Topics(Protocol):
    """One cluster. Safe to use from many threads. Every call raises `Unreachable` and `NotAccepted`."""

    def create(self, topics: Sequence[NewTopic]) -> None:
        """Returns when all are there; those that were stay as they are."""

    def ends(self, topics: Iterable[str]) -> Ends:
        """Of those that are there. No topic is made by asking for it."""

    def write(self, records: Sequence[NewRecord]) -> list[Written]:
        """Returns when all are on all replicas that are in step, by their delivery reports; in the order given.

        After an error some may have been written.
        """

    def close(self) -> None:
        """Let go of connections."""


class Log(Protocol):
    """A topic at whose end records are put, those of one key in the order given."""

    def append(self, records: Sequence[tuple[bytes, bytes]], goes_on: Callable[[], bool]) -> tuple[int, str]:
        """Key and value each. How many of them, from the first on, are on all replicas that are in step, and why the
        others are not: empty if all are, or if it was given up.

        It waits for a cluster that is away for as long as `goes_on` says, which is asked several times a second. What
        is not counted may have been written all the same.
        """

    def close(self) -> None:
        """Let go of connections."""


class Follower(Protocol):
    """What comes in a topic from when it was made on."""

    def poll(self, seconds: float) -> bytes | None:
        """The next record's value; None if none comes in time, or it has none. Raises `Unreachable`, `NotAccepted`."""

    def close(self) -> None:
        """Let go of connections."""


class EmbeddedLog:
    """In memory, for the simulation and for tests. away: why nothing is taken; takes: so many records more."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.away = ""
        self.takes: int | None = None

    def append(self, records: Sequence[tuple[bytes, bytes]], goes_on: Callable[[], bool]) -> tuple[int, str]:
        """See `Log.append`. It never waits."""
        goes_on()
        room = 0 if self.away else len(records) if self.takes is None else self.takes
        taken = records[:room]
        self.records += taken
        return len(taken), self.away or ("" if len(taken) == len(records) else "it takes no more")

    def close(self) -> None:
        """Nothing to let go of."""


class EmbeddedTopics:
    """A cluster in memory, for the simulation and for tests: topics of any partitions, records in partition 0."""

    def __init__(self) -> None:
        self.topics: dict[str, NewTopic] = {}
        self.records: dict[str, list[NewRecord]] = {}
        self.first: dict[str, int] = {}
        self.away = ""
        """Why it does not answer; empty: it does."""

    def create(self, topics: Sequence[NewTopic]) -> None:
        """See `Topics.create`."""
        self._answer()
        for topic in topics:
            self.topics.setdefault(topic.name, topic)
            self.records.setdefault(topic.name, [])

    def ends(self, topics: Iterable[str]) -> Ends:
        """See `Topics.ends`."""
        self._answer()
        return {name: self._ends_of(name) for name in topics if name in self.topics}

    def _ends_of(self, name: str) -> Mapping[int, tuple[int, int]]:
        first = self.first.get(name, 0)
        rest = dict.fromkeys(range(1, self.topics[name].partitions), (0, 0))
        return {0: (first, len(self.records[name])), **rest}

    def write(self, records: Sequence[NewRecord]) -> list[Written]:
        """See `Topics.write`."""
        self._answer()
        for record in records:
            if record.topic not in self.topics:
                raise NotAccepted(f"topic {record.topic} is not there")
        written = []
        for record in records:
            there = self.records[record.topic]
            written.append(Written(topic=record.topic, partition=0, offset=len(there)))
            there.append(record)
        return written

    def close(self) -> None:
        """Nothing to let go of."""

    def _answer(self) -> None:
        if self.away:
            raise Unreachable(self.away)
