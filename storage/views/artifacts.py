"""Artifacts: their records, and what one must know to take in or hand out their bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from domain.commands import ArchiveFile
from domain.ids import Id
from domain.states import ArchiveState
from domain.values import Subject
from fedyard.wire.chunks import CHUNK_BYTES, MAX_CHUNKS
from fedyard.wire.seals import readers_of, trimmed
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Archive, Artifact, ArtifactAbout, time_or_none
from storage.views.sight import (
    Clause,
    Cursor,
    Listed,
    Paging,
    acting_member_of,
    member_of,
    own,
    page,
    row,
    rows,
    sees_everything,
)

_ARTIFACT = (
    "SELECT artifacts.id, artifacts.project_id, artifacts.owner_site_id, artifacts.kind, artifacts.run_id, "
    "artifacts.task_seq, artifacts.round, artifacts.size_bytes, artifacts.digest, artifacts.state, "
    "artifacts.created_at, artifacts.stored_at, artifacts.expires_at, artifacts.expired_at, artifacts.reason, "
    "artifacts.message_id, archives.state, archives.version, archives.flaw FROM artifacts "
    "JOIN projects ON projects.id = artifacts.project_id "
    "LEFT JOIN archives ON archives.artifact_id = artifacts.id"
)
_DECLARED = (
    "SELECT artifacts.state, artifacts.size_bytes, artifacts.digest, artifact_declarations.chunk_digests, "
    "artifact_declarations.seal FROM artifacts JOIN projects ON projects.id = artifacts.project_id "
    "LEFT JOIN artifact_declarations ON artifact_declarations.artifact_id = artifacts.id"
)
_CHUNK = (
    "SELECT artifacts.state, artifacts.size_bytes, substr(artifact_declarations.chunk_digests, %s, 32) FROM artifacts "
    "LEFT JOIN artifact_declarations ON artifact_declarations.artifact_id = artifacts.id"
)


_INITIAL = "artifacts.kind = 'initial' AND artifacts.state <> 'expired'"
SHOWN_FILES = 100
"""Initial files that a project shows; the others are in the list of its artifacts."""


class Declared(NamedTuple):
    """What was declared of an artifact; without digests once it has expired."""

    state: str
    size_bytes: int
    digest: str
    chunk_digests: bytes
    seal: bytes | None


class Awaited(NamedTuple):
    """A chunk that is to come: the artifact's state and size, the chunk's SHA-256 ("" if there is no such chunk)."""

    state: str
    size_bytes: int
    sha256: str


def awaited(database: Database, subject: Subject, ident: Id, number: int) -> Awaited | None:
    """One chunk of an artifact of the subject's own."""
    number = min(number, MAX_CHUNKS)  # beyond all that can be declared, and within what a database counts in
    mine = [Clause("artifacts.id = %s", (ident,)), own("artifacts.owner_site_id", subject)]
    conditions = " AND ".join(clause.sql for clause in mine)
    values = [value for clause in mine for value in clause.params]
    with database.connection():
        found = database.one(f"{_CHUNK} WHERE {conditions}", number * 32 + 1, *values)
    return None if found is None else Awaited(found[0], found[1], bytes(found[2] or b"").hex())


def own_coordinator(database: Database, subject: Subject, project_id: Id) -> Id | None:
    """The site that coordinates the project, if the subject acts for it."""
    mine = own("projects.coordinator_site_id", subject)
    found = row(database, "SELECT coordinator_site_id FROM projects", [Clause("projects.id = %s", (project_id,)), mine])
    return None if found is None else str(found[0])


def owned(database: Database, subject: Subject, ident: Id) -> Declared | None:
    """An artifact of the subject's own."""
    return _declared(row(database, _DECLARED, [_by_id(ident), own("artifacts.owner_site_id", subject)]))


def is_checkpoint(database: Database, ident: Id, project_id: Id) -> bool:
    """A model that belongs to no run is what the project's own coordinator makes."""
    where = [_by_id(ident), Clause("project_id = %s AND kind = 'model' AND run_id IS NULL", (project_id,))]
    return row(database, "SELECT 1 FROM artifacts", where) is not None


def readable(database: Database, subject: Subject, ident: Id) -> Declared | None:
    """An artifact whose bytes the subject may have. To run the network, or to audit it, is not enough."""
    with database.connection():
        found = row(database, _DECLARED, [_by_id(ident), _meant_for(subject)])
        if found is None:
            found = row(database, _DECLARED, [_by_id(ident)])
            if found is None or not _is_recipient(database, subject, found[4]):
                return None
    return _declared(found)


def about(database: Database, subject: Subject, ident: Id) -> ArtifactAbout | None:
    """The record; who may have the bytes also gets the digests of the chunks, and the seal with its own wrap."""
    with database.connection():
        declared = readable(database, subject, ident)
        if declared is None and not sees_everything(subject):
            return None
        found = row(database, _ARTIFACT, [_by_id(ident)])
        if found is None:
            return None
        contents = database.one("SELECT state, files_json, detail FROM archives WHERE artifact_id = %s", ident)
    state, files, detail = contents if declared is not None and contents is not None else (None, "", None)
    seal = None if declared is None or declared.seal is None else trimmed(declared.seal, subject.id)
    return ArtifactAbout(
        **_fields(found),
        chunk_bytes=CHUNK_BYTES,
        chunk_digests=None if declared is None else declared.chunk_digests,
        seal=seal,
        downloads=None,
        files=msgspec.json.decode(files, type=list[ArchiveFile]) if state == ArchiveState.CHECKED else None,
        detail=detail,
    )


def artifacts(
    database: Database, subject: Subject, paging: Paging, *, project: Id | None, run: Id | None, kind: str | None
) -> Listed[Artifact]:
    """Those that the subject may see; who is only named in a seal finds an artifact by its id."""
    where = [] if sees_everything(subject) else [_meant_for(subject)]
    wanted = (("project_id", project), ("run_id", run), ("kind", kind))
    where += [Clause(f"artifacts.{column} = %s", (value,)) for column, value in wanted if value is not None]
    return page(
        database,
        _ARTIFACT,
        where,
        paging,
        lambda one: Artifact(**_fields(one)),
        order=("artifacts.created_at", "artifacts.id"),
        cursor_of=lambda one: Cursor(one[10], one[0]),
    )


def initial_files(database: Database, subject: Subject, project_id: Id) -> list[Artifact] | None:
    """Those of a project, the newest first; None unless the subject is an active member, or may see every record."""
    seen = [*member_of("projects.id", subject), Clause("projects.id = %s", (project_id,))]
    with database.connection():
        if row(database, "SELECT 1 FROM projects", seen) is None:
            return None
        where = [Clause("artifacts.project_id = %s", (project_id,)), Clause(_INITIAL)]
        found = rows(database, _ARTIFACT, where, "ORDER BY artifacts.created_at DESC LIMIT %s", SHOWN_FILES)
    return [Artifact(**_fields(one)) for one in found]


def is_initial_file(database: Database, project_id: Id, ident: Id) -> bool:
    """One of this project's? Whoever asks must be one who may read it."""
    where = [Clause("artifacts.project_id = %s", (project_id,)), _by_id(ident), Clause(_INITIAL)]
    return row(database, "SELECT 1 FROM artifacts", where) is not None


def states_of(database: Database, ids: Iterable[Id]) -> dict[Id, str]:
    """Of those that the records know."""
    with database.connection():
        found = database.all("SELECT id, state FROM artifacts WHERE id {any:uuid}", database.many(ids))
    return dict(found)


def _by_id(ident: Id) -> Clause:
    return Clause("artifacts.id = %s", (ident,))


def _meant_for(subject: Subject) -> Clause:
    """Its owner, the coordinator, whom it was sent to, and for initial files and models every active member."""
    owner, coordinator = own("artifacts.owner_site_id", subject), own("projects.coordinator_site_id", subject)
    receiver = own("inbox.site_id", subject)
    sent = (
        "EXISTS (SELECT 1 FROM messages JOIN inbox ON inbox.message_id = messages.id "
        f"WHERE messages.artifact_id = artifacts.id AND {receiver.sql})"
    )
    member = acting_member_of("artifacts.project_id", subject)
    return Clause(
        f"({owner.sql} OR {coordinator.sql} OR {sent} OR (artifacts.kind IN ('initial', 'model') AND {member.sql}))",
        (*owner.params, *coordinator.params, *receiver.params, *member.params),
    )


def _is_recipient(database: Database, subject: Subject, seal: bytes | None) -> bool:
    """A site that the seal names, or somebody who acts for one."""
    if seal is None:
        return False
    named = readers_of(bytes(seal))
    if subject.kind == "site":
        return subject.id in named
    acting = own("sites.id", subject)
    found = database.one(
        f"SELECT 1 FROM sites WHERE id {{any:uuid}} AND {acting.sql}", database.many(named), *acting.params
    )
    return found is not None


def _declared(found: Row | None) -> Declared | None:
    if found is None:
        return None
    state, size_bytes, digest, chunk_digests, seal = found
    return Declared(state, size_bytes, digest, bytes(chunk_digests or b""), None if seal is None else bytes(seal))


def _fields(one: Row) -> dict[str, Any]:
    ident, project, owner, kind, run, task, number, size, digest, state, created, stored, expires, expired, *rest = one
    reason, message, archive, version, flaw = rest
    return {
        "id": ident,
        "project_id": project,
        "owner_site_id": owner,
        "kind": kind,
        "run_id": run,
        "task_seq": task,
        "round": number,
        "size_bytes": size,
        "digest": digest,
        "state": state,
        "created_at": time_text(created),
        "stored_at": time_or_none(stored),
        "expires_at": time_or_none(expires),
        "expired_at": time_or_none(expired),
        "reason": reason,
        "message_id": message,
        "archive": None if archive is None else Archive(state=archive, version=version, flaw=flaw),
    }
