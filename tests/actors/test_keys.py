"""The key directory: epochs in order, grace, revocation, and who is told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain.events import EventKind
from domain.values import Subject
from fedyard.wire.notices import Notice
from fedyard.wire.times import SECOND
from tests.hub import START, Hub
from tests.seals import IDENTITY

DAY = 86_400 * SECOND


def keys(hub: Hub, site: Subject) -> list[tuple[int, str]]:
    found = hub.rows(r.SiteKey, "site_id = %s ORDER BY epoch", site.id)
    return [(key.epoch, key.state) for key in found]


def told(hub: Hub, site: Subject) -> list[dict[str, Any]]:
    return [json.loads(entry.facts_json) for entry in hub.inbox(site) if entry.kind == Notice.KEY_CHANGED]


def events(hub: Hub, site: Subject) -> list[str]:
    return [event.kind for event in hub.rows(r.Event, "stream_id = %s ORDER BY seq", site.id)]


def test_epochs_follow_each_other_and_the_one_before_has_a_grace(hub: Hub) -> None:
    site = hub.site("oslo")
    assert hub.ok(hub.key(site), site) == {"site_id": site.id, "epoch": 1, "state": "current"}
    hub.ok(hub.key(site, 2, grace_s=60), site)
    hub.ok(hub.key(site, 3), site)
    assert keys(hub, site) == [(1, "superseded"), (2, "superseded"), (3, "current")]
    first, second, third = hub.rows(r.SiteKey, "1 = 1 ORDER BY epoch")
    assert first.grace_until - second.added_at == 60 * SECOND
    assert second.grace_until - third.added_at == 7 * DAY
    assert third.grace_until is None
    assert events(hub, site) == [EventKind.SITE_ENROLLED, *[EventKind.KEY_ADDED] * 3]
    stated = hub.rows(r.KeyStatement, "epoch = 2")[0]
    assert (bytes(stated.public_key), bytes(stated.signature)) == (b"\0\2" * 608, bytes(64))


def test_the_same_key_again_changes_nothing(hub: Hub) -> None:
    site = hub.site("oslo")
    hub.ok(hub.key(site), site)
    hub.ok(hub.key(site, 2), site)
    before = hub.rows(r.SiteKey), hub.rows(r.Event)
    assert hub.ok(hub.key(site), site)["state"] == "superseded"
    assert hub.ok(hub.key(site, 2), site)["state"] == "current"
    assert (hub.rows(r.SiteKey), hub.rows(r.Event)) == before


@pytest.mark.parametrize(
    "change", [{"public_key": bytes(1216)}, {"created_at": START + 1}, {"expires_at": START + 2 * DAY}]
)
def test_another_key_in_the_same_epoch_is_refused(hub: Hub, change: dict[str, Any]) -> None:
    site = hub.site("oslo")
    hub.ok(hub.key(site), site)
    assert hub.refused(hub.key(site, 1, **change), site) == (409, "epoch_taken")


@pytest.mark.parametrize("epoch", [0, 2, 7])
def test_an_epoch_that_is_not_the_next_is_refused(hub: Hub, epoch: int) -> None:
    site = hub.site("oslo")
    assert hub.refused(hub.key(site, epoch), site) == (409, "epoch_not_next")


@pytest.mark.parametrize("times", [{"expires_at": START}, {"created_at": START + 400 * DAY}])
def test_a_key_that_has_expired_already_is_refused(hub: Hub, times: dict[str, int]) -> None:
    site = hub.site("oslo")
    assert hub.refused(hub.key(site, **times), site) == (422, "already_expired")


def test_only_the_site_itself_adds_keys(hub: Hub) -> None:
    organisation = hub.organisation("oslo")
    site, other = hub.site("oslo", organisation), hub.site("bergen")
    for by in (other, hub.account(organisation, "member"), hub.account(organisation, "admin", "boss")):
        assert hub.refused(hub.key(site), by) == (403, "forbidden")


def revoke(site: Subject, epoch: int, reason: str = "stolen") -> c.RevokeSiteKey:
    return c.RevokeSiteKey(site_id=site.id, epoch=epoch, reason=reason)


def test_revoking_is_at_once_and_for_good(hub: Hub) -> None:
    site = hub.site("oslo")
    for epoch in (1, 2, 3):
        hub.ok(hub.key(site, epoch), site)
    assert hub.ok(revoke(site, 1), site)["state"] == "revoked"
    assert hub.ok(revoke(site, 3), site)["state"] == "revoked"
    before = hub.rows(r.Event)
    assert hub.ok(revoke(site, 3, "again"), site)["state"] == "revoked"
    assert hub.rows(r.Event) == before
    assert keys(hub, site) == [(1, "revoked"), (2, "superseded"), (3, "revoked")]
    last = hub.rows(r.SiteKey, "epoch = 3")[0]
    assert (last.reason, last.revoked_at is not None) == ("stolen", True)
    assert json.loads(hub.rows(r.Event, "kind = 'key_revoked' ORDER BY seq")[0].facts_json)["epoch"] == 1
    assert hub.ok(hub.key(site, 3), site)["state"] == "revoked"
    hub.ok(hub.key(site, 4), site)
    assert keys(hub, site)[2:] == [(3, "revoked"), (4, "current")]


def test_who_may_revoke(hub: Hub) -> None:
    organisation = hub.organisation("oslo")
    site, other = hub.site("oslo", organisation), hub.site("bergen")
    for epoch in (1, 2, 3):
        hub.ok(hub.key(site, epoch), site)
    assert hub.refused(revoke(site, 1), other) == (404, "not_found")
    assert hub.refused(revoke(site, 9), site) == (404, "not_found")
    hub.ok(revoke(site, 1), hub.account(organisation, "member"))
    hub.ok(revoke(site, 2), hub.account(hub.organisation("operators"), "admin"))
    assert keys(hub, site) == [(1, "revoked"), (2, "revoked"), (3, "current")]
    assert [(one["epoch"], one["state"]) for one in told(hub, site)] == [(1, "revoked"), (2, "revoked")]


def test_whoever_exchanges_payloads_with_the_site_is_told(hub: Hub) -> None:
    sites = hub.sites(4)
    project = hub.project(sites[:3])
    hub.project([sites[3], sites[1]])
    gone = hub.project([sites[3], sites[0]], name="archived")
    hub.ok(c.ArchiveProject(project_id=gone), sites[3])
    hub.ok(c.RemoveMember(project_id=project, site_id=sites[2].id), sites[2])

    hub.ok(hub.key(sites[1]), sites[1])
    added = {"site_id": sites[1].id, "epoch": 1, "state": "current"}
    assert [told(hub, site) for site in sites] == [[added], [], [], [added]]
    hub.ok(hub.key(sites[0]), sites[0])
    assert [one["site_id"] for one in told(hub, sites[1])] == [sites[0].id]
    assert told(hub, sites[2]) == []
    assert [one["site_id"] for one in told(hub, sites[3])] == [sites[1].id]
    assert hub.inbox(sites[1])[-1].project_id == project


# doubts about identities


def conflict(site: Subject, about: Subject, pinned: str = "a" * 64, seen: str = "b" * 64) -> c.ReportConflict:
    return c.ReportConflict(site_id=site.id, about_site_id=about.id, pinned=pinned, seen=seen)


def test_a_conflict_is_on_record_with_both_sites_and_told_to_nobody(hub: Hub) -> None:
    sites = hub.sites(3)
    hub.project(sites)
    before = [hub.inbox(site) for site in sites]
    hub.ok(conflict(sites[1], sites[0]), sites[1])
    found = hub.rows(r.Event, "kind = 'identity_conflict' ORDER BY stream_id")
    assert [event.stream_id for event in found] == sorted([sites[0].id, sites[1].id])
    assert {event.facts_json for event in found} == {found[0].facts_json}
    assert json.loads(found[0].facts_json) == {
        "site_id": sites[1].id,
        "about_site_id": sites[0].id,
        "pinned": "a" * 64,
        "seen": "b" * 64,
        "on_record": IDENTITY,
    }
    assert [hub.inbox(site) for site in sites] == before


def test_a_conflict_is_about_somebody_whom_the_site_knows(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites[:2])
    assert hub.refused(conflict(sites[1], sites[2]), sites[1]) == (404, "not_found")
    assert hub.refused(conflict(sites[1], sites[1]), sites[1]) == (404, "not_found")
    hub.ok(c.RemoveMember(project_id=project, site_id=sites[1].id), sites[1])
    assert hub.refused(conflict(sites[0], sites[1]), sites[0]) == (404, "not_found")


def test_a_conflict_is_the_sites_own_word(hub: Hub) -> None:
    sites = hub.sites(2)
    hub.project(sites)
    assert hub.refused(conflict(sites[1], sites[0]), sites[0]) == (404, "not_found")
    hub.ok(conflict(sites[1], sites[0]), hub.account(sites[1].organisation_id or "", "member"))


def test_two_identities_that_are_the_same_are_no_conflict(hub: Hub) -> None:
    sites = hub.sites(2)
    hub.project(sites)
    command = conflict(sites[1], sites[0], seen="a" * 64)
    assert hub.refused(command, sites[1]) == (422, "no_conflict")
