"""What a process of the hub is called wherever people look for it: RabbitMQ's connections, clocks, logs."""

from __future__ import annotations

import os
import socket

DOER = "doer"
"""What it does outside waits while it is away; the hub serves without it."""
WORKERS = ("decider", DOER, "relay", "ticker")
"""The hub's processes beside the web. They stop in the other direction: who decides is the last to go."""


def process_name(role: str) -> str:
    """`role@host:pid`."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"


def has_ended(process: str) -> bool:
    """True if a process so called ran on this machine and does no more; of another machine's nothing is known."""
    _, _, place = process.partition("@")
    host, _, pid = place.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False
