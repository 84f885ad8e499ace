"""The sweeper makes the store of chunks agree with the records, whatever happened before."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from actors import sweeper as module
from actors.sweeper import Sweeper
from config.clock import SystemClock, draw_id
from devservers.seaweed import PrivateSeaweed
from domain import commands as c
from domain import records as r
from domain.values import Subject
from storage.blobs.opening import open_blobs
from storage.blobs.port import Blobs, StorageUnavailable
from tests.blobs import Cut, chunk, digest_of, digests_of, folder_blobs, s3_url, whole
from tests.hub import Hub

CONTENT = b"some bytes"


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return folder_blobs(tmp_path / "artifacts")


def stored(hub: Hub, blobs: Blobs, owner: Subject, project: str) -> str:
    digests = digests_of(CONTENT)
    command = c.DeclareArtifact(
        owner_site_id=owner.id,
        project_id=project,
        of_kind="result",
        size_bytes=len(CONTENT),
        digest=digest_of(CONTENT),
        chunk_digests=digests,
    )
    artifact = hub.ok(command, owner)["id"]
    whole(blobs, artifact, CONTENT)
    return artifact


def sweeper_of(hub: Hub, blobs: Blobs) -> Sweeper:
    hub.clock.micros = SystemClock().now()
    return Sweeper(blobs, hub.database, hub.clock)


def test_expired_ones_go_and_others_stay(hub: Hub, blobs: Blobs) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    declared, complete, expired = (stored(hub, blobs, sites[1], project) for _ in range(3))
    hub.ok(c.CompleteArtifact(artifact_id=complete, found=digests_of(CONTENT)), sites[1])
    hub.ok(c.DeleteArtifact(artifact_id=expired), sites[1])
    for artifact in (declared, complete):
        blobs.put(artifact, chunk(b"begun", 1), Cut(b"begun", 2), start=0, length=5)
    sweeper = sweeper_of(hub, blobs)
    assert sweeper.sweep() == 1
    assert {one.artifact for one in blobs.stored()} == {declared, complete}
    assert blobs.parts(declared) == {1: 2}
    assert blobs.parts(complete) == {}
    assert sweeper.sweep() == 0


def test_an_upload_that_goes_on_while_its_artifact_expires_is_swept_the_next_time(hub: Hub, blobs: Blobs) -> None:
    sites = hub.sites(2)
    artifact = stored(hub, blobs, sites[1], hub.project(sites))
    hub.ok(c.DeleteArtifact(artifact_id=artifact), sites[1])
    sweeper = sweeper_of(hub, blobs)
    assert sweeper.sweep() == 1
    whole(blobs, artifact, CONTENT)
    assert sweeper.sweep() == 1
    assert blobs.have(artifact) == {}


def test_unknown_ones_go_after_an_hour(hub: Hub, blobs: Blobs) -> None:
    whole(blobs, draw_id(), CONTENT)
    sweeper = sweeper_of(hub, blobs)
    assert sweeper.sweep() == 0
    hub.clock.sleep(3599 - 60)
    assert sweeper.sweep() == 0
    hub.clock.sleep(120)
    assert sweeper.sweep() == 1


def test_a_turn_looks_at_some_and_a_walk_comes_once_in_a_while(hub: Hub, blobs: Blobs) -> None:
    for number in range(3):
        whole(blobs, draw_id(), b"%d" % number)
    sweeper = sweeper_of(hub, blobs)
    hub.clock.sleep(7200)
    before, module._MAX_LOOKED_AT = module._MAX_LOOKED_AT, 2
    try:
        assert [sweeper.turn() for _ in range(4)] == [2, 1, 0, 0]
        whole(blobs, draw_id(), CONTENT)
        hub.clock.sleep(module.SWEEP_EVERY_S - 1)
        assert sweeper.turn() == 0
        hub.clock.sleep(2)
        assert sweeper.turn() == 1
    finally:
        module._MAX_LOOKED_AT = before


def test_a_store_that_is_away_is_asked_again_later(hub: Hub, blobs: Blobs) -> None:
    class Away:
        def __init__(self) -> None:
            self.asked = 0

        def stored(self) -> object:
            self.asked += 1
            raise StorageUnavailable("away")

    away = Away()
    hub.clock.micros = SystemClock().now()
    sweeper = Sweeper(away, hub.database, hub.clock)  # type: ignore[arg-type]
    assert [sweeper.turn(), sweeper.turn(), away.asked] == [0, 0, 1]
    hub.clock.sleep(601)
    assert [sweeper.turn(), away.asked] == [0, 2]


def test_a_bucket_is_swept_as_well(hub: Hub, seaweed: PrivateSeaweed) -> None:
    bucket = open_blobs(s3_url(seaweed), SystemClock())
    sites = hub.sites(2)
    project = hub.project(sites)
    kept, expired = (stored(hub, bucket, sites[1], project) for _ in range(2))
    bucket.put(expired, chunk(b"more", 1), BytesIO(b"more"), start=0, length=4)
    hub.ok(c.DeleteArtifact(artifact_id=expired), sites[1])
    assert sweeper_of(hub, bucket).sweep() == 1
    assert {one.artifact for one in bucket.stored()} == {kept}
    assert hub.rows(r.Artifact, "id = %s", expired)[0].reason == "deleted"
