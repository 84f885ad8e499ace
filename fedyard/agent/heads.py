"""Heads of the hub's chains of events, as it has signed them: what this site keeps can later be compared.

The hub signs, with its notices, how far the chains of this site and of its projects have come. This site keeps the
newest head of each chain and that of each day before, and looks at every new one (head_watch.py):

    altered          not signed by the key that it names
    foreign          signed with another key than the pinned one
    another_history  of another history than the hub tells at the same time
    went_back        an older event than the hub has signed before, in the same history
    fork             the same event as before, with another hash
    lost             the first one after a recovery is older than the last one before it: the restore has lost events

Each is on record here, with the head that shows it, and people see it; the agent goes on. Whether the hub's records
pass through the heads that were kept `fedyard events verify --against` tells; `fedyard site heads --to` writes them.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedyard.wire import types as w
from fedyard.wire.statements import head_statement

FaultKind: TypeAlias = Literal["unreadable", "altered", "foreign", "another_history", "went_back", "fork", "lost"]
OF_HUB: tuple[FaultKind, ...] = ("unreadable", "altered", "foreign", "another_history")
"""They say nothing of a history: one of each, for each chain, is on record."""
HASH_SHOWN = 16


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The newest event of a chain. stream_id: of a project or site. kind: which, unsigned. at: microseconds, signed."""

    history_id: w.Uuid
    stream_id: w.Uuid
    kind: w.Slug
    seq: w.Seq
    hash: w.Hex32
    at: w.Micros
    key: w.IdentityKey
    signature: w.Signature

    def statement(self) -> bytes:
        """What the hub signs; docs/api.md has it byte by byte."""
        return head_statement(self.history_id, self.stream_id, self.seq, self.hash, self.at)

    def is_signed(self) -> bool:
        """By the key that it names."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signature, self.statement())
        except (InvalidSignature, ValueError):
            return False
        return True

    def __str__(self) -> str:
        return f"event {self.seq} ({self.hash[:HASH_SHOWN]})"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a head that the hub showed. detail: a sentence. head: None if it cannot be read.

    at: microseconds, when it was first seen; count: how often since.
    """

    kind: FaultKind
    stream_id: str
    history_id: str
    detail: str
    head: Head | None
    at: int
    count: int = 1


def judge(head: Head, history_id: str | None, known: Head | None, before: Head | None) -> FaultKind | None:
    """What is wrong with a head that the hub's key has signed; None if nothing is.

    history_id: what the hub tells beside it. known: the newest one of the chain that is kept since the last recovery;
    before: the one that was kept last before it, looked at where none is known since.
    """
    if head.history_id != history_id:
        return "another_history"
    if known is not None:
        if head.seq < known.seq:
            return "went_back"
        return "fork" if head.seq == known.seq and head.hash != known.hash else None
    if before is not None and (head.seq < before.seq or (head.seq == before.seq and head.hash != before.hash)):
        return "lost"
    return None
