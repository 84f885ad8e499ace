"""Landlock (Linux 5.13 and later): a process gives up, for itself and all that it starts, whatever it does not name.

Held by the kernel, for root as for everybody, and never taken back. Its interface has grown by versions (ABI): what an
older kernel does not know is not held there. https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from fedyard.tasks.confined import system

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READ: Final = EXECUTE | READ_FILE | READ_DIR
LIST: Final = READ_DIR
DEVICE: Final = READ_FILE | WRITE_FILE | IOCTL_DEV
WRITE: Final = (1 << 16) - 1 - IOCTL_DEV - (1 << 6) - (1 << 11)
"""All but devices: their making and their controls."""
_OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_KNOWN: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
"""Rights on files by version; from 5 on all of these."""
_ALL: Final = (1 << 16) - 1
_TCP: Final = (1 << 0) | (1 << 1)
"""Bind and connect."""
_SCOPES: Final = (1 << 0) | (1 << 1)
"""Abstract local sockets, and signals, of processes outside."""
NETWORK_SINCE, SCOPES_SINCE = 4, 6
_RULE_PATH_BENEATH: Final = 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The kernel's ABI; 0 where there is none, or it is switched off."""
    if not system.LINUX:
        return 0
    with suppress(OSError):
        return system.call(system.LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return 0


def restrict(rules: Iterable[tuple[str, int]], *, network: bool, abi: int) -> None:
    """Nothing but `rules`, as (path, rights), from now on; what is not there is skipped. Raises `OSError`.

    abi: `version()`; 1 at least. For the calling thread and what it starts: to be called before there are others.
    """
    known = _KNOWN.get(abi, _ALL)
    sizes = ((SCOPES_SINCE, 24), (NETWORK_SINCE, 16), (1, 8))
    size = next(size for since, size in sizes if abi >= since)
    ruleset = _Ruleset(known, 0 if network or abi < NETWORK_SINCE else _TCP, _SCOPES if abi >= SCOPES_SINCE else 0)
    made = system.call(system.LANDLOCK_CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path, rights in rules:
            _add(made, path, rights & known)
        system.no_new_privileges()
        system.call(system.LANDLOCK_RESTRICT_SELF, ctypes.c_int(made), ctypes.c_uint32(0))
    finally:
        os.close(made)


def _add(ruleset: int, path: str, rights: int) -> None:
    try:
        there = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # not there, or not for this user: then it need not be allowed either
        return
    try:
        if not stat.S_ISDIR(os.fstat(there).st_mode):
            rights &= _OF_FILES
        if rights:
            beneath = _Beneath(rights, there)
            system.call(
                system.LANDLOCK_ADD_RULE,
                ctypes.c_int(ruleset),
                ctypes.c_int(_RULE_PATH_BENEATH),
                ctypes.byref(beneath),
                ctypes.c_uint32(0),
            )
    finally:
        os.close(there)
