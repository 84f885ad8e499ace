"""The fast path: the calls that come in thousands are answered without Flask's routing, contexts and hooks, which cost
more than they do.

Same operations, same views, same problems: an operation that is `hot` is found here by its path, and everything
else, a wrong method or an odd path included, is Flask's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from flask import Flask, Request, Response

from fedyard.wire.problems import ProblemType
from web.http.operations import Operation, kind_of
from web.http.parsing import PATH_COUNT, PATH_ID
from web.problems import Refused

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

View: TypeAlias = Callable[..., Response]


class FastPathApp(Flask):
    """A Flask app with a fast path for some calls. failed: what is answered to an exception."""

    def __init__(self, name: str, limit_bytes: int, failed: Callable[[Exception], Response]) -> None:
        super().__init__(name, static_folder=None)
        self._failed = failed
        self._limit_bytes = limit_bytes
        self._fast: dict[str, list[_Found]] = {}

    def go_directly(self, views: Sequence[tuple[Operation, View]]) -> None:
        """views: taking the request and its path's parameters."""
        for operation, view in views:
            self._fast.setdefault(operation.method, []).append(_Found(operation, view))

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if _is_written_otherwise(environ):
            return self._refused(environ, start_response)
        for place in self._fast.get(environ["REQUEST_METHOD"], ()):
            found = place.match(path)
            if found is not None:
                return self._directly(place.view, found, environ, start_response)
        return super().wsgi_app(environ, start_response)

    def _refused(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        detail = "write the path as /openapi.json does: no escapes, no empty segments, no host"
        return self._failed(Refused(ProblemType.MALFORMED, detail))(environ, start_response)

    def _directly(
        self, view: View, path: dict[str, Any], environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = self._limit_bytes
        try:
            response = view(request, path)
        except Exception as error:  # noqa: BLE001 - the same answers as Flask's error handlers give
            response = self._failed(error)
        if response.is_streamed:
            return response(environ, start_response)
        content = response.get_data()
        headers = response.headers.to_wsgi_list()
        if "Content-Length" not in response.headers:
            headers.append(("Content-Length", str(len(content))))
        start_response(response.status, headers)
        return [content]


def _is_written_otherwise(environ: WSGIEnvironment) -> bool:
    """True if the server that is before us had to change the path to get at it: %2f, //, another host's address.

    What a proxy allows by the path that it reads must be the path that is served. Every path of ours is plain.
    Waitress hands the path on as it came, granian does not: docs/operations.md says what a proxy before that refuses.
    """
    written = environ.get("REQUEST_URI")
    return written is not None and written.partition("?")[0] != environ["PATH_INFO"]


class _Found:
    """Where a hot operation is found. A count in a path is a number without leading zeros, an id canonical."""

    def __init__(self, operation: Operation, view: View) -> None:
        self.view = view
        self._counts = [name for name in operation.parameters if kind_of(name) == "count"]
        self._fixed = operation.path if not operation.parameters else None
        self._pattern = re.compile(re.sub(r"{(\w+)}", lambda found: _group(found[1]), operation.path))

    def match(self, path: str) -> dict[str, Any] | None:
        """The path's parameters, or None for another path."""
        if self._fixed is not None:
            return {} if path == self._fixed else None
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        values: dict[str, Any] = found.groupdict()
        for name in self._counts:
            values[name] = int(values[name])
        return values


def _group(name: str) -> str:
    return f"(?P<{name}>{PATH_COUNT if kind_of(name) == 'count' else PATH_ID})"
