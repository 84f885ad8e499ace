"""Real servers for the tests: one private RabbitMQ, PostgreSQL and S3 for the whole run, started when first asked for
and killed at its end, for they leave nothing that anybody wants.
A machine without them fails the run and says what to install; nothing is skipped."""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from devservers.kafka import PrivateNoida, PrivateTansu
from devservers.postgres import PrivatePostgres
from devservers.process import temporary_folder
from devservers.seaweed import PrivateSeaweed
from tests.databases import quick_to_log_in
from tests.drills import is_drill
from tests.memory import move_in
from tests.quick import is_quick
from tests.spreading import Spreading
from tests.vhosts import LendingRabbitmq

if TYPE_CHECKING:
    from tests.fedyard.world import World

FOLDER = Path(__file__).resolve().parent
LONG = (
    "page/test_more_views.py",
    "page/test_views.py",
    "page/test_both_faces.py",
    "page/test_stories.py",
    "web/test_fuzzing.py",
    "web/test_attacks.py",
    "chaos/test_run.py",
    "ops/test_restore_drill.py",
    "demo/test_demo.py",
    "demo/test_streams.py",
    "benchmarks/test_board.py",
    "actors/test_deciding.py",
    "broker/test_losses.py",
    "ops/test_servers.py",
    "ops/test_cli.py",
    "ops/test_up_killed.py",
    "ops/test_up.py",
    "broker/test_killed_rabbitmq.py",
    "broker/test_publisher.py",
    "fedyard/test_transfer.py",
    "ops/test_workloads.py",
    "ops/test_dead_letters.py",
    "ops/test_webhooks.py",
    "liar/test_recoveries.py",
    "canary/test_canary.py",
    "fedyard/test_odd_entries.py",
    "liar/test_tasks_and_lists.py",
    "liar/test_consent.py",
    "liar/test_second_model.py",
    "web/test_rights_on_postgres.py",
    "web/test_rights.py",
    "fedyard/python/test_notebooks.py",
    "fedyard/test_agent.py",
    "fedyard/sidecar/test_end_to_end.py",
    "fedyard/simulating/test_pytorch.py",
    "fedyard/test_sealed.py",
    "simulation/test_planted_bugs.py",
    "simulation/test_more_seeds.py",
    "simulation/test_simulation.py",
    "ops/test_embedded.py",
    "ops/test_backups.py",
    "cluster/test_hub.py",
)
"""Files that take long, which begin first, so that no worker is left with one of them at the end; behind those that one
worker has to itself those of `tests/spreading.py`."""

settings.register_profile("fedyard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fedyard")  # how fast the machine is is nothing that a property depends on

_in_memory = pytest.StashKey[Path | None]()
_rabbitmq = pytest.StashKey[LendingRabbitmq]()


def pytest_configure(config: pytest.Config) -> None:
    """Before the first temporary file; the workers of this run inherit the place, and that an interrupt ends a program:
    a shell's background jobs, and with them whoever they start, are told to ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):
        config.stash[_in_memory] = move_in()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spreading | None:
    """With `--dist loadfile`, as `make test` has it."""
    return Spreading(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="leave out what needs a service, and what takes long")
    parser.addoption("--drills", choices=["only", "none"], help="of tests/drills.py: nothing else, or none of them")
    parser.addoption("--kubeconfig", help="run tests of clusters on the one that this file names, instead of the usual")
    parser.addoption("--kube-context", help="of that file; without it the file's current one")
    parser.addoption("--cluster-image", help="an image with sh and python3 that this cluster has")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """What is loaded is no garbage: it is gone through neither meanwhile nor between the tests."""
    gc.disable()
    try:
        _load_all(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _load_all(config: pytest.Config) -> None:
    """Every worker of a whole run loads all tests. Each begins with others, so that on a fresh checkout what pytest and
    Python make of them, which takes longer than the loading, is made once."""
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    if not worker or [config.invocation_params.dir / one for one in config.args] != [FOLDER]:
        return
    files = sorted(FOLDER.rglob("test_*.py"))
    first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
    for file in files[first:] + files[:first]:
        with suppress(Exception, pytest.fail.Exception):  # which pytest will tell when it collects
            importlib.import_module(".".join(file.relative_to(FOLDER.parent).with_suffix("").parts))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file's items stay together and in their order."""
    place = {str(FOLDER / name): number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(str(item.path), len(LONG)))
    left_out: set[pytest.Item] = set()
    if config.getoption("quick"):
        left_out = {item for item in items if not is_quick(item, LONG)}
    elif (drills := config.getoption("drills")) is not None:
        left_out = {item for item in items if is_drill(item) != (drills == "only")}
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """After a file's last test, and what that file has set up."""
    result = yield
    if (nextitem is None or nextitem.path != item.path) and (server := item.config.stash.get(_rabbitmq, None)):
        server.take_back()
    return result


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_in_memory, None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def servers_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Where this run's private servers live; gone afterwards."""
    assert not request.config.getoption("quick"), "this test needs a service: tests/quick.py has to leave it out"
    folder = temporary_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq(servers_folder: Path, request: pytest.FixtureRequest) -> Iterator[LendingRabbitmq]:
    """The run's RabbitMQ. Take a fresh vhost with `vhost()`, which goes with the file; who kills it starts it again."""
    server = LendingRabbitmq(servers_folder / "rabbitmq")
    server.start()
    request.config.stash[_rabbitmq] = server
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[PrivatePostgres]:
    """The run's PostgreSQL. Take a fresh database with `database()`; who kills it starts it again."""
    server = PrivatePostgres(servers_folder / "postgres", durable=False)
    server.start()
    quick_to_log_in(server)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def seaweed(servers_folder: Path) -> Iterator[PrivateSeaweed]:
    """The run's S3. boto3 finds its login in this process's environment, and nothing of the developer's own."""
    server = PrivateSeaweed(servers_folder / "seaweed")
    server.start()
    before = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    for name in before:
        del os.environ[name]
    os.environ.update(server.credentials)
    yield server
    for name in server.credentials:
        del os.environ[name]
    os.environ.update(before)
    server.stop()


@pytest.fixture(scope="session")
def noida(servers_folder: Path) -> Iterator[PrivateNoida]:
    """The run's Kafka. Take topics of names of your own; who kills it starts it again."""
    server = PrivateNoida(servers_folder / "noida")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def tansu(servers_folder: Path) -> Iterator[PrivateTansu]:
    """Another Kafka, as `noida`; `devservers/kafka.py` tells which of them is asked for what."""
    server = PrivateTansu(servers_folder / "tansu")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def hub_of_agents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The run's embedded hub for agents, quick to notice deadlines."""
    from tests.fedyard.world import World  # noqa: PLC0415 - an agent is a lot to load, and most tests have none
    from tests.ops.program import Program, create_account  # noqa: PLC0415 - as above

    assert not request.config.getoption("quick"), "this test needs a hub: tests/quick.py has to leave it out"
    folder: Path = tmp_path_factory.mktemp("world")
    quick = {
        "FEDYARD_TICK_EVERY_S": "0.1",
        "FEDYARD_HEARTBEAT_EVERY_S": "5",
        "FEDYARD_WRITES_PER_S": "1000",  # a site that recovers in each second would be told to wait for most of them
        "FEDYARD_LOG_LEVEL": "WARNING",
    }
    program = Program(folder / "hub.log", "embedded", "--data", folder / "hub", "--port", "0", **quick)
    try:
        hub = program.ready()
        yield World(hub, create_account(folder / "hub"), folder / "hub")
    finally:
        program.end()
