"""Secrets of projects: shut everywhere but where a workload is made, and missed by name."""

from __future__ import annotations

import json
import logging

import msgspec
import pytest

from actors.workloads import WorkloadDoer
from config.secret_box import NotOpenedError, SecretBox, Shut
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.codec import encode
from domain.ids import Id, derive
from domain.values import MAX_SECRETS, Subject
from fedyard.cluster.conventions import ENROLMENT_TOKEN
from fedyard.cluster.port import Reason
from storage.wanted import WantedWorkloads
from tests.actors.test_holders import Held
from tests.actors.test_workloads import BOX, Yard
from tests.hub import Hub

CANARY = "correct horse battery staple"
PLACE, OTHER = derive("one"), derive("other")


class Keeping(Yard):
    def set(self, name: str = "db", value: str = CANARY, by: Subject | None = None, box: SecretBox = BOX) -> None:
        self.hub.ok(self.setting(name, value, box), by or self.site)

    def setting(self, name: str = "db", value: str = CANARY, box: SecretBox = BOX) -> c.SetSecret:
        shut = box.shut(self.project, name, value)
        return c.SetSecret(project_id=self.project, name=name, key_id=shut.key_id, content=shut.content)

    def delete(self, name: str = "db") -> c.DeleteSecret:
        return c.DeleteSecret(project_id=self.project, name=name)

    def wants(self, **secrets: str) -> c.CreateWorkload:
        spec = v.WorkloadSpec(kind="job", image="local/sh", secrets=secrets)
        return c.CreateWorkload(project_id=self.project, name="w", where="hub", spec=spec)

    def reason(self, ident: Id) -> tuple[str, str, str]:
        workload = self.workload(ident)
        return workload.state, workload.reason, workload.detail

    def events(self) -> list[tuple[str, object]]:
        found = sorted(self.hub.rows(r.Event, "stream_id = %s", self.project), key=lambda one: one.seq)
        return [(one.kind, json.loads(one.facts_json).get("name")) for one in found if one.kind.startswith("secret")]


@pytest.fixture
def yard(hub: Hub) -> Keeping:
    return Keeping(hub)


def test_a_workload_gets_it_and_no_table_command_or_log_line_has_it(
    yard: Keeping, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sent: list[str] = [encode(yard.hub.envelope(yard.setting()))]
    yard.set()
    ident = yard.create(secrets={"PASSWORD": "db"}, environment={"A": "b"})
    yard.reconciler.turn()
    sent += map(encode, yard.sent)
    assert '"PASSWORD":"db"' in sent[-1].replace(" ", "")
    yard.turn()
    spec = yard.cluster.there[yard.cluster.only()].spec
    assert spec.secrets == {"PASSWORD": CANARY}
    assert CANARY not in repr(spec.environment)
    yard.cluster.runs(yard.cluster.only())
    yard.settle()
    for kind in r.RECORDS:
        assert CANARY.encode() not in b"".join(repr(row).encode() for row in yard.hub.rows(kind))
    assert not any(CANARY in text for text in sent)
    assert CANARY not in caplog.text
    assert CANARY not in repr([BOX, yard.hub.heard])
    assert json.loads(yard.workload(ident).spec_json)["secrets"] == {"PASSWORD": "db"}
    assert yard.events() == [("secret_set", "db")]


def test_what_is_not_set_is_refused_when_it_is_asked_for(yard: Keeping) -> None:
    assert yard.hub.refused(yard.wants(P="db"), yard.site) == (422, "impossible")
    yard.set()
    assert yard.hub.refused(yard.wants(P="db", Q="other"), yard.site) == (422, "impossible")
    yard.hub.ok(yard.wants(P="db", Q="db"), yard.site)


@pytest.mark.parametrize(
    ("variable", "environment"), [("A", {"A": "b"}), ("FEDYARD_X", {}), ("SITE_ENROLMENT_TOKEN", {})]
)
def test_a_variable_is_named_once_and_none_of_ours(yard: Keeping, variable: str, environment: dict[str, str]) -> None:
    yard.set()
    command = yard.wants(**{variable: "db"})
    spec = msgspec.structs.replace(command.spec, environment=environment)
    assert yard.hub.refused(msgspec.structs.replace(command, spec=spec), yard.site) == (422, "impossible")


def test_what_lacks_one_waits_says_so_and_is_begun_when_it_is_set(yard: Keeping) -> None:
    """Of a task's workloads nobody has looked before; or the hub has another key since."""
    yard.set(box=SecretBox(bytes(31) + b"x"))
    ident = yard.create(secrets={"P": "db"})
    yard.turn()
    state, reason, detail = yard.reason(ident)
    assert (state, reason) == ("wanted", Reason.SECRET_MISSING)
    assert "another key" in detail
    assert not yard.cluster.there
    yard.set(value="new")
    yard.later(20)
    yard.turn()
    assert yard.cluster.there[yard.cluster.only()].spec.secrets == {"P": "new"}
    yard.settle()
    assert yard.reason(ident)[:2] == ("starting", "")


def test_who_holds_a_seat_gets_it_beside_its_token(hub: Hub) -> None:
    held = Held(hub, count=1, secrets={"P": "db"})
    held.turn()
    held.turn()
    (workload,) = hub.rows(r.Workload)
    assert (workload.state, workload.reason) == ("wanted", Reason.SECRET_MISSING)
    shut = BOX.shut(held.project, "db", CANARY)
    setting = c.SetSecret(project_id=held.project, name="db", key_id=shut.key_id, content=shut.content)
    hub.ok(setting, held.site)
    held.later(20)
    held.turn()
    secrets = held.cluster.there[held.cluster.only()].spec.secrets
    assert secrets.keys() == {"P", ENROLMENT_TOKEN}
    assert secrets["P"] == CANARY


def test_one_that_is_gone_is_named(yard: Keeping) -> None:
    yard.set()
    ident = yard.create(secrets={"P": "db"})
    with yard.hub.database.connection():
        yard.hub.database.execute("DELETE FROM project_secrets")
    yard.turn()
    state, reason, detail = yard.reason(ident)
    assert (state, reason) == ("wanted", Reason.SECRET_MISSING)
    assert "db" in detail


def test_a_changed_one_is_for_attempts_that_begin_later(yard: Keeping) -> None:
    yard.set()
    first = yard.create(secrets={"P": "db"})
    yard.turn()
    yard.set(value="changed")
    second = yard.create(secrets={"P": "db"})
    yard.settle()
    given = {which.id: running.spec.secrets["P"] for which, running in yard.cluster.there.items()}
    assert given == {first: CANARY, second: "changed"}


def test_one_that_is_needed_is_not_deleted(yard: Keeping) -> None:
    yard.set()
    yard.set("other")
    ident = yard.create(secrets={"P": "db"})
    yard.hub.ok(yard.delete("other"), yard.site)
    assert yard.hub.refused(yard.delete(), yard.site) == (409, "secret_needed")
    yard.hub.ok(c.StopWorkload(workload_id=ident), yard.site)
    yard.hub.ok(yard.delete(), yard.site)
    assert yard.hub.refused(yard.delete(), yard.site) == (404, "not_found")
    assert yard.hub.refused(yard.wants(P="db"), yard.site) == (422, "impossible")
    assert {one.content for one in yard.hub.rows(r.ProjectSecret)} == {b""}
    assert yard.events()[-1] == ("secret_deleted", "db")
    yard.set()
    yard.hub.ok(yard.wants(P="db"), yard.site)


def test_they_go_with_their_project(yard: Keeping) -> None:
    yard.set()
    yard.hub.ok(c.ArchiveProject(project_id=yard.project), yard.site)
    assert yard.hub.rows(r.ProjectSecret) == []
    assert yard.hub.refused(yard.setting(), yard.site) == (409, "project_archived")


def test_the_coordinator_sets_them_and_a_hundred_at_most(yard: Keeping) -> None:
    hub = yard.hub
    people = hub.account(yard.site.organisation_id or "", "member")
    admin = hub.account(hub.organisation("operators"), "admin")
    member = hub.site("b")
    hub.ok(c.PutMember(project_id=yard.project, site_id=member.id), member)
    yard.set(by=people)
    for one in (admin, member):
        assert hub.refused(yard.setting(), one)[0] == 403
        assert hub.refused(yard.delete(), one)[0] == 403
    for number in range(1, MAX_SECRETS):
        yard.set(f"s{number}")
    assert hub.refused(yard.setting("more"), yard.site) == (409, "too_many")
    yard.set(value="again")
    hub.ok(yard.delete("s1"), yard.site)
    yard.set("more")


def test_the_doer_opens_with_the_hub_s_key_alone(yard: Keeping) -> None:
    yard.set()
    yard.create(secrets={"P": "db"})
    wanted = WantedWorkloads(yard.hub.database, bytes(32))
    other = SecretBox(bytes(31) + b"y")
    yard.doer = WorkloadDoer({"hub": yard.place}, wanted, yard.hub.clock, bytes(32), "http://hub", other)
    yard.turn()
    assert not yard.cluster.there


# the box


def test_what_is_shut_opens_in_its_place_with_its_key_alone() -> None:
    shut = BOX.shut(PLACE, "db", CANARY)
    assert BOX.open(PLACE, "db", shut) == CANARY
    assert BOX.shut(PLACE, "db", CANARY) != shut
    assert CANARY.encode() not in shut.content
    assert BOX.mark(PLACE, "db", CANARY) == BOX.mark(PLACE, "db", CANARY)
    other = SecretBox(b"k" * 32)
    assert other.mark(PLACE, "db", CANARY) != BOX.mark(PLACE, "db", CANARY)
    for box, place, name, content in (
        (other, PLACE, "db", shut),
        (other, PLACE, "db", Shut(other.key_id, shut.content)),
        (BOX, OTHER, "db", shut),
        (BOX, PLACE, "dc", shut),
        (BOX, PLACE, "db", Shut(shut.key_id, shut.content[:-1])),
        (BOX, PLACE, "db", Shut(shut.key_id, b"")),
    ):
        with pytest.raises(NotOpenedError):
            box.open(place, name, content)
