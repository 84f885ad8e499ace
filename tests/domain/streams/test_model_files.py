"""Model files, which TensorFlow's trainer reads: made by a job with limits before any that trains."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.ids import derive
from domain.streams.training import MODEL_FILE, build_task
from domain.workload_files import Kept, Left
from domain.workloads import flaw_of
from fedyard.cluster.port import Phase, Reason
from tests.domain.scenes import PROJECT, by_site, row
from tests.domain.streams.deployed import COORDINATOR, LOWER, ONE, TORCH, UPPER, Yard

FILE = derive("the file")


@pytest.fixture
def yard() -> Yard:
    return Yard(files=False)


def job(yard: Yard, name: str) -> r.Workload:
    (found,) = [one for one in yard.jobs() if one.name == name]
    return found


def built(yard: Yard, name: str) -> None:
    """It has left its file, and ended."""
    left = {MODEL_FILE: Left(FILE, "d", 5, 1, stored_at=1)}
    kept = msgspec.json.encode(Kept(outputs=left)).decode()
    workload = job(yard, name)
    yard.state.put(msgspec.structs.replace(workload, files_json=kept))
    yard.see(workload, Phase.SUCCEEDED)


def test_it_is_made_while_the_data_are_waited_for_and_once(yard: Yard) -> None:
    run = yard.start(ONE, TORCH)
    assert [(one.name, one.purpose) for one in yard.jobs()] == [("model-file-1-1", "build")]
    built(yard, "model-file-1-1")
    assert yard.row(sr.ModelFile, ONE, 1).artifact_id == FILE
    assert (yard.run(run), yard.deployment(run).state) == (("running", ""), "waiting")
    yard.announce(run)
    yard.prepared(run)
    assert {one.name for one in yard.jobs() if one.purpose == "training"} == {"model-training-1", "model-training-2"}
    yard.start(ONE)
    assert sum(one.purpose == "build" for one in yard.jobs()) == 1


def test_what_is_prepared_before_waits_for_all_of_them(yard: Yard) -> None:
    run = yard.start(UPPER, LOWER)
    yard.announce(run)
    yard.prepared(run)
    yard.prepared(run)
    built(yard, "model-file-2-1")
    assert {one.purpose for one in yard.jobs()} == {"build"}
    assert (yard.deployment(run).state, yard.results()) == ("preparing", [(1, "created", ""), (2, "created", "")])
    built(yard, "model-file-3-1")
    assert (yard.deployment(run).state, yard.results()) == ("training", [(1, "deployed", ""), (2, "deployed", "")])


@pytest.mark.parametrize(
    ("reason", "code"), [(Reason.EXIT_CODE, 1), (Reason.OUT_OF_MEMORY, 137), (Reason.OUTPUTS_MISSING, 0)]
)
def test_without_it_nothing_is_trained(yard: Yard, reason: Reason, code: int) -> None:
    run = yard.start(ONE, TORCH)
    yard.see(job(yard, "model-file-1-1"), Phase.FAILED, reason, code)
    assert yard.run(run) == ("failed", "not_built")
    assert yard.results() == [(1, "failed", "not_built"), (2, "failed", "not_built")]
    assert "model-file-1-1" in yard.result(1).detail


def test_one_that_is_stopped_stops_what_waits_for_it(yard: Yard) -> None:
    run = yard.start()
    building = job(yard, "model-file-1-1")
    yard.ok(c.StopWorkload(workload_id=building.id), COORDINATOR)
    yard.see(building, Phase.FAILED, Reason.SIGNALLED, 143)
    assert (yard.run(run), yard.results()) == (("cancelled", "stopped"), [(1, "stopped", "stopped")])


def test_it_ends_with_its_run(yard: Yard) -> None:
    run = yard.start()
    yard.ok(c.StopRun(run_id=run), COORDINATOR)
    assert job(yard, "model-file-1-1").stop_at is not None
    built(yard, "model-file-1-1")  # it had ended before anybody could stop it
    assert yard.run(run) == ("cancelled", "stopped")


SAVED = (
    "class M:\n    def __init__(self, name): self.name = name\n    def save(self, to): open(to, 'w').write(self.name)\n"
)


@pytest.mark.parametrize(
    ("imports", "code", "distributed", "saved"),
    [
        (SAVED, "model = M('one')", 0, "one"),
        ("import os", SAVED + "model = M(os.sep)\n\n", 0, "/"),
        (SAVED, "x = 'chain'\nM(x)", 1, "chain"),
        (SAVED, "M('x')", 1, "x"),
        (SAVED, "y = 'of'\nM(\n    y + ' lines'\n)\n", 1, "of lines"),
        (SAVED, "model = M('bound')", 1, "bound"),
        (SAVED, "#" + "y" * 60_000 + "\nmodel = M('long')", 0, "long"),
    ],
)
def test_what_makes_it(tmp_path: Path, imports: str, code: str, distributed: int, saved: str) -> None:
    fields: dict[str, Any] = {"version": 1, "imports": imports, "code": code, "distributed": distributed}
    (asked,) = build_task(row(sr.ArchitectureVersion, architecture_id=ONE, **fields), 1, "i", "hub").workloads
    assert flaw_of(asked.spec) is None
    command = [sys.executable, *asked.spec.command[1:]]
    subprocess.run(command, env=asked.spec.environment | {"FEDYARD_OUTPUTS": str(tmp_path)}, check=True, timeout=20)
    assert (tmp_path / MODEL_FILE).read_text() == saved


# made by people


def put(**more: Any) -> sc.PutModelFile:
    said = {"project_id": PROJECT, "architecture_id": ONE, "version": 1, "artifact_id": FILE, **more}
    return sc.PutModelFile(**said)


def uploaded(yard: Yard, state: str = "stored", seal: bytes | None = None) -> None:
    yard.state.put(row(r.Artifact, id=FILE, state=state))
    yard.state.put(row(r.ArtifactDeclaration, artifact_id=FILE, seal=seal))


def test_one_that_was_uploaded_is_not_made(yard: Yard) -> None:
    uploaded(yard)
    assert yard.ok(put(), COORDINATOR) == {"architecture_id": ONE, "version": 1, "artifact_id": FILE}
    yard.start()
    assert yard.jobs() == []


@pytest.mark.parametrize(
    ("said", "state", "seal", "refused"),
    [
        ({"version": 2}, "stored", None, (404, "not_found")),
        ({"architecture_id": PROJECT}, "stored", None, (404, "not_found")),
        ({"artifact_id": PROJECT}, "stored", None, (404, "not_found")),
        ({"architecture_id": TORCH}, "stored", None, (422, "impossible")),
        ({}, "declared", None, (409, "artifact_not_stored")),
        ({}, "stored", b"seal", (422, "impossible")),
    ],
)
def test_what_no_trainer_reads_is_none(
    yard: Yard, said: dict[str, Any], state: str, seal: bytes | None, refused: tuple[int, str]
) -> None:
    uploaded(yard, state, seal)
    assert yard.refused(put(**said), COORDINATOR) == refused
    assert yard.refused(put(), by_site(1))[0] in (403, 404)
