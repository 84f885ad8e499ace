"""The calls that come in thousands, answered without Flask's routing, contexts and hooks, which cost more than they do.

Same operations, same views, same problems: an operation that is `hot` is found here by its path, and everything
else, a wrong method or an odd path included, is Flask's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from flask import Flask, Request, Response

from web.operations import COUNTS, Operation
from web.parsing import PATH_COUNT, PATH_ID

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

View: TypeAlias = Callable[..., Response]


class DirectApp(Flask):
    """A Flask app with a shorter way for some calls."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        super().__init__(name, static_folder=None)
        self._limit_bytes = limit_bytes
        self._places: dict[str, list[_Place]] = {}
        self._answer: Callable[[Exception], Response] | None = None
        self._finish: Callable[[Response], Response] | None = None

    def go_directly(
        self,
        views: Sequence[tuple[Operation, View]],
        answer: Callable[[Exception], Response],
        finish: Callable[[Response], Response],
    ) -> None:
        """views: taking the request and its path's parameters. answer: to an exception. finish: every response."""
        self._answer, self._finish = answer, finish
        for operation, view in views:
            self._places.setdefault(operation.method, []).append(_Place(operation, view))

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        for place in self._places.get(environ["REQUEST_METHOD"], ()):
            found = place.match(path)
            if found is not None:
                return self._directly(place.view, found, environ, start_response)
        return super().wsgi_app(environ, start_response)

    def _directly(
        self, view: View, path: dict[str, Any], environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        assert self._answer is not None
        assert self._finish is not None
        request = Request(environ)
        request.max_content_length = self._limit_bytes
        try:
            response = view(request, path)
        except Exception as error:  # noqa: BLE001 - the same answers as Flask's error handlers give
            response = self._answer(error)
        response = self._finish(response)
        if response.is_streamed:
            return response(environ, start_response)
        content = response.get_data()
        headers = response.headers.to_wsgi_list()
        if "Content-Length" not in response.headers:
            headers.append(("Content-Length", str(len(content))))
        start_response(response.status, headers)
        return [content]


class _Place:
    """Where a hot operation is found. A count in a path is a number without leading zeros, an id canonical."""

    def __init__(self, operation: Operation, view: View) -> None:
        self.view = view
        self._counts = [name for name in operation.parameters if name in COUNTS]
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
    return f"(?P<{name}>{PATH_COUNT if name in COUNTS else PATH_ID})"
