"""The lines of the README do what they say, as they are printed but for the port and the folder."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from devservers.ports import free_port
from tests.ops.program import ROOT, environment


def test_the_first_request_works_as_printed(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().split("## One request")[1].split("\n## ")[0]
    start, *asking = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    script = "\n".join([start, "echo", *(f"{lines}\necho" for lines in asking), "kill %1", "wait"])
    script = script.replace("8080", str(free_port())).replace("var/first", str(tmp_path / "first"))
    shell = ["bash", "-m", "-c", script]
    done = subprocess.run(shell, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert '"kind":"account"' in done.stdout, done.stdout + done.stderr
    assert '"id":' in done.stdout.split('"kind":"account"')[1]
    assert "/problems/" not in done.stdout
