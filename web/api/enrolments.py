"""Enrolments: one-time tokens with which a site joins the network."""

from __future__ import annotations

import msgspec
from flask import Response

from domain.commands import CreateEnrolment, RevokeEnrolment
from domain.results import Made
from domain.values import Span, Text
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND
from storage.views import people
from storage.views.resources import Enrolment
from storage.views.sight import Listed, sees_everything
from web.api.results import Shown
from web.api.secret import NOT_DRAWN, drawn_unless, token_of
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import Body, PageQuery, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused


class NewEnrolment(Body, frozen=True):
    organisation_id: Uuid
    note: Text = ""
    expires_in_s: Span = 86_400.0


def create(call: Call) -> Response:
    body: NewEnrolment = call.body
    sha256, secret = drawn_unless(None)
    span = round(body.expires_in_s * SECOND)
    command = CreateEnrolment(
        organisation_id=body.organisation_id,
        sha256=sha256,
        note=body.note,
        expires_at=call.web.hub.clock.now() + span,
    )
    identity = msgspec.structs.replace(command, sha256=NOT_DRAWN, expires_at=span)
    return write(call, command, identity=identity, waits=secret is not None, shows=token_of(call, secret))


def revoke(call: Call) -> Response:
    return write(call, RevokeEnrolment(enrolment_id=call.id("enrolment_id")))


def listed(call: Call) -> Response:
    if not sees_everything(call.caller.subject):
        raise Refused(ProblemType.FORBIDDEN, "enrolments are for admins and auditors to see")
    return answer(people.enrolments(call.web.database, call.paging))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/enrolments",
        name="create_enrolment",
        about="Create a one-time token for a new site (admin)",
        does=create,
        who=PEOPLE,
        scope="write",
        body=NewEnrolment,
        write=True,
        answers={201: Shown},
    ),
    Operation(
        method="DELETE",
        path="/v1/enrolments/{enrolment_id}",
        name="revoke_enrolment",
        about="Revoke an enrolment that no site has used: its token enrols nobody (admin)",
        does=revoke,
        who=PEOPLE,
        scope="write",
        write=True,
        kept_back=True,
        answers={200: Made},
    ),
    Operation(
        method="GET",
        path="/v1/enrolments",
        name="list_enrolments",
        about="All enrolments (admin, auditor)",
        does=listed,
        who=PEOPLE,
        query=PageQuery,
        answers={200: Listed[Enrolment]},
    ),
)
