"""Workloads and what became of their attempts: for those who coordinate their project, admins, auditors, and the site
that one runs at. What an attempt wrote is for people of the coordinator's and of that site alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from domain import records as r
from domain.ids import Id
from domain.infrastructure import COORDINATOR, PARTS
from domain.states import WORKLOAD_LIVE, WorkloadState
from domain.values import Micros, Subject, WorkloadSpec
from domain.workload_files import Kept, kept_of
from domain.workloads import AT_SITE, addresses_of, files_owner_of, is_open, site_of, spec_of, wanted_of
from fedyard.cluster.plan import Wanted
from fedyard.cluster.port import Reason
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.tables import COLUMNS
from storage.views.people import Leading
from storage.views.resources import (
    RunningPart,
    Workload,
    WorkloadAttempt,
    WorkloadInput,
    WorkloadLog,
    WorkloadOutput,
    time_or_none,
)
from storage.views.sight import Clause, Cursor, Listed, Paging, own, page, row, rows, sees_everything
from storage.wanted import with_logs

LOG_AT_ONCE_BYTES = 131_072
"""Of a log that is followed, in one answer."""
PIECES_AT_ONCE = 1024


class Filed(NamedTuple):
    """An attempt at a job with files. owner: the site for which it reads its inputs, and whose its outputs are."""

    workload_id: Id
    attempt: int
    project_id: Id
    owner: Id
    kept: Kept


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
    return _page(database, [Clause("workloads.project_id = %s", (project,))], paging, state)


def of_run(database: Database, run: Id) -> list[Workload]:
    """Those of a run, for people of the hub."""
    found = rows(database, _WORKLOADS, [Clause("workloads.run_id = %s", (run,))], "ORDER BY workloads.created_at, 1")
    return [_workload(one) for one in found]


def everywhere(database: Database, subject: Subject, paging: Paging, state: str | None) -> Listed[Workload]:
    """Those of all projects that the caller may know of, from old to new."""
    return _page(database, _seen(subject), paging, state)


def _page(database: Database, where: Sequence[Clause], paging: Paging, state: str | None) -> Listed[Workload]:
    of_state = [] if state is None else [Clause("workloads.state = %s", (state,))]
    return page(
        database,
        _WORKLOADS,
        [*where, *of_state],
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


def not_begun(database: Database, sites: Collection[Id]) -> dict[Id, str]:
    """Of these sites those that are attempts at a workload which has not begun, each with that one's state."""
    found = rows(
        database,
        "SELECT held.site_id, workloads.state FROM workloads"
        " JOIN workload_attempts held ON held.workload_id = workloads.id",
        [
            Clause("held.site_id {any:uuid}", (database.many(sites),)),
            Clause("workloads.state IN ('wanted', 'starting')"),
        ],
    )
    return {one[0]: one[1] for one in found}


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
            model_version=one[_MODEL_VERSION],
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
    where = [Clause("workloads.id = %s AND workloads.part = %s", (ident, COORDINATOR)), _MAY_RUN]
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


def job_with_files(database: Database, ident: Id) -> Filed | None:
    """The newest attempt at a job that has files, as long as it goes on."""
    found = row(
        database,
        f"SELECT {_BOTH}, projects.coordinator_site_id FROM workloads JOIN workload_attempts AS attempts"
        " ON attempts.workload_id = workloads.id AND attempts.attempt = workloads.attempt"
        " JOIN projects ON projects.id = workloads.project_id",
        [Clause("workloads.id = %s", (ident,))],
    )
    if found is None:
        return None
    of, newest = r.Workload(*found[:_WIDTH]), r.WorkloadAttempt(*found[_WIDTH:-1])
    spec = spec_of(of)
    if not (spec.inputs or spec.outputs) or not is_open(newest):
        return None
    return Filed(of.id, newest.attempt, of.project_id, files_owner_of(of, found[-1]), kept_of(of))


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
    found = row(database, _WORKLOADS, [Clause("workloads.id = %s", (ident,)), *_seen(subject, holders=True)])
    if found is None:
        return None
    newest = r.WorkloadAttempt(*found[_WIDTH:])
    number = newest.attempt if attempt is None else attempt
    which = Clause("workload_id = %s AND attempt = %s", (ident, number))
    there = row(database, "SELECT kept_at FROM workload_attempts", [which])
    if there is None:
        return None
    kept = row(database, "SELECT log, events_json FROM workload_evidence", [which])
    reads = _reads_log(database, subject, ident, number)
    return WorkloadLog(
        workload_id=ident,
        attempt=number,
        kept_at=time_or_none(there[0]),
        size_bytes=None if kept is None else len(kept[0]),
        log=bytes(kept[0]) if kept is not None and reads else None,
        events=_events_decoder.decode(kept[1]) if kept is not None else [],
    )


@dataclass(frozen=True)
class Followed:
    """What there is of a log from a byte on, for who may read it. until_at: so long it is read for somebody."""

    found: WorkloadLog
    until_at: Micros


def log_from(
    database: Database, subject: Subject, ident: Id, attempt: int | None, after: int
) -> Followed | WorkloadLog | None:
    """What the log of an attempt has from byte `after` on, while it runs and afterwards; for who may not read it
    only that it is there; None if there is none for this caller."""
    with database.connection():
        kept = log(database, subject, ident, attempt)
        if kept is None or not _reads_log(database, subject, ident, kept.attempt):
            return kept
        which = (ident, kept.attempt)
        of = row(database, _LOG_STATE, [Clause("attempts.workload_id = %s AND attempts.attempt = %s", which)])
        assert of is not None, "it was there just now"
        pieces = [Clause("workload_id = %s AND attempt = %s", which), _behind(which, after)]
        there = rows(database, _PIECES, pieces, "ORDER BY start LIMIT %s", PIECES_AT_ONCE)
    gone_at, until_at, size_bytes = of
    begins, body = after, b""
    if size_bytes is None and kept.log is not None:  # nobody has followed it: its tail is all that there is
        body, size_bytes = kept.log[after:], len(kept.log)
    elif there:
        begins = max(after, there[0][0])
        body = b"".join(bytes(one[1]) for one in there)[begins - there[0][0] :]
    body = body[:LOG_AT_ONCE_BYTES]
    ended = kept.kept_at is not None or gone_at is not None
    found = msgspec.structs.replace(
        kept,
        size_bytes=len(body),
        log=body,
        after=begins,
        next=begins + len(body),
        over=ended and begins + len(body) >= (size_bytes or 0),
    )
    return Followed(found, until_at or 0)


def log_size(database: Database, ident: Id, attempt: int) -> int:
    """How much of the log of an attempt was read for those who follow it, in bytes. For who may see the workload."""
    which = Clause("workload_id = %s AND attempt = %s", (ident, attempt))
    found = row(database, "SELECT size_bytes FROM workload_log_heads", [which])
    return 0 if found is None else int(found[0])


def wanted_at(database: Database, site: Id, now: Micros) -> list[Wanted]:
    """What the site's agent compares its cluster with: what shall run there, and what shall go."""
    where = [Clause("workloads.cluster = %s AND attempts.gone_at IS NULL", (f"{AT_SITE}{site}",))]
    with database.connection():
        found = rows(database, _WANTED, where, "ORDER BY attempts.created_at, workloads.id LIMIT %s", AT_ONCE)
        wanted = [wanted_of(r.Workload(*one[:_WIDTH]), r.WorkloadAttempt(*one[_WIDTH:]), site) for one in found]
        return with_logs(database, f"{AT_SITE}{site}", wanted, now)


def workloads_by_state(database: Database) -> dict[str, int]:
    """How many there are."""
    return dict(rows(database, "SELECT state, count(*) FROM workloads", [], "GROUP BY state"))


def _seen(subject: Subject, *, holders: bool = False) -> list[Clause]:
    """holders: also by the site that one of its attempts is."""
    if sees_everything(subject):
        return []
    if holders and subject.kind == "site":
        held = "workloads.id IN (SELECT workload_id FROM workload_attempts WHERE site_id = %s)"
        (seen,) = _seen(subject)
        return [Clause(f"({seen.sql} OR {held})", (*seen.params, subject.id))]
    mine, here = own("projects.coordinator_site_id", subject), _at_own_site(subject)
    coordinates = f"workloads.project_id IN (SELECT id FROM projects WHERE {mine.sql})"
    return [Clause(f"({coordinates} OR {here.sql})", (*mine.params, *here.params))]


def _at_own_site(subject: Subject) -> Clause:
    if subject.kind == "site":
        return Clause("workloads.cluster = %s", (f"{AT_SITE}{subject.id}",))
    sites = own("sites.id", subject)
    inside = f"SELECT '{AT_SITE}' || CAST(sites.id AS TEXT) FROM sites WHERE {sites.sql}"
    return Clause(f"workloads.cluster IN ({inside})", sites.params)


def _reads_log(database: Database, subject: Subject, ident: Id, attempt: int) -> bool:
    """Who acts for the coordinator, for the site that it runs at, or for the one that the attempt itself is, as logs of
    runs are read. To run or audit the network is not enough."""
    which = [Clause("attempts.workload_id = %s AND attempts.attempt = %s", (ident, attempt))]
    found = row(database, _READERS, which)
    if found is None:
        return False
    cluster, coordinator, holder = found
    return any(
        row(database, "SELECT id FROM sites", [Clause("id = %s", (site,)), own("id", subject)]) is not None
        for site in (coordinator, holder, site_of(cluster))
        if site is not None
    )


def _behind(which: tuple[Id, int], after: int) -> Clause:
    """From the piece on in which that byte is, or from the first one that there is."""
    newest = "SELECT max(start) FROM workload_log_pieces WHERE workload_id = %s AND attempt = %s AND start <= %s"
    return Clause(f"start >= coalesce(({newest}), 0)", (*which, after))


_LOG_STATE = (
    "SELECT attempts.gone_at, follows.until_at, heads.size_bytes FROM workload_attempts AS attempts"
    " LEFT JOIN workload_follows AS follows"
    " ON follows.workload_id = attempts.workload_id AND follows.attempt = attempts.attempt"
    " LEFT JOIN workload_log_heads AS heads"
    " ON heads.workload_id = attempts.workload_id AND heads.attempt = attempts.attempt"
)
_READERS = (
    "SELECT workloads.cluster, projects.coordinator_site_id, attempts.site_id FROM workload_attempts AS attempts"
    " JOIN workloads ON workloads.id = attempts.workload_id JOIN projects ON projects.id = workloads.project_id"
)
_PIECES = "SELECT start, body FROM workload_log_pieces"
_MAY_RUN = Clause(
    "(workloads.ended_at IS NULL OR (workloads.state = %s AND workloads.reason = %s AND workloads.stop_at IS NULL))",
    (WorkloadState.LOST, Reason.SITE_SILENT),
)
"""Also what was lost with a silent site: it may reach the hub although the site's agent does not."""
_PART = list(COLUMNS[r.Workload]).index("part")
_MODEL_VERSION = list(COLUMNS[r.Workload]).index("model_version")
_CREATED_AT = list(COLUMNS[r.Workload]).index("created_at")


def _workload(one: Row) -> Workload:
    of, newest = r.Workload(*one[:_WIDTH]), r.WorkloadAttempt(*one[_WIDTH:])
    spec: WorkloadSpec = spec_of(of)
    kept = kept_of(of)
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
        inputs={
            name: WorkloadInput(artifact_id=one.artifact_id, digest=one.digest, size_bytes=one.size_bytes)
            for name, one in sorted(kept.inputs.items())
        },
        outputs={
            name: WorkloadOutput(
                artifact_id=one.artifact_id,
                digest=one.digest,
                size_bytes=one.size_bytes,
                attempt=one.attempt,
                stored_at=time_or_none(one.stored_at),
            )
            for name, one in sorted(kept.outputs.items())
        },
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
