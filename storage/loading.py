"""Reads what a batch of decisions needs: a fixed number of queries, each over all ids at once.

What most commands need (runs, projects with their members, sites) is one query in PostgreSQL: the round trips are
most of the price of a small batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from domain import records as r
from domain.needs import Needs
from domain.records import Record
from domain.values import Micros
from storage.counting import counted
from storage.database import Database
from storage.loading_apart import LOADED_APART, load_apart
from storage.reader import Loaded, Reader
from storage.tables import COLUMNS, select

R = TypeVar("R", bound=Record)


def load(database: Database, needs: Needs, now: Micros) -> Loaded:
    """Everything that `needs` names and what hangs on it. Reads under the deciding lock, so nothing moves meanwhile.

    now: what has expired by then is not counted.
    """
    records, needs = load_apart(database, needs)
    at_once = database.postgres and _is_common(needs)
    loaded = _load_at_once(database, needs) if at_once else _load_one_by_one(database, needs)
    loaded.records.extend(records)
    if needs.beats:
        loaded.seen.update(database.all(_BEATS, database.many(needs.beats)))
    if needs.told:
        loaded.records.extend(r.Told(*row) for row in database.all(_TOLD, database.many(needs.told)))
    if needs.led:
        led = database.many(needs.led)
        loaded.records.extend(r.Stream(*row) for row in database.all(_STREAMS_OF_LEADS, led, led))
    if needs.counts:
        loaded.counts = counted(database, needs.counts, now)
    return loaded


def _is_common(needs: Needs) -> bool:
    return not any(wanted for name, wanted in vars(needs).items() if name not in _COMMON | _APART)


def _load_at_once(database: Database, needs: Needs) -> Loaded:
    """The same rows as one by one, as JSON, which comes faster into records than rows do."""
    runs, named = database.many(needs.runs), database.many(needs.sites)
    marks = sorted(needs.marks)
    row = database.one(
        database.prepared("fedyard_load", _AT_ONCE, ("uuid[]",) * 9 + ("bigint[]", "uuid[]") + _MORE_TYPES),
        runs,
        database.many(needs.members_of),
        database.many(needs.projects),
        runs,
        named,
        named,
        named,
        database.many(needs.runs | needs.mentioned_runs),
        database.many(site for site, _ in needs.keys),
        database.many(epoch for _, epoch in needs.keys),
        database.many(needs.keys_in),
        [site for site, _ in marks],
        [seq for _, seq in marks],
        database.many(needs.history),
        database.many(needs.senders),
    )
    assert row is not None
    records: list[Record] = []
    for decode, text in zip(_DECODERS, row, strict=True):
        if text is not None:
            records.extend(decode(text))
    return Loaded(records)


def _load_one_by_one(database: Database, needs: Needs) -> Loaded:  # noqa: PLR0915 - one read after the other, flat
    reader = Reader(database)

    messages = reader.rows(r.Message, _MESSAGES, needs.messages)
    reader.rows(r.InboxEntry, _QUEUED, needs.messages)
    senders = {m.sender_site_id for m in messages}

    runs = reader.rows(r.Run, f"{_RUNS} WHERE id {{any:uuid}}", needs.runs | needs.mentioned_runs)
    restarted_in = {run.project_id for run in runs if run.id in needs.restarting}
    live = reader.rows(r.Run, _LIVE_RUNS, needs.live_runs_of | restarted_in)
    runs = [run for run in runs if run.id in needs.runs]
    runs += [run for run in live if run.state == "created" and run.project_id in needs.begin_in]
    reader.loaded.seated = reader.pairs(_SEATED, needs.retiring)

    acquainted = needs.acquainted | needs.keyrings
    leading = needs.retiring | acquainted
    own = reader.rows(r.Membership, f"{_MEMBERS} WHERE site_id {{any:uuid}}", leading)
    coordinated = reader.rows(r.Project, f"{_PROJECTS} WHERE coordinator_site_id {{any:uuid}}", leading)
    led = {project.id for project in coordinated if project.coordinator_site_id in acquainted}
    of_runs = {run.project_id for run in runs}
    wanted = (
        needs.projects | needs.members_of | of_runs | {m.project_id for m in messages} | {m.project_id for m in own}
    )
    projects = [*coordinated, *reader.rows(r.Project, f"{_PROJECTS} WHERE id {{any:uuid}}", wanted)]
    reader.rows(r.Project, f"{_PROJECTS} WHERE name {{any}}", needs.project_names)
    members = reader.rows(r.Membership, f"{_MEMBERS} WHERE project_id {{any:uuid}}", needs.members_of | of_runs | led)

    run_ids = {run.id for run in runs}
    reader.rows(r.TaskRun, f"{_TASK_RUNS} WHERE run_id {{any:uuid}}", run_ids)
    reader.rows(r.Round, _ROUNDS, run_ids)
    seats = reader.rows(r.Seat, _SEATS, run_ids)

    models = reader.models(needs.models) + reader.rows(r.Model, _MODELS_OF_TASKS, needs.restarting)
    reader.rows(r.Artifact, f"{_ARTIFACTS} WHERE id {{any:uuid}}", {model.artifact_id for model in models})
    reader.submissions(needs.submissions)
    reader.rows(r.SiteKey, f"{_KEYS} WHERE site_id {{any:uuid}}", needs.keyrings)
    reader.keys(needs.keys)
    reader.rows(r.SiteKey, f"{_KEYS} WHERE state = 'current' AND site_id IN ({_SITES_OF_SEATS})", needs.keys_in)

    tokens = reader.rows(r.Token, f"{_TOKENS} WHERE id {{any:uuid}}", needs.tokens)
    tokens += reader.rows(r.Token, f"{_TOKENS} WHERE sha256 {{any}}", needs.token_hashes)
    tokens += reader.rows(r.Token, _PROOFS, needs.proofs)
    tokens += reader.rows(r.Token, _ISSUED_WITH, needs.issued_with)
    enrolments = reader.rows(r.Enrolment, f"{_ENROLMENTS} WHERE id {{any:uuid}}", needs.enrolments)
    reader.rows(r.Enrolment, f"{_ENROLMENTS} WHERE sha256 {{any}}", needs.token_hashes)
    owners = {t.owner_kind: {o.owner_id for o in tokens if o.owner_kind == t.owner_kind} for t in tokens}
    account_ids = needs.accounts | owners.get("account", set())
    accounts = reader.rows(r.Account, f"{_ACCOUNTS} WHERE id {{any:uuid}}", account_ids)

    named = needs.sites | leading | owners.get("site", set()) | {e.site_id for e in enrolments if e.site_id}
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

    reader.history(needs)
    reader.rows(r.Backlog, f"{_BACKLOGS} WHERE sender_site_id {{any:uuid}}", needs.senders)

    streams = {p.id for p in projects} | named | organisations
    reader.rows(r.Stream, f"{_STREAMS} WHERE id {{any:uuid}}", streams)
    return reader.loaded


_RUNS = select(r.Run)
_LIVE_RUNS = f"{_RUNS} WHERE project_id {{any:uuid}} AND state IN ('created', 'running')"
_PROJECTS = select(r.Project)
_MEMBERS = select(r.Membership)
_TASK_RUNS = select(r.TaskRun)
_ROUNDS = (
    f"{select(r.Round, 'rounds.')} JOIN task_runs ON task_runs.id = rounds.task_run_id"
    " AND task_runs.round = rounds.number WHERE rounds.run_id {any:uuid}"
)
_SEATS = (
    f"{select(r.Seat, 'seats.')} JOIN task_runs ON task_runs.id = seats.task_run_id"
    " WHERE seats.run_id {any:uuid} AND task_runs.state = 'active'"
)
_MODELS_OF_TASKS = (
    f"{select(r.Model, 'models.')} JOIN runs ON runs.project_id = models.project_id"
    " JOIN task_runs ON task_runs.run_id = runs.id AND task_runs.model_message_id = models.message_id"
    " WHERE runs.id {any:uuid}"
)
_SITES_OF_SEATS = (
    "SELECT seats.site_id FROM seats JOIN task_runs ON task_runs.id = seats.task_run_id"
    " WHERE seats.run_id {any:uuid} AND task_runs.state = 'active'"
)
_SEATED = (
    "SELECT DISTINCT seats.site_id, seats.run_id FROM seats JOIN runs ON runs.id = seats.run_id"
    " WHERE seats.site_id {any:uuid} AND runs.state = 'running'"
    " AND seats.state IN ('invited', 'preparing', 'ready', 'training', 'uploading', 'submitted', 'resting', 'scoring',"
    " 'scored')"
)
_SITES = select(r.Site)
_KEYS = select(r.SiteKey)
_MAILBOXES = select(r.Mailbox)
_ORGANISATIONS = select(r.Organisation)
_ACCOUNTS = select(r.Account)
_TOKENS = select(r.Token)
_PROOFS = (
    f"{_TOKENS} WHERE id IN (WITH shown AS (SELECT id, issued_by FROM tokens WHERE sha256 {{any}})"
    " SELECT id FROM shown UNION SELECT issued_by FROM shown)"
)
_ISSUED_WITH = (
    f"{_TOKENS} WHERE revoked_at IS NULL AND id IN (WITH RECURSIVE gone(id) AS (SELECT named.id FROM (SELECT id, id AS"
    " name FROM tokens UNION ALL SELECT id, owner_id FROM tokens) AS named WHERE named.name {any:uuid}"
    " UNION SELECT issued.id FROM tokens issued JOIN gone ON issued.issued_by = gone.id) SELECT id FROM gone)"
)
_ENROLMENTS = select(r.Enrolment)
_STREAMS = select(r.Stream)
_BEATS = "SELECT site_id, seen_at FROM site_beats WHERE site_id {any:uuid}"
_ARTIFACTS = select(r.Artifact)
_BACKLOGS = select(r.Backlog)
_STREAMS_OF_LEADS = (
    f"{_STREAMS} WHERE id IN (SELECT coordinator_site_id FROM projects WHERE id {{any:uuid}}"
    " UNION SELECT coordinator_site_id FROM runs WHERE id {any:uuid})"
)
_TOLD = f"{select(r.Told)} WHERE cause {{any}}"
_BODY = "CASE WHEN kind = 'model' THEN body END"
_MESSAGES = (
    f"SELECT {', '.join(_BODY if name == 'body' else name for name in COLUMNS[r.Message])} FROM messages"
    " WHERE id {any:uuid}"
)
"""Without the body, which no decision needs; that of a global model outlives its message's expiry, so it is kept."""
_QUEUED = f"{select(r.InboxEntry)} WHERE message_id {{any:uuid}} AND state = 'queued'"


_COMMON = frozenset(
    {"runs", "mentioned_runs", "members_of", "projects", "sites", "keys", "keys_in", "marks", "history", "senders"}
)
_APART = LOADED_APART | {"beats", "told", "led", "counts"}
"""Loaded before or after, by queries of their own; what hangs on them is then in the needs."""


def _named(kind: type[Record], table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in COLUMNS[kind])


_PARTS: dict[str, type[Record]] = {
    "owned": r.Project,
    "members": r.Membership,
    "tasks": r.TaskRun,
    "stages": r.Round,
    "places_taken": r.Seat,
    "concerned_sites": r.Site,
    "boxes": r.Mailbox,
    "houses": r.Organisation,
    "heads": r.Stream,
    "mentioned": r.Run,
    "key_states": r.SiteKey,
    "held": r.InboxEntry,
    "told": r.History,
    "owed": r.Backlog,
}
_MORE_TYPES = ("uuid[]", "bigint[]", "text[]", "uuid[]")

_AT_ONCE = f"""
WITH ours AS (SELECT project_id, coordinator_site_id FROM runs WHERE id = ANY($1)),
homes AS (SELECT unnest($2) AS id UNION SELECT project_id FROM ours),
owned AS (
  {_PROJECTS} WHERE id = ANY(ARRAY(SELECT id FROM homes UNION SELECT unnest($3)))
),
members AS ({_MEMBERS} WHERE project_id = ANY(ARRAY(SELECT id FROM homes))),
tasks AS ({_TASK_RUNS} WHERE run_id = ANY($4)),
stages AS (
  SELECT {_named(r.Round, "rounds")} FROM tasks
  JOIN rounds ON rounds.task_run_id = tasks.id AND rounds.number = tasks.round
),
places_taken AS (
  SELECT {_named(r.Seat, "seats")} FROM seats
  WHERE seats.task_run_id = ANY(ARRAY(SELECT id FROM tasks WHERE state = 'active'))
),
concerned AS (
  SELECT unnest($5) AS id UNION SELECT site_id FROM members UNION SELECT site_id FROM places_taken
  UNION SELECT coordinator_site_id FROM ours UNION SELECT coordinator_site_id FROM owned
),
concerned_sites AS ({_SITES} WHERE id = ANY(ARRAY(SELECT id FROM concerned))),
boxes AS ({_MAILBOXES} WHERE site_id = ANY(ARRAY(SELECT id FROM concerned))),
houses AS (
  {_ORGANISATIONS} WHERE id = ANY(ARRAY(SELECT organisation_id FROM concerned_sites WHERE id = ANY($6)))
),
heads AS (
  {_STREAMS} WHERE id = ANY(ARRAY(SELECT id FROM owned UNION SELECT unnest($7) UNION SELECT id FROM houses))
),
mentioned AS ({_RUNS} WHERE id = ANY($8)),
key_states AS (
  {_KEYS} WHERE site_id = ANY($9) AND epoch = ANY($10)
  UNION {_KEYS} WHERE state = 'current'
    AND site_id = ANY(ARRAY(SELECT site_id FROM places_taken WHERE run_id = ANY($11)))
),
held AS (
  SELECT {_named(r.InboxEntry, "inbox")} FROM unnest($12, $13) AS wanted (site_id, seq)
  JOIN inbox ON inbox.site_id = wanted.site_id AND inbox.seq = wanted.seq
),
told AS ({select(r.History)} WHERE cardinality($14) > 0),
owed AS ({_BACKLOGS} WHERE sender_site_id = ANY($15))
SELECT {", ".join(f"(SELECT json_agg({name}) FROM {name})::text" for name in _PARTS)}
"""
"""Arrays of ids rather than joins: every row is found by its key, however large the tables have become."""


def _decoder(kind: type[Record]) -> Callable[[str], list[Any]]:
    return msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]


_DECODERS = tuple(_decoder(kind) for kind in _PARTS.values())
