"""Locks on files, which end with their process: by flock(2), and on Windows by its own locks."""

from __future__ import annotations

import sys
from typing import IO, Any


def lock(file: IO[Any]) -> None:
    """Wait until nobody else has this file, and have it until it is closed."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - each system has but one of these

        while True:
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            except OSError:  # it has waited for ten seconds
                continue
            return
    else:
        import fcntl  # noqa: PLC0415 - as above

        fcntl.flock(file, fcntl.LOCK_EX)


def lock_now(file: IO[Any]) -> None:
    """Have it now. Raises `BlockingIOError` if somebody has."""
    if sys.platform == "win32":
        import msvcrt  # noqa: PLC0415 - as above

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
    else:
        import fcntl  # noqa: PLC0415 - as above

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
