"""The hub under test: private RabbitMQ and PostgreSQL with honest fsyncs, and the Procfile's processes on them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol, Self, TypeAlias

import psutil

from broker.opening import prepare_broker
from broker.policies import apply_policies
from config.settings import Settings
from devservers.ports import free_port
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from ops.place import CHECKOUT
from ops.supervisor import read_procfile
from storage.database import Database, open_database
from storage.migrate import migrate

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 40.0
OWN = "generator"
MANY_THREADS = {"FEDYARD_WEB_THREADS": "3600", "FEDYARD_WAITING_POLLS": "3500"}  # one place in eight is kept back
NO_LIMITS = {
    "FEDYARD_READS_PER_S": "1000000",
    "FEDYARD_WRITES_PER_S": "1000000",
    "FEDYARD_POLLS_PER_CALLER": "3100",
    "FEDYARD_WRITES_PER_CALLER": "3100",
    "FEDYARD_TRANSFERS_PER_CALLER": "4032",
    "FEDYARD_BACKLOG_MESSAGES": "1000000",
    "FEDYARD_BACKLOG_BYTES": "1099511627776",
    "FEDYARD_TOKENS_PER_OWNER": "100000",
    "FEDYARD_TOKENS_PER_DAY": "100000",
    "FEDYARD_ENROLMENTS_PER_ORGANISATION": "1000000",
    "FEDYARD_PROJECTS_PER_COORDINATOR": "100000",
    "FEDYARD_PROJECTS_PER_DAY": "100000",
    "FEDYARD_UNFINISHED_ARTIFACTS": "10000",
    "FEDYARD_UNFINISHED_BYTES": "1125899906842624",
    "FEDYARD_SITE_QUOTA_BYTES": "1125899906842624",
}
"""The board measures what the hub can do, often by few callers; not what one caller may."""


class Process(Protocol):
    """As `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; raises `subprocess.TimeoutExpired`."""


Start: TypeAlias = Callable[[str, Mapping[str, str], IO[bytes]], Process]
"""Starts what a line of the Procfile says, with this environment; where it writes to."""


def start_afresh(command: str, environment: Mapping[str, str], output: IO[bytes]) -> Process:
    """As `make up` does."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *shlex.split(command)],
        cwd=CHECKOUT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


class NotReady(Exception):
    """The hub did not come up; says where its log is."""


class Yard:
    """Servers for the whole board; hubs on them, one at a time."""

    def __init__(
        self, folder: Path, rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres, start: Start = start_afresh
    ) -> None:
        """folder: for logs. The servers run. start: how the hubs' processes are."""
        self.folder = folder
        self.start = start
        self.rabbitmq = rabbitmq
        self.postgres = postgres
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    @contextmanager
    def open(cls, folder: Path) -> Iterator[Self]:
        """With servers of its own, as durable as in production, for the block."""
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        postgres, rabbitmq = PrivatePostgres(folder / "postgres", durable=True), PrivateRabbitmq(folder / "rabbitmq")
        with ExitStack() as stack:
            stack.callback(postgres.stop)
            postgres.start()
            stack.callback(rabbitmq.stop)
            rabbitmq.start()
            yield cls(folder, rabbitmq, postgres)

    def hub(self, *, limits: bool = False, settings: Mapping[str, str] | None = None) -> Hub:
        """A hub on a fresh database and a fresh vhost, not yet started.

        limits: its threads, rates, shares and all other limits are those that it ships with. settings: of its own.
        """
        vhost = self.rabbitmq.vhost()
        apply_policies(self.rabbitmq.management.call, vhost.rpartition("/")[2])
        servers = {"FEDYARD_BROKER_URL": vhost, "FEDYARD_DATABASE_URL": self.postgres.database(), **(settings or {})}
        return Hub(self, servers if limits else {**MANY_THREADS, **NO_LIMITS, **servers})


class Hub:
    """The four processes of one hub."""

    def __init__(self, yard: Yard, environment: Mapping[str, str]) -> None:
        self.yard = yard
        port = free_port()
        self.artifacts = yard.folder.resolve() / f"artifacts-{port}"
        self.environment = {
            "FEDYARD_WEB_PORT": str(port),
            "FEDYARD_ARTIFACTS_URL": f"file:///{self.artifacts}",
            "FEDYARD_HEAD_KEY_FILE": str(yard.folder.resolve() / "head.key"),
            "FEDYARD_WEBHOOK_KEY_FILE": str(yard.folder.resolve() / "webhook.key"),
            "FEDYARD_WORKLOAD_KEY_FILE": str(yard.folder.resolve() / "workload.key"),
            "FEDYARD_HEARTBEAT_EVERY_S": "600",
            **environment,
        }
        self.settings = Settings.read(self.environment)
        self.url = f"http://127.0.0.1:{self.settings.web_port}"
        self.processes: dict[str, Process] = {}
        self.database: Database = open_database(self.settings.database_url, pool=4, name="fedyard bench")
        migrate(self.database)
        prepare_broker(self.settings, "bench")

    def start(self, *names: str) -> None:
        """Start these (all without a name); returns when the hub is ready if the web is among them."""
        commands = read_procfile(CHECKOUT / "Procfile")
        for name in names or tuple(commands):
            self._start(name, commands[name])
        if "web" in (names or commands):
            self._await_ready()

    def stop(self, *names: str) -> None:
        """Stop these (all without a name) in good order."""
        for name in names or tuple(self.processes):
            process = self.processes.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def forget_artifacts(self) -> None:
        """Make room on the disk; to be called when nobody needs them any more."""
        shutil.rmtree(self.artifacts, ignore_errors=True)

    @contextmanager
    def running(self) -> Iterator[Hub]:
        """Started for the block."""
        try:
            self.start()
            yield self
        finally:
            self.stop()
            self.database.close()

    def processors(self) -> dict[str, float]:
        """CPU seconds spent so far, by part."""
        spent = {name: _seconds(process.pid) for name, process in self.processes.items()}
        spent["rabbitmq"] = sum(map(_seconds, self.yard.rabbitmq.pids))
        spent["postgres"] = sum(map(_seconds, self.yard.postgres.pids))
        own = psutil.Process().cpu_times()
        spent[OWN] = own.user + own.system
        return spent

    def megabytes(self) -> dict[str, float]:
        """Resident memory of each process with its children."""
        return {name: _megabytes(process.pid) for name, process in self.processes.items()}

    def _start(self, name: str, command: str) -> None:
        with (self.yard.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = self.yard.start(command, {**_inherited(), **self.environment}, log)

    def _await_ready(self) -> None:
        end = time.monotonic() + READY_WITHIN_S
        while not is_ready(self.url):
            if time.monotonic() > end:
                raise NotReady(f"the hub was not ready within {READY_WITHIN_S:.0f} s; see {self.yard.folder}/*.log")
            time.sleep(0.05)


class Watch:
    """Who uses the processors during a block: `shares` are CPU seconds per second."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._seconds = 0.0
        self._spent: dict[str, float] = {}

    @contextmanager
    def on(self) -> Iterator[None]:
        before, begun = self._hub.processors(), time.perf_counter()
        yield
        self._seconds += time.perf_counter() - begun
        for name, spent in self._hub.processors().items():
            self._spent[name] = self._spent.get(name, 0.0) + max(0.0, spent - before.get(name, 0.0))

    @property
    def shares(self) -> dict[str, float]:
        return {name: round(spent / self._seconds, 3) for name, spent in self._spent.items()} if self._seconds else {}


def is_ready(url: str) -> bool:
    """True if /readyz says so."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2):  # noqa: S310 - our own web's address
            return True
    except (OSError, urllib.error.URLError):
        return False


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FEDYARD_")}


def _family(pid: int) -> list[psutil.Process]:
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _seconds(pid: int) -> float:
    total = 0.0
    for process in _family(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _megabytes(pid: int) -> float:
    total = 0
    for process in _family(pid):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1_000_000
