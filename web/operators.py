"""For operators: is it alive, is it ready, and how is it doing."""

from __future__ import annotations

from flask import Response

from storage.database import DatabaseUnavailable
from storage.views import commands
from web.calls import Call, answer
from web.metrics import CONTENT_TYPE
from web.operations import NOBODY, Operation
from web.results import Health, Readiness


def healthz(_: Call) -> Response:
    return answer(Health(status="ok"))


def readyz(call: Call) -> Response:
    """The parts that a write passes through; 503 if one of them is down.

    Where artifacts lie is told, and no more: without them everything else goes on.
    """
    web = call.web
    troubles = {
        "database": _database_trouble(call),
        "broker": web.hub.publisher.ready(),
        "signals": web.hub.signals.ready(),
        "decider": web.undecided.trouble(),
        "clocks": web.clocks.trouble(),
    }
    ready = not any(troubles.values())
    troubles["artifacts"] = web.store_of_artifacts.trouble()
    parts = {part: trouble or "ok" for part, trouble in troubles.items()}
    return answer(
        Readiness(status="ready" if ready else "not ready", parts=parts),
        200 if ready else 503,
        {} if ready else {"Retry-After": "5"},
    )


def metrics(call: Call) -> Response:
    return Response(call.web.metrics.text(), content_type=CONTENT_TYPE)


def _database_trouble(call: Call) -> str | None:
    try:
        commands.answers(call.web.database)
    except DatabaseUnavailable as error:
        return str(error)
    return None


OPERATIONS = (
    Operation(
        method="GET",
        path="/healthz",
        name="healthz",
        about="The process runs",
        does=healthz,
        who=NOBODY,
        answers={200: Health},
        problems=(400,),
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="readyz",
        about="All parts work; 503 names those that do not",
        does=readyz,
        who=NOBODY,
        answers={200: Readiness, 503: Readiness},
        problems=(400,),
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="metrics",
        about="Prometheus text",
        does=metrics,
        who=NOBODY,
        answers={200: None},
        media={CONTENT_TYPE.split(";")[0]: "Prometheus text format 0.0.4"},
        problems=(400, 503),
    ),
)
