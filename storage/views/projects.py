"""Projects and their members."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import msgspec

from domain.ids import Id
from domain.values import Infrastructure, Micros, Subject, TaskSpec
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Membership, Project, time_or_none
from storage.views.sight import (
    Clause,
    Cursor,
    Listed,
    Paging,
    member_of,
    own,
    page,
    projects_seen,
    row,
    rows,
    sees_everything,
)

_PROJECT = (
    "SELECT projects.id, projects.organisation_id, projects.coordinator_site_id, projects.name, projects.description, "
    "projects.data_format, projects.client_image, projects.joining, projects.max_live_runs, projects.tasks_json, "
    "projects.last_run_number, projects.created_at, projects.archived_at, projects.version, projects.sealed, "
    "projects.infrastructure_json, boss.name, boss.identity_key FROM projects "
    "JOIN sites boss ON boss.id = projects.coordinator_site_id"
)
_MEMBERSHIP = (
    "SELECT memberships.project_id, memberships.site_id, sites.name, memberships.role, memberships.state, "
    "memberships.notes, memberships.created_at, memberships.state_at, sites.organisation_id, memberships.ready_until, "
    "sites.identity_key "
    "FROM memberships JOIN sites ON sites.id = memberships.site_id"
)


def projects(
    database: Database,
    subject: Subject,
    paging: Paging,
    *,
    name: str | None,
    coordinator: Id | None,
    member: Id | None,
    newest_first: bool = False,
) -> Listed[Project]:
    """member: only of sites whose membership the subject may know, which are its own and those beside it."""
    where = projects_seen(subject)
    if name is not None:
        where.append(Clause("projects.name = %s", (name,)))
    if coordinator is not None:
        where.append(Clause("projects.coordinator_site_id = %s", (coordinator,)))
    if member is not None:
        has = "SELECT project_id FROM memberships WHERE state = 'active' AND site_id = %s"
        where.append(Clause(f"projects.id IN ({has})", (member,)))
        where.extend(member_of("projects.id", subject))
    return page(
        database,
        _PROJECT,
        where,
        paging,
        _project,
        order=("projects.created_at", "projects.id"),
        cursor_of=lambda one: Cursor(one[11], one[0]),
        newest_first=newest_first,
    )


def project(database: Database, subject: Subject, ident: Id) -> Project | None:
    found = row(database, _PROJECT, [*projects_seen(subject), Clause("projects.id = %s", (ident,))])
    return None if found is None else _project(found)


def names_of(database: Database, subject: Subject, idents: Collection[Id]) -> dict[Id, str]:
    """Of these ids the names of the projects that the subject sees."""
    named = Clause("projects.id {any:uuid}", (database.many(idents),))
    found = rows(database, "SELECT projects.id, projects.name FROM projects", [*projects_seen(subject), named])
    return {one[0]: one[1] for one in found}


def members(
    database: Database, subject: Subject, project_id: Id, paging: Paging, *, state: str | None = None
) -> Listed[Membership] | None:
    """None unless the subject is a member (or may see everything).

    Notes are for the coordinator, from the site that wrote them: nobody else reads them.
    """
    seen = [*member_of("projects.id", subject), Clause("projects.id = %s", (project_id,))]
    if row(database, "SELECT 1 FROM projects", seen) is None:
        return None
    all_notes = coordinates(database, subject, project_id)
    of_state = [] if state is None else [Clause("memberships.state = %s", (state,))]
    return page(
        database,
        _MEMBERSHIP,
        [Clause("memberships.project_id = %s", (project_id,)), *of_state],
        paging,
        lambda one: _membership(one, subject, all_notes=all_notes),
        order=("memberships.created_at", "memberships.site_id"),
        cursor_of=lambda one: Cursor(one[6], one[1]),
    )


class Counted(NamedTuple):
    """Members of a project with one state and role."""

    state: str
    role: str
    number: int


def counts(database: Database, subject: Subject, projects: Sequence[Id]) -> dict[Id, list[Counted]]:
    """The members of those of the projects in which the subject is one (or may see everything)."""
    of_these = Clause("memberships.project_id {any:uuid}", (database.many(projects),))
    seen = [of_these, *member_of("memberships.project_id", subject)]
    select = "SELECT memberships.project_id, memberships.state, memberships.role, count(*) FROM memberships"
    found: dict[Id, list[Counted]] = {}
    for project_id, state, role, count in rows(
        database, select, seen, "GROUP BY memberships.project_id, memberships.state, memberships.role"
    ):
        found.setdefault(project_id, []).append(Counted(state, role, int(count)))
    return found


def coordinates(database: Database, subject: Subject, ident: Id) -> bool:
    """Does the subject act for the site that coordinates the project?"""
    mine = [Clause("projects.id = %s", (ident,)), own("projects.coordinator_site_id", subject)]
    return row(database, "SELECT 1 FROM projects", mine) is not None


def may_see_project_events(database: Database, subject: Subject, ident: Id) -> bool:
    """The coordinator, admins and auditors."""
    mine = [] if sees_everything(subject) else [own("projects.coordinator_site_id", subject)]
    return row(database, "SELECT 1 FROM projects", [*mine, Clause("projects.id = %s", (ident,))]) is not None


def count_active(database: Database, ident: Id) -> int:
    """Active members of a project. Whoever asks for more than a count must be one who may see them."""
    with database.connection():
        found = database.one("SELECT count(*) FROM memberships WHERE project_id = %s AND state = 'active'", ident)
    return 0 if found is None else int(found[0])


def taken(database: Database, ident: Id) -> tuple[int, int]:
    """Bytes and number of a project's artifacts. Whoever asks must be one who may see the members."""
    with database.connection():
        found = database.one("SELECT live_bytes, live_count FROM artifact_totals WHERE project_id = %s", ident)
    return (0, 0) if found is None else (int(found[0]), int(found[1]))


class Readiness(NamedTuple):
    """Active members of a project, those that say they are ready, and the earliest deadline of a live round."""

    members: int
    ready: int
    deadline_at: Micros | None


def readiness(database: Database, ident: Id, now: Micros) -> Readiness:
    """Whoever asks must be one who may see the members."""
    with database.connection():
        members = database.one(
            "SELECT count(*), coalesce(sum(CASE WHEN ready_until > %s THEN 1 ELSE 0 END), 0) FROM memberships"
            " WHERE project_id = %s AND state = 'active' AND role <> 'workload'",
            now,
            ident,
        )
        deadline = database.one(
            "SELECT min(rounds.deadline_at) FROM rounds JOIN runs ON runs.id = rounds.run_id"
            " WHERE runs.project_id = %s AND runs.state = 'running' AND rounds.ended_at IS NULL",
            ident,
        )
        led = database.one(
            "SELECT min(deadline_at) FROM project_rounds WHERE project_id = %s"
            " AND state IN ('selection', 'configuration', 'reporting')",
            ident,
        )
    assert members is not None, "a count has a row"
    deadlines = [one[0] for one in (deadline, led) if one is not None and one[0] is not None]
    return Readiness(int(members[0]), int(members[1]), min(deadlines, default=None))


def may_see_members(database: Database, subject: Subject, ident: Id) -> bool:
    """The members, admins and auditors."""
    seen = [*member_of("projects.id", subject), Clause("projects.id = %s", (ident,))]
    return row(database, "SELECT 1 FROM projects", seen) is not None


def _project(one: Row) -> Project:
    ident, of, coordinator, name, description, data_format, image, joining, live, *rest = one
    tasks, last, at, archived, version, sealed, infrastructure, coordinator_name, identity_key = rest
    return Project(
        id=ident,
        organisation_id=of,
        coordinator_site_id=coordinator,
        coordinator_name=coordinator_name,
        coordinator_identity_key=identity_key,
        name=name,
        description=description,
        data_format=data_format,
        client_image=image,
        joining=joining,
        max_live_runs=live,
        tasks=msgspec.json.decode(tasks, type=list[TaskSpec]),
        last_run_number=last,
        created_at=time_text(at),
        archived_at=time_or_none(archived),
        version=version,
        sealed=sealed,
        infrastructure=msgspec.json.decode(infrastructure, type=Infrastructure) if infrastructure else None,
    )


def _membership(one: Row, subject: Subject, *, all_notes: bool) -> Membership:
    project_id, site_id, site_name, role, state, notes, *rest = one
    created_at, state_at, organisation_id, ready_until, identity_key = rest
    mine = site_id == subject.id if subject.kind == "site" else _acts_for_sites_of(subject, organisation_id)
    return Membership(
        project_id=project_id,
        site_id=site_id,
        site_name=site_name,
        role=role,
        state=state,
        notes=notes if all_notes or mine else None,
        created_at=time_text(created_at),
        state_at=time_text(state_at),
        ready_until=time_or_none(ready_until),
        identity_key=identity_key,
    )


def _acts_for_sites_of(subject: Subject, organisation_id: Id) -> bool:
    return subject.role != "auditor" and subject.organisation_id == organisation_id
