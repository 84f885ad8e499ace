"""What decisions on webhooks and their deliveries need, and what else hangs on that."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from domain import records as r
from domain.needs import Needs
from domain.records import Record
from domain.webhooks import DEAD_LETTER
from storage.database import Database
from storage.tables import select

R = TypeVar("R", bound=Record)


def load_webhooks(database: Database, needs: Needs) -> tuple[list[Record], Needs]:
    """The rows; and the needs with the owners of those webhooks that somebody wants to change."""
    records: list[Record] = []
    wider = Needs()
    wider.add(needs)
    if needs.webhooks:
        found = _rows(database, r.Webhook, "id {any:uuid}", needs.webhooks)
        for webhook in found:
            if webhook.owner_kind == "organisation":
                wider.organisations.add(webhook.owner_id)
            else:
                wider.members_of.add(webhook.owner_id)
                wider.led.add(webhook.owner_id)
        records += found
    if needs.deliveries:
        deliveries = _rows(database, r.WebhookDelivery, "id {any:uuid}", needs.deliveries)
        webhooks = _rows(database, r.Webhook, "id {any:uuid}", {each.webhook_id for each in deliveries})
        records += [*deliveries, *webhooks, *_streams(database, webhooks), *_coordinators(database, webhooks)]
    told: list[r.Webhook] = []
    if needs.followed:
        told = _concerned(database, needs)
        records += _followed(database, needs)
    if needs.causes:
        records += _rows(database, r.WebhookDelivery, "cause {any}", needs.causes)
        told += _wanting(database)
    records += [*told, *_streams(database, told), *_coordinators(database, told)]
    wider.counts |= {("waiting deliveries", webhook.id) for webhook in told}
    return records, wider


def _followed(database: Database, needs: Needs) -> list[Record]:
    """Events, how far their streams were looked at, and of sites what says which webhooks want them."""
    streams = {stream for _, stream in needs.followed}
    sites = {stream for kind, stream in needs.followed if kind == "site"}
    events: list[Record] = []
    for stream in sorted(streams):
        seqs = {seq for of_stream, seq in needs.events if of_stream == stream}
        events += _rows(database, r.Event, "stream_id = %s AND seq {any}", seqs, stream)
    return [
        *events,
        *_rows(database, r.EventCursor, "stream_id {any:uuid}", streams),
        *_rows(database, r.Site, "id {any:uuid}", sites),
        *_rows(database, r.Membership, "site_id {any:uuid}", sites),
    ]


def _concerned(database: Database, needs: Needs) -> list[r.Webhook]:
    """The webhooks that may want events of these streams."""
    many = database.many({stream for _, stream in needs.followed})
    return [r.Webhook(*row) for row in database.all(_CONCERNED, *[many] * 4)]


def _streams(database: Database, webhooks: Collection[r.Webhook]) -> list[r.Stream]:
    """Of the owners: what happens to a webhook stands there."""
    return _rows(database, r.Stream, "id {any:uuid}", {webhook.owner_id for webhook in webhooks})


def _coordinators(database: Database, webhooks: Collection[r.Webhook]) -> list[Record]:
    """The projects that own some of these, and the sites that coordinate them."""
    projects = _rows(
        database, r.Project, "id {any:uuid}", {one.owner_id for one in webhooks if one.owner_kind == "project"}
    )
    sites = _rows(database, r.Site, "id {any:uuid}", {project.coordinator_site_id for project in projects})
    return [*projects, *sites]


def _wanting(database: Database) -> list[r.Webhook]:
    """Those that are told of dead letters."""
    wanted = f"{select(r.Webhook)} WHERE state = 'active' AND kinds LIKE %s"
    return [r.Webhook(*row) for row in database.all(wanted, f"%{DEAD_LETTER}%")]


def _rows(database: Database, kind: type[R], where: str, keys: Collection[object], *before: object) -> list[R]:
    found = database.all(f"{select(kind)} WHERE {where}", *before, database.many(keys)) if keys else []
    return [kind(*row) for row in found]


_CONCERNED = (
    f"{select(r.Webhook)} WHERE state = 'active' AND (owner_id {{any:uuid}}"
    " OR owner_id IN (SELECT project_id FROM memberships WHERE site_id {any:uuid})"
    " OR owner_id IN (SELECT organisation_id FROM sites WHERE id {any:uuid})"
    " OR owner_id IN (SELECT sites.organisation_id FROM memberships JOIN sites ON sites.id = memberships.site_id"
    " WHERE memberships.project_id {any:uuid}))"
)
"""Owned by the streams' projects, by projects that the sites are in, by the sites' organisations, or by those of the
projects' members."""
