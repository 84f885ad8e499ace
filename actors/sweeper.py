"""The sweeper: removes the bytes of artifacts that have expired, or that the records do not know.

It compares what lies in the store of chunks with the records, again and again; so whatever was missed, by a crash or
by an upload that went on while its artifact expired, goes the next time. It runs in the relay's process.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

from config.clock import Clock, Micros
from config.logs import unit
from config.outages import Outage
from domain.states import ArtifactState
from fedyard.wire.times import SECOND
from storage.blobs.port import Blobs, StorageFull, StorageUnavailable, Stored
from storage.database import Database, DatabaseUnavailable
from storage.views.artifacts import states_of

SWEEP_EVERY_S = 600.0
UNKNOWN_AFTER: Micros = 3600 * SECOND
"""The records know an artifact before anything of it is stored, unless they were restored from a backup."""
_MAX_LOOKED_AT = 500

_log = logging.getLogger(__name__)


class Sweeper:
    """Several do no harm: to delete what is not there is fine."""

    def __init__(self, blobs: Blobs, database: Database, clock: Clock, every_s: float = SWEEP_EVERY_S) -> None:
        self._blobs = blobs
        self._database = database
        self._clock = clock
        self._every_s = every_s
        self._waits = Outage(_log, "expired artifacts wait", "expired artifacts are removed again", clock)
        self._walk: Iterator[Stored] | None = None
        self._next_at = clock.monotonic()

    def sweep(self) -> int:
        """Once through everything; how many artifacts were removed."""
        self._next_at = self._clock.monotonic()
        removed = self.turn()
        while self._walk:
            removed += self.turn()
        return removed

    def turn(self) -> int:
        """A few hundred artifacts, if it is time; how many were removed. Raises nothing: the next one tries."""
        if self._walk is None and self._clock.monotonic() < self._next_at:
            return 0
        try:
            if self._walk is None:
                self._walk = self._blobs.stored()
            removed = self._look_at(list(itertools.islice(self._walk, _MAX_LOOKED_AT)))
        except (StorageUnavailable, StorageFull, DatabaseUnavailable) as error:
            self._waits.lasts(error)
            self._end()
            return 0
        self._waits.over()
        if removed:
            _log.info("swept artifacts", extra=unit(count=removed))
        return removed

    def _look_at(self, stored: list[Stored]) -> int:
        if len(stored) < _MAX_LOOKED_AT:
            self._end()
        states = states_of(self._database, [one.artifact for one in stored])
        removed = 0
        for one in stored:
            state = states.get(one.artifact)
            unknown = state is None and one.newest_at < self._clock.now() - UNKNOWN_AFTER
            if unknown or state == ArtifactState.EXPIRED:
                self._blobs.delete(one.artifact)
                removed += 1
            elif state == ArtifactState.STORED:
                self._blobs.delete_parts(one.artifact)
        return removed

    def _end(self) -> None:
        self._walk, self._next_at = None, self._clock.monotonic() + self._every_s
