"""What the hub wants to have run at this site, as far as this agent understands it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from fedyard.client.client import Client
from fedyard.cluster.doing import MAX_DETAIL
from fedyard.cluster.plan import Finding, Key, Wanted, said
from fedyard.cluster.port import Phase, Reason
from fedyard.wire.types import Number, Undecodable, Uuid, decode


class _Listed(msgspec.Struct, frozen=True):
    items: list[msgspec.Raw]


class _Which(msgspec.Struct, frozen=True):
    id: Uuid
    attempt: Number


class _Bare(msgspec.Struct, frozen=True):
    """What is left to know of an attempt that this agent does not understand."""

    spec: _Which


@dataclass
class Asked:
    """strange: listed by the hub in words that this agent does not understand: nothing of theirs is touched. odd: that
    they are not understood, to be reported."""

    wanted: list[Wanted] = field(default_factory=list)
    strange: set[Key] = field(default_factory=set)
    odd: list[Finding] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether each that is listed is known by its id at least."""
        return Key("", 0) not in self.strange


def ask(client: Client, site_id: str, log: Callable[..., None]) -> Asked:
    """Raises `Refused`, `Unavailable`."""
    found = client.read(f"/v1/sites/{site_id}/workloads", _Listed)
    asked = Asked()
    for item in found.items:
        try:
            asked.wanted.append(_understood(item, site_id))
        except Undecodable as error:
            _not_understood(item, str(error), asked, log)
    return asked


def _not_understood(item: msgspec.Raw, fact: str, asked: Asked, log: Callable[..., None]) -> None:
    with suppress(Undecodable):
        which = decode(item, _Bare).spec
        asked.strange.add(Key(which.id, which.attempt))
        detail = said(f"this site's agent does not understand what is asked of it: {fact}", MAX_DETAIL)
        asked.odd.append(
            Finding(which.id, which.attempt, phase=Phase.FAILED, reason=Reason.CONFIG_INVALID, detail=detail)
        )
        return
    log("workload not understood", detail=fact)
    asked.strange.add(Key("", 0))


def _understood(item: msgspec.Raw, site_id: str) -> Wanted:
    """An attempt that is this site's. Raises `Undecodable`."""
    one = decode(item, Wanted)
    if one.spec.owner != site_id or one.key != Key(one.known.id, one.known.attempt):
        raise Undecodable("it is another's")
    return one
