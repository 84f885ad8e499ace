"""The first accounts, and enrolments: decided in this process, so that it works whether the hub runs or not."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from actors.deciding import decide_now
from config.clock import Clock, draw_id, draw_secret
from domain import codec
from domain import commands as c
from domain.commands import AnyCommand
from domain.ids import HUB, Id, sha256_hex
from domain.values import Role, Subject
from fedyard.wire.times import SECOND
from storage.database import Database
from storage.store import Store
from storage.views import people
from storage.views.resources import Organisation
from storage.views.sight import every

OPERATOR = Subject(kind="account", id=HUB, role="admin")
"""Who runs this program has the database, and may see everything."""
AT_ONCE = 200
_TOKEN = re.compile(r"fyd_[A-Za-z0-9_-]{43}")


class Rejected(Exception):
    """The hub decided against it; says why."""


@dataclass(frozen=True)
class Made:
    """An account or an enrolment. The token is shown once and kept nowhere."""

    id: Id
    organisation_id: Id
    token: str

    def __repr__(self) -> str:
        return f"Made({self.id})"


def create_account(
    database: Database, clock: Clock, *, name: str, organisation: str, role: Role, token: str | None = None
) -> Made:
    """An account with its first token; its organisation is created if there is none of that name. Raises `Rejected`.

    token: drawn elsewhere, in the form of ours. The account that has it already is what is asked for: a repeat makes
    nothing.
    """
    if token is None:
        token = draw_secret()
    elif not _TOKEN.fullmatch(token):
        raise Rejected("the token must be fyd_ and 43 letters, digits, - or _ that were drawn at random (32 bytes)")
    elif (bearer := people.bearers(database, [sha256_hex(token.encode())])[0]) is not None:
        subject = bearer.subject
        if (subject.kind, subject.role) != ("account", role):
            raise Rejected(f"the token is known already, as that of {subject.kind} {subject.id}: draw another one")
        return Made(subject.id, str(subject.organisation_id), token)
    store, of = Store(database), _organisation(database, clock, organisation)
    command = c.CreateAccount(organisation_id=of, name=name, role=role, token_sha256=sha256_hex(token.encode()))
    return Made(decided(store, clock, command), of, token)


def sign_in_code(database: Database, clock: Clock, *, account: str, valid_s: float) -> str:
    """A one-time code that opens a session of the account with this name or id. Raises `Rejected`."""
    found = every(lambda paging: people.accounts(database, OPERATOR, paging), AT_ONCE)
    live = [one for one in found if account in (one.id, one.name) and one.disabled_at is None]
    if len(live) != 1:
        which = "; ".join(f"{one.id} of organisation {one.organisation_id}" for one in live)
        said = f"several accounts are called {account!r}: say which by its id ({which})"
        raise Rejected(said if live else f"there is no account {account!r}, or it is disabled")
    code = draw_secret()
    command = c.IssueSignIn(account_id=live[0].id, sha256=sha256_hex(code.encode()), for_s=valid_s)
    decided(Store(database), clock, command)
    return code


def create_enrolment(database: Database, clock: Clock, *, organisation: str, note: str, valid_s: float) -> Made:
    """A one-time token for a new site; its organisation is created if there is none of that name. Raises `Rejected`."""
    store, of, token = Store(database), _organisation(database, clock, organisation), draw_secret()
    expires_at = clock.now() + round(valid_s * SECOND)
    command = c.CreateEnrolment(organisation_id=of, sha256=sha256_hex(token.encode()), note=note, expires_at=expires_at)
    return Made(decided(store, clock, command), of, token)


def _organisation(database: Database, clock: Clock, name: str) -> Id:
    found = next((found.id for found in organisations(database) if found.name == name), None)
    return found or decided(Store(database), clock, c.CreateOrganisation(name=name))


def organisations(database: Database) -> list[Organisation]:
    """All of them, from old to new."""
    return every(lambda paging: people.organisations(database, OPERATOR, paging), AT_ONCE)


def decided(store: Store, clock: Clock, command: AnyCommand) -> Id:
    """The id of what the command made. Raises `Rejected`."""
    return str(answered(store, clock, command)["id"])


def answered(store: Store, clock: Clock, command: AnyCommand) -> dict[str, object]:
    """The result of a command that the operator gives. Raises `Rejected`."""
    now = clock.now()
    try:  # as strict with the operator's words as with a stranger's
        envelope = codec.decode(codec.encode(codec.envelope_of(command, id=draw_id(), by=codec.THE_HUB, at=now)))
    except codec.Undecodable as error:
        raise Rejected(str(error)) from None
    outcome = decide_now(store, [envelope], now)[0]
    answer = msgspec.json.decode(outcome.answer_json, type=dict[str, object])
    if outcome.state != "accepted":
        raise Rejected(str(answer["detail"]))
    return answer
