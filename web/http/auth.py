"""How an operation finds out whose request it is, and what its caller may call: values of the operation."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

from flask import Request

from domain.ids import HUB, Id, is_id
from domain.streams.door import attempt_of, secret_of
from domain.values import CLIENT_SCOPE, Subject
from domain.workloads import ROUNDS_PREFIX, files_token_of, named_in, rounds_token_of
from fedyard.wire.problems import ProblemType
from storage.views import workloads
from storage.views.people import Bearer
from storage.views.streams import door
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
    alone, and not described. caller: raises 401 where nobody is proved. meant: asked once the caller's share is taken,
    since it may read the body; raises 403 where the request is not what its caller meant to send (what a browser sends
    by itself proves no intention).
    """

    name: str
    caller: Callable[[Web, Request], Bearer]
    scheme: Mapping[str, str] | None = None
    meant: Callable[[Web, Bearer, Request], None] = lambda _web, _caller, _request: None


ROUNDS = "rounds"
"""The scope of an attempt at a project's own coordinator: its rounds, and the checkpoints that they make."""


def _bearer(web: Web, request: Request) -> Bearer:
    authorization = request.headers.get("Authorization")
    token = (authorization or "").strip().partition(" ")[2].strip()
    return _leading(web, token) if token.startswith(ROUNDS_PREFIX) else web.tokens.caller(authorization)


def _leading(web: Web, token: str) -> Bearer:
    """Of the newest attempt at a project's own coordinator, in the name of the site that coordinates the project."""
    named = named_in(token)
    found = None if named is None else workloads.leading(web.database, named[0])
    if named is not None and found is not None and found[0].attempt == named[1]:
        leading, subject = found
        wanted = rounds_token_of(web.workload_key, leading.workload_id, leading.attempt)
        if hmac.compare_digest(token.encode(), wanted.encode()):
            return Bearer(subject, frozenset({ROUNDS}), token_id=None, expires_at=None, leading=leading)
    raise unauthorized(
        ProblemType.TOKEN_NOT_VALID,
        "the attempt at a project's coordinator that this token is of was replaced, or has ended",
    )


BEARER = Authentication("bearer", _bearer, {"type": "http", "scheme": "bearer"})


def _workload(web: Web, request: Request) -> Bearer:
    """A part of a project's infrastructure, which reads for the project's coordinator what the operation shows."""
    attempt_of = partial(workloads.coordinator_of_part, web.database)
    fact = "this call takes the token that a part of a project was started with"
    return _by_files_token(web, request, attempt_of, frozenset({"read"}), fact)


def _job(web: Web, request: Request) -> Bearer:
    """The newest attempt at a job with files, in the name of the site that it fetches and stores them for."""

    def attempt_of(ident: Id) -> tuple[int, Id] | None:
        found = workloads.job_with_files(web.database, ident)
        return None if found is None else (found.attempt, found.owner)

    fact = "this call takes the token of the newest attempt at a job with files, which has not ended"
    return _by_files_token(web, request, attempt_of, frozenset({"read", "write"}), fact)


def _by_files_token(
    web: Web, request: Request, attempt_of: Callable[[Id], tuple[int, Id] | None], scopes: frozenset[str], fact: str
) -> Bearer:
    """attempt_of: of the workload that the path names the attempt whose token counts, and the site that it is for."""
    ident = str((request.view_args or {}).get("workload_id", ""))
    found = attempt_of(ident) if is_id(ident) else None
    if found is not None:
        attempt, site = found
        wanted = f"Bearer {files_token_of(web.workload_key, ident, attempt)}"
        if hmac.compare_digest(request.headers.get("Authorization", "").encode(), wanted.encode()):
            return Bearer(Subject(kind="site", id=site), scopes, token_id=None, expires_at=None, files_of=ident)
    raise unauthorized(ProblemType.TOKEN_NOT_VALID, fact)


def _at_door(web: Web, request: Request) -> Bearer:
    """The newest attempt of what is for streams, by the secret in its path."""
    secret = str((request.view_args or {}).get("door", ""))
    ident, attempt = attempt_of(secret)
    found = door.at_door(web.database, ident)
    rid = (request.view_args or {}).get("rid")
    wanted = secret_of(web.workload_key, ident, attempt)
    proved = hmac.compare_digest(secret.encode(), wanted.encode())
    if proved and found is not None and found.attempt == attempt and rid in found.numbers:
        return Bearer(found.subject, frozenset({"read", "write"}), token_id=None, expires_at=None, files_of=ident)
    raise unauthorized(
        ProblemType.TOKEN_NOT_VALID, "this way in is of no attempt that goes on, or is for another result"
    )


DOOR = Authentication("door", _at_door)
"""Of programs that send no token (domain/streams/door.py). Not described: its paths are Kafka-ML's."""
JOB = Authentication("job", _job, {"type": "http", "scheme": "bearer"})
WORKLOAD = Authentication("workload", _workload, {"type": "http", "scheme": "bearer"})
OPEN = Authentication("open", lambda _web, _request: NO_ONE)
"""No token is asked for."""


def allow(caller: Bearer, kinds: Collection[str], *scopes: str, project_id: Id | None = None) -> None:
    """Raises 403 unless such a subject with one of these scopes may call this at all.

    project_id: that the path names, which has to be that of a client's token.
    """
    if caller.project_id is not None and not (CLIENT_SCOPE in scopes and caller.project_id == project_id):
        detail = (
            f"this is a client's token: with it one takes part in project {caller.project_id}, and does nothing else; "
            "use the site's own token"
        )
        raise Refused(ProblemType.SCOPE_MISSING, detail)
    if caller.subject.kind not in kinds:
        wanted = " or ".join(sorted(kinds))
        raise Refused(ProblemType.FORBIDDEN, f"this call is for tokens of kind {wanted}, not {caller.subject.kind}")
    if caller.scopes.isdisjoint(scopes):
        wanted = " or ".join(map(repr, scopes))
        raise Refused(ProblemType.SCOPE_MISSING, f"the token lacks the scope {wanted}; use one that has it")


def still_reads(call: Call) -> Bearer | None:
    """Whose call it is, if they may read now: an answer may take long, and the token be revoked meanwhile."""
    try:
        caller = call.caller_of(call.web, call.request)
        scopes = ("read",) if call.caller.project_id is None else (CLIENT_SCOPE,)
        allow(caller, EVERYBODY, *scopes, project_id=call.caller.project_id)
    except Refused:
        return None
    return caller
