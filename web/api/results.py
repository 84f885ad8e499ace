"""What a decided write answers, as docs/api.md has it; the decisions make them, this is for /openapi.json."""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.states import ArtifactState, KeyState, MemberState, RoundState, RunState, SeatState
from storage.views.resources import Time, Uuid


class Result(msgspec.Struct, frozen=True):
    """The answer of an accepted command."""


class Made(Result, frozen=True):
    id: Uuid


class Shown(Result, frozen=True):
    """token: the secret, if the hub drew it and this request's is the one in force."""

    id: Uuid
    token: str | None

    def __repr__(self) -> str:
        return f"Shown({self.id})"


class Enrolled(Result, frozen=True):
    id: Uuid
    token_id: Uuid
    token: str | None

    def __repr__(self) -> str:
        return f"Enrolled({self.id})"


class WebhookSecret(Result, frozen=True):
    """secret: as Standard Webhooks writes it, derived for this answer alone. version: of it."""

    id: Uuid
    version: int
    secret: str

    def __repr__(self) -> str:
        return f"WebhookSecret({self.id})"


class Retired(Result, frozen=True):
    id: Uuid
    state: Literal["retired"]


class KeyResult(Result, frozen=True):
    site_id: Uuid
    epoch: int
    state: KeyState


class ConflictResult(Result, frozen=True):
    site_id: Uuid
    about_site_id: Uuid


class Changed(Result, frozen=True):
    id: Uuid
    version: int


class MemberResult(Result, frozen=True):
    project_id: Uuid
    site_id: Uuid
    state: MemberState


class RunResult(Result, frozen=True):
    id: Uuid
    project_id: Uuid
    number: int
    attempt: int
    state: RunState
    requests_waiting: int = 0
    """Sites that have asked to join and take no part yet."""


class Stopped(Result, frozen=True):
    id: Uuid
    state: RunState


class SeatResult(Result, frozen=True):
    """duplicate: the report was known already and changed nothing."""

    state: SeatState
    round: int
    report_seq: int
    duplicate: bool


class ReceiptResult(Result, frozen=True):
    """reason: the one that is on record."""

    site_id: Uuid
    round: int
    reason: str


class RoundResult(Result, frozen=True):
    state: RoundState
    round: int


class LogResult(Result, frozen=True):
    """seq: of the last piece that the hub has. duplicate: it had them all already."""

    seq: int
    duplicate: bool


class Sent(Result, frozen=True):
    ids: list[Uuid]


class Declared(Result, frozen=True):
    """need: the numbers of all chunks; what is needed later on says `GET /v1/artifacts/<id>/chunks`."""

    id: Uuid
    state: ArtifactState
    chunk_bytes: int
    need: list[int]


class Completed(Result, frozen=True):
    id: Uuid
    state: ArtifactState
    digest: str


class Deleted(Result, frozen=True):
    id: Uuid
    state: ArtifactState


class ChunkBegun(Result, frozen=True):
    """bytes: how many of the chunk are there now; the rest is still needed."""

    bytes: int


class AcknowledgedResult(Result, frozen=True):
    acknowledged_seq: int


class RecoveredSeat(Result, frozen=True):
    """A seat that the site named, as the hub knows it. run_state: null if the hub knows no such run or seat."""

    run_id: Uuid
    task_seq: int
    run_state: RunState | None
    state: SeatState | None
    round: int | None
    report_seq: int


class Recovered(Result, frozen=True):
    """common_seq: the newest entry that both sides have. The site reads on behind read_after, with this mark of it.

    keys_conflicting: epochs that are other keys at the hub, or do not follow on: the site puts a new key, of the next
    epoch there.
    """

    history_id: Uuid
    common_seq: int
    read_after: int
    mark: str | None
    seats: list[RecoveredSeat]
    keys_conflicting: list[int]


class HeartbeatResult(Result, frozen=True):
    """How often a site shall be heard of."""

    heartbeat_every_s: float


class Me(Result, frozen=True):
    kind: Literal["account", "site"]
    id: Uuid
    name: str
    organisation_id: Uuid
    role: Literal["admin", "member", "auditor"] | None
    scopes: list[Literal["read", "write"]]


class CommandView(Result, frozen=True):
    """kind, status and decided_at are None while it is pending; then `result` or `problem` is there."""

    id: Uuid
    state: Literal["pending", "accepted", "rejected"]
    kind: str | None = None
    status: int | None = None
    result: dict[str, object] | None = None
    problem: dict[str, object] | None = None
    decided_at: Time | None = None


class Health(Result, frozen=True):
    status: Literal["ok"]


class Readiness(Result, frozen=True):
    """Each part with "ok", or one sentence on what is wrong. history: that the hub was restored, and who recovered."""

    status: Literal["ready", "not ready"]
    parts: dict[str, str]
    history: str | None = None
