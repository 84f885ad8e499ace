"""A WSGI function served as the web is: one granian worker with many blocking threads."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from devservers.ports import free_port, listens
from ops.place import CHECKOUT


@contextmanager
def serving(function: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its URL and its process, for the block. function: `package.module:name`."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--blocking-threads", "64", "--no-ws", "--http", "1", "--log-level", "error"]
    with subprocess.Popen(
        [*command, function], cwd=CHECKOUT, env={**os.environ, **environment}, start_new_session=True
    ) as server:
        try:
            while not listens(port):
                if server.poll() is not None:
                    raise RuntimeError(f"granian ended with {server.returncode} before it served {function}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", server
        finally:
            server.terminate()
