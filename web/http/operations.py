"""What an operation is: the one row that drives routing, rights, parsing, and /openapi.json alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from flask import Response

from web.http.answers import API, AnswerKind
from web.http.auth import BEARER, EVERYBODY, OPEN, Authentication
from web.http.bodies import Query
from web.http.calls import Call

Kind = Literal["id", "count", "file", "name", "door"]
PARAMETERS: Mapping[str, Kind] = {
    "task_seq": "count",
    "round": "count",
    "epoch": "count",
    "chunk": "count",
    "version": "count",
    "number": "count",
    "file": "file",
    "secret_name": "name",
    "rid": "count",
    "asset": "file",
    "operation": "name",
    "door": "door",
}
"""Parameters of paths that are no ids, and what they are: whole numbers, a job's files, what people have named, the
secret way in of an attempt (domain/streams/door.py)."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of the API.

    path: as OpenAPI writes it. does: the call to a `Response`. answers: the type of the body by status.
    kind: of its answers. authentication: how it is found out whose call it is. who: kinds of subjects that may call,
    unless it is open. other_scopes: each is enough as well, `client` for the project that the path names. problems:
    statuses of the problems that only this call has, beside those of all. optional: the body may be left out. long: may
    hold a poll open. hot: comes in thousands, see fast_path.py.
    kept_back: it carries a secret or takes one out of force, and may have a place that is kept back (shares.py).
    """

    method: str
    path: str
    name: str
    about: str
    does: Callable[[Call], Response]
    answers: Mapping[int, Any]
    kind: AnswerKind = API
    authentication: Authentication = BEARER
    who: frozenset[str] = EVERYBODY
    scope: str = "read"
    other_scopes: tuple[str, ...] = ()
    query: type[Query] = Query
    body: type[msgspec.Struct] | None = None
    optional: bool = False
    write: bool = False
    long: bool = False
    hot: bool = False
    kept_back: bool = False
    problems: tuple[int, ...] = ()
    media: Mapping[str, str] = field(default_factory=dict)
    """Other media types of the 200 (and 206) answer, each with what it carries."""
    takes: str = ""
    """What a body that is no JSON carries: it is handed on unread."""
    nothing: str = ""
    """What 204 means, where it can come."""

    @property
    def open(self) -> bool:
        return self.authentication is OPEN

    @property
    def described(self) -> bool:
        """Is it for programs, which /openapi.json tells of it? Pages, and what they send in a session, are not."""
        return self.kind is API and (self.open or self.authentication.scheme is not None)

    @property
    def noun(self) -> str:
        """The subject's plural: the first part of the path."""
        return self.path.removeprefix("/v1/").split("/")[0]

    @property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @property
    def rule(self) -> str:
        """The path as Flask routes it."""
        return re.sub(r"{(\w+)}", lambda found: f"<{kind_of(found[1])}:{found[1]}>", self.path)

    @property
    def refusals(self) -> list[int]:
        """Statuses of every problem that this call may answer."""
        found = set(self.problems)
        if not self.open:
            found |= {400, 401, 403, 429, 503}
        if self.parameters:
            found |= {404}
        if self.body is not None:
            found |= {408, 413, 415}
        if self.write:
            found |= {404, 409, 413, 422}
        return sorted(found)


def title_of(status: int) -> str:
    return HTTPStatus(status).phrase


def kind_of(parameter: str) -> Kind:
    """What a parameter of a path is; one that the table does not name is an id."""
    return PARAMETERS.get(parameter, "id")
