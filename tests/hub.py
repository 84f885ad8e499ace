"""A hub without processes for tests: the real store and the real decisions, a clock that the test moves."""

from __future__ import annotations

import json
from typing import Any

from actors.deciding import Batch, decide_batch, decide_now
from domain import codec, values
from domain import commands as c
from domain import records as r
from domain.commands import AnyCommand, Envelope
from domain.ids import Id, derive, sha256_hex
from domain.rules import Rules
from domain.states import Report
from domain.table import TABLE, Kind
from domain.values import Subject
from fedyard.wire.times import SECOND
from storage.database import Database
from storage.due import Due
from storage.signals import Announcement
from storage.store import Store
from tests.seals import KEY

START = 1_800_000_000 * SECOND
QUICK = values.Contract(select_within_s=60, train_within_s=600, aggregate_within_s=120, silent_within_s=90)


class TestClock:
    """Time that moves when it is told to."""

    __test__ = False

    def __init__(self) -> None:
        self.micros = START

    def now(self) -> int:
        return self.micros

    def monotonic(self) -> float:
        return self.micros / SECOND

    def sleep(self, seconds: float) -> None:
        self.micros += int(seconds * SECOND)


class Hub:
    """Decides what it is given; remembers what was announced."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = TestClock()
        self.rules = Rules(clusters="hub=somewhere")
        self.heard: list[Announcement] = []
        self.store = Store(database, self.heard.append)
        self.sent = 0
        self.done: list[Envelope] = []
        """What doing actors would have been given."""

    # commands

    def envelope(self, command: AnyCommand, by: Subject = codec.THE_HUB, *, key: str | None = None) -> Envelope:
        self.sent += 1
        command_id = derive(by.id, "test", key if key is not None else self.sent)
        return codec.envelope_of(command, id=command_id, by=by, at=self.clock.now(), waited=True)

    def send(self, command: AnyCommand, by: Subject = codec.THE_HUB, *, key: str | None = None) -> r.Outcome:
        """Decide one command; then whatever it leaves in the outbox, as the relay would."""
        self.clock.sleep(0.001)
        outcome = decide_now(self.store, [self.envelope(command, by, key=key)], self.clock.now(), self.rules)[0]
        self.drain()
        return outcome

    def batch(self, envelopes: list[Envelope]) -> Batch:
        self.clock.sleep(0.001)
        return decide_batch(self.store, envelopes, self.clock.now(), self.rules)

    def drain(self) -> None:
        while rows := self.store.outbox(self.clock.now() + SECOND, 100):
            envelopes = [codec.decode(row.envelope_json) for row in rows]
            self.done += (e for e in envelopes if TABLE[type(e.command)].kind is Kind.DONE)
            decided = [e for e in envelopes if TABLE[type(e.command)].kind is Kind.DECIDED]
            decide_now(self.store, decided, self.clock.now(), self.rules)
            self.store.forget_outbox(row.id for row in rows)

    def ok(self, command: AnyCommand, by: Subject = codec.THE_HUB, *, key: str | None = None) -> dict[str, Any]:
        """The answer of a command that must be accepted."""
        outcome = self.send(command, by, key=key)
        assert outcome.state == "accepted", outcome.answer_json
        return json.loads(outcome.answer_json)

    def refused(self, command: AnyCommand, by: Subject = codec.THE_HUB) -> tuple[int, str]:
        """(status, slug) of a command that must be rejected."""
        outcome = self.send(command, by)
        assert outcome.state == "rejected", outcome.answer_json
        problem = json.loads(outcome.answer_json)
        assert problem["detail"]
        assert problem["status"] == outcome.status
        return outcome.status, problem["type"].removeprefix("/problems/")

    # rows

    def rows(self, kind: type[r.Record], where: str = "1 = 1", *params: object) -> list[Any]:
        columns = ", ".join(kind.__struct_fields__)
        with self.database.connection():
            found = self.database.all(f"SELECT {columns} FROM {kind.TABLE} WHERE {where}", *params)
        return [kind(*row) for row in found]

    def inbox(self, site: Subject) -> list[r.InboxEntry]:
        return sorted(self.rows(r.InboxEntry, "site_id = %s", site.id), key=lambda entry: entry.seq)

    def run(self, run_id: Id) -> r.Run:
        return self.rows(r.Run, "id = %s", run_id)[0]

    def task(self, run_id: Id, seq: int = 1) -> r.TaskRun:
        return self.rows(r.TaskRun, "run_id = %s AND seq = %s", run_id, seq)[0]

    def round(self, run_id: Id, number: int, seq: int = 1) -> r.Round:
        task_id = self.task(run_id, seq).id
        return self.rows(r.Round, "task_run_id = %s AND number = %s", task_id, number)[0]

    def seat(self, run_id: Id, site: Subject, seq: int = 1) -> r.Seat:
        return self.rows(r.Seat, "task_run_id = %s AND site_id = %s", self.task(run_id, seq).id, site.id)[0]

    # scenes

    def key(self, site: Subject, epoch: int = 1, **options: Any) -> c.PutSiteKey:
        """The command that adds a key; each epoch's is another."""
        options.setdefault("public_key", epoch.to_bytes(2, "big") * 608)
        options.setdefault("created_at", START)
        options.setdefault("expires_at", START + 365 * 86_400 * SECOND)
        return c.PutSiteKey(site_id=site.id, epoch=epoch, suite=1, signature=bytes(64), **options)

    def organisation(self, name: str) -> Id:
        return self.ok(c.CreateOrganisation(name=name))["id"]

    def account(self, organisation_id: Id, role: values.Role, name: str = "someone") -> Subject:
        secret = sha256_hex(f"{organisation_id} {name} {role}".encode())
        made = self.ok(c.CreateAccount(organisation_id=organisation_id, name=name, role=role, token_sha256=secret))
        return Subject(kind="account", id=made["id"], organisation_id=organisation_id, role=role)

    def site(self, name: str, organisation_id: Id | None = None) -> Subject:
        organisation_id = organisation_id or self.organisation(f"org of {name}")
        secret = sha256_hex(f"enrolment {name}".encode())
        expires = self.clock.now() + 3600 * SECOND
        enrolment = self.ok(
            c.CreateEnrolment(organisation_id=organisation_id, sha256=secret, note="", expires_at=expires)
        )
        by = Subject(kind="enrolment", id=enrolment["id"], organisation_id=organisation_id)
        token = sha256_hex(f"token {name}".encode())
        made = self.ok(c.EnrolSite(name=name, description="", identity_key=KEY, token_sha256=token), by)
        return Subject(kind="site", id=made["id"], organisation_id=organisation_id)

    def sites(self, count: int) -> list[Subject]:
        organisation_id = self.organisation("all")
        return [self.site(f"site {number}", organisation_id) for number in range(count)]

    def project(self, sites: list[Subject], **options: Any) -> Id:
        """A project coordinated by the first site, joined by the others; one task of two rounds by default.

        Its payloads need not be sealed, unless the test says so.
        """
        options.setdefault("tasks", [values.TaskSpec(name="train", model="logistic", rounds=2, contract=QUICK)])
        options.setdefault("name", f"project {self.sent}")
        options.setdefault("joining", "open")
        options.setdefault("sealed", "optional")
        project = self.ok(c.CreateProject(coordinator_site_id=sites[0].id, **options), sites[0])["id"]
        for site in sites[1:]:
            self.ok(c.PutMember(project_id=project, site_id=site.id), site)
        return project

    def start(self, project: Id, coordinator: Subject, **options: Any) -> Id:
        return self.ok(c.StartRun(project_id=project, **options), coordinator)["id"]

    def report(
        self, run: Id, site: Subject, event: Report, *, task: int = 1, number: int | None = None, **more: Any
    ) -> dict[str, Any]:
        return self.ok(self.reporting(run, site, event, task=task, number=number, **more), site)

    def reporting(
        self, run: Id, site: Subject, event: Report, *, task: int = 1, number: int | None = None, **more: Any
    ) -> c.ReportSeat:
        seat = self.seat(run, site, task)
        more.setdefault("seq", seat.report_seq + 1)
        return c.ReportSeat(run_id=run, task_seq=task, site_id=site.id, event=event, round=number or seat.round, **more)

    def ready_all(self, run: Id, sites: list[Subject], task: int = 1) -> None:
        for site in sites:
            self.report(run, site, Report.READY, task=task)

    def submit_all(self, run: Id, sites: list[Subject], task: int = 1) -> None:
        for site in sites:
            self.report(run, site, Report.SUBMIT, task=task, update=b"update", metrics={"loss": 0.5})

    def aggregate(self, run: Id, coordinator: Subject, number: int, task: int = 1) -> dict[str, Any]:
        command = c.ReportAggregated(run_id=run, task_seq=task, round=number, model=b"model", metrics={"accuracy": 0.9})
        return self.ok(command, coordinator)

    def whole_round(self, run: Id, sites: list[Subject], number: int, task: int = 1) -> None:
        self.ready_all(run, sites, task)
        self.submit_all(run, sites, task)
        self.aggregate(run, sites[0], number, task)

    def pass_time(self, seconds: float) -> None:
        """Let time pass and hand over what a ticker would find about deadlines."""
        self.clock.micros += int(seconds * SECOND)
        with self.database.connection():
            due = Due(self.database).deadlines(self.clock.now())
        for deadline in due:
            self.ok(
                c.PassDeadline(
                    run_id=deadline.run_id,
                    deadline_at=deadline.deadline_at,
                    task_seq=deadline.task_seq,
                    round=deadline.round,
                )
            )
