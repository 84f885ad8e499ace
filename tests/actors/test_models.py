"""Global models as versions of their project, and restarts from a chosen one."""

from __future__ import annotations

import json

import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import Id, sha256_hex
from domain.values import Subject
from fedyard.wire.notices import Notice
from tests.hub import QUICK, Hub

TWO = [
    v.TaskSpec(name="one", model="m", rounds=3, contract=QUICK),
    v.TaskSpec(name="two", model="m", rounds=1, contract=QUICK),
]


def versions(hub: Hub) -> list[tuple[int, str, int]]:
    found = hub.rows(r.Model, "1 = 1 ORDER BY project_id, version")
    return [(model.version, model.task, model.round) for model in found]


def scene(hub: Hub) -> tuple[list[Subject], Id, Id]:
    """A run of two tasks: the first has made its three models, the second its one."""
    sites = hub.sites(2)
    project = hub.project(sites, tasks=TWO)
    run = hub.start(project, sites[0])
    for number in (1, 2, 3):
        hub.whole_round(run, sites, number)
    hub.whole_round(run, sites, 1, task=2)
    return sites, project, run


def restart(hub: Hub, run: Id, by: Subject, version: int | None, **more: str) -> Id:
    return hub.ok(c.RestartRun(run_id=run, model_version=version, **more), by)["id"]


def invited_with(hub: Hub, site: Subject, run: Id) -> list[tuple[int | None, int | None, Id | None]]:
    entries = [entry for entry in hub.inbox(site) if entry.kind == Notice.INVITED and entry.run_id == run]
    return [(entry.task_seq, entry.round, entry.message_id) for entry in entries]


def test_every_completed_round_makes_a_version(hub: Hub) -> None:
    _, project, run = scene(hub)
    assert versions(hub) == [(1, "one", 1), (2, "one", 2), (3, "one", 3), (4, "two", 1)]
    model = hub.rows(r.Model, "version = 2")[0]
    message = hub.rows(r.Message, "id = %s", model.message_id)[0]
    assert (message.kind, message.run_id, message.round) == ("model", run, 2)
    assert (model.digest, model.size_bytes) == (sha256_hex(b"model"), 5)
    assert json.loads(model.metrics_json) == {"accuracy": 0.9}
    assert hub.rows(r.Project, "id = %s", project)[0].last_model_version == 4
    completed = hub.rows(r.Event, "kind = 'round_completed' ORDER BY seq")
    assert [json.loads(event.facts_json)["model_version"] for event in completed] == [1, 2, 3, 4]


def test_versions_are_counted_in_each_project_over_all_its_runs(hub: Hub) -> None:
    sites, project, _ = scene(hub)
    hub.whole_round(hub.start(project, sites[0]), sites, 1)
    hub.whole_round(hub.start(hub.project(sites), sites[0]), sites, 1)
    counted = sorted(version for version, _, _ in versions(hub))
    assert counted == [1, 1, 2, 3, 4, 5]


def test_a_round_without_a_model_makes_no_version(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.ready_all(run, sites)
    hub.submit_all(run, sites)
    hub.ok(c.ReportAggregated(run_id=run, task_seq=1, round=1), sites[0])
    assert versions(hub) == []


def test_a_restart_goes_on_behind_the_chosen_model(hub: Hub) -> None:
    sites, _, run = scene(hub)
    again = restart(hub, run, sites[0], 2)
    chosen = hub.rows(r.Model, "version = 2")[0].message_id
    assert invited_with(hub, sites[1], again) == [(1, 3, chosen)]
    assert hub.task(again, 1).first_round == 3
    assert (hub.task(again, 2).state, hub.task(again, 2).model_message_id) == ("waiting", None)
    created = json.loads(hub.rows(r.Event, "kind = 'run_created' ORDER BY seq DESC")[0].facts_json)
    assert created["model_version"] == 2
    hub.whole_round(again, sites, 3)
    assert invited_with(hub, sites[1], again)[1:] == [(2, 1, hub.rows(r.Model, "version = 5")[0].message_id)]
    hub.whole_round(again, sites, 1, task=2)
    assert hub.run(again).state == "succeeded"
    assert versions(hub)[4:] == [(5, "one", 3), (6, "two", 1)]


def test_a_restart_may_train_all_rounds_on_top_of_a_model(hub: Hub) -> None:
    sites, _, run = scene(hub)
    again = restart(hub, run, sites[0], 3, start_from="start")
    assert invited_with(hub, sites[1], again) == [(1, 1, hub.rows(r.Model, "version = 3")[0].message_id)]


def test_tasks_before_the_chosen_one_are_carried_over(hub: Hub) -> None:
    tasks = [TWO[0], v.TaskSpec(name="two", model="m", rounds=2, contract=QUICK)]
    sites = hub.sites(2)
    run = hub.start(hub.project(sites, tasks=tasks), sites[0])
    for number in (1, 2, 3):
        hub.whole_round(run, sites, number)
    for number in (1, 2):
        hub.whole_round(run, sites, number, task=2)
    again = restart(hub, run, sites[0], 4)
    assert (hub.task(again, 1).state, hub.task(again, 1).reason) == ("succeeded", "carried")
    assert invited_with(hub, sites[1], again) == [(2, 2, hub.rows(r.Model, "version = 4")[0].message_id)]


def test_a_model_of_another_run_of_the_project_will_do(hub: Hub) -> None:
    sites, project, _ = scene(hub)
    other = hub.start(project, sites[0])
    again = restart(hub, other, sites[0], 1)
    assert invited_with(hub, sites[1], again) == [(1, 2, hub.rows(r.Model, "version = 1")[0].message_id)]


@pytest.mark.parametrize("version", [0, 5, -1])
def test_a_version_that_is_not_there_is_404(hub: Hub, version: int) -> None:
    sites, _, run = scene(hub)
    assert hub.refused(c.RestartRun(run_id=run, model_version=version), sites[0]) == (404, "not_found")


def test_a_model_of_another_project_is_404(hub: Hub) -> None:
    sites, _, _ = scene(hub)
    other = hub.start(hub.project(sites), sites[0])
    assert hub.refused(c.RestartRun(run_id=other, model_version=1), sites[0]) == (404, "not_found")


def test_a_model_of_a_task_that_the_run_does_not_have_is_refused(hub: Hub) -> None:
    sites, project, _ = scene(hub)
    hub.ok(c.UpdateProject(project_id=project, tasks=[v.TaskSpec(name="new", model="m", rounds=9)]), sites[0])
    run = hub.start(project, sites[0])
    for version in (1, 4):
        command = c.RestartRun(run_id=run, model_version=version)
        assert hub.refused(command, sites[0]) == (422, "model_of_another_task")


def test_a_model_of_the_last_round_leaves_nothing_to_train(hub: Hub) -> None:
    sites, _, run = scene(hub)
    assert hub.refused(c.RestartRun(run_id=run, model_version=3), sites[0]) == (422, "no_rounds_left")
