"""Our two programs, started hundreds of times by the tests: loaded once for all tests of a process, and forked for each
start (`tests/forking.py`), for to load one takes three quarters of what most of them do in their lives.

What a start does beside that, the wrappers in bin/ and the loading itself, is for tests of their own
(`tests/ops/test_wrappers.py`), which start them as people do.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Prepared:
    """A program. path: where Python finds it, as its wrapper says. modules: the first has its `main`."""

    path: str
    modules: tuple[str, ...]

    def start(
        self,
        *arguments: object,
        output: IO[Any],
        error: IO[Any],
        environment: Mapping[str, str],
        folder: Path | None = None,
        descriptors: Sequence[int] = (),
    ) -> Running:
        """Like `subprocess.Popen`, without standard input. descriptors: their numbers there are its last arguments."""
        others = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
        asked = {
            "arguments": [self.modules[0], *map(str, arguments)],
            "environment": {**environment, "PYTHONPATH": os.pathsep.join([self.path, *others])},
            "folder": str(folder or Path.cwd()),
        }
        told, tell = os.pipe()
        with Path(os.devnull).open("rb") as nothing:
            standard = [one.fileno() for one in (nothing, output, error)]
            socket.send_fds(_door(self), [json.dumps(asked).encode()], [*standard, tell, *descriptors])
        os.close(tell)
        return Running(told)

    def load(self) -> None:
        """Now, and not at the first start."""
        _door(self)

    def run(self, *arguments: object, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """To its end."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as error:
            code = self.start(*arguments, output=output, error=error, environment=environment).wait()
            said = []
            for one in (output, error):
                one.seek(0)
                said.append(one.read().decode())
            return subprocess.CompletedProcess([*map(str, arguments)], code, *said)


class Running:
    """A process of a prepared program, to be used as `subprocess.Popen`."""

    def __init__(self, told: int) -> None:
        self._told = told
        self._code: int | None = None
        (self.pid,) = struct.unpack("i", os.read(told, 4))
        os.set_blocking(told, False)

    def poll(self) -> int | None:
        """Its exit code (negative: the signal), None while it runs."""
        if self._code is None:
            with suppress(BlockingIOError):
                self._ended(os.read(self._told, 4))
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended; its exit code. Raises `subprocess.TimeoutExpired` after so many seconds."""
        if self._code is None:
            if timeout is not None and not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            os.set_blocking(self._told, True)
            self._ended(os.read(self._told, 4))
        assert self._code is not None
        return self._code

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _ended(self, said: bytes) -> None:
        (self._code,) = struct.unpack("i", said)
        os.close(self._told)


@functools.cache
def _door(program: Prepared) -> socket.socket:
    """Where the one process is asked that has loaded the program; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    forking = str(ROOT / "tests" / "forking.py")
    command = [sys.executable, "-P", forking, str(theirs.fileno()), *program.modules]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([program.path, str(ROOT)])}
    process = subprocess.Popen(
        command, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    theirs.close()

    def end() -> None:
        ours.close()
        with suppress(subprocess.TimeoutExpired):  # somebody that it began may be able to ask it, too
            process.wait(1)

    atexit.register(end)
    return ours


SITE = Prepared(str(ROOT / "bin" / "lib"), ("fedyard.cli.main", "tests.structs_ready"))
AGENT = Prepared(str(ROOT / "bin" / "lib"), ("tests.agent", "tests.structs_ready"))
"""The site's program, whose tasks' hooks are prepared, too."""
HUB = Prepared(str(ROOT), ("ops.cli.main", "ops.embedded", "ops.heads", "tests.structs_ready"))
ROLE = Prepared(
    str(ROOT), ("tests.role", "actors.running", "web.serving.wsgi", "web.serving.worker", "tests.structs_ready")
)
