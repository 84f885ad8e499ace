"""The drill: a hub at work is backed up, goes on, is killed, restored, started; its agents recover by themselves."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.hub_errors import Refused
from tests.controller.world import Project, SiteProcess, World, project_of
from tests.ops.program import ROOT, Program, create_account, environment, fedyard, until


class Drill:
    """An embedded hub on one port, whichever of its lives it is in."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.lives = folder, folder / "hub", 0
        self.port = "0"
        self.start()
        self.world = World(f"http://127.0.0.1:{self.port}", create_account(self.data), folder)

    def start(self) -> None:
        self.lives += 1
        log = self.folder / f"log{self.lives}"
        self.program = Program(log, "embedded", "--data", self.data, "--port", self.port)
        self.port = self.program.ready().rpartition(":")[2]

    def restore(self, kept: Path) -> None:
        self.program.end(signal.SIGKILL)
        done = fedyard("restore", kept, "--replace", "--data", self.data)
        assert done.returncode == 0, done.stderr
        self.start()


@pytest.fixture
def drill(tmp_path: Path) -> Iterator[Drill]:
    made = Drill(tmp_path)
    yield made
    made.program.end(signal.SIGKILL)


def test_after_a_restore_nothing_is_lost_unseen_and_what_was_revoked_stays_so(drill: Drill, tmp_path: Path) -> None:
    sites = drill.world.sites(tmp_path, "one", "two")
    one, two = [site.start() for site in sites]
    try:
        project = project_of(sites, rounds=2)
        until(lambda: all(keys_of(site) for site in sites))
        said(one, project, "before")
        until(lambda: read_by(two) == {"before"})
        kept = tmp_path / "kept"
        assert fedyard("backup", "--to", kept, "--data", drill.data).returncode == 0
        for number in range(3):
            said(one, project, f"between {number}")
        until(lambda: len(read_by(two)) == 4)
        ended = project.finished(project.start())
        revoked = site_command(two, "revoke-key", "1")
        assert revoked.returncode == 0, revoked.stderr
        until(lambda: "epoch 1" and ("1", "revoked") in states_of(two))
        drill.restore(kept)
        until(lambda: logged(one, "sent again") and logged(two, "sent again"))
        for number in range(3):
            said(one, project, f"after {number}")
        everything = {"before", *(f"{when} {n}" for when in ("between", "after") for n in range(3))}
        until(lambda: read_by(two) >= everything)
        texts = texts_of(two)
        assert sorted(texts) == sorted(everything)  # none twice
        assert ("1", "revoked") in states_of(two)
        assert list(two.path.glob("state-*.sqlite"))
        with pytest.raises(Refused):
            project.run(ended.id)  # the hub has forgotten it, and says so
        assert project.finished(project.start()).state == "succeeded"
    finally:
        for site in sites:
            site.kill()


def site_command(site: SiteProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [str(ROOT / "fedyard-site"), "--folder", str(site.path), *arguments]
    return subprocess.run(argv, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, check=False)


def said(site: SiteProcess, project: Project, text: str) -> None:
    name = f"project of {site.name}"
    done = until(
        lambda: (d := site_command(site, "send", name, "--to", "participants", "--text", text)).returncode == 0 and d
    )
    assert done.returncode == 0, done.stderr


def texts_of(site: SiteProcess) -> list[str]:
    """What the messages in a site's memory say, those that its agent shows as new ones alone."""

    with sqlite3.connect(f"file:{site.path / 'state.sqlite'}?mode=ro", uri=True) as state:
        rows = state.execute("SELECT body FROM bodies WHERE kind = 'message' AND opened").fetchall()
    return [bytes(row[0]).decode() for row in rows]


def read_by(site: SiteProcess) -> set[str]:
    return set(texts_of(site))


def keys_of(site: SiteProcess) -> list[Any]:
    return site.client.site_keys(site.site_id)


def states_of(site: SiteProcess) -> set[tuple[str, str]]:
    return {(str(key.epoch), key.state) for key in keys_of(site)}


def logged(site: SiteProcess, what: str) -> bool:
    lines = (site.path / "agent.log").read_text().splitlines()
    return any(json.loads(line)["what"] == what for line in lines if line.startswith("{"))
