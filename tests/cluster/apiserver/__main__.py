"""The API server as a process of its own: `python -m tests.cluster.apiserver KUBECONFIG` writes that file (context
`tests`) once it answers, says `ready` and serves until SIGTERM or SIGINT. With it a hub is tried, and measured, without
a cluster.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from tests.cluster.apiserver.server import ApiServer

ROOMY = {"pods": "2000", "cpu": "2000", "memory": "4Ti"}


def main(path: str) -> None:
    stop = threading.Event()
    for how in (signal.SIGTERM, signal.SIGINT):
        signal.signal(how, lambda *_: stop.set())
    with ApiServer(nodes=0) as server:
        for name in ("node-1", "node-2"):
            server.add_node(name, **ROOMY)
        half = Path(f"{path}.half")
        server.kubeconfig(half).rename(path)
        sys.stdout.write(f"ready {server.url}\n")
        sys.stdout.flush()
        while not stop.wait(1.0):
            pass


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.cluster.apiserver KUBECONFIG")
    main(sys.argv[1])
