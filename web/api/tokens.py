"""Tokens: further ones for an account or a site, and their end."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import IssueToken, RevokeToken
from domain.results import Made
from domain.values import Name, Sha256, TokenKind
from fedyard.wire.problems import ProblemType
from storage.views import people
from storage.views.resources import Token
from storage.views.sight import Listed
from web.api.results import Shown
from web.api.secret import NOT_DRAWN, drawn_unless, micros_of, token_of
from web.http.answers import answer
from web.http.bodies import Body, PageQuery, Time, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import write
from web.problems import Refused

Scopes: TypeAlias = Annotated[list[Literal["read", "write"]], msgspec.Meta(min_length=1, max_length=2)]


class NewToken(Body, frozen=True):
    """Without an owner, a further token for oneself."""

    label: Name
    owner_kind: Literal["account", "site"] | None = None
    owner_id: Uuid | None = None
    scopes: Scopes = msgspec.field(default_factory=lambda: ["read", "write"])
    expires_at: Time | None = None
    sha256: Sha256 | None = None


class TokensQuery(PageQuery, frozen=True):
    owner: Uuid | UnsetType = UNSET
    kind: TokenKind | UnsetType = UNSET


def issue(call: Call) -> Response:
    body: NewToken = call.body
    subject = call.caller.subject
    if (body.owner_kind is None) != (body.owner_id is None):
        raise Refused(
            ProblemType.IMPOSSIBLE, "owner_kind and owner_id belong together: give both, or none for yourself"
        )
    if beyond := set(body.scopes) - call.caller.scopes:
        raise Refused(ProblemType.SCOPE_MISSING, f"this token lacks the scope {min(beyond)!r} and cannot hand it on")
    sha256, secret = drawn_unless(body.sha256)
    command = IssueToken(
        owner_kind=body.owner_kind or ("site" if subject.kind == "site" else "account"),
        owner_id=body.owner_id or subject.id,
        sha256=sha256,
        label=body.label,
        scopes=sorted(set(body.scopes)),
        expires_at=micros_of(body.expires_at),
        issued_by=call.caller.issues_with,
    )
    identity = msgspec.structs.replace(command, issued_by=None, sha256=NOT_DRAWN if secret else sha256)
    return write(call, command, identity=identity, waits=secret is not None, shows=token_of(call, secret))


def listed(call: Call) -> Response:
    owner, kind = given(call.query.owner), given(call.query.kind)
    return answer(people.tokens(call.web.database, call.caller.subject, call.paging, owner, kind=kind))


def revoke(call: Call) -> Response:
    return write(call, RevokeToken(token_id=call.id("token_id")))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/tokens",
        name="issue_token",
        about="Issue a further token for oneself, for a site of one's organisation, or for anybody (admin)",
        does=issue,
        scope="write",
        body=NewToken,
        write=True,
        kept_back=True,
        answers={201: Shown},
    ),
    Operation(
        method="GET",
        path="/v1/tokens",
        name="list_tokens",
        about="Own tokens; a member's also those of its sites; all for admin and auditor",
        does=listed,
        query=TokensQuery,
        answers={200: Listed[Token]},
    ),
    Operation(
        method="DELETE",
        path="/v1/tokens/{token_id}",
        name="revoke_token",
        about="Revoke a token at once",
        does=revoke,
        scope="write",
        write=True,
        kept_back=True,
        answers={200: Made},
    ),
)
