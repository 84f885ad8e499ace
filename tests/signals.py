"""Signals where the kernel may bring them: to any thread of a process, not only to the one that handles them."""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path


def to_another_thread(pid: int, how: signal.Signals) -> None:
    """Send it to a thread of that process that is not its first."""
    others = sorted({int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()} - {pid})
    assert others, "it has one thread only"
    assert ctypes.CDLL(None).tgkill(pid, others[-1], int(how)) == 0
