"""What must hold when everything has drained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from domain import records as r
from domain.codec import decode
from domain.ledger import read_name
from domain.states import RUN_FINAL, ArtifactState, KeyState
from domain.table import TABLE, Kind
from fedyard.wire.chunks import count_of
from fedyard.wire.times import SECOND
from storage.audit import verify
from tests.simulation.copy import Copy
from tests.simulation.world import Broken

if TYPE_CHECKING:
    from storage.blobs.port import Blobs
    from storage.database import Database


class Ending(Copy):
    """See the module."""

    def undone(self) -> str | None:
        """What has not drained yet, or None."""
        live = [run.id for run in self.every(r.Run) if run.state not in RUN_FINAL]
        if live:
            return f"runs {live} are not final"
        late = self._world.micros - 5 * SECOND
        kept = [one.id for one in self.every(r.Message) if one.expired_at is None and one.expires_at < late]
        if kept:
            return f"messages {kept} have not expired"
        if self.rows[r.OutboxRow]:
            return f"the outbox holds {[row.id for row in self.every(r.OutboxRow)]}"
        if self._world.broker.waiting():
            return f"the broker holds {self._world.broker.waiting()} commands"
        undecided = [what for command, what in self.promised.items() if self.have(r.Outcome, command) is None]
        if undecided:
            return f"never decided: {undecided}"
        lost = [
            row.envelope_json[:300]
            for id, row in self.follow_ups.items()
            if self.have(r.Outcome, id) is None and TABLE[type(decode(row.envelope_json).command)].kind is Kind.DECIDED
        ]
        return f"follow-ups were lost: {lost}" if lost else None

    def unswept(self, blobs: Blobs) -> str | None:
        """Bytes that are still there and need not be, or None."""
        kept = {one.id for one in self.every(r.Artifact) if one.state != ArtifactState.EXPIRED}
        left = sorted({one.artifact for one in blobs.stored()} - kept)
        if self._world.restores.done or self._world.kafka.on:  # what the store does not know stays for an hour
            left = [ident for ident in left if self.have(r.Artifact, ident) is not None]
        return f"chunks of {left} were not swept" if left else None

    def find_every_byte(self, blobs: Blobs) -> None:
        """Every chunk of every stored artifact is there."""
        for one in self.every(r.Artifact):
            before = self._world.restores.kept_at if self._world.restores.done else 0
            if (one.stored_at or 0) < before:  # its bytes may have been swept in the history that is gone
                continue
            if one.state == ArtifactState.STORED and len(blobs.have(one.id)) != count_of(one.size_bytes):
                raise Broken(f"artifact {one.id} is stored, and not all of its chunks are there")

    def still_revoked(self, blobs: Blobs) -> None:
        """Whatever the ledger names is revoked, however often the store was restored."""
        for named in filter(None, map(read_name, blobs.noted())):
            live: list[Any] = []
            if named.kind == "token":
                live = [t for t in self.every(r.Token) if t.sha256 == named.key and t.revoked_at is None]
            elif named.kind == "enrolment":
                live = [e for e in self.every(r.Enrolment) if e.sha256 == named.key and e.used_at is None]
            elif named.kind == "key":
                key = self.have(r.SiteKey, named.key, named.epoch)
                live = [key] if key and key.digest == named.digest and key.state != KeyState.REVOKED else []
            if live:
                raise Broken(f"what was revoked is in force: {live[0]}")

    def audit(self, database: Database) -> None:
        """The hub's own look at its chains agrees."""
        breaks = list(verify(database))
        if breaks:
            raise Broken(f"the audit found {breaks}")
