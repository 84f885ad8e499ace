"""The lines of docs/deploying.md that make a hub's secrets make what the hub takes."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from config.clock import SystemClock
from config.key_files import KeyFile
from config.settings import Settings
from ops.accounts import create_account
from storage.database import open_database
from storage.migrate import migrate
from tests.deploy.checkout import ROOT


def test_they_make_keys_a_token_and_places_for_addresses_and_keep_what_there_is(tmp_path: Path) -> None:
    section = (ROOT / "docs" / "deploying.md").read_text().split("## Secrets")[1]
    lines = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert lines

    def say() -> None:
        subprocess.run(["sh", "-ec", lines[1]], cwd=tmp_path, check=True, env={"PATH": os.environ["PATH"]})

    say()
    made = tmp_path / "secrets"
    keys = {name: KeyFile(made / name, name, "", "").read() for name in ("head.key", "webhook.key", "workload.key")}
    assert len(set(keys.values())) == len(keys)
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o600}
    files = {f"FEDYARD_{name}_URL_FILE": str(made / f"{name.lower()}-url") for name in ("BROKER", "DATABASE")}
    assert not Settings.read(files).embedded
    database = open_database(f"sqlite:///{tmp_path}/store")
    migrate(database)
    token = (made / "admin.token").read_text().strip()
    create_account(database, SystemClock(), name="a", organisation="b", role="admin", token=token)
    say()
    assert keys == {name: KeyFile(made / name, name, "", "").read() for name in keys}
    assert token == (made / "admin.token").read_text().strip()
