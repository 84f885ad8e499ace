"""For operators: is it alive, is it ready, and how is it doing."""

from __future__ import annotations

import logging
import re

from flask import Response

from config.logs import unit
from fedyard.wire.times import time_text
from storage.database import DatabaseUnavailable
from storage.history import read_history, recovered
from storage.signals import NOT_YET
from web.api.readiness import STOP_NOTHING, troubles
from web.api.results import Health, Readiness
from web.http.answers import answer
from web.http.auth import OPEN
from web.http.calls import Call
from web.http.operations import Operation
from web.live.metrics import CONTENT_TYPE
from web.problems import Refused

log = logging.getLogger(__name__)


def healthz(_: Call) -> Response:
    return answer(Health(status="ok"))


def readyz(call: Call) -> Response:
    """The parts of the hub; 503 if one is down without which it cannot serve.

    What is wrong with a part names hosts and files: that is for admins, and for the log. Everybody else hears that it
    is down. Where artifacts lie only costs transfers, doer and reconciler what happens outside: everything else
    goes on without them. A process that is silent beside one that does its work is named and stops nothing.
    """
    web = call.web
    found = troubles(call)
    history = _history(call)
    wrong = {part: trouble for part, trouble in found.items() if trouble}
    ready = wrong.keys() <= STOP_NOTHING
    if web.readiness.changed({part: _COUNTED.sub("", trouble) for part, trouble in wrong.items()}) and wrong:
        begins = wrong == {"signals": NOT_YET}
        log.log(logging.INFO if begins else logging.WARNING, "parts are not ready", extra=unit(**wrong))
    told = _asked_by_admin(call)
    parts = {part: "ok" if not trouble else trouble if told else "down" for part, trouble in found.items()}
    return answer(
        Readiness(status="ready" if ready else "not ready", parts=parts, history=history),
        200 if ready else 503,
        {} if ready else {"Retry-After": "5"},
    )


_COUNTED = re.compile(r"\d+ s\b")
"""What grows with every question: the same trouble is not said anew for it."""


def _history(call: Call) -> str | None:
    """That the history went back, and how far the sites have come; None if it never did. It is no reason to wait."""
    try:
        told, (done, known) = read_history(call.web.database), recovered(call.web.database)
    except DatabaseUnavailable:
        return None
    if not told.changes:
        return None
    times = "once" if told.changes == 1 else f"{told.changes} times, the last time"
    return f"went back {times} at {time_text(told.since)}; sites that have recovered: {done} of {known}"


def metrics(call: Call) -> Response:
    return Response(call.web.metrics.text(), content_type=CONTENT_TYPE)


def _asked_by_admin(call: Call) -> bool:
    """With whatever token, or none: this is answered even where no token can be looked up."""
    try:
        subject = call.web.tokens.caller(call.request.headers.get("Authorization")).subject
    except (Refused, DatabaseUnavailable):
        return False
    return subject.role == "admin"


OPERATIONS = (
    Operation(
        method="GET",
        path="/healthz",
        name="healthz",
        about="The process runs",
        does=healthz,
        authentication=OPEN,
        answers={200: Health},
        problems=(400,),
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="readyz",
        about="Which parts are down, to an admin also why; 503 if the hub cannot serve without one of them",
        does=readyz,
        authentication=OPEN,
        answers={200: Readiness, 503: Readiness},
        problems=(400,),
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="metrics",
        about="Prometheus text",
        does=metrics,
        authentication=OPEN,
        answers={200: None},
        media={CONTENT_TYPE.split(";")[0]: "Prometheus text format 0.0.4"},
        problems=(400, 503),
    ),
)
