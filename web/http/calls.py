"""One request on its way through: authenticated, allowed, parsed; and how an answer is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from flask import Request, Response

from domain.commands import Subject
from domain.ids import HUB
from storage.database import Database
from storage.views.messages import Found, Wanted
from storage.views.people import Bearer
from storage.views.sight import Cursor, Paging
from web.http.auth import Tokens, allow
from web.http.bodies import PageQuery
from web.http.hub import Hub
from web.http.operations import Operation
from web.http.parsing import body_of, query_of, throw_away
from web.live.coalescing import CoalescedReads
from web.live.heartbeats import HeartbeatBuffer
from web.live.metrics import Metrics
from web.live.probe_cache import LastFound, ProbeCache
from web.live.response_cache import ResponseCache
from web.live.shares import Shares
from web.live.signer import Signer
from web.live.transfers import Transfers
from web.live.waiters import Newest, Undecided, Waiter, Waiters
from web.problems import Refused

TOO_MANY = 429

_json = msgspec.json.Encoder()

WHEN_GONE = "fedyard.when_gone"
"""In a request's environment, where the server can tell that a client hung up: takes what is to be called then."""

NO_ONE = Bearer(subject=Subject(kind="enrolment", id=HUB), scopes=frozenset(), token_id=None, expires_at=None)
"""The caller of an open operation: may do nothing."""


@dataclass(frozen=True)
class Web:
    """What lives as long as the app."""

    hub: Hub
    tokens: Tokens
    heartbeats: HeartbeatBuffer
    waiters: Waiters
    shares: Shares
    newest: Newest
    undecided: Undecided
    metrics: Metrics
    responses: ResponseCache
    inboxes: CoalescedReads[Wanted, Found | None]
    transfers: Transfers
    store_of_artifacts: ProbeCache[str]
    readiness: LastFound
    clocks: ProbeCache[str]
    silent: ProbeCache[Mapping[str, str]]
    signer: Signer

    @property
    def database(self) -> Database:
        return self.hub.database


@dataclass(frozen=True)
class Call:
    """path: ids as text, counts as int. query and body: of the types that the operation names."""

    web: Web
    request: Request
    caller: Bearer
    path: Mapping[str, Any]
    query: Any
    body: Any
    kept_back: bool = False
    """It may have one of the places that are kept back."""

    @property
    def waiter(self) -> Waiter:
        """The caller as one who waits."""
        return Waiter(self.caller.subject, self.request.environ.get(WHEN_GONE))

    def id(self, name: str) -> str:
        return str(self.path[name])

    def count(self, name: str) -> int:
        return int(self.path[name])

    def counts_as(self, writes: int) -> None:
        """The call makes the hub write as much as so many. One is counted already. Raises 429."""
        if writes > 1:
            self.web.shares.writes.charge(self.caller.subject.id, writes - 1)

    @property
    def paging(self) -> Paging:
        assert isinstance(self.query, PageQuery), "only lists have pages"
        after = given(self.query.after)
        return Paging(limit=self.query.limit, after=None if after is None else Cursor.of(after))


def given(value: Any) -> Any:
    """A query parameter, or None if it was left out."""
    return None if value is msgspec.UNSET else value


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A resource as JSON."""
    return Response(written(value), status, headers, content_type="application/json")


def written(value: object) -> bytes:
    """A resource as the bytes of its JSON."""
    return _json.encode(value)


def endpoint(web: Web, operation: Operation) -> Callable[[Request, Mapping[str, Any]], Response]:
    """What answers an operation: takes the request and its path's parameters.

    No body is read before it is known whose it is, and that the caller has a share left for it.
    """
    limit = web.hub.settings.request_limit_bytes

    def view(request: Request, path: Mapping[str, Any]) -> Response:
        if not operation.who:
            return operation.does(Call(web, request, NO_ONE, path, query_of(request, operation.query), None))
        caller = web.tokens.caller(request.headers.get("Authorization"))
        web.heartbeats.note(caller)
        allow(caller, operation.who, operation.scope)
        try:
            return within_share(request, caller, path)
        except Refused as refused:
            if refused.problem.status == TOO_MANY:
                web.shares.refusals.note(caller.subject, refused.detail)
                web.shares.tarpit.refused(caller.subject.id, float(refused.headers.get("Retry-After", 1)))
            raise

    def within_share(request: Request, caller: Bearer, path: Mapping[str, Any]) -> Response:
        if not operation.write and operation.body is None:
            if not operation.takes:  # bytes have places of their own
                web.shares.reads.take(caller.subject.id)
            return answered(request, caller, path)
        shares = web.shares
        shares.under_way.enter(caller.subject, kept_back=operation.kept_back)
        try:
            try:
                (shares.writes if operation.write else shares.reads).take(caller.subject.id)
            except Refused:
                with shares.bodies.place(caller.subject):
                    throw_away(request)
                raise
            return answered(request, caller, path)
        finally:
            shares.under_way.leave(caller.subject)

    def answered(request: Request, caller: Bearer, path: Mapping[str, Any]) -> Response:
        query = query_of(request, operation.query)
        body = None
        if operation.body is not None:
            web.shares.bodies.enter(caller.subject, kept_back=operation.kept_back)
            try:
                body = body_of(request, operation.body, limit, optional=operation.optional)
            finally:
                web.shares.bodies.leave(caller.subject)
        return operation.does(Call(web, request, caller, path, query, body, operation.kept_back))

    return view
