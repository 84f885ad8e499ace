"""Packed content as it lies on disk: four bytes that say what it is, then the file itself (arrays.py makes it).

To put it where people open it takes no numpy, which the agent does not load.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import IO, TypeAlias

from fedyard.wire.durable import whole

ARRAYS = b"FYa1"
BYTES = b"FYb1"
TAG = len(ARRAYS)

Packed: TypeAlias = bytes | Path
"""The packed form, or the file that holds it."""


def save(packed: Packed, name: Path) -> Path:
    """Write a file that other tools can open: `name` with .npz or .bin. Its path."""
    with source_of(packed) as source:
        path = name.with_name(name.name + (".npz" if source.read(TAG) == ARRAYS else ".bin"))
    write(packed, path)
    return path


def write(packed: Packed, path: Path) -> None:
    """Write that file under this very name: the arrays' .npz, or the bytes themselves."""
    with source_of(packed) as source, whole(path) as handle, open(handle, "wb", closefd=False) as out:
        source.seek(TAG)
        shutil.copyfileobj(source, out, 1_048_576)


def size_and_digest(packed: Packed) -> tuple[int, str]:
    """Bytes and SHA-256, in hex, of the file that `write` makes of it."""
    hashed, size = hashlib.sha256(), 0
    with source_of(packed) as source:
        source.seek(TAG)
        while block := source.read(1_048_576):
            hashed.update(block)
            size += len(block)
    return size, hashed.hexdigest()


def source_of(packed: Packed) -> IO[bytes]:
    return io.BytesIO(packed) if isinstance(packed, bytes) else packed.open("rb")
