"""Check an archive: read all of it once, and say what is in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fedyard.cluster.archives.entries import Member, Seekable, read_exactly
from fedyard.cluster.archives.limits import ArchiveError, Flaw, Limits, Meter, quoted
from fedyard.cluster.archives.streams import Joined, decompressed, engine_of
from fedyard.cluster.archives.tars import RECORD, begins_tar, tar_members
from fedyard.cluster.archives.zips import ZIP_MAGICS, zip_members


@dataclass(frozen=True)
class File:
    """A file of an archive. path: with `/`, below the folder that it is unpacked into. sha256: hex."""

    path: str
    size_bytes: int
    sha256: str


def check(source: Seekable, required: Sequence[str] = (), limits: Limits | None = None) -> list[File]:
    """The files of the archive, by their paths. required: paths that must be among them.

    source: seekable. Memory is bounded, and time by what the limits let come in and out. Raises `ArchiveError`.
    """
    files = []
    for member in members(source, limits or Limits()):
        digest, size = hashlib.sha256(), 0
        for block in member.blocks:
            digest.update(block)
            size += len(block)
        if not member.folder:
            files.append(File(member.path, size, digest.hexdigest()))
    files.sort(key=lambda file: file.path)
    check_required([file.path for file in files], required)
    return files


def check_required(paths: Sequence[str], required: Sequence[str]) -> None:
    """Raises `ArchiveError` if the archive is empty, or lacks one of these."""
    if not paths:
        raise ArchiveError(Flaw.MISSING, "there is no file in the archive")
    for path in required:
        if path not in paths:
            deeper = next((one for one in paths if one.endswith(f"/{path}")), None)
            remedy = f"; there is {quoted(deeper)}: pack what is in that folder, not the folder" if deeper else ""
            raise ArchiveError(Flaw.MISSING, f"the file {path} is not at the top of the archive{remedy}")


def members(source: Seekable, limits: Limits) -> Iterator[Member]:
    """Every file and folder of an archive; what it is follows from its bytes. Raises `ArchiveError`, also at the end:
    what was read before counts for nothing then."""
    size_bytes = source.seek(0, os.SEEK_END)
    meter = Meter(size_bytes, limits)
    source.seek(0)
    head = read_exactly(source, RECORD)
    source.seek(0)
    engine = engine_of(head)
    if head.startswith(ZIP_MAGICS):
        yield from zip_members(source, size_bytes, limits, meter)
    elif engine is not None:
        inner = Joined(decompressed(source, engine, meter))
        if not begins_tar(inner.peek(RECORD)):
            raise ArchiveError(Flaw.NOT_AN_ARCHIVE, "this is a compressed file, and no tar archive is in it")
        yield from tar_members(inner, limits)
    elif begins_tar(head):
        yield from tar_members(source, limits)
    else:
        raise ArchiveError(
            Flaw.NOT_AN_ARCHIVE, "this is no zip or tar archive (which may be packed by gzip, bzip2 or xz)"
        )
