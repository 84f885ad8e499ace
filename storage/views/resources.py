"""What the web shows: one class for each resource of docs/api.md, ready to be written as JSON.

Times are RFC 3339 text in UTC with microseconds, ids canonical UUID text, sizes bytes; `body` becomes base64.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from domain.commands import ArchiveFile
from domain.ids import Uuid
from domain.infrastructure import PartName
from domain.states import (
    ArchiveState,
    ArtifactState,
    DeliveryState,
    KeyState,
    MemberState,
    ProjectRoundState,
    RoundState,
    RunState,
    SeatState,
    SiteState,
    TaskRunState,
    WebhookDeliveryState,
    WebhookState,
    WorkloadState,
)
from domain.values import (
    ArtifactKind,
    Infrastructure,
    Joining,
    Micros,
    Role,
    Sealed,
    StageName,
    SubjectKind,
    TaskSpec,
    TokenKind,
    WaitsFor,
    WebhookKind,
    WebhookOwner,
    WorkloadSpec,
)
from fedyard.cluster.plan import Side
from fedyard.cluster.port import Reason as ClusterReason
from fedyard.wire.times import time_text

Time: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Facts: TypeAlias = dict[str, Any]
DeliveryShown: TypeAlias = Literal["queued", "delivered", "acknowledged", "expired"]


def time_or_none(micros: Micros | None) -> str | None:
    """The same for a time that may be missing."""
    return None if micros is None else time_text(micros)


class Resource(msgspec.Struct, frozen=True):
    """Something to read."""


class Organisation(Resource, frozen=True):
    id: Uuid
    name: str
    created_at: Time


class Account(Resource, frozen=True):
    id: Uuid
    organisation_id: Uuid
    name: str
    role: Role
    created_at: Time
    disabled_at: Time | None


class Token(Resource, frozen=True):
    """A token without its secret, which nobody keeps. project_id: of a client's token, good for that project alone.

    kind: a session and a one-time code that opens one are no bearer tokens.
    """

    id: Uuid
    owner_kind: Literal["account", "site"]
    owner_id: Uuid
    label: str
    scopes: list[Literal["read", "write", "client"]]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    used_at: Time | None
    project_id: Uuid | None
    kind: TokenKind


class Enrolment(Resource, frozen=True):
    id: Uuid
    organisation_id: Uuid
    note: str
    created_by: Uuid
    created_at: Time
    expires_at: Time
    used_at: Time | None
    site_id: Uuid | None


class Webhook(Resource, frozen=True):
    """A webhook without its secret, which nobody keeps. reason: why it is disabled. version: of its secret."""

    id: Uuid
    owner_kind: WebhookOwner
    owner_id: Uuid
    url: str
    kinds: list[WebhookKind]
    description: str
    state: WebhookState
    reason: str
    created_at: Time
    version: int
    rotated_at: Time | None
    failing_since: Time | None
    failures: int
    dropped: int


class WebhookDelivery(Resource, frozen=True):
    """One thing that a webhook is told; `id` is the header `webhook-id`. status and failure: of the last attempt."""

    id: Uuid
    webhook_id: Uuid
    kind: WebhookKind
    cause: str
    state: WebhookDeliveryState
    created_at: Time
    state_at: Time
    attempts: int
    failures: int
    next_at: Time | None
    status: int | None
    failure: str


class WorkloadInput(Resource, frozen=True):
    """The artifact that a job finds under that name; digest: its tree digest, by which it is checked."""

    artifact_id: Uuid
    digest: str
    size_bytes: int


class WorkloadOutput(Resource, frozen=True):
    """The artifact that an attempt at a job has left under that name. stored_at: since when all of it is there."""

    artifact_id: Uuid
    digest: str
    size_bytes: int
    attempt: int
    stored_at: Time | None


class Workload(Resource, frozen=True):
    """reason, detail, exit_code, ready, addresses: of the newest attempt. next_at: when that begins, if it waits.

    stop_at: since when it shall go; it is `stopped` once it is gone. inputs, outputs: of a job with files.
    """

    id: Uuid
    project_id: Uuid
    name: str
    where: str
    spec: WorkloadSpec
    state: WorkloadState
    state_at: Time
    created_at: Time
    attempt: int
    next_at: Time | None
    stop_at: Time | None
    stop_reason: str
    ended_at: Time | None
    reason: ClusterReason
    detail: str
    exit_code: int | None
    ready: int
    addresses: dict[Side, str]
    inputs: dict[str, WorkloadInput]
    outputs: dict[str, WorkloadOutput]


class WorkloadAttempt(Resource, frozen=True):
    """kept_at: since when its evidence is on record; gone_at: since when nothing of it is there any more."""

    attempt: int
    state: WorkloadState
    state_at: Time
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    kept_at: Time | None
    gone_at: Time | None
    reason: ClusterReason
    detail: str
    exit_code: int | None


class ProjectSecret(Resource, frozen=True):
    """set_by: an account or a site. opens: with the key that the hub has now; otherwise it has to be set again."""

    name: str
    set_by: Uuid
    set_at: Time
    opens: bool


class WorkloadLog(Resource, frozen=True):
    """What an attempt left: the tail of its log, and what the cluster said of it. log: null for who may not read it.

    To who asks for it from a byte on: what it has there, from byte `after` on, which is a later one if so much is not
    kept; `next` is where to go on, and `over` says that nothing more will come. Otherwise these are null.
    """

    workload_id: Uuid
    attempt: int
    kept_at: Time | None
    size_bytes: int | None
    log: bytes | None
    events: list[str]
    after: int | None = None
    next: int | None = None
    over: bool | None = None


class SiteHealth(Resource, frozen=True):
    """agent_version: that its agent said last; None where it says none.

    last_seq, acknowledged_seq: of its inbox; waiting_since: when the oldest entry came that is not acknowledged.

    key_epoch, key_created_at, key_expires_at: of the sealing key that is taken for it now; None without one.
    mismatch_since: when the hub's history became another one than the site knows; None once it has recovered, and where
    that never was.
    """

    agent_version: str | None
    last_seq: int
    acknowledged_seq: int
    waiting_since: Time | None
    key_epoch: int | None
    key_created_at: Time | None
    key_expires_at: Time | None
    mismatch_since: Time | None
    recovered_at: Time | None


class Site(Resource, frozen=True):
    id: Uuid
    organisation_id: Uuid
    name: str
    description: str
    identity_key: str
    state: SiteState
    state_at: Time
    seen_at: Time | None
    created_at: Time
    health: SiteHealth | None = None
    """Of the site alone; None in lists, and for who neither acts for it nor sees every record."""


class SiteKey(Resource, frozen=True):
    """A sealing key as its site stated and signed it; those two times are microseconds, as they were signed."""

    site_id: Uuid
    epoch: int
    suite: int
    public_key: bytes
    created_at: int
    expires_at: int
    signature: bytes
    state: KeyState
    grace_until: Time | None
    revoked_at: Time | None
    reason: str


class MemberKey(Resource, frozen=True):
    """A member of a project with its identity and the key to seal to it with; null where it has none to use."""

    site_id: Uuid
    site_name: str
    role: Literal["coordinator", "participant", "workload"]
    identity_key: str
    key: SiteKey | None


class Archive(Resource, frozen=True):
    """What an archive of initial files is besides an artifact. version: of the project's, once it is checked.

    flaw: why it does not count, a code.
    """

    state: ArchiveState
    version: int | None
    flaw: str


class Artifact(Resource, frozen=True):
    """digest: its tree digest. message_id: of the newest message that it belongs to. reason: why it expired.

    archive: null for everything else.
    """

    id: Uuid
    project_id: Uuid
    owner_site_id: Uuid
    kind: ArtifactKind
    run_id: Uuid | None
    task_seq: int | None
    round: int | None
    size_bytes: int
    digest: str
    state: ArtifactState
    created_at: Time
    stored_at: Time | None
    expires_at: Time | None
    expired_at: Time | None
    reason: str
    message_id: Uuid | None
    archive: Archive | None


class RunningPart(Resource, frozen=True):
    """The newest workload of the project's coordinator or selectors. addresses: inside, and outside if there is one.

    model_version: of the project's models, the one that it was started with, if one was said.
    """

    part: PartName
    workload_id: Uuid
    where: str
    state: WorkloadState
    stop_at: Time | None
    ready: int
    replicas: int
    addresses: dict[Side, str]
    reason: ClusterReason
    detail: str
    model_version: int | None


class ReportedStage(Resource, frozen=True):
    stage: StageName
    at: Time


class ProjectRound(Resource, frozen=True):
    """A round that the project's own coordinator leads. epoch: one for each start of it; it counts from 0 in each.

    workload_id, attempt, start: which start that is. stage: the newest one; stages: when each was reported.
    deadline_at: of that stage, as long as the round goes on. reason: why it failed or was cancelled.
    """

    epoch: int
    number: int
    workload_id: Uuid
    attempt: int
    start: int
    state: ProjectRoundState
    stage: StageName
    reason: str
    started_at: Time
    stage_at: Time
    deadline_at: Time | None
    ended_at: Time | None
    stages: list[ReportedStage]
    counts: dict[str, int]
    metrics: dict[str, float]
    checkpoint_artifact_id: Uuid | None
    model_version: int | None


class ProjectRoom(Resource, frozen=True):
    """What a project's artifacts take, and may: all together, and those of one participant."""

    live_bytes: int
    live_count: int
    quota_bytes: int
    site_quota_bytes: int


class Project(Resource, frozen=True):
    """coordinator_identity_key: base64, so that who joins can hold the coordinator to an identity that he knows."""

    id: Uuid
    organisation_id: Uuid
    coordinator_site_id: Uuid
    coordinator_name: str
    coordinator_identity_key: str
    name: str
    description: str
    data_format: str
    client_image: str
    joining: Joining
    max_live_runs: int
    tasks: list[TaskSpec]
    last_run_number: int
    created_at: Time
    archived_at: Time | None
    version: int
    sealed: Sealed
    infrastructure: Infrastructure | None
    initial_files: list[Artifact] | None = None
    """Its newest, of the project alone; None in lists, and for who is no active member."""
    parts: list[RunningPart] | None = None
    """Of its infrastructure, as far as it was ever started; None in lists, and for who may not see the members."""
    round: ProjectRound | None = None
    """The newest one that its own coordinator leads; None in lists, for who may not see the members, and before it."""
    room: ProjectRoom | None = None
    """None in lists, and for who may not see the members."""


class JoiningAbout(Resource, frozen=True):
    """What a member has to know to take part with the client image. goal_count: sites that a round needs; None where
    the first task's quorum is a fraction. ready_count: active members that say they are ready now.

    next_deadline_at: of the stage in which the project's earliest live round is. addresses: of the selectors, once they
    are known: those outside their cluster, if there are any; inside and outside: all. initial_files: the newest first.
    command: a line for a shell; None without a client image. configuration: the client's config.yaml, without a token.
    """

    project_id: Uuid
    client_image: str
    data_format: str
    goal_count: int | None
    member_count: int
    ready_count: int
    next_deadline_at: Time | None
    addresses: list[str]
    inside: list[str]
    outside: list[str]
    initial_files: list[Artifact]
    command: str | None
    configuration: str


class Membership(Resource, frozen=True):
    project_id: Uuid
    site_id: Uuid
    site_name: str
    role: Literal["coordinator", "participant", "workload"]
    state: MemberState
    notes: str | None
    """For the coordinator, from the site that asks to join; None for everybody else."""
    created_at: Time
    state_at: Time
    ready_until: Time | None
    """Until when it has said that it is ready."""
    identity_key: str
    """Of the site, base64: what people compare the fingerprint of."""


class Submission(Resource, frozen=True):
    site_id: Uuid
    metrics: dict[str, float]
    update_message_id: Uuid | None
    started_at: Time
    submitted_at: Time
    left_out: str | None
    missing_receipt: str | None
    code: str


class CodeUse(Resource, frozen=True):
    """How many seats, or submissions of a round, say that their site runs the code with this digest."""

    code: str
    count: int


class SeatsWaiting(Resource, frozen=True):
    """How many seats wait by their sites' own word: for a person's approval, or for the hours in which they compute.

    until: the deadline of the round that waits for them; for hours, when the last of them begins.
    """

    waits_for: WaitsFor
    count: int
    until: Time | None


class SiteScore(Resource, frozen=True):
    """What a round's model is worth on a site's data. reason: why it has no score, where it said that."""

    site_id: Uuid
    metrics: dict[str, float]
    reason: str
    scored_at: Time


class Round(Resource, frozen=True):
    """drawn: how many seats were drawn for it; None where all take part. score: the mean of the sites' scores."""

    number: int
    state: RoundState
    reason: str
    quorum: int
    deadline_at: Time
    started_at: Time
    stage_at: Time
    ended_at: Time | None
    metrics: dict[str, float]
    model_message_id: Uuid | None
    drawn: int | None
    model_version: int | None
    score: dict[str, float]
    scores: list[SiteScore]
    codes: list[CodeUse]
    submissions: list[Submission]


class Seat(Resource, frozen=True):
    site_id: Uuid
    site_name: str
    round: int
    state: SeatState
    reason: str
    report_seq: int
    state_at: Time
    metrics: dict[str, float]
    update_message_id: Uuid | None
    code: str
    waits_for: str
    waits_until: Time | None


class BestRound(Resource, frozen=True):
    """The best round of a task so far, by the metric that its spec names (`best`), and the version that it made."""

    round: int
    model_version: int
    value: float


class TaskRun(Resource, frozen=True):
    seq: int
    name: str
    spec: TaskSpec
    state: TaskRunState
    reason: str
    round: int
    first_round: int
    model_message_id: Uuid | None
    started_at: Time | None
    ended_at: Time | None
    best: BestRound | None
    codes: list[CodeUse]
    waiting: list[SeatsWaiting]
    seats: list[Seat]
    rounds: list[Round]


class RunHead(Resource, frozen=True):
    """A run without its tasks, as lists show it. kind: empty of its project's tasks; else `deployment` or `adopted`."""

    id: Uuid
    project_id: Uuid
    number: int
    attempt: int
    state: RunState
    reason: str
    detail: str
    coordinator_site_id: Uuid
    created_by: Uuid
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    deadline_at: Time
    restart_of: Uuid | None
    version: int
    kind: str


class Run(RunHead, frozen=True):
    tasks: list[TaskRun]


class EventSubject(Resource, frozen=True):
    kind: SubjectKind
    id: Uuid


class Event(Resource, frozen=True):
    stream_id: Uuid
    seq: int
    kind: str
    at: Time
    command_id: Uuid
    subject: EventSubject
    run_id: Uuid | None
    site_id: Uuid | None
    facts: Facts
    hash: str


class LogPiece(Resource, frozen=True):
    """A piece of a site's log of a task run. at: its place in the run's log. A sealed body is trimmed to its reader.

    body: None for who runs the network or audits it, and acts neither for the coordinator nor for the site.
    """

    at: int
    site_id: Uuid
    task_seq: int
    seq: int
    round: int | None
    created_at: Time
    body: bytes | None
    size_bytes: int

    def __repr__(self) -> str:
        return f"LogPiece({self.site_id} {self.task_seq} {self.seq}, {self.size_bytes} bytes)"


class Delivery(Resource, frozen=True):
    site_id: Uuid
    state: DeliveryShown
    state_at: Time | None


class Message(Resource, frozen=True):
    """`body` is None once the message has expired; `deliveries` is None to all but the sender.

    artifact_id: where the payload lies if it is large; `body` is its detached seal then, or None.
    size_bytes, sha256: of what the sender posted (of the artifact, if there is one); a sealed body is trimmed to its
    reader.
    """

    id: Uuid
    sender_site_id: Uuid
    project_id: Uuid
    run_id: Uuid | None
    task_seq: int | None
    round: int | None
    kind: str
    body: bytes | None
    size_bytes: int
    sha256: str
    sent_at: Time
    expires_at: Time
    expired_at: Time | None
    artifact_id: Uuid | None
    deliveries: list[Delivery] | None

    def __repr__(self) -> str:
        return f"Message({self.id}, {self.size_bytes} bytes, sha256 {self.sha256})"


class Model(Resource, frozen=True):
    """size_bytes, digest: of its message. Read that (or its artifact) for the model itself.

    A checkpoint of the project's own coordinator is of its round `round` of `epoch`, and of no run: an artifact alone.
    begun_with: the version that its round began with; None for one that began with none. best: it is the best one of
    its run's task so far, where that has a metric to tell (`best`). score: the mean of the sites' scores, where they
    scored it.
    """

    version: int
    run_id: Uuid | None
    task_seq: int | None
    task: str | None
    round: int
    epoch: int | None
    message_id: Uuid | None
    artifact_id: Uuid | None
    digest: str
    size_bytes: int
    metrics: dict[str, float]
    created_at: Time
    begun_with: int | None
    best: bool
    score: dict[str, float]


class InboxMessage(Resource, frozen=True):
    """artifact_id: where the payload lies if it is large; `body` is its detached seal then, or None."""

    id: Uuid
    sender_site_id: Uuid
    kind: str
    body: bytes | None
    size_bytes: int
    sha256: str
    sent_at: Time
    expires_at: Time
    artifact_id: Uuid | None

    def __repr__(self) -> str:
        return f"InboxMessage({self.id}, {self.size_bytes} bytes, sha256 {self.sha256})"


class InboxEntry(Resource, frozen=True):
    seq: int
    kind: str
    state: DeliveryState
    created_at: Time
    project_id: Uuid | None
    run_id: Uuid | None
    task_seq: int | None
    round: int | None
    facts: Facts
    message: InboxMessage | None
    mark: str
    """Its place in the chain of the inbox; empty in entries from before marks were kept."""


class SignedHead(Resource, frozen=True):
    """The newest event of a chain, as the hub has signed it. at: microseconds since 1970, as they are signed.

    kind: whose events they are: a project's, a site's or an organisation's; it is not signed. key: the hub's, raw.
    """

    history_id: Uuid
    stream_id: Uuid
    kind: str
    seq: int
    hash: str
    at: Micros
    key: bytes
    signature: bytes


class Heads(Resource, frozen=True):
    """A page of heads. key: the hub's public key, raw."""

    key: bytes
    items: list[SignedHead]
    next: str | None


class Inbox(Resource, frozen=True):
    """`last_seq`: of the newest entry. `acknowledged_seq` may lag a few seconds behind when nothing is new.

    history_id: of the hub's history. Another one than before means that the hub was restored.
    heads: with entries: of the chains of events that they are about, and of the site's own.
    """

    items: list[InboxEntry]
    last_seq: int
    acknowledged_seq: int
    history_id: Uuid
    heads: list[SignedHead] | msgspec.UnsetType = msgspec.UNSET


class ArtifactAbout(Artifact, frozen=True):
    """chunk_digests: raw SHA-256s, one after the other. seal: with the caller's own wrap alone.

    downloads: where each chunk may be read beside the hub, if the operator allows it. files: of a checked archive.
    detail: why an archive does not count, a sentence that may name files of it.
    """

    chunk_bytes: int
    chunk_digests: bytes | None
    seal: bytes | None
    downloads: dict[str, str] | None
    files: list[ArchiveFile] | None
    detail: str | None


class ArtifactChunks(Resource, frozen=True):
    """Numbers of the chunks that are there and that are not.

    partial: how many bytes are there of those that were begun; None where a chunk that was cut off begins anew.
    uploads: where the needed ones may be PUT beside the hub, a hundred at most, with the header x-amz-checksum-sha256:
    the chunk's SHA-256 in base64. None where they go through the hub.
    """

    state: ArtifactState
    chunk_bytes: int
    size_bytes: int
    have: list[int]
    need: list[int]
    partial: dict[str, int] | None
    uploads: dict[str, str] | None
