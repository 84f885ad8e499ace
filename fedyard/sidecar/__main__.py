"""python3 -m fedyard.sidecar CHECKPOINT, with the environment that the hub gives it. CHECKPOINT: the file's path."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fedyard.client.addresses import named
from fedyard.client.client import Client
from fedyard.clock import SystemClock, micros_now
from fedyard.sidecar.journal import Journal
from fedyard.sidecar.reporter import Reporter
from fedyard.sidecar.rounds import Stage
from fedyard.sidecar.status import StatusServer
from fedyard.wire.stopping import on_stop_signal
from fedyard.wire.times import SECOND, moment

PORT: Final = 50052
"""Where Fedota's coordinator looks for its webserver."""
GIVE_UP_S: Final = 20.0
ENDS_WITHIN_S: Final = 5.0
"""To tell the hub what it does not know yet."""
NEEDED: Final = ("FEDYARD_HUB_URL", "FEDYARD_PROJECT_ID", "FEDYARD_TOKEN")
MISSING_GRPC: Final = "the sidecar takes reports by gRPC, which is not installed here: pip install 'fedyard[sidecar]'"


def main(arguments: list[str], environment: Mapping[str, str]) -> int:
    """Until it is told to stop; the exit code."""
    missing = [name for name in NEEDED if not environment.get(name)]
    if len(arguments) != 1:
        _say("usage: python3 -m fedyard.sidecar CHECKPOINT")
        return 2
    if missing:
        _say(f"the environment lacks {', '.join(missing)}: the hub sets them beside a project's own coordinator")
        return 2
    closing = threading.Event()
    on_stop_signal(closing.set)
    home = Path(environment.get("HOME", "."))
    try:
        journal = Journal(home, _say)
    except OSError as error:
        _say(f"what the hub is to be told cannot be kept in {home}: {error.strerror}; have it made, and writable")
        return 1
    hosts = [one.strip() for one in environment.get("FEDYARD_TRANSFER_HOSTS", "").split(",") if one.strip()]
    client = Client(
        environment["FEDYARD_HUB_URL"],
        environment["FEDYARD_TOKEN"],
        give_up_s=GIVE_UP_S,
        ca_file=environment.get("FEDYARD_CA_FILE") or None,
        transfer_hosts=hosts,
        allow_plain_http=[
            *named(environment["FEDYARD_HUB_URL"]),
            *hosts,
        ],  # the hub's operator has said these addresses
    )
    reporter = Reporter(client, environment["FEDYARD_PROJECT_ID"], journal, Path(arguments[0]), _say)

    def take(number: int, stage: Stage) -> None:
        journal.take(number, stage, micros_now() // SECOND)

    try:
        server = StatusServer(int(environment.get("PORT") or PORT), take)
    except ImportError as error:
        _say(MISSING_GRPC if error.name == "grpc" else f"gRPC cannot be used here: {error}")
        return 2
    except OSError as error:
        _say(str(error))
        return 1
    reporter.start()
    _say(f"takes round status on localhost:{server.port}")
    closing.wait()
    server.stop()
    clock, never = SystemClock(), threading.Event()
    end = clock.monotonic() + ENDS_WITHIN_S
    while not journal.is_told() and clock.monotonic() < end:
        clock.wait(never, 0.05)
    reporter.close()
    client.close()
    return 0


def _say(sentence: str) -> None:
    sys.stdout.write(f"{moment(micros_now())} {sentence}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    code = main(sys.argv[1:], os.environ)
    os._exit(code)  # gRPC's own threads have been seen to keep an interpreter from its end
