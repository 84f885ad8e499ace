"""The hub's check of sealed payloads: what passes, and a named test for everything that is refused."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import Id, derive, sha256_hex
from domain.states import Report
from domain.values import Subject
from fedyard.wire.seals import read_seal
from fedyard.wire.times import SECOND
from tests.hub import Hub
from tests.seals import assembled, ciphertext, header_of, sealed

Readers = Mapping[Id, int] | Collection[Id]


class Yard:
    """A project that takes sealed payloads alone, and its sites, each with a key; a run whose seats are ready."""

    def __init__(self, hub: Hub, **options: Any) -> None:
        self.hub = hub
        self.sites = hub.sites(4)
        self.coordinator, self.one, self.two, self.outsider = self.sites
        self.members = self.sites[:3]
        for site in self.sites:
            hub.ok(hub.key(site), site)
        self.project = hub.project(self.members, **{"sealed": "required", **options})
        self.run = hub.start(self.project, self.coordinator)
        hub.ready_all(self.run, self.members)

    # payloads as a good site would make them

    def message(self, sender: Subject, readers: Readers, **fields: Any) -> bytes:
        return sealed(sender=sender.id, recipients=readers, project=self.project, **fields)

    def of_run(self, sender: Subject, readers: Readers, kind: str, **fields: Any) -> bytes:
        return self.message(sender, readers, **{"run": self.run, "task": 1, "round": 1, "kind": kind, **fields})

    def update(self, **fields: Any) -> bytes:
        fields = {"sender": self.one, "readers": [self.coordinator.id], "kind": "update", **fields}
        return self.of_run(**fields)

    def model(self, **fields: Any) -> bytes:
        readers = [site.id for site in self.members]
        return self.of_run(**{"sender": self.coordinator, "readers": readers, "kind": "model", **fields})

    # and how they are brought

    def posting(self, sender: Subject, to: Any, body: bytes, **more: Any) -> c.PostMessages:
        message = c.NewMessage(project_id=self.project, to=to, body=body, **more)
        return c.PostMessages(sender_site_id=sender.id, messages=[message])

    def submitting(self, update: bytes | None) -> c.ReportSeat:
        return self.hub.reporting(self.run, self.one, Report.SUBMIT, update=update)

    def aggregating(self, model: bytes | None) -> c.ReportAggregated:
        return c.ReportAggregated(run_id=self.run, task_seq=1, round=1, model=model)

    def submit_all(self) -> None:
        for site in self.members:
            update = self.update(sender=site)
            self.hub.report(self.run, site, Report.SUBMIT, update=update)

    def refuses(self, update: bytes) -> tuple[int, str]:
        return self.hub.refused(self.submitting(update), self.one)

    def detail(self, command: c.AnyCommand, by: Subject) -> str:
        return str(json.loads(self.hub.send(command, by).answer_json)["detail"])


@pytest.fixture
def yard(hub: Hub) -> Yard:
    return Yard(hub)


# what passes


def test_a_sealed_run_goes_through(yard: Yard) -> None:
    yard.submit_all()
    yard.hub.ok(yard.aggregating(yard.model()), yard.coordinator)
    kinds = [message.kind for message in yard.hub.rows(r.Message, "1 = 1 ORDER BY sent_at")]
    assert kinds == ["update"] * 3 + ["model"]
    (stored,) = yard.hub.rows(r.Message, "kind = 'model'")
    assert bytes(stored.body) == yard.model()
    assert stored.sha256 == sha256_hex(yard.model())


def test_messages_are_sealed_to_whom_they_go(yard: Yard) -> None:
    up = yard.message(yard.one, [yard.coordinator.id])
    yard.hub.ok(yard.posting(yard.one, "coordinator", up), yard.one)
    down = yard.message(yard.coordinator, [yard.one.id, yard.two.id])
    yard.hub.ok(yard.posting(yard.coordinator, "participants", down), yard.coordinator)
    some = yard.message(yard.coordinator, [yard.two.id], kind="greeting", run=yard.run)
    yard.hub.ok(yard.posting(yard.coordinator, [yard.two.id], some, kind="greeting", run_id=yard.run), yard.coordinator)


def test_an_update_may_be_for_its_sender_too(yard: Yard) -> None:
    yard.hub.ok(yard.submitting(yard.update(readers=[yard.coordinator.id, yard.one.id])), yard.one)


def test_a_report_without_a_payload_needs_no_seal(yard: Yard) -> None:
    yard.hub.ok(yard.submitting(None), yard.one)


def test_a_member_who_acts_for_its_site_brings_what_the_site_sealed(yard: Yard) -> None:
    member = yard.hub.account(yard.one.organisation_id or "", "member")
    yard.hub.ok(yard.submitting(yard.update()), member)


def test_where_sealing_is_optional_anything_passes_but_a_bad_seal(hub: Hub) -> None:
    yard = Yard(hub, sealed="optional")
    hub.ok(yard.posting(yard.one, "coordinator", b"plain"), yard.one)
    assert yard.refuses(b"FYS1\1\1 is no seal") == (422, "seal_malformed")
    assert yard.refuses(yard.update(kind="result")) == (422, "seal_readdressed")
    hub.ok(yard.submitting(yard.update()), yard.one)


def test_a_superseded_epoch_passes_within_its_grace_and_rotation_loses_nothing(yard: Yard) -> None:
    sealed_before = yard.update()
    yard.hub.ok(yard.hub.key(yard.coordinator, 2, grace_s=60), yard.coordinator)
    yard.hub.clock.micros += 59 * SECOND
    yard.hub.ok(yard.submitting(sealed_before), yard.one)
    yard.hub.clock.micros += 2 * SECOND
    late = yard.message(yard.one, [yard.coordinator.id])
    assert yard.hub.refused(yard.posting(yard.one, "coordinator", late), yard.one) == (409, "key_unusable")
    anew = yard.message(yard.one, {yard.coordinator.id: 2})
    yard.hub.ok(yard.posting(yard.one, "coordinator", anew), yard.one)


def test_a_model_needs_not_be_for_seats_that_are_out_or_cannot_be_sealed_to(hub: Hub) -> None:
    yard = Yard(hub, tasks=[v.TaskSpec(name="train", model="m", contract=v.Contract(quorum=0.3))])
    hub.report(yard.run, yard.two, Report.FAIL)
    for site in (yard.coordinator, yard.one):
        hub.report(yard.run, site, Report.SUBMIT, update=yard.update(sender=site))
    hub.ok(c.RevokeSiteKey(site_id=yard.one.id, epoch=1), yard.one)
    hub.ok(yard.aggregating(yard.model(readers=[yard.coordinator.id])), yard.coordinator)


# what is refused


def test_an_unsealed_payload_is_refused(yard: Yard) -> None:
    assert yard.hub.refused(yard.posting(yard.one, "coordinator", b"plain"), yard.one) == (422, "unsealed")
    assert yard.refuses(b"plain") == (422, "unsealed")
    assert yard.refuses(b"") == (422, "unsealed")
    yard.submit_all()
    assert yard.hub.refused(yard.aggregating(b"plain"), yard.coordinator) == (422, "unsealed")


def test_nothing_of_a_refused_payload_is_quoted(yard: Yard) -> None:
    assert "s3cret" not in yard.detail(yard.submitting(b"s3cret"), yard.one)
    assert "s3cret" not in yard.detail(yard.submitting(b"FYS1\1\1\0\0\0\6s3cret" + bytes(66)), yard.one)


def test_a_malformed_seal_is_refused(yard: Yard) -> None:
    assert yard.refuses(yard.update()[:-1500]) == (422, "seal_malformed")


@pytest.mark.parametrize("change", [{"version": 2}, {"suite": 2}])
def test_a_downgraded_or_unknown_seal_is_refused(yard: Yard, change: dict[str, int]) -> None:
    header = read_seal(yard.update()).header
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    fields["recipients"] = [{"site": one.site, "epoch": one.epoch} for one in header.recipients]
    assert yard.refuses(assembled(fields, ciphertext(b"payload"), **change)) == (422, "seal_unsupported")


@pytest.mark.parametrize(
    "change",
    [
        {"sender": derive("another site")},
        {"project": derive("another project")},
        {"run": derive("another run")},
        {"run": None},
        {"task": 2},
        {"task": None},
        {"round": 2},
        {"round": None},
        {"kind": "model"},
        {"identity": sha256_hex(b"another identity")},
    ],
)
def test_a_header_that_was_made_for_another_place_is_refused(yard: Yard, change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {
        "sender": yard.one.id,
        "recipients": [yard.coordinator.id],
        "project": yard.project,
        "run": yard.run,
        "task": 1,
        "round": 1,
        "kind": "update",
    }
    assert yard.refuses(sealed(**{**fields, **change})) == (422, "seal_readdressed")
    assert yard.refuses(sealed(**fields) + b"x") == (422, "seal_mismatch")
    yard.hub.ok(yard.submitting(sealed(**fields)), yard.one)


def test_an_update_of_another_site_is_refused(yard: Yard) -> None:
    assert yard.refuses(yard.update(sender=yard.two)) == (422, "seal_readdressed")


def test_an_update_that_another_participant_could_open_is_refused(yard: Yard) -> None:
    assert yard.refuses(yard.update(readers=[yard.coordinator.id, yard.two.id])) == (422, "seal_readdressed")


def test_an_update_that_the_coordinator_could_not_open_is_refused(yard: Yard) -> None:
    assert yard.refuses(yard.update(readers=[yard.one.id])) == (422, "seal_readdressed")


def test_a_message_for_others_than_its_recipients_is_refused(yard: Yard) -> None:
    for readers in ([yard.one.id], [yard.one.id, yard.two.id, yard.coordinator.id]):
        body = yard.message(yard.coordinator, readers)
        command = yard.posting(yard.coordinator, "participants", body)
        assert yard.hub.refused(command, yard.coordinator) == (422, "seal_readdressed")


def test_a_model_that_a_live_seat_could_not_open_is_refused(yard: Yard) -> None:
    yard.submit_all()
    model = yard.model(readers=[yard.coordinator.id, yard.one.id])
    assert yard.hub.refused(yard.aggregating(model), yard.coordinator) == (422, "seal_readdressed")


def test_a_model_for_an_outsider_is_refused(yard: Yard) -> None:
    yard.submit_all()
    model = yard.model(readers=[site.id for site in yard.sites])
    assert yard.hub.refused(yard.aggregating(model), yard.coordinator) == (422, "seal_readdressed")


def test_a_message_sealed_in_a_run_is_not_taken_outside_of_it(yard: Yard) -> None:
    body = yard.message(yard.one, [yard.coordinator.id], run=yard.run)
    assert yard.hub.refused(yard.posting(yard.one, "coordinator", body), yard.one) == (422, "seal_readdressed")
    plain = yard.message(yard.one, [yard.coordinator.id])
    command = yard.posting(yard.one, "coordinator", plain, run_id=yard.run)
    assert yard.hub.refused(command, yard.one) == (422, "seal_readdressed")


def test_an_unknown_epoch_is_refused_and_named(yard: Yard) -> None:
    command = yard.submitting(yard.update(readers={yard.coordinator.id: 7}))
    assert yard.hub.refused(command, yard.one) == (409, "key_unusable")
    assert f"epoch 7 of site {yard.coordinator.id} is unknown" in yard.detail(command, yard.one)


def test_a_revoked_key_is_refused_at_once(yard: Yard) -> None:
    update = yard.update()
    yard.hub.ok(c.RevokeSiteKey(site_id=yard.coordinator.id, epoch=1), yard.coordinator)
    assert yard.refuses(update) == (409, "key_unusable")


def test_an_expired_seal_is_refused(yard: Yard) -> None:
    now = yard.hub.clock.now()
    assert yard.refuses(yard.update(created=now - 9, expires=now)) == (409, "seal_expired")


def test_a_missing_wrap_is_refused(yard: Yard) -> None:
    header = header_of(
        b"payload",
        sender=yard.one.id,
        recipients=[yard.coordinator.id, yard.one.id],
        project=yard.project,
        run=yard.run,
        task=1,
        round=1,
        kind="update",
    )
    for wraps in ([], [0], [1]):
        assert yard.refuses(assembled(header, ciphertext(b"payload"), wraps=wraps)) == (422, "seal_malformed")


@pytest.mark.parametrize("body", [ciphertext(b"payload")[:-1], ciphertext(b"payloaD"), ciphertext(b"payload") + b"x"])
def test_a_body_that_is_not_the_sealed_one_is_refused(yard: Yard, body: bytes) -> None:
    seal = yard.update(detached=True)
    assert yard.refuses(seal + body) == (422, "seal_mismatch")


def test_a_seal_without_its_body_is_refused(yard: Yard) -> None:
    assert yard.refuses(yard.update(detached=True)) == (422, "seal_mismatch")


def test_a_refused_report_does_not_use_up_its_number(yard: Yard) -> None:
    yard.refuses(b"plain")
    assert yard.hub.ok(yard.submitting(yard.update()), yard.one)["state"] == "submitted"


# the project's word on it


def test_a_project_wants_sealed_payloads_unless_it_says_otherwise(hub: Hub) -> None:
    sites = hub.sites(1)
    task = v.TaskSpec(name="train", model="m")
    made = hub.ok(c.CreateProject(coordinator_site_id=sites[0].id, name="p", tasks=[task]), sites[0])["id"]
    assert hub.rows(r.Project, "id = %s", made)[0].sealed == "required"


def test_whether_payloads_are_sealed_changes_between_runs_only(yard: Yard) -> None:
    change = c.UpdateProject(project_id=yard.project, sealed="optional")
    assert yard.hub.refused(change, yard.coordinator) == (409, "run_live")
    yard.hub.ok(c.UpdateProject(project_id=yard.project, sealed="required", description="x"), yard.coordinator)
    yard.hub.ok(c.StopRun(run_id=yard.run), yard.coordinator)
    yard.hub.ok(change, yard.coordinator)
    assert yard.hub.rows(r.Project)[0].sealed == "optional"
    facts = json.loads(yard.hub.rows(r.Event, "kind = 'project_updated' ORDER BY seq DESC")[0].facts_json)
    assert facts == {"fields": ["sealed"], "sealed": "optional"}
    yard.hub.ok(yard.posting(yard.one, "coordinator", b"plain"), yard.one)
