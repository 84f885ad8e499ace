"""fedyard-hub up: the whole hub as its users run it."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from broker.management import Management, ManagementError
from devservers.ports import free_port
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from tests.ops.program import Program, all_gone, call, create_account, fedyard, gone
from tests.waiting import until

Start = Callable[..., Program]


@contextmanager
def starting(servers_folder: Path, logs: Path) -> Iterator[Start]:
    """Starts hubs on a folder that PostgreSQL's account may enter; none survives the block."""
    programs: list[Program] = []

    def begin(**more: str) -> Program:
        log = logs / f"log{len(programs)}"
        more.setdefault("FEDYARD_WEB_PORT", str(free_port()))
        programs.append(Program(log, "up", "--data", servers_folder / "hub", **more))
        return programs[-1]

    yield begin
    for program in programs:
        family = program.family() if program.runs() else []
        program.end(signal.SIGKILL)
        all_gone(family)


@pytest.fixture
def start(servers_folder: Path, tmp_path: Path) -> Iterator[Start]:
    with starting(servers_folder, tmp_path) as begin:
        yield begin


@pytest.fixture
def given(rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres) -> dict[str, str]:
    """The run's own servers, as an operator would name existing ones."""
    return {"FEDYARD_BROKER_URL": rabbitmq.vhost(), "FEDYARD_DATABASE_URL": postgres.database()}


@pytest.mark.timeout(400)
def test_it_works_and_leaves_nothing(start: Start, servers_folder: Path) -> None:
    """Private servers; stopped with Ctrl-C. Through kills it goes among the drills (`test_up_killed.py`)."""
    hub = start()
    api = hub.ready()
    assert call(api, "/readyz")[0] == 200
    for text in ("runs.v1", "log in as operator", "account create"):
        assert text in hub.output
    looks_but_does_not_touch(hub.output)
    for name in ("rabbitmq", "hub.json"):
        path = servers_folder / "hub" / name
        assert path.stat().st_mode & 0o077 == 0, path
    for secret in (servers_folder / "hub").rglob("password*"):
        assert secret.stat().st_mode & 0o077 == 0, secret
        assert secret.read_text() not in hub.output
    token = create_account(servers_folder / "hub")
    assert call(api, "/v1/organisations", token, {"name": "Theirs"}, wait=20)[0] == 201
    family = hub.family()
    assert len(family) > 6
    assert hub.end(signal.SIGINT) == 0, hub.output
    assert gone(family)


@pytest.mark.timeout(400)
def test_a_killed_process_comes_back_and_nothing_is_lost(
    start: Start, given: dict[str, str], servers_folder: Path
) -> None:
    hub = start(**given)
    api = hub.ready()
    token = create_account(servers_folder / "hub")
    for name in ("decider", "web", "ticker"):
        victim = process(hub, name)
        victim.send_signal(signal.SIGKILL)
        until(lambda name=name, victim=victim: process(hub, name) not in (None, victim))
        until(lambda: answers(api))
        status, made = call(api, "/v1/organisations", token, {"name": f"After {name}"}, wait=30)
        assert status == 201, made
    assert hub.end(signal.SIGTERM) == 0, hub.output


def test_the_embedded_broker_is_refused(tmp_path: Path) -> None:
    done = fedyard(
        "up",
        "--data",
        tmp_path,
        FEDYARD_BROKER_URL="embedded:///j.sqlite",
        FEDYARD_DATABASE_URL="postgresql://a:b@127.0.0.1:1/x",
    )
    assert (done.returncode, "fedyard-hub embedded" in done.stderr) == (2, True)


def test_a_database_that_is_down_is_told_in_one_line(tmp_path: Path) -> None:
    done = fedyard(
        "up",
        "--data",
        tmp_path,
        FEDYARD_BROKER_URL="amqp://a:b@127.0.0.1:1/x",
        FEDYARD_DATABASE_URL="postgresql://a:secret@127.0.0.1:1/x",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fedyard-hub: ")
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def looks_but_does_not_touch(output: str) -> None:
    """The login that is told for the management UI lists the queues; it neither takes from one nor empties it."""
    found = re.search(r"http://(\S+) +log in as (\S+), password in (\S+)$", output, re.MULTILINE)
    assert found, output
    operator = Management(f"http://{found[1]}", found[2], Path(found[3]).read_text())
    queues = operator.call("GET", "/queues")
    assert isinstance(queues, list)
    assert "runs.v1" in {queue["name"] for queue in queues}
    take = {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}
    for method, path, body in (
        ("DELETE", "/queues/fedyard/runs.v1/contents", None),
        ("DELETE", "/queues/fedyard/runs.v1", None),
        ("POST", "/queues/fedyard/runs.v1/get", take),
    ):
        with pytest.raises(ManagementError):
            operator.call(method, path, body)


def process(hub: Program, name: str) -> psutil.Process | None:
    """The Procfile's process of this name."""
    for one in hub.family():
        try:
            if one.ppid() == hub.pid and one.environ().get("HONCHO_PROCESS_NAME") == name:
                return one
        except psutil.Error:
            continue
    return None


def answers(api: str) -> bool:
    try:
        return call(api, "/readyz")[0] == 200
    except OSError:
        return False
