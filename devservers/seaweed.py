"""A private S3-speaking server, for tests and benchmarks: SeaweedFS in a folder of ours on free loopback ports.

It belongs to this process as the other servers do. A hub's own bucket is its operator's matter.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from devservers.ports import listens, remembered
from devservers.process import CLOCK, START_WITHIN_S, ServerError, ServerProcess, kept_secret, last_words

_PORTS = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc")


class PrivateSeaweed:
    """One SeaweedFS with an S3 gateway. Ports, login and objects survive restarts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        (self.folder / "data").mkdir(parents=True, exist_ok=True)
        self._log = self.folder / "output.log"
        self._ports: dict[str, int] = {}
        self._server: ServerProcess | None = None
        self.user = "fedyard"
        self.password = kept_secret(self.folder / "password")

    @property
    def endpoint(self) -> str:
        """http://host:port where S3 is spoken."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def credentials(self) -> dict[str, str]:
        """The variables that a program needs to log in."""
        return {"AWS_ACCESS_KEY_ID": self.user, "AWS_SECRET_ACCESS_KEY": self.password}

    @property
    def pids(self) -> list[int]:
        """Of the server, if it runs."""
        return [self._server.pid] if self._server is not None and self._server.alive else []

    def start(self) -> None:
        """Returns when S3 is spoken. Raises `ServerError`."""
        program = Path(sys.executable).parent / "weed"
        if not program.exists():
            raise ServerError("SeaweedFS is not installed: pip install -r requirements-dev.txt")
        self._ports = self._ports or remembered(self.folder / "ports.json", dict.fromkeys(_PORTS))
        self._server = ServerProcess(
            [str(program), "server", *self._arguments()],
            folder=self.folder,
            log=self._log,
            env={"PATH": os.defpath, "HOME": str(self.folder)},
            on_orphan="KILL",
        )
        for _ in range(int(START_WITHIN_S * 10)):
            if not self._server.alive:
                break
            if listens(self._ports["s3"]) and listens(self._ports["filer"]) and listens(self._ports["volume"]):
                return
            CLOCK.sleep(0.1)
        self.stop()
        raise ServerError(f"SeaweedFS in {self.folder} did not start; {last_words(self._log)}")

    def stop(self) -> None:
        """End it at once (in good order it takes half a minute); objects stay in the folder."""
        if self._server is not None:
            self._server.end(signal.SIGKILL)
            self._server = None

    def _arguments(self) -> list[str]:
        login = {"accessKey": self.user, "secretKey": self.password}
        known = {"identities": [{"name": self.user, "credentials": [login], "actions": ["Admin"]}]}
        config = self.folder / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps(known))
        ports = [
            f"-{name.replace('.', '.port.') if '.' in name else f'{name}.port'}={port}"
            for name, port in self._ports.items()
        ]
        return [
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-dir={self.folder / 'data'}",
            "-volume.max=100",
            "-master.volumeSizeLimitMB=64",
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-s3.config={config}",
            *ports,
        ]
