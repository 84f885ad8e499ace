"""Workloads: what shall run for a project somewhere, and what was seen of it.

Here stands what is wanted. A reconciler (the hub's, or a site's agent) compares it with what its cluster shows, and
each of its reports moves the newest attempt on. An attempt that has failed of what repetition can heal is followed by
another one, as far as `attempts` allows; from then on the old one's reports change its own row alone. The seat that it
held, if it is one of a run's, the next one takes over in the same decision.
"""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import results, values
from domain.decisions import workload_files
from domain.decisions.access import (
    find,
    is_admin,
    is_coordinator,
    known_project,
    missing,
    need_coordinator,
    need_hub,
)
from domain.decisions.attempts import begin, let_enrol, let_go, shall_stop, tell_of, tell_site, want
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.people import secret_known
from domain.decisions.places import check_where
from domain.decisions.progress import holders, rounds, runs
from domain.decisions.progress.stage import Stage, stage_of
from domain.decisions.project_rounds import end_of_coordinator
from domain.decisions.secrets import check_secrets, secrets_needed
from domain.decisions.sites import seen_at
from domain.decisions.streams import jobs
from domain.events import EventKind
from domain.ledger import names_of_secret
from domain.needs import Needs
from domain.states import WORKLOAD, WORKLOAD_LIVE, SiteState, Step, TaskRunState, WorkloadState, follow
from domain.sweeps import PlaceGone
from domain.workload_files import missing_of
from domain.workloads import (
    NOBODY_KNOWS,
    addresses_of,
    ended_at,
    flaw_of,
    is_open,
    may_heal,
    retry_after_s,
    site_of,
    spec_of,
)
from fedyard.cluster.port import Phase, Reason
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND

_encoder = msgspec.json.Encoder(order="deterministic")


# by people and sites


def needs_of_create_workload(command: c.CreateWorkload) -> Needs:
    project = command.project_id
    named = {project} if command.spec.object_name else set()
    counts = {("workloads", project), ("workloads of a day", project)}
    secrets = secrets_needed(project, command.where, command.spec)
    needs = Needs(members_of={project}, workloads_of=named, counts=counts, secrets=secrets)
    needs.add(workload_files.needs_of_inputs(project, command.spec))
    return needs


def create_workload(draft: Draft, command: c.CreateWorkload) -> Decision:
    project = known_project(draft, command.project_id)
    need_coordinator(draft, project)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: nothing runs for it")
    flaw = flaw_of(command.spec)
    if flaw is not None:
        raise Refused(ProblemType.IMPOSSIBLE, flaw)
    check_where(draft, project, command.where)
    check_secrets(draft, project.id, command.where, command.spec)
    _check_free(draft, command)
    kept = workload_files.found(draft, project, command.where, command.spec)
    take_one(draft, "workloads", project.id, draft.rules.workloads_per_project, "stop one, or wait until one has ended")
    take_one(draft, "workloads of a day", project.id, draft.rules.workloads_per_day, "start the next one tomorrow")
    asked = values.Asked(name=command.name, spec=command.spec, where=command.where)
    workload = want(draft, draft.derive("workload"), project, asked, files_json=workload_files.as_kept(kept))
    return draft.accept(_result(workload), 201)


def _check_free(draft: Draft, command: c.CreateWorkload) -> None:
    """409 where another workload of the project that goes on has the name there that this one is to have exactly."""
    name = command.spec.object_name
    for other in draft.every(r.Workload) if name else ():
        here = (other.project_id, other.cluster) == (command.project_id, command.where)
        if here and other.state in WORKLOAD_LIVE and spec_of(other).object_name == name:
            raise Refused(
                ProblemType.NAME_TAKEN,
                f"workload {other.id} ({other.name}) is {other.state} at {command.where} and is called {name} there: "
                "stop it, or choose another object_name",
            )


def needs_of_stop_workload(command: c.StopWorkload) -> Needs:
    return Needs(workloads={command.workload_id})


def stop_workload(draft: Draft, command: c.StopWorkload) -> Decision:
    """It shall go. It counts as stopped when it is gone; what has ended by itself has ended."""
    workload = _own(draft, command.workload_id)
    workload = shall_stop(draft, workload, command.reason)
    return draft.accept(_result(workload))


def needs_of_scale_workload(command: c.ScaleWorkload) -> Needs:
    return Needs(workloads={command.workload_id})


def scale_workload(draft: Draft, command: c.ScaleWorkload) -> Decision:
    workload = _own(draft, command.workload_id)
    if workload.kind != "service":
        raise Refused(ProblemType.IMPOSSIBLE, f"workload {workload.id} is a job, which has one replica")
    if workload.state not in WORKLOAD_LIVE or workload.stop_at is not None:
        how = workload.state if workload.stop_at is None else "being stopped"
        raise Refused(ProblemType.WORKLOAD_ENDED, f"workload {workload.id} is {how}: start another one")
    if workload.part:
        raise Refused(
            ProblemType.IMPOSSIBLE, f"workload {workload.id} is a part of its project: scale the project's selectors"
        )
    if command.replicas != workload.replicas:
        workload = draft.change(workload, replicas=command.replicas)
        tell_of(draft, workload, EventKind.WORKLOAD_SCALED, replicas=command.replicas)
        tell_site(draft, workload)
    return draft.accept(_result(workload))


def _own(draft: Draft, workload_id: str) -> r.Workload:
    """A workload that the caller may change, or 404: to participants it is as good as not there."""
    workload = find(draft, r.Workload, "workload", workload_id)
    if not (is_admin(draft.by) or is_coordinator(draft, draft.have(r.Project, workload.project_id))):
        raise missing("workload", workload_id)
    return workload


def _result(workload: r.Workload) -> results.WorkloadResult:
    return results.WorkloadResult(
        id=workload.id,
        project_id=workload.project_id,
        state=WorkloadState(workload.state),
        attempt=workload.attempt,
    )


# by who looks after its cluster


def needs_of_report_workload(command: c.ReportWorkload) -> Needs:
    hashes = set() if command.token_sha256 is None else {command.token_sha256}
    revocations = {name for each in hashes for name in names_of_secret(each)}
    return Needs(workloads={command.workload_id}, token_hashes=hashes, revocations=revocations)


def report_workload(draft: Draft, command: c.ReportWorkload) -> Decision:
    """Of the newest attempt it moves the workload on. What comes late, or says what is known, changes nothing."""
    workload = draft.get(r.Workload, command.workload_id)
    attempt = draft.get(r.WorkloadAttempt, command.workload_id, command.attempt)
    if workload is None or attempt is None:
        if draft.by.kind == "hub":  # an orphan, of a history that is gone
            return draft.accept(results.Made(id=command.workload_id))
        raise missing("workload", command.workload_id)
    if not looks_after(draft, workload):
        raise missing("workload", workload.id)
    attempt = _keep(draft, attempt, command)
    if command.token_sha256 is not None and attempt.site_id is not None and not attempt.token_sha256:
        if secret_known(draft, command.token_sha256):
            raise Refused(
                ProblemType.TOKEN_TAKEN,
                f"attempt {attempt.attempt} at workload {workload.id}: its token's hash is registered already: give it "
                "the one that the hub has derived for it",
            )
        attempt = let_enrol(draft, workload, attempt, command.token_sha256)
    if is_open(attempt):
        attempt = _see(draft, workload, attempt, _with_its_files(workload, command))
        if attempt.attempt == workload.attempt and workload.state in (*WORKLOAD_LIVE, WorkloadState.LOST):
            _move(draft, workload, attempt)
    if command.gone and attempt.gone_at is None and attempt.state not in WORKLOAD_LIVE:
        draft.change(attempt, gone_at=draft.now)
    return draft.accept(results.Made(id=workload.id))


def needs_of_give_up_attempt(command: c.GiveUpAttempt) -> Needs:
    return Needs(workloads={command.workload_id})


def give_up_attempt(draft: Draft, command: c.GiveUpAttempt) -> Decision:
    """Of a seat's attempt nothing was heard for too long: it has failed of that, and its cluster is to end it."""
    need_hub(draft.by)
    workload = draft.get(r.Workload, command.workload_id)
    attempt = None if workload is None else draft.get(r.WorkloadAttempt, workload.id, workload.attempt)
    if workload is not None and attempt is not None and attempt.site_id == command.site_id:
        before = WorkloadState(attempt.state)
        if before in WORKLOAD_LIVE and workload.state in WORKLOAD_LIVE:
            attempt = draft.change(
                attempt,
                state=follow(WORKLOAD, before, Step.FAIL),
                state_at=draft.now,
                reason=Reason.SILENT,
                detail=command.detail[:1000],
                ended_at=draft.now,
            )
            _move(draft, workload, attempt)
    return draft.accept(results.Made(id=command.workload_id))


def needs_of_lose_workloads(command: c.LoseWorkloads) -> Needs:
    return Needs(workloads_at={command.site_id}, sites={command.site_id}, beats={command.site_id})


def lose_workloads(draft: Draft, command: c.LoseWorkloads) -> Decision:
    """Of a site that has retired nothing will be heard; of one that is silent, looked at again, perhaps later.

    What nobody has seen yet is wanted as before, and waits for the site. Who holds a seat is a site itself: that one's
    silence counts, until the task has ended.
    """
    need_hub(draft.by)
    site = draft.get(r.Site, command.site_id)
    if site is None:
        return draft.accept(results.Made(id=command.site_id))
    retired = site.state == SiteState.RETIRED
    heard = draft.now - seen_at(draft, site)
    if not retired and (site.state != SiteState.SILENT or heard < int(draft.rules.site_lost_after_s * SECOND)):
        return draft.accept(results.Made(id=site.id))
    reason = Reason.SITE_RETIRED if retired else Reason.SITE_SILENT
    detail = f"site {site.id} " + ("has retired" if retired else f"was not heard of for {heard // SECOND} s")
    for workload in [each for each in draft.every(r.Workload) if site_of(each.cluster) == site.id]:
        attempt = draft.have(r.WorkloadAttempt, workload.id, workload.attempt)
        if attempt.state not in WORKLOAD_LIVE or workload.state not in WORKLOAD_LIVE:
            continue
        waits = not retired and workload.stop_at is None and (not attempt.uid or attempt.site_id is not None)
        attempt = draft.change(attempt, reason=reason, detail=detail)
        if not waits:
            attempt = draft.change(
                attempt,
                state=follow(WORKLOAD, WorkloadState(attempt.state), Step.LOSE),
                state_at=draft.now,
                ready=0,
                ended_at=draft.now,
                gone_at=draft.now if retired else None,
            )
        _move(draft, workload, attempt)
    return draft.accept(results.Made(id=site.id))


def needs_of_report_place_gone(command: c.ReportPlaceGone) -> Needs:
    return Needs(projects={command.project_id})


def report_place_gone(draft: Draft, command: c.ReportPlaceGone) -> Decision:
    """Of an archived project nothing is left at that cluster: says the hub of its own, a site of itself."""
    if draft.by.kind != "site" or site_of(command.cluster) != draft.by.id:
        need_hub(draft.by)
    project = find(draft, r.Project, "project", command.project_id)
    if project.archived_at is None:
        raise missing("place", project.id)
    draft.sweep(PlaceGone(project.id, command.cluster, draft.now))
    draft.event(("project", project.id), EventKind.PLACE_REMOVED, {"where": command.cluster})
    return draft.accept(results.Made(id=project.id))


def needs_of_stop_holders(command: c.StopHolders) -> Needs:
    return Needs(holders_of={command.run_id})


def stop_holders(draft: Draft, command: c.StopHolders) -> Decision:
    need_hub(draft.by)
    for workload in draft.every(r.Workload):
        if workload.task_run_id == command.task_run_id:
            shall_stop(draft, workload, command.reason)
    return draft.accept(results.Made(id=command.task_run_id))


def looks_after(draft: Draft, workload: r.Workload) -> bool:
    """The hub for its own clusters, a site for itself."""
    site_id = site_of(workload.cluster)
    return draft.by.kind == "hub" if site_id is None else (draft.by.kind, draft.by.id) == ("site", site_id)


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


def _with_its_files(workload: r.Workload, command: c.ReportWorkload) -> c.ReportWorkload:
    """Whoever says that it has succeeded: without what it must leave it has not."""
    if command.phase != Phase.SUCCEEDED or command.attempt != workload.attempt:
        return command
    lacking = missing_of(workload, spec_of(workload))
    if not lacking:
        return command
    detail = f"it has ended well, and the hub has no {', '.join(lacking)} of its outputs"[:1000]
    return msgspec.structs.replace(command, phase=Phase.FAILED, reason=Reason.OUTPUTS_MISSING, detail=detail)


def _see(
    draft: Draft, workload: r.Workload, attempt: r.WorkloadAttempt, command: c.ReportWorkload
) -> r.WorkloadAttempt:
    """The attempt as it was reported. One that shall go has stopped when it is gone, unless it ended before."""
    before = WorkloadState(attempt.state)
    stopping = workload.stop_at is not None or attempt.attempt != workload.attempt
    step = _step_of(command, stopping=stopping)
    if workload.part and command.addresses and command.addresses != addresses_of(attempt):
        tell_of(draft, workload, EventKind.WORKLOAD_MOVED, addresses=dict(command.addresses))
    state = follow(WORKLOAD, before, step) if step is not None and (before, step) in WORKLOAD else before
    if step is None and before == WorkloadState.LOST:
        return attempt  # its site is back, and does not know either
    ended = ended_at(state, draft.now)
    passed = state == WorkloadState.STOPPED and command.phase not in (Phase.SUCCEEDED, Phase.FAILED)
    return draft.change(
        attempt,
        state=state,
        state_at=attempt.state_at if state == before else draft.now,
        uid=command.uid or attempt.uid,
        reason=Reason.NONE if passed else command.reason,  # why it was not ready is no reason why it stopped
        detail="" if passed else command.detail,
        exit_code=command.exit_code,
        ready=command.ready if state in WORKLOAD_LIVE else 0,
        addresses_json=_encoder.encode(command.addresses if ended is None else {}).decode(),
        started_at=draft.now if attempt.started_at is None and state == WorkloadState.RUNNING else attempt.started_at,
        ended_at=ended,
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
    if state == before and (state != WorkloadState.LOST or is_open(attempt)):
        return
    if state not in WORKLOAD_LIVE:
        end_of_coordinator(draft, workload, attempt)
    failed = state in (WorkloadState.FAILED, WorkloadState.LOST)
    heals = may_heal("service" if workload.kind == "service" else "job", Reason(attempt.reason))
    stage = _stage(draft, workload)
    again = failed and heals and workload.attempt < workload.attempts and workload.stop_at is None
    again = again and not (workload.purpose and jobs.is_done(draft, workload))
    if again and (stage is None or holders.has_room(stage)):
        tell_of(draft, workload, EventKind.WORKLOAD_RETRIED, **facts)
        workload = draft.change(
            workload,
            state=follow(WORKLOAD, before, Step.RETRY),
            state_at=draft.now,
            attempt=workload.attempt + 1,
            next_at=draft.now + retry_after_s(workload.attempt) * SECOND,
        )
        following = begin(draft, workload)
        if stage is not None and attempt.site_id is not None and following.site_id is not None:
            holders.take_over(stage, attempt.site_id, following.site_id, _why(attempt))
            runs.move_on(stage, rounds.settle(stage))
        _release(draft, workload, attempt)
        return
    workload = draft.change(workload, state=state, state_at=draft.now, ended_at=ended_at(state, draft.now))
    told = _TOLD.get(state)
    if told is not None:
        tell_of(draft, workload, told, **facts)
    if state not in WORKLOAD_LIVE:
        if stage is not None and attempt.site_id is not None:
            holders.give_up(stage, attempt.site_id, _why(attempt))
            runs.move_on(stage, rounds.settle(stage))
        if workload.purpose:
            jobs.ended(draft, workload)
        _release(draft, workload, attempt)


def _stage(draft: Draft, workload: r.Workload) -> Stage | None:
    """Of the task that it holds a seat of, while that goes on."""
    task = None if workload.task_run_id is None or workload.purpose else draft.get(r.TaskRun, workload.task_run_id)
    return stage_of(draft, task) if task is not None and task.state == TaskRunState.ACTIVE else None


def _why(attempt: r.WorkloadAttempt) -> str:
    how = f"attempt {attempt.attempt} {attempt.state}"
    return f"{how}: {attempt.reason}" if attempt.reason else how


def _release(draft: Draft, workload: r.Workload, attempt: r.WorkloadAttempt) -> None:
    if attempt.site_id is not None:
        let_go(draft, workload, attempt)


_TOLD: dict[WorkloadState, EventKind] = {
    WorkloadState.RUNNING: EventKind.WORKLOAD_RUNNING,
    WorkloadState.SUCCEEDED: EventKind.WORKLOAD_SUCCEEDED,
    WorkloadState.FAILED: EventKind.WORKLOAD_FAILED,
    WorkloadState.STOPPED: EventKind.WORKLOAD_STOPPED,
    WorkloadState.LOST: EventKind.WORKLOAD_LOST,
}
