"""What a cluster's folder shows of attempts: read again and again, a thousand at each look."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from fedyard.cluster.local import folder as files
from fedyard.cluster.port import AttemptId, Observed, Phase, Reason, Refused
from fedyard.wire.types import UUID_PATTERN

PLACES, VOLUMES, LOCK, CHANGES, NEW, GONE = "places", "volumes", "lock", "changes", "new", "gone"
OWNER, RECORD = "owner", "record.json"
SETTLED_NS, MAX_KNOWN = 100_000_000, 4000
ID = re.compile(UUID_PATTERN)
T = TypeVar("T")


class Record(msgspec.Struct, frozen=True):
    """What was made, without anything secret. content: digest of the Spec but for its number of replicas."""

    owner: str
    place: str
    id: str
    attempt: int
    kind: str
    uid: str
    content: str
    replicas: int
    grace_s: float
    created_s: float
    name: str
    labels: dict[str, str]
    image: str
    command: list[str]
    stable: bool = False
    exact: bool = False


class State(msgspec.Struct, frozen=True):
    """As the shim writes it."""

    phase: Phase
    reason: Reason
    detail: str
    exit_code: int | None
    ready: int
    replicas: int
    address: str
    stopping: bool
    started_s: float | None
    ended_s: float | None
    events: list[str]


class Asked(msgspec.Struct, frozen=True):
    grace_s: float


_RECORDS, _STATES = msgspec.json.Decoder(Record), msgspec.json.Decoder(State)
_STOPS = msgspec.json.Decoder(Asked)


class Found(msgspec.Struct, frozen=True):
    """One attempt's folder as it is now. state None: it was never started. lives: its shim does."""

    folder: Path
    record: Record
    state: State | None
    lives: bool
    stop: Asked | None


class _Files(Generic[T]):
    """Small files as values, read again when they have changed: a thousand are looked at in each turn."""

    def __init__(self, decoder: msgspec.json.Decoder[T]) -> None:
        self._decoder = decoder
        self._known: dict[Path, tuple[tuple[int, int, int], T]] = {}

    def read(self, path: Path) -> T | None:
        """None: it is not there, or not whole. What has just been written is not kept: a file that replaces it may have
        the same number, size and time."""
        try:
            at = path.stat()
            mark = (at.st_ino, at.st_size, at.st_mtime_ns)
            known = self._known.get(path)
            if known is not None and known[0] == mark:
                return known[1]
            value = self._decoder.decode(path.read_bytes())
        except (OSError, msgspec.MsgspecError):
            self._known.pop(path, None)
            return None
        if time.time_ns() - at.st_mtime_ns > SETTLED_NS:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[path] = (mark, value)
        return value


class Attempts:
    """Those below a cluster's root. Raises `OSError` where that cannot be read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._records = _Files(_RECORDS)
        self._states = _Files(_STATES)

    def places(self, owner: str) -> list[Path]:
        places = (self._root / PLACES).iterdir()
        return sorted(place for place in places if self.owner_of(place) == owner)

    @staticmethod
    def owner_of(place: Path) -> str | None:
        """None: it is not there, or not ours."""
        with suppress(OSError, ValueError):
            return (place / OWNER).read_text()
        return None

    def inside(self, place: Path) -> Iterator[Found]:
        for name in sorted(names(place)):
            if name != OWNER and (found := self.look(place / name)) is not None:
                yield found

    def find(self, which: AttemptId, *, whose: bool = False) -> Found | None:
        """whose: raise `Refused` where it, or its place, belongs to another; else that is as good as not there."""
        if not (ID.fullmatch(which.place) and ID.fullmatch(which.id)):
            return None
        place = self._root / PLACES / which.place
        if self.owner_of(place) != which.owner:
            if whose and place.exists():
                raise Refused(Reason.CONFIG_INVALID, f"the place {which.place} belongs to another")
            return None
        folder = place / f"{which.id}-{which.attempt}"
        found = self.look(folder)
        if found is None and whose and folder.exists():
            raise Refused(Reason.CONFIG_INVALID, f"{folder} was not made by Fedyard")
        return found

    def look(self, folder: Path) -> Found | None:
        """None: there is nothing of ours. Lock before state: what ends in between is seen with its end."""
        record = self._record_of(folder)
        if record is None:
            return None
        lives = is_alive(folder)
        state = self._state_of(folder)
        stop = None
        with suppress(OSError, msgspec.MsgspecError):
            stop = _STOPS.decode((folder / files.STOP).read_bytes())
        return Found(folder, record, state, lives, stop)

    def _record_of(self, folder: Path) -> Record | None:
        return self._records.read(folder / RECORD)

    def _state_of(self, folder: Path) -> State | None:
        return self._states.read(folder / files.STATE)

    @staticmethod
    def told(found: Found) -> Observed:
        record, state = found.record, found.state
        seen = Observed(
            id=record.id,
            attempt=record.attempt,
            place=record.place,
            uid=record.uid,
            phase=Phase.STARTING,
            replicas=record.replicas,
            stopping=found.stop is not None or (state is not None and state.stopping),
            created_s=record.created_s,
        )
        if state is None and found.lives:
            return seen
        if state is None or (not found.lives and state.ended_s is None):
            return msgspec.structs.replace(
                seen,
                phase=Phase.FAILED,
                reason=Reason.VANISHED,
                detail="nobody says what became of its processes: the machine was started anew, or its shim was killed",
                started_s=state.started_s if state else None,
            )
        return msgspec.structs.replace(
            seen,
            phase=state.phase,
            reason=state.reason,
            detail=state.detail,
            exit_code=state.exit_code,
            ready=state.ready,
            replicas=state.replicas,
            addresses={"inside": state.address} if state.address else {},
            started_s=state.started_s,
            ended_s=state.ended_s,
        )


def names(folder: Path) -> list[str]:
    """Of what is in it; none if it is not there."""
    with suppress(OSError):
        return os.listdir(folder)
    return []


def is_alive(folder: Path) -> bool:
    try:
        alive = os.open(folder / files.ALIVE, os.O_RDWR)
    except OSError:
        return False
    try:
        return files.is_held(alive)
    finally:
        os.close(alive)
