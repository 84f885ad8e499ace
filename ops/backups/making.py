"""`fedyard-hub backup`: one consistent copy of a hub's records while it runs, and what is needed to prove it later.

SQLite is copied by its own backup interface; of PostgreSQL a snapshot is exported, and pg_dump, the heads of the
chains and the list of artifacts are all read from it. Embedded, the journal is copied first: a command that was
accepted before the backup began lies in it or was decided into the records, or both, which is harmless.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import msgspec

from config.clock import Micros
from devservers.tools import PostgresTools
from fedyard.wire.chunks import chunk_of, count_of
from fedyard.wire.times import SECOND
from ops.backups.content import (
    ABOUT,
    CHUNKS,
    HEADS,
    JOURNAL,
    MANIFEST,
    PRIVATE_FILE,
    RECORDS,
    About,
    BackupError,
    ChainHead,
    Kept,
    folder_made_whole,
    write,
    write_lines,
)
from ops.backups.history import history_of
from storage.blobs.port import Blobs, StorageUnavailable
from storage.database import Database, open_copy
from storage.migrate import applied

_PAGE = 500


@dataclass(frozen=True)
class Source:
    """A hub's data: its database's URL; the file of its journal, if it is embedded."""

    database: Database
    url: str
    path: Path | None
    journal: Path | None


@dataclass(frozen=True)
class Made:
    """A backup that was made. gone: artifacts whose bytes went away while they were being copied."""

    folder: Path
    about: About
    gone: int


def make_backup(source: Source, target: Path, now: Micros, blobs: Blobs | None) -> Made:
    """A new backup in the folder `target`, whole or not at all. blobs: the store whose artifacts are copied, too.

    Raises `BackupError`, `ServerError`, `DatabaseUnavailable`.
    """
    with folder_made_whole(target) as folder:
        if source.journal is not None and source.journal.exists():
            copy_sqlite(source.journal, folder / JOURNAL)
        if source.path is not None:
            copy_sqlite(source.path, folder / RECORDS["sqlite"])
            records = open_copy(folder / RECORDS["sqlite"])
            with records.connection():
                about, listed = _describe(records, folder, now, copied=blobs is not None)
        else:
            with _snapshot(source.database) as snapshot:
                PostgresTools(source.url).dump(folder / RECORDS["postgresql"], snapshot)
                about, listed = _describe(source.database, folder, now, copied=blobs is not None)
        # After the snapshot: while one is held for hours, PostgreSQL can clear nothing away.
        gone = 0 if blobs is None else sum(not _copied(blobs, one, folder / CHUNKS) for one in listed)
    return Made(target, about, gone)


def copy_sqlite(path: Path, target: Path) -> None:
    """A consistent copy of an SQLite file that may be in use; one file, without a log beside. Raises `BackupError`."""
    target.touch(PRIVATE_FILE)
    try:
        reading = closing(sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=30.0))
        with reading as source, closing(sqlite3.connect(target)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise BackupError(f"{path} cannot be copied ({error})") from None


@contextmanager
def _snapshot(database: Database) -> Iterator[str]:
    """Hold one view of all tables for the block, on this thread's connection; its name, for pg_dump."""
    with database.connection():
        database.execute("SET idle_in_transaction_session_timeout = 0")
        database.execute("SET statement_timeout = 0")
        database.execute("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            row = database.one("SELECT pg_export_snapshot()")
            assert row is not None
            yield str(row[0])
        finally:
            database.execute("ROLLBACK")


def _describe(records: Database, folder: Path, now: Micros, *, copied: bool) -> tuple[About, list[Kept]]:
    """Write what the records say of themselves: heads, artifacts, and the description of the whole."""
    streams = write_lines(folder / HEADS, heads(records))
    kept = list(_artifacts(records))
    write_lines(folder / MANIFEST, kept)
    about = About(
        form="postgresql" if records.postgres else "sqlite",
        made_at=datetime.fromtimestamp(now // SECOND, UTC).isoformat(),
        history_id=history_of(records),
        schema=applied(records),
        streams=streams,
        artifacts=len(kept),
        artifact_bytes=sum(one.size_bytes for one in kept),
        copied=copied,
    )
    write(folder / ABOUT, msgspec.json.format(msgspec.json.encode(about)))
    return about, kept


def heads(records: Database) -> Iterator[ChainHead]:
    """The head of every chain, in the order of their ids."""
    after = "00000000-0000-0000-0000-000000000000"
    while rows := records.all(
        "SELECT id, kind, last_seq, last_hash FROM streams WHERE id > %s ORDER BY id LIMIT %s", after, _PAGE
    ):
        for id, kind, seq, digest in rows:
            yield ChainHead(stream_id=id, kind=kind, seq=seq, hash=digest)
        after = rows[-1][0]


def _artifacts(records: Database) -> Iterator[Kept]:
    after = "00000000-0000-0000-0000-000000000000"
    while rows := records.all(
        "SELECT artifacts.id, project_id, kind, size_bytes, digest, chunk_digests FROM artifacts"
        " LEFT JOIN artifact_declarations ON artifact_id = artifacts.id"
        " WHERE state = 'stored' AND artifacts.id > %s ORDER BY artifacts.id LIMIT %s",
        after,
        _PAGE,
    ):
        for id, project, kind, size, digest, chunks in rows:
            digests = bytes(chunks or b"").hex()
            yield Kept(id=id, project_id=project, kind=kind, size_bytes=size, digest=digest, chunk_digests=digests)
        after = rows[-1][0]


def _copied(blobs: Blobs, kept: Kept, folder: Path) -> bool:
    """Copy an artifact's chunks; False if it is gone by now. Raises `BackupError`."""
    digests, place = bytes.fromhex(kept.chunk_digests), folder / kept.id
    place.mkdir(parents=True)
    try:
        for number in range(count_of(kept.size_bytes)):
            chunk = chunk_of(number, kept.size_bytes, digests)
            with (place / str(number)).open("wb") as file:
                for block in blobs.read(kept.id, chunk, 0, chunk.size_bytes):
                    file.write(block)
    except KeyError:
        return False
    except StorageUnavailable as error:
        raise BackupError(f"artifact {kept.id} cannot be read from its store ({error})") from None
    return True
