"""How a run moves on: from round to round, task to task, to its end.

The commands (a report, a deadline, a stop) live in runs.py and seats.py; here is what follows from them. The hub
moves the group, not a polling coordinator: whenever a seat has changed, `settle` asks whether its round may go on.
"""

from __future__ import annotations

import functools
import math

import msgspec

from domain import commands as c
from domain import records as r
from domain.commands import Micros
from domain.decisions.access import active_members
from domain.decisions.draft import Draft
from domain.decisions.projects import predecessors
from domain.events import EventKind
from domain.ids import Id
from domain.states import (
    ROUND,
    ROUND_FINAL,
    RUN,
    RUN_FINAL,
    SEAT,
    SEAT_LIVE,
    TASK_RUN,
    TASK_RUN_FINAL,
    MemberState,
    RoundState,
    RunState,
    SeatState,
    Step,
    TaskRunState,
    follow,
)
from domain.sweeps import LeaveOut
from fedyard.wire import notices as n

SECOND: Micros = 1_000_000
SITES_NAMED = 10
"""In one sentence, at most."""

_spec_decoder = msgspec.json.Decoder(c.TaskSpec)

_SELECTING = (SeatState.INVITED, SeatState.PREPARING)
_TRAINING = (SeatState.TRAINING, SeatState.UPLOADING)


@functools.lru_cache(maxsize=1024)
def _spec(text: str) -> c.TaskSpec:
    return _spec_decoder.decode(text)


def spec_of(task: r.TaskRun) -> c.TaskSpec:
    """The task as it was when its run started."""
    return _spec(task.spec_json)


def run_event(draft: Draft, run: r.Run, kind: EventKind, facts: dict[str, object], site_id: Id | None = None) -> None:
    """An event of a run, in its project's stream."""
    draft.event(("project", run.project_id), kind, facts, run_id=run.id, site_id=site_id)


# runs and tasks


def seats_of(draft: Draft, project: r.Project, task: c.TaskSpec) -> list[str]:
    """The ids of the sites that take part in a task, by the memberships of now."""
    members = [m for m in draft.group(r.Membership, project.id) if m.state == MemberState.ACTIVE]
    if task.who == "all":
        return [m.site_id for m in members]
    if task.who == "participants":
        return [m.site_id for m in members if m.role == "participant"]
    return [m.site_id for m in members if m.site_id in task.who]


def quorum_of(contract: c.Contract, seats: int) -> int:
    """How many seats a round needs, of a task with so many."""
    if contract.quorum_of == "count":
        return int(contract.quorum)
    return max(1, math.ceil(round(contract.quorum * seats, 9)))


def begin(draft: Draft, run: r.Run) -> None:
    """created -> running: the tasks that wait for none become active."""
    run = draft.change(run, state=follow(RUN, RunState(run.state), Step.START), started_at=draft.now)
    run_event(draft, run, EventKind.RUN_STARTED, {"number": run.number, "attempt": run.attempt})
    advance(draft, run)


def advance(draft: Draft, run: r.Run) -> None:
    """Start what may start, skip what never can, and end the run when every task has ended."""
    while True:
        tasks = draft.group(r.TaskRun, run.id)
        states = {t.name: TaskRunState(t.state) for t in tasks}
        after = predecessors([spec_of(t) for t in sorted(tasks, key=lambda t: t.seq)])
        moved = False
        for task in sorted(tasks, key=lambda t: t.seq):
            if task.state != TaskRunState.WAITING:
                continue
            before = [states[name] for name in after[task.name]]
            if any(s in TASK_RUN_FINAL and s != TaskRunState.SUCCEEDED for s in before):
                _skip(draft, run, task)
                moved = True
            elif all(s == TaskRunState.SUCCEEDED for s in before):
                _start_task(draft, run, task, after[task.name])
                moved = True
            if moved:
                break
        if not moved:
            break
    run = draft.have(r.Run, run.id)
    ended = [t for t in draft.group(r.TaskRun, run.id) if TaskRunState(t.state) in TASK_RUN_FINAL]
    if RunState(run.state) in RUN_FINAL or len(ended) < len(draft.group(r.TaskRun, run.id)):
        return
    failed = [t for t in ended if t.state != TaskRunState.SUCCEEDED]
    if failed:
        first = next((t for t in failed if t.state == TaskRunState.FAILED), failed[0])
        _finish(draft, run, Step.FAIL, first.reason, f"task {first.name!r} {first.state}: {first.reason}")
    else:
        _finish(draft, run, Step.SUCCEED, "completed", "every task succeeded")


def _skip(draft: Draft, run: r.Run, task: r.TaskRun) -> None:
    draft.change(
        task, state=follow(TASK_RUN, TaskRunState.WAITING, Step.SKIP), reason="predecessor_ended", ended_at=draft.now
    )
    run_event(draft, run, EventKind.TASK_SKIPPED, {"task": task.name})


def _start_task(draft: Draft, run: r.Run, task: r.TaskRun, after: list[str]) -> None:
    """waiting -> active: seats for those who take part, and its first round."""
    spec = spec_of(task)
    project = draft.have(r.Project, run.project_id)
    model = task.model_message_id or inherited_model(draft, run, after)
    task = draft.change(
        task,
        state=follow(TASK_RUN, TaskRunState.WAITING, Step.START),
        started_at=draft.now,
        model_message_id=model,
    )
    run_event(draft, run, EventKind.TASK_STARTED, {"task": task.name, "first_round": task.first_round})
    sites = seats_of(draft, project, spec)
    for site_id in sites:
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
    open_round(draft, run, task, task.first_round)


def inherited_model(draft: Draft, run: r.Run, after: list[str]) -> str | None:
    """The newest global model of the tasks that this one follows."""
    models = [t.model_message_id for t in draft.group(r.TaskRun, run.id) if t.name in after and t.model_message_id]
    return models[-1] if models else None


def end_task(draft: Draft, run: r.Run, task: r.TaskRun, step: Step, reason: str, detail: str = "") -> None:
    """active -> succeeded or failed; its live seats end with it, its sites are told, the other tasks move on."""
    task = draft.change(task, state=follow(TASK_RUN, TaskRunState(task.state), step), reason=reason, ended_at=draft.now)
    _close_seats(draft, task, Step.TASK_DONE if step == Step.SUCCEED else Step.CANCEL, reason)
    kinds = {
        Step.SUCCEED: EventKind.TASK_SUCCEEDED,
        Step.FAIL: EventKind.TASK_FAILED,
        Step.CANCEL: EventKind.TASK_CANCELLED,
    }
    run_event(draft, run, kinds[step], {"task": task.name, "reason": reason, "detail": detail})
    for seat in draft.group(r.Seat, task.id):
        draft.notify(
            seat.site_id,
            n.TaskEnded(state=task.state, reason=reason),
            project_id=run.project_id,
            run_id=run.id,
            task_seq=task.seq,
        )
    if step != Step.CANCEL:
        advance(draft, draft.have(r.Run, run.id))


def _close_seats(draft: Draft, task: r.TaskRun, step: Step, reason: str) -> None:
    for seat in draft.group(r.Seat, task.id):
        state = SeatState(seat.state)
        if state in SEAT_LIVE:
            ending = step if (state, step) in SEAT else Step.CANCEL
            draft.change(seat, state=follow(SEAT, state, ending), reason=reason, state_at=draft.now)


def end(draft: Draft, run: r.Run, step: Step, reason: str, detail: str, *, next_too: bool = True) -> None:
    """Stop everything of a live run at once: stopped, restarted, or past its own deadline."""
    for task in draft.group(r.TaskRun, run.id):
        state = TaskRunState(task.state)
        if state in TASK_RUN_FINAL:
            continue
        current = draft.get(r.Round, task.id, task.round)
        if current is not None and RoundState(current.state) not in ROUND_FINAL:
            draft.change(
                current,
                state=follow(ROUND, RoundState(current.state), Step.CANCEL),
                reason=reason,
                ended_at=draft.now,
            )
            run_event(
                draft, run, EventKind.ROUND_CANCELLED, {"task": task.name, "round": current.number, "reason": reason}
            )
        if state == TaskRunState.ACTIVE:
            end_task(draft, run, task, Step.CANCEL, reason)
        else:
            draft.change(task, state=follow(TASK_RUN, state, Step.CANCEL), reason=reason, ended_at=draft.now)
            run_event(draft, run, EventKind.TASK_CANCELLED, {"task": task.name, "reason": reason})
    _finish(draft, draft.have(r.Run, run.id), step, reason, detail, next_too=next_too)


def _finish(draft: Draft, run: r.Run, step: Step, reason: str, detail: str, *, next_too: bool = True) -> None:
    """A final state, told to every member; then the next queued run's turn."""
    run = draft.change(
        run, state=follow(RUN, RunState(run.state), step), reason=reason, detail=detail, ended_at=draft.now
    )
    kinds = {
        Step.SUCCEED: EventKind.RUN_SUCCEEDED,
        Step.FAIL: EventKind.RUN_FAILED,
        Step.CANCEL: EventKind.RUN_CANCELLED,
    }
    ended = n.RunEnded(number=run.number, attempt=run.attempt, state=run.state, reason=reason, detail=detail)
    run_event(draft, run, kinds[step], msgspec.to_builtins(ended))
    for site_id in active_members(draft, run.project_id):
        draft.notify(site_id, ended, project_id=run.project_id, run_id=run.id)
    if next_too:
        draft.follow_up(c.BeginRun(project_id=run.project_id), run.id)


def pass_run_deadline(draft: Draft, run: r.Run) -> None:
    """The run's own deadline: whatever it was doing, it ends, and says so."""
    end(draft, run, Step.FAIL, "run_deadline", "the run did not finish within its time")


# rounds


def open_round(draft: Draft, run: r.Run, task: r.TaskRun, number: int) -> None:
    """Invite every seat that takes part in this round; its stage is selecting."""
    spec = spec_of(task)
    task = draft.change(task, round=number)
    seats = draft.group(r.Seat, task.id)
    here = r.Round(
        task_run_id=task.id,
        number=number,
        run_id=run.id,
        state=RoundState.SELECTING,
        reason="",
        quorum=quorum_of(spec.contract, len(seats)),
        deadline_at=_deadline(draft, run, spec.contract.select_within_s),
        started_at=draft.now,
        stage_at=draft.now,
    )
    draft.put(here)
    run_event(draft, run, EventKind.ROUND_OPENED, {"task": task.name, "round": number, "quorum": here.quorum})
    for seat in seats:
        again = seat.state == SeatState.SUBMITTED
        invited = _step(draft, seat, Step.NEXT_ROUND, round=number) if again else seat
        if invited.state == SeatState.INVITED and invited.round == number:
            invite(draft, run, task, here, invited)
    settle(draft, run, task)


def invite(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round, seat: r.Seat) -> None:
    """Tell a site that a seat in this round is its own, with the model to start from."""
    facts = n.Invited(
        attempt=run.attempt,
        number=run.number,
        report_seq=seat.report_seq,
        deadline_at=here.deadline_at,
        coordinator_site_id=run.coordinator_site_id,
        task=spec_of(task),
    )
    _tell(draft, run, task, here, seat.site_id, facts, task.model_message_id)


def settle(draft: Draft, run: r.Run, task: r.TaskRun) -> None:
    """Move the present round on if its seats allow it; called whenever one of them has changed."""
    task = draft.have(r.TaskRun, task.id)
    here = draft.get(r.Round, task.id, task.round)
    if task.state != TaskRunState.ACTIVE or here is None:
        return
    match RoundState(here.state):
        case RoundState.SELECTING:
            waiting, there = _counts(draft, task, here, _SELECTING, SeatState.READY)
            if not waiting and there >= here.quorum:
                start_training(draft, run, task, here)
            elif waiting + there < here.quorum and spec_of(task).contract.too_few == "fail":
                _too_few(draft, run, task, here, there)
        case RoundState.TRAINING:
            waiting, there = _counts(draft, task, here, _TRAINING, SeatState.SUBMITTED)
            if not waiting and there >= here.quorum:
                reported(draft, run, task, here)
            elif waiting + there < here.quorum:
                _too_few(draft, run, task, here, there)
        case _:
            pass


def _counts(
    draft: Draft, task: r.TaskRun, here: r.Round, waiting: tuple[SeatState, ...], there: SeatState
) -> tuple[int, int]:
    """(seats that this stage waits for, seats that have done their part)"""
    number = here.number
    states = [seat.state for seat in draft.unordered(r.Seat, task.id) if seat.round == number]
    return sum(map(states.count, waiting)), states.count(there)


def _too_few(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round, there: int) -> None:
    lost = {s.reason for s in draft.group(r.Seat, task.id) if s.state in (SeatState.DROPPED, SeatState.FAILED)}
    fail_round(
        draft,
        run,
        task,
        here,
        "quorum_not_met",
        f"{here.quorum} seats are needed in round {here.number} and {there} can still be had or have come"
        + (f" (lost: {', '.join(sorted(lost))})" if lost else ""),
    )


def start_training(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round) -> None:
    """selecting -> training: the ready seats train; they are told at once."""
    contract = spec_of(task).contract
    here = _stage(draft, run, here, Step.SELECTED, contract.train_within_s)
    seats = [s for s in draft.group(r.Seat, task.id) if s.round == here.number and s.state == SeatState.READY]
    run_event(draft, run, EventKind.ROUND_STARTED, {"task": task.name, "round": here.number, "seats": len(seats)})
    for seat in seats:
        _step(draft, seat, Step.ROUND_STARTED)
        facts = n.RoundStarted(deadline_at=here.deadline_at, seats=len(seats))
        _tell(draft, run, task, here, seat.site_id, facts)


def reported(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round) -> None:
    """training -> aggregating (the coordinator is told what came), or completed where nothing is aggregated."""
    spec = spec_of(task)
    if not spec.aggregate:
        complete_round(draft, run, task, here, None, {})
        return
    here = _stage(draft, run, here, Step.REPORTED, spec.contract.aggregate_within_s)
    seats = [s for s in draft.group(r.Seat, task.id) if s.round == here.number and s.state == SeatState.SUBMITTED]
    submissions = [
        n.Submitted(site_id=s.site_id, message_id=s.update_message_id, metrics=msgspec.json.decode(s.metrics_json))
        for s in seats
    ]
    run_event(
        draft, run, EventKind.ROUND_REPORTED, {"task": task.name, "round": here.number, "submissions": len(seats)}
    )
    facts = n.Aggregate(deadline_at=here.deadline_at, quorum=here.quorum, submissions=submissions)
    _tell(draft, run, task, here, run.coordinator_site_id, facts)


def leave_out(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round, left_out: list[c.LeftOut]) -> bool:
    """The seats of these sites fail, since their updates of this round cannot be used; each is told why.

    False if what remains is below the quorum: the round has failed with that. A site that left after it had submitted
    counts as long as its update does, as everywhere.
    """
    if not left_out:
        return True
    given = {
        seat.site_id
        for seat in draft.group(r.Seat, task.id)
        if seat.round == here.number and (seat.state == SeatState.SUBMITTED or seat.state_at > here.stage_at)
    }
    for one in left_out:
        draft.sweep(LeaveOut(task.id, here.number, one.site_id, one.reason))
        seat = draft.have(r.Seat, task.id, one.site_id)
        if (seat.state, seat.round) == (SeatState.SUBMITTED, here.number):
            _step(draft, seat, Step.FAIL, reason=one.reason)
            _tell(draft, run, task, here, one.site_id, n.SeatLeftOut(reason=one.reason, detail=one.detail))
        facts = {"task": task.name, "round": here.number, "reason": one.reason, "detail": one.detail}
        run_event(draft, run, EventKind.SEAT_LEFT_OUT, facts, one.site_id)
    remain = len(given - {one.site_id for one in left_out})
    if remain >= here.quorum:
        return True
    named = [f"site {one.site_id} ({one.reason})" for one in left_out[:SITES_NAMED]]
    more = len(left_out) - len(named)
    detail = (
        f"{here.quorum} updates are needed in round {here.number} and {remain} can be used; left out: "
        f"{', '.join(named)}" + (f" and {more} more" if more else "")
    )
    fail_round(draft, run, task, here, "quorum_not_met", detail)
    return False


def complete_round(
    draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round, model: Id | None, metrics: dict[str, float]
) -> None:
    """A round is done: everybody gets the new global model; the next round opens, or the task has succeeded."""
    spec = spec_of(task)
    here = draft.change(
        here,
        state=follow(ROUND, RoundState(here.state), Step.COMPLETE),
        ended_at=draft.now,
        metrics_json=msgspec.json.encode(metrics).decode(),
        model_message_id=model,
    )
    task = draft.change(task, model_message_id=model or task.model_message_id)
    version = None if model is None else _keep_model(draft, run, task, here, model)
    run_event(
        draft,
        run,
        EventKind.ROUND_COMPLETED,
        {
            "task": task.name,
            "round": here.number,
            "metrics": metrics,
            "model_message_id": model,
            "model_version": version,
        },
    )
    for seat in draft.group(r.Seat, task.id):
        facts = n.RoundCompleted(metrics=metrics, rounds=spec.rounds)
        _tell(draft, run, task, here, seat.site_id, facts, model)
    if here.number < spec.rounds:
        open_round(draft, run, task, here.number + 1)
    else:
        end_task(draft, run, task, Step.SUCCEED, "completed")


def _keep_model(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round, message_id: Id) -> int:
    """The model becomes the project's next version."""
    project, message = draft.have(r.Project, run.project_id), draft.have(r.Message, message_id)
    project = draft.change(project, last_model_version=project.last_model_version + 1)
    draft.put(
        r.Model(
            project_id=project.id,
            version=project.last_model_version,
            run_id=run.id,
            task_seq=task.seq,
            task=task.name,
            round=here.number,
            message_id=message_id,
            artifact_id=message.artifact_id,
            digest=message.sha256,
            size_bytes=message.size_bytes,
            metrics_json=here.metrics_json,
            created_at=draft.now,
        )
    )
    return project.last_model_version


def fail_round(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round, reason: str, detail: str) -> None:
    """A round that cannot be completed fails its task, truthfully and at once."""
    draft.change(here, state=follow(ROUND, RoundState(here.state), Step.FAIL), reason=reason, ended_at=draft.now)
    run_event(
        draft,
        run,
        EventKind.ROUND_FAILED,
        {"task": task.name, "round": here.number, "reason": reason, "detail": detail},
    )
    end_task(draft, run, task, Step.FAIL, reason, detail)


def pass_round_deadline(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round) -> None:
    """The stage's time is over: go on with the quorum, wait for another span, or fail."""
    contract = spec_of(task).contract
    match RoundState(here.state):
        case RoundState.SELECTING:
            _, there = _counts(draft, task, here, _SELECTING, SeatState.READY)
            if there >= here.quorum:
                _drop_late(draft, run, task, here, _SELECTING, "was not ready in time")
                start_training(draft, run, task, draft.have(r.Round, task.id, here.number))
            elif contract.too_few == "wait":
                _extend(draft, run, task, here, contract.select_within_s)
            else:
                _too_few(draft, run, task, here, there)
        case RoundState.TRAINING:
            _, there = _counts(draft, task, here, _TRAINING, SeatState.SUBMITTED)
            if there >= here.quorum:
                _drop_late(draft, run, task, here, _TRAINING, "did not submit in time")
                reported(draft, run, task, draft.have(r.Round, task.id, here.number))
            elif contract.too_few == "wait":
                _extend(draft, run, task, here, contract.train_within_s)
            else:
                _too_few(draft, run, task, here, there)
        case RoundState.AGGREGATING:
            detail = f"the coordinator did not aggregate round {here.number} in time"
            fail_round(draft, run, task, here, "aggregate_deadline", detail)
        case _:
            pass


def _drop_late(
    draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round, states: tuple[SeatState, ...], what: str
) -> None:
    for seat in draft.group(r.Seat, task.id):
        if seat.round == here.number and seat.state in states:
            drop_seat(draft, run, task, seat, "deadline_missed", f"{what} in round {here.number}")


def drop_seat(draft: Draft, run: r.Run, task: r.TaskRun, seat: r.Seat, reason: str, detail: str) -> None:
    """A live seat is out of its round; the site is told why and whether it may come back. The caller settles."""
    _step(draft, seat, Step.DROP, reason=reason)
    here = draft.have(r.Round, task.id, task.round)
    facts = n.SeatDropped(reason=reason, detail=detail, may_rejoin=may_rejoin(task, here, reason))
    run_event(
        draft,
        run,
        EventKind.SEAT_DROPPED,
        {"task": task.name, "round": seat.round, "reason": reason, "detail": detail},
        seat.site_id,
    )
    _tell(draft, run, task, here, seat.site_id, facts)


def may_rejoin(task: r.TaskRun, here: r.Round, reason: str) -> bool:
    """Does the contract let a dropped seat come back, and is there a round for it to come back to?"""
    spec = spec_of(task)
    if spec.contract.late == "drop" or reason in ("member_left", "site_retired"):
        return False
    return here.state == RoundState.SELECTING or here.number < spec.rounds


def _extend(draft: Draft, run: r.Run, task: r.TaskRun, here: r.Round, span_s: float) -> None:
    draft.change(here, deadline_at=_deadline(draft, run, span_s))
    run_event(draft, run, EventKind.ROUND_EXTENDED, {"task": task.name, "round": here.number, "by_s": span_s})


def _stage(draft: Draft, run: r.Run, here: r.Round, step: Step, within_s: float) -> r.Round:
    return draft.change(
        here,
        state=follow(ROUND, RoundState(here.state), step),
        stage_at=draft.now,
        deadline_at=_deadline(draft, run, within_s),
    )


def _deadline(draft: Draft, run: r.Run, within_s: float) -> Micros:
    """A stage's deadline, never later than the run's own."""
    return min(run.deadline_at, draft.now + int(within_s * SECOND))


def _step(draft: Draft, seat: r.Seat, step: Step, **fields: object) -> r.Seat:
    state = follow(SEAT, SeatState(seat.state), step)
    return draft.change(seat, state=state, state_at=draft.now, **fields)


def _tell(
    draft: Draft,
    run: r.Run,
    task: r.TaskRun,
    here: r.Round,
    site_id: Id,
    facts: n.Facts,
    message_id: Id | None = None,
) -> None:
    draft.notify(
        site_id,
        facts,
        project_id=run.project_id,
        run_id=run.id,
        task_seq=task.seq,
        round=here.number,
        message_id=message_id,
    )
