"""The web's two processes end when they are told to, and when nobody is there any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from devservers.ports import free_port
from tests.ops.program import ROOT, all_gone, environment

PROGRAM = """
import sys, time
from flask import Flask
from config.settings import Settings
from web.serving.wsgi import listen

def load():
    print("loads", flush=True)
    time.sleep(float(sys.argv[2]))
    return Flask("nothing")

listen(Settings.read({"FEDYARD_WEB_PORT": sys.argv[1]}), load)
"""


@contextmanager
def web(loads_s: float = 0.0) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """granian's main process, and this with its worker, which takes so long to load."""
    argv = [sys.executable, "-c", PROGRAM, str(free_port()), str(loads_s)]
    with subprocess.Popen(
        argv, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as main:
        try:
            assert main.stdout is not None
            assert main.stdout.readline() == "loads\n"
            process = psutil.Process(main.pid)
            family = [process, *process.children()]
            assert len(family) == 2
            yield main, family
        finally:
            os.killpg(main.pid, signal.SIGKILL)


def test_a_burst_of_signals_stops_it() -> None:
    """The kernel sends several when the supervisor is killed, one for each of its threads."""
    with web() as (main, family):
        for _ in range(1000):  # handlers are interrupted by the next signal, wherever they are
            os.kill(main.pid, signal.SIGTERM)
        all_gone(family, 20)


@pytest.mark.parametrize("loads_s", [0.0, 1000.0])
def test_a_worker_ends_with_its_main_process(loads_s: float) -> None:
    """Also while it loads, and just when it begins to hear signals, of which granian forgets the first one."""
    with web(loads_s) as (main, family):
        main.kill()
        all_gone(family, 20)


def test_it_ends_by_itself_while_it_waits_for_the_database() -> None:
    """As the first process of a container it would not be ended by a signal that it does not listen to."""
    urls = {"BROKER": "amqp://hub:x@127.0.0.1:1/fedyard", "DATABASE": "postgresql://hub:x@127.0.0.1:1/fedyard"}
    variables = environment() | {f"FEDYARD_{name}_URL": url for name, url in urls.items()}
    argv = [sys.executable, "-m", "web.serving.wsgi"]
    with subprocess.Popen(argv, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True) as main:
        try:
            assert main.stderr is not None
            assert "waits for the database" in main.stderr.readline()
            main.send_signal(signal.SIGTERM)
            assert main.wait(timeout=20) == 0
        finally:
            main.kill()
