"""Unpack an archive into a project's folder: all of it or nothing, and once, however often it is asked for.

It is written beside its place, in a folder that a lock keeps for one at a time, and gets its name when all of it was
read and lies on the disk. What a killed attempt left is removed by the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedyard.cluster.archives.checking import check_required, members
from fedyard.cluster.archives.entries import Member, Seekable
from fedyard.cluster.archives.limits import Limits

INITIAL_FILES = "initFiles"
"""What Fedota's images look for, below the project's folder."""
FOLDER_MODE, FILE_MODE = 0o750, 0o640


def unpack(source: Seekable, project: Path, required: Sequence[str] = (), limits: Limits | None = None) -> bool:
    """Put the archive's files into `<project>/initFiles/`; True if this call did.

    False: they are there already, and what was written to them since is left as it is. The project's folder is made if
    it is missing. Files have the mode 0640, folders 0750. Raises `ArchiveError`, `OSError`; nothing is there then.
    """
    _make_folder(project)
    place, partial = project / INITIAL_FILES, project / f".{INITIAL_FILES}.partial"
    with _alone(project / f".{INITIAL_FILES}.lock"):
        if place.exists():
            return False
        if partial.exists():
            shutil.rmtree(partial)
        try:
            _make_folder(partial)
            check_required(list(_write_all(source, partial, limits or Limits())), required)
            _sync_folders(partial)
            partial.rename(place)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _sync(project)
    return True


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_all(source: Seekable, folder: Path, limits: Limits) -> Iterator[str]:
    """The paths of the files."""
    for member in members(source, limits):
        target = folder / member.path
        for parent in reversed(target.relative_to(folder).parents[:-1]):
            _make_folder(folder / parent)
        if member.folder:
            _make_folder(target)
            for _ in member.blocks:
                raise AssertionError("a folder has no bytes")
        else:
            _write(target, member)
            yield member.path


def _write(target: Path, member: Member) -> None:
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE), "wb") as file:
        for block in member.blocks:
            file.write(block)
        file.flush()
        os.fchmod(file.fileno(), FILE_MODE)
        os.fsync(file.fileno())


def _make_folder(folder: Path) -> None:
    """Whatever the umask says, and whoever makes it at the same time."""
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(FOLDER_MODE)


def _sync_folders(folder: Path) -> None:
    for below, _, _ in os.walk(folder):
        _sync(Path(below))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
