"""For operators: is it alive, is it ready, and how is it doing."""

from __future__ import annotations

import logging
import re

from flask import Response

from config.logs import unit
from config.processes import OUTSIDE, STREAM_WORKERS
from config.streams import workers_of
from fedyard.wire.times import time_text
from storage import clusters, stream_states
from storage.database import DatabaseUnavailable
from storage.history import read_history, recovered
from storage.presence import STAND_BY
from storage.signals import NOT_YET
from storage.views import commands
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
    silent = web.silent.trouble() or {}
    troubles = {
        "database": _database_trouble(call),
        "broker": web.hub.publisher.ready(),
        "signals": web.hub.signals.ready(),
        **{role: silent.get(role) for role in workers_of(web.hub.settings)},
        "clocks": web.clocks.trouble(),
        STAND_BY: silent.get(STAND_BY),
        "clusters": _clusters_trouble(call),
        **({"streams": _streams_trouble(call)} if web.hub.settings.streams else {}),
        "artifacts": web.store_of_artifacts.trouble() or web.transfers.trouble(),
    }
    troubles["decider"] = troubles["decider"] or web.undecided.trouble()  # the one that names the process goes first
    history = _history(call)
    wrong = {part: trouble for part, trouble in troubles.items() if trouble}
    ready = wrong.keys() <= STOP_NOTHING
    if web.readiness.changed({part: _COUNTED.sub("", trouble) for part, trouble in wrong.items()}) and wrong:
        begins = wrong == {"signals": NOT_YET}
        log.log(logging.INFO if begins else logging.WARNING, "parts are not ready", extra=unit(**wrong))
    told = _asked_by_admin(call)
    parts = {part: "ok" if not trouble else trouble if told else "down" for part, trouble in troubles.items()}
    return answer(
        Readiness(status="ready" if ready else "not ready", parts=parts, history=history),
        200 if ready else 503,
        {} if ready else {"Retry-After": "5"},
    )


STOP_NOTHING = frozenset({*OUTSIDE, *STREAM_WORKERS, STAND_BY, "artifacts", "clusters", "streams"})
"""Parts that are named where they are down, while the hub serves."""
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


def _database_trouble(call: Call) -> str | None:
    try:
        commands.answers(call.web.database)
    except DatabaseUnavailable as error:
        return str(error)
    return None


def _clusters_trouble(call: Call) -> str | None:
    """What is missing at which cluster: that it answers, or that it allows what the hub has to do there."""
    try:
        told = clusters.told(call.web.database, call.web.hub.clock.now())
    except DatabaseUnavailable:
        return None
    return "; ".join(f"{name}: {trouble}" for name, trouble in told.items()) or None


def _streams_trouble(call: Call) -> str | None:
    """Which cluster of Kafka does not answer, or lacks what is listened to."""
    try:
        found = stream_states.bridges(call.web.database, call.web.hub.clock.now())
    except DatabaseUnavailable:
        return None
    troubles = {one.cluster: one.trouble for one in found if one.trouble}
    return "; ".join(f"{name}: {trouble}" for name, trouble in sorted(troubles.items())) or None


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
