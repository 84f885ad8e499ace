"""The code that seats run: what is on record of it, and which fail of theirs. And what seats say they wait for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.decisions.draft import Decision
from domain.states import Report
from tests.domain.scenes import (
    NOW,
    RUN,
    SITES,
    answer,
    by_site,
    came_to,
    decided,
    detail,
    row,
    run,
    task,
    task_id,
    written,
)

OURS, THEIRS = "ab" * 32, "cd" * 32


def report(event: Report = Report.READY, site: int = 0, **more: Any) -> c.ReportSeat:
    return c.ReportSeat(run_id=RUN, task_seq=1, site_id=SITES[site], event=event, seq=1, round=1, **more)


def scene(rule: str, seats: list[str], stage: str = "selecting", **more: Any) -> list[r.Record]:
    spec = v.TaskSpec(name="train", model="m", rounds=2, code=rule, contract=v.Contract(quorum=0.5))
    return [*run(seats, stage, rounds=2), task(spec, **more)]


def seat_of(decision: Decision) -> r.Seat:
    return next(seat for seat in written(decision, r.Seat) if seat.site_id == SITES[0])


def test_a_digest_is_on_record_for_seat_and_submission() -> None:
    ready = decided(report(code=OURS), scene("any", ["preparing", "preparing"]), by_site(0))
    assert (seat_of(ready).code, written(ready, r.TaskRun)) == (OURS, [])
    rows = [
        *scene("any", ["training", "training"], "training"),
        row(r.Seat, task_run_id=task_id(), site_id=SITES[0], state="training", code=OURS),
    ]
    for said, kept in ((THEIRS, THEIRS), (None, OURS)):  # without a digest it is the code that the seat was ready with
        submitted = decided(report(Report.SUBMIT, code=said), rows, by_site(0))
        (submission,) = written(submitted, r.Submission)
        assert (submission.code, seat_of(submitted).code) == (kept, kept)
    assert seat_of(decided(report(), scene("any", ["preparing", "preparing"]), by_site(0))).code == ""


@pytest.mark.parametrize("code", ["same", OURS])
def test_the_first_digest_is_what_the_others_are_held_to(code: str) -> None:
    decision = decided(report(code=OURS), scene(code, ["preparing", "preparing"]), by_site(0))
    assert seat_of(decision).state == "ready"
    assert [one.code for one in written(decision, r.TaskRun)] == [OURS]


@pytest.mark.parametrize("event", [Report.READY, Report.SUBMIT])
@pytest.mark.parametrize(("code", "kept"), [("same", OURS), (OURS, ""), (OURS, OURS)])
@pytest.mark.parametrize("said", [THEIRS, None])
def test_a_seat_with_other_code_fails_and_both_digests_are_said(
    event: Report, code: str, kept: str, said: str | None
) -> None:
    stage, state = ("selecting", "preparing") if event == Report.READY else ("training", "training")
    rows = scene(code, [state, state, state], stage, code=kept)
    decision = decided(report(event, code=said, update=b"u" if event == Report.SUBMIT else None), rows, by_site(0))
    seat, told = seat_of(decision), answer(decision)
    assert (seat.state, seat.reason, seat.code, told["state"]) == ("failed", "code_differs", said or "", "failed")
    (failed,) = [e for e in written(decision, r.Event) if e.kind == "seat_failed"]
    facts = json.loads(failed.facts_json)
    assert (facts["reason"], facts["detail"]) == ("code_differs", told["reason"])
    assert OURS in told["reason"]
    assert (said or "no digest") in told["reason"]
    assert not written(decision, r.Submission)
    assert not written(decision, r.Message)
    assert seat.report_seq == 1
    assert [(e.site_id, e.kind) for e in written(decision, r.InboxEntry)] == [(SITES[0], "seat_left_out")]


def said_of(code: str, codes: list[str]) -> str:
    """What the first site is told, which says THEIRS where OURS is wanted. codes: of the other seats."""
    rows = scene(code, ["preparing"] * (1 + len(codes)), code=OURS)
    rows += [
        row(r.Seat, task_run_id=task_id(), site_id=SITES[site], state="ready", code=one)
        for site, one in enumerate(codes, start=1)
    ]
    told: str = answer(decided(report(code=THEIRS), rows, by_site(0)))["reason"]
    assert not [site for site in SITES[1:] if site in told]  # whose code it is stays with who sees the seats
    return told


def test_with_the_same_code_it_is_said_how_many_have_which_and_what_to_do_if_the_first_is_the_odd_one() -> None:
    told = said_of("same", [OURS, THEIRS])
    assert f"the seat that was ready first in this run (its coordinator sees whose it is) has {OURS}" in told
    assert "3 seats have said a digest so far, 1 with that one, 2 with this site's: bring this site's" in told
    assert f'have the project name the digest in its task ("code": "{THEIRS}"), then start a new run' in told
    others = said_of(OURS, [OURS, "ef" * 32, ""])  # a seat that has said none does not count
    assert f"the task names {OURS}. 3 seats have said a digest so far" in others
    assert ", 1 with that one, 1 with this site's, 1 with another: bring" in others


def test_the_last_seat_that_fails_of_its_code_ends_the_task() -> None:
    rows = scene("same", ["preparing", "failed"], code=OURS)
    decision = decided(report(code=THEIRS), rows, by_site(0))
    assert [(one.state, one.reason) for one in written(decision, r.Run)] == [("failed", "quorum_not_met")]


@pytest.mark.parametrize("event", [Report.ACCEPT, Report.FAIL])
def test_other_reports_say_no_digest(event: Report) -> None:
    rows = scene("same", ["invited", "invited"], code=OURS)
    assert seat_of(decided(report(event), rows, by_site(0))).reason in ("", "site_failed")


def test_a_report_that_could_not_be_made_now_is_refused_whatever_its_code() -> None:
    rows = scene("same", ["submitted", "training"], "training", code=OURS)
    decision = decided(report(Report.SUBMIT, code=THEIRS), rows, by_site(0))
    assert came_to(decision) == "not_now"


# what a seat waits for


def waits(state: str, **more: Any) -> Decision:
    stage = {"training": "training", "scoring": "scoring"}.get(state, "selecting")
    return decided(report(Report.WAIT, **more), scene("any", [state, state], stage), by_site(0))


@pytest.mark.parametrize(
    ("state", "then"),
    [("invited", "preparing"), ("preparing", "preparing"), ("training", "training"), ("scoring", "scoring")],
)
def test_a_seat_that_waits_stays_where_it_is(state: str, then: str) -> None:
    decision = waits(state, waits_for="approval", waits_until=NOW)
    seat = seat_of(decision)
    assert (seat.state, seat.waits_for, seat.waits_until) == (then, "approval", None)  # its round says until when
    assert (seat.state_at == NOW) == (state == "invited")
    (event,) = [e for e in written(decision, r.Event) if e.kind == "seat_waiting"]
    assert json.loads(event.facts_json) == {"task": "train", "round": 1, "seq": 1, "waits_for": "approval"}


def test_hours_say_when_they_begin_and_nothing_is_waited_for_after_the_next_report() -> None:
    seat = seat_of(waits("preparing", waits_for="hours", waits_until=NOW + 5))
    assert (seat.waits_for, seat.waits_until) == ("hours", NOW + 5)
    over = seat_of(waits("preparing"))
    assert (over.waits_for, over.waits_until) == ("", None)
    rows = [
        *scene("any", ["preparing", "preparing"]),
        row(r.Seat, task_run_id=task_id(), site_id=SITES[0], state="preparing", waits_for="hours", waits_until=5),
    ]
    for event in (Report.READY, Report.FAIL):
        after = seat_of(decided(report(event), rows, by_site(0)))
        assert (after.waits_for, after.waits_until) == ("", None)


@pytest.mark.parametrize("state", ["ready", "uploading", "submitted", "dropped"])
def test_nothing_is_waited_for_once_it_is_computed(state: str) -> None:
    assert came_to(waits(state, waits_for="approval")) in ("not_now", "seat_dropped")


def test_workloads_hold_no_seat_of_a_task_whose_sites_run_the_same() -> None:
    spec = v.WorkloadSpec(kind="job", image="i")
    held = v.TaskSpec(name="train", model="m", code="same", workloads=[v.Holder(name="w", spec=spec)])
    assert "leave code out" in detail(
        decided(c.UpdateProject(project_id=row(r.Run).project_id, tasks=[held]), scene("any", ["invited"]), by_site(0))
    )
