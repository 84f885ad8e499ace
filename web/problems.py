"""Every error that the web answers: application/problem+json, and never HTML.

`Refused` is raised anywhere below a request; its type is whose fault it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from broker.port import BrokerUnavailable, TooLarge
from config.clock import jitter
from config.faults import fault
from config.logs import unit
from storage.blobs.port import StorageFull, StorageUnavailable
from storage.database import DatabaseUnavailable

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"

TITLES = {
    "malformed": "The request is malformed",
    "no_token": "A bearer token is needed",
    "token_not_valid": "The token is not valid",
    "scope_missing": "The token's scopes do not allow this",
    "forbidden": "This is not yours to do",
    "not_found": "There is no such thing",
    "method_not_allowed": "The method is not allowed here",
    "too_large": "The request is too large",
    "not_json": "The body is not JSON",
    "bad_signature": "The signature does not hold",
    "history_went_back": "The hub's history went back",
    "impossible": "The request cannot be done",
    "unfit": "A value cannot be taken",
    "idempotency_key_reused": "The idempotency key was used for another request",
    "too_many_polls": "Too many polls are open",
    "broker_unavailable": "The broker cannot be reached",
    "database_unavailable": "The database cannot be reached",
    "length_required": "The length must be said",
    "wrong_length": "The length is not the chunk's",
    "wrong_offset": "The chunk does not go on there",
    "digest_mismatch": "The digest is another",
    "not_taken": "The artifact takes nothing any more",
    "not_stored": "The artifact is not there",
    "range_not_satisfiable": "There are no such bytes",
    "too_many_transfers": "Too many transfers are under way",
    "too_many_bodies": "Too many bodies are being read",
    "rate_exceeded": "The caller's rate is exceeded",
    "share_exceeded": "The caller's share is taken",
    "too_slow": "The request came too slowly",
    "storage_full": "No room is left",
    "storage_unavailable": "The store of artifacts cannot be reached",
    "internal": "The hub made a mistake",
}


class Problem(msgspec.Struct, frozen=True):
    """RFC 9457. `detail` says the fact, the ids and the remedy."""

    type: str
    title: str
    status: int
    detail: str


class Refused(Exception):
    """The request is answered with this problem."""

    def __init__(
        self,
        status: int,
        slug: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        """members: further ones of the problem, for machines."""
        super().__init__(detail)
        self.members = dict(members or {})
        self.problem = Problem(type=f"/problems/{slug}", title=TITLES[slug], status=status, detail=detail)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        problem = {**msgspec.structs.asdict(self.problem), **self.members}
        return Response(msgspec.json.encode(problem), self.problem.status, self.headers, content_type=PROBLEM_TYPE)


def not_found(what: str, ident: object) -> Refused:
    """404, the same whether it is not there or not for the caller's eyes."""
    return Refused(404, "not_found", f"there is no {what} {ident}, or it is not for you to see")


def busy(slug: str, detail: str, seconds: float) -> Refused:
    """503 with a Retry-After that is moved by chance, so that a crowd does not return at once."""
    return Refused(503, slug, detail, {"Retry-After": str(max(1, round(jitter(seconds, 0.5))))})


def install(app: Flask) -> None:
    """Answer every exception with a problem."""
    app.register_error_handler(Exception, answer_to)


def answer_to(error: Exception) -> Response:
    """The problem that an exception stands for; one that nobody expected is a bug of ours, and logged."""
    match error:
        case Refused():
            refused = error
        case BrokerUnavailable():
            log.warning("broker unavailable", extra=unit(detail=str(error)))
            detail = "the broker cannot be reached; try again, with the same Idempotency-Key"
            refused = busy("broker_unavailable", detail, error.retry_after_s)
        case TooLarge():
            refused = Refused(413, "too_large", "the command is larger than its queue takes; send less at once")
        case DatabaseUnavailable():
            log.warning("database unavailable", extra=unit(detail=str(error)))
            refused = busy("database_unavailable", "the database cannot be reached; try again", 3)
        case StorageUnavailable():
            log.warning("storage unavailable", extra=unit(detail=str(error)))
            refused = busy("storage_unavailable", "the store of artifacts cannot be reached; try again", 3)
        case StorageFull():
            log.error("storage full", extra=unit(detail=str(error)))
            detail = "the hub's store of artifacts is full and kept nothing of this; tell its operator, and try later"
            refused = Refused(507, "storage_full", detail)
        case HTTPException():
            refused = _of_http(error)
        case _:
            log.error("internal error", extra=unit(**fault(error)))
            refused = Refused(500, "internal", "this is a bug of the hub; its log says more")
    return refused.response()


def _of_http(error: HTTPException) -> Refused:
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    match error.code:
        case 404:
            return Refused(404, "not_found", "there is no such path; ids are UUIDs in lower case, see /openapi.json")
        case 405:
            return Refused(405, "method_not_allowed", f"only {headers.get('Allow', 'other methods')} here", headers)
        case 413:
            return Refused(413, "too_large", "the body is larger than the hub takes")
        case _:
            return Refused(400, "malformed", "the request cannot be read")
