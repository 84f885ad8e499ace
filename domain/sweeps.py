"""Changes to many rows at once, which no decision needs to load."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from domain.ids import Id
from domain.values import Micros


class AcknowledgeEntries(msgspec.Struct, frozen=True):
    """Every queued entry of a site's inbox up to `through` becomes acknowledged."""

    site_id: Id
    through: int
    at: Micros


class QueueEntries(msgspec.Struct, frozen=True):
    """What was acknowledged behind `after` is not any more: the site has lost it, or never had it."""

    site_id: Id
    after: int


class RevokeIssuedBy(msgspec.Struct, frozen=True):
    """Every token that was issued with this one, and with those, stops working."""

    token_id: Id
    at: Micros


class RevokeTokensOf(msgspec.Struct, frozen=True):
    """Every token of this account or site stops working, and what was issued with them."""

    owner_id: Id
    at: Micros


class RevokeClientTokens(msgspec.Struct, frozen=True):
    """Every client's token of this project stops working; of one member of it, or of all."""

    project_id: Id
    site_id: Id | None
    at: Micros


class ForgetBefore(msgspec.Struct, frozen=True):
    """Retention: outcomes decided, and inbox entries settled, before these times go; then bodies nobody refers to.

    Logs go with the entries: those of runs that ended before `inbox_before`. So do settled deliveries of webhooks, and
    what ended workloads left.
    """

    commands_before: Micros
    inbox_before: Micros


class ForgetDeclaration(msgspec.Struct, frozen=True):
    """What was declared of an expired artifact's chunks, and its seal, go; its row stays."""

    artifact_id: Id


class LeaveOut(msgspec.Struct, frozen=True):
    """A submission is not in its round's model. Submissions themselves are written once."""

    task_run_id: Id
    round: int
    site_id: Id
    reason: str


class MissReceipt(msgspec.Struct, frozen=True):
    """A submission's site does not find it in its round's model."""

    task_run_id: Id
    round: int
    site_id: Id
    reason: str


class RedeliverFailed(msgspec.Struct, frozen=True):
    """Every failed delivery of a webhook that was made since then waits again, and is due now."""

    webhook_id: Id
    since: Micros
    at: Micros


class PlaceGone(msgspec.Struct, frozen=True):
    """A project has no place at a cluster any more."""

    project_id: Id
    cluster: str
    at: Micros


class ForgetSecrets(msgspec.Struct, frozen=True):
    """All that a project's workloads were given goes."""

    project_id: Id


class ForgetLogBefore(msgspec.Struct, frozen=True):
    """Of the log of an attempt, which somebody follows, pieces that begin before that byte go."""

    workload_id: Id
    attempt: int
    start: int


class ForgetRecordsBefore(msgspec.Struct, frozen=True):
    """Quarantined records that were taken before then go, and announcements for federated training that newer ones have
    superseded before then, unless a match was made of them."""

    before: Micros


Sweep: TypeAlias = (
    AcknowledgeEntries
    | QueueEntries
    | RevokeIssuedBy
    | RevokeTokensOf
    | RevokeClientTokens
    | ForgetBefore
    | ForgetDeclaration
    | LeaveOut
    | MissReceipt
    | RedeliverFailed
    | PlaceGone
    | ForgetLogBefore
    | ForgetSecrets
    | ForgetRecordsBefore
)
