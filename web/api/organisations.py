"""Organisations."""

from __future__ import annotations

from flask import Response

from domain.commands import CreateOrganisation
from domain.results import Made
from domain.values import Name
from storage.views import people
from storage.views.resources import Organisation
from storage.views.sight import Listed
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import Body, PageQuery
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class NewOrganisation(Body, frozen=True):
    name: Name


def create(call: Call) -> Response:
    return write(call, CreateOrganisation(name=call.body.name), made="/v1/organisations/{id}")


def listed(call: Call) -> Response:
    return answer(people.organisations(call.web.database, call.caller.subject, call.paging))


def read(call: Call) -> Response:
    found = people.organisation(call.web.database, call.caller.subject, call.id("organisation_id"))
    if found is None:
        raise not_found("organisation", call.id("organisation_id"))
    return answer(found)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/organisations",
        name="create_organisation",
        about="Create an organisation (admin)",
        does=create,
        who=PEOPLE,
        scope="write",
        body=NewOrganisation,
        write=True,
        answers={201: Made},
    ),
    Operation(
        method="GET",
        path="/v1/organisations",
        name="list_organisations",
        about="All organisations for admin and auditor, the own one for others",
        does=listed,
        query=PageQuery,
        answers={200: Listed[Organisation]},
    ),
    Operation(
        method="GET",
        path="/v1/organisations/{organisation_id}",
        name="read_organisation",
        about="An organisation",
        does=read,
        answers={200: Organisation},
    ),
)
