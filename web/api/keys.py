"""The key directory: sealing keys of sites, each signed by its site's identity key; and doubts about identities."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from flask import Response

from domain.commands import PutSiteKey, ReportConflict, RevokeSiteKey
from domain.results import ConflictResult, KeyResult
from domain.values import Grace, Reason, Sha256
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import DAY
from storage.views import keys as views
from storage.views import sites
from storage.views.resources import MemberKey, SiteKey
from storage.views.sight import Listed
from web.api.signatures import signed
from web.http.answers import answer
from web.http.auth import SITES
from web.http.bodies import Body, Moment, PageQuery, PublicKeyText, SignatureText
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused, not_found


class NewKey(Body, frozen=True):
    """A sealing key. The two times are microseconds since the epoch, as the signature is over them.

    signature: Ed25519 by the site's identity key. grace_s: how long the key before it is taken for.
    """

    public_key: PublicKeyText
    suite: Literal[1]
    created_at: Moment
    expires_at: Moment
    signature: SignatureText
    grace_s: Grace = 604_800.0


class Conflict(Body, frozen=True):
    """SHA-256 of two identity keys: the one that the site has pinned, and the one that it was shown."""

    pinned: Sha256
    seen: Sha256


class Revocation(Body, frozen=True):
    reason: Reason = ""


class KeysQuery(PageQuery, frozen=True):
    """Keys are asked for all at once, as a rule."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000


def put(call: Call) -> Response:
    """Only what the site's identity has signed becomes a command."""
    body: NewKey = call.body
    site_id, epoch = call.id("site_id"), call.count("epoch")
    site = sites.site(call.web.database, call.caller.subject, site_id)
    if site is None:
        raise not_found("site", site_id)
    if call.caller.subject.id != site_id:
        raise Refused(
            ProblemType.FORBIDDEN, f"only site {site_id} itself adds keys: they are signed with its identity key"
        )
    if not signed(site.identity_key, site_id, epoch, body):
        raise Refused(
            ProblemType.BAD_SIGNATURE,
            f"the statement on key {epoch} is not signed by the identity key of site {site_id}",
        )
    return write(
        call,
        PutSiteKey(
            site_id=site_id,
            epoch=epoch,
            public_key=body.public_key,
            suite=body.suite,
            created_at=body.created_at,
            expires_at=body.expires_at,
            signature=body.signature,
            grace_s=body.grace_s,
        ),
    )


def revoke(call: Call) -> Response:
    return write(call, RevokeSiteKey(site_id=call.id("site_id"), epoch=call.count("epoch"), reason=call.body.reason))


def list_site(call: Call) -> Response:
    found = views.of_site(call.web.database, call.caller.subject, call.id("site_id"), call.paging)
    if found is None:
        raise not_found("site", call.id("site_id"))
    return answer(found)


def list_project(call: Call) -> Response:
    now = call.web.hub.clock.now()
    found = views.of_project(call.web.database, call.caller.subject, call.id("project_id"), call.paging, now)
    if found is None:
        raise not_found("project", call.id("project_id"))
    return answer(found)


def report_conflict(call: Call) -> Response:
    """The same finding is on record once a day, however often it is told."""
    site_id, about, body = call.id("site_id"), call.id("about_site_id"), call.body
    day = call.web.hub.clock.now() // DAY
    return write(
        call,
        ReportConflict(site_id=site_id, about_site_id=about, pinned=body.pinned, seen=body.seen),
        name=f"conflict {site_id} {about} {body.pinned} {body.seen} {day}",
    )


OPERATIONS = (
    Operation(
        method="PUT",
        path="/v1/sites/{site_id}/keys/{epoch}",
        name="put_site_key",
        about="The site's next sealing key, signed by its identity; the one before it is taken for a while more",
        does=put,
        who=SITES,
        scope="write",
        body=NewKey,
        write=True,
        kept_back=True,
        answers={200: KeyResult},
    ),
    Operation(
        method="DELETE",
        path="/v1/sites/{site_id}/keys/{epoch}",
        name="revoke_site_key",
        about="Revoke a sealing key at once (the site, its members, admin)",
        does=revoke,
        scope="write",
        body=Revocation,
        optional=True,
        write=True,
        kept_back=True,
        answers={200: KeyResult},
    ),
    Operation(
        method="GET",
        path="/v1/sites/{site_id}/keys",
        name="list_site_keys",
        about="Every sealing key of a site, revoked ones too (who sees the site)",
        does=list_site,
        query=KeysQuery,
        answers={200: Listed[SiteKey]},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/keys",
        name="list_project_keys",
        about="Every active member with the key to seal to it with (members, admin, auditor)",
        does=list_project,
        query=KeysQuery,
        answers={200: Listed[MemberKey]},
    ),
    Operation(
        method="PUT",
        path="/v1/sites/{site_id}/conflicts/{about_site_id}",
        name="report_conflict",
        about="Put on record that the site was shown another identity of a site than it has pinned",
        does=report_conflict,
        scope="write",
        body=Conflict,
        write=True,
        answers={200: ConflictResult},
    ),
)
