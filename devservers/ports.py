"""Free ports on loopback, and those that a server had the last time."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

from config.clock import draw_id
from devservers.process import ServerError

PORTS = range(20_000, 32_000)
"""Below the range for outgoing connections, so that none can take a stopped server's port, or connect to itself."""


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


def remembered(path: Path, draw: Mapping[str, int | None]) -> dict[str, int]:
    """The ports of the last start, drawn anew where somebody else has taken one meanwhile."""
    old: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    ports: dict[str, int] = {}
    for name, preferred in draw.items():
        port = free_port(old.get(name, preferred))
        ports[name] = port if port not in ports.values() else free_port()
    path.write_text(json.dumps(ports))
    return ports
