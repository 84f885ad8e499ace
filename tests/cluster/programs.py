"""What the workloads of the contract suite run: few programs, for sh and python3."""

from __future__ import annotations

LIVES = "trap 'exit 0' TERM; echo up; sleep 600 & wait"
"""Until it is told to stop; then it ends at once, with 0."""
DEAF = "trap '' TERM; echo up; while :; do sleep 0.1; done"
"""Until it is killed."""
SERVICE = """
import os, socket, sys
server = socket.create_server(("", int(os.environ["PORT"])))
print("listening", flush=True)
while True:
    connection, _ = server.accept()
    asked = connection.recv(16)
    if asked == b"die":
        sys.exit(5)
    if asked:
        connection.sendall(b"served " + asked)
    connection.close()
"""
"""Answers `served <what came>`; of `die` it dies."""
HUNGRY = "import time; eaten = bytearray(b'x' * {bytes}); time.sleep(600)"
"""Takes that much memory, and stays."""


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def python(script: str) -> list[str]:
    return ["python3", "-c", script]
