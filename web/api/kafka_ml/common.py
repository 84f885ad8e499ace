"""What the old paths have in common: one project, empty answers, and every failure a 400 with its sentence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from flask import Response

from domain.commands import AnyCommand
from domain.ids import Id, is_id
from fedyard.wire.problems import ProblemType
from storage.views.streams import kafka_ml as views
from web.http.answers import AnswerKind
from web.http.calls import Call
from web.http.operations import Operation
from web.http.parsing import body_of
from web.http.writing import write
from web.problems import Refused

T = TypeVar("T")
Does = Callable[[Call], Response]
KAFKA_ML = AnswerKind({"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"})
"""What these paths answer with: proxies before the front end keep none of it."""
_NOT_THE_FRONT_ENDS = frozenset({401, 429, 503})
"""What is wrong with the way here, rather than with what was asked for."""


class Failed(Exception):
    """Answered as Kafka-ML does: the sentence alone."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.detail, self.status = detail, status


def operation(method: str, path: str, name: str, does: Does, *, write: bool = False) -> Operation:
    """One of the old paths."""

    @functools.wraps(does)
    def answered(call: Call) -> Response:
        try:
            return does(call)
        except Failed as failed:
            return text(failed.detail, failed.status)
        except Refused as refused:
            if refused.problem.status in _NOT_THE_FRONT_ENDS:
                raise
            return text(refused.detail, 400)

    return Operation(
        method=method,
        path=path,
        name=f"kafka_ml_{name}",
        about=f"As Kafka-ML's back-end: {name.replace('_', ' ')}",
        does=answered,
        kind=KAFKA_ML,
        scope="write" if write else "read",
        write=write,
        answers={},
    )


def project_of(call: Call) -> Id:
    """The one project of these paths, of which the caller is a member. Raises `Failed`."""
    web, subject = call.web, call.caller.subject
    named = web.hub.settings.kafka_ml_project
    if named:
        if not is_id(named) or not views.is_member(web.database, subject, named):
            raise Failed(f"there is no project {named}, or you are no member of it")
        return named
    own = views.projects_of(web.database, subject)
    if len(own) != 1:
        few = "no project" if not own else "several projects"
        raise Failed(
            f"you coordinate {few}: the hub's operator names the one of these paths (FEDYARD_KAFKA_ML_PROJECT)"
        )
    return own[0]


def need_coordinator(call: Call, project: Id) -> None:
    """Raises `Failed`: a member who does not coordinate the project announces nothing in its name."""
    if not views.coordinates(call.web.database, call.caller.subject, project):
        raise Failed("only the coordinator of this project, or an admin, may announce data and models here")


def body(call: Call, kind: type[T]) -> T:
    """What was sent. Unknown fields are as if they were not there: the front end sends back what it was shown."""
    with call.web.shares.bodies.place(call.caller.share):
        found: T = body_of(call.request, kind, call.web.hub.settings.request_limit_bytes, optional=False)
        return found


def decide(call: Call, command: AnyCommand) -> dict[str, Any]:
    """The outcome of a command, which is waited for: these callers look nowhere else. Raises `Failed`."""
    answered = write(call, command, waits=True)
    found: dict[str, Any] = msgspec.json.decode(answered.get_data())
    if answered.status_code == 202:
        raise Failed("the hub has taken this and is still at it: look again in a moment", 503)
    if answered.status_code >= 400:
        raise Failed(str(found.get("detail", "this cannot be done")))
    return found


def known(call: Call, table: str, detail: str, *, status: int = 400) -> tuple[Id, Id]:
    """The project, and the id of what the path's number names in it. Raises `Failed`."""
    project = project_of(call)
    found = views.id_of(call.web.database, table, project, call.count("number"))
    if found is None:
        raise Failed(detail, status)
    return project, found


def result_of(call: Call) -> views.Old:
    """The training result that the path names. Raises `Failed`."""
    found = views.result(call.web.database, project_of(call), call.count("number"))
    if found is None:
        raise Failed("Result not found")
    return found


def text(sentence: str, status: int = 200) -> Response:
    return Response(sentence, status, content_type="text/plain; charset=utf-8")


def nothing(status: int = 200) -> Response:
    return Response(b"", status, content_type="text/html; charset=utf-8")


def json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def shown(rows: list[views.Old]) -> Response:
    """A list, without what the front end does not know."""
    return json([views.shown(one) for one in rows])


def refuse_unfit(flaw: str | None) -> None:
    if flaw is not None:
        raise Refused(ProblemType.UNFIT, flaw)
