"""A hub behind its HTTP interface for tests: the real store, the real decisions, the real signals; commands are
decided as soon as they are published, unless the test holds them back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from actors.deciding import decide_batch
from actors.packed import record_heartbeats
from actors.running import rules_of
from broker.dead_letters import DeadLetter
from broker.opening import open_publisher
from broker.port import BrokerUnavailable, Sending, Sent
from config.clock import Clock, SystemClock, draw_id
from config.settings import Settings
from domain import commands as c
from domain.codec import THE_HUB, decode, encode, envelope_of
from domain.commands import Envelope, RecordHeartbeats
from domain.ids import Id, sha256_hex
from domain.rules import Rules
from domain.table import TABLE, Kind
from storage.blobs.opening import open_blobs
from storage.database import Database, DatabaseUnavailable, open_database
from storage.signals import DirectSignals, PostgresSignals, Signals
from storage.store import Store
from tests.seals import enrolling
from web.http.hub import Hub
from web.http.routing import Routing, routing_of
from web.live.connections import Connections
from web.serving.app import close, create_app, operations_of

ADMIN = "fyd_admin"
ROUTING = routing_of(operations_of(Settings()))
"""Of all hubs of the tests."""
TASKS = [{"name": "train", "model": "logistic", "rounds": 2, "contract": {"select_within_s": 600}}]


class DecidingPublisher:
    """The publisher's port over a store: a command is decided when it is sent, and its follow-ups after it.

    down: as if the broker did not answer. held: takes commands in without deciding them. forgetful: of heartbeats,
    which come when they come.
    """

    def __init__(self, store: Store, rules: Rules | None = None, clock: Clock | None = None) -> None:
        self._store = store
        self._rules = rules or Rules()
        self._lock = threading.Lock()
        self._clock = clock or SystemClock()
        self.down = False
        self.held = False
        self.forgetful = False
        self.waiting: list[Envelope] = []
        self.sent: list[Envelope] = []
        self.beats: list[RecordHeartbeats] = []
        self.done: list[Envelope] = []
        """What doing actors would have been given."""

    def begin(self, envelopes: Sequence[Envelope], failed: Callable[[], None]) -> Sending:
        self.send(envelopes)
        return Sent()

    def send(self, envelopes: Sequence[Envelope]) -> None:
        if self.down:
            raise BrokerUnavailable("the broker does not answer", retry_after_s=2)
        for envelope in (decode(encode(one)) for one in envelopes):
            if isinstance(envelope.command, RecordHeartbeats):
                self.beats.append(envelope.command)
                if self.forgetful:
                    continue
                with suppress(DatabaseUnavailable):
                    record_heartbeats(self._store, [envelope.command], envelope.at)
                continue
            self.sent.append(envelope)
            if self.held:
                self.waiting.append(envelope)
            else:
                self.decide(envelope)

    def decide(self, envelope: Envelope) -> None:
        with self._lock:
            due = [envelope]
            while due:
                one = due.pop(0)
                if TABLE[type(one.command)].kind is Kind.DONE:
                    self.done.append(one)
                    continue
                batch = decide_batch(self._store, [one], self._clock.now(), self._rules, frozenset({one.id}))
                due.extend(batch.follow_ups)
                self._store.forget_outbox(follow_up.id for follow_up in batch.follow_ups)

    def go_on(self) -> None:
        """Decide what was held back."""
        self.held = False
        waiting, self.waiting = self.waiting, []
        for envelope in waiting:
            self.decide(envelope)

    def ready(self) -> str | None:
        return "the broker does not answer" if self.down else None

    def close(self) -> None:
        pass


class Caller:
    """Somebody with a token."""

    def __init__(self, app: Flask, token: str | None, ident: str = "") -> None:
        self.client: FlaskClient = app.test_client()
        self.token = token
        self.id = ident

    def call(self, method: str, path: str, json: Any = None, **more: Any) -> TestResponse:
        headers = dict(more.pop("headers", {}))
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if more.pop("wait", True) and method != "GET":
            headers.setdefault("Prefer", "wait=10")
        return self.client.open(path, method=method, json=json, headers=headers, **more)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.call("GET", path, **more)

    def ok(self, method: str, path: str, json: Any = None, **more: Any) -> Any:
        """The answer of a call that must succeed."""
        response = self.call(method, path, json, **more)
        assert response.status_code in (200, 201), response.get_data(as_text=True)
        return response.get_json()


@dataclass
class Network:
    """The hub, its admin, and scenes to begin with."""

    app: Flask
    database: Database
    publisher: DecidingPublisher
    signals: Signals
    admin: Caller
    made: int = 0

    def organisation(self, name: str) -> str:
        """A number is added to the name, so that a hub may be shared by tests."""
        self.made += 1
        return self.admin.ok("POST", "/v1/organisations", {"name": f"{name} {self.made}"})["id"]

    def account(self, organisation: str, role: str, name: str = "somebody") -> Caller:
        body = {"organisation_id": organisation, "name": name, "role": role}
        made = self.admin.ok("POST", "/v1/accounts", body)
        return Caller(self.app, made["token"], made["id"])

    def enrolment(self, organisation: str) -> Caller:
        made = self.admin.ok("POST", "/v1/enrolments", {"organisation_id": organisation})
        return Caller(self.app, made["token"], made["id"])

    def site(self, name: str, organisation: str | None = None) -> Caller:
        enrolment = self.enrolment(organisation or self.organisation(f"org of {name}"))
        made = enrolment.ok("POST", "/v1/sites", enrolling(enrolment.token, name))
        return Caller(self.app, made["token"], made["id"])

    def project(self, coordinator: Caller, *participants: Caller, **options: Any) -> str:
        body = {
            "name": f"project of {coordinator.id}",
            "tasks": TASKS,
            "joining": "open",
            "sealed": "optional",
            **options,
        }
        project = coordinator.ok("POST", "/v1/projects", body)["id"]
        for site in participants:
            site.ok("PUT", f"/v1/projects/{project}/members/{site.id}", {})
        return project

    def run(self, coordinator: Caller, project: str) -> str:
        return coordinator.ok("POST", f"/v1/projects/{project}/runs", {})["id"]

    def report(self, site: Caller, run: str, event: str, seq: int, number: int = 1, **more: Any) -> TestResponse:
        body = {"event": event, "seq": seq, "round": number, **more}
        return site.call("PUT", f"/v1/runs/{run}/tasks/1/seats/{site.id}", body)

    def stranger(self, token: str | None) -> Caller:
        return Caller(self.app, token)

    def close(self) -> None:
        close(self.app)
        self.signals.close()
        self.database.close()


def network(
    url: str,
    folder: Path,
    clock: Clock | None = None,
    watched: Connections | None = None,
    routing: Routing | None = ROUTING,
    admin: Id | None = None,
    letters: Sequence[DeadLetter] = (),
    **options: Any,
) -> Network:
    """A hub over this database, whose schema is in place, with an admin. clock: the web's.

    broker_url: of a broker, from which somebody else takes the commands and decides them.
    letters: what lies dead at the broker.
    admin: who is one already, in a database that is not empty; there the clock is that of the decisions, too.
    """
    options.setdefault("artifacts_url", f"file:///{folder}/artifacts")
    options.setdefault("head_key_file", f"{folder}/head.key")
    options.setdefault("webhook_key_file", f"{folder}/webhook.key")
    options.setdefault("workload_key_file", f"{folder}/workload.key")
    options.setdefault("clusters", f"hub=processes:///{folder}/workloads")
    elsewhere = "broker_url" in options
    options.setdefault("broker_url", f"embedded://{folder}/journal.sqlite")
    settings = Settings(database_url=url, **options)
    clock = clock or SystemClock()
    database = open_database(url, pool=16, name="tests")
    if not database.postgres:
        database.hold()  # to open SQLite takes longer than what most calls read there
    signals: Any = PostgresSignals(url) if database.postgres else DirectSignals()
    store = Store(database, None if database.postgres else signals.announce)
    publisher = DecidingPublisher(store, rules_of(settings), clock if admin else None)
    blobs = open_blobs(settings.artifacts_url, clock)
    sender = open_publisher(settings, "web") if elsewhere else publisher
    app = create_app(
        Hub(settings, database, sender, signals, clock, blobs, connections=watched, dead_letters=lambda _: letters),
        routing,
    )
    made = admin or _first_admin(publisher)
    return Network(app, database, publisher, signals, Caller(app, ADMIN, made))


def _first_admin(publisher: DecidingPublisher) -> str:
    """As the operator's command line does it: the hub itself creates the first account."""
    clock = SystemClock()
    organisation = envelope_of(c.CreateOrganisation(name="operators"), id=draw_id(), by=THE_HUB, at=clock.now())
    publisher.send([organisation])
    with publisher._store.database.connection():
        ident = publisher._store.database.one("SELECT id FROM organisations")[0]
    account = c.CreateAccount(
        organisation_id=ident, name="admin", role="admin", token_sha256=sha256_hex(ADMIN.encode())
    )
    publisher.send([envelope_of(account, id=draw_id(), by=THE_HUB, at=clock.now())])
    with publisher._store.database.connection():
        return str(publisher._store.database.one("SELECT id FROM accounts")[0])
