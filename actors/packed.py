"""What becomes of packed commands: the store takes them in, without a decision, an outcome or an event."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from domain import commands as c
from domain.commands import Beat
from domain.values import Micros
from storage.store import Store

TakingIn: TypeAlias = Callable[[Store, Iterable[Any], Micros], None]
"""Store, all commands of one class that wait together, the time. Raises `DatabaseUnavailable`."""


def record_heartbeats(store: Store, packed: Iterable[c.RecordHeartbeats], now: Micros) -> None:
    """Times only move forward, so that any order and any repetition is fine."""
    commands = list(packed)
    store.record_heartbeats(
        [_not_ahead(beat, now) for command in commands for beat in command.beats],
        [use for command in commands for use in command.token_uses],
        [version for command in commands for version in command.versions],
    )


def _not_ahead(beat: Beat, now: Micros) -> Beat:
    """A beat from the future would keep a site alive that has long fallen silent."""
    return beat if beat.seen_at <= now else msgspec.structs.replace(beat, seen_at=now)


TAKING_IN: Mapping[type[c.Command], TakingIn] = {c.RecordHeartbeats: record_heartbeats}
