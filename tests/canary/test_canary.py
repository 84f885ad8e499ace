"""A known plaintext goes through the whole hub, failures and retries included, and is never seen in it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from broker.messages import message_of, wire_of
from config.clock import SystemClock, draw_id
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from domain import codec
from domain import commands as c
from fedyard.actions.site import joining_of
from fedyard.agent.consents import UNKNOWN, Join
from fedyard.agent.site import Folder, Settings
from fedyard.client.client import Client
from fedyard.tasks.settings import Tasks
from fedyard.wire.answers import Run
from ops.accounts import create_account
from storage.database import open_database
from tests.canary.places import everywhere, forms, found_in
from tests.canary.secret import CANARY, LARGE_BYTES
from tests.ops.program import ROOT, Program, environment
from tests.prepared import AGENT, SITE, Running
from tests.waiting import until

MARK = "the-mark-that-may-be-seen"
"""Said in the open, to show that whoever looks would find."""
SITES = ("north", "east", "west")
PROJECTS = ("canary", "fails")


class World:
    """A hub on RabbitMQ and PostgreSQL, and three sites with their agents, each a process."""

    def __init__(self, folder: Path, rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres, stack: ExitStack) -> None:
        self.folder, self.rabbitmq, self.postgres = folder, rabbitmq, postgres
        self.broker_url, self.database_url = rabbitmq.vhost(), postgres.database()
        self.there = {
            "FEDYARD_BROKER_URL": self.broker_url,
            "FEDYARD_DATABASE_URL": self.database_url,
            "FEDYARD_LOG_LEVEL": "DEBUG",
            "FEDYARD_HEARTBEAT_EVERY_S": "1",
            "FEDYARD_ARTIFACTS_URL": f"file:///{folder / 'hub' / 'artifacts'}",
        }
        self.hub_folder = folder / "hub"
        self.hub = Program(folder / "hub.log", "up", "--data", self.hub_folder, **self.there)
        stack.callback(self.hub.end)
        self.api = self.hub.ready()
        self.admin = Client(self.api, self._admins_token())
        self.folders = {name: Folder(folder / name) for name in SITES}
        for name in SITES:
            self._enrol(name)
        for name in SITES:
            stack.callback(_end, self.start_agent(name))
        self.clients = {name: self._client(name) for name in SITES}
        self.ids = {name: self.folders[name].site_id() for name in SITES}

    def _admins_token(self) -> str:
        database = open_database(self.database_url, pool=1)
        try:
            made = create_account(database, SystemClock(), name="canary", organisation="Ours", role="admin")
        finally:
            database.close()
        return made.token

    def _enrol(self, name: str) -> None:
        organisation = self.admin.organisations()[0].id
        enrolment = self.admin.create_enrolment(organisation, note=name)
        assert enrolment.token is not None
        settings = Settings(
            hub=self.api,
            name=name,
            join=[] if name == SITES[0] else [Join(project=one, coordinator=UNKNOWN) for one in PROJECTS],
            tasks=Tasks(allow=["tests.canary.secret:Secret"]),
        )
        self.folders[name].create(settings, enrolment.token)

    def start_agent(self, name: str) -> Running:
        with (self.folder / f"{name}.log").open("ab") as log:
            return AGENT.start(
                *("--folder", self.folders[name].path, "site", "run"),
                output=log,
                error=log,
                environment=environment(PYTHONPATH=str(ROOT)),
            )

    def _client(self, name: str) -> Client:
        folder = self.folders[name]
        until((folder.path / "site.id").exists)
        return Client(self.api, folder.token())

    def say(self, name: str, *arguments: str) -> str:
        """`fedyard` of a site."""
        done = SITE.run("--folder", self.folders[name].path, *arguments, environment=environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def kill(self, role: str) -> None:
        """kill -9 of a process of the hub; its supervisor starts it again."""
        for process in self.hub.family():
            with suppress(psutil.Error):
                if any(role in part for part in process.cmdline()):
                    process.kill()

    def searched(self, secret: bytes) -> list[str]:
        database = open_database(self.database_url, pool=1)
        try:
            vhost = self.broker_url.rpartition("/")[2]
            return everywhere(self.api, self.hub_folder, self.postgres, self.rabbitmq, vhost, database, secret)
        finally:
            database.close()


def _end(process: Running) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait()


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres
) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(tmp_path_factory.mktemp("canary"), rabbitmq, postgres, stack)


def run_to_its_end(world: World, project: str, meanwhile: Callable[[], None] = lambda: None) -> Run:
    north = world.clients["north"]
    started = north.start_run(project)
    meanwhile()
    return until(lambda: (run := north.run(started.id)).finished and run)


def test_the_search_finds_every_form() -> None:
    for form, text in forms(CANARY).items():
        assert form in found_in(b"x" + text + b"y", CANARY)


def test_nothing_in_the_hub_holds_the_canary(world: World) -> None:
    north = world.clients["north"]
    task = {"name": "train", "model": "tests.canary.secret:Secret", "rounds": 3}
    project = north.create_project("canary", [task], joining="open", description=MARK)
    failing = north.create_project(
        "fails", [{**task, "parameters": {"fail": True}, "contract": {"quorum": 1}}], joining="open"
    )
    for made, name in zip((project, failing), PROJECTS, strict=True):
        joining_of(world.folders["north"], north).lead(made, name)
        until(lambda: sum(m.state == "active" for m in north.members(made)) == len(SITES))  # noqa: B023

    def trouble() -> None:
        for role in ("decider", "web.serving.wsgi", "relay"):
            time.sleep(0.5)
            world.kill(role)

    run = run_to_its_end(world, project, trouble)
    assert run.state == "succeeded", str([(e.kind, e.facts) for e in north.events(run.id)])[-1500:]
    assert run_to_its_end(world, failing).state == "failed"
    world.say("north", "send", "canary", "--to", "participants", "--text", CANARY.decode())
    bury_a_message(world, run)

    assert not world.searched(CANARY)
    seen = world.searched(MARK.encode())
    assert any("table projects" in place for place in seen)
    assert any(str(world.rabbitmq.folder) in place for place in seen)
    assert any(str(world.postgres.folder) in place for place in seen)

    shown = world.say("north", "logs", "canary/1")
    assert CANARY.decode() in shown
    models = list((world.folders["west"].path / "models").iterdir())
    assert any(CANARY in path.read_bytes() and path.stat().st_size >= LARGE_BYTES for path in models)


def bury_a_message(world: World, run: Run) -> None:
    """A sealed message that no decider can read becomes a dead letter, after its retries."""
    message_id = run.tasks[0].model_message_id
    assert message_id is not None
    sealed = world.clients["north"].message(message_id).body
    assert sealed is not None
    posted = c.PostMessages(
        sender_site_id=world.ids["north"],
        messages=[c.NewMessage(project_id=run.project_id, to="participants", body=sealed)],
    )
    envelope = codec.envelope_of(posted, id=draw_id(), by=codec.THE_HUB, at=SystemClock().now())
    wire = wire_of(message_of(envelope)).replace(b'\\"version\\":1', b'\\"version\\":9')
    assert wire != wire_of(message_of(envelope))
    vhost = world.broker_url.rpartition("/")[2]
    world.rabbitmq.management.call(
        "POST",
        f"/exchanges/{vhost}/amq.default/publish",
        {
            "properties": {"delivery_mode": 2},
            "routing_key": "messages.v1",
            "payload": wire.decode(),
            "payload_encoding": "string",
        },
    )
    until(
        lambda: any(
            queue["name"] == "messages.v1.XQ" and queue.get("messages", 0)
            for queue in world.rabbitmq.management.call("GET", f"/queues/{vhost}")
        )
    )
