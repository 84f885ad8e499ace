"""Audit: what happened everywhere, by who did it, what it is about and when; and whether its chains are whole."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.events import EventKind
from domain.values import Micros
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import DAY
from fedyard.wire.types import UUID_PATTERN
from storage.audit import Place, verify_part
from storage.views.events import Behind, Sought, sought
from storage.views.resources import Event
from storage.views.sight import Cursor, Listed, sees_everything
from web.api.results import Verification
from web.api.secret import micros_of
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import CursorText, Query, Time, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.problems import Refused

SPAN: Micros = 30 * DAY
"""How far back a search looks, if nobody says since when."""
EVENTS_AT_ONCE = 5000
"""Whose hashes one call computes."""
BehindText: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=f"^[0-9]{{1,17}}-{UUID_PATTERN}-[0-9]{{1,15}}(?!\n)$", max_length=80)
]


class SoughtQuery(Query, frozen=True):
    """subject: who did it. about: the project, site, organisation or run. since: 30 days ago, if nobody says so."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    after: BehindText | UnsetType = UNSET
    subject: Uuid | UnsetType = UNSET
    about: Uuid | UnsetType = UNSET
    kind: EventKind | UnsetType = UNSET
    since: Time | UnsetType = UNSET
    until: Time | UnsetType = UNSET


class VerificationQuery(Query, frozen=True):
    """after: the `next` of the part before."""

    after: CursorText | UnsetType = UNSET


def read(call: Call) -> Response:
    query: SoughtQuery = call.query
    since, until = micros_of(given(query.since)), micros_of(given(query.until))
    until = call.web.hub.clock.now() + 1 if until is None else until
    wanted = Sought(
        since=max(0, until - SPAN) if since is None else since,
        until=until,
        subject=given(query.subject),
        about=given(query.about),
        kind=given(query.kind),
    )
    after = given(query.after)
    behind = None if after is None else Behind.of(after)
    return answer(sought(call.web.database, call.caller.subject, wanted, after=behind, limit=query.limit))


def verify(call: Call) -> Response:
    """A part of it: the chains of a hub that is years old are long."""
    if not sees_everything(call.caller.subject):
        raise Refused(ProblemType.FORBIDDEN, "only admins and auditors verify the chains of all events")
    after = given(call.query.after)
    cursor = None if after is None else Cursor.of(after)
    place = None if cursor is None else Place(cursor.id, cursor.at)
    found = verify_part(call.web.database, place, EVENTS_AT_ONCE)
    next_part = None if found.next is None else Cursor(found.next.seq, found.next.stream_id).text
    return answer(Verification(streams=found.streams, events=found.events, faults=found.faults, next=next_part))


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/events",
        name="list_events",
        about="What happened, the newest first: everywhere (admin, auditor), at one's sites and in projects one leads",
        does=read,
        query=SoughtQuery,
        answers={200: Listed[Event]},
    ),
    Operation(
        method="GET",
        path="/v1/events/verification",
        name="verify_events",
        about="Whether the chains of events are whole, part by part (admin, auditor)",
        does=verify,
        who=PEOPLE,
        query=VerificationQuery,
        answers={200: Verification},
    ),
)
