"""Reads what a batch of decisions needs: a fixed number of queries, each over all ids at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from broker.protocol import records as r
from broker.protocol.ids import Id
from broker.protocol.needs import Needs
from broker.protocol.records import Record
from storage.database import Database
from storage.tables import COLUMNS

R = TypeVar("R", bound=Record)


@dataclass
class Loaded:
    """The rows, and the live runs in which a retiring site holds a live seat."""

    records: list[Record] = field(default_factory=list)
    seated: list[tuple[Id, Id]] = field(default_factory=list)
    """(site id, run id)"""


def load(database: Database, needs: Needs) -> Loaded:
    """Everything that `needs` names and what hangs on it. Reads under the deciding lock, so nothing moves meanwhile."""
    reader = _Reader(database)

    messages = reader.rows(r.Message, _MESSAGES, needs.messages)
    reader.rows(r.InboxEntry, _QUEUED, needs.messages)
    senders = {m.sender_site_id for m in messages}

    runs = reader.rows(r.Run, f"{_RUNS} WHERE id {{any:uuid}}", needs.runs | needs.mentioned_runs)
    restarted_in = {run.project_id for run in runs if run.id in needs.restarting}
    live = reader.rows(r.Run, _LIVE_RUNS, needs.live_runs_of | restarted_in)
    runs = [run for run in runs if run.id in needs.runs]
    runs += [run for run in live if run.state == "created" and run.project_id in needs.begin_in]
    reader.loaded.seated = reader.pairs(_SEATED, needs.retiring)

    own = reader.rows(r.Membership, f"{_MEMBERS} WHERE site_id {{any:uuid}}", needs.retiring)
    coordinated = reader.rows(r.Project, f"{_PROJECTS} WHERE coordinator_site_id {{any:uuid}}", needs.retiring)
    of_runs = {run.project_id for run in runs}
    wanted = (
        needs.projects | needs.members_of | of_runs | {m.project_id for m in messages} | {m.project_id for m in own}
    )
    projects = [*coordinated, *reader.rows(r.Project, f"{_PROJECTS} WHERE id {{any:uuid}}", wanted)]
    reader.rows(r.Project, f"{_PROJECTS} WHERE name {{any}}", needs.project_names)
    members = reader.rows(r.Membership, f"{_MEMBERS} WHERE project_id {{any:uuid}}", needs.members_of | of_runs)

    run_ids = {run.id for run in runs}
    reader.rows(r.TaskRun, f"{_TASK_RUNS} WHERE run_id {{any:uuid}}", run_ids)
    reader.rows(r.Round, _ROUNDS, run_ids)
    seats = reader.rows(r.Seat, _SEATS, run_ids)

    tokens = reader.rows(r.Token, f"{_TOKENS} WHERE id {{any:uuid}}", needs.tokens)
    tokens += reader.rows(r.Token, f"{_TOKENS} WHERE sha256 {{any}}", needs.token_hashes)
    enrolments = reader.rows(r.Enrolment, f"{_ENROLMENTS} WHERE id {{any:uuid}}", needs.enrolments)
    reader.rows(r.Enrolment, f"{_ENROLMENTS} WHERE sha256 {{any}}", needs.token_hashes)
    owners = {t.owner_kind: {o.owner_id for o in tokens if o.owner_kind == t.owner_kind} for t in tokens}
    account_ids = needs.accounts | owners.get("account", set())
    accounts = reader.rows(r.Account, f"{_ACCOUNTS} WHERE id {{any:uuid}}", account_ids)

    named = needs.sites | needs.retiring | owners.get("site", set())
    concerned = named | {s.site_id for s in seats} | {m.site_id for m in members} | senders
    concerned |= {run.coordinator_site_id for run in runs} | {p.coordinator_site_id for p in projects}
    sites = reader.rows(r.Site, f"{_SITES} WHERE id {{any:uuid}}", concerned)
    reader.rows(r.Site, f"{_SITES} WHERE name {{any}}", needs.site_names)
    reader.rows(r.Mailbox, f"{_MAILBOXES} WHERE site_id {{any:uuid}}", concerned)

    organisations = needs.organisations | {a.organisation_id for a in accounts}
    organisations |= {e.organisation_id for e in enrolments}
    organisations |= {s.organisation_id for s in sites if s.id in named}
    reader.rows(r.Organisation, f"{_ORGANISATIONS} WHERE id {{any:uuid}}", organisations)
    reader.rows(r.Organisation, f"{_ORGANISATIONS} WHERE name {{any}}", needs.organisation_names)

    streams = {p.id for p in projects} | named | organisations
    reader.rows(r.Stream, f"{_STREAMS} WHERE id {{any:uuid}}", streams)
    return reader.loaded


class _Reader:
    """Collects records; asks nothing where there is nothing to ask for."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.loaded = Loaded()

    def rows(self, kind: type[R], sql: str, ids: Iterable[object | None]) -> list[R]:
        wanted = [key for key in ids if key is not None]
        if not wanted:
            return []
        found = [kind(*row) for row in self.database.all(sql, self.database.many(wanted))]
        self.loaded.records.extend(found)
        return found

    def pairs(self, sql: str, ids: Iterable[Id]) -> list[tuple[Id, Id]]:
        wanted = list(ids)
        return [(a, b) for a, b in self.database.all(sql, self.database.many(wanted))] if wanted else []


def _select(kind: type[Record], prefix: str = "") -> str:
    return f"SELECT {', '.join(prefix + name for name in COLUMNS[kind])} FROM {kind.TABLE}"


_RUNS = _select(r.Run)
_LIVE_RUNS = f"{_RUNS} WHERE project_id {{any:uuid}} AND state IN ('created', 'running')"
_PROJECTS = _select(r.Project)
_MEMBERS = _select(r.Membership)
_TASK_RUNS = _select(r.TaskRun)
_ROUNDS = (
    f"{_select(r.Round, 'rounds.')} JOIN task_runs ON task_runs.id = rounds.task_run_id"
    " AND task_runs.round = rounds.number WHERE rounds.run_id {any:uuid}"
)
_SEATS = (
    f"{_select(r.Seat, 'seats.')} JOIN task_runs ON task_runs.id = seats.task_run_id"
    " WHERE seats.run_id {any:uuid} AND task_runs.state = 'active'"
)
_SEATED = (
    "SELECT DISTINCT seats.site_id, seats.run_id FROM seats JOIN runs ON runs.id = seats.run_id"
    " WHERE seats.site_id {any:uuid} AND runs.state = 'running'"
    " AND seats.state IN ('invited', 'preparing', 'ready', 'training', 'uploading', 'submitted')"
)
_SITES = _select(r.Site)
_MAILBOXES = _select(r.Mailbox)
_ORGANISATIONS = _select(r.Organisation)
_ACCOUNTS = _select(r.Account)
_TOKENS = _select(r.Token)
_ENROLMENTS = _select(r.Enrolment)
_STREAMS = _select(r.Stream)
_BODY = "CASE WHEN kind = 'model' THEN body END"
_MESSAGES = (
    f"SELECT {', '.join(_BODY if name == 'body' else name for name in COLUMNS[r.Message])} FROM messages"
    " WHERE id {any:uuid}"
)
"""Without the body, which no decision needs; that of a global model outlives its message's expiry, so it is kept."""
_QUEUED = f"{_select(r.InboxEntry)} WHERE message_id {{any:uuid}} AND state = 'queued'"
