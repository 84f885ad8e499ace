"""Signals that come in a burst stop a program; the kernel sends several when a parent dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import sys, threading
from fedyard.wire.stopping import on_stop_signal

for again in range(20):
    stopped = threading.Event()
    calls = []
    on_stop_signal(lambda: (calls.append(again), stopped.set()))
    if again == 0:
        print("ready", flush=True)
    while not stopped.wait(0.001):
        pass
    assert calls == [again], calls
print("stopped", flush=True)
"""


def test_a_burst_of_signals_stops_once_and_waits_for_nobody() -> None:
    argv = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            while process.poll() is None:  # handlers are interrupted by the next signal, wherever they are
                for number in (signal.SIGTERM, signal.SIGINT):
                    os.kill(process.pid, number)
            assert process.stdout.read() == "stopped\n"
        finally:
            process.kill()


def test_what_hangs_ends_nevertheless_and_says_where_it_hung() -> None:
    """Whatever signals it ignores, and while no thread of Python's can run."""
    program = (
        "import ctypes, signal; from config.processes import end_within\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "def stuck(): ctypes.PyDLL(None).sleep(1000)\n"
        "end_within(0.1); stuck()"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert " in stuck" in ended.stderr
