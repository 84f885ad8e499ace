"""Messages, and the inbox of a site. A sealed body is handed to each reader with its own wrap alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from domain.ids import Id
from domain.values import Subject
from fedyard.wire.seals import SealMalformed, SealUnsupported, is_sealed, trimmed
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views import heads as head_views
from storage.views.resources import (
    Delivery,
    DeliveryShown,
    Facts,
    Inbox,
    InboxEntry,
    InboxMessage,
    Message,
    time_or_none,
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
    "messages.size_bytes, messages.sha256, messages.sent_at, messages.expires_at, messages.artifact_id, inbox.mark "
    "FROM inbox "
    "LEFT JOIN messages ON messages.id = inbox.message_id"
)
_HEAD = (
    "mailboxes.last_seq, mailboxes.acknowledged_seq, mailboxes.mark, (SELECT history_id FROM history) AS history_id, "
    "recoveries.read_after, recoveries.mark AS read_after_mark, held.mark AS held_mark"
)
_HELD = (
    "LEFT JOIN recoveries ON recoveries.site_id = mailboxes.site_id "
    "LEFT JOIN inbox held ON held.site_id = mailboxes.site_id AND held.seq ="
)
_ENTRIES_OF_MANY = f"""
SELECT wanted.place, {_HEAD}, entries.*
FROM unnest(%s::uuid[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS wanted (site_id, after, at_most, place)
JOIN mailboxes ON mailboxes.site_id = wanted.site_id
{_HELD} wanted.after
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
    """A part of a site's inbox: entries behind `after` (None: behind what is acknowledged), `limit` at most.

    mark: of the entry `after`, as the site holds it; None if it does not say.
    """

    site: Id
    after: int | None
    limit: int
    mark: str | None = None


class WentBack(NamedTuple):
    """There is no such place in the inbox, or another entry is there: the hub's history is not the site's."""

    history_id: Id
    last_seq: int


class Found(NamedTuple):
    """What was read of an inbox. mark: of its newest entry. heads: of the streams that its entries are about."""

    inbox: Inbox | WentBack
    mark: str
    acknowledged_seq: int
    heads: Sequence[head_views.Head] = ()


class _Head(NamedTuple):
    """Of a mailbox, and of the entry behind which is read; as `_HEAD` selects it."""

    last_seq: int
    acknowledged_seq: int
    mark: str
    history_id: Id
    read_after: int | None
    read_after_mark: str | None
    held_mark: str | None

    def went_back(self, wanted: Wanted) -> bool:
        """Is the place that the site reads behind not one of this history?

        An entry that is not there any more was settled long ago, or belongs to the history before a recovery.
        """
        after, mark = wanted.after, wanted.mark
        if after is None or after <= 0:
            return False
        if after > self.last_seq:
            return True
        if mark is None:
            return False
        if after == self.last_seq:
            known: str | None = self.mark
        elif after == self.read_after:
            known = self.read_after_mark
        else:
            known = self.held_mark
        if known is None:
            return self.read_after is not None and after < self.read_after
        return known not in ("", mark)


def inboxes(database: Database, wanted: Sequence[Wanted]) -> list[Found | None]:
    """Parts of inboxes, in their order, None where the site has no mailbox; in PostgreSQL two queries for all."""
    if not database.postgres:
        return [inbox(database, one) for one in wanted]
    with database.connection():
        found = database.all(_ENTRIES_OF_MANY, *map(list, zip(*(one[:3] for one in wanted), strict=True)))
        parts: dict[int, list[Row]] = {}
        for one in found:
            parts.setdefault(one[0], []).append(one)
        shown = {
            place: _within_bounds([one[8:] for one in part if one[8] is not None]) for place, part in parts.items()
        }
        bodies = _bodies(database, list({one[9] for part in shown.values() for one in part if one[9] is not None}))
        about = [_about(wanted[place - 1].site, part) for place, part in shown.items() if part]
        heads = head_views.of_sites(database, about)
    return [
        _inbox(one, _Head(*parts[place][0][1:8]), shown[place], bodies, heads.get(one.site, ()))
        if place in parts
        else None
        for place, one in enumerate(wanted, start=1)
    ]


def _about(site: Id, found: list[Row]) -> head_views.Wanted:
    """The streams whose heads go with these entries: the site's own, and those of the newest entries' projects."""
    projects = dict.fromkeys(one[4] for one in reversed(found) if one[4] is not None)
    return head_views.Wanted(site, [site, *projects][: head_views.AT_ONCE])


def _inbox(
    wanted: Wanted,
    head: _Head,
    found: list[Row],
    bodies: dict[Id, bytes | None],
    heads: Sequence[head_views.Head],
) -> Found:
    if head.went_back(wanted):
        return Found(WentBack(head.history_id, head.last_seq), head.mark, head.acknowledged_seq)
    items = [_entry(wanted.site, one, bodies) for one in found]
    newest = max([head.last_seq, *(item.seq for item in items)])
    mark = items[-1].mark if newest > head.last_seq else head.mark
    inbox = Inbox(items=items, last_seq=newest, acknowledged_seq=head.acknowledged_seq, history_id=head.history_id)
    if not items or any(one.history_id != head.history_id for one in heads):
        heads = []  # none goes with an answer that tells of another history
    return Found(inbox, mark, head.acknowledged_seq, heads)


def inbox(database: Database, wanted: Wanted) -> Found | None:
    """A part of an inbox; None if the site has no mailbox."""
    site, after, limit, _ = wanted
    with database.connection():
        one = database.one(f"SELECT {_HEAD} FROM mailboxes {_HELD} %s WHERE mailboxes.site_id = %s", after, site)
        if one is None:
            return None
        head = _Head(*one)
        start = head.acknowledged_seq if after is None else after
        found: list[Row] = []
        if start < head.last_seq:
            where = [Clause("inbox.site_id = %s", (site,)), Clause("inbox.seq > %s", (start,))]
            found = _within_bounds(rows(database, _ENTRY, where, "ORDER BY inbox.seq LIMIT %s", limit))
        bodies = _bodies(database, [one[9] for one in found if one[9] is not None])
        heads = head_views.of_site(database, _about(site, found)) if found else []
    return _inbox(wanted, head, found, bodies, heads)


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
    seq, kind, state, created_at, project, run, task_seq, number, facts, ident, *about, mark = one
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
        mark=mark,
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
