"""Where the bytes of artifacts lie, in chunks: a folder (storage/blobs/folder.py) or S3 (storage/blobs/s3.py).

A chunk is kept whole and with the digest that was declared, or not at all; its object's name carries that digest, so
that what is there needs no other record. The store of records knows artifacts, this one knows chunks, and the sweeper
(actors/sweeper.py) removes what the other does not know.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from config.clock import Micros
from domain.ids import Id
from fedyard.wire.chunks import Chunk

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says whose disk is full, or whose files may not be larger."""
BLOCK_BYTES = 262_144
"""How much of a chunk is in memory at a time while it is handed out."""
INTAKE_BYTES = 131_072
"""The same while it comes in. The server gathers as much before it hands it on, so each transfer holds it several
times; larger ones are not faster."""


_WHOLE = re.compile("([0-9]+)-([0-9a-f]{64})")


def name_of(chunk: Chunk) -> str:
    """Of the object that is the whole chunk."""
    return f"{chunk.number}-{chunk.sha256}"


def whole_among(names: Iterable[str]) -> dict[int, str]:
    """The chunks whose objects these are: number -> SHA-256. Other names are passed over."""
    return {int(name[1]): name[2] for name in map(_WHOLE.fullmatch, names) if name}


class StorageFull(Exception):
    """No room is left; nothing of what was being written was kept. Says where, and what was said: for operators."""


class StorageUnavailable(Exception):
    """The store cannot be reached, or refuses; later it may not. Says where, and what was said: for operators."""


class DigestMismatch(Exception):
    """The chunk's bytes are not those that were declared; none of them was kept."""


class OffsetMismatch(Exception):
    """A chunk cannot be gone on with from there. there: how many bytes of it there are."""

    def __init__(self, there: int) -> None:
        super().__init__(f"{there} bytes of the chunk are there")
        self.there = there


class Reader(Protocol):
    """Bytes that come in: b"" once there are no more, also where they ended too early."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes."""


@dataclass(frozen=True)
class Stored:
    """Something lies there for this artifact. newest_at: when the last of it was written."""

    artifact: Id
    newest_at: Micros


class Blobs(Protocol):
    """The port. Every call may raise `StorageUnavailable`; all are safe to use from many threads."""

    keeps_parts: bool
    """True if a chunk that was cut off can be gone on with."""

    def put(self, artifact: Id, chunk: Chunk, content: Reader, *, start: int, length: int) -> int:
        """Take in bytes of a chunk from `start` on; how many bytes of it are there now.

        Fewer than the chunk has: they are kept as a part to go on with (if `keeps_parts`), also where `content` ended
        before `length`. All of them: they were checked, and `have` tells them. A chunk that is there already is left as
        it is, unread. Raises `StorageFull`, `DigestMismatch`, `OffsetMismatch`.
        """

    def have(self, artifact: Id) -> dict[int, str]:
        """The chunks that are durably there: number -> SHA-256."""

    def parts(self, artifact: Id) -> dict[int, int]:
        """The chunks that were begun: number -> how many bytes of it are there."""

    def read(self, artifact: Id, chunk: Chunk, start: int, end: int) -> Iterator[bytes]:
        """The bytes `start` to `end` (not included) of a chunk, in blocks. Raises `KeyError` if it is not there."""

    def uploads(self, artifact: Id, chunks: Iterable[Chunk]) -> dict[int, str] | None:
        """Addresses to which the owner may PUT these chunks itself; None where bytes go through the hub."""

    def downloads(self, artifact: Id, chunks: Iterable[Chunk]) -> dict[int, str] | None:
        """Addresses from which these chunks may be read; None where bytes go through the hub."""

    def ready(self) -> str | None:
        """None if chunks can be put, as far as can be told without putting one; else one sentence on what is wrong.

        Raises nothing, and takes a few seconds at most.
        """

    def stored(self) -> Iterator[Stored]:
        """Every artifact that something lies there for."""

    def delete(self, artifact: Id) -> None:
        """Remove everything of an artifact; nothing there is fine."""

    def delete_parts(self, artifact: Id) -> None:
        """Remove the chunks that were begun and not ended."""

    def note(self, name: str) -> None:
        """Write a name into the ledger, durably; what is there already stays. Names are made of a-z, 0-9 and -."""

    def noted(self) -> Iterator[str]:
        """Every name in the ledger, in no order that matters."""
