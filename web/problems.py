"""Every error that the web answers: application/problem+json, and to people at the page what that makes of it.

`Refused` is raised anywhere below a request; its type is whose fault it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec
from flask import Response
from werkzeug.exceptions import HTTPException

from broker.port import BrokerUnavailable, TooLarge
from config.clock import Clock, jitter
from config.faults import fault
from config.logs import unit
from config.outages import Outage
from fedyard.wire.problems import MEDIA_TYPE, ProblemType
from storage.blobs.port import StorageFull, StorageUnavailable
from storage.database import DatabaseUnavailable

log = logging.getLogger(__name__)


class Refused(Exception):
    """The request is answered with this problem."""

    def __init__(
        self,
        problem: ProblemType,
        detail: str,
        headers: Mapping[str, str] | None = None,
        **members: object,
    ) -> None:
        """members: further ones of the problem, for machines."""
        super().__init__(detail)
        self.problem, self.detail, self.members = problem, detail, members
        self.headers = dict(headers or {})

    def response(self) -> Response:
        body = msgspec.json.encode(self.problem.body(self.detail, **self.members))
        return Response(body, self.problem.status, self.headers, content_type=MEDIA_TYPE)


def not_found(what: str, ident: object) -> Refused:
    """404, the same whether it is not there or not for the caller's eyes."""
    return Refused(ProblemType.NOT_FOUND, f"there is no {what} {ident}, or it is not for you to see")


def busy(problem: ProblemType, detail: str, seconds: float) -> Refused:
    """503 with a Retry-After that is moved by chance, so that a crowd does not return at once."""
    return Refused(problem, detail, {"Retry-After": str(max(1, round(jitter(seconds, 0.5))))})


class Problems:
    """What an app answers to errors. It remembers what is away, which the log says once a minute."""

    def __init__(self, clock: Clock) -> None:
        self._broker, self._database, self._storage = (
            Outage(log, f"{there} unavailable: calls are answered with 503", f"{there} available", clock)
            for there in ("broker", "database", "storage")
        )

    def answer_to(self, error: Exception) -> Response:
        """The problem that an exception stands for, as programs read it."""
        return self.refusal_of(error).response()

    def refusal_of(self, error: Exception) -> Refused:
        """The problem that an exception stands for; one that nobody expected is a bug of ours, and logged."""
        match error:
            case Refused():
                refused = error
            case BrokerUnavailable():
                self._broker.lasts(error)
                detail = "the broker cannot be reached; try again, with the same Idempotency-Key"
                refused = busy(ProblemType.BROKER_UNAVAILABLE, detail, error.retry_after_s)
            case TooLarge():
                refused = Refused(
                    ProblemType.TOO_LARGE, "the command is larger than its queue takes; send less at once"
                )
            case DatabaseUnavailable():
                self._database.lasts(error)
                refused = busy(ProblemType.DATABASE_UNAVAILABLE, "the database cannot be reached; try again", 3)
            case StorageUnavailable():
                self._storage.lasts(error)
                refused = busy(
                    ProblemType.STORAGE_UNAVAILABLE, "the store of artifacts cannot be reached; try again", 3
                )
            case StorageFull():
                log.error("storage full", extra=unit(detail=str(error)))
                detail = (
                    "the hub's store of artifacts is full and kept nothing of this; tell its operator, and try later"
                )
                refused = Refused(ProblemType.STORAGE_FULL, detail)
            case HTTPException():
                refused = _of_http(error)
            case _:
                log.error("internal error", extra=unit(**fault(error)))
                refused = Refused(ProblemType.INTERNAL, "this is a bug of the hub; its log says more")
        return refused


def _of_http(error: HTTPException) -> Refused:
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    match error.code:
        case 404:
            return Refused(
                ProblemType.NOT_FOUND, "there is no such path; ids are UUIDs in lower case, see /openapi.json"
            )
        case 405:
            return Refused(
                ProblemType.METHOD_NOT_ALLOWED, f"only {headers.get('Allow', 'other methods')} here", headers
            )
        case 413:
            return Refused(ProblemType.TOO_LARGE, "the body is larger than the hub takes")
        case _:
            return Refused(ProblemType.MALFORMED, "the request cannot be read")
