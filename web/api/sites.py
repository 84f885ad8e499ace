"""Sites."""

from __future__ import annotations

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import EnrolSite, RetireSite, UpdateSite
from domain.results import Retired, SiteResult
from domain.states import SiteState
from domain.values import Key32, Name, Sha256, Text
from fedyard.wire.problems import ProblemType
from storage.views import events
from storage.views import sites as views
from storage.views.resources import Event, Site
from storage.views.sight import Listed
from web.api.results import Enrolled, HeartbeatResult
from web.api.secret import NOT_DRAWN, drawn_unless, token_of
from web.api.signatures import proves
from web.http.answers import answer
from web.http.auth import ENROLMENTS, SITES
from web.http.bodies import Body, EventsQuery, Nothing, PageQuery, SignatureText, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused, not_found


class NewSite(Body, frozen=True):
    """identity_key: the site's public Ed25519 key, 32 bytes in base64.

    proof: signature by that key, which shows that the site has it; docs/api.md says over what.
    """

    name: Name
    identity_key: Key32
    proof: SignatureText
    description: Text = ""
    token_sha256: Sha256 | None = None


class SiteChange(Body, frozen=True):
    description: Text


class SitesQuery(PageQuery, frozen=True):
    state: SiteState | UnsetType = UNSET
    organisation: Uuid | UnsetType = UNSET
    project: Uuid | UnsetType = UNSET


def enrol(call: Call) -> Response:
    body: NewSite = call.body
    if not proves(body, call.caller.sha256):
        detail = "the proof is no signature by this identity key over this enrolment, or the key is none for signatures"
        raise Refused(ProblemType.BAD_SIGNATURE, detail)
    sha256, secret = drawn_unless(body.token_sha256)
    command = EnrolSite(
        name=body.name, description=body.description, identity_key=body.identity_key, token_sha256=sha256
    )
    identity = msgspec.structs.replace(command, token_sha256=NOT_DRAWN) if secret else command
    return write(
        call, command, made="/v1/sites/{id}", identity=identity, waits=secret is not None, shows=token_of(call, secret)
    )


def listed(call: Call) -> Response:
    return answer(
        views.sites(
            call.web.database,
            call.caller.subject,
            call.paging,
            state=given(call.query.state),
            organisation=given(call.query.organisation),
            project=given(call.query.project),
        )
    )


def read(call: Call) -> Response:
    found = views.site(call.web.database, call.caller.subject, call.id("site_id"))
    if found is None:
        raise not_found("site", call.id("site_id"))
    health = views.health(call.web.database, call.caller.subject, [found.id]).get(found.id)
    return answer(msgspec.structs.replace(found, health=health))


def update(call: Call) -> Response:
    return write(call, UpdateSite(site_id=call.id("site_id"), description=call.body.description))


def retire(call: Call) -> Response:
    return write(call, RetireSite(site_id=call.id("site_id")))


def heartbeat(call: Call) -> Response:
    """The call itself was the beat: whoever authenticates as a site was heard of."""
    if call.id("site_id") != call.caller.subject.id:
        raise Refused(
            ProblemType.FORBIDDEN, f"the token is of site {call.caller.subject.id}; a site beats for itself only"
        )
    return answer(HeartbeatResult(heartbeat_every_s=call.web.hub.settings.heartbeat_every_s), 202)


def read_events(call: Call) -> Response:
    if not views.may_see_site_events(call.web.database, call.caller.subject, call.id("site_id")):
        raise not_found("site", call.id("site_id"))
    return answer(
        events.of_stream(call.web.database, call.id("site_id"), after=call.query.after, limit=call.query.limit)
    )


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/sites",
        name="enrol_site",
        about="Enrol a site, with the token of an enrolment",
        does=enrol,
        who=ENROLMENTS,
        scope="write",
        body=NewSite,
        write=True,
        kept_back=True,
        answers={201: Enrolled},
    ),
    Operation(
        method="GET",
        path="/v1/sites",
        name="list_sites",
        about="Sites of the own organisation and those that share a project; all for admin and auditor",
        does=listed,
        query=SitesQuery,
        answers={200: Listed[Site]},
    ),
    Operation(
        method="GET", path="/v1/sites/{site_id}", name="read_site", about="A site", does=read, answers={200: Site}
    ),
    Operation(
        method="PATCH",
        path="/v1/sites/{site_id}",
        name="update_site",
        about="Describe a site anew (itself, its members, admin)",
        does=update,
        scope="write",
        body=SiteChange,
        write=True,
        answers={200: SiteResult},
    ),
    Operation(
        method="DELETE",
        path="/v1/sites/{site_id}",
        name="retire_site",
        about="Retire a site: it leaves its projects and its tokens stop working (itself, its members, admin)",
        does=retire,
        scope="write",
        write=True,
        kept_back=True,
        answers={200: Retired},
    ),
    Operation(
        method="PUT",
        path="/v1/sites/{site_id}/heartbeat",
        name="beat",
        about="The site is there. Any call of a site counts as a beat",
        does=heartbeat,
        hot=True,
        who=SITES,
        scope="write",
        body=Nothing,
        optional=True,
        answers={202: HeartbeatResult},
    ),
    Operation(
        method="GET",
        path="/v1/sites/{site_id}/events",
        name="list_site_events",
        about="What happened to a site (its organisation, admin, auditor)",
        does=read_events,
        query=EventsQuery,
        answers={200: Listed[Event]},
    ),
)
