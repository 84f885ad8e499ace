"""What an archive is made of, for who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


class Source(Protocol):
    """An archive's bytes, read forward."""

    def read(self, size: int, /) -> bytes:
        """At most so many; none at the end."""


class Seekable(Source, Protocol):
    """The same, from any place on."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As a file's."""


@dataclass(frozen=True)
class Member:
    """A file or a folder. blocks: the file's bytes, to be read to their end before the next member is asked for."""

    path: str
    folder: bool
    blocks: Iterator[bytes]


def read_exactly(source: Source, size: int) -> bytes:
    """So many bytes, or fewer if there are no more."""
    parts: list[bytes] = []
    while size:
        part = source.read(size)
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
