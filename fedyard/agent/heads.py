"""Heads of the hub's chains of events, as it has signed them: what this site keeps can later be compared.

The hub signs, with its notices, how far the chains of this site and of its projects have come. This site pins the hub's
key when it first sees one (trust.py), keeps the newest head of each chain and that of each day before, and looks at
every new one:

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

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedyard.sealed.keys import hex_groups, hub_fingerprint
from fedyard.wire import types as w

if TYPE_CHECKING:
    from fedyard.agent.consents import Consents
    from fedyard.agent.state import State
    from fedyard.sealed.trust import Trust

FaultKind: TypeAlias = Literal["unreadable", "altered", "foreign", "another_history", "went_back", "fork", "lost"]
OF_HUB: tuple[FaultKind, ...] = ("unreadable", "altered", "foreign", "another_history")
"""They say nothing of a history: one of each, for each chain, is on record."""
HASH_SHOWN = 16
AT_ONCE = 200
"""Heads of one answer that are looked at; the hub sends 20 at most."""


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
        return b"".join(
            (
                b"fedyard head 1\0",
                UUID(self.history_id).bytes,
                UUID(self.stream_id).bytes,
                self.seq.to_bytes(8),
                bytes.fromhex(self.hash),
                self.at.to_bytes(8),
            )
        )

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


class Heads:
    """The heads that one site keeps. For the thread that follows the inbox. log: told of each fault, once a day."""

    def __init__(self, site_id: str, state: State, trust: Trust, consents: Consents, log: Callable[..., None]) -> None:
        self._site_id = site_id
        self._state, self._trust, self._consents = state, trust, consents
        self._log = log

    def note(self, shown: Sequence[msgspec.Raw], history_id: str | None, now: int) -> None:
        """Keep what came with an answer of the inbox. Chains of others than this site and its projects are nothing."""
        recovered_at = self._state.position().recovered_at if shown else 0
        fresh: dict[str, Head] = {}
        for raw in shown[:AT_ONCE]:
            try:
                head = w.decode(raw, Head)
            except w.Undecodable as error:
                self._found(
                    "unreadable", self._site_id, None, f"a head that the hub showed cannot be read: {error}", now
                )
                continue
            if head.stream_id != self._site_id and not self._consents.serves(head.stream_id):
                continue
            known = fresh.get(head.stream_id) or self._state.newest_head(head.stream_id, head.history_id, recovered_at)
            if head == known:
                continue
            if self._is_well(head, history_id, known, recovered_at, now):
                fresh[head.stream_id] = head
        self._state.keep_heads(list(fresh.values()), now)

    def _is_well(self, head: Head, history_id: str | None, known: Head | None, recovered_at: int, now: int) -> bool:
        """True if the head is to be kept."""
        if not head.is_signed():
            self._found("altered", head.stream_id, head, f"{_whose(head)}: {_ALTERED}", now)
            return False
        pinned = self._trust.meet_hub(head.key, now)
        if pinned is not None:
            self._found("foreign", head.stream_id, head, f"{_whose(head)}: {_foreign(head, pinned)}", now)
            return False
        before = self._state.head_before(head.stream_id, recovered_at) if known is None and recovered_at else None
        kind = judge(head, history_id, known, before)
        if kind is not None:
            self._found(kind, head.stream_id, head, f"{_whose(head)}: {_said(kind, head, known or before)}", now)
        return kind in (None, "lost")

    def _found(self, kind: FaultKind, stream_id: str, head: Head | None, detail: str, now: int) -> None:
        history_id = head.history_id if head is not None and kind not in OF_HUB else ""
        fault = Fault(kind=kind, stream_id=stream_id, history_id=history_id, detail=detail, head=head, at=now)
        if self._state.keep_head_fault(fault, now):
            self._log("chain of events at fault", fault=kind, stream=stream_id, detail=detail)


_ALTERED = "its head is not signed by the hub's key that it names: it was altered on its way, or the hub is at fault"


def _whose(head: Head) -> str:
    return f"the events of {head.kind} {head.stream_id}"


def _foreign(head: Head, pinned: bytes) -> str:
    return (
        f"their head is signed with the key {hex_groups(hub_fingerprint(head.key))}, and this site knows the hub by "
        f"{hex_groups(pinned)}; ask the hub's people, and if they have another key: fedyard site trust-hub --replace"
    )


def _said(kind: FaultKind, head: Head, other: Head | None) -> str:
    match kind:
        case "another_history":
            return f"their head is of history {head.history_id}, and the hub tells another; there was no recovery"
        case "went_back":
            return (
                f"the hub had signed {other} as the newest, and now signs {head}: their end was cut off, or the hub's "
                "records were put back in silence"
            )
        case "fork":
            return f"the hub has signed {other} and {head}: their past was written anew"
        case _:
            return f"the hub was restored; before, its newest was {other}, now it is {head}: what lies between is lost"
