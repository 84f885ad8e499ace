"""Starting, queueing, stopping and restarting runs; tasks that follow each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.decisions.progress.stage import spec_of
from domain.events import EventKind
from domain.states import Report
from ops.backups.content import ChainHead
from storage.audit import verify, verify_against
from storage.database import Row
from tests.hub import QUICK, Hub


def test_two_starts_make_one_run(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    hub.start(project, sites[0])
    assert hub.refused(c.StartRun(project_id=project), sites[0]) == (409, "run_live")
    assert [run.number for run in hub.rows(r.Run)] == [1]


def test_a_queued_run_begins_when_the_live_one_ends(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    first = hub.start(project, sites[0])
    second = hub.start(project, sites[0], queue=True)
    assert hub.run(second).state == "created"
    hub.ok(c.StopRun(run_id=first), sites[0])
    assert hub.run(second).state == "running"
    assert [run.number for run in hub.rows(r.Run, "1 = 1 ORDER BY number")] == [1, 2]


def test_a_queued_run_can_be_cancelled_before_it_begins(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    hub.start(project, sites[0])
    second = hub.start(project, sites[0], queue=True)
    hub.ok(c.StopRun(run_id=second), sites[0])
    assert hub.run(second).state == "cancelled"
    assert {task.state for task in hub.rows(r.TaskRun, "run_id = %s", second)} == {"cancelled"}


def test_a_project_may_allow_more_live_runs(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites, max_live_runs=2)
    runs = [hub.start(project, sites[0]) for _ in range(2)]
    assert {hub.run(run).state for run in runs} == {"running"}
    assert hub.refused(c.StartRun(project_id=project), sites[0]) == (409, "run_live")


TWO = [
    v.TaskSpec(name="statistics", model="m", parameters={"bins": 8}, contract=QUICK),
    v.TaskSpec(name="train", model="m", parameters={"rate": 0.5, "loss": {"kind": "log"}}, rounds=2, contract=QUICK),
]


def test_parameters_and_rounds_can_be_the_runs_own(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites, tasks=TWO)
    own = {"train": {"rate": 0.1, "more": [1]}, "statistics": {}}
    run = hub.start(project, sites[0], parameters=own, rounds={"train": 7})
    specs = [spec_of(task) for task in hub.rows(r.TaskRun, "run_id = %s ORDER BY seq", run)]
    assert specs[0] == TWO[0]
    assert specs[1].parameters == {"rate": 0.1, "loss": {"kind": "log"}, "more": [1]}
    assert specs[1].rounds == 7
    assert hub.rows(r.Project)[0].tasks_json == msgspec.json.encode(TWO).decode()
    created = next(event for event in hub.rows(r.Event) if event.kind == EventKind.RUN_CREATED)
    said = msgspec.json.decode(created.facts_json)
    assert (said["parameters"], said["rounds"]) == ({"train": ["more", "rate"]}, {"train": 7})
    hub.ok(c.StopRun(run_id=run), sites[0])
    again = hub.ok(c.RestartRun(run_id=run), sites[0])["id"]
    assert spec_of(hub.task(again, 2)) == specs[1]


def test_what_no_task_can_have_is_not_started(hub: Hub) -> None:
    sites = hub.sites(2)
    quiet = v.TaskSpec(name="quiet", model="m", aggregate=False, contract=QUICK)
    project = hub.project(sites, tasks=[*TWO, quiet])
    wrong: list[dict[str, Any]] = [
        {"parameters": {"trian": {"rate": 0.1}}},
        {"rounds": {"trian": 2}},
        {"initial": ["trian"]},
        {"initial": ["quiet"]},
        {"parameters": {"train": {"rate": 2**70}}},
    ]
    for own in wrong:
        assert hub.refused(c.StartRun(project_id=project, **own), sites[0]) == (422, "tasks_impossible")
    assert hub.refused(c.StartRun(project_id=project, model_version=1), sites[0]) == (404, "not_found")


def test_a_run_begins_with_a_model_of_the_project(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    first = hub.start(project, sites[0])
    for number in (1, 2):
        hub.whole_round(first, sites, number)
    made = hub.rows(r.Model, "project_id = %s ORDER BY version", project)
    second = hub.start(project, sites[0], model_version=1)
    assert hub.task(second).model_message_id == made[0].message_id
    assert hub.task(second).round == 1
    hub.ok(c.UpdateProject(project_id=project, tasks=TWO[:1]), sites[0])
    hub.ok(c.StopRun(run_id=second), sites[0])
    another = c.StartRun(project_id=project, model_version=1)
    assert hub.refused(another, sites[0]) == (422, "model_of_another_task")


def test_a_task_is_told_what_all_before_it_have_made(hub: Hub) -> None:
    sites = hub.sites(2)
    quiet = v.TaskSpec(name="quiet", model="m", aggregate=False, contract=QUICK)
    last = v.TaskSpec(name="last", model="m", contract=QUICK)
    project = hub.project(sites, tasks=[TWO[0], quiet, last])
    run = hub.start(project, sites[0])
    hub.whole_round(run, sites, 1)
    hub.ready_all(run, sites, 2)
    hub.submit_all(run, sites, 2)
    hub.ready_all(run, sites, 3)
    hub.submit_all(run, sites, 3)
    told = {
        (entry.kind, entry.task_seq): msgspec.json.decode(entry.facts_json).get("results")
        for entry in hub.rows(r.InboxEntry, "site_id = %s ORDER BY seq", sites[0].id)
        if entry.kind in ("invited", "aggregate")
    }
    made = [{"task": "statistics", "seq": 1, "message_id": hub.task(run, 1).model_message_id}]
    assert told == {
        ("invited", 1): None,
        ("aggregate", 1): None,
        ("invited", 2): made,
        ("invited", 3): made,
        ("aggregate", 3): made,
    }


def test_only_the_coordinator_starts_and_stops(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    stranger = hub.site("stranger")
    assert hub.refused(c.StartRun(project_id=project), sites[1]) == (403, "forbidden")
    assert hub.refused(c.StartRun(project_id=project), stranger) == (403, "forbidden")  # it may see an open project
    closed = hub.project(sites[:1], joining="invitation")
    assert hub.refused(c.StartRun(project_id=closed), stranger) == (404, "not_found")
    run = hub.start(project, sites[0])
    for verb in (c.StopRun(run_id=run), c.RestartRun(run_id=run)):
        assert hub.refused(verb, sites[1]) == (403, "forbidden")
        assert hub.refused(verb, stranger) == (404, "not_found")
        assert project not in hub.send(verb, stranger).answer_json  # nor may it learn where a run belongs


def test_members_of_the_coordinators_organisation_coordinate(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    person = hub.account(sites[0].organisation_id or "", "member")
    run = hub.ok(c.StartRun(project_id=project), person)["id"]
    assert hub.run(run).created_by == person.id


def test_a_finished_run_cannot_be_stopped(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.ok(c.StopRun(run_id=run, reason="wrong data"), sites[0])
    assert (hub.run(run).state, hub.run(run).detail) == ("cancelled", "wrong data")
    assert hub.refused(c.StopRun(run_id=run), sites[0]) == (409, "run_finished")
    assert hub.refused(hub.reporting(run, sites[1], Report.READY), sites[1]) == (409, "run_finished")


def test_a_restart_carries_on_from_the_round_that_was_reached(hub: Hub) -> None:
    sites = hub.sites(2)
    task = v.TaskSpec(name="train", model="m", rounds=3, contract=QUICK)
    run = hub.start(hub.project(sites, tasks=[task]), sites[0])
    hub.whole_round(run, sites, 1)
    hub.ok(c.StopRun(run_id=run), sites[0])

    again = hub.ok(c.RestartRun(run_id=run), sites[0])
    assert (again["number"], again["attempt"], again["state"]) == (1, 2, "running")
    new = again["id"]
    assert hub.run(run).state == "cancelled"
    assert hub.task(new).first_round == 2
    assert hub.task(new).model_message_id == hub.round(run, 1).model_message_id
    hub.whole_round(new, sites, 2)
    hub.whole_round(new, sites, 3)
    assert hub.run(new).state == "succeeded"
    assert hub.refused(c.RestartRun(run_id=run), sites[0]) == (409, "restarted_already")


def test_a_restart_from_the_start_forgets_what_was_reached(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.whole_round(run, sites, 1)
    new = hub.ok(c.RestartRun(run_id=run, start_from="start"), sites[0])["id"]
    assert (hub.run(run).state, hub.run(run).reason) == ("cancelled", "restarted")
    assert (hub.task(new).first_round, hub.task(new).model_message_id) == (1, None)


def test_a_restart_carries_succeeded_tasks_over(hub: Hub) -> None:
    sites = hub.sites(2)
    tasks = [
        v.TaskSpec(name="first", model="m", contract=QUICK),
        v.TaskSpec(name="second", model="m", contract=QUICK),
    ]
    run = hub.start(hub.project(sites, tasks=tasks), sites[0])
    hub.whole_round(run, sites, 1)
    assert (hub.task(run, 1).state, hub.task(run, 2).state) == ("succeeded", "active")
    hub.ok(c.StopRun(run_id=run), sites[0])
    new = hub.ok(c.RestartRun(run_id=run), sites[0])["id"]
    assert (hub.task(new, 1).state, hub.task(new, 1).reason) == ("succeeded", "carried")
    assert hub.task(new, 2).state == "active"
    hub.whole_round(new, sites, 1, task=2)
    assert hub.run(new).state == "succeeded"
    third = hub.ok(c.RestartRun(run_id=new), sites[0])
    assert third["state"] == "succeeded"


def test_tasks_follow_each_other_by_their_graph(hub: Hub) -> None:
    sites = hub.sites(2)
    tasks = [
        v.TaskSpec(name="a", model="m", contract=QUICK),
        v.TaskSpec(name="b", model="m", after=["a"], contract=QUICK),
        v.TaskSpec(name="c", model="m", after=["a"], who=[sites[1].id], contract=QUICK),
        v.TaskSpec(name="d", model="m", after=["b", "c"], contract=QUICK),
    ]
    run = hub.start(hub.project(sites, tasks=tasks), sites[0])
    assert [hub.task(run, seq).state for seq in (1, 2, 3, 4)] == ["active", "waiting", "waiting", "waiting"]
    hub.whole_round(run, sites, 1, task=1)
    assert [hub.task(run, seq).state for seq in (2, 3, 4)] == ["active", "active", "waiting"]
    hub.ready_all(run, [sites[1]], task=3)
    hub.submit_all(run, [sites[1]], task=3)
    hub.aggregate(run, sites[0], 1, task=3)
    hub.whole_round(run, sites, 1, task=2)
    assert hub.task(run, 4).state == "active"
    hub.whole_round(run, sites, 1, task=4)
    assert hub.run(run).state == "succeeded"


def test_a_failed_task_skips_its_descendants_and_lets_the_others_finish(hub: Hub) -> None:
    sites = hub.sites(2)
    tasks = [
        v.TaskSpec(name="a", model="m", after=[], contract=QUICK),
        v.TaskSpec(name="b", model="m", after=["a"], contract=QUICK),
        v.TaskSpec(name="alone", model="m", after=[], contract=QUICK),
    ]
    run = hub.start(hub.project(sites, tasks=tasks), sites[0])
    hub.report(run, sites[1], Report.FAIL, task=1)
    assert [hub.task(run, seq).state for seq in (1, 2, 3)] == ["failed", "skipped", "active"]
    assert hub.run(run).state == "running"
    hub.whole_round(run, sites, 1, task=3)
    assert (hub.run(run).state, hub.run(run).reason) == ("failed", "quorum_not_met")


def test_a_task_for_nobody_is_impossible(hub: Hub) -> None:
    sites = hub.sites(1)
    task = v.TaskSpec(name="t", model="m", who="participants")
    project = hub.project(sites, tasks=[task])
    assert hub.refused(c.StartRun(project_id=project), sites[0]) == (422, "quorum_impossible")
    assert hub.rows(r.Project)[0].last_run_number == 0


def test_a_task_for_a_stranger_is_impossible(hub: Hub) -> None:
    sites = hub.sites(2)
    stranger = hub.site("stranger")
    task = v.TaskSpec(name="t", model="m", who=[sites[1].id, stranger.id])
    project = hub.project(sites, tasks=[task])
    assert hub.refused(c.StartRun(project_id=project), sites[0]) == (422, "not_a_member")


def test_the_history_is_whole_and_a_change_to_it_shows(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.whole_round(run, sites, 1)
    hub.whole_round(run, sites, 2)
    assert list(verify(hub.database)) == []
    kinds = [e.kind for e in sorted(hub.rows(r.Event, "run_id = %s", run), key=lambda e: e.seq)]
    assert (kinds[0], kinds[1], kinds[-1]) == (EventKind.RUN_CREATED, EventKind.RUN_STARTED, EventKind.RUN_SUCCEEDED)
    with hub.database.connection():
        hub.database.execute("UPDATE events SET facts_json = '{}' WHERE kind = 'round_completed'")
    assert any("was changed" in finding for finding in verify(hub.database))


def test_a_cut_tail_and_a_past_that_was_written_anew_show_against_heads_that_were_kept(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    kept = [
        ChainHead(stream_id=one.id, kind=one.kind, seq=one.last_seq, hash=one.last_hash) for one in hub.rows(r.Stream)
    ]
    hub.start(project, sites[0])
    assert list(verify_against(hub.database, kept)) == []
    events = sorted(hub.rows(r.Event, "stream_id = %s", project), key=lambda event: event.seq)
    with hub.database.connection():
        hub.database.execute("DELETE FROM events WHERE stream_id = %s AND seq > 1", (project,))
        set_head = "UPDATE streams SET last_seq = 1, last_hash = %s WHERE id = %s"
        hub.database.execute(set_head, (events[0].hash, project))
    assert list(verify(hub.database)) == []
    cut = next(head for head in kept if head.stream_id == project)
    assert [fault.partition(": ")[2].partition(" (")[0] for fault in verify_against(hub.database, kept)] == [
        f"had event {cut.seq}"
    ]
    anew, before = "UPDATE events SET facts_json = '{}', hash = %s WHERE stream_id = %s AND seq = 1", sites[0].id
    first = hub.rows(r.Event, "stream_id = %s AND seq = 1", before)[0]
    with hub.database.connection():
        hub.database.execute(anew, ("0" * 64, before))
    assert any(first.hash[:16] in fault for fault in verify_against(hub.database, [_head_of(first)]))
    with hub.database.connection():
        hub.database.execute("DELETE FROM streams WHERE id = %s", (project,))
    assert any("does not exist" in fault for fault in verify_against(hub.database, kept))


def _head_of(event: r.Event) -> ChainHead:
    return ChainHead(stream_id=event.stream_id, kind="site", seq=event.seq, hash=event.hash)


class GoingOn:
    """A database in which something happens after each of the first reads."""

    def __init__(self, hub: Hub, happens: list[Callable[[], object]]) -> None:
        self._database, self._happens = hub.database, happens
        self.connection, self.one = hub.database.connection, hub.database.one

    def all(self, sql: str, *params: object) -> list[Row]:
        rows = self._database.all(sql, *params)
        if self._happens:
            self._happens.pop(0)()
        return rows


def test_the_history_is_whole_while_the_hub_goes_on(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    happens: list[Callable[[], object]] = []
    for _ in range(6):
        happens.append(lambda: hub.start(project, sites[0]))
        happens.append(lambda: hub.ok(c.StopRun(run_id=hub.rows(r.Run, "state = 'running'")[0].id), sites[0]))
    assert list(verify(GoingOn(hub, happens))) == []  # type: ignore[arg-type]
    assert happens == []
