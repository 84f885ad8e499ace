"""Artifacts: declared within limits, completed when every chunk is there, kept as long as somebody needs them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from actors.deciding import decide_now
from actors.running import rules_of
from config.settings import Settings, SettingsError
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import sha256_hex
from domain.rules import Rules
from domain.states import Report
from domain.values import Subject
from fedyard.wire.chunks import CHUNK_BYTES
from fedyard.wire.notices import Notice
from fedyard.wire.times import SECOND
from storage.due import Due
from tests.hub import QUICK, Hub

KEEP_S = 2_592_000
UPLOAD_S = 604_800
DAY = 86_400 * SECOND


@dataclass
class Yard:
    """A project of a coordinator and two participants, and their artifacts."""

    hub: Hub
    sites: list[Subject]
    project: str

    def declaring(
        self, owner: Subject, kind: v.ArtifactKind = "result", size: int = 10, **more: Any
    ) -> c.DeclareArtifact:
        digests = b"".join(bytes([n % 255 + 1]) * 32 for n in range(-(-size // CHUNK_BYTES)))
        more.setdefault("digest", sha256_hex(digests))
        more.setdefault("chunk_digests", digests)
        more.setdefault("project_id", self.project)
        return c.DeclareArtifact(owner_site_id=owner.id, of_kind=kind, size_bytes=size, **more)

    def declare(self, owner: Subject, kind: v.ArtifactKind = "result", size: int = 10, **more: Any) -> str:
        return self.hub.ok(self.declaring(owner, kind, size, **more), owner)["id"]

    def complete(self, owner: Subject, artifact: str) -> dict[str, Any]:
        (row,) = self.hub.rows(r.ArtifactDeclaration, "artifact_id = %s", artifact)
        return self.hub.ok(c.CompleteArtifact(artifact_id=artifact, found=bytes(row.chunk_digests)), owner)

    def stored(self, owner: Subject, kind: v.ArtifactKind = "result", size: int = 10, **more: Any) -> str:
        artifact = self.declare(owner, kind, size, **more)
        self.complete(owner, artifact)
        return artifact

    def row(self, artifact: str) -> r.Artifact:
        return self.hub.rows(r.Artifact, "id = %s", artifact)[0]

    def used(self) -> tuple[int, int]:
        (total,) = self.hub.rows(r.ArtifactTotal)
        return total.live_bytes, total.live_count

    def tick(self, seconds: float = 0) -> list[str]:
        """What a ticker finds after so long, decided; the artifacts that expired."""
        self.hub.clock.micros += int(seconds * SECOND)
        now = self.hub.clock.now()
        with self.hub.database.connection():
            ids = Due(self.hub.database).expired_artifacts(now, now - KEEP_S * SECOND)
        return self.hub.ok(c.ExpireArtifacts(artifact_ids=ids))["expired"]

    def run(self) -> str:
        return self.hub.start(self.project, self.sites[0], finish_within_s=7_000_000)

    def round_to_submit(self, run: str) -> None:
        self.hub.ready_all(run, self.sites)

    def update(self, site: Subject, run: str, number: int = 1, **more: Any) -> str:
        return self.stored(site, "update", run_id=run, task_seq=1, round=number, **more)


@pytest.fixture
def yard(hub: Hub) -> Yard:
    sites = hub.sites(3)
    task = v.TaskSpec(name="train", model="m", rounds=2, contract=v.Contract(select_within_s=7e6, train_within_s=7e6))
    return Yard(hub, sites, hub.project(sites, tasks=[task]))


# declaring


def test_declaring_takes_room_and_says_what_is_needed(yard: Yard) -> None:
    size = 2 * CHUNK_BYTES + 1
    answer = yard.hub.ok(yard.declaring(yard.sites[1], size=size), yard.sites[1])
    assert answer == {"id": answer["id"], "state": "declared", "chunk_bytes": CHUNK_BYTES, "need": [0, 1, 2]}
    assert yard.used() == (size, 1)
    assert yard.row(answer["id"]).expires_at == yard.hub.clock.now() + UPLOAD_S * SECOND


def test_a_repeat_is_the_same_artifact(yard: Yard) -> None:
    command = yard.declaring(yard.sites[1])
    ids = {yard.hub.ok(command, yard.sites[1], key="mine")["id"] for _ in range(3)}
    assert len(ids) == 1
    assert yard.used() == (10, 1)


def test_nothing_is_an_artifact_too(yard: Yard) -> None:
    artifact = yard.stored(yard.sites[1], size=0)
    assert yard.row(artifact).digest == sha256_hex(b"")


@pytest.mark.parametrize(
    ("size", "more"),
    [
        (CHUNK_BYTES + 1, {"chunk_digests": bytes(32)}),
        (10, {"chunk_digests": b"x" * 31}),
        (10, {"chunk_digests": b""}),
        (10, {"digest": "0" * 64}),
        (0, {"chunk_digests": bytes(32)}),
    ],
)
def test_digests_that_do_not_belong_together_are_refused(yard: Yard, size: int, more: dict[str, Any]) -> None:
    command = yard.declaring(yard.sites[1], size=size, **more)
    assert yard.hub.refused(command, yard.sites[1]) == (422, "digest_mismatch")


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("update", {}),
        ("update", {"run_id": "run", "task_seq": 1}),
        ("model", {"run_id": "run"}),
        ("log", {"run_id": "run"}),
        ("result", {"task_seq": 1}),
        ("result", {"run_id": "run", "round": 1}),
        ("initial", {"round": 1}),
    ],
)
def test_each_kind_has_its_place(yard: Yard, kind: v.ArtifactKind, place: dict[str, Any]) -> None:
    run = yard.run()
    place = {name: run if value == "run" else value for name, value in place.items()}
    command = yard.declaring(yard.sites[0], kind, **place)
    assert yard.hub.refused(command, yard.sites[0]) == (422, "misplaced")


def test_models_and_initial_files_are_the_coordinators(yard: Yard) -> None:
    run = yard.run()
    for kind, place in (("initial", {}), ("model", {"run_id": run, "task_seq": 1, "round": 1})):
        assert yard.hub.refused(yard.declaring(yard.sites[1], kind, **place), yard.sites[1]) == (403, "forbidden")
        yard.declare(yard.sites[0], kind, **place)


def test_strangers_and_others_sites_are_refused(yard: Yard) -> None:
    stranger = yard.hub.site("stranger")
    assert yard.hub.refused(yard.declaring(stranger), stranger) == (404, "not_found")
    assert yard.hub.refused(yard.declaring(yard.sites[1]), stranger) == (404, "not_found")
    other = yard.hub.start(yard.hub.project([stranger], name="theirs"), stranger)
    command = yard.declaring(yard.sites[1], run_id=other)
    assert yard.hub.refused(command, yard.sites[1]) == (404, "not_found")


def test_a_finished_run_takes_results_but_no_updates(yard: Yard) -> None:
    run = yard.run()
    yard.hub.ok(c.StopRun(run_id=run), yard.sites[0])
    late = yard.declaring(yard.sites[1], "update", run_id=run, task_seq=1, round=1)
    assert yard.hub.refused(late, yard.sites[1]) == (409, "run_finished")
    yard.declare(yard.sites[1], "result", run_id=run)


def test_an_archived_project_takes_none(yard: Yard) -> None:
    yard.hub.ok(c.ArchiveProject(project_id=yard.project), yard.sites[0])
    assert yard.hub.refused(yard.declaring(yard.sites[1]), yard.sites[1]) == (409, "project_archived")


# limits


def ruled(hub: Hub, command: c.AnyCommand, by: Subject, rules: Rules) -> r.Outcome:
    return decide_now(hub.store, [hub.envelope(command, by)], hub.clock.now(), rules)[0]


@pytest.mark.parametrize("kind", get_args(v.ArtifactKind))
def test_an_artifact_has_its_kinds_limit(yard: Yard, kind: v.ArtifactKind) -> None:
    coordinator, depth = yard.sites[0], {"update": 3, "model": 3, "log": 2}.get(kind, 0)
    place = dict([("run_id", yard.run()), ("task_seq", 1), ("round", 1)][:depth])
    rules = Rules(**{f"artifact_limit_{one}_bytes": 100 if one == kind else 50 for one in get_args(v.ArtifactKind)})
    assert ruled(yard.hub, yard.declaring(coordinator, kind, 100, **place), coordinator, rules).status == 201
    refused = ruled(yard.hub, yard.declaring(coordinator, kind, 101, **place), coordinator, rules)
    problem = json.loads(refused.answer_json)
    assert (refused.status, problem["type"]) == (413, "/problems/too_large")
    assert f"kind {kind!r} has 101 bytes, this hub takes 100 of that kind at most; declare less" in problem["detail"]
    assert yard.used() == (100, 1)


def test_no_kinds_limit_is_above_that_of_all(yard: Yard) -> None:
    rules = Rules(artifact_limit_bytes=100, artifact_limit_result_bytes=200)
    assert ruled(yard.hub, yard.declaring(yard.sites[1], size=100), yard.sites[1], rules).status == 201
    assert ruled(yard.hub, yard.declaring(yard.sites[1], size=101), yard.sites[1], rules).status == 413


def test_the_limits_are_the_operators_choice() -> None:
    settings = Settings.read({"FEDYARD_ARTIFACT_LIMIT_LOG_BYTES": "7"})
    assert rules_of(settings).largest_artifact("log") == 7
    with pytest.raises(SettingsError, match="FEDYARD_ARTIFACT_LIMIT_LOG_BYTES"):
        Settings.read({"FEDYARD_ARTIFACT_LIMIT_LOG_BYTES": "0"})


def test_a_project_has_a_quota_that_deleting_gives_back(yard: Yard) -> None:
    rules = Rules(project_quota_bytes=100)
    first = json.loads(ruled(yard.hub, yard.declaring(yard.sites[1], size=60), yard.sites[1], rules).answer_json)["id"]
    refused = ruled(yard.hub, yard.declaring(yard.sites[2], size=41), yard.sites[2], rules)
    problem = json.loads(refused.answer_json)
    assert (refused.status, problem["type"]) == (409, "/problems/quota_exceeded")
    assert "60 bytes, 100 are allowed and 41" in problem["detail"]
    yard.hub.ok(c.DeleteArtifact(artifact_id=first), yard.sites[1])
    assert ruled(yard.hub, yard.declaring(yard.sites[2], size=100), yard.sites[2], rules).status == 201


def test_the_quota_holds_within_one_batch(yard: Yard) -> None:
    envelopes = [yard.hub.envelope(yard.declaring(site, size=60), site) for site in yard.sites]
    outcomes = decide_now(yard.hub.store, envelopes, yard.hub.clock.now(), Rules(project_quota_bytes=130))
    assert [outcome.status for outcome in outcomes] == [201, 201, 409]
    assert yard.used() == (120, 2)


# completing


def test_it_is_stored_when_every_chunk_was_found(yard: Yard) -> None:
    artifact = yard.declare(yard.sites[1], size=3 * CHUNK_BYTES)
    digests = bytes(yard.hub.rows(r.ArtifactDeclaration)[0].chunk_digests)
    owner = yard.sites[1]
    for found in (b"", bytes(96), digests[:64], digests[:32] + bytes(64), digests[:64] + b"x" * 32):
        command = c.CompleteArtifact(artifact_id=artifact, found=found)
        assert yard.hub.refused(command, owner) == (409, "chunks_missing")
    outcome = yard.hub.send(c.CompleteArtifact(artifact_id=artifact, found=digests[:32] + bytes(64)), owner)
    assert "2 of 3 chunks" in outcome.answer_json
    assert "1, 2;" in outcome.answer_json
    answer = yard.complete(owner, artifact)
    assert answer == {"id": artifact, "state": "stored", "digest": sha256_hex(digests)}
    assert yard.complete(owner, artifact) == answer
    (event,) = yard.hub.rows(r.Event, "kind = 'artifact_stored'")
    assert (json.loads(event.facts_json)["artifact_id"], event.site_id) == (artifact, owner.id)


def test_only_its_owner_completes_it(yard: Yard) -> None:
    artifact = yard.declare(yard.sites[1])
    for other in (yard.sites[0], yard.sites[2]):
        assert yard.hub.refused(c.CompleteArtifact(artifact_id=artifact, found=b""), other) == (404, "not_found")


# deleting


def test_owner_coordinator_and_admin_delete_and_nobody_else(yard: Yard) -> None:
    hub, (coordinator, owner, other) = yard.hub, yard.sites
    admin = hub.account(hub.organisation("operators"), "admin")
    for by in (owner, coordinator, admin):
        artifact = yard.stored(owner)
        assert hub.refused(c.DeleteArtifact(artifact_id=artifact), other) == (404, "not_found")
        assert hub.ok(c.DeleteArtifact(artifact_id=artifact), by) == {"id": artifact, "state": "expired"}
        assert hub.ok(c.DeleteArtifact(artifact_id=artifact), by)["state"] == "expired"
    assert yard.used() == (0, 0)
    assert hub.rows(r.ArtifactDeclaration) == []
    assert {json.loads(e.facts_json)["reason"] for e in hub.rows(r.Event, "kind = 'artifact_expired'")} == {"deleted"}


def test_what_expired_cannot_be_completed(yard: Yard) -> None:
    artifact = yard.declare(yard.sites[1])
    yard.hub.ok(c.DeleteArtifact(artifact_id=artifact), yard.sites[1])
    command = c.CompleteArtifact(artifact_id=artifact, found=b"")
    assert yard.hub.refused(command, yard.sites[1]) == (409, "artifact_expired")


# in runs


def test_an_update_lies_in_an_artifact(yard: Yard) -> None:
    run = yard.run()
    yard.round_to_submit(run)
    artifact = yard.update(yard.sites[1], run, size=CHUNK_BYTES + 5)
    yard.hub.report(run, yard.sites[1], Report.SUBMIT, update_artifact_id=artifact)
    (message,) = yard.hub.rows(r.Message)
    row = yard.row(artifact)
    assert (message.artifact_id, message.body, message.kind) == (artifact, None, "update")
    assert (message.size_bytes, message.sha256, row.message_id) == (CHUNK_BYTES + 5, row.digest, message.id)
    assert yard.hub.inbox(yard.sites[0])[-1].message_id == message.id


def test_an_artifact_counts_for_what_it_was_declared_for(yard: Yard) -> None:
    run = yard.run()
    yard.round_to_submit(run)
    one, other = yard.sites[1:]

    def submitting(site: Subject, artifact: str) -> c.ReportSeat:
        return yard.hub.reporting(run, site, Report.SUBMIT, update_artifact_id=artifact)

    unfinished = yard.declare(one, "update", run_id=run, task_seq=1, round=1)
    assert yard.hub.refused(submitting(one, unfinished), one) == (409, "artifact_not_stored")
    assert yard.hub.refused(submitting(other, yard.update(one, run)), other) == (404, "not_found")
    assert yard.hub.refused(submitting(one, yard.update(one, run, 2)), one) == (422, "misplaced")
    assert yard.hub.refused(submitting(one, yard.stored(one)), one) == (422, "misplaced")
    yard.hub.ok(c.DeleteArtifact(artifact_id=unfinished), one)
    assert yard.hub.refused(submitting(one, unfinished), one) == (409, "artifact_expired")
    assert yard.hub.seat(run, one).state == "training"


def modelled(yard: Yard, run: str, number: int) -> str:
    """A whole round whose updates travel inline, and whose model lies in an artifact."""
    yard.round_to_submit(run)
    yard.hub.submit_all(run, yard.sites)
    model = yard.stored(yard.sites[0], "model", run_id=run, task_seq=1, round=number)
    command = c.ReportAggregated(run_id=run, task_seq=1, round=number, model_artifact_id=model)
    yard.hub.ok(command, yard.sites[0])
    return model


def test_a_model_lies_in_an_artifact_and_every_seat_is_told(yard: Yard) -> None:
    run = yard.run()
    model = modelled(yard, run, 1)
    message = yard.row(model).message_id
    assert yard.hub.task(run).model_message_id == message
    for site in yard.sites:
        told = [entry for entry in yard.hub.inbox(site) if entry.kind == Notice.ROUND_COMPLETED]
        assert [entry.message_id for entry in told] == [message]


def test_a_message_may_lie_in_an_artifact(yard: Yard) -> None:
    artifact = yard.stored(yard.sites[1])
    new = c.NewMessage(project_id=yard.project, to="coordinator", kind="result", artifact_id=artifact)
    post = c.PostMessages(sender_site_id=yard.sites[1].id, messages=[new])
    sent = yard.hub.ok(post, yard.sites[1])["ids"][0]
    assert yard.row(artifact).message_id == sent
    theirs = c.PostMessages(sender_site_id=yard.sites[2].id, messages=[new])
    assert yard.hub.refused(theirs, yard.sites[2]) == (404, "not_found")
    empty = c.NewMessage(project_id=yard.project, to="coordinator")
    post = c.PostMessages(sender_site_id=yard.sites[1].id, messages=[empty])
    assert yard.hub.refused(post, yard.sites[1]) == (422, "no_payload")


# restarts from a model


def deleted(yard: Yard, artifact: str) -> str:
    yard.hub.ok(c.DeleteArtifact(artifact_id=artifact), yard.sites[0])
    return artifact


def test_no_restart_from_a_version_whose_artifact_is_gone(yard: Yard) -> None:
    run = yard.run()
    first, _ = modelled(yard, run, 1), modelled(yard, run, 2)
    deleted(yard, first)
    for start_from in ("reached", "start"):
        command = c.RestartRun(run_id=run, model_version=1, start_from=start_from)
        outcome = yard.hub.send(command, yard.sites[0])
        problem = json.loads(outcome.answer_json)
        assert (outcome.status, problem["type"]) == (409, "/problems/model_expired")
        assert f"model 1 of project {yard.project}, whose artifact {first} has expired (deleted)" in problem["detail"]
    yard.hub.ok(c.RestartRun(run_id=run, model_version=2, start_from="start"), yard.sites[0])


def test_no_restart_from_a_round_reached_whose_model_is_gone(yard: Yard) -> None:
    run = yard.run()
    model = modelled(yard, run, 1)
    yard.hub.ok(c.StopRun(run_id=run), yard.sites[0])
    deleted(yard, model)
    assert yard.hub.refused(c.RestartRun(run_id=run), yard.sites[0]) == (409, "model_expired")
    again = yard.hub.ok(c.RestartRun(run_id=run, start_from="start"), yard.sites[0])["id"]
    assert (yard.hub.task(again).round, yard.hub.task(again).model_message_id) == (1, None)


@pytest.mark.parametrize("whose", ["the carried task's last", "the carried task's first"])
def test_only_the_models_that_tasks_begin_with_are_asked_for(yard: Yard, whose: str) -> None:
    tasks = [v.TaskSpec(name=name, model="m", rounds=2, contract=QUICK) for name in ("one", "two")]
    run = yard.hub.start(yard.hub.project(yard.sites, name="two tasks", tasks=tasks), yard.sites[0])
    yard.project = yard.hub.run(run).project_id
    first, last = (modelled(yard, run, number) for number in (1, 2))
    assert yard.hub.task(run, 2).state == "active"
    yard.hub.ok(c.StopRun(run_id=run), yard.sites[0])
    deleted(yard, last if whose == "the carried task's last" else first)
    outcome = yard.hub.send(c.RestartRun(run_id=run), yard.sites[0])
    assert outcome.status == (409 if whose == "the carried task's last" else 201)


def test_a_model_that_travelled_inline_outlives_its_message(yard: Yard) -> None:
    run = yard.run()
    yard.hub.whole_round(run, yard.sites, 1)
    yard.hub.ok(c.StopRun(run_id=run), yard.sites[0])
    message = yard.hub.rows(r.Model)[0].message_id
    yard.hub.clock.micros = yard.hub.rows(r.Message, "id = %s", message)[0].expires_at + DAY
    yard.hub.ok(c.ExpireMessages(message_ids=[message]))
    yard.hub.clock.micros += int(Rules().keep_inbox_s * SECOND)
    yard.hub.ok(c.ForgetHistory())
    assert bytes(yard.hub.rows(r.Message, "id = %s", message)[0].body or b"") == b"model"
    yard.hub.ok(c.RestartRun(run_id=run, model_version=1), yard.sites[0])


@pytest.mark.parametrize("restarted_first", [True, False])
def test_a_batch_sees_what_it_deletes(yard: Yard, restarted_first: bool) -> None:
    run = yard.run()
    model = modelled(yard, run, 1)
    yard.hub.ok(c.StopRun(run_id=run), yard.sites[0])
    commands: list[c.AnyCommand] = [c.RestartRun(run_id=run, model_version=1), c.DeleteArtifact(artifact_id=model)]
    envelopes = [yard.hub.envelope(one, yard.sites[0]) for one in commands[:: 1 if restarted_first else -1]]
    outcomes = decide_now(yard.hub.store, envelopes, yard.hub.clock.now())
    assert [outcome.status for outcome in outcomes] == ([201, 409] if restarted_first else [200, 409])


# retention


def test_an_upload_that_was_not_completed_expires(yard: Yard) -> None:
    artifact = yard.declare(yard.sites[1])
    assert yard.tick(UPLOAD_S - 1) == []
    assert yard.tick(1) == [artifact]
    assert yard.row(artifact).reason == "not completed in time"
    assert yard.used() == (0, 0)
    assert yard.tick() == []


def test_without_a_run_it_is_kept_since_it_was_stored(yard: Yard) -> None:
    artifact = yard.stored(yard.sites[1])
    assert yard.tick(KEEP_S - 1) == []
    assert yard.tick(1) == [artifact]


def test_its_owner_may_want_it_kept_for_less_or_more(yard: Yard) -> None:
    short, long = yard.stored(yard.sites[1], ttl_s=59.5), yard.stored(yard.sites[1], ttl_s=2 * KEEP_S)
    assert yard.tick(59) == []
    assert yard.tick(1) == [short]
    assert yard.tick(KEEP_S) == []
    assert yard.tick(KEEP_S) == [long]


def test_what_belongs_to_a_run_is_kept_after_its_end(yard: Yard) -> None:
    run = yard.run()
    artifact = yard.stored(yard.sites[1], run_id=run)
    assert yard.tick(2 * KEEP_S) == []
    yard.hub.ok(c.StopRun(run_id=run), yard.sites[0])
    assert yard.tick(KEEP_S - 1) == []
    assert yard.tick(1) == [artifact]


def test_a_global_model_is_kept_while_its_project_lives(yard: Yard) -> None:
    run = yard.run()
    models = [modelled(yard, run, 1), modelled(yard, run, 2)]
    unreported = yard.stored(yard.sites[0], "result", run_id=run)
    assert yard.hub.run(run).state == "succeeded"
    assert yard.tick(2 * KEEP_S) == [unreported]
    yard.hub.ok(c.ArchiveProject(project_id=yard.project), yard.sites[0])
    assert sorted(yard.tick()) == sorted(models)


def test_an_initial_file_is_needed_while_a_run_of_its_project_lives(yard: Yard) -> None:
    initial = yard.stored(yard.sites[0], "initial")
    run = yard.run()
    assert yard.tick(2 * KEEP_S) == []
    assert yard.hub.refused(c.DeleteArtifact(artifact_id=initial), yard.sites[0]) == (409, "artifact_needed")
    yard.hub.ok(c.StopRun(run_id=run), yard.sites[0])
    assert yard.tick() == [initial]


def test_a_live_runs_newest_model_and_its_rounds_updates_are_needed(yard: Yard) -> None:
    run, coordinator = yard.run(), yard.sites[0]
    yard.round_to_submit(run)
    update = yard.update(yard.sites[1], run)
    assert yard.hub.refused(c.DeleteArtifact(artifact_id=update), coordinator) == (409, "artifact_needed")
    yard.hub.report(run, yard.sites[1], Report.SUBMIT, update_artifact_id=update)
    yard.hub.submit_all(run, [coordinator, yard.sites[2]])
    model = yard.stored(coordinator, "model", run_id=run, task_seq=1, round=1)
    assert yard.hub.refused(c.DeleteArtifact(artifact_id=model), coordinator) == (409, "artifact_needed")
    command = c.ReportAggregated(run_id=run, task_seq=1, round=1, model_artifact_id=model)
    yard.hub.ok(command, coordinator)
    assert yard.hub.refused(c.DeleteArtifact(artifact_id=model), coordinator) == (409, "artifact_needed")
    yard.hub.ok(c.DeleteArtifact(artifact_id=update), coordinator)
    yard.hub.ok(c.StopRun(run_id=run), coordinator)
    yard.hub.ok(c.DeleteArtifact(artifact_id=model), coordinator)


def test_a_model_that_is_also_sent_as_a_message_stays_needed(yard: Yard) -> None:
    run, coordinator = yard.run(), yard.sites[0]
    model = modelled(yard, run, 1)
    reported = yard.row(model).message_id
    new = c.NewMessage(project_id=yard.project, to="participants", kind="result", run_id=run, artifact_id=model)
    yard.hub.ok(c.PostMessages(sender_site_id=coordinator.id, messages=[new]), coordinator)
    assert yard.row(model).message_id == reported
    assert yard.hub.refused(c.DeleteArtifact(artifact_id=model), coordinator) == (409, "artifact_needed")


def test_a_restart_needs_the_model_that_it_begins_with(yard: Yard) -> None:
    coordinator = yard.sites[0]
    first = yard.run()
    model = modelled(yard, first, 1)
    restart, delete = c.RestartRun(run_id=first, finish_within_s=7e6), c.DeleteArtifact(artifact_id=model)
    envelopes = [yard.hub.envelope(command, coordinator) for command in (restart, delete)]
    outcomes = decide_now(yard.hub.store, envelopes, yard.hub.clock.now())
    assert [outcome.status for outcome in outcomes] == [201, 409], "also where both are decided in one batch"
    assert yard.tick(3 * KEEP_S) == []


def test_the_ticker_is_not_believed(yard: Yard) -> None:
    artifact = yard.stored(yard.sites[1])
    assert yard.hub.ok(c.ExpireArtifacts(artifact_ids=[artifact])) == {"expired": []}
    assert yard.hub.refused(c.ExpireArtifacts(artifact_ids=[artifact]), yard.sites[1]) == (403, "forbidden")
