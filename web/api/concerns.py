"""What needs somebody."""

from __future__ import annotations

from flask import Response

from config.streams import workers_of
from storage.views import concerns as views
from storage.views.concerns import Concern
from storage.views.sight import Listed
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.calls import Call
from web.http.operations import Operation


def concerns(call: Call) -> Response:
    web = call.web
    workers = workers_of(web.hub.settings)
    return answer(views.concerns(web.database, call.caller.subject, web.hub.clock.now(), workers))


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/concerns",
        name="list_concerns",
        about="What needs somebody: of the hub (admin, auditor), and of the caller's runs, sites, projects, workloads",
        does=concerns,
        who=PEOPLE,
        answers={200: Listed[Concern]},
    ),
)
