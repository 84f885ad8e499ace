"""Records that nobody understood, as the web and the operator's command line show them."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from domain.ids import Id, Uuid
from domain.states import QuarantineState
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Resource, Time
from storage.views.sight import Clause, Cursor, Listed, Paging, page, row, rows


class Quarantined(Resource, frozen=True):
    """A record that nobody understood. reason: a code; detail: the sentence. announced_at: null if it does not say."""

    id: Uuid
    cluster: str
    topic: str
    partition: int
    log_offset: int
    purpose: str
    announced_at: Time | None
    taken_at: Time
    size_bytes: int
    reason: str
    detail: str
    state: QuarantineState
    state_at: Time


class Header(Resource, frozen=True):
    name: str
    value: bytes | None


class QuarantinedContent(Quarantined, frozen=True):
    """With what it holds; of one that was too large, its beginning. Null for who may not read it."""

    key: bytes | None
    value: bytes | None
    headers: list[Header] | None


_RECORD = (
    "SELECT id, cluster, topic, partition, log_offset, purpose, announced_at, taken_at, length(value), reason, detail,"
    " state, state_at FROM quarantined_records"
)
_CONTENT = "SELECT key, value, headers_json FROM quarantined_records"


def quarantined(database: Database, paging: Paging, *, state: str | None = None) -> Listed[Quarantined]:
    """A page of them, oldest first."""
    where = [] if state is None else [Clause("state = %s", (state,))]
    return page(
        database,
        _RECORD,
        where,
        paging,
        lambda one: Quarantined(**_values(one)),
        order=("taken_at", "id"),
        cursor_of=lambda one: Cursor(one[7], one[0]),
    )


def content(database: Database, key: Id, *, shown: bool) -> QuarantinedContent | None:
    """One of them. shown: with what it holds."""
    which = [Clause("id = %s", (key,))]
    found = row(database, _RECORD, which)
    if found is None:
        return None
    held = row(database, _CONTENT, which) if shown else None
    if held is None:
        return QuarantinedContent(**_values(found), key=None, value=None, headers=None)
    pairs = msgspec.json.decode(held[2], type=list[tuple[str, str | None]])
    headers = [Header(name=name, value=None if one is None else base64.b64decode(one)) for name, one in pairs]
    return QuarantinedContent(**_values(found), key=held[0], value=held[1], headers=headers)


def waiting_by_reason(database: Database) -> dict[tuple[str, str], int]:
    """(cluster, reason) -> how many wait for somebody."""
    found = rows(
        database,
        "SELECT cluster, reason, count(*) FROM quarantined_records",
        [Clause("state = 'waiting'")],
        "GROUP BY cluster, reason",
    )
    return {(row[0], row[1]): row[2] for row in found}


def _values(one: Row) -> dict[str, Any]:
    values = dict(zip(Quarantined.__struct_fields__, one, strict=True))
    at = values["announced_at"]
    return values | {
        "announced_at": time_text(at) if at else None,
        "taken_at": time_text(values["taken_at"]),
        "state_at": time_text(values["state_at"]),
    }
