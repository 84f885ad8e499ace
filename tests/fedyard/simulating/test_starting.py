"""Every template is a project that simulates and tests at once."""

from __future__ import annotations

import ast
import json
import runpy
import subprocess
import sys

import pytest

import fedyard
from fedyard.cli.main import main
from fedyard.simulating.starting import TEMPLATES, write
from fedyard.tasks import TaskError

WITHOUT_TORCH = [name for name in TEMPLATES if name != "pytorch"]


@pytest.mark.parametrize("template", WITHOUT_TORCH)
def test_it_simulates_and_its_own_tests_hold(tmp_path, template) -> None:
    folder = tmp_path / template
    written = write(folder, template)
    assert {path.name for path in written} >= {"my_task.py", "tasks.json", "test_my_task.py", "README.md"}
    names = runpy.run_path(str(folder / "test_my_task.py"))
    tests = [test for name, test in names.items() if name.startswith("test_")]
    assert len(tests) == 3
    for test in tests:
        test()


@pytest.mark.parametrize("template", TEMPLATES)
def test_it_is_python_as_this_project_writes_it(tmp_path, template) -> None:
    write(tmp_path / template, template)
    ast.parse((tmp_path / template / "my_task.py").read_text())
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,B,UP"]
    checked = subprocess.run([*ruff, str(tmp_path / template)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
    (spec,) = json.loads((tmp_path / template / "tasks.json").read_text())
    assert spec["model"] == "my_task:MyTask"


def test_nothing_is_written_over(tmp_path, capsys) -> None:
    assert main(["new", str(tmp_path / "a"), "--template", "statistics"]) == 0
    assert "fedyard simulate" in capsys.readouterr().out
    assert main(["new", str(tmp_path / "a")]) == 1
    assert "not empty" in capsys.readouterr().err
    with pytest.raises(TaskError, match="no template 'r'"):
        write(tmp_path / "b", "r")


def test_the_statistics_are_those_of_the_rows_together(tmp_path) -> None:
    write(tmp_path / "s", "statistics")
    files = [tmp_path / "s" / "data" / f"{name}.csv" for name in ("north", "east", "south")]
    rows = [line.split(",") for file in files for line in file.read_text().splitlines()[1:]]
    ages = [float(row[0]) for row in rows]
    mean = sum(ages) / len(ages)
    deviation = (sum((age - mean) ** 2 for age in ages) / (len(ages) - 1)) ** 0.5
    model = fedyard.simulate(tmp_path / "s" / "tasks.json", files).model["age"]
    assert model.tolist() == pytest.approx([250, mean, deviation])
