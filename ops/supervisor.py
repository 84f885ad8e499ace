"""Runs the Procfile's processes. Who ends unasked is started again, after a pause that grows; the others go on.

Stock `honcho start` runs the same Procfile, but ends everything when one process ends: right for a developer,
wrong at night (docs/adr/0004-ops-package.md).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Queue
from typing import TextIO

from honcho.colour import get_colours
from honcho.environ import parse_procfile
from honcho.printer import Message, Printer

from config.clock import Clock
from config.processes import STREAM_WORKERS
from fedyard.wire.backoff import Backoff
from fedyard.wire.shown import MAX_LINE, Plain, shown
from fedyard.wire.times import SECOND

PAUSES = Backoff(first=0.5, most=30.0)
"""Seconds until who has ended is started again."""
STEADY_AFTER_S = 60.0
"""Who ran for so long starts again with the shortest pause."""
STOP_WITHIN_S = 30.0


class Supervisor:
    """The processes of one hub. Not for use from several threads."""

    def __init__(
        self,
        commands: Mapping[str, str],
        folder: Path,
        environment: Mapping[str, str],
        clock: Clock,
        output: TextIO | None = None,
    ) -> None:
        """commands: name -> shell command, run in `folder`. output: where their lines go; None: standard output.

        The colours of the names reach a terminal; what the processes say is made visible.
        """
        self._clock = clock
        self.hurried = False
        self._lines: Queue[Message] = Queue()
        self._printer = Printer(_raw(output or sys.stdout))
        self._printer.width = max(map(len, [*commands, "fedyard"]))
        colours: Iterator[str] = get_colours()
        self._yard = yard = _Yard(folder, environment, self._lines, clock)
        self._members = [_Member(name, command, next(colours), yard) for name, command in commands.items()]

    def start(self) -> None:
        """Start all of them."""
        for member in self._members:
            self._start(member)

    def turn(self, seconds: float) -> None:
        """Print what they say for so long, and start again who has ended."""
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            self._print(left)
        for member in self._members:
            if member.has_ended():
                pause = member.retire()
                self.say(f"{member.name} ended ({member.last_words()}); started again in {pause:.1f} s")
            elif member.is_due():
                self._start(member)

    def stop(self, first: Sequence[str] = ("web",)) -> None:
        """Stop those named first, so that nothing new comes in, then the others; kill who takes too long.

        Once `hurried` is set (a signal handler may), nobody is waited for any more.
        """
        for group in ([m for m in self._members if m.name in first], [m for m in self._members if m.name not in first]):
            for member in group:
                member.signal(signal.SIGTERM)
            end = self._clock.monotonic() + STOP_WITHIN_S
            while any(member.runs() for member in group) and self._clock.monotonic() < end and not self.hurried:
                self._print(0.05)
            for member in group:
                if member.runs() and not self.hurried:
                    self.say(f"{member.name} did not stop within {STOP_WITHIN_S:.0f} s; killed")
                member.kill()
        while not self._lines.empty():
            self._print(0.0)

    def kill(self) -> None:
        """Everything at once, for who cannot wait."""
        for member in self._members:
            member.kill()

    def pids(self) -> dict[str, int]:
        """Name -> process id of those that run."""
        return {member.name: member.process.pid for member in self._members if member.process and member.runs()}

    def say(self, text: str) -> None:
        """A line of our own between theirs."""
        self._printer.write(self._yard.line(text, "fedyard", None))

    def _start(self, member: _Member) -> None:
        member.start()
        assert member.process is not None
        self.say(f"{member.name} started (pid {member.process.pid})")

    def _print(self, seconds: float) -> None:
        with suppress(Empty):
            self._printer.write(self._lines.get(timeout=seconds) if seconds else self._lines.get_nowait())


@dataclass(frozen=True)
class _Yard:
    """What all members share."""

    folder: Path
    environment: Mapping[str, str]
    lines: Queue[Message]
    clock: Clock

    def line(self, text: bytes | str, name: str, colour: str | None) -> Message:
        """A line for the printer, with the time of day; nothing in it steers a terminal."""
        said = text.decode(errors="replace") if isinstance(text, bytes) else text
        plain = "\n".join(shown(line, MAX_LINE, lines=True) for line in said.splitlines())
        return Message("line", plain, datetime.fromtimestamp(self.clock.now() / SECOND, UTC).astimezone(), name, colour)


class _Member:
    """One line of the Procfile and the process that runs it, in a session of its own."""

    def __init__(self, name: str, command: str, colour: str, yard: _Yard) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._colour = colour
        self._yard = yard
        self._started_at = 0.0
        self._due_at = 0.0
        self._failures = 0
        self._status = 0
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            leashed(self._command, os.getpid()),
            cwd=self._yard.folder,
            env={**self._yard.environment, "HONCHO_PROCESS_NAME": self.name, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._started_at = self._yard.clock.monotonic()
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def is_due(self) -> bool:
        return self.process is None and self._yard.clock.monotonic() >= self._due_at

    def retire(self) -> float:
        """Clear away what is left of an ended process; the pause until the next start, in seconds."""
        assert self.process is not None
        self._status = self.process.wait()
        self.kill()
        self.process = None
        if self._yard.clock.monotonic() - self._started_at > STEADY_AFTER_S:
            self._failures = 0
        self._failures += 1
        pause = PAUSES.after(self._failures)
        self._due_at = self._yard.clock.monotonic() + pause
        return pause

    def last_words(self) -> str:
        return f"signal {-self._status}" if self._status < 0 else f"exit code {self._status}"

    def signal(self, how: signal.Signals) -> None:
        if self.process is not None and self.runs():
            self.process.send_signal(how)

    def kill(self) -> None:
        """The process and whatever it has started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        if self._reader is not None:
            self._reader.join(timeout=1)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._yard.lines.put(self._yard.line(line, self.name, self._colour))


def _raw(stream: TextIO) -> TextIO:
    """Below `plain_output`, which would show the printer's colours as text."""
    return stream.raw if isinstance(stream, Plain) else stream


def leashed(command: str, parent: int) -> list[str]:
    """The arguments that run a shell command which Linux asks to end (SIGTERM) when this parent is gone.

    A parent that goes before the leash is there is noticed by the shell.
    """
    whole = f"exec {command}" if _is_simple(command) else command
    if not shutil.which("setpriv"):
        return ["sh", "-c", whole]
    return ["setpriv", "--pdeathsig", "TERM", "sh", "-c", f'[ "$PPID" = {parent} ] || exit 1; {whole}']


def _is_simple(command: str) -> bool:
    """True if a shell may become the command: no `a && b`, no `A=1 b`."""
    words = shlex.split(command)
    return "=" not in words[0] and not any(sign in command for sign in "&|;<>`$(")


def read_procfile(path: Path) -> dict[str, str]:
    """Name -> command, in the file's order."""
    return dict(parse_procfile(path.read_text()).processes)


def processes_of(path: Path, *, streams: bool) -> dict[str, str]:
    """Those of a hub with streams, or of one without."""
    return {name: command for name, command in read_procfile(path).items() if streams or name not in STREAM_WORKERS}
