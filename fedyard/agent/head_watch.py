"""Looks at the heads that the hub shows with its notices, and keeps them or what is wrong with them (heads.py).

This site pins the hub's key when it first sees one (trust.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from fedyard.agent.consents import Consents
from fedyard.agent.heads import OF_HUB, Fault, FaultKind, Head, judge
from fedyard.agent.state import State
from fedyard.sealed.trust import Trust
from fedyard.wire import types as w
from fedyard.wire.statements import hex_groups, hub_fingerprint

AT_ONCE = 200
"""Heads of one answer that are looked at; the hub sends 20 at most."""


class Heads:
    """The heads that one site keeps. For the thread that follows the inbox. log: told of each fault, once a day."""

    def __init__(self, site_id: str, state: State, trust: Trust, consents: Consents, log: Callable[..., None]) -> None:
        self._site_id = site_id
        self._state, self._trust, self._consents = state, trust, consents
        self._log = log

    def note(self, shown: Sequence[msgspec.Raw], history_id: str | None, now: int) -> None:
        """Keep what came with an answer of the inbox. Chains of others than this site and its projects are nothing."""
        recovered_at = self._state.history.position().recovered_at if shown else 0
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
            known = fresh.get(head.stream_id) or self._state.heads.newest_head(
                head.stream_id, head.history_id, recovered_at
            )
            if head == known:
                continue
            if self._is_well(head, history_id, known, recovered_at, now):
                fresh[head.stream_id] = head
        self._state.heads.keep_heads(list(fresh.values()), now)

    def _is_well(self, head: Head, history_id: str | None, known: Head | None, recovered_at: int, now: int) -> bool:
        """True if the head is to be kept."""
        if not head.is_signed():
            self._found("altered", head.stream_id, head, f"{_whose(head)}: {_ALTERED}", now)
            return False
        pinned = self._trust.meet_hub(head.key, now)
        if pinned is not None:
            self._found("foreign", head.stream_id, head, f"{_whose(head)}: {_foreign(head, pinned)}", now)
            return False
        before = self._state.heads.head_before(head.stream_id, recovered_at) if known is None and recovered_at else None
        kind = judge(head, history_id, known, before)
        if kind is not None:
            self._found(kind, head.stream_id, head, f"{_whose(head)}: {_said(kind, head, known or before)}", now)
        return kind in (None, "lost")

    def _found(self, kind: FaultKind, stream_id: str, head: Head | None, detail: str, now: int) -> None:
        history_id = head.history_id if head is not None and kind not in OF_HUB else ""
        fault = Fault(kind=kind, stream_id=stream_id, history_id=history_id, detail=detail, head=head, at=now)
        if self._state.heads.keep_head_fault(fault, now):
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
