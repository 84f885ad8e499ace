"""Signing in to the page: one-time codes, and the end of an account's sessions."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response

from domain.commands import EndSessions, IssueSignIn
from domain.results import EndedSessions
from domain.values import MAX_SIGN_IN_S, Sha256
from web.api.results import SignInShown
from web.api.secret import NOT_DRAWN, drawn_unless, token_of
from web.http.auth import PEOPLE
from web.http.bodies import Body, Uuid
from web.http.calls import Call
from web.http.operations import Operation
from web.http.writing import write


class NewSignIn(Body, frozen=True):
    """Without an account, for oneself."""

    account_id: Uuid | None = None
    for_s: Annotated[float, msgspec.Meta(ge=1.0, le=MAX_SIGN_IN_S)] = 600.0
    sha256: Sha256 | None = None


def issue(call: Call) -> Response:
    body: NewSignIn = call.body
    sha256, secret = drawn_unless(body.sha256)
    command = IssueSignIn(
        account_id=body.account_id or call.caller.subject.id,
        sha256=sha256,
        for_s=body.for_s,
        issued_by=call.caller.issues_with,
    )
    identity = msgspec.structs.replace(command, issued_by=None, sha256=NOT_DRAWN if secret else sha256)
    return write(call, command, identity=identity, waits=secret is not None, shows=token_of(call, secret))


def end(call: Call) -> Response:
    return write(call, EndSessions(account_id=call.id("account_id")))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/sign-ins",
        name="issue_sign_in",
        about="Make a one-time code with which one signs in to the page (for another account: admin)",
        does=issue,
        who=PEOPLE,
        scope="write",
        body=NewSignIn,
        write=True,
        kept_back=True,
        answers={201: SignInShown},
    ),
    Operation(
        method="DELETE",
        path="/v1/accounts/{account_id}/sessions",
        name="end_sessions",
        about="Sign an account out everywhere: its sessions end, and unused codes (oneself, admin)",
        does=end,
        who=PEOPLE,
        scope="write",
        write=True,
        kept_back=True,
        answers={200: EndedSessions},
    ),
)
