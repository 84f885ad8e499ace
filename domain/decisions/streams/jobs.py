"""Jobs of deployments: how their ends, and the stopping of their results, move the run on.

A job's end says nothing by itself: its program may end well and have given nothing. What it has uploaded counts.
"""

from __future__ import annotations

from domain import records as r
from domain import stream_records as sr
from domain.decisions import attempts
from domain.decisions.draft import Draft
from domain.decisions.progress import runs, tasks
from domain.decisions.progress.stage import TaskEnd, run_event, spec_of, stage_of
from domain.decisions.streams import matching
from domain.events import EventKind
from domain.ids import derive
from domain.states import (
    DEPLOYMENT,
    RESULT,
    RESULT_LIVE,
    RUN_FINAL,
    TASK_RUN,
    TASK_RUN_FINAL,
    DeploymentState,
    ResultState,
    RunState,
    Step,
    TaskRunState,
    WorkloadState,
    follow,
)
from domain.streams.training import BUILD, MODEL_FILE, TRAINING, WORKER, builds_of
from domain.workload_files import kept_of
from fedyard.cluster.port import Reason
from fedyard.wire.plurals import counted
from fedyard.wire.times import SECOND

NO_RESULT, NOT_BUILT = "no_result", "not_built"
LINGERS_S = 600
"""So long who has given everything may take to end."""
_TOLD = {
    Step.START: None,
    Step.SUCCEED: EventKind.RESULT_FINISHED,
    Step.FAIL: EventKind.RESULT_FAILED,
    Step.STOP: EventKind.RESULT_STOPPED,
}


def results_of(draft: Draft, run_id: str, task_run_id: str) -> list[sr.TrainingResult]:
    """Of one task, the lowest of a chain first; what an indefinite job has given besides behind them."""
    found = [one for one in draft.group(sr.TrainingResult, run_id) if one.task_run_id == task_run_id]
    return sorted(found, key=lambda one: one.number)


def move(
    draft: Draft, result: sr.TrainingResult, step: Step, reason: str = "", detail: str = "", **more: object
) -> None:
    """The result's next state, and an event of its run."""
    state = follow(RESULT, ResultState(result.state), step)
    draft.change(result, state=state, state_at=draft.now, reason=reason, detail=detail[:1000], **more)
    told = _TOLD[step]
    if told is not None:
        facts: dict[str, object] = {"result_id": result.id, "number": result.number, "version": result.version}
        facts["architecture_id"] = result.architecture_id
        run_event(draft, draft.have(r.Run, result.run_id), told, facts | ({"reason": reason} if reason else {}))


def begin(draft: Draft, run: r.Run) -> None:
    """Every job that waits is wanted, once its topics and data are there, and all model files."""
    deployment = draft.have(sr.Deployment, run.id)
    ordered = sorted(draft.group(r.TaskRun, run.id), key=lambda one: one.seq)
    builds = [task for task in ordered if builds_of(spec_of(task)) is not None]
    if deployment.prepared_at is None or any(task.state != TaskRunState.SUCCEEDED for task in builds):
        return
    state = follow(DEPLOYMENT, DeploymentState(deployment.state), Step.START)
    draft.change(deployment, state=state, state_at=draft.now)
    for task in ordered:
        if task.state == TaskRunState.WAITING:
            spawn(draft, run, task, TRAINING)


def spawn(draft: Draft, run: r.Run, task: r.TaskRun, purpose: str) -> None:
    """Its one workload is wanted."""
    task = draft.change(task, state=follow(TASK_RUN, TaskRunState.WAITING, Step.START), started_at=draft.now)
    run_event(draft, run, EventKind.TASK_STARTED, {"task": task.name, "first_round": task.first_round})
    (asked,) = spec_of(task).workloads
    project = draft.have(r.Project, run.project_id)
    workload = attempts.want(draft, derive(task.id, "job"), project, asked, task, purpose=purpose)
    for result in results_of(draft, run.id, task.id):
        move(draft, result, Step.START, workload_id=workload.id)


def is_done(draft: Draft, workload: r.Workload) -> bool:
    """Has a job given all that it is to give? Then no other attempt is made, however this one has ended."""
    if workload.purpose != TRAINING or workload.run_id is None or workload.task_run_id is None:
        return False
    results = results_of(draft, workload.run_id, workload.task_run_id)
    return bool(results) and all(one.state == ResultState.FINISHED for one in results)


def given(draft: Draft, task: r.TaskRun) -> None:
    """A result of it has come. Who has given everything ends soon, by itself; it is not waited for until the run's
    deadline, which may be a week away."""
    if any(one.state != ResultState.FINISHED for one in results_of(draft, task.run_id, task.id)):
        return
    draft.change(task, reason=runs.GIVEN)
    _wait_no_longer(draft, draft.have(r.Run, task.run_id))


def refused(draft: Draft, result: sr.TrainingResult, detail: str) -> None:
    """What a job gave for it was refused. It may come again, and be taken; and if not, the job may never end."""
    draft.change(result, reason=runs.REFUSED, detail=detail)
    draft.change(draft.have(r.TaskRun, result.task_run_id), reason=runs.REFUSED)
    _wait_no_longer(draft, draft.have(r.Run, result.run_id))


def _wait_no_longer(draft: Draft, run: r.Run) -> None:
    """Where all of its jobs that go on have given what they had to give, the run ends soon."""
    live = [one for one in draft.group(r.TaskRun, run.id) if TaskRunState(one.state) not in TASK_RUN_FINAL]
    if live and all(one.reason in (runs.GIVEN, runs.REFUSED) for one in live):
        draft.change(run, deadline_at=min(run.deadline_at, draft.now + LINGERS_S * SECOND))


def ended(draft: Draft, workload: r.Workload) -> None:
    """What is for streams has ended for good."""
    if workload.purpose == WORKER:
        matching.worker_ended(draft, workload)
    if workload.purpose == BUILD and workload.task_run_id is not None:
        _built(draft, workload, draft.have(r.TaskRun, workload.task_run_id))
    if workload.purpose != TRAINING or workload.task_run_id is None:
        return
    task = draft.have(r.TaskRun, workload.task_run_id)
    silent = workload.state == WorkloadState.LOST and workload.reason == Reason.SITE_SILENT  # it may run on
    if task.state != TaskRunState.ACTIVE or silent:
        return
    results = results_of(draft, task.run_id, task.id)
    open_still = [one for one in results if one.state in RESULT_LIVE]
    finished = len(results) - len(open_still)
    if workload.state == WorkloadState.STOPPED:
        for result in open_still:
            move(draft, result, Step.STOP, "stopped", workload.stop_reason)
        _end(draft, task, TaskEnd(Step.CANCEL, "stopped", workload.stop_reason))
        return
    if _goes_on(open_still, results):
        move(draft, open_still[0], Step.STOP, "ended", f"it goes on in {counted(finished, 'result')} of its own")
        open_still = []
    if not open_still:
        _end(draft, task, TaskEnd(Step.SUCCEED, "completed"))
        return
    reason = workload.reason if workload.state != WorkloadState.SUCCEEDED and workload.reason else NO_RESULT
    detail = _detail(workload, len(open_still), len(results))
    for result in open_still:
        move(draft, result, Step.FAIL, result.reason or reason, result.detail if result.reason else detail)
    reason = next((one.reason for one in open_still if one.reason), reason)
    _end(draft, task, TaskEnd(Step.FAIL, reason, detail))


def _built(draft: Draft, workload: r.Workload, task: r.TaskRun) -> None:
    """A model file is there, for this deployment and later ones; or nothing can be trained from it."""
    run, builds = draft.have(r.Run, task.run_id), builds_of(spec_of(task))
    left = kept_of(workload).outputs.get(MODEL_FILE)
    if task.state != TaskRunState.ACTIVE or builds is None:
        return
    if workload.state == WorkloadState.SUCCEEDED and left is not None:
        draft.put(
            sr.ModelFile(
                architecture_id=builds.architecture_id,
                version=builds.version,
                project_id=run.project_id,
                artifact_id=left.artifact_id,
                made_at=draft.now,
            )
        )
        tasks.end(stage_of(draft, task), TaskEnd(Step.SUCCEED, "completed"))
        if RunState(run.state) not in RUN_FINAL:
            begin(draft, run)
        conclude(draft, draft.have(r.Run, run.id))
        return
    stopped = workload.state == WorkloadState.STOPPED
    reason, step = ("stopped", Step.CANCEL) if stopped else (NOT_BUILT, Step.FAIL)
    detail = _detail(workload, 1, 1)
    tasks.end(stage_of(draft, task), TaskEnd(step, reason, detail))
    runs.end(draft, draft.have(r.Run, run.id), step, reason, detail[:1000])


def _goes_on(open_still: list[sr.TrainingResult], results: list[sr.TrainingResult]) -> bool:
    """An indefinite job gives results of their own, and never the one that it was begun for."""
    return len(open_still) == 1 and any(one.position == open_still[0].position for one in results if one.digest)


def _detail(workload: r.Workload, lacking: int, of: int) -> str:
    how = "" if workload.exit_code is None else f" with exit code {workload.exit_code}"
    said = f": {workload.detail}" if workload.detail else ""
    return (
        f"job {workload.name} (workload {workload.id}, attempt {workload.attempt}) is {workload.state}{how}, and "
        f"{lacking} of {counted(of, 'result')} did not come{said}; its log says more"
    )


def stop(draft: Draft, task: r.TaskRun, reason: str) -> None:
    """A job that is wanted or running shall go; its results are stopped, and say so at once."""
    for result in results_of(draft, task.run_id, task.id):
        if result.state in RESULT_LIVE:
            move(draft, result, Step.STOP, "stopped", reason)
    _end(draft, task, TaskEnd(Step.CANCEL, "stopped", reason))


def _end(draft: Draft, task: r.TaskRun, ending: TaskEnd) -> None:
    """A task ends, and with the last one the run. What is wanted of a job that has not ended goes with the task."""
    if task.state == TaskRunState.ACTIVE:
        tasks.end(stage_of(draft, task), ending)
    else:
        state = follow(TASK_RUN, TaskRunState(task.state), ending.step)
        draft.change(task, state=state, reason=ending.reason, ended_at=draft.now)
        run = draft.have(r.Run, task.run_id)
        run_event(draft, run, EventKind.TASK_CANCELLED, {"task": task.name, "reason": ending.reason})
    conclude(draft, draft.have(r.Run, task.run_id))
    _wait_no_longer(draft, draft.have(r.Run, task.run_id))


def conclude(draft: Draft, run: r.Run) -> None:
    """A run ends with the last of its jobs: it succeeds if all did, and is stopped if nothing else went wrong."""
    ended = sorted(draft.group(r.TaskRun, run.id), key=lambda task: task.seq)
    if RunState(run.state) in RUN_FINAL or any(TaskRunState(task.state) not in TASK_RUN_FINAL for task in ended):
        return
    failed = [task for task in ended if task.state == TaskRunState.FAILED]
    stopped = [task for task in ended if task.state == TaskRunState.CANCELLED]
    if failed:
        runs.finish(draft, run, Step.FAIL, failed[0].reason, f"job {failed[0].name} failed: {failed[0].reason}")
    elif stopped:
        runs.finish(draft, run, Step.CANCEL, "stopped", f"{counted(len(stopped), 'job')} of {len(ended)} stopped")
    else:
        runs.finish(draft, run, Step.SUCCEED, "completed", "every job gave its results")
