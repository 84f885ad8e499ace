"""Tickers that are believed, deadlines and heartbeats."""

from __future__ import annotations

from typing import Any

import domain.decisions.messages
import domain.decisions.progress.rounds
import domain.decisions.progress.runs
import domain.decisions.seats
import domain.decisions.sites
import storage.store
from domain import records as r
from domain.decisions.draft import Draft
from domain.decisions.progress.stage import Stage
from domain.results import Passed
from domain.states import RunState
from storage.due import Due
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World


def _pass(stage: Stage) -> None:
    """The deadline of a round, and all that follows."""
    domain.decisions.progress.runs.move_on(stage, domain.decisions.progress.rounds.pass_deadline(stage))


@bug("the ticker sees no deadlines", shown_by=12)
def ticker_without_deadlines(_: World) -> list[Swap]:
    return [(Due, "deadlines", lambda *_: [])]


@bug("the decision believes a ticker that says that sites are silent", shown_by=2)
def silence_believed(_: World) -> list[Swap]:
    return [(domain.decisions.sites, "seen_at", lambda *_: 0)]


@bug("the decision believes a ticker that says that a deadline has passed", shown_by=2)
def deadlines_believed(_: World) -> list[Swap]:
    decide = domain.decisions.seats.pass_deadline

    def by_its_clock(draft: Draft, command: Any) -> Any:
        task = next((t for t in draft.group(r.TaskRun, command.run_id) if t.seq == command.task_seq), None)
        here = draft.get(r.Round, task.id, command.round) if task is not None else None
        run = draft.get(r.Run, command.run_id)
        if run is None or task is None or here is None or command.deadline_at <= draft.now:
            return decide(draft, command)
        if here.deadline_at == command.deadline_at and RunState(run.state) == RunState.RUNNING:
            _pass(Stage(draft, run.id, task.id, here.number))
        return draft.accept(Passed(passed=True))

    return [(domain.decisions.seats, "pass_deadline", by_its_clock)]


@bug("outcomes of commands are forgotten by the ticker's clock", shown_by=10)
def retention_believed(world: World) -> list[Swap]:
    forget = domain.decisions.messages.forget_history

    def by_its_clock(draft: Draft, command: Any) -> Any:
        draft.now += max(0, 0 if world.calm else world.astray)
        return forget(draft, command)

    return [(domain.decisions.messages, "forget_history", by_its_clock)]


@bug("a deadline is passed without asking whether it is still the one", shown_by=24)
def stale_deadlines_passed(_: World) -> list[Swap]:
    decide = domain.decisions.seats.pass_deadline

    def any_deadline(draft: Draft, command: Any) -> Any:
        run = draft.get(r.Run, command.run_id)
        task = next((t for t in draft.group(r.TaskRun, command.run_id) if t.seq == command.task_seq), None)
        here = draft.get(r.Round, task.id, command.round) if task is not None else None
        if run is None or task is None or here is None or command.deadline_at > draft.now:
            return decide(draft, command)
        _pass(Stage(draft, run.id, task.id, here.number))
        return draft.accept(Passed(passed=True))

    return [(domain.decisions.seats, "pass_deadline", any_deadline)]


@bug("a late packet of heartbeats puts back when a site was last heard of", shown_by=12)
def heartbeats_go_back(_: World) -> list[Swap]:
    sql = storage.store._BEATS_SQLITE
    return [
        (storage.store, "_BEATS_SQLITE", sql.replace("max(site_beats.seen_at, EXCLUDED.seen_at)", "EXCLUDED.seen_at"))
    ]
