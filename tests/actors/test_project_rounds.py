"""Rounds that a project's own coordinator leads, with time and its end: deadlines, attempts, what is kept and told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from actors.ticker import Ticker
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import sha256_hex
from domain.table import TABLE
from fedyard.cluster.port import Phase
from fedyard.wire.chunks import digests_of, tree_digest
from ops import workloads
from storage.due import Due
from storage.views import rounds
from storage.views import workloads as views
from tests.actors.test_infrastructure import SAID, Yard
from tests.actors.test_time import Kept
from tests.hub import Hub

SHORT = msgspec.structs.replace(SAID, deadlines=v.StageDeadlines(selection_s=1000, configuration_s=100, reporting_s=10))


class Led(Yard):
    """A project whose coordinator runs at the hub, and the ticker."""

    def __init__(self, hub: Hub, *, at_site: bool = False) -> None:
        super().__init__(hub, infrastructure=SHORT)
        if at_site:
            there = msgspec.structs.replace(SHORT, where=f"site:{self.site.id}")
            hub.ok(c.UpdateProject(project_id=self.project, infrastructure=there), self.site)
        self.coordinator = self.started()[0]
        if at_site:
            seen = c.ReportWorkload(workload_id=self.coordinator, attempt=1, phase=Phase.RUNNING, uid="u", ready=1)
            hub.ok(seen, self.site)
        self.run()
        self.kept = Kept()
        self.ticker = Ticker(Due(hub.database), self.kept, hub.clock, silent_after_s=1e6, keep_artifacts_s=1000)

    def report(self, number: int, stage: v.StageName, attempt: int = 1, **more: Any) -> c.ReportRound:
        return c.ReportRound(
            project_id=self.project,
            workload_id=self.coordinator,
            attempt=attempt,
            number=number,
            stage=stage,
            **more,
        )

    def tell(self, number: int, stage: v.StageName, attempt: int = 1, **more: Any) -> dict[str, Any]:
        return self.hub.ok(self.report(number, stage, attempt, **more), self.site)

    def tick(self) -> list[str]:
        """What the ticker sends is decided; the names of it."""
        self.ticker.tick()
        sent = self.kept.take()
        self.hub.batch(sent)
        return [TABLE[type(one.command)].name for one in sent]

    def newest(self) -> tuple[int, int, str, str]:
        found = rounds.newest(self.hub.database, self.project)
        assert found is not None
        return found.epoch, found.number, found.state, found.reason

    def events(self) -> list[str]:
        found = sorted(self.hub.rows(r.Event, "stream_id = %s", self.project), key=lambda one: one.seq)
        return [one.kind for one in found if one.kind.startswith(("project_round", "model"))]

    def why(self) -> str:
        (one,) = [
            views.workload(self.hub.database, v.Subject(kind="account", id=self.site.id, role="admin"), ident)
            for ident in [self.coordinator]
        ]
        assert one is not None
        return "\n".join(workloads.why(self.hub.database, one, self.hub.clock.now()))

    def checkpoint(self, content: bytes = b"weights") -> str:
        digests = digests_of(content)
        declare = c.DeclareArtifact(
            owner_site_id=self.site.id,
            project_id=self.project,
            of_kind="model",
            size_bytes=len(content),
            digest=tree_digest(digests),
            chunk_digests=digests,
        )
        artifact = str(self.hub.ok(declare, self.site)["id"])
        self.hub.ok(c.CompleteArtifact(artifact_id=artifact, found=digests), self.site)
        return artifact


@pytest.fixture
def led(hub: Hub) -> Led:
    return Led(hub)


@pytest.mark.parametrize(("stage", "within"), [("SELECTION", 1000), ("CONFIGURATION", 100), ("REPORTING", 10)], ids=str)
def test_a_round_stalls_at_the_deadline_of_its_stage(led: Led, stage: v.StageName, within: int) -> None:
    led.tell(0, stage)
    led.hub.clock.sleep(within - 1)
    assert "pass_stage_deadline" not in led.tick()
    assert "deadline in" in led.why()
    led.hub.clock.sleep(1)
    assert "pass_stage_deadline" in led.tick()
    assert led.newest() == (1, 0, "failed", "deadline_passed")
    assert led.events()[-1] == "project_round_failed"
    assert "stalls" in led.why()
    led.hub.clock.sleep(100)
    assert "pass_stage_deadline" not in led.tick(), "once"
    assert led.hub.refused(led.report(0, "COMPLETED"), led.site) == (409, "round_over")
    assert led.tell(1, "CONFIGURATION")["state"] == "configuration"


def test_a_stage_that_came_in_time_has_a_deadline_of_its_own(led: Led) -> None:
    first = led.tell(0, "SELECTION")["deadline_at"]
    led.hub.clock.sleep(999)
    led.tell(0, "CONFIGURATION")
    stale = c.PassStageDeadline(
        project_id=led.project, epoch=1, number=0, deadline_at=led.hub.rows(r.ProjectRound)[0].stage_at + 1_000_000
    )
    led.hub.clock.sleep(1)
    assert "pass_stage_deadline" not in led.tick()
    assert led.hub.ok(stale)["passed"] is False
    assert led.tell(0, "CONFIGURATION")["deadline_at"] > first
    assert led.newest()[2] == "configuration"


def test_only_the_hub_passes_a_deadline(led: Led) -> None:
    led.tell(0, "SELECTION")
    command = c.PassStageDeadline(project_id=led.project, epoch=1, number=0, deadline_at=1)
    assert led.hub.refused(command, led.site) == (403, "forbidden")


def test_the_next_attempt_at_the_coordinator_begins_another_epoch_and_the_earlier_one_is_not_heard(led: Led) -> None:
    led.tell(4, "REPORTING")
    led.cluster.ends(led.which("coordinator"), 1)
    led.settle()
    assert led.newest() == (1, 4, "failed", "coordinator_failed")
    assert led.hub.refused(led.report(4, "COMPLETED"), led.site) == (409, "workload_ended")
    assert led.tell(0, "SELECTION", attempt=2)["epoch"] == 2
    assert led.newest() == (2, 0, "selection", "")
    assert led.hub.refused(led.report(5, "SELECTION", attempt=3), led.site) == (409, "workload_ended")


def test_a_round_is_cancelled_with_the_coordinator_that_is_stopped(led: Led) -> None:
    led.tell(0, "CONFIGURATION")
    led.hub.ok(c.StopInfrastructure(project_id=led.project), led.site)
    assert led.newest()[2] == "configuration", "it may come to its end yet"
    led.settle()
    assert led.newest() == (1, 0, "cancelled", "coordinator_stopped")
    assert led.hub.refused(led.report(1, "SELECTION"), led.site) == (409, "workload_ended")
    assert led.events() == ["project_round_started", "project_round_cancelled"]


def test_why_says_of_a_coordinator_that_replaces_another_what_it_waits_for_and_no_round_of_that(led: Led) -> None:
    led.tell(0, "CONFIGURATION")
    before = led.coordinator
    led.hub.ok(c.StopInfrastructure(project_id=led.project), led.site)
    led.coordinator = led.started()[0]
    assert f"It waits until workload {before} is gone" in led.why()
    assert "Round" not in led.why()
    led.settle()
    assert "It waits" not in led.why()
    assert "Round" not in led.why()
    led.coordinator = before
    assert "cancelled (coordinator_stopped)" in led.why()


def test_a_coordinator_at_a_silent_site_leads_its_round_on(hub: Hub) -> None:
    """It may reach the hub although the agent there does not. Whether it still runs the site says when it is back."""
    led = Led(hub, at_site=True)
    led.tell(0, "CONFIGURATION")
    hub.clock.sleep(1200)
    hub.ok(c.MarkSitesSilent(site_ids=[led.site.id]))
    hub.ok(c.LoseWorkloads(site_id=led.site.id))
    (lost,) = hub.rows(r.Workload, "id = %s", led.coordinator)
    assert (lost.state, lost.reason) == ("lost", "site_silent")
    assert views.leading(hub.database, led.coordinator) is not None
    assert led.tell(0, "REPORTING")["state"] == "reporting"
    assert led.coordinator in {
        one["id"] for one in hub.ok(c.StopInfrastructure(project_id=led.project), led.site)["workloads"]
    }
    assert views.leading(hub.database, led.coordinator) is None
    assert led.newest()[2:] == ("reporting", ""), "nobody knows yet"
    gone = c.ReportWorkload(workload_id=led.coordinator, attempt=1, gone=True, uid="u")
    hub.ok(gone, led.site)
    assert led.newest()[2:] == ("cancelled", "coordinator_stopped")


def test_what_ended_before_its_coordinator_stays_as_it_ended(led: Led) -> None:
    led.tell(0, "COMPLETED")
    led.hub.ok(c.StopInfrastructure(project_id=led.project), led.site)
    led.settle()
    assert led.newest() == (1, 0, "completed", "")


def test_a_round_that_the_coordinator_leaves_behind_has_failed(led: Led) -> None:
    led.tell(0, "REPORTING")
    led.tell(1, "SELECTION")
    assert [(one.number, one.state, one.reason) for one in sorted(led.hub.rows(r.ProjectRound), key=_number)] == [
        (0, "failed", "superseded"),
        (1, "selection", ""),
    ]
    assert led.events() == [
        "project_round_started",
        "project_round_failed",
        "project_round_started",
    ]


def _number(one: r.ProjectRound) -> int:
    return one.number


def test_stages_are_events_and_repeats_are_none(led: Led) -> None:
    for stage in ("SELECTION", "SELECTION", "CONFIGURATION", "REPORTING", "REPORTING", "COMPLETED", "COMPLETED"):
        led.tell(0, stage, counts={"checkins": 2})
    assert led.events() == [
        "project_round_started",
        "project_round_moved",
        "project_round_moved",
        "project_round_completed",
    ]


def test_reports_of_one_batch_see_each_other(led: Led) -> None:
    """One transaction, as the decider takes what waits."""
    stages: tuple[v.StageName, ...] = ("SELECTION", "CONFIGURATION", "REPORTING", "COMPLETED")
    led.hub.batch([led.hub.envelope(led.report(n, stage), led.site) for n in range(3) for stage in stages])
    assert [(one.number, one.state) for one in sorted(led.hub.rows(r.ProjectRound), key=_number)] == [
        (0, "completed"),
        (1, "completed"),
        (2, "completed"),
    ]
    assert led.events() == 3 * ["project_round_started", *2 * ["project_round_moved"], "project_round_completed"]


def test_a_checkpoint_is_kept_as_long_as_its_project_lives(led: Led) -> None:
    version, other = led.checkpoint(b"version"), led.checkpoint(b"nobody's")
    assert led.tell(0, "COMPLETED", checkpoint_artifact_id=version)["model_version"] == 1
    (model,) = led.hub.rows(r.Model)
    assert (model.epoch, model.round, model.artifact_id, model.run_id) == (1, 0, version, None)
    assert model.digest == led.hub.rows(r.Artifact, "id = %s", version)[0].digest
    led.hub.clock.sleep(led.hub.rules.keep_artifacts_s + 1)
    assert led.hub.ok(c.ExpireArtifacts(artifact_ids=[version, other])) == {"expired": [other]}
    found = Due(led.hub.database).expired_artifacts(led.hub.clock.now(), led.hub.clock.now())
    assert version not in found
    assert led.events()[-1] == "model_kept"
    led.hub.ok(c.ArchiveProject(project_id=led.project), led.site)
    assert version in Due(led.hub.database).expired_artifacts(led.hub.clock.now(), led.hub.clock.now())
    assert led.hub.ok(c.ExpireArtifacts(artifact_ids=[version])) == {"expired": [version]}


def test_a_checkpoint_may_come_when_the_program_has_started_again(led: Led) -> None:
    """Its upload takes its time, and the coordinator does not wait for it."""
    led.tell(0, "COMPLETED", start=5)
    led.tell(0, "SELECTION", start=6)
    assert led.tell(0, "COMPLETED", start=5, checkpoint_artifact_id=led.checkpoint())["model_version"] == 1
    assert led.newest() == (2, 0, "selection", "")
    assert led.hub.refused(led.report(1, "COMPLETED", start=5), led.site) == (409, "round_over")


def test_a_model_without_a_run_is_for_projects_with_a_coordinator_of_their_own(led: Led) -> None:
    other = led.hub.project([led.site], name="runs alone")
    digests = digests_of(b"x")
    command = c.DeclareArtifact(
        owner_site_id=led.site.id,
        project_id=other,
        of_kind="model",
        size_bytes=1,
        digest=sha256_hex(digests),
        chunk_digests=digests,
    )
    assert led.hub.refused(command, led.site) == (422, "misplaced")


def test_a_model_of_a_run_is_no_checkpoint_to_begin_with(led: Led) -> None:
    """Nor is a checkpoint a model that a run goes on with."""
    model = r.Model(led.project, 1, led.project, 1, "train", 1, led.project, None, "d", 1, "{}", 1)
    names = ", ".join(model.__struct_fields__)
    places = ", ".join(["%s"] * len(model.__struct_fields__))
    values = [getattr(model, name) for name in model.__struct_fields__]
    with led.hub.database.connection():
        led.hub.database.execute(f"INSERT INTO models ({names}) VALUES ({places})", values)
    command = c.StartInfrastructure(project_id=led.project, model_version=1)
    assert led.hub.refused(command, led.site) == (422, "impossible")


def test_a_coordinator_that_never_stops_beginning_rounds_is_refused_until_tomorrow(hub: Hub) -> None:
    led = Led(hub)
    hub.rules = msgspec.structs.replace(hub.rules, project_rounds_per_day=3)
    for number in range(2):
        led.tell(number, "SELECTION")
    led.tell(0, "SELECTION", start=1)
    assert hub.refused(led.report(0, "SELECTION", start=2), led.site) == (409, "too_many")
    led.tell(0, "COMPLETED")
    assert led.newest() == (2, 0, "completed", ""), "what has begun goes on"
    led.later(86_401)
    led.tell(0, "SELECTION", start=2)


@pytest.mark.parametrize("what", ["counts", "metrics"])
def test_a_round_has_no_more_names_than_a_report_may_have_however_often_it_is_said(hub: Hub, what: str) -> None:
    led = Led(hub)
    led.tell(0, "SELECTION", **{what: {f"a{number}": 1 for number in range(64)}})
    assert hub.refused(led.report(0, "SELECTION", **{what: {"b": 1}}), led.site) == (409, "too_many")
    assert hub.refused(led.report(0, "REPORTING", **{what: {"b": 1}}), led.site) == (409, "too_many")
    led.tell(0, "REPORTING", **{what: {"a0": 2}})
