"""Runs, seats and models."""

from __future__ import annotations

from typing import Any

import msgspec

import domain.decisions.draft
import domain.decisions.progress.rounds
import domain.decisions.runs
import domain.decisions.seats
import domain.states
import storage.store
from domain import records as r
from domain.chain import hash_of
from domain.decisions.draft import Draft
from domain.decisions.progress.stage import Stage
from domain.states import RunState, SeatState, Step
from tests.simulation.bugs.planting import Swap, bug, deciding
from tests.simulation.world import World


@bug("reports do not count a run's version up", shown_by=9)
def version_not_counted(_: World) -> list[Swap]:
    return [(domain.decisions.draft, "_TOUCHES_RUN", (r.Run,))]


@bug("the number of a report is not looked at", shown_by=9)
def report_numbers_ignored(_: World) -> list[Swap]:
    decide = domain.decisions.seats.report_seat

    def any_number(draft: Draft, command: Any) -> Any:
        task = next((t for t in draft.group(r.TaskRun, command.run_id) if t.seq == command.task_seq), None)
        seat = draft.get(r.Seat, task.id, command.site_id) if task is not None else None
        if seat is not None:
            draft.put(msgspec.structs.replace(seat, report_seq=command.seq - 1))
        return decide(draft, command)

    return [(domain.decisions.seats, "report_seat", any_number)]


@bug("a report on another round, or of a dropped seat, is taken where the table of states lets it", shown_by=9)
def reports_on_any_round(_: World) -> list[Swap]:
    return [(domain.decisions.seats, "_check_round", lambda *_: None)]


@bug("the update of a dropped seat is taken: neither is the seat looked at nor does the table forbid it", shown_by=9)
def late_update_accepted(_: World) -> list[Swap]:
    check = domain.decisions.seats._check_round

    def lenient(stage: Stage, seat: r.Seat, command: Any) -> None:
        if seat.state != SeatState.DROPPED:
            check(stage, seat, command)

    row = (SeatState.DROPPED, Step.SUBMIT)
    return [
        (domain.decisions.seats, "_check_round", lenient),
        (domain.states.SEAT, row, SeatState.SUBMITTED),
    ]


@bug("a finished run can be stopped: neither is it looked at nor does the table forbid it", shown_by=12)
def final_state_changed_by_stop(_: World) -> list[Swap]:
    rows: list[Swap] = [
        (domain.states.RUN, (state, Step.CANCEL), RunState.CANCELLED) for state in (RunState.SUCCEEDED, RunState.FAILED)
    ]
    return [(domain.decisions.runs, "RUN_FINAL", frozenset()), *rows]


@bug("a restart opens the finished run again in place of a new attempt", shown_by=12)
def final_state_reopened_by_restart(_: World) -> list[Swap]:
    decide = domain.decisions.runs.restart_run

    def reopened(draft: Draft, command: Any) -> Any:
        old = draft.get(r.Run, command.run_id)
        if old is not None and old.ended_at is not None:
            draft.change(old, state=RunState.RUNNING, ended_at=None)
        return decide(draft, command)

    return [(domain.decisions.runs, "restart_run", reopened)]


@bug("an event's hash leaves out the event before it", shown_by=9)
def chain_broken(_: World) -> list[Swap]:
    return [(domain.decisions.draft, "hash_of", lambda event, _: hash_of(event, ""))]


@bug("a decider counts a project's models itself, knows none when it starts, and may overwrite one", shown_by=9)
def versions_from_memory(world: World) -> list[Swap]:
    keep, last = domain.decisions.progress.rounds._keep_model, dict[tuple[object, str], int]()

    def remembered(stage: Stage, *args: Any) -> int:
        project, decider = stage.draft.have(r.Project, stage.run.project_id), deciding(world)
        stage.draft.put(msgspec.structs.replace(project, last_model_version=last.get((decider, project.id), 0)))
        last[decider, project.id] = keep(stage, *args)
        return last[decider, project.id]

    upsert = f"{storage.store._SQLITE[r.Model]} ON CONFLICT DO UPDATE SET digest = EXCLUDED.digest"
    return [(domain.decisions.progress.rounds, "_keep_model", remembered), (storage.store._SQLITE, r.Model, upsert)]


@bug("a round that is completed leaves no model", shown_by=9)
def models_forgotten(_: World) -> list[Swap]:
    return [(domain.decisions.progress.rounds, "_keep_model", lambda *_: 1)]


@bug("a run has its project's tasks, whatever it was given of its own", shown_by=40)
def own_parameters_forgotten(_: World) -> list[Swap]:
    return [(domain.decisions.runs, "tasks_of_run", lambda tasks, *_: list(tasks))]


@bug("round 1 begins while the first model is still to be given", shown_by=48)
def first_model_not_waited_for(_: World) -> list[Swap]:
    def begin(stage: Stage) -> None:
        domain.decisions.progress.rounds.start(stage.next())

    return [(domain.decisions.progress.rounds, "start_initial", begin)]


@bug("a model that a coordinator gives in round 0 is none that round 1 begins with", shown_by=48)
def first_model_lost(_: World) -> list[Swap]:
    start = domain.decisions.progress.rounds.start

    def without(stage: Stage) -> Any:
        if stage.number == 1 and stage.spec.initial:
            stage.draft.change(stage.task, model_message_id=None)
        return start(stage)

    return [(domain.decisions.progress.rounds, "start", without)]
