"""Sessions of people at the page: whose request it is."""

from __future__ import annotations

from flask import Request, Response

from fedyard.wire.problems import ProblemType
from storage.views.people import Bearer
from web.http.auth import Authentication
from web.http.calls import Call, Web
from web.live.tokens import unauthorized


def _caller(web: Web, request: Request) -> Bearer:
    del web, request
    raise unauthorized(ProblemType.NO_TOKEN, "nobody is signed in")


SESSION = Authentication("session", _caller)
"""People in a browser. No scheme: what it lets in is no part of /openapi.json."""


def csrf_of(call: Call) -> str:
    """What forms of this session carry in `_csrf`; "" without a session."""
    del call
    return ""


def kept(call: Call, response: Response) -> Response:
    """The response to a person's own request."""
    del call
    return response
