"""Private RabbitMQ and PostgreSQL: Debian's packages, run in a folder of ours on free loopback ports.

They touch nothing in /etc or /var, belong to this process (they stop when it ends, however it ends) and
run in sessions of their own, so that Ctrl-C in a terminal reaches only us. Start them from the main thread:
the kernel ties them to the thread that started them.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from config.clock import SystemClock, draw_id, draw_secret
from ops.management import Management, ManagementError, part

CLOCK = SystemClock()
PACKAGES = ("rabbitmq-server", "postgresql")
PORTS = range(20_000, 32_000)
"""Below the range for outgoing connections, so that none can take a stopped server's port, or connect to itself."""

START_WITHIN_S = 120.0
STOP_WITHIN_S = 60.0


class ServerError(Exception):
    """A private server cannot be installed, started or asked; says what to do about it."""


def install_missing(*tools: str) -> None:
    """Install the Debian packages that are missing if we are root. Raises `ServerError` saying what to install.

    tools: programs besides the servers whose package is named as they are. The system's own services are kept from
    starting: we only want the programs.
    """
    missing = _missing(tools)
    if not missing:
        return
    remedy = f"install with: apt-get install --no-install-recommends {' '.join(missing)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ServerError(f"{' and '.join(missing)} not found on this machine; {remedy}")
    _apt_get("update")
    with _NoServices():
        _apt_get("install", "--yes", "--no-install-recommends", *missing)
    if _missing(tools):
        raise ServerError(f"installing {' and '.join(missing)} did not help; {remedy}")


def _missing(tools: Sequence[str]) -> list[str]:
    rabbitmq = _newest("/usr/lib/rabbitmq/lib", "rabbitmq_server-*/sbin")
    found = (rabbitmq is not None, _newest("/usr/lib/postgresql", "*/bin") is not None)
    servers = [package for package, there in zip(PACKAGES, found, strict=True) if not there]
    return servers + [tool for tool in tools if shutil.which(tool) is None]


def _newest(folder: str, pattern: str) -> Path | None:
    """The folder of the highest version."""

    def version(path: Path) -> list[int]:
        return [int(part) for part in path.parent.name.rpartition("-")[2].split(".") if part.isdigit()]

    return max(Path(folder).glob(pattern), key=version, default=None)


def _programs(folder: str, pattern: str, package: str) -> Path:
    found = _newest(folder, pattern)
    if found is None:
        raise ServerError(f"{package} is not installed; install it: apt-get install --no-install-recommends {package}")
    return found


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", "-qq", *arguments], env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise ServerError(f"apt-get {' '.join(arguments)} failed (exit code {done.returncode}): see its output above")


class _NoServices:
    """Debian's way to keep a package from starting its service: a policy that says 101, if there is none yet."""

    PATH = Path("/usr/sbin/policy-rc.d")

    def __enter__(self) -> None:
        self.ours = not self.PATH.exists()
        if self.ours:
            self.PATH.write_text("#!/bin/sh\nexit 101\n")
            self.PATH.chmod(0o755)

    def __exit__(self, *_: object) -> None:
        if self.ours:
            self.PATH.unlink(missing_ok=True)


def free_port(preferred: int | None = None) -> int:
    """A port that nobody listens on: the preferred one if it is free."""
    if preferred is not None and _is_free(preferred):
        return preferred
    start = UUID(draw_id()).int
    for step in range(len(PORTS)):
        port = PORTS[(start + step) % len(PORTS)]
        if _is_free(port):
            return port
    raise ServerError(f"no port between {PORTS.start} and {PORTS.stop} is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """True if something accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class _Child:
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


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""


def _remembered(path: Path, draw: Mapping[str, int | None]) -> dict[str, int]:
    """The ports of the last start, drawn anew where somebody else has taken one meanwhile."""
    old: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    ports: dict[str, int] = {}
    for name, preferred in draw.items():
        port = free_port(old.get(name, preferred))
        ports[name] = port if port not in ports.values() else free_port()
    path.write_text(json.dumps(ports))
    return ports


def kept_secret(path: Path) -> str:
    """The secret that the file holds; drawn and kept, readable by its owner only, if there is none."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(draw_secret())
    return path.read_text()


def _end_orphan(pid: int, folder: Path, how: signal.Signals) -> None:
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


class PrivateRabbitmq:
    """One RabbitMQ node with the management and Prometheus plugins. Ports, logins and queues survive restarts.

    `url` has no vhost: use `vhost()`. The user is an administrator with a password of its own; there is no guest.
    """

    def __init__(
        self, folder: Path, *, management_port: int | None = None, node: str = "fedyard", epmd_port: int | None = None
    ) -> None:
        """epmd_port: of a name server that somebody else runs, for the nodes of a cluster, each with its own name."""
        self._name, self._shared_epmd = node, epmd_port
        self._programs = _programs("/usr/lib/rabbitmq/lib", "rabbitmq_server-*/sbin", "rabbitmq-server")
        self.folder = folder.resolve()
        for name in ("home", "conf", "schema", "generated", "data", "log"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._home = self.folder / "home"
        self._log = self.folder / "log" / "output.log"
        self._draw = {"amqp": None, "management": management_port, "prometheus": None, "dist": None, "epmd": None}
        self._ports: dict[str, int] = {}
        self._node: _Child | None = None
        self._epmd: _Child | None = None
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
    def prometheus_url(self) -> str:
        """Where the node's own metrics are."""
        return f"http://127.0.0.1:{self._ports['prometheus']}/metrics"

    @property
    def pids(self) -> list[int]:
        """Of the node and its name server, as far as they run."""
        return [child.pid for child in (self._node, self._epmd) if child is not None and child.alive]

    def start(self) -> None:
        """Returns when AMQP and the management API answer. Raises `ServerError`."""
        self._end_orphans()
        if not self._ports:
            self._ports = _remembered(self.folder / "ports.json", self._draw)
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
        raise ServerError(f"RabbitMQ in {self.folder} did not start; its last words:\n{_tail(self._log)}")

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
        self._node = _Child(server, folder=self.folder, log=self._log, env=environment, on_orphan="TERM")
        (self.folder / "pid").write_text(str(self._node.pid))

    def _spawn_epmd(self, environment: Mapping[str, str]) -> None:
        command = [shutil.which("epmd") or "epmd", "-port", str(self._ports["epmd"]), "-address", "127.0.0.1"]
        self._epmd = _Child(command, folder=self.folder, log=self._log, env=environment, on_orphan="TERM")
        for _ in range(200):
            if listens(self._ports["epmd"]) or not self._epmd.alive:
                break
            CLOCK.sleep(0.05)

    def _end_orphans(self) -> None:
        pid = self.folder / "pid"
        if pid.exists() and self._node is None:
            _end_orphan(int(pid.read_text()), self.folder, signal.SIGTERM)

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


class PrivatePostgres:
    """One PostgreSQL server on loopback, with a password; its data survive restarts.

    durable=False spares the fsyncs, for tests: a killed server still loses nothing, only a lost machine would.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._programs = _programs("/usr/lib/postgresql", "*/bin", "postgresql")
        self._account = _server_account()
        self.folder = _reachable(folder.resolve(), self._account)
        self._durable = durable
        self._log = self.folder / "postgres.log"
        self._ports: dict[str, int] = {}
        self._server: _Child | None = None
        self.user = "fedyard"
        self.password = kept_secret(self.folder / "password")
        self._give_away()

    @property
    def port(self) -> int:
        """Where the server listens."""
        return self._ports["postgres"]

    @property
    def pids(self) -> list[int]:
        """Of the server, if it runs."""
        return [self._server.pid] if self._server is not None and self._server.alive else []

    def start(self) -> None:
        """Returns when the server accepts connections. Raises `ServerError`."""
        self._end_orphan()
        if not self._ports:
            self._ports = _remembered(self.folder / "ports.json", {"postgres": None})
        if not (self.folder / "data" / "PG_VERSION").exists():
            self._create()
        options = {"unix_socket_directories": "", "listen_addresses": "127.0.0.1", "port": str(self.port)}
        options |= {"max_connections": "200", "timezone": "UTC", "fsync": "on" if self._durable else "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        server = [str(self._programs / "postgres"), "-D", str(self.folder / "data"), *settings]
        self._server = self._child(server)
        for _ in range(int(START_WITHIN_S * 20)):
            if not self._server.alive:
                break
            if self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)).returncode == 0:
                return
            CLOCK.sleep(0.05)
        self.stop()
        raise ServerError(f"PostgreSQL in {self.folder} did not start; its last words:\n{_tail(self._log)}")

    def stop(self) -> None:
        """Stop in good order: running transactions are rolled back, connections closed."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Stop at once, as a crash would: nothing is tidied up, the next `start()` recovers from the log."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop in good order and start again, on the same port."""
        self.stop()
        self.start()

    def database(self, name: str | None = None, *, template: str = "template0") -> str:
        """The postgresql:// URL of a database, made if there is none of that name; a fresh one without a name.

        template: what a new one is copied from; nobody may be connected to that.
        """
        chosen = name or f"d_{draw_id().replace('-', '')[:16]}"
        exists = name and self.sql("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{_plain(name)}'")  # noqa: S608
        if not exists:
            self.sql("postgres", f'CREATE DATABASE "{_plain(chosen)}" TEMPLATE "{_plain(template)}"')
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{chosen}"

    def sql(self, database: str, statement: str) -> str:
        """What psql prints for one statement: rows without headings. Raises `ServerError`."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", database]
        done = self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *address, "-c", statement)
        if done.returncode != 0:
            raise ServerError(f"PostgreSQL in {self.folder}: {done.stderr.strip()}")
        return done.stdout

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            self._server.end(how)
            self._server = None

    def _create(self) -> None:
        sync = [] if self._durable else ["--no-sync"]
        who = ["-U", self.user, "-A", "scram-sha-256", "--pwfile", str(self.folder / "password")]
        shape = ["-E", "UTF8", "--locale", "C.UTF-8", *sync]
        done = self._run("initdb", "-D", str(self.folder / "data"), *who, *shape)
        if done.returncode != 0:
            raise ServerError(f"initdb in {self.folder} failed: {done.stderr.strip()}")

    def _child(self, argv: Sequence[str]) -> _Child:
        environment = self._environment()
        return _Child([*_as(self._account), *argv], folder=self.folder, log=self._log, env=environment, on_orphan="INT")

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["setpriv", *_as(self._account), str(self._programs / program), *arguments],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_WITHIN_S,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "HOME": str(self.folder),
            "PGPASSWORD": self.password,
        }

    def _end_orphan(self) -> None:
        pid = self.folder / "data" / "postmaster.pid"
        if pid.exists() and self._server is None:
            _end_orphan(int(pid.read_text().split()[0]), self.folder, signal.SIGINT)

    def _give_away(self) -> None:
        """What the server's account must read or write belongs to it."""
        if self._account is not None:
            for path in (self.folder, self.folder / "password"):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)


def _plain(name: str) -> str:
    """A database's name, which goes into SQL text: letters, digits, underscores."""
    if not name.replace("_", "").isalnum():
        raise ServerError(f"a database cannot be called {name!r}: letters, digits and underscores only")
    return name


def _server_account() -> pwd.struct_passwd | None:
    """The account for PostgreSQL, which refuses to run as root; None: our own."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServerError("PostgreSQL does not run as root and there is neither an account postgres nor nobody")


def _as(account: pwd.struct_passwd | None) -> list[str]:
    if account is None:
        return []
    return ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]


def _reachable(folder: Path, account: pwd.struct_passwd | None) -> Path:
    """The folder, made; or, if the account cannot enter it (a checkout below /root), one under /var/lib for it."""
    folder.mkdir(parents=True, exist_ok=True)
    if account is None:
        return folder
    probe = ["setpriv", *_as(account), "test", "-x", str(folder.parent)]
    if subprocess.run(probe, check=False).returncode == 0:
        return folder
    elsewhere = Path("/var/lib/fedyard") / sha256(str(folder).encode()).hexdigest()[:12]
    if not (folder / "moved").exists():  # the folder is new, or was emptied: so is what belongs to it
        shutil.rmtree(elsewhere, ignore_errors=True)
    elsewhere.mkdir(parents=True, exist_ok=True)
    (folder / "moved").write_text(f"{elsewhere}\n")
    return elsewhere


def temporary_folder() -> Path:
    """A fresh folder for servers of a test run, which accounts other than ours may enter."""
    folder = Path(tempfile.mkdtemp(prefix="fedyard-"))
    folder.chmod(0o755)
    return folder


if __name__ == "__main__":  # python -m ops.servers [TOOL ...]
    try:
        install_missing(*sys.argv[1:])
    except ServerError as error:
        raise SystemExit(f"fedyard: {error}") from None
