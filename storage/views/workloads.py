"""Workloads and what became of their attempts: for those who coordinate their project, admins, auditors, and the site
that one runs at. What an attempt wrote is for people of the coordinator's and of that site alone."""

from __future__ import annotations

import msgspec

from domain import records as r
from domain.ids import Id
from domain.infrastructure import COORDINATOR, PARTS
from domain.states import WORKLOAD_LIVE, WorkloadState
from domain.values import Subject, WorkloadSpec
from domain.workloads import AT_SITE, addresses_of, spec_of, wanted_of
from fedyard.cluster.plan import Wanted
from fedyard.cluster.port import Reason
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.tables import COLUMNS
from storage.views.people import Leading
from storage.views.resources import RunningPart, Workload, WorkloadAttempt, WorkloadLog, time_or_none
from storage.views.sight import Clause, Cursor, Listed, Paging, own, page, row, rows, sees_everything

AT_ONCE = 1000
"""Attempts that a site is told of: more are never there at once, by the limits of projects."""
_WIDTH = len(COLUMNS[r.Workload])
_BOTH = ", ".join(
    [f"workloads.{name}" for name in COLUMNS[r.Workload]] + [f"attempts.{name}" for name in COLUMNS[r.WorkloadAttempt]]
)
_WORKLOADS = (
    f"SELECT {_BOTH} FROM workloads JOIN workload_attempts AS attempts"
    " ON attempts.workload_id = workloads.id AND attempts.attempt = workloads.attempt"
)
_ATTEMPTS = f"SELECT {', '.join(COLUMNS[r.WorkloadAttempt])} FROM workload_attempts"
_WANTED = f"SELECT {_BOTH} FROM workload_attempts AS attempts JOIN workloads ON workloads.id = attempts.workload_id"
_events_decoder = msgspec.json.Decoder(list[str])


def of_project(
    database: Database, subject: Subject, project: Id, paging: Paging, state: str | None
) -> Listed[Workload] | None:
    """Its workloads, from old to new; None if the caller may not know of them."""
    where = [Clause("id = %s", (project,))]
    where += [] if sees_everything(subject) else [own("coordinator_site_id", subject)]
    if row(database, "SELECT id FROM projects", where) is None:
        return None
    of_state = [] if state is None else [Clause("workloads.state = %s", (state,))]
    return page(
        database,
        _WORKLOADS,
        [Clause("workloads.project_id = %s", (project,)), *of_state],
        paging,
        _workload,
        order=("workloads.created_at", "workloads.id"),
        cursor_of=lambda one: Cursor(one[_CREATED_AT], one[0]),
    )


def workload(database: Database, subject: Subject, ident: Id) -> Workload | None:
    found = row(database, _WORKLOADS, [Clause("workloads.id = %s", (ident,)), *_seen(subject)])
    return None if found is None else _workload(found)


def holding(database: Database, site: Id) -> Workload | None:
    """The workload an attempt of which is that site, for people of the hub; None: it is none."""
    held = "workloads.id IN (SELECT workload_id FROM workload_attempts WHERE site_id = %s)"
    found = row(database, _WORKLOADS, [Clause(held, (site,))])
    return None if found is None else _workload(found)


def parts(database: Database, project: Id) -> list[RunningPart]:
    """Of a project's infrastructure. Whoever asks must be one who may see the members."""
    where = [Clause("workloads.project_id = %s AND workloads.part <> ''", (project,))]
    newest: dict[str, RunningPart] = {}
    for one in rows(database, _WORKLOADS, where, "ORDER BY workloads.created_at, workloads.id"):
        found = _workload(one)
        (part,) = [each for each in PARTS if each == one[_PART]]
        newest[part] = RunningPart(
            part=part,
            workload_id=found.id,
            where=found.where,
            state=found.state,
            stop_at=found.stop_at,
            ready=found.ready,
            replicas=found.spec.replicas,
            addresses=found.addresses if found.state in WORKLOAD_LIVE else {},
            reason=found.reason,
            detail=found.detail,
        )
    return [newest[part] for part in PARTS if part in newest]


def coordinator_of_part(database: Database, ident: Id) -> tuple[int, Id] | None:
    """The attempt that is wanted of a part of a project's infrastructure, and the site that coordinates the project."""
    where = [Clause("workloads.id = %s AND workloads.part <> '' AND workloads.ended_at IS NULL", (ident,))]
    found = row(
        database,
        "SELECT workloads.attempt, projects.coordinator_site_id FROM workloads"
        " JOIN projects ON projects.id = workloads.project_id",
        where,
    )
    return None if found is None else (found[0], found[1])


def leading(database: Database, ident: Id) -> tuple[Leading, Subject] | None:
    """The attempt that is wanted of a project's own coordinator, and the site in whose name it leads the rounds."""
    where = [Clause("workloads.id = %s AND workloads.part = %s AND workloads.ended_at IS NULL", (ident, COORDINATOR))]
    found = row(
        database,
        "SELECT workloads.project_id, workloads.attempt, sites.id, sites.organisation_id FROM workloads"
        " JOIN projects ON projects.id = workloads.project_id JOIN sites ON sites.id = projects.coordinator_site_id",
        where,
    )
    if found is None:
        return None
    project, attempt, site, organisation = found
    return Leading(project, ident, attempt), Subject(kind="site", id=site, organisation_id=organisation)


def project_of(database: Database, ident: Id) -> Id | None:
    found = row(database, "SELECT project_id FROM workloads", [Clause("id = %s", (ident,))])
    return None if found is None else found[0]


def attempts(database: Database, subject: Subject, ident: Id) -> Listed[WorkloadAttempt] | None:
    """All of them, the oldest first; None if the caller may not know of the workload."""
    if workload(database, subject, ident) is None:
        return None
    found = rows(database, _ATTEMPTS, [Clause("workload_id = %s", (ident,))], "ORDER BY attempt")
    return Listed(items=[_attempt(r.WorkloadAttempt(*one)) for one in found], next=None)


def log(database: Database, subject: Subject, ident: Id, attempt: int | None) -> WorkloadLog | None:
    """What an attempt left, of the newest one if none is named; None if there is none for this caller."""
    found = row(database, _WORKLOADS, [Clause("workloads.id = %s", (ident,)), *_seen(subject)])
    if found is None:
        return None
    of, newest = r.Workload(*found[:_WIDTH]), r.WorkloadAttempt(*found[_WIDTH:])
    number = newest.attempt if attempt is None else attempt
    which = Clause("workload_id = %s AND attempt = %s", (ident, number))
    there = row(database, "SELECT kept_at FROM workload_attempts", [which])
    if there is None:
        return None
    kept = row(database, "SELECT log, events_json FROM workload_evidence", [which])
    reads = _reads(database, subject, of)
    return WorkloadLog(
        workload_id=ident,
        attempt=number,
        kept_at=time_or_none(there[0]),
        size_bytes=None if kept is None else len(kept[0]),
        log=bytes(kept[0]) if kept is not None and reads else None,
        events=_events_decoder.decode(kept[1]) if kept is not None else [],
    )


def wanted_at(database: Database, site: Id) -> list[Wanted]:
    """What the site's agent compares its cluster with: what shall run there, and what shall go."""
    where = [Clause("workloads.cluster = %s AND attempts.gone_at IS NULL", (f"{AT_SITE}{site}",))]
    found = rows(database, _WANTED, where, "ORDER BY attempts.created_at, workloads.id LIMIT %s", AT_ONCE)
    return [wanted_of(r.Workload(*one[:_WIDTH]), r.WorkloadAttempt(*one[_WIDTH:]), site) for one in found]


def workloads_by_state(database: Database) -> dict[str, int]:
    """How many there are."""
    return dict(rows(database, "SELECT state, count(*) FROM workloads", [], "GROUP BY state"))


def _seen(subject: Subject) -> list[Clause]:
    if sees_everything(subject):
        return []
    mine, here = own("projects.coordinator_site_id", subject), _at_own_site(subject)
    coordinates = f"workloads.project_id IN (SELECT id FROM projects WHERE {mine.sql})"
    return [Clause(f"({coordinates} OR {here.sql})", (*mine.params, *here.params))]


def _at_own_site(subject: Subject) -> Clause:
    if subject.kind == "site":
        return Clause("workloads.cluster = %s", (f"{AT_SITE}{subject.id}",))
    sites = own("sites.id", subject)
    inside = f"SELECT '{AT_SITE}' || CAST(sites.id AS TEXT) FROM sites WHERE {sites.sql}"
    return Clause(f"workloads.cluster IN ({inside})", sites.params)


def _reads(database: Database, subject: Subject, of: r.Workload) -> bool:
    """Who acts for the coordinator, or for the site that it runs at. To run or audit the network is not enough."""
    sites = [of.cluster.removeprefix(AT_SITE)] if of.cluster.startswith(AT_SITE) else []
    coordinator = row(database, "SELECT coordinator_site_id FROM projects", [Clause("id = %s", (of.project_id,))])
    sites += [coordinator[0]] if coordinator is not None else []
    return any(
        row(database, "SELECT id FROM sites", [Clause("id = %s", (site,)), own("id", subject)]) is not None
        for site in sites
    )


_PART = list(COLUMNS[r.Workload]).index("part")
_CREATED_AT = list(COLUMNS[r.Workload]).index("created_at")


def _workload(one: Row) -> Workload:
    of, newest = r.Workload(*one[:_WIDTH]), r.WorkloadAttempt(*one[_WIDTH:])
    spec: WorkloadSpec = spec_of(of)
    return Workload(
        id=of.id,
        project_id=of.project_id,
        name=of.name,
        where=of.cluster,
        spec=spec,
        state=WorkloadState(of.state),
        state_at=time_text(of.state_at),
        created_at=time_text(of.created_at),
        attempt=of.attempt,
        next_at=time_or_none(of.next_at if of.state == WorkloadState.WANTED else None),
        stop_at=time_or_none(of.stop_at),
        stop_reason=of.stop_reason,
        ended_at=time_or_none(of.ended_at),
        reason=Reason(of.reason),
        detail=of.detail,
        exit_code=of.exit_code,
        ready=newest.ready,
        addresses=addresses_of(newest),
    )


def _attempt(one: r.WorkloadAttempt) -> WorkloadAttempt:
    return WorkloadAttempt(
        attempt=one.attempt,
        state=WorkloadState(one.state),
        state_at=time_text(one.state_at),
        created_at=time_text(one.created_at),
        started_at=time_or_none(one.started_at),
        ended_at=time_or_none(one.ended_at),
        kept_at=time_or_none(one.kept_at),
        gone_at=time_or_none(one.gone_at),
        reason=Reason(one.reason),
        detail=one.detail,
        exit_code=one.exit_code,
    )
