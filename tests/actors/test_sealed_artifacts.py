"""Artifacts of a project that takes sealed payloads alone: declared with their seal, carried with it."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import Id
from domain.states import Report
from domain.values import Subject
from tests.actors.test_sealing import Yard
from tests.hub import Hub
from tests.seals import ciphertext

PLAIN = b"a large payload"
BODY = ciphertext(PLAIN)
DIGESTS = sha256(BODY).digest()


@pytest.fixture
def yard(hub: Hub) -> Yard:
    return Yard(hub)


def declaring(yard: Yard, owner: Subject, kind: v.ArtifactKind, seal: bytes | None, **more: Any) -> c.DeclareArtifact:
    more = {"run_id": yard.run, "task_seq": 1, "round": 1, **more}
    return c.DeclareArtifact(
        owner_site_id=owner.id,
        project_id=yard.project,
        of_kind=kind,
        size_bytes=len(BODY),
        digest=sha256(DIGESTS).hexdigest(),
        chunk_digests=DIGESTS,
        seal=seal,
        **more,
    )


def stored(yard: Yard, owner: Subject, kind: v.ArtifactKind, seal: bytes, **more: Any) -> Id:
    artifact = yard.hub.ok(declaring(yard, owner, kind, seal, **more), owner)["id"]
    yard.hub.ok(c.CompleteArtifact(artifact_id=artifact, found=DIGESTS), owner)
    return artifact


def update_seal(yard: Yard, **more: Any) -> bytes:
    return yard.update(plain=PLAIN, detached=True, **more)


def test_an_update_and_a_model_are_sealed_into_artifacts(yard: Yard) -> None:
    for site in yard.members:
        seal = update_seal(yard, sender=site)
        artifact = stored(yard, site, "update", seal)
        yard.hub.report(yard.run, site, Report.SUBMIT, update=seal, update_artifact_id=artifact)
    seal = yard.model(plain=PLAIN, detached=True)
    model = stored(yard, yard.coordinator, "model", seal)
    command = c.ReportAggregated(run_id=yard.run, task_seq=1, round=1, model=seal, model_artifact_id=model)
    yard.hub.ok(command, yard.coordinator)
    (message,) = yard.hub.rows(r.Message, "kind = 'model'")
    assert (bytes(message.body), message.artifact_id, message.size_bytes) == (seal, model, len(BODY))
    (version,) = yard.hub.rows(r.Model)
    assert (version.artifact_id, version.digest) == (model, sha256(DIGESTS).hexdigest())


def test_without_its_seal_an_artifact_is_refused(yard: Yard) -> None:
    assert yard.hub.refused(declaring(yard, yard.one, "update", None), yard.one) == (422, "unsealed")
    assert yard.hub.refused(declaring(yard, yard.one, "update", b"rubbish"), yard.one) == (422, "unsealed")
    artifact = stored(yard, yard.one, "update", update_seal(yard))
    bare = yard.hub.reporting(yard.run, yard.one, Report.SUBMIT, update_artifact_id=artifact)
    assert yard.hub.refused(bare, yard.one) == (422, "unsealed")


@pytest.mark.parametrize(
    ("fields", "slug"),
    [
        ({"round": 2}, "seal_readdressed"),
        ({"kind": "result"}, "seal_readdressed"),
        ({"plain": b"another"}, "seal_mismatch"),
        ({"detached": False}, "seal_mismatch"),
    ],
)
def test_a_seal_of_something_else_is_refused(yard: Yard, fields: dict[str, Any], slug: str) -> None:
    seal = yard.update(**{"plain": PLAIN, "detached": True, **fields})
    assert yard.hub.refused(declaring(yard, yard.one, "update", seal), yard.one) == (422, slug)


def test_an_update_is_not_for_other_participants(yard: Yard) -> None:
    seal = update_seal(yard, readers=[yard.coordinator.id, yard.two.id])
    assert yard.hub.refused(declaring(yard, yard.one, "update", seal), yard.one) == (422, "seal_readdressed")


def test_a_key_that_is_revoked_meanwhile_is_noticed_when_it_is_used(yard: Yard) -> None:
    seal = update_seal(yard)
    artifact = stored(yard, yard.one, "update", seal)
    yard.hub.ok(c.RevokeSiteKey(site_id=yard.coordinator.id, epoch=1), yard.coordinator)
    report = yard.hub.reporting(yard.run, yard.one, Report.SUBMIT, update=seal, update_artifact_id=artifact)
    assert yard.hub.refused(report, yard.one) == (409, "key_unusable")


def test_the_coordinator_sends_a_sealed_result_to_some(yard: Yard) -> None:
    seal = yard.message(yard.coordinator, [yard.one.id], plain=PLAIN, detached=True, kind="result")
    nowhere = {"run_id": None, "task_seq": None, "round": None}
    artifact = stored(yard, yard.coordinator, "result", seal, **nowhere)
    yard.hub.ok(
        yard.posting(yard.coordinator, [yard.one.id], seal, kind="result", artifact_id=artifact), yard.coordinator
    )
    command = yard.posting(yard.coordinator, [yard.two.id], seal, kind="result", artifact_id=artifact)
    assert yard.hub.refused(command, yard.coordinator) == (422, "seal_readdressed")


def test_where_sealing_is_optional_a_seal_is_a_seal_all_the_same(hub: Hub) -> None:
    yard = Yard(hub, sealed="optional")
    yard.hub.ok(declaring(yard, yard.one, "update", None), yard.one)
    refused = yard.hub.send(declaring(yard, yard.one, "update", b"rubbish"), yard.one)
    assert (refused.status, json.loads(refused.answer_json)["type"]) == (422, "/problems/seal_malformed")
