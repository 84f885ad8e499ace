"""The ledger of revocations: what a database forgets when it is restored, kept beside it in the store of artifacts.

The relay's process writes it, from what the store says is not in it yet, and reads it back whenever the history
changed and when it starts: what the ledger names and the store does not know is revoked again, by a command.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator

from broker.port import BrokerUnavailable, Publisher
from config.clock import Clock, Micros
from config.logs import unit
from config.outages import Outage
from domain import codec
from domain.commands import Envelope, RevokeAgain
from domain.ids import Id, derive
from domain.ledger import read_name
from fedyard.wire.times import SECOND
from storage.blobs.port import Blobs, StorageFull, StorageUnavailable
from storage.database import Database, DatabaseUnavailable
from storage.history import MAX_NAMES, read_history, unknown, unwritten, written

AT_ONCE = 200
"""Names in one command."""
ALL_EVERY: Micros = 3600 * SECOND
"""How often everything that was ever revoked is looked at; in between only what was revoked since the last look."""
OVERLAP: Micros = 300 * SECOND
"""How far that reaches back: a revocation carries the time of its decision, and is seen when that is committed."""

_log = logging.getLogger(__name__)


class Ledger:
    """Several do no harm: names are written once however often, and revoking again changes nothing."""

    def __init__(self, blobs: Blobs, database: Database, publisher: Publisher, clock: Clock) -> None:
        self._blobs = blobs
        self._database = database
        self._publisher = publisher
        self._clock = clock
        self._read_for: Id | None = None
        self._looked_at: Micros = 0
        self._looked_at_all_at: Micros | None = None
        self._waits = Outage(_log, "the ledger of revocations waits", "the ledger of revocations is kept again", clock)

    def turn(self) -> int:
        """Read back if the history is another one than last time, then write on; how many names were moved.

        Raises nothing: the next turn tries again.
        """
        try:
            moved = self._read_back() + self._write()
        except (StorageUnavailable, StorageFull, DatabaseUnavailable, BrokerUnavailable) as error:
            self._waits.lasts(error)
            return 0
        self._waits.over()
        return moved

    def _read_back(self) -> int:
        history = read_history(self._database).history_id
        if history == self._read_for:
            return 0
        envelopes = list(again(self._database, self._blobs, history, self._clock))
        self._publisher.send(envelopes)
        self._read_for, self._looked_at_all_at = history, None
        if envelopes:
            _log.warning("revokes again what a restored store forgot", extra=unit(commands=len(envelopes)))
        return len(envelopes)

    def _write(self) -> int:
        now = self._clock.now()
        everything = self._looked_at_all_at is None or now - self._looked_at_all_at >= ALL_EVERY
        names = unwritten(self._database, 0 if everything else self._looked_at - OVERLAP)
        for name in names:
            self._blobs.note(name)
        written(self._database, names, now)
        if len(names) < MAX_NAMES:
            self._looked_at = now
            self._looked_at_all_at = now if everything else self._looked_at_all_at
        return len(names)


def again(database: Database, blobs: Blobs, history: Id, clock: Clock) -> Iterator[Envelope]:
    """Commands that revoke what the ledger names and the store does not know of.

    Raises `StorageUnavailable`, `DatabaseUnavailable`.
    """
    names = (name for name in blobs.noted() if read_name(name) is not None)
    while part := list(itertools.islice(names, AT_ONCE)):
        lacking = unknown(database, part)
        if lacking:
            command = RevokeAgain(names=lacking)
            ident = derive(history, "revoke again", *lacking)
            yield codec.envelope_of(command, id=ident, by=codec.THE_HUB, at=clock.now())
