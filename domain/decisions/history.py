"""The hub's history: that it became another one, and that what was revoked before stays revoked."""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import need_hub
from domain.decisions.draft import Decision, Draft
from domain.decisions.keys import REVOKED_BEFORE, revoke_key
from domain.events import EventKind
from domain.ledger import Named, read_name
from domain.needs import Needs
from domain.sweeps import RevokeIssuedBy, RevokeTokensOf


def needs_of_change_history(_: c.ChangeHistory) -> Needs:
    return Needs(history={"history"})


def change_history(draft: Draft, command: c.ChangeHistory) -> Decision:
    """Another id, so that every site hears of it; or, in a store that was never looked at, only where it is."""
    need_hub(draft.by)
    history = next(iter(draft.every(r.History)))
    if history.history_id == command.before:
        if command.known:
            history = draft.change(history, fingerprint=command.fingerprint)
        else:
            history = draft.change(
                history,
                history_id=command.history_id,
                since=draft.now,
                fingerprint=command.fingerprint,
                changes=history.changes + 1,
                reason=command.reason,
            )
    return draft.accept(results.HistoryResult(history_id=history.history_id))


def needs_of_revoke_again(command: c.RevokeAgain) -> Needs:
    """What the ledger's names are of."""
    needs = Needs(revocations=set(command.names))
    for named in filter(None, map(read_name, command.names)):
        match named.kind:
            case "token" | "enrolment":
                needs.token_hashes.add(named.key)
            case "key":
                needs.keyrings.add(named.key)
            case "site":
                needs.sites.add(named.key)
            case _:
                needs.accounts.add(named.key)
    return needs


def revoke_again(draft: Draft, command: c.RevokeAgain) -> Decision:
    """What the ledger names and the store lacks. Names of what the store does not know are kept, in case it comes back.

    A site that has retired and an account that was disabled go the usual way, as follow-ups.
    """
    need_hub(draft.by)
    revoked = []
    for name in command.names:
        named = read_name(name)
        if named is None:
            continue
        if draft.get(r.Revocation, name) is None:
            draft.put(r.Revocation(name=name, at=draft.now))
        if _revoke(draft, named):
            revoked.append(name)
    return draft.accept(results.RevokedAgain(revoked=revoked))


def _revoke(draft: Draft, named: Named) -> bool:
    """True if it was in force."""
    match named.kind:
        case "token":
            return _revoke_token(draft, named.key)
        case "enrolment":
            found = next((e for e in draft.every(r.Enrolment) if e.sha256 == named.key), None)
            if found is None or found.used_at is not None:
                return False
            draft.change(found, used_at=draft.now)
        case "key":
            site, key = draft.get(r.Site, named.key), draft.get(r.SiteKey, named.key, named.epoch)
            if site is None or key is None or key.digest != named.digest or key.revoked_at is not None:
                return False
            revoke_key(draft, site, key, REVOKED_BEFORE)
        case "site":
            site = draft.get(r.Site, named.key)
            if site is None or site.state == "retired":
                return False
            draft.sweep(RevokeTokensOf(site.id, draft.now))  # also where it coordinates projects and cannot retire yet
            draft.follow_up(c.RetireSite(site_id=site.id), "retire", site.id)
        case _:
            account = draft.get(r.Account, named.key)
            if account is None or account.disabled_at is not None:
                return False
            draft.follow_up(c.DisableAccount(account_id=account.id), "disable", account.id)
    return True


def _revoke_token(draft: Draft, sha256: str) -> bool:
    token = next((t for t in draft.every(r.Token) if t.sha256 == sha256), None)
    if token is None or token.revoked_at is not None:
        return False
    draft.change(token, revoked_at=draft.now)
    draft.sweep(RevokeIssuedBy(token.id, draft.now))
    owner = draft.get(r.Account if token.owner_kind == "account" else r.Site, token.owner_id)
    if owner is not None:
        facts = {"token_id": token.id, "reason": REVOKED_BEFORE}
        draft.event(("organisation", owner.organisation_id), EventKind.TOKEN_REVOKED, facts)  # type: ignore[attr-defined]
    return True
