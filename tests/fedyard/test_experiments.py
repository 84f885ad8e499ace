"""The commands of docs/experiments.md do what the page says."""

from __future__ import annotations

import contextlib
import json
import re

import numpy as np
import pytest

from fedyard.cli.main import main
from fedyard.tasks.settings import Tasks
from fedyard.wire.answers import Run
from tests.fedyard.world import World
from tests.ops.program import ROOT
from tests.waiting import until

PAGE = (ROOT / "docs" / "experiments.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


COMMANDS = [line.split() for block in blocks("sh") for line in block.splitlines()]
VALUES = "10\n20\n60\n"


@pytest.fixture
def typed(world: World, tmp_path, capsys):
    """A site whose agent runs, with the page's files; a function that runs a command of the page there."""
    (site,) = world.sites(
        tmp_path, "north", tasks=Tasks(allow=["slope:Statistics", "slope:Slope"]), data={"train": "train.csv"}
    )
    (site.path / "slope.py").write_text(blocks("python")[0])
    (site.path / "tasks.json").write_text(blocks("json")[0])
    (site.path / "train.csv").write_text(f"value\n{VALUES}")
    study = f"study {tmp_path.name}"

    def run(*arguments: str) -> str:
        code = main(["--folder", str(site.path), *(re.sub(r"^study(?=/|$)", study, each) for each in arguments)])
        said = capsys.readouterr()
        assert code == 0, f"{arguments}: {said.out}{said.err}{(site.path / 'agent.log').read_text()[-3000:]}"
        return said.out + said.err

    try:
        site.may_be_alone().start()
        with contextlib.chdir(site.path):
            yield site, run, study
    finally:
        site.kill()


def test_every_command_of_the_page(typed) -> None:
    site, run, study = typed
    said = {" ".join(command): run(*command[1:]) for command in COMMANDS}
    project = next(one for one in site.client.projects() if one.name == study)
    runs = sorted(map(site.client.run, (one.id for one in site.client.runs(project_id=project.id))), key=place)
    assert {one.state for one in runs} == {"succeeded"}
    rates = [one.tasks[1].spec.parameters["learning_rate"] for one in runs]
    assert rates == [0.5, 0.1, 0.9, 0.9, 0.9, 0.9, 0.9]
    assert [one.tasks[1].spec.rounds for one in runs] == [3, 3, 5, 4, 4, 4, 4]
    assert [one.tasks[1].rounds[0].number for one in runs] == [1, 1, 1, 0, 0, 1, 1]
    assert project.tasks[1].rounds == 4
    rows = {cells[0]: cells[1:] for cells in table(said["fedyard run compare study/1 2 3"])}
    assert rows["train.learning_rate"] == ["0.5", "0.1", "0.9"]
    assert rows["train: rounds"] == ["3", "3", "5"]
    assert "statistics: model" not in rows
    with np.load("slope.npz") as version_2:
        first = version_2["w"][0]
    begun_with = [1.0, 1.0, 1.0, first, 2.0, first, first]  # the file, what `initial` gives, version 2 twice
    left = [start * (1 - rate) for start, rate in zip(begun_with, rates, strict=True)]
    assert [distance(one, 1) for one in runs] == pytest.approx(left)
    assert first == pytest.approx(0.5)
    assert "its tasks are those that this site gave" in said["fedyard run accept study/1"]


def test_a_run_that_others_started_with_parameters_of_its_own(typed) -> None:
    """As its coordinator would be asked to by a hub that is not to be believed, or by somebody at the hub's page."""
    site, run, study = typed
    run("project", "create", "study", "--tasks", "tasks.json")
    project = next(one for one in site.client.projects() if one.name == study)
    other = site.client.start_run(project.id, parameters={"train": {"learning_rate": 9.0}})
    failed = until(lambda: (found := site.client.run(other.id)).finished and found)
    assert failed.tasks[0].state == "succeeded"
    assert "task_differs" in json.dumps([event.facts for event in site.client.newest_events(other.id)], default=str)
    told = run("run", "accept", "study/1")
    assert "learning_rate: 0.5 -> 9.0" in told
    assert '"model":"slope:Slope"' in told
    again = site.client.restart_run(other.id)
    assert until(lambda: (found := site.client.run(again.id)).finished and found).state == "succeeded"


def place(run: Run) -> tuple[int, int]:
    return run.number, run.attempt


def distance(run: Run, number: int) -> float:
    return next(each for each in run.tasks[1].rounds if each.number == number).metrics["distance"]


def table(said: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
