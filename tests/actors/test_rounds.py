"""Quorum, deadlines, silence, dropping and coming back, aggregation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.events import EventKind
from domain.states import Report
from domain.values import Subject
from fedyard.wire.notices import Notice
from fedyard.wire.times import SECOND
from tests.hub import QUICK, Hub

HALF = {"quorum": 0.5, "select_within_s": 60.0, "train_within_s": 600.0, "aggregate_within_s": 120.0}


def started(hub: Hub, count: int = 4, rounds: int = 2, **contract: Any) -> tuple[list[Subject], str]:
    sites = hub.sites(count)
    task = v.TaskSpec(name="train", model="m", rounds=rounds, contract=v.Contract(**{**HALF, **contract}))
    project = hub.project(sites, tasks=[task])
    return sites, hub.start(project, sites[0])


def fall_silent(hub: Hub, run: str, site: Subject) -> None:
    """The ticker finds that this site was not heard of for longer than its task allows."""
    hub.clock.micros += int(v.Contract().silent_within_s * SECOND)
    hub.ok(c.DropSeats(run_id=run, site_id=site.id, reason="site_silent", detail="silent"))


def last(hub: Hub, site: Subject, kind: Notice) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads([e for e in hub.inbox(site) if e.kind == kind][-1].facts_json)
    return facts


def test_a_round_starts_when_all_are_ready_not_before(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites[:3])
    assert hub.round(run, 1).state == "selecting"
    hub.report(run, sites[3], Report.READY)
    assert hub.round(run, 1).state == "training"
    assert {hub.seat(run, site).state for site in sites} == {"training"}


def test_at_the_deadline_the_quorum_goes_on_without_the_others(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites[:2])
    hub.pass_time(61)
    assert hub.round(run, 1).state == "training"
    assert [hub.seat(run, site).state for site in sites] == ["training", "training", "dropped", "dropped"]
    assert hub.seat(run, sites[3]).reason == "deadline_missed"
    assert last(hub, sites[3], Notice.SEAT_DROPPED)["may_rejoin"] is True


def test_under_quorum_at_the_deadline_the_run_fails_and_says_why(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites[:1])
    hub.pass_time(61)
    ended = hub.run(run)
    assert (ended.state, ended.reason) == ("failed", "quorum_not_met")
    assert hub.round(run, 1).state == "failed"
    assert hub.task(run).state == "failed"
    assert {hub.seat(run, site).state for site in sites} == {"cancelled"}
    assert last(hub, sites[2], Notice.RUN_ENDED)["state"] == "failed"


def test_a_contract_that_waits_extends_the_deadline_until_the_runs_own(hub: Hub) -> None:
    sites, run = started(hub, too_few="wait")
    hub.ready_all(run, sites[:1])
    hub.pass_time(61)
    assert hub.round(run, 1).state == "selecting"
    hub.report(run, sites[1], Report.READY)
    hub.pass_time(61)
    assert hub.round(run, 1).state == "training"


def test_a_quorum_that_can_no_longer_be_had_fails_at_once(hub: Hub) -> None:
    sites, run = started(hub)
    for site in sites[:2]:
        hub.report(run, site, Report.FAIL, reason="disk full")
    assert hub.run(run).state == "running"
    hub.report(run, sites[2], Report.FAIL, reason="disk full")
    assert (hub.run(run).state, hub.run(run).reason) == ("failed", "quorum_not_met")
    assert "site_failed" in hub.rows(r.Event, "kind = %s", EventKind.ROUND_FAILED)[0].facts_json


def test_training_ends_with_the_quorum_at_its_deadline(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites[:3])
    hub.pass_time(601)
    assert hub.round(run, 1).state == "aggregating"
    submissions = last(hub, sites[0], Notice.AGGREGATE)["submissions"]
    assert sorted(s["site_id"] for s in submissions) == sorted(site.id for site in sites[:3])


def test_a_late_update_is_refused_with_what_comes_next(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites[:3])
    late = hub.reporting(run, sites[3], Report.SUBMIT, update=b"late")
    hub.pass_time(601)
    assert hub.refused(late, sites[3]) == (409, "seat_dropped")


def test_an_update_for_a_past_round_is_refused(hub: Hub) -> None:
    sites, run = started(hub)
    hub.whole_round(run, sites, 1)
    again = hub.reporting(run, sites[1], Report.SUBMIT, number=1, update=b"old")
    assert hub.refused(again, sites[1]) == (409, "round_over")
    ahead = hub.reporting(run, sites[1], Report.READY, number=3)
    assert hub.refused(ahead, sites[1]) == (409, "round_ahead")


def test_a_dropped_seat_comes_back_with_the_next_round(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites[:3])
    hub.pass_time(61)
    answer = hub.report(run, sites[3], Report.REJOIN)
    assert (answer["state"], answer["round"]) == ("invited", 2)
    hub.submit_all(run, sites[:3])
    hub.aggregate(run, sites[0], 1)
    assert hub.round(run, 2).state == "selecting"
    assert last(hub, sites[3], Notice.INVITED)["report_seq"] == 1
    hub.whole_round(run, sites, 2)
    assert hub.run(run).state == "succeeded"


def test_a_contract_without_second_chance_lets_nobody_back(hub: Hub) -> None:
    sites, run = started(hub, late="drop")
    hub.ready_all(run, sites[:3])
    hub.pass_time(61)
    assert last(hub, sites[3], Notice.SEAT_DROPPED)["may_rejoin"] is False
    assert hub.refused(hub.reporting(run, sites[3], Report.REJOIN), sites[3]) == (409, "no_way_back")


def test_while_a_round_still_selects_a_dropped_seat_comes_back_into_it(hub: Hub) -> None:
    sites, run = started(hub)
    fall_silent(hub, run, sites[3])
    answer = hub.report(run, sites[3], Report.REJOIN)
    assert (answer["state"], answer["round"]) == ("invited", 1)
    hub.ready_all(run, sites)
    assert hub.round(run, 1).state == "training"


def test_silence_drops_who_is_waited_for_and_spares_who_has_submitted(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites[:1])
    for site in sites[:2]:
        fall_silent(hub, run, site)
    assert [hub.seat(run, site).state for site in sites[:2]] == ["submitted", "dropped"]


def test_losing_the_last_one_waited_for_moves_the_round_on(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites[:3])
    fall_silent(hub, run, sites[3])
    assert hub.round(run, 1).state == "aggregating"


def test_a_coordinator_that_does_not_aggregate_in_time_fails_the_run(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites)
    hub.pass_time(121)
    assert (hub.run(run).state, hub.run(run).reason) == ("failed", "aggregate_deadline")


def test_a_coordinator_that_cannot_aggregate_says_so(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites)
    hub.ok(c.ReportAggregated(run_id=run, task_seq=1, round=1, failure="shapes differ"), sites[0])
    assert (hub.run(run).state, hub.run(run).reason) == ("failed", "aggregation_failed")


@pytest.mark.parametrize("number", [1, 2])
def test_aggregating_what_is_not_aggregating_is_refused(hub: Hub, number: int) -> None:
    sites, run = started(hub)
    command = c.ReportAggregated(run_id=run, task_seq=1, round=number, model=b"x")
    assert hub.refused(command, sites[0]) == (409, "not_aggregating")


def test_only_the_coordinator_aggregates(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites)
    command = c.ReportAggregated(run_id=run, task_seq=1, round=1, model=b"x")
    assert hub.refused(command, sites[1]) == (403, "forbidden")


def aggregating(hub: Hub, **contract: Any) -> tuple[list[Subject], str]:
    sites, run = started(hub, **contract)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites)
    assert last(hub, sites[0], Notice.AGGREGATE)["quorum"] == hub.round(run, 1).quorum
    return sites, run


def without(run: str, *sites: Subject, **more: Any) -> c.ReportAggregated:
    left_out = [c.LeftOut(site.id, "seal_damaged", "its update does not open") for site in sites]
    return c.ReportAggregated(run_id=run, task_seq=1, round=1, left_out=left_out, **more)


def left_out(hub: Hub, number: int = 1) -> dict[str, str]:
    return {s.site_id: s.left_out for s in hub.rows(r.Submission, "round = %s AND left_out <> ''", number)}


def test_who_is_left_out_fails_and_the_rest_go_on(hub: Hub) -> None:
    sites, run = aggregating(hub)
    command = without(run, sites[3], model=b"model", metrics={"accuracy": 0.9})
    answer = hub.ok(command, sites[0], key="aggregated")
    assert answer == {"state": "completed", "round": 1}
    assert hub.ok(command, sites[0], key="aggregated") == answer
    seat = hub.seat(run, sites[3])
    assert (seat.state, seat.reason, seat.round) == ("failed", "seal_damaged", 1)
    assert left_out(hub) == {sites[3].id: "seal_damaged"}
    event = hub.rows(r.Event, "kind = %s", EventKind.SEAT_LEFT_OUT)[0]
    assert (event.site_id, json.loads(event.facts_json)) == (
        sites[3].id,
        {"task": "train", "round": 1, "reason": "seal_damaged", "detail": "its update does not open"},
    )
    assert last(hub, sites[3], Notice.SEAT_LEFT_OUT) == {
        "reason": "seal_damaged",
        "detail": "its update does not open",
    }
    assert [hub.seat(run, site).state for site in sites[:3]] == ["invited"] * 3
    hub.whole_round(run, sites[:3], 2)
    assert hub.run(run).state == "succeeded"
    assert left_out(hub, 2) == {}
    assert [hub.seat(run, site).state for site in sites] == ["done", "done", "done", "failed"]


@pytest.mark.parametrize("more", [{"model": b"of one"}, {"failure": "too few"}])
def test_too_few_that_are_not_left_out_fail_the_round_and_are_named(hub: Hub, more: dict[str, Any]) -> None:
    sites, run = aggregating(hub)
    hub.ok(without(run, *sites[1:], **more), sites[0])
    ended = hub.run(run)
    assert (ended.state, ended.reason) == ("failed", "quorum_not_met")
    detail = json.loads(hub.rows(r.Event, "kind = %s", EventKind.ROUND_FAILED)[0].facts_json)["detail"]
    assert [site.id in detail for site in sites] == [False, True, True, True]
    assert "seal_damaged" in detail
    assert [hub.seat(run, site).state for site in sites] == ["cancelled", "failed", "failed", "failed"]
    assert hub.rows(r.Model) == []
    assert hub.refused(without(run, sites[1]), sites[0]) == (409, "run_finished")


def test_a_failed_aggregation_may_leave_out_as_well(hub: Hub) -> None:
    sites, run = aggregating(hub)
    hub.ok(without(run, sites[3], failure="shapes differ"), sites[0])
    assert (hub.run(run).reason, hub.seat(run, sites[3]).state) == ("aggregation_failed", "failed")


def test_who_left_after_submitting_counts_unless_it_is_left_out(hub: Hub) -> None:
    sites, run = aggregating(hub)
    for site in sites[2:]:
        hub.ok(c.DropSeats(run_id=run, site_id=site.id, reason="member_left", detail="left"))
    hub.ok(without(run, sites[1], sites[3], model=b"of two"), sites[0])
    assert hub.round(run, 1).state == "completed"
    assert [hub.seat(run, site).reason for site in sites[1:]] == ["seal_damaged", "member_left", "member_left"]
    assert left_out(hub) == {sites[1].id: "seal_damaged", sites[3].id: "seal_damaged"}
    told = hub.rows(r.InboxEntry, "kind = %s", Notice.SEAT_LEFT_OUT)
    assert [entry.site_id for entry in told] == [sites[1].id]  # who left is not told any more


def test_only_who_has_submitted_can_be_left_out_and_once(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites[:3])
    hub.pass_time(601)
    for strange in ((sites[3],), (sites[1], sites[1]), (Subject(kind="site", id=run),)):
        assert hub.refused(without(run, *strange, model=b"m"), sites[0]) == (422, "not_submitted")
    assert left_out(hub) == {}
    assert hub.round(run, 1).state == "aggregating"


def missing(run: str, site: Subject, reason: str = "not_named", number: int = 1) -> c.ReportMissingReceipt:
    return c.ReportMissingReceipt(run_id=run, task_seq=1, round=number, site_id=site.id, reason=reason)


def test_a_site_that_does_not_find_its_update_is_on_record_and_its_coordinator_told_once(hub: Hub) -> None:
    sites, run = aggregating(hub)
    hub.aggregate(run, sites[0], 1)
    said = {"site_id": sites[2].id, "round": 1, "reason": "not_named"}
    version = hub.run(run).version
    assert hub.ok(missing(run, sites[2]), sites[2]) == said
    assert hub.run(run).version == version + 1
    assert hub.ok(missing(run, sites[2], "no_model"), sites[2]) == said
    (event,) = hub.rows(r.Event, "kind = %s", EventKind.RECEIPT_MISSING)
    assert (event.run_id, event.site_id) == (run, sites[2].id)
    assert json.loads(event.facts_json) == {"task": "train", "round": 1, "reason": "not_named"}
    told = [e for e in hub.inbox(sites[0]) if e.kind == Notice.RECEIPT_MISSING]
    assert [json.loads(e.facts_json) for e in told] == [{"site_id": sites[2].id, "reason": "not_named"}]
    (row,) = hub.rows(r.Submission, "missing_receipt <> ''")
    assert (row.site_id, row.missing_receipt) == (sites[2].id, "not_named")


def test_only_who_submitted_may_miss_a_receipt_and_for_itself(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    hub.submit_all(run, sites[:3])
    hub.pass_time(601)
    stranger = hub.site("stranger", hub.organisation("another"))
    assert hub.refused(missing(run, sites[3]), sites[3]) == (404, "not_found")
    assert hub.refused(missing(run, sites[2]), sites[1]) == (403, "forbidden")
    assert hub.refused(missing(run, sites[2], number=2), sites[2]) == (404, "not_found")
    assert hub.refused(missing(run, sites[2]), stranger) == (404, "not_found")
    assert hub.refused(missing(run, stranger), stranger) == (404, "not_found")
    assert hub.rows(r.Event, "kind = %s", EventKind.RECEIPT_MISSING) == []


def test_a_task_without_aggregation_completes_with_its_submissions(hub: Hub) -> None:
    sites = hub.sites(3)
    task = v.TaskSpec(name="survey", model="m", aggregate=False, who="participants", contract=QUICK)
    run = hub.start(hub.project(sites, tasks=[task]), sites[0])
    hub.ready_all(run, sites[1:])
    hub.submit_all(run, sites[1:])
    assert hub.run(run).state == "succeeded"
    assert len([e for e in hub.inbox(sites[0]) if e.kind == Notice.MESSAGE]) == 2


def test_reports_are_counted_and_a_late_one_is_a_duplicate(hub: Hub) -> None:
    sites, run = started(hub)
    first = hub.reporting(run, sites[1], Report.ACCEPT)
    assert hub.ok(first, sites[1])["duplicate"] is False
    version = hub.run(run).version
    assert hub.ok(first, sites[1])["duplicate"] is True
    assert hub.run(run).version == version


def test_an_event_out_of_order_is_refused_by_the_table(hub: Hub) -> None:
    sites, run = started(hub)
    assert hub.refused(hub.reporting(run, sites[1], Report.TRAINED), sites[1]) == (409, "not_now")
    assert hub.seat(run, sites[1]).report_seq == 0


def test_a_report_on_somebody_elses_seat_is_refused(hub: Hub) -> None:
    sites, run = started(hub)
    stranger = hub.site("stranger")
    report = hub.reporting(run, sites[1], Report.READY)
    assert hub.refused(report, sites[2]) == (403, "forbidden")
    assert hub.refused(report, stranger) == (404, "not_found")


def test_leaving_in_mid_run_drops_the_seat_for_good(hub: Hub) -> None:
    sites, run = started(hub)
    hub.ready_all(run, sites)
    project = hub.run(run).project_id
    hub.ok(c.RemoveMember(project_id=project, site_id=sites[3].id), sites[3])
    assert (hub.seat(run, sites[3]).state, hub.seat(run, sites[3]).reason) == ("dropped", "member_left")
    assert hub.refused(hub.reporting(run, sites[3], Report.REJOIN), sites[3])[0] in (404, 409)


def test_the_deadline_of_a_stage_that_is_over_changes_nothing(hub: Hub) -> None:
    sites, run = started(hub)
    selecting = hub.round(run, 1)
    hub.ready_all(run, sites)
    hub.clock.micros += 61_000_000
    command = c.PassDeadline(run_id=run, task_seq=1, round=1, deadline_at=selecting.deadline_at)
    assert hub.ok(command) == {"passed": False}
    assert hub.round(run, 1).state == "training"


def test_the_runs_own_deadline_ends_whatever_it_does(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0], finish_within_s=30)
    hub.pass_time(31)
    assert (hub.run(run).state, hub.run(run).reason) == ("failed", "run_deadline")
    assert hub.round(run, 1).state == "cancelled"
    assert hub.task(run).state == "cancelled"


FIRST = v.TaskSpec(name="train", model="m", rounds=2, initial=True, contract=QUICK)


def test_the_coordinator_gives_the_first_model_in_round_0(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites, tasks=[FIRST]), sites[0])
    assert (hub.round(run, 0).state, hub.round(run, 0).quorum, hub.task(run).round) == ("aggregating", 0, 0)
    told = [(entry.kind, entry.site_id) for entry in hub.rows(r.InboxEntry, "run_id = %s", run)]
    assert told == [("aggregate", sites[0].id)]
    early = hub.reporting(run, sites[1], Report.ACCEPT)
    assert hub.refused(early, sites[1]) == (409, "round_ahead")
    fall_silent(hub, run, sites[1])
    assert hub.seat(run, sites[1]).state == "invited"
    hub.aggregate(run, sites[0], 0)
    model = hub.rows(r.Model)[0]
    assert (model.version, model.round, model.begun_with) == (1, 0, None)
    assert hub.task(run).model_message_id == model.message_id
    invited = hub.rows(r.InboxEntry, "run_id = %s AND kind = 'invited'", run)
    assert {entry.message_id for entry in invited} == {model.message_id}
    assert len(invited) == 2
    assert not hub.rows(r.InboxEntry, "run_id = %s AND kind = 'round_completed'", run)
    for number in (1, 2):
        hub.whole_round(run, sites, number)
    assert hub.run(run).state == "succeeded"


def test_without_a_first_model_nothing_begins(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites, tasks=[FIRST])
    run = hub.start(project, sites[0])
    hub.ok(c.ReportAggregated(run_id=run, task_seq=1, round=0), sites[0])
    assert (hub.run(run).state, hub.round(run, 0).state) == ("failed", "failed")
    run = hub.start(project, sites[0])
    hub.pass_time(QUICK.aggregate_within_s + 1)
    assert hub.run(run).reason == "aggregate_deadline"
    assert "gave no first model in time" in hub.rows(r.Event, "kind = 'task_failed' ORDER BY seq")[-1].facts_json


def test_a_restart_asks_for_a_first_model_only_where_it_has_none(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites, tasks=[FIRST]), sites[0])
    again = hub.ok(c.RestartRun(run_id=run), sites[0])["id"]
    assert hub.task(again).round == 0
    hub.aggregate(again, sites[0], 0)
    given = hub.task(again).model_message_id
    third = hub.ok(c.RestartRun(run_id=again), sites[0])["id"]
    assert (hub.task(third).round, hub.task(third).model_message_id) == (1, given)
    anew = hub.ok(c.RestartRun(run_id=third, start_from="start"), sites[0])["id"]
    assert (hub.task(anew).round, hub.task(anew).model_message_id) == (0, None)
    chosen = hub.ok(c.RestartRun(run_id=anew, start_from="start", model_version=1), sites[0])["id"]
    assert (hub.task(chosen).round, hub.task(chosen).model_message_id) == (1, given)
