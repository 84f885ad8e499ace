"""The key directory: sealing keys of sites, each signed by its site's identity key; and doubts about identities."""

from __future__ import annotations

import base64
import struct
import uuid

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import Response

from config.clock import SECOND
from domain.commands import PutSiteKey, ReportConflict, RevokeSiteKey
from domain.ids import Id
from storage.views import keys as views
from storage.views import sites
from storage.views.resources import MemberKey, SiteKey
from storage.views.sight import Listed
from web.api.results import ConflictResult, KeyResult
from web.http.bodies import Conflict, HeldKey, KeysQuery, NewKey, NewSite, Revocation
from web.http.calls import Call, answer
from web.http.operations import SITES, Operation
from web.http.writing import write
from web.problems import Refused, not_found

_NUMBERS = struct.Struct(">IQQB")


def put(call: Call) -> Response:
    """Only what the site's identity has signed becomes a command."""
    body: NewKey = call.body
    site_id, epoch = call.id("site_id"), call.count("epoch")
    site = sites.site(call.web.database, call.caller.subject, site_id)
    if site is None:
        raise not_found("site", site_id)
    if call.caller.subject.id != site_id:
        raise Refused(403, "forbidden", f"only site {site_id} itself adds keys: they are signed with its identity key")
    if not signed(site.identity_key, site_id, epoch, body):
        raise Refused(
            422, "bad_signature", f"the statement on key {epoch} is not signed by the identity key of site {site_id}"
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


def statement(site_id: Id, epoch: int, key: NewKey | HeldKey) -> bytes:
    """What the site signs of a key: docs/sealing.md has it byte by byte."""
    numbers = _NUMBERS.pack(epoch, key.created_at, key.expires_at, key.suite)
    return b"fedyard key 1\0" + uuid.UUID(site_id).bytes + numbers + key.public_key


def signed(identity_key: str, site_id: Id, epoch: int, key: NewKey | HeldKey) -> bool:
    """Has the site's identity signed this statement?"""
    return _holds(identity_key, statement(site_id, epoch, key), key.signature)


def proves(site: NewSite, enrolment_sha256: str) -> bool:
    """Does the site that enrols have the identity key that it brings?

    The proof is bound to the enrolment, the name and the token that the site has drawn, so that a hub which was shown
    it can use it neither for another enrolment nor for a site that answers to somebody else's token.
    """
    token = bytes.fromhex(site.token_sha256) if site.token_sha256 is not None else bytes(32)
    said = b"fedyard enrolment 1\0" + bytes.fromhex(enrolment_sha256) + token + site.name.encode()
    return _holds(site.identity_key, said, site.proof)


def _holds(identity_key: str, said: bytes, signature: bytes) -> bool:
    """True for a signature by a key that is fit to be an identity."""
    raw = base64.b64decode(identity_key)
    if base64.b64encode(raw).decode() != identity_key or not _is_fit(raw):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, said)
    except (InvalidSignature, ValueError):
        return False
    return True


_P = 2**255 - 19
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303021722,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)
"""y of the eight points whose order divides the cofactor (RFC 8032): what they sign holds for whatever one likes."""


def _is_fit(raw: bytes) -> bool:
    """One encoding for each point, and no point of small order."""
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    return y < _P and y not in _SMALL_ORDER


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
    day = call.web.hub.clock.now() // (86_400 * SECOND)
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
