"""What is remembered of inboxes: how far each has come, so that "nothing new" costs no query."""

from __future__ import annotations

import threading
from typing import NamedTuple

from config.clock import Clock
from domain.ids import Id
from storage.signals import Announcement, Tip

TRUST_S = 5.0
"""How long what was heard or read of an inbox is believed."""
MAX_REMEMBERED = 50_000


class Known(NamedTuple):
    """What is known of an inbox: its newest entry, and, as last read, how far it is acknowledged, and its history."""

    last_seq: int
    mark: str
    acknowledged_seq: int
    history_id: Id


class _Memory(NamedTuple):
    """read: what came with a read, or None where it was only heard of. until: how long it is believed."""

    tip: Tip
    read: tuple[int, Id] | None
    until: float


class InboxTips:
    """The newest entries of inboxes, so that "nothing new" costs no query.

    What was read or heard of is trusted for a few seconds; a read that began before a gap is not taken in.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._generation = 0
        self._known: dict[Id, _Memory] = {}

    @property
    def generation(self) -> int:
        """To be taken before a read, and handed to `learn` with what it found."""
        return self._generation

    def known(self, site: Id) -> Known | None:
        """The newest entry and what else was last read, if both are known and fresh."""
        memory = self._known.get(site)
        if memory is None or memory.read is None or memory.until < self._clock.monotonic():
            return None
        return Known(memory.tip.seq, memory.tip.mark, *memory.read)

    def learn(self, site: Id, known: Known, generation: int) -> None:
        """Take in what was read, unless there was a gap since."""
        with self._lock:
            if generation == self._generation:
                self._put(site, Tip(known.last_seq, known.mark), (known.acknowledged_seq, known.history_id))

    def heard(self, announcement: Announcement) -> None:
        with self._lock:
            for site, tip in announcement.inboxes.items():
                self._put(site, tip, None)

    def void(self) -> None:
        with self._lock:
            self._clear()

    def _put(self, site: Id, tip: Tip, read: tuple[int, Id] | None) -> None:
        """An older tip may be a read that was overtaken by an announcement. It may be a history that went back as well:
        then what was remembered is not believed for longer, and goes."""
        if len(self._known) >= MAX_REMEMBERED:
            self._clear()
        now = self._clock.monotonic()
        before = self._known.get(site)
        if before is None or before.until < now:
            self._known[site] = _Memory(tip, read, now + TRUST_S)
            return
        if before.read is not None and (read is None or (read[1] == before.read[1] and read[0] < before.read[0])):
            read = before.read
        if tip.seq >= before.tip.seq:
            self._known[site] = _Memory(tip, read, now + TRUST_S)
        else:
            self._known[site] = before._replace(read=read)

    def _clear(self) -> None:
        self._generation += 1
        self._known.clear()
