"""What a process of the hub is called where people look for it (connections, clocks, logs), and how it ends at last."""

from __future__ import annotations

import faulthandler
import os
import socket

DOER = "doer"
RECONCILER = "reconciler"
BRIDGE = "bridge"
OUTSIDE = (DOER, RECONCILER)
"""What they do outside waits while they are away; the hub serves without them."""
WORKERS = ("decider", DOER, RECONCILER, "relay", "ticker")
"""The hub's processes beside the web. They stop in the other direction: who decides is the last to go."""

LED = (RECONCILER, "ticker")
"""Of these one acts, the one that leads."""
STREAM_WORKERS = (BRIDGE,)
"""Those that only a hub with streams has. It serves without them; what comes in Kafka waits there."""

END_WITHIN_S = 40.0
"""Who was asked to stop ends hard after so long. Longer than the supervisor waits before it kills (ops/supervisor.py):
this is for who has no supervisor any more."""
_STDERR = 2


def process_name(role: str) -> str:
    """`role@host:pid`."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"


def host_of(process: str) -> str:
    """The machine that a process so called runs on."""
    return process.partition("@")[2].rpartition(":")[0]


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


def end_within(seconds: float) -> None:
    """From now on this process ends by itself after so long, with exit code 1, whatever hangs in it.

    Then its standard error says where its threads are. It is the last resort of who may have nobody to kill it; a
    second call begins the time anew.
    """
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
