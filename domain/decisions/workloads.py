"""Workloads: what shall run for a project somewhere, and what was seen of it.

Here stands what is wanted. A reconciler (the hub's, or a site's agent) compares it with what its cluster shows, and
each of its reports moves the newest attempt on. An attempt that has failed of what repetition can heal is followed by
another one, as far as `attempts` allows; from then on the old one's reports change its own row alone.
"""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import find, is_admin, is_coordinator, known_project, missing, need_coordinator
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.events import EventKind
from domain.needs import Needs
from domain.states import WORKLOAD, WORKLOAD_LIVE, MemberState, SiteState, Step, WorkloadState, follow
from domain.workloads import AT_SITE, NOBODY_KNOWS, cluster_names, ended_at, may_heal, retry_after_s
from fedyard.cluster.port import Phase, Reason
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND

_encoder = msgspec.json.Encoder(order="deterministic")


# by people and sites


def needs_of_create_workload(command: c.CreateWorkload) -> Needs:
    project = command.project_id
    return Needs(members_of={project}, counts={("workloads", project), ("workloads of a day", project)})


def create_workload(draft: Draft, command: c.CreateWorkload) -> Decision:
    project = known_project(draft, command.project_id)
    need_coordinator(draft, project)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: nothing runs for it")
    _check_spec(command.spec)
    _check_where(draft, project, command.where)
    take_one(draft, "workloads", project.id, draft.rules.workloads_per_project, "stop one, or wait until one has ended")
    take_one(draft, "workloads of a day", project.id, draft.rules.workloads_per_day, "start the next one tomorrow")
    spec = command.spec
    workload = r.Workload(
        id=draft.derive("workload"),
        project_id=project.id,
        name=command.name,
        cluster=command.where,
        kind=spec.kind,
        spec_json=_encoder.encode(spec).decode(),
        replicas=spec.replicas,
        attempts=spec.attempts,
        state=WorkloadState.WANTED,
        state_at=draft.now,
        created_at=draft.now,
    )
    draft.put(workload)
    _begin_attempt(draft, workload)
    _event(draft, workload, EventKind.WORKLOAD_CREATED, of_kind=spec.kind, where=workload.cluster)
    return draft.accept(_result(workload), 201)


def _check_spec(spec: c.WorkloadSpec) -> None:
    if spec.kind == "job" and spec.replicas != 1:
        raise Refused(ProblemType.IMPOSSIBLE, "a job has one replica: start several jobs, or a service")
    if spec.kind == "service" and spec.port is None:
        raise Refused(ProblemType.IMPOSSIBLE, "a service listens on a port: name it")
    if spec.kind == "service" and spec.deadline_s is not None:
        raise Refused(ProblemType.IMPOSSIBLE, "a service goes on until it is stopped: it has no deadline")


def _check_where(draft: Draft, project: r.Project, where: str) -> None:
    """422 unless it is a cluster of the hub's, or a site that is in the project."""
    if where.startswith(AT_SITE):
        site_id = where.removeprefix(AT_SITE)
        member, site = draft.get(r.Membership, project.id, site_id), draft.get(r.Site, site_id)
        active = member is not None and member.state == MemberState.ACTIVE
        if not active or site is None or site.state == SiteState.RETIRED:
            raise Refused(
                ProblemType.IMPOSSIBLE, f"site {site_id} takes no part in project {project.id}: nothing is run there"
            )
        return
    names = cluster_names(draft.rules.clusters)
    if where not in names:
        there = f"there are {', '.join(names)}" if names else "the hub has none: FEDYARD_CLUSTERS names them"
        raise Refused(ProblemType.IMPOSSIBLE, f"the hub has no cluster {where!r}; {there}; or name site: and its id")


def needs_of_stop_workload(command: c.StopWorkload) -> Needs:
    return Needs(workloads={command.workload_id})


def stop_workload(draft: Draft, command: c.StopWorkload) -> Decision:
    """It shall go. It counts as stopped when it is gone; what has ended by itself has ended."""
    workload = _own(draft, command.workload_id)
    workload = shall_stop(draft, workload, command.reason)
    return draft.accept(_result(workload))


def shall_stop(draft: Draft, workload: r.Workload, reason: str) -> r.Workload:
    """Write that it shall go, unless it has ended, or shall go already."""
    if workload.state not in WORKLOAD_LIVE or workload.stop_at is not None:
        return workload
    workload = draft.change(workload, stop_at=draft.now, stop_reason=reason)
    _event(draft, workload, EventKind.WORKLOAD_STOPPING)
    site = draft.get(r.Site, workload.cluster.removeprefix(AT_SITE))
    if site is not None and site.state == SiteState.RETIRED:  # nobody is there to say what became of it
        attempt = draft.have(r.WorkloadAttempt, workload.id, workload.attempt)
        state = follow(WORKLOAD, WorkloadState(workload.state), Step.LOSE)
        draft.change(attempt, state=state, state_at=draft.now, ended_at=draft.now, gone_at=draft.now)
        workload = draft.change(workload, state=state, state_at=draft.now, ended_at=draft.now)
        _event(draft, workload, EventKind.WORKLOAD_LOST, state=state, reason="site_retired")
    return workload


def needs_of_scale_workload(command: c.ScaleWorkload) -> Needs:
    return Needs(workloads={command.workload_id})


def scale_workload(draft: Draft, command: c.ScaleWorkload) -> Decision:
    workload = _own(draft, command.workload_id)
    if workload.kind != "service":
        raise Refused(ProblemType.IMPOSSIBLE, f"workload {workload.id} is a job, which has one replica")
    if workload.state not in WORKLOAD_LIVE or workload.stop_at is not None:
        how = workload.state if workload.stop_at is None else "being stopped"
        raise Refused(ProblemType.WORKLOAD_ENDED, f"workload {workload.id} is {how}: start another one")
    if command.replicas != workload.replicas:
        workload = draft.change(workload, replicas=command.replicas)
        _event(draft, workload, EventKind.WORKLOAD_SCALED, replicas=command.replicas)
    return draft.accept(_result(workload))


def _own(draft: Draft, workload_id: str) -> r.Workload:
    """A workload that the caller may change, or 404: to participants it is as good as not there."""
    workload = find(draft, r.Workload, "workload", workload_id)
    if not (is_admin(draft.by) or is_coordinator(draft, draft.have(r.Project, workload.project_id))):
        raise missing("workload", workload_id)
    return workload


def _begin_attempt(draft: Draft, workload: r.Workload) -> None:
    draft.put(
        r.WorkloadAttempt(
            workload_id=workload.id,
            attempt=workload.attempt,
            state=WorkloadState.WANTED,
            state_at=draft.now,
            created_at=draft.now,
        )
    )


def _event(draft: Draft, workload: r.Workload, kind: EventKind, **facts: object) -> None:
    said: dict[str, object] = {"workload_id": workload.id, "name": workload.name, "attempt": workload.attempt}
    draft.event(("project", workload.project_id), kind, said | facts)


def _result(workload: r.Workload) -> results.WorkloadResult:
    return results.WorkloadResult(
        id=workload.id,
        project_id=workload.project_id,
        state=WorkloadState(workload.state),
        attempt=workload.attempt,
    )


# by who looks after its cluster


def needs_of_report_workload(command: c.ReportWorkload) -> Needs:
    return Needs(workloads={command.workload_id})


def report_workload(draft: Draft, command: c.ReportWorkload) -> Decision:
    """Of the newest attempt it moves the workload on. What comes late, or says what is known, changes nothing."""
    workload = draft.get(r.Workload, command.workload_id)
    attempt = draft.get(r.WorkloadAttempt, command.workload_id, command.attempt)
    if workload is None or attempt is None:
        if draft.by.kind == "hub":  # an orphan, of a history that is gone
            return draft.accept(results.Made(id=command.workload_id))
        raise missing("workload", command.workload_id)
    if not _looks_after(draft, workload):
        raise missing("workload", workload.id)
    attempt = _keep(draft, attempt, command)
    if attempt.state in WORKLOAD_LIVE:
        attempt = _see(draft, workload, attempt, command)
        if attempt.attempt == workload.attempt and workload.state in WORKLOAD_LIVE:
            _move(draft, workload, attempt)
    if command.gone and attempt.gone_at is None and attempt.state not in WORKLOAD_LIVE:
        draft.change(attempt, gone_at=draft.now)
    return draft.accept(results.Made(id=workload.id))


def _looks_after(draft: Draft, workload: r.Workload) -> bool:
    """The hub for its own clusters, a site for itself."""
    if workload.cluster.startswith(AT_SITE):
        return draft.by.kind == "site" and workload.cluster == f"{AT_SITE}{draft.by.id}"
    return draft.by.kind == "hub"


def _keep(draft: Draft, attempt: r.WorkloadAttempt, command: c.ReportWorkload) -> r.WorkloadAttempt:
    """The evidence, once."""
    if command.log is None or attempt.kept_at is not None:
        return attempt
    draft.put(
        r.WorkloadEvidence(
            workload_id=attempt.workload_id,
            attempt=attempt.attempt,
            log=command.log,
            events_json=_encoder.encode(command.events).decode(),
        )
    )
    return draft.change(attempt, kept_at=draft.now)


def _see(
    draft: Draft, workload: r.Workload, attempt: r.WorkloadAttempt, command: c.ReportWorkload
) -> r.WorkloadAttempt:
    """The attempt as it was reported. One that shall go has stopped when it is gone, unless it ended before."""
    before = WorkloadState(attempt.state)
    stopping = workload.stop_at is not None or attempt.attempt != workload.attempt
    step = _step_of(command, stopping=stopping)
    state = follow(WORKLOAD, before, step) if step is not None and (before, step) in WORKLOAD else before
    return draft.change(
        attempt,
        state=state,
        state_at=attempt.state_at if state == before else draft.now,
        uid=command.uid or attempt.uid,
        reason=command.reason,
        detail=command.detail,
        exit_code=command.exit_code,
        ready=command.ready if state in WORKLOAD_LIVE else 0,
        addresses_json=_encoder.encode(command.addresses).decode(),
        started_at=draft.now if attempt.started_at is None and state == WorkloadState.RUNNING else attempt.started_at,
        ended_at=ended_at(state, draft.now),
    )


def _step_of(command: c.ReportWorkload, *, stopping: bool) -> Step | None:
    """What the report says has happened; None: nothing that the state tells."""
    match command.phase:
        case Phase.SUCCEEDED:
            return Step.SUCCEED
        case Phase.FAILED if stopping:
            return Step.STOP
        case Phase.FAILED:
            return Step.LOSE if command.reason in NOBODY_KNOWS else Step.FAIL
        case _ if command.gone:
            return Step.STOP if stopping else Step.LOSE
        case Phase.RUNNING:
            return Step.RUN
        case Phase.STARTING if command.uid:
            return Step.START
        case _:
            return None  # refused for now: it is wanted as before, and the reason says why it is not there


def _move(draft: Draft, workload: r.Workload, attempt: r.WorkloadAttempt) -> None:
    """The workload follows its newest attempt; where that has failed and another one may help, that is wanted next."""
    before, state = WorkloadState(workload.state), WorkloadState(attempt.state)
    facts: dict[str, object] = {"state": state, "reason": attempt.reason, "exit_code": attempt.exit_code}
    workload = draft.change(workload, reason=attempt.reason, detail=attempt.detail, exit_code=attempt.exit_code)
    if state == before:
        return
    failed = state in (WorkloadState.FAILED, WorkloadState.LOST)
    heals = may_heal("service" if workload.kind == "service" else "job", Reason(attempt.reason))
    if failed and heals and workload.attempt < workload.attempts and workload.stop_at is None:
        _event(draft, workload, EventKind.WORKLOAD_RETRIED, **facts)
        workload = draft.change(
            workload,
            state=follow(WORKLOAD, before, Step.RETRY),
            state_at=draft.now,
            attempt=workload.attempt + 1,
            next_at=draft.now + retry_after_s(workload.attempt) * SECOND,
        )
        _begin_attempt(draft, workload)
        return
    workload = draft.change(workload, state=state, state_at=draft.now, ended_at=ended_at(state, draft.now))
    told = _TOLD.get(state)
    if told is not None:
        _event(draft, workload, told, **facts)


_TOLD: dict[WorkloadState, EventKind] = {
    WorkloadState.RUNNING: EventKind.WORKLOAD_RUNNING,
    WorkloadState.SUCCEEDED: EventKind.WORKLOAD_SUCCEEDED,
    WorkloadState.FAILED: EventKind.WORKLOAD_FAILED,
    WorkloadState.STOPPED: EventKind.WORKLOAD_STOPPED,
    WorkloadState.LOST: EventKind.WORKLOAD_LOST,
}
