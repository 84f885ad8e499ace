"""What docs/privacy.md shows is what works."""

from __future__ import annotations

import math
import re

import msgspec
import pytest

from fedyard.agent.state import State
from fedyard.cli.main import main
from fedyard.tasks.confined import Confine
from fedyard.tasks.privacy import Privacy, Released
from fedyard.tasks.privacy.accounting import epsilon_of
from tests.fedyard.world import UNCONFINED, World
from tests.ops.program import ROOT
from tests.waiting import until

PAGE = (ROOT / "docs" / "privacy.md").read_text()
TASK = """
import numpy as np

from fedyard import Result, Task


class Weights(Task):
    def train(self, context, model):
        context.log("the oldest patient is 104")
        try:
            open("token").read()
        except PermissionError:
            context.log("there is a token, and it cannot be read")
        return Result({"w": np.full(1000, 70.0)}, {"samples": 104.0, "loss": 0.5})

    def aggregate(self, context, updates):
        return Result(updates[0].content)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def table(heading: str) -> list[list[str]]:
    """The rows of the table that begins with this heading."""
    rows = PAGE[PAGE.index(heading) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if not row.startswith("|---")]


def test_its_figures_are_the_accountants() -> None:
    (_, *updates), (_, *epsilons) = table("| updates |")
    assert [f"{epsilon_of([Released(8.0, int(count))], 1e-6):.3g}" for count in updates] == epsilons
    assert epsilon_of([Released(2.0, 1)], 1e-6) == pytest.approx(
        float(re.search(r"it costs ε = ([\d.]+)\.", PAGE)[1]), abs=0.005
    )


def test_it_names_every_setting() -> None:
    for kind, heading in ((Privacy, "| key of `privacy` |"), (Confine, "| key of `confine` |")):
        named = " ".join(row[0] for row in table(heading))
        assert [name for name in kind.__struct_fields__ if f"`{name}`" not in named] == []


def test_a_site_that_adds_noise(world: World, tmp_path, capsys) -> None:
    (north,) = world.sites(tmp_path, "north")
    (north.path / "weights.py").write_text(TASK)
    path = north.path / "site.toml"
    toml = re.sub(r"allow = .*", 'allow = ["weights:Weights"]', path.read_text())
    sections = "\n".join(blocks("toml")).replace("breast-cancer", '"*"')
    path.write_text(toml.replace(UNCONFINED, "") + "\n" + sections)
    (said,) = north.folder.settings().project.values()
    assert said.confine == Confine(on="always", read=["/srv/atlas"], memory_bytes=8_000_000_000, cpu_s=36000)
    try:
        north.may_be_alone().start()
        specs = [{"name": "weights", "model": "weights:Weights", "rounds": 2}]
        project = north.client.create_project(f"privacy {tmp_path.name}", specs, sealed="optional")
        north.serve(project)
        run_id = north.client.start_run(project).id
        run = until(lambda: (r := north.client.run(run_id)).finished and r)
        assert run.state == "succeeded", (north.path / "agent.log").read_text()
        shown = []
        for command in re.findall(r"^\$ fedyard --folder north (.*)$", PAGE, re.MULTILINE):
            assert main(["--folder", str(north.path), *command.split(), "--json"]) == 0
            answer = msgspec.json.decode(capsys.readouterr().out)
            shown += answer["budgets"]
            assert answer["confinement"]["lacks"] == ""
        state = State(north.path / "state.sqlite")
        left = state.egress.latest(100)
        state.close()
        north.kill()
        for file in north.path.glob("state.sqlite*"):
            file.unlink()
        north.start()
        until(lambda: "privacy budget went back" in (north.path / "agent.log").read_text())
        state = State(north.path / "state.sqlite")
        counted = state.releases.of(project)
        state.close()
    finally:
        north.kill()
    (one,) = shown
    assert (one["updates"], one["without"], one["allowed"], one["delta"]) == (2, 0, 10.0, 1e-6)
    assert one["epsilon"] == pytest.approx(epsilon_of([Released(8.0, 2)], 1e-6))
    assert counted == [Released(8.0, 2)]
    updates = [row for row in left if row.kind == "update"]
    assert [row.metrics for row in updates] == [{"samples": 104.0}] * 2
    second, first = (row.norm for row in updates)  # a thousand numbers with noise of 8, at norm 1, twice in a row
    assert abs(first / (8 * math.sqrt(1000)) - 1) < 0.25
    assert abs(second / (8 * math.sqrt(2000)) - 1) < 0.25
    assert [row.kind for row in left if row.kind in ("log", "reason")] == []
    log = (north.path / "agent.log").read_text()
    assert "the oldest patient" in log
    assert "it cannot be read" in log
