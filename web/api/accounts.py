"""Accounts: the people of an organisation."""

from __future__ import annotations

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import CreateAccount, DisableAccount
from domain.results import Made
from domain.values import Name, Role, Sha256
from storage.views import people
from storage.views.resources import Account
from storage.views.sight import Listed
from web.api.results import Enrolled
from web.api.secret import NOT_DRAWN, drawn_unless, micros_of, token_of
from web.http.answers import answer
from web.http.auth import PEOPLE
from web.http.bodies import Body, PageQuery, Time, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import write
from web.problems import not_found


class AccountsQuery(PageQuery, frozen=True):
    organisation: Uuid | UnsetType = UNSET


class NewAccount(Body, frozen=True):
    organisation_id: Uuid
    name: Name
    role: Role
    token_expires_at: Time | None = None
    token_sha256: Sha256 | None = None


def create(call: Call) -> Response:
    body: NewAccount = call.body
    sha256, secret = drawn_unless(body.token_sha256)
    command = CreateAccount(
        organisation_id=body.organisation_id,
        name=body.name,
        role=body.role,
        token_sha256=sha256,
        token_expires_at=micros_of(body.token_expires_at),
    )
    identity = msgspec.structs.replace(command, token_sha256=NOT_DRAWN) if secret else command
    return write(
        call,
        command,
        made="/v1/accounts/{id}",
        identity=identity,
        waits=secret is not None,
        shows=token_of(call, secret),
    )


def listed(call: Call) -> Response:
    return answer(people.accounts(call.web.database, call.caller.subject, call.paging, given(call.query.organisation)))


def read(call: Call) -> Response:
    found = people.account(call.web.database, call.caller.subject, call.id("account_id"))
    if found is None:
        raise not_found("account", call.id("account_id"))
    return answer(found)


def disable(call: Call) -> Response:
    return write(call, DisableAccount(account_id=call.id("account_id")))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/accounts",
        name="create_account",
        about="Create an account with its first token (admin)",
        does=create,
        who=PEOPLE,
        scope="write",
        body=NewAccount,
        write=True,
        answers={201: Enrolled},
    ),
    Operation(
        method="GET",
        path="/v1/accounts",
        name="list_accounts",
        about="All accounts for admin and auditor, those of the own organisation for members",
        does=listed,
        who=PEOPLE,
        query=AccountsQuery,
        answers={200: Listed[Account]},
    ),
    Operation(
        method="GET",
        path="/v1/accounts/{account_id}",
        name="read_account",
        about="An account",
        does=read,
        who=PEOPLE,
        answers={200: Account},
    ),
    Operation(
        method="DELETE",
        path="/v1/accounts/{account_id}",
        name="disable_account",
        about="Disable an account; its tokens stop working (admin)",
        does=disable,
        who=PEOPLE,
        scope="write",
        write=True,
        answers={200: Made},
    ),
)
