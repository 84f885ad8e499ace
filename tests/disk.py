"""A disk that becomes full."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import until

LARGEST_BYTES = 600_000


class SmallDisk:
    """As root a file system of its own; else the kernel limits how large a file may become, from `fill` on."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def fill(self, left_bytes: int = LARGEST_BYTES) -> None:
        """From now on there is room for files of less than half a megabyte only, or so much; without root this holds
        for what this process writes, and what it starts."""
        if os.geteuid() != 0:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (left_bytes, hard))
            return
        left = os.statvfs(self.place)
        (self.place / "ballast").write_bytes(bytes(max(0, left.f_bavail * left.f_frsize - left_bytes)))

    def files(self) -> list[str]:
        found = (path for path in self.place.rglob("*") if path.is_file() and path.name != "ballast")
        return sorted(str(path.relative_to(self.place)) for path in found)


@contextmanager
def small_disk(place: Path) -> Iterator[SmallDisk]:
    place.mkdir()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)], check=True)
    try:
        yield SmallDisk(place)
    finally:
        if os.geteuid() == 0:
            until(lambda: subprocess.run(["umount", str(place)], check=False).returncode == 0)  # who is ending is in it
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)
