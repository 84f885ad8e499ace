"""What an archive may have, what may be wrong with one, and the meter that stops it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

BLOCK_BYTES = 262_144
"""So much is in memory at a time, of what goes in and of what comes out."""


class Flaw(StrEnum):
    """What is wrong with an archive."""

    NOT_AN_ARCHIVE = "not_an_archive"
    DAMAGED = "damaged"
    UNSUPPORTED = "unsupported"
    ENCRYPTED = "encrypted"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    BOMB = "bomb"
    NAME = "name"
    TWICE = "twice"
    NOT_A_FILE = "not_a_file"
    OVERLAPPING = "overlapping"
    TRAILING = "trailing"
    MISSING = "missing"


class ArchiveError(Exception):
    """The archive does not count. fact: a sentence for people, which quotes names of it in ASCII and in short."""

    def __init__(self, flaw: Flaw, fact: str) -> None:
        super().__init__(fact)
        self.flaw, self.fact = flaw, fact


@dataclass(frozen=True)
class Limits:
    """ratio: bytes that come out for each byte of the archive, beyond `free_bytes`. depth: of folders.

    entries: files and folders. What comes out of a compressed tar counts whole, with its headers and padding.
    """

    archive_bytes: int = 17_179_869_184
    total_bytes: int = 34_359_738_368
    entries: int = 1000
    path_bytes: int = 255
    depth: int = 16
    ratio: int = 200
    free_bytes: int = 67_108_864


class Meter:
    """Counts what comes out of an archive of so many bytes. Raises `ArchiveError` as soon as it is too much."""

    def __init__(self, archive_bytes: int, limits: Limits) -> None:
        if archive_bytes > limits.archive_bytes:
            fact = f"the archive has {archive_bytes} bytes, {limits.archive_bytes} are allowed"
            raise ArchiveError(Flaw.TOO_LARGE, fact)
        self._limits = limits
        self._by_ratio = limits.free_bytes + limits.ratio * archive_bytes
        self._came_out = 0

    def take(self, size_bytes: int) -> None:
        """So many bytes more have come out."""
        self._came_out += size_bytes
        if self._came_out > self._limits.total_bytes:
            raise ArchiveError(Flaw.TOO_LARGE, f"more than {self._limits.total_bytes} bytes come out of the archive")
        if self._came_out > self._by_ratio:
            ratio = self._limits.ratio
            raise ArchiveError(Flaw.BOMB, f"more than {ratio} bytes come out for each byte of the archive")


def quoted(name: str | bytes) -> str:
    """A name of an archive as it may stand in a sentence."""
    text = ascii(name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name)
    return text if len(text) <= 120 else text[:117] + "..."


def damaged(fact: str) -> ArchiveError:
    return ArchiveError(Flaw.DAMAGED, fact)
