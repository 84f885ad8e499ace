"""What is shown of a run: its grid, timeline, curves, and what it waits for; by examples."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import pytest

from fedyard.look.contract import same_code
from fedyard.look.runs.curves import MAX_LINES, Curve, charts_of, compared, metrics_csv, room
from fedyard.look.runs.drawn import grid_drawn
from fedyard.look.runs.grid import Cell, grid_of, stragglers
from fedyard.look.runs.shown import SiteAbout, remedies, shown, unscored, whys_of
from fedyard.look.runs.spans import Span, timeline_of
from fedyard.look.runs.words import code_lines, headline, told
from fedyard.wire.answers import (
    CodeUse,
    Contract,
    Round,
    Run,
    Seat,
    SeatsWaiting,
    SiteScore,
    Submission,
    TaskRun,
    TaskSpec,
)
from fedyard.wire.waiting import waits_of

BEGIN = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
NAMES = {"a": "Amsterdam", "b": "Bergen", "c": "Cork", "d": "Delft"}


def at(minute: float) -> datetime:
    return BEGIN + timedelta(minutes=minute)


def update(site: str, begin: float = 0, end: float = 10, **more: Any) -> Submission:
    return Submission(site_id=site, started_at=at(begin), submitted_at=at(end), **more)


def round_of(number: int, state: str, *submissions: Submission, **more: Any) -> Round:
    fields = {"started_at": at(0), "stage_at": at(10), "deadline_at": at(90), "quorum": 2, **more}
    return Round(number=number, state=state, submissions=list(submissions), **fields)


def seat(site: str, state: str, number: int = 1, since: float = 5, **more: Any) -> Seat:
    return Seat(
        site_id=site, site_name=NAMES[site], round=number, state=state, report_seq=1, state_at=at(since), **more
    )


def task_of(rounds: list[Round], seats: list[Seat], **more: Any) -> TaskRun:
    spec = TaskSpec(name="train", model="m", rounds=9, contract=Contract(too_few=more.pop("too_few", "fail")))
    number = rounds[-1].number if rounds else 1
    fields = {"state": "active", "round": number, **more}
    return TaskRun(seq=1, name="train", spec=spec, rounds=rounds, seats=seats, **fields)


def run_of(*tasks: TaskRun, state: str = "running", ident: str = "r") -> Run:
    return Run(
        id=ident,
        project_id="p",
        number=1,
        attempt=1,
        state=state,
        version=1,
        coordinator_site_id="k",
        tasks=list(tasks),
    )


CELLS = [
    # the round's state, its update, the seat -> the cell
    ("training", None, seat("a", "training"), Cell("training", since=at(5))),
    ("training", {}, seat("a", "submitted"), Cell("submitted", 600.0)),
    ("completed", {"left_out": "damaged"}, seat("a", "invited", 2), Cell("left_out", 600.0, why="damaged")),
    ("completed", {"missing_receipt": "not_named"}, seat("a", "done"), Cell("submitted", 600.0, why="not_named")),
    ("training", None, seat("a", "dropped", reason="silent"), Cell("dropped", why="silent")),
    ("failed", None, seat("a", "failed", reason="crashed"), Cell("failed", why="crashed")),
    ("completed", None, seat("a", "invited", 2), Cell("out")),
    ("completed", None, seat("a", "training"), Cell("out")),
    ("training", None, seat("a", "resting"), Cell("resting")),
    ("scoring", None, seat("a", "scoring"), Cell("scoring")),
    ("scoring", {}, seat("a", "scoring"), Cell("scoring", 600.0)),
    ("scoring", {}, seat("a", "scored"), Cell("scored", 600.0)),
    ("scoring", {"left_out": "damaged"}, seat("a", "failed"), Cell("left_out", 600.0, why="damaged")),
    ("completed", {}, seat("a", "scored"), Cell("submitted", 600.0)),
]


@pytest.mark.parametrize(("state", "came", "held", "cell"), CELLS)
def test_a_cell_says_what_became_of_a_seat_in_a_round(
    state: str, came: dict[str, Any] | None, held: Seat, cell: Cell
) -> None:
    updates = [] if came is None else [update("a", **came)]
    grid = grid_of(task_of([round_of(1, state, *updates)], [held]), NAMES)
    assert [row.cells for row in grid.rows] == [(cell,)]


@pytest.mark.parametrize(
    ("took", "slow"),
    [
        ({}, set()),
        ({"a": 1.0, "b": 99.0}, set()),  # of two nobody knows who is slow
        ({"a": 10.0, "b": 10.0, "c": 14.0}, set()),
        ({"a": 10.0, "b": 10.0, "c": 15.0}, {"c"}),
        ({"a": 10.0, "b": 10.0, "c": 30.0, "d": 20.0}, {"c"}),
        ({"a": 10.0, "b": 10.0, "c": 22.5, "d": 20.0}, {"c"}),  # the median of four lies between two
        ({"a": 0.0, "b": 0.0, "c": 0.0}, set()),
    ],
)
def test_a_straggler_is_the_slowest_that_is_much_slower_than_most(took: dict[str, float], slow: set[str]) -> None:
    assert stragglers(took) == slow


@pytest.mark.parametrize(("last", "slow"), [("training", []), ("dropped", ["c"])])
def test_nobody_who_has_come_is_the_straggler_while_another_is_waited_for(last: str, slow: list[str]) -> None:
    came = [update("a"), update("b"), update("c", end=20)]
    seats = [*(seat(site, "submitted") for site in "abc"), seat("d", last)]
    rows = grid_of(task_of([round_of(1, "training", *came)], seats), NAMES).rows
    assert [row.site_id for row in rows if row.cells[0].straggler] == slow


def test_a_grid_shows_the_newest_rounds_and_says_how_many_came_before() -> None:
    task = task_of([round_of(number, "completed") for number in (3, 4, 5, 6)], [seat("a", "training", 6)])
    newest = grid_of(task, NAMES, rounds=2)
    assert ([each.number for each in newest.rounds], newest.earlier) == ([5, 6], 4)
    before = grid_of(task, NAMES, rounds=2, last=4)
    assert ([each.number for each in before.rounds], before.earlier) == ([3, 4], 2)


def test_rounds_that_the_task_of_another_attempt_had_are_not_earlier_ones() -> None:
    task = task_of([round_of(number, "completed") for number in (3, 4, 5)], [], first_round=3)
    assert (grid_of(task, NAMES, rounds=2).earlier, grid_of(task, NAMES).earlier) == (1, 0)


def test_a_grid_without_room_for_all_keeps_whom_the_round_waits_for_and_who_is_out() -> None:
    seats = [seat("a", "submitted"), seat("b", "dropped"), seat("c", "submitted"), seat("d", "training")]
    came = [update("a"), update("c")]
    grid = grid_of(task_of([round_of(1, "training", *came)], seats), NAMES, sites=2)
    assert ([row.name for row in grid.rows], grid.hidden) == (["Bergen", "Delft"], 2)


def test_a_timeline_has_what_each_seat_did_and_how_long_the_coordinator_aggregated() -> None:
    first = round_of(1, "completed", update("a", 2, 12), update("b", 2, 20), stage_at=at(20), ended_at=at(25))
    second = round_of(2, "training", update("a", 30, 35), started_at=at(25), stage_at=at(30))
    seats = [seat("a", "submitted", 2), seat("b", "training", 2, 30), seat("c", "dropped", 1, 15)]
    found = timeline_of(grid_of(task_of([first, second], seats), NAMES), at(40))
    assert found is not None
    assert (found.begin, found.end) == (at(0), at(40))
    assert [(line.name, line.spans) for line in found.lines] == [
        ("coordinator", (Span(1, "aggregated", at(20), at(25)),)),
        ("Amsterdam", (Span(1, "submitted", at(2), at(12)), Span(2, "submitted", at(30), at(35)))),
        ("Bergen", (Span(1, "submitted", at(2), at(20)), Span(2, "training", at(30), at(40), live=True))),
        ("Cork", (Span(1, "dropped", at(0), at(15)),)),
    ]


def test_a_timeline_shows_who_scored_the_model_and_until_when() -> None:
    said = [SiteScore(site_id="c", metrics={"auc": 0.5}, scored_at=at(24)), SiteScore(site_id="d", scored_at=at(23))]
    first = round_of(1, "completed", update("a", 2, 12), stage_at=at(20), ended_at=at(25), scores=said)
    second = round_of(2, "scoring", update("a", 30, 35), started_at=at(25), stage_at=at(37))
    seats = [seat("a", "scoring", 2), seat("c", "scored", 2), seat("d", "resting", 2)]
    found = timeline_of(grid_of(task_of([first, second], seats), NAMES), at(40))
    assert found is not None
    assert [(line.name, line.spans) for line in found.lines] == [
        ("coordinator", (Span(1, "aggregated", at(12), at(20)), Span(2, "aggregated", at(35), at(37)))),
        (
            "Amsterdam",
            (
                Span(1, "submitted", at(2), at(12)),
                Span(2, "submitted", at(30), at(35)),
                Span(2, "scoring", at(37), at(40), live=True),
            ),
        ),
        ("Cork", (Span(1, "scored", at(20), at(24)),)),
        ("Delft", (Span(1, "unscored", at(20), at(23)),)),
    ]


def test_who_had_no_score_last_time_says_why() -> None:
    def said(site: str, why: str = "", **metrics: float) -> SiteScore:
        return SiteScore(site_id=site, metrics=metrics, reason=why)

    rounds = [
        round_of(1, "completed", scores=[said("a", "blind"), said("b", "blind")]),
        round_of(2, "completed", scores=[said("a", auc=0.5), said("c", "no data", auc=0.5)]),
    ]
    task = task_of(rounds, [])
    assert unscored(task) == [(1, "b", "blind")]
    outs = shown(run_of(task), NAMES, now=at(0), sites={}, whys={}, whole=True).outs
    assert [(one.name, one.state, one.round, one.why) for one in outs] == [("Bergen", "unscored", 1, "blind")]


def test_scores_are_charts_and_lines_of_their_own() -> None:
    said = [SiteScore(site_id="c", metrics={"auc": 0.5}), SiteScore(site_id="a", metrics={})]
    rounds = [
        round_of(1, "completed", metrics={"auc": 0.9}),
        round_of(2, "completed", score={"auc": 0.6}, scores=said),
    ]
    auc, score = charts_of(task_of(rounds, []), NAMES)
    assert (auc.metric, auc.curves) == ("auc", (Curve("global model", (0.9, None)),))
    assert score.metric == "score.auc"
    assert score.curves == (Curve("global model", (None, 0.6)), Curve("Cork", (None, 0.5), site_id="c"))
    lines = list(csv.reader(io.StringIO(metrics_csv(run_of(task_of(rounds, [])), NAMES, headings=False), newline="")))
    assert [line[1:6] for line in lines] == [
        ["1", "", "", "auc", "0.9"],
        ["2", "", "", "score.auc", "0.6"],
        ["2", "c", "Cork", "score.auc", "0.5"],
    ]
    (chart,) = (one for one in compared([("one", run_of(task_of(rounds, [])))]) if one.metric == "score.auc")
    assert chart.curves == (Curve("one", (0.6,), run_id="r"),)


def test_nothing_has_a_timeline_before_it_begins() -> None:
    assert timeline_of(grid_of(task_of([], []), NAMES), at(0)) is None


def test_a_chart_has_a_line_for_the_global_model_and_one_for_each_site() -> None:
    rounds = [
        round_of(1, "completed", update("b", metrics={"loss": 0.5}), metrics={"loss": 0.4, "auc": 0.7}),
        round_of(2, "training", update("a", metrics={"loss": 0.3, "epsilon": 1.0})),
    ]
    auc, loss, epsilon = charts_of(task_of(rounds, []), NAMES)
    assert (auc.metric, auc.curves) == ("auc", (Curve("global model", (0.7, None)),))
    assert (loss.metric, loss.rounds) == ("loss", (1, 2))
    assert loss.curves == (
        Curve("global model", (0.4, None)),
        Curve("Amsterdam", (None, 0.3), site_id="a"),
        Curve("Bergen", (0.5, None), site_id="b"),
    )
    assert (epsilon.metric, epsilon.curves) == ("epsilon", (Curve("Amsterdam", (None, 1.0), site_id="a"),))


def test_a_chart_has_so_many_lines_at_most_and_says_how_many_it_leaves_out() -> None:
    sites = [f"{number:02}" for number in range(MAX_LINES + 4)]
    updates = [update(site, metrics={"loss": 0.5}) for site in sites]
    (loss,) = charts_of(task_of([round_of(1, "completed", *updates, metrics={"loss": 0.1})], []), {})
    assert [curve.name for curve in loss.curves] == ["global model", *sites[: MAX_LINES - 1]]
    assert loss.hidden == 5


@pytest.mark.parametrize(
    ("rounds", "shown", "lines"), [(0, 0, 16), (1, 1, 16), (93, 93, 16), (100, 100, 15), (375, 375, 4), (9999, 375, 4)]
)
def test_a_chart_of_many_rounds_has_fewer_lines_and_the_newest_rounds(rounds: int, shown: int, lines: int) -> None:
    assert room(rounds) == (shown, lines)
    every = [round_of(number + 1, "completed", metrics={"loss": 0.1}) for number in range(rounds)]
    charts = charts_of(task_of(every, []), {})
    assert [chart.rounds[-1] for chart in charts] == ([rounds] if rounds else [])
    assert [len(chart.rounds) for chart in charts] == ([shown] if rounds else [])


def test_runs_are_compared_by_what_their_global_models_measured() -> None:
    one = run_of(task_of([round_of(1, "completed", metrics={"loss": 0.4})], []), ident="one")
    two = run_of(task_of([round_of(n, "completed", metrics={"loss": n / 10}) for n in (1, 2)], []), ident="two")
    (loss,) = compared([("x/1", one), ("x/2", two), ("x/3", run_of())])
    assert (loss.metric, loss.rounds) == ("loss", (1, 2))
    assert loss.curves == (Curve("x/1", (0.4, None), run_id="one"), Curve("x/2", (0.1, 0.2), run_id="two"))


def test_the_file_of_metrics_has_every_number_as_it_was_reported_and_no_formula() -> None:
    loss = 0.1 + 0.2
    rounds = [round_of(1, "completed", update("a", metrics={"loss": loss}, left_out="late"), metrics={"=1+1": 1.0})]
    text = metrics_csv(run_of(task_of(rounds, [])), {"a": '=HYPERLINK("http://evil")'})
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        ["train", "1", "", "", "'=1+1", "1.0", "", ""],
        ["train", "1", "a", '\'=HYPERLINK("http://evil")', "loss", "0.30000000000000004", "600.0", "late"],
    ]


@pytest.mark.parametrize("begin", list("=+-@\t\r"))
def test_what_a_spreadsheet_would_take_for_a_formula_is_marked_as_text(begin: str) -> None:
    rounds = [round_of(1, "completed", metrics={f"{begin}1": -1.0})]
    (line,) = list(csv.reader(io.StringIO(metrics_csv(run_of(task_of(rounds, [])), {}, headings=False), newline="")))
    assert line[4:6] == [f"'{begin}1", "-1.0"]


WAITS = [
    # the round's state, quorum, the states of seats a, b, c, too_few -> there, late, out, at its deadline
    ("selecting", 2, ("ready", "invited", "preparing"), "fail", 1, "bc", "", "fails"),
    ("selecting", 2, ("ready", "invited", "preparing"), "wait", 1, "bc", "", "is_extended"),
    ("selecting", 2, ("ready", "ready", "invited"), "fail", 2, "c", "", "goes_on"),
    ("training", 2, ("submitted", "training", "uploading"), "fail", 1, "bc", "", "fails"),
    ("training", 1, ("submitted", "training", "dropped"), "fail", 1, "b", "c", "goes_on"),
    ("training", 2, ("submitted", "failed", "dropped"), "wait", 1, "", "bc", "is_extended"),
    ("aggregating", 2, ("submitted", "submitted", "dropped"), "wait", 2, "", "c", "fails"),
    # who rests is neither late nor out
    ("selecting", 1, ("ready", "resting", "resting"), "fail", 1, "", "", "goes_on"),
    ("training", 1, ("training", "resting", "resting"), "fail", 0, "a", "", "fails"),
    ("scoring", 3, ("scored", "scoring", "dropped"), "fail", 1, "b", "c", "takes_scores"),
    ("scoring", 1, ("scoring", "scored", "scored"), "wait", 2, "a", "", "takes_scores"),
]


@pytest.mark.parametrize(("state", "quorum", "states", "too_few", "there", "late", "out", "then"), WAITS)
def test_a_live_run_waits_for_the_seats_that_have_not_done_their_part(
    state: str, quorum: int, states: tuple[str, ...], too_few: str, there: int, late: str, out: str, then: str
) -> None:
    seats = [seat(site, one) for site, one in zip("abc", states, strict=True)]
    came = [update(one.site_id) for one in seats if one.state == "submitted"]
    (waits,) = waits_of(run_of(task_of([round_of(1, state, *came, quorum=quorum)], seats, too_few=too_few)))
    assert (waits.there, "".join(s.site_id for s in waits.late), "".join(s.site_id for s in waits.out)) == (
        there,
        late,
        out,
    )
    assert waits.at_deadline == then
    assert waits.coordinator == (state == "aggregating")


NAMED = [
    # whole, the round's state, the states of seats a, b, c, d -> the sentence
    (True, "selecting", ("ready", "invited", "ready", "preparing"),
     "Round 1 of 9 of train waits for Bergen and Delft: 2 seats are ready."),
    (True, "training", ("submitted", "training", "uploading", "training"),
     "Round 1 of 9 of train waits for Bergen, Cork and Delft: 1 seat has submitted, 1 more for the quorum."),
    (True, "training", ("training", "training", "training", "training"),
     "Round 1 of 9 of train waits for Amsterdam, Bergen and 2 others: 0 seats have submitted, 2 more for the quorum."),
    (True, "training", ("submitted", "submitted", "dropped", "failed"),
     "Round 1 of 9 of train waits for nobody: it goes on in a moment."),
    (True, "aggregating", ("submitted", "submitted", "dropped", "failed"),
     "Round 1 of 9 of train waits for the global model that Kiel makes of 2 updates."),
    (True, "scoring", ("scored", "scoring", "dropped", "scoring"),
     "Round 1 of 9 of train waits for Bergen and Delft: 1 seat has scored."),
    (False, "scoring", ("scored",),
     "Round 1 of 9 of train is scoring: your own part of it is done. Other sites' seats are not yours to see."),
    (False, "aggregating", ("submitted",), "Round 1 of 9 of train waits for the global model that Kiel makes."),
    (False, "training", ("training",),
     "Round 1 of 9 of train is training: it waits for Amsterdam. Other sites' seats are not yours to see."),
    (False, "training", ("submitted",),
     "Round 1 of 9 of train is training: your own part of it is done. Other sites' seats are not yours to see."),
]  # fmt: skip


@pytest.mark.parametrize(("whole", "state", "states", "sentence"), NAMED)
def test_a_live_run_says_in_a_sentence_whom_it_waits_for(
    whole: bool, state: str, states: tuple[str, ...], sentence: str
) -> None:
    seats = [seat(site, one) for site, one in zip("abcd", states, strict=False)]
    came = [update(one.site_id) for one in seats if one.state == "submitted"]
    run = run_of(task_of([round_of(1, state, *came)], seats))
    assert headline(run, {**NAMES, "k": "Kiel"}, whole=whole) == sentence


def test_in_round_0_the_first_model_is_waited_for() -> None:
    run = run_of(task_of([round_of(0, "aggregating", quorum=0)], [seat("a", "invited")]))
    assert headline(run, {**NAMES, "k": "Kiel"}, whole=True) == "train waits for the first model, which Kiel gives."


ENDS = [
    ({"state": "created"}, "It is queued: it begins when a run of its project has ended."),
    ({"state": "running"}, "No task is active: it waits for the decider to begin."),
    ({"state": "running", "kind": "deployment"}, "It trains over streams: what its deployment waits for stands there."),
    ({"state": "succeeded", "started_at": at(0), "ended_at": at(179)}, "It succeeded after 2 h."),
    ({"state": "failed", "reason": "timed_out"}, "It failed: timed out."),
    ({"state": "cancelled", "reason": "stopped", "detail": "wrong labels."}, "It was cancelled: wrong labels."),
]


@pytest.mark.parametrize(("facts", "sentence"), ENDS)
def test_a_run_that_waits_for_no_seat_says_what_is_the_case(facts: dict[str, Any], sentence: str) -> None:
    assert headline(msgspec.structs.replace(run_of(), **facts), NAMES) == sentence


def test_who_sees_its_own_seat_alone_is_told_nothing_of_others() -> None:
    task = task_of([round_of(1, "training", quorum=4)], [seat("a", "training")])
    (waits,) = waits_of(run_of(task), whole=False)
    assert waits.at_deadline == "unknown"


def test_what_sites_wait_for_by_their_own_word_is_said_to_all() -> None:
    mine = [seat("a", "preparing", waits_for="approval"), seat("b", "ready")]
    waiting = [SeatsWaiting(waits_for="approval", count=1, until=at(90)), SeatsWaiting(waits_for="hours", count=2)]
    run = run_of(task_of([round_of(1, "selecting")], mine, waiting=waiting))
    for whole in (True, False):
        assert headline(run, NAMES, whole=whole).endswith(
            " 1 seat waits for a person at its site to approve. 2 seats wait for their sites' hours."
        )
    assert "hours" not in headline(run_of(task_of([round_of(1, "selecting")], mine)), NAMES)


def test_sites_with_different_code_are_named_as_far_as_they_are_seen() -> None:
    seats = [seat("a", "ready", code="ab"), seat("b", "ready", code="cd")]
    codes = [CodeUse(code="ab", count=2), CodeUse(code="cd", count=1)]
    assert code_lines(task_of([], seats, codes=codes), NAMES) == [
        "train: sites run different code",
        "  ab: 2 seats (Amsterdam)",
        "  cd: 1 seat (Bergen)",
    ]
    assert code_lines(task_of([], [], codes=codes[:1]), NAMES) == ["train: 2 seats with the code ab"]
    assert code_lines(task_of([], seats), NAMES) == []


class Event(NamedTuple):
    kind: str
    site_id: str | None
    facts: dict[str, Any]


def test_what_is_out_says_why_in_the_words_of_the_newest_event() -> None:
    seats = [seat("a", "dropped", 2, reason="late"), seat("b", "failed", 1, reason="crashed"), seat("c", "done")]
    rounds = [round_of(1, "completed", update("c", left_out="damaged")), round_of(2, "failed")]
    run = run_of(task_of(rounds, seats, state="failed", reason="quorum_not_met"), state="failed")
    newest_first = [
        Event("task_failed", None, {"task": "train", "reason": "quorum_not_met", "detail": "2 seats are needed"}),
        Event("seat_dropped", "a", {"task": "train", "round": 2, "reason": "late", "detail": "at 9:00"}),
        Event("seat_dropped", "a", {"task": "train", "round": 2, "reason": "said before"}),
        Event("seat_dropped", "a", {"task": "train", "round": 1, "reason": "another round"}),
        Event("seat_left_out", "c", {"task": "train", "round": 1, "reason": "damaged", "detail": ""}),
        Event("seat_ready", "b", {"task": "train", "round": 1, "reason": "nothing"}),
    ]
    found = shown(run, NAMES, now=at(99), sites={}, whys=whys_of(newest_first), whole=True)
    assert [(one.name, one.state, one.round, one.why) for one in found.outs] == [
        ("", "failed", 2, "quorum_not_met: 2 seats are needed"),
        ("Amsterdam", "dropped", 2, "late: at 9:00"),
        ("Bergen", "failed", 1, "crashed"),
        ("Cork", "left_out", 1, "damaged"),
    ]


REMEDIES = [
    ([], []),
    ([SiteAbout("online")], ["computes"]),
    ([SiteAbout("silent"), SiteAbout("silent")], ["does not call"]),
    ([SiteAbout("online"), SiteAbout("retired")], ["computes", "does not call"]),
    ([SiteAbout("silent", held_by="wanted")], ["workload"]),
]


@pytest.mark.parametrize(("sites", "words"), REMEDIES)
def test_people_are_told_what_to_do_about_sites_that_are_late(sites: list[SiteAbout], words: list[str]) -> None:
    found = remedies(sites)
    assert len(found) == len(words)
    assert all(word in one for word, one in zip(words, found, strict=True))


def test_who_waits_for_a_person_is_not_said_to_compute() -> None:
    run = run_of(
        task_of([round_of(1, "selecting")], [seat("a", "ready"), seat("b", "preparing", waits_for="approval")])
    )
    sites = {"b": SiteAbout("online")}
    (waits,) = shown(run, NAMES, now=at(0), sites=sites, whys={}, whole=True).waiting
    (told,) = waits.remedies
    assert "waits for its site's people" in told
    (waits,) = shown(run, NAMES, now=at(0), sites={"b": SiteAbout("silent")}, whys={}, whole=True).waiting
    assert ["does not call" in one for one in waits.remedies] == [True, False]


def test_facts_of_an_event_are_told_without_what_is_empty() -> None:
    facts = {"model_version": 7, "detail": "", "metrics": {"loss": 0.5, "auc": 0.9}, "tasks": ["a", "b"], "none": None}
    assert told(facts) == "model version 7; metrics loss 0.5, auc 0.9; tasks a, b"


def test_a_grid_is_drawn_with_each_rounds_straggler_and_escapes_names() -> None:
    came = [update("a"), update("b"), update("c", end=20), update("d", left_out="damaged")]
    task = task_of([round_of(1, "completed", *came, ended_at=at(25))], [seat(site, "done") for site in "abcd"])
    drawn = grid_drawn(
        grid_of(task, {**NAMES, "a": "<b>A"}), models={1: ("model 3", "/models/3")}, site_href="/s/{}".format
    )
    assert '<a href="/models/3">1</a>' in drawn
    assert '<a href="/s/a">&lt;b&gt;A</a>' in drawn
    assert drawn.count("the straggler") == 1
    assert drawn.index("Cork") < drawn.index("the straggler") < drawn.index("Delft")
    assert "left out" in drawn


def test_a_seat_that_rejoined_for_the_next_round_is_not_waited_for_in_this_one() -> None:
    seats = [seat("a", "training"), seat("b", "submitted"), seat("c", "invited", 2)]
    (waits,) = waits_of(run_of(task_of([round_of(1, "training", update("b"))], seats)))
    assert [one.site_id for one in waits.late] == ["a"]


def test_a_run_that_is_over_or_queued_waits_for_no_seat() -> None:
    task = task_of([round_of(1, "training")], [seat("a", "training")])
    assert waits_of(run_of(task, state="cancelled")) == []
    assert waits_of(run_of(task_of([], [], state="waiting"), state="created")) == []
    (waits,) = waits_of(run_of(task_of([], [])))
    assert (waits.round, waits.since, waits.late) == (None, None, ())


@pytest.mark.parametrize(
    ("rule", "said"),
    [("any", ""), ("same", "the first of them that is ready has;"), ("ab" * 32, f"digest {'ab' * 32};")],
)
def test_whether_all_run_the_same_code_is_said(rule: str, said: str) -> None:
    assert said in " ".join(same_code(rule))
    assert bool(same_code(rule)) == bool(said)
