"""What a process of the hub is called wherever people look for it: RabbitMQ's connections, clocks, logs."""

from __future__ import annotations

import os
import socket


def process_name(role: str) -> str:
    """`role@host:pid`."""
    return f"{role}@{socket.gethostname()}:{os.getpid()}"
