"""A filter on system calls: no sockets but pairs, and no ways around Landlock; for a process and all that it starts.

Landlock holds TCP, and files. UDP, raw and other sockets, local ones that lie at paths, io_uring (which makes sockets
past any filter), keys of the session, and memory that processes of one user share are held here; so are modes, owners,
times and attributes of files, for which Landlock asks no right, and limits of other processes. For x86_64 and aarch64;
calls in another architecture's manner are refused, since their numbers mean something else.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from typing import Final, TypeAlias

from fedyard.tasks.confined import system

_AF_UNIX: Final = 1
_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBERS: Final = {
    "socket": (41, 198),
    "socketpair": (53, 199),
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
    "prlimit64": (302, 261),
    "seccomp": (317, 277),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
"""By name, on each of these architectures; None where it has no such call."""
_MODES_AND_TIMES: Final = ("chmod", "fchmod", "fchmodat", "fchmodat2", "utime", "utimes", "futimesat", "utimensat")
"""Answered as if they had been done: what copies a file sets both, and fails if it cannot."""
_OWNERS_AND_ATTRIBUTES: Final = (
    *("chown", "fchown", "lchown", "fchownat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat"),
    *("removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr"),
)
_X32: Final = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN, _AND = 0x20, 0x15, 0x35, 0x06, 0x54
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT, _SECOND_ARGUMENT_AT = 0, 4, 16, 24
_STREAM, _SEQPACKET, _KIND = 1, 5, 0xF
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
    refused |= dict.fromkeys(_MODES_AND_TIMES, 0) | dict.fromkeys(_OWNERS_AND_ATTRIBUTES, errno.EPERM)
    if not workers:
        refused |= dict.fromkeys(("shmget", "semget", "msgget", "mq_open"), errno.EACCES)
    code: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _ERROR | errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    for name, error in refused.items():
        if (known := number[name]) is not None:
            code += _where(known, [(_RETURN, 0, 0, _ERROR | error)])
    code += _where(number["prlimit64"], _own_limits())
    if not network:
        code += _where(number["socket"], _local_sockets() if workers else [_NO_SOCKET])
        code += [] if workers else _where(number["socketpair"], _pairs_that_stay_pairs())
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *one) for one in code)


_Instruction: TypeAlias = tuple[int, int, int, int]
"""Code, by how many instructions to go on where it holds and where not, and a value."""
_NO_SOCKET: Final = (_RETURN, 0, 0, _ERROR | errno.EACCES)


def _where(number: int | None, then: list[_Instruction]) -> list[_Instruction]:
    """What is done with a call of this number; it returns in every case."""
    assert number is not None
    return [(_EQUAL, 0, len(then), number), *then]


def _own_limits() -> list[_Instruction]:
    """Of this process alone; a process that may write no file any more, or may compute no longer, is ended by that."""
    return [
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _ERROR | errno.EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]


def _local_sockets() -> list[_Instruction]:
    return [
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_EQUAL, 1, 0, _AF_UNIX),
        _NO_SOCKET,
        (_RETURN, 0, 0, _ALLOW),
    ]


def _pairs_that_stay_pairs() -> list[_Instruction]:
    """Pairs of local sockets with a connection: one of datagrams sends to whatever address it is told."""
    return [
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_EQUAL, 0, 4, _AF_UNIX),
        (_LOAD, 0, 0, _SECOND_ARGUMENT_AT),
        (_AND, 0, 0, _KIND),
        (_EQUAL, 2, 0, _STREAM),
        (_EQUAL, 1, 0, _SEQPACKET),
        _NO_SOCKET,
        (_RETURN, 0, 0, _ALLOW),
    ]


def restrict(*, network: bool, workers: bool) -> None:
    """Set the filter for all threads. Raises `OSError`."""
    code = program(system.MACHINE, network=network, workers=workers)
    filter_ = _Program(len(code) // 8, code)
    system.no_new_privileges()
    number = _NUMBERS["seccomp"][list(_ARCHITECTURES).index(system.MACHINE)]
    assert number is not None
    system.call(number, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(_ALL_THREADS), ctypes.byref(filter_))
