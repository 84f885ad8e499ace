"""Streams, for who runs the network: how the bridge to Kafka does, and what it could not make sense of."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.results import RecordReplayed, RecordsPurged
from domain.states import QuarantineState
from domain.stream_commands import PurgeRecords, ReplayRecord
from fedyard.wire.problems import ProblemType
from storage.views.sight import Listed, sees_everything
from storage.views.streams import bridges, quarantine
from storage.views.streams.bridges import StreamsStatus
from storage.views.streams.quarantine import Quarantined, QuarantinedContent
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import Body, PageQuery
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused, not_found


class Replay(Body, frozen=True):
    """deployment: its number, in the place of what the record's key says."""

    deployment: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | None = None


class QuarantineQuery(PageQuery, frozen=True):
    state: QuarantineState | UnsetType = UNSET


def _need_sight(call: Call) -> None:
    if not sees_everything(call.caller.subject):
        raise Refused(ProblemType.FORBIDDEN, "streams are for admins and auditors to see")


def status(call: Call) -> Response:
    _need_sight(call)
    return answer(bridges.status(call.web.database, call.web.hub.clock.now()))


def listed(call: Call) -> Response:
    _need_sight(call)
    query: QuarantineQuery = call.query
    return answer(quarantine.quarantined(call.web.database, call.paging, state=given(query.state)))


def read(call: Call) -> Response:
    """What it holds is for admins: it may be anybody's."""
    _need_sight(call)
    shown = call.caller.subject.role == "admin"
    found = quarantine.content(call.web.database, call.id("record_id"), shown=shown)
    if found is None:
        raise not_found("quarantined record", call.id("record_id"))
    return answer(found)


def replay(call: Call) -> Response:
    body: Replay = call.body
    return write(call, ReplayRecord(record_id=call.id("record_id"), deployment_number=body.deployment))


def purge(call: Call) -> Response:
    return write(call, PurgeRecords(record_ids=[call.id("record_id")]))


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/streams",
        name="read_streams",
        about="How the bridge to Kafka does: lag to committed and to decided of each partition (admin, auditor)",
        does=status,
        who=PEOPLE,
        answers={200: StreamsStatus},
    ),
    Operation(
        method="GET",
        path="/v1/streams/quarantine",
        name="list_quarantine",
        about="Records of Kafka that nobody understood (admin, auditor)",
        does=listed,
        who=PEOPLE,
        query=QuarantineQuery,
        answers={200: Listed[Quarantined]},
    ),
    Operation(
        method="GET",
        path="/v1/streams/quarantine/{record_id}",
        name="read_quarantined",
        about="One of them, to an admin with what it holds",
        does=read,
        who=PEOPLE,
        answers={200: QuarantinedContent},
    ),
    Operation(
        method="POST",
        path="/v1/streams/quarantine/{record_id}/replay",
        name="replay_quarantined",
        about="Read it once more, for the deployment that is named if one is (admin)",
        does=replay,
        who=PEOPLE,
        scope="write",
        body=Replay,
        optional=True,
        write=True,
        answers={200: RecordReplayed},
    ),
    Operation(
        method="DELETE",
        path="/v1/streams/quarantine/{record_id}",
        name="purge_quarantined",
        about="Have what it holds go (admin)",
        does=purge,
        who=PEOPLE,
        scope="write",
        write=True,
        answers={200: RecordsPurged},
    ),
)
