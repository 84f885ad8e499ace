"""The description of the API: drawn from the table that routes."""

from __future__ import annotations

from typing import Any

from flask import Response

from fedyard.wire.version import __version__
from web.api.results import Root
from web.http.answers import answer
from web.http.auth import OPEN
from web.http.calls import Call
from web.http.operations import Operation


def read(call: Call) -> Response:
    return Response(call.web.description(), content_type="application/json")


def root(_: Call) -> Response:
    return answer(Root(name="Fedyard", version=__version__, documentation="/openapi.json", health="/healthz"))


ROOT = Operation(
    method="GET",
    path="/",
    name="read_root",
    about="What this is, where the hub has no page",
    does=root,
    authentication=OPEN,
    answers={200: Root},
    problems=(400,),
)
OPERATIONS = (
    Operation(
        method="GET",
        path="/openapi.json",
        name="openapi",
        about="This document",
        does=read,
        authentication=OPEN,
        answers={200: dict[str, Any]},
        problems=(400,),
    ),
)
