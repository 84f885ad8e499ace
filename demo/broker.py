"""The demo's own Kafka: noida-db, which comes with the requirements of the tests."""

from __future__ import annotations

import os
import socket
import stat
from importlib.resources import files
from pathlib import Path

from demo.processes import DemoError

PACKAGE = "noida_db"


def program() -> str:
    """The binary that the package brings, made executable."""
    try:
        found = Path(str(files(PACKAGE).joinpath("noida-db")))
    except ModuleNotFoundError:
        raise DemoError("noida-db is not installed: pip install -r requirements-dev.txt") from None
    if not os.access(found, os.X_OK):
        found.chmod(found.stat().st_mode | stat.S_IXUSR)
    return str(found)


def command(port: int, folder: Path) -> list[str]:
    """What starts it. It keeps its records in the folder."""
    return [program(), "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder)]


def free_port() -> int:
    """One that nobody listened on a moment ago."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
