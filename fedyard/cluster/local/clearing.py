"""What is left when an attempt has ended: processes of a shim that was killed, and folders whatever is in them."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

from fedyard.cluster.local import folder as files


def end_strays(uid: str) -> bool:
    """Kill what a killed shim has left behind; whether there was something."""
    mark = f"{files.MARK}={uid}".encode()
    found = False
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark not in (path / "environ").read_bytes().split(b"\0"):
                continue
            process = os.pidfd_open(int(path.name))
            try:
                if mark in (path / "environ").read_bytes().split(b"\0"):  # it is still the same one
                    found = True
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            finally:
                os.close(process)
    return found


def open_up(folder: Path) -> None:
    """Let its owner into every folder below it. A link is never followed: what it leads to is not ours."""
    for path, names, _ in os.walk(folder, followlinks=False):
        for name in names:  # before it is looked into
            with suppress(OSError):
                opened = os.open(f"{path}/{name}", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    Path(f"/proc/self/fd/{opened}").chmod(0o700)
                finally:
                    os.close(opened)


def cleared(folder: Path) -> bool:
    """Remove a folder that nobody uses any more, whatever a workload has made of it; whether it is gone."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        open_up(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()
