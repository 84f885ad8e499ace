"""What lies in a backup's folder.

    backup.json        what it is: form, time, history, schema, counts
    records.sqlite     the records, or
    records.pgdump     the same of PostgreSQL, as pg_dump writes it (custom format)
    journal.sqlite     embedded: the commands that were accepted and not decided
    heads.jsonl        the head of every chain of events
    artifacts.jsonl    every stored artifact: id, digest, size, digests of its chunks
    artifacts/ID/N     the chunks themselves, if they were asked for
    SHA256SUMS         the digests of all of these, as `sha256sum -c` reads them; written last

It holds payloads and the hashes of tokens, so the folder is its owner's alone (0700, files 0600). A folder without
SHA256SUMS is no backup: it is written under another name, and gets its own once everything is on disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import msgspec

from fedyard.wire.durable import to_disk

T = TypeVar("T")

Form: TypeAlias = Literal["sqlite", "postgresql"]
FORMAT = 1
ABOUT, HEADS, MANIFEST, SUMS = "backup.json", "heads.jsonl", "artifacts.jsonl", "SHA256SUMS"
JOURNAL, CHUNKS = "journal.sqlite", "artifacts"
RECORDS: dict[Form, str] = {"sqlite": "records.sqlite", "postgresql": "records.pgdump"}
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
_BLOCK = 1_048_576


class BackupError(Exception):
    """A backup cannot be made, read or put back; the sentence says what to do."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is. made_at: ISO, UTC. schema: the migrations that its records have."""

    form: Form
    made_at: str
    history_id: str
    schema: list[str]
    streams: int
    artifacts: int
    artifact_bytes: int
    copied: bool
    format: int = FORMAT


class ChainHead(msgspec.Struct, frozen=True, kw_only=True):
    """The newest event of a stream."""

    stream_id: str
    kind: str
    seq: int
    hash: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A stored artifact. chunk_digests: hex, one after the other; empty where the records have forgotten them."""

    id: str
    project_id: str
    kind: str
    size_bytes: int
    digest: str
    chunk_digests: str


@contextmanager
def folder_made_whole(target: Path) -> Iterator[Path]:
    """A new folder to write into, which is `target` after the block, or does not exist. Raises `BackupError`.

    Its files are brought to disk, and listed with their digests.
    """
    if target.exists():
        raise BackupError(f"{target} exists already: a backup is written into a new folder")
    growing = target.with_name(f".{target.name}.unfinished")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(growing, ignore_errors=True)
        growing.mkdir(mode=PRIVATE_FOLDER)
        yield growing
        _write_sums(growing)
        for path in [*sorted(growing.rglob("*")), growing]:
            to_disk(path)
        growing.rename(target)
        to_disk(target.parent)
    except OSError as error:
        raise BackupError(f"{error.filename or target} cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(growing, ignore_errors=True)


def _write_sums(folder: Path) -> None:
    lines = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            path.chmod(PRIVATE_FOLDER)
            continue
        path.chmod(PRIVATE_FILE)
        lines.append(f"{digest_of(path)}  {path.relative_to(folder)}\n")
    write(folder / SUMS, "".join(lines).encode())


def write(path: Path, content: bytes) -> None:
    """A file for its owner only."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE), "wb") as file:
        file.write(content)


def write_lines(path: Path, values: Iterable[object]) -> int:
    """A JSON line for each value; how many there were."""
    count = 0
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE), "wb") as file:
        for value in values:
            file.write(msgspec.json.encode(value) + b"\n")
            count += 1
    return count


def read_lines(path: Path, kind: type[T]) -> Iterator[T]:
    """What `write_lines` wrote. Raises `BackupError`."""
    number = 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):  # noqa: B007 - where it went wrong
                yield msgspec.json.decode(line, type=kind)
    except OSError as error:
        raise BackupError(f"{path} cannot be read ({_said(error)})") from None
    except msgspec.MsgspecError as error:
        raise BackupError(f"{path}, line {number} is not what should stand there ({_said(error)})") from None


def about(folder: Path) -> About:
    """What a backup says of itself. Raises `BackupError`."""
    path = folder / ABOUT
    try:
        found = msgspec.json.decode(path.read_bytes(), type=About)
    except FileNotFoundError:
        raise BackupError(f"{folder} is no backup: it has no {ABOUT}") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"{path} cannot be read ({_said(error)})") from None
    if found.format != FORMAT:
        raise BackupError(f"{folder} is of format {found.format}; this version reads {FORMAT}")
    return found


def _said(error: Exception) -> str:
    """Of a file that cannot be read, or that holds something else than it should."""
    return (error.strerror or "it cannot be opened") if isinstance(error, OSError) else str(error)


def changed_files(folder: Path) -> Iterator[str]:
    """One sentence for each file that is missing, was changed, or is not listed. Raises `BackupError`."""
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise BackupError(f"{folder} is no whole backup: its {SUMS} cannot be read") from None
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {SUMS}
    for name in sorted(set(listed) | there):
        if name not in there:
            yield f"{name} is missing"
        elif name not in listed:
            yield f"{name} was put there later: the backup does not list it"
        elif digest_of(folder / name) != listed[name]:
            yield f"{name} was changed: its SHA-256 is not the listed one"


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
