"""How the hub does, for who runs or audits it: its processes, queues, disks, and how fast it decides."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response

from fedyard.wire.problems import ProblemType
from storage.views import vitals as views
from storage.views.sight import Listed, sees_everything
from storage.views.vitals import HubProcess, Vitals
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import Query
from web.http.calls import Call
from web.http.operations import Operation
from web.problems import Refused

HOUR_S, DAY_S = 3_600, 86_400


class SpanQuery(Query, frozen=True):
    """span_s: how far back curves go."""

    span_s: Annotated[int, msgspec.Meta(ge=60, le=DAY_S)] = HOUR_S


def _need_sight(call: Call) -> None:
    if not sees_everything(call.caller.subject):
        raise Refused(ProblemType.FORBIDDEN, "how the hub does is for admins and auditors to see")


def processes(call: Call) -> Response:
    _need_sight(call)
    return answer(views.processes(call.web.database, call.web.hub.clock.now()))


def vitals(call: Call) -> Response:
    _need_sight(call)
    return answer(views.vitals(call.web.database, call.web.hub.clock.now(), call.query.span_s))


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/processes",
        name="list_processes",
        about="The hub's processes as they reported last: host, version, since when, which leads (admin, auditor)",
        does=processes,
        who=PEOPLE,
        answers={200: Listed[HubProcess]},
    ),
    Operation(
        method="GET",
        path="/v1/vitals",
        name="read_vitals",
        about="Queues, disks, the last backup, and curves of how fast the hub decides (admin, auditor)",
        does=vitals,
        who=PEOPLE,
        query=SpanQuery,
        answers={200: Vitals},
    ),
)
