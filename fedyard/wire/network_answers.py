"""What the hub answers of people, webhooks and how it does itself: for who runs a network, or looks after a project.

As answers.py, which has what sites and runs are about, and stream_answers.py.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from fedyard.wire import types as w
from fedyard.wire.answers import MAX_ITEMS, Answer

Url = Annotated[str, Meta(max_length=4096)]


class Account(Answer, frozen=True, kw_only=True):
    id: w.Uuid
    organisation_id: w.Uuid
    name: w.Name
    role: w.Slug
    created_at: w.At
    disabled_at: w.At | None = None


class Enrolment(Answer, frozen=True, kw_only=True):
    """That a site may become one of its organisation's; site_id: the one that has, if any."""

    id: w.Uuid
    organisation_id: w.Uuid
    note: w.Text = ""
    created_by: w.Uuid
    created_at: w.At
    expires_at: w.At
    used_at: w.At | None = None
    site_id: w.Uuid | None = None


class SignIn(Answer, frozen=True, kw_only=True):
    """A one-time code for the hub's page. `token` is a secret, so no repr of this class shows it."""

    id: w.Uuid
    account_id: w.Uuid
    expires_at: w.At
    token: w.Token | None = None

    def __repr__(self) -> str:
        return f"SignIn(id={self.id!r})"


class EndedSessions(Answer, frozen=True, kw_only=True):
    id: w.Uuid
    ended_count: w.Seq


class Webhook(Answer, frozen=True, kw_only=True):
    """Where an organisation or a project is told of events. reason: why it is disabled. version: of its secret."""

    id: w.Uuid
    owner_kind: w.Slug
    owner_id: w.Uuid
    url: Url
    kinds: Annotated[list[w.Slug], Meta(max_length=MAX_ITEMS)]
    description: w.Text = ""
    state: w.Slug
    reason: w.Text = ""
    created_at: w.At
    version: w.Number
    rotated_at: w.At | None = None
    failing_since: w.At | None = None
    failures: w.Seq = 0
    dropped: w.Seq = 0


class WebhookSecret(Answer, frozen=True, kw_only=True):
    """A webhook with its secret, which is shown this once; no repr of this class shows it."""

    id: w.Uuid
    version: w.Number
    secret: w.Token

    def __repr__(self) -> str:
        return f"WebhookSecret(id={self.id!r})"


class WebhookDelivery(Answer, frozen=True, kw_only=True):
    """status, failure: of the last attempt."""

    id: w.Uuid
    webhook_id: w.Uuid
    kind: w.Slug
    cause: w.Text = ""
    state: w.Slug
    created_at: w.At
    state_at: w.At
    attempts: w.Seq = 0
    failures: w.Seq = 0
    next_at: w.At | None = None
    status: w.Seq | None = None
    failure: w.Text = ""


class WorkloadAttempt(Answer, frozen=True, kw_only=True):
    """kept_at: since when its evidence is on record; gone_at: since when nothing of it is there any more."""

    attempt: w.Number
    state: w.Slug
    state_at: w.At
    created_at: w.At
    started_at: w.At | None = None
    ended_at: w.At | None = None
    kept_at: w.At | None = None
    gone_at: w.At | None = None
    reason: w.Name = ""
    detail: w.Text = ""
    exit_code: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None


class Concern(Answer, frozen=True, kw_only=True):
    """What needs somebody. The ids are those of what it is about."""

    kind: w.Slug
    severity: w.Slug
    name: w.Text
    detail: w.Text = ""
    since: w.At | None = None
    run_id: w.Uuid | None = None
    project_id: w.Uuid | None = None
    site_id: w.Uuid | None = None
    workload_id: w.Uuid | None = None
    webhook_id: w.Uuid | None = None
    waits_for: Annotated[list[w.Name], Meta(max_length=MAX_ITEMS)] = []


class Verification(Answer, frozen=True, kw_only=True):
    """Of a part of all chains of events. faults: what is broken. next: where the following part begins."""

    streams: w.Seq
    events: w.Seq
    faults: Annotated[list[w.Text], Meta(max_length=MAX_ITEMS)] = []
    next: w.Cursor | None = None


class HubProcess(Answer, frozen=True, kw_only=True):
    process: w.Name
    role: w.Slug
    host: w.Name
    version: w.Name
    started_at: w.At | None = None
    seen_at: w.At
    state: w.Slug
    leads: bool | None = None
    clock_ahead_s: float = 0.0


class QueueDepth(Answer, frozen=True, kw_only=True):
    queue: w.Slug
    ready: w.Seq
    delayed: w.Seq
    dead: w.Seq
    oldest_since: w.At | None = None
    read_at: w.At


class Disk(Answer, frozen=True, kw_only=True):
    name: w.Name
    used_bytes: w.Large | None = None
    free_bytes: w.Large | None = None
    total_bytes: w.Large | None = None
    read_at: w.At


class Backup(Answer, frozen=True, kw_only=True):
    made_at: w.At
    folder: w.Text
    form: w.Name
    with_artifacts: bool


class CurvePoint(Answer, frozen=True, kw_only=True):
    at: w.At
    value: float


class Curve(Answer, frozen=True, kw_only=True):
    name: w.Name
    points: list[CurvePoint] = []


class Vitals(Answer, frozen=True, kw_only=True):
    """How the hub does. stretch_s: between two points of a curve."""

    at: w.At
    queues: Annotated[list[QueueDepth], Meta(max_length=MAX_ITEMS)]
    disks: Annotated[list[Disk], Meta(max_length=MAX_ITEMS)]
    backup: Backup | None = None
    stretch_s: float
    curves: Annotated[list[Curve], Meta(max_length=MAX_ITEMS)]


class DeadLetter(Answer, frozen=True, kw_only=True):
    """A command that could not be carried out; what is in it nobody is shown."""

    id: w.Name
    queue: w.Name
    kind: w.Name
    died_at: w.At
    failures: w.Seq
    reason: w.Text = ""
    size_bytes: w.Seq
    digest: w.Digest


class DeadLettersSettled(Answer, frozen=True, kw_only=True):
    letter_ids: Annotated[list[w.Name], Meta(max_length=MAX_ITEMS)]
