"""An attempt's folder: what lies in it, and the lock that says whether its shim lives."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress

LAUNCH, STATE, LOG, TAIL, STOP, REPLICAS = "launch.json", "state.json", "log", "tail", "stop", "replicas"
BELL, ALIVE, WORK, RESERVE, FAULT = "bell", "alive", "work", "reserve", "shim.err"
"""launch.json has the secrets: it is there until the shim has read it. shim.err: of one that failed."""
COMPANION = "companion-{}"
"""Of each replica: where its companion's own files are, and beside it, with `.log`, what that has said."""
MARK = "FEDYARD_ATTEMPT_UID"
"""In the environment of each process of an attempt."""
MAX_CHANGES_BYTES = 1_048_576


def hold(descriptor: int) -> bool:
    """Take the lock of an attempt's folder, which goes with the descriptor, also to other processes."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK)
    except BlockingIOError:
        return False
    return True


def is_held(descriptor: int) -> bool:
    """Whether somebody has it, without taking it."""
    answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _LOCK)
    return int.from_bytes(answer[:2], sys.byteorder, signed=True) != fcntl.F_UNLCK


def ring_changes(path: str) -> None:
    """Tell who waits that something has changed: the file's size does."""
    with suppress(OSError):
        changes = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(changes, b".")
            if os.fstat(changes).st_size >= MAX_CHANGES_BYTES:
                os.ftruncate(changes, 0)
        finally:
            os.close(changes)


def _lock_of_all() -> bytes:
    """struct flock: an exclusive lock on the whole file."""
    kind = fcntl.F_WRLCK.to_bytes(2, sys.byteorder) + os.SEEK_SET.to_bytes(2, sys.byteorder)
    return kind.ljust(32, b"\0")


_LOCK = _lock_of_all()
