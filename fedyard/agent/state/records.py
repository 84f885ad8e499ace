"""What the agent's memory holds, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from fedyard.sealed.sealing import Digests, Origin
from fedyard.wire.answers import Entry, Message
from fedyard.wire.notices import EarlierModel


class Report(msgspec.Struct, frozen=True):
    """A report as it is sent. seq: the seat's count, 0 for an aggregate.

    outcome: empty until the hub has answered, then ok or refused; owed if the hub has forgotten it since.
    """

    entry_seq: int
    event: str
    run_id: str
    task_seq: int
    round: int
    seq: int
    key: str
    body: bytes
    outcome: str = ""

    def __repr__(self) -> str:
        return f"Report({self.event} {self.run_id}/{self.task_seq} round {self.round} seq {self.seq} {self.outcome})"


class Body(msgspec.Struct, frozen=True):
    """A message's body: as it arrived, or opened. artifact_id: where the ciphertext lies, if not in `body`.

    file: where large opened content lies. origin: what the header of a sealed one said, once it was opened.
    """

    message_id: str
    kind: str
    body: bytes
    sender: str | None
    artifact_id: str | None
    opened: bool
    file: str
    origin: Origin | None = None

    def __repr__(self) -> str:
        return f"Body({self.kind} {self.message_id}, {len(self.body)} bytes, opened={self.opened})"


class LeftOut(msgspec.Struct, frozen=True):
    """A site whose update could not be used. reason: a code; detail: the fact."""

    site_id: str
    reason: str
    detail: str


class Made(msgspec.Struct, frozen=True):
    """What a hook has made because of an entry: packed content, or the file that holds it.

    left_out: whose updates a model is made without. digests: what it was made of. norm: `arrays.norm_of` its content.
    code: the digest of the code that made it; empty: unknown.
    """

    entry_seq: int
    run_id: str
    packed: bytes
    file: str
    metrics: dict[str, float]
    left_out: Sequence[LeftOut] = ()
    digests: Digests | None = None
    norm: float | None = None
    code: str = ""

    def __repr__(self) -> str:
        return f"Made(entry={self.entry_seq}, {len(self.packed)} bytes, file={self.file!r})"

    @property
    def content(self) -> bytes | Path:
        return Path(self.file) if self.file else self.packed


class Outgoing(msgspec.Struct, frozen=True):
    """A large payload on its way: its detached seal (None if it is not sealed), the file with its body.

    artifact_id: where it lies at the hub, once it does.
    """

    entry_seq: int
    run_id: str
    seal: bytes | None
    file: str
    artifact_id: str | None = None

    def __repr__(self) -> str:
        return f"Outgoing(entry={self.entry_seq}, file={self.file!r}, artifact_id={self.artifact_id!r})"


class LogPiece(msgspec.Struct, frozen=True):
    """A piece of a task run's log that the hub does not have yet. at: microseconds, when it was begun."""

    run_id: str
    task_seq: int
    seq: int
    project_id: str
    round: int
    at: int
    text: str

    def __repr__(self) -> str:
        return f"LogPiece({self.run_id}/{self.task_seq} {self.seq}, {len(self.text)} characters)"


class Seat(msgspec.Struct, frozen=True):
    """What the site knows of its part in a task run. model_id: the message with the newest global model.

    project_id: what it was invited to; a run belongs to one project for ever. results_json: models of the tasks before
    (`EarlierModel`s), as they were first shown.
    """

    run_id: str
    task_seq: int
    report_seq: int
    task_json: bytes
    number: int
    attempt: int
    model_id: str | None = None
    project_id: str | None = None
    results_json: bytes = b"[]"

    @property
    def results(self) -> list[EarlierModel]:
        return msgspec.json.decode(self.results_json, type=list[EarlierModel])


class RunTask(msgspec.Struct, frozen=True):
    """A task of a run as this site knows it, since it was first told. digest: `contract.task_digest`.

    seats: every site that was ever shown as having a seat in it; only its coordinator is told.
    """

    run_id: str
    task_seq: int
    digest: str
    task_json: bytes
    seats: Sequence[str] = ()


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A task of a run, as this site's people see it. digest: `contract.task_digest`. code: its code's digest here.

    until: when the hub stops waiting, 0 if it did not say; asked_at, answered_at: microseconds. state: told (nobody is
    asked), waiting, then approved or refused by a person, or over.
    """

    id: int = 0
    project_id: str
    run_id: str
    task_seq: int
    name: str
    digest: str
    code: str
    task_json: bytes
    number: int
    attempt: int
    asked_at: int
    until: int
    state: str
    answered_at: int = 0


class Receipt(msgspec.Struct, frozen=True):
    """What became of an update that the hub has accepted.

    outcome: awaited, found, told (why it is not in the model), or missing; then reason is a code, at when it was found
    missing (microseconds), key that of the report to the hub, and hub its answer: ok, refused, or nothing yet.
    """

    run_id: str
    task_seq: int
    round: int
    project_id: str
    outcome: str
    reason: str = ""
    at: int = 0
    key: str = ""
    hub: str = ""


class Egress(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has left this house. kind: update, model, log or reason.

    recipients: whom it was sealed to. size_bytes, digest: of the content, as a file that people open has it (SHA-256,
    hex). seal: digest of what travelled, as the hub and others name it; empty if it went unsealed. norm: Euclidean,
    over all numbers in it. count: pieces of a log. text: of a reason. outcome: what the hub answered, ok or refused,
    or superseded where it was made anew before that; empty until then. at: microseconds.
    """

    id: int = 0
    at: int
    project_id: str
    run_id: str
    task_seq: int
    round: int
    kind: str
    recipients: tuple[str, ...] = ()
    size_bytes: int = 0
    digest: str = ""
    seal: str = ""
    norm: float | None = None
    metrics: dict[str, float] = {}
    count: int = 1
    text: str = ""
    outcome: str = ""


class Position(msgspec.Struct, frozen=True):
    """Where a site is in the hub's history. claim: what the hub is being told; owed: its answer, still to be met.

    recovered_at: microseconds, when the history went back last; 0 if it never did. rejoined_at: the one of these after
    which the hub was told again what this site's people joined and left.
    """

    taken: int
    mark: str
    history_id: str
    claim: bytes
    claim_key: str
    owed: bytes
    recovered_at: int
    rejoined_at: int


def made_of(digests: Digests | None) -> str:
    """SHA-256, in hex, over the receipts of the updates in a model; empty where they are not known."""
    if digests is None or digests.receipts is None:
        return ""
    return hashlib.sha256("\n".join(sorted(digests.receipts)).encode()).hexdigest()


def place_of(message: Message, entry: Entry) -> tuple[object, ...]:
    """Where a body belongs."""
    return message.id, message.kind, entry.seq, entry.run_id, entry.task_seq, entry.round
