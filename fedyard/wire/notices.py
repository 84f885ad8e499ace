"""The hub's own words in a site's inbox: each kind of entry, and its facts as one typed value.

Decisions make them, /openapi.json and docs/api.md describe them, a site's agent reads them. Ids are UUIDs, times are
microseconds since 1970 (UTC). A field that may be left out is then not there at all.

Where a site acts on a notice, what it acts on is a class of its own with the bounds of types.py, and the notice adds
the rest: a site is not kept from what it must do by a field that it does not look at, or that a newer hub changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fedyard.wire.types import MAX_SITES, Metrics, Number, Seq, Slug, Text, Uuid

_encoder = msgspec.json.Encoder()


class Notice(StrEnum):
    """Kinds of inbox entries; MESSAGE carries another site's payload, the others are the hub's own words."""

    MESSAGE = "message"
    MESSAGE_EXPIRED = "message_expired"
    """To the sender: who did not acknowledge in time."""
    EXPIRED = "expired"
    """In place of an entry whose message expired, so that the sequence stays gapless."""
    MOVED = "moved"
    """In place of an entry that was given again under a new number, after the hub's history had gone back."""
    MEMBER_INVITED = "member_invited"
    MEMBER_REQUESTED = "member_requested"
    MEMBER_ADMITTED = "member_admitted"
    MEMBER_DECLINED = "member_declined"
    MEMBER_LEFT = "member_left"
    TOKEN_ISSUED = "token_issued"  # noqa: S105 - a name, no secret
    """To a site: a token that acts as it, whoever asked for it."""
    TOKEN_REVOKED = "token_revoked"  # noqa: S105 - a name, no secret
    SITE_UPDATED = "site_updated"
    """To a site that another has described anew."""
    SITE_RETIRED = "site_retired"
    PROJECT_CREATED = "project_created"
    """To a site in whose name another has created a project."""
    IDENTITY_CONFLICT = "identity_conflict"
    """To a site in whose name another has put a conflict on record."""
    ACTED_FOR = "acted_for"
    """To a site in whose name, or with whose project, run or artifact, a person did what has no notice of its own."""
    KEY_CHANGED = "key_changed"
    """A sealing key of a site was added, or revoked: to whom it exchanges payloads with."""
    INVITED = "invited"
    """A seat in a round is yours: accept, or report ready."""
    ROUND_STARTED = "round_started"
    """Train now."""
    AGGREGATE = "aggregate"
    """To the coordinator: everybody (or the quorum) has submitted; aggregate and report."""
    SCORE = "score"
    """Score this new global model on your data. Also to seats that were not drawn for the round."""
    ROUND_COMPLETED = "round_completed"
    """With the new global model, where there is one."""
    SEAT_DROPPED = "seat_dropped"
    SEAT_LEFT_OUT = "seat_left_out"
    """The round's model is made without the site's update, and its seat has failed."""
    RECEIPT_MISSING = "receipt_missing"
    """To the coordinator: a site does not find its update in the model of a round."""
    WORKLOAD_WANTED = "workload_wanted"
    """To the site that a workload shall run at: what is wanted of it has changed."""
    TASK_ENDED = "task_ended"
    RUN_ENDED = "run_ended"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry says besides its ids. KIND: of the entry."""

    KIND: ClassVar[Notice]

    def json(self) -> str:
        """The facts as the store keeps them and the inbox carries them."""
        return _encoder.encode(self).decode()


class MessageArrived(Facts, frozen=True, kw_only=True):
    """Everything is in the message."""

    KIND: ClassVar = Notice.MESSAGE


class MessageExpired(Facts, frozen=True, kw_only=True):
    """recipients: the first of those who had not acknowledged; recipient_count: of all of them."""

    KIND: ClassVar = Notice.MESSAGE_EXPIRED
    message_id: Uuid
    recipients: list[Uuid]
    recipient_count: Seq


class Expired(Facts, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.EXPIRED
    message_id: Uuid


class Moved(Facts, frozen=True, kw_only=True):
    """seq: the entry's number now."""

    KIND: ClassVar = Notice.MOVED
    seq: Seq


# what is done in a site's name, or with its membership


class By(msgspec.Struct, frozen=True, kw_only=True):
    """Who did it. role: of an account. name: where the reader may know it."""

    kind: str
    id: Uuid
    role: str | UnsetType | None = UNSET
    name: str | UnsetType = UNSET


class InItsName(Facts, frozen=True, kw_only=True):
    """Says who did it, where that is to be known."""

    by: By | UnsetType = UNSET


class Membership(InItsName, frozen=True, kw_only=True):
    """site_id: whose membership it is."""

    site_id: Uuid
    reason: Text


class MemberInvited(Membership, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.MEMBER_INVITED


class MemberRequested(Membership, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.MEMBER_REQUESTED


class MemberAdmitted(Membership, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.MEMBER_ADMITTED


class MemberDeclined(Membership, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.MEMBER_DECLINED


class MemberLeft(Membership, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.MEMBER_LEFT


class TokenRevoked(InItsName, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.TOKEN_REVOKED
    token_id: Uuid
    owner_id: Uuid
    label: Text


class TokenIssued(InItsName, frozen=True, kw_only=True):
    """scopes: with a space between. expires_at: left out for a token without an end."""

    KIND: ClassVar = Notice.TOKEN_ISSUED
    token_id: Uuid
    owner_id: Uuid
    label: Text
    scopes: str
    expires_at: int | UnsetType = UNSET


class SiteUpdated(InItsName, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.SITE_UPDATED
    description: Text


class SiteRetired(InItsName, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.SITE_RETIRED


class ProjectCreated(InItsName, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.PROJECT_CREATED
    name: Text


class IdentityConflict(InItsName, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.IDENTITY_CONFLICT
    about_site_id: Uuid


class ActedFor(InItsName, frozen=True, kw_only=True):
    """act: the command. What it was done with: the site itself, or one of its projects, runs or artifacts."""

    KIND: ClassVar = Notice.ACTED_FOR
    act: str
    site_id: Uuid | UnsetType = UNSET
    project_id: Uuid | UnsetType = UNSET
    run_id: Uuid | UnsetType = UNSET
    artifact_id: Uuid | UnsetType = UNSET


class KeyChanged(InItsName, frozen=True, kw_only=True):
    """reason: of a revocation, to the site whose key it was."""

    KIND: ClassVar = Notice.KEY_CHANGED
    site_id: Uuid
    epoch: Seq
    state: str
    reason: Text | UnsetType = UNSET


# how a run goes

Task = TypeVar("Task")
"""Of a task's specification: the hub's own, or as a site reads it."""


class EarlierModel(msgspec.Struct, frozen=True, kw_only=True):
    """The global model of a task that came before: `task` is its name, `seq` its place in the run."""

    task: Slug
    seq: Number
    message_id: Uuid


MAX_TASKS = 100
"""Of one run."""
EarlierModels: TypeAlias = Annotated[list[EarlierModel], Meta(max_length=MAX_TASKS)]


class Invitation(Facts, Generic[Task], frozen=True, kw_only=True):
    """What a site acts on."""

    attempt: Number
    number: Number
    report_seq: Seq
    task: Task
    coordinator_site_id: Uuid | None = None
    results: EarlierModels | UnsetType = UNSET


class Invited(Invitation[Task], Generic[Task], frozen=True, kw_only=True):
    """report_seq: of the seat's last report. deadline_at: of the stage. results: what all tasks have made that this one
    comes after, in the order of the tasks; left out if there is none."""

    KIND: ClassVar = Notice.INVITED
    coordinator_site_id: Uuid
    deadline_at: int


class RoundStarted(Facts, frozen=True, kw_only=True):
    """seats: how many train."""

    KIND: ClassVar = Notice.ROUND_STARTED
    deadline_at: int
    seats: int


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    site_id: Uuid
    message_id: Uuid | None = None
    metrics: Metrics = {}


class Collected(Facts, frozen=True, kw_only=True):
    """What a coordinator acts on. It counts the quorum itself. results: as those of whom it has invited."""

    submissions: Annotated[list[Submitted], Meta(max_length=MAX_SITES)]
    results: EarlierModels | UnsetType = UNSET


class Aggregate(Collected, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.AGGREGATE
    deadline_at: int
    quorum: int


class Score(Invitation[Task], Generic[Task], frozen=True, kw_only=True):
    """All that an invitation says, since it may be the first that a seat hears of the run. deadline_at: scores that
    come later are not in the mean."""

    KIND: ClassVar = Notice.SCORE
    coordinator_site_id: Uuid
    deadline_at: int


class RoundCompleted(Facts, frozen=True, kw_only=True):
    """rounds: how many the task has. score: the weighted mean of the sites' scores, in rounds that have any."""

    KIND: ClassVar = Notice.ROUND_COMPLETED
    metrics: Metrics
    rounds: int
    score: Metrics | UnsetType = UNSET


class Dropped(Facts, frozen=True, kw_only=True):
    """What a site acts on."""

    reason: Text
    may_rejoin: bool = False


class SeatDropped(Dropped, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.SEAT_DROPPED
    may_rejoin: bool
    detail: str


class Excluded(Facts, frozen=True, kw_only=True):
    """What a site acts on."""

    reason: Text


class SeatLeftOut(Excluded, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.SEAT_LEFT_OUT
    detail: str


class MissedBy(Facts, frozen=True, kw_only=True):
    """What a coordinator acts on."""

    site_id: Uuid
    reason: Text = ""


class ReceiptMissing(MissedBy, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.RECEIPT_MISSING
    reason: Text


class WorkloadWanted(Facts, frozen=True, kw_only=True):
    """What is wanted now the site asks for: it may have changed again."""

    KIND: ClassVar = Notice.WORKLOAD_WANTED
    workload_id: Uuid
    attempt: Number


class Ended(Facts, frozen=True, kw_only=True):
    """What a site acts on."""

    state: Text = ""


class TaskEnded(Ended, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.TASK_ENDED
    state: Text
    reason: str


class RunEnded(Ended, frozen=True, kw_only=True):
    KIND: ClassVar = Notice.RUN_ENDED
    state: Text
    number: int
    attempt: int
    reason: str
    detail: str


_KINDS: tuple[type[Facts], ...] = (
    MessageArrived,
    MessageExpired,
    Expired,
    Moved,
    MemberInvited,
    MemberRequested,
    MemberAdmitted,
    MemberDeclined,
    MemberLeft,
    TokenRevoked,
    TokenIssued,
    SiteUpdated,
    SiteRetired,
    ProjectCreated,
    IdentityConflict,
    ActedFor,
    KeyChanged,
    Invited,
    RoundStarted,
    Aggregate,
    Score,
    RoundCompleted,
    SeatDropped,
    SeatLeftOut,
    ReceiptMissing,
    WorkloadWanted,
    TaskEnded,
    RunEnded,
)
NOTICES: Mapping[Notice, type[Facts]] = {kind.KIND: kind for kind in _KINDS}
"""Every kind of entry, and what its facts are."""
