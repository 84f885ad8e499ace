"""A problem of Fedota's at an embedded hub, whose parts run as its processes: from the archive to a model version."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.fedota.client import take_part
from demo.fedota.files import packed, unpacked
from fedyard.client.client import Client
from fedyard.client.transfer import Transfer
from tests.cluster.worlds import processes
from tests.fedyard.world import SiteProcess, World
from tests.ops.program import ROOT, Program, create_account
from tests.waiting import until

WITHIN_S = 60.0
IMAGES = ",".join(
    f"local/fl-{part}=/usr/bin/env PYTHONPATH={ROOT} {sys.executable} -m demo.fedota.{part}"
    for part in ("coordinator", "selector")
)
SLOPES = np.array([2.0, -1.0])


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[World]:
    quick = {"FEDYARD_TICK_EVERY_S": "0.1", "FEDYARD_RECONCILE_EVERY_S": "0.5", "FEDYARD_PROCESS_IMAGES": IMAGES}
    program = Program(tmp_path / "hub.log", "embedded", "--data", tmp_path / "hub", "--port", "0", **quick)
    try:
        address = program.ready()
        yield World(address, create_account(tmp_path / "hub"), tmp_path / "hub")
    finally:
        program.end()
        with processes(tmp_path / "hub" / "workloads"):
            """What a test that failed has left is ended."""


def archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as made:
        made.writestr("model.h5", b"a linear model")
        made.writestr("fl_checkpoint", packed({"weights": np.zeros(2), "bias": np.zeros(1)}))
    return target.getvalue()


def read(client: Client, path: str) -> Any:
    return client.read(path, dict)


def organisation(folder: Path, seed: int) -> Path:
    """Where its client is run: with rows of its own beside it."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(640, 2))
    place = folder / f"organisation-{seed}" / "client"
    rows = place.parent / "device_data" / "data" / "train"
    rows.mkdir(parents=True)
    place.mkdir()
    np.savetxt(rows / "rows.csv", np.column_stack([features, features @ SLOPES + 0.5]), delimiter=",")
    return place


def take_part_all(places: list[Path], configuration: str) -> list[int]:
    results: list[int] = []
    for place in places:
        (place / "config.yaml").write_text(configuration)
    threads = [threading.Thread(target=lambda at=at: results.append(take_part(at)), daemon=True) for at in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WITHIN_S)
    return results


def kill_sidecar(project: str) -> None:
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"fedyard.sidecar" in words and project.encode() in (path / "environ").read_bytes():
                os.kill(int(path.name), signal.SIGKILL)
                return
    raise AssertionError("it does not run")


def test_from_the_archive_to_a_model_version_with_fedotas_own_parts(hub: World, tmp_path: Path) -> None:
    lead: SiteProcess = hub.sites(tmp_path, "lead")[0]
    client = lead.client
    contract = {"quorum": 2, "quorum_of": "count"}
    project = client.create_project(
        "sentiment",
        [{"name": "train", "model": "fedota", "contract": contract}],
        client_image="fedota/fl-client:1",
        sealed="optional",
        infrastructure={
            "coordinator_image": "local/fl-coordinator",
            "selector_image": "local/fl-selector",
            "where": "hub",
        },
    )
    Transfer(client).upload(archive(), project_id=project, kind="initial", key="archive")
    until(lambda: "checked" in str(read(client, f"/v1/projects/{project}")["initial_files"]))
    client.start_infrastructure(project)
    until(lambda: all(one["state"] == "running" for one in read(client, f"/v1/projects/{project}")["parts"]))
    configuration = until(lambda: '""' not in (text := client.joining(project).configuration) and text)
    places = [organisation(tmp_path, seed) for seed in (1, 2)]

    def rounds() -> list[tuple[int, str, bool]]:
        found = read(client, f"/v1/projects/{project}/rounds")["items"]
        return [(one["number"], one["state"], one["model_version"] is not None) for one in found]

    assert take_part_all(places, configuration) == [0, 0]
    until(lambda: (0, "completed", True) in rounds())
    kill_sidecar(project)
    assert take_part_all(places, configuration) == [0, 0]
    until(lambda: (1, "completed", True) in rounds())
    models = read(client, f"/v1/projects/{project}/models")["items"]
    assert [(one["version"], one["round"]) for one in models] == [(1, 0), (2, 1)]
    for one in models:
        Transfer(client).download(one["artifact_id"], tmp_path / f"model-{one['version']}")
    first, second = ((tmp_path / f"model-{version}").read_bytes() for version in (1, 2))
    off = [float(np.abs(unpacked(content)["weights"] - SLOPES).max()) for content in (first, second)]
    assert off[1] < off[0] < SLOPES.max(), "each round comes nearer to what the rows say"
    checkpoint = hub.folder / "workloads" / "volumes" / project / "initFiles" / "fl_checkpoint"
    assert checkpoint.read_bytes() == second
    client.start_infrastructure(project, model_version=1)
    until(lambda: checkpoint.read_bytes() == first)
    assert (checkpoint.parents[1] / ".fedyard" / "replaced").read_bytes() == second
    until(lambda: {one["state"] for one in read(client, f"/v1/projects/{project}")["parts"]} == {"running"})
    client.stop_infrastructure(project)
    until(lambda: {one["state"] for one in read(client, f"/v1/projects/{project}")["parts"]} == {"stopped"})
