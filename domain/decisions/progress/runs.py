"""Runs: how one begins, which of its tasks may start, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from domain import commands as c
from domain import records as r
from domain import stream_commands as sc
from domain.decisions.access import active_members
from domain.decisions.draft import Draft
from domain.decisions.progress import tasks
from domain.decisions.progress.stage import Stage, TaskEnd, run_event, spec_of, stage_of
from domain.decisions.projects import predecessors
from domain.events import EventKind
from domain.ids import Id, derive
from domain.states import RUN, TASK_RUN_FINAL, RunState, Step, TaskRunState, follow
from domain.values import TaskSpec
from fedyard.wire import notices as n
from fedyard.wire.times import SECOND

DEPLOYMENT = "deployment"
"""The kind of a run that trains over streams (domain/decisions/streams/deployments.py)."""
GIVEN, REFUSED = "given", "result_refused"
"""The reason of an active task of such a run whose job has given all of its results, and has not ended yet."""
ADOPTED = "adopted"
"""The kind of a run that stands for a training elsewhere (domain/decisions/streams/adopting.py)."""
_ENDED = {
    Step.SUCCEED: EventKind.RUN_SUCCEEDED,
    Step.FAIL: EventKind.RUN_FAILED,
    Step.CANCEL: EventKind.RUN_CANCELLED,
}


def create(
    draft: Draft,
    project: r.Project,
    ident: Id,
    *,
    within_s: float,
    kind: str = "",
    facts: Mapping[str, object] | None = None,
) -> r.Run:
    """The first attempt at the project's next run. within_s: until its deadline. facts: of its event, with others."""
    number = project.last_run_number + 1
    draft.change(project, last_run_number=number)
    run = r.Run(
        id=ident,
        project_id=project.id,
        coordinator_site_id=project.coordinator_site_id,
        number=number,
        attempt=1,
        state=RunState.CREATED,
        reason="",
        detail="",
        created_by=draft.by.id,
        created_at=draft.now,
        deadline_at=draft.now + int(within_s * SECOND),
        kind=kind,
    )
    draft.put(run)
    run_event(draft, run, EventKind.RUN_CREATED, {"number": number, "attempt": 1, **(facts or {})})
    return run


def task_run(run: r.Run, seq: int, task: TaskSpec) -> r.TaskRun:
    """A task of the run, of which nothing has begun."""
    return r.TaskRun(
        id=derive(run.id, "task", seq),
        run_id=run.id,
        seq=seq,
        name=task.name,
        spec_json=msgspec.json.encode(task).decode(),
        state=TaskRunState.WAITING,
        reason="",
        round=0,
        first_round=1,
    )


def start(draft: Draft, run: r.Run) -> r.Run:
    """created -> running."""
    run = draft.change(run, state=follow(RUN, RunState(run.state), Step.START), started_at=draft.now)
    run_event(draft, run, EventKind.RUN_STARTED, {"number": run.number, "attempt": run.attempt})
    return run


def begin(draft: Draft, run: r.Run) -> None:
    """created -> running: the tasks that wait for none become active."""
    _advance(draft, start(draft, run))


def move_on(stage: Stage, ending: TaskEnd | None) -> None:
    """Carry out what a round has come to: its task ends, if it has to, and then the run moves on."""
    if ending is not None:
        tasks.end(stage, ending)
        _advance(stage.draft, stage.run)


def _advance(draft: Draft, run: r.Run) -> None:
    """Start what may start, skip what never can, and end the run when every task has ended."""
    while _next_task(draft, run):
        pass
    ended = draft.group(r.TaskRun, run.id)
    if any(TaskRunState(task.state) not in TASK_RUN_FINAL for task in ended):
        return
    failed = [task for task in ended if task.state != TaskRunState.SUCCEEDED]
    if failed:
        first = next((task for task in failed if task.state == TaskRunState.FAILED), failed[0])
        finish(draft, run, Step.FAIL, first.reason, f"task {first.name!r} {first.state}: {first.reason}")
    else:
        finish(draft, run, Step.SUCCEED, "completed", "every task succeeded")


def _next_task(draft: Draft, run: r.Run) -> bool:
    """Start or skip the first task that waits no longer; False if there is none."""
    ordered = sorted(draft.group(r.TaskRun, run.id), key=lambda task: task.seq)
    states = {task.name: TaskRunState(task.state) for task in ordered}
    after = predecessors([spec_of(task) for task in ordered])
    for task in ordered:
        if task.state != TaskRunState.WAITING:
            continue
        before = [states[name] for name in after[task.name]]
        if any(state in TASK_RUN_FINAL and state != TaskRunState.SUCCEEDED for state in before):
            tasks.skip(draft, run, task)
            return True
        if all(state == TaskRunState.SUCCEEDED for state in before):
            ending = tasks.start(draft, run, task, after[task.name])
            if ending is not None:
                tasks.end(stage_of(draft, draft.have(r.TaskRun, task.id)), ending)
            return True
    return False


def end(draft: Draft, run: r.Run, step: Step, reason: str, detail: str, *, next_too: bool = True) -> None:
    """Stop everything of a live run at once: stopped, restarted, or past its own deadline."""
    for task in draft.group(r.TaskRun, run.id):
        if TaskRunState(task.state) not in TASK_RUN_FINAL:
            tasks.cancel(stage_of(draft, task), reason)
    finish(draft, run, step, reason, detail, next_too=next_too)


def pass_deadline(draft: Draft, run: r.Run) -> None:
    """The run's own deadline: whatever it was doing, it ends, and says so. Jobs of a deployment that have given all of
    their results, and linger, have done their part; of others what they gave was refused, and nothing better came."""
    live = [task for task in draft.group(r.TaskRun, run.id) if TaskRunState(task.state) not in TASK_RUN_FINAL]
    if run.kind == DEPLOYMENT and live and all(task.reason in (GIVEN, REFUSED) for task in live):
        for task in live:
            well = task.reason == GIVEN
            ending = TaskEnd(Step.SUCCEED, "completed") if well else TaskEnd(Step.FAIL, REFUSED, "see its result")
            tasks.end(stage_of(draft, task), ending)
        _advance(draft, run)
        return
    end(draft, run, Step.FAIL, "run_deadline", "the run did not finish within its time")


def finish(draft: Draft, run: r.Run, step: Step, reason: str, detail: str, *, next_too: bool = True) -> None:
    """A final state, told to every member; then the next queued run's turn. Of a deployment goes what it started."""
    run = draft.change(
        run, state=follow(RUN, RunState(run.state), step), reason=reason, detail=detail, ended_at=draft.now
    )
    ended = n.RunEnded(number=run.number, attempt=run.attempt, state=run.state, reason=reason, detail=detail)
    run_event(draft, run, _ENDED[step], msgspec.to_builtins(ended))
    for site_id in active_members(draft, run.project_id):
        draft.notify(site_id, ended, project_id=run.project_id, run_id=run.id)
    if run.kind == DEPLOYMENT:
        draft.follow_up(sc.EndDeployment(run_id=run.id), run.id)
    elif run.kind == ADOPTED:
        draft.follow_up(sc.SettleWorkers(run_id=run.id), run.id)
    elif next_too:
        draft.follow_up(c.BeginRun(project_id=run.project_id), run.id)
