"""Seats that workloads hold: made when their task starts, taken over by the next attempt, and given up."""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.decisions import attempts
from domain.decisions.progress import rounds
from domain.decisions.progress.stage import Stage
from domain.ids import Id, derive
from domain.states import SEAT_LIVE, SEAT_ROUND_DONE, RoundState, SeatState, TaskRunState
from fedyard.wire.quorum import REPLACED

ENDED = "workload_ended"


def begin(stage: Stage) -> None:
    """Every workload of the task is wanted, each with a seat from the first round on."""
    project = stage.draft.have(r.Project, stage.run.project_id)
    for asked in stage.spec.workloads:
        for index in range(asked.count):
            ident = derive(stage.task_id, "workload", asked.name, index)
            workload = attempts.want(stage.draft, ident, project, asked, stage.task)
            attempt = stage.draft.have(r.WorkloadAttempt, workload.id, 1)
            assert attempt.site_id is not None
            _seat(stage, attempt.site_id, stage.number)


def counted(task: v.TaskSpec) -> int:
    """How many seats of a task workloads hold."""
    return sum(one.count for one in task.workloads)


def finish(stage: Stage, reason: str) -> None:
    """The task has ended: what holds a seat of it shall go."""
    if stage.spec.workloads:
        stage.draft.follow_up(
            c.StopHolders(run_id=stage.run_id, task_run_id=stage.task_id, reason=reason), stage.task_id
        )


def has_room(stage: Stage) -> bool:
    """Is there a round in which another attempt's seat could take part?"""
    if stage.task.state != TaskRunState.ACTIVE:
        return False
    return _next_number(stage) <= stage.spec.rounds


def take_over(stage: Stage, old: Id, new: Id, detail: str) -> None:
    """The seat of one attempt is out, and the next attempt's takes part: in this round, if it has not been aggregated
    yet. The caller settles."""
    number = _next_number(stage)
    _seat(stage, new, number)
    _drop(stage, old, REPLACED, detail)
    if number == stage.number:
        rounds.invite(stage, stage.draft.have(r.Seat, stage.task_id, new))


def give_up(stage: Stage, site_id: Id, detail: str) -> None:
    """Its last attempt has ended: the seat is out, unless it has done all of its part. The caller settles."""
    seat = stage.draft.get(r.Seat, stage.task_id, site_id)
    if seat is not None and seat.state in SEAT_ROUND_DONE and stage.number == stage.spec.rounds:
        if seat.state == SeatState.SCORING:
            rounds.excuse(stage, seat)
        return
    _drop(stage, site_id, ENDED, detail)


def _next_number(stage: Stage) -> int:
    open_still = stage.round.state in (RoundState.SELECTING, RoundState.TRAINING)
    return stage.number if open_still else stage.number + 1


def _drop(stage: Stage, site_id: Id, reason: str, detail: str) -> None:
    seat = stage.draft.get(r.Seat, stage.task_id, site_id)
    if seat is not None and stage.task.state == TaskRunState.ACTIVE and seat.state in SEAT_LIVE:
        rounds.drop_seat(stage, seat, reason, detail)


def _seat(stage: Stage, site_id: Id, number: int) -> None:
    stage.draft.put(
        r.Seat(
            task_run_id=stage.task_id,
            site_id=site_id,
            run_id=stage.run_id,
            round=number,
            state=SeatState.INVITED,
            reason="",
            report_seq=0,
            state_at=stage.draft.now,
        )
    )
