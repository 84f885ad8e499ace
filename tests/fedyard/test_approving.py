"""A run that waits for a site's people, at a real hub: what they see, and what becomes of it by their word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fedyard.cli.main import main
from tests.fedyard.world import Project, SiteProcess, World, project_of
from tests.ops.program import ROOT
from tests.waiting import until

PAGE = (ROOT / "docs" / "policy.md").read_text()
POLICY, APPROVE, REFUSE = re.findall(r"^\$ fedyard --folder north (.*)$", PAGE, re.MULTILINE)


@pytest.fixture
def north(world: World, tmp_path: Path) -> Iterator[SiteProcess]:
    """A site whose people want to be asked about each run."""
    (site,) = world.sites(tmp_path, "north")
    said = site.path / "site.toml"
    said.write_text(said.read_text().replace('[project."*"]', '[project."*"]\nask = "runs"'))
    site.may_be_alone().start()
    until((site.path / "state.sqlite").exists)  # its people ask its memory
    yield site
    site.kill()


def said(north: SiteProcess, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main(["--folder", str(north.path), *words]) == 0
    out = capsys.readouterr().out
    return msgspec.json.decode(out) if "--json" in words else out


def words_of(command: str, run_id: str) -> list[str]:
    found = re.findall(r'"([^"]*)"|(\S+)', command)
    return [quoted or (run_id if word == "4f3c" else word) for quoted, word in found]


def waiting(north: SiteProcess, project: Project, capsys: pytest.CaptureFixture[str]) -> str:
    """A run of the project that waits at this site."""
    run_id = project.start()
    until(lambda: [one["run_id"] for one in said(north, capsys, *POLICY.split(), "--json")["waiting"]] == [run_id])
    project.stands(run_id, north, "preparing 1")
    (task,) = until(lambda: [task for task in project.run(run_id).tasks if task.waiting])  # the hub shows it to all
    (seat,), (here,) = task.seats, task.rounds
    assert (seat.waits_for, seat.waits_until) == ("approval", here.deadline_at)
    assert [(one.waits_for, one.count, one.until) for one in task.waiting] == [("approval", 1, here.deadline_at)]
    return run_id


def test_a_run_waits_until_it_is_approved_and_what_is_refused_fails(north, capsys) -> None:
    project = project_of([north], rounds=1, sealed="optional")
    run_id = waiting(north, project, capsys)
    shown = said(north, capsys, *POLICY.split(), "--json")
    assert [(one["project_id"], one["policy"]["ask"], one["began"]) for one in shown["projects"]] == [
        (project.id, "runs", 0)
    ]
    assert [(one["name"], one["task"]["rounds"]) for one in shown["waiting"]] == [("train", 1)]
    text = said(north, capsys, *POLICY.split())
    assert 'ask = "runs"' in text
    assert f"run {run_id} of project of {north.name} waits for a person" in text
    assert [call for call in north.calls() if "train" in call] == []
    assert run_id in said(north, capsys, *words_of(APPROVE, run_id[:12]))
    run = project.finished(run_id)
    assert run.state == "succeeded", (north.path / "agent.log").read_text()
    assert (run.tasks[0].waiting, run.tasks[0].seats[0].waits_for) == ([], "")
    said_so = [e.facts.get("waits_for") for e in project.coordinator.events(run_id) if e.kind == "seat_waiting"]
    assert said_so == ["approval", None]
    assert [call for call in north.calls() if "train" in call] == ["train 1"]

    run_id = waiting(north, project, capsys)
    assert run_id in said(north, capsys, *words_of(REFUSE, run_id))
    run = project.finished(run_id)
    assert run.state == "failed"
    reasons = [e.facts.get("reason") for e in project.coordinator.events(run_id) if e.kind == "seat_failed"]
    assert reasons == ["policy_not_approved: not before the board has met"]
    assert [call for call in north.calls() if "train" in call] == ["train 1"]
    assert said(north, capsys, *POLICY.split(), "--json")["waiting"] == []


def test_what_does_not_wait_cannot_be_answered(north, capsys) -> None:
    until((north.path / "state.sqlite").exists)
    for word in ("approve", "refuse"):
        assert main(["--folder", str(north.path), "site", word, "4f3c"]) == 2
        assert "nothing of the run 4f3c waits for a person here" in capsys.readouterr().err
