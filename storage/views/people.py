"""Organisations, accounts, tokens, enrolments; and whose token it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from domain.ids import Id, derive
from domain.values import Micros, Subject, TokenKind
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.resources import Account, Enrolment, Organisation, Token, time_or_none
from storage.views.sight import (
    Clause,
    Cursor,
    Listed,
    Paging,
    page,
    projects_seen,
    row,
    rows,
    sees_everything,
    sites_seen,
)

_ORGANISATION = "SELECT id, name, created_at FROM organisations"
_ACCOUNT = "SELECT id, organisation_id, name, role, created_at, disabled_at FROM accounts"
_TOKENS = (
    "SELECT tokens.id, tokens.owner_kind, tokens.owner_id, tokens.label, tokens.scopes, tokens.created_at, "
    "tokens.expires_at, tokens.revoked_at, token_uses.used_at, tokens.project_id, tokens.kind FROM tokens "
    "LEFT JOIN token_uses ON token_uses.token_id = tokens.id"
)
_ENROLMENT = "SELECT id, organisation_id, note, created_by, created_at, expires_at, used_at, site_id FROM enrolments"
_OWNERS = (
    "SELECT tokens.sha256, tokens.id, tokens.owner_kind, tokens.owner_id, tokens.scopes, tokens.expires_at, "
    "accounts.organisation_id, accounts.role, sites.organisation_id, tokens.project_id, tokens.kind, "
    "tokens.issued_by FROM tokens "
    "LEFT JOIN accounts ON accounts.id = tokens.owner_id AND accounts.disabled_at IS NULL "
    "LEFT JOIN sites ON sites.id = tokens.owner_id AND sites.state <> 'retired' "
    "WHERE tokens.sha256 {any} AND tokens.revoked_at IS NULL"
)
_ENROLLING = "SELECT sha256, id, organisation_id, expires_at FROM enrolments WHERE sha256 {any} AND used_at IS NULL"


class Leading(NamedTuple):
    """An attempt at the coordinator of a project's infrastructure."""

    project_id: Id
    workload_id: Id
    attempt: int


@dataclass(frozen=True)
class Bearer:
    """Whose token it is, and until when. token_id is None for an enrolment's. sha256: of the token.

    leading: which attempt at a project's own coordinator says so in the name of the project's coordinating site.
    project_id: of a client's token, which is good for taking part in that project alone.
    files_of: the workload whose files the token is for, in the name of the site that they are read and stored for.
    kind: of its token. parent: of a session, the token that it was opened with, if any.
    """

    subject: Subject
    scopes: frozenset[str]
    token_id: Id | None
    expires_at: Micros | None
    sha256: str = ""
    leading: Leading | None = None
    project_id: Id | None = None
    files_of: Id | None = None
    kind: str = TokenKind.TOKEN
    parent: Id | None = None

    @property
    def issues_with(self) -> Id | None:
        """What tokens are issued with that it asks for: they outlive a session, and not what that was opened with."""
        return self.parent if self.kind == TokenKind.SESSION else self.token_id

    @property
    def share(self) -> Subject:
        """Whose share of the web its calls take. Tokens that are good for one thing alone, in the name of a site, have
        one for each such thing, all of a site's together: it is not that site's own, which goes on working while
        somebody floods the hub with one that he has found."""
        good_for = self._good_for
        return (
            msgspec.structs.replace(self.subject, id=derive(self.subject.id, *good_for[:1]))
            if good_for
            else self.subject
        )

    @property
    def named_by(self) -> Id:
        """Among whose Idempotency-Keys those of its calls are: two coordinators of one site, which count alike, name
        different commands, and whoever has found a client's token can use up no key of the site."""
        good_for = self._good_for
        return derive(self.subject.id, *good_for) if good_for else self.subject.id

    @property
    def _good_for(self) -> tuple[str | int, ...]:
        """What alone, and of what; nothing where it is the subject's own token."""
        if self.project_id is not None:
            return ("client", self.project_id)
        if self.leading is not None:
            return ("rounds", self.leading.workload_id, self.leading.attempt)
        return () if self.files_of is None else ("files", self.files_of)

    @property
    def as_site(self) -> bool:
        """Is it a token that the site's agent uses? What a workload or a client does with its own is no sign of life of
        the site."""
        return self.token_id is not None and self.project_id is None


def bearers(database: Database, hashes: Sequence[str]) -> list[Bearer | None]:
    """The owners of the tokens with these hashes; None where it is unknown, revoked, used up, or its owner is gone."""
    wanted = database.many(hashes)
    with database.connection():
        found = {row[0]: _bearer(row[1:]) for row in database.all(_OWNERS, wanted)}
        if any(sha256 not in found for sha256 in hashes):
            found.update((row[0], _enrolling(row)) for row in database.all(_ENROLLING, wanted))
    return [found.get(sha256) for sha256 in hashes]


def _bearer(found: Row) -> Bearer | None:
    token_id, kind, owner, scopes, expires_at, of_account, role, of_site, project_id, token_kind, issued_by = found
    organisation = of_account or of_site
    if organisation is None:
        return None
    subject = Subject(kind=kind, id=owner, organisation_id=organisation, role=role)
    parent = issued_by if token_kind == TokenKind.SESSION else None
    return Bearer(
        subject, frozenset(scopes.split()), token_id, expires_at, project_id=project_id, kind=token_kind, parent=parent
    )


def _enrolling(found: Row) -> Bearer:
    sha256, ident, organisation, expires_at = found
    subject = Subject(kind="enrolment", id=ident, organisation_id=organisation)
    return Bearer(subject, frozenset({"read", "write"}), None, expires_at, sha256)


def holds(database: Database, sha256: str) -> bool:
    """True if a token or an enrolment has this hash."""
    with database.connection():
        return (
            database.one(
                "SELECT 1 FROM tokens WHERE sha256 = %s UNION ALL SELECT 1 FROM enrolments WHERE sha256 = %s",
                sha256,
                sha256,
            )
            is not None
        )


def name_of(database: Database, subject: Subject) -> str | None:
    """The account's or site's name."""
    table = {"account": "SELECT name FROM accounts", "site": "SELECT name FROM sites"}[subject.kind]
    found = row(database, table, [Clause("id = %s", (subject.id,))])
    return None if found is None else str(found[0])


def names(database: Database, ids: Iterable[Id]) -> dict[Id, str]:
    """Of accounts, sites and organisations. Whoever asks was shown the ids."""
    wanted = database.many(sorted(set(ids)))
    with database.connection():
        return {
            ident: name
            for table in ("accounts", "sites", "organisations")
            for ident, name in database.all(f"SELECT id, name FROM {table} WHERE id {{any:uuid}}", wanted)
        }


def names_seen(database: Database, subject: Subject, ids: Iterable[Id]) -> dict[Id, str]:
    """The same, and of projects, as far as the caller may know of each: an event has ids of others as well."""
    wanted = database.many(sorted(set(ids)))
    with database.connection():
        return {
            str(ident): str(name)
            for table, seen in _named(subject)
            for ident, name in rows(
                database, f"SELECT id, name FROM {table}", [*seen, Clause(f"{table}.id {{any:uuid}}", (wanted,))]
            )
        }


def found(database: Database, subject: Subject, name: str) -> Id | None:
    """Whom or what the caller may know of has this name: an account, a site, an organisation, a project."""
    for table, seen in _named(subject):
        one = row(database, f"SELECT id FROM {table}", [*seen, Clause("name = %s", (name,))])
        if one is not None:
            return str(one[0])
    return None


def _named(subject: Subject) -> tuple[tuple[str, Sequence[Clause]], ...]:
    """Tables of what has a name, each with what the caller may know of."""
    of_own = [] if sees_everything(subject) else [Clause("organisation_id = %s", (subject.organisation_id,))]
    return (
        ("accounts", of_own),
        ("sites", sites_seen(subject)),
        ("organisations", _organisations_seen(subject)),
        ("projects", projects_seen(subject)),
    )


def organisations(database: Database, subject: Subject, paging: Paging) -> Listed[Organisation]:
    return page(
        database,
        _ORGANISATION,
        _organisations_seen(subject),
        paging,
        _organisation,
        order=("created_at", "id"),
        cursor_of=lambda one: Cursor(one[2], one[0]),
    )


def organisation_named(database: Database, subject: Subject, name: str) -> Organisation | None:
    found = row(database, _ORGANISATION, [*_organisations_seen(subject), Clause("name = %s", (name,))])
    return None if found is None else _organisation(found)


def organisation(database: Database, subject: Subject, ident: Id) -> Organisation | None:
    found = row(database, _ORGANISATION, [*_organisations_seen(subject), Clause("id = %s", (ident,))])
    return None if found is None else _organisation(found)


def accounts(database: Database, subject: Subject, paging: Paging, organisation: Id | None = None) -> Listed[Account]:
    of_one = [] if organisation is None else [Clause("organisation_id = %s", (organisation,))]
    return page(
        database,
        _ACCOUNT,
        [*_accounts_seen(subject), *of_one],
        paging,
        _account,
        order=("created_at", "id"),
        cursor_of=lambda one: Cursor(one[4], one[0]),
    )


def account(database: Database, subject: Subject, ident: Id) -> Account | None:
    found = row(database, _ACCOUNT, [*_accounts_seen(subject), Clause("id = %s", (ident,))])
    return None if found is None else _account(found)


def tokens(
    database: Database,
    subject: Subject,
    paging: Paging,
    owner: Id | None,
    *,
    kind: TokenKind | None = None,
    in_force_at: Micros | None = None,
    newest_first: bool = False,
) -> Listed[Token]:
    """One's own; a member's also its sites'; all for admin and auditor. in_force_at: only those that are good then."""
    where = _tokens_seen(subject)
    if kind is not None:
        where = [*where, Clause("tokens.kind = %s", (kind.value,))]
    if in_force_at is not None:
        good = "tokens.revoked_at IS NULL AND (tokens.expires_at IS NULL OR tokens.expires_at > %s)"
        where = [*where, Clause(good, (in_force_at,))]
    if owner is not None:
        where = [*where, Clause("tokens.owner_id = %s", (owner,))]
    return page(
        database,
        _TOKENS,
        where,
        paging,
        _token,
        order=("tokens.created_at", "tokens.id"),
        cursor_of=lambda one: Cursor(one[5], one[0]),
        newest_first=newest_first,
    )


def enrolments(database: Database, paging: Paging) -> Listed[Enrolment]:
    """All of them: only admins and auditors ask."""
    return page(
        database,
        _ENROLMENT,
        [],
        paging,
        _enrolment,
        order=("created_at", "id"),
        cursor_of=lambda one: Cursor(one[4], one[0]),
    )


def _organisations_seen(subject: Subject) -> Sequence[Clause]:
    return [] if sees_everything(subject) else [Clause("id = %s", (subject.organisation_id,))]


def _accounts_seen(subject: Subject) -> Sequence[Clause]:
    return [] if sees_everything(subject) else [Clause("organisation_id = %s", (subject.organisation_id,))]


def _tokens_seen(subject: Subject) -> Sequence[Clause]:
    if sees_everything(subject):
        return []
    if subject.kind == "site":
        return [Clause("tokens.owner_id = %s", (subject.id,))]
    of_sites = "tokens.owner_id IN (SELECT id FROM sites WHERE organisation_id = %s)"
    return [Clause(f"(tokens.owner_id = %s OR {of_sites})", (subject.id, subject.organisation_id))]


def _organisation(one: Row) -> Organisation:
    return Organisation(id=one[0], name=one[1], created_at=time_text(one[2]))


def _account(one: Row) -> Account:
    ident, of, name, role, created_at, disabled_at = one
    return Account(
        id=ident,
        organisation_id=of,
        name=name,
        role=role,
        created_at=time_text(created_at),
        disabled_at=time_or_none(disabled_at),
    )


def _token(one: Row) -> Token:
    ident, kind, owner, label, scopes, created_at, expires_at, revoked_at, used_at, project_id, token_kind = one
    return Token(
        id=ident,
        owner_kind=kind,
        owner_id=owner,
        label=label,
        scopes=scopes.split(),
        created_at=time_text(created_at),
        expires_at=time_or_none(expires_at),
        revoked_at=time_or_none(revoked_at),
        used_at=time_or_none(used_at),
        project_id=project_id,
        kind=token_kind,
    )


def _enrolment(one: Row) -> Enrolment:
    ident, of, note, created_by, created_at, expires_at, used_at, site_id = one
    return Enrolment(
        id=ident,
        organisation_id=of,
        note=note,
        created_by=created_by,
        created_at=time_text(created_at),
        expires_at=time_text(expires_at),
        used_at=time_or_none(used_at),
        site_id=site_id,
    )
