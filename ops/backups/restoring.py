"""`fedyard-hub restore`: a backup becomes a hub's records again, as a new history, with what was there put aside.

SQLite: a marker is written, what is there is moved into a folder beside, the copies take its place, the marker goes;
no hub starts while there is a marker, and a restore that was cut off is simply run again. PostgreSQL: the schema
`public` is renamed and a new one filled, in one transaction. Nothing is ever deleted.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from config.processes import WORKERS
from devservers.tools import PostgresTools
from fedyard.wire.chunks import chunks_of
from fedyard.wire.durable import to_disk
from ops.backups.content import CHUNKS, JOURNAL, MANIFEST, RECORDS, BackupError, Kept, about, changed_files, read_lines
from ops.backups.history import new_history
from ops.place import RESTORING
from storage.blobs.port import Blobs
from storage.database import Database, open_database

OURS = tuple(f"fedyard {role}" for role in ("web", *WORKERS, "listen"))
"""How a hub's connections are named."""
EMPTY_SCHEMA = "CREATE SCHEMA IF NOT EXISTS public;\n"
_BESIDE = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Files:
    """Where an embedded hub keeps its own. data: its folder, whose lock the caller holds."""

    data: Path
    records: Path
    journal: Path | None


def prove_files(folder: Path) -> None:
    """Raises `BackupError` unless every file of the backup is as it was written."""
    about(folder)
    faults = list(changed_files(folder))
    if faults:
        raise BackupError(f"{folder} is not restored: {faults[0]}; see fedyard-hub backup check {folder}")


def restore_files(folder: Path, files: Files, stamp: str, history_id: str, now: int, *, replace: bool) -> str | None:
    """Put a backup of an embedded hub into its place; where what was there is now, None if nothing was.

    Raises `BackupError`.
    """
    if about(folder).form != "sqlite":
        raise BackupError(f"{folder} holds records of PostgreSQL: name the database with FEDYARD_DATABASE_URL")
    marker = files.data / RESTORING
    aside = files.data / _free(f"before-restore-{stamp}", {path.name for path in files.data.glob("before-restore-*")})
    there = [path for path in _family(files) if path.exists()]
    if there and not (replace or marker.exists()):
        raise BackupError(f"{there[0]} is there already: with --replace it is put aside")
    growing = files.records.with_name(f"{files.records.name}.restored")
    try:
        files.records.parent.mkdir(parents=True, exist_ok=True)
        _copy(folder / RECORDS["sqlite"], growing)
        with closing(sqlite3.connect(growing)) as db:
            db.executescript(f"BEGIN IMMEDIATE; {new_history(about(folder), history_id, now)} COMMIT;")
        marker.write_text(f"{folder.resolve()}\n")
        to_disk(files.data)
        if there:
            aside.mkdir(mode=0o700)
            for path in there:
                path.rename(aside / path.name)
            to_disk(aside)
        if files.journal is not None and (folder / JOURNAL).exists():
            _copy(folder / JOURNAL, files.journal)
        growing.rename(files.records)
        to_disk(files.records.parent)
        marker.unlink()
    except OSError as error:
        raise BackupError(f"{error.filename} cannot be written ({error.strerror}): run the restore again") from None
    except sqlite3.Error as error:
        raise BackupError(f"the records in {folder} cannot be used ({error})") from None
    return str(aside) if there else None


def _free(name: str, taken: Collection[str]) -> str:
    """The name, or with a number where a restore of the same second has it: nothing put aside is written over."""
    names = chain([name], (f"{name}_{number}" for number in count(2)))
    return next(one for one in names if one not in taken)


def _family(files: Files) -> Iterator[Path]:
    """The files of records and journal, with what SQLite keeps beside them."""
    for file in (files.records, files.journal):
        if file is not None:
            yield from (file.with_name(file.name + ending) for ending in _BESIDE)


def _copy(source: Path, target: Path) -> None:
    """A whole file, on disk, for its owner only."""
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with source.open("rb") as reading, part.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1_048_576)
        writing.flush()
        os.fsync(writing.fileno())
    part.rename(target)


def restore_database(folder: Path, url: str, stamp: str, history_id: str, now: int, *, replace: bool) -> str | None:
    """Put a backup of PostgreSQL into the database of that URL; where what was there is now, None if nothing was.

    Raises `BackupError`, `ServerError`, `DatabaseUnavailable`.
    """
    if about(folder).form != "postgresql":
        raise BackupError(f"{folder} holds records of SQLite: it is restored to an embedded hub")
    database = open_database(url, pool=1, name="fedyard restore")
    try:
        with database.connection():
            _refuse_while_used(database)
            there = database.one("SELECT to_regclass('public.streams') IS NOT NULL") == (True,)
            schemas = {str(row[0]) for row in database.all("SELECT nspname FROM pg_namespace")}
    finally:
        database.close()
    if there and not replace:
        raise BackupError("the database holds a hub's records already: with --replace they are put aside")
    aside = _free(f"before_restore_{stamp.lower()}", schemas) if there else None
    before = f'ALTER SCHEMA public RENAME TO "{aside}";\nCREATE SCHEMA public;\n' if aside else EMPTY_SCHEMA
    PostgresTools(url).restore(
        folder / RECORDS["postgresql"], before=before, after=new_history(about(folder), history_id, now)
    )
    return aside and f"the schema {aside} of the database"


def _refuse_while_used(database: Database) -> None:
    names = {
        str(row[0])
        for row in database.all(
            "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
        )
    }
    using = sorted(name for name in names if name.startswith(OURS))
    if using:
        raise BackupError(
            f"a hub works on this database ({', '.join(using)}): stop it first, with Ctrl-C or SIGTERM to make up, or "
            "by stopping its units"
        )


def restore_chunks(folder: Path, blobs: Blobs) -> int:
    """Bring back the chunks of artifacts that the backup holds and the store lacks; how many.

    Raises `BackupError`, `StorageUnavailable`, `StorageFull`.
    """
    restored = 0
    for kept in read_lines(folder / MANIFEST, Kept):
        there = blobs.have(kept.id)
        for chunk in chunks_of(kept.size_bytes, bytes.fromhex(kept.chunk_digests)) if kept.chunk_digests else ():
            path = folder / CHUNKS / kept.id / str(chunk.number)
            if there.get(chunk.number) == chunk.sha256 or not path.is_file():
                continue
            with path.open("rb") as content:
                blobs.put(kept.id, chunk, content, start=0, length=chunk.size_bytes)
            restored += 1
    return restored
