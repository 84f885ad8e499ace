"""Calls of the Linux kernel that Python has no names for."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Final

LINUX: Final = sys.platform == "linux"
MACHINE: Final = platform.machine()
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 24, 47, 4
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
"""The same on every architecture."""


def call(number: int, *arguments: object) -> int:
    """A system call's answer. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    answer: int = libc.syscall(ctypes.c_long(number), *arguments)
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer


def prctl(option: int, *values: int) -> int:
    """Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer: int = libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(one) for one in (*values, 0, 0, 0, 0)[:4]))
    if answer < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return answer


def no_new_privileges() -> None:
    """No program that is started gains rights by its file (setuid, capabilities); both filters ask for it."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


_KEPT_CAPABILITIES: Final = range(5)
"""Of root: to read and write files of others, as far as Landlock lets it; not to trace, mount or load modules."""
_CAPABILITY_VERSION_3: Final = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop_capabilities() -> None:
    """Of the rights of root those alone stay that are about files. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    if libc.capget(ctypes.byref(header), ctypes.byref(sets)) < 0:
        raise OSError(ctypes.get_errno(), "capget")
    kept = sum(1 << one for one in _KEPT_CAPABILITIES)
    if not (sets[0].permitted & ~kept or sets[1].permitted):
        return
    for one in range(64):
        if one not in _KEPT_CAPABILITIES:
            try:
                prctl(PR_CAPBSET_DROP, one)
            except OSError:  # beyond the last one, or not ours to drop: no_new_privileges holds all the same
                break
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    sets[0].effective &= kept
    sets[0].permitted &= kept
    sets[0].inheritable = sets[1].effective = sets[1].permitted = sets[1].inheritable = 0
    if libc.capset(ctypes.byref(header), ctypes.byref(sets)) < 0:
        raise OSError(ctypes.get_errno(), "capset")
