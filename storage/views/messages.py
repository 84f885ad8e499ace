"""Messages, and the inbox of a site. A sealed body is handed to each reader with its own wrap alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from broker.protocol.commands import Subject
from broker.protocol.ids import Id
from broker.protocol.seals import SealMalformed, SealUnsupported, is_sealed, trimmed
from storage.database import Database, Row
from storage.views.resources import (
    Delivery,
    DeliveryShown,
    Facts,
    Inbox,
    InboxEntry,
    InboxMessage,
    Message,
    time_or_none,
    time_text,
)
from storage.views.sight import Clause, own, row, rows

SEAL_BYTES = 262_144
BODIES_AT_ONCE_BYTES = 4 * 1024 * 1024
"""An inbox answer ends before its bodies get larger than this, but carries one entry at least."""

_MESSAGE = (
    "SELECT id, sender_site_id, project_id, run_id, task_seq, round, kind, body, size_bytes, sha256, sent_at, "
    "expires_at, expired_at, artifact_id FROM messages"
)
_MEMBERS = (
    "SELECT 1 FROM messages JOIN memberships mine ON mine.project_id = messages.project_id AND mine.state = 'active'"
)
_DELIVERY = (
    "SELECT inbox.site_id, inbox.state, inbox.state_at, inbox.seq, site_beats.handed_out FROM inbox "
    "LEFT JOIN site_beats ON site_beats.site_id = inbox.site_id"
)
_ENTRY = (
    "SELECT inbox.seq, inbox.kind, inbox.state, inbox.created_at, inbox.project_id, inbox.run_id, inbox.task_seq, "
    "inbox.round, inbox.facts_json, messages.id, messages.sender_site_id, messages.kind AS of_kind, "
    "messages.size_bytes, messages.sha256, messages.sent_at, messages.expires_at, messages.artifact_id FROM inbox "
    "LEFT JOIN messages ON messages.id = inbox.message_id"
)
_ENTRIES_OF_MANY = f"""
SELECT wanted.place, mailboxes.last_seq, mailboxes.acknowledged_seq, entries.*
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS wanted (site_id, after, at_most, place)
JOIN mailboxes ON mailboxes.site_id = wanted.site_id
LEFT JOIN LATERAL (
  {_ENTRY} WHERE inbox.site_id = wanted.site_id AND inbox.seq > coalesce(wanted.after, mailboxes.acknowledged_seq)
  ORDER BY inbox.seq LIMIT wanted.at_most
) entries ON TRUE
ORDER BY wanted.place, entries.seq
"""
_facts = msgspec.json.Decoder(Facts)


def message(database: Database, subject: Subject, ident: Id) -> Message | None:
    """For its sender and its recipients, a global model for every active member of its project.

    The sender also sees what became of it at each recipient.
    """
    by_id = Clause("messages.id = %s", (ident,))
    with database.connection():
        found = row(database, _MESSAGE, [by_id])
        if found is None:
            return None
        sent = row(database, "SELECT 1 FROM messages", [by_id, own("messages.sender_site_id", subject)])
        if sent is not None:
            carrying = [Clause("inbox.message_id = %s", (ident,)), Clause("inbox.kind <> 'message_expired'")]
            entries = rows(database, _DELIVERY, carrying, "ORDER BY inbox.site_id, inbox.seq")
            deliveries = [_delivery(one) for one in {one[0]: one for one in entries}.values()]
            return _message(found, deliveries, subject)
        received = [Clause("inbox.message_id = %s", (ident,)), own("inbox.site_id", subject)]
        everybodys = [by_id, Clause("messages.kind = 'model'"), own("mine.site_id", subject)]
        if row(database, "SELECT 1 FROM inbox", received) is None and row(database, _MEMBERS, everybodys) is None:
            return None
    return _message(found, None, subject)


class Wanted(NamedTuple):
    """A part of a site's inbox: entries behind `after` (None: behind what is acknowledged), `limit` at most."""

    site: Id
    after: int | None
    limit: int


def inboxes(database: Database, wanted: Sequence[Wanted]) -> list[Inbox | None]:
    """Parts of inboxes, in their order, None where the site has no mailbox; in PostgreSQL two queries for all."""
    if not database.postgres:
        return [inbox(database, site, after=after, limit=limit) for site, after, limit in wanted]
    with database.connection():
        found = database.all(_ENTRIES_OF_MANY, *map(list, zip(*wanted, strict=True)))
        parts: dict[int, list[Row]] = {}
        for one in found:
            parts.setdefault(one[0], []).append(one)
        shown = {
            place: _within_bounds([one[3:] for one in part if one[3] is not None]) for place, part in parts.items()
        }
        bodies = _bodies(database, list({one[9] for part in shown.values() for one in part if one[9] is not None}))
    return [
        _inbox(site, parts[place][0][1:3], shown[place], bodies) if place in parts else None
        for place, (site, _, _) in enumerate(wanted, start=1)
    ]


def _inbox(site: Id, head: Row, found: list[Row], bodies: dict[Id, bytes | None]) -> Inbox:
    last_seq, acknowledged_seq = head
    items = [_entry(site, one, bodies) for one in found]
    newest = max([last_seq, *(item.seq for item in items)])
    return Inbox(items=items, last_seq=newest, acknowledged_seq=acknowledged_seq)


def inbox(database: Database, site: Id, *, after: int | None, limit: int) -> Inbox | None:
    """Entries behind `after` (by default behind what is acknowledged); None if the site has no mailbox."""
    with database.connection():
        head = row(database, "SELECT last_seq, acknowledged_seq FROM mailboxes", [Clause("site_id = %s", (site,))])
        if head is None:
            return None
        last_seq, acknowledged_seq = head
        start = acknowledged_seq if after is None else after
        found: list[Row] = []
        if start < last_seq:
            where = [Clause("inbox.site_id = %s", (site,)), Clause("inbox.seq > %s", (start,))]
            found = _within_bounds(rows(database, _ENTRY, where, "ORDER BY inbox.seq LIMIT %s", limit))
        bodies = _bodies(database, [one[9] for one in found if one[9] is not None])
    return _inbox(site, head, found, bodies)


def _within_bounds(found: list[Row]) -> list[Row]:
    """A message that lies in an artifact weighs as much as a seal may have."""
    total = 0
    for count, one in enumerate(found):
        total += (one[12] or 0) if one[16] is None else min(one[12], SEAL_BYTES)
        if total > BODIES_AT_ONCE_BYTES and count:
            return found[:count]
    return found


def _bodies(database: Database, messages: list[Id]) -> dict[Id, bytes | None]:
    if not messages:
        return {}
    found = database.all("SELECT id, body FROM messages WHERE id {any:uuid}", database.many(messages))
    return {ident: None if body is None else bytes(body) for ident, body in found}


def body_for(reader: Id | None, body: bytes) -> bytes:
    """The body as this site gets it (None: who has no keys). What only looked sealed, before anybody sealed, stays."""
    if not is_sealed(body):
        return body
    try:
        return trimmed(body, reader)
    except (SealMalformed, SealUnsupported):
        return body


def _for(reader: Id | None, body: bytes | None) -> bytes | None:
    return None if body is None else body_for(reader, bytes(body))


def _entry(site: Id, one: Row, bodies: dict[Id, bytes | None]) -> InboxEntry:
    seq, kind, state, created_at, project, run, task_seq, number, facts, ident, *about = one
    carried = None
    if ident is not None:
        sender, of, size, sha256, sent, expires, artifact = about
        carried = InboxMessage(
            id=ident,
            sender_site_id=sender,
            kind=of,
            body=_for(site, bodies.get(ident)),
            size_bytes=size,
            sha256=sha256,
            sent_at=time_text(sent),
            expires_at=time_text(expires),
            artifact_id=artifact,
        )
    return InboxEntry(
        seq=seq,
        kind=kind,
        state=state,
        created_at=time_text(created_at),
        project_id=project,
        run_id=run,
        task_seq=task_seq,
        round=number,
        facts=_facts.decode(facts),
        message=carried,
    )


def _message(one: Row, deliveries: list[Delivery] | None, subject: Subject) -> Message:
    ident, sender, project, run, task_seq, number, kind, body, size, sha256, sent, expires, expired, artifact = one
    return Message(
        id=ident,
        sender_site_id=sender,
        project_id=project,
        run_id=run,
        task_seq=task_seq,
        round=number,
        kind=kind,
        body=_for(subject.id if subject.kind == "site" else None, body),
        size_bytes=size,
        sha256=sha256,
        sent_at=time_text(sent),
        expires_at=time_text(expires),
        expired_at=time_or_none(expired),
        artifact_id=artifact,
        deliveries=deliveries,
    )


def _delivery(one: Row) -> Delivery:
    site_id, state, state_at, seq, handed_out = one
    shown: DeliveryShown = "delivered" if state == "queued" and seq <= (handed_out or 0) else state
    return Delivery(site_id=site_id, state=shown, state_at=time_or_none(state_at))
