"""How an answer is written: resources and problems as JSON, and the headers of each kind of answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from flask import Request, Response

from fedyard.wire.version import __version__
from fedyard.wire.versions import HEADER as VERSION_HEADER
from web.http.calls import Web
from web.problems import Problems, Refused

_json = msgspec.json.Encoder()


@dataclass(frozen=True)
class AnswerKind:
    """headers: of every answer of this kind, whatever else it says. problem: what it makes of a refusal, where that is
    not what programs are told (`problem_for`)."""

    headers: Mapping[str, str]
    problem: Callable[[Web, Request, Refused], Response] | None = None

    def finish(self, response: Response) -> Response:
        """The same response, with the headers of its kind."""
        for name, value in self.headers.items():
            response.headers[name] = value
        return response


_NOSNIFF = {"X-Content-Type-Options": "nosniff"}
API = AnswerKind({**_NOSNIFF, "Cache-Control": "no-store", VERSION_HEADER: __version__})
"""JSON and bytes for programs. Every problem is one, whatever was asked for."""
PAGE = AnswerKind(
    {
        **_NOSNIFF,
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
    }
)
"""HTML for people: everything that it loads is the hub's own, in files; nothing is inline, and nobody frames it. What
the hub's own page makes of problems is said where it is made (web/page/rendering.py)."""
STATIC = AnswerKind(
    {**_NOSNIFF, "Cache-Control": "public, max-age=31536000, immutable", "Cross-Origin-Resource-Policy": "same-origin"}
)
"""What pages load: the same for everybody, under a name that changes with the content."""


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A resource as JSON."""
    return Response(written(value), status, headers, content_type="application/json")


def written(value: object) -> bytes:
    """A resource as the bytes of its JSON."""
    return _json.encode(value)


def problem_for(problems: Problems, error: Exception) -> Response:
    """What is answered to an exception."""
    return API.finish(problems.answer_to(error))
