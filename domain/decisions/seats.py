"""What sites, the coordinator and the ticker report on a round: seats, aggregation, deadlines, silence."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions import codes, sealing
from domain.decisions.access import acts_for, find, forbidden, known_run, missing, need_hub
from domain.decisions.artifacts import Place, carry
from domain.decisions.draft import Decision, Draft, Refused, TooEarly
from domain.decisions.progress import rounds, runs
from domain.decisions.progress.stage import INITIAL, Stage, TaskEnd, spec_of, stage_of
from domain.decisions.sealing import to_coordinator, to_members
from domain.decisions.sites import seen_at
from domain.events import EventKind
from domain.ids import Id, sha256_hex
from domain.needs import Needs, those
from domain.states import (
    RUN_FINAL,
    SEAT,
    SEAT_LIVE,
    SEAT_WAITED_FOR,
    TASK_RUN_FINAL,
    Report,
    RoundState,
    RunState,
    SeatState,
    Step,
    TaskRunState,
)
from domain.sweeps import MissReceipt
from fedyard.wire import notices as n
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import DAY, SECOND

_EVENTS = {
    Report.ACCEPT: EventKind.SEAT_ACCEPTED,
    Report.READY: EventKind.SEAT_READY,
    Report.TRAINED: EventKind.SEAT_TRAINED,
    Report.SUBMIT: EventKind.SEAT_SUBMITTED,
    Report.SCORED: EventKind.SEAT_SCORED,
    Report.WAIT: EventKind.SEAT_WAITING,
    Report.FAIL: EventKind.SEAT_FAILED,
    Report.REJOIN: EventKind.SEAT_REJOINED,
}


def needs_of_report_seat(command: c.ReportSeat) -> Needs:
    return Needs(
        runs={command.run_id},
        keys=sealing.keys_in((command.update,)),
        artifacts=those(command.update_artifact_id),
    )


def report_seat(draft: Draft, command: c.ReportSeat) -> Decision:
    """A site's report on its own seat. Early ones wait for those before them, late ones are duplicates."""
    run, _ = known_run(draft, command.run_id)
    site = draft.get(r.Site, command.site_id)
    if site is None or not acts_for(draft.by, site):
        raise forbidden(f"only site {command.site_id} itself may report on its seat in run {run.id}")
    task = _active_task(draft, run, command.task_seq)
    seat = draft.get(r.Seat, task.id, command.site_id)
    if seat is None:
        raise missing("seat", f"of site {command.site_id} in task {task.seq} of run {run.id}")
    if command.seq <= seat.report_seq:
        return _answer(draft, seat, duplicate=True)
    if command.seq > seat.report_seq + 1:
        raise TooEarly(
            f"report {command.seq} of site {seat.site_id} in task {task.seq} of run {run.id} came too early: the next "
            f"one has seq {seat.report_seq + 1} (its seat's report_seq is {seat.report_seq})"
        )
    stage = stage_of(draft, task)
    _check_round(stage, seat, command)
    seat = draft.change(seat, report_seq=command.seq)
    if why := codes.why_refused(stage.task, stage.spec, command, stage.seats()):
        return _refuse_code(stage, seat, command, why)
    seat = _take(stage, seat, command)
    facts: dict[str, object] = {"round": command.round, "seq": command.seq}
    if command.reason:
        facts["reason"] = command.reason
    if command.event == Report.WAIT:
        facts["waits_for"] = command.waits_for
    stage.event(_EVENTS[command.event], facts, seat.site_id)
    if command.event == Report.REJOIN and seat.round == stage.number:
        rounds.invite(stage, seat)
    runs.move_on(stage, rounds.settle(stage))
    return _answer(draft, seat)


def _take(stage: Stage, seat: r.Seat, command: c.ReportSeat) -> r.Seat:
    """What a report does to its seat."""
    match command.event:
        case Report.SUBMIT:
            return _submit(stage, seat, command)
        case Report.REJOIN:
            return _rejoin(stage, seat)
        case Report.SCORED:
            return _scored(stage, seat, command)
        case Report.WAIT:
            return _wait(stage, seat, command)
        case Report.READY:
            _hold_to(stage, command.code)
            return _move(stage.draft, seat, command.event, code=command.code or "")
        case Report.FAIL:
            return _move(stage.draft, seat, command.event, reason="site_failed")
        case _:
            return _move(stage.draft, seat, command.event)


def _answer(draft: Draft, seat: r.Seat, *, duplicate: bool = False, reason: str = "") -> Decision:
    return draft.accept(
        results.SeatResult(
            state=SeatState(seat.state),
            round=seat.round,
            report_seq=seat.report_seq,
            duplicate=duplicate,
            reason=reason,
        )
    )


def _refuse_code(stage: Stage, seat: r.Seat, command: c.ReportSeat, why: str) -> Decision:
    """The report was in its place; the seat fails of the code that it was done with, and nothing of it is kept."""
    seat = _move(stage.draft, seat, command.event, code=command.code or "")
    seat = _move(stage.draft, seat, Report.FAIL, reason=codes.DIFFERS)
    facts = {"round": command.round, "seq": command.seq, "reason": codes.DIFFERS, "detail": why}
    stage.event(EventKind.SEAT_FAILED, facts, seat.site_id)
    stage.tell(seat.site_id, n.SeatLeftOut(reason=codes.DIFFERS, detail=why))
    runs.move_on(stage, rounds.settle(stage))
    return _answer(stage.draft, seat, reason=why)


def _hold_to(stage: Stage, said: str | None) -> None:
    """The first code that is said is what further seats are held to, where the task wants that."""
    wanted = codes.reference(stage.task, stage.spec, said)
    if wanted != stage.task.code:
        stage.draft.change(stage.task, code=wanted)


def _wait(stage: Stage, seat: r.Seat, command: c.ReportSeat) -> r.Seat:
    """What the site has its seat wait for, or that it does not any more; it stays where it is."""
    before = seat.state, seat.state_at
    seat = _move(stage.draft, seat, command.event)
    until = command.waits_until if command.waits_for == "hours" else None
    at = before[1] if seat.state == before[0] else seat.state_at
    return stage.draft.change(seat, state_at=at, waits_for=command.waits_for or "", waits_until=until)


def _active_task(draft: Draft, run: r.Run, task_seq: int) -> r.TaskRun:
    """A live run's active task. 404 or 409 otherwise."""
    task = next((t for t in draft.group(r.TaskRun, run.id) if t.seq == task_seq), None)
    if task is None:
        raise missing("task", f"{task_seq} of run {run.id}")
    if RunState(run.state) in RUN_FINAL:
        raise Refused(
            ProblemType.RUN_FINISHED, f"run {run.id} is finished: {run.state} ({run.reason}); no report counts any more"
        )
    if task.state != TaskRunState.ACTIVE:
        ended = TaskRunState(task.state) in TASK_RUN_FINAL
        raise Refused(
            ProblemType.TASK_FINISHED if ended else ProblemType.TASK_WAITING,
            f"task {task.seq} of run {run.id} is {task.state}; reports count while it is active",
        )
    return task


def _check_round(stage: Stage, seat: r.Seat, command: c.ReportSeat) -> None:
    run, task = stage.run, stage.task
    if stage.number == INITIAL:
        raise Refused(
            ProblemType.ROUND_AHEAD,
            f"round {command.round} of task {task.seq} in run {run.id} has not begun: its coordinator is to give the "
            "first model",
        )
    if command.event != Report.REJOIN and seat.state == SeatState.DROPPED:
        back = rounds.rejoins(stage, seat)
        way = "it cannot come back" if back is None else "report rejoin to come back"
        raise Refused(
            ProblemType.SEAT_DROPPED,
            f"the seat of site {seat.site_id} in run {run.id} was dropped ({seat.reason}); {way}",
        )
    if command.event == Report.REJOIN or command.round == seat.round:
        return
    if command.round < seat.round:
        raise Refused(
            ProblemType.ROUND_OVER,
            f"round {command.round} of task {task.seq} in run {run.id} is over for site {seat.site_id}: its seat is in "
            f"round {seat.round}",
        )
    raise Refused(
        ProblemType.ROUND_AHEAD,
        f"round {command.round} of task {task.seq} in run {run.id} has not begun for site {seat.site_id}: its seat is "
        f"in round {seat.round}",
    )


def _move(draft: Draft, seat: r.Seat, event: Report, **fields: object) -> r.Seat:
    """One step by the table, or 409 with where the seat stands."""
    state = SeatState(seat.state)
    target = SEAT.get((state, Step(event.value)))
    if target is None:
        raise Refused(
            ProblemType.NOT_NOW,
            f"the seat of site {seat.site_id} in run {seat.run_id} is {state} in round {seat.round}; {event} may not "
            "follow that",
        )
    return draft.change(seat, state=target, state_at=draft.now, waits_for="", waits_until=None, **fields)


def _submit(stage: Stage, seat: r.Seat, command: c.ReportSeat) -> r.Seat:
    """The update goes to the coordinator's inbox in this same decision."""
    draft, run, here = stage.draft, stage.run, stage.round
    metrics = msgspec.json.encode(command.metrics).decode()
    message_id = None
    if command.update is not None or command.update_artifact_id is not None:
        message_id = draft.derive("update")
        payload = Payload("update", seat.site_id, command.update, command.update_artifact_id)
        project, sender = draft.have(r.Project, run.project_id), draft.have(r.Site, seat.site_id)
        place = to_coordinator(project, sender, "update", run.id, stage.task.seq, stage.number)
        put_payload(stage, message_id, payload, place, recipients=1)
        stage.tell(run.coordinator_site_id, n.MessageArrived(), message_id)
    code = command.code or seat.code
    seat = _move(draft, seat, command.event, metrics_json=metrics, update_message_id=message_id, code=code)
    draft.put(
        r.Submission(
            task_run_id=stage.task_id,
            round=stage.number,
            site_id=seat.site_id,
            run_id=run.id,
            metrics_json=metrics,
            update_message_id=message_id,
            started_at=here.stage_at,
            submitted_at=draft.now,
            code=code,
        )
    )
    return seat


@dataclass(frozen=True)
class Payload:
    """An update or a global model: its bytes, or the artifact that they lie in and its detached seal, if any."""

    kind: str
    sender: Id
    body: bytes | None
    artifact_id: Id | None

    def __repr__(self) -> str:
        return f"Payload({self.kind})"


def put_payload(stage: Stage, message_id: str, payload: Payload, sealed_for: sealing.Place, *, recipients: int) -> None:
    """A payload of a run (update or global model), stored once; it lives as long as its run, and a week at least."""
    draft, run, task_seq = stage.draft, stage.run, stage.task.seq
    week = 7 * DAY
    body, artifact = payload.body or b"", None
    if payload.artifact_id is not None:
        place = Place(run.project_id, payload.sender, run.id, task_seq, stage.number, payload.kind)
        artifact = carry(draft, payload.artifact_id, place, message_id)
    sealing.checked(draft, sealed_for, payload.body, sealing.outside(artifact))
    draft.put(
        r.Message(
            id=message_id,
            sender_site_id=payload.sender,
            project_id=run.project_id,
            run_id=run.id,
            task_seq=task_seq,
            round=stage.number,
            kind=payload.kind,
            body=payload.body,
            size_bytes=len(body) if artifact is None else artifact.size_bytes,
            sha256=sha256_hex(body) if artifact is None else artifact.digest,
            recipient_count=recipients,
            sent_at=draft.now,
            expires_at=max(run.deadline_at, draft.now + week),
            artifact_id=payload.artifact_id,
        )
    )


def _rejoin(stage: Stage, seat: r.Seat) -> r.Seat:
    number = rounds.rejoins(stage, seat)
    if seat.state == SeatState.DROPPED and number is None:
        raise Refused(
            ProblemType.NO_WAY_BACK,
            f"the seat of site {seat.site_id} in run {stage.run_id} was dropped ({seat.reason}) and its contract, or "
            "the lack of a further round, lets it not come back",
        )
    return _move(stage.draft, seat, Report.REJOIN, round=number, reason="")


def _scored(stage: Stage, seat: r.Seat, command: c.ReportSeat) -> r.Seat:
    """What the round's model is worth on a site's data; nothing where it says why it has no score."""
    metrics = msgspec.json.encode(command.metrics).decode()
    seat = _move(stage.draft, seat, command.event, score_json=metrics, score_round=stage.number)
    stage.draft.put(
        r.Score(
            task_run_id=stage.task_id,
            round=stage.number,
            site_id=seat.site_id,
            run_id=stage.run_id,
            metrics_json=metrics,
            reason=command.reason,
            scored_at=stage.draft.now,
        )
    )
    return seat


def needs_of_report_aggregated(command: c.ReportAggregated) -> Needs:
    run, keys = command.run_id, sealing.keys_in((command.model,))
    return Needs(
        runs={run},
        keys=keys,
        keys_in={run} if keys else set(),
        artifacts=those(command.model_artifact_id),
        submissions={(run, command.task_seq, command.round)} if command.left_out else set(),
    )


def report_aggregated(draft: Draft, command: c.ReportAggregated) -> Decision:
    """The coordinator has made the new global model of a round, or says why it could not."""
    run, _ = known_run(draft, command.run_id)
    coordinator = draft.have(r.Site, run.coordinator_site_id)
    if not acts_for(draft.by, coordinator):
        raise forbidden(f"only site {run.coordinator_site_id} coordinates run {run.id} and may report a global model")
    task = _active_task(draft, run, command.task_seq)
    here = draft.get(r.Round, task.id, command.round)
    if here is None or command.round != task.round or here.state != RoundState.AGGREGATING:
        current = draft.have(r.Round, task.id, task.round)
        raise Refused(
            ProblemType.NOT_AGGREGATING,
            f"round {command.round} of task {task.seq} in run {run.id} is not aggregating: the task is in round "
            f"{current.number}, {current.state}",
        )
    stage = stage_of(draft, task)
    _check_left_out(stage, command.left_out)
    ending = rounds.leave_out(stage, command.left_out)
    if ending is None:
        ending = _take_model(stage, coordinator, command)
    runs.move_on(stage, ending)
    return draft.accept(results.RoundResult(state=RoundState(stage.round.state), round=command.round))


def _take_model(stage: Stage, coordinator: r.Site, command: c.ReportAggregated) -> TaskEnd | None:
    """What the coordinator has made of the updates completes the round, or fails it."""
    if command.failure:
        return rounds.fail(stage, "aggregation_failed", command.failure)
    draft, run, model = stage.draft, stage.run, None
    if command.model is not None or command.model_artifact_id is not None:
        model = draft.derive("model")
        payload = Payload("model", run.coordinator_site_id, command.model, command.model_artifact_id)
        project = draft.have(r.Project, run.project_id)
        place = to_members(draft, project, coordinator, "model", run.id, stage.task, stage.number)
        put_payload(stage, model, payload, place, recipients=len(stage.seats()))
    elif stage.number == INITIAL:
        return rounds.fail(stage, "aggregation_failed", "the coordinator gave no first model")
    return rounds.complete(stage, model, command.metrics)


def _check_left_out(stage: Stage, left_out: list[c.LeftOut]) -> None:
    """Only who has submitted can be left out, and once."""
    named: set[Id] = set()
    for one in left_out:
        submission = stage.draft.get(r.Submission, stage.task_id, stage.number, one.site_id)
        if one.site_id in named or submission is None:
            what = "is named twice" if one.site_id in named else "has not submitted"
            raise Refused(
                ProblemType.NOT_SUBMITTED,
                f"site {one.site_id} {what} in round {stage.number} of task {stage.task.seq} in run {stage.run_id}; "
                "left_out names sites that have submitted, each once",
            )
        named.add(one.site_id)


def needs_of_report_missing_receipt(command: c.ReportMissingReceipt) -> Needs:
    run = command.run_id
    return Needs(runs={run}, submissions={(run, command.task_seq, command.round)})


def report_missing_receipt(draft: Draft, command: c.ReportMissingReceipt) -> Decision:
    """A site does not find its update among those that its round's model names. On record once for each update."""
    run, site = find(draft, r.Run, "run", command.run_id), draft.get(r.Site, command.site_id)
    if site is None or not acts_for(draft.by, site):
        known_run(draft, run.id)
        raise forbidden(f"only site {command.site_id} itself may report that a model does not name its update")
    task = next((t for t in draft.group(r.TaskRun, run.id) if t.seq == command.task_seq), None)
    submission = None if task is None else draft.get(r.Submission, task.id, command.round, site.id)
    if task is None or submission is None:
        known_run(draft, run.id)
        raise missing("submission", f"of site {site.id} in round {command.round} of run {run.id}")
    answer = results.ReceiptResult(
        site_id=site.id, round=command.round, reason=submission.missing_receipt or command.reason
    )
    if submission.missing_receipt:
        return draft.accept(answer)
    draft.sweep(MissReceipt(task.id, command.round, site.id, command.reason))
    draft.put(run)  # it shows the submission, so it counts one version up
    stage = Stage(draft, run.id, task.id, command.round)
    stage.event(EventKind.RECEIPT_MISSING, {"reason": command.reason}, site.id)
    stage.tell(run.coordinator_site_id, n.ReceiptMissing(site_id=site.id, reason=command.reason))
    return draft.accept(answer)


def needs_of_drop_seats(command: c.DropSeats) -> Needs:
    return Needs(runs={command.run_id}, sites={command.site_id}, beats={command.site_id})


def drop_seats(draft: Draft, command: c.DropSeats) -> Decision:
    """The hub's own: a site was silent for too long (looked at again here), left the project, or retired."""
    need_hub(draft.by)
    run = draft.get(r.Run, command.run_id)
    dropped = []
    if run is not None and run.state == RunState.RUNNING:
        silent = command.reason == "site_silent"
        waited = SEAT_WAITED_FOR if silent else frozenset(SEAT_LIVE)
        for task in draft.group(r.TaskRun, run.id):
            seat = draft.get(r.Seat, task.id, command.site_id)
            detail = _too_long_silent(draft, task, command.site_id) if silent else command.detail
            if detail is None:
                continue
            if task.state == TaskRunState.ACTIVE and seat is not None and seat.state in waited:
                holder = draft.have(r.Site, command.site_id).workload_id
                if holder is not None and silent:  # its next attempt takes the seat over, in the decision that drops it
                    given_up = c.GiveUpAttempt(workload_id=holder, site_id=command.site_id, detail=detail)
                    draft.follow_up(given_up, holder, task.seq)
                    continue
                stage = stage_of(draft, task)
                rounds.drop_seat(stage, seat, command.reason, detail)
                dropped.append(task.seq)
                runs.move_on(stage, rounds.settle(stage))
    return draft.accept(results.Dropped(dropped=dropped))


def _too_long_silent(draft: Draft, task: r.TaskRun, site_id: Id) -> str | None:
    """What to say of a silence that the task's contract does not allow, now; None for one that it does, or while the
    coordinator is to give the first model: then nobody's seat is waited for."""
    if task.round == INITIAL:
        return None
    silent, allowed_s = draft.now - seen_at(draft, draft.have(r.Site, site_id)), spec_of(task).contract.silent_within_s
    if silent < int(allowed_s * SECOND):
        return None
    return f"the site was not heard of for {silent // SECOND} s; the task allows {allowed_s:g}"


def needs_of_pass_deadline(command: c.PassDeadline) -> Needs:
    return Needs(runs={command.run_id})


def pass_deadline(draft: Draft, command: c.PassDeadline) -> Decision:
    """The ticker's finding; stale ones (the stage has moved on), and such as have not passed, change nothing."""
    need_hub(draft.by)
    run = draft.get(r.Run, command.run_id)
    passed = False
    if run is not None and RunState(run.state) not in RUN_FINAL and command.deadline_at <= draft.now:
        if command.task_seq is None:
            if run.deadline_at == command.deadline_at:
                runs.pass_deadline(draft, run)
                passed = True
        else:
            task = next((t for t in draft.group(r.TaskRun, run.id) if t.seq == command.task_seq), None)
            here = draft.get(r.Round, task.id, command.round) if task is not None else None
            if task is not None and here is not None and here.deadline_at == command.deadline_at:
                stage = Stage(draft, run.id, task.id, here.number)
                runs.move_on(stage, rounds.pass_deadline(stage))
                passed = True
    return draft.accept(results.Passed(passed=passed))
