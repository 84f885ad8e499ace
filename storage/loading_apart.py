"""What only some commands need, by queries of its own before the rest: logs, artifacts, webhooks, workloads.

Each part reads its rows and says what is needed besides, which is then loaded with everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from domain import records as r
from domain.infrastructure import COORDINATOR
from domain.needs import Needs
from domain.records import Record
from domain.states import WORKLOAD_LIVE
from domain.webhooks import DEAD_LETTER
from domain.workloads import AT_SITE, site_of
from fedyard.cluster.port import Reason
from storage.database import Database
from storage.loading_matches import MATCHING_PARTS
from storage.loading_streams import DEPLOYMENT_PARTS, STREAM_PARTS
from storage.reader import Reader
from storage.tables import select


def load_apart(database: Database, needs: Needs) -> tuple[list[Record], Needs]:
    """The rows of these parts; and the needs with what else hangs on them."""
    reader = Reader(database)
    for names, part in _PARTS:
        if any(getattr(needs, name) for name in names):
            wider = part(reader, needs)
            wider.add(needs)
            needs = wider
    return reader.loaded.records, needs


def _logs(reader: Reader, needs: Needs) -> Needs:
    """The heads of logs, the runs and seats that they are of; needed besides: the runs' projects.

    Of a run with many sites only those that write are loaded. Like keys: these, and the other sites' in other runs.
    """
    database = reader.database
    run_ids, site_ids = database.many(run for run, _ in needs.logs), database.many(site for _, site in needs.logs)
    runs = reader.rows(r.Run, f"{_RUNS} WHERE id {{any:uuid}}", {run for run, _ in needs.logs})
    reader.rows(r.TaskRun, f"{_TASK_RUNS} WHERE run_id {{any:uuid}}", {run.id for run in runs})
    reader.rows(r.LogHead, f"{_LOG_HEADS} WHERE run_id {{any:uuid}}", {run.id for run in runs})
    reader.all(r.Seat, _SEATS_OF_SITES, run_ids, site_ids)
    reader.all(r.SiteLog, _SITE_LOGS, run_ids, site_ids)
    return Needs(projects={run.project_id for run in runs})


def _artifacts(reader: Reader, needs: Needs) -> Needs:
    """Artifacts and what only they need; needed besides: what else hangs on them."""
    database = reader.database
    named = needs.artifacts | needs.ending_artifacts
    artifacts = reader.rows(r.Artifact, f"{_ARTIFACTS} WHERE id {{any:uuid}}", named)
    for project, site in sorted(needs.declared_by, key=str):
        unfinished = [r.Artifact(*row) for row in database.all(_DECLARED_BY, site)]
        unfinished = [artifact for artifact in unfinished if project in (None, artifact.project_id)]
        reader.loaded.records.extend(unfinished)
        artifacts += unfinished
    projects = {artifact.project_id for artifact in artifacts}
    ending_in = {artifact.project_id for artifact in artifacts if artifact.id in needs.ending_artifacts}
    reader.rows(r.ArtifactTotal, f"{_TOTALS} WHERE project_id {{any:uuid}}", projects | needs.totals_of)
    shares = needs.shares_of | {(artifact.project_id, artifact.owner_site_id) for artifact in artifacts}
    if shares:
        of = database.many(project for project, _ in shares), database.many(site for _, site in shares)
        reader.all(r.ArtifactShare, _SHARES, *of)
    reader.rows(r.TaskRun, _TASKS_OF_LIVE_RUNS, ending_in)
    reader.rows(r.Archive, f"{_ARCHIVES} WHERE artifact_id {{any:uuid}}", needs.artifacts | needs.ending_artifacts)
    reader.rows(r.ProjectRound, _CHECKPOINTS, needs.ending_artifacts)
    return Needs(
        projects=projects,
        sites={artifact.owner_site_id for artifact in artifacts},
        mentioned_runs={artifact.run_id for artifact in artifacts if artifact.run_id is not None},
        live_runs_of=ending_in,
    )


def _webhooks(reader: Reader, needs: Needs) -> Needs:
    """Webhooks and their deliveries; needed besides: the owners of those that somebody wants to change."""
    besides = Needs()
    for webhook in reader.rows(r.Webhook, f"{_HOOKS} WHERE id {{any:uuid}}", needs.webhooks):
        if webhook.owner_kind == "organisation":
            besides.organisations.add(webhook.owner_id)
        else:
            besides.members_of.add(webhook.owner_id)
            besides.led.add(webhook.owner_id)
    deliveries = reader.rows(r.WebhookDelivery, f"{_DELIVERIES} WHERE id {{any:uuid}}", needs.deliveries)
    _owners(reader, reader.rows(r.Webhook, f"{_HOOKS} WHERE id {{any:uuid}}", {each.webhook_id for each in deliveries}))
    told: list[r.Webhook] = []
    if needs.followed:
        _followed(reader, needs)
        many = reader.database.many({stream for _, stream in needs.followed})
        told += reader.all(r.Webhook, _CONCERNED, *[many] * 4)
    if needs.causes:
        reader.rows(r.WebhookDelivery, f"{_DELIVERIES} WHERE cause {{any}}", needs.causes)
        told += reader.all(r.Webhook, f"{_HOOKS} WHERE state = 'active' AND kinds LIKE %s", f"%{DEAD_LETTER}%")
    _owners(reader, told)
    besides.counts = {("waiting deliveries", webhook.id) for webhook in told}
    return besides


def _workloads(reader: Reader, needs: Needs) -> Needs:
    """Workloads and their attempts; needed besides: their projects and runs, and the sites that they run at or are."""
    workloads = reader.rows(r.Workload, f"{_JOBS} WHERE id {{any:uuid}}", needs.workloads)
    workloads += reader.rows(r.Workload, _LIVE_JOBS_OF, needs.workloads_of)
    workloads += reader.rows(r.Workload, f"{_JOBS} WHERE run_id {{any:uuid}}", needs.holders_of)
    places = {f"{AT_SITE}{site}" for site in needs.workloads_at}
    workloads += reader.rows(r.Workload, f"{_JOBS} WHERE state IN ({_LIVE}) AND cluster {{any}}", places)
    which = {each.id for each in workloads}
    found = reader.rows(r.WorkloadAttempt, f"{_ATTEMPTS} WHERE workload_id {{any:uuid}}", which)
    sites = {site for each in workloads if (site := site_of(each.cluster)) is not None}
    sites |= {each.site_id for each in found if each.site_id is not None}
    runs = {each.run_id for each in workloads if each.run_id is not None}
    projects = {each.project_id for each in workloads}
    led = {each.project_id for each in workloads if each.part == COORDINATOR} | {of for of, _ in needs.project_rounds}
    for project in sorted(led):
        reader.all(r.ProjectRound, _NEWEST_ROUND, project)
    for project, number in sorted(needs.project_rounds):
        reader.all(r.ProjectRound, _ROUND_OF_NUMBER, project, number)
    trained = {each.run_id for each in workloads if each.purpose and each.run_id is not None}
    return Needs(projects=projects, led=projects, sites=sites, runs=runs, deployments=trained)


def _secrets(reader: Reader, needs: Needs) -> Needs:
    for project in sorted({project for project, _ in needs.secrets}):
        names = {name for of, name in needs.secrets if of == project}
        reader.rows(
            r.ProjectSecret, f"{select(r.ProjectSecret)} WHERE project_id = %s AND name {{any}}", names, project
        )
    return Needs()


def _workload_logs(reader: Reader, needs: Needs) -> Needs:
    """How far they were read; what says whose they are is a need of its own."""
    reader.rows(r.WorkloadFollow, f"{select(r.WorkloadFollow)} WHERE workload_id {{any:uuid}}", needs.workload_logs)
    reader.rows(r.WorkloadLogHead, f"{select(r.WorkloadLogHead)} WHERE workload_id {{any:uuid}}", needs.workload_logs)
    return Needs()


def _inputs(reader: Reader, needs: Needs) -> Needs:
    """Artifacts that somebody wants to hand to a job, and models; needed besides: their owners."""
    named = set(needs.inputs)
    for project, version in sorted(needs.versions):
        models = reader.all(r.Model, _MODEL, project, version)
        named |= {model.artifact_id for model in models if model.artifact_id is not None}
    artifacts = reader.rows(r.Artifact, f"{_ARTIFACTS} WHERE id {{any:uuid}}", named)
    reader.rows(r.ArtifactDeclaration, f"{_DECLARATIONS} WHERE artifact_id {{any:uuid}}", named)
    return Needs(sites={artifact.owner_site_id for artifact in artifacts})


def _followed(reader: Reader, needs: Needs) -> None:
    """Events, how far their streams were looked at, and of sites what says which webhooks want them."""
    streams = {stream for _, stream in needs.followed}
    sites = {stream for kind, stream in needs.followed if kind == "site"}
    for stream in sorted(streams):
        seqs = {seq for of_stream, seq in needs.events if of_stream == stream}
        reader.rows(r.Event, f"{_EVENTS} WHERE stream_id = %s AND seq {{any}}", seqs, stream)
    reader.rows(r.EventCursor, f"{_CURSORS} WHERE stream_id {{any:uuid}}", streams)
    reader.rows(r.Site, f"{_SITES} WHERE id {{any:uuid}}", sites)
    reader.rows(r.Membership, f"{_MEMBERS} WHERE site_id {{any:uuid}}", sites)


def _owners(reader: Reader, webhooks: Collection[r.Webhook]) -> None:
    """The streams of the owners, in which events of webhooks stand; the projects among them, and their coordinators."""
    owners = {webhook.owner_id for webhook in webhooks}
    reader.rows(r.Stream, f"{_STREAMS} WHERE id {{any:uuid}}", owners)
    owning = {one.owner_id for one in webhooks if one.owner_kind == "project"}
    projects = reader.rows(r.Project, f"{_PROJECTS} WHERE id {{any:uuid}}", owning)
    reader.rows(r.Site, f"{_SITES} WHERE id {{any:uuid}}", {project.coordinator_site_id for project in projects})


_RUNS = select(r.Run)
_TASK_RUNS = select(r.TaskRun)
_ARTIFACTS = select(r.Artifact)
_EVENTS = select(r.Event)
_CURSORS = select(r.EventCursor)
_MEMBERS = select(r.Membership)
_STREAMS = select(r.Stream)
_PROJECTS = select(r.Project)
_SEATS_OF_SITES = (
    f"{select(r.Seat)} WHERE task_run_id IN (SELECT id FROM task_runs WHERE run_id {{any:uuid}})"
    " AND site_id {any:uuid}"
)
_LOG_HEADS = select(r.LogHead)
_SITE_LOGS = f"{select(r.SiteLog)} WHERE run_id {{any:uuid}} AND site_id {{any:uuid}}"
_DECLARATIONS = select(r.ArtifactDeclaration)
_ARCHIVES = select(r.Archive)
_TOTALS = select(r.ArtifactTotal)
_SHARES = f"{select(r.ArtifactShare)} WHERE project_id {{any:uuid}} AND site_id {{any:uuid}}"
_DECLARED_BY = f"{_ARTIFACTS} WHERE owner_site_id = %s AND state = 'declared'"
_TASKS_OF_LIVE_RUNS = (
    f"{select(r.TaskRun, 'task_runs.')} JOIN runs ON runs.id = task_runs.run_id"
    " WHERE runs.project_id {any:uuid} AND runs.state IN ('created', 'running')"
)
_JOBS = select(r.Workload)
_LIVE = ", ".join(f"'{state}'" for state in WORKLOAD_LIVE)
_LIVE_JOBS_OF = (
    f"{_JOBS} WHERE project_id {{any:uuid}}"
    f" AND (state IN ({_LIVE}) OR (state = 'lost' AND reason = '{Reason.SITE_SILENT}' AND stop_at IS NULL))"
)
"""With what a silent site may still run."""
_ATTEMPTS = select(r.WorkloadAttempt)
_NEWEST_ROUND = f"{select(r.ProjectRound)} WHERE project_id = %s ORDER BY epoch DESC, number DESC LIMIT 1"
_ROUND_OF_NUMBER = f"{select(r.ProjectRound)} WHERE project_id = %s AND number = %s ORDER BY epoch DESC LIMIT 5"
_MODEL = f"{select(r.Model)} WHERE project_id = %s AND version = %s"
_CHECKPOINTS = f"{select(r.ProjectRound)} WHERE checkpoint_artifact_id {{any:uuid}}"
_HOOKS = select(r.Webhook)
_DELIVERIES = select(r.WebhookDelivery)
_SITES = select(r.Site)
_CONCERNED = (
    f"{select(r.Webhook)} WHERE state = 'active' AND (owner_id {{any:uuid}}"
    " OR owner_id IN (SELECT project_id FROM memberships WHERE site_id {any:uuid})"
    " OR owner_id IN (SELECT organisation_id FROM sites WHERE id {any:uuid})"
    " OR owner_id IN (SELECT sites.organisation_id FROM memberships JOIN sites ON sites.id = memberships.site_id"
    " WHERE memberships.project_id {any:uuid}))"
)
"""Owned by the streams' projects, by projects that the sites are in, by the sites' organisations, or by those of the
projects' members."""

_PARTS: tuple[tuple[frozenset[str], Callable[[Reader, Needs], Needs]], ...] = (
    *STREAM_PARTS,
    (frozenset({"logs"}), _logs),
    (frozenset({"artifacts", "ending_artifacts", "totals_of", "declared_by"}), _artifacts),
    (frozenset({"webhooks", "deliveries", "followed", "causes"}), _webhooks),
    (frozenset({"inputs", "versions"}), _inputs),
    *MATCHING_PARTS,
    (frozenset({"workloads", "workloads_of", "holders_of", "workloads_at", "project_rounds"}), _workloads),
    *DEPLOYMENT_PARTS,
    (frozenset({"workload_logs"}), _workload_logs),
    (frozenset({"secrets"}), _secrets),
)
"""Any of these needs -> who loads what they name."""
LOADED_APART = frozenset({"shares_of", "events"}).union(*(names for names, _ in _PARTS))
"""All needs that are read here."""
