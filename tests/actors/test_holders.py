"""Seats of a run that workloads hold: they enrol, take part as sites do, are replaced, and go with their task."""

from __future__ import annotations

from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import Id, sha256_hex
from domain.states import Report
from domain.values import Subject
from domain.workloads import RETRY_AFTER_S, token_of
from fedyard.cluster.conventions import ENROLMENT_TOKEN
from fedyard.cluster.port import AttemptId, Reason
from tests.actors.test_workloads import Yard
from tests.hub import QUICK, Hub
from tests.seals import KEY


class Held(Yard):
    """A run of one task with one round, `count` seats of which workloads hold, beside the coordinator's site."""

    def __init__(
        self,
        hub: Hub,
        count: int = 2,
        attempts: int = 2,
        *,
        rounds: int = 1,
        secrets: dict[str, str] | None = None,
        **contract: Any,
    ) -> None:
        super().__init__(hub)
        holder = v.Holder(
            name="train",
            count=count,
            spec=v.WorkloadSpec(kind="job", image="local/sh", attempts=attempts, secrets=secrets or {}),
        )
        fields = {name: getattr(QUICK, name) for name in QUICK.__struct_fields__} | contract
        task = v.TaskSpec(
            name="t",
            model="m",
            rounds=rounds,
            who=[self.site.id],
            workloads=[holder],
            contract=v.Contract(**fields),
        )
        self.project = hub.project([self.site], tasks=[task])
        self.run = hub.start(self.project, self.site)

    def holders(self) -> list[Id]:
        """The sites that hold seats, in the order of their workloads and attempts."""
        attempts = self.hub.rows(r.WorkloadAttempt)
        return [one.site_id for one in sorted(attempts, key=lambda one: (one.workload_id, one.attempt))]

    def which(self, site: Id) -> AttemptId:
        attempt = self.hub.rows(r.WorkloadAttempt, "site_id = %s", site)[0]
        return next(
            one for one in self.cluster.there if (one.id, one.attempt) == (attempt.workload_id, attempt.attempt)
        )

    def enrol(self, site: Id) -> Subject:
        """As the program in it does, with the token that it finds in its environment."""
        token = self.cluster.there[self.which(site)].spec.secrets[ENROLMENT_TOKEN]
        enrolment = self.hub.rows(r.Enrolment, "sha256 = %s", sha256_hex(token.encode()))[0]
        by = Subject(kind="enrolment", id=enrolment.id, organisation_id=enrolment.organisation_id)
        command = c.EnrolSite(
            name="whatever", description="", identity_key=KEY, token_sha256=sha256_hex(f"own {site}".encode())
        )
        assert self.hub.ok(command, by)["id"] == site
        return Subject(kind="site", id=site, organisation_id=enrolment.organisation_id)

    def seats(self) -> dict[Id, str]:
        return {seat.site_id: seat.state for seat in self.hub.rows(r.Seat, "run_id = %s", self.run)}

    def state(self) -> str:
        return self.hub.run(self.run).state


@pytest.fixture
def held(hub: Hub) -> Held:
    return Held(hub)


def test_workloads_hold_seats_take_part_and_go_with_their_task(held: Held) -> None:
    hub, run = held.hub, held.run
    held.settle()
    holders = [held.enrol(site) for site in held.holders()]
    assert len(holders) == 2
    spec = held.cluster.there[held.which(holders[0].id)].spec
    assert spec.environment["FEDYARD_RUN_ID"] == run
    assert spec.environment["FEDYARD_HUB_URL"] == "http://hub"
    everybody = [held.site, *holders]
    assert set(held.seats()) == {one.id for one in everybody}
    assert hub.inbox(holders[0])[0].kind == "invited"
    hub.ready_all(run, everybody)
    hub.submit_all(run, everybody)
    hub.aggregate(run, held.site, 1)
    assert held.state() == "succeeded"
    held.settle()
    assert not held.cluster.there
    assert {one.state for one in hub.rows(r.Workload)} == {"stopped"}
    for one in holders:
        (site,) = hub.rows(r.Site, "id = %s", one.id)
        (member,) = hub.rows(r.Membership, "site_id = %s", one.id)
        assert (site.state, member.role, member.state) == ("retired", "workload", "left")
        assert all(token.revoked_at for token in hub.rows(r.Token, "owner_id = %s", one.id))


def test_the_token_is_in_no_table_and_works_once(held: Held) -> None:
    held.settle()
    site = held.holders()[0]
    attempt = held.hub.rows(r.WorkloadAttempt, "site_id = %s", site)[0]
    token = token_of(bytes(32), attempt.workload_id, attempt.attempt)
    held.enrol(site)
    for kind in r.RECORDS:
        assert token not in repr(held.hub.rows(kind))
    (enrolment,) = held.hub.rows(r.Enrolment, "site_id = %s", site)
    by = Subject(kind="enrolment", id=enrolment.id, organisation_id=enrolment.organisation_id)
    again = c.EnrolSite(name="x", description="", identity_key=KEY, token_sha256="1" * 64)
    assert held.hub.refused(again, by) == (409, "enrolment_used")


def test_a_secret_that_is_known_lets_nobody_enrol_again(hub: Hub) -> None:
    """Whoever runs what holds a seat says which token it gave it; a hash stands for one secret, whatever is said."""
    coordinator, site = hub.sites(2)
    spec = v.WorkloadSpec(kind="job", image="local/sh")
    holder = v.Holder(name="w", count=2, where=f"site:{site.id}", spec=spec)
    task = v.TaskSpec(name="t", model="m", who=[coordinator.id], workloads=[holder], contract=QUICK)
    hub.start(hub.project([coordinator, site], tasks=[task]), coordinator)
    first, second = (one.id for one in hub.rows(r.Workload))

    def introduced(ident: Id, sha256: str) -> c.ReportWorkload:
        return c.ReportWorkload(workload_id=ident, attempt=1, phase=None, token_sha256=sha256)

    hub.ok(introduced(first, "a" * 64), site)
    hub.ok(introduced(first, "a" * 64), site)
    (of_site,) = hub.rows(r.Token, "owner_id = %s", site.id)
    for known in ("a" * 64, of_site.sha256):
        assert hub.refused(introduced(second, known), site) == (409, "token_taken")
    hub.ok(introduced(second, "b" * 64), site)
    assert len([one for one in hub.rows(r.Enrolment) if one.site_id and one.note.startswith("attempt")]) == 2


def test_a_workload_takes_part_in_its_own_run_alone(held: Held) -> None:
    """Its token is in the hands of a program: that joins and makes no projects, and runs nothing."""
    held.settle()
    workload = held.enrol(held.holders()[0])
    elsewhere = held.hub.project([held.hub.site("elsewhere")], name="elsewhere", joining="open")
    spec = v.WorkloadSpec(kind="job", image="local/sh")
    for command, by, refused in (
        (c.PutMember(project_id=elsewhere, site_id=workload.id), workload, (403, "forbidden")),
        (c.PutMember(project_id=elsewhere, site_id=workload.id), held.site, (403, "forbidden")),
        (c.CreateProject(name="own", coordinator_site_id=workload.id, tasks=[]), workload, (403, "forbidden")),
        (c.CreateWorkload(project_id=held.project, name="w", where="hub", spec=spec), workload, (403, "forbidden")),
        (
            c.CreateWorkload(project_id=held.project, name="w", where=f"site:{workload.id}", spec=spec),
            held.site,
            (422, "impossible"),
        ),
    ):
        assert held.hub.refused(command, by) == refused


@pytest.mark.parametrize("stage", ["selecting", "training"])
def test_the_next_attempt_takes_the_seat_over_in_the_same_round(hub: Hub, stage: str) -> None:
    held = Held(hub, count=1)
    run = held.run
    held.settle()
    old = held.enrol(held.holders()[0])
    if stage == "training":
        hub.ready_all(run, [held.site, old])
        assert hub.round(run, 1).state == "training"
    held.cluster.ends(held.which(old.id), 137, Reason.EVICTED)
    held.settle()
    assert held.seats()[old.id] == "dropped"
    assert hub.round(run, 1).state == stage
    assert hub.refused(hub.reporting(run, old, Report.SUBMIT, seq=9), old)[0] == 403
    held.later(RETRY_AFTER_S[0])
    held.settle()
    new = held.enrol(held.holders()[1])
    if stage == "selecting":
        hub.ready_all(run, [held.site, new])
    else:
        hub.report(run, new, Report.READY)
        assert held.seats()[new.id] == "training"
        assert [entry.kind for entry in hub.inbox(new)] == ["invited", "round_started"]
    hub.submit_all(run, [held.site, new])
    hub.aggregate(run, held.site, 1)
    assert held.state() == "succeeded"
    assert hub.round(run, 1).quorum == 2


def test_a_workload_that_fails_for_good_loses_its_seat(hub: Hub) -> None:
    held = Held(hub, count=1, attempts=3)
    held.settle()
    holder = held.enrol(held.holders()[0])
    held.cluster.ends(held.which(holder.id), 1)
    held.settle()
    assert held.state() == "failed"
    (seat,) = hub.rows(r.Seat, "site_id = %s", holder.id)
    assert (seat.state, seat.reason) == ("dropped", "workload_ended")
    assert len(held.holders()) == 1


def test_of_what_is_silent_for_too_long_there_is_another_attempt(hub: Hub) -> None:
    held = Held(hub, count=1)
    held.settle()
    first = held.holders()[0]
    held.cluster.runs(held.which(first))
    held.later(QUICK.silent_within_s + 1)
    hub.ok(c.DropSeats(run_id=held.run, site_id=first, reason="site_silent"))
    assert held.seats()[first] == "dropped"
    workload = hub.rows(r.Workload)[0]
    assert (workload.state, workload.attempt, workload.reason) == ("wanted", 2, "silent")
    assert held.state() == "running"
    held.settle()
    assert not held.cluster.there
    assert [one.log for one in hub.rows(r.WorkloadEvidence)] == [b""]
    held.later(RETRY_AFTER_S[0])
    held.settle()
    held.enrol(held.holders()[1])


def test_what_workloads_hold_goes_when_the_run_is_stopped(held: Held) -> None:
    held.settle()
    assert len(held.cluster.there) == 2
    held.hub.ok(c.StopRun(run_id=held.run), held.site)
    held.settle()
    assert not held.cluster.there


def test_a_run_may_be_of_workloads_alone_and_the_next_round_counts_no_replaced_seat(hub: Hub) -> None:
    held = Held(hub, count=1, rounds=2, quorum=1.0)
    run = held.run
    held.settle()
    old = held.enrol(held.holders()[0])
    held.cluster.ends(held.which(old.id), 137, Reason.NODE_LOST)
    held.settle()
    held.later(RETRY_AFTER_S[0])
    held.settle()
    new = held.enrol(held.holders()[1])
    hub.whole_round(run, [held.site, new], 1)
    assert (hub.round(run, 2).state, hub.round(run, 2).quorum) == ("selecting", 2)
    hub.whole_round(run, [held.site, new], 2)
    assert held.state() == "succeeded"


def test_a_task_of_others_has_no_seat_for_workloads(hub: Hub) -> None:
    """They are members while they live, of their own task."""
    yard = Yard(hub)
    holder = v.Holder(name="w", spec=v.WorkloadSpec(kind="job", image="i"))
    tasks = [
        v.TaskSpec(name="a", model="m", workloads=[holder], contract=QUICK),
        v.TaskSpec(name="b", model="m", after=[], contract=QUICK),
    ]
    project = hub.project([yard.site], tasks=tasks)
    run = hub.start(project, yard.site)
    seats = {seq: hub.rows(r.Seat, "task_run_id = %s", hub.task(run, seq).id) for seq in (1, 2)}
    assert {seq: len(found) for seq, found in seats.items()} == {1: 2, 2: 1}


@pytest.mark.parametrize(
    ("holders", "refused"),
    [
        ([{"kind": "service", "port": 80}], (422, "tasks_impossible")),
        ([{}, {}], (422, "tasks_impossible")),
        ([{"replicas": 2}], (422, "tasks_impossible")),
        ([{"object_name": "hub"}], (422, "tasks_impossible")),
        ([{"environment": {f"E{number}": "x" * 4096 for number in range(16)}}], (422, "tasks_impossible")),
    ],
)
def test_what_cannot_hold_a_seat_is_refused(hub: Hub, holders: list[dict[str, Any]], refused: tuple[int, str]) -> None:
    yard = Yard(hub)
    held = [v.Holder(name="w", spec=v.WorkloadSpec(**{"kind": "job", "image": "i", **one})) for one in holders]
    task = v.TaskSpec(name="a", model="m", workloads=held)
    command = c.UpdateProject(project_id=yard.project, tasks=[task])
    assert hub.refused(command, yard.site) == refused


def test_a_run_does_not_start_whose_workloads_have_nowhere_to_be(hub: Hub) -> None:
    yard = Yard(hub)
    holder = v.Holder(name="w", where="elsewhere", spec=v.WorkloadSpec(kind="job", image="i"))
    hub.ok(
        c.UpdateProject(project_id=yard.project, tasks=[v.TaskSpec(name="a", model="m", workloads=[holder])]),
        yard.site,
    )
    assert hub.refused(c.StartRun(project_id=yard.project), yard.site) == (422, "impossible")
