"""A finished run of two sites, which the tests look at from Python, as its coordinator and as people do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from fedyard import Client
from fedyard.python.projects import Project
from fedyard.python.runs import Run
from fedyard.tasks.settings import Tasks
from tests.fedyard.world import SiteProcess, World

TASK = """
import numpy as np
from fedyard import Context, Result, Task, Update

class Mean(Task):
    def train(self, context: Context, model: object) -> Result:
        context.log(f"round {context.round} of <b>{context.parameters['rate']}</b>")
        values = np.loadtxt(context.data["train"], skiprows=1)
        return Result(content={"mean": np.array([values.mean()])}, metrics={"rows": float(len(values))})

    def aggregate(self, context: Context, updates: list[Update]) -> Result:
        means = [update.content["mean"] for update in updates]
        return Result(content={"mean": np.mean(means, axis=0)}, metrics={"spread": float(np.ptp(means))})
"""
NAME = "means <script>alert(1)</script>"
VALUES = {"north": "1\n2\n3\n", "east": "4\n6\n"}


@dataclass
class Scene:
    """sites: the coordinator first. client: the coordinator's, with its folder. project: with one run."""

    sites: list[SiteProcess]
    client: Client
    project: Project
    run: Run


@pytest.fixture(scope="module")
def scene(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("python")
    sites = world.sites(folder, *VALUES, tasks=Tasks(allow=["means:Mean"]), data={"train": "train.csv"})
    for site in sites:
        (site.path / "means.py").write_text(TASK)
        (site.path / "train.csv").write_text(f"value\n{VALUES[site.path.name]}")
    try:
        for site in sites:
            site.start()
        client = Client.of_site(sites[0].path)
        task = {"name": "train", "model": "means:Mean", "rounds": 2, "parameters": {"rate": 0.5}}
        project = client.project(client.create_project(f"{NAME} {folder.name}", [task], joining="open"))
        other = Client.of_site(sites[1].path)
        assert other.join(project.name) is not None
        run = project.start().wait(60)
        assert run.state == "succeeded", run.why()
        yield Scene(sites, client, project, run)
    finally:
        for site in sites:
            site.kill()
