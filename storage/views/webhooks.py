"""Webhooks and their deliveries, for those who may change them, and for auditors."""

from __future__ import annotations

from typing import NamedTuple

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Webhook, WebhookDelivery, time_or_none
from storage.views.sight import Clause, Cursor, Listed, Paging, own, page, row, rows, sees_everything

_WEBHOOK = (
    "SELECT id, owner_kind, owner_id, url, kinds, description, state, reason, created_at, version, rotated_at,"
    " failing_since, failures, dropped FROM webhooks"
)
_COUNT = (
    "(SELECT count(*) FROM webhook_deliveries WHERE webhook_deliveries.webhook_id = webhooks.id"
    " AND webhook_deliveries.state = '{}')"
)
_OVERVIEW = (
    f"SELECT id, owner_kind, owner_id, state, reason, url, dropped, {_COUNT.format('waiting')},"
    f" {_COUNT.format('failed')}"
    " FROM (SELECT * FROM webhooks WHERE state <> 'deleted') AS webhooks"
)
_DELIVERY = (
    "SELECT id, webhook_id, kind, cause, state, created_at, state_at, attempts, failures, next_at, status, failure"
    " FROM webhook_deliveries"
)


def webhooks(
    database: Database, subject: Subject, owner_kind: str, owner: Id, paging: Paging
) -> Listed[Webhook] | None:
    """Those of an organisation or a project; None if the caller may not know of them."""
    if not _may_see(database, subject, owner_kind, owner):
        return None
    return page(
        database,
        _WEBHOOK,
        [Clause("owner_id = %s AND state <> 'deleted'", (owner,))],
        paging,
        lambda one: _webhook(one, subject),
        order=("created_at", "id"),
        cursor_of=lambda one: Cursor(one[8], one[0]),
    )


def seen(database: Database, subject: Subject, paging: Paging) -> Listed[Webhook]:
    """All that the subject may know of: its organisation's, and those of projects that it coordinates."""
    where = [Clause("state <> 'deleted'")]
    if not sees_everything(subject):
        lead = own("coordinator_site_id", subject)
        owners = f"(owner_id = %s OR owner_id IN (SELECT id FROM projects WHERE {lead.sql}))"
        organisation = subject.organisation_id if subject.kind == "account" else None
        where.append(Clause(owners, (organisation, *lead.params)))
    return page(
        database,
        _WEBHOOK,
        where,
        paging,
        lambda one: _webhook(one, subject),
        order=("created_at", "id"),
        cursor_of=lambda one: Cursor(one[8], one[0]),
    )


def webhook(database: Database, subject: Subject, ident: Id) -> Webhook | None:
    found = row(database, _WEBHOOK, [Clause("id = %s AND state <> 'deleted'", (ident,))])
    if found is None or not _may_see(database, subject, found[1], found[2]):
        return None
    return _webhook(found, subject)


def deliveries(
    database: Database, subject: Subject, ident: Id, paging: Paging, state: str | None, *, newest_first: bool = False
) -> Listed[WebhookDelivery] | None:
    """What a webhook was told, or is to be told; None if the caller may not know of it."""
    if webhook(database, subject, ident) is None:
        return None
    of_state = [] if state is None else [Clause("state = %s", (state,))]
    return page(
        database,
        _DELIVERY,
        [Clause("webhook_id = %s", (ident,)), *of_state],
        paging,
        _delivery,
        order=("created_at", "id"),
        cursor_of=lambda one: Cursor(one[5], one[0]),
        newest_first=newest_first,
    )


def projects_told(database: Database, subject: Subject, limit: int) -> list[tuple[Id, str]]:
    """Ids and names of the newest projects whose coordinator the subject may have told of something."""
    where = [Clause("archived_at IS NULL")]
    where += [] if subject.role == "admin" else [own("coordinator_site_id", subject)]
    found = rows(database, "SELECT id, name FROM projects", where, "ORDER BY created_at DESC, id LIMIT %s", limit)
    return [(ident, name) for ident, name in found]


class Overview(NamedTuple):
    """host: where it goes to; the rest of the address may hold a secret. waiting and failed: deliveries.

    dropped: what it was not told, since too much waits for it.
    """

    id: Id
    owner_kind: str
    owner_id: Id
    state: str
    reason: str
    host: str
    dropped: int
    waiting: int
    failed: int


def overview(database: Database) -> list[Overview]:
    """Every webhook, for the operator."""
    found = rows(database, _OVERVIEW, [], "ORDER BY created_at, id")
    return [
        Overview(ident, kind, owner, state, reason, _host(url), dropped, waiting, failed)
        for ident, kind, owner, state, reason, url, dropped, waiting, failed in found
    ]


def deliveries_by_state(database: Database) -> dict[str, int]:
    """How many there are, of those that are kept."""
    return dict(rows(database, "SELECT state, count(*) FROM webhook_deliveries", [], "GROUP BY state"))


def _may_see(database: Database, subject: Subject, owner_kind: str, owner: Id) -> bool:
    """Admins, auditors; an organisation's members; who coordinates the project. And only what is there."""
    if owner_kind == "project":
        where = [Clause("id = %s", (owner,))]
        where += [] if sees_everything(subject) else [own("coordinator_site_id", subject)]
        return row(database, "SELECT id FROM projects", where) is not None
    if not sees_everything(subject) and (subject.kind != "account" or subject.organisation_id != owner):
        return False
    return row(database, "SELECT id FROM organisations", [Clause("id = %s", (owner,))]) is not None


def _host(url: str) -> str:
    """With the port. Of any address that was taken, also of `https://[.:.:]/`, which Python's parser refuses."""
    return url.split("/", 3)[2]


def _origin(url: str) -> str:
    return f"{url.partition(':')[0]}://{_host(url)}/"


def _webhook(one: Row, reader: Subject) -> Webhook:
    """Of the address, whose path may be a secret of the receiver's, who may not change it sees where it leads."""
    ident, kind, owner, url, kinds, description, state, reason, created_at, version, rotated_at, *counted = one
    since, failures, dropped = counted
    return Webhook(
        id=ident,
        owner_kind=kind,
        owner_id=owner,
        url=_origin(url) if reader.role == "auditor" else url,
        kinds=kinds.split(),
        description=description,
        state=state,
        reason=reason,
        created_at=time_text(created_at),
        version=version,
        rotated_at=time_or_none(rotated_at),
        failing_since=time_or_none(since),
        failures=failures,
        dropped=dropped,
    )


def _delivery(one: Row) -> WebhookDelivery:
    ident, webhook_id, kind, cause, state, created_at, state_at, attempts, failures, next_at, status, failure = one
    return WebhookDelivery(
        id=ident,
        webhook_id=webhook_id,
        kind=kind,
        cause=cause,
        state=state,
        created_at=time_text(created_at),
        state_at=time_text(state_at),
        attempts=attempts,
        failures=failures,
        next_at=time_or_none(next_at),
        status=status,
        failure=failure,
    )
