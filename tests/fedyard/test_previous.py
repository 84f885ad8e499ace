"""A site that is a minor version behind works with today's hub and with a coordinator of today."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedyard.wire.version import __version__
from fedyard.wire.versions import misfit
from tests.fedyard.test_distribution import environment_with, run
from tests.fedyard.world import World
from tests.ops.program import ROOT, environment
from tests.waiting import until

PREVIOUS = "0.2.0"
COMMIT = "f4ece69fbad1d4396fb6ef30197a8632240d6e4f"
"""Its wheel is built from here: a commit comes with each clone, and a tag does not."""


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has that wheel."""
    folder = tmp_path_factory.mktemp("previous")
    archive = ["git", "archive", "--format=tar", f"--output={folder / 'sources.tar'}", COMMIT]
    done = subprocess.run(
        [*archive, "fedyard", "pyproject.toml", "docs/sites.md", "LICENSE"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stderr.strip()}: a clone with its history has it: git fetch --unshallow"
    (folder / "sources").mkdir()
    subprocess.run(["tar", "-xf", folder / "sources.tar", "-C", folder / "sources"], check=True)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=folder / "sources", check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return environment_with(wheel, folder / "venv")


def test_it_takes_part_in_a_run(previous: Path, world: World, tmp_path: Path) -> None:
    assert misfit(__version__, PREVIOUS) == "", "build the wheel of the minor version before this one"
    (north,) = world.sites(tmp_path, "north")
    rows = "".join(f"{age},{label}\n" for age, label in ((1, 0), (2, 0), (3, 1), (4, 1)))
    for folder in (north.path, tmp_path):
        (folder / "data.csv").write_text(f"age,ill\n{rows}")
    toml = (north.path / "site.toml").read_text()
    data = 'train = "data.csv"\ntest = "data.csv"\n'
    (north.path / "site.toml").write_text(
        re.sub(r"^\[data\].*\n", lambda found: found[0] + data, toml, flags=re.MULTILINE)
    )
    task = {"name": "train", "model": "logistic_regression", "rounds": 2, "parameters": {"label": "ill"}}
    project = north.client.create_project(f"previous {tmp_path.name}", [task], joining="open")
    north.join(project)
    (tmp_path / "token").write_text(world.admin.create_enrolment(world.organisation_id).token or "")
    made = run(
        previous / "fedyard", *("--folder", "old", "site", "init", "--hub", world.hub, "--name", f"{tmp_path.name} o"),
        *("--token-file", "token", "--data", "train=data.csv", "--data", "test=data.csv", "--join", project),
        cwd=tmp_path,
    )  # fmt: skip
    assert (made.returncode, made.stderr) == (0, "")
    log = tmp_path / "agent.log"
    with log.open("wb") as output:
        old = subprocess.Popen(
            [previous / "fedyard", "--folder", "old", "site", "run"], cwd=tmp_path, env=environment(), stderr=output
        )
    try:
        north.start()
        until(lambda: [one.state for one in north.client.members(project)].count("active") == 2)
        run_id = north.client.start_run(project).id
        done = until(lambda: (r := north.client.run(run_id)).finished and r)
        assert done.state == "succeeded", log.read_text()
        assert [seat.state for seat in done.tasks[0].seats] == ["done", "done"]
    finally:
        old.send_signal(signal.SIGTERM)
        north.kill()
    assert old.wait() == 0
    version = run(previous / "fedyard", "--version", cwd=tmp_path)
    assert version.stdout == f"fedyard {PREVIOUS}\n"
