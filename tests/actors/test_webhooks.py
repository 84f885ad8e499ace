"""Webhooks: who may have one, who is told of what, once; attempts, back-off, disabling, redelivery."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from actors.requests import Answered
from actors.ticker import Ticker
from actors.webhooks import WebhookDoer
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.ids import Id
from domain.rules import Rules
from domain.values import Subject
from domain.webhooks import AGAIN_AFTER_S, LEASE_S, MAX_ATTEMPTS, OVERLAP_S, WAITS_S
from storage.due import Due
from storage.tables import COLUMNS
from tests.actors.test_time import Kept
from tests.hub import SECOND, Hub

URL = "https://hooks.example.org/in"
ALL_KINDS: list[v.WebhookKind] = [
    "run.ended",
    "seat.left_out",
    "site.silent",
    "site.returned",
    "identity.conflict",
]
DAY = 86_400


def of_organisation(hub: Hub, organisation: Id, by: Subject, **more: Any) -> Id:
    more.setdefault("kinds", ALL_KINDS)
    return hub.ok(c.CreateWebhook(owner_kind="organisation", owner_id=organisation, url=URL, **more), by)["id"]


def of_project(hub: Hub, project: Id, by: Subject, **more: Any) -> Id:
    more.setdefault("kinds", ALL_KINDS)
    return hub.ok(c.CreateWebhook(owner_kind="project", owner_id=project, url=URL, **more), by)["id"]


def look(hub: Hub) -> None:
    """What the ticker finds for webhooks, until it finds nothing more."""
    while True:
        with hub.database.connection():
            untold, due = Due(hub.database).untold(), Due(hub.database).deliveries(hub.clock.now())
        for kind, stream, after, seqs in untold:
            hub.ok(c.QueueDeliveries(stream_kind=kind, stream_id=stream, after=after, seqs=seqs))
        if due:
            hub.ok(c.BeginDeliveries(delivery_ids=[one for one, _ in due]))
        if not untold and not due:
            return


def deliveries(hub: Hub, webhook: Id) -> list[r.WebhookDelivery]:
    return sorted(hub.rows(r.WebhookDelivery, "webhook_id = %s", webhook), key=lambda one: (one.created_at, one.cause))


def kinds(hub: Hub, webhook: Id) -> list[str]:
    return sorted(one.kind for one in deliveries(hub, webhook))


def end_a_run(hub: Hub, project: Id, coordinator: Subject, reason: str = "") -> Id:
    run = hub.start(project, coordinator)
    hub.ok(c.StopRun(run_id=run, reason=reason), coordinator)
    return run


def report(hub: Hub, delivery: r.WebhookDelivery, status: int | None = 200, **more: Any) -> r.WebhookDelivery:
    """Of the attempt that is under way."""
    more.setdefault("attempt", hub.rows(r.WebhookDelivery, "id = %s", delivery.id)[0].attempts)
    hub.ok(c.ReportDelivery(delivery_id=delivery.id, status=status, **more))
    return hub.rows(r.WebhookDelivery, "id = %s", delivery.id)[0]


def stream_kinds(hub: Hub, stream: Id) -> list[str]:
    return [event.kind for event in sorted(hub.rows(r.Event, "stream_id = %s", stream), key=lambda one: one.seq)]


# who may


def test_an_organisations_members_and_admins_have_webhooks_for_it_and_nobody_else(hub: Hub) -> None:
    organisation, other = hub.organisation("one"), hub.organisation("two")
    member, stranger, admin = (
        hub.account(organisation, "member"),
        hub.account(other, "member"),
        hub.account(other, "admin"),
    )
    site = hub.site("a", organisation)
    command = c.CreateWebhook(owner_kind="organisation", owner_id=organisation, url=URL, kinds=["site.silent"])
    assert hub.refused(command, stranger) == (404, "not_found")
    assert hub.refused(command, site) == (404, "not_found")
    assert hub.refused(msgspec.structs.replace(command, owner_id=member.id), member) == (404, "not_found")
    made = [hub.ok(command, by)["id"] for by in (member, admin)]
    for change in (c.RotateWebhook, c.EnableWebhook, c.DeleteWebhook):
        assert hub.refused(change(webhook_id=made[0]), stranger) == (404, "not_found")
        assert hub.ok(change(webhook_id=made[0]), member)["id"] == made[0]
    assert hub.refused(c.RotateWebhook(webhook_id=made[0]), member) == (404, "not_found")
    gone = hub.rows(r.Webhook, "id = %s", made[0])[0]
    assert (gone.state, gone.url) == ("deleted", "")
    told = ["webhook_created", "webhook_created", "webhook_rotated", "webhook_deleted"]
    assert [kind for kind in stream_kinds(hub, organisation) if kind.startswith("webhook")] == told
    assert URL not in json.dumps([one.facts_json for one in hub.rows(r.Event)])


def test_a_projects_coordinator_has_webhooks_for_it_and_a_participant_none(hub: Hub) -> None:
    sites = [hub.site("a"), hub.site("b"), hub.site("c")]
    project = hub.project(sites[:2])
    command = c.CreateWebhook(owner_kind="project", owner_id=project, url=URL, kinds=["run.ended"])
    assert hub.refused(command, sites[1]) == (403, "forbidden")
    webhook = hub.ok(command, sites[0])["id"]
    person = hub.account(sites[0].organisation_id or "", "member")
    assert hub.ok(c.RotateWebhook(webhook_id=webhook), person) == {"id": webhook, "version": 2}
    for stranger in sites[1:]:
        assert hub.refused(c.DeleteWebhook(webhook_id=webhook), stranger) == (404, "not_found")


def test_dead_letters_are_for_admins_and_webhooks_are_limited(hub: Hub) -> None:
    organisation = hub.organisation("one")
    member, admin = hub.account(organisation, "member"), hub.account(organisation, "admin")
    command = c.CreateWebhook(
        owner_kind="organisation", owner_id=organisation, url=URL, kinds=["run.ended", "dead_letter.found"]
    )
    assert hub.refused(command, member) == (403, "forbidden")
    for _ in range(20):
        last = hub.ok(command, admin)["id"]
    assert hub.refused(command, admin) == (409, "too_many")
    hub.ok(c.DeleteWebhook(webhook_id=last), admin)
    hub.ok(command, admin)


def test_a_webhook_that_tells_of_dead_letters_is_an_admins_to_change(hub: Hub) -> None:
    """A member that rotates its secret could speak to the admin's receiver in the hub's name."""
    organisation = hub.organisation("one")
    admin, member = hub.account(organisation, "admin"), hub.account(organisation, "member")
    webhook = of_organisation(hub, organisation, admin, kinds=["dead_letter.found", "run.ended"])
    for change in (c.RotateWebhook, c.EnableWebhook, c.DeleteWebhook, c.RedeliverWebhook):
        more = {"since": 0} if change is c.RedeliverWebhook else {}
        assert hub.refused(change(webhook_id=webhook, **more), member) == (403, "forbidden")
        assert hub.ok(c.RotateWebhook(webhook_id=webhook), admin)["id"] == webhook


def test_an_archived_project_gets_no_webhook(hub: Hub) -> None:
    coordinator = hub.site("a")
    project = hub.project([coordinator])
    hub.ok(c.ArchiveProject(project_id=project), coordinator)
    command = c.CreateWebhook(owner_kind="project", owner_id=project, url=URL, kinds=["run.ended"])
    assert hub.refused(command, coordinator) == (409, "project_archived")


# who is told of what


def test_the_end_of_a_run_is_told_to_its_coordinator_and_to_its_members_organisations(hub: Hub) -> None:
    sites = [hub.site("a"), hub.site("b"), hub.site("c")]
    project, other = hub.project(sites[:2]), hub.project([sites[2]])
    end_a_run(hub, project, sites[0])  # before there was anybody to be told
    people = [hub.account(site.organisation_id or "", "member") for site in sites]
    own = [of_organisation(hub, who.organisation_id or "", who) for who in people]
    of_it = of_project(hub, project, sites[0])
    run = end_a_run(hub, project, sites[0], reason="a word that stays here")
    look(hub)
    assert [kinds(hub, webhook) for webhook in (*own, of_it)] == [["run.ended"], ["run.ended"], [], ["run.ended"]]
    told = deliveries(hub, of_it)[0]
    event = hub.rows(r.Event, "run_id = %s AND kind = 'run_cancelled'", run)[0]
    assert json.loads(told.body) == {
        "type": "run.ended",
        "timestamp": "2027-01-15T08:00:00." + f"{event.at % SECOND:06d}Z",
        "data": {
            "event": {"stream_id": project, "seq": event.seq},
            "project_id": project,
            "run_id": run,
            "number": 2,
            "attempt": 1,
            "state": "cancelled",
            "reason": "stopped",
        },
    }
    end_a_run(hub, other, sites[2])
    look(hub)
    assert [kinds(hub, webhook) for webhook in (*own, of_it)] == [["run.ended"]] * 4


def test_a_seat_left_out_is_told_to_its_own_organisation_and_not_to_the_others(hub: Hub) -> None:
    sites = [hub.site("a"), hub.site("b"), hub.site("c")]
    project = hub.project(sites)
    people = [hub.account(site.organisation_id or "", "member") for site in sites]
    own = [of_organisation(hub, who.organisation_id or "", who, kinds=["seat.left_out"]) for who in people]
    run = hub.start(project, sites[0])
    hub.ready_all(run, sites)
    hub.submit_all(run, sites)
    left = [c.LeftOut(site_id=sites[1].id, reason="unreadable", detail="somebody's words")]
    hub.ok(c.ReportAggregated(run_id=run, task_seq=1, round=1, model=b"model", left_out=left), sites[0])
    look(hub)
    assert [kinds(hub, webhook) for webhook in own] == [["seat.left_out"], ["seat.left_out"], []]
    body = deliveries(hub, own[1])[0].body
    data = json.loads(body)["data"]
    assert (data["site_id"], data["reason"], data["round"], data["run_id"]) == (sites[1].id, "unreadable", 1, run)
    assert "somebody's words" not in body


def test_silence_and_return_are_told_to_the_sites_organisation_and_to_its_coordinators(hub: Hub) -> None:
    sites = [hub.site("a"), hub.site("b"), hub.site("c")]
    project, other = hub.project(sites[:2]), hub.project([sites[2]])
    member = hub.account(sites[1].organisation_id or "", "member")
    own = of_organisation(hub, member.organisation_id or "", member)
    projects = [of_project(hub, project, sites[0]), of_project(hub, other, sites[2])]
    hub.clock.micros += 100 * SECOND
    hub.ok(c.MarkSitesSilent(site_ids=[sites[1].id]))
    look(hub)
    assert [kinds(hub, each) for each in (own, *projects)] == [["site.silent"], ["site.silent"], []]
    assert json.loads(deliveries(hub, own)[0].body)["data"]["state"] == "silent"
    hub.clock.micros += SECOND
    hub.store.record_heartbeats([c.Beat(site_id=sites[1].id, seen_at=hub.clock.now())], [])
    hub.ok(c.MarkSitesReturned(site_ids=[sites[1].id]))
    look(hub)
    assert [len(deliveries(hub, each)) for each in (own, *projects)] == [2, 2, 0]


def test_a_conflict_of_identities_is_told_to_the_organisations_of_both_and_to_no_coordinator(hub: Hub) -> None:
    sites = [hub.site("a"), hub.site("b"), hub.site("c")]
    project = hub.project(sites)
    people = [hub.account(site.organisation_id or "", "member") for site in sites]
    own = [of_organisation(hub, who.organisation_id or "", who) for who in people]
    of_it = of_project(hub, project, sites[0])
    conflict = c.ReportConflict(site_id=sites[1].id, about_site_id=sites[2].id, pinned="a" * 64, seen="b" * 64)
    hub.ok(conflict, sites[1])
    look(hub)
    assert [kinds(hub, each) for each in (*own, of_it)] == [[], ["identity.conflict"], ["identity.conflict"], []]


def test_only_what_was_asked_for_is_told(hub: Hub) -> None:
    site = hub.site("a")
    project = hub.project([site])
    webhook = of_project(hub, project, site, kinds=["site.silent"])
    end_a_run(hub, project, site)
    look(hub)
    assert deliveries(hub, webhook) == []


def test_two_tickers_that_find_the_same_event_make_one_delivery(hub: Hub) -> None:
    site = hub.site("a")
    project = hub.project([site])
    webhook = of_project(hub, project, site)
    end_a_run(hub, project, site)
    with hub.database.connection():
        kind, stream, after, seqs = Due(hub.database).untold()[0]
    found = c.QueueDeliveries(stream_kind=kind, stream_id=stream, after=after, seqs=seqs)
    batch = hub.batch([hub.envelope(found), hub.envelope(found)])
    assert [json.loads(one.answer_json) for one in batch.decided] == [{"queued": 1}, {"queued": 0}]
    hub.drain()
    assert hub.ok(found) == {"queued": 0}
    assert len(deliveries(hub, webhook)) == 1
    assert len(hub.done) == 1


def test_a_stream_with_thousands_of_events_leaves_the_ticker_those_of_the_others(hub: Hub) -> None:
    sites = [hub.site("a"), hub.site("b")]
    projects = sorted((hub.project([site]), site) for site in sites)
    for project, site in projects:
        of_project(hub, project, site)
        end_a_run(hub, project, site)
    first = projects[0][0]
    model = next(one for one in hub.rows(r.Event, "stream_id = %s", first) if one.kind == "run_cancelled")
    columns = ", ".join(COLUMNS[r.Event])
    values = columns.replace("seq", "seq + %s")
    for further in range(1, 601):
        hub.database.execute(
            f"INSERT INTO events ({columns}) SELECT {values} FROM events WHERE stream_id = %s AND seq = %s",
            (1000 + further, first, model.seq),
        )
    with hub.database.connection():
        untold = Due(hub.database).untold()
    assert [(one.stream_id, len(one.seqs)) for one in untold] == [(first, 100), (projects[1][0], 1)]
    assert untold[0].seqs == sorted(untold[0].seqs)
    assert untold[0].seqs[0] == model.seq


def test_a_retired_coordinators_projects_are_told_nothing_more(hub: Hub) -> None:
    sites = [hub.site("a"), hub.site("b")]
    project = hub.project(sites)
    webhook = of_project(hub, project, sites[0])
    hub.ok(c.ArchiveProject(project_id=project), sites[0])
    hub.ok(c.RetireSite(site_id=sites[0].id), hub.account(hub.organisation("network"), "admin"))
    hub.clock.micros += 100 * SECOND
    hub.ok(c.MarkSitesSilent(site_ids=[sites[1].id]))
    look(hub)
    assert kinds(hub, webhook) == []


def test_without_a_webhook_the_ticker_finds_nothing_however_much_happened(hub: Hub) -> None:
    site = hub.site("a")
    end_a_run(hub, hub.project([site]), site)
    with hub.database.connection():
        assert Due(hub.database).untold() == []
    assert hub.rows(r.EventCursor) == []


# attempts


@pytest.fixture
def scene(hub: Hub) -> tuple[Subject, Id, r.WebhookDelivery]:
    """A project's coordinator, its webhook, and one delivery whose first attempt is under way."""
    site = hub.site("a")
    project = hub.project([site])
    webhook = of_project(hub, project, site)
    end_a_run(hub, project, site)
    look(hub)
    return site, webhook, deliveries(hub, webhook)[0]


def commands(hub: Hub) -> list[c.DeliverWebhook]:
    return [envelope.command for envelope in hub.done]


def test_the_first_attempt_is_made_at_once_and_a_success_settles_it(hub: Hub, scene: Any) -> None:
    site, webhook, delivery = scene
    assert commands(hub) == [
        c.DeliverWebhook(
            organisation_id=site.organisation_id or "",
            webhook_id=webhook,
            delivery_id=delivery.id,
            attempt=1,
            url=URL,
            body=delivery.body,
            versions=[1],
        )
    ]
    settled = report(hub, delivery, 204)
    assert (settled.state, settled.status, settled.next_at) == ("delivered", 204, None)
    hub.clock.micros += 30 * DAY * SECOND
    look(hub)
    assert len(commands(hub)) == 1


def test_failures_are_tried_again_on_the_schedule_and_given_up_behind_it(hub: Hub, scene: Any) -> None:
    _, webhook, delivery = scene
    for attempt, seconds in enumerate(AGAIN_AFTER_S, start=1):
        assert commands(hub)[-1].attempt == attempt
        failed = report(hub, delivery, 500)
        assert failed.state == "waiting"
        assert failed.next_at is not None
        assert seconds <= (failed.next_at - hub.clock.now()) / SECOND <= seconds * 1.1
        hub.clock.micros = failed.next_at - 1 * SECOND
        look(hub)
        assert len(commands(hub)) == attempt
        hub.clock.micros = failed.next_at
        look(hub)
        assert len(commands(hub)) == attempt + 1
    settled = report(hub, delivery, None, failure="timeout")
    assert (settled.state, settled.status, settled.failure, settled.attempts) == ("failed", None, "timeout", 10)
    assert hub.rows(r.Webhook, "id = %s", webhook)[0].state == "active"


def test_what_a_receiver_asks_for_is_waited_for(hub: Hub, scene: Any) -> None:
    _, _, delivery = scene
    failed = report(hub, delivery, 429, retry_after_s=900.0)
    assert failed.next_at == hub.clock.now() + 900 * SECOND
    hub.clock.micros = failed.next_at
    look(hub)
    failed = report(hub, delivery, 503, retry_after_s=1e9)
    assert failed.next_at == hub.clock.now() + DAY * SECOND


def test_an_attempt_that_nobody_reports_on_is_begun_again_and_a_late_success_counts(hub: Hub, scene: Any) -> None:
    _, _, delivery = scene
    hub.clock.micros += LEASE_S * SECOND
    look(hub)
    assert [command.attempt for command in commands(hub)] == [1, 2]
    assert {command.delivery_id for command in commands(hub)} == {delivery.id}
    assert report(hub, delivery, 200, attempt=1).state == "delivered"
    assert report(hub, delivery, 500, attempt=2).state == "delivered"


def test_a_failure_counts_once_however_often_it_is_reported(hub: Hub, scene: Any) -> None:
    _, _, delivery = scene
    first = report(hub, delivery, 500, attempt=1)
    assert report(hub, delivery, 503, attempt=1) == first
    assert first.failures == 1


def test_what_finds_no_place_comes_again_soon_and_is_no_failure(hub: Hub, scene: Any) -> None:
    _, webhook, delivery = scene
    waits = report(hub, delivery, None, failure="busy")
    assert (waits.failures, waits.next_at) == (0, hub.clock.now() + 5 * SECOND)
    assert hub.rows(r.Webhook, "id = %s", webhook)[0].failing_since is None


def test_what_finds_no_place_for_long_comes_ever_less_often_and_is_given_up_when_its_time_is_over(
    hub: Hub, scene: Any
) -> None:
    _, webhook, delivery = scene
    began, waits = hub.clock.now(), delivery
    while hub.clock.now() < began + DAY * SECOND // 4:
        waits = report(hub, delivery, None, failure="busy")
        assert waits.state == "waiting"
        assert waits.next_at is not None
        assert waits.next_at <= hub.clock.now() + 300 * SECOND
        hub.clock.micros = waits.next_at
        look(hub)
    assert MAX_ATTEMPTS < waits.attempts < 120
    hub.clock.micros = began + WAITS_S * SECOND
    report(hub, delivery, None, failure="busy")
    hub.clock.micros += 300 * SECOND
    look(hub)
    settled = deliveries(hub, webhook)[0]
    assert (settled.state, settled.failure, settled.failures) == ("failed", "busy", 0)


def test_an_attempt_that_waited_for_longer_than_its_report_is_waited_for_is_not_made(hub: Hub, scene: Any) -> None:
    asked: list[str] = []

    def post(owner: str, *_: object) -> Answered:
        asked.append(owner)
        return Answered(200)

    doer = WebhookDoer(bytes(32), post, hub.clock)
    hub.clock.micros += LEASE_S * SECOND - 1
    assert len(doer(hub.done[0])) == 1
    hub.clock.micros += 1
    assert doer(hub.done[0]) == []
    assert asked == [scene[0].organisation_id]


def test_what_is_never_reported_is_given_up_in_the_end(hub: Hub, scene: Any) -> None:
    _, webhook, _delivery = scene
    for _ in range(MAX_ATTEMPTS):
        hub.clock.micros += LEASE_S * SECOND
        look(hub)
    settled = deliveries(hub, webhook)[0]
    assert (settled.state, settled.failure, settled.attempts) == ("failed", "not_reported", MAX_ATTEMPTS)


# disabled, enabled, delivered again, rotated


def test_410_disables_at_once_and_what_waits_is_given_up(hub: Hub, scene: Any) -> None:
    site, webhook, delivery = scene
    project = hub.rows(r.Webhook)[0].owner_id
    end_a_run(hub, project, site)
    look(hub)
    other = next(one for one in deliveries(hub, webhook) if one.id != delivery.id)
    report(hub, other, 500)
    assert report(hub, delivery, 410).state == "failed"
    found = hub.rows(r.Webhook, "id = %s", webhook)[0]
    assert (found.state, found.reason) == ("disabled", "gone")
    assert stream_kinds(hub, project)[-1] == "webhook_disabled"
    hub.clock.micros += 60 * SECOND
    look(hub)
    assert [(one.state, one.failure) for one in deliveries(hub, webhook) if one.id == other.id] == [
        ("failed", "webhook_disabled")
    ]
    assert hub.refused(c.RedeliverWebhook(webhook_id=webhook, delivery_id=other.id), site) == (409, "webhook_disabled")


def test_what_waits_for_one_webhook_is_bounded_and_what_it_is_not_told_is_counted(hub: Hub, scene: Any) -> None:
    site, webhook, _ = scene
    project = hub.rows(r.Webhook)[0].owner_id
    other = of_organisation(hub, site.organisation_id, hub.account(site.organisation_id, "member"))
    hub.rules = Rules(webhook_waiting=4)

    def end_runs(times: int) -> tuple[int, int, int]:
        for _ in range(times):
            end_a_run(hub, project, site)
        look(hub)
        return (
            len(deliveries(hub, webhook)),
            len(deliveries(hub, other)),
            hub.rows(r.Webhook, "id = %s", webhook)[0].dropped,
        )

    assert end_runs(3) == (4, 3, 0)
    assert end_runs(3) == (4, 4, 3)
    for delivery in deliveries(hub, other):
        report(hub, delivery)
    for delivery in deliveries(hub, webhook)[:2]:
        report(hub, delivery)
    assert end_runs(1) == (4, 5, 4), "half of the room is not free yet"
    report(hub, deliveries(hub, webhook)[2])
    assert end_runs(1) == (5, 6, 0)
    told = [(e.kind, json.loads(e.facts_json)) for e in hub.rows(r.Event, "kind LIKE 'webhook%%'")]
    of_webhook = [(kind, facts) for kind, facts in told if facts["webhook_id"] == webhook]
    assert of_webhook[1:] == [
        ("webhook_overflowed", {"webhook_id": webhook, "waiting": 4}),
        ("webhook_caught_up", {"webhook_id": webhook, "dropped": 4}),
    ]


def test_long_failure_disables_with_an_event_and_enabling_tells_only_what_comes(hub: Hub, scene: Any) -> None:
    site, webhook, delivery = scene
    project = hub.rows(r.Webhook)[0].owner_id
    while hub.rows(r.WebhookDelivery, "id = %s", delivery.id)[0].state == "waiting":
        failed = report(hub, delivery, 500)
        hub.clock.micros = failed.next_at or hub.clock.micros
        look(hub)
    assert hub.rows(r.Webhook, "id = %s", webhook)[0].state == "active"
    hub.clock.micros += 4 * DAY * SECOND
    end_a_run(hub, project, site)
    look(hub)
    report(hub, deliveries(hub, webhook)[-1], 500)
    found = hub.rows(r.Webhook, "id = %s", webhook)[0]
    assert (found.state, found.reason) == ("disabled", "failing")
    assert json.loads(hub.rows(r.Event, "kind = 'webhook_disabled'")[0].facts_json)["failures"] == 11
    end_a_run(hub, project, site)
    look(hub)
    assert len(deliveries(hub, webhook)) == 2
    hub.clock.micros += SECOND
    hub.ok(c.EnableWebhook(webhook_id=webhook), site)
    look(hub)
    assert len(deliveries(hub, webhook)) == 2
    end_a_run(hub, project, site)
    look(hub)
    assert len(deliveries(hub, webhook)) == 3
    found = hub.rows(r.Webhook, "id = %s", webhook)[0]
    assert (found.state, found.failing_since, found.failures) == ("active", None, 0)


def test_a_success_ends_the_row_of_failures(hub: Hub, scene: Any) -> None:
    _, webhook, delivery = scene
    report(hub, delivery, 500)
    assert hub.rows(r.Webhook, "id = %s", webhook)[0].failures == 1
    hub.clock.micros += 10 * SECOND
    look(hub)
    report(hub, delivery, 200)
    assert hub.rows(r.Webhook, "id = %s", webhook)[0].failing_since is None


def test_one_delivery_or_all_that_failed_are_delivered_again_under_their_ids(hub: Hub, scene: Any) -> None:
    site, webhook, delivery = scene
    report(hub, delivery, 200)
    hub.ok(c.RedeliverWebhook(webhook_id=webhook, delivery_id=delivery.id), site)
    look(hub)
    assert [command.attempt for command in commands(hub)] == [1, 2]
    report(hub, delivery, 410)
    hub.ok(c.EnableWebhook(webhook_id=webhook), site)
    other = hub.project([site])
    stranger = of_project(hub, other, site)
    assert hub.refused(c.RedeliverWebhook(webhook_id=stranger, delivery_id=delivery.id), site) == (404, "not_found")
    hub.ok(c.RedeliverWebhook(webhook_id=webhook, since=delivery.created_at + 1), site)
    look(hub)
    assert len(commands(hub)) == 2
    hub.ok(c.RedeliverWebhook(webhook_id=webhook, since=delivery.created_at), site)
    look(hub)
    assert commands(hub)[-1].attempt == 3
    assert commands(hub)[-1].delivery_id == delivery.id
    assert report(hub, delivery, 200).state == "delivered"
    assert hub.refused(c.RedeliverWebhook(webhook_id=webhook), site) == (422, "impossible")


def test_both_secrets_sign_for_a_day_after_a_rotation(hub: Hub, scene: Any) -> None:
    site, webhook, _delivery = scene
    hub.ok(c.RotateWebhook(webhook_id=webhook), site)
    hub.clock.micros += LEASE_S * SECOND
    look(hub)
    assert commands(hub)[-1].versions == [2, 1]
    hub.clock.micros += OVERLAP_S * SECOND
    look(hub)
    assert commands(hub)[-1].versions == [2]


def test_settled_deliveries_are_forgotten_in_time_and_waiting_ones_are_not(hub: Hub, scene: Any) -> None:
    site, webhook, delivery = scene
    report(hub, delivery, 200)
    end_a_run(hub, hub.rows(r.Webhook)[0].owner_id, site)
    look(hub)
    hub.clock.micros += 8 * DAY * SECOND
    hub.ok(c.ForgetHistory())
    left = deliveries(hub, webhook)
    assert [one.state for one in left] == ["waiting"]
    assert hub.ok(c.ReportDelivery(delivery_id=delivery.id, attempt=1, status=500)) == {"id": delivery.id}
    assert len(deliveries(hub, webhook)) == 1


# dead letters


def test_a_dead_letter_is_told_once_to_those_who_want_it(hub: Hub) -> None:
    organisation = hub.organisation("operators")
    admin = hub.account(organisation, "admin")
    wants = of_organisation(hub, organisation, admin, kinds=["dead_letter.found"])
    other = of_organisation(hub, organisation, admin, kinds=["run.ended"])
    letters = [c.Letter(id="one", kind="start_run", queue="runs.v1")]
    assert hub.ok(c.ReportDeadLetters(letters=letters)) == {"queued": 1}
    letters.append(c.Letter(id="two", kind="unreadable", queue="runs.v1"))
    assert hub.ok(c.ReportDeadLetters(letters=letters)) == {"queued": 1}
    assert [len(deliveries(hub, each)) for each in (wants, other)] == [2, 0]
    assert json.loads(deliveries(hub, wants)[0].body)["data"] == {
        "command_id": "one",
        "command": "start_run",
        "queue": "runs.v1",
    }


def test_only_the_hub_queues_begins_and_reports(hub: Hub) -> None:
    admin = hub.account(hub.organisation("one"), "admin")
    site = hub.site("a")
    for command in (
        c.QueueDeliveries(stream_kind="site", stream_id=site.id, after=0, seqs=[1]),
        c.BeginDeliveries(delivery_ids=[site.id]),
        c.ReportDelivery(delivery_id=site.id, attempt=1, status=200),
        c.ReportDeadLetters(letters=[c.Letter(id="x", kind="y", queue="z")]),
    ):
        assert hub.refused(command, site) == (403, "forbidden")
        assert hub.refused(command, admin) == (403, "forbidden")


# the ticker


def test_a_ticker_finds_events_then_due_attempts_and_now_and_then_dead_letters(hub: Hub) -> None:
    site = hub.site("a")
    project = hub.project([site])
    webhook = of_project(hub, project, site)
    kept, looked = Kept(), []

    def letters(at_most: int) -> list[c.Letter]:
        looked.append(at_most)
        return [c.Letter(id="one", kind="start_run", queue="runs.v1")]

    ticker = Ticker(Due(hub.database), kept, hub.clock, silent_after_s=1e6, keep_artifacts_s=1000, dead_letters=letters)

    def tick() -> list[str]:
        ticker.tick()
        sent = [one for one in kept.take() if not isinstance(one.command, c.ForgetHistory)]
        hub.batch(sent)
        hub.drain()
        return [type(one.command).__name__ for one in sent]

    tick()
    end_a_run(hub, project, site)
    assert tick() == ["QueueDeliveries"]
    assert tick() == []
    hub.clock.micros += LEASE_S * SECOND
    assert tick() == ["BeginDeliveries"]
    assert tick() == []
    assert [one.attempts for one in deliveries(hub, webhook)] == [2]
    assert looked == []
    admin = hub.account(site.organisation_id or "", "admin")
    wants = of_organisation(hub, site.organisation_id or "", admin, kinds=["dead_letter.found"])
    assert tick() == ["ReportDeadLetters"]
    assert tick() == []
    hub.clock.micros += 61 * SECOND
    assert tick() == ["ReportDeadLetters"]
    assert looked == [100, 100]
    assert len(deliveries(hub, wants)) == 1
