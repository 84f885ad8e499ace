"""Taking part with a project's client image, as in Fedota: how, with which token, and who is ready."""

from __future__ import annotations

import msgspec
from flask import Response

from domain.commands import IssueClientToken, SayReady
from domain.infrastructure import SELECTOR, goal_count
from domain.results import ReadyResult
from domain.values import CLIENT_SCOPE, Name, Sha256, Span
from fedyard.wire.problems import ProblemType
from storage.views import artifacts, workloads
from storage.views import projects as views
from storage.views.resources import JoiningAbout, Project, time_or_none
from web.api import fedota
from web.api.results import ClientToken
from web.api.secret import NOT_DRAWN, drawn_unless, token_of
from web.http.answers import answer
from web.http.bodies import Body
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused, not_found

TAR = "application/x-tar"
CLIENTS_SHARE = 50
"""As so many writes counts what a client says: each change of its mind is an event of its site that stays, and whoever
finds its token says it as fast as he is let."""


class Readiness(Body, frozen=True):
    """for_s: for how long."""

    ready: bool = True
    for_s: Span = 86_400.0


class NewClientToken(Body, frozen=True):
    """for_s: for how long; no longer than the token with which it is asked for. sha256: of one that the caller drew."""

    label: Name = "client"
    for_s: Span = 2_592_000.0
    sha256: Sha256 | None = None


def say_ready(call: Call) -> Response:
    body: Readiness = call.body
    project_id, site_id = call.id("project_id"), call.id("site_id")
    if call.caller.project_id is not None:
        call.counts_as(CLIENTS_SHARE)
    return write(call, SayReady(project_id=project_id, site_id=site_id, ready=body.ready, for_s=body.for_s))


def issue_token(call: Call) -> Response:
    body: NewClientToken = call.body
    sha256, secret = drawn_unless(body.sha256)
    command = IssueClientToken(
        project_id=call.id("project_id"),
        site_id=call.id("site_id"),
        sha256=sha256,
        label=body.label,
        for_s=body.for_s,
        issued_by=call.caller.issues_with,
    )
    identity = msgspec.structs.replace(command, issued_by=None, sha256=NOT_DRAWN if secret else sha256)
    return write(call, command, identity=identity, waits=secret is not None, shows=token_of(call, secret))


def _joined(call: Call) -> Project:
    """A project whose members the caller may see."""
    ident = call.id("project_id")
    found = None
    if views.may_see_members(call.web.database, call.caller.subject, ident):
        found = views.project(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("project", ident)
    return found


class Addresses(msgspec.Struct, frozen=True):
    """Where the project's selectors are dialled, inside and outside their cluster, as far as that is known."""

    inside: list[str]
    outside: list[str]

    @property
    def best(self) -> list[str]:
        """From where members' clients are: outside, if that can be."""
        return self.outside or self.inside


def _selectors(call: Call, project: Project) -> Addresses:
    found = [one.addresses for one in workloads.parts(call.web.database, project.id) if one.part == SELECTOR]
    inside, outside = ([one[side] for one in found if one.get(side)] for side in ("inside", "outside"))
    return Addresses(inside, outside)


def joining(call: Call) -> Response:
    return answer(about(call, _joined(call)))


def about(call: Call, found: Project) -> JoiningAbout:
    """How to take part in the project. Whoever asks must be one who may see its members."""
    there = views.readiness(call.web.database, found.id, call.web.hub.clock.now())
    addresses = _selectors(call, found)
    return JoiningAbout(
        project_id=found.id,
        client_image=found.client_image,
        data_format=found.data_format,
        goal_count=goal_count(found.tasks),
        member_count=there.members,
        ready_count=there.ready,
        next_deadline_at=time_or_none(there.deadline_at),
        addresses=addresses.best,
        inside=addresses.inside,
        outside=addresses.outside,
        initial_files=artifacts.initial_files(call.web.database, call.caller.subject, found.id) or [],
        command=fedota.run_command(found.client_image, found.id) if fedota.usable(found.client_image) else None,
        configuration=_configuration(addresses),
    )


def _configuration(addresses: Addresses) -> str:
    return fedota.configuration(*addresses.best[:1], inside=addresses.inside, outside=addresses.outside)


def build_context(call: Call) -> Response:
    found = _joined(call)
    if not fedota.usable(found.client_image):
        raise Refused(
            ProblemType.NO_CLIENT_IMAGE,
            f"project {found.id} names no client image that could be run: its coordinator has to",
        )
    context = fedota.build_context(found.client_image, _configuration(_selectors(call, found)))
    return Response(context, 200, {"Content-Disposition": f'attachment; filename="{found.id}.tar"'}, content_type=TAR)


OPERATIONS = (
    Operation(
        method="PUT",
        path="/v1/projects/{project_id}/members/{site_id}/ready",
        name="say_ready",
        about="A member says for how long it is ready for the project's rounds, or that it is not (also its clients)",
        does=say_ready,
        scope="write",
        other_scopes=(CLIENT_SCOPE,),
        body=Readiness,
        optional=True,
        write=True,
        answers={200: ReadyResult},
    ),
    Operation(
        method="POST",
        path="/v1/projects/{project_id}/members/{site_id}/client-tokens",
        name="issue_client_token",
        about="A token for a client image, good for taking part in this project alone (the site, its members)",
        does=issue_token,
        scope="write",
        body=NewClientToken,
        optional=True,
        write=True,
        kept_back=True,
        answers={201: ClientToken},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/joining",
        name="read_joining",
        about="How to take part with the client image, and how many are ready (members, their clients, admin, auditor)",
        does=joining,
        other_scopes=(CLIENT_SCOPE,),
        answers={200: JoiningAbout},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/joining/context",
        name="read_build_context",
        about="What the client image with its configuration is built from (members, admin, auditor)",
        does=build_context,
        answers={200: None},
        media={TAR: "A tar that docker build takes"},
        problems=(409,),
    ),
)
