"""A site's own modules may be called as the hub's packages are: in the hooks' processes they are the site's."""

from __future__ import annotations

import re

from tests.fedyard.world import World, project_of
from tests.prepared import SITE

TASK = """
from fedyard import Result, Task
from web import answer


class Mine(Task):
    def train(self, context, model):
        return Result(b"update", {"answer": answer()})

    def aggregate(self, context, updates):
        return Result(b"model", {"answer": sum(update.metrics["answer"] for update in updates)})
"""


def test_a_task_called_config_with_a_module_called_web_is_the_sites_own(world: World, tmp_path) -> None:
    sites = world.sites(tmp_path, "north", "east")
    for site, answer in zip(sites, (2, 40), strict=True):
        (site.path / "config.py").write_text(TASK)
        (site.path / "web.py").write_text(f"def answer():\n    return {answer}\n")
        toml = site.path / "site.toml"
        toml.write_text(re.sub(r"allow = .*", 'allow = ["config:Mine"]', toml.read_text()))
        site.start(SITE)
    try:
        project = project_of(sites, rounds=1, model="config:Mine")
        run = project.finished(project.start())
        assert run.state == "succeeded", [str(event) for event in project.coordinator.events(run.id)]
        assert run.tasks[0].rounds[0].metrics["answer"] == 42
    finally:
        for site in sites:
            site.kill()
