"""fedyard-hub as an operator runs it: a program of its own, watched from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from config.processes import END_WITHIN_S
from tests.prepared import HUB
from tests.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent
GONE_WITHIN_S = END_WITHIN_S + 50.0
"""Who is orphaned ends by itself before this."""


def environment(**more: str) -> dict[str, str]:
    """The test's own, without any FEDYARD_ variable but those given."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("FEDYARD_")}, **more}


def fedyard(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return HUB.run(*arguments, environment=environment(**more))


class Program:
    """A hub that runs; its output goes to a file."""

    def __init__(self, log: Path, *arguments: object, **more: str) -> None:
        self.log = log
        with log.open("wb") as output:
            self._process = HUB.start(*arguments, output=output, error=output, environment=environment(**more))

    @property
    def pid(self) -> int:
        return self._process.pid

    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        return self.log.read_text()

    def ready(self) -> str:
        """The API's address, once it is ready."""

        def address() -> str | None:
            assert self.runs(), self.output
            found = re.search(r"^ready (http://\S+)$", self.output, re.MULTILINE)
            return found and found[1]

        return until(address)

    def family(self) -> list[psutil.Process]:
        """The program and everything that it started."""
        me = psutil.Process(self._process.pid)
        return [me, *me.children(recursive=True)]

    def send(self, how: signal.Signals) -> None:
        self._process.send_signal(how)

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Send the signal, wait for the end, answer with the exit code."""
        if self.runs():
            self.send(how)
        return self._process.wait()


def all_gone(processes: list[psutil.Process], within_s: float = GONE_WITHIN_S) -> None:
    """Wait until none of them runs any more; who still does is named, with what it does."""
    end = time.monotonic() + within_s
    while not gone(processes):
        assert time.monotonic() < end, "\n".join(
            [f"after {within_s:.0f} s there still run:", *(said for one in processes if (said := _lively(one)))]
        )
        time.sleep(0.05)


def _lively(process: psutil.Process) -> str:
    """A line on a process that runs: who it is, its parent, its state, where it waits, and which signals it hears."""
    with suppress(psutil.NoSuchProcess, OSError):
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            place = Path(f"/proc/{process.pid}")
            status = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines())
            facts = {name: status[name].strip() for name in ("PPid", "State", "Threads", "SigBlk", "SigIgn", "SigCgt")}
            told = " ".join(f"{name}={value}" for name, value in facts.items())
            command = " ".join(" ".join(process.cmdline()).split())[:200]
            return f"{process.pid} {command} {told} wchan={(place / 'wchan').read_text()}"
    return ""


def gone(processes: list[psutil.Process]) -> bool:
    """True when none of them runs any more (a zombie does not run)."""
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)


def call(
    api: str, path: str, token: str = "", body: object = None, wait: int | None = None, method: str | None = None
) -> tuple[int, dict[str, Any]]:
    """(status, body) of a GET, or of a POST if there is a body and no other method is named."""
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    if wait:
        headers["prefer"] = f"wait={wait}"
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{api}{path}", data=content, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=40) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def create_account(folder: Path, name: str = "ada", role: str = "admin") -> str:
    """A token of a new account of the hub in this folder."""
    done = fedyard("account", "create", "--data", folder, "--name", name, "--organisation", "Ours", "--role", role)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^token +(\S+)$", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return found[1]
