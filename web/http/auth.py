"""How an operation finds out whose request it is, and what its caller may call: values of the operation."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from flask import Request

from domain.ids import HUB, is_id
from domain.values import Subject
from domain.workloads import files_token_of
from fedyard.wire.problems import ProblemType
from storage.views.people import Bearer
from storage.views.workloads import coordinator_of_part
from web.http.calls import Call, Web
from web.live.tokens import unauthorized
from web.problems import Refused

PEOPLE = frozenset({"account"})
SITES = frozenset({"site"})
EVERYBODY = frozenset({"account", "site"})
ENROLMENTS = frozenset({"enrolment"})

NO_ONE = Bearer(subject=Subject(kind="enrolment", id=HUB), scopes=frozenset(), token_id=None, expires_at=None)
"""The caller of an open operation: may do nothing."""


@dataclass(frozen=True)
class Authentication:
    """One way to find out whose a request is.

    name: as /openapi.json calls the scheme; scheme: as it describes it. What is asked in a way without one is for pages
    alone, and not described. caller: raises 401 where nobody is proved, and 403 where the request is not
    what its caller meant to send (what a browser sends by itself proves no intention).
    """

    name: str
    caller: Callable[[Web, Request], Bearer]
    scheme: Mapping[str, str] | None = None


def _bearer(web: Web, request: Request) -> Bearer:
    return web.tokens.caller(request.headers.get("Authorization"))


BEARER = Authentication("bearer", _bearer, {"type": "http", "scheme": "bearer"})


def _workload(web: Web, request: Request) -> Bearer:
    """A part of a project's infrastructure, which reads for the project's coordinator what the operation shows."""
    ident = str((request.view_args or {}).get("workload_id", ""))
    found = coordinator_of_part(web.database, ident) if is_id(ident) else None
    if found is not None:
        attempt, site = found
        wanted = f"Bearer {files_token_of(web.workload_key, ident, attempt)}"
        if hmac.compare_digest(request.headers.get("Authorization", "").encode(), wanted.encode()):
            subject = Subject(kind="site", id=site)
            return Bearer(subject=subject, scopes=frozenset({"read"}), token_id=None, expires_at=None)
    raise unauthorized(
        ProblemType.TOKEN_NOT_VALID, "this call takes the token that a part of a project was started with"
    )


WORKLOAD = Authentication("workload", _workload, {"type": "http", "scheme": "bearer"})
OPEN = Authentication("open", lambda _web, _request: NO_ONE)
"""No token is asked for."""


def allow(caller: Bearer, kinds: Collection[str], scope: str) -> None:
    """Raises 403 unless such a subject with such a scope may call this at all."""
    if caller.subject.kind not in kinds:
        wanted = " or ".join(sorted(kinds))
        raise Refused(ProblemType.FORBIDDEN, f"this call is for tokens of kind {wanted}, not {caller.subject.kind}")
    if scope not in caller.scopes:
        raise Refused(ProblemType.SCOPE_MISSING, f"the token lacks the scope {scope!r}; use one that has it")


def still_reads(call: Call) -> Bearer | None:
    """Whose call it is, if they may read now: an answer may take long, and the token be revoked meanwhile."""
    try:
        caller = call.caller_of(call.web, call.request)
        allow(caller, EVERYBODY, "read")
    except Refused:
        return None
    return caller
