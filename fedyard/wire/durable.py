"""What lies on the disk for good: files that are there whole or not at all, also after the power went."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE = 0o600


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file's content in one step, readable by its owner only, and durably."""
    with whole(path) as handle:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]


@contextmanager
def whole(path: Path) -> Iterator[int]:
    """A descriptor of a new private file that takes the name `path` when the block ends well, and vanishes if not."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        try:
            if sys.platform != "win32":  # where a folder of one's own is nobody else's
                os.fchmod(handle, PRIVATE)
            yield handle
            os.fsync(handle)
        finally:
            os.close(handle)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    to_disk(path.parent)


def to_disk(path: Path) -> None:
    """Return once a file's content, or the names in a folder, outlive a crash of the machine. Raises `OSError`."""
    if sys.platform == "win32" and path.is_dir():  # it cannot be opened there, and need not be
        return
    opened = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
