"""What the hub answers, as frozen values. docs/api.md is the source of every field.

Unknown fields are ignored, so that a newer hub does not break an older site; a missing or wrong one is
`wire.Undecodable`. Nothing is believed: every field has a type of wire.py that holds it. Bodies arrive as base64 and
are bytes here; times are aware datetimes.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fedyard.wire import types as w
from fedyard.wire.chunks import MAX_CHUNKS
from fedyard.wire.notebooks import struct_html
from fedyard.wire.parameters import check_shown

MAX_ITEMS = 1000
"""Of one page."""
ChunkNumbers = Annotated[list[Annotated[int, Meta(ge=0, lt=MAX_CHUNKS)]], Meta(max_length=MAX_CHUNKS)]
Addresses = Annotated[dict[w.Name, w.Web], Meta(max_length=MAX_CHUNKS)]
"""By the number of a chunk."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer. In a notebook it shows itself as a table."""

    def _repr_html_(self) -> str:
        return struct_html(self)


T = TypeVar("T")


class Page(Answer, Generic[T], frozen=True, kw_only=True):
    """A part of a list; `next` is the cursor of the following part."""

    items: Annotated[list[T], Meta(max_length=MAX_ITEMS)]
    next: w.Cursor | None = None


class Me(Answer, frozen=True, kw_only=True):
    kind: w.Slug
    id: w.Uuid
    name: w.Name
    organisation_id: w.Uuid | None = None
    role: w.Slug | None = None
    scopes: Annotated[list[w.Name], Meta(max_length=100)] = []


class Created(Answer, frozen=True, kw_only=True):
    """The id of what was made. `token` is a secret, so no repr of this class shows it."""

    id: w.Uuid
    token: w.Token | None = None

    def __repr__(self) -> str:
        return f"Created(id={self.id!r})"


class Changed(Answer, frozen=True, kw_only=True):
    id: w.Uuid
    state: w.Slug | None = None


class Beat(Answer, frozen=True, kw_only=True):
    heartbeat_every_s: Annotated[float, Meta(ge=0.1, le=3600)]


class Site(Answer, frozen=True, kw_only=True):
    id: w.Uuid
    organisation_id: w.Uuid
    name: w.Name
    description: w.Text
    state: w.Slug
    seen_at: w.At | None = None


class Organisation(Answer, frozen=True, kw_only=True):
    id: w.Uuid
    name: w.Name


class Contract(Answer, frozen=True, kw_only=True):
    quorum: Annotated[float, Meta(ge=0, le=w.MAX_SITES)] = 1.0
    quorum_of: w.Slug = "fraction"
    select_within_s: w.Span = 3600.0
    train_within_s: w.Span = 86_400.0
    aggregate_within_s: w.Span = 3600.0
    silent_within_s: w.Span = 600.0
    late: w.Slug = "next_round"
    too_few: w.Slug = "fail"
    sample: Annotated[float, Meta(ge=0, le=w.MAX_SITES)] = 1.0
    sample_of: w.Slug = "fraction"
    sample_at_least: Annotated[int, Meta(ge=1, le=w.MAX_SITES)] = 1
    score_within_s: w.Span = 3600.0


class Best(Answer, frozen=True, kw_only=True):
    """By which metric of its rounds a task's best model is found. With `score.` before it, it is the sites' mean."""

    metric: w.Name
    mode: w.Slug = "max"


class StopEarly(Best, frozen=True, kw_only=True):
    """After how many rounds without a better one a task ends."""

    patience: w.Number = 5
    min_delta: Annotated[float, Meta(ge=0)] = 0.0


class TaskSpec(Answer, frozen=True, kw_only=True):
    """A task as the project defines it; `parameters` are the coordinator's words, so validate() looks at them.

    A field that is new here also stands in the table of docs/sealing.md (task digest).
    """

    name: w.Slug
    model: w.Name
    parameters: dict[str, object] = {}
    rounds: Annotated[int, Meta(ge=1, le=100_000)] = 1
    aggregate: bool = True
    who: Literal["all", "participants"] | Annotated[list[w.Uuid], Meta(max_length=w.MAX_SITES)] = "all"
    after: Annotated[list[w.Slug], Meta(max_length=MAX_ITEMS)] | None = None
    contract: Contract = Contract()
    initial: bool = False
    score_every: w.Seq = 0
    best: Best | None = None
    stop_early: StopEarly | None = None
    code: w.Name = "any"

    def __post_init__(self) -> None:
        check_shown(self.parameters)


class WrittenTasks(Answer, frozen=True, kw_only=True):
    """A project's tasks with every field, for who writes them anew with some changed."""

    tasks: Annotated[list[dict[str, object]], Meta(max_length=MAX_ITEMS)]

    def __post_init__(self) -> None:
        check_shown(self.tasks)


class StageDeadlines(Answer, frozen=True, kw_only=True):
    """How long each stage of a round may take, in seconds, that a project's own coordinator leads."""

    selection_s: Annotated[float, Meta(ge=0)]
    configuration_s: Annotated[float, Meta(ge=0)]
    reporting_s: Annotated[float, Meta(ge=0)]


class Infrastructure(Answer, frozen=True, kw_only=True):
    """What a project's own coordinator and selectors are made of, and where they run; as in Fedota."""

    coordinator_image: w.Text = ""
    selector_image: w.Text = ""
    selectors: w.Number = 1
    where: w.Name = "hub"
    required_files: Annotated[list[w.Name], Meta(max_length=MAX_ITEMS)] = []
    deadlines: StageDeadlines | UnsetType = UNSET
    """Of the stages of its rounds; an older hub knows of none."""


class ReportedStage(Answer, frozen=True, kw_only=True):
    stage: w.Name
    at: w.At


class ProjectRound(Answer, frozen=True, kw_only=True):
    """A round that a project's own coordinator leads. epoch: one for each start of it."""

    epoch: w.Number
    number: w.Seq
    state: w.Slug
    stage: w.Name
    reason: w.Text = ""
    started_at: w.At
    deadline_at: w.At | None = None
    ended_at: w.At | None = None
    stages: Annotated[list[ReportedStage], Meta(max_length=MAX_ITEMS)] = []
    counts: Annotated[dict[w.Name, w.Seq], Meta(max_length=MAX_ITEMS)] = {}
    metrics: w.Metrics = {}
    model_version: w.Seq | None = None


class Misfit(Answer, frozen=True, kw_only=True):
    """One thing in which data do not fit a federated model."""

    code: w.Slug
    detail: w.Text = ""


class Match(Answer, frozen=True, kw_only=True):
    """Data that were announced at the edge, and what has come of them for a run's federated model. state: None: they
    were never matched. data_topic: None where this reader may not know."""

    source_id: w.Uuid
    source_state: w.Slug
    cluster: w.Name
    data_topic: Annotated[str, Meta(max_length=32_768)] | None = None
    misfits: Annotated[list[Misfit], Meta(max_length=MAX_ITEMS)] = []
    state: w.Slug | None = None
    reason: w.Text = ""
    detail: w.Text = ""
    workload_id: w.Uuid | None = None
    workload_state: w.Slug | None = None


class RunningPart(Answer, frozen=True, kw_only=True):
    """Of a project's infrastructure, as its cluster shows it."""

    part: w.Slug
    workload_id: w.Uuid
    where: w.Name = ""
    state: w.Slug
    stop_at: w.At | None = None
    ready: w.Seq = 0
    replicas: w.Seq = 0
    addresses: Annotated[dict[Annotated[str, Meta(max_length=16)], w.Text], Meta(max_length=8)] = {}
    reason: Annotated[str, Meta(max_length=64)] = ""
    detail: w.Text = ""
    model_version: w.Seq | None = None


class Project(Answer, frozen=True, kw_only=True):
    """coordinator_identity_key: raw; whom a site joins is held to it."""

    id: w.Uuid
    coordinator_site_id: w.Uuid
    coordinator_name: w.Name
    coordinator_identity_key: w.IdentityKey
    name: w.Name
    description: w.Text = ""
    data_format: w.Text = ""
    client_image: w.Text = ""
    infrastructure: Infrastructure | None = None
    parts: Annotated[list[RunningPart], Meta(max_length=MAX_ITEMS)] | None = None
    joining: w.Name = ""
    tasks: Annotated[list[TaskSpec], Meta(max_length=MAX_ITEMS)] = []
    last_run_number: w.Seq = 0
    sealed: w.Slug = "optional"
    archived_at: w.At | None = None


class Membership(Answer, frozen=True, kw_only=True):
    project_id: w.Uuid
    site_id: w.Uuid
    state: w.Slug
    site_name: w.Name | None = None
    role: w.Slug | None = None
    notes: w.Text | None = None
    """None where they are not for this site."""


class Ready(Answer, frozen=True, kw_only=True):
    """Until when a member has said that it is ready, and how many are."""

    ready_until: w.At | None = None
    ready_count: w.Seq = 0


class Joining(Answer, frozen=True, kw_only=True):
    """How to take part with the client image. command: a line for a shell; configuration: the client's config.yaml."""

    project_id: w.Uuid
    client_image: w.Text = ""
    data_format: w.Text = ""
    goal_count: w.Number | None = None
    member_count: w.Seq = 0
    ready_count: w.Seq = 0
    next_deadline_at: w.At | None = None
    addresses: Annotated[list[w.Name], Meta(max_length=MAX_ITEMS)] = []
    inside: Annotated[list[w.Name], Meta(max_length=MAX_ITEMS)] = []
    outside: Annotated[list[w.Name], Meta(max_length=MAX_ITEMS)] = []
    command: w.Text | None = None
    configuration: w.Text = ""


class ClientToken(Answer, frozen=True, kw_only=True):
    """A client's token: its secret was drawn here, so that only its hash has travelled."""

    id: w.Uuid
    expires_at: w.At


class TokenAbout(Answer, frozen=True, kw_only=True):
    """A token without its secret. project_id: of a client's token."""

    id: w.Uuid
    project_id: w.Uuid | None = None
    expires_at: w.At | None = None
    revoked_at: w.At | None = None
    used_at: w.At | None = None


class Model(Answer, frozen=True, kw_only=True):
    """A global model as a version of its project; the model itself is its message.

    A checkpoint of the project's own coordinator is of a round of `epoch`, and an artifact alone: it has no run.
    """

    version: w.Number
    run_id: w.Uuid | None
    task_seq: w.Number | None
    task: w.Slug | None
    round: w.Seq
    message_id: w.Uuid | None
    created_at: w.At
    epoch: w.Number | None = None
    artifact_id: w.Uuid | None = None
    digest: w.Digest = ""
    size_bytes: w.Seq = 0
    metrics: w.Metrics = {}
    best: bool = False
    score: w.Metrics = {}


class StartedRun(Answer, frozen=True, kw_only=True):
    id: w.Uuid
    project_id: w.Uuid
    number: w.Number
    attempt: w.Number
    state: w.Slug
    requests_waiting: w.Seq = 0


class Submission(Answer, frozen=True, kw_only=True):
    site_id: w.Uuid
    metrics: w.Metrics = {}
    update_message_id: w.Uuid | None = None
    started_at: w.At | None = None
    submitted_at: w.At | None = None
    left_out: w.Text | None = None
    missing_receipt: w.Text | None = None
    code: w.Name = ""


class CodeUse(Answer, frozen=True, kw_only=True):
    """How many seats, or submissions of a round, say that their site runs the code with this digest."""

    code: w.Name
    count: w.Seq


class SeatsWaiting(Answer, frozen=True, kw_only=True):
    """How many seats wait for a person's approval, or for their sites' hours, and until when."""

    waits_for: w.Slug
    count: w.Seq
    until: w.At | None = None


class SiteScore(Answer, frozen=True, kw_only=True):
    """What a round's model is worth on a site's data. reason: why it has no score, where it said that."""

    site_id: w.Uuid
    metrics: w.Metrics = {}
    reason: w.Text = ""
    scored_at: w.At | None = None


class BestRound(Answer, frozen=True, kw_only=True):
    """The best round of a task so far, and the version of the project that it made."""

    round: w.Seq
    model_version: w.Number
    value: float


class Round(Answer, frozen=True, kw_only=True):
    """number: 0 is that in which the coordinator gives the first model. drawn: how many seats were drawn for it; None
    where all take part. score: the mean of the sites' scores."""

    number: w.Seq
    state: w.Slug
    reason: w.Text = ""
    quorum: w.Seq = 0
    deadline_at: w.At | None = None
    started_at: w.At | None = None
    stage_at: w.At | None = None
    ended_at: w.At | None = None
    metrics: w.Metrics = {}
    model_message_id: w.Uuid | None = None
    drawn: w.Seq | None = None
    model_version: w.Number | None = None
    score: w.Metrics = {}
    scores: Annotated[list[SiteScore], Meta(max_length=w.MAX_SITES)] = []
    codes: Annotated[list[CodeUse], Meta(max_length=w.MAX_SITES)] = []
    submissions: Annotated[list[Submission], Meta(max_length=w.MAX_SITES)] = []


class Seat(Answer, frozen=True, kw_only=True):
    site_id: w.Uuid
    round: w.Seq
    state: w.Slug
    report_seq: w.Seq
    site_name: w.Name | None = None
    reason: w.Text = ""
    state_at: w.At | None = None
    metrics: w.Metrics = {}
    update_message_id: w.Uuid | None = None
    code: w.Name = ""
    waits_for: w.Name = ""
    waits_until: w.At | None = None


class TaskRun(Answer, frozen=True, kw_only=True):
    seq: w.Number
    name: w.Slug
    state: w.Slug
    spec: TaskSpec
    reason: w.Text = ""
    round: w.Seq = 0
    first_round: w.Seq = 1
    model_message_id: w.Uuid | None = None
    best: BestRound | None = None
    codes: Annotated[list[CodeUse], Meta(max_length=w.MAX_SITES)] = []
    waiting: Annotated[list[SeatsWaiting], Meta(max_length=MAX_ITEMS)] = []
    seats: Annotated[list[Seat], Meta(max_length=w.MAX_SITES)] = []
    rounds: Annotated[list[Round], Meta(max_length=w.MAX_SITES)] = []


class Run(Answer, frozen=True, kw_only=True):
    """A run; in lists it comes without its tasks."""

    id: w.Uuid
    project_id: w.Uuid
    number: w.Number
    attempt: w.Number
    state: w.Slug
    version: w.Seq
    coordinator_site_id: w.Uuid
    reason: w.Text = ""
    detail: w.Text = ""
    created_at: w.At | None = None
    started_at: w.At | None = None
    ended_at: w.At | None = None
    deadline_at: w.At | None = None
    restart_of: w.Uuid | None = None
    kind: w.Name = ""
    tasks: Annotated[list[TaskRun], Meta(max_length=MAX_ITEMS)] = []

    def task(self, seq: int) -> TaskRun:
        """Raises `wire.Undecodable` if the hub shows no such task."""
        found = next((task for task in self.tasks if task.seq == seq), None)
        if found is None:
            raise w.Undecodable(f"run {self.id} is shown without its task {seq}")
        return found

    @property
    def finished(self) -> bool:
        """True if nothing can happen to it any more."""
        return self.state in ("succeeded", "failed", "cancelled")


class Reported(Answer, frozen=True, kw_only=True):
    """What became of a report; `duplicate` if the hub had it already. reason: why the hub failed the seat for it."""

    state: w.Slug
    round: w.Seq
    report_seq: w.Seq = 0
    duplicate: bool = False
    reason: w.Text = ""


class Posted(Answer, frozen=True, kw_only=True):
    ids: Annotated[list[w.Uuid], Meta(min_length=1, max_length=MAX_ITEMS)]


class SealingKey(Answer, frozen=True, kw_only=True):
    """A site's sealing key as the hub keeps it; these times are microseconds, as they were signed."""

    site_id: w.Uuid
    epoch: w.Epoch
    suite: Annotated[int, Meta(ge=0, le=255)]
    public_key: w.PublicKey
    created_at: w.Micros
    expires_at: w.Micros
    signature: w.Signature
    state: w.Slug = "current"

    def __repr__(self) -> str:
        return f"SealingKey({self.site_id} epoch {self.epoch} {self.state})"


class MemberKey(Answer, frozen=True, kw_only=True):
    """An active member of a project: its identity, and the key to seal to it with, None where it has none."""

    site_id: w.Uuid
    site_name: w.Name
    role: w.Slug
    identity_key: w.IdentityKey
    key: SealingKey | None = None


class KeyChanged(Answer, frozen=True, kw_only=True):
    site_id: w.Uuid
    epoch: w.Epoch
    state: w.Slug


class LogPiece(Answer, frozen=True, kw_only=True):
    """A piece of a site's log of a task run. seq: counted from 1 by its site; at: the cursor.

    body: None for who may not read it: who runs the network or audits it.
    """

    site_id: w.Uuid
    task_seq: w.Number
    seq: w.Seq
    created_at: w.At
    body: w.Piece | None = None
    at: w.Seq = 0
    round: w.Seq | None = None

    def __repr__(self) -> str:
        return f"LogPiece({self.site_id}/{self.task_seq} {self.seq}, {len(self.body or ())} bytes)"


class Message(Answer, frozen=True, kw_only=True):
    """A payload; its repr shows size and digest only."""

    id: w.Uuid
    kind: w.Slug
    body: w.Body | None = None
    size_bytes: w.Seq = 0
    sha256: w.Digest = ""
    sender_site_id: w.Uuid | None = None
    project_id: w.Uuid | None = None
    run_id: w.Uuid | None = None
    task_seq: w.Number | None = None
    round: w.Seq | None = None
    artifact_id: w.Uuid | None = None

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, kind={self.kind!r}, size_bytes={self.size_bytes}, sha256={self.sha256!r})"


class Entry(Answer, frozen=True, kw_only=True):
    """An inbox entry. `facts` depend on the kind; agent.py reads them with a type of their own."""

    seq: w.Seq
    kind: w.Slug
    created_at: w.At
    state: w.Name = ""
    project_id: w.Uuid | None = None
    run_id: w.Uuid | None = None
    task_seq: w.Number | None = None
    round: w.Seq | None = None
    facts: msgspec.Raw = msgspec.Raw(b"{}")
    message: Message | None = None
    mark: w.Mark = ""

    def __repr__(self) -> str:
        return f"Entry(seq={self.seq}, kind={self.kind!r}, run_id={self.run_id!r}, round={self.round!r})"


_RUN = ("project_id", "run_id")
_TASK = (*_RUN, "task_seq")
_ROUND = (*_TASK, "round")
_NAMES: dict[str, tuple[str, ...]] = {
    "invited": _ROUND,
    "round_started": _ROUND,
    "aggregate": _ROUND,
    "round_completed": _ROUND,
    "seat_dropped": _ROUND,
    "seat_left_out": _ROUND,
    "receipt_missing": _ROUND,
    "task_ended": _TASK,
    "run_ended": _RUN,
    "member_invited": ("project_id",),
    "message": ("project_id", "message"),
}
"""What an entry of that kind must say what it is about."""


class _Bare(Answer, frozen=True, kw_only=True):
    """What is left to know of an entry that cannot be read."""

    seq: w.Seq


class Unread(Answer, frozen=True, kw_only=True):
    """An entry that cannot be read. seq: None if not even that can be. fact: what is wrong with it."""

    seq: int | None
    fact: str


class Inbox(Answer, frozen=True, kw_only=True):
    """A page of the inbox. Its entries are read one by one, so that one that cannot be read takes no other with it."""

    raw: Annotated[list[msgspec.Raw], Meta(max_length=MAX_ITEMS)] = msgspec.field(name="items")
    last_seq: w.Seq
    acknowledged_seq: w.Seq
    history_id: w.Uuid | None = None
    heads: Annotated[list[msgspec.Raw], Meta(max_length=MAX_ITEMS)] = []
    """Of chains of events; heads.py reads them one by one."""

    @property
    def items(self) -> list[Entry]:
        """Every entry that can be read, in order."""
        return self.read()[0]

    def read(self, after: int = -1) -> tuple[list[Entry], list[Unread]]:
        """The entries behind `after`, each once and in order; and those that cannot be read."""
        entries: dict[int, Entry] = {}
        unread = []
        for raw in self.raw:
            try:
                entry = entry_of(raw)
            except w.Undecodable as error:
                unread.append(Unread(seq=_seq(raw), fact=str(error)))
            else:
                entries.setdefault(entry.seq, entry)
        return [entries[seq] for seq in sorted(entries) if seq > after], unread


def entry_of(raw: bytes | msgspec.Raw) -> Entry:
    """An entry, with everything that one of its kind must have. Raises `wire.Undecodable`."""
    entry = w.decode(raw, Entry)
    missing = [name for name in _NAMES.get(entry.kind, ()) if getattr(entry, name) is None]
    if missing:
        raise w.Undecodable(f"an entry of kind {entry.kind} without {', '.join(missing)}")
    return entry


def _seq(raw: msgspec.Raw) -> int | None:
    try:
        return w.decode(raw, _Bare).seq
    except w.Undecodable:
        return None


class Heads(Answer, frozen=True, kw_only=True):
    """A page of signed heads; what of it is looked at here is the key alone. key: the hub's, raw."""

    key: w.IdentityKey


class RecoveredSeat(Answer, frozen=True, kw_only=True):
    """A seat that this site named, as the hub knows it; run_state is None where it knows none."""

    run_id: w.Uuid
    task_seq: w.Number
    run_state: w.Slug | None = None
    state: w.Slug | None = None
    report_seq: w.Seq = 0


class Recovered(Answer, frozen=True, kw_only=True):
    """What a hub whose history went back answers: where to read on, and what it knows."""

    history_id: w.Uuid
    common_seq: w.Seq
    read_after: w.Seq
    mark: w.Mark | None = None
    seats: Annotated[list[RecoveredSeat], Meta(max_length=200)] = []
    keys_conflicting: Annotated[list[w.Epoch], Meta(max_length=200)] = []


class Event(Answer, frozen=True, kw_only=True):
    stream_id: w.Uuid
    seq: w.Seq
    kind: w.Slug
    at: w.At
    run_id: w.Uuid | None = None
    site_id: w.Uuid | None = None
    facts: dict[str, object] = {}


class Archive(Answer, frozen=True, kw_only=True):
    """Of initial files. flaw: a code, why it does not count."""

    state: w.Slug
    version: w.Number | None = None
    flaw: w.Name = ""


class ArchiveFile(Answer, frozen=True, kw_only=True):
    path: w.Text
    size_bytes: w.Seq
    sha256: w.Hex32


class Artifact(Answer, frozen=True, kw_only=True):
    """A payload of any size. chunk_digests: raw SHA-256s, one after the other; seal: with our own wrap alone.

    downloads: where each chunk may be read beside the hub. files, detail: of an archive, what is in it, or why it does
    not count. Lists come without these fields.
    """

    id: w.Uuid
    project_id: w.Uuid
    owner_site_id: w.Uuid
    kind: w.Slug
    size_bytes: w.Seq
    digest: w.Hex32
    state: w.Slug
    run_id: w.Uuid | None = None
    task_seq: w.Number | None = None
    round: w.Seq | None = None
    reason: w.Text = ""
    message_id: w.Uuid | None = None
    archive: Archive | None = None
    files: Annotated[list[ArchiveFile], Meta(max_length=MAX_ITEMS)] | None = None
    detail: w.Text | None = None
    chunk_bytes: Literal[4_194_304] = 4_194_304
    chunk_digests: w.Digests | None = None
    seal: w.Body | None = None
    downloads: Addresses | None = None

    def __repr__(self) -> str:
        return f"Artifact(id={self.id!r}, kind={self.kind!r}, size_bytes={self.size_bytes}, digest={self.digest!r})"


class Chunks(Answer, frozen=True, kw_only=True):
    """How far an upload is. partial: bytes that are there of chunks that were cut off; None: those begin anew.

    uploads: where needed chunks may be put beside the hub.
    """

    state: w.Slug
    chunk_bytes: Literal[4_194_304]
    size_bytes: w.Seq
    have: ChunkNumbers
    need: ChunkNumbers
    partial: Annotated[dict[w.Name, w.Seq], Meta(max_length=MAX_CHUNKS)] | None = None
    uploads: Addresses | None = None

    def __repr__(self) -> str:
        return f"Chunks({self.state}, {len(self.have)} there, {len(self.need)} needed)"


class Problem(Answer, frozen=True, kw_only=True):
    """application/problem+json."""

    type: w.Token = "/problems/unknown"
    title: w.Text = ""
    status: Annotated[int, Meta(ge=0, le=599)] = 0
    detail: w.Text = ""


class Command(Answer, frozen=True, kw_only=True):
    """What became of a command; `result` is the answer that `Prefer: wait` would have given."""

    id: w.Uuid
    state: w.Slug
    status: Annotated[int, Meta(ge=0, le=599)] | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    problem: Problem | None = None


class WorkloadInput(Answer, frozen=True, kw_only=True):
    """The artifact that a job finds under that name."""

    artifact_id: w.Uuid
    digest: Annotated[str, Meta(max_length=64)]
    size_bytes: w.Seq


class WorkloadOutput(Answer, frozen=True, kw_only=True):
    """The artifact that a job has left under that name. stored_at: since when all of it is there."""

    artifact_id: w.Uuid
    digest: Annotated[str, Meta(max_length=64)]
    size_bytes: w.Seq
    attempt: w.Number
    stored_at: w.At | None = None


FILES = 64
"""Of a job, at most."""
FileName = Annotated[str, Meta(min_length=1, max_length=100)]


class Workload(Answer, frozen=True, kw_only=True):
    """What shall run, or ran, for a project; reason, detail and exit_code: of its newest attempt."""

    id: w.Uuid
    project_id: w.Uuid
    name: w.Name
    where: w.Name
    state: w.Slug
    attempt: w.Number
    stop_at: w.At | None = None
    reason: Annotated[str, Meta(max_length=64)] = ""
    detail: w.Text = ""
    exit_code: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    ready: w.Seq = 0
    addresses: Annotated[dict[Annotated[str, Meta(max_length=16)], w.Text], Meta(max_length=8)] = {}
    inputs: Annotated[dict[FileName, WorkloadInput], Meta(max_length=FILES)] = {}
    outputs: Annotated[dict[FileName, WorkloadOutput], Meta(max_length=FILES)] = {}


class WorkloadChanged(Answer, frozen=True, kw_only=True):
    id: w.Uuid
    state: w.Slug
    attempt: w.Number


_NOTHING = msgspec.Raw(b"null")


class TrainingResult(Answer, frozen=True, kw_only=True):
    """What training one architecture gave. log_tail: of its job, where that ended without it.

    train_metrics, val_metrics, test_metrics: as its job said them, so they may be anything in JSON.
    """

    number: w.Number
    deployment_id: w.Uuid
    architecture_id: w.Uuid
    state: w.Slug
    reason: w.Text = ""
    detail: w.Text = ""
    training_time_s: float | None = None
    workload_id: w.Uuid | None = None
    model_artifact_id: w.Uuid | None = None
    log_tail: Annotated[str, Meta(max_length=8192)] | None = None
    train_metrics: msgspec.Raw = _NOTHING
    val_metrics: msgspec.Raw = _NOTHING
    test_metrics: msgspec.Raw = _NOTHING


class Deployment(Answer, frozen=True, kw_only=True):
    """Training over streams. number: that a data source names it by. results: not in lists.

    string_id: that its federated model is announced under; empty: it is none. data_source_id: of what it trains on.
    """

    id: w.Uuid
    number: w.Number
    state: w.Slug
    run_state: w.Slug
    reason: w.Text = ""
    detail: w.Text = ""
    where: w.Name
    control_topic: Annotated[str, Meta(max_length=250)]
    string_id: w.Name = ""
    data_source_id: w.Uuid | None = None
    results: Annotated[list[TrainingResult], Meta(max_length=MAX_ITEMS)] = []


class DeploymentStarted(Answer, frozen=True, kw_only=True):
    id: w.Uuid
    number: w.Number
    state: w.Slug


class DeploymentStopped(Answer, frozen=True, kw_only=True):
    """Or deleted."""

    id: w.Uuid
    state: w.Slug


class InfrastructureChanged(Answer, frozen=True, kw_only=True):
    """workloads: the parts that it was about."""

    workloads: Annotated[list[WorkloadChanged], Meta(max_length=MAX_ITEMS)] = []


class ProjectSecret(Answer, frozen=True, kw_only=True):
    """That a project has a secret, never what it is. opens: with the key that the hub has now."""

    name: w.Slug
    set_by: w.Uuid
    set_at: w.At
    opens: bool


class SecretChanged(Answer, frozen=True, kw_only=True):
    name: w.Slug


class WorkloadLog(Answer, frozen=True, kw_only=True):
    """log: the tail; None where this reader may not have it, or there is none yet.

    after, next, over: to who asked from a byte on: where it begins, where to go on, and whether nothing more will come.
    """

    attempt: w.Number
    log: w.Piece | None = None
    after: w.Seq | None = None
    next: w.Seq | None = None
    over: bool | None = None
    events: Annotated[list[Annotated[str, Meta(max_length=1000)]], Meta(max_length=1000)] = []
