"""Workloads at the hub: from the command to the object and back, and what bad luck leaves of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from actors.reconciling import RENEW_EVERY_S, SAID_AGAIN_S, ClusterReconciler
from actors.workloads import LEASE_S, WorkloadDoer
from broker.port import BrokerUnavailable
from config.secret_box import SecretBox
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.commands import Envelope
from domain.ids import Id
from domain.rules import Rules
from domain.table import TABLE, Kind
from domain.values import Subject
from domain.workloads import RETRY_AFTER_S, owner_of
from fedyard.cluster.plan import EVIDENCE_WITHIN_S, MISSING_S, ORPHAN_AGE_S, UNMADE_S
from fedyard.cluster.port import Reason, Refused, Spec
from storage.wanted import WantedWorkloads
from tests.clusters import MemoryCluster, as_hub_cluster
from tests.hub import SECOND, Hub

OWNER = owner_of(bytes(32))
BOX = SecretBox(bytes(32))
LIVE = ("wanted", "starting", "running")


class Yard:
    """The hub, one cluster, and what passes between them: nothing moves but when a test says so."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        hub.rules = Rules(clusters="hub=somewhere")
        self.cluster = MemoryCluster(lambda: hub.clock.now() / SECOND)
        self.place = as_hub_cluster(self.cluster)
        self.sent: list[Envelope] = []
        self.broker_away = False
        self.new_reconciler()
        self.doer = self.new_doer()
        self.site = hub.site("a")
        self.project = hub.project([self.site])

    def new_reconciler(self) -> None:
        """As after a restart."""
        wanted = WantedWorkloads(self.hub.database, bytes(32))
        self.reconciler = ClusterReconciler(self.place, wanted, self, self.hub.clock)

    def new_doer(self) -> WorkloadDoer:
        wanted = WantedWorkloads(self.hub.database, bytes(32))
        return WorkloadDoer({"hub": self.place}, wanted, self.hub.clock, bytes(32), "http://hub", BOX)

    def send(self, envelopes: list[Envelope]) -> None:
        """As a publisher."""
        if self.broker_away:
            raise BrokerUnavailable("away")
        self.sent += envelopes

    def ready(self) -> str | None:
        return None

    def close(self) -> None:
        pass

    def turn(self, *, lose_reports: bool = False) -> int:
        """One turn of the reconciler, and what was sent is done and decided."""
        self.hub.clock.sleep(0.01)
        sent = self.reconciler.turn()
        pending, self.sent = self.sent, []
        for envelope in pending:
            if TABLE[type(envelope.command)].kind is Kind.DONE:
                reports = self.doer(envelope)
                for report in [] if lose_reports else reports:
                    self.hub.ok(report)
            else:
                self.hub.ok(envelope.command)
        return sent

    def settle(self) -> None:
        """Turns until nothing is sent any more."""
        for _ in range(20):
            if not self.turn():
                return
        raise AssertionError("it does not come to rest")

    def later(self, seconds: float) -> None:
        self.hub.clock.sleep(seconds)

    def create(self, by: Subject | None = None, **spec: Any) -> Id:
        spec = {"kind": "job", "image": "local/sh", **spec}
        command = c.CreateWorkload(
            project_id=self.project, name="w", where=spec.pop("where", "hub"), spec=v.WorkloadSpec(**spec)
        )
        return self.hub.ok(command, by or self.site)["id"]

    def workload(self, ident: Id) -> r.Workload:
        return self.hub.rows(r.Workload, "id = %s", ident)[0]

    def attempts(self, ident: Id) -> list[r.WorkloadAttempt]:
        return sorted(self.hub.rows(r.WorkloadAttempt, "workload_id = %s", ident), key=lambda one: one.attempt)

    def kinds(self) -> list[str]:
        events = sorted(self.hub.rows(r.Event, "stream_id = %s", self.project), key=lambda one: one.seq)
        return [event.kind.removeprefix("workload_") for event in events if event.kind.startswith("workload")]


@pytest.fixture
def yard(hub: Hub) -> Yard:
    return Yard(hub)


def test_a_job_is_made_runs_and_ends_and_its_evidence_is_on_record_before_it_is_removed(yard: Yard) -> None:
    ident = yard.create(environment={"A": "b"}, arguments=["x"])
    yard.turn()
    which = yard.cluster.only()
    assert (which.owner, which.place, which.id, which.attempt) == (OWNER, yard.project, ident, 1)
    assert yard.cluster.there[which].spec.environment == {
        "A": "b",
        "FEDYARD_PROJECT_ID": yard.project,
        "FEDYARD_WORKLOAD_ID": ident,
        "FEDYARD_WORKLOAD_ATTEMPT": "1",
    }
    assert yard.workload(ident).state == "starting"
    yard.cluster.runs(which)
    yard.settle()
    assert yard.workload(ident).state == "running"
    yard.cluster.ends(which, 3, log=b"it broke\n")
    yard.turn()
    evidence = yard.hub.rows(r.WorkloadEvidence)
    assert [(one.log, json.loads(one.events_json)) for one in evidence] == [(b"it broke\n", ["made uid-1"])]
    assert which in yard.cluster.there
    workload = yard.workload(ident)
    assert (workload.state, workload.reason, workload.exit_code) == ("failed", "exit_code", 3)
    yard.settle()
    assert not yard.cluster.there
    assert yard.attempts(ident)[0].gone_at is not None
    assert yard.kinds() == ["created", "running", "failed"]
    assert yard.turn() == 0


def test_it_is_called_and_labelled_as_its_caller_says(yard: Yard) -> None:
    yard.create(object_name="model-training-7", labels={"team": "oslo"}, environment={"CASE": "1"})
    yard.turn()
    spec = yard.cluster.there[yard.cluster.only()].spec
    assert (spec.name, spec.exact, spec.labels, spec.environment["CASE"]) == (
        "model-training-7",
        True,
        {"team": "oslo"},
        "1",
    )


def test_two_that_go_on_cannot_be_called_exactly_the_same_at_one_place(yard: Yard) -> None:
    first = yard.create(object_name="train-7")
    named = v.WorkloadSpec(kind="job", image="local/sh", object_name="train-7")
    again = c.CreateWorkload(project_id=yard.project, name="other", where="hub", spec=named)
    assert yard.hub.refused(again, yard.site) == (409, "name_taken")
    yard.create(object_name="train-8")
    elsewhere = yard.hub.project([yard.site])
    yard.hub.ok(msgspec.structs.replace(again, project_id=elsewhere), yard.site)
    yard.settle()
    yard.hub.ok(c.StopWorkload(workload_id=first), yard.site)
    yard.settle()
    yard.hub.ok(again, yard.site)


@pytest.mark.parametrize(
    "spec", [{"labels": {"fedyard/owner": "me"}}, {"object_name": "hub"}, {"environment": {"FEDYARD_HUB_URL": "x"}}]
)
def test_what_stands_for_something_of_ours_is_refused(yard: Yard, spec: dict[str, Any]) -> None:
    asked = v.WorkloadSpec(kind="job", image="local/sh", **spec)
    command = c.CreateWorkload(project_id=yard.project, name="w", where="hub", spec=asked)
    assert yard.hub.refused(command, yard.site) == (422, "impossible")


def test_a_job_that_succeeds(yard: Yard) -> None:
    ident = yard.create()
    yard.settle()
    yard.cluster.ends(yard.cluster.only())
    yard.settle()
    workload = yard.workload(ident)
    assert (workload.state, workload.exit_code, workload.ended_at is not None) == ("succeeded", 0, True)
    assert yard.kinds() == ["created", "succeeded"]


def test_stop_is_confirmed_by_the_cluster(yard: Yard) -> None:
    ident = yard.create()
    yard.settle()
    yard.cluster.runs(yard.cluster.only())
    yard.settle()
    yard.cluster.lingers = True
    yard.hub.ok(c.StopWorkload(workload_id=ident, reason="enough"), yard.site)
    yard.settle()
    assert yard.workload(ident).state == "running"
    assert yard.workload(ident).stop_reason == "enough"
    assert len(yard.hub.rows(r.WorkloadEvidence)) == 1
    yard.cluster.lingers = False
    yard.later(SAID_AGAIN_S)
    yard.settle()
    assert not yard.cluster.there
    assert yard.workload(ident).state == "stopped"
    assert yard.kinds() == ["created", "running", "stopping", "stopped"]
    assert yard.hub.ok(c.StopWorkload(workload_id=ident), yard.site)["state"] == "stopped"


def test_one_that_is_stopped_before_it_is_there_is_never_made(yard: Yard) -> None:
    ident = yard.create()
    yard.hub.ok(c.StopWorkload(workload_id=ident), yard.site)
    yard.settle()
    yard.later(UNMADE_S)
    yard.settle()
    assert yard.cluster.made == 0
    assert yard.workload(ident).state == "stopped"


def test_what_another_attempt_can_heal_has_another_one_after_a_while_and_the_old_one_is_not_heard(yard: Yard) -> None:
    ident = yard.create(attempts=2)
    yard.settle()
    first = yard.cluster.only()
    yard.cluster.ends(first, 137, Reason.EVICTED)
    yard.settle()
    workload = yard.workload(ident)
    assert (workload.state, workload.attempt, workload.reason) == ("wanted", 2, "evicted")
    assert [one.state for one in yard.attempts(ident)] == ["failed", "wanted"]
    assert not yard.cluster.there
    yard.later(RETRY_AFTER_S[0])
    yard.settle()
    second = yard.cluster.only()
    assert second.attempt == 2
    yard.hub.ok(c.ReportWorkload(workload_id=ident, attempt=1, phase="succeeded", exit_code=0))  # type: ignore[arg-type]
    assert [one.state for one in yard.attempts(ident)] == ["failed", "starting"]
    yard.cluster.ends(second, 137, Reason.EVICTED)
    yard.settle()
    assert yard.workload(ident).state == "failed"
    assert yard.kinds() == ["created", "retried", "failed"]


@pytest.mark.parametrize("reason", [Reason.EXIT_CODE, Reason.COMMAND_NOT_FOUND, Reason.OUT_OF_MEMORY])
def test_what_no_repetition_heals_is_not_repeated(yard: Yard, reason: Reason) -> None:
    ident = yard.create(attempts=5)
    yard.settle()
    yard.cluster.ends(yard.cluster.only(), 1, reason)
    yard.settle()
    assert (yard.workload(ident).state, yard.workload(ident).attempt) == ("failed", 1)


def test_a_service_whose_program_ends_is_begun_again(yard: Yard) -> None:
    ident = yard.create(kind="service", port=80, attempts=2)
    yard.settle()
    yard.cluster.ends(yard.cluster.only(), 1)
    yard.settle()
    assert (yard.workload(ident).state, yard.workload(ident).attempt) == ("wanted", 2)


def test_a_refusal_that_may_pass_is_shown_and_tried_again(yard: Yard) -> None:
    yard.cluster.refuses = Refused(Reason.QUOTA_EXCEEDED, "cpu: 3 of 3")
    ident = yard.create()
    yard.settle()
    workload = yard.workload(ident)
    assert (workload.state, workload.reason, workload.detail) == ("wanted", "quota_exceeded", "cpu: 3 of 3")
    yard.cluster.refuses = None
    yard.later(SAID_AGAIN_S)
    yard.settle()
    assert (yard.workload(ident).state, yard.workload(ident).reason) == ("starting", "")


def test_a_refusal_for_good_is_the_end(yard: Yard) -> None:
    yard.cluster.refuses = Refused(Reason.IMAGE_UNUSABLE, "no such image")
    ident = yard.create(attempts=3)
    yard.settle()
    assert (yard.workload(ident).state, yard.workload(ident).reason) == ("failed", "image_unusable")
    assert yard.attempts(ident)[0].gone_at is not None


def test_what_asks_for_what_its_cluster_has_not_fails_of_it_at_once_however_many_attempts_it_may_have(
    yard: Yard,
) -> None:
    yard.cluster.refuses = Refused(Reason.UNSCHEDULABLE, "processes of this machine have no GPUs to count")
    ident = yard.create(attempts=3)
    yard.settle()
    workload = yard.workload(ident)
    assert (workload.state, workload.reason, workload.attempt) == ("failed", "unschedulable", 1)
    assert workload.detail == "processes of this machine have no GPUs to count"


def test_an_image_that_is_not_allowed_is_never_asked_for(hub: Hub) -> None:
    yard = Yard(hub)
    yard.place = as_hub_cluster(yard.cluster, "registry.example.org/fed/*")
    yard.doer = yard.new_doer()
    bad = yard.create(image="docker.io/miner:1")
    good = yard.create(image="registry.example.org/fed/train:3")
    digest = yard.create(image=f"docker.io/other@sha256:{'0' * 64}")
    yard.settle()
    assert (yard.workload(bad).state, yard.workload(bad).reason) == ("failed", "image_unusable")
    assert [yard.workload(one).state for one in (good, digest)] == ["starting", "starting"]


def test_a_hub_that_dies_between_making_and_reporting_adopts_what_is_there(yard: Yard) -> None:
    ident = yard.create()
    yard.turn(lose_reports=True)
    assert (yard.cluster.made, yard.workload(ident).state) == (1, "wanted")
    yard.new_reconciler()
    yard.settle()
    assert (yard.cluster.made, yard.workload(ident).state) == (1, "starting")


def test_a_hub_that_dies_between_collecting_and_reporting_collects_again(yard: Yard) -> None:
    ident = yard.create()
    yard.settle()
    yard.cluster.ends(yard.cluster.only(), log=b"done")
    yard.turn(lose_reports=True)
    assert yard.cluster.there
    assert yard.workload(ident).state in LIVE
    yard.new_reconciler()
    yard.settle()
    assert [one.log for one in yard.hub.rows(r.WorkloadEvidence)] == [b"done"]
    assert yard.workload(ident).state == "succeeded"


def test_a_cluster_that_is_away_costs_nothing_and_says_so(yard: Yard) -> None:
    ident = yard.create()
    yard.cluster.away = True
    assert yard.turn() == 0
    assert yard.reconciler.trouble == "the cluster is away"
    yard.cluster.away = False
    yard.settle()
    assert yard.reconciler.trouble == ""
    assert yard.workload(ident).state == "starting"


def test_a_cluster_that_says_later_is_asked_later_by_doer_and_reconciler_alike(yard: Yard) -> None:
    ident = yard.create()
    envelope = ensured(yard)
    yard.sent.clear()
    yard.cluster.away, yard.cluster.after_s = True, 30.0
    assert yard.doer(envelope) == []
    yard.turn()
    calls = len(yard.cluster.calls)
    yard.later(29)
    yard.turn()
    assert yard.doer(yard.hub.envelope(envelope.command)) == []
    assert len(yard.cluster.calls) == calls
    yard.cluster.away = False
    yard.later(1)
    yard.settle()
    assert yard.workload(ident).state == "starting"


def test_a_doer_leaves_a_cluster_alone_that_did_not_answer_and_what_is_too_old(yard: Yard) -> None:
    yard.create()
    yard.reconciler.turn()
    (envelope,) = yard.sent
    yard.cluster.away = True
    assert yard.doer(envelope) == []
    calls = len(yard.cluster.calls)
    assert yard.doer(envelope) == []
    assert len(yard.cluster.calls) == calls
    yard.cluster.away = False
    yard.later(LEASE_S)
    assert yard.doer(envelope) == []
    assert yard.cluster.made == 0


def ensured(yard: Yard) -> Envelope:
    """What makes the one workload, on its way to the doer."""
    yard.reconciler.turn()
    (envelope,) = yard.sent
    return envelope


@pytest.mark.parametrize("end", ["it succeeds", "it is stopped", "its node is lost"])
def test_a_job_that_has_ended_is_not_made_again_by_what_is_delivered_late(yard: Yard, end: str) -> None:
    ident = yard.create(attempts=2)
    envelope = ensured(yard)
    yard.settle()
    which = yard.cluster.only()
    yard.cluster.runs(which)
    yard.settle()
    match end:
        case "it succeeds":
            yard.cluster.ends(which)
        case "it is stopped":
            yard.hub.ok(c.StopWorkload(workload_id=ident), yard.site)
        case _:
            yard.cluster.ends(which, reason=Reason.NODE_LOST)
    yard.settle()
    assert not yard.cluster.there
    made = yard.cluster.made
    assert yard.doer(envelope) == []
    assert yard.cluster.made == made


def test_a_job_that_was_removed_behind_our_back_is_not_made_again_under_the_same_attempt(yard: Yard) -> None:
    yard.create()
    envelope = ensured(yard)
    yard.settle()
    yard.cluster.there.clear()
    assert yard.doer(envelope) == []
    assert not yard.cluster.there


def test_evidence_that_is_on_record_is_not_collected_again(yard: Yard) -> None:
    yard.create()
    yard.settle()
    yard.cluster.ends(yard.cluster.only())
    yard.reconciler.turn()
    (collect,) = yard.sent
    assert yard.doer(collect) != []
    yard.settle()
    calls = yard.cluster.calls.count("evidence")
    assert yard.doer(collect) == []
    assert yard.cluster.calls.count("evidence") == calls


def test_what_is_delivered_again_before_it_was_reported_is_adopted(yard: Yard) -> None:
    yard.create()
    envelope = ensured(yard)
    assert yard.doer(envelope) == yard.doer(envelope) != []
    assert yard.cluster.made == 1


def test_missing_permissions_are_named_and_nothing_is_touched(yard: Yard) -> None:
    yard.create()
    yard.cluster.forbidden = ["create jobs.batch in namespace x"]
    assert yard.turn() == 0
    assert "create jobs.batch in namespace x" in yard.reconciler.trouble
    assert yard.cluster.calls == ["missing"]
    yard.cluster.forbidden = []
    yard.settle()
    assert yard.cluster.made == 1


def test_a_broker_that_is_away_is_asked_again(yard: Yard) -> None:
    ident = yard.create()
    yard.broker_away = True
    assert yard.turn() == 0
    yard.broker_away = False
    yard.settle()
    assert yard.workload(ident).state == "starting"


def test_what_is_not_there_any_more_is_lost_and_begun_again_where_it_may(yard: Yard) -> None:
    once, again = yard.create(), yard.create(attempts=2)
    yard.settle()
    yard.cluster.there.clear()
    yard.settle()
    yard.later(MISSING_S)
    yard.settle()
    assert (yard.workload(once).state, yard.workload(once).reason) == ("lost", "vanished")
    assert (yard.workload(again).state, yard.workload(again).attempt) == ("wanted", 2)


def test_an_orphan_is_ended_and_a_strangers_is_not_seen(yard: Yard) -> None:
    stray = "00000000-0000-4000-8000-00000000000a"
    for owner in (OWNER, stray):
        yard.cluster.ensure(Spec(owner=owner, place=stray, id=stray, attempt=1, kind="job", image="x"))
    yard.settle()
    assert len(yard.cluster.there) == 2
    yard.later(ORPHAN_AGE_S)
    yard.settle()
    assert [which.owner for which in yard.cluster.there] == [stray]


def test_what_comes_back_after_it_was_gone_is_ended(yard: Yard) -> None:
    ident = yard.create()
    yard.settle()
    running = yard.cluster.there.copy()
    yard.cluster.ends(yard.cluster.only())
    yard.settle()
    assert yard.attempts(ident)[0].gone_at is not None
    yard.cluster.there.update(running)  # made by a command that was late
    yard.later(SAID_AGAIN_S)
    yard.settle()
    assert not yard.cluster.there


def test_evidence_that_cannot_be_had_holds_an_end_up_for_a_minute(yard: Yard) -> None:
    ident = yard.create()
    yard.settle()
    which = yard.cluster.only()

    def nothing(*_: object, **__: object) -> Any:
        raise Refused(Reason.NODE_LOST, "its node does not answer")

    yard.cluster.evidence = nothing  # type: ignore[method-assign]
    yard.cluster.ends(which, 1, Reason.NODE_LOST)
    yard.settle()
    assert yard.workload(ident).state == "lost"
    assert which in yard.cluster.there
    yard.later(EVIDENCE_WITHIN_S)
    yard.settle()
    assert which not in yard.cluster.there


def test_replicas_follow_what_is_wanted(yard: Yard) -> None:
    ident = yard.create(kind="service", port=8080, replicas=2)
    yard.settle()
    which = yard.cluster.only()
    yard.cluster.runs(which, ready=2, addresses={"inside": "w.x:8080"})
    yard.settle()
    assert json.loads(yard.attempts(ident)[0].addresses_json) == {"inside": "w.x:8080"}
    yard.hub.ok(c.ScaleWorkload(workload_id=ident, replicas=3), yard.site)
    yard.settle()
    assert yard.cluster.there[which].observed.replicas == 3
    yard.cluster.scale(which, 1)  # somebody else
    yard.later(SAID_AGAIN_S)
    yard.settle()
    assert yard.cluster.there[which].observed.replicas == 3


def test_what_was_stopped_before_it_was_ready_has_neither_an_address_nor_a_reason(yard: Yard) -> None:
    """Who listens there next is another, and why it was not ready is no reason why it stopped."""
    ident = yard.create(kind="service", port=8080)
    yard.settle()
    yard.cluster.runs(yard.cluster.only(), ready=0, addresses={"inside": "w.x:8080"}, reason=Reason.NOT_READY)
    yard.settle()
    assert (yard.workload(ident).reason, yard.attempts(ident)[0].addresses_json) == (
        "not_ready",
        '{"inside":"w.x:8080"}',
    )
    yard.hub.ok(c.StopWorkload(workload_id=ident), yard.site)
    yard.settle()
    assert (yard.workload(ident).state, yard.workload(ident).reason) == ("stopped", "")
    assert yard.attempts(ident)[0].addresses_json == "{}"


def test_archiving_a_project_stops_what_runs_for_it(yard: Yard) -> None:
    ident = yard.create()
    yard.settle()
    yard.hub.ok(c.ArchiveProject(project_id=yard.project), yard.site)
    yard.settle()
    assert yard.workload(ident).state == "stopped"
    assert not yard.cluster.there
    assert yard.hub.refused(_job(yard.project), yard.site) == (409, "project_archived")
    assert yard.cluster.calls.index("remove_place") > yard.cluster.calls.index("stop")
    yard.later(RENEW_EVERY_S)
    yard.settle()
    assert yard.cluster.calls.count("remove_place") == 1
    assert {one.place_gone_at is None for one in yard.hub.rows(r.Workload)} == {False}


def test_two_reconcilers_send_the_same_commands(yard: Yard) -> None:
    yard.create()
    yard.reconciler.turn()
    yard.new_reconciler()
    yard.reconciler.turn()
    assert len(yard.sent) == 2
    assert len({envelope.id for envelope in yard.sent}) == 1


# who may, and how many


def _job(project: Id, where: str = "hub", **spec: Any) -> c.CreateWorkload:
    spec = {"kind": "job", "image": "i", **spec}
    return c.CreateWorkload(project_id=project, name="w", where=where, spec=v.WorkloadSpec(**spec))


def test_the_coordinator_and_admins_have_workloads_and_nobody_else(hub: Hub) -> None:
    yard = Yard(hub)
    other, stranger = hub.site("b"), hub.site("c")
    hub.ok(c.PutMember(project_id=yard.project, site_id=other.id), yard.site)
    hub.ok(c.PutMember(project_id=yard.project, site_id=other.id), other)
    admin = hub.account(hub.organisation("ops"), "admin")
    person = hub.account(yard.site.organisation_id or "", "member")
    made = [yard.create(by) for by in (yard.site, person, admin)]
    assert hub.refused(_job(yard.project), other) == (403, "forbidden")
    for by in (other, stranger):
        assert hub.refused(c.StopWorkload(workload_id=made[0]), by) == (404, "not_found")
        assert hub.refused(c.ReportWorkload(workload_id=made[0], attempt=1), by) == (404, "not_found")
    for by in (person, admin):
        assert hub.ok(c.StopWorkload(workload_id=made[0]), by)["id"] == made[0]


def test_a_workload_at_a_site_is_reported_on_by_that_site_alone(hub: Hub) -> None:
    yard = Yard(hub)
    other, stranger = hub.site("b"), hub.site("c")
    assert hub.refused(_job(yard.project, f"site:{other.id}"), yard.site) == (422, "impossible")
    hub.ok(c.PutMember(project_id=yard.project, site_id=other.id), yard.site)
    hub.ok(c.PutMember(project_id=yard.project, site_id=other.id), other)
    ident = yard.create(where=f"site:{other.id}")
    yard.settle()
    assert yard.cluster.made == 0
    report = c.ReportWorkload(workload_id=ident, attempt=1, phase="running", uid="u")  # type: ignore[arg-type]
    for by in (yard.site, stranger):
        assert hub.refused(report, by) == (404, "not_found")
    assert hub.refused(c.ReportWorkload(workload_id=ident, attempt=2), other) == (404, "not_found")
    hub.ok(report, other)
    assert yard.workload(ident).state == "running"
    hub.ok(c.RetireSite(site_id=other.id), other)
    assert hub.ok(c.StopWorkload(workload_id=ident), yard.site)["state"] == "lost"


@pytest.mark.parametrize(
    "spec",
    [
        {"where": "elsewhere"},
        {"replicas": 2},
        {"arguments": ["x" * 4096] * 16},
        {"kind": "service"},
        {"kind": "service", "port": 80, "deadline_s": 5.0},
    ],
)
def test_what_cannot_be_run_is_refused_at_once(yard: Yard, spec: dict[str, Any]) -> None:
    assert yard.hub.refused(_job(yard.project, **spec), yard.site) == (422, "impossible")


def test_only_a_service_that_goes_on_has_other_replicas(yard: Yard) -> None:
    job, service = yard.create(), yard.create(kind="service", port=80)
    assert yard.hub.refused(c.ScaleWorkload(workload_id=job, replicas=2), yard.site) == (422, "impossible")
    yard.hub.ok(c.StopWorkload(workload_id=service), yard.site)
    assert yard.hub.refused(c.ScaleWorkload(workload_id=service, replicas=2), yard.site) == (409, "workload_ended")


def test_a_project_has_so_many_at_once_and_so_many_a_day(hub: Hub) -> None:
    yard = Yard(hub)
    hub.rules = Rules(clusters="hub=x", workloads_per_project=2, workloads_per_day=3)
    first = yard.create()
    yard.create()
    assert hub.refused(_job(yard.project), yard.site) == (409, "too_many")
    hub.ok(c.StopWorkload(workload_id=first), yard.site)
    hub.ok(c.ReportWorkload(workload_id=first, attempt=1, gone=True))
    yard.create()
    assert hub.refused(_job(yard.project), yard.site) == (409, "too_many")
    yard.later(86_400)
    live = [one for one in hub.rows(r.Workload) if one.state in LIVE]
    hub.ok(c.StopWorkload(workload_id=live[0].id), yard.site)
    hub.ok(c.ReportWorkload(workload_id=live[0].id, attempt=1, gone=True))
    yard.create()


def test_a_webhook_is_told_of_a_workload_that_failed(yard: Yard) -> None:
    yard.hub.ok(
        c.CreateWebhook(
            owner_kind="project", owner_id=yard.project, url="https://hooks.example.org/", kinds=["workload.failed"]
        ),
        yard.site,
    )
    ident = yard.create()
    yard.settle()
    yard.cluster.ends(yard.cluster.only(), 4, log=b"secret")
    yard.settle()
    seqs = [event.seq for event in yard.hub.rows(r.Event, "stream_id = %s", yard.project)]
    yard.hub.ok(c.QueueDeliveries(stream_kind="project", stream_id=yard.project, after=0, seqs=seqs))
    (delivery,) = yard.hub.rows(r.WebhookDelivery)
    told = json.loads(delivery.body)
    assert told["type"] == "workload.failed"
    assert {name: told["data"][name] for name in ("workload_id", "attempt", "state", "reason", "exit_code")} == {
        "workload_id": ident,
        "attempt": 1,
        "state": "failed",
        "reason": "exit_code",
        "exit_code": 4,
    }
