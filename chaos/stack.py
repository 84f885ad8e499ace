"""What is killed: RabbitMQ, PostgreSQL and the hub's processes, each on links of its own, as `make up` runs them."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast

from broker.management import Management
from broker.policies import apply_policies
from broker.topology import declare_all
from chaos.disk import NoDisk, SmallDisk
from chaos.kafka import start_kafka, write_settings
from chaos.links import Link, Links
from config.clock import SystemClock
from devservers.ports import free_port, listens
from devservers.postgres import PrivatePostgres
from devservers.process import kept_secret
from devservers.rabbitmq import PrivateRabbitmq
from ops.place import CHECKOUT
from ops.supervisor import Supervisor, read_procfile
from storage.database import open_database
from storage.migrate import migrate

T = TypeVar("T")

VHOST = "fedyard"
READY_WITHIN_S = 120.0
TURN_S = 0.1
STAND_BYS = ("decider", "ticker", "bridge")
HEARTBEAT_EVERY_S = 5.0
HUB_CLUSTER = "hub"
IMAGES = {"local/sh": "/bin/sh", "local/python": sys.executable}
"""What workloads may run, at the hub and at a site."""
RECONCILE_EVERY_S = 1.0
CLOCK = SystemClock()


class ChaosError(Exception):
    """The test itself cannot go on; says what to look at."""


class Running:
    """A supervisor on a thread of its own: the kernel ends its processes with it. May be started again."""

    def __init__(self, commands: Mapping[str, str], log: Path, environment: Mapping[str, str]) -> None:
        self._commands, self._log, self._environment = commands, log, environment
        self._ending = threading.Event()
        self._started = threading.Event()
        self._kills = False
        self._thread: threading.Thread | None = None
        self.supervisor: Supervisor | None = None

    def start(self) -> None:
        self._ending.clear()
        self._started.clear()
        self._kills = False
        self._thread = threading.Thread(target=self._run, name=f"supervisor of {self._log.stem}")
        self._thread.start()
        self._started.wait(30)

    def stop(self, *, kill: bool = False) -> None:
        """In order, or by kill -9 for all at once. Nothing if it does not run."""
        self._kills = kill
        self._ending.set()
        if self._thread is not None:
            self._thread.join(120)

    def pid(self, name: str) -> int | None:
        """The leader of that process's session, if it runs."""
        supervisor = self.supervisor
        return supervisor.pids().get(name) if supervisor is not None else None

    def _run(self) -> None:
        with self._log.open("a") as said:
            supervisor = Supervisor(self._commands, CHECKOUT, self._environment, CLOCK, said)
            try:
                supervisor.start()
                self.supervisor = supervisor
                self._started.set()
                while not self._ending.is_set():
                    supervisor.turn(TURN_S)
            finally:
                self.supervisor = None
                if self._kills:
                    supervisor.kill()
                supervisor.stop()


@dataclass(frozen=True)
class Server:
    """A thread that starts and restarts one server: the kernel ends the server with the thread."""

    worker: ThreadPoolExecutor

    def do(self, work: Callable[[], T]) -> T:
        """On that thread; waits for it."""
        return self.worker.submit(work).result()


class Stack:
    """The whole hub. folder: logs and secrets of the processes; servers: folder of RabbitMQ and PostgreSQL."""

    def __init__(self, folder: Path, servers: Path, *, nodes: int = 1) -> None:
        self.folder, self._servers_folder, self._node_count = folder, servers, nodes
        self.disk: SmallDisk | None = None
        self.no_disk = ""
        self.links: dict[str, Link] = {}
        self.rabbitmq: list[PrivateRabbitmq] = []
        self._stack = ExitStack()
        self._last = self._stack.enter_context(ExitStack())

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    @property
    def direct_broker_url(self) -> str:
        """Past all links."""
        return ",".join(f"{node.url}/{VHOST}" for node in self.rabbitmq)

    @property
    def artifacts_url(self) -> str:
        return f"file:///{self.folder.resolve() / 'artifacts'}"

    @property
    def head_key_file(self) -> str:
        return str(self.folder.resolve() / "head.key")

    @property
    def webhook_key_file(self) -> str:
        return str(self.folder.resolve() / "webhook.key")

    @property
    def workload_key_file(self) -> str:
        return str(self.folder.resolve() / "workload.key")

    @property
    def workloads(self) -> Path:
        """Of the hub's own cluster, which is this machine."""
        return self.folder.resolve() / "workloads"

    @property
    def management(self) -> Management:
        """Of a node that runs."""
        return next((node for node in self.rabbitmq if node.pids), self.rabbitmq[0]).management

    @property
    def names(self) -> list[str]:
        """The hub's processes."""
        return list(self._commands)

    def leader_of(self, queue: str) -> PrivateRabbitmq:
        """The node that leads a queue's members; the only one, if there is one."""
        if len(self.rabbitmq) == 1:
            return self.rabbitmq[0]
        found = cast("dict[str, object]", self.management.call("GET", f"/queues/{VHOST}/{queue}"))
        name = str(found.get("leader") or found.get("node"))
        return self.rabbitmq[int(name.partition("@")[0].rpartition("-")[2]) - 1]

    def environment_of(self, name: str) -> Path:
        """The file with the environment of one of the hub's processes, for a shell to read."""
        return self.folder / f"{name}.environment"

    def at_end(self, work: Callable[[], None]) -> None:
        """Do it before the hub stops."""
        self._stack.callback(work)

    def at_end_of_all(self, work: Callable[[], None]) -> None:
        """Do it when the hub, and all that was to be done before, has stopped."""
        self._last.callback(work)

    def link(self, name: str, port: int, *, delay_s: float = 0.0, cut_every_s: float = 0.0) -> Link:
        """A new link under that name."""
        self.links[name] = link = self._net.open(port, delay_s=delay_s, cut_every_s=cut_every_s)
        return link

    def await_ready(self) -> None:
        """Until the hub says that it is. Raises `ChaosError` when it takes too long."""
        end = CLOCK.monotonic() + READY_WITHIN_S
        trouble = ""
        while CLOCK.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.api}/readyz", timeout=5):  # noqa: S310 - our own web
                    return
            except urllib.error.HTTPError as error:
                trouble = error.read().decode(errors="replace")
            except (OSError, HTTPException) as error:
                trouble = type(error).__name__
            CLOCK.sleep(0.2)
        raise ChaosError(f"the hub is not ready after {READY_WITHIN_S:.0f} s: {trouble}; see {self.folder}/hub.log")

    def _start(self) -> None:
        self._net = self._stack.enter_context(Links())
        self.postgres_thread = self._server_thread("postgres")
        self.rabbitmq_thread = self._server_thread("rabbitmq")
        self.kafka_thread = self._server_thread("kafka")
        self._start_postgres()
        self._start_rabbitmq()
        self._start_kafka()
        database = open_database(self.database_url, pool=1, name="chaos migrate")
        migrate(database)
        database.close()
        apply_policies(self.rabbitmq[0].management.call, VHOST)
        declare_all(self.direct_broker_url, "chaos")
        port = free_port()
        self.api = f"http://127.0.0.1:{port}"
        procfile = read_procfile(CHECKOUT / "Procfile")
        lines = procfile | {f"{name}-2": procfile[name] for name in STAND_BYS if name in procfile}
        self._commands = {name: self._command(name, line, port) for name, line in lines.items()}
        self.environment = _without_ours()
        self.hub = Running(self._commands, self.folder / "hub.log", self.environment)
        self._stack.callback(self.hub.stop)
        self.hub.start()
        self.await_ready()

    def _server_thread(self, name: str) -> Server:
        worker = self._stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix=name))
        return Server(worker)

    def _start_postgres(self) -> None:
        folder = self._servers_folder
        try:
            self.disk = SmallDisk(folder)
            self._stack.callback(self.disk.close)
            folder = self.disk.path
        except NoDisk as error:
            self.no_disk = str(error)
        self.postgres = PrivatePostgres(folder / "postgres")
        self._stack.callback(self.postgres.stop)
        self.postgres_thread.do(self.postgres.start)
        self.database_url = self.postgres.database("fedyard")

    def _start_rabbitmq(self) -> None:
        """One node, or a cluster: several with one cookie, one password and one name server."""
        folder = self._servers_folder / "rabbitmq"
        if self._node_count == 1:
            self.rabbitmq = [PrivateRabbitmq(folder)]
        else:
            port = self._start_epmd()
            for number in range(1, self._node_count + 1):
                home = folder / f"node-{number}" / "home"
                home.mkdir(parents=True)
                for secret in ("password", ".erlang.cookie"):
                    (home / secret).touch(mode=0o600)
                    (home / secret).write_text(kept_secret(self.folder / f"rabbitmq{secret}"))
                (home / ".erlang.cookie").chmod(0o400)
                self.rabbitmq.append(PrivateRabbitmq(home.parent, node=f"node-{number}", epmd_port=port))
        for node in self.rabbitmq:
            self._stack.callback(node.stop)
            self.rabbitmq_thread.do(node.start)
        for node in self.rabbitmq[1:]:
            node.ctl("stop_app")
            node.ctl("join_cluster", "node-1@localhost")
            node.ctl("start_app")
        self.rabbitmq[0].vhost(VHOST)

    def _start_kafka(self) -> None:
        self.kafka = self.kafka_thread.do(lambda: start_kafka(self._servers_folder / "kafka"))
        self._stack.callback(self.kafka.stop)

    def _start_epmd(self) -> int:
        """Erlang's name server, which outlives every node; its port. It ends with the thread of RabbitMQ."""
        port = free_port()
        command = ["setpriv", "--pdeathsig", "TERM", "epmd", "-port", str(port), "-address", "127.0.0.1"]

        def start() -> subprocess.Popen[bytes]:
            quiet = subprocess.DEVNULL
            return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)

        epmd = self.rabbitmq_thread.do(start)
        self._stack.callback(epmd.wait)
        self._stack.callback(epmd.terminate)
        while not listens(port) and epmd.poll() is None:
            CLOCK.sleep(0.05)
        return port

    def _command(self, name: str, line: str, port: int) -> str:
        """The Procfile's line with an environment of its own, from a file that only we can read."""
        brokers = []
        for number, node in enumerate(self.rabbitmq, 1):
            to = "rabbitmq" if len(self.rabbitmq) == 1 else f"rabbitmq-{number}"
            link = self.link(f"{name} > {to}", node.port)
            brokers.append(f"{node.url}/{VHOST}".replace(f":{node.port}/", f":{link.port}/"))
        database = self.link(f"{name} > postgres", self.postgres.port)
        environment = {
            "FEDYARD_BROKER_URL": ",".join(brokers),
            "FEDYARD_DATABASE_URL": self.database_url.replace(f":{self.postgres.port}/", f":{database.port}/"),
            "FEDYARD_WEB_PORT": str(port),
            "FEDYARD_ARTIFACTS_URL": self.artifacts_url,
            "FEDYARD_HEAD_KEY_FILE": self.head_key_file,
            "FEDYARD_WEBHOOK_KEY_FILE": self.webhook_key_file,
            "FEDYARD_WORKLOAD_KEY_FILE": self.workload_key_file,
            "FEDYARD_HEARTBEAT_EVERY_S": str(HEARTBEAT_EVERY_S),
            "FEDYARD_CLUSTERS": f"{HUB_CLUSTER}=processes:///{self.workloads}",
            "FEDYARD_PROCESS_IMAGES": ",".join(f"{image}={program}" for image, program in IMAGES.items()),
            "FEDYARD_WORKLOAD_HUB_URL": self.api,
            "FEDYARD_STREAMS": str(write_settings(self.kafka, self.folder.resolve(), name)),
            "FEDYARD_RECONCILE_EVERY_S": str(RECONCILE_EVERY_S),
        }
        file = self.environment_of(name)
        file.touch(mode=0o600)
        file.write_text("".join(f"export {key}={shlex.quote(value)}\n" for key, value in environment.items()))
        return f". {shlex.quote(str(file))} && exec {line}"


def group_of(leader: int) -> list[int]:
    """The processes of a session that we started, its leader first."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == leader:  # its process group
                    found.append(int(folder.name))
    return sorted(found, key=lambda pid: (pid != leader, pid))


def children_of(parent: int) -> list[int]:
    """The direct children of a process."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, IndexError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(int(folder.name))
    return found


def _without_ours() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("FEDYARD_", "SITE_"))}
