"""What is done in a site's name by others stands in its stream, and its people are told, with who did it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.protocol import commands as c
from broker.protocol import records as r
from broker.protocol.commands import Subject
from broker.protocol.events import EventKind, Notice
from tests.hub import Hub

SECRET = "5" * 64


def told(hub: Hub, site: Subject) -> list[tuple[str, dict[str, Any]]]:
    return [(entry.kind, json.loads(entry.facts_json)) for entry in hub.inbox(site)]


def on_record(hub: Hub, site: Subject) -> list[str]:
    """The kinds of events in the site's stream, its enrolment left out."""
    return [str(e.kind) for e in hub.rows(r.Event, "stream_id = %s ORDER BY seq", site.id)][1:]


@pytest.fixture
def site(hub: Hub) -> Subject:
    return hub.site("one")


@pytest.fixture
def admin(hub: Hub) -> Subject:
    return hub.account(hub.organisation("network"), "admin", "Operator")


@pytest.fixture
def colleague(hub: Hub, site: Subject) -> Subject:
    return hub.account(site.organisation_id or "", "member", "Colleague")


def test_a_token_that_an_admin_issued_and_revoked(hub: Hub, site: Subject, admin: Subject) -> None:
    expires = hub.clock.now() + 10**9
    issue = c.IssueToken(
        owner_kind="site", owner_id=site.id, sha256=SECRET, label="spare", scopes=["read", "write"], expires_at=expires
    )
    token = hub.ok(issue, admin)["id"]
    hub.ok(c.RevokeToken(token_id=token), admin)
    by = {"kind": "account", "id": admin.id, "role": "admin"}
    token_facts = {"token_id": token, "owner_id": site.id, "label": "spare"}
    assert told(hub, site) == [
        ("token_issued", {**token_facts, "scopes": "read write", "expires_at": expires, "by": by}),
        ("token_revoked", {**token_facts, "by": by}),
    ]
    assert on_record(hub, site) == ["token_issued", "token_revoked"]
    assert SECRET not in str(hub.inbox(site))


def test_a_token_of_the_site_is_told_whoever_asked(hub: Hub, site: Subject, colleague: Subject) -> None:
    """Who holds a stolen token acts as the site."""
    for number, by in enumerate((site, colleague)):
        secret = str(number) * 64
        hub.ok(c.IssueToken(owner_kind="site", owner_id=site.id, sha256=secret, label="x", scopes=["read"]), by)
    assert [facts["by"].get("name") for _, facts in told(hub, site)] == ["one", "Colleague"]


def test_a_persons_token_is_no_matter_of_a_site(hub: Hub, site: Subject, colleague: Subject) -> None:
    issue = c.IssueToken(owner_kind="account", owner_id=colleague.id, sha256=SECRET, label="x", scopes=["read"])
    hub.ok(issue, colleague)
    assert (told(hub, site), on_record(hub, site)) == ([], [])


def test_another_description(hub: Hub, site: Subject, admin: Subject) -> None:
    hub.ok(c.UpdateSite(site_id=site.id, description="by itself"), site)
    hub.ok(c.UpdateSite(site_id=site.id, description="by another"), admin)
    assert [(kind, facts["description"]) for kind, facts in told(hub, site)] == [("site_updated", "by another")]
    assert on_record(hub, site) == ["site_updated", "site_updated"]


def test_a_key_that_another_revoked(hub: Hub, site: Subject, admin: Subject) -> None:
    hub.ok(hub.key(site, 1), site)
    hub.ok(c.RevokeSiteKey(site_id=site.id, epoch=1, reason="stolen"), admin)
    ((kind, facts),) = told(hub, site)
    assert (kind, facts["reason"], facts["by"]["id"]) == ("key_changed", "stolen", admin.id)


def test_a_retirement_is_the_last_that_a_site_hears(hub: Hub, site: Subject, admin: Subject) -> None:
    hub.ok(c.RetireSite(site_id=site.id), admin)
    hub.ok(c.UpdateSite(site_id=site.id, description="too late"), admin)
    assert [kind for kind, _ in told(hub, site)] == ["site_retired"]


def test_a_membership_that_somebody_took_for_the_site(hub: Hub, site: Subject, colleague: Subject) -> None:
    (boss,) = hub.sites(1)
    project = hub.project([boss], joining="open")
    hub.ok(c.PutMember(project_id=project, site_id=site.id), colleague)
    hub.ok(c.RemoveMember(project_id=project, site_id=site.id, reason="enough"), boss)
    said = [(kind, facts["by"]["kind"], facts["by"].get("name")) for kind, facts in told(hub, site)]
    assert said == [("member_admitted", "account", "Colleague"), ("member_left", "site", "site 0")]
    assert on_record(hub, site) == ["member_admitted", "member_left"]
    event = hub.rows(r.Event, "stream_id = %s AND kind = %s", site.id, EventKind.MEMBER_LEFT)[0]
    assert json.loads(event.facts_json) == {"site_id": site.id, "reason": "enough", "project_id": project}
    others = [facts["by"] for kind, facts in told(hub, boss) if kind == Notice.MEMBER_ADMITTED]
    assert others == [{"kind": "account", "id": colleague.id, "role": "member"}]


def test_what_a_site_does_itself_stands_in_its_projects_stream_alone(hub: Hub, site: Subject) -> None:
    (boss,) = hub.sites(1)
    project = hub.project([boss], joining="open")
    hub.ok(c.PutMember(project_id=project, site_id=site.id), site)
    hub.ok(c.RemoveMember(project_id=project, site_id=site.id), site)
    assert on_record(hub, site) == []
    assert [kind for kind, _ in told(hub, site)] == ["member_admitted", "member_left"]


def test_a_project_that_somebody_created_in_the_sites_name(hub: Hub, site: Subject, colleague: Subject) -> None:
    task = c.TaskSpec(name="t", model="m")
    own = hub.ok(c.CreateProject(coordinator_site_id=site.id, name="own", tasks=[task]), site)["id"]
    anothers = hub.ok(c.CreateProject(coordinator_site_id=site.id, name="another's", tasks=[task]), colleague)["id"]
    assert own != anothers
    ((kind, facts),) = told(hub, site)
    assert (kind, facts["name"], facts["by"]["name"]) == ("project_created", "another's", "Colleague")
    assert [entry.project_id for entry in hub.inbox(site)] == [anothers]
    assert on_record(hub, site) == ["project_created"]


def test_a_conflict_that_somebody_put_on_record(hub: Hub, site: Subject, colleague: Subject) -> None:
    (boss,) = hub.sites(1)
    hub.project([boss, site])
    before = len(told(hub, site))
    conflict = c.ReportConflict(site_id=site.id, about_site_id=boss.id, pinned="1" * 64, seen="2" * 64)
    hub.ok(conflict, colleague)
    ((kind, facts),) = told(hub, site)[before:]
    assert (kind, facts["about_site_id"], facts["by"]["id"]) == ("identity_conflict", boss.id, colleague.id)
