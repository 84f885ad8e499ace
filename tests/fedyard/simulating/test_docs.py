"""Every command and program of docs/simulating.md works, in its order."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import shlex

from fedyard.cli.main import main
from fedyard.cli.simulating import SPLITS
from tests.ops.program import ROOT

PAGE = (ROOT / "docs" / "simulating.md").read_text()


def test_its_commands_and_its_program_work(tmp_path, capsys) -> None:
    commands = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(commands) > 8
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with contextlib.chdir(tmp_path):
        for command in commands:
            name, *arguments = shlex.split(command)
            if name == "cd":
                os.chdir(arguments[0])
                continue
            assert name == "fedyard"
            assert main(arguments) == 0, (command, capsys.readouterr())
        (tmp_path / "program.py").write_text(program)
        runpy.run_path(str(tmp_path / "program.py"))


def test_its_table_names_every_split() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(SPLITS)
