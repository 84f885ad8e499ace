"""A job's files: found when it is asked for, by whoever may read them; left by its newest attempt, once each."""

from __future__ import annotations

from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import Id, sha256_hex
from domain.values import Subject
from domain.workload_files import kept_of, output_id
from domain.workloads import files_token_of, flaw_of
from fedyard.cluster.conventions import FILES_TOKEN
from fedyard.cluster.port import InputFile, Reason
from fedyard.wire.chunks import CHUNK_BYTES, count_of
from tests.actors.test_artifacts import Yard as Artifacts
from tests.actors.test_workloads import Yard
from tests.hub import Hub

Refusal = tuple[int, str]


class Filed(Yard):
    """With two members, and what they have uploaded."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.other, self.third = hub.site("b"), hub.site("c")
        self.project = hub.project([self.site, self.other, self.third])
        self.artifacts = Artifacts(hub, [self.site, self.other, self.third], self.project)

    def change(self, sql: str, *values: object) -> None:
        with self.hub.database.connection():
            self.hub.database.execute(sql, values)

    def asked(self, where: str = "hub", **spec: Any) -> c.CreateWorkload:
        """What is asked for is said as the API has it."""
        inputs = {name: v.WorkloadInput(**one) for name, one in spec.pop("inputs", {}).items()}
        outputs = {name: v.WorkloadOutput(**one) for name, one in spec.pop("outputs", {}).items()}
        said = v.WorkloadSpec(kind="job", image="local/sh", inputs=inputs, outputs=outputs, **spec)
        return c.CreateWorkload(project_id=self.project, name="w", where=where, spec=said)

    def begin(self, where: str = "hub", **spec: Any) -> Id:
        return self.hub.ok(self.asked(where, **spec), self.site)["id"]

    def declaring(self, ident: Id, name: str = "model", attempt: int = 1, size: int = 5, **more: Any) -> Any:
        digests = b"".join(bytes([n + 1]) * 32 for n in range(count_of(size)))
        said = {"owner_site_id": self.site.id, "project_id": self.project, "chunk_digests": digests, **more}
        return c.DeclareOutput(
            workload_id=ident,
            attempt=attempt,
            name=name,
            size_bytes=size,
            digest=sha256_hex(said["chunk_digests"]),
            **said,
        )

    def leave(self, ident: Id, name: str = "model", attempt: int = 1, by: Subject | None = None) -> Id:
        by = by or self.site
        command = self.declaring(ident, name, attempt, owner_site_id=by.id)
        artifact = self.hub.ok(command, by)["id"]
        self.hub.ok(self.completing(ident, artifact, name, attempt, command.chunk_digests), by)
        return str(artifact)

    def completing(self, ident: Id, artifact: Id, name: str, attempt: int, found: bytes) -> c.CompleteOutput:
        return c.CompleteOutput(workload_id=ident, attempt=attempt, name=name, artifact_id=artifact, found=found)


@pytest.fixture
def yard(hub: Hub) -> Filed:
    return Filed(hub)


def test_its_cluster_is_told_what_each_input_must_be_and_who_fetches_it_gets_a_token(yard: Filed) -> None:
    artifact = yard.artifacts.stored(yard.site, size=CHUNK_BYTES + 1)
    ident = yard.begin(inputs={"start": {"artifact_id": artifact}}, outputs={"model": {}, "x": {"required": False}})
    yard.turn()
    spec = yard.cluster.there[yard.cluster.only()].spec
    assert spec.files is not None
    assert spec.files.inputs == {"start": InputFile(yard.artifacts.row(artifact).digest, CHUNK_BYTES + 1)}
    assert spec.files.outputs == {"model": True, "x": False}
    assert spec.secrets == {FILES_TOKEN: files_token_of(bytes(32), ident, 1)}
    assert spec.environment["FEDYARD_HUB_URL"] == "http://hub"


def test_of_a_job_without_files_nobody_is_told_anything(yard: Filed) -> None:
    yard.begin()
    yard.turn()
    spec = yard.cluster.there[yard.cluster.only()].spec
    assert (spec.files, spec.secrets) == (None, {})


@pytest.mark.parametrize(
    ("owner", "kind", "where", "found"),
    [
        ("site", "result", "hub", True),
        ("other", "result", "hub", True),  # the coordinator reads what participants upload
        ("site", "initial", "other", True),
        ("site", "result", "other", False),
        ("other", "result", "other", True),
        ("third", "result", "other", False),
    ],
)
def test_whoever_fetches_it_must_be_one_who_may_read_it(
    yard: Filed, owner: str, kind: v.ArtifactKind, where: str, found: bool
) -> None:
    artifact = yard.artifacts.stored(getattr(yard, owner), kind)
    place = "hub" if where == "hub" else f"site:{getattr(yard, where).id}"
    command = yard.asked(place, inputs={"start": {"artifact_id": artifact}})
    if found:
        yard.hub.ok(command, yard.site)
    else:
        assert yard.hub.refused(command, yard.site) == (404, "not_found")


def test_to_run_the_network_is_not_to_read_its_artifacts(yard: Filed) -> None:
    artifact = yard.artifacts.stored(yard.site)
    admin = yard.hub.account(yard.hub.organisation("operators"), "admin")
    yard.hub.ok(yard.asked(), admin)
    command = yard.asked(inputs={"start": {"artifact_id": artifact}})
    assert yard.hub.refused(command, admin) == (404, "not_found")


def test_what_is_not_there_or_elsewhere_or_not_stored_is_no_input(yard: Filed) -> None:
    other = yard.hub.project([yard.site])
    elsewhere = yard.artifacts.stored(yard.site, project_id=other)
    declared = yard.artifacts.declare(yard.site)

    def refused(**one: Any) -> Refusal:
        return yard.hub.refused(yard.asked(inputs={"start": one}), yard.site)

    assert refused(artifact_id=elsewhere) == (404, "not_found")
    assert refused(artifact_id=yard.project) == (404, "not_found")
    assert refused(model_version=1) == (404, "not_found")
    assert refused(artifact_id=declared) == (409, "artifact_not_stored")
    assert refused() == (422, "impossible")
    assert refused(artifact_id=declared, model_version=1) == (422, "impossible")


def test_a_model_version_is_the_artifact_that_it_lies_in_unless_it_lies_in_a_message(yard: Filed) -> None:
    artifact = yard.artifacts.stored(yard.site)
    row = yard.artifacts.row(artifact)
    fields = {"project_id": yard.project, "run_id": None, "task_seq": None, "task": "", "round": 1, "message_id": None}
    made = {"digest": row.digest, "size_bytes": row.size_bytes, "metrics_json": "{}", "created_at": 1, "epoch": 1}
    for version, lies_in in ((1, artifact), (2, None)):
        model = r.Model(version=version, artifact_id=lies_in, **fields, **made)  # type: ignore[arg-type]
        names = r.Model.__struct_fields__
        sql = f"INSERT INTO models ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
        yard.change(sql, *(getattr(model, name) for name in names))
    ident = yard.begin(inputs={"start": {"model_version": 1}})
    assert kept_of(yard.workload(ident)).inputs["start"].artifact_id == artifact
    message = yard.asked(inputs={"start": {"model_version": 2}})
    assert yard.hub.refused(message, yard.site) == (422, "impossible")


def test_what_is_sealed_is_neither_found_nor_left(yard: Filed) -> None:
    artifact = yard.artifacts.stored(yard.site)
    yard.change("UPDATE artifact_declarations SET seal = %s WHERE artifact_id = %s", b"seal", artifact)
    sealed = yard.asked(inputs={"start": {"artifact_id": artifact}})
    assert yard.hub.refused(sealed, yard.site) == (422, "impossible")
    yard.change("UPDATE projects SET sealed = 'required' WHERE id = %s", yard.project)
    assert yard.hub.refused(yard.asked(outputs={"model": {}}), yard.site) == (422, "unsealed")
    yard.hub.ok(yard.asked(), yard.site)


def test_what_it_must_leave_is_there_when_it_has_succeeded_and_on_record(yard: Filed) -> None:
    ident = yard.begin(outputs={"model": {}, "start": {"kind": "initial"}, "perhaps": {"required": False}})
    yard.settle()
    model, start = yard.leave(ident), yard.leave(ident, "start")
    yard.cluster.ends(yard.cluster.only())
    yard.settle()
    assert yard.workload(ident).state == "succeeded"
    left = kept_of(yard.workload(ident)).outputs
    assert {name: (one.artifact_id, one.attempt) for name, one in left.items()} == {
        "model": (model, 1),
        "start": (start, 1),
    }
    assert all(one.stored_at is not None for one in left.values())
    rows = [yard.artifacts.row(one) for one in (model, start)]
    assert [(row.kind, row.owner_site_id, row.state) for row in rows] == [
        ("result", yard.site.id, "stored"),
        ("initial", yard.site.id, "stored"),
    ]


def test_who_says_that_it_has_succeeded_without_what_it_must_leave_is_not_believed(yard: Filed) -> None:
    ident = yard.begin(outputs={"model": {}, "perhaps": {"required": False}})
    yard.settle()
    yard.hub.ok(yard.declaring(ident), yard.site)
    yard.cluster.ends(yard.cluster.only())
    yard.settle()
    workload = yard.workload(ident)
    assert (workload.state, workload.reason) == ("failed", Reason.OUTPUTS_MISSING)
    assert "no model" in workload.detail
    assert not yard.cluster.there


def test_said_again_it_is_the_same_and_another_attempt_goes_on_with_it(yard: Filed) -> None:
    ident = yard.begin(outputs={"model": {}}, attempts=3)
    yard.settle()
    answers = [yard.hub.ok(yard.declaring(ident, size=CHUNK_BYTES + 1), yard.site) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["need"] == [0, 1]
    assert yard.artifacts.used()[1] == 1
    yard.cluster.ends(yard.cluster.only(), reason=Reason.NODE_LOST)
    yard.settle()
    assert yard.workload(ident).attempt == 2
    late = yard.declaring(ident, size=CHUNK_BYTES + 1)
    assert yard.hub.refused(late, yard.site) == (409, "workload_ended")
    again = yard.declaring(ident, size=CHUNK_BYTES + 1, attempt=2)
    assert yard.hub.ok(again, yard.site) == answers[0]
    found = again.chunk_digests
    done = yard.completing(ident, answers[0]["id"], "model", 2, found)
    yard.hub.ok(done, yard.site)
    yard.hub.ok(done, yard.site)
    assert yard.hub.ok(again, yard.site) == {**answers[0], "state": "stored", "need": []}
    other = yard.hub.ok(yard.declaring(ident, attempt=2), yard.site)
    assert other["id"] != answers[0]["id"]
    assert kept_of(yard.workload(ident)).outputs["model"].artifact_id == other["id"]


def test_what_has_expired_meanwhile_is_uploaded_anew(yard: Filed) -> None:
    ident = yard.begin(outputs={"model": {}})
    yard.settle()
    first = yard.hub.ok(yard.declaring(ident), yard.site)["id"]
    yard.hub.ok(c.DeleteArtifact(artifact_id=first), yard.site)
    second = yard.hub.ok(yard.declaring(ident), yard.site)
    assert (second["id"], second["state"]) == (output_id(ident, "model", yard.declaring(ident).digest, 1), "declared")


def test_nobody_leaves_anything_for_another_or_under_another_name(yard: Filed) -> None:
    ident = yard.begin(outputs={"model": {}})
    yard.settle()
    assert yard.hub.refused(yard.declaring(ident, "other"), yard.site) == (404, "not_found")
    assert yard.hub.refused(yard.declaring(ident, owner_site_id=yard.other.id), yard.other) == (404, "not_found")
    admin = yard.hub.account(yard.hub.organisation("operators"), "admin")
    assert yard.hub.refused(yard.declaring(ident), admin) == (404, "not_found")
    artifact = yard.artifacts.declare(yard.site)
    foreign = yard.completing(ident, artifact, "model", 1, bytes(32))
    assert yard.hub.refused(foreign, yard.site) == (404, "not_found")


def test_what_runs_at_a_site_leaves_what_is_that_sites(yard: Filed) -> None:
    here = f"site:{yard.other.id}"
    shared = yard.asked(here, outputs={"model": {"kind": "initial"}})
    assert yard.hub.refused(shared, yard.site) == (422, "impossible")
    ident = yard.begin(here, outputs={"model": {}})
    assert yard.hub.refused(yard.declaring(ident), yard.site) == (404, "not_found")
    artifact = yard.leave(ident, by=yard.other)
    assert yard.artifacts.row(artifact).owner_site_id == yard.other.id


def test_a_service_has_no_files() -> None:
    spec = v.WorkloadSpec(kind="service", image="i", port=80, outputs={"model": v.WorkloadOutput()})
    assert "service" in (flaw_of(spec) or "")
