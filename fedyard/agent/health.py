"""How the agent is, in a file beside its memory: for the portal, and for whoever looks after this machine.

Written every few seconds while the agent lives, never waited for, and of no use to the agent itself: a full disk costs
it nothing. Who reads it asks how old it is: an agent that was killed says nothing any more.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from fedyard.wire.times import SECOND
from fedyard.wire.version import __version__
from fedyard.wire.versions import misfit

NAME = "health.json"
EVERY_S = 5.0
"""How often it is written; three times as old, it is of an agent that is not there."""
MAX_WHY = 2000
KEEP_LINES = 100
"""Of what the agent has logged."""
MAX_LINE = 1000


class Line(msgspec.Struct, frozen=True):
    """A line of the agent's log. at: microseconds. facts: as they stand there, as text."""

    at: int
    what: str
    facts: dict[str, str] = {}


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """started_at, at, beat_at, ended_at: microseconds. beat_at: when the hub has answered last; 0: not yet.

    ended_why: empty where it was told to end. trouble: why the hub was not reached since. clock: how far this machine's
    clock is from the hub's, if too far. hub_version: what the hub said last; empty: nothing.
    """

    version: str = ""
    pid: int = 0
    started_at: int = 0
    at: int = 0
    ended_at: int | None = None
    ended_why: str = ""
    beat_at: int = 0
    trouble: str = ""
    clock: str = ""
    hub_version: str = ""
    lines: list[Line] = []

    def misfit(self) -> str:
        """What is wrong with this agent's version at its hub; empty: nothing."""
        return misfit(self.hub_version, self.version)

    def lives(self, now: int) -> bool:
        """True if the agent that wrote this is there, as far as its age tells."""
        return self.ended_at is None and now - self.at < 3 * EVERY_S * SECOND

    def has_process(self) -> bool:
        """True if its process is there, or another one that has its number by now."""
        if not self.pid or self.ended_at is not None or sys.platform == "win32":  # where signal 0 ends a process
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True  # somebody else's
        return True


def read(folder: Path) -> Health | None:
    """What the last agent of this folder has said of itself; None if none did."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Health)
    except (OSError, msgspec.MsgspecError):
        return None


class HealthFile:
    """What one agent says of itself. Safe to use from many threads; `write` from one."""

    def __init__(self, folder: Path, now: Callable[[], int]) -> None:
        """now: microseconds since 1970."""
        self._path, self._now = folder / NAME, now
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque(maxlen=KEEP_LINES)
        self._started_at, self._written_at = now(), 0
        self._beat_at, self._trouble, self._clock, self._hub_version = 0, "", "", ""

    def said(self, what: str, facts: dict[str, object]) -> None:
        """The agent has logged a line."""
        kept = {name: str(value)[:MAX_LINE] for name, value in facts.items() if value is not None}
        with self._lock:
            self._lines.append(Line(self._now(), what, kept))

    def beaten(self, clock: str, hub_version: str = "") -> None:
        """The hub has answered to a heartbeat."""
        with self._lock:
            self._beat_at, self._trouble, self._clock, self._hub_version = self._now(), "", clock, hub_version

    def missed(self, trouble: str) -> None:
        """It has not."""
        with self._lock:
            self._trouble = trouble[:MAX_LINE]

    def write(self, *, ended: bool = False, why: str = "") -> None:
        """Every `EVERY_S`, or at the end; what cannot be written is left. why: it ends, if it was not told to."""
        now = self._now()
        if not ended and 0 <= now - self._written_at < EVERY_S * SECOND:
            return
        self._written_at = now
        with self._lock:
            health = Health(
                version=__version__,
                pid=os.getpid(),
                started_at=self._started_at,
                at=now,
                ended_at=now if ended else None,
                ended_why=why[:MAX_WHY],
                beat_at=self._beat_at,
                trouble=self._trouble,
                clock=self._clock,
                hub_version=self._hub_version,
                lines=list(self._lines),
            )
        beside = self._path.with_name(f".{NAME}.new")
        with suppress(OSError):
            beside.touch(0o600)
            beside.write_bytes(msgspec.json.encode(health))
            beside.replace(self._path)
