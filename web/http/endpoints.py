"""From an operation to what answers it: authenticated, allowed, within its share, parsed, done, and finished."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Request, Response

from storage.views.people import Bearer
from web.http.answers import AnswerKind
from web.http.auth import allow
from web.http.calls import Call, Web
from web.http.operations import Operation
from web.http.parsing import body_of, query_of, throw_away
from web.problems import Refused

TOO_MANY = 429


def endpoint(web: Web, operation: Operation) -> Callable[[Request, Mapping[str, Any]], Response]:
    """What answers an operation: takes the request and its path's parameters; raises what is answered with a problem.

    No body is read before it is known whose it is, and that the caller has a share left for it.
    """
    limit, is_open = web.hub.settings.request_limit_bytes, operation.open
    caller_of, finish = operation.authentication.caller, operation.kind.finish
    meant = operation.authentication.meant

    def view(request: Request, path: Mapping[str, Any]) -> Response:
        caller = caller_of(web, request)
        return finish(unasked(request, caller, path) if is_open else allowed(request, caller, path))

    def unasked(request: Request, caller: Bearer, path: Mapping[str, Any]) -> Response:
        return operation.does(Call(web, request, caller, caller_of, path, query_of(request, operation.query), None))

    def allowed(request: Request, caller: Bearer, path: Mapping[str, Any]) -> Response:
        web.heartbeats.note(caller, agent=request.environ.get("HTTP_USER_AGENT"))
        scopes = (operation.scope, *operation.other_scopes)
        allow(caller, operation.who, *scopes, project_id=path.get("project_id"))
        try:
            return within_share(request, caller, path)
        except Refused as refused:
            if refused.problem.status == TOO_MANY:
                web.shares.refusals.note(caller.subject, refused.detail)
                web.shares.tarpit.refused(caller.share.id, float(refused.headers.get("Retry-After", 1)))
            raise

    def within_share(request: Request, caller: Bearer, path: Mapping[str, Any]) -> Response:
        if not operation.write and operation.body is None:
            if not operation.takes:  # bytes have places of their own
                web.shares.reads.take(caller.share.id)
            return answered(request, caller, path)
        shares = web.shares
        shares.under_way.enter(caller.share, kept_back=operation.kept_back)
        try:
            try:
                (shares.writes if operation.write else shares.reads).take(caller.share.id)
            except Refused:
                with shares.bodies.place(caller.share):
                    throw_away(request)
                raise
            return answered(request, caller, path)
        finally:
            shares.under_way.leave(caller.share)

    def answered(request: Request, caller: Bearer, path: Mapping[str, Any]) -> Response:
        meant(web, caller, request)
        query = query_of(request, operation.query)
        body = None
        if operation.body is not None:
            web.shares.bodies.enter(caller.share, kept_back=operation.kept_back)
            try:
                body = body_of(request, operation.body, limit, optional=operation.optional)
            finally:
                web.shares.bodies.leave(caller.share)
        return operation.does(Call(web, request, caller, caller_of, path, query, body, operation.kept_back))

    return view if operation.kind.problem is None else _shown_to_people(web, operation.kind, view)


def _shown_to_people(
    web: Web, kind: AnswerKind, view: Callable[[Request, Mapping[str, Any]], Response]
) -> Callable[[Request, Mapping[str, Any]], Response]:
    """The same, with problems as its kind shows them."""

    def shown(request: Request, path: Mapping[str, Any]) -> Response:
        try:
            return view(request, path)
        except Exception as error:  # noqa: BLE001 - the same problems as programs are answered
            assert kind.problem is not None
            return kind.finish(kind.problem(web, request, web.problems.refusal_of(error)))

    return shown
