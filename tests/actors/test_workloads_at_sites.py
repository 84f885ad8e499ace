"""Workloads at a site: the hub keeps what is wanted, tells the site, and hears what that has seen."""

from __future__ import annotations

from typing import Any

import pytest

from actors.ticker import Ticker
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.commands import Envelope
from domain.ids import Id
from domain.rules import Rules
from fedyard.cluster.plan import Wanted
from fedyard.cluster.port import Phase, Reason
from storage.due import Due
from storage.views.workloads import wanted_at
from tests.hub import SECOND, Hub

LOST_AFTER_S = 300


class Kept:
    """A publisher that decides at once."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.kinds: list[str] = []

    def send(self, envelopes: list[Envelope]) -> None:
        batch = self.hub.batch(envelopes)
        self.hub.drain()
        self.kinds += [outcome.kind for outcome in batch.outcomes.values()]

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        pass


class AtSite:
    """A project of two sites, and what the second one is to run."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        hub.rules = Rules(site_lost_after_s=LOST_AFTER_S)
        self.coordinator, self.site = hub.sites(2)
        self.project = hub.project([self.coordinator, self.site])
        self.publisher = Kept(hub)
        self.ticker = Ticker(
            Due(hub.database),
            self.publisher,
            hub.clock,
            silent_after_s=90,
            keep_artifacts_s=1000,
            site_lost_after_s=LOST_AFTER_S,
        )
        self.ticker.tick()

    def create(self, **spec: Any) -> Id:
        asked = v.WorkloadSpec(**{"kind": "job", "image": "local/sh", **spec})
        command = c.CreateWorkload(project_id=self.project, name="w", where=f"site:{self.site.id}", spec=asked)
        return self.hub.ok(command, self.coordinator)["id"]

    def report(self, ident: Id, phase: Phase | None, attempt: int = 1, **said: Any) -> None:
        self.hub.clock.sleep(0.01)
        said = {"uid": "u", **said}
        self.hub.ok(c.ReportWorkload(workload_id=ident, attempt=attempt, phase=phase, **said), self.site)

    def state(self, ident: Id) -> tuple[str, str]:
        workload = self.hub.rows(r.Workload, "id = %s", ident)[0]
        return workload.state, workload.reason

    def wanted(self) -> list[Wanted]:
        with self.hub.database.connection():
            return wanted_at(self.hub.database, self.site.id, self.hub.clock.now())

    def silent_for(self, seconds: float) -> None:
        """Nobody but the coordinator is heard of for so long, and the ticker looks on."""
        end = self.hub.clock.now() + int(seconds * SECOND)
        while self.hub.clock.now() < end:
            self.hub.clock.micros += min(80 * SECOND, end - self.hub.clock.now())
            self.hub.store.record_heartbeats([c.Beat(self.coordinator.id, self.hub.clock.now())], [])
            self.ticker.tick()

    def told(self) -> list[str]:
        return [entry.kind for entry in self.hub.inbox(self.site) if entry.kind.startswith("workload")]

    def told_to_people(self) -> list[str]:
        events = sorted(self.hub.rows(r.Event, "stream_id = %s", self.project), key=lambda one: one.seq)
        return [event.kind.removeprefix("workload_") for event in events if event.kind.startswith("workload")]


@pytest.fixture
def at(hub: Hub) -> AtSite:
    return AtSite(hub)


def test_the_site_is_told_when_something_changes_for_it_and_not_of_what_it_said_itself(at: AtSite) -> None:
    ident = at.create(kind="service", port=80, attempts=2)
    assert at.told() == ["workload_wanted"]
    at.report(ident, Phase.RUNNING, ready=1)
    at.report(ident, Phase.FAILED, reason=Reason.EVICTED)
    assert at.state(ident)[0] == "wanted"
    assert at.told() == ["workload_wanted"]
    at.hub.ok(c.ScaleWorkload(workload_id=ident, replicas=3), at.coordinator)
    at.hub.ok(c.StopWorkload(workload_id=ident), at.coordinator)
    at.hub.ok(c.StopWorkload(workload_id=ident), at.coordinator)
    assert at.told() == ["workload_wanted"] * 3


def test_what_runs_at_a_silent_site_is_lost_after_its_lease_and_goes_on_when_the_site_says_so(at: AtSite) -> None:
    ident = at.create(attempts=3)
    at.report(ident, Phase.RUNNING)
    at.silent_for(LOST_AFTER_S - 1)
    assert at.state(ident) == ("running", "")
    at.silent_for(2)
    assert at.state(ident) == ("lost", "site_silent")
    at.silent_for(100)
    assert at.publisher.kinds.count("lose_workloads") == 1
    (wanted,) = at.wanted()
    assert (wanted.run, wanted.known.phase, wanted.known.uid, wanted.over_s) == (True, None, "u", None)
    at.report(ident, None, detail="its cluster is away")
    assert at.state(ident) == ("lost", "site_silent")
    at.report(ident, Phase.RUNNING)
    assert at.state(ident) == ("running", "")
    assert at.hub.rows(r.Workload, "id = %s", ident)[0].ended_at is None
    at.report(ident, Phase.SUCCEEDED, exit_code=0, log=b"done\n")
    assert at.state(ident) == ("succeeded", "")
    assert at.told_to_people() == ["created", "running", "lost", "running", "succeeded"]


@pytest.mark.parametrize(
    ("said", "state", "reason"),
    [
        ({"phase": Phase.SUCCEEDED, "exit_code": 0}, "succeeded", ""),
        ({"phase": Phase.FAILED, "reason": Reason.EXIT_CODE, "exit_code": 3}, "failed", "exit_code"),
        ({"phase": Phase.FAILED, "reason": Reason.VANISHED}, "lost", "vanished"),
        ({"phase": Phase.FAILED, "reason": Reason.NOT_ALLOWED}, "failed", "not_allowed"),
    ],
)
def test_what_ended_while_its_site_was_away_is_known_when_it_is_back(
    at: AtSite, said: dict[str, Any], state: str, reason: str
) -> None:
    ident = at.create()
    at.report(ident, Phase.RUNNING)
    at.silent_for(LOST_AFTER_S + 1)
    at.report(ident, **said)
    assert at.state(ident) == (state, reason)
    at.report(ident, Phase.RUNNING)
    assert at.state(ident) == (state, reason), "what has ended has ended"


def test_what_vanished_while_its_site_was_away_is_tried_again(at: AtSite) -> None:
    ident = at.create(attempts=2)
    at.report(ident, Phase.RUNNING)
    at.silent_for(LOST_AFTER_S + 1)
    at.report(ident, Phase.FAILED, reason=Reason.VANISHED)
    assert at.state(ident) == ("wanted", "vanished")
    at.report(ident, Phase.SUCCEEDED, attempt=1, exit_code=0)
    assert at.state(ident) == ("wanted", "vanished"), "an old attempt is not heard any more"


def test_what_a_silent_site_has_not_begun_waits_for_it_unless_it_shall_go(at: AtSite) -> None:
    waits, goes = at.create(), at.create()
    at.silent_for(LOST_AFTER_S + 1)
    assert at.state(waits) == at.state(goes) == ("wanted", "site_silent")
    at.hub.ok(c.StopWorkload(workload_id=goes), at.coordinator)
    at.silent_for(20)
    assert at.state(goes) == ("lost", "site_silent")
    assert at.publisher.kinds.count("lose_workloads") == 2
    at.report(goes, None, gone=True)
    assert at.state(goes) == ("stopped", "")
    at.report(waits, Phase.STARTING)
    assert at.state(waits) == ("starting", "")


@pytest.mark.parametrize("archived", [False, True])
def test_what_was_lost_with_a_silent_site_can_be_stopped_and_goes_when_that_is_back(
    at: AtSite, *, archived: bool
) -> None:
    ident = at.create()
    at.report(ident, Phase.RUNNING)
    at.silent_for(LOST_AFTER_S + 1)
    stop = c.ArchiveProject(project_id=at.project) if archived else c.StopWorkload(workload_id=ident)
    at.hub.ok(stop, at.coordinator)
    (wanted,) = at.wanted()
    assert (wanted.run, wanted.known.phase) == (False, None)
    at.report(ident, Phase.RUNNING, log=b"")
    assert at.state(ident)[0] == "running"
    at.report(ident, None, gone=True)
    assert at.state(ident)[0] == "stopped"
    assert at.wanted() == []


def test_a_silence_is_looked_at_again_when_it_is_decided(at: AtSite) -> None:
    ident = at.create()
    at.report(ident, Phase.RUNNING)
    at.hub.ok(c.LoseWorkloads(site_id=at.site.id))
    assert at.state(ident) == ("running", "")
    assert at.hub.refused(c.LoseWorkloads(site_id=at.site.id), at.site) == (403, "forbidden")


def test_with_a_retired_site_what_ran_there_is_lost_for_good(at: AtSite) -> None:
    runs, ended, unseen = at.create(attempts=3), at.create(), at.create()
    at.report(runs, Phase.RUNNING)
    at.report(ended, Phase.SUCCEEDED, exit_code=0)
    at.hub.ok(c.RetireSite(site_id=at.site.id), at.site)
    assert at.state(runs) == at.state(unseen) == ("lost", "site_retired")
    assert at.state(ended) == ("succeeded", "")
    assert [one.spec.id for one in at.wanted()] == [ended]


def test_what_runs_at_a_site_that_leaves_the_project_shall_go(at: AtSite) -> None:
    ident = at.create()
    other = at.hub.project([at.coordinator, at.site])
    command = c.CreateWorkload(
        project_id=other, name="w", where=f"site:{at.site.id}", spec=v.WorkloadSpec(kind="job", image="local/sh")
    )
    stays = at.hub.ok(command, at.coordinator)["id"]
    at.hub.ok(c.RemoveMember(project_id=at.project, site_id=at.site.id), at.site)
    wanted = {one.spec.id: one.run for one in at.wanted()}
    assert wanted == {ident: False, stays: True}
    refused = at.hub.refused(
        c.CreateWorkload(
            project_id=at.project,
            name="w",
            where=f"site:{at.site.id}",
            spec=v.WorkloadSpec(kind="job", image="local/sh"),
        ),
        at.coordinator,
    )
    assert refused == (422, "impossible")
