"""Tasks of a run: who takes part, how one starts, is skipped, and ends."""

from __future__ import annotations

from domain import records as r
from domain import values as v
from domain.decisions.attempts import HOLDER
from domain.decisions.draft import Draft
from domain.decisions.progress import holders, rounds
from domain.decisions.progress.stage import INITIAL, Stage, TaskEnd, run_event
from domain.events import EventKind
from domain.states import SEAT, SEAT_LIVE, TASK_RUN, MemberState, SeatState, Step, TaskRunState, follow
from fedyard.wire import notices as n

_ENDED = {
    Step.SUCCEED: EventKind.TASK_SUCCEEDED,
    Step.FAIL: EventKind.TASK_FAILED,
    Step.CANCEL: EventKind.TASK_CANCELLED,
}


def seats_of(draft: Draft, project: r.Project, task: v.TaskSpec) -> list[str]:
    """The ids of the sites that take part in a task, by the memberships of now."""
    members = [m for m in draft.group(r.Membership, project.id) if m.state == MemberState.ACTIVE]
    if task.who == "all":
        return [m.site_id for m in members if m.role != HOLDER]
    if task.who == "participants":
        return [m.site_id for m in members if m.role == "participant"]
    return [m.site_id for m in members if m.site_id in task.who]


def inherited_model(draft: Draft, run: r.Run, after: list[str]) -> str | None:
    """The global model of that task, of those that this one follows, which has ended last; one that was carried over
    has ended when it did in the attempt before. Of two that have ended at once it is the later one in the project."""
    made = [t for t in draft.group(r.TaskRun, run.id) if t.name in after and t.model_message_id]
    last = max(made, key=lambda task: (task.ended_at or 0, task.seq), default=None)
    return last.model_message_id if last else None


def start(draft: Draft, run: r.Run, task: r.TaskRun, after: list[str]) -> TaskEnd | None:
    """waiting -> active: seats for those who take part, and its first round.

    A task with `initial` begins with round 0, unless a model was chosen for it or it goes on where it was.
    """
    stage = Stage(draft, run.id, task.id, task.first_round)
    chosen = task.model_message_id
    initial = stage.spec.initial and chosen is None and task.first_round == 1
    draft.change(
        task,
        state=follow(TASK_RUN, TaskRunState(task.state), Step.START),
        started_at=draft.now,
        model_message_id=chosen if initial else chosen or inherited_model(draft, run, after),
    )
    run_event(draft, run, EventKind.TASK_STARTED, {"task": task.name, "first_round": task.first_round})
    for site_id in seats_of(draft, draft.have(r.Project, run.project_id), stage.spec):
        draft.put(
            r.Seat(
                task_run_id=task.id,
                site_id=site_id,
                run_id=run.id,
                round=task.first_round,
                state=SeatState.INVITED,
                reason="",
                report_seq=0,
                state_at=draft.now,
            )
        )
    holders.begin(stage)
    if initial:
        rounds.start_initial(Stage(draft, run.id, task.id, INITIAL))
        return None
    return rounds.start(stage)


def skip(draft: Draft, run: r.Run, task: r.TaskRun) -> None:
    """waiting -> skipped: a task that it follows has not succeeded."""
    state = follow(TASK_RUN, TaskRunState(task.state), Step.SKIP)
    draft.change(task, state=state, reason="predecessor_ended", ended_at=draft.now)
    run_event(draft, run, EventKind.TASK_SKIPPED, {"task": task.name})


def end(stage: Stage, ending: TaskEnd) -> None:
    """active -> succeeded, failed or cancelled; its live seats end with it, and its sites are told."""
    draft, run, task, reason = stage.draft, stage.run, stage.task, ending.reason
    state = follow(TASK_RUN, TaskRunState(task.state), ending.step)
    draft.change(task, state=state, reason=reason, ended_at=draft.now)
    holders.finish(stage, reason)
    _close_seats(stage, Step.TASK_DONE if ending.step == Step.SUCCEED else Step.CANCEL, reason)
    run_event(draft, run, _ENDED[ending.step], {"task": task.name, "reason": reason, "detail": ending.detail})
    for seat in stage.seats():
        draft.notify(
            seat.site_id,
            n.TaskEnded(state=state, reason=reason),
            project_id=run.project_id,
            run_id=run.id,
            task_seq=task.seq,
        )


def _close_seats(stage: Stage, step: Step, reason: str) -> None:
    draft = stage.draft
    for seat in stage.seats():
        state = SeatState(seat.state)
        if state in SEAT_LIVE:
            ending = step if (state, step) in SEAT else Step.CANCEL
            draft.change(seat, state=follow(SEAT, state, ending), reason=reason, state_at=draft.now)


def cancel(stage: Stage, reason: str) -> None:
    """Whatever it was doing, or not yet: its round is cancelled, then the task."""
    draft, run, task = stage.draft, stage.run, stage.task
    rounds.cancel(stage, reason)
    if task.state == TaskRunState.ACTIVE:
        end(stage, TaskEnd(Step.CANCEL, reason))
        return
    state = follow(TASK_RUN, TaskRunState(task.state), Step.CANCEL)
    draft.change(task, state=state, reason=reason, ended_at=draft.now)
    run_event(draft, run, EventKind.TASK_CANCELLED, {"task": task.name, "reason": reason})
