"""Sessions: how people ask in a browser. A session is a token of its account, told from others by its kind.

It is opened with a token of the account, or with a one-time sign-in code, which the same decision uses up; both are
proofs. It has the proof's scopes, ends with the token that it comes from, after some hours anyway, and as any other
token when it is revoked or its account is disabled.
"""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import find
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.decisions.people import add_token, issuer_of, live_owner, owner_of, revoke
from domain.events import EventKind
from domain.ledger import names_of_secret
from domain.needs import Needs, those
from domain.values import TokenKind
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import HOUR, SECOND, time_text

SIGN_INS_PER_ACCOUNT = 20
"""Codes of one account that are neither used nor expired."""


def needs_of_issue_sign_in(command: c.IssueSignIn) -> Needs:
    return Needs(
        accounts={command.account_id},
        token_hashes={command.sha256},
        tokens=those(command.issued_by),
        revocations=names_of_secret(command.sha256),
        counts={("sign-ins", command.account_id)},
    )


def issue_sign_in(draft: Draft, command: c.IssueSignIn) -> Decision:
    """A code for the account itself, or from an admin, who could issue it a token as well."""
    owner, organisation_id = live_owner(draft, "account", command.account_id)
    issuer = None if command.issued_by is None else issuer_of(draft, command.issued_by)
    take_one(draft, "sign-ins", owner, SIGN_INS_PER_ACCOUNT, "use one of those, or wait until they have expired")
    until = draft.now + round(command.for_s * SECOND)
    scopes = "read write"
    if issuer is not None:
        until, scopes = min(until, issuer.expires_at or until), issuer.scopes
    code = add_token(
        draft,
        "account",
        owner,
        command.sha256,
        "sign-in",
        scopes,
        until,
        command.issued_by,
        kind=TokenKind.SIGN_IN,
    )
    facts = {"token_id": code.id, "account_id": owner, "expires_at": until}
    draft.event(("organisation", organisation_id), EventKind.SIGN_IN_ISSUED, facts)
    return draft.accept(results.SignInResult(id=code.id, account_id=owner, expires_at=time_text(until)), 201)


def needs_of_open_session(command: c.OpenSession) -> Needs:
    return Needs(
        accounts={command.account_id},
        token_hashes={command.sha256},
        proofs={command.proof_sha256},
        revocations=names_of_secret(command.sha256),
        counts={("sessions", command.account_id)},
    )


def open_session(draft: Draft, command: c.OpenSession) -> Decision:
    proof = _proof(draft, command)
    account = find(draft, r.Account, "account", proof.owner_id)
    rules = draft.rules
    take_one(draft, "sessions", account.id, rules.sessions_per_account, "sign out everywhere, then sign in again")
    until = draft.now + round(rules.session_h * HOUR)
    of_a_token = proof.kind == TokenKind.TOKEN
    source = proof if of_a_token else draft.get(r.Token, proof.issued_by)
    if source is not None and source.expires_at is not None:
        until = min(until, source.expires_at)
    session = add_token(
        draft,
        "account",
        account.id,
        command.sha256,
        "session",
        proof.scopes,
        until,
        proof.id if of_a_token else proof.issued_by,
        kind=TokenKind.SESSION,
    )
    if not of_a_token:
        draft.change(proof, revoked_at=draft.now)
    facts = {"token_id": session.id, "account_id": account.id, "expires_at": until, "proof_id": proof.id}
    draft.event(("organisation", account.organisation_id), EventKind.SESSION_OPENED, facts)
    return draft.accept(results.SessionResult(id=session.id, account_id=account.id, expires_at=time_text(until)), 201)


def _proof(draft: Draft, command: c.OpenSession) -> r.Token:
    """The token or the code that is shown. 401 unless it is in force and the caller's own."""
    for token in draft.every(r.Token):
        if token.sha256 == command.proof_sha256 and token.kind != TokenKind.SESSION and token.project_id is None:
            expired = token.expires_at is not None and token.expires_at <= draft.now
            own = (token.owner_kind, token.owner_id) == (draft.by.kind, draft.by.id) == ("account", command.account_id)
            account = draft.get(r.Account, token.owner_id)
            live = account is not None and account.disabled_at is None
            if own and live and not expired and token.revoked_at is None:
                return token
    raise Refused(
        ProblemType.TOKEN_NOT_VALID, "the token or code is unknown, revoked, expired or used up; sign in with another"
    )


def needs_of_end_sessions(command: c.EndSessions) -> Needs:
    return Needs(accounts={command.account_id}, issued_with={command.account_id})


def end_sessions(draft: Draft, command: c.EndSessions) -> Decision:
    """Signed out everywhere: sessions end, and codes that would open one. Of one session: that alone."""
    account_id, organisation_id = owner_of(draft, "account", command.account_id)
    ended = [
        token
        for token in draft.every(r.Token)
        if token.owner_id == account_id and token.kind != TokenKind.TOKEN and token.revoked_at is None
        if command.session_id in (None, token.id)
    ]
    for token in sorted(ended, key=lambda token: token.id):
        revoke(draft, token, organisation_id)
    return draft.accept(results.EndedSessions(id=account_id, ended_count=len(ended)))
