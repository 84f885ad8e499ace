"""How far a partition was taken, and how far that is safe: pure, and the one place that says what may be committed.

The law: an offset is committed when every record before it that was taken is confirmed by our own broker, and never
before. Offsets have gaps (transactions, compaction), so the next to commit lies behind a record that was taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.reading import Place
from domain.values import Micros


@dataclass(eq=False)
class Item:
    """A record under way."""

    offset: int
    at: Micros
    size_bytes: int
    confirmed: bool = False


class Undecided(NamedTuple):
    """Records from `first` to `last`, and when the first one was written."""

    first: int
    last: int
    at: Micros


REMEMBERED_TOGETHER = 64


@dataclass(eq=False)
class Partition:
    """One that is ours. position: the next offset to be read. given_up: it is ours no more, or read anew.

    committed: as the cluster has it, None: nothing yet. end: of the log when last looked. undecided: what was confirmed
    and may not be decided yet. behind: what to commit next. new_from: what lies before was read by the group already.
    """

    place: Place
    topic_id: str
    position: int
    committed: int | None = None
    end: int | None = None
    given_up: bool = False
    items: deque[Item] = field(default_factory=deque)
    undecided: deque[Undecided] = field(default_factory=deque)
    behind: int | None = None
    new_from: int = 0

    def take(self, offset: int, at: Micros, size_bytes: int) -> Item:
        """A record was read."""
        item = Item(offset, at, size_bytes)
        self.items.append(item)
        self.position = offset + 1
        return item

    def to_commit(self) -> int | None:
        """Behind the last of the confirmed records that have no unconfirmed one before them; None: nothing new."""
        while self.items and self.items[0].confirmed:
            item = self.items.popleft()
            self.behind = item.offset + 1
            self._remember(item)
        news = self.behind is not None and (self.committed is None or self.behind > self.committed)
        return self.behind if news else None

    def decided(self, offset: int) -> None:
        """Up to here all is decided."""
        while self.undecided and self.undecided[0].last <= offset:
            self.undecided.popleft()

    @property
    def oldest_at(self) -> Micros | None:
        """When the oldest record was written that is confirmed and may not be decided yet; None: there is none."""
        return self.undecided[0].at if self.undecided else None

    def _remember(self, item: Item) -> None:
        if self.undecided and item.offset < self.undecided[-1].first + REMEMBERED_TOGETHER:
            self.undecided[-1] = self.undecided[-1]._replace(last=item.offset)
        else:
            self.undecided.append(Undecided(item.offset, item.offset, item.at))
