"""A small disk that can be full: a file system in a file, mounted in the test's own folder. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

SIZE_BYTES = 3 * 1024**3
"""Sparse: only what is written takes room."""


class NoDisk(Exception):
    """Why there can be none here."""


class SmallDisk:
    """Mounted at `path` until closed."""

    def __init__(self, folder: Path) -> None:
        """Raises `NoDisk`, naming the reason."""
        self.path = folder / "disk"
        self._ballast = self.path / "ballast"
        image = folder / "disk.img"
        if os.geteuid() != 0:
            raise NoDisk("only root may mount the small file system that is filled")
        self.path.mkdir()
        with image.open("wb") as file:
            file.truncate(SIZE_BYTES)
        _run("mkfs.ext4", "-q", "-m", "0", str(image))
        _run("mount", "-o", "loop", str(image), str(self.path))

    def fill(self) -> None:
        """Leave no room at all."""
        room = os.statvfs(self.path)
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            step = room.f_bavail * room.f_frsize
            size = 0
            while step >= room.f_frsize:
                try:
                    os.posix_fallocate(descriptor, size, step)
                    size += step
                except OSError:
                    step //= 2
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """After whoever uses it has ended."""
        unmount(self.path)


def unmount(path: Path) -> None:
    """Also when somebody still has a file open there; nothing if it is not mounted."""
    if path.is_mount():
        _run("umount", "-l", str(path))


def _run(*command: str) -> None:
    if shutil.which(command[0]) is None:
        raise NoDisk(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise NoDisk(f"{command[0]} failed: {done.stderr.strip()[:200]}")
