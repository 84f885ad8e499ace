"""Who ends is started again; a stop is orderly."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import psutil
import pytest

from config.clock import SystemClock
from config.processes import STREAM_WORKERS, WORKERS
from fedyard.wire.shown import plain_output
from ops.supervisor import PAUSES, Supervisor, _Member, _Yard, leashed, processes_of, read_procfile
from tests.hub import TestClock
from tests.ops.program import ROOT, environment, gone

LIVES = f"exec {sys.executable} -c \"import time; print('here', flush=True); time.sleep(1000)\""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def supervise(folder: Path, **commands: str) -> Supervisor:
    return Supervisor(commands, folder, environment(), SystemClock())


@pytest.fixture
def two(folder: Path) -> Iterator[Supervisor]:
    supervisor = supervise(folder, web=LIVES, decider=LIVES)
    supervisor.start()
    yield supervisor
    supervisor.kill()


def test_a_killed_process_is_started_again_and_the_other_goes_on(two: Supervisor) -> None:
    before = two.pids()
    os.kill(before["decider"], signal.SIGKILL)
    while two.pids().get("decider", before["decider"]) == before["decider"]:
        two.turn(0.1)
    assert two.pids()["web"] == before["web"]


class Terminal(StringIO):
    """What a terminal is sent."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_the_colours_of_the_names_and_nothing_else_that_steers_it(folder: Path) -> None:
    """Also below the command line's own guard of standard output."""
    terminal = Terminal()
    says = f"exec {sys.executable} -c \"print('red', chr(27) + '[31m', flush=True)\""
    with redirect_stdout(terminal), plain_output():
        one = supervise(folder, web=says)
        one.start()
        while "red" not in terminal.getvalue():
            one.turn(0.1)
        one.stop()
    line = next(line for line in terminal.getvalue().splitlines() if "red" in line)
    assert line.startswith("\x1b[0m\x1b[")
    assert line.endswith("| \x1b[0mred \\x1b[31m")


def test_what_they_say_is_printed_and_a_stop_ends_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = supervise(folder, web=LIVES, decider=LIVES)
    two.start()
    said = ""
    while said.count("| here") < 2:
        two.turn(0.1)
        said += capsys.readouterr().out
    family = [psutil.Process(pid) for pid in two.pids().values()]
    two.stop()
    assert gone(family)
    assert two.pids() == {}


def test_the_web_stops_before_the_others(folder: Path) -> None:
    """Each writes its name into one file when it is told to stop."""
    program = (
        "import signal, sys, time\n"
        "def leave(*_):\n"
        "    open('left', 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(15, leave)\n"
        "open(sys.argv[1], 'w').close()\n"
        "time.sleep(1000)\n"
    )
    (folder / "program.py").write_text(program)
    supervisor = supervise(folder, **{name: f"{sys.executable} program.py {name}" for name in ("decider", "web")})
    supervisor.start()
    while not ((folder / "decider").exists() and (folder / "web").exists()):
        supervisor.turn(0.05)
    supervisor.stop()
    assert (folder / "left").read_text().split() == ["web", "decider"]


def test_who_is_in_a_hurry_waits_for_nobody(folder: Path) -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); open('deaf', 'w').close(); time.sleep(1000)"
    supervisor = supervise(folder, web=f'{sys.executable} -c "{program}"')
    supervisor.start()
    while not (folder / "deaf").exists():
        supervisor.turn(0.05)
    family = [psutil.Process(pid) for pid in supervisor.pids().values()]
    supervisor.hurried = True
    supervisor.stop()
    assert gone(family)


def test_the_pause_grows_and_has_an_end(folder: Path) -> None:
    clock = TestClock()
    member = _Member("poor", "false", "31", _Yard(folder, environment(), queue.Queue(), clock))
    pauses = []
    for _ in range(10):
        member.start()
        assert member.process
        member.process.wait()
        pauses.append(member.retire())
    assert pauses[:3] == [0.5, 1.0, 2.0]
    assert max(pauses) == PAUSES.most


def test_the_procfile_names_the_hubs_processes() -> None:
    commands = read_procfile(ROOT / "Procfile")
    assert list(commands) == ["web", *WORKERS, *STREAM_WORKERS]
    assert all(commands[role].endswith(f" -m actors.running {role}") for role in (*WORKERS, *STREAM_WORKERS))


def test_only_a_hub_with_streams_runs_what_they_need() -> None:
    assert list(processes_of(ROOT / "Procfile", streams=True)) == ["web", *WORKERS, *STREAM_WORKERS]
    assert list(processes_of(ROOT / "Procfile", streams=False)) == ["web", *WORKERS]


@pytest.mark.parametrize("command", ["echo here", "A=1 && echo here"])
def test_who_starts_when_its_parent_is_gone_already_ends_at_once(command: str) -> None:
    """The parent may go before there is anything that would notice."""
    said = [
        subprocess.run(leashed(command, parent), capture_output=True, check=False).stdout
        for parent in (os.getpid(), os.getppid())
    ]
    assert said == [b"here\n", b""]
