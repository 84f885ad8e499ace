"""What was reported and is not with the hub yet, on the disk: a sidecar that is started again goes on with it.

rounds.json         what is known of the coordinator, what the hub is to be told, which checkpoints are to be kept
checkpoints/        copies of the checkpoint, `<start>-<number>`, until the hub has them
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from fedyard.sidecar.rounds import Seen, Stage, Told, follow
from fedyard.wire.durable import write_whole

MAX_TOLD: Final = 1000
"""Of what the hub is to be told: some 250 rounds; beyond that the oldest is let go."""
MAX_COPIES: Final = 3
"""Of checkpoints that the hub has not taken yet; beyond that the oldest is let go."""
TRIES: Final = 20
SETTLES_S: Final = 0.5
"""Between two looks at a checkpoint, which the coordinator overwrites in place."""
BLOCK: Final = 1_048_576
ROOM: Final = 4
"""Of the room that is left a copy takes one part in so many at most: a file of any size costs its writer nothing, and
the disk is others', too."""
_STATE, _COPIES = "rounds.json", "checkpoints"


class Round(msgspec.Struct, frozen=True, order=True):
    """One of the coordinator's."""

    start: int
    number: int


class _State(msgspec.Struct, frozen=True):
    seen: Seen | None = None
    told: list[Told] = []
    uncopied: list[Round] = []


class Journal:
    """Safe to use from many threads. log: told a sentence."""

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self._path = folder / _STATE
        self._copies = folder / _COPIES
        self._log = log
        self._changed = threading.Condition()
        self._state = _State()
        self._closed = False
        self._copies.mkdir(mode=0o700, exist_ok=True)
        for half in self._copies.glob("*.part"):
            half.unlink()
        with suppress(FileNotFoundError, msgspec.MsgspecError):
            self._state = msgspec.json.decode(self._path.read_bytes(), type=_State)

    def take(self, number: int, stage: Stage, now_s: int) -> None:
        """The coordinator has reported; it is on the disk when this returns."""
        with self._changed:
            seen, told = follow(self._state.seen, number, stage, now_s)
            if not told:
                return
            completed = [Round(one.start, one.number) for one in told if one.stage is Stage.COMPLETED]
            all_told = [*self._state.told, *told]
            if len(all_told) > MAX_TOLD:
                self._log(f"the hub was away for too long: {len(all_told) - MAX_TOLD} reports of rounds are let go")
            # what the file holds now is the newest one's; of those before nothing is left
            uncopied = completed[-1:] or self._state.uncopied
            self._write(_State(seen, all_told[-MAX_TOLD:], uncopied))

    def next_told(self, wait_s: float) -> Told | None:
        """The oldest that the hub is to be told; None if there is none within that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.told or self._closed, wait_s)
            return self._state.told[0] if self._state.told else None

    def forget_told(self, one: Told) -> None:
        """The hub has it, or will never take it."""
        with self._changed:
            self._write(msgspec.structs.replace(self._state, told=[x for x in self._state.told if x != one]))

    def next_uncopied(self, wait_s: float) -> Round | None:
        """A round whose checkpoint has to be copied before the next one overwrites it."""
        with self._changed:
            self._changed.wait_for(lambda: self._state.uncopied or self._closed, wait_s)
            return self._state.uncopied[0] if self._state.uncopied else None

    def copy(self, of: Round, checkpoint: Path, pause: Callable[[float], bool]) -> bool:
        """Copy it, read twice with the same size and digest. False: there is none, it does not come to rest, or the
        next round has come so far meanwhile that it may be that one's.

        pause: waits so long; True if it shall end. Raises `OSError`, for what leaves too little room as well.
        """
        most = shutil.disk_usage(self._copies).free // ROOM
        part = self._copies / f"{of.start}-{of.number}.part"
        found = False
        for _ in range(TRIES):
            first = _copied(checkpoint, part, most)
            if first is None or pause(SETTLES_S):
                break
            if _copied(checkpoint, None, most) == first:
                found = True
                break
        with self._changed:
            found = found and of in self._state.uncopied and not self._is_overtaken(of)
            if found:
                part.rename(part.with_suffix(""))
                for old in self._kept()[:-MAX_COPIES]:
                    self._log(f"the hub was away for too long: the checkpoint of round {old.number} is let go")
                    self._file(old).unlink()
            else:
                part.unlink(missing_ok=True)
            self._write(msgspec.structs.replace(self._state, uncopied=[x for x in self._state.uncopied if x != of]))
        return found

    def _is_overtaken(self, of: Round) -> bool:
        """The next round may be averaged by now: what was read may be its checkpoint."""
        seen = self._state.seen
        next_averaged = (of.start, of.number + 1, Stage.REPORTING)
        return seen is not None and (seen.start, seen.number, seen.stage) >= next_averaged

    def give_up_copy(self, of: Round) -> None:
        """It cannot be read, or there is no room for it."""
        with self._changed:
            (self._copies / f"{of.start}-{of.number}.part").unlink(missing_ok=True)
            self._write(msgspec.structs.replace(self._state, uncopied=[x for x in self._state.uncopied if x != of]))

    def next_copy(self, wait_s: float) -> tuple[Round, Path] | None:
        """The oldest checkpoint that the hub has not, once it was told that its round is completed."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready() is not None or self._closed, wait_s)
            ready = self._ready()
            return None if ready is None else (ready, self._file(ready))

    def forget_copy(self, of: Round) -> None:
        with self._changed:
            self._file(of).unlink(missing_ok=True)
            self._changed.notify_all()

    def is_told(self) -> bool:
        """Whether the hub has all of it."""
        with self._changed:
            return not (self._state.told or self._state.uncopied or self._kept())

    def close(self) -> None:
        """Whoever waits for something waits no longer."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _ready(self) -> Round | None:
        waiting = {Round(one.start, one.number) for one in self._state.told}
        return next((one for one in self._kept() if not any(other <= one for other in waiting)), None)

    def _kept(self) -> list[Round]:
        names = [path.name.split("-") for path in self._copies.iterdir() if not path.suffix]
        return sorted(Round(int(start), int(number)) for start, number in names)

    def _file(self, of: Round) -> Path:
        return self._copies / f"{of.start}-{of.number}"

    def _write(self, state: _State) -> None:
        self._state = state
        try:
            write_whole(self._path, msgspec.json.encode(state))
        except OSError as error:
            self._log(f"what the hub is to be told cannot be kept over a restart: {error.strerror}")
        self._changed.notify_all()


def _no_link(path: str, flags: int) -> int:
    """A link could lead to what is not the coordinator's, and a pipe would be waited for."""
    opened = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    raise OSError(errno.EINVAL, "it is no file", path)


def _copied(source: Path, target: Path | None, most: int) -> tuple[int, bytes] | None:
    """Size and digest of what was read, copied if there is a target; None where there is nothing. most: bytes, also of
    what still grows. Raises `OSError`."""
    try:
        with open(source, "rb", opener=_no_link) as file:
            found, size = hashlib.sha256(), 0
            _need_room(os.fstat(file.fileno()).st_size, most)
            to = None if target is None else target.open("wb")
            try:
                while block := file.read(BLOCK):
                    found.update(block)
                    size += len(block)
                    _need_room(size, most)
                    if to is not None:
                        to.write(block)
                if to is not None:
                    to.flush()
                    os.fsync(to.fileno())
            finally:
                if to is not None:
                    to.close()
    except FileNotFoundError:
        return None
    return (size, found.digest()) if size else None


def _need_room(size: int, most: int) -> None:
    if size > most:
        raise OSError(errno.ENOSPC, f"a copy of it would have over {most} bytes, one part in {ROOM} of the room left")
