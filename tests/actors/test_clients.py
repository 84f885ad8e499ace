"""Clients' tokens: who gets one, what it is good for in the records, and when it ends."""

from __future__ import annotations

import pytest

from domain import commands as c
from domain import records as r
from domain.ids import derive
from domain.values import Subject
from fedyard.wire.times import SECOND
from storage.views import people
from storage.views.sight import Paging
from tests.hub import Hub

SECRET, OTHER = "a" * 64, "b" * 64
DAY = 86_400


@pytest.fixture
def lead(hub: Hub) -> Subject:
    return hub.site("lead")


@pytest.fixture
def site(hub: Hub) -> Subject:
    return hub.site("data")


def asked(project: str, site: Subject, sha256: str = SECRET, **more: object) -> c.IssueClientToken:
    return c.IssueClientToken(project_id=project, site_id=site.id, sha256=sha256, **more)  # type: ignore[arg-type]


def good_for(hub: Hub, sha256: str = SECRET) -> tuple[str, ...] | None:
    """Site, project and scopes of who shows it; None: nobody."""
    (found,) = people.bearers(hub.database, [sha256])
    if found is None:
        return None
    assert found.project_id is not None
    return (found.subject.id, found.project_id, *sorted(found.scopes))


def test_a_member_gets_one_for_the_project_alone(hub: Hub, lead: Subject, site: Subject) -> None:
    project = hub.project([lead, site])
    made = hub.ok(asked(project, site, for_s=DAY), site)
    (token,) = hub.rows(r.Token, "sha256 = %s", SECRET)
    assert (token.id, token.owner_id, token.project_id, token.scopes) == (made["id"], site.id, project, "client")
    assert 0 <= token.expires_at - hub.clock.now() - (DAY - 1) * SECOND <= SECOND
    assert good_for(hub) == (site.id, project, "client")
    person = hub.account(site.organisation_id or "", "member")
    hub.ok(asked(project, site, OTHER), person)
    listed = people.tokens(hub.database, person, Paging(200), site.id).items
    assert [(one.scopes, one.project_id) for one in listed if one.project_id] == [(["client"], project)] * 2
    told = [entry.kind for entry in hub.inbox(site)]
    assert told.count("token_issued") == 2


def test_who_gets_none(hub: Hub, lead: Subject, site: Subject) -> None:
    project = hub.project([lead, site])
    stranger, admin = hub.site("stranger"), hub.account(hub.organisation("operators"), "admin")
    assert hub.refused(asked(project, site), lead) == (404, "not_found")
    assert hub.refused(asked(project, site), stranger) == (404, "not_found")
    assert hub.refused(asked(project, stranger), stranger) == (404, "not_found")
    assert hub.refused(asked(project, site), admin) == (403, "forbidden")
    hub.ok(asked(project, site), site)
    assert hub.refused(asked(project, site), site) == (409, "token_taken")
    hub.ok(c.ArchiveProject(project_id=project), lead)
    assert hub.refused(asked(project, site, OTHER), site) == (409, "project_archived")
    assert not hub.rows(r.Token, "sha256 = %s", OTHER)


@pytest.mark.parametrize("end", ["leaves", "is removed", "is archived", "retires", "issuer is revoked", "is revoked"])
def test_it_ends_with_the_membership(hub: Hub, lead: Subject, site: Subject, end: str) -> None:
    project, elsewhere = hub.project([lead, site]), hub.project([lead, site], name="elsewhere")
    issuer = "1" * 64
    with_it = hub.ok(c.IssueToken("site", site.id, issuer, "of the agent", ["read", "write"]), site)["id"]
    made = hub.ok(asked(project, site, issued_by=with_it), site)["id"]
    hub.ok(asked(elsewhere, site, OTHER), site)
    hub.ok(asked(project, lead, "c" * 64), lead)
    hub.heard.clear()
    match end:
        case "leaves":
            hub.ok(c.RemoveMember(project_id=project, site_id=site.id), site)
        case "is removed":
            hub.ok(c.RemoveMember(project_id=project, site_id=site.id), lead)
        case "is archived":
            hub.ok(c.ArchiveProject(project_id=project), lead)
        case "retires":
            hub.ok(c.RetireSite(site_id=site.id), site)
        case "issuer is revoked":
            hub.ok(c.RevokeToken(token_id=with_it), site)
        case _:
            hub.ok(c.RevokeToken(token_id=made), site)
    assert good_for(hub) is None
    assert any(one.tokens for one in hub.heard), "what the web remembers of tokens is void"
    assert (good_for(hub, OTHER) is None) == (end == "retires")
    assert (good_for(hub, "c" * 64) is None) == (end == "is archived")
    if end == "leaves":  # nobody gets back what was revoked
        hub.ok(c.PutMember(project_id=project, site_id=site.id), lead)
        hub.ok(c.PutMember(project_id=project, site_id=site.id), site)
        assert good_for(hub) is None


def test_it_lives_no_longer_than_the_token_that_it_was_issued_with(hub: Hub, lead: Subject, site: Subject) -> None:
    project = hub.project([lead, site])
    until = hub.clock.now() + DAY * SECOND
    issuer = hub.ok(c.IssueToken("site", site.id, OTHER, "for a day", ["read", "write"], until), site)["id"]
    hub.ok(asked(project, site, issued_by=issuer), site)
    assert [token.expires_at for token in hub.rows(r.Token, "sha256 = %s", SECRET)] == [until]
    gone = derive("tests", "no token")
    assert hub.refused(asked(project, site, "d" * 64, issued_by=gone), site) == (403, "forbidden")
