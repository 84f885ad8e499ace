"""The demo as a newcomer runs it: a program, watched from outside."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import HTTPCookieProcessor, build_opener

import psutil
import pytest

from demo.hospitals import SHARES, split
from fedyard.agent.site import Folder
from fedyard.sealed.keys import fingerprint, words
from tests.ops.program import ROOT, all_gone, environment
from tests.waiting import until


class Telling:
    """`python -m demo` on a folder of the test."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.log = folder.parent / "demo.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "demo", "--data", str(folder), *arguments],
                cwd=ROOT,
                env=environment(),
                stdout=log,
                stderr=log,
            )

    @property
    def output(self) -> str:
        return self.log.read_text()

    def family(self, count: int) -> list[psutil.Process]:
        """The demo's children and theirs, once there are so many."""

        def children() -> list[psutil.Process] | None:
            assert self.process.poll() is None, self.output
            found = psutil.Process(self.process.pid).children(recursive=True)
            return found if len(found) >= count else None

        return until(children)


def yaml_of(path: Path) -> dict[str, str]:
    return dict(line.replace('"', "").split(": ", 1) for line in path.read_text().splitlines())


def test_the_split_is_uneven_skewed_and_always_the_same() -> None:
    records = split()
    sizes = {name: len(table.rows) for name, table in records.training.items()}
    malignant = {name: table.labels.mean() for name, table in records.training.items()}
    assert list(sizes) == list(SHARES)
    assert sum(sizes.values()) + len(records.test.rows) == 569
    assert max(sizes.values()) > 1.4 * min(sizes.values())
    assert malignant["north"] < 0.15
    assert malignant["east"] > 0.75
    again = split()
    assert all((again.training[n].rows == t.rows).all() for n, t in records.training.items())


def looked_at_by(command: str) -> tuple[int, str]:
    """A portal, let in by the link that it prints: how it answers, and the heading of what left."""
    portal = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {command}"], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert portal.stdout is not None
        link = next(line.strip() for line in portal.stdout if line.startswith("http://127.0.0.1:"))
        browser = build_opener(HTTPCookieProcessor())
        with browser.open(link) as first:
            address = first.url
        with browser.open(f"{address}left") as answer:
            return answer.status, re.findall("<h1>(.*)</h1>", answer.read().decode())[0]
    finally:
        portal.terminate()
        portal.wait()


def test_it_tells_its_story_and_the_lines_that_it_prints_work_afterwards(tmp_path) -> None:
    telling = Telling(tmp_path / "demo", "--rounds", "4")
    assert telling.process.wait() == 0, telling.output
    secret = ("admin.token", "hub.log", "hub/store.sqlite")
    modes = {name: (telling.folder / name).stat().st_mode & 0o777 for name in (".", *secret)}
    assert modes == {".": 0o711, **dict.fromkeys(secret, 0o600)}  # PostgreSQL's account may pass through
    assert re.search(r"train round  4  all          completed   accuracy 0\.\d+, ", telling.output)
    assert "run 1, attempt 1: succeeded (completed)" in telling.output
    for name in SHARES:
        own = words(fingerprint(Folder(telling.folder / name).keyring().identity_key))
        assert re.search(rf"^{name} +{own}$", telling.output, re.MULTILINE)
    assert "pinned     each of the 3 agents has pinned these fingerprints" in telling.output
    assert "for pieces of 12 updates and 4 models" in telling.output
    assert re.search(
        r"^opened +\d+ pieces, at the hub: none \(in the hospitals' folders: models", telling.output, re.MULTILINE
    )
    assert re.search(r"^sealed +\d+ pieces, at the hub: .*store\.sqlite", telling.output, re.MULTILINE)
    searches = re.findall(r"^  (LC_ALL=C grep .*)$", telling.output, re.MULTILINE)
    found = [subprocess.run(x, shell=True, cwd=ROOT, capture_output=True, text=True, check=False) for x in searches]  # noqa: S602
    assert [(x.returncode, bool(x.stdout)) for x in found] == [(1, False), (0, True)]
    logs = re.search(r"^  (\S+ --folder \S+ logs \S+)$", telling.output, re.MULTILINE)
    again = re.search(r"^  (\S+ embedded --data \S+ --port \d+)$", telling.output, re.MULTILINE)
    assert logs, telling.output
    assert again, telling.output
    log = tmp_path / "again.log"
    with log.open("wb") as output:
        hub = subprocess.Popen(["/bin/sh", "-c", f"exec {again[1]}"], cwd=ROOT, env=environment(), stdout=output)
    try:
        until(lambda: "ready http" in log.read_text())
        lines = re.findall(r"^  (curl .*)$", telling.output, re.MULTILINE)
        assert len(lines) == 4
        shown = [subprocess.run(x, shell=True, cwd=ROOT, capture_output=True, check=True).stdout for x in lines]  # noqa: S602
        assert b'"succeeded"' in shown[0]
        assert b'"run_created"' in shown[1] or b'"items"' in shown[1]
        assert all(name.encode() in shown[2] for name in SHARES)
        assert b'"version":4' in shown[3].replace(b" ", b"")
        said = subprocess.run(logs[1], shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S602
        assert {line.split()[1] for line in said.splitlines()} == {*SHARES}
        assert "10 steps over 165 rows" in said
        shown_by = re.search(r"^  (\S+ --folder \S+ site portal)$", telling.output, re.MULTILINE)
        assert shown_by, telling.output
        assert looked_at_by(shown_by[1]) == (200, "What left")
    finally:
        hub.terminate()
        hub.wait()


def test_workloads_hold_seats_and_one_that_is_killed_is_started_again(tmp_path) -> None:
    telling = Telling(tmp_path / "demo", "--workloads", "--rounds", "2")
    assert telling.process.wait() == 0, telling.output
    held = re.findall(r"^(\S+) +(hub|south) +workload ", telling.output, re.MULTILINE)
    assert sorted(held) == [("east-1", "hub"), ("east-2", "hub"), ("east-3", "hub"), ("south-yard", "south")]
    killed = re.search(r"^killed +process (\d+), which holds the seat of east-1", telling.output, re.MULTILINE)
    assert killed
    assert "it was ended by SIGKILL" in telling.output
    assert re.search(r"^train round  1  east-1/2 +submitted", telling.output, re.MULTILINE)
    assert "run 1, attempt 1: succeeded (completed)" in telling.output
    assert "seats      5 done; out: east-1/1 (workload_replaced)" in telling.output
    assert "processes  that still run: none" in telling.output
    assert "left       nothing, after hub and sites have stopped" in telling.output
    assert "attempt 1, trains on 109 patients" in telling.output
    assert "archive    tumours.zip: checked, version 1: fl_checkpoint, model.h5" in telling.output
    assert re.search(r"^selector +2 of 2 at hub: 127\.\S+:50051 \(inside its cluster\)$", telling.output, re.MULTILINE)
    assert "config.yaml, mode 0600:" in telling.output
    tokens = [yaml_of(telling.folder / name / "client" / "config.yaml")["ACCESS_TOKEN"] for name in ("north", "south")]
    assert not [token for token in tokens if token in telling.output]
    told = re.search(r"^round +0: completed; the sidecar told the hub of (.*)$", telling.output, re.MULTILINE)
    assert told
    assert told[1].split(", ")[-1] == "COMPLETED"
    assert re.search(r"^model +version 1, \d+ bytes, SHA-256 ", telling.output, re.MULTILINE)
    assert "tokens     2 of 2 clients' tokens are revoked with the project" in telling.output
    pids = {file.name: int(file.read_text()) for file in (telling.folder / "pids").iterdir()}
    assert len(pids) == 5
    assert int(killed[1]) in pids.values()
    assert not [name for name, pid in pids.items() if psutil.pid_exists(pid)]
    assert not list(telling.folder.glob("*/workloads/**/places/*/*-*"))


def test_a_hub_that_holds_a_model_in_the_clear_is_told_with_exit_code_1(tmp_path) -> None:
    telling = Telling(tmp_path / "demo", "--rounds", "12")

    def model() -> Path | None:
        assert telling.process.poll() is None, telling.output
        return next((telling.folder / "east" / "models").glob("run-*.npz"), None)

    shutil.copy(until(model), telling.folder / "hub" / "leak")
    assert telling.process.wait() == 1, telling.output
    assert re.search(r"^opened +\d+ pieces, at the hub: leak ", telling.output, re.MULTILINE)
    assert "THE HUB CAN READ" in telling.output
    assert "NOT as it should be: exit code 1" in telling.output


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_child_is_left_however_it_ends(tmp_path, how: signal.Signals) -> None:
    telling = Telling(tmp_path / "demo", "--rounds", "2000")
    until(lambda: "train round  2  all" in telling.output)
    family = telling.family(7)  # the hub, three agents, three that compute
    telling.process.send_signal(how)
    assert telling.process.wait() == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    all_gone(family)


def test_a_hub_that_does_not_start_is_told_and_nothing_is_left(tmp_path) -> None:
    (tmp_path / "demo").parent.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--data", str(tmp_path / "demo")],
        cwd=ROOT,
        env=environment(FEDYARD_NONSENSE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "FEDYARD_NONSENSE" in done.stderr


def test_workloads_are_told_of_on_the_embedded_hub_alone() -> None:
    argv = [sys.executable, "-m", "demo", "--workloads", "--broker", "rabbitmq"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "on the embedded hub alone" in done.stderr


@pytest.mark.parametrize("rounds", ["0", "1"])
def test_too_few_rounds_are_refused(rounds: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--rounds", rounds], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "2 at least" in done.stderr
