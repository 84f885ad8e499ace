"""One container: a process of this machine, and what it wrote."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

from tests.cluster.apiserver.clock import Clock
from tests.cluster.apiserver.logs import Log


class Outcome(NamedTuple):
    """code: as Kubernetes says it, 128 + the signal's number for what a signal ended."""

    code: int
    reason: str
    message: str = ""
    started_at_s: float | None = None
    ended_at_s: float = 0.0


def expanded(text: str, environment: dict[str, str]) -> str:
    """`$(NAME)` as Kubernetes does it: an unknown name stays as it is, `$$` is one `$`."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        return environment.get(found[1], found[0])

    return re.sub(r"\$\$|\$\(([^()\s]+)\)", one, text)


class Process:
    """A started one. It leads a process group, and takes all of it with it when it ends, as PID 1 of a container does.

    memory_bytes: its limit; over it the whole group is killed. folder: where it runs."""

    def __init__(
        self, argv: list[str], environment: dict[str, str], folder: Path, clock: Clock, memory_bytes: int | None
    ) -> None:
        """FileNotFoundError, PermissionError: the command cannot be run."""
        self._clock, self._memory = clock, memory_bytes
        self.log = Log()
        self._out_of_memory = False
        if shutil.which(argv[0], path=environment.get("PATH", "")) is None:
            raise FileNotFoundError(argv[0])
        command = shutil.which(argv[0], path=environment.get("PATH", "")) or argv[0]
        self._process = subprocess.Popen(
            argv,
            executable=command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started_at_s = clock.now()

    def run(self) -> Outcome:
        """To its end."""
        assert self._process.stdout is not None
        out, handle = self._process.stdout.fileno(), os.pidfd_open(self._process.pid)
        watched = self._memory is not None and self._memory <= 512 * 2**20
        waiting = select.poll()
        waiting.register(out, select.POLLIN)
        waiting.register(handle, select.POLLIN)
        try:
            while True:
                ready = {fd for fd, _ in waiting.poll(50 if watched else None)}
                if out in ready and not self._read(out):
                    waiting.unregister(out)
                if handle in ready:
                    break
                if watched and _resident(self._process.pid) > (self._memory or 0):
                    self._out_of_memory = True
                    self.kill()
            code = self._process.wait()
            self._kill_group()
            while out in {fd for fd, _ in waiting.poll(100)} and self._read(out):
                pass
        finally:
            os.close(handle)
            self._process.stdout.close()
            self.log.end()
        return self._outcome(code)

    def _outcome(self, code: int) -> Outcome:
        shown = 128 - code if code < 0 else code
        reason = "OOMKilled" if self._out_of_memory else "Completed" if shown == 0 else "Error"
        return Outcome(137 if self._out_of_memory else shown, reason, "", self.started_at_s, self._clock.now())

    def _read(self, out: int) -> bool:
        data = os.read(out, 65536)
        if data:
            self.log.add(self._clock.now(), data)
        return bool(data)

    def terminate(self) -> None:
        """SIGTERM to the first process alone; one that does not catch it does not get it, being PID 1."""
        with contextlib.suppress(OSError):
            if _catches(self._process.pid, signal.SIGTERM):
                self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Pause:
    """Nothing that runs, until it is told to stop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.log = Log()
        self._told = threading.Event()
        self._code = 0
        self.started_at_s = clock.now()

    def run(self) -> Outcome:
        self._told.wait()
        self.log.end()
        return Outcome(self._code, "Completed" if not self._code else "Error", "", self.started_at_s, self._clock.now())

    def terminate(self) -> None:
        self._told.set()

    def kill(self) -> None:
        self._code = 0 if self._told.is_set() else 137
        self._told.set()


Running = Process | Pause


def _catches(pid: int, number: signal.Signals) -> bool:
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)


def _resident(pid: int) -> int:
    """Bytes of memory of a process and its descendants, now."""
    total = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += _resident(int(child))
    return total


def exec_in(argv: list[str], environment: dict[str, str], folder: Path, timeout_s: float) -> int:
    """What an exec probe runs; its exit code."""
    try:
        return subprocess.run(
            argv, env=environment, cwd=folder, timeout=timeout_s, capture_output=True, check=False
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return 1
