"""A private PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from config.clock import draw_id
from devservers.installing import programs
from devservers.ports import remembered
from devservers.process import (
    CLOCK,
    START_WITHIN_S,
    ServerError,
    ServerProcess,
    cause_of,
    end_orphan,
    kept_secret,
    last_words,
)


class PrivatePostgres:
    """One PostgreSQL server on loopback, with a password; its data survive restarts.

    durable=False spares the fsyncs, for tests: a killed server still loses nothing, only a lost machine would.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._programs = programs("/usr/lib/postgresql", "*/bin", "postgresql")
        self._account = _server_account()
        self.folder = _reachable(folder.resolve(), self._account)
        self._durable = durable
        self.log = self.folder / "postgres.log"
        self._ports: dict[str, int] = {}
        self._server: ServerProcess | None = None
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

    @property
    def ended(self) -> bool:
        """Whether it was started, and has ended unasked."""
        return self._server is not None and not self._server.alive

    def start(self) -> None:
        """Returns when the server accepts connections. Raises `ServerError`."""
        self._end_orphan()
        if not self._ports:
            self._ports = remembered(self.folder / "ports.json", {"postgres": None})
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
        raise ServerError(f"PostgreSQL in {self.folder} did not start; {last_words(self.log)}")

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
        exists = name and self.sql("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{_plain(name)}'")  # noqa: S608 - _plain() checks it
        if not exists:
            self.sql("postgres", f'CREATE DATABASE "{_plain(chosen)}" TEMPLATE "{_plain(template)}"')
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{chosen}"

    def sql(self, database: str, statement: str) -> str:
        """What psql prints for one statement: rows without headings. Raises `ServerError`."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, "-d", database]
        done = self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *address, "-c", statement)
        if done.returncode != 0:
            raise ServerError(f"PostgreSQL in {self.folder}: {cause_of(done.stderr.strip(), self.folder)}")
        return done.stdout

    def dump(self, database: str) -> Path:
        """A dump of a database, as pg_dump makes it while others write; a file of the server. Raises `ServerError`."""
        path = self.folder / f"{_plain(database)}.dump"
        self._must("pg_dump", "-Fc", "-f", str(path), "-d", _plain(database))
        return path

    def restore(self, database: str, dump: Path) -> None:
        """Put a dump into a database, in place of what is there. Raises `ServerError`."""
        self._must("pg_restore", "--clean", "--if-exists", "-d", _plain(database), str(dump))

    def _must(self, program: str, *arguments: str) -> None:
        done = self._run(program, "-h", "127.0.0.1", "-p", str(self.port), "-U", self.user, *arguments)
        if done.returncode != 0:
            raise ServerError(f"PostgreSQL in {self.folder}: {cause_of(done.stderr.strip()[-500:], self.folder)}")

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
            raise ServerError(f"initdb in {self.folder} failed: {cause_of(done.stderr.strip(), self.folder)}")

    def _child(self, argv: Sequence[str]) -> ServerProcess:
        environment = self._environment()
        return ServerProcess(
            [*_as(self._account), *argv], folder=self.folder, log=self.log, env=environment, on_orphan="INT"
        )

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
            end_orphan(int(pid.read_text().split()[0]), self.folder, signal.SIGINT)

    def _give_away(self) -> None:
        """What the server's account must read or write belongs to it."""
        self.folder.chmod(0o700)
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
    if (folder / "data" / "PG_VERSION").exists():  # an empty server elsewhere would be taken for this one
        raise ServerError(
            f"{folder / 'data'} holds a database, but the account {account.pw_name} that PostgreSQL runs as cannot"
            f" enter {folder.parent}: let it pass (chmod a+x on that folder and those above it)"
        )
    elsewhere = Path("/var/lib/fedyard") / sha256(str(folder).encode()).hexdigest()[:12]
    if not (folder / "moved").exists():  # the folder is new, or was emptied: so is what belongs to it
        shutil.rmtree(elsewhere, ignore_errors=True)
    elsewhere.mkdir(parents=True, exist_ok=True)
    elsewhere.parent.chmod(0o711)
    (folder / "moved").write_text(f"{elsewhere}\n")
    return elsewhere
