"""`python -m devservers [TOOL ...]`: install the servers' packages, and those of the tools, that are missing.

Brokers of Kafka come with requirements-dev.txt: `kafka` starts one of each until it is interrupted, and says where.
"""

from __future__ import annotations

import shutil
import signal
import sys

from devservers.installing import install_missing
from devservers.kafka import PrivateNoida, PrivateTansu
from devservers.process import ServerError, temporary_folder


def run_brokers() -> None:
    """Both, in a fresh folder, until SIGINT or SIGTERM. Raises `ServerError`."""
    folder = temporary_folder()
    brokers = [PrivateNoida(folder / "noida"), PrivateTansu(folder / "tansu")]
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        for broker in brokers:
            broker.start()
            print(f"{broker.folder.name} {broker.bootstrap_servers}", flush=True)
        signal.sigwait(ends)
    finally:
        for broker in brokers:
            broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["kafka"]:
            run_brokers()
        else:
            install_missing(*sys.argv[1:])
    except ServerError as error:
        raise SystemExit(f"fedyard: {error}") from None
