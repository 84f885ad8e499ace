"""Who the caller is."""

from __future__ import annotations

from flask import Response

from storage.views import people
from web.api.results import Me
from web.http.answers import answer
from web.http.calls import Call
from web.http.operations import Operation
from web.problems import not_found


def me(call: Call) -> Response:
    subject = call.caller.subject
    name = people.name_of(call.web.database, subject)
    if name is None or subject.organisation_id is None or subject.kind not in ("account", "site"):
        raise not_found(subject.kind, subject.id)
    return answer(
        Me(
            kind=subject.kind,
            id=subject.id,
            name=name,
            organisation_id=subject.organisation_id,
            role=subject.role,
            scopes=[scope for scope in ("read", "write") if scope in call.caller.scopes],
        )
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/me",
        name="read_me",
        about="Whose token this is",
        does=me,
        answers={200: Me},
        problems=(404,),
    ),
)
