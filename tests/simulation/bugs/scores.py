"""Which seats a round draws, what scores come to, and what follows from them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

import domain.decisions.progress.rounds
import domain.decisions.progress.scores
import domain.events
import fedyard.wire.scoring
from domain import records as r
from domain.decisions.progress.stage import Stage
from domain.states import RoundState
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World

_rounds: Any = domain.decisions.progress.rounds
_scoring: Any = fedyard.wire.scoring


@bug("a round draws the first seats, and always the same", shown_by=74)
def drawn_in_order(_: World) -> list[Swap]:
    def first(_run: str, _task: int, _round: int, sites: Collection[str], size: int) -> list[str]:
        return sorted(sites)[:size]

    return [(_rounds, "drawn", first)]


@bug("the quorum of a round is of all seats, also of those that rest", shown_by=74)
def quorum_of_those_that_rest(_: World) -> list[Swap]:
    start, quorum = _rounds.start, _rounds.quorum_of

    def started(stage: Stage) -> Any:
        seats = len(stage.seats())
        _rounds.quorum_of = lambda contract, _: quorum(contract, seats)
        try:
            return start(stage)
        finally:
            _rounds.quorum_of = quorum

    return [(_rounds, "start", started)]


@bug("scores of a round before count in a round's mean, where a site has none for this one", shown_by=28)
def old_scores_count(_: World) -> list[Swap]:
    complete = _rounds._complete

    def completed(stage: Stage) -> None:
        for seat in stage.seats():
            if seat.score_round:
                stage.draft.change(seat, score_round=stage.number)
        complete(stage)

    return [(_rounds, "_complete", completed)]


@bug("every site has one vote in the mean, however many rows it has", shown_by=74)
def scores_unweighted(_: World) -> list[Swap]:
    mean = _scoring._mean

    def equal(name: str, given: list[dict[str, float]]) -> float:
        found: float = mean(name, [{name: one[name]} for one in given])
        return found

    return [(_scoring, "_mean", equal)]


@bug("the newest model is the best one", shown_by=28)
def newest_is_best(_: World) -> list[Swap]:
    followed = domain.decisions.progress.scores.followed

    def forgetful(task: r.TaskRun, *said: Any) -> r.TaskRun:
        return followed(msgspec.structs.replace(task, best_value=None), *said)

    return [(domain.decisions.progress.scores, "followed", forgetful)]


@bug("a task has one round more of patience than it says", shown_by=28)
def too_patient(_: World) -> list[Swap]:
    finish = _rounds.finish

    def patient(stage: Stage) -> Any:
        ending, stop = finish(stage), stage.spec.stop_early
        if ending is not None and ending.reason == "stopped_early" and stage.task.rounds_without == stop.patience:
            return _rounds.start(stage.next())
        return ending

    return [(_rounds, "finish", patient)]


@bug("a run that ends while its model is scored loses that round", shown_by=242)
def scored_round_lost(_: World) -> list[Swap]:
    cancel = _rounds.cancel

    def lost(stage: Stage, reason: str) -> None:
        here = stage.draft.get(r.Round, stage.task_id, stage.number)
        if here is None or here.state != RoundState.SCORING:
            cancel(stage, reason)
            return
        stage.draft.change(here, state=RoundState.CANCELLED, reason=reason, ended_at=stage.draft.now)
        stage.event(domain.events.EventKind.ROUND_CANCELLED, {"reason": reason})

    return [(_rounds, "cancel", lost)]
