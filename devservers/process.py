"""What every private server is: a process of ours in a folder of ours."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from config.clock import SystemClock, draw_secret

CLOCK = SystemClock()
START_WITHIN_S = 120.0
STOP_WITHIN_S = 60.0


class ServerError(Exception):
    """A private server cannot be installed, started or asked; says what to do about it."""


class ServerProcess:
    """One server process in a session of its own, with its output in a file."""

    def __init__(self, argv: Sequence[str], *, folder: Path, log: Path, env: Mapping[str, str], on_orphan: str) -> None:
        """on_orphan: the signal that the kernel sends it when we end."""
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", on_orphan, *argv],
                cwd=folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def end(self, how: signal.Signals) -> None:
        """Send the signal and wait; who does not follow in time is killed."""
        if self.alive:
            self._process.send_signal(how)
        try:
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def tail(log: Path) -> str:
    """The last words of a server, at most 15 lines; empty if it said nothing."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""


def last_words(log: Path) -> str:
    """Of a server that did not start; a full disk first. They may be from the time before, so they stay."""
    said = tail(log)
    cause = cause_of(said, log.parent)
    return f"its last words:\n{said}" if cause == said else f"{cause}; its last words:\n{said}"


def cause_of(said: str, folder: Path) -> str:
    """What a server's tool has said; of a full disk one sentence, since its other lines help nobody."""
    if any(sign in said for sign in _NO_ROOM):
        return f"the disk that {folder} lies on is full: make room there, then do this again"
    return said


_NO_ROOM = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


def kept_secret(path: Path) -> str:
    """The secret that the file holds; drawn and kept, readable by its owner only, if there is none."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(draw_secret())
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    return path.read_text()


def end_orphan(pid: int, folder: Path, how: signal.Signals) -> None:
    """Wait for a server that an earlier owner, killed, left behind in this folder."""
    for turn in range(int(STOP_WITHIN_S * 10)):
        if not _runs_in(pid, folder):
            return
        if turn == 0:
            os.kill(pid, how)
        CLOCK.sleep(0.1)
    os.kill(pid, signal.SIGKILL)


def _runs_in(pid: int, folder: Path) -> bool:
    """True if that process names the folder, in its arguments (PostgreSQL) or its environment (RabbitMQ)."""
    for file in ("cmdline", "environ"):
        try:
            if str(folder).encode() in Path(f"/proc/{pid}/{file}").read_bytes():
                return True
        except OSError:
            continue
    return False


def temporary_folder() -> Path:
    """A fresh folder for servers of a test run, which accounts other than ours may enter."""
    folder = Path(tempfile.mkdtemp(prefix="fedyard-"))
    folder.chmod(0o755)
    return folder
