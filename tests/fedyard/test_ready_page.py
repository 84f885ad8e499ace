"""What docs/ready-tasks.md shows is what works: its commands, at three sites."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fedyard.tasks.registry import BUILT_IN, task_of
from fedyard.wire.answers import TaskSpec
from tests.fedyard.test_ready import POOLED, text_of
from tests.fedyard.test_sealed import site_command
from tests.fedyard.world import World
from tests.ops.program import ROOT

PAGE = (ROOT / "docs" / "ready-tasks.md").read_text()
SPECS = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0]
COMMANDS = [shlex.split(line) for line in re.findall(r"^fedyard .*$", PAGE, re.MULTILINE)]


def test_it_has_every_ready_task_with_its_parameters() -> None:
    assert {name for name in BUILT_IN if f"| `{name}`" not in PAGE and f"`{name}` |" not in PAGE} <= {
        "logistic_regression"
    }
    for spec in msgspec.json.decode(SPECS, type=list[TaskSpec]):
        task = task_of(spec.model, [])
        task.validate(spec.parameters)
        fields = type(task.chosen).__struct_fields__
        assert [field for field in fields if f"`{field}`" not in PAGE] == []


def test_its_commands_do_what_it_says(world: World, tmp_path: Path) -> None:
    (north,) = world.sites(tmp_path, "north")
    drawn = np.random.default_rng(5)
    rows = [
        {**row, "dead": "yes" if row["dead"] else "no", "days": int(drawn.integers(1, 900))} for row in POOLED[:220]
    ]
    (north.path / "train.csv").write_text(text_of(rows))
    settings = (north.path / "site.toml").read_text()
    (north.path / "site.toml").write_text(settings.replace("[data]", '[data]\ntrain = "train.csv"', 1))
    (tmp_path / "statistics.json").write_text(SPECS)
    name = f"trial of {tmp_path.name}"
    printed = []
    try:
        north.may_be_alone().start()
        for _, *words in COMMANDS:
            arguments = [{"trial": name, "statistics.json": str(tmp_path / "statistics.json")}.get(w, w) for w in words]
            arguments = [str(tmp_path / word) if word.endswith(".npz") else word for word in arguments]
            ran = site_command(north, *arguments)
            assert ran.returncode == 0, (arguments, ran.stdout, ran.stderr)
            printed.append(ran.stdout)
    finally:
        north.kill()
    listed, shown, told = printed[2:5]
    assert listed.count("│ 1.1") == 2 + 2 + 8 + 1
    assert "numbers:" in shown
    assert re.search(r"│ age +│ \(all\) +│ 220 +│", shown)
    tables = msgspec.json.decode(told)["tables"]
    assert [line["term"] for line in tables["coefficients"]] == ["(intercept)", "age", "bmi", "sex"]
    with np.load(tmp_path / "pressure.npz") as arrays:
        estimates = [line["estimate"] for line in tables["coefficients"]]
        np.testing.assert_array_equal(arrays["coefficients.estimate"], estimates)
    assert pytest.approx(100, abs=20) == estimates[0]
