"""What /proc tells of processes: who is below whom, and how much memory they have."""

from __future__ import annotations

import os
from contextlib import suppress

CHILDREN = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_ENDED = (b"Z", b"X")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(above: int) -> set[int]:
    """Every living process below this one."""
    return by_children("/proc", above) if CHILDREN else by_parents("/proc", above, b"")[0]


def by_children(proc: str, above: int) -> set[int]:
    """As each process tells (CONFIG_PROCCHILDREN, which most kernels have): cheap."""
    found: set[int] = set()
    waiting = [above]
    while waiting:
        one = waiting.pop()
        with suppress(OSError, ValueError):
            for thread in os.listdir(f"{proc}/{one}/task"):
                with suppress(FileNotFoundError), open(f"{proc}/{one}/task/{thread}/children", "rb") as file:
                    young = {int(pid) for pid in file.read().split()} - found
                found |= young
                waiting += young
    return {pid for pid in found if _stat(proc, pid)[1] not in _ENDED}


def by_parents(proc: str, above: int, name: bytes) -> tuple[set[int], int]:
    """As all processes of the machine tell; and how many of them have that name."""
    below: dict[int, list[int]] = {}
    named = 0
    for pid in os.listdir(proc):
        if pid.isdigit():
            comm, state, parent = _stat(proc, int(pid))
            named += comm == name
            if state not in _ENDED:
                below.setdefault(parent, []).append(int(pid))
    found: set[int] = set()
    waiting = [above]
    while waiting:
        young = below.get(waiting.pop(), ())
        found.update(young)
        waiting += young
    return found, named


def _stat(proc: str, pid: int) -> tuple[bytes, bytes, int]:
    """Name, state and parent of a process; X for one that is gone."""
    with suppress(OSError, ValueError), open(f"{proc}/{pid}/stat", "rb") as file:
        head, _, tail = file.read().rpartition(b")")
        state, parent = tail.split()[:2]
        return head.partition(b"(")[2], state, int(parent)
    return b"", b"X", 0


def resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE
    return 0


def proportional(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return resident(pid)


def environment(pid: int) -> list[bytes]:
    """As it was started with; of what is not ours, or gone, nothing."""
    with suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return file.read().split(b"\0")
    return []


def oom_kills() -> int:
    """How often the kernel has ended something for want of memory."""
    with suppress(OSError, ValueError), open("/proc/vmstat", "rb") as file:
        for line in file:
            if line.startswith(b"oom_kill "):
                return int(line.split()[1])
    return 0
