"""A project's own coordinator and selectors at the hub: started, scaled and stopped, and where they are dialled."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.infrastructure import FILES_KEPT_S
from domain.rules import Rules
from fedyard.cluster.port import AttemptId, Spec
from storage.views.workloads import parts
from tests.actors.test_workloads import Yard as AnyYard
from tests.hub import Hub

SAID = v.Infrastructure(coordinator_image="c:1", selector_image="s:1")
GOAL = v.TaskSpec(name="train", model="fedota", contract=v.Contract(quorum=3, quorum_of="count"))
OUTSIDE = {"inside": "selector.place.svc:50051", "outside": "fl.example.org:30051"}


class Yard(AnyYard):
    def __init__(self, hub: Hub, **fields: Any) -> None:
        super().__init__(hub)
        self.other = hub.site("b")
        options = {"tasks": [GOAL], "infrastructure": SAID, "name": "problem", **fields}
        self.project = hub.project([self.site, self.other], **options)

    def started(self) -> list[str]:
        made = self.hub.ok(c.StartInfrastructure(project_id=self.project), self.site)
        return [one["id"] for one in made["workloads"]]

    def spec(self, part: str) -> Spec:
        return self.cluster.there[self.which(part)].spec

    def which(self, part: str) -> AttemptId:
        (found,) = [which for which, one in self.cluster.there.items() if one.spec.name == part]
        return found

    def run(self) -> None:
        """Both, with addresses, as far as they are made."""
        self.settle()
        for which, one in list(self.cluster.there.items()):
            where = OUTSIDE if one.spec.name == "selector" else {"inside": "coordinator.place.svc:50050"}
            self.cluster.runs(which, ready=one.spec.replicas, addresses=where)
        self.settle()

    def told(self) -> list[str]:
        events = sorted(self.hub.rows(r.Event, "stream_id = %s", self.project), key=lambda one: one.seq)
        return [one.kind for one in events if one.kind.startswith(("infrastructure", "workload_moved"))]


@pytest.fixture
def yard(hub: Hub) -> Yard:
    return Yard(hub)


def test_they_are_started_once_however_often_it_is_said_and_their_addresses_are_told(yard: Yard) -> None:
    made = yard.started()
    assert yard.started() == made
    yard.run()
    assert yard.started() == made
    assert len(yard.cluster.there) == 2
    coordinator, selector = yard.spec("coordinator"), yard.spec("selector")
    assert (coordinator.image, coordinator.replicas, coordinator.port) == ("c:1", 1, 50050)
    assert (selector.image, selector.replicas, selector.port) == ("s:1", 2, 50051)
    assert coordinator.environment["CHECKIN_LIMIT"] == "3"
    assert selector.dials == {"COORDINATOR_ADDRESS": "coordinator:50050"}
    assert [
        (one.part, one.state, one.ready, one.addresses.get("outside")) for one in parts(yard.hub.database, yard.project)
    ] == [
        ("coordinator", "running", 1, None),
        ("selector", "running", 2, "fl.example.org:30051"),
    ]
    assert sorted(yard.told()) == ["infrastructure_started", "workload_moved", "workload_moved"]
    yard.cluster.runs(yard.which("selector"), addresses={**OUTSIDE, "outside": "fl.example.org:30052"})
    yard.settle()
    moved = yard.hub.rows(r.Event, "kind = %s", "workload_moved")
    assert json.loads(max(moved, key=lambda one: one.seq).facts_json)["addresses"]["outside"] == "fl.example.org:30052"


def test_selectors_are_scaled_and_keep_their_number_when_they_start_again(yard: Yard) -> None:
    yard.hub.ok(c.ScaleSelectors(project_id=yard.project, selectors=3), yard.site)
    made = yard.started()
    yard.run()
    assert yard.spec("selector").replicas == 3
    yard.hub.ok(c.ScaleSelectors(project_id=yard.project, selectors=1), yard.site)
    yard.hub.ok(c.ScaleSelectors(project_id=yard.project, selectors=1), yard.site)
    yard.settle()
    assert yard.cluster.there[yard.which("selector")].observed.replicas == 1
    assert yard.started() == made
    assert yard.hub.refused(c.ScaleWorkload(workload_id=made[0], replicas=2), yard.site)[1] == "impossible"
    yard.hub.ok(c.StopInfrastructure(project_id=yard.project), yard.site)
    yard.settle()
    assert yard.started() != made
    yard.settle()
    assert yard.spec("selector").replicas == 1


def test_they_are_stopped_to_the_end_and_stopping_again_does_no_harm(yard: Yard) -> None:
    made = yard.started()
    yard.run()
    yard.hub.ok(c.StopInfrastructure(project_id=yard.project, reason="the day is over"), yard.site)
    yard.hub.ok(c.StopInfrastructure(project_id=yard.project), yard.site)
    yard.settle()
    assert not yard.cluster.there
    assert [yard.workload(one).state for one in made] == ["stopped", "stopped"]
    assert [one.addresses for one in parts(yard.hub.database, yard.project)] == [{}, {}]
    assert yard.told().count("infrastructure_stopped") == 1
    assert yard.hub.ok(c.StopInfrastructure(project_id=yard.project), yard.site)["workloads"] == []


def test_other_images_replace_what_runs_and_only_that(yard: Yard) -> None:
    coordinator, selector = yard.started()
    yard.run()
    said = msgspec.structs.replace(SAID, coordinator_image="c:2")
    yard.hub.ok(c.UpdateProject(project_id=yard.project, infrastructure=said), yard.site)
    again = yard.started()
    assert (again[0] != coordinator, again[1]) == (True, selector)
    yard.settle()
    assert yard.spec("coordinator").image == "c:2"
    assert yard.workload(coordinator).state == "stopped"


@pytest.mark.parametrize(
    ("fields", "clusters", "problem"),
    [
        ({"infrastructure": None}, "hub=x", "impossible"),
        ({"tasks": [v.TaskSpec(name="train", model="m")]}, "hub=x", "impossible"),
        ({}, "elsewhere=x", "impossible"),
    ],
)
def test_what_cannot_be_started_is_refused(hub: Hub, fields: dict[str, Any], clusters: str, problem: str) -> None:
    yard = Yard(hub, **fields)
    hub.rules = Rules(clusters=clusters)
    assert hub.refused(c.StartInfrastructure(project_id=yard.project), yard.site)[1] == problem
    assert not hub.rows(r.Workload)


def test_who_takes_part_starts_scales_and_stops_nothing(yard: Yard) -> None:
    for command in (
        c.StartInfrastructure(project_id=yard.project),
        c.StopInfrastructure(project_id=yard.project),
        c.ScaleSelectors(project_id=yard.project, selectors=3),
    ):
        assert yard.hub.refused(command, yard.other)[1] == "forbidden"


def test_two_projects_have_their_own(hub: Hub) -> None:
    yard = Yard(hub)
    yard.started()
    yard.run()
    first = set(yard.cluster.there)
    yard.project = hub.project([yard.site], tasks=[GOAL], infrastructure=SAID, name="another")
    yard.started()
    yard.settle()
    second = set(yard.cluster.there) - first
    assert {which.place for which in second} == {yard.project}
    assert len(second) == 2
    yard.hub.ok(c.StopInfrastructure(project_id=yard.project), yard.site)
    yard.settle()
    assert set(yard.cluster.there) == first


def test_an_archived_projects_parts_go_at_once_and_its_files_after_a_grace(yard: Yard) -> None:
    yard.started()
    yard.run()
    yard.hub.ok(c.ArchiveProject(project_id=yard.project), yard.site)
    assert yard.hub.refused(c.StartInfrastructure(project_id=yard.project), yard.site)[1] == "project_archived"
    yard.later(120)
    yard.settle()
    assert not yard.cluster.there
    yard.later(120)
    yard.settle()
    assert "remove_place" not in yard.cluster.calls
    yard.later(FILES_KEPT_S)
    yard.settle()
    assert yard.cluster.calls.count("remove_place") == 1
    assert yard.hub.rows(r.Event, "kind = %s", "place_removed")


def test_a_part_that_fails_is_started_again_under_its_name(yard: Yard) -> None:
    yard.hub.rules = Rules(clusters="hub=somewhere")
    coordinator, _ = yard.started()
    yard.run()
    del yard.cluster.there[yard.which("coordinator")]
    yard.later(60)
    yard.settle()
    yard.later(60)
    yard.settle()
    assert yard.spec("coordinator").id == coordinator
