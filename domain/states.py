"""What may follow what. One table for each living thing; a missing row is the prohibition.

The diagrams in docs/states.md are drawn from these tables. tests/domain/test_states.py has them once more, written out
by hand, and walks every cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Forbidden(Exception):
    """The table has no row for this state and event: a bug of ours if it gets past a decision."""


class RunState(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskRunState(StrEnum):
    WAITING = "waiting"
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class RoundState(StrEnum):
    SELECTING = "selecting"
    TRAINING = "training"
    AGGREGATING = "aggregating"
    SCORING = "scoring"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ProjectRoundState(StrEnum):
    """Of a round that a project's own coordinator leads: its stage, or how it ended."""

    SELECTION = "selection"
    CONFIGURATION = "configuration"
    REPORTING = "reporting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SeatState(StrEnum):
    INVITED = "invited"
    PREPARING = "preparing"
    READY = "ready"
    TRAINING = "training"
    UPLOADING = "uploading"
    SUBMITTED = "submitted"
    RESTING = "resting"
    SCORING = "scoring"
    SCORED = "scored"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"
    CANCELLED = "cancelled"


class SiteState(StrEnum):
    ONLINE = "online"
    SILENT = "silent"
    RETIRED = "retired"


class MemberState(StrEnum):
    INVITED = "invited"
    REQUESTED = "requested"
    ACTIVE = "active"
    DECLINED = "declined"
    LEFT = "left"


class DeliveryState(StrEnum):
    QUEUED = "queued"
    ACKNOWLEDGED = "acknowledged"
    EXPIRED = "expired"
    MOVED = "moved"


class KeyState(StrEnum):
    CURRENT = "current"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


class ArtifactState(StrEnum):
    DECLARED = "declared"
    STORED = "stored"
    EXPIRED = "expired"


class ArchiveState(StrEnum):
    AWAITED = "awaited"
    CHECKING = "checking"
    CHECKED = "checked"
    REFUSED = "refused"


class WebhookState(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


class WebhookDeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


class WorkloadState(StrEnum):
    WANTED = "wanted"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"


class DeploymentState(StrEnum):
    """Of training over streams: what it waits for. How it ended its run says."""

    WAITING = "waiting"
    PREPARING = "preparing"
    TRAINING = "training"
    ENDED = "ended"


class ResultState(StrEnum):
    CREATED = "created"
    DEPLOYED = "deployed"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


class MatchState(StrEnum):
    """Of a federated model and data that fit it: its topics are prepared, its worker was started, or it is over."""

    PREPARING = "preparing"
    STARTED = "started"
    ENDED = "ended"


class InferenceState(StrEnum):
    """Of a service that answers over Kafka. How it runs says its workload."""

    PREPARING = "preparing"
    SERVING = "serving"
    STOPPED = "stopped"
    FAILED = "failed"


class AnnouncementState(StrEnum):
    """Of data, or of a federated model, that were announced over Kafka."""

    LIVE = "live"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class QuarantineState(StrEnum):
    """Of a record that nobody understood."""

    WAITING = "waiting"
    REPLAYED = "replayed"
    PURGED = "purged"


class SendingState(StrEnum):
    """Of a data source that is announced once more."""

    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"


class Step(StrEnum):
    """What can happen to a run, a task run, a round, a seat, a site, a membership, a delivery, a key, a webhook, ..."""

    # run, task run, round
    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    SKIP = "skip"
    CARRY = "carry"
    SELECTED = "selected"
    REPORTED = "reported"
    AGGREGATED = "aggregated"
    COMPLETE = "complete"
    # round that a project's own coordinator leads
    SELECT = "select"
    CONFIGURE = "configure"
    REPORT = "report"
    # seat
    ACCEPT = "accept"
    READY = "ready"
    ROUND_STARTED = "round_started"
    TRAINED = "trained"
    SUBMIT = "submit"
    NEXT_ROUND = "next_round"
    REST = "rest"
    WAIT = "wait"
    SCORE = "score"
    SCORED = "scored"
    TASK_DONE = "task_done"
    DROP = "drop"
    REJOIN = "rejoin"
    # site
    FALL_SILENT = "fall_silent"
    RETURN = "return"
    RETIRE = "retire"
    # membership
    INVITE = "invite"
    REQUEST = "request"
    ADMIT = "admit"
    DECLINE = "decline"
    LEAVE = "leave"
    # delivery
    ACKNOWLEDGE = "acknowledge"
    EXPIRE = "expire"
    MOVE = "move"
    # artifact
    STORE = "store"
    # archive
    PASS = "pass"  # noqa: S105 - a name, no secret
    REFUSE = "refuse"
    # sealing key
    SUPERSEDE = "supersede"
    REVOKE = "revoke"
    # webhook
    DISABLE = "disable"
    ENABLE = "enable"
    DELETE = "delete"
    # webhook's delivery
    DELIVER = "deliver"
    GIVE_UP = "give_up"
    REDELIVER = "redeliver"
    # workload, and each attempt at one
    RUN = "run"
    STOP = "stop"
    LOSE = "lose"
    RETRY = "retry"
    # training over streams
    PREPARE = "prepare"
    END = "end"
    WITHDRAW = "withdraw"
    REPLAY = "replay"
    PURGE = "purge"


RUN: dict[tuple[RunState, Step], RunState] = {
    (RunState.CREATED, Step.START): RunState.RUNNING,
    (RunState.CREATED, Step.FAIL): RunState.FAILED,
    (RunState.CREATED, Step.CANCEL): RunState.CANCELLED,
    (RunState.RUNNING, Step.SUCCEED): RunState.SUCCEEDED,
    (RunState.RUNNING, Step.FAIL): RunState.FAILED,
    (RunState.RUNNING, Step.CANCEL): RunState.CANCELLED,
}

TASK_RUN: dict[tuple[TaskRunState, Step], TaskRunState] = {
    (TaskRunState.WAITING, Step.START): TaskRunState.ACTIVE,
    (TaskRunState.WAITING, Step.CARRY): TaskRunState.SUCCEEDED,
    (TaskRunState.WAITING, Step.SKIP): TaskRunState.SKIPPED,
    (TaskRunState.WAITING, Step.CANCEL): TaskRunState.CANCELLED,
    (TaskRunState.ACTIVE, Step.SUCCEED): TaskRunState.SUCCEEDED,
    (TaskRunState.ACTIVE, Step.FAIL): TaskRunState.FAILED,
    (TaskRunState.ACTIVE, Step.CANCEL): TaskRunState.CANCELLED,
}

ROUND: dict[tuple[RoundState, Step], RoundState] = {
    (RoundState.SELECTING, Step.SELECTED): RoundState.TRAINING,
    (RoundState.TRAINING, Step.REPORTED): RoundState.AGGREGATING,
    (RoundState.TRAINING, Step.COMPLETE): RoundState.COMPLETED,
    (RoundState.AGGREGATING, Step.COMPLETE): RoundState.COMPLETED,
    (RoundState.AGGREGATING, Step.AGGREGATED): RoundState.SCORING,
    # its model is there: whatever ends the task, the round completes with the scores that have come
    (RoundState.SCORING, Step.COMPLETE): RoundState.COMPLETED,
    (RoundState.SELECTING, Step.FAIL): RoundState.FAILED,
    (RoundState.TRAINING, Step.FAIL): RoundState.FAILED,
    (RoundState.AGGREGATING, Step.FAIL): RoundState.FAILED,
    (RoundState.SELECTING, Step.CANCEL): RoundState.CANCELLED,
    (RoundState.TRAINING, Step.CANCEL): RoundState.CANCELLED,
    (RoundState.AGGREGATING, Step.CANCEL): RoundState.CANCELLED,
}

PROJECT_ROUND_LIVE = (
    ProjectRoundState.SELECTION,
    ProjectRoundState.CONFIGURATION,
    ProjectRoundState.REPORTING,
)

PROJECT_ROUND: dict[tuple[ProjectRoundState | None, Step], ProjectRoundState] = {
    (None, Step.SELECT): ProjectRoundState.SELECTION,
    (None, Step.CONFIGURE): ProjectRoundState.CONFIGURATION,
    (None, Step.REPORT): ProjectRoundState.REPORTING,
    (None, Step.COMPLETE): ProjectRoundState.COMPLETED,
    (ProjectRoundState.SELECTION, Step.CONFIGURE): ProjectRoundState.CONFIGURATION,
    (ProjectRoundState.SELECTION, Step.REPORT): ProjectRoundState.REPORTING,
    (ProjectRoundState.SELECTION, Step.COMPLETE): ProjectRoundState.COMPLETED,
    (ProjectRoundState.CONFIGURATION, Step.REPORT): ProjectRoundState.REPORTING,
    (ProjectRoundState.CONFIGURATION, Step.COMPLETE): ProjectRoundState.COMPLETED,
    (ProjectRoundState.REPORTING, Step.COMPLETE): ProjectRoundState.COMPLETED,
    **{(state, Step.FAIL): ProjectRoundState.FAILED for state in PROJECT_ROUND_LIVE},
    **{(state, Step.CANCEL): ProjectRoundState.CANCELLED for state in PROJECT_ROUND_LIVE},
}

SEAT_LIVE = (
    SeatState.INVITED,
    SeatState.PREPARING,
    SeatState.READY,
    SeatState.TRAINING,
    SeatState.UPLOADING,
    SeatState.SUBMITTED,
    SeatState.RESTING,
    SeatState.SCORING,
    SeatState.SCORED,
)
SEAT_WAITED_FOR = frozenset(SEAT_LIVE[: SEAT_LIVE.index(SeatState.SUBMITTED)])
"""What a round waits for, with the patience that its task's contract has with silent sites."""
SEAT_ROUND_DONE = (SeatState.SUBMITTED, SeatState.RESTING, SeatState.SCORING, SeatState.SCORED)
"""Live, and nothing more of it is needed for its round to go on; a score may still come."""

SEAT_MAY_WAIT = (SeatState.PREPARING, SeatState.TRAINING, SeatState.SCORING)
"""In which a site may say that its seat waits: before it computes anything."""

SEAT: dict[tuple[SeatState, Step], SeatState] = {
    (SeatState.INVITED, Step.ACCEPT): SeatState.PREPARING,
    (SeatState.INVITED, Step.READY): SeatState.READY,
    (SeatState.PREPARING, Step.READY): SeatState.READY,
    # by its site's own word: for a person there, or for its hours
    (SeatState.INVITED, Step.WAIT): SeatState.PREPARING,
    **{(state, Step.WAIT): state for state in SEAT_MAY_WAIT},
    (SeatState.READY, Step.ROUND_STARTED): SeatState.TRAINING,
    (SeatState.TRAINING, Step.TRAINED): SeatState.UPLOADING,
    (SeatState.TRAINING, Step.SUBMIT): SeatState.SUBMITTED,
    (SeatState.UPLOADING, Step.SUBMIT): SeatState.SUBMITTED,
    # who is drawn takes part in the next round, the others rest
    **{(state, Step.NEXT_ROUND): SeatState.INVITED for state in SEAT_ROUND_DONE},
    **{(state, Step.REST): SeatState.RESTING for state in (SeatState.INVITED, *SEAT_ROUND_DONE)},
    (SeatState.SUBMITTED, Step.SCORE): SeatState.SCORING,
    (SeatState.RESTING, Step.SCORE): SeatState.SCORING,
    (SeatState.SCORING, Step.SCORED): SeatState.SCORED,
    **{(state, Step.TASK_DONE): SeatState.DONE for state in SEAT_ROUND_DONE},
    (SeatState.DROPPED, Step.REJOIN): SeatState.INVITED,
    **{(state, Step.FAIL): SeatState.FAILED for state in SEAT_LIVE},
    **{(state, Step.DROP): SeatState.DROPPED for state in SEAT_LIVE},
    **{(state, Step.CANCEL): SeatState.CANCELLED for state in SEAT_LIVE},
}

SITE: dict[tuple[SiteState, Step], SiteState] = {
    (SiteState.ONLINE, Step.FALL_SILENT): SiteState.SILENT,
    (SiteState.SILENT, Step.RETURN): SiteState.ONLINE,
    (SiteState.ONLINE, Step.RETIRE): SiteState.RETIRED,
    (SiteState.SILENT, Step.RETIRE): SiteState.RETIRED,
}

MEMBER: dict[tuple[MemberState | None, Step], MemberState] = {
    (None, Step.INVITE): MemberState.INVITED,
    (None, Step.REQUEST): MemberState.REQUESTED,
    (None, Step.ADMIT): MemberState.ACTIVE,
    (MemberState.INVITED, Step.ADMIT): MemberState.ACTIVE,
    (MemberState.INVITED, Step.INVITE): MemberState.INVITED,
    (MemberState.INVITED, Step.DECLINE): MemberState.DECLINED,
    (MemberState.REQUESTED, Step.REQUEST): MemberState.REQUESTED,
    (MemberState.REQUESTED, Step.ADMIT): MemberState.ACTIVE,
    (MemberState.REQUESTED, Step.DECLINE): MemberState.DECLINED,
    (MemberState.REQUESTED, Step.LEAVE): MemberState.LEFT,
    (MemberState.ACTIVE, Step.LEAVE): MemberState.LEFT,
    **{
        (state, step): target
        for state in (MemberState.DECLINED, MemberState.LEFT)
        for step, target in (
            (Step.INVITE, MemberState.INVITED),
            (Step.REQUEST, MemberState.REQUESTED),
            (Step.ADMIT, MemberState.ACTIVE),
        )
    },
}

DELIVERY: dict[tuple[DeliveryState, Step], DeliveryState] = {
    (DeliveryState.QUEUED, Step.ACKNOWLEDGE): DeliveryState.ACKNOWLEDGED,
    (DeliveryState.QUEUED, Step.EXPIRE): DeliveryState.EXPIRED,
    (DeliveryState.QUEUED, Step.MOVE): DeliveryState.MOVED,
    (DeliveryState.ACKNOWLEDGED, Step.MOVE): DeliveryState.MOVED,
}

KEY: dict[tuple[KeyState, Step], KeyState] = {
    (KeyState.CURRENT, Step.SUPERSEDE): KeyState.SUPERSEDED,
    (KeyState.CURRENT, Step.REVOKE): KeyState.REVOKED,
    (KeyState.SUPERSEDED, Step.REVOKE): KeyState.REVOKED,
}

ARTIFACT: dict[tuple[ArtifactState, Step], ArtifactState] = {
    (ArtifactState.DECLARED, Step.STORE): ArtifactState.STORED,
    (ArtifactState.DECLARED, Step.EXPIRE): ArtifactState.EXPIRED,
    (ArtifactState.STORED, Step.EXPIRE): ArtifactState.EXPIRED,
}

ARCHIVE: dict[tuple[ArchiveState, Step], ArchiveState] = {
    (ArchiveState.AWAITED, Step.STORE): ArchiveState.CHECKING,
    (ArchiveState.CHECKING, Step.PASS): ArchiveState.CHECKED,
    (ArchiveState.CHECKING, Step.REFUSE): ArchiveState.REFUSED,
}

WEBHOOK: dict[tuple[WebhookState, Step], WebhookState] = {
    (WebhookState.ACTIVE, Step.DISABLE): WebhookState.DISABLED,
    (WebhookState.DISABLED, Step.ENABLE): WebhookState.ACTIVE,
    (WebhookState.ACTIVE, Step.DELETE): WebhookState.DELETED,
    (WebhookState.DISABLED, Step.DELETE): WebhookState.DELETED,
}

WEBHOOK_DELIVERY: dict[tuple[WebhookDeliveryState, Step], WebhookDeliveryState] = {
    (WebhookDeliveryState.WAITING, Step.DELIVER): WebhookDeliveryState.DELIVERED,
    (WebhookDeliveryState.WAITING, Step.GIVE_UP): WebhookDeliveryState.FAILED,
    (WebhookDeliveryState.WAITING, Step.REDELIVER): WebhookDeliveryState.WAITING,
    (WebhookDeliveryState.DELIVERED, Step.REDELIVER): WebhookDeliveryState.WAITING,
    (WebhookDeliveryState.FAILED, Step.REDELIVER): WebhookDeliveryState.WAITING,
}

WORKLOAD_LIVE = (WorkloadState.WANTED, WorkloadState.STARTING, WorkloadState.RUNNING)

WORKLOAD: dict[tuple[WorkloadState, Step], WorkloadState] = {
    (WorkloadState.WANTED, Step.START): WorkloadState.STARTING,
    (WorkloadState.RUNNING, Step.START): WorkloadState.STARTING,
    (WorkloadState.WANTED, Step.RUN): WorkloadState.RUNNING,
    (WorkloadState.STARTING, Step.RUN): WorkloadState.RUNNING,
    (WorkloadState.STARTING, Step.RETRY): WorkloadState.WANTED,
    (WorkloadState.RUNNING, Step.RETRY): WorkloadState.WANTED,
    (WorkloadState.WANTED, Step.RETRY): WorkloadState.WANTED,
    **{(state, Step.SUCCEED): WorkloadState.SUCCEEDED for state in WORKLOAD_LIVE},
    **{(state, Step.FAIL): WorkloadState.FAILED for state in WORKLOAD_LIVE},
    **{(state, Step.STOP): WorkloadState.STOPPED for state in WORKLOAD_LIVE},
    **{(state, Step.LOSE): WorkloadState.LOST for state in WORKLOAD_LIVE},
    # its site was silent for too long, and is back
    (WorkloadState.LOST, Step.START): WorkloadState.STARTING,
    (WorkloadState.LOST, Step.RUN): WorkloadState.RUNNING,
    (WorkloadState.LOST, Step.SUCCEED): WorkloadState.SUCCEEDED,
    (WorkloadState.LOST, Step.FAIL): WorkloadState.FAILED,
    (WorkloadState.LOST, Step.STOP): WorkloadState.STOPPED,
    (WorkloadState.LOST, Step.RETRY): WorkloadState.WANTED,
}

DEPLOYMENT: dict[tuple[DeploymentState, Step], DeploymentState] = {
    (DeploymentState.WAITING, Step.PREPARE): DeploymentState.PREPARING,
    (DeploymentState.PREPARING, Step.START): DeploymentState.TRAINING,
    (DeploymentState.WAITING, Step.END): DeploymentState.ENDED,
    (DeploymentState.PREPARING, Step.END): DeploymentState.ENDED,
    (DeploymentState.TRAINING, Step.END): DeploymentState.ENDED,
}

RESULT_LIVE = (ResultState.CREATED, ResultState.DEPLOYED)

RESULT: dict[tuple[ResultState, Step], ResultState] = {
    (ResultState.CREATED, Step.START): ResultState.DEPLOYED,
    (ResultState.DEPLOYED, Step.SUCCEED): ResultState.FINISHED,
    # the job's next attempt trains a chain anew
    (ResultState.FINISHED, Step.SUCCEED): ResultState.FINISHED,
    **{(state, Step.FAIL): ResultState.FAILED for state in RESULT_LIVE},
    **{(state, Step.STOP): ResultState.STOPPED for state in RESULT_LIVE},
}

MATCH: dict[tuple[MatchState, Step], MatchState] = {
    (MatchState.PREPARING, Step.START): MatchState.STARTED,
    (MatchState.PREPARING, Step.END): MatchState.ENDED,
    (MatchState.STARTED, Step.END): MatchState.ENDED,
    # nothing had been started, and it was announced again
    (MatchState.ENDED, Step.PREPARE): MatchState.PREPARING,
}

INFERENCE: dict[tuple[InferenceState, Step], InferenceState] = {
    (InferenceState.PREPARING, Step.START): InferenceState.SERVING,
    (InferenceState.PREPARING, Step.FAIL): InferenceState.FAILED,
    (InferenceState.PREPARING, Step.STOP): InferenceState.STOPPED,
    (InferenceState.SERVING, Step.STOP): InferenceState.STOPPED,
}

ANNOUNCEMENT: dict[tuple[AnnouncementState, Step], AnnouncementState] = {
    (AnnouncementState.LIVE, Step.SUPERSEDE): AnnouncementState.SUPERSEDED,
    (AnnouncementState.LIVE, Step.WITHDRAW): AnnouncementState.WITHDRAWN,
    (AnnouncementState.LIVE, Step.EXPIRE): AnnouncementState.EXPIRED,
}

QUARANTINE: dict[tuple[QuarantineState, Step], QuarantineState] = {
    (QuarantineState.WAITING, Step.REPLAY): QuarantineState.REPLAYED,
    (QuarantineState.WAITING, Step.PURGE): QuarantineState.PURGED,
}

SENDING: dict[tuple[SendingState, Step], SendingState] = {
    (SendingState.SENDING, Step.SUCCEED): SendingState.SENT,
    (SendingState.SENDING, Step.FAIL): SendingState.FAILED,
}

RUN_FINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
TASK_RUN_FINAL = frozenset({TaskRunState.SUCCEEDED, TaskRunState.FAILED, TaskRunState.CANCELLED, TaskRunState.SKIPPED})
ROUND_FINAL = frozenset({RoundState.COMPLETED, RoundState.FAILED, RoundState.CANCELLED})
PROJECT_ROUND_FINAL = frozenset({ProjectRoundState.COMPLETED, ProjectRoundState.FAILED, ProjectRoundState.CANCELLED})


class Report(StrEnum):
    """The steps that a site itself may report on its seat."""

    ACCEPT = Step.ACCEPT
    READY = Step.READY
    TRAINED = Step.TRAINED
    SUBMIT = Step.SUBMIT
    SCORED = Step.SCORED
    WAIT = Step.WAIT
    FAIL = Step.FAIL
    REJOIN = Step.REJOIN


def follow(table: Mapping[tuple[S, Step], T], state: S, step: Step) -> T:
    """The state after `step`. Raises `Forbidden` where the table has no such row."""
    try:
        return table[state, step]
    except KeyError:
        raise Forbidden(f"{step} may not follow {state}") from None
