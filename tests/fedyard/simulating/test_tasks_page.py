"""The commands and the tasks of docs/tasks.md work, in their order; those with PyTorch in a drill (test_pytorch.py)."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from pathlib import Path

import numpy as np

import fedyard
from fedyard.cli.main import main
from fedyard.tasks import Context, strategies
from tests.ops.program import ROOT

PAGE = (ROOT / "docs" / "tasks.md").read_text()
FILES = {re.match(r'"""(\w+\.py): ', text)[1]: text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)}  # type: ignore[index]
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@contextlib.contextmanager
def folder(where: Path):
    """The page's folder, with its files and the data of `fedyard new`."""
    with contextlib.chdir(where):
        for command in COMMANDS:
            name, *arguments = shlex.split(command)
            if name == "cd":
                os.chdir(arguments[0])
                break
            assert main(arguments) == 0
        for name, text in FILES.items():
            Path(name).write_text(text)
        yield


def run(capsys, *, torch: bool) -> int:
    """Run the page's commands, those with PyTorch or the others; how many."""
    commands = [each for each in COMMANDS[2:] if ("network.py" in each) == torch]
    for command in commands:
        _, *arguments = shlex.split(command)
        assert main(arguments) == 0, (command, capsys.readouterr())
    return len(commands)


def test_its_commands_work(tmp_path, capsys) -> None:
    with folder(tmp_path):
        assert run(capsys, torch=False) == 4


def test_its_tasks_learn(tmp_path) -> None:
    with folder(tmp_path):
        sites = [f"data/{name}.csv" for name in ("north", "east", "south")]
        for file, rounds in (("dose.py", 8), ("trees.py", 1)):
            made = fedyard.simulate(file, sites, test="data/test.csv", rounds=rounds)
            assert made.state == "succeeded", made.reason
            assert made.metrics["accuracy"] > 0.8, file


def test_a_run_that_goes_on_with_a_model_goes_on_with_its_moments(tmp_path) -> None:
    with folder(tmp_path):
        sites = [f"data/{name}.csv" for name in ("north", "east", "south")]
        whole = fedyard.simulate("dose.py", sites, rounds=4).model
        half = fedyard.simulate("dose.py", sites, rounds=2, folder="kept").model
        rest = fedyard.simulate("dose.py", sites, rounds=2, folder="kept", first_model=half).model
        anew = fedyard.simulate("dose.py", sites, rounds=2, first_model=half).model
    assert rest["weights"].tolist() == whole["weights"].tolist() != anew["weights"].tolist()


def test_a_head_stays_at_its_site_and_is_there_in_the_next_run(tmp_path) -> None:
    """Three sites whose rows lie on lines of one slope and of intercepts of their own."""
    ages = np.linspace(20, 80, 30)
    intercepts = {"a": 1.0, "b": -2.0, "c": 7.0}
    data = {name: {"age": ages, "dose": 3.0 * (ages / 50 - 1) + own} for name, own in intercepts.items()}
    task = {"name": "heads", "model": "heads:Heads", "score_every": 1}

    def errors(rounds: int, **more) -> tuple[fedyard.Simulated, list[float]]:
        made = fedyard.simulate([task], data, rounds=rounds, **more)
        assert made.state == "succeeded", made.reason
        return made, [site.score["error"] for site in made.rounds[-1].sites]

    with folder(tmp_path):
        first, learned = errors(60, folder=tmp_path / "kept")
        assert list(first.model) == ["weights"]
        assert abs(first.model["weights"][0] - 3.0) < 0.1
        assert max(learned) < 1e-2
        _, again = errors(1, folder=tmp_path / "kept", first_model=first.model)
        assert max(again) < 1e-2
        _, anew = errors(1, first_model=first.model)
        assert max(anew) > 2e-2


def test_it_names_every_strategy_and_all_that_a_hook_has() -> None:
    assert [name for name in strategies.__all__ if f"`{name}(" not in PAGE] == []
    (table,) = re.findall(r"\| of `context` \| is \|\n\|---\|---\|\n(.*?)\n\n", PAGE, re.DOTALL)
    has = {name for name in [*Context.__dataclass_fields__, *vars(Context)] if not name.startswith("_")}
    assert {name for name in has if not re.search(rf"`{name}[`(]", table)} <= {"start", "sources", "common_seed"}
