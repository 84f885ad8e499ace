"""Updates and models that are too large for a message: by artifacts, sealed, and a task's author sees none of it."""

from __future__ import annotations

import base64
import json
import signal
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from fedyard.sealed import sealing
from tests.fedyard.test_agent import trained
from tests.fedyard.test_sealed import failure_of, lying, site_command
from tests.fedyard.world import SiteProcess, World, project_of
from tests.waiting import until


@pytest.fixture
def pair(world: World, tmp_path) -> Iterator[list[SiteProcess]]:
    made = world.sites(tmp_path, "north", "east")
    for site in made:
        site.start()
    yield made
    for site in made:
        site.kill()


def test_large_updates_and_models_go_by_artifacts(world: World, tmp_path) -> None:
    with lying(world, tmp_path, "north", "east") as (wire, sites):
        for site in sites:
            site.start()
        project = project_of(sites, model="Large", parameters={"count": 400_000})
        trained(project, project.start())
        reports = [json.loads(b) for m, p, _, b in wire.passed if m == "PUT" and "/seats/" in p and b'"submit"' in b]
        for report in reports:
            assert report["update_artifact_id"]
            detached = base64.b64decode(report["update"])
            found, rest = sealing.read_seal(detached)
            assert rest == b""
            assert found.header.plain_bytes > 3_200_000
        chunks = [body for method, path, _, body in wire.passed if method == "PUT" and "/chunks/" in path]
        assert len(chunks) == 2
        assert all(np.full(100, 1.0).tobytes() not in chunk for chunk in chunks)
        for site in sites:
            until(lambda s=site: not list((s.path / "runs").iterdir()))
            (model,) = (site.path / "models").glob("*.npz")
            with np.load(model) as arrays:
                assert arrays["weights"].shape == (400_000,)
                assert arrays["total"][0] == 2.0


def test_a_task_that_puts_links_to_secrets_into_its_folder_sends_none(world: World, tmp_path) -> None:
    """What its agent seals, sends and opens lies elsewhere."""
    with lying(world, tmp_path, "north", "east") as (wire, sites):
        for site in sites:
            site.start()
        project = project_of(sites, model="Swapping", rounds=1, parameters={"count": 400_000})
        trained(project, project.start(), rounds=1)
        sent = [body for _, _, _, body in wire.passed]
        for site in sites:
            token = (site.path / "token").read_bytes()
            assert token.startswith(b"fyd")
            assert not any(token in body or base64.b64encode(token) in body for body in sent)


@pytest.mark.parametrize("hook", ["train", "aggregate"])
def test_agents_killed_with_large_content_under_way_go_on(pair, hook: str) -> None:
    project = project_of(pair, model="Large", parameters={"count": 400_000})
    for site in pair:
        site.hold(hook)
    run_id = project.start()
    until(lambda: f"{hook} 1" in pair[0].calls())
    for site in pair:
        site.release(hook)
    until(lambda: list((pair[0].path / "runs").rglob("*.packed")), often=True)
    for site in pair:
        site.end(signal.SIGKILL)
    for site in pair:
        site.start()
    trained(project, run_id)
    assert Counter(pair[1].calls())["train 2"] == 1


def test_a_large_body_that_was_changed_fails_the_seat(world: World, tmp_path) -> None:
    with lying(world, tmp_path, "north", "east") as (wire, (north, east)):
        north.start()
        east.start()
        project = project_of([north, east], model="Large", parameters={"count": 400_000})

        def rewrite(method: str, path: str, content: bytes) -> bytes:
            if method == "GET" and "/artifacts/" in path and len(content) > 1_000_000:
                return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
            return content

        wire.rewrite = rewrite
        assert "seal_damaged" in failure_of(project, project.start())
        assert east.runs()


def test_a_large_message(pair, tmp_path) -> None:
    north, east = pair
    for site in pair:
        until(lambda s=site: north.client.site_keys(s.site_id))
    project = project_of(pair)
    content = bytes(range(256)) * 8000
    (tmp_path / "slides").write_bytes(content)
    name = project.coordinator.project(project.id).name
    sent = site_command(north, "send", name, "--to", "participants", "--file", str(tmp_path / "slides"))
    assert sent.returncode == 0, sent.stderr
    entry = until(lambda: next((e for e in east.entries() if e.kind == "message"), None))
    assert entry.message is not None
    file = east.path / "messages" / north.site_id / entry.message.id
    until(file.exists)
    assert file.read_bytes() == content
