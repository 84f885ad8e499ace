"""How a run moves on, as tables of examples: quorum, seats, stages, deadlines, silence, late reports, coming back."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.decisions.draft import TooEarly
from domain.decisions.progress.rounds import rejoins
from domain.decisions.progress.stage import stage_of
from domain.decisions.progress.tasks import seats_of
from domain.states import Report
from domain.sweeps import MissReceipt
from fedyard.wire.quorum import quorum_of
from fedyard.wire.times import SECOND
from tests.domain.scenes import (
    DAY,
    NOW,
    PROJECT,
    RUN,
    SITES,
    answer,
    by_site,
    came_to,
    decided,
    detail,
    draft,
    project,
    row,
    run,
    site,
    task,
    written,
)

# quorum and seats


@pytest.mark.parametrize(
    ("quorum", "of", "seats", "needed"),
    [
        # a fraction is rounded up
        (1.0, "fraction", 3, 3),
        (0.5, "fraction", 4, 2),
        (0.5, "fraction", 3, 2),
        (0.5, "fraction", 5, 3),
        (0.5, "fraction", 1, 1),
        (0.66, "fraction", 3, 2),
        (0.67, "fraction", 3, 3),
        (2 / 3, "fraction", 3, 2),
        (0.34, "fraction", 3, 2),
        (1 / 3, "fraction", 3, 1),
        (0.01, "fraction", 100, 1),
        (0.01, "fraction", 101, 2),
        (0.333_333_333_4, "fraction", 3, 1),
        (0.333_333_334, "fraction", 3, 2),
        # what floating point adds is not a seat: 30 * 0.1 is 3.0000000000000004, 100 * 0.07 is 7.000000000000001
        (0.1, "fraction", 30, 3),
        (0.07, "fraction", 100, 7),
        (0.29, "fraction", 100, 29),
        (0.001, "fraction", 100_000, 100),
        # one seat at least, also of nobody
        (0.001, "fraction", 5, 1),
        (1.0, "fraction", 0, 1),
        # a count is a count, whatever there is
        (1.0, "count", 5, 1),
        (3.0, "count", 5, 3),
        (5.0, "count", 3, 5),
        (2.0, "count", 0, 2),
    ],
)
def test_quorum_of(quorum: float, of: Any, seats: int, needed: int) -> None:
    assert quorum_of(v.Contract(quorum=quorum, quorum_of=of), seats) == needed


def members(*states: str) -> list[r.Record]:
    rows = project(0)
    for number, state in enumerate(states):
        role = "coordinator" if number == 0 else "participant"
        rows += [*site(number), row(r.Membership, site_id=SITES[number], role=role, state=state)]
    return rows


@pytest.mark.parametrize(
    ("who", "states", "expected"),
    [
        ("all", ["active", "active", "active"], [0, 1, 2]),
        ("all", ["active"], [0]),
        ("all", ["active", "invited", "active", "left", "requested"], [0, 2]),
        ("participants", ["active", "active", "active"], [1, 2]),
        ("participants", ["active", "declined", "active"], [2]),
        ("participants", ["active"], []),
        ([SITES[2], SITES[0]], ["active", "active", "active"], [0, 2]),
        ([SITES[1], SITES[4]], ["active", "active", "active"], [1]),
        ([SITES[1]], ["active", "left"], []),
    ],
)
def test_seats_of(who: Any, states: list[str], expected: list[int]) -> None:
    made = draft(members(*states))
    seats = seats_of(made, made.have(r.Project, PROJECT), v.TaskSpec(name="t", model="m", who=who))
    assert seats == [SITES[n] for n in expected]


@pytest.mark.parametrize(
    ("late", "reason", "stage", "number", "rounds", "back_in"),
    [
        # there is a round to come back to: the next one, or this one while it selects
        ("next_round", "deadline_missed", "training", 1, 2, 2),
        ("next_round", "site_silent", "aggregating", 1, 2, 2),
        ("next_round", "hub_restored", "training", 4, 5, 5),
        ("next_round", "deadline_missed", "training", 2, 2, None),
        ("next_round", "deadline_missed", "aggregating", 2, 2, None),
        ("next_round", "site_silent", "selecting", 2, 2, 2),
        ("next_round", "site_silent", "selecting", 1, 1, 1),
        ("next_round", "site_silent", "training", 1, 1, None),
        # the contract does not let anybody come back
        ("drop", "deadline_missed", "training", 1, 2, None),
        ("drop", "site_silent", "selecting", 1, 2, None),
        # who is gone is gone
        ("next_round", "member_left", "selecting", 1, 2, None),
        ("next_round", "site_retired", "training", 1, 2, None),
    ],
)
def test_where_a_dropped_seat_may_come_back(
    late: Any, reason: str, stage: str, number: int, rounds: int, back_in: int | None
) -> None:
    rows = run(["submitted", "dropped"], stage, rounds=rounds, number=number, contract={"late": late})
    made = draft(rows)
    dropped = made.have(r.Seat, task().id, SITES[1])
    gone = msgspec.structs.replace(dropped, reason=reason)
    assert rejoins(stage_of(made, made.have(r.TaskRun, task().id)), gone) == back_in


@pytest.mark.parametrize(
    ("stage", "dropped_in", "dropped_at", "rounds", "back_in"),
    [
        # it was drawn for this round, and dropped in it
        ("selecting", 3, NOW, 5, 3),
        ("selecting", 3, NOW, 3, 3),
        # it was out when others were drawn
        ("selecting", 2, NOW - DAY, 5, 4),
        ("selecting", 2, NOW - DAY, 3, None),
        ("selecting", 3, NOW - 2 * DAY, 5, 4),
        ("training", 3, NOW, 5, 4),
        ("scoring", 3, NOW, 3, None),
    ],
)
def test_where_it_comes_back_if_others_were_drawn(
    stage: str, dropped_in: int, dropped_at: int, rounds: int, back_in: int | None
) -> None:
    rows = run(["submitted", "dropped"], stage, rounds=rounds, number=3, contract={"sample": 0.5})
    here = row(r.Round, task_run_id=task().id, number=3, state=stage, drawn=1, started_at=NOW - DAY)
    gone = row(r.Seat, task_run_id=task().id, site_id=SITES[1], round=dropped_in, state="dropped", state_at=dropped_at)
    made = draft([*rows, here, gone])
    assert rejoins(stage_of(made, made.have(r.TaskRun, task().id)), gone) == back_in


@pytest.mark.parametrize(
    ("seats", "invited"),
    [
        (["submitted", "submitted"], [0, 1]),
        (["submitted", "invited"], [0, 1]),  # it was dropped, and came back for the next round
        (["submitted", "dropped"], [0]),
        (["submitted", "failed"], [0]),
    ],
)
def test_who_is_invited_to_the_next_round(seats: list[str], invited: list[int]) -> None:
    rows = run(seats, "aggregating", rounds=2)
    if seats[1] == "invited":
        rows.append(row(r.Seat, task_run_id=task().id, site_id=SITES[1], round=2, state="invited"))
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1), rows, by_site(0))
    entries = [(e.site_id, e.round) for e in written(decision, r.InboxEntry) if e.kind == "invited"]
    assert entries == [(SITES[n], 2) for n in invited]


def test_the_seats_of_a_task_that_starts() -> None:
    decision = decided(c.StartRun(project_id=PROJECT), project(2), by_site(0))
    seats = written(decision, r.Seat)
    assert [(one.site_id, one.state, one.round, one.report_seq) for one in seats] == [
        (SITES[n], "invited", 1, 0) for n in range(2)
    ]


def test_a_task_that_aggregates_nothing_is_done_with_its_rounds() -> None:
    spec = v.TaskSpec(name="train", model="m", aggregate=False, rounds=1)
    rows = [*run(["training", "submitted"], "training"), task(spec)]
    assert stage_after(rows, Report.SUBMIT) == "completed"
    decision = decided(report(Report.SUBMIT), rows, by_site(0))
    assert [one.kind for one in written(decision, r.InboxEntry) if one.kind == "aggregate"] == []
    assert [one.state for one in written(decision, r.Run)] == ["succeeded"]


# what a report brings about


@pytest.mark.parametrize(
    ("others", "quorum", "too_few", "stage"),
    [
        # all that are waited for are there
        (["ready", "ready"], 3, "fail", "training"),
        (["ready", "ready"], 1, "fail", "training"),
        (["ready", "dropped"], 2, "fail", "training"),
        (["failed", "dropped"], 1, "fail", "training"),
        # some may still come, with or without a quorum
        (["invited", "ready"], 3, "fail", "selecting"),
        (["invited", "ready"], 1, "fail", "selecting"),
        (["preparing", "ready"], 2, "fail", "selecting"),
        (["invited", "dropped"], 2, "fail", "selecting"),
        # the quorum cannot be met any more
        (["ready", "dropped"], 3, "fail", "failed"),
        (["invited", "failed"], 3, "fail", "failed"),
        (["cancelled", "dropped"], 2, "fail", "failed"),
        # unless the contract waits, for who comes back
        (["ready", "dropped"], 3, "wait", "selecting"),
        (["cancelled", "dropped"], 2, "wait", "selecting"),
    ],
)
def test_when_one_more_seat_is_ready(others: list[str], quorum: int, too_few: str, stage: str) -> None:
    rows = run(["invited", *others], quorum=quorum, contract={"too_few": too_few})
    assert stage_after(rows, Report.READY) == stage


@pytest.mark.parametrize(
    ("others", "quorum", "too_few", "stage"),
    [
        (["submitted", "submitted"], 3, "fail", "aggregating"),
        (["submitted", "dropped"], 2, "fail", "aggregating"),
        (["failed", "dropped"], 1, "fail", "aggregating"),
        (["training", "submitted"], 3, "fail", "training"),
        (["training", "submitted"], 1, "fail", "training"),
        (["uploading", "dropped"], 2, "fail", "training"),
        (["submitted", "dropped"], 3, "fail", "failed"),
        (["training", "dropped"], 3, "fail", "failed"),
        # nobody can come back into a round that trains, so that waiting is of no use
        (["submitted", "dropped"], 3, "wait", "failed"),
    ],
)
def test_when_one_more_seat_has_submitted(others: list[str], quorum: int, too_few: str, stage: str) -> None:
    rows = run(["training", *others], "training", quorum=quorum, contract={"too_few": too_few})
    assert stage_after(rows, Report.SUBMIT) == stage


def test_a_seat_of_the_next_round_is_not_waited_for_and_does_not_count() -> None:
    back = row(r.Seat, task_run_id=task().id, site_id=SITES[2], round=2, state="invited")
    rows = run(["training", "submitted", "submitted"], "training", quorum=2)
    assert stage_after([*rows, back], Report.SUBMIT) == "aggregating"
    assert (
        stage_after([*run(["training", "dropped", "dropped"], "training", quorum=2), back], Report.SUBMIT) == "failed"
    )


def stage_after(rows: list[r.Record], event: Report) -> str:
    decision = decided(report(event, 1), rows, by_site(0))
    rounds = written(decision, r.Round)
    return rounds[0].state if rounds else next(one.state for one in rows if isinstance(one, r.Round))


def report(event: Report, seq: int = 1, number: int = 1, of: int = 0, **more: Any) -> c.ReportSeat:
    return c.ReportSeat(run_id=RUN, task_seq=1, site_id=SITES[of], event=event, seq=seq, round=number, **more)


# late and early reports


@pytest.mark.parametrize(
    ("seq", "expected"),
    [(1, "duplicate"), (2, "duplicate"), (3, "duplicate"), (4, "new"), (5, "too early"), (90, "too early")],
)
def test_a_report_by_its_number_where_three_have_come(seq: int, expected: str) -> None:
    rows = [*run(["preparing", "invited"]), row(r.Seat, task_run_id=task().id, site_id=SITES[0], report_seq=3)]
    try:
        said = answer(decided(report(Report.READY, seq), rows, by_site(0)))
    except TooEarly:
        assert expected == "too early"
        return
    assert (said["duplicate"], said["report_seq"], said["state"]) == (
        (True, 3, "invited") if expected == "duplicate" else (False, 4, "ready")
    )


@pytest.mark.parametrize(
    ("by", "of", "task_seq", "expected"),
    [
        (0, 0, 1, "accepted"),
        (1, 1, 1, "accepted"),
        (0, 1, 1, "forbidden"),  # also the coordinator speaks for itself alone
        (1, 0, 1, "forbidden"),
        (1, 3, 1, "forbidden"),  # there is no such site
        (2, 2, 1, "not_found"),  # a member since, without a seat
        (0, 0, 2, "not_found"),
        (4, 4, 1, "not_found"),  # no member
    ],
)
def test_who_reports_on_which_seat(by: int, of: int, task_seq: int, expected: str) -> None:
    rows = [*run(["invited", "invited"]), *site(2), row(r.Membership, site_id=SITES[2]), *site(4)]
    command = c.ReportSeat(RUN, task_seq, SITES[of], Report.READY, seq=1, round=1)
    assert came_to(decided(command, rows, by_site(by))) == expected


@pytest.mark.parametrize(
    ("reason", "facts"),
    [
        ("", {"task": "train", "round": 1, "seq": 1}),
        ("no data", {"task": "train", "round": 1, "seq": 1, "reason": "no data"}),
    ],
)
def test_a_report_is_on_record(reason: str, facts: dict[str, object]) -> None:
    decision = decided(report(Report.ACCEPT, reason=reason), run(["invited", "invited"]), by_site(0))
    assert answer(decision) == {
        "state": "preparing",
        "round": 1,
        "report_seq": 1,
        "duplicate": False,
        "reason": "",
    }
    assert [(e.kind, e.site_id, json.loads(e.facts_json)) for e in written(decision, r.Event)] == [
        ("seat_accepted", SITES[0], facts)
    ]


def test_a_report_that_is_too_early_is_told_which_is_next() -> None:
    rows = [*run(["preparing", "invited"]), row(r.Seat, task_run_id=task().id, site_id=SITES[0], report_seq=3)]
    with pytest.raises(TooEarly, match=r"the next one has seq 4 \(its seat's report_seq is 3\)$"):
        decided(report(Report.READY, 5), rows, by_site(0))


@pytest.mark.parametrize(
    ("late", "way"), [("next_round", "report rejoin to come back"), ("drop", "it cannot come back")]
)
def test_who_was_dropped_hears_whether_it_may_come_back(late: str, way: str) -> None:
    rows = run(["dropped", "invited"], contract={"late": late})
    decision = decided(report(Report.READY), rows, by_site(0))
    assert detail(decision).endswith(f"was dropped (); {way}")


@pytest.mark.parametrize(
    ("number", "event", "state", "expected"),
    [
        (1, Report.READY, "invited", "round_over"),
        (2, Report.READY, "invited", "accepted"),
        (3, Report.READY, "invited", "round_ahead"),
        (1, Report.FAIL, "invited", "round_over"),
        (2, Report.FAIL, "invited", "accepted"),
        # who comes back need not know which round it is
        (1, Report.REJOIN, "dropped", "accepted"),
        (2, Report.REJOIN, "dropped", "accepted"),
        (9, Report.REJOIN, "dropped", "accepted"),
        # who was dropped hears of that first, whatever the round
        (1, Report.READY, "dropped", "seat_dropped"),
        (2, Report.SUBMIT, "dropped", "seat_dropped"),
        (3, Report.FAIL, "dropped", "seat_dropped"),
    ],
)
def test_a_report_by_its_round_where_the_seat_is_in_the_second(
    number: int, event: Report, state: str, expected: str
) -> None:
    rows = run([state, "invited", "ready"], number=2, rounds=3)
    assert came_to(decided(report(event, number=number), rows, by_site(0))) == expected


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        ("invited", {"accept", "ready", "wait", "fail"}),
        ("preparing", {"ready", "wait", "fail"}),
        ("ready", {"fail"}),
        ("training", {"trained", "submit", "wait", "fail"}),
        ("uploading", {"submit", "fail"}),
        ("submitted", {"fail"}),
        ("done", set()),
        ("failed", set()),
        ("cancelled", set()),
        ("dropped", {"rejoin"}),
    ],
)
def test_what_a_seat_may_report(state: str, allowed: set[str]) -> None:
    stage = "selecting" if state in ("invited", "preparing", "ready", "dropped") else "training"
    came = {e.value: came_to(decided(report(e), run([state, "invited"], stage), by_site(0))) for e in Report}
    refused = "seat_dropped" if state == "dropped" else "not_now"
    assert came == {e.value: "accepted" if e.value in allowed else refused for e in Report}


@pytest.mark.parametrize(
    ("of_run", "of_task", "expected"),
    [
        ("running", "active", "accepted"),
        ("running", "waiting", "task_waiting"),
        ("running", "succeeded", "task_finished"),
        ("running", "failed", "task_finished"),
        ("running", "skipped", "task_finished"),
        ("succeeded", "succeeded", "run_finished"),
        ("failed", "active", "run_finished"),
        ("cancelled", "cancelled", "run_finished"),
    ],
)
def test_a_report_that_comes_when_its_task_or_run_does_not_count(of_run: str, of_task: str, expected: str) -> None:
    rows = run(["invited", "invited"], state=of_run)
    rows = [*rows, task(v.TaskSpec(name="train", model="m"), state=of_task)]
    assert came_to(decided(report(Report.READY), rows, by_site(0))) == expected


@pytest.mark.parametrize(
    ("stage", "number", "rounds", "late", "expected"),
    [
        ("selecting", 1, 2, "next_round", 1),
        ("selecting", 2, 2, "next_round", 2),
        ("training", 1, 2, "next_round", 2),
        ("aggregating", 1, 3, "next_round", 2),
        ("training", 2, 2, "next_round", "no_way_back"),
        ("selecting", 1, 2, "drop", "no_way_back"),
    ],
)
def test_which_round_one_comes_back_to(stage: str, number: int, rounds: int, late: str, expected: int | str) -> None:
    others = {"selecting": "invited", "training": "training", "aggregating": "submitted"}[stage]
    rows = run(["dropped", others], stage, number=number, rounds=rounds, contract={"late": late})
    decision = decided(report(Report.REJOIN, number=number), rows, by_site(0))
    assert (answer(decision)["round"] if decision.accepted else came_to(decision)) == expected
    invited = [e for e in written(decision, r.InboxEntry) if e.site_id == SITES[0] and e.kind == "invited"]
    assert len(invited) == (1 if stage == "selecting" and decision.accepted else 0)  # else with the next round


# deadlines


@pytest.mark.parametrize(
    ("within_s", "left_s", "expected_s"),
    [(60, 3600, 60), (3600, 60, 60), (60, 60, 60), (1.5, 3600, 1.5), (86_400, 86_401, 86_400)],
)
@pytest.mark.parametrize("stage", ["selecting", "training", "aggregating"])
def test_a_stage_has_its_span_and_never_longer_than_the_run(
    stage: str, within_s: float, left_s: float, expected_s: float
) -> None:
    span = {"selecting": "select_within_s", "training": "train_within_s", "aggregating": "aggregate_within_s"}[stage]
    until = NOW + int(left_s * SECOND)
    if stage == "selecting":
        spec = v.TaskSpec(name="train", model="m", contract=v.Contract(**{span: within_s}))
        decision = decided(c.StartRun(project_id=PROJECT, finish_within_s=left_s), project(2, [spec]), by_site(0))
    elif stage == "training":
        rows = run(["invited", "ready"], contract={span: within_s}, deadline_at=until)
        rows = [*rows, row(r.Run, deadline_at=until)]
        decision = decided(report(Report.READY), rows, by_site(0))
    else:
        rows = run(["training", "submitted"], "training", contract={span: within_s})
        decision = decided(report(Report.SUBMIT), [*rows, row(r.Run, deadline_at=until)], by_site(0))
    (here,) = written(decision, r.Round)
    assert (here.state, here.deadline_at, here.stage_at) == (stage, NOW + int(expected_s * SECOND), NOW)


@pytest.mark.parametrize(
    ("stage", "seats", "quorum", "too_few", "then", "seats_then"),
    [
        # the quorum goes on without the late ones
        ("selecting", ["ready", "invited"], 1, "fail", "training", ["training", "dropped"]),
        ("selecting", ["ready", "ready", "preparing"], 2, "fail", "training", ["training", "training", "dropped"]),
        ("selecting", ["ready", "invited"], 1, "wait", "training", ["training", "dropped"]),
        ("training", ["submitted", "training"], 1, "fail", "aggregating", ["submitted", "dropped"]),
        ("training", ["submitted", "uploading"], 1, "wait", "aggregating", ["submitted", "dropped"]),
        # below it the round fails, or waits for another span
        ("selecting", ["ready", "invited"], 2, "fail", "failed", ["cancelled", "cancelled"]),
        ("selecting", ["ready", "invited"], 2, "wait", "selecting", ["ready", "invited"]),
        ("training", ["submitted", "training"], 2, "fail", "failed", ["cancelled", "cancelled"]),
        ("training", ["submitted", "training"], 2, "wait", "training", ["submitted", "training"]),
        # there is no aggregating without the coordinator
        ("aggregating", ["submitted", "submitted"], 1, "wait", "failed", ["cancelled", "cancelled"]),
    ],
)
def test_when_the_time_of_a_stage_is_over(
    stage: str, seats: list[str], quorum: int, too_few: str, then: str, seats_then: list[str]
) -> None:
    spans = {"select_within_s": 60, "train_within_s": 600}
    rows = run(seats, stage, quorum=quorum, deadline_at=NOW, contract={"too_few": too_few, **spans})
    decision = decided(c.PassDeadline(run_id=RUN, deadline_at=NOW, task_seq=1, round=1), rows)
    assert answer(decision) == {"passed": True}
    (here,) = written(decision, r.Round)
    assert here.state == then
    if then == stage:
        assert here.deadline_at == NOW + (60 if stage == "selecting" else 600) * SECOND
    states = {one.site_id: one.state for one in rows if isinstance(one, r.Seat)}
    states |= {one.site_id: one.state for one in written(decision, r.Seat)}
    assert list(states.values()) == seats_then


@pytest.mark.parametrize(
    ("found", "now", "number", "passed"),
    [
        (NOW, NOW, 1, True),
        (NOW, NOW + DAY, 1, True),
        (NOW, NOW - 1, 1, False),  # the ticker's clock is ahead
        (NOW - 1, NOW, 1, False),  # of a stage before this one
        (NOW, NOW, 2, False),
    ],
)
def test_a_finding_of_the_ticker_is_looked_at_again(found: int, now: int, number: int, *, passed: bool) -> None:
    rows = run(["ready", "invited"], deadline_at=NOW)
    command = c.PassDeadline(run_id=RUN, deadline_at=found, task_seq=1, round=number)
    decision = decided(command, rows, now=now)
    assert answer(decision) == {"passed": passed}
    assert bool(decision.records) is passed


@pytest.mark.parametrize("state", ["created", "running", "succeeded", "failed", "cancelled"])
@pytest.mark.parametrize(
    ("found", "now", "in_time"),
    [(NOW, NOW, False), (NOW, NOW - 1, True), (NOW - 1, NOW, True), (NOW + 1, NOW + 1, True)],
)
def test_a_run_past_its_deadline_fails_queued_or_running(state: str, found: int, now: int, *, in_time: bool) -> None:
    queued = state == "created"
    rows = run(["ready", "invited"], state=state)
    rows += [row(r.Run, state=state, deadline_at=NOW), task(state="waiting" if queued else "active", round=not queued)]
    decision = decided(c.PassDeadline(run_id=RUN, deadline_at=found), rows, now=now)
    if in_time or state in ("succeeded", "failed", "cancelled"):
        assert answer(decision) == {"passed": False}
        assert decision.records == ()
        return
    (over,) = written(decision, r.Run)
    assert (over.state, over.reason, over.ended_at) == ("failed", "run_deadline", NOW)
    assert [one.state for one in written(decision, r.TaskRun)] == ["cancelled"]
    assert [e.command.project_id for e in decision.follow_ups] == [PROJECT]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("live", "allowed", "queue", "expected"),
    [
        ([], 1, False, "running"),
        ([], 1, True, "running"),
        (["running"], 1, True, "created"),
        (["created"], 1, True, "created"),
        (["running"], 1, False, "run_live"),
        (["running"], 2, False, "running"),
        (["running", "created"], 2, False, "run_live"),
        (["succeeded", "failed", "cancelled"], 1, False, "running"),
    ],
)
def test_a_new_run_begins_or_waits_its_turn_and_its_time_runs_from_now(
    live: list[str],
    allowed: int,
    queue: bool,
    expected: str,
) -> None:
    rows = project(2, max_live_runs=allowed)
    rows += [row(r.Run, id=f"run {n}", number=n, state=state) for n, state in enumerate(live, start=1)]
    command = c.StartRun(project_id=PROJECT, queue=queue, finish_within_s=3600.5)
    decision = decided(command, rows, by_site(0))
    if not decision.accepted:
        assert came_to(decision) == expected
        return
    (made,) = written(decision, r.Run)
    assert (made.state, made.deadline_at) == (expected, NOW + 3_600_500_000)
    assert made.started_at == (NOW if expected == "running" else None)


@pytest.mark.parametrize(
    ("states", "allowed", "begun"),
    [
        (["created"], 1, 1),
        (["created", "created"], 1, 1),
        (["succeeded", "created", "created"], 1, 2),
        (["running", "created"], 1, None),
        (["running", "created"], 2, 2),
        (["running", "running", "created"], 2, None),
        (["running"], 2, None),
        ([], 1, None),
    ],
)
def test_which_queued_run_begins_and_keeps_its_deadline(states: list[str], allowed: int, begun: int | None) -> None:
    rows = project(2, max_live_runs=allowed)
    for number, state in enumerate(states, start=1):
        key = f"run {9 - number}"  # the order is that of the numbers, not that of the ids
        rows.append(row(r.Run, id=key, number=number, state=state, deadline_at=NOW + number))
        rows.append(task(id=f"task of {key}", run_id=key, state="waiting", round=0))
    decision = decided(c.BeginRun(project_id=PROJECT), rows)
    runs = written(decision, r.Run)
    assert answer(decision) == {"begun": None if begun is None else f"run {9 - begun}"}
    assert [(one.number, one.state, one.deadline_at) for one in runs] == (
        [] if begun is None else [(begun, "running", NOW + begun)]
    )


# silence, and what else drops a seat


@pytest.mark.parametrize(
    ("reason", "state", "silent_s", "dropped"),
    [
        ("site_silent", "invited", 600, True),
        ("site_silent", "uploading", 600, True),
        ("site_silent", "ready", 600.000001, True),
        ("site_silent", "ready", 599.999999, False),
        ("site_silent", "submitted", 6000, False),  # it has done its part
        ("site_silent", "dropped", 6000, False),
        ("site_silent", "done", 6000, False),
        ("member_left", "submitted", 0, True),
        ("member_left", "ready", 0, True),
        ("site_retired", "training", 0, True),
        ("hub_restored", "preparing", 0, True),
        ("member_left", "failed", 0, False),
        ("member_left", "dropped", 0, False),
    ],
)
def test_when_a_seat_is_dropped(reason: Any, state: str, silent_s: float, *, dropped: bool) -> None:
    stage = "selecting" if state in ("invited", "preparing", "ready") else "training"
    rows = run([state, "invited" if stage == "selecting" else "training"], stage, contract={"silent_within_s": 600})
    command = c.DropSeats(run_id=RUN, site_id=SITES[0], reason=reason, detail="why")
    decision = decided(command, rows, seen={SITES[0]: NOW - round(silent_s * SECOND)})
    assert answer(decision) == {"dropped": [1] if dropped else []}
    silence = f"the site was not heard of for {int(silent_s)} s; the task allows 600"
    facts = [msgspec.json.decode(one.facts_json) for one in written(decision, r.Event) if one.kind == "seat_dropped"]
    details = [silence if reason == "site_silent" else "why"]
    assert [one["detail"] for one in facts] == (details if dropped else [])
    assert [one.state for one in written(decision, r.Seat)] == (["dropped"] if dropped else [])


@pytest.mark.parametrize(("created_s", "dropped"), [(601, True), (600, True), (599, False)])
def test_enrolling_is_a_sign_of_life(created_s: int, *, dropped: bool) -> None:
    rows = [
        *run(["invited", "invited"], contract={"silent_within_s": 600}),
        *site(0, created_at=NOW - created_s * SECOND),
    ]
    command = c.DropSeats(run_id=RUN, site_id=SITES[0], reason="site_silent", detail="why")
    assert answer(decided(command, rows)) == {"dropped": [1] if dropped else []}


# aggregating


@pytest.mark.parametrize(
    ("left_out", "quorum", "stage"),
    [
        ([], 3, "completed"),
        ([2], 2, "completed"),
        ([2], 3, "failed"),
        ([1, 2], 1, "completed"),
        ([1, 2], 2, "failed"),
        ([0, 1, 2], 1, "failed"),
    ],
)
def test_what_is_left_out_does_not_count_for_the_quorum(left_out: list[int], quorum: int, stage: str) -> None:
    rows = run(["submitted"] * 3, "aggregating", quorum=quorum, rounds=1)
    rows += [row(r.Submission, task_run_id=task().id, site_id=SITES[n]) for n in range(3)]
    out = [c.LeftOut(site_id=SITES[n], reason="bad_norm") for n in left_out]
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1, left_out=out), rows, by_site(0))
    assert answer(decision) == {"state": stage, "round": 1}
    end = "done" if stage == "completed" else "cancelled"
    assert [one.state for one in written(decision, r.Seat)] == ["failed" if n in left_out else end for n in range(3)]
    assert [one.state for one in written(decision, r.Run)] == ["succeeded" if stage == "completed" else "failed"]


def test_a_round_that_fails_says_who_was_lost_and_who_was_left_out() -> None:
    rows = run(["ready", "dropped", "failed", "invited"], quorum=2, deadline_at=NOW)
    for number, reason in ((1, "site_silent"), (2, "site_failed"), (3, "of no concern")):
        state = ("dropped", "failed", "invited")[number - 1]
        rows.append(row(r.Seat, task_run_id=task().id, site_id=SITES[number], state=state, reason=reason))
    decision = decided(c.PassDeadline(run_id=RUN, deadline_at=NOW, task_seq=1, round=1), rows)
    (said,) = (json.loads(e.facts_json)["detail"] for e in written(decision, r.Event) if e.kind == "round_failed")
    assert said == (
        "2 seats are needed in round 1 and 1 can still be had or have come (lost: site_failed, site_silent); at its "
        "deadline 1 seat was not done yet"
    )


@pytest.mark.parametrize(("count", "more"), [(2, ""), (10, ""), (12, " and 2 more")])
def test_not_all_who_were_left_out_are_named(count: int, more: str) -> None:
    rows = run(["submitted"], "aggregating", rounds=1)
    names = [f"site {n:02}" for n in range(count)]
    for name in names:
        rows += [
            row(r.Site, id=name),
            row(r.Mailbox, site_id=name),
            row(r.Submission, task_run_id=task().id, site_id=name),
        ]
        rows.append(row(r.Seat, task_run_id=task().id, site_id=name, state="submitted"))
    rows.append(row(r.Round, task_run_id=task().id, state="aggregating", quorum=2))
    out = [c.LeftOut(site_id=name, reason="bad") for name in names]
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1, left_out=out), rows, by_site(0))
    (said,) = (json.loads(e.facts_json)["detail"] for e in written(decision, r.Event) if e.kind == "round_failed")
    named = ", ".join(f"site {name} (bad)" for name in names[:10])
    assert said == f"2 updates are needed in round 1 and 1 can be used; left out: {named}{more}"


@pytest.mark.parametrize(
    ("moved_at", "state", "counts"),
    [
        (0, "submitted", True),
        (1, "dropped", True),  # it left while the coordinator aggregated: what it had submitted is there
        (0, "dropped", False),  # it was dropped with the deadline that ended the training
        (-1, "dropped", False),
    ],
)
def test_an_update_counts_as_long_as_it_was_given_in_time(moved_at: int, state: str, *, counts: bool) -> None:
    rows = run(["submitted", state, "submitted"], "aggregating", quorum=2, rounds=1)
    stage_at = next(one.stage_at for one in rows if isinstance(one, r.Round))
    rows += [row(r.Submission, task_run_id=task().id, site_id=SITES[n]) for n in range(3)]
    rows.append(
        row(r.Seat, task_run_id=task().id, site_id=SITES[1], state=state, state_at=stage_at + moved_at, reason="left")
    )
    out = [c.LeftOut(site_id=SITES[2], reason="bad_norm")]
    decision = decided(c.ReportAggregated(run_id=RUN, task_seq=1, round=1, left_out=out), rows, by_site(0))
    assert answer(decision)["state"] == ("completed" if counts else "failed")


@pytest.mark.parametrize(
    ("stage", "number", "named", "expected"),
    [
        ("aggregating", 1, [], "accepted"),
        ("training", 1, [], "not_aggregating"),
        ("selecting", 1, [], "not_aggregating"),
        ("completed", 1, [], "not_aggregating"),
        ("aggregating", 2, [], "not_aggregating"),
        ("aggregating", 1, [1], "accepted"),
        ("aggregating", 1, [1, 1], "not_submitted"),
        ("aggregating", 1, [2], "not_submitted"),
    ],
)
def test_when_a_model_is_taken(stage: str, number: int, named: list[int], expected: str) -> None:
    rows = run(["submitted", "submitted", "dropped"], stage)
    rows += [row(r.Submission, task_run_id=task().id, site_id=SITES[n]) for n in range(2)]
    out = [c.LeftOut(site_id=SITES[n], reason="bad_norm") for n in named]
    command = c.ReportAggregated(run_id=RUN, task_seq=1, round=number, left_out=out)
    assert came_to(decided(command, rows, by_site(0))) == expected


@pytest.mark.parametrize(("by", "expected"), [(0, "accepted"), (1, "forbidden"), (2, "not_found")])
def test_who_reports_a_model(by: int, expected: str) -> None:
    rows = [*run(["submitted", "submitted"], "aggregating"), *site(2)]
    command = c.ReportAggregated(run_id=RUN, task_seq=1, round=1)
    assert came_to(decided(command, rows, by_site(by))) == expected


@pytest.mark.parametrize(
    ("model", "failure", "state", "sent"),
    [
        (b"model", "", "completed", [b"model"]),
        (None, "", "completed", []),
        (None, "no memory", "failed", []),
        (b"model", "no memory", "failed", []),  # what failed has no model
    ],
)
def test_what_the_coordinator_has_made_of_the_updates(
    model: bytes | None, failure: str, state: str, sent: list[bytes]
) -> None:
    rows = run(["submitted", "submitted"], "aggregating")
    command = c.ReportAggregated(run_id=RUN, task_seq=1, round=1, model=model, failure=failure)
    decision = decided(command, rows, by_site(0))
    assert answer(decision)["state"] == state
    assert [(one.body, one.recipient_count) for one in written(decision, r.Message)] == [(one, 2) for one in sent]
    assert len(written(decision, r.Model)) == len(sent)
    details = [json.loads(e.facts_json)["detail"] for e in written(decision, r.Event) if e.kind == "round_failed"]
    assert details == ([failure] if failure else [])


@pytest.mark.parametrize(("rounds", "opened"), [(1, []), (2, [2]), (3, [2])])
def test_after_a_round_the_next_one_opens_until_there_were_enough(rounds: int, opened: list[int]) -> None:
    rows = run(["submitted", "submitted"], "aggregating", rounds=rounds)
    command = c.ReportAggregated(run_id=RUN, task_seq=1, round=1, model=b"model", metrics={"loss": 0.5})
    decision = decided(command, rows, by_site(0))
    assert [one.number for one in written(decision, r.Round) if one.state == "selecting"] == opened
    assert [one.state for one in written(decision, r.Seat)] == ["invited" if opened else "done"] * 2
    (message,) = written(decision, r.Message)
    assert message.expires_at == NOW + 30 * DAY  # as long as its run
    (model,) = written(decision, r.Model)
    assert (model.version, model.round, json.loads(model.metrics_json)) == (1, 1, {"loss": 0.5})


@pytest.mark.parametrize(("update", "sent"), [(None, []), (b"update", [(b"update", 6)]), (b"", [(b"", 0)])])
def test_an_update_goes_to_the_coordinator_and_stays_with_the_submission(
    update: bytes | None, sent: list[tuple[bytes, int]]
) -> None:
    rows = run(["training", "training"], "training")
    decision = decided(report(Report.SUBMIT, of=1, update=update, metrics={"loss": 0.5}), rows, by_site(1))
    messages = written(decision, r.Message)
    assert [(one.body, one.size_bytes) for one in messages] == sent
    told = [(e.site_id, e.kind, e.message_id) for e in written(decision, r.InboxEntry)]
    assert told == [(SITES[0], "message", one.id) for one in messages]
    (kept,) = written(decision, r.Submission)
    assert (kept.round, kept.metrics_json, kept.started_at, kept.submitted_at) == (1, '{"loss":0.5}', NOW - DAY, NOW)
    assert kept.update_message_id == (messages[0].id if messages else None)


@pytest.mark.parametrize(("run_days", "kept_days"), [(1, 7), (7, 7), (8, 8)])
def test_a_payload_of_a_run_is_kept_as_long_as_the_run_and_a_week_at_least(run_days: int, kept_days: int) -> None:
    rows = [*run(["training", "training"], "training"), row(r.Run, deadline_at=NOW + run_days * DAY)]
    decision = decided(report(Report.SUBMIT, update=b"update"), rows, by_site(0))
    (message,) = written(decision, r.Message)
    assert (message.expires_at, message.recipient_count) == (NOW + kept_days * DAY, 1)


@pytest.mark.parametrize(
    ("by", "of", "task_seq", "number", "known", "expected", "recorded"),
    [
        (1, 1, 1, 1, "", "accepted", True),
        (1, 1, 1, 1, "not_named", "accepted", False),  # once for each update
        (0, 0, 1, 1, "", "accepted", True),
        (0, 1, 1, 1, "", "forbidden", False),
        (1, 4, 1, 1, "", "forbidden", False),  # there is no such site
        (1, 1, 2, 1, "", "not_found", False),
        (1, 1, 1, 2, "", "not_found", False),
        (2, 2, 1, 1, "", "not_found", False),  # it has not submitted
        (3, 3, 1, 1, "", "not_found", False),  # no member
    ],
)
def test_who_misses_a_receipt(
    by: int, of: int, task_seq: int, number: int, known: str, expected: str, *, recorded: bool
) -> None:
    rows = [*run(["done", "done"], "completed", state="succeeded"), *site(2), *site(3)]
    rows.append(row(r.Membership, site_id=SITES[2]))
    rows += [row(r.Submission, task_run_id=task().id, site_id=SITES[n], missing_receipt=known) for n in (0, 1)]
    command = c.ReportMissingReceipt(RUN, task_seq, number, SITES[of], "wrong_digest")
    decision = decided(command, rows, by_site(by))
    assert came_to(decision) == expected
    if decision.accepted:
        said = {"site_id": SITES[of], "round": 1, "reason": known or "wrong_digest"}
        assert answer(decision) == said
    assert decision.sweeps == ((MissReceipt(task().id, 1, SITES[of], "wrong_digest"),) if recorded else ())
    told = [(e.site_id, e.kind) for e in written(decision, r.InboxEntry)]
    assert told == ([(SITES[0], "receipt_missing")] if recorded else [])
    assert [one.version for one in written(decision, r.Run)] == ([2] if recorded else [])
