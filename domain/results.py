"""What an accepted command answers: each result as one typed value.

Decisions make them, the store keeps them as JSON, /openapi.json and docs/api.md describe them. To what is shown but
once, a token, the web adds it (web/api/results.py). Ids are UUIDs.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from domain.ids import Uuid
from domain.states import (
    AnnouncementState,
    ArchiveState,
    ArtifactState,
    DeploymentState,
    InferenceState,
    KeyState,
    MemberState,
    ProjectRoundState,
    ResultState,
    RoundState,
    RunState,
    SeatState,
    SiteState,
    WorkloadState,
)
from domain.values import StageName


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of an accepted command."""


class Made(Result, frozen=True, kw_only=True):
    id: Uuid


class MadeWithToken(Made, frozen=True, kw_only=True):
    """token_id: of the first token of what was made."""

    token_id: Uuid


class SignInResult(Made, frozen=True, kw_only=True):
    """Of a one-time code, which opens a session of this account until then."""

    account_id: Uuid
    expires_at: str


class SessionResult(Made, frozen=True, kw_only=True):
    """Of a session of this account, which lasts until then at most."""

    account_id: Uuid
    expires_at: str


class EndedSessions(Made, frozen=True, kw_only=True):
    """id: of the account. ended_count: sessions that ended, and codes that open none any more."""

    ended_count: int


class Retired(Result, frozen=True, kw_only=True):
    id: Uuid
    state: Literal["retired"]


class SiteResult(Result, frozen=True, kw_only=True):
    id: Uuid
    state: SiteState


class KeyResult(Result, frozen=True, kw_only=True):
    site_id: Uuid
    epoch: int
    state: KeyState


class ConflictResult(Result, frozen=True, kw_only=True):
    site_id: Uuid
    about_site_id: Uuid


class Changed(Result, frozen=True, kw_only=True):
    id: Uuid
    version: int


class MemberResult(Result, frozen=True, kw_only=True):
    project_id: Uuid
    site_id: Uuid
    state: MemberState


class ClientTokenResult(Made, frozen=True, kw_only=True):
    """Of a client's token, which is good for this project and until then."""

    project_id: Uuid
    site_id: Uuid
    expires_at: str


class ReadyResult(Result, frozen=True, kw_only=True):
    """ready_until: null if the site is not ready. ready_count: active members that are, this one among them."""

    project_id: Uuid
    site_id: Uuid
    ready_until: str | None
    ready_count: int


class RunResult(Result, frozen=True, kw_only=True):
    id: Uuid
    project_id: Uuid
    number: int
    attempt: int
    state: RunState


class StartedRun(RunResult, frozen=True, kw_only=True):
    """requests_waiting: sites that have asked to join and take no part yet."""

    requests_waiting: int


class Stopped(Result, frozen=True, kw_only=True):
    id: Uuid
    state: RunState


class WorkloadResult(Result, frozen=True, kw_only=True):
    """attempt: the newest one."""

    id: Uuid
    project_id: Uuid
    state: WorkloadState
    attempt: int


class ModelFileResult(Result, frozen=True, kw_only=True):
    architecture_id: Uuid
    version: int
    artifact_id: Uuid


class StartedDeployment(Result, frozen=True, kw_only=True):
    """id: of its run. number: that a data source names it by."""

    id: Uuid
    number: int
    project_id: Uuid
    state: DeploymentState


class DeploymentResult(Result, frozen=True, kw_only=True):
    id: Uuid
    number: int
    state: DeploymentState


class TrainingResultAnswer(Result, frozen=True, kw_only=True):
    id: Uuid
    number: int
    state: ResultState


class SecretResult(Result, frozen=True, kw_only=True):
    project_id: Uuid
    name: str


class ArchitectureResult(Result, frozen=True, kw_only=True):
    """number: what Kafka-ML's programs know it by. version: its newest."""

    id: Uuid
    project_id: Uuid
    number: int
    version: int


class ConfigurationResult(Result, frozen=True, kw_only=True):
    id: Uuid
    project_id: Uuid
    number: int


class InferenceResult(Result, frozen=True, kw_only=True):
    """number: what Kafka-ML's programs know it by."""

    id: Uuid
    project_id: Uuid
    number: int
    state: InferenceState


class WorkloadLogResult(Result, frozen=True, kw_only=True):
    """size_bytes: so much of the log the hub has, from its beginning. followed: more of it is asked for."""

    size_bytes: int
    followed: bool


class InfrastructureResult(Result, frozen=True, kw_only=True):
    """workloads: the parts that the command was about, the coordinator first."""

    project_id: Uuid
    workloads: list[WorkloadResult]


class SeatResult(Result, frozen=True, kw_only=True):
    """duplicate: the report was known already and changed nothing. reason: why the report has failed its seat, where
    the site itself did not say so."""

    state: SeatState
    round: int
    report_seq: int
    duplicate: bool
    reason: str = ""


class ReceiptResult(Result, frozen=True, kw_only=True):
    """reason: the one that is on record."""

    site_id: Uuid
    round: int
    reason: str


class RoundResult(Result, frozen=True, kw_only=True):
    state: RoundState
    round: int


class ProjectRoundResult(Result, frozen=True, kw_only=True):
    """A round that the project's own coordinator leads, as it is now. epoch: of the project, one for each start of its
    coordinator; start: which start of the present attempt at it that is. stage: the newest one; deadline_at: of it, as
    long as the round goes on. model_version: that its checkpoint has become."""

    project_id: Uuid
    epoch: int
    start: int
    number: int
    stage: StageName
    state: ProjectRoundState
    deadline_at: str | None
    model_version: int | None


class LogResult(Result, frozen=True, kw_only=True):
    """seq: of the last piece that the hub has. duplicate: it had them all already."""

    seq: int
    duplicate: bool


class Sent(Result, frozen=True, kw_only=True):
    ids: list[Uuid]


class Declared(Result, frozen=True, kw_only=True):
    """need: the numbers of all chunks; what is needed later on says `GET /v1/artifacts/<id>/chunks`."""

    id: Uuid
    state: ArtifactState
    chunk_bytes: int
    need: list[int]


class Completed(Result, frozen=True, kw_only=True):
    id: Uuid
    state: ArtifactState
    digest: str


class Deleted(Result, frozen=True, kw_only=True):
    id: Uuid
    state: ArtifactState


class AcknowledgedResult(Result, frozen=True, kw_only=True):
    acknowledged_seq: int


class RecoveredSeat(Result, frozen=True, kw_only=True):
    """A seat that the site named, as the hub knows it. run_state: null if the hub knows no such run or seat."""

    run_id: Uuid
    task_seq: int
    run_state: RunState | None
    state: SeatState | None
    round: int | None
    report_seq: int


class Recovered(Result, frozen=True, kw_only=True):
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


# of commands that the hub sends itself


class Done(Result, frozen=True, kw_only=True):
    """There is nothing to say."""


class HistoryResult(Result, frozen=True, kw_only=True):
    history_id: Uuid


class RevokedAgain(Result, frozen=True, kw_only=True):
    """revoked: names of the ledger that the store did not have as revoked."""

    revoked: list[str]


class ArchiveReported(Result, frozen=True, kw_only=True):
    """state: of the archive; null if there is none any more."""

    state: ArchiveState | None


class Marked(Result, frozen=True, kw_only=True):
    """site_ids: those whose state has changed."""

    site_ids: list[Uuid]


class Expired(Result, frozen=True, kw_only=True):
    """expired: ids of the messages or artifacts."""

    expired: list[Uuid]


class Begun(Result, frozen=True, kw_only=True):
    """begun: the queued run whose turn it was."""

    begun: Uuid | None


class EndedRestored(Result, frozen=True, kw_only=True):
    ended: bool


class Dropped(Result, frozen=True, kw_only=True):
    """dropped: in which tasks of the run, by number."""

    dropped: list[int]


class Passed(Result, frozen=True, kw_only=True):
    """passed: false for a finding that is stale, or a deadline that lies ahead."""

    passed: bool


class DeliveriesQueued(Result, frozen=True, kw_only=True):
    """queued: how many deliveries to webhooks were put into their queues."""

    queued: int


class DeliveriesBegun(Result, frozen=True, kw_only=True):
    """begun: how many deliveries are under way now."""

    begun: int


class RecordTaken(Result, frozen=True, kw_only=True):
    """id: of the row that it became."""

    id: Uuid
    became: Literal["data_source", "model_announcement", "quarantined"]


class StreamReported(Result, frozen=True, kw_only=True):
    """reason: why it could not be made; empty: it was."""

    reason: str


class Matched(Result, frozen=True, kw_only=True):
    """matched: how many pairs of a model and data are new, or are tried again."""

    matched: int


class WorkersSettled(Result, frozen=True, kw_only=True):
    """working: how many workers a federated run has, those to be started among them."""

    working: int


class RecordReplayed(Result, frozen=True, kw_only=True):
    """id: of the record. became_id: of the row that it becomes, once that is decided."""

    id: Uuid
    became_id: Uuid


class DeadLettersSettled(Result, frozen=True, kw_only=True):
    """letter_ids: of those that are given back to their queues, or thrown away, in a moment."""

    letter_ids: list[str]


class RecordsPurged(Result, frozen=True, kw_only=True):
    """purged: those that were waiting."""

    purged: list[Uuid]


class Withdrawn(Result, frozen=True, kw_only=True):
    id: Uuid
    state: AnnouncementState
