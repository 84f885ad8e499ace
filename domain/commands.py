"""Every command: what a caller asks for, in the imperative. One class, one actor, one route.

A command travels in an `Envelope`. Ids inside are canonical UUID text, times are microseconds since
the epoch (UTC), sizes are bytes, spans are seconds. Secrets never travel: only their SHA-256 does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, Union

import msgspec

from domain import stream_commands as _streams  # noqa: F401 - they are among all of them
from domain.command import Command as Command  # noqa: PLC0414 - c.Command is what all others call it
from domain.ids import Id
from domain.states import Report
from domain.values import (
    LOG_PIECE_BYTES,
    LOG_TAIL_BYTES,
    MAX_HELD,
    MAX_MARKS,
    MAX_SHUT_BYTES,
    MAX_SIGN_IN_S,
    MAX_TASKS,
    ArtifactKind,
    Counts,
    Digests,
    Grace,
    Image,
    Infrastructure,
    InitialFile,
    Joining,
    Key32,
    LedgerName,
    Mark,
    Metrics,
    Micros,
    Name,
    OwnParameters,
    OwnRounds,
    Pieces,
    PublicKey,
    Reason,
    Role,
    RoundNumber,
    RoundStart,
    Sealed,
    SecretName,
    Sha256,
    Signature,
    Size,
    Slug,
    Span,
    StageName,
    Subject,
    Tasks,
    Text,
    Value,
    WaitsFor,
    WebhookKinds,
    WebhookOwner,
    WebhookUrl,
    Where,
    WorkloadSpec,
)
from fedyard.cluster.plan import Finding, Side
from fedyard.cluster.port import AttemptId, EnvName, FileName, Phase, Spec
from fedyard.cluster.port import Reason as ClusterReason
from fedyard.wire.parameters import check_depth

# organisations, accounts, tokens


class CreateOrganisation(Command, frozen=True, tag="create_organisation"):
    name: Name


class CreateAccount(Command, frozen=True, tag="create_account"):
    organisation_id: Id
    name: Name
    role: Role
    token_sha256: Sha256
    token_expires_at: Micros | None = None


class DisableAccount(Command, frozen=True, tag="disable_account"):
    account_id: Id


class IssueToken(Command, frozen=True, tag="issue_token"):
    """A further token for an account or a site; `scopes` can only narrow what its owner may do.

    issued_by: the token with which it is asked for. It outlives that one in nothing: neither scopes nor time.
    """

    owner_kind: Literal["account", "site"]
    owner_id: Id
    sha256: Sha256
    label: Name
    scopes: Annotated[list[Literal["read", "write"]], msgspec.Meta(min_length=1, max_length=2)]
    expires_at: Micros | None = None
    issued_by: Id | None = None


class RevokeToken(Command, frozen=True, tag="revoke_token"):
    token_id: Id


class IssueSignIn(Command, frozen=True, tag="issue_sign_in"):
    """A one-time code with which the account opens a session in a browser.

    sha256: of the code. issued_by: the token with which it is asked for, which it does not outlive.
    """

    account_id: Id
    sha256: Sha256
    for_s: Annotated[float, msgspec.Meta(ge=1.0, le=MAX_SIGN_IN_S)] = 600.0
    issued_by: Id | None = None


class OpenSession(Command, frozen=True, tag="open_session"):
    """A session of the account, by the hash of its secret. proof_sha256: of a token or a sign-in code of it."""

    account_id: Id
    sha256: Sha256
    proof_sha256: Sha256


class EndSessions(Command, frozen=True, tag="end_sessions"):
    """Sign the account out everywhere; or, with one, out of that session alone."""

    account_id: Id
    session_id: Id | None = None


# sites


class CreateEnrolment(Command, frozen=True, tag="create_enrolment"):
    organisation_id: Id
    sha256: Sha256
    note: Text
    expires_at: Micros


class RevokeEnrolment(Command, frozen=True, tag="revoke_enrolment"):
    """Its token shall enrol nobody."""

    enrolment_id: Id


class EnrolSite(Command, frozen=True, tag="enrol_site"):
    """The subject is the enrolment whose token the site showed."""

    name: Name
    description: Text
    identity_key: Key32
    token_sha256: Sha256


class UpdateSite(Command, frozen=True, tag="update_site"):
    site_id: Id
    description: Text


class RetireSite(Command, frozen=True, tag="retire_site"):
    site_id: Id


class PutSiteKey(Command, frozen=True, tag="put_site_key"):
    """A site's next sealing key. The one before it is taken for `grace_s` more.

    signature: by the site's identity key, over the statement that docs/sealing.md describes; the web has verified it.
    """

    site_id: Id
    epoch: int
    public_key: PublicKey
    suite: Literal[1]
    created_at: Micros
    expires_at: Micros
    signature: Signature
    grace_s: Grace = 604_800.0


class RevokeSiteKey(Command, frozen=True, tag="revoke_site_key"):
    site_id: Id
    epoch: int
    reason: Reason = ""


class ReportConflict(Command, frozen=True, tag="report_conflict"):
    """A site was shown another identity of `about_site_id` than it has pinned; SHA-256 of both identity keys."""

    site_id: Id
    about_site_id: Id
    pinned: Sha256
    seen: Sha256


class HeldMark(Value, frozen=True):
    """An inbox entry as a site holds it."""

    seq: Annotated[int, msgspec.Meta(ge=1)]
    mark: Mark


class HeldSeat(Value, frozen=True):
    """A seat as its site knows it. report_seq: of the last report that it made.

    state: live; ended (the site saw the task or the run end); lost (it cannot go on, or say again what it reported).
    """

    run_id: Id
    task_seq: Annotated[int, msgspec.Meta(ge=1)]
    report_seq: Annotated[int, msgspec.Meta(ge=0)]
    state: Literal["live", "ended", "lost"] = "live"


class HeldKey(Value, frozen=True):
    """One epoch of a site's sealing keys, as it stated and signed it (`PutSiteKey`), and whether it is revoked."""

    epoch: Annotated[int, msgspec.Meta(ge=1)]
    public_key: PublicKey
    suite: Literal[1]
    created_at: Micros
    expires_at: Micros
    signature: Signature
    revoked: bool = False
    reason: Reason = ""


class RecoverSite(Command, frozen=True, tag="recover_site"):
    """The hub's history went back: what the site holds of the one before.

    history_id: that it knew, if any. last_seq: of its newest inbox entry; marks: of its newest entries, newest first.
    keys: in the order of their epochs. revoked_tokens: ids of its tokens that it was told are revoked.
    seats_cut: it has live seats that are not named, so that nothing follows from a seat's not being named.
    """

    site_id: Id
    history_id: Id | None
    last_seq: Annotated[int, msgspec.Meta(ge=0)]
    marks: Annotated[list[HeldMark], msgspec.Meta(max_length=MAX_MARKS)] = []
    seats: Annotated[list[HeldSeat], msgspec.Meta(max_length=MAX_HELD)] = []
    keys: Annotated[list[HeldKey], msgspec.Meta(max_length=MAX_HELD)] = []
    revoked_tokens: Annotated[list[Id], msgspec.Meta(max_length=MAX_HELD)] = []
    seats_cut: bool = False


class MarkSitesSilent(Command, frozen=True, tag="mark_sites_silent"):
    site_ids: list[Id]


class MarkSitesReturned(Command, frozen=True, tag="mark_sites_returned"):
    site_ids: list[Id]


class Beat(Value, frozen=True):
    """A site was heard of at `seen_at`; its inbox was handed out up to `handed_out`."""

    site_id: Id
    seen_at: Micros
    handed_out: int = 0


class TokenUse(Value, frozen=True):
    token_id: Id
    used_at: Micros


class AgentVersion(Value, frozen=True):
    """Which version a site's agent said that it is, and when."""

    site_id: Id
    version: Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[!-~]+(?!\n)$")]
    at: Micros


class RecordHeartbeats(Command, frozen=True, tag="record_heartbeats"):
    """The lean lane: only moves times forward, is transient, has no outcome and no events.

    versions: of agents that said another one than before.
    """

    beats: list[Beat]
    token_uses: list[TokenUse]
    versions: list[AgentVersion] = []


# projects


class CreateProject(Command, frozen=True, tag="create_project"):
    coordinator_site_id: Id
    name: Name
    tasks: Tasks
    description: Text = ""
    data_format: Text = ""
    client_image: Image = ""
    joining: Joining = "approval"
    max_live_runs: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    sealed: Sealed = "required"
    infrastructure: Infrastructure | None = None


class UpdateProject(Command, frozen=True, tag="update_project"):
    """None leaves a field as it is. Live runs keep the tasks that they started with; `sealed` changes between runs."""

    project_id: Id
    name: Name | None = None
    tasks: Tasks | None = None
    description: Text | None = None
    data_format: Text | None = None
    client_image: Image | None = None
    joining: Joining | None = None
    max_live_runs: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    sealed: Sealed | None = None
    infrastructure: Infrastructure | None = None


class ArchiveProject(Command, frozen=True, tag="archive_project"):
    project_id: Id


class PutMember(Command, frozen=True, tag="put_member"):
    """From the site: join (or accept an invitation). From the coordinator: invite (or approve a request)."""

    project_id: Id
    site_id: Id
    notes: Text = ""


class RemoveMember(Command, frozen=True, tag="remove_member"):
    """From the site: leave or decline. From the coordinator: remove, or decline a request."""

    project_id: Id
    site_id: Id
    reason: Reason = ""


class IssueClientToken(Command, frozen=True, tag="issue_client_token"):
    """A token for a client image that takes part in the project where a member's data are, good for so long.

    issued_by: the token with which it is asked for; it lives no longer than that one.
    """

    project_id: Id
    site_id: Id
    sha256: Sha256
    label: Name = "client"
    for_s: Span = 2_592_000.0
    issued_by: Id | None = None


class SayReady(Command, frozen=True, tag="say_ready"):
    """A member is ready for the project's rounds, for so long; or it is not any more."""

    project_id: Id
    site_id: Id
    ready: bool = True
    for_s: Span = 86_400.0


# runs


class StartRun(Command, frozen=True, tag="start_run"):
    """queue: if the project has as many live runs as it allows, wait as `created` instead of being refused.

    Of this run alone, by the names of tasks: parameters, which take the place of the project's of the same name (others
    stay); rounds: how many. initial: tasks that begin with a round 0 (`TaskSpec.initial`).
    model_version: the task that made it begins with this model of the project.
    """

    project_id: Id
    queue: bool = False
    finish_within_s: Span = 604_800.0
    parameters: OwnParameters = {}
    rounds: OwnRounds = {}
    initial: Annotated[list[Slug], msgspec.Meta(max_length=MAX_TASKS)] = []
    model_version: int | None = None

    def __post_init__(self) -> None:
        check_depth(self.parameters)


class BeginRun(Command, frozen=True, tag="begin_run"):
    """A run has ended: the hub starts the project's oldest queued run, if there is one and room for it."""

    project_id: Id


class StopRun(Command, frozen=True, tag="stop_run"):
    run_id: Id
    reason: Reason = ""


class RestartRun(Command, frozen=True, tag="restart_run"):
    """A new attempt, from the round that was reached or from the start; a live run is cancelled first.

    model_version: the task that made it begins with this model of the project, behind the round that it was made in
    (`reached`) or in its first one (`start`).
    """

    run_id: Id
    start_from: Literal["reached", "start"] = "reached"
    finish_within_s: Span = 604_800.0
    model_version: int | None = None


class ReportSeat(Command, frozen=True, tag="report_seat"):
    """A site's report. `seq` counts a seat's reports from 1; `update` is the (sealed) model update of a submit.

    update_artifact_id: the artifact that the update lies in; `update` is its detached seal then, or None.
    code: the digest of what the site runs as the task's model, with ready and submit.
    waits_for: of a wait; None once nothing is waited for any more. waits_until: when the site's hours begin.
    """

    run_id: Id
    task_seq: int
    site_id: Id
    event: Report
    seq: Annotated[int, msgspec.Meta(ge=1)]
    round: Annotated[int, msgspec.Meta(ge=1)]
    metrics: Metrics = {}
    reason: Reason = ""
    update: bytes | None = None
    update_artifact_id: Id | None = None
    code: Sha256 | None = None
    waits_for: WaitsFor | None = None
    waits_until: Micros | None = None


class LeftOut(Value, frozen=True):
    """A site whose update of a round is not in the round's model. reason: a code; detail: the sentence."""

    site_id: Id
    reason: Slug
    detail: Reason = ""


AllLeftOut = Annotated[list[LeftOut], msgspec.Meta(max_length=10_000)]


class ReportAggregated(Command, frozen=True, tag="report_aggregated"):
    """The coordinator's report: the new global model (sealed) and its metrics, or why there is none.

    model_artifact_id: the artifact that the model lies in; `model` is its detached seal then, or None.
    left_out: the sites whose updates could not be used; each has submitted in this round.
    """

    run_id: Id
    task_seq: int
    round: int
    metrics: Metrics = {}
    model: bytes | None = None
    failure: Reason = ""
    model_artifact_id: Id | None = None
    left_out: AllLeftOut = []


class ReportMissingReceipt(Command, frozen=True, tag="report_missing_receipt"):
    """A site does not find its update among those that a round's model names. reason: a code."""

    run_id: Id
    task_seq: int
    round: int
    site_id: Id
    reason: Slug


class DropSeats(Command, frozen=True, tag="drop_seats"):
    """The hub drops a site's live seats in a run. site_silent: those alone whose tasks do not allow such a silence.

    detail: for people; of a silence the decision says it.
    """

    run_id: Id
    site_id: Id
    reason: Literal["site_silent", "member_left", "site_retired", "hub_restored"]
    detail: Text = ""


class PassDeadline(Command, frozen=True, tag="pass_deadline"):
    """The ticker found a deadline in the past. task_seq and round are None for the run's own."""

    run_id: Id
    deadline_at: Micros
    task_seq: int | None = None
    round: int | None = None


# logs


class WriteLog(Command, frozen=True, tag="write_log"):
    """Further pieces of a site's (sealed) log of a task run; the first one is number `seq`.

    round: of all of them; None where sealed pieces say it themselves.
    """

    run_id: Id
    task_seq: int
    site_id: Id
    seq: Annotated[int, msgspec.Meta(ge=1)]
    pieces: Pieces
    round: Annotated[int, msgspec.Meta(ge=1)] | None = None


# messages


class NewMessage(Value, frozen=True):
    """to: ids of sites, or everybody's coordinator, or all participants of the project.

    artifact_id: the artifact that the payload lies in; `body` is its detached seal then, or None.
    """

    project_id: Id
    to: Literal["coordinator", "participants"] | Annotated[list[Id], msgspec.Meta(min_length=1, max_length=10_000)]
    body: bytes | None = None
    kind: Slug = "message"
    run_id: Id | None = None
    ttl_s: Annotated[float, msgspec.Meta(ge=1, le=7_776_000)] | None = None
    artifact_id: Id | None = None


class PostMessages(Command, frozen=True, tag="post_messages"):
    sender_site_id: Id
    messages: Annotated[list[NewMessage], msgspec.Meta(min_length=1, max_length=100)]


class AcknowledgeInbox(Command, frozen=True, tag="acknowledge_inbox"):
    """mark: of the entry `through` as the site holds it; None from who keeps no marks."""

    site_id: Id
    through: Annotated[int, msgspec.Meta(ge=0)]
    mark: Mark | None = None


class ExpireMessages(Command, frozen=True, tag="expire_messages"):
    """The ticker found these messages past their time; who has not acknowledged will not get them."""

    message_ids: list[Id]


# artifacts


class DeclareArtifact(Command, frozen=True, tag="declare_artifact"):
    """What a site is about to upload. digest: the tree digest, over chunk_digests (fedyard/wire/chunks.py).

    seal: the detached seal, where the bytes are a sealed body. ttl_s: how long to keep it once it is stored.
    archive: its files are read and checked by the hub; None: if it is an initial file, not sealed, of a project with
    infrastructure.
    """

    owner_site_id: Id
    project_id: Id
    of_kind: ArtifactKind
    size_bytes: Size
    digest: Sha256
    chunk_digests: Digests
    run_id: Id | None = None
    task_seq: int | None = None
    round: int | None = None
    seal: bytes | None = None
    ttl_s: Span | None = None
    archive: bool | None = None


class CompleteArtifact(Command, frozen=True, tag="complete_artifact"):
    """Every chunk is there, says the owner. found: the digests of those that the web found, zeros for the others."""

    artifact_id: Id
    found: Digests


class DeleteArtifact(Command, frozen=True, tag="delete_artifact"):
    artifact_id: Id


class ExpireArtifacts(Command, frozen=True, tag="expire_artifacts"):
    """The ticker found these past their time; the decision looks again whether anybody needs them."""

    artifact_ids: list[Id]


class CheckArchive(Command, frozen=True, tag="check_archive"):
    """Read an archive as it lies in the store of artifacts. digest: the artifact's."""

    project_id: Id
    artifact_id: Id
    size_bytes: Size
    digest: Sha256
    required: Annotated[list[InitialFile], msgspec.Meta(max_length=20)]


class ArchiveFile(Value, frozen=True):
    """A file of an archive. path: below the folder that it is unpacked into."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]
    size_bytes: Size
    sha256: Sha256


class ReportArchive(Command, frozen=True, tag="report_archive"):
    """What is in an archive; or its flaw, a code, and the sentence for people."""

    project_id: Id
    artifact_id: Id
    files: Annotated[list[ArchiveFile], msgspec.Meta(max_length=1000)] = []
    flaw: Annotated[str, msgspec.Meta(max_length=64)] = ""
    detail: Reason = ""


# webhooks


class CreateWebhook(Command, frozen=True, tag="create_webhook"):
    owner_kind: WebhookOwner
    owner_id: Id
    url: WebhookUrl
    kinds: WebhookKinds
    description: Text = ""


class DeleteWebhook(Command, frozen=True, tag="delete_webhook"):
    webhook_id: Id


class RotateWebhook(Command, frozen=True, tag="rotate_webhook"):
    """Another secret. The one before it signs beside it for a while."""

    webhook_id: Id


class EnableWebhook(Command, frozen=True, tag="enable_webhook"):
    """One that was disabled is told again of what happens from now on."""

    webhook_id: Id


class RedeliverWebhook(Command, frozen=True, tag="redeliver_webhook"):
    """One delivery again, whatever became of it; or every one that failed and was made since then."""

    webhook_id: Id
    delivery_id: Id | None = None
    since: Micros | None = None


class QueueDeliveries(Command, frozen=True, tag="queue_deliveries"):
    """The ticker found these events behind `after` in a stream, which webhooks may want to be told of."""

    stream_kind: Literal["project", "site"]
    stream_id: Id
    after: int
    seqs: Annotated[list[int], msgspec.Meta(min_length=1, max_length=100)]


class BeginDeliveries(Command, frozen=True, tag="begin_deliveries"):
    """The ticker found these deliveries due; the decision looks again."""

    delivery_ids: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=100)]


class DeliverWebhook(Command, frozen=True, tag="deliver_webhook"):
    """Make one request. attempt: of this delivery, from 1. versions: of the secret, each signs.

    organisation_id: whose it is, of a project's webhook its coordinator's: it has its share of what is under way.
    """

    organisation_id: Id
    webhook_id: Id
    delivery_id: Id
    attempt: int
    url: str
    body: str
    versions: list[int]


class ReportDelivery(Command, frozen=True, tag="report_delivery"):
    """What became of an attempt. status: HTTP's, None where there was no answer: failure says why, a code."""

    delivery_id: Id
    attempt: int
    status: int | None = None
    failure: Annotated[str, msgspec.Meta(max_length=64)] = ""
    retry_after_s: float | None = None


class Letter(Value, frozen=True):
    """A dead letter: the id of its command, which kind that is, and the queue that it was in."""

    id: Annotated[str, msgspec.Meta(max_length=64)]
    kind: Annotated[str, msgspec.Meta(max_length=64)]
    queue: Annotated[str, msgspec.Meta(max_length=64)]


LetterIds: TypeAlias = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]], msgspec.Meta(min_length=1, max_length=100)
]


class ReportDeadLetters(Command, frozen=True, tag="report_dead_letters"):
    """The ticker found commands that could not be decided."""

    letters: Annotated[list[Letter], msgspec.Meta(min_length=1, max_length=100)]


# workloads


class SetSecret(Command, frozen=True, tag="set_secret"):
    """What a project's workloads are given by this name. It travels shut: no queue, table or log has it open."""

    project_id: Id
    name: SecretName
    key_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}(?!\n)$", max_length=16)]
    content: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_SHUT_BYTES)]


class DeleteSecret(Command, frozen=True, tag="delete_secret"):
    project_id: Id
    name: SecretName


class CreateWorkload(Command, frozen=True, tag="create_workload"):
    project_id: Id
    name: Slug
    where: Where
    spec: WorkloadSpec


class StartInfrastructure(Command, frozen=True, tag="start_infrastructure"):
    """Make the project's own coordinator and selectors, or make them as the project says now.

    model_version: of the project's models, which the coordinator shall begin with. None: with what its files are.
    """

    project_id: Id
    model_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None


class StopInfrastructure(Command, frozen=True, tag="stop_infrastructure"):
    project_id: Id
    reason: Reason = ""


class ScaleSelectors(Command, frozen=True, tag="scale_selectors"):
    """So many selectors from now on."""

    project_id: Id
    selectors: Annotated[int, msgspec.Meta(ge=1, le=64)]


class ReportRound(Command, frozen=True, tag="report_round"):
    """How far a round is that the project's own coordinator leads; the web has seen that this attempt at it says so.

    start: which start of that attempt it is, where its program started again by itself and counts its rounds from 0
    again; a number that only grows. None: the newest one. checkpoint_artifact_id: the model that the round has made.
    """

    project_id: Id
    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    number: RoundNumber
    stage: StageName
    start: RoundStart | None = None
    counts: Counts = {}
    metrics: Metrics = {}
    checkpoint_artifact_id: Id | None = None


class PassStageDeadline(Command, frozen=True, tag="pass_stage_deadline"):
    """The ticker found the deadline of a stage of such a round in the past."""

    project_id: Id
    epoch: int
    number: int
    deadline_at: Micros


class StopHolders(Command, frozen=True, tag="stop_holders"):
    """A task has ended: the workloads that hold seats of it shall go."""

    run_id: Id
    task_run_id: Id
    reason: Reason = ""


class GiveUpAttempt(Command, frozen=True, tag="give_up_attempt"):
    """The site that an attempt is was not heard of for too long: it has failed of that."""

    workload_id: Id
    site_id: Id
    detail: Text = ""


class LoseWorkloads(Command, frozen=True, tag="lose_workloads"):
    """A site was silent for too long, or has retired: nobody knows what became of what ran there."""

    site_id: Id


class StopWorkload(Command, frozen=True, tag="stop_workload"):
    workload_id: Id
    reason: Reason = ""


class ScaleWorkload(Command, frozen=True, tag="scale_workload"):
    """So many replicas of a service from now on."""

    workload_id: Id
    replicas: Annotated[int, msgspec.Meta(ge=0, le=1000)]


class ReportWorkload(Command, frozen=True, tag="report_workload"):
    """What is seen of an attempt, by the hub's reconciler and doer, or by the site that it runs at.

    phase: None where nobody has seen it. log and events: the evidence, the log's tail and what the cluster said; log is
    None where it is not reported with. gone: nothing of it is there any more. token_sha256: of the one-time token that
    it was given to become the site that holds its seat.
    """

    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    phase: Phase | None = None
    uid: Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00]*$")] = ""
    reason: ClusterReason = ClusterReason.NONE
    detail: Reason = ""
    exit_code: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    ready: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    addresses: dict[Side, Annotated[str, msgspec.Meta(max_length=300, pattern=r"^[^\x00]*$")]] = {}
    log: Annotated[bytes, msgspec.Meta(max_length=LOG_TAIL_BYTES)] | None = None
    events: Annotated[
        list[Annotated[str, msgspec.Meta(max_length=500, pattern=r"^[^\x00]*$")]], msgspec.Meta(max_length=50)
    ] = []
    gone: bool = False
    token_sha256: Sha256 | None = None


class FollowWorkload(Command, frozen=True, tag="follow_workload"):
    """Somebody who may read it follows the log of an attempt: for a while it is to be read as it is written."""

    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class WriteWorkloadLog(Command, frozen=True, tag="write_workload_log"):
    """What the log of an attempt has from byte `start` on, as its cluster shows it while somebody follows it."""

    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    start: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    body: Annotated[bytes, msgspec.Meta(min_length=1, max_length=LOG_PIECE_BYTES)]


class DeclareOutput(Command, frozen=True, tag="declare_output"):
    """What an attempt at a job has left under that name, and is about to upload in the name of `owner_site_id`."""

    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    name: FileName
    project_id: Id
    owner_site_id: Id
    size_bytes: Size
    digest: Sha256
    chunk_digests: Digests


class CompleteOutput(Command, frozen=True, tag="complete_output"):
    """Every chunk of it is there. found: as of `CompleteArtifact`."""

    workload_id: Id
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    name: FileName
    artifact_id: Id
    found: Digests


class EnsureWorkload(Command, frozen=True, tag="ensure_workload"):
    """Make this attempt at that cluster, or make it as it is wanted. enrols: it gets a one-time token. secret_names:
    variables, and which secrets of its project they get: whoever makes it looks these up."""

    cluster: str
    spec: Spec
    enrols: bool = False
    secret_names: dict[EnvName, SecretName] = {}


class CollectWorkload(Command, frozen=True, tag="collect_workload"):
    """Collect an attempt's evidence, to be reported together with what was found of it.

    log_from: before it, what its log has from that byte on, for those who have followed it.
    """

    cluster: str
    which: AttemptId
    finding: Finding
    log_from: int | None = None


class EndPlace(Command, frozen=True, tag="end_place"):
    """Remove what a project whose workloads are all gone has at that cluster: its namespace, its folder."""

    cluster: str
    owner: Id
    place: Id


class ReportPlaceGone(Command, frozen=True, tag="report_place_gone"):
    cluster: str
    project_id: Id


class EndWorkload(Command, frozen=True, tag="end_workload"):
    """Stop and remove an attempt at that cluster: its evidence is on record, or nobody wants it."""

    cluster: str
    which: AttemptId
    grace_s: float


# history


class ChangeHistory(Command, frozen=True, tag="change_history"):
    """The store is not where its history was made, or is not as it was: its history gets this id.

    before: the id that the finding is about; another one means that somebody found it first. fingerprint: of the
    database as it is. known: the store is the same and only says where it is for the first time.
    """

    before: Id
    history_id: Id
    fingerprint: str
    reason: Reason
    known: bool = False


class RevokeAgain(Command, frozen=True, tag="revoke_again"):
    """What the ledger names and the store does not know: revoked once more (domain/ledger.py)."""

    names: Annotated[list[LedgerName], msgspec.Meta(min_length=1, max_length=200)]


class EndRestored(Command, frozen=True, tag="end_restored"):
    """A run that cannot go on since the hub's history went back; the hub says so once a site has recovered."""

    run_id: Id
    detail: Text


class ReplayDeadLetters(Command, frozen=True, tag="replay_dead_letters"):
    """Commands that could not be carried out are tried again. organisation_id: of who has them tried, in whose chain
    of events it stands."""

    organisation_id: Id
    letter_ids: LetterIds


class PurgeDeadLetters(Command, frozen=True, tag="purge_dead_letters"):
    """They are thrown away, unread."""

    organisation_id: Id
    letter_ids: LetterIds


class SettleDeadLetters(Command, frozen=True, tag="settle_dead_letters"):
    """Done by the doer, at the broker: what was decided of these."""

    letter_ids: LetterIds
    purge: bool = False


class ForgetHistory(Command, frozen=True, tag="forget_history"):
    """Retention: outcomes and acknowledged inbox entries that were kept long enough go: by the decision's time."""


if TYPE_CHECKING:
    AnyCommand: TypeAlias = Command
else:
    AnyCommand = Union[tuple(Command.__subclasses__())]  # noqa: UP007 - made of the classes above, each by its tag
"""Any of the commands, as it travels. What each is for says domain/table.py, one row each."""


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A command on its way. `id` is the same however often it is sent.

    waited: somebody waits for the outcome, so the decider announces it.
    digest: SHA-256 of the command's wire form, to tell a repeat from another request under the same id.
    """

    id: Id
    at: Micros
    by: Subject
    command: AnyCommand
    waited: bool = False
    digest: str = ""
    version: Literal[1] = 1
