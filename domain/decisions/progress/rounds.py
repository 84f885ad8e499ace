"""Rounds of a task: selecting, training, aggregating, scoring, and what becomes of the seats meanwhile.

A function that may end the round returns the `TaskEnd` that follows, or None while the task goes on.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from domain import commands as c
from domain import records as r
from domain.decisions.progress import scores
from domain.decisions.progress.stage import INITIAL, Stage, TaskEnd, spec_of
from domain.decisions.projects import all_before
from domain.events import EventKind
from domain.ids import Id
from domain.states import (
    ROUND,
    ROUND_FINAL,
    SEAT,
    SEAT_ROUND_DONE,
    RoundState,
    SeatState,
    Step,
    TaskRunState,
    follow,
)
from domain.sweeps import LeaveOut
from domain.values import Micros
from fedyard.wire import notices as n
from fedyard.wire import scoring
from fedyard.wire.plurals import counted
from fedyard.wire.quorum import REPLACED, quorum_of
from fedyard.wire.sampling import drawn, size_of
from fedyard.wire.times import SECOND

SITES_NAMED = 10
"""In one sentence, at most."""

_SELECTING = (SeatState.INVITED, SeatState.PREPARING)
_TRAINING = (SeatState.TRAINING, SeatState.UPLOADING)


def start(stage: Stage) -> TaskEnd | None:
    """Draw the seats that take part in this round, and invite them; its stage is selecting. The others rest."""
    draft, contract = stage.draft, stage.contract
    seats = [seat for seat in stage.seats() if seat.reason != REPLACED]
    size = size_of(contract, len(seats))
    could = [seat for seat in seats if _could_take_part(seat, stage.number)]
    taking_part = drawn(stage.run_id, stage.task.seq, stage.number, [seat.site_id for seat in could], size)
    draft.change(stage.task, round=stage.number)
    here = r.Round(
        task_run_id=stage.task_id,
        number=stage.number,
        run_id=stage.run_id,
        state=RoundState.SELECTING,
        reason="",
        quorum=quorum_of(contract, size),
        deadline_at=_deadline(stage, contract.select_within_s),
        started_at=draft.now,
        stage_at=draft.now,
        drawn=len(taking_part) if size < len(seats) else None,
    )
    draft.put(here)
    sampled: dict[str, object] = {} if here.drawn is None else {"drawn": here.drawn}
    stage.event(EventKind.ROUND_OPENED, {"quorum": here.quorum} | sampled)
    for seat in could:
        if seat.site_id not in taking_part:
            _step(stage, seat, Step.REST, round=stage.number)
        elif seat.state == SeatState.INVITED:
            invite(stage, seat)
        else:
            invite(stage, _step(stage, seat, Step.NEXT_ROUND, round=stage.number))
    return settle(stage)


def _could_take_part(seat: r.Seat, number: int) -> bool:
    """Its site has done what was asked of it in the round before, or comes new to this one."""
    return seat.state in SEAT_ROUND_DONE or (seat.state == SeatState.INVITED and seat.round == number)


def start_initial(stage: Stage) -> None:
    """Round 0 of a task that begins so: its coordinator is asked for the first model. No seat has a part in it."""
    draft, within_s = stage.draft, stage.contract.aggregate_within_s
    draft.change(stage.task, round=stage.number)
    here = r.Round(
        task_run_id=stage.task_id,
        number=stage.number,
        run_id=stage.run_id,
        state=RoundState.AGGREGATING,
        reason="",
        quorum=0,
        deadline_at=_deadline(stage, within_s),
        started_at=draft.now,
        stage_at=draft.now,
    )
    draft.put(here)
    stage.event(EventKind.ROUND_OPENED, {"quorum": here.quorum})
    facts = n.Aggregate(deadline_at=here.deadline_at, quorum=0, submissions=[], results=earlier_models(stage))
    stage.tell(stage.run.coordinator_site_id, facts)


def invite(stage: Stage, seat: r.Seat) -> None:
    """Tell a site that a seat in this round is its own, with the model to start from."""
    run = stage.run
    facts = n.Invited(
        attempt=run.attempt,
        number=run.number,
        report_seq=seat.report_seq,
        deadline_at=stage.round.deadline_at,
        coordinator_site_id=run.coordinator_site_id,
        task=stage.spec,
        results=earlier_models(stage),
    )
    stage.tell(seat.site_id, facts, stage.task.model_message_id)


def earlier_models(stage: Stage) -> list[n.EarlierModel] | UnsetType:
    """What every task made that this one comes after, itself or through others; nothing at all where there is none."""
    tasks = sorted(stage.draft.group(r.TaskRun, stage.run_id), key=lambda task: task.seq)
    specs = {task.name: spec_of(task) for task in tasks}
    before = all_before(list(specs.values()), stage.task.name)
    return [
        n.EarlierModel(task=task.name, seq=task.seq, message_id=task.model_message_id)
        for task in tasks
        if task.name in before and specs[task.name].aggregate and task.model_message_id
    ] or UNSET


def settle(stage: Stage) -> TaskEnd | None:
    """Move the round on if its seats allow it; asked whenever one of them has changed."""
    if stage.task.state != TaskRunState.ACTIVE:
        return None
    here = stage.round
    match RoundState(here.state):
        case RoundState.SELECTING:
            waiting, there = _counts(stage, _SELECTING, SeatState.READY)
            if not waiting and there >= here.quorum:
                _start_training(stage)
            elif waiting + there < here.quorum and stage.contract.too_few == "fail":
                return _too_few(stage, there)
        case RoundState.TRAINING:
            _start_replaced(stage)
            waiting, there = _counts(stage, _trains(stage), SeatState.SUBMITTED)
            if not waiting and there >= here.quorum:
                return _reported(stage)
            if waiting + there < here.quorum:
                return _too_few(stage, there)
        case RoundState.SCORING:
            if not _seats_here(stage, SeatState.SCORING):
                return finish(stage)
        case _:
            pass
    return None


def _counts(stage: Stage, waiting: tuple[SeatState, ...], there: SeatState) -> tuple[int, int]:
    """(seats that this stage waits for, seats that have done their part)"""
    number = stage.number
    states = [seat.state for seat in stage.draft.unordered(r.Seat, stage.task_id) if seat.round == number]
    return sum(map(states.count, waiting)), states.count(there)


def _too_few(stage: Stage, there: int, *, late: int = 0) -> TaskEnd:
    """late: seats that the round's deadline found at work still."""
    quorum = stage.round.quorum
    lost = {seat.reason for seat in stage.seats() if seat.state in (SeatState.DROPPED, SeatState.FAILED)}
    missed = f"; at its deadline {counted(late, 'seat was', 'seats were')} not done yet" if late else ""
    return fail(
        stage,
        "quorum_not_met",
        f"{counted(quorum, 'seat is', 'seats are')} needed in round {stage.number} and {there} can still be had"
        " or have come" + (f" (lost: {', '.join(sorted(lost))})" if lost else "") + missed,
    )


def _start_training(stage: Stage) -> None:
    """selecting -> training: the ready seats train; they are told at once."""
    here = _enter(stage, Step.SELECTED, stage.contract.train_within_s)
    seats = _seats_here(stage, SeatState.READY)
    stage.event(EventKind.ROUND_STARTED, {"seats": len(seats)})
    for seat in seats:
        _step(stage, seat, Step.ROUND_STARTED)
        stage.tell(seat.site_id, n.RoundStarted(deadline_at=here.deadline_at, seats=len(seats)))


def _start_replaced(stage: Stage) -> None:
    """Who takes over a seat of a round that trains already trains as soon as it is ready."""
    if not stage.spec.workloads:
        return
    seats = _seats_here(stage, SeatState.READY)
    for seat in seats:
        _step(stage, seat, Step.ROUND_STARTED)
        stage.tell(seat.site_id, n.RoundStarted(deadline_at=stage.round.deadline_at, seats=len(seats)))


def _trains(stage: Stage) -> tuple[SeatState, ...]:
    """What a round that trains waits for: also for who takes over a seat, where workloads hold some."""
    return _TRAINING + _SELECTING if stage.spec.workloads else _TRAINING


def _reported(stage: Stage) -> TaskEnd | None:
    """training -> aggregating (the coordinator is told what came), or completed where nothing is aggregated."""
    spec = stage.spec
    if not spec.aggregate:
        return complete(stage, None, {})
    here = _enter(stage, Step.REPORTED, spec.contract.aggregate_within_s)
    submissions = [
        n.Submitted(site_id=s.site_id, message_id=s.update_message_id, metrics=msgspec.json.decode(s.metrics_json))
        for s in _seats_here(stage, SeatState.SUBMITTED)
    ]
    stage.event(EventKind.ROUND_REPORTED, {"submissions": len(submissions)})
    facts = n.Aggregate(
        deadline_at=here.deadline_at, quorum=here.quorum, submissions=submissions, results=earlier_models(stage)
    )
    stage.tell(stage.run.coordinator_site_id, facts)
    return None


def leave_out(stage: Stage, left_out: list[c.LeftOut]) -> TaskEnd | None:
    """The seats of these sites fail, since their updates of this round cannot be used; each is told why.

    If what remains is below the quorum, the round fails with that. A site that left after it had submitted counts as
    long as its update does, as everywhere.
    """
    if not left_out:
        return None
    here = stage.round
    given = {
        seat.site_id
        for seat in stage.seats()
        if seat.round == stage.number and (seat.state == SeatState.SUBMITTED or seat.state_at > here.stage_at)
    }
    for one in left_out:
        stage.draft.sweep(LeaveOut(stage.task_id, stage.number, one.site_id, one.reason))
        seat = stage.draft.have(r.Seat, stage.task_id, one.site_id)
        if (seat.state, seat.round) == (SeatState.SUBMITTED, stage.number):
            _step(stage, seat, Step.FAIL, reason=one.reason)
            stage.tell(one.site_id, n.SeatLeftOut(reason=one.reason, detail=one.detail))
        stage.event(EventKind.SEAT_LEFT_OUT, {"reason": one.reason, "detail": one.detail}, one.site_id)
    remain = len(given - {one.site_id for one in left_out})
    if remain >= here.quorum:
        return None
    named = [f"site {one.site_id} ({one.reason})" for one in left_out[:SITES_NAMED]]
    more = len(left_out) - len(named)
    detail = (
        f"{counted(here.quorum, 'update is', 'updates are')} needed in round {stage.number} and {remain} can be used;"
        f" left out: {', '.join(named)}" + (f" and {more} more" if more else "")
    )
    return fail(stage, "quorum_not_met", detail)


def complete(stage: Stage, model: Id | None, metrics: dict[str, float]) -> TaskEnd | None:
    """The round has come to its model, where its task makes one: the sites score it, or the round is done.

    The model is the task's newest, and a version of its project, from now on.
    """
    draft = stage.draft
    draft.change(stage.round, metrics_json=msgspec.json.encode(metrics).decode(), model_message_id=model)
    if model is None:
        return finish(stage)
    begun_with = stage.task.model_message_id
    draft.change(stage.task, model_message_id=model)
    draft.change(stage.round, model_version=_keep_model(stage, model, begun_with))
    seats = _seats_here(stage, SeatState.SUBMITTED, SeatState.RESTING)
    if not seats or not scores.wanted(stage.spec, stage.number):
        return finish(stage)
    _start_scoring(stage, seats, model)
    return None


def _start_scoring(stage: Stage, seats: list[r.Seat], model: Id) -> None:
    """aggregating -> scoring: every live seat of the round is asked what the model is worth on its data."""
    run, here = stage.run, _enter(stage, Step.AGGREGATED, stage.contract.score_within_s)
    stage.event(
        EventKind.ROUND_SCORING,
        {"seats": len(seats), "model_message_id": model, "model_version": here.model_version},
    )
    results = earlier_models(stage)
    for seat in seats:
        _step(stage, seat, Step.SCORE)
        facts = n.Score(
            attempt=run.attempt,
            number=run.number,
            report_seq=seat.report_seq,
            deadline_at=here.deadline_at,
            coordinator_site_id=run.coordinator_site_id,
            task=stage.spec,
            results=results,
        )
        stage.tell(seat.site_id, facts, model)


def excuse(stage: Stage, seat: r.Seat) -> None:
    """No score is waited for of this seat any more. The caller settles."""
    _step(stage, seat, Step.SCORED)
    stage.event(EventKind.SEAT_SCORED, {"reason": "workload_ended"}, seat.site_id)


def finish(stage: Stage) -> TaskEnd | None:
    """A round is done: the next one opens, or the task has succeeded."""
    _complete(stage)
    stop, task = stage.spec.stop_early, stage.task
    if stage.number >= stage.spec.rounds:
        return TaskEnd(Step.SUCCEED, "completed")
    if stop is not None and task.rounds_without >= stop.patience:
        return TaskEnd(Step.SUCCEED, "stopped_early", scores.why_stopped(stop, task, stage.number))
    return start(stage.next())


def _complete(stage: Stage) -> None:
    """What the scores come to is on record, and everybody gets the new global model."""
    draft, here = stage.draft, stage.round
    given = [seat.score_json for seat in stage.seats() if seat.score_round == stage.number]
    mean, metrics = scoring.mean(list(map(scores.metrics_of, given))), scores.metrics_of(here.metrics_json)
    draft.change(
        here,
        state=follow(ROUND, RoundState(here.state), Step.COMPLETE),
        ended_at=draft.now,
        score_json=msgspec.json.encode(mean).decode(),
    )
    model, version = here.model_message_id, here.model_version
    draft.put(scores.followed(stage.task, stage.spec, scores.Outcome(stage.number, version, metrics, mean)))
    facts: dict[str, object] = {"metrics": metrics, "model_message_id": model, "model_version": version}
    stage.event(EventKind.ROUND_COMPLETED, facts | ({"score": mean} if mean else {}))
    told = n.RoundCompleted(metrics=metrics, rounds=stage.spec.rounds, score=mean or UNSET)
    for seat in stage.seats() if stage.number != INITIAL else ():  # whoever is invited gets the first model with that
        stage.tell(seat.site_id, told, model)


def _keep_model(stage: Stage, message_id: Id, begun_with: Id | None) -> int:
    """The model becomes the project's next version."""
    draft, task = stage.draft, stage.task
    project, message = draft.have(r.Project, stage.run.project_id), draft.have(r.Message, message_id)
    project = draft.change(project, last_model_version=project.last_model_version + 1)
    draft.put(
        r.Model(
            project_id=project.id,
            version=project.last_model_version,
            run_id=stage.run_id,
            task_seq=task.seq,
            task=task.name,
            round=stage.number,
            message_id=message_id,
            artifact_id=message.artifact_id,
            digest=message.sha256,
            size_bytes=message.size_bytes,
            metrics_json=stage.round.metrics_json,
            created_at=draft.now,
            begun_with=begun_with,
        )
    )
    return project.last_model_version


def fail(stage: Stage, reason: str, detail: str) -> TaskEnd:
    """A round that cannot be completed fails its task, truthfully and at once."""
    state = follow(ROUND, RoundState(stage.round.state), Step.FAIL)
    stage.draft.change(stage.round, state=state, reason=reason, ended_at=stage.draft.now)
    stage.event(EventKind.ROUND_FAILED, {"reason": reason, "detail": detail})
    return TaskEnd(Step.FAIL, reason, detail)


def cancel(stage: Stage, reason: str) -> None:
    """A round whose task is cancelled ends with it, if there is one that has not ended. One that has its model, and is
    being scored, is complete with the scores that have come: what it made is not lost."""
    here = stage.draft.get(r.Round, stage.task_id, stage.number)
    if here is not None and here.state == RoundState.SCORING:
        _complete(stage)
    elif here is not None and RoundState(here.state) not in ROUND_FINAL:
        state = follow(ROUND, RoundState(here.state), Step.CANCEL)
        stage.draft.change(here, state=state, reason=reason, ended_at=stage.draft.now)
        stage.event(EventKind.ROUND_CANCELLED, {"reason": reason})


def pass_deadline(stage: Stage) -> TaskEnd | None:
    """The stage's time is over: go on with the quorum, wait for another span, or fail."""
    here, contract = stage.round, stage.contract
    match RoundState(here.state):
        case RoundState.SELECTING:
            _, there = _counts(stage, _SELECTING, SeatState.READY)
            if there >= here.quorum:
                _drop_late(stage, _SELECTING, "was not ready in time")
                _start_training(stage)
                return None
            return _extend_or_fail(stage, there, contract.select_within_s)
        case RoundState.TRAINING:
            _, there = _counts(stage, _TRAINING, SeatState.SUBMITTED)
            if there >= here.quorum:
                _drop_late(stage, _trains(stage), "did not submit in time")
                return _reported(stage)
            return _extend_or_fail(stage, there, contract.train_within_s)
        case RoundState.AGGREGATING:
            said = f"did not aggregate round {stage.number}" if stage.number else "gave no first model"
            detail = f"the coordinator {said} in time"
            return fail(stage, "aggregate_deadline", detail)
        case RoundState.SCORING:
            return finish(stage)
        case _:
            return None


def _extend_or_fail(stage: Stage, there: int, span_s: float) -> TaskEnd | None:
    """Too few at the deadline: by the contract, another span, or the end."""
    if stage.contract.too_few != "wait":
        selects = stage.round.state == RoundState.SELECTING
        late = len(_seats_here(stage, *(_SELECTING if selects else _trains(stage))))
        return _too_few(stage, there, late=late)
    stage.draft.change(stage.round, deadline_at=_deadline(stage, span_s))
    stage.event(EventKind.ROUND_EXTENDED, {"by_s": span_s})
    return None


def _drop_late(stage: Stage, states: tuple[SeatState, ...], what: str) -> None:
    for seat in _seats_here(stage, *states):
        drop_seat(stage, seat, "deadline_missed", f"{what} in round {stage.number}")


def drop_seat(stage: Stage, seat: r.Seat, reason: str, detail: str) -> None:
    """A live seat is out of its round; the site is told why and whether it may come back. The caller settles."""
    _step(stage, seat, Step.DROP, reason=reason)
    stage.event(EventKind.SEAT_DROPPED, {"round": seat.round, "reason": reason, "detail": detail}, seat.site_id)
    back = rejoins(stage, stage.draft.have(r.Seat, stage.task_id, seat.site_id))
    stage.tell(seat.site_id, n.SeatDropped(reason=reason, detail=detail, may_rejoin=back is not None))


def rejoins(stage: Stage, seat: r.Seat) -> int | None:
    """The round that a dropped seat may come back to; None where its contract, or the lack of a round, forbids that.

    That is the present one while it is selecting, unless others were drawn for it.
    """
    spec, here = stage.spec, stage.round
    if spec.contract.late == "drop" or seat.reason in ("member_left", "site_retired", REPLACED, "workload_ended"):
        return None
    dropped_here = seat.round == here.number and seat.state_at >= here.started_at
    if here.state == RoundState.SELECTING and (here.drawn is None or dropped_here):
        return here.number
    return here.number + 1 if here.number < spec.rounds else None


def _enter(stage: Stage, step: Step, within_s: float) -> r.Round:
    """The round in its next stage."""
    return stage.draft.change(
        stage.round,
        state=follow(ROUND, RoundState(stage.round.state), step),
        stage_at=stage.draft.now,
        deadline_at=_deadline(stage, within_s),
    )


def _deadline(stage: Stage, within_s: float) -> Micros:
    """A stage's deadline, never later than the run's own."""
    return min(stage.run.deadline_at, stage.draft.now + int(within_s * SECOND))


def _seats_here(stage: Stage, *states: SeatState) -> list[r.Seat]:
    return [seat for seat in stage.seats() if seat.round == stage.number and seat.state in states]


def _step(stage: Stage, seat: r.Seat, step: Step, **fields: object) -> r.Seat:
    state = follow(SEAT, SeatState(seat.state), step)
    return stage.draft.change(seat, state=state, state_at=stage.draft.now, **fields)
