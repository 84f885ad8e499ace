"""fedyard-hub embedded: one process, one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config.settings import SettingsError, path_url, url_path
from devservers.ports import free_port
from tests.ops.program import ROOT, Program, call, create_account, environment, fedyard, gone
from tests.waiting import until

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts hubs on one folder; none survives the test."""
    programs: list[Program] = []

    def begin(**more: str) -> Program:
        log = tmp_path / f"log{len(programs)}"
        programs.append(Program(log, "embedded", "--data", tmp_path / "hub", "--port", "0", **more))
        return programs[-1]

    yield begin
    for program in programs:
        program.end(signal.SIGKILL)


def test_it_serves_decides_and_stops_cleanly(start: Start, tmp_path: Path) -> None:
    hub = start()
    api = hub.ready()
    assert call(api, "/readyz")[0] == 200
    token = create_account(tmp_path / "hub")
    status, made = call(api, "/v1/organisations", token, {"name": "Theirs"}, wait=20)
    assert status == 201, made
    family = hub.family()
    for path in (tmp_path / "hub", *(tmp_path / "hub").rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    assert hub.end(signal.SIGTERM) == 0, hub.output
    assert gone(family)
    assert "middleware" not in hub.output, "a first start warns of nothing that is in order"


def test_what_was_accepted_is_decided_after_a_kill(start: Start, tmp_path: Path) -> None:
    hub = start()
    api = hub.ready()
    token = create_account(tmp_path / "hub")
    accepted = [call(api, "/v1/organisations", token, {"name": f"Number {n}"}) for n in range(20)]
    hub.end(signal.SIGKILL)
    assert {status for status, _ in accepted} == {202}
    again = start()
    api = again.ready()
    for _, body in accepted:
        status, command = call(api, f"{body['command']['href']}?wait=30", token)
        assert (status, command["state"]) == (200, "accepted")
    assert again.end() == 0


def test_a_stop_answers_open_polls(start: Start, tmp_path: Path) -> None:
    hub = start()
    api = hub.ready()
    token = create_account(tmp_path / "hub")
    unknown = "00000000-0000-4000-8000-000000000000"
    answers: list[tuple[int, dict[str, Any]]] = []
    poll = threading.Thread(target=lambda: answers.append(call(api, f"/v1/commands/{unknown}?wait=30", token)))
    poll.start()
    until(lambda: "fedyard_polls_waiting 1" in metrics(api) or not poll.is_alive())
    assert hub.end() == 0
    poll.join()
    assert [(status, body["state"]) for status, body in answers] == [(200, "pending")]


def test_a_folder_has_one_hub(start: Start, tmp_path: Path) -> None:
    start().ready()
    second = fedyard("embedded", "--data", tmp_path / "hub", "--port", "0")
    assert second.returncode == 2
    assert "another hub runs" in second.stderr
    assert len(second.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_told_in_one_line(start: Start, tmp_path: Path) -> None:
    taken = start().ready().rpartition(":")[2]
    second = fedyard("embedded", "--data", tmp_path / "second", "--port", taken)
    assert (second.returncode, "Traceback" in second.stderr) == (2, False), second.stderr
    assert f"fedyard-hub: cannot listen on 127.0.0.1:{taken}" in second.stderr


def test_a_place_where_no_hub_can_be_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = fedyard("embedded", "--data", tmp_path / "file", "--port", "0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "choose another with --data" in done.stderr
    assert fedyard("runs", "list", "--data", tmp_path / "file").returncode == 2


def test_rabbitmq_is_refused(tmp_path: Path) -> None:
    done = fedyard(
        "embedded",
        "--data",
        tmp_path,
        FEDYARD_BROKER_URL="amqp://a:b@127.0.0.1:1/x",
        FEDYARD_DATABASE_URL="postgresql://a:b@127.0.0.1:1/x",
    )
    assert (done.returncode, "fedyard-hub up" in done.stderr) == (2, True)


def metrics(api: str) -> str:
    with urllib.request.urlopen(f"{api}/metrics", timeout=10) as answer:
        return answer.read().decode()


@pytest.mark.parametrize("name", ["h#1", "a?b=c", "100%25 sure", "gr\u00f6\u00dfe;x", "~a&b'c"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    """Everything of the hub lies in it, and the other commands find it."""
    folder = tmp_path / name / "hub"
    program = Program(tmp_path / "log", "embedded", "--data", folder, "--port", "0")
    try:
        api = program.ready()
        assert call(api, "/readyz")[0] == 200
        create_account(folder)
        assert {"store.sqlite", "journal.sqlite"} <= {path.name for path in folder.iterdir()}
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["log", name])
        assert "Ours" in fedyard("organisation", "list", "--data", folder).stdout
    finally:
        program.end(signal.SIGKILL)


def test_a_relative_folder_is_meant_from_here(tmp_path: Path) -> None:
    program = Program(tmp_path / "log", "embedded", "--data", os.path.relpath(tmp_path / "x#y"), "--port", "0")
    try:
        assert call(program.ready(), "/readyz")[0] == 200
        assert (tmp_path / "x#y" / "store.sqlite").exists()
    finally:
        program.end(signal.SIGKILL)


@pytest.mark.parametrize("path", [Path("a b#c?d%41"), Path("/srv/\u00e5/x"), Path("/srv") / os.fsdecode(b"\xff")])
def test_a_path_goes_through_a_url_and_back(path: Path) -> None:
    for scheme in ("sqlite", "embedded", "file"):
        assert Path(url_path(path_url(scheme, path))) == path


@pytest.mark.parametrize("url", ["sqlite:////srv/h#1/store", "file:///a?b", "sqlite:///", "embedded:///%00"])
def test_a_url_that_would_mean_another_path_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        url_path(url)


def test_a_full_disk_behind_what_it_says_stops_no_hub(tmp_path: Path) -> None:
    port = str(free_port(18_000))
    with Path("/dev/full").open("w") as full:
        hub = subprocess.Popen(
            [str(ROOT / "bin" / "fedyard-hub"), "embedded", "--data", str(tmp_path / "hub"), "--port", port],
            env=environment(),
            stdout=full,
            stderr=full,
        )
        try:
            until((tmp_path / "hub" / "hub.json").exists)
            create_account(tmp_path / "hub")
            assert until(lambda: call(f"http://127.0.0.1:{port}", "/readyz")[0] == 200)
        finally:
            hub.terminate()
        assert hub.wait() == 0
