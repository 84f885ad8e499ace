"""What the hub answers, as frozen values. docs/api.md is the source of every field.

Unknown fields are ignored, so that a newer hub does not break an older site; a missing or wrong one is
`msgspec.ValidationError`. Bodies arrive as base64 and are bytes here; times are aware datetimes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, TypeVar

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer."""


T = TypeVar("T")


class Page(Answer, Generic[T], frozen=True, kw_only=True):
    """A part of a list; `next` is the cursor of the following part."""

    items: list[T]
    next: str | None = None


class Me(Answer, frozen=True, kw_only=True):
    kind: str
    id: str
    name: str
    organisation_id: str | None = None
    role: str | None = None
    scopes: list[str] = []


class Created(Answer, frozen=True, kw_only=True):
    """The id of what was made. `token` is a secret, so no repr of this class shows it."""

    id: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Created(id={self.id!r})"


class Changed(Answer, frozen=True, kw_only=True):
    id: str
    state: str | None = None


class Beat(Answer, frozen=True, kw_only=True):
    heartbeat_every_s: float


class Site(Answer, frozen=True, kw_only=True):
    id: str
    organisation_id: str
    name: str
    description: str
    state: str
    seen_at: datetime | None = None


class Organisation(Answer, frozen=True, kw_only=True):
    id: str
    name: str


class Contract(Answer, frozen=True, kw_only=True):
    quorum: float = 1.0
    quorum_of: str = "fraction"
    select_within_s: float = 3600.0
    train_within_s: float = 86_400.0
    aggregate_within_s: float = 3600.0
    silent_within_s: float = 600.0
    late: str = "next_round"
    too_few: str = "fail"


class TaskSpec(Answer, frozen=True, kw_only=True):
    """A task as the project defines it; `parameters` are the coordinator's words, so validate() looks at them."""

    name: str
    model: str
    parameters: dict[str, object] = {}
    rounds: int = 1
    aggregate: bool = True
    who: Literal["all", "participants"] | list[str] = "all"
    after: list[str] | None = None
    contract: Contract = Contract()


class Project(Answer, frozen=True, kw_only=True):
    """coordinator_identity_key: raw; whom a site joins is held to it."""

    id: str
    coordinator_site_id: str
    coordinator_name: str
    coordinator_identity_key: bytes
    name: str
    description: str = ""
    joining: str = ""
    tasks: list[TaskSpec] = []
    last_run_number: int = 0
    sealed: str = "optional"
    archived_at: datetime | None = None


class Membership(Answer, frozen=True, kw_only=True):
    project_id: str
    site_id: str
    state: str
    site_name: str | None = None
    role: str | None = None
    notes: str | None = None
    """None where they are not for this site."""


class Model(Answer, frozen=True, kw_only=True):
    """A global model as a version of its project; the model itself is its message."""

    version: int
    run_id: str
    task_seq: int
    task: str
    round: int
    message_id: str
    created_at: datetime
    digest: str = ""
    size_bytes: int = 0
    metrics: dict[str, float] = {}


class StartedRun(Answer, frozen=True, kw_only=True):
    id: str
    project_id: str
    number: int
    attempt: int
    state: str


class Submission(Answer, frozen=True, kw_only=True):
    site_id: str
    metrics: dict[str, float] = {}
    update_message_id: str | None = None
    started_at: datetime | None = None
    submitted_at: datetime | None = None
    left_out: str | None = None
    missing_receipt: str | None = None


class Round(Answer, frozen=True, kw_only=True):
    number: int
    state: str
    reason: str = ""
    quorum: int = 0
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    stage_at: datetime | None = None
    ended_at: datetime | None = None
    metrics: dict[str, float] = {}
    model_message_id: str | None = None
    submissions: list[Submission] = []


class Seat(Answer, frozen=True, kw_only=True):
    site_id: str
    round: int
    state: str
    report_seq: int
    site_name: str | None = None
    reason: str = ""
    state_at: datetime | None = None
    metrics: dict[str, float] = {}
    update_message_id: str | None = None


class TaskRun(Answer, frozen=True, kw_only=True):
    seq: int
    name: str
    state: str
    spec: TaskSpec
    reason: str = ""
    round: int = 0
    first_round: int = 1
    model_message_id: str | None = None
    seats: list[Seat] = []
    rounds: list[Round] = []


class Run(Answer, frozen=True, kw_only=True):
    """A run; in lists it comes without its tasks."""

    id: str
    project_id: str
    number: int
    attempt: int
    state: str
    version: int
    coordinator_site_id: str
    reason: str = ""
    detail: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    restart_of: str | None = None
    tasks: list[TaskRun] = []

    @property
    def finished(self) -> bool:
        """True if nothing can happen to it any more."""
        return self.state in ("succeeded", "failed", "cancelled")


class Reported(Answer, frozen=True, kw_only=True):
    """What became of a report; `duplicate` if the hub had it already."""

    state: str
    round: int
    report_seq: int = 0
    duplicate: bool = False


class Posted(Answer, frozen=True, kw_only=True):
    ids: list[str]


class SealingKey(Answer, frozen=True, kw_only=True):
    """A site's sealing key as the hub keeps it; these times are microseconds, as they were signed."""

    site_id: str
    epoch: int
    suite: int
    public_key: bytes
    created_at: int
    expires_at: int
    signature: bytes
    state: str = "current"

    def __repr__(self) -> str:
        return f"SealingKey({self.site_id} epoch {self.epoch} {self.state})"


class MemberKey(Answer, frozen=True, kw_only=True):
    """An active member of a project: its identity, and the key to seal to it with, None where it has none."""

    site_id: str
    site_name: str
    role: str
    identity_key: bytes
    key: SealingKey | None = None


class KeyChanged(Answer, frozen=True, kw_only=True):
    site_id: str
    epoch: int
    state: str


class LogPiece(Answer, frozen=True, kw_only=True):
    """A piece of a site's log of a task run. seq: counted from 1 by its site; at: the cursor."""

    site_id: str
    task_seq: int
    seq: int
    created_at: datetime
    body: bytes
    at: int = 0
    round: int | None = None

    def __repr__(self) -> str:
        return f"LogPiece({self.site_id}/{self.task_seq} {self.seq}, {len(self.body)} bytes)"


class Written(Answer, frozen=True, kw_only=True):
    """What became of a piece of log; fields are not needed."""


class Message(Answer, frozen=True, kw_only=True):
    """A payload; its repr shows size and digest only."""

    id: str
    kind: str
    body: bytes | None = None
    size_bytes: int = 0
    sha256: str = ""
    sender_site_id: str | None = None
    project_id: str | None = None
    run_id: str | None = None
    task_seq: int | None = None
    round: int | None = None
    artifact_id: str | None = None

    def __repr__(self) -> str:
        return f"Message(id={self.id!r}, kind={self.kind!r}, size_bytes={self.size_bytes}, sha256={self.sha256!r})"


class Entry(Answer, frozen=True, kw_only=True):
    """An inbox entry. `facts` depend on the kind; agent.py reads them with a type of their own."""

    seq: int
    kind: str
    created_at: datetime
    state: str = ""
    project_id: str | None = None
    run_id: str | None = None
    task_seq: int | None = None
    round: int | None = None
    facts: msgspec.Raw = msgspec.Raw(b"{}")
    message: Message | None = None

    def __repr__(self) -> str:
        return f"Entry(seq={self.seq}, kind={self.kind!r}, run_id={self.run_id!r}, round={self.round!r})"


class Inbox(Answer, frozen=True, kw_only=True):
    items: list[Entry]
    last_seq: int
    acknowledged_seq: int


class Acknowledged(Answer, frozen=True, kw_only=True):
    acknowledged_seq: int


class Event(Answer, frozen=True, kw_only=True):
    stream_id: str
    seq: int
    kind: str
    at: datetime
    run_id: str | None = None
    site_id: str | None = None
    facts: dict[str, object] = {}


class Artifact(Answer, frozen=True, kw_only=True):
    """A payload of any size. chunk_digests: raw SHA-256s, one after the other; seal: with our own wrap alone.

    downloads: where each chunk may be read beside the hub. Lists come without the last four fields.
    """

    id: str
    project_id: str
    owner_site_id: str
    kind: str
    size_bytes: int
    digest: str
    state: str
    run_id: str | None = None
    task_seq: int | None = None
    round: int | None = None
    reason: str = ""
    message_id: str | None = None
    chunk_bytes: int = 4_194_304
    chunk_digests: bytes | None = None
    seal: bytes | None = None
    downloads: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Artifact(id={self.id!r}, kind={self.kind!r}, size_bytes={self.size_bytes}, digest={self.digest!r})"


class Chunks(Answer, frozen=True, kw_only=True):
    """How far an upload is. partial: bytes that are there of chunks that were cut off; None: those begin anew.

    uploads: where needed chunks may be put beside the hub.
    """

    state: str
    chunk_bytes: int
    size_bytes: int
    have: list[int]
    need: list[int]
    partial: dict[str, int] | None = None
    uploads: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"Chunks({self.state}, {len(self.have)} there, {len(self.need)} needed)"


class Problem(Answer, frozen=True, kw_only=True):
    """application/problem+json."""

    type: str = "/problems/unknown"
    title: str = ""
    status: int = 0
    detail: str = ""


class Command(Answer, frozen=True, kw_only=True):
    """What became of a command; `result` is the answer that `Prefer: wait` would have given."""

    id: str
    state: str
    status: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    problem: Problem | None = None
