"""What the store keeps, as frozen values: one class for each table, fields in the order of its columns.

`KEY` names the primary key. Times are microseconds since the epoch (UTC), ids canonical UUID text;
fields ending in `_json` hold JSON text.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from domain import stream_records
from domain.ids import Id
from domain.record import Record as Record  # noqa: PLC0414 - r.Record is what all others call it
from domain.values import Micros, TokenKind


class Organisation(Record, frozen=True):
    TABLE = "organisations"
    id: Id
    name: str
    created_at: Micros


class Account(Record, frozen=True):
    TABLE = "accounts"
    id: Id
    organisation_id: Id
    name: str
    role: str
    created_at: Micros
    disabled_at: Micros | None = None


class Token(Record, frozen=True):
    """A bearer token's hash. `scopes` is "read" or "read write"; of a client's token it is "client".

    issued_by: the token with which it was asked for; None for the first one of an account or a site. project_id: of a
    client's token, which is good for taking part in that project alone. kind: a `TokenKind`.
    """

    TABLE = "tokens"
    id: Id
    owner_kind: str
    owner_id: Id
    sha256: str
    label: str
    scopes: str
    created_at: Micros
    expires_at: Micros | None = None
    revoked_at: Micros | None = None
    issued_by: Id | None = None
    project_id: Id | None = None
    kind: str = TokenKind.TOKEN


class Enrolment(Record, frozen=True):
    TABLE = "enrolments"
    id: Id
    organisation_id: Id
    sha256: str
    note: str
    created_by: Id
    created_at: Micros
    expires_at: Micros
    used_at: Micros | None = None
    site_id: Id | None = None


class Site(Record, frozen=True):
    """workload_id: of the workload of which it is an attempt. identity_key: empty until that has enrolled."""

    TABLE = "sites"
    id: Id
    organisation_id: Id
    name: str
    description: str
    identity_key: str
    state: str
    state_at: Micros
    created_at: Micros
    workload_id: Id | None = None


class SiteKey(Record, frozen=True):
    """One epoch of a site's sealing keys: what decisions ask about. digest: SHA-256 of what was stated."""

    TABLE = "site_keys"
    KEY = ("site_id", "epoch")
    site_id: Id
    epoch: int
    state: str
    digest: str
    added_at: Micros
    grace_until: Micros | None = None
    revoked_at: Micros | None = None
    reason: str = ""


class KeyStatement(Record, frozen=True):
    """What the site stated and signed of an epoch; no decision reads it, so it does not lie in the way."""

    TABLE = "key_statements"
    KEY = ("site_id", "epoch")
    site_id: Id
    epoch: int
    suite: int
    public_key: bytes
    created_at: Micros
    expires_at: Micros
    signature: bytes


class Mailbox(Record, frozen=True):
    """The head of a site's inbox: entries are numbered up to last_seq, without gaps but for a recovery's.

    mark: of the newest entry, the head of the chain that all entries form (domain/chain.py); empty in a
    mailbox without entries, and where the newest one is from before marks were kept.
    """

    TABLE = "mailboxes"
    KEY = ("site_id",)
    site_id: Id
    last_seq: int = 0
    acknowledged_seq: int = 0
    mark: str = ""


class Recovery(Record, frozen=True):
    """The newest recovery of a site after the hub's history went back. Its inbox goes on behind `read_after`.

    claim: SHA-256 of how far the site said that it had read. common_seq: the newest entry that both sides had, and the
    numbers between it and read_after belong to the history that is gone. mark: what the chain goes on from.
    """

    TABLE = "recoveries"
    KEY = ("site_id",)
    site_id: Id
    history_id: Id
    at: Micros
    claim: str
    common_seq: int
    read_after: int
    mark: str


class History(Record, frozen=True):
    """Which history this store tells: one row. It gets another id when the store was restored or put elsewhere.

    since: when it began. fingerprint: of the database that it was made in, empty until a decider has looked.
    changes: how often it changed. reason: why, the last time.
    """

    TABLE = "history"
    KEY = ("one",)
    one: int
    history_id: Id
    since: Micros
    fingerprint: str
    changes: int
    reason: str


class Revocation(Record, frozen=True):
    """A revocation that is in the ledger beside the database. name: what is revoked (domain/ledger.py)."""

    TABLE = "revocations"
    KEY = ("name",)
    name: str
    at: Micros


class Project(Record, frozen=True):
    """tasks_json: list of `TaskSpec`. last_run_number: of the newest run; numbers have no gaps or doubles.

    sealed: required or optional; whether payloads have to be sealed. last_model_version: versions have no gaps either.
    infrastructure_json: an `Infrastructure`; empty where there is none.
    """

    TABLE = "projects"
    id: Id
    organisation_id: Id
    coordinator_site_id: Id
    name: str
    description: str
    data_format: str
    client_image: str
    joining: str
    max_live_runs: int
    tasks_json: str
    last_run_number: int
    created_at: Micros
    archived_at: Micros | None = None
    version: int = 1
    sealed: str = "required"
    last_model_version: int = 0
    infrastructure_json: str = ""


class Membership(Record, frozen=True):
    """ready_until: until when the site has said that it is ready for the project's rounds; None: it has not."""

    TABLE = "memberships"
    KEY = ("project_id", "site_id")
    project_id: Id
    site_id: Id
    role: str
    state: str
    notes: str
    created_at: Micros
    state_at: Micros
    ready_until: Micros | None = None


class Run(Record, frozen=True):
    """One attempt of one numbered run. version: counts the commands that changed it.

    kind: empty: its project's tasks, in rounds of sites; `deployment`: training over streams (sr.Deployment), whose
    tasks are jobs of its own.
    """

    TABLE = "runs"
    id: Id
    project_id: Id
    coordinator_site_id: Id
    number: int
    attempt: int
    state: str
    reason: str
    detail: str
    created_by: Id
    created_at: Micros
    deadline_at: Micros
    started_at: Micros | None = None
    ended_at: Micros | None = None
    restart_of: Id | None = None
    version: int = 1
    kind: str = ""


class TaskRun(Record, frozen=True):
    """spec_json: its `TaskSpec` as the run started. model_message_id: the newest global model.

    best_round, best_version, best_value: by the metric that its spec names, of its rounds so far; None before there is
    one. watched_value: the best of what decides when it stops early; rounds_without: with that metric, since.
    code: the digest of the code that its seats are held to, as the first of them said it; empty for none.
    """

    TABLE = "task_runs"
    id: Id
    run_id: Id
    seq: int
    name: str
    spec_json: str
    state: str
    reason: str
    round: int
    first_round: int
    model_message_id: Id | None = None
    started_at: Micros | None = None
    ended_at: Micros | None = None
    best_round: int | None = None
    best_version: int | None = None
    best_value: float | None = None
    watched_value: float | None = None
    rounds_without: int = 0
    code: str = ""


class Round(Record, frozen=True):
    """quorum: seats needed. deadline_at: of its present stage. metrics_json: the coordinator's, once aggregated.

    drawn: how many seats were drawn for it; None where all take part. model_version: of its model, as soon as that is
    there. score_json: the mean of the sites' scores.
    """

    TABLE = "rounds"
    KEY = ("task_run_id", "number")
    task_run_id: Id
    number: int
    run_id: Id
    state: str
    reason: str
    quorum: int
    deadline_at: Micros
    started_at: Micros
    stage_at: Micros
    ended_at: Micros | None = None
    metrics_json: str = "{}"
    model_message_id: Id | None = None
    drawn: int | None = None
    model_version: int | None = None
    score_json: str = "{}"


class Seat(Record, frozen=True):
    """A site's place in a task run. round: the one it takes part in (the next one after a rejoin).

    report_seq: its last report. metrics_json and update_message_id: of its last submit. score_json: what it said last
    of a model; score_round: of that of which round, 0: of none. code: the digest of what its site runs, as that said it
    last; empty: it did not. waits_for: a `WaitsFor`, or empty; waits_until: when the site's hours begin.
    """

    TABLE = "seats"
    KEY = ("task_run_id", "site_id")
    task_run_id: Id
    site_id: Id
    run_id: Id
    round: int
    state: str
    reason: str
    report_seq: int
    state_at: Micros
    metrics_json: str = "{}"
    update_message_id: Id | None = None
    score_json: str = "{}"
    score_round: int = 0
    code: str = ""
    waits_for: str = ""
    waits_until: Micros | None = None


class Score(Record, frozen=True):
    """What a site said of a round's model. reason: why it has no score, where it said that."""

    TABLE = "scores"
    KEY = ("task_run_id", "round", "site_id")
    task_run_id: Id
    round: int
    site_id: Id
    run_id: Id
    metrics_json: str
    reason: str
    scored_at: Micros


class Submission(Record, frozen=True):
    """What a site submitted in a round; kept for the history when its seat moves on.

    left_out: why the round's model is made without it, empty if it is not. missing_receipt: why its site does not find
    it in that model, empty if it did not say so. code: the digest of what made it; empty: its site did not say.
    """

    TABLE = "submissions"
    KEY = ("task_run_id", "round", "site_id")
    task_run_id: Id
    round: int
    site_id: Id
    run_id: Id
    metrics_json: str
    update_message_id: Id | None
    started_at: Micros
    submitted_at: Micros
    left_out: str = ""
    missing_receipt: str = ""
    code: str = ""


class Message(Record, frozen=True):
    """A payload, stored once however many recipients. sender_site_id is None for none but the hub's own.

    artifact_id: where it lies if it is large; size_bytes and sha256 are the artifact's then, body its detached seal.
    """

    TABLE = "messages"
    id: Id
    sender_site_id: Id
    project_id: Id
    run_id: Id | None
    task_seq: int | None
    round: int | None
    kind: str
    body: bytes | None
    size_bytes: int
    sha256: str
    recipient_count: int
    sent_at: Micros
    expires_at: Micros
    expired_at: Micros | None = None
    artifact_id: Id | None = None


class LogHead(Record, frozen=True):
    """The head of a run's log: its pieces have the places 1..last_place without gaps, over all sites."""

    TABLE = "log_heads"
    KEY = ("run_id",)
    run_id: Id
    last_place: int = 0


class SiteLog(Record, frozen=True):
    """How far a site's log of a task run has come: its pieces are numbered 1..last_seq without gaps."""

    TABLE = "site_logs"
    KEY = ("run_id", "site_id", "task_seq")
    run_id: Id
    site_id: Id
    task_seq: int
    last_seq: int = 0
    size_bytes: int = 0


class LogPiece(Record, frozen=True):
    """What a site wrote into its log of a task run, in one piece. place: where it lies in the run's log."""

    TABLE = "log_pieces"
    KEY = ("run_id", "place")
    run_id: Id
    place: int
    site_id: Id
    task_seq: int
    seq: int
    round: int | None
    body: bytes
    size_bytes: int
    created_at: Micros


class Model(Record, frozen=True):
    """A global model as a version of its project. size_bytes, digest: of its message, as that has them.

    Made by the project's own coordinator it is the checkpoint of its round: `round` of `epoch`, of no run.
    begun_with: the message of the model that its round began with, if it had one.
    """

    TABLE = "models"
    KEY = ("project_id", "version")
    project_id: Id
    version: int
    run_id: Id | None
    task_seq: int | None
    task: str
    round: int
    message_id: Id | None
    artifact_id: Id | None
    digest: str
    size_bytes: int
    metrics_json: str
    created_at: Micros
    epoch: int | None = None
    begun_with: Id | None = None


class InboxEntry(Record, frozen=True):
    """One numbered entry of a site's inbox: a message, or a notice of the hub (which may point at a message).

    mark: its place in the chain of the mailbox, as it was made; empty if that was before marks were kept.
    """

    TABLE = "inbox"
    KEY = ("site_id", "seq")
    site_id: Id
    seq: int
    kind: str
    state: str
    created_at: Micros
    message_id: Id | None = None
    project_id: Id | None = None
    run_id: Id | None = None
    task_seq: int | None = None
    round: int | None = None
    facts_json: str = "{}"
    state_at: Micros | None = None
    mark: str = ""


class Artifact(Record, frozen=True):
    """A payload of any size, in chunks. digest: its tree digest. message_id: of the newest message that it belongs to.

    ttl_s: how long its owner wants it kept. expires_at: when its upload, or what its owner wanted, is over. reason: why
    it expired.
    """

    TABLE = "artifacts"
    id: Id
    project_id: Id
    owner_site_id: Id
    kind: str
    run_id: Id | None
    task_seq: int | None
    round: int | None
    size_bytes: int
    digest: str
    state: str
    created_at: Micros
    ttl_s: int | None = None
    stored_at: Micros | None = None
    expires_at: Micros | None = None
    expired_at: Micros | None = None
    reason: str = ""
    message_id: Id | None = None


class ArtifactDeclaration(Record, frozen=True):
    """What else was declared of an artifact; no decision reads it, so it does not lie in the way."""

    TABLE = "artifact_declarations"
    KEY = ("artifact_id",)
    artifact_id: Id
    chunk_digests: bytes
    seal: bytes | None


class Archive(Record, frozen=True):
    """What an artifact is besides, that is an archive of initial files. version: of the project's, once it is checked.

    required_json: paths that must be in it. flaw, detail: why it does not count. files_json: list of `ArchiveFile`.
    """

    TABLE = "archives"
    KEY = ("artifact_id",)
    artifact_id: Id
    project_id: Id
    state: str
    state_at: Micros
    required_json: str
    version: int | None = None
    flaw: str = ""
    detail: str = ""
    files_json: str = "[]"


class ArtifactTotal(Record, frozen=True):
    """What the artifacts of a project, declared or stored, add up to."""

    TABLE = "artifact_totals"
    KEY = ("project_id",)
    project_id: Id
    live_bytes: int = 0
    live_count: int = 0


class ArtifactShare(Record, frozen=True):
    """A site's part of its project's total. declared: what is declared and not stored yet, of the live."""

    TABLE = "artifact_shares"
    KEY = ("project_id", "site_id")
    project_id: Id
    site_id: Id
    live_bytes: int = 0
    declared_bytes: int = 0
    declared_count: int = 0


class Backlog(Record, frozen=True):
    """How much of a sender's lies unacknowledged in a recipient's inbox, at most: in two spans of entries.

    A span is over when its last entry is acknowledged, or all of its messages have expired. The earlier one is closed.
    """

    TABLE = "backlogs"
    KEY = ("sender_site_id", "site_id")
    sender_site_id: Id
    site_id: Id
    earlier_count: int = 0
    earlier_bytes: int = 0
    earlier_seq: int = 0
    earlier_until: Micros = 0
    later_count: int = 0
    later_bytes: int = 0
    later_seq: int = 0
    later_until: Micros = 0


class Told(Record, frozen=True):
    """The last notice of one cause, by its number in its recipient's inbox: another waits until that one is read."""

    TABLE = "told"
    KEY = ("cause",)
    cause: str
    site_id: Id
    seq: int
    at: Micros


class Stream(Record, frozen=True):
    """The head of a chain of events: of a project, a site or an organisation."""

    TABLE = "streams"
    id: Id
    kind: str
    last_seq: int
    last_hash: str


class Event(Record, frozen=True):
    """What happened. hash: SHA-256 over the previous event's hash and this one's content.

    site_id: the site that it concerns; a participant of a run sees those of its own and those of nobody.
    """

    TABLE = "events"
    KEY = ("stream_id", "seq")
    stream_id: Id
    seq: int
    kind: str
    at: Micros
    command_id: Id
    subject_kind: str
    subject_id: Id
    run_id: Id | None
    site_id: Id | None
    facts_json: str
    hash: str


class Webhook(Record, frozen=True):
    """Where an organisation or a project wants to be told of what happens. kinds: of what, with spaces between.

    since: events from then on; when it was made, or enabled again. version: of its secret, which is derived;
    rotated_at: when the one before it was replaced. failures: in a row, since failing_since. dropped: what it was not
    told, since too much waited for it; zero again when it has caught up.
    """

    TABLE = "webhooks"
    id: Id
    owner_kind: str
    owner_id: Id
    url: str
    kinds: str
    description: str
    state: str
    reason: str
    created_at: Micros
    since: Micros
    version: int = 1
    rotated_at: Micros | None = None
    failing_since: Micros | None = None
    failures: int = 0
    dropped: int = 0


class WebhookDelivery(Record, frozen=True):
    """One thing that a webhook is told. cause: what; a webhook has one delivery for each.

    attempts: begun. reported: the newest attempt that was reported on. failures: of these since it was queued.
    next_at: when it is tried next, or taken for lost. status and failure: of the last report, HTTP's and a code.
    """

    TABLE = "webhook_deliveries"
    id: Id
    webhook_id: Id
    kind: str
    cause: str
    body: str
    state: str
    created_at: Micros
    state_at: Micros
    attempts: int = 0
    reported: int = 0
    failures: int = 0
    next_at: Micros | None = None
    status: int | None = None
    failure: str = ""


class EventCursor(Record, frozen=True):
    """How far a stream's events were looked at for webhooks."""

    TABLE = "event_cursors"
    KEY = ("stream_id",)
    stream_id: Id
    seq: int


class Workload(Record, frozen=True):
    """What shall run somewhere for a project, and how far it has come. cluster: where, as commands say it.

    replicas: as wanted now. attempt: the newest one. next_at: it is not begun earlier. stop_at: since when it shall go.
    reason, detail, exit_code: of the newest attempt; stop_reason: what was said when it was stopped. run_id and
    task_run_id: of the seat that it holds, if it does. place_gone_at: since when its project has no place there.
    part: of its project's infrastructure, which one it is. model_version: the one of its models that it begins with.
    files_json: what it finds and has left (domain/workload_files.py). purpose: for streams, what it is: `training`,
    `worker` (of a federated one) or `inference`.
    """

    TABLE = "workloads"
    id: Id
    project_id: Id
    name: str
    cluster: str
    kind: str
    spec_json: str
    replicas: int
    attempts: int
    state: str
    state_at: Micros
    created_at: Micros
    attempt: int = 1
    next_at: Micros | None = None
    stop_at: Micros | None = None
    stop_reason: str = ""
    ended_at: Micros | None = None
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    run_id: Id | None = None
    task_run_id: Id | None = None
    place_gone_at: Micros | None = None
    part: str = ""
    model_version: int | None = None
    files_json: str = "{}"
    purpose: str = ""


class WorkloadAttempt(Record, frozen=True):
    """One attempt at a workload, as its cluster showed it last. uid: of the very object there; empty: not seen yet.

    kept_at: since when its evidence is on record. gone_at: since when nothing of it is there any more. site_id: that it
    is in its run; token_sha256: of the one-time token with which it enrols as that.
    """

    TABLE = "workload_attempts"
    KEY = ("workload_id", "attempt")
    workload_id: Id
    attempt: int
    state: str
    state_at: Micros
    created_at: Micros
    uid: str = ""
    reason: str = ""
    detail: str = ""
    exit_code: int | None = None
    ready: int = 0
    addresses_json: str = "{}"
    started_at: Micros | None = None
    ended_at: Micros | None = None
    kept_at: Micros | None = None
    gone_at: Micros | None = None
    site_id: Id | None = None
    token_sha256: str = ""


class WorkloadEvidence(Record, frozen=True):
    """What an attempt left: the tail of its log, and what the cluster said of it. No decision reads it."""

    TABLE = "workload_evidence"
    KEY = ("workload_id", "attempt")
    workload_id: Id
    attempt: int
    log: bytes
    events_json: str


class ProjectRound(Record, frozen=True):
    """A round that a project's own coordinator leads, by what that has reported of it.

    epoch: one for each start of a coordinator, which counts its rounds from 0: start `start` of `attempt` at
    `workload_id`. stage: the newest one; stages_json: when each was reported, by its name. deadline_at: of that stage.
    reason: why it ended otherwise than completed. checkpoint_artifact_id has become `model_version` of the project.
    """

    TABLE = "project_rounds"
    KEY = ("project_id", "epoch", "number")
    project_id: Id
    epoch: int
    number: int
    workload_id: Id
    attempt: int
    start: int
    state: str
    stage: str
    started_at: Micros
    stage_at: Micros
    deadline_at: Micros
    reason: str = ""
    ended_at: Micros | None = None
    stages_json: str = "{}"
    counts_json: str = "{}"
    metrics_json: str = "{}"
    checkpoint_artifact_id: Id | None = None
    model_version: int | None = None


class ProjectSecret(Record, frozen=True):
    """What a project's workloads are given by name. content: shut (config/secret_box.py), with the key of key_id; both
    are empty where it was deleted. set_at, set_by: also of that."""

    TABLE = "project_secrets"
    KEY = ("project_id", "name")
    project_id: Id
    name: str
    key_id: str
    content: bytes
    set_by: Id
    set_at: Micros


class WorkloadFollow(Record, frozen=True):
    """Somebody reads the log of an attempt while it is written: until then it is read for them."""

    TABLE = "workload_follows"
    KEY = ("workload_id", "attempt")
    workload_id: Id
    attempt: int
    until_at: Micros


class WorkloadLogHead(Record, frozen=True):
    """How far the log of an attempt was read while somebody followed it: its first `size_bytes` bytes."""

    TABLE = "workload_log_heads"
    KEY = ("workload_id", "attempt")
    workload_id: Id
    attempt: int
    size_bytes: int = 0


class WorkloadLogPiece(Record, frozen=True):
    """Of that log, from byte `start` on. The oldest go when there are too many. No decision reads them."""

    TABLE = "workload_log_pieces"
    KEY = ("workload_id", "attempt", "start")
    workload_id: Id
    attempt: int
    start: int
    body: bytes


class Outcome(Record, frozen=True):
    """What became of a command. state: accepted, with a result as its answer, or rejected, with a problem."""

    TABLE = "commands"
    id: Id
    kind: str
    subject_kind: str
    subject_id: Id
    state: str
    status: int
    answer_json: str
    digest: str
    decided_at: Micros


class OutboxRow(Record, frozen=True):
    """A follow-up command, committed with its cause and published after it."""

    TABLE = "outbox"
    id: Id
    envelope_json: str
    created_at: Micros


RECORDS: tuple[type[Record], ...] = (
    Organisation,
    Account,
    Token,
    Enrolment,
    Site,
    SiteKey,
    KeyStatement,
    Mailbox,
    Recovery,
    History,
    Revocation,
    Project,
    Membership,
    Run,
    TaskRun,
    Round,
    Seat,
    Score,
    Submission,
    Message,
    LogHead,
    SiteLog,
    LogPiece,
    Model,
    InboxEntry,
    Artifact,
    ArtifactDeclaration,
    Archive,
    ArtifactTotal,
    ArtifactShare,
    Backlog,
    Told,
    Stream,
    Event,
    Webhook,
    WebhookDelivery,
    EventCursor,
    Workload,
    WorkloadAttempt,
    WorkloadEvidence,
    ProjectRound,
    ProjectSecret,
    WorkloadFollow,
    WorkloadLogHead,
    WorkloadLogPiece,
    Outcome,
    OutboxRow,
    *stream_records.RECORDS,
)


def _keys_of(kind: type[Record]) -> Callable[[Record], tuple[object, ...]]:
    """Reads the key of such records; asked for several times in every decision."""
    values = attrgetter(*kind.KEY)
    return values if len(kind.KEY) > 1 else lambda record: (values(record),)


_KEYS = {kind: _keys_of(kind) for kind in RECORDS}


def key_of(record: Record) -> tuple[object, ...]:
    """The primary key's values."""
    return _KEYS[type(record)](record)
