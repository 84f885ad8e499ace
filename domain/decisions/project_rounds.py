"""Rounds that a project's own coordinator leads: what it reports of them, and how they end.

The hub does not lead these rounds, it keeps the record. Within one start of the coordinator numbers and stages only go
forward, and only the newest round goes on. A coordinator counts from 0 whenever it starts, so each start is an epoch
of its own: each attempt at the workload, and within an attempt what its reports call another start. What the newest
round has not come to by then has failed, as it has at its stage's deadline, and when the attempt ends.
"""

from __future__ import annotations

from typing import Final

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import find, missing, need_hub
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.projects import infrastructure_of
from domain.events import EventKind
from domain.ids import Id
from domain.infrastructure import COORDINATOR
from domain.needs import Needs, those
from domain.states import (
    PROJECT_ROUND,
    PROJECT_ROUND_LIVE,
    ArtifactState,
    ProjectRoundState,
    Step,
    WorkloadState,
    follow,
)
from domain.values import MAX_MEASURED, Infrastructure, Micros, StageDeadlines, StageName
from domain.workloads import is_open
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND, time_text

STEPS: Final[dict[StageName, Step]] = {
    "SELECTION": Step.SELECT,
    "CONFIGURATION": Step.CONFIGURE,
    "REPORTING": Step.REPORT,
    "COMPLETED": Step.COMPLETE,
}
"""In the order in which they follow each other."""
DEADLINE_PASSED: Final = "deadline_passed"
SUPERSEDED: Final = "superseded"
"""The coordinator has gone on to another round."""
RESTARTED: Final = "coordinator_restarted"
"""The coordinator counts anew."""
FAILED: Final = "coordinator_failed"
LOST: Final = "coordinator_lost"
STOPPED: Final = "coordinator_stopped"
"""What has become of the attempt."""
_encoder = msgspec.json.Encoder(order="deterministic")
_stages_decoder = msgspec.json.Decoder(dict[StageName, Micros])
_counts_decoder = msgspec.json.Decoder(dict[str, int])
_metrics_decoder = msgspec.json.Decoder(dict[str, float])


def needs_of_report_round(command: c.ReportRound) -> Needs:
    return Needs(
        workloads={command.workload_id},
        project_rounds={(command.project_id, command.number)},
        artifacts=those(command.checkpoint_artifact_id),
        counts={("rounds of a day", command.project_id)},
    )


def report_round(draft: Draft, command: c.ReportRound) -> Decision:
    """The round goes on to that stage, or begins with it. What is on record already changes nothing."""
    workload = find(draft, r.Workload, "workload", command.workload_id)
    project = draft.have(r.Project, workload.project_id)
    if workload.project_id != command.project_id or workload.part != COORDINATOR:
        raise missing("coordinator", f"{workload.id} of project {command.project_id}")
    if command.checkpoint_artifact_id is not None and command.stage != "COMPLETED":
        raise Refused(
            ProblemType.IMPOSSIBLE,
            f"round {command.number} of project {project.id} is reported in {command.stage}, and has no checkpoint "
            "before it is COMPLETED: name it then",
        )
    _need_newest_attempt(draft, project, workload, command)
    completed = _completed_before(draft, project, command)
    if completed is not None:
        return draft.accept(_result(_with_checkpoint(draft, completed, command)))
    newest = newest_of(draft, project.id)
    epoch, start = _epoch_of(command, newest)
    same = draft.get(r.ProjectRound, project.id, epoch, command.number)
    if same is not None and same == newest and same.stage == command.stage:
        return draft.accept(_result(_with_checkpoint(draft, _noted(draft, same, command), command)))
    anew = newest is None or newest.epoch < epoch
    if anew and workload.stop_at is not None:
        raise _ended(workload)
    goes_on = None if newest is None or anew or newest.number < command.number else newest
    if goes_on is None:
        remedy = "look at why it begins so many, or begin the next one tomorrow"
        take_one(draft, "rounds of a day", project.id, draft.rules.project_rounds_per_day, remedy)
        _fail(draft, newest, RESTARTED if anew else SUPERSEDED)
        here = _begin(draft, project, command, epoch, start)
    else:
        here = _next_stage(draft, goes_on, command)
    here = _noted(draft, here, command)
    ends = here.state == ProjectRoundState.COMPLETED
    kinds = [EventKind.PROJECT_ROUND_STARTED] if goes_on is None else []
    kinds += [EventKind.PROJECT_ROUND_COMPLETED] if ends else []
    for kind in kinds or [EventKind.PROJECT_ROUND_MOVED]:
        _tell(draft, here, kind, stage=here.stage, counts=command.counts, metrics=command.metrics)
    return draft.accept(_result(_with_checkpoint(draft, here, command)))


def _completed_before(draft: Draft, project: r.Project, command: c.ReportRound) -> r.ProjectRound | None:
    """A round that has completed and is not the newest any more, of an earlier start of this attempt perhaps: its
    checkpoint was still uploaded when the coordinator went on."""
    if command.stage != "COMPLETED":
        return None
    newest = newest_of(draft, project.id)
    start = command.start if command.start is not None or newest is None else newest.start
    of_it = (command.workload_id, command.attempt, start, command.number)
    return next(
        (
            one
            for one in draft.group(r.ProjectRound, project.id)
            if (one.workload_id, one.attempt, one.start, one.number) == of_it
            and one != newest
            and one.state == ProjectRoundState.COMPLETED
        ),
        None,
    )


def _need_newest_attempt(draft: Draft, project: r.Project, workload: r.Workload, command: c.ReportRound) -> None:
    """409 for who was replaced, or has ended: since the web has looked, perhaps."""
    attempt = draft.get(r.WorkloadAttempt, workload.id, command.attempt)
    if attempt is None or command.attempt != workload.attempt or not is_open(attempt):
        raise _ended(workload)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: it has no rounds any more")


def _ended(workload: r.Workload) -> Refused:
    return Refused(
        ProblemType.WORKLOAD_ENDED,
        f"this attempt at workload {workload.id} leads no rounds of its project any more: it was replaced, has ended "
        "or shall go",
    )


def newest_of(draft: Draft, project_id: Id) -> r.ProjectRound | None:
    """The project's newest round, whatever became of it."""
    return max(draft.group(r.ProjectRound, project_id), key=lambda one: (one.epoch, one.number), default=None)


def _epoch_of(command: c.ReportRound, newest: r.ProjectRound | None) -> tuple[int, int]:
    """(epoch, start) that the report is of. 409 for an earlier start."""
    if newest is None or (newest.workload_id, newest.attempt) != (command.workload_id, command.attempt):
        return (newest.epoch if newest is not None else 0) + 1, command.start or 0
    if command.start is None or command.start == newest.start:
        return newest.epoch, newest.start
    if command.start < newest.start:
        raise _over(newest, f"start {command.start} of the coordinator is over, start {newest.start} leads the rounds")
    return newest.epoch + 1, command.start


def _begin(draft: Draft, project: r.Project, command: c.ReportRound, epoch: int, start: int) -> r.ProjectRound:
    here = r.ProjectRound(
        project_id=project.id,
        epoch=epoch,
        number=command.number,
        workload_id=command.workload_id,
        attempt=command.attempt,
        start=start,
        state=follow(PROJECT_ROUND, None, STEPS[command.stage]),
        stage=command.stage,
        started_at=draft.now,
        stage_at=draft.now,
        deadline_at=draft.now + _within(infrastructure_of(project), command.stage),
        ended_at=draft.now if command.stage == "COMPLETED" else None,
        stages_json=_encoder.encode({command.stage: draft.now}).decode(),
    )
    draft.put(here)
    return here


def _next_stage(draft: Draft, newest: r.ProjectRound, command: c.ReportRound) -> r.ProjectRound:
    if command.number < newest.number:
        raise _over(newest, f"round {command.number} is over, {newest.number} is the newest one")
    state, step = ProjectRoundState(newest.state), STEPS[command.stage]
    if state not in PROJECT_ROUND_LIVE:
        how = newest.state + (f" ({newest.reason})" if newest.reason else "")
        raise _over(newest, f"round {newest.number} is over: {how}")
    if (state, step) not in PROJECT_ROUND:
        raise _over(newest, f"round {newest.number} is in {newest.stage} already, stages only go forward")
    stages = _stages_decoder.decode(newest.stages_json) | {command.stage: draft.now}
    ends = command.stage == "COMPLETED"
    project = draft.have(r.Project, newest.project_id)
    return draft.change(
        newest,
        state=follow(PROJECT_ROUND, state, step),
        stage=command.stage,
        stage_at=draft.now,
        deadline_at=newest.deadline_at if ends else draft.now + _within(infrastructure_of(project), command.stage),
        ended_at=draft.now if ends else None,
        stages_json=_encoder.encode(stages).decode(),
    )


def _within(said: Infrastructure | None, stage: StageName) -> Micros:
    """How long a stage may take; COMPLETED is the end."""
    of = StageDeadlines() if said is None else said.deadlines
    spans = {"SELECTION": of.selection_s, "CONFIGURATION": of.configuration_s, "REPORTING": of.reporting_s}
    return int(spans.get(stage, 0.0) * SECOND)


def _noted(draft: Draft, here: r.ProjectRound, command: c.ReportRound) -> r.ProjectRound:
    """With what was counted and measured: what is named again is replaced, so the same stage may be said again. 409 for
    more names than one report may have: whoever says it again and again would have the row grow for ever."""
    counted = _counts_decoder.decode(here.counts_json) | command.counts
    measured = _metrics_decoder.decode(here.metrics_json) | command.metrics
    for what, named in (("counts", len(counted)), ("metrics", len(measured))):
        if named > MAX_MEASURED:
            raise Refused(
                ProblemType.TOO_MANY,
                f"round {here.number} of project {here.project_id} would have {named} {what}, {MAX_MEASURED} are "
                "allowed: say those again that are there",
            )
    counts, metrics = _encoder.encode(counted).decode(), _encoder.encode(measured).decode()
    if (counts, metrics) == (here.counts_json, here.metrics_json):
        return here
    return draft.change(here, counts_json=counts, metrics_json=metrics)


def _with_checkpoint(draft: Draft, here: r.ProjectRound, command: c.ReportRound) -> r.ProjectRound:
    """The checkpoint becomes the project's next version. It may come later, with COMPLETED said again: an upload takes
    its time."""
    if command.checkpoint_artifact_id in (None, here.checkpoint_artifact_id):
        return here
    if here.checkpoint_artifact_id is not None:
        raise _over(here, f"round {here.number} has its checkpoint: artifact {here.checkpoint_artifact_id}")
    project = draft.have(r.Project, here.project_id)
    artifact = _checkpoint(draft, project, command)
    project = draft.change(project, last_model_version=project.last_model_version + 1)
    draft.put(
        r.Model(
            project_id=project.id,
            version=project.last_model_version,
            run_id=None,
            task_seq=None,
            task="",
            round=here.number,
            message_id=None,
            artifact_id=artifact.id,
            digest=artifact.digest,
            size_bytes=artifact.size_bytes,
            metrics_json=here.metrics_json,
            created_at=draft.now,
            epoch=here.epoch,
        )
    )
    _tell(draft, here, EventKind.MODEL_KEPT, version=project.last_model_version, artifact_id=artifact.id)
    return draft.change(here, checkpoint_artifact_id=artifact.id, model_version=project.last_model_version)


def _checkpoint(draft: Draft, project: r.Project, command: c.ReportRound) -> r.Artifact:
    """A stored artifact of kind model, which belongs to no run, of the project's coordinator."""
    artifact = draft.get(r.Artifact, command.checkpoint_artifact_id)
    if artifact is None or (artifact.project_id, artifact.owner_site_id) != (project.id, project.coordinator_site_id):
        raise missing("artifact", f"{command.checkpoint_artifact_id} of the coordinator of project {project.id}")
    if artifact.kind != "model" or artifact.run_id is not None:
        raise Refused(
            ProblemType.MISPLACED,
            f"artifact {artifact.id} is of kind {artifact.kind!r}, run {artifact.run_id}: a checkpoint is of kind "
            "'model', and of no run",
        )
    if artifact.state != ArtifactState.STORED:
        raise Refused(
            ProblemType.ARTIFACT_EXPIRED
            if artifact.state == ArtifactState.EXPIRED
            else ProblemType.ARTIFACT_NOT_STORED,
            f"artifact {artifact.id} is {artifact.state}: a checkpoint is declared, uploaded and completed first",
        )
    return artifact


def needs_of_pass_stage_deadline(command: c.PassStageDeadline) -> Needs:
    return Needs(projects={command.project_id}, project_rounds={(command.project_id, command.number)})


def pass_stage_deadline(draft: Draft, command: c.PassStageDeadline) -> Decision:
    """The round stalls: it has failed, if that is still its stage's deadline, and by the decision's time."""
    need_hub(draft.by)
    here = draft.get(r.ProjectRound, command.project_id, command.epoch, command.number)
    passed = (
        here is not None
        and here.state in PROJECT_ROUND_LIVE
        and here.deadline_at == command.deadline_at
        and here.deadline_at <= draft.now
    )
    if passed:
        _fail(draft, here, DEADLINE_PASSED)
    return draft.accept(results.Passed(passed=passed))


def end_of_coordinator(draft: Draft, workload: r.Workload, attempt: r.WorkloadAttempt) -> None:
    """An attempt has ended: so has the round that it led, if it is one at a project's coordinator. What was lost with a
    silent site may lead it yet."""
    if workload.part != COORDINATOR or is_open(attempt):
        return
    newest = newest_of(draft, workload.project_id)
    if newest is None or (newest.workload_id, newest.attempt) != (attempt.workload_id, attempt.attempt):
        return
    if attempt.state == WorkloadState.STOPPED:
        _fail(draft, newest, STOPPED, Step.CANCEL)
    else:
        _fail(draft, newest, LOST if attempt.state == WorkloadState.LOST else FAILED)


def _fail(draft: Draft, here: r.ProjectRound | None, reason: str, step: Step = Step.FAIL) -> None:
    """It has ended of that, unless it has ended before."""
    if here is None or here.state not in PROJECT_ROUND_LIVE:
        return
    state = follow(PROJECT_ROUND, ProjectRoundState(here.state), step)
    here = draft.change(here, state=state, reason=reason, ended_at=draft.now)
    kind = EventKind.PROJECT_ROUND_FAILED if step == Step.FAIL else EventKind.PROJECT_ROUND_CANCELLED
    _tell(draft, here, kind, stage=here.stage, reason=reason)


def _tell(draft: Draft, here: r.ProjectRound, kind: EventKind, **facts: object) -> None:
    said: dict[str, object] = {"workload_id": here.workload_id, "epoch": here.epoch, "round": here.number}
    draft.event(("project", here.project_id), kind, said | facts)


def _over(here: r.ProjectRound, fact: str) -> Refused:
    return Refused(
        ProblemType.ROUND_OVER,
        f"{fact}: project {here.project_id}, epoch {here.epoch}; a coordinator that counts anew says so by `start`",
        epoch=here.epoch,
        start=here.start,
        number=here.number,
        stage=here.stage,
        state=here.state,
    )


def _result(here: r.ProjectRound) -> results.ProjectRoundResult:
    return results.ProjectRoundResult(
        project_id=here.project_id,
        epoch=here.epoch,
        start=here.start,
        number=here.number,
        stage=msgspec.convert(here.stage, StageName),
        state=ProjectRoundState(here.state),
        deadline_at=time_text(here.deadline_at) if here.state in PROJECT_ROUND_LIVE else None,
        model_version=here.model_version,
    )
