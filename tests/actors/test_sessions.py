"""Sessions and the one-time codes that open them: what proves an account, what ends them, what they leave."""

from __future__ import annotations

import pytest

from domain import commands as c
from domain import records as r
from domain.ids import sha256_hex
from domain.values import Subject
from fedyard.wire.times import HOUR, SECOND
from tests.hub import Hub

SECRETS = [sha256_hex(f"secret {number}".encode()) for number in range(60)]


@pytest.fixture
def ada(hub: Hub) -> Subject:
    return hub.account(hub.organisation("one"), "member")


def token_of(hub: Hub, account: Subject) -> r.Token:
    return hub.rows(r.Token, "owner_id = %s AND kind = 'token' ORDER BY created_at", account.id)[0]


def opening(account: Subject, proof: str, secret: str = SECRETS[0]) -> c.OpenSession:
    return c.OpenSession(account_id=account.id, sha256=secret, proof_sha256=proof)


def row(hub: Hub, ident: str) -> r.Token:
    return hub.rows(r.Token, "id = %s", ident)[0]


def test_a_token_opens_a_session_that_has_its_scopes_and_is_issued_by_it(hub: Hub, ada: Subject) -> None:
    narrow = c.IssueToken("account", ada.id, SECRETS[1], "read only", ["read"])
    issued = hub.ok(narrow, ada)["id"]
    made = hub.ok(opening(ada, SECRETS[1]), ada)
    session = row(hub, made["id"])
    assert (session.kind, session.scopes, session.issued_by, session.sha256) == ("session", "read", issued, SECRETS[0])
    assert session.expires_at == hub.clock.now() + 12 * HOUR
    assert row(hub, issued).revoked_at is None
    (event,) = hub.rows(r.Event, "kind = 'session_opened'")
    assert f'"token_id":"{session.id}"' in event.facts_json


def test_a_session_lasts_no_longer_than_its_token(hub: Hub, ada: Subject) -> None:
    until = hub.clock.now() + HOUR
    hub.ok(c.IssueToken("account", ada.id, SECRETS[1], "short", ["read"], until), ada)
    made = hub.ok(opening(ada, SECRETS[1]), ada)
    assert row(hub, made["id"]).expires_at == until


def test_a_session_by_a_code_lasts_no_longer_than_the_token_that_the_code_was_made_with(hub: Hub, ada: Subject) -> None:
    until = hub.clock.now() + HOUR
    short = hub.ok(c.IssueToken("account", ada.id, SECRETS[1], "short", ["read", "write"], until), ada)["id"]
    hub.ok(c.IssueSignIn(ada.id, SECRETS[2], 60.0, short), ada)
    made = hub.ok(opening(ada, SECRETS[2]), ada)
    assert row(hub, made["id"]).expires_at == until


def test_a_code_opens_one_session(hub: Hub, ada: Subject) -> None:
    parent = token_of(hub, ada).id
    code = hub.ok(c.IssueSignIn(ada.id, SECRETS[1], 60.0, parent), ada)["id"]
    made = hub.ok(opening(ada, SECRETS[1]), ada)
    assert row(hub, code).revoked_at == hub.clock.now()
    assert row(hub, made["id"]).issued_by == parent
    assert hub.refused(opening(ada, SECRETS[1], SECRETS[2]), ada) == (401, "token_not_valid")


def test_of_two_that_show_one_code_in_one_batch_one_is_let_in(hub: Hub, ada: Subject) -> None:
    hub.ok(c.IssueSignIn(ada.id, SECRETS[1]))
    both = [opening(ada, SECRETS[1], SECRETS[2]), opening(ada, SECRETS[1], SECRETS[3])]
    hub.batch([hub.envelope(command, ada) for command in both])
    assert len(hub.rows(r.Token, "kind = 'session'")) == 1


def test_a_code_expires(hub: Hub, ada: Subject) -> None:
    hub.ok(c.IssueSignIn(ada.id, SECRETS[1], 60.0))
    hub.clock.micros += 60 * SECOND
    assert hub.refused(opening(ada, SECRETS[1]), ada) == (401, "token_not_valid")


def test_neither_a_session_nor_anothers_token_nor_a_sites_opens_one(hub: Hub, ada: Subject) -> None:
    other = hub.account(ada.organisation_id or "", "member", "another")
    site = hub.site("one")
    hub.ok(opening(ada, token_of(hub, ada).sha256), ada)
    for proof in (SECRETS[0], token_of(hub, other).sha256, token_of(hub, site).sha256, SECRETS[9]):
        assert hub.refused(opening(ada, proof, SECRETS[5]), ada) == (401, "token_not_valid")


def test_it_ends_with_its_token_and_with_its_account(hub: Hub, ada: Subject) -> None:
    first = token_of(hub, ada)
    session = hub.ok(opening(ada, first.sha256), ada)["id"]
    hub.ok(c.RevokeToken(first.id), ada)
    assert row(hub, session).revoked_at == hub.clock.now()

    hub.ok(c.IssueSignIn(ada.id, SECRETS[3]))
    unparented = hub.ok(opening(ada, SECRETS[3], SECRETS[4]), ada)["id"]
    hub.ok(c.IssueSignIn(ada.id, SECRETS[6]))
    hub.ok(c.DisableAccount(ada.id))
    assert row(hub, unparented).revoked_at == hub.clock.now()
    assert not hub.rows(r.Token, "owner_id = %s AND revoked_at IS NULL", ada.id)


def test_signed_out_everywhere_sessions_and_codes_end_and_tokens_stay(hub: Hub, ada: Subject) -> None:
    first = token_of(hub, ada)
    other = hub.account(ada.organisation_id or "", "member", "another")
    for secret in SECRETS[:2]:
        hub.ok(opening(ada, first.sha256, secret), ada)
    hub.ok(c.IssueSignIn(ada.id, SECRETS[3]), ada)
    stays = hub.ok(opening(other, token_of(hub, other).sha256, SECRETS[4]), other)["id"]
    assert hub.refused(c.EndSessions(ada.id), other) == (403, "forbidden")
    assert hub.ok(c.EndSessions(ada.id), ada)["ended_count"] == 3
    assert [one.id for one in hub.rows(r.Token, "owner_id = %s AND revoked_at IS NULL", ada.id)] == [first.id]
    assert row(hub, stays).revoked_at is None
    assert hub.ok(c.EndSessions(ada.id), ada)["ended_count"] == 0


def test_one_session_of_ones_own_ends_alone(hub: Hub, ada: Subject) -> None:
    proof = token_of(hub, ada).sha256
    one, other = (hub.ok(opening(ada, proof, secret), ada)["id"] for secret in SECRETS[:2])
    assert hub.ok(c.EndSessions(ada.id, one), ada)["ended_count"] == 1
    assert row(hub, other).revoked_at is None
    assert hub.ok(c.EndSessions(ada.id, token_of(hub, ada).id), ada)["ended_count"] == 0


def test_an_auditor_signs_in_and_out_and_changes_nothing_else(hub: Hub) -> None:
    auditor = hub.account(hub.organisation("one"), "auditor")
    hub.ok(opening(auditor, token_of(hub, auditor).sha256), auditor)
    assert hub.refused(c.IssueSignIn(auditor.id, SECRETS[1]), auditor) == (403, "forbidden")
    assert hub.ok(c.EndSessions(auditor.id), auditor)["ended_count"] == 1


def test_only_oneself_and_an_admin_make_a_code(hub: Hub, ada: Subject) -> None:
    colleague = hub.account(ada.organisation_id or "", "member", "another")
    stranger = hub.account(hub.organisation("two"), "member")
    code = c.IssueSignIn(ada.id, SECRETS[1])
    assert hub.refused(code, colleague) == (403, "forbidden")
    assert hub.refused(code, stranger) == (404, "not_found")
    hub.ok(code, hub.account(stranger.organisation_id or "", "admin"))


def test_codes_and_sessions_have_limits_of_their_own(hub: Hub, ada: Subject) -> None:
    for secret in SECRETS[:20]:
        hub.ok(c.IssueSignIn(ada.id, secret))
    assert hub.refused(c.IssueSignIn(ada.id, SECRETS[20])) == (409, "too_many")
    first = token_of(hub, ada).sha256
    hub.batch([hub.envelope(opening(ada, first, secret), ada) for secret in SECRETS[20:]])
    assert len(hub.rows(r.Token, "kind = 'session'")) == 40
    more = [sha256_hex(f"more {number}".encode()) for number in range(11)]
    hub.batch([hub.envelope(opening(ada, first, secret), ada) for secret in more])
    assert len(hub.rows(r.Token, "kind = 'session'")) == 50


def test_what_has_expired_long_ago_is_forgotten_and_tokens_are_not(hub: Hub, ada: Subject) -> None:
    hub.ok(c.IssueToken("account", ada.id, SECRETS[1], "short", ["read"], hub.clock.now() + SECOND), ada)
    hub.ok(opening(ada, token_of(hub, ada).sha256), ada)
    hub.clock.micros += 365 * 24 * HOUR
    fresh = hub.ok(opening(ada, token_of(hub, ada).sha256, SECRETS[2]), ada)["id"]
    hub.ok(c.ForgetHistory())
    left = hub.rows(r.Token, "owner_id = %s ORDER BY created_at", ada.id)
    assert [token.label for token in left] == ["first", "short", "session"]
    assert left[-1].id == fresh
