"""How much one sender may have waiting for one recipient: so that nobody fills another's inbox.

Acknowledging is a sweep that loads no entries, so what is counted is an upper bound, in two spans: the later one takes
in what is sent, and becomes the earlier one when that is over. A recipient that keeps up has a backlog of none.
"""

from __future__ import annotations

import msgspec

from domain import records as r
from domain.decisions.draft import Draft, Refused
from domain.ids import Id
from domain.values import Micros
from fedyard.wire.plurals import counted
from fedyard.wire.problems import ProblemType


def add_to_backlog(draft: Draft, sender_id: Id, site_id: Id, size_bytes: int, until: Micros) -> None:
    """One more message, whose entry is the next of the recipient's inbox.

    until: when the message expires. Raises 409 where the recipient has to acknowledge some first.
    """
    limits = draft.rules.backlog_messages, draft.rules.backlog_bytes
    box = draft.have(r.Mailbox, site_id)
    found = draft.get(r.Backlog, sender_id, site_id) or r.Backlog(sender_site_id=sender_id, site_id=site_id)
    row = _read(found, box.acknowledged_seq, draft.now)
    count = row.earlier_count + row.later_count
    size = row.earlier_bytes + row.later_bytes
    if count >= limits[0] or (count > 0 and size + size_bytes > limits[1]):
        raise Refused(
            ProblemType.BACKLOG_FULL,
            f"{counted(count, 'message')} of {size} bytes from site {sender_id} {'lies' if count == 1 else 'lie'} "
            "unacknowledged in the inbox of site "
            f"{site_id}, {limits[0]} of {limits[1]} bytes are allowed; wait until it has read them, or leave it out",
        )
    draft.put(
        msgspec.structs.replace(
            row,
            later_count=row.later_count + 1,
            later_bytes=row.later_bytes + size_bytes,
            later_seq=box.last_seq + 1,
            later_until=max(row.later_until, until),
        )
    )


def _read(row: r.Backlog, acknowledged_seq: int, now: Micros) -> r.Backlog:
    """Without the spans that are over."""
    if row.later_seq <= acknowledged_seq or row.later_until <= now:
        row = msgspec.structs.replace(row, later_count=0, later_bytes=0, later_seq=0, later_until=0)
    if row.earlier_seq <= acknowledged_seq or row.earlier_until <= now:
        row = msgspec.structs.replace(
            row,
            earlier_count=row.later_count,
            earlier_bytes=row.later_bytes,
            earlier_seq=row.later_seq,
            earlier_until=row.later_until,
            later_count=0,
            later_bytes=0,
            later_seq=0,
            later_until=0,
        )
    return row
