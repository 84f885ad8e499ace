"""Organisations, accounts, tokens, enrolments, sites, projects and memberships: who may, and what is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import sha256_hex
from domain.values import Subject
from fedyard.wire.notices import Notice
from fedyard.wire.times import SECOND
from storage.due import Due
from tests.hub import KEY, QUICK, Hub

SECRET = sha256_hex(b"a secret")


def test_names_of_organisations_sites_and_projects_are_unique(hub: Hub) -> None:
    sites = hub.sites(1)
    hub.project(sites, name="one")
    task = [v.TaskSpec(name="t", model="m")]
    again = c.CreateProject(coordinator_site_id=sites[0].id, name="one", tasks=task)
    assert hub.refused(c.CreateOrganisation(name="all")) == (409, "name_taken")
    assert hub.refused(again, sites[0]) == (409, "name_taken")


def test_an_enrolment_token_is_good_once_and_for_a_while(hub: Hub) -> None:
    organisation = hub.organisation("one")
    expires = hub.clock.now() + 60 * SECOND
    made = hub.ok(c.CreateEnrolment(organisation_id=organisation, sha256=SECRET, note="", expires_at=expires))
    by = Subject(kind="enrolment", id=made["id"], organisation_id=organisation)
    enrol = c.EnrolSite(name="a", description="", identity_key=KEY, token_sha256=sha256_hex(b"1"))
    hub.ok(enrol, by)
    second = msgspec.structs.replace(enrol, name="b", token_sha256=sha256_hex(b"2"))
    assert hub.refused(second, by) == (409, "enrolment_used")

    late = hub.ok(c.CreateEnrolment(organisation_id=organisation, sha256=sha256_hex(b"x"), note="", expires_at=expires))
    hub.clock.micros += 61 * SECOND
    by = Subject(kind="enrolment", id=late["id"], organisation_id=organisation)
    assert hub.refused(second, by) == (409, "enrolment_expired")


def test_an_enrolment_is_revoked_unless_a_site_has_used_it(hub: Hub) -> None:
    organisation = hub.organisation("one")
    admin = hub.account(organisation, "admin")
    expires = hub.clock.now() + 60 * SECOND

    def made(secret: bytes) -> Subject:
        command = c.CreateEnrolment(
            organisation_id=organisation, sha256=sha256_hex(secret), note="", expires_at=expires
        )
        return Subject(kind="enrolment", id=hub.ok(command, admin)["id"], organisation_id=organisation)

    lost, used = made(b"lost"), made(b"used")
    enrol = c.EnrolSite(name="a", description="", identity_key=KEY, token_sha256=sha256_hex(b"1"))
    assert hub.refused(c.RevokeEnrolment(lost.id), hub.account(organisation, "member")) == (403, "forbidden")
    assert hub.refused(c.RevokeEnrolment(organisation), admin) == (404, "not_found")
    assert hub.ok(c.RevokeEnrolment(lost.id), admin) == {"id": lost.id} == hub.ok(c.RevokeEnrolment(lost.id), admin)
    assert hub.refused(enrol, lost) == (409, "enrolment_used")
    hub.ok(enrol, used)
    assert hub.refused(c.RevokeEnrolment(used.id), admin) == (409, "enrolment_used")
    with hub.database.connection():
        told = hub.database.all("SELECT count(*) FROM events WHERE kind = 'enrolment_revoked'")
    assert told == [(1,)]


def test_only_an_admin_makes_organisations_accounts_and_enrolments(hub: Hub) -> None:
    organisation = hub.organisation("one")
    member = hub.account(organisation, "member")
    commands: list[c.AnyCommand] = [
        c.CreateOrganisation(name="two"),
        c.CreateAccount(organisation_id=organisation, name="x", role="admin", token_sha256=SECRET),
        c.CreateEnrolment(organisation_id=organisation, sha256=SECRET, note="", expires_at=hub.clock.now() + SECOND),
        c.DisableAccount(account_id=member.id),
    ]
    for command in commands:
        assert hub.refused(command, member) == (403, "forbidden")
    admin = hub.account(organisation, "admin")
    hub.ok(commands[0], admin)


def test_an_auditor_changes_nothing(hub: Hub) -> None:
    organisation = hub.organisation("one")
    auditor = hub.account(organisation, "auditor")
    assert hub.refused(c.CreateOrganisation(name="two"), auditor) == (403, "forbidden")


def test_a_disabled_account_decides_nothing_more(hub: Hub) -> None:
    organisation = hub.organisation("one")
    admin = hub.account(organisation, "admin")
    hub.ok(c.DisableAccount(account_id=admin.id))
    assert hub.refused(c.CreateOrganisation(name="two"), admin) == (403, "forbidden")
    assert all(token.revoked_at is not None for token in hub.rows(r.Token))


def test_tokens_are_issued_to_oneself_and_ones_sites_and_revoked(hub: Hub) -> None:
    site = hub.site("one")
    member = hub.account(site.organisation_id or "", "member")
    stranger = hub.account(hub.organisation("other"), "member")
    issue = c.IssueToken(owner_kind="site", owner_id=site.id, sha256=SECRET, label="second", scopes=["read"])
    assert hub.refused(issue, stranger) == (404, "not_found")
    token = hub.ok(issue, member)["id"]
    assert hub.rows(r.Token, "id = %s", token)[0].scopes == "read"
    assert hub.refused(issue, member) == (409, "token_taken")
    assert hub.refused(c.RevokeToken(token_id=token), stranger)[0] in (403, 404)
    hub.ok(c.RevokeToken(token_id=token), site)
    assert hub.rows(r.Token, "id = %s", token)[0].revoked_at is not None


def test_a_token_that_expires_in_the_past_is_refused(hub: Hub) -> None:
    site = hub.site("one")
    issue = c.IssueToken(owner_kind="site", owner_id=site.id, sha256=SECRET, label="x", scopes=["read"], expires_at=1)
    assert hub.refused(issue, site) == (422, "already_expired")


def test_silence_and_return_are_noted_once_each(hub: Hub) -> None:
    site = hub.site("one")
    hub.clock.micros += 100 * SECOND
    with hub.database.connection():
        assert [found[0] for found in Due(hub.database).gone_silent(hub.clock.now() - 90 * SECOND)] == [site.id]
    for _ in range(2):
        hub.ok(c.MarkSitesSilent(site_ids=[site.id]))
    assert hub.rows(r.Site)[0].state == "silent"
    hub.clock.micros += SECOND
    hub.store.record_heartbeats([c.Beat(site.id, hub.clock.now())], [])
    with hub.database.connection():
        assert [found[0] for found in Due(hub.database).returned(hub.clock.now() - SECOND)] == [site.id]
    for _ in range(2):
        hub.ok(c.MarkSitesReturned(site_ids=[site.id]))
    kinds = [event.kind for event in hub.rows(r.Event, "stream_id = %s ORDER BY seq", site.id)]
    assert kinds == ["site_enrolled", "site_fell_silent", "site_returned"]
    assert hub.refused(c.MarkSitesSilent(site_ids=[site.id]), site) == (403, "forbidden")


def test_a_retired_site_leaves_everything(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites, tasks=[v.TaskSpec(name="t", model="m", contract=v.Contract(quorum=0.5))])
    run = hub.start(project, sites[0])
    hub.ok(c.RetireSite(site_id=sites[2].id), sites[2])
    assert (hub.seat(run, sites[2]).state, hub.seat(run, sites[2]).reason) == ("dropped", "site_retired")
    membership = hub.rows(r.Membership, "site_id = %s", sites[2].id)[0]
    assert membership.state == "left"
    assert hub.refused(c.PutMember(project_id=project, site_id=sites[2].id), sites[2]) == (403, "forbidden")
    assert hub.refused(c.RetireSite(site_id=sites[0].id), sites[0]) == (409, "coordinates_projects")
    assert hub.refused(c.RetireSite(site_id=sites[0].id), sites[1]) == (404, "not_found")


@pytest.mark.parametrize(
    ("joining", "first", "second"), [("open", "active", "active"), ("approval", "requested", "active")]
)
def test_joining(hub: Hub, joining: v.Joining, first: str, second: str) -> None:
    sites = hub.sites(2)
    project = hub.project(sites[:1], joining=joining)
    join = c.PutMember(project_id=project, site_id=sites[1].id, notes="3,000 patients")
    assert hub.ok(join, sites[1])["state"] == first
    assert hub.ok(join, sites[1])["state"] == first
    assert hub.ok(join, sites[0])["state"] == second
    assert hub.rows(r.Membership, "site_id = %s", sites[1].id)[0].notes == "3,000 patients"


def test_joining_by_invitation(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites[:1], joining="invitation")
    join = c.PutMember(project_id=project, site_id=sites[1].id)
    assert hub.refused(join, sites[1]) == (404, "not_found")
    assert hub.ok(join, sites[0])["state"] == "invited"
    assert hub.inbox(sites[1])[-1].kind == Notice.MEMBER_INVITED
    assert hub.ok(join, sites[1])["state"] == "active"
    assert hub.refused(c.PutMember(project_id=project, site_id=sites[2].id), sites[1]) == (403, "forbidden")


def test_declining_and_leaving(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites[:1], joining="invitation")
    for site in sites[1:]:
        hub.ok(c.PutMember(project_id=project, site_id=site.id), sites[0])
    assert hub.ok(c.RemoveMember(project_id=project, site_id=sites[1].id), sites[1])["state"] == "declined"
    hub.ok(c.PutMember(project_id=project, site_id=sites[2].id), sites[2])
    assert hub.ok(c.RemoveMember(project_id=project, site_id=sites[2].id), sites[0])["state"] == "left"
    assert hub.refused(c.RemoveMember(project_id=project, site_id=sites[0].id), sites[0]) == (409, "is_coordinator")


@pytest.mark.parametrize(
    "tasks",
    [
        [v.TaskSpec(name="t", model="m"), v.TaskSpec(name="t", model="m")],
        [v.TaskSpec(name="t", model="m", after=["nobody"])],
        [v.TaskSpec(name="a", model="m", after=["b"]), v.TaskSpec(name="b", model="m", after=["a"])],
        [v.TaskSpec(name="t", model="m", contract=v.Contract(quorum=2))],
        [v.TaskSpec(name="t", model="m", contract=v.Contract(quorum=1.5, quorum_of="count"))],
    ],
)
def test_impossible_tasks_are_refused(hub: Hub, tasks: list[v.TaskSpec]) -> None:
    sites = hub.sites(1)
    command = c.CreateProject(coordinator_site_id=sites[0].id, name="p", tasks=tasks)
    assert hub.refused(command, sites[0]) == (422, "tasks_impossible")


def test_a_live_run_keeps_its_tasks_and_holds_its_project(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    run = hub.start(project, sites[0])
    more = [v.TaskSpec(name="other", model="m", contract=QUICK)]
    hub.ok(c.UpdateProject(project_id=project, tasks=more, description="new"), sites[0])
    assert hub.task(run).name == "train"
    assert hub.refused(c.ArchiveProject(project_id=project), sites[0]) == (409, "run_live")
    hub.ok(c.StopRun(run_id=run), sites[0])
    hub.ok(c.ArchiveProject(project_id=project), sites[0])
    assert hub.refused(c.StartRun(project_id=project), sites[0]) == (409, "project_archived")
    assert hub.refused(c.UpdateProject(project_id=project, description="x"), sites[1])[0] in (403, 404, 409)


class TestIssuedTokens:
    """A token gives on no more than it has, and what it gave goes with it."""

    def token_of(self, hub: Hub, by: Subject) -> r.Token:
        return hub.rows(r.Token, "owner_id = %s ORDER BY created_at", by.id)[0]

    def issue(self, hub: Hub, owner: Subject, by: Subject, issuer: str, name: str, **more: Any) -> str:
        return hub.ok(self.asking(owner, issuer, name, **more), by)["id"]

    def asking(self, owner: Subject, issuer: str, name: str, **more: Any) -> c.IssueToken:
        more.setdefault("scopes", ["read", "write"])
        return c.IssueToken(
            owner_kind="site" if owner.kind == "site" else "account",
            owner_id=owner.id,
            sha256=sha256_hex(name.encode()),
            label=name,
            issued_by=issuer,
            **more,
        )

    def live(self, hub: Hub) -> set[str]:
        return {token.label for token in hub.rows(r.Token, "revoked_at IS NULL AND label <> 'first'")}

    def test_revoking_one_reaches_what_it_issued(self, hub: Hub) -> None:
        site = hub.site("one")
        member = hub.account(site.organisation_id or "", "member")
        first = self.token_of(hub, member).id
        second = self.issue(hub, member, member, first, "second")
        third = self.issue(hub, site, member, second, "third")
        self.issue(hub, site, site, third, "fourth")
        self.issue(hub, site, member, first, "beside")
        assert self.live(hub) == {"second", "third", "fourth", "beside"}
        hub.ok(c.RevokeToken(token_id=second), member)
        assert self.live(hub) == {"beside"}
        assert hub.refused(self.asking(site, third, "fifth"), site) == (403, "forbidden")

    def test_in_one_batch_too(self, hub: Hub) -> None:
        site = hub.site("one")
        first = self.token_of(hub, site).id
        second = self.issue(hub, site, site, first, "second")
        third = self.issue(hub, site, site, second, "third")
        batch = [c.RevokeToken(token_id=second), self.asking(site, third, "fourth"), self.asking(site, second, "fifth")]
        hub.batch([hub.envelope(command, site) for command in batch])
        assert self.live(hub) == set()

    def test_a_disabled_account_takes_along_what_it_issued(self, hub: Hub) -> None:
        site = hub.site("one")
        member = hub.account(site.organisation_id or "", "member")
        self.issue(hub, site, member, self.token_of(hub, member).id, "for the site")
        hub.ok(c.DisableAccount(account_id=member.id))
        assert self.live(hub) == set()
        assert self.token_of(hub, site).revoked_at is None

    def test_none_lives_longer_or_may_more(self, hub: Hub) -> None:
        site = hub.site("one")
        first = self.token_of(hub, site).id
        until = hub.clock.now() + 60 * SECOND
        short = self.issue(hub, site, site, first, "short", scopes=["read"], expires_at=until)
        assert hub.refused(self.asking(site, short, "wide", expires_at=until), site) == (403, "scope_missing")
        long = self.asking(site, short, "long", scopes=["read"], expires_at=until + 1)
        assert hub.refused(long, site) == (422, "outlives_issuer")
        self.issue(hub, site, site, short, "same", scopes=["read"])
        (same,) = hub.rows(r.Token, "label = %s", "same")
        assert same.expires_at == until
        hub.clock.sleep(61)
        assert hub.refused(self.asking(site, short, "late", scopes=["read"]), site) == (403, "forbidden")


def test_a_run_that_starts_says_who_was_left_waiting(hub: Hub) -> None:
    lead, asking, other = hub.sites(3)
    project = hub.project([lead], joining="approval")
    for site in (asking, other):
        hub.ok(c.PutMember(project_id=project, site_id=site.id), site)
    assert hub.ok(c.StartRun(project_id=project), lead)["requests_waiting"] == 2
    (created,) = hub.rows(r.Event, "kind = 'run_created'")
    assert '"requests_waiting":2' in created.facts_json
