"""Architectures and configurations of a project. Code is shown to its members, who are to run it."""

from __future__ import annotations

import msgspec

from domain.ids import Id, Uuid
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.projects import may_see_members
from storage.views.resources import Resource, Time
from storage.views.sight import Clause, Listed, acting_member_of, row, rows

_ids_decoder = msgspec.json.Decoder(list[Id])


class Architecture(Resource, frozen=True):
    """A model that can be trained. number: its id for Kafka-ML's programs. father_id: of what it feeds, in a chain.
    version: its newest; sha256: of that one's imports and code, with a zero byte between."""

    id: Uuid
    number: int
    project_id: Uuid
    name: str
    description: str
    framework: str
    distributed: bool
    father_id: Uuid | None
    version: int
    sha256: str
    created_by: Uuid
    created_at: Time
    changed_at: Time


class ArchitectureVersion(Resource, frozen=True):
    """What an architecture's code was in a version. imports, code: null for who is no member of the project."""

    architecture_id: Uuid
    version: int
    framework: str
    distributed: bool
    imports: str | None
    code: str | None
    sha256: str
    created_by: Uuid
    created_at: Time


class Configuration(Resource, frozen=True):
    """Architectures that are trained together. number: its id for Kafka-ML's programs."""

    id: Uuid
    number: int
    project_id: Uuid
    name: str
    description: str
    architecture_ids: list[Uuid]
    created_by: Uuid
    created_at: Time
    changed_at: Time


_ARCHITECTURE = (
    "SELECT architectures.id, number, project_id, name, description, architectures.framework,"
    " architectures.distributed, father_id, architectures.version, sha256, architectures.created_by,"
    " architectures.created_at, changed_at FROM architectures JOIN architecture_versions"
    " ON architecture_id = architectures.id AND architecture_versions.version = architectures.version"
)
_VERSION = (
    "SELECT architecture_id, architecture_versions.version, architecture_versions.framework,"
    " architecture_versions.distributed, imports, code, sha256, architecture_versions.created_by,"
    " architecture_versions.created_at FROM architecture_versions"
    " JOIN architectures ON architectures.id = architecture_id"
)
_CONFIGURATION = (
    "SELECT id, number, project_id, name, description, architectures_json, created_by, created_at, changed_at"
    " FROM configurations"
)
_SHOWN = Clause("deleted_at IS NULL")


def architectures_of(database: Database, subject: Subject, project: Id) -> Listed[Architecture] | None:
    """All of them, oldest first; None if the caller may not know of them."""
    if not may_see_members(database, subject, project):
        return None
    found = rows(database, _ARCHITECTURE, [Clause("project_id = %s", (project,)), _SHOWN], "ORDER BY number")
    return Listed(items=[_architecture(one) for one in found], next=None)


def architecture(database: Database, subject: Subject, project: Id, key: Id) -> Architecture | None:
    if not may_see_members(database, subject, project):
        return None
    found = row(database, _ARCHITECTURE, [Clause("architectures.id = %s AND project_id = %s", (key, project)), _SHOWN])
    return None if found is None else _architecture(found)


def version_of(database: Database, subject: Subject, project: Id, key: Id, version: int) -> ArchitectureVersion | None:
    """Also of an architecture that was deleted since. None if there is none that the caller may know of."""
    if not may_see_members(database, subject, project):
        return None
    wanted = Clause(
        "architecture_id = %s AND project_id = %s AND architecture_versions.version = %s", (key, project, version)
    )
    found = row(database, _VERSION, [wanted])
    if found is None:
        return None
    member = acting_member_of("projects.id", subject)
    reads = row(database, "SELECT id FROM projects", [Clause("id = %s", (project,)), member]) is not None
    return _version(found, reads=reads)


def configurations_of(database: Database, subject: Subject, project: Id) -> Listed[Configuration] | None:
    """All of them, oldest first; None if the caller may not know of them."""
    if not may_see_members(database, subject, project):
        return None
    found = rows(database, _CONFIGURATION, [Clause("project_id = %s", (project,)), _SHOWN], "ORDER BY number")
    return Listed(items=[_configuration(one) for one in found], next=None)


def configuration(database: Database, subject: Subject, project: Id, key: Id) -> Configuration | None:
    if not may_see_members(database, subject, project):
        return None
    found = row(database, _CONFIGURATION, [Clause("id = %s AND project_id = %s", (key, project)), _SHOWN])
    return None if found is None else _configuration(found)


def _architecture(one: Row) -> Architecture:
    key, number, project, name, about, framework, distributed, father, version, sha256, by, at, changed_at = one
    return Architecture(
        id=key,
        number=number,
        project_id=project,
        name=name,
        description=about,
        framework=framework,
        distributed=bool(distributed),
        father_id=father,
        version=version,
        sha256=sha256,
        created_by=by,
        created_at=time_text(at),
        changed_at=time_text(changed_at),
    )


def _version(one: Row, *, reads: bool) -> ArchitectureVersion:
    key, version, framework, distributed, imports, code, sha256, by, at = one
    return ArchitectureVersion(
        architecture_id=key,
        version=version,
        framework=framework,
        distributed=bool(distributed),
        imports=imports if reads else None,
        code=code if reads else None,
        sha256=sha256,
        created_by=by,
        created_at=time_text(at),
    )


def _configuration(one: Row) -> Configuration:
    key, number, project, name, about, architectures, by, at, changed_at = one
    return Configuration(
        id=key,
        number=number,
        project_id=project,
        name=name,
        description=about,
        architecture_ids=_ids_decoder.decode(architectures),
        created_by=by,
        created_at=time_text(at),
        changed_at=time_text(changed_at),
    )
