"""Chunks as files of a folder:

    <root>/<first two of the id>/<id>/<number>-<sha256>     a whole chunk: written elsewhere, synced, then renamed
    <root>/parts/<id>/<number>-<drawn>                      a chunk that is being written, or was cut off
    <root>/ledger/<name>                                    an empty file: a name in the ledger of revocations

A file of parts/ has one writer ever, who holds its lock. Who goes on with a chunk copies what is there into a file of
its own, so that a connection that was given up and wakes later can do no harm; that is 4 MiB at most. What a crash
leaves behind is a part like any other: the end of every chunk is checked by its digest.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from config.clock import draw_id
from config.faults import of_the_system
from domain.ids import Id, is_id
from fedyard.wire.chunks import Chunk
from fedyard.wire.durable import to_disk
from storage.blobs.port import (
    BLOCK_BYTES,
    INTAKE_BYTES,
    NO_ROOM,
    DigestMismatch,
    OffsetMismatch,
    Reader,
    StorageFull,
    StorageUnavailable,
    Stored,
    name_of,
    whole_among,
)

FREE_BYTES = 67_108_864
"""With less it is not ready: sixteen chunks and it is full."""
_PARTS = "parts"
_LEDGER = "ledger"
_BEGUN = re.compile("([0-9]+)-([0-9a-f-]{36})")


class FolderBlobs:
    """The port over a folder that all processes of the hub share."""

    keeps_parts = True

    def __init__(self, root: Path, free_bytes: int = FREE_BYTES) -> None:
        self._root = root
        self._free_bytes = free_bytes

    def put(self, artifact: Id, chunk: Chunk, content: Reader, *, start: int, length: int) -> int:
        target = self._folder(artifact) / name_of(chunk)
        if target.exists():
            return chunk.size_bytes
        with self._begin(artifact, chunk, start) as part:
            part.take_in(content, length)
            if part.size < chunk.size_bytes:
                self._forget(artifact, chunk, part)
                return part.size
            if part.digest != chunk.sha256:
                self._forget(artifact, chunk)
                raise DigestMismatch
            part.make_whole(target)
        self._forget(artifact, chunk)
        return chunk.size_bytes

    def have(self, artifact: Id) -> dict[int, str]:
        folder = self._folder(artifact)
        found = [path.name for path in _paths(folder)]
        if found:
            with _told(folder):
                to_disk(folder)  # once for many chunks; a name that a crash takes away before is needed again, no more
        return whole_among(found)

    def parts(self, artifact: Id) -> dict[int, int]:
        found: dict[int, int] = {}
        for number, path in self._begun(artifact):
            found[number] = max(found.get(number, 0), _size(path))
        return found

    def read(self, artifact: Id, chunk: Chunk, start: int, end: int) -> Iterator[bytes]:
        path = self._folder(artifact) / name_of(chunk)
        with _told(path):
            try:
                file = FileIO(path)
            except FileNotFoundError:
                raise KeyError(chunk.number) from None
        return _blocks(path, file, start, end)

    def uploads(self, artifact: Id, chunks: Iterable[Chunk]) -> dict[int, str] | None:  # noqa: ARG002 - the port
        return None

    def downloads(self, artifact: Id, chunks: Iterable[Chunk]) -> dict[int, str] | None:  # noqa: ARG002 - the port
        return None

    def ready(self) -> str | None:
        """Of the folder, or where there is none yet, of the one that it will be made in."""
        try:
            place = next(path for path in (self._root, *self._root.absolute().parents) if path.exists())
            room = os.statvfs(place)
        except OSError as error:
            return f"the folder of artifacts: {of_the_system(error)}"
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            return f"the folder of artifacts cannot be written: {place}"
        if room.f_bavail * room.f_frsize < self._free_bytes:
            return f"the folder of artifacts has less than {self._free_bytes // 1_048_576} MiB left: {place}"
        return None

    def stored(self) -> Iterator[Stored]:
        newest: dict[Id, int] = {}
        for drawer in _paths(self._root):
            for folder in _paths(drawer):
                if is_id(folder.name) and folder.parent.name in (folder.name[:2], _PARTS):
                    newest[folder.name] = max(newest.get(folder.name, 0), _changed_at(folder))
        for artifact, at in newest.items():
            yield Stored(artifact, at)

    def delete(self, artifact: Id) -> None:
        self.delete_parts(artifact)
        _remove(self._folder(artifact))

    def delete_parts(self, artifact: Id) -> None:
        _remove(self._root / _PARTS / artifact)

    def note(self, name: str) -> None:
        folder = self._root / _LEDGER
        with _told(folder):
            _make_folder(folder)
            file = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.fsync(file)
            finally:
                os.close(file)
            to_disk(folder)

    def noted(self) -> Iterator[str]:
        return (path.name for path in _paths(self._root / _LEDGER))

    def _folder(self, artifact: Id) -> Path:
        return self._root / artifact[:2] / artifact

    def _begun(self, artifact: Id) -> Iterator[tuple[int, Path]]:
        for path in _paths(self._root / _PARTS / artifact):
            name = _BEGUN.fullmatch(path.name)
            if name:
                yield int(name[1]), path

    @contextmanager
    def _begin(self, artifact: Id, chunk: Chunk, start: int) -> Iterator[_Part]:
        """A new part with the first `start` bytes of the chunk. It stays, unless it could not be written."""
        before = max((path for n, path in self._begun(artifact) if n == chunk.number), key=_size, default=None)
        there = 0 if before is None else _size(before)
        if start > there:
            raise OffsetMismatch(there)
        path = self._root / _PARTS / artifact / f"{chunk.number}-{draw_id()}"
        with _told(path):
            _make_folder(path.parent)
            file = FileIO(path, "x")
        with file:
            part = _Part(path, file)
            try:
                if before is not None and start:
                    part.copy(before, start)
                yield part
            except (StorageFull, StorageUnavailable, OffsetMismatch):
                with suppress(
                    OSError
                ):  # what kept it from being written may keep it here, too; it is a part like any other
                    path.unlink(missing_ok=True)
                raise

    def _forget(self, artifact: Id, chunk: Chunk, part: _Part | None = None) -> None:
        """Remove the chunk's parts: all, or those beside `part` that nobody writes and that are not longer."""
        for number, path in self._begun(artifact):
            if number != chunk.number or (part is not None and path == part.path):
                continue
            if part is None or (_size(path) <= part.size and not _is_written(path)):
                with _told(path):
                    path.unlink(missing_ok=True)


class _Part:
    """A chunk that is being written, by us alone: its lock says so. Its digest grows with it."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self.path = path
        self.size = 0
        self._file = file
        self._hash = hashlib.sha256()
        with _told(path):
            fcntl.flock(file, fcntl.LOCK_EX)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def take_in(self, content: Reader, length: int) -> None:
        """What comes, `length` bytes at most."""
        end = self.size + length
        while self.size < end:
            try:
                block = content.read(min(INTAKE_BYTES, end - self.size))
            except ConnectionError:  # some servers raise where others end
                return
            if not block:
                return
            self._write(block)

    def copy(self, before: Path, size: int) -> None:
        """The first bytes of another part. Raises `OffsetMismatch` where it went away meanwhile."""
        with _told(before):
            try:
                source = FileIO(before)
            except FileNotFoundError:
                raise OffsetMismatch(0) from None
            with source:
                while self.size < size:
                    block = source.read(min(BLOCK_BYTES, size - self.size))
                    if not block:
                        raise OffsetMismatch(self.size)
                    self._write(block)

    def make_whole(self, target: Path) -> None:
        """Its bytes are durable before it has its name; the name is, once `have` has told it."""
        with _told(self.path):
            os.fsync(self._file.fileno())
            _make_folder(target.parent)
            try:
                self.path.rename(target)
            except FileNotFoundError:
                if target.exists():  # somebody else ended the same chunk, and removed its parts
                    return
                raise OffsetMismatch(0) from None

    def _write(self, block: bytes) -> None:
        self._hash.update(block)
        rest = memoryview(block)
        with _told(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]
        self.size += len(block)


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """What the system says, in the words of the port. place: what was worked on, where the system does not say it."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(place)
        said = f"the folder of artifacts: {of_the_system(error)}"
        raise (StorageFull if error.errno in NO_ROOM else StorageUnavailable)(said) from None


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    to_disk(folder.parent)


def _blocks(path: Path, file: FileIO, start: int, end: int) -> Iterator[bytes]:
    with file:
        while start < end:
            with _told(path):
                block = os.pread(file.fileno(), min(BLOCK_BYTES, end - start), start)
            if not block:
                raise StorageUnavailable(f"the folder of artifacts: a chunk is shorter than it was: {path}")
            start += len(block)
            yield block


def _paths(folder: Path) -> list[Path]:
    """What lies in a folder; nothing where there is none."""
    with _told(folder):
        try:
            return [folder / name for name in sorted(os.listdir(folder))]  # noqa: PTH208 - names, not stat calls
        except (FileNotFoundError, NotADirectoryError):
            return []


def _size(path: Path) -> int:
    """0 where it went away meanwhile."""
    with _told(path):
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0


def _changed_at(folder: Path) -> int:
    with _told(folder):
        try:
            return folder.stat().st_mtime_ns // 1000
        except FileNotFoundError:
            return 0


def _is_written(path: Path) -> bool:
    """True if its writer lives: the lock goes with it."""
    with _told(path), suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _remove(folder: Path) -> None:
    with _told(folder), suppress(FileNotFoundError):
        shutil.rmtree(folder)
