"""What the bridge may ask of a cluster of Kafka, whichever client speaks to it: records of a group's partitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from domain.values import Micros


class Place(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class Taken(NamedTuple):
    """A record. at: 0 if the record does not say; without a value it deletes what had its key."""

    place: Place
    offset: int
    at: Micros
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()

    @property
    def size_bytes(self) -> int:
        """What it weighs in memory, about."""
        return (
            256 + len(self.key or b"") + len(self.value or b"") + sum(len(v or b"") + len(n) for n, v in self.headers)
        )


class Committed(NamedTuple):
    """Where a group goes on. note: that was left with it."""

    offset: int
    note: str


class Listener(Protocol):
    """Who is told, on the thread that polls, what happens to the partitions."""

    def assigned(self, places: Sequence[Place]) -> None:
        """These are ours from now on. Nothing comes of them before `Reader.assign` says from where."""

    def revoked(self, places: Sequence[Place]) -> None:
        """These are about to be another's: it is the last moment to commit."""

    def lost(self, places: Sequence[Place]) -> None:
        """These are another's already."""

    def out_of_range(self, place: Place) -> None:
        """What should come next is not in the log."""

    def committed(self, offsets: Mapping[Place, int]) -> None:
        """A commit went through."""

    def refused(self, fact: str) -> None:
        """A commit did not."""


class Reader(Protocol):
    """One member of a group. Used by one thread, but for `trouble`, `cluster_id` and `topic_ids`.

    Calls that ask the cluster raise `broker.streams.Unreachable` or `NotAccepted`; none takes more than some seconds.
    """

    def subscribe(self, topics: Sequence[str], listener: Listener) -> None:
        """Join the group."""

    def poll(self, seconds: float, at_most: int) -> list[Taken]:
        """What has come; waits that long for the first. Whoever does not call it for minutes is no member any more."""

    def committed_offsets(self, places: Iterable[Place]) -> dict[Place, Committed]:
        """Of those for which the group has committed anything."""

    def ends(self, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """The offset of the first record that is still there, and the one that the next gets."""

    def first_since(self, places: Iterable[Place], at_ms: int) -> dict[Place, int]:
        """Where the first record is that is as young as that; of a partition without one it says nothing."""

    def assign(self, positions: Mapping[Place, int]) -> None:
        """From now on read exactly these, from there."""

    def pause(self, places: Iterable[Place]) -> None:
        """Let nothing of these come; positions stay."""

    def resume(self, places: Iterable[Place]) -> None:
        """Let it come again."""

    def commit(self, offsets: Mapping[Place, int], notes: Mapping[Place, str], *, wait: bool) -> None:
        """The offsets at which the group goes on. What became of it the listener hears, at once or later."""

    def trouble(self) -> str | None:
        """What the cluster has last complained about, if that is not over: that one may not read, say."""

    def cluster_id(self) -> str:
        """The cluster's own."""

    def topic_ids(self, topics: Iterable[str]) -> dict[str, str]:
        """Of those that are there; empty text where the cluster gives its topics none."""

    def close(self) -> None:
        """Leave the group. The listener is told of what is revoked."""
