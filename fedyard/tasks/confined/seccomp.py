"""A filter on system calls: no sockets but pairs, and no ways around Landlock; for a process and all that it starts.

Landlock holds TCP, and files. UDP, raw and other sockets, local ones that lie at paths, io_uring (which makes sockets
past any filter), keys of the session, and memory that processes of one user share are held here. For x86_64 and
aarch64; calls in another architecture's manner are refused, since their numbers mean something else.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import Final

from fedyard.tasks.confined import system

_AF_UNIX: Final = 1
_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS: Final = {
    "socket": (41, 198),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "seccomp": (317, 277),
}
"""By name, on each of these architectures."""
_X32: Final = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW: Final = 0x7FFF0000
_ERROR: Final = 0x00050000
_SET_MODE_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def possible() -> bool:
    """True where this filter can be set. Nothing is changed."""
    return system.LINUX and system.MACHINE in _ARCHITECTURES


def program(machine: str, *, network: bool, workers: bool) -> bytes:
    """The filter in classic BPF."""
    column = list(_ARCHITECTURES).index(machine)
    number = {name: numbers[column] for name, numbers in _NUMBERS.items()}
    refused = {"add_key": errno.EPERM, "request_key": errno.EPERM, "keyctl": errno.EPERM}
    refused |= dict.fromkeys(("io_uring_setup", "io_uring_enter", "io_uring_register"), errno.ENOSYS)
    refused |= {"open_by_handle_at": errno.EPERM}
    if not workers:
        refused |= dict.fromkeys(("shmget", "semget", "msgget", "mq_open"), errno.EACCES)
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    for name, error in refused.items():
        code += [(_EQUAL, 0, 1, number[name]), (_RETURN, 0, 0, _ERROR | error)]
    if not network:
        refusal = (_RETURN, 0, 0, _ERROR | errno.EACCES)
        if workers:
            code += [
                (_EQUAL, 0, 3, number["socket"]),
                (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
                (_EQUAL, 1, 0, _AF_UNIX),
                refusal,
            ]
        else:
            code += [(_EQUAL, 0, 1, number["socket"]), refusal]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in code)


def restrict(*, network: bool, workers: bool) -> None:
    """Set the filter for all threads. Raises `OSError`."""
    code = program(system.MACHINE, network=network, workers=workers)
    filter_ = _Program(len(code) // 8, code)
    system.no_new_privileges()
    number = _NUMBERS["seccomp"][list(_ARCHITECTURES).index(system.MACHINE)]
    system.call(number, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_ALL_THREADS), ctypes.byref(filter_))
