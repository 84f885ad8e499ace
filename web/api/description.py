"""The description of the API: drawn from the table that routes."""

from __future__ import annotations

from typing import Any

from flask import Response

from web.http.auth import OPEN
from web.http.calls import Call
from web.http.operations import Operation


def read(call: Call) -> Response:
    return Response(call.web.description(), content_type="application/json")


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
