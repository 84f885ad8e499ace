"""`python -P forking.py SOCKET MODULE [MODULE ...]`: loads a program once and begins it again and again, each time in a
fork of its own. The first module has its `main`; who asks is `tests/prepared.py`. It imports nothing of ours but those.

A request is JSON (arguments, environment, folder) with four descriptors: standard input, output and error, and where
the new process's id is written, and in the end how it ended. More descriptors are the program's: their numbers come
behind its arguments.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from typing import Any

MAX_BYTES = 180_000
MAX_DESCRIPTORS = 6


def serve(door: socket.socket) -> dict[str, Any] | None:
    """In each fork: what it was asked for. Here: None, when nobody can ask any more."""
    woken, wake = os.pipe()
    for one in (woken, wake):
        os.set_blocking(one, False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(door, select.POLLIN)
    poll.register(woken, select.POLLIN)
    tells: dict[int, int] = {}
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if woken in ready:
            os.read(woken, 4096)
            _tell(tells)
        if door.fileno() not in ready:
            continue
        said, descriptors, _, _ = socket.recv_fds(door, MAX_BYTES, MAX_DESCRIPTORS)
        if not said:
            return None
        standard, tell, given = descriptors[:3], descriptors[3], descriptors[4:]
        child = os.fork()
        if not child:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, descriptor in enumerate(standard):
                os.dup2(descriptor, number)
            door.close()
            for one in (woken, wake, *standard, tell, *tells.values()):
                os.close(one)
            asked: dict[str, Any] = json.loads(said)
            asked["arguments"] += map(str, given)
            return asked
        for descriptor in (*standard, *given):
            os.close(descriptor)
        _say(tell, child)
        tells[child] = tell


def _tell(tells: dict[int, int]) -> None:
    for child, tell in [*tells.items()]:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            _say(tell, os.waitstatus_to_exitcode(status))
            os.close(tells.pop(child))


def _say(tell: int, number: int) -> None:
    with suppress(BrokenPipeError):  # who asked may have ended
        os.write(tell, struct.pack("i", number))


if __name__ == "__main__":
    number, name, *more = sys.argv[1:]
    program, *_ = [importlib.import_module(one) for one in (name, *more)]
    gc.freeze()  # what is loaded is no garbage, and stays shared where nobody goes through it
    request = serve(socket.socket(fileno=int(number)))
    if request is not None:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        sys.argv = request["arguments"]
        sys.exit(program.main())
