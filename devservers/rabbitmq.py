"""A private RabbitMQ."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from broker.management import Management, ManagementError, part
from config.clock import draw_id
from devservers.installing import programs
from devservers.ports import listens, remembered
from devservers.process import CLOCK, START_WITHIN_S, ServerError, ServerProcess, end_orphan, kept_secret, last_words

_ODD = re.compile(r"[\s#\"'`\\$;&|<>*?%]")


class PrivateRabbitmq:
    """One RabbitMQ node with the management and Prometheus plugins. Ports, logins and queues survive restarts.

    `url` has no vhost: use `vhost()`. The user is an administrator with a password of its own; there is no guest.
    """

    def __init__(
        self, folder: Path, *, management_port: int | None = None, node: str = "fedyard", epmd_port: int | None = None
    ) -> None:
        """epmd_port: of a name server that somebody else runs, for the nodes of a cluster, each with its own name."""
        self._name, self._shared_epmd = node, epmd_port
        self._programs = programs("/usr/lib/rabbitmq/lib", "rabbitmq_server-*/sbin", "rabbitmq-server")
        self.folder = folder.resolve()
        if _ODD.search(str(self.folder)):
            raise ServerError(
                f"RabbitMQ cannot work in {self.folder}: choose a folder without spaces and signs of the shell"
            )
        for name in ("home", "conf", "schema", "generated", "data", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(
            0o700
        )  # the broker's own files are for all to read: what lies in queues, its cookie, its logins
        self._home = self.folder / "home"
        self.log = self.folder / "log" / "output.log"
        self._draw = {"amqp": None, "management": management_port, "prometheus": None, "dist": None, "epmd": None}
        self._ports: dict[str, int] = {}
        self._node: ServerProcess | None = None
        self._epmd: ServerProcess | None = None
        self.user = "fedyard"
        self.password = kept_secret(self._home / "password")

    @property
    def url(self) -> str:
        """amqp://user:password@host:port, without a vhost."""
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self._ports['amqp']}"

    @property
    def port(self) -> int:
        """Where AMQP is spoken."""
        return self._ports["amqp"]

    @property
    def management_url(self) -> str:
        """http://host:port of the management UI and API."""
        return f"http://127.0.0.1:{self._ports['management']}"

    @property
    def pids(self) -> list[int]:
        """Of the node and its name server, as far as they run."""
        return [child.pid for child in (self._node, self._epmd) if child is not None and child.alive]

    @property
    def ended(self) -> bool:
        """Whether it was started, and its node or name server has ended unasked."""
        return any(child is not None and not child.alive for child in (self._node, self._epmd))

    def start(self) -> None:
        """Returns when AMQP and the management API answer. Raises `ServerError`."""
        self._end_orphans()
        if not self._ports:
            self._ports = remembered(self.folder / "ports.json", self._draw)
        self._configure()
        self._spawn()
        node = self._node
        for _ in range(int(START_WITHIN_S * 10)):
            if node is None or not node.alive:
                break
            if listens(self._ports["amqp"]) and self._answers():
                return
            CLOCK.sleep(0.1)
        self.stop()
        raise ServerError(f"RabbitMQ in {self.folder} did not start; {last_words(self.log)}")

    def stop(self) -> None:
        """Stop the node, then its name server. Queues and durable messages stay in the folder."""
        if self._node is not None:
            self._node.end(signal.SIGTERM)
            self._node = None
        if self._epmd is not None:
            self._epmd.end(signal.SIGTERM)
            self._epmd = None

    def kill(self) -> None:
        """kill -9: as a crash of the machine would, but for the disk. `start()` brings it back."""
        if self._node is not None:
            self._node.end(signal.SIGKILL)
        self.stop()

    def restart(self) -> None:
        """Stop in good order and start again, on the same ports."""
        self.stop()
        self.start()

    def vhost(self, name: str | None = None) -> str:
        """The AMQP URL of a vhost, made if there is none of that name; a fresh one without a name."""
        chosen = name or f"v{draw_id()[:13]}"
        self.management.put_vhost(chosen)
        return f"{self.url}/{part(chosen)}"

    @property
    def management(self) -> Management:
        """The management API, with the administrator's login."""
        return Management(self.management_url, self.user, self.password)

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` with these arguments prints. Raises `ServerError` if it fails."""
        done = subprocess.run(
            [str(self._programs / "rabbitmqctl"), *arguments],
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_WITHIN_S,
            check=False,
        )
        if done.returncode != 0:
            raise ServerError(f"rabbitmqctl {arguments[0]} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def _answers(self) -> bool:
        try:
            self.management.call("GET", "/overview")
        except ManagementError:
            return False
        return True

    def _spawn(self) -> None:
        environment = self._environment()
        server = [str(self._programs / "rabbitmq-server")]
        if self._shared_epmd is None:
            self._spawn_epmd(environment)
        self._node = ServerProcess(server, folder=self.folder, log=self.log, env=environment, on_orphan="TERM")
        (self.folder / "pid").write_text(str(self._node.pid))

    def _spawn_epmd(self, environment: Mapping[str, str]) -> None:
        command = [shutil.which("epmd") or "epmd", "-port", str(self._ports["epmd"]), "-address", "127.0.0.1"]
        self._epmd = ServerProcess(command, folder=self.folder, log=self.log, env=environment, on_orphan="TERM")
        for _ in range(200):
            if listens(self._ports["epmd"]) or not self._epmd.alive:
                break
            CLOCK.sleep(0.05)

    def _end_orphans(self) -> None:
        pid = self.folder / "pid"
        if pid.exists() and self._node is None:
            end_orphan(int(pid.read_text()), self.folder, signal.SIGTERM)

    def _configure(self) -> None:
        ports, conf = self._ports, self.folder / "conf"
        (conf / "rabbitmq.conf").write_text(
            f"""listeners.tcp.1 = 127.0.0.1:{ports["amqp"]}
management.tcp.ip = 127.0.0.1
management.tcp.port = {ports["management"]}
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = {ports["prometheus"]}
default_user = {self.user}
default_pass = {self.password}
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.file = {self.folder / "log" / "rabbitmq.log"}
log.file.level = info
"""
        )
        (conf / "rabbitmq.conf").chmod(0o600)
        (conf / "advanced.config").write_text("[].\n")
        (conf / "env.conf").write_text("")
        (conf / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")

    def _environment(self) -> dict[str, str]:
        folder, ports = self.folder, self._ports
        conf = folder / "conf"
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self._home),
            # The launcher becomes the node itself (no shell in between), so that its pid is the node's.
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_PORT": str(self._shared_epmd or ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"{self._name}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(ports["amqp"]),
            "RABBITMQ_DIST_PORT": str(ports["dist"]),
            "RABBITMQ_CONFIG_FILE": str(conf / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(conf / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(conf / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(conf / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "data" / "node.pid"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "data" / "feature_flags"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+sbwt none +sbwtdcpu none +sbwtdio none",
        }
