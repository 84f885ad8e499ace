"""The demo's child processes: every one of them ends with it, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
STOP_WITHIN_S = 45.0
"""A hub on RabbitMQ and PostgreSQL takes its time to stop in order."""
_PR_SET_PDEATHSIG = 1


class DemoError(Exception):
    """The demo cannot go on; the sentence says what to look at."""


class Processes:
    """Starts programs in sessions of their own; stops all of them at the end of the block, last come, first gone."""

    def __init__(self) -> None:
        self._running: list[tuple[str, subprocess.Popen[bytes], Path]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start a program; what it says goes to `log`. environment: beside the demo's own."""
        log.touch(mode=0o600)  # a hub prints a login for RabbitMQ's management
        with log.open("ab") as said:
            process = subprocess.Popen(  # noqa: S603 - our own programs
                [sys.executable, "-m", "demo.leash", str(os.getpid()), *command],
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((name, process, log))

    def check(self) -> None:
        """Raise `DemoError` if one has ended by itself."""
        for name, process, log in self._running:
            if process.poll() is not None:
                last = log.read_text(errors="replace").splitlines()[-3:]
                raise DemoError("\n  ".join([f"{name} ended with code {process.returncode}; the end of {log}:", *last]))

    def stop(self) -> None:
        """Ask each to stop, wait, and end what is left of its session."""
        while self._running:
            _, process, _ = self._running[-1]
            process.terminate()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            finally:
                _end_session(process.pid)
            self._running.pop()


def _end_session(leader: int) -> None:
    """Whatever a program left behind in its own process group."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def end_with(parent: int) -> None:
    """This process gets SIGTERM as soon as its parent is gone, also by a kill -9 (Linux; elsewhere nothing happens)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("its parent is gone already")
