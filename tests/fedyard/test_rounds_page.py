"""The commands of docs/rounds.md do what the page says."""

from __future__ import annotations

import contextlib
import re

import pytest

from fedyard.cli.main import main
from fedyard.tasks.settings import Tasks
from fedyard.wire.sampling import drawn
from tests.fedyard.world import World
from tests.ops.program import ROOT

PAGE = (ROOT / "docs" / "rounds.md").read_text()
COLUMNS = {"north": "10\n20\n60\n", "east": "40\n"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_every_command_of_the_page(world: World, tmp_path, capsys) -> None:
    allowed = Tasks(allow=["near:Near"])
    sites = world.sites(tmp_path, *COLUMNS, tasks=allowed, data={"train": "train.csv"})
    north, east = sites
    for site, column in zip(sites, COLUMNS.values(), strict=True):
        (site.path / "near.py").write_text(blocks("python")[0])
        (site.path / "train.csv").write_text(f"value\n{column}")
    (north.path / "tasks.json").write_text(blocks("json")[0])
    (create, *rest) = [line.split()[1:] for line in blocks("sh")[0].splitlines()]
    name = f"rounds {tmp_path.name}"

    def typed(arguments: list[str]) -> str:
        code = main(
            ["--folder", str(north.path), *(re.sub(r"^rounds(?=/|$)", lambda _: name, one) for one in arguments)]
        )
        said = capsys.readouterr()
        assert code == 0, f"{arguments}: {said.out}{said.err}{(north.path / 'agent.log').read_text()[-3000:]}"
        return said.out + said.err

    try:
        with contextlib.chdir(north.path):
            typed(create)
            project = next(one for one in north.client.projects() if one.name == name)
            east.join(project.id)
            north.may_be_alone().start()
            east.start()
            watched, shown, models = (typed(command) for command in rest)
    finally:
        north.kill()
        east.kill()
    (run,) = north.client.runs(project_id=project.id)
    (task,) = north.client.run(run.id).tasks
    assert (task.state, task.reason) == ("succeeded", "stopped_early")
    ids = sorted(site.site_id for site in sites)
    for here in task.rounds:
        assert [one.site_id for one in here.submissions] == drawn(run.id, 1, here.number, ids, 1)
        far = {one.site_id: one.metrics["far"] for one in here.scores}
        assert here.score["far"] == pytest.approx((3 * far[north.site_id] + far[east.site_id]) / 4)
    values = [here.score["far"] for here in task.rounds]
    assert task.best is not None
    assert (task.best.round, task.best.value) == (1 + values.index(min(values)), min(values))
    assert all(min(values[:-2]) - value <= 0.5 for value in values[-2:])
    best = f"the best model is version {task.best.model_version}, of round {task.best.round}: score.far"
    assert best in shown
    assert f"score.far {values[0]:.6g}" in watched
    marked = [line for line in models.splitlines() if line.startswith("│") and "*" in line]
    assert len(marked) == 1
