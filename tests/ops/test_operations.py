"""The lines of docs/operations.md on backups do what they say, as they are printed but for the folders."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from tests.ops.program import ROOT, Program, call, create_account, environment


def test_a_backup_is_made_proved_and_put_back_as_printed(tmp_path: Path) -> None:
    section = (ROOT / "docs" / "operations.md").read_text().split("## Backup and restore")[1].split("\n## ")[0]
    found = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert found
    made, proved, put_back = [line for line in found[1].splitlines() if line.startswith("bin/fedyard-hub ")]
    data = tmp_path / "hub"
    hub = Program(tmp_path / "log", "embedded", "--data", data, "--port", "0")
    try:
        api = hub.ready()
        token = create_account(data)
        assert call(api, "/v1/organisations", token, {"name": "Before"}, wait=20)[0] == 201
        runs(made, tmp_path)
        assert "the backup is good" in runs(proved, tmp_path)
        assert call(api, "/v1/organisations", token, {"name": "After"}, wait=20)[0] == 201
    finally:
        hub.end(signal.SIGKILL)
    assert "put aside" in runs(put_back, tmp_path)
    again = Program(tmp_path / "log2", "embedded", "--data", data, "--port", "0")
    try:
        _, answer = call(again.ready(), "/v1/organisations", token)
        assert {"Before", "After"} & {item["name"] for item in answer["items"]} == {"Before"}
    finally:
        again.end(signal.SIGKILL)


def runs(line: str, folder: Path) -> str:
    """What a line prints; its folder of backups lies in `folder`, and the hub's data, too."""
    command, _, remark = line.partition("#")
    script = f"{command.replace('backups/', f'{folder}/backups/').strip()} --data {folder / 'hub'} #{remark}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
