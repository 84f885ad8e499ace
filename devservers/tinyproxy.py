"""A private HTTP proxy, for tests: tinyproxy of Debian's in a folder of ours, on a free loopback port.

It belongs to this process as the other servers do.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from devservers.installing import install_missing
from devservers.ports import listens, remembered
from devservers.process import CLOCK, START_WITHIN_S, ServerError, ServerProcess, last_words


class PrivateTinyproxy:
    """One proxy. login: user and password that it wants of everybody; None: none."""

    def __init__(self, folder: Path, login: tuple[str, str] | None = None) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._login = login
        self._log = self.folder / "output.log"
        self._port = 0
        self._server: ServerProcess | None = None

    @property
    def address(self) -> str:
        """http://host:port, without the login."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Returns when it listens. Raises `ServerError`."""
        if shutil.which("tinyproxy") is None:
            install_missing("tinyproxy")
        self._port = self._port or remembered(self.folder / "ports.json", {"proxy": None})["proxy"]
        config = self.folder / "tinyproxy.conf"
        config.touch(mode=0o600)
        config.write_text(self._config())
        self._server = ServerProcess(
            ["tinyproxy", "-d", "-c", str(config)],
            folder=self.folder,
            log=self._log,
            env={"PATH": os.defpath},
            on_orphan="KILL",
        )
        for _ in range(int(START_WITHIN_S * 10)):
            if not self._server.alive:
                break
            if listens(self._port):
                return
            CLOCK.sleep(0.05)
        self.stop()
        raise ServerError(f"tinyproxy in {self.folder} did not start; {last_words(self._log)}")

    def stop(self) -> None:
        """End it at once."""
        if self._server is not None:
            self._server.end(signal.SIGKILL)
            self._server = None

    def seen(self) -> str:
        """What it has logged: every request's first line, without queries of tunnels."""
        return self._log.read_text(errors="replace")

    def _config(self) -> str:
        lines = [f"Port {self._port}", "Listen 127.0.0.1", "Timeout 600", "MaxClients 100", "LogLevel Connect"]
        if self._login is not None:
            lines.append(f"BasicAuth {self._login[0]} {self._login[1]}")
        return "\n".join(lines) + "\n"
