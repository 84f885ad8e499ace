"""What needs somebody, of what the caller may see: each thing once, with what there is to know of it in a sentence.

For whoever runs the network that is the hub itself, too; for others their own runs, sites, projects and workloads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

from config.processes import WORKERS
from domain.ids import Id, Uuid
from domain.values import Micros, Subject
from fedyard.wire.plurals import counted
from fedyard.wire.times import DAY_S, SECOND, time_text
from fedyard.wire.version import __version__
from fedyard.wire.versions import misfit
from storage import clocks, stream_states
from storage.database import Database, Row
from storage.presence import SILENT_AFTER, STAND_BY, heard, silent
from storage.views.resources import Resource, Time, time_or_none
from storage.views.sight import Clause, Listed, own, rows, runs_seen, sees_everything, sites_seen
from storage.vitals import BackupReading, DiskReading, QueueReading, outbox_age, told

AT_ONCE = 50
"""Of each kind."""
LATELY: Micros = DAY_S * SECOND
"""What has failed longer ago was seen, or nobody minds."""
STARTING_FOR: Micros = 60 * SECOND
"""A workload that is not started for so long, with a reason that the cluster gives, waits for somebody."""
LEAST_FREE, LEAST_FREE_BYTES = 0.1, 1 << 30
"""A disk with less than both of this left is nearly full."""
OLD_OUTBOX: Micros = 30 * SECOND
BACKUP_OLD: Micros = 7 * DAY_S * SECOND

STAND_BY_SHOWN = "stand-by"
"""The name of the concern of processes that are silent beside others of their role."""


class ConcernKind(StrEnum):
    """What a concern is about."""

    PROCESS = "process"
    PART = "part"
    VERSION = "version"
    CLOCK = "clock"
    DISK = "disk"
    OUTBOX = "outbox"
    BACKUP = "backup"
    DEAD_LETTERS = "dead_letters"
    STREAM = "stream"
    QUARANTINE = "quarantine"
    RUN_WAITS = "run_waits"
    APPROVAL = "approval"
    RUN_FAILED = "run_failed"
    SITE_SILENT = "site_silent"
    SITE_VERSION = "site_version"
    JOIN_REQUEST = "join_request"
    WORKLOAD_FAILED = "workload_failed"
    WORKLOAD_WAITS = "workload_waits"
    WEBHOOK = "webhook"


class Down(NamedTuple):
    """A part of the hub with which something is wrong, as who asks has found it. stops: the hub cannot serve so."""

    part: str
    trouble: str
    stops: bool


class Concern(Resource, frozen=True):
    """severity: bad, if something does not work; warns, if it soon may not; waits, for somebody who has to act.

    name: of the thing; detail: what is the matter. since: null where nobody knows. The ids are those of what it is
    about. waits_for: names of the sites that a run waits for, or whose people have to approve it.
    """

    kind: ConcernKind
    severity: Literal["bad", "warns", "waits"]
    name: str
    detail: str
    since: Time | None
    run_id: Uuid | None = None
    project_id: Uuid | None = None
    site_id: Uuid | None = None
    workload_id: Uuid | None = None
    webhook_id: Uuid | None = None
    waits_for: list[str] = []


_TOLD_BY_RECORDS = frozenset({STAND_BY, "clocks", "streams"})
_SEVERITIES = ("bad", "warns", "waits")
_VERSIONS = "SELECT process, version FROM process_clocks WHERE seen_at >= %s"
_WAITED_FOR = (
    "SELECT runs.id, runs.project_id, projects.name, runs.number, task_runs.name, sites.name, rounds.state,"
    " sites.id, coalesce(site_beats.seen_at, sites.created_at) FROM runs"
    " JOIN projects ON projects.id = runs.project_id"
    " JOIN task_runs ON task_runs.run_id = runs.id AND task_runs.state = 'active'"
    " JOIN rounds ON rounds.task_run_id = task_runs.id AND rounds.number = task_runs.round"
)
_BY_SEAT = (
    " JOIN seats ON seats.task_run_id = task_runs.id AND seats.round = rounds.number"
    " AND (seats.state IN ('invited', 'preparing') OR rounds.state = 'training'"
    " AND seats.state IN ('ready', 'training', 'uploading'))"
    " JOIN sites ON sites.id = seats.site_id AND sites.state = 'silent'"
    " LEFT JOIN site_beats ON site_beats.site_id = sites.id"
)
_BY_PERSON = (
    " JOIN seats ON seats.task_run_id = task_runs.id AND seats.round = rounds.number AND seats.waits_for = 'approval'"
    " JOIN sites ON sites.id = seats.site_id AND sites.state <> 'silent'"
    " LEFT JOIN site_beats ON site_beats.site_id = sites.id"
)
_BY_COORDINATOR = (
    " JOIN sites ON sites.id = runs.coordinator_site_id AND sites.state = 'silent'"
    " LEFT JOIN site_beats ON site_beats.site_id = sites.id"
)
_LIVE_RUN = Clause("runs.state = 'running'")
_FAILED_RUN = (
    "SELECT runs.id, runs.project_id, projects.name, runs.number, runs.reason, runs.detail, runs.ended_at FROM runs"
    " JOIN projects ON projects.id = runs.project_id"
)
_SILENT_SITE = (
    "SELECT sites.id, sites.name, coalesce(site_beats.seen_at, sites.state_at) FROM sites"
    " LEFT JOIN site_beats ON site_beats.site_id = sites.id"
)
_AGENT_VERSIONS = "SELECT DISTINCT version FROM site_agents"
_SITE_OF_VERSION = (
    "SELECT sites.id, sites.name, site_agents.version, site_agents.said_at FROM sites"
    " JOIN site_agents ON site_agents.site_id = sites.id"
)
_REQUEST = (
    "SELECT memberships.project_id, projects.name, memberships.site_id, sites.name, memberships.state_at"
    " FROM memberships JOIN projects ON projects.id = memberships.project_id"
    " JOIN sites ON sites.id = memberships.site_id"
)
_WORKLOAD = (
    "SELECT workloads.id, workloads.project_id, projects.name, workloads.name, workloads.state, workloads.reason,"
    " workloads.detail, workloads.state_at, projects.coordinator_site_id FROM workloads"
    " JOIN projects ON projects.id = workloads.project_id"
)
_WEBHOOK = "SELECT id, url, failures, failing_since FROM webhooks"


def concerns(
    database: Database, subject: Subject, now: Micros, workers: Sequence[str] = WORKERS, down: Sequence[Down] = ()
) -> Listed[Concern]:
    """All of them, what does not work first; of each kind `AT_ONCE` at most. workers: roles that this hub has. down:
    what records do not tell: a broker that is away, a decider that reports and decides nothing.

    Raises `DatabaseUnavailable`.
    """
    finders: list[Callable[[Database, Subject, Micros], list[Concern]]] = [
        _failed_runs,
        _sites_of_other_versions,
        _requests,
        _workloads,
        _webhooks,
    ]
    with database.connection():
        found = _of_hub(database, now, workers) if sees_everything(subject) else []
        found = _parts(subject, down, found) + found  # what stops the hub is named before what it leaves undone
        found += [one for find in finders for one in find(database, subject, now)]
        waiting, waited_for = _runs_that_wait(database, subject)
        found += [*waiting, *_approvals(database, subject)]
        found += [one for one in _silent_sites(database, subject) if one.site_id not in waited_for]
    return Listed(items=sorted(found, key=lambda one: _SEVERITIES.index(one.severity)), next=None)


def _of_hub(database: Database, now: Micros, workers: Sequence[str]) -> list[Concern]:
    return [
        *_processes(database, now, workers),
        *_disks(database),
        *_letters(database, now),
        *_outbox(database, now),
        *_streams(database, now),
        *_backup(database, now),
    ]


def _processes(database: Database, now: Micros, workers: Sequence[str]) -> list[Concern]:
    gone = [
        Concern(
            ConcernKind.PROCESS,
            "bad" if part in workers else "warns",
            STAND_BY_SHOWN if part == STAND_BY else part,
            trouble,
            None,
        )
        for part, trouble in silent(heard(database), now, now, workers).items()
    ]
    others = sorted(
        f"{process} runs {version}"
        for process, version in database.all(_VERSIONS, now - SILENT_AFTER)
        if version not in ("", __version__)
    )
    if others:
        detail = f"{', '.join(others)}, and this process {__version__}: bring all of them to one version"
        gone.append(Concern(ConcernKind.VERSION, "warns", "versions", detail, None))
    off = clocks.trouble(clocks.reports(database, now))
    return gone if off is None else [*gone, Concern(ConcernKind.CLOCK, "bad", "clocks", off, None)]


def _parts(subject: Subject, down: Sequence[Down], found: Sequence[Concern]) -> list[Concern]:
    """Those that nothing else tells of. Of what stops the hub everybody is told, as at `/readyz`: else nobody knows why
    nothing goes on. What is wrong with it names hosts, which is for who runs the network."""
    if sees_everything(subject):
        told = _TOLD_BY_RECORDS | {one.name for one in found if one.kind is ConcernKind.PROCESS}
        mine = [(one, one.trouble) for one in down if one.part not in told]
    else:
        mine = [(one, "the hub cannot serve without it: who runs the network sees what is wrong") for one in down]
        mine = [(one, detail) for one, detail in mine if one.stops]
    return [Concern(ConcernKind.PART, "bad" if one.stops else "warns", one.part, detail, None) for one, detail in mine]


def _disks(database: Database) -> list[Concern]:
    found = []
    for name, (_, disk) in told(database, DiskReading).items():
        if disk.free is None or disk.total is None:
            continue
        if disk.free < LEAST_FREE_BYTES and disk.free < LEAST_FREE * disk.total:
            detail = f"{disk.free:,} of {disk.total:,} bytes are free on the disk of the {name}: make room"
            found.append(Concern(ConcernKind.DISK, "bad", name, detail, None))
    return found


def _letters(database: Database, now: Micros) -> list[Concern]:
    return [
        Concern(
            ConcernKind.DEAD_LETTERS,
            "bad",
            queue,
            f"{counted(one.dead, 'command')} could not be carried out, as the queue was counted"
            f" {(now - at) // SECOND} s ago: look why, and try again or throw away",
            None,
        )
        for queue, (at, one) in told(database, QueueReading).items()
        if one.dead
    ]


def _outbox(database: Database, now: Micros) -> list[Concern]:
    age = outbox_age(database, now)
    if age < OLD_OUTBOX:
        return []
    detail = "follow-ups of decisions are not published: look whether the broker takes commands"
    return [Concern(ConcernKind.OUTBOX, "bad", "outbox", detail, time_text(now - age))]


def _streams(database: Database, now: Micros) -> list[Concern]:
    away = [
        Concern(ConcernKind.STREAM, "bad", one.cluster, one.trouble, time_text(one.at))
        for one in stream_states.bridges(database, now)
        if one.trouble
    ]
    waiting = database.all(
        "SELECT cluster, count(*), min(taken_at) FROM quarantined_records WHERE state = 'waiting' GROUP BY cluster"
    )
    return away + [
        Concern(
            ConcernKind.QUARANTINE,
            "warns",
            cluster,
            f"{counted(count, 'record')} could not be understood: look at them, and replay or purge",
            time_text(since),
        )
        for cluster, count, since in waiting
    ]


def _backup(database: Database, now: Micros) -> list[Concern]:
    """A hub that is younger than a week has nothing to lose yet."""
    made = told(database, BackupReading).get("")
    if made is not None:
        at = made[1].made_at
        if now - at <= BACKUP_OLD:
            return []
        detail = "the last backup that fedyard-hub made is older than a week"
        return [Concern(ConcernKind.BACKUP, "warns", "backup", detail, time_text(at))]
    begun = database.one("SELECT min(created_at) FROM organisations")
    if begun is None or begun[0] is None or now - begun[0] <= BACKUP_OLD:
        return []
    detail = "no backup by fedyard-hub backup is known of"
    return [Concern(ConcernKind.BACKUP, "warns", "backup", detail, time_text(begun[0]))]


def _runs_that_wait(database: Database, subject: Subject) -> tuple[list[Concern], set[Id]]:
    """For sites that are silent, and these: whoever is online computes, and is not waited for in vain."""
    seen = [_LIVE_RUN, *runs_seen(subject)]
    limit = "ORDER BY runs.created_at, runs.id LIMIT %s"
    by_seat = rows(
        database, _WAITED_FOR + _BY_SEAT, [Clause("rounds.state IN ('selecting', 'training')"), *seen], limit, AT_ONCE
    )
    by_coordinator = rows(
        database, _WAITED_FOR + _BY_COORDINATOR, [Clause("rounds.state = 'aggregating'"), *seen], limit, AT_ONCE
    )
    found = _by_task([*by_seat, *by_coordinator])
    made = []
    for those in found:
        names = sorted({str(one[5]) for one in those})
        detail = f"task {those[0][4]} is {those[0][6]} and waits for {', '.join(names)}, not heard of since"
        made.append(_of_run(ConcernKind.RUN_WAITS, those[0], detail, max(one[8] for one in those), names))
    return made, {row[7] for those in found for row in those}


def _approvals(database: Database, subject: Subject) -> list[Concern]:
    """Runs that a site's people have to approve, for them and for who coordinates the run. Of a site that is silent it
    is told that it is."""
    mine = []
    if not sees_everything(subject):
        leads, here = own("runs.coordinator_site_id", subject), own("seats.site_id", subject)
        mine = [Clause(f"({leads.sql} OR {here.sql})", (*leads.params, *here.params))]
    limit = "ORDER BY runs.created_at, runs.id, sites.name LIMIT %s"
    made = []
    for those in _by_task(rows(database, f"{_WAITED_FOR}{_BY_PERSON}", [_LIVE_RUN, *mine], limit, AT_ONCE)):
        names = [str(one[5]) for one in those]
        detail = (
            f"task {those[0][4]} waits until the people of {', '.join(names)} approve it: fedyard site approve, or the "
            "portal"
        )
        made.append(_of_run(ConcernKind.APPROVAL, those[0], detail, None, names))
    return made


def _by_task(waited_for: Sequence[Row]) -> list[list[Row]]:
    """Rows of `_WAITED_FOR`, by run and task."""
    found: dict[tuple[str, str], list[Row]] = {}
    for one in waited_for:
        found.setdefault((one[0], one[4]), []).append(one)
    return [*found.values()]


def _of_run(kind: ConcernKind, one: Row, detail: str, since: Micros | None, sites: list[str]) -> Concern:
    """one: a row of `_WAITED_FOR`."""
    run, project, title, number, *_ = one
    return Concern(
        kind,
        "waits",
        f"{title} #{number}",
        detail,
        time_or_none(since),
        run_id=run,
        project_id=project,
        waits_for=sites,
    )


def _failed_runs(database: Database, subject: Subject, now: Micros) -> list[Concern]:
    where = [Clause("runs.state = 'failed' AND runs.ended_at >= %s", (now - LATELY,)), *runs_seen(subject)]
    return [
        Concern(
            ConcernKind.RUN_FAILED,
            "warns",
            f"{title} #{number}",
            ": ".join(filter(None, (reason, detail))) or "no reason was given",
            time_text(ended_at),
            run_id=run,
            project_id=project,
        )
        for run, project, title, number, reason, detail, ended_at in rows(
            database, _FAILED_RUN, where, "ORDER BY runs.ended_at DESC LIMIT %s", AT_ONCE
        )
    ]


def _silent_sites(database: Database, subject: Subject) -> list[Concern]:
    mine = [] if sees_everything(subject) else [own("sites.id", subject)]
    where = [Clause("sites.state = 'silent' AND sites.identity_key <> ''"), *sites_seen(subject), *mine]
    return [
        Concern(
            ConcernKind.SITE_SILENT,
            "warns",
            name,
            "it does not call: its people look after its agent, which goes on where it was",
            time_or_none(since),
            site_id=site,
        )
        for site, name, since in rows(database, _SILENT_SITE, where, "ORDER BY sites.state_at DESC LIMIT %s", AT_ONCE)
    ]


def _sites_of_other_versions(database: Database, subject: Subject, _: Micros) -> list[Concern]:
    wrong = {said: misfit(__version__, said) for (said,) in database.all(_AGENT_VERSIONS)}
    odd = [said for said, fact in wrong.items() if fact]
    if not odd:
        return []
    mine = [] if sees_everything(subject) else [own("sites.id", subject)]
    where = [
        Clause("sites.state = 'online' AND site_agents.version {any}", (database.many(odd),)),
        *sites_seen(subject),
        *mine,
    ]
    found = rows(database, _SITE_OF_VERSION, where, "ORDER BY sites.id LIMIT %s", AT_ONCE)
    return [
        Concern(ConcernKind.SITE_VERSION, "warns", name, wrong[said], time_or_none(since), site_id=site)
        for site, name, said, since in found
    ]


def _requests(database: Database, subject: Subject, _: Micros) -> list[Concern]:
    mine = [] if sees_everything(subject) else [own("projects.coordinator_site_id", subject)]
    where = [Clause("memberships.state = 'requested' AND projects.archived_at IS NULL"), *mine]
    return [
        Concern(
            ConcernKind.JOIN_REQUEST,
            "waits",
            title,
            f"{site} asks to join: its coordinator admits or declines it",
            time_text(since),
            project_id=project,
            site_id=ident,
        )
        for project, title, ident, site, since in rows(
            database, _REQUEST, where, "ORDER BY memberships.state_at LIMIT %s", AT_ONCE
        )
    ]


def _workloads(database: Database, subject: Subject, now: Micros) -> list[Concern]:
    mine = [] if sees_everything(subject) else [own("projects.coordinator_site_id", subject)]
    stuck = "workloads.state = 'starting' AND workloads.reason <> '' AND workloads.state_at <= %s"
    failed = "workloads.state = 'failed' AND workloads.state_at >= %s"
    where = [Clause(f"({stuck} OR {failed})", (now - STARTING_FOR, now - LATELY)), *mine]
    found = rows(database, _WORKLOAD, where, "ORDER BY workloads.state_at DESC LIMIT %s", AT_ONCE)
    return [
        Concern(
            ConcernKind.WORKLOAD_FAILED if state == "failed" else ConcernKind.WORKLOAD_WAITS,
            "warns",
            f"{title}/{name}",
            ": ".join(filter(None, (reason.replace("_", " "), detail))) or "the cluster gives no reason",
            time_text(since),
            workload_id=ident,
            project_id=project,
        )
        for ident, project, title, name, state, reason, detail, since, _ in found
    ]


def _webhooks(database: Database, subject: Subject, _: Micros) -> list[Concern]:
    mine = [] if sees_everything(subject) else [_own_webhook(subject)]
    where = [Clause("state <> 'deleted' AND failing_since IS NOT NULL"), *mine]
    found = rows(database, _WEBHOOK, where, "ORDER BY failing_since LIMIT %s", AT_ONCE)
    return [
        Concern(
            ConcernKind.WEBHOOK,
            "warns",
            url.split("://", 1)[-1].split("/", 1)[0],
            f"its receiver has not taken what it was told, {counted(failures, 'time')} in a row",
            time_text(since),
            webhook_id=ident,
        )
        for ident, url, failures, since in found
    ]


def _own_webhook(subject: Subject) -> Clause:
    project = own("projects.coordinator_site_id", subject)
    return Clause(
        f"(webhooks.owner_id = %s OR webhooks.owner_id IN (SELECT id FROM projects WHERE {project.sql}))",
        (subject.organisation_id, *project.params),
    )
