"""What needs somebody."""

from __future__ import annotations

from flask import Response

from config.streams import workers_of
from storage.views import concerns as views
from storage.views.concerns import Concern, Down
from storage.views.sight import Listed
from web.api.readiness import STOP_NOTHING, troubles
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.calls import Call
from web.http.operations import Operation


def concerns(call: Call) -> Response:
    return answer(concerns_of(call))


def concerns_of(call: Call) -> Listed[Concern]:
    """What the records tell, and what this process finds down. Raises `DatabaseUnavailable`."""
    web = call.web
    down = [Down(part, trouble, part not in STOP_NOTHING) for part, trouble in troubles(call).items() if trouble]
    workers = workers_of(web.hub.settings)
    return views.concerns(web.database, call.caller.subject, web.hub.clock.now(), workers, down)


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
