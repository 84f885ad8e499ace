"""The doing actor of archives: it reads one from the store of artifacts, and reports what is in it or what is wrong.

It knows no record, and writes nothing: who reads it twice finds the same.
"""

from __future__ import annotations

import os
from threading import BoundedSemaphore

from broker.port import Temporary
from domain.commands import AnyCommand, ArchiveFile, CheckArchive, Envelope, ReportArchive
from domain.ids import Id
from fedyard.cluster.archives.checking import check
from fedyard.cluster.archives.limits import ArchiveError, Limits
from fedyard.wire.chunks import CHUNK_BYTES, chunk_of, count_of, found_digests, tree_digest
from storage.blobs.port import Blobs, StorageUnavailable

AT_ONCE = 2
"""Archives that are read at the same time; each holds a chunk, and xz a dictionary of up to 128 MiB."""
NOT_STORED = "not_stored"
"""Bytes are missing in the store of artifacts. Beside the flaws of `fedyard.cluster.archives.limits.Flaw`."""
_MAX_DETAIL = 1000


class ArchiveDoer:
    """limits: for tests; the archive itself may be as large as an artifact of its kind, which was asked before."""

    def __init__(self, blobs: Blobs, limits: Limits | None = None) -> None:
        self._blobs = blobs
        self._limits = limits or Limits()
        self._places = BoundedSemaphore(AT_ONCE)

    def __call__(self, envelope: Envelope) -> list[AnyCommand]:
        """Read it; the report. Raises `Temporary` where the store of artifacts is away."""
        command = envelope.command
        assert isinstance(command, CheckArchive), "this actor checks archives"
        with self._places:
            try:
                return [self._checked(command)]
            except StorageUnavailable as error:
                raise Temporary(f"the store of artifacts is away: {error}") from None

    def _checked(self, command: CheckArchive) -> ReportArchive:
        try:
            files = check(StoredFile(self._blobs, command), command.required, self._limits)
        except ArchiveError as error:
            return _refused(command, error.flaw, error.fact)
        except KeyError:
            return _refused(command, NOT_STORED, "bytes of it are missing in the hub's store: upload it again")
        return ReportArchive(
            project_id=command.project_id,
            artifact_id=command.artifact_id,
            files=[ArchiveFile(path=one.path, size_bytes=one.size_bytes, sha256=one.sha256) for one in files],
        )


def _refused(command: CheckArchive, flaw: str, fact: str) -> ReportArchive:
    return ReportArchive(
        project_id=command.project_id, artifact_id=command.artifact_id, flaw=flaw, detail=fact[:_MAX_DETAIL]
    )


class StoredFile:
    """An artifact as a file to read and seek in; a chunk of it is in memory. Raises `KeyError` where one is missing."""

    def __init__(self, blobs: Blobs, about: CheckArchive) -> None:
        self._blobs = blobs
        self._artifact: Id = about.artifact_id
        self._size = about.size_bytes
        self._digests = found_digests(count_of(about.size_bytes), blobs.have(about.artifact_id))
        if tree_digest(self._digests) != about.digest:
            raise KeyError(about.artifact_id)
        self._at = 0
        self._number, self._content = -1, b""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, from one chunk; none at the end."""
        if self._at >= self._size:
            return b""
        number, start = divmod(self._at, CHUNK_BYTES)
        if number != self._number:
            chunk = chunk_of(number, self._size, self._digests)
            self._content = b"".join(self._blobs.read(self._artifact, chunk, 0, chunk.size_bytes))
            self._number = number
        part = self._content[start : start + size]
        self._at += len(part)
        return part

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As a file's, within it."""
        self._at = max(0, offset + (self._size if whence == os.SEEK_END else 0))
        return self._at
