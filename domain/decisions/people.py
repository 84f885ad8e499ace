"""Organisations, accounts, tokens."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import acts_for, find, forbidden, is_admin, missing, need_admin
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.telling import put_on_record
from domain.events import EventKind
from domain.ids import Id
from domain.ledger import name_of_enrolment, name_of_token, names_of_secret
from domain.needs import Needs, those
from domain.sweeps import RevokeIssuedBy, RevokeTokensOf
from domain.values import TokenKind
from fedyard.wire import notices as n
from fedyard.wire.problems import ProblemType


def needs_of_create_organisation(command: c.CreateOrganisation) -> Needs:
    return Needs(organisation_names={command.name})


def create_organisation(draft: Draft, command: c.CreateOrganisation) -> Decision:
    need_admin(draft.by)
    if any(o.name == command.name for o in draft.every(r.Organisation)):
        raise Refused(ProblemType.NAME_TAKEN, f"an organisation named {command.name!r} exists; choose another name")
    made = r.Organisation(id=draft.derive("organisation"), name=command.name, created_at=draft.now)
    draft.put(made)
    draft.event(("organisation", made.id), EventKind.ORGANISATION_CREATED, {"name": made.name})
    return draft.accept(results.Made(id=made.id), 201)


def needs_of_create_account(command: c.CreateAccount) -> Needs:
    return Needs(
        organisations={command.organisation_id},
        token_hashes={command.token_sha256},
        revocations=names_of_secret(command.token_sha256),
        counts={("accounts", command.organisation_id)},
    )


def create_account(draft: Draft, command: c.CreateAccount) -> Decision:
    need_admin(draft.by)
    find(draft, r.Organisation, "organisation", command.organisation_id)
    take_one(
        draft,
        "accounts",
        command.organisation_id,
        draft.rules.accounts_per_organisation,
        "disable one that nobody needs",
    )
    made = r.Account(
        id=draft.derive("account"),
        organisation_id=command.organisation_id,
        name=command.name,
        role=command.role,
        created_at=draft.now,
    )
    draft.put(made)
    token = add_token(draft, "account", made.id, command.token_sha256, "first", "read write", command.token_expires_at)
    draft.event(
        ("organisation", command.organisation_id),
        EventKind.ACCOUNT_CREATED,
        {"account_id": made.id, "name": made.name, "role": made.role},
    )
    return draft.accept(results.MadeWithToken(id=made.id, token_id=token.id), 201)


def secret_known(draft: Draft, sha256: str) -> bool:
    """Is this the hash of a token or of an enrolment already?"""
    if draft.get(r.Revocation, name_of_token(sha256)) or draft.get(r.Revocation, name_of_enrolment(sha256)):
        return True  # it was, and is revoked or used up, though the store that knew it was restored since
    tokens = any(token.sha256 == sha256 for token in draft.every(r.Token))
    return tokens or any(enrolment.sha256 == sha256 for enrolment in draft.every(r.Enrolment))


def add_token(
    draft: Draft,
    owner_kind: str,
    owner_id: str,
    sha256: str,
    label: str,
    scopes: str,
    expires_at: int | None,
    issued_by: Id | None = None,
    *,
    kind: TokenKind = TokenKind.TOKEN,
) -> r.Token:
    """A new token by its hash. 409 if the hash is known: a secret belongs to one token."""
    if secret_known(draft, sha256):
        raise Refused(ProblemType.TOKEN_TAKEN, "this token's hash is registered already; draw a new secret")
    if expires_at is not None and expires_at <= draft.now:
        raise Refused(ProblemType.ALREADY_EXPIRED, "expires_at lies in the past; choose a later time")
    token = r.Token(
        id=draft.derive("token"),
        owner_kind=owner_kind,
        owner_id=owner_id,
        sha256=sha256,
        label=label,
        scopes=scopes,
        created_at=draft.now,
        expires_at=expires_at,
        issued_by=issued_by,
        kind=kind,
    )
    draft.put(token)
    return token


def needs_of_disable_account(command: c.DisableAccount) -> Needs:
    return Needs(accounts={command.account_id}, issued_with={command.account_id})


def disable_account(draft: Draft, command: c.DisableAccount) -> Decision:
    need_admin(draft.by)
    account = find(draft, r.Account, "account", command.account_id)
    if account.disabled_at is None:
        draft.change(account, disabled_at=draft.now)
        draft.sweep(RevokeTokensOf(account.id, draft.now))
        draft.event(("organisation", account.organisation_id), EventKind.ACCOUNT_DISABLED, {"account_id": account.id})
        _revoke_issued_with(draft, {token.id for token in draft.every(r.Token) if token.owner_id == account.id})
    return draft.accept(results.Made(id=account.id))


def needs_of_issue_token(command: c.IssueToken) -> Needs:
    owner = command.owner_id
    return Needs(
        accounts={owner} if command.owner_kind == "account" else set(),
        sites={owner} if command.owner_kind == "site" else set(),
        token_hashes={command.sha256},
        tokens=those(command.issued_by),
        revocations=names_of_secret(command.sha256),
        counts={("tokens", owner), ("tokens of a day", owner)},
    )


def issue_token(draft: Draft, command: c.IssueToken) -> Decision:
    rules = draft.rules
    owner, organisation_id = live_owner(draft, command.owner_kind, command.owner_id)
    scopes = " ".join(scope for scope in ("read", "write") if scope in command.scopes)
    until = _within_issuer(draft, command)
    take_one(draft, "tokens", owner, rules.tokens_per_owner, "revoke one that nobody needs")
    take_one(
        draft,
        "tokens of a day",
        owner,
        rules.tokens_per_day,
        "issue the next one tomorrow, and let it be valid for longer",
    )
    token = add_token(draft, command.owner_kind, owner, command.sha256, command.label, scopes, until, command.issued_by)
    facts = n.TokenIssued(
        token_id=token.id,
        owner_id=owner,
        label=token.label,
        scopes=scopes,
        expires_at=UNSET if token.expires_at is None else token.expires_at,
    )
    _put_token_on_record(draft, token, organisation_id, EventKind.TOKEN_ISSUED, facts)
    return draft.accept(results.Made(id=token.id), 201)


def issuer_of(draft: Draft, ident: Id) -> r.Token:
    """The token with which another one is issued. 403 where it is not in force."""
    issuer = draft.get(r.Token, ident)
    if issuer is None or issuer.revoked_at is not None or (issuer.expires_at or draft.now + 1) <= draft.now:
        raise forbidden(f"token {ident}, with which this was asked for, is revoked or has expired: use another one")
    return issuer


def _within_issuer(draft: Draft, command: c.IssueToken) -> int | None:
    """When the new token expires: as asked for, or with the one that issues it. 403 or 422 for more than that has."""
    if command.issued_by is None:
        return command.expires_at
    issuer = issuer_of(draft, command.issued_by)
    if beyond := set(command.scopes) - set(issuer.scopes.split()):
        detail = f"token {issuer.id} lacks the scope {min(beyond)!r} and cannot hand it on"
        raise Refused(ProblemType.SCOPE_MISSING, detail)
    if issuer.expires_at is None or command.expires_at is None:
        return command.expires_at if issuer.expires_at is None else issuer.expires_at
    if command.expires_at > issuer.expires_at:
        raise Refused(
            ProblemType.OUTLIVES_ISSUER,
            f"token {issuer.id}, with which this one is issued, expires earlier; choose an earlier time, or leave "
            "it out for the same time",
        )
    return command.expires_at


def _put_token_on_record(
    draft: Draft, token: r.Token, organisation_id: Id, event: EventKind, facts: n.InItsName
) -> None:
    """A site's people hear of every token of it: who holds one acts as the site, so no such act is surely its own."""
    draft.event(("organisation", organisation_id), event, msgspec.to_builtins(facts))
    if token.owner_kind == "site":
        put_on_record(draft, draft.have(r.Site, token.owner_id), event, facts)


def needs_of_revoke_token(command: c.RevokeToken) -> Needs:
    return Needs(tokens={command.token_id}, issued_with={command.token_id})


def revoke_token(draft: Draft, command: c.RevokeToken) -> Decision:
    token = find(draft, r.Token, "token", command.token_id)
    try:
        _, organisation_id = owner_of(draft, token.owner_kind, token.owner_id)
    except Refused:
        raise missing("token", command.token_id) from None
    if token.revoked_at is None:
        draft.sweep(RevokeIssuedBy(token.id, draft.now))
        revoke(draft, token, organisation_id)
        _revoke_issued_with(draft, {token.id})
    return draft.accept(results.Made(id=token.id))


def revoke(draft: Draft, token: r.Token, organisation_id: Id) -> None:
    draft.change(token, revoked_at=draft.now)
    facts = n.TokenRevoked(token_id=token.id, owner_id=token.owner_id, label=token.label)
    _put_token_on_record(draft, token, organisation_id, EventKind.TOKEN_REVOKED, facts)


def _revoke_issued_with(draft: Draft, tokens: set[Id]) -> None:
    """What was issued with these, and with that in turn: each is on record, and its owner told, like any other."""
    live = [token for token in draft.every(r.Token) if token.revoked_at is None]
    issuers = set(tokens)
    while found := [token for token in live if token.issued_by in issuers and token.id not in issuers]:
        for token in sorted(found, key=lambda token: token.id):
            owner = draft.get(r.Account if token.owner_kind == "account" else r.Site, token.owner_id)
            if owner is not None and token.revoked_at is None:
                revoke(draft, token, owner.organisation_id)  # type: ignore[attr-defined]
        issuers |= {token.id for token in found}


def live_owner(draft: Draft, kind: str, key: str) -> tuple[str, str]:
    """The same, of an owner that can have tokens. 409 otherwise."""
    found = owner_of(draft, kind, key)
    account, site = draft.get(r.Account, key), draft.get(r.Site, key)
    if kind == "account" and account is not None and account.disabled_at is not None:
        raise Refused(ProblemType.ACCOUNT_DISABLED, f"account {key} is disabled")
    if kind == "site" and site is not None and site.state == "retired":
        raise Refused(ProblemType.SITE_RETIRED, f"site {key} has retired")
    return found


def owner_of(draft: Draft, kind: str, key: str) -> tuple[str, str]:
    """The owner of a token and its organisation, if the caller may give it tokens or take them; else 403 or 404."""
    if kind == "account":
        account = find(draft, r.Account, "account", key)
        if not (is_admin(draft.by) or (draft.by.kind == "account" and draft.by.id == key)):
            if draft.by.kind != "account" or draft.by.organisation_id != account.organisation_id:
                raise missing("account", key)
            raise forbidden("only the account itself or an admin may issue or revoke its tokens")
        return account.id, account.organisation_id
    site = find(draft, r.Site, "site", key)
    if not (is_admin(draft.by) or acts_for(draft.by, site)):
        raise missing("site", key)
    return site.id, site.organisation_id
