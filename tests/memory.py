"""Files of a test run lie in memory, where the machine has enough: hundreds of databases and durable queues otherwise
wait for its disk more than for anything else."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory; a folder of our own is made in it
PREFIX = "fedyard-tests-"
ENOUGH_BYTES = 4 * 1024**3


def move_in() -> Path | None:
    """Make a folder in memory the place for temporary files, for this process and its children. None: not enough."""
    if not MEMORY.is_dir() or min(shutil.disk_usage(MEMORY).free, _available_bytes()) < ENOUGH_BYTES:
        return None
    for left in MEMORY.glob(f"{PREFIX}*"):
        if not Path("/proc", left.name.removeprefix(PREFIX)).exists():  # a run that was killed
            shutil.rmtree(left, ignore_errors=True)
    folder = MEMORY / f"{PREFIX}{os.getpid()}"
    folder.mkdir()
    folder.chmod(0o755)  # PostgreSQL runs under an account of its own
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    return folder


def _available_bytes() -> int:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * next(int(words[1]) for words in lines if words[0] == "MemAvailable:")
