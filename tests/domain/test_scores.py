"""Which seats a round draws, what scores come to, which model is the best one, and when a task stops early."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.decisions.draft import Decision, State
from domain.decisions.progress import holders, rounds, scores
from domain.decisions.progress.stage import stage_of
from domain.states import Report
from fedyard.wire.sampling import drawn, needed_of, size_of
from fedyard.wire.scoring import mean as mean_of
from tests.domain.scenes import (
    DAY,
    NOW,
    RUN,
    SITES,
    by_site,
    came_to,
    decided,
    detail,
    draft,
    project,
    row,
    run,
    task,
    task_id,
    written,
)

MODEL = "00000000-0000-4000-8000-0000000000e0"

# the draw


@pytest.mark.parametrize(
    ("sample", "of", "at_least", "seats", "size"),
    [
        (1.0, "fraction", 1, 5, 5),
        (0.5, "fraction", 1, 5, 3),
        (0.1, "fraction", 1, 5, 1),
        (0.1, "fraction", 3, 5, 3),
        (0.1, "fraction", 9, 5, 5),
        (0.07, "fraction", 1, 100, 7),  # and 100 * 0.07 is 7.000000000000001
        (2.0, "count", 1, 5, 2),
        (2.0, "count", 4, 5, 4),
        (9.0, "count", 1, 5, 5),
        (0.001, "fraction", 1, 3, 1),
        (1.0, "fraction", 1, 0, 0),
    ],
)
def test_how_many_are_drawn(sample: float, of: Any, at_least: int, seats: int, size: int) -> None:
    assert size_of(v.Contract(sample=sample, sample_of=of, sample_at_least=at_least), seats) == size


def test_the_quorum_is_of_those_that_are_drawn() -> None:
    assert needed_of(v.Contract(quorum=0.5, sample=0.4), 10) == 2
    assert needed_of(v.Contract(quorum=0.5), 10) == 5


def test_the_draw_is_written_down() -> None:
    """So that it is the same in every version of hub and agent."""
    assert [[SITES.index(one) for one in drawn(RUN, 1, number, SITES, 2)] for number in range(1, 6)] == DRAWN
    assert drawn(RUN, 2, 1, SITES, 2) != drawn(RUN, 1, 1, SITES, 2)
    assert drawn(SITES[0], 1, 1, SITES, 2) != drawn(RUN, 1, 1, SITES, 2)


DRAWN = [[3, 4], [0, 4], [1, 4], [0, 3], [2, 4]]
"""Computed with sha256sum."""


@given(st.sets(st.uuids().map(str), max_size=20), st.integers(0, 25), st.integers(1, 100))
def test_who_is_drawn_depends_on_nobody_else(sites: set[str], size: int, number: int) -> None:
    found = drawn(RUN, 1, number, sites, size)
    assert len(found) == min(size, len(sites))
    assert set(found) <= sites
    assert found == sorted(found)
    if found:
        rest = sites - {found[0]}
        assert set(found[1:]) <= set(drawn(RUN, 1, number, rest, size))


def test_all_are_drawn_alike() -> None:
    counts = Counter(one for number in range(2000) for one in drawn(RUN, 1, number, SITES, 2))
    assert all(abs(counts[one] - 800) < 100 for one in SITES)


def test_who_is_not_drawn_rests_in_the_round_and_is_not_waited_for() -> None:
    spec = v.TaskSpec(name="train", model="m", rounds=3, contract=v.Contract(sample=0.4, quorum=1.0))
    begun = decided(c.StartRun(project_id=project()[1].id), project(5, [spec]), by_site(0))  # type: ignore[attr-defined]
    (here,), seats = written(begun, r.Round), written(begun, r.Seat)
    taking_part = drawn(here.run_id, 1, 1, SITES, 2)
    assert {seat.site_id: seat.state for seat in seats} == {
        one: "invited" if one in taking_part else "resting" for one in SITES
    }
    assert {seat.round for seat in seats} == {1}
    assert (here.quorum, here.drawn) == (2, 2)
    assert sorted(e.site_id for e in written(begun, r.InboxEntry) if e.kind == "invited") == taking_part


@pytest.mark.parametrize(
    ("seats", "drawn_of"),
    [
        (["submitted", "submitted", "resting", "resting", "resting"], range(5)),
        (["submitted", "dropped", "resting", "failed", "resting"], (0, 2, 4)),
        (["submitted", "dropped", "dropped", "failed", "cancelled"], (0,)),
    ],
)
def test_the_next_round_draws_anew_of_those_that_are_left(seats: list[str], drawn_of: Any) -> None:
    rows = run(seats, "aggregating", rounds=2, contract={"sample": 0.4})
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1), rows, by_site(0))
    taking_part = drawn(RUN, 1, 2, [SITES[n] for n in drawn_of], 2)
    entries = [e.site_id for e in written(decision, r.InboxEntry) if e.kind == "invited"]
    assert sorted(entries) == taking_part
    after = {seat.site_id: (seat.state, seat.round) for seat in written(decision, r.Seat)}
    if len(taking_part) == 2:
        (here,) = (one for one in written(decision, r.Round) if one.number == 2)
        assert (here.state, here.quorum, here.drawn) == ("selecting", 2, 2)
        assert {after[SITES[n]] for n in drawn_of if SITES[n] not in taking_part} <= {("resting", 2)}
    else:  # the quorum is of what should have been drawn
        assert [one.reason for one in written(decision, r.TaskRun)] == ["quorum_not_met"]


def test_a_seat_that_rests_may_not_report() -> None:
    rows = run(["invited", "resting"], contract={"sample": 0.5})
    assert came_to(decided(report(Report.READY, site=1), rows, by_site(1))) == "not_now"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"contract": {"sample": 1.5}}, "a sample of 1.5 is no fraction"),
        ({"contract": {"sample": 1.5, "sample_of": "count"}}, "is no whole number"),
        ({"score_every": 1, "aggregate": False}, "there is no model to score"),
        ({"best": {"metric": "score.auc"}}, "set score_every"),
        ({"stop_early": {"metric": "score.auc"}}, "set score_every"),
        ({"best": {"metric": "auc"}, "aggregate": False}, "leave best out"),
        ({"stop_early": {"metric": "auc"}, "aggregate": False}, "leave stop_early out"),
    ],
)
def test_what_no_task_can_have(spec: dict[str, Any], said: str) -> None:
    one = msgspec.convert({"name": "train", "model": "m", **spec}, v.TaskSpec)
    assert said in detail(decided(c.UpdateProject(project_id=project()[1].id, tasks=[one]), project(), by_site(0)))  # type: ignore[attr-defined]


def test_a_quorum_that_no_draw_can_reach_is_refused() -> None:
    contract = v.Contract(quorum=3, quorum_of="count", sample=2, sample_of="count")
    rows = project(5, [v.TaskSpec(name="train", model="m", contract=contract)])
    decision = decided(c.StartRun(project_id=project()[1].id), rows, by_site(0))  # type: ignore[attr-defined]
    assert came_to(decision) == "quorum_impossible"
    assert "of whom 2 are drawn" in detail(decision)


# the mean


@pytest.mark.parametrize(
    ("said", "mean"),
    [
        ([], {}),
        ([{}], {}),
        ([{"auc": 0.5, "samples": 10.0}], {"auc": 0.5, "samples": 10.0}),
        ([{"auc": 0.5, "samples": 10.0}, {"auc": 0.9, "samples": 30.0}], {"auc": 0.8, "samples": 40.0}),
        # one that does not say how many rows it has: all count alike
        ([{"auc": 0.5, "samples": 10.0}, {"auc": 0.9}], {"auc": 0.7, "samples": 10.0}),
        ([{"auc": 0.5, "samples": 10.0}, {"auc": 0.9, "samples": -1.0}], {"auc": 0.7, "samples": 9.0}),
        # each metric is of those that gave it
        ([{"auc": 0.5, "samples": 1.0}, {"loss": 2.0, "samples": 9.0}], {"auc": 0.5, "loss": 2.0, "samples": 10.0}),
        ([{"auc": 1.0, "samples": 1e308}, {"auc": 0.0, "samples": 1e308}], {"auc": 0.5}),
        ([{"loss": 1.5e308}, {"loss": 1.5e308}], {"loss": 1.5e308}),
    ],
)
def test_the_mean_of_scores(said: list[dict[str, float]], mean: dict[str, float]) -> None:
    found = mean_of(said)
    assert found == pytest.approx(mean)
    assert found == mean_of(said[::-1])


def test_a_mean_has_so_many_metrics_at_most() -> None:
    said = [{f"a{n:03}": 1.0 for n in range(64)}, {f"b{n:03}": 1.0 for n in range(64)}]
    assert list(mean_of(said)) == [f"a{n:03}" for n in range(64)]


@pytest.mark.parametrize(
    ("every", "rounds", "wanted"),
    [(0, 5, []), (1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (3, 9, [3, 6, 9]), (100, 4, [4])],
)
def test_which_rounds_score(every: int, rounds: int, wanted: list[int]) -> None:
    spec = v.TaskSpec(name="train", model="m", rounds=rounds, score_every=every)
    assert [number for number in range(rounds + 1) if scores.wanted(spec, number)] == wanted


# the best one, and stopping

VALUES = [0.5, 0.7, None, 0.7, 0.71, 0.6]


@pytest.mark.parametrize(
    ("metric", "mode", "best", "value"),
    [
        ("auc", "max", 5, 0.71),
        ("auc", "min", 1, 0.5),
        ("score.auc", "max", 1, -0.5),
        ("score.auc", "min", 5, -0.71),
        ("other", "max", None, None),
    ],
)
def test_the_best_round(metric: str, mode: Any, best: int | None, value: float | None) -> None:
    spec = v.TaskSpec(name="train", model="m", rounds=9, best=v.Best(metric, mode))
    one = task(spec)
    for number, auc in enumerate(VALUES, start=1):
        said = {} if auc is None else {"auc": auc}
        mean = {name: -value for name, value in said.items()}
        one = scores.followed(one, spec, scores.Outcome(number, number + 10, said, mean))
    assert (one.best_round, one.best_value) == (best, value)
    assert one.best_version == (None if best is None else best + 10)


@pytest.mark.parametrize(
    ("mode", "min_delta", "without"),
    [
        ("max", 0.0, [0, 0, 0, 1, 0, 1]),
        ("max", 0.05, [0, 0, 0, 1, 2, 3]),
        ("min", 0.0, [0, 1, 1, 2, 3, 4]),
    ],
)
def test_for_how_many_rounds_there_was_no_better_one(mode: Any, min_delta: float, without: list[int]) -> None:
    """A round without the metric does not count."""
    spec = v.TaskSpec(name="train", model="m", rounds=9, stop_early=v.StopEarly("auc", mode, 3, min_delta))
    one, found = task(spec), []
    for number, auc in enumerate(VALUES, start=1):
        said = {} if auc is None else {"auc": auc}
        one = scores.followed(one, spec, scores.Outcome(number, None, said, {}))
        found.append(one.rounds_without)
    assert found == without


def stopping(without: int, **fields: Any) -> list[r.Record]:
    spec = v.TaskSpec(name="train", model="m", rounds=9, stop_early=v.StopEarly("auc", patience=3))
    seen = {"watched_value": 0.8, "rounds_without": without}
    return [*run(["submitted", "submitted"], "aggregating", rounds=9), task(spec, **seen, **fields)]


@pytest.mark.parametrize(
    ("without", "auc", "state", "reason"),
    [
        (2, 0.7, "succeeded", "stopped_early"),
        (2, 0.8, "succeeded", "stopped_early"),
        (2, 0.81, "active", ""),
        (1, 0.7, "active", ""),
        (2, None, "active", ""),
    ],
)
def test_a_task_stops_early(without: int, auc: float | None, state: str, reason: str) -> None:
    metrics = {} if auc is None else {"auc": auc}
    decision = decided(
        c.ReportAggregated(run_id=RUN, task_seq=1, round=1, metrics=metrics), stopping(without), by_site(0)
    )
    (after,) = written(decision, r.TaskRun)
    assert (after.state, after.reason) == (state, reason)
    if state == "succeeded":
        (why,) = (json.loads(e.facts_json)["detail"] for e in written(decision, r.Event) if e.kind == "task_succeeded")
        assert why == "3 rounds up to round 1 had a 'auc', and none was above 0.8"
        assert [one.state for one in written(decision, r.Seat)] == ["done", "done"]
        assert [one.state for one in written(decision, r.Run)] == ["succeeded"]


# scoring


def scoring(seats: list[str], *, rounds: int = 2, **more: Any) -> list[r.Record]:
    """A run of a task that scores every round, which is in that stage with these seats."""
    spec = v.TaskSpec(name="train", model="m", rounds=rounds, score_every=1, **more)
    here = row(
        r.Round,
        task_run_id=task_id(),
        number=1,
        state="scoring",
        deadline_at=NOW + DAY,
        metrics_json='{"auc":0.4}',
        model_message_id=MODEL,
        model_version=1,
    )
    return [*run(seats, "scoring", rounds=rounds), task(spec, model_message_id=MODEL), here]


def report(event: Report, site: int = 0, **more: Any) -> c.ReportSeat:
    return c.ReportSeat(run_id=RUN, task_seq=1, site_id=SITES[site], event=event, seq=1, round=1, **more)


def after(decision: Decision, rows: list[r.Record]) -> tuple[list[str], str]:
    """(states of the seats, state of round 1)"""
    assert decision.accepted, decision.answer
    state = State(rows)
    state.apply(decision)
    found = [state.rows[r.Seat][task_id(), one] for one in SITES if (task_id(), one) in state.rows[r.Seat]]
    here = state.rows[r.Round][task_id(), 1]
    return [one.state for one in found], here.state  # type: ignore[attr-defined]


def test_a_model_goes_to_every_live_seat_to_be_scored() -> None:
    spec = v.TaskSpec(name="train", model="m", rounds=2, score_every=1)
    seats = ["submitted", "resting", "dropped", "failed", "invited"]
    rows = [*run(seats, "aggregating"), task(spec)]
    rows.append(row(r.Seat, task_run_id=task_id(), site_id=SITES[4], round=2, state="invited"))  # it has just rejoined
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1, model=b"m"), rows, by_site(0))
    assert after(decision, rows) == (["scoring", "scoring", "dropped", "failed", "invited"], "scoring")
    told = written(decision, r.InboxEntry)
    assert [(e.site_id, e.kind, e.round) for e in told] == [(SITES[n], "score", 1) for n in (0, 1)]
    (model,) = written(decision, r.Model)
    (here,) = written(decision, r.Round)
    assert {e.message_id for e in told} == {model.message_id} == {here.model_message_id}
    assert here.model_version == model.version == 1
    assert here.deadline_at == NOW + 3600 * 1_000_000
    facts = json.loads(told[0].facts_json)
    assert facts["task"]["score_every"] == 1
    assert facts["coordinator_site_id"] == SITES[0]


@pytest.mark.parametrize(
    ("every", "rounds", "stage"), [(2, 3, "completed"), (1, 3, "scoring"), (2, 1, "scoring"), (0, 1, "completed")]
)
def test_only_so_many_rounds_score(every: int, rounds: int, stage: str) -> None:
    rows = [*run(["submitted"], "aggregating"), task(v.TaskSpec(name="t", model="m", rounds=rounds, score_every=every))]
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1, model=b"m"), rows, by_site(0))
    assert after(decision, rows)[1] == stage


def test_a_round_without_a_model_has_nothing_to_score() -> None:
    rows = [*run(["submitted"], "aggregating"), task(v.TaskSpec(name="t", model="m", rounds=2, score_every=1))]
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1), rows, by_site(0))
    assert after(decision, rows)[1] == "completed"


@pytest.mark.parametrize(
    ("others", "stage"),
    [
        (["scored"], "completed"),
        (["scored", "dropped", "failed"], "completed"),
        (["scoring"], "scoring"),
        (["scored", "scoring"], "scoring"),
    ],
)
def test_a_round_is_done_when_nobody_else_is_asked(others: list[str], stage: str) -> None:
    rows = scoring(["scoring", *others])
    decision = decided(report(Report.SCORED, metrics={"auc": 0.5, "samples": 2.0}), rows, by_site(0))
    assert after(decision, rows)[1] == stage
    (score,) = written(decision, r.Score)
    assert (score.site_id, score.round, json.loads(score.metrics_json)) == (SITES[0], 1, {"auc": 0.5, "samples": 2.0})


def test_what_scores_come_to_is_on_record_and_told() -> None:
    rows = scoring(["scoring", "scored", "dropped", "scored", "scored"], best=v.Best("score.auc"))
    other = {"score_json": '{"auc":0.9,"samples":6}', "score_round": 1}
    rows += [
        row(r.Seat, task_run_id=task_id(), site_id=SITES[1], state="scored", **other),
        # it left after it had scored: what it said counts
        row(r.Seat, task_run_id=task_id(), site_id=SITES[2], state="dropped", **other),
        # of a round before
        row(r.Seat, task_run_id=task_id(), site_id=SITES[3], state="scored", **(other | {"score_round": 7})),
    ]
    decision = decided(report(Report.SCORED, metrics={"auc": 0.5, "samples": 4.0}), rows, by_site(0))
    (one,) = (one for one in written(decision, r.Round) if one.number == 1)
    assert json.loads(one.score_json) == pytest.approx({"auc": 0.8, "samples": 16.0})
    assert one.metrics_json == '{"auc":0.4}'
    told = [json.loads(e.facts_json) for e in written(decision, r.InboxEntry) if e.kind == "round_completed"]
    assert len(told) == 5
    assert told[0]["score"] == json.loads(one.score_json)
    (best,) = written(decision, r.TaskRun)
    assert (best.best_round, best.best_version, best.best_value) == (1, 1, told[0]["score"]["auc"])
    assert [e.round for e in written(decision, r.InboxEntry) if e.kind == "invited"] == [2, 2, 2, 2]


@pytest.mark.parametrize("metrics", [{}, {"auc": 0.5}])
def test_who_has_no_score_says_why_and_is_not_waited_for(metrics: dict[str, float]) -> None:
    rows = scoring(["scoring", "scored"], rounds=1)
    decision = decided(report(Report.SCORED, metrics=metrics, reason="score: no test data"), rows, by_site(0))
    assert after(decision, rows) == (["done", "done"], "completed")
    assert [one.reason for one in written(decision, r.Score)] == ["score: no test data"]


def test_at_the_deadline_the_scores_that_have_come_count() -> None:
    rows = scoring(["scoring", "scored", "resting"], rounds=1)
    rows.append(
        row(r.Seat, task_run_id=task_id(), site_id=SITES[1], state="scored", score_json='{"auc":1}', score_round=1)
    )
    command = c.PassDeadline(run_id=RUN, task_seq=1, round=1, deadline_at=NOW + DAY)
    decision = decided(command, rows, now=NOW + DAY)
    assert after(decision, rows) == (["done", "done", "done"], "completed")
    (one,) = written(decision, r.Round)
    assert one.score_json == '{"auc":1.0}'
    assert [one.state for one in written(decision, r.Run)] == ["succeeded"]


def test_a_late_score_is_refused() -> None:
    late = [*run(["invited", "invited"], number=2), row(r.Seat, task_run_id=task_id(), site_id=SITES[0], round=2)]
    assert came_to(decided(report(Report.SCORED), late, by_site(0))) == "round_over"
    assert came_to(decided(report(Report.SCORED), scoring(["scored", "scoring"]), by_site(0))) == "not_now"
    assert came_to(decided(report(Report.SCORED), run(["submitted"], "training"), by_site(0))) == "not_now"


@pytest.mark.parametrize("reason", ["member_left", "site_silent"])
def test_silence_costs_no_seat_while_it_is_scored_and_leaving_does(reason: str) -> None:
    rows = scoring(["scored", "scoring"])
    decision = decided(
        c.DropSeats(run_id=RUN, site_id=SITES[1], reason=reason, detail=""),  # type: ignore[arg-type]
        rows,
        seen={SITES[1]: 0},
    )
    seats, here = after(decision, rows)
    if reason == "member_left":
        assert seats[1] == "dropped"
        assert here == "completed"
    else:
        assert (seats[1], here) == ("scoring", "scoring")


def test_a_run_that_is_stopped_while_its_model_is_scored_has_that_round() -> None:
    rows = scoring(["scoring", "scored"], rounds=2)
    decision = decided(c.StopRun(run_id=RUN, reason="enough"), rows, by_site(0))
    assert after(decision, rows) == (["cancelled", "cancelled"], "completed")
    (one,) = written(decision, r.TaskRun)
    assert (one.state, one.model_message_id) == ("cancelled", MODEL)


@pytest.mark.parametrize(
    ("rounds", "states"), [(2, [("active", 2, 2, "selecting")]), (1, [("succeeded", 1, 1, "none")])]
)
def test_a_restart_goes_on_behind_a_round_that_was_scored(rounds: int, states: list[tuple[str, int, int, str]]) -> None:
    rows = scoring(["scoring", "scored"], rounds=rounds)
    decision = decided(c.RestartRun(run_id=RUN), rows, by_site(0))
    assert decision.accepted, decision.answer
    again = [one for one in written(decision, r.TaskRun) if one.run_id != RUN]
    opened = [one for one in written(decision, r.Round) if one.run_id != RUN]
    found = [(one.state, one.round, one.first_round, opened[0].state if opened else "none") for one in again]
    assert found == states
    assert again[0].model_message_id == MODEL


@pytest.mark.parametrize(("number", "state"), [(1, "scored"), (2, "dropped")])
def test_nobody_waits_for_the_score_of_a_workload_whose_last_attempt_has_ended(number: int, state: str) -> None:
    """After the last round it has done all of its part; before that its seat is given up."""
    made = draft(scoring(["scoring", "scoring"], rounds=number))
    stage = stage_of(made, made.have(r.TaskRun, task_id()))
    holders.give_up(stage, SITES[0], "it ended")
    assert made.have(r.Seat, task_id(), SITES[0]).state == state
    assert rounds.settle(stage) is None
