"""`fedyard-hub backup check`: proves a backup without the hub that it was made of.

Its files are those that were written; its records can be read; every chain of events in them is whole and ends at
the head that the backup lists; what artifacts it names are in the store, or in the backup itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from devservers.postgres import PrivatePostgres
from devservers.process import ServerError, temporary_folder
from devservers.tools import PostgresTools
from fedyard.wire.chunks import chunks_of
from ops.backups.content import (
    CHUNKS,
    HEADS,
    MANIFEST,
    RECORDS,
    About,
    ChainHead,
    Kept,
    about,
    changed_files,
    digest_of,
    read_lines,
)
from ops.backups.making import heads
from ops.backups.restoring import EMPTY_SCHEMA
from storage.audit import verify
from storage.blobs.port import Blobs
from storage.database import Database, open_copy, open_database
from storage.migrate import applied


def check_backup(folder: Path, blobs: Blobs | None) -> Iterator[str]:
    """One sentence for each fault; none means that the backup is good. blobs: the hub's store of artifacts.

    Raises `BackupError` if it is no backup at all, and `ServerError` where PostgreSQL is needed and not installed.
    """
    found = about(folder)
    faulty = False
    for fault in changed_files(folder):
        faulty = True
        yield fault
    if faulty:
        return  # what was changed need not be understood
    with ExitStack() as stack:
        try:
            records = stack.enter_context(records_of(folder, found))
        except ServerError as error:
            yield f"the records cannot be restored: {error}"
            return
        yield from _check_records(records, folder, found)
    yield from _missing_artifacts(folder, found, blobs)


@contextmanager
def records_of(folder: Path, found: About) -> Iterator[Database]:
    """A backup's records to read: SQLite's where they lie, PostgreSQL's in a server that ends with the block."""
    file = folder / RECORDS[found.form]
    if found.form == "sqlite":
        yield open_copy(file)
        return
    PostgresTools().listed(file)
    place = temporary_folder()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        server = PrivatePostgres(place / "postgres", durable=False)
        server.start()
        stack.callback(server.stop)
        url = server.database("backup")
        PostgresTools(url).restore(file, before=EMPTY_SCHEMA, after="")
        records = open_database(url, pool=2, name="fedyard backup check")
        stack.callback(records.close)
        yield records


def _check_records(records: Database, folder: Path, found: About) -> Iterator[str]:
    if not records.postgres:
        with records.connection():
            yield from (f"the records: {row[0]}" for row in records.all("PRAGMA integrity_check(3)") if row[0] != "ok")
    yield from verify(records)
    with records.connection():
        listed = {head.stream_id: head for head in read_lines(folder / HEADS, ChainHead)}
        there = {head.stream_id: head for head in heads(records)}
        schema = applied(records)
    for stream_id in sorted(set(listed) | set(there)):
        if listed.get(stream_id) != there.get(stream_id):
            ends = f"the records end at {_end(there.get(stream_id))}, the backup lists {_end(listed.get(stream_id))}"
            yield f"stream {stream_id}: {ends}"
    if schema != found.schema:
        yield f"the records have the schema {', '.join(schema)}, the backup lists {', '.join(found.schema)}"


def _end(head: ChainHead | None) -> str:
    return "no events" if head is None else f"event {head.seq} ({head.hash[:16]})"


def _missing_artifacts(folder: Path, found: About, blobs: Blobs | None) -> Iterator[str]:
    """Artifacts of which a chunk is neither in the backup nor in the store."""
    if not found.copied and blobs is None:
        return
    for kept in read_lines(folder / MANIFEST, Kept):
        digests = bytes.fromhex(kept.chunk_digests)
        wanted = {chunk.number: chunk.sha256 for chunk in chunks_of(kept.size_bytes, digests)} if digests else {}
        missing = {
            number for number, digest in wanted.items() if not _has(folder / CHUNKS / kept.id / str(number), digest)
        }
        if missing and blobs is not None:
            there = blobs.have(kept.id)
            missing = {number for number in missing if there.get(number) != wanted[number]}
        if missing:
            about_it = f"artifact {kept.id} ({kept.kind}, {kept.size_bytes} bytes)"
            yield f"{about_it}: {len(missing)} of {len(wanted)} chunks are missing"


def _has(path: Path, digest: str) -> bool:
    return path.is_file() and digest_of(path) == digest
