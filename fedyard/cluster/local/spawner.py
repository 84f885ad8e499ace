"""What starts shims (shim.py), for one process: a hub or an agent. It goes when that one does; its shims stay.

It only forks them, so that they share its memory: a Python of its own for each would take three times that, and ten
times as long. It loads the standard library alone.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from fedyard.cluster.local.folder import FAULT
from fedyard.cluster.local.shim import Shim

WITHIN_S = 10.0
_HOME = str(Path(__file__).resolve().parents[3])
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from fedyard.cluster.local import spawner; spawner.serve(3)"


class Spawner:
    """This side of it. Used by one thread at a time."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(WITHIN_S)
        with theirs:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", "-c", _PROGRAM, _HOME],
                {"LANG": "C.UTF-8"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setsid=True,
                setsigdef=[signal.SIGTERM, signal.SIGPIPE],
                setsigmask=[],
            )

    def spawn(self, folder: Path, alive: int) -> bool:
        """Let a shim begin in that folder, whose lock the descriptor has; whether there was an answer."""
        try:
            socket.send_fds(self._ours, [os.fsencode(folder)], [alive])
            return bool(self._ours.recv(64))
        except OSError:
            return False

    def close(self) -> None:
        """Nothing of it is there afterwards, but its shims."""
        self._ours.close()
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


def serve(descriptor: int) -> NoReturn:
    """The other side: for each folder that comes, with its lock, fork a shim; until nobody is there to ask."""
    requests = socket.socket(fileno=descriptor)
    requests.set_inheritable(False)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for shims
    for asked in (signal.SIGINT, signal.SIGHUP):
        signal.signal(asked, signal.SIG_IGN)
    gc.disable()
    gc.freeze()
    while True:
        try:
            content, descriptors, _, _ = socket.recv_fds(requests, 65_536, 4)
        except OSError:
            os._exit(0)
        if not content:
            os._exit(0)
        shim = os.fork()
        if not shim:
            requests.close()
            _be_shim(content, descriptors[0])
        for one in descriptors:
            os.close(one)
        with suppress(OSError):
            requests.send(b"%d" % shim)


def _be_shim(folder: bytes, alive: int) -> NoReturn:
    try:
        gc.enable()
        os.set_inheritable(alive, False)
        os.setsid()
        os.umask(0o077)
        os.chdir(folder)
        Shim(alive).run()
    except BaseException:  # noqa: BLE001 - it has nobody to tell; its folder then says that it has vanished, and this why
        with suppress(OSError), open(FAULT, "w") as file:
            traceback.print_exc(file=file)
    os._exit(0)
