"""Messages, acknowledgements, expiry, retention."""

from __future__ import annotations

import json
from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain.rules import Rules
from domain.values import Subject
from fedyard.wire.notices import Notice
from fedyard.wire.times import SECOND
from storage.due import Due
from tests.hub import Hub


def post(sender: Subject, project: str, to: Any, body: bytes = b"sealed", **more: Any) -> c.PostMessages:
    return c.PostMessages(
        sender_site_id=sender.id, messages=[c.NewMessage(project_id=project, to=to, body=body, **more)]
    )


def messages(hub: Hub, site: Subject) -> list[r.InboxEntry]:
    return [entry for entry in hub.inbox(site) if entry.kind == Notice.MESSAGE]


def test_a_participant_writes_to_the_coordinator(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    hub.ok(post(sites[1], project, "coordinator"), sites[1])
    hub.ok(post(sites[1], project, [sites[0].id]), sites[1])
    assert len(messages(hub, sites[0])) == 2
    assert messages(hub, sites[2]) == []


def test_a_participant_may_not_write_to_another(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    assert hub.refused(post(sites[1], project, [sites[2].id]), sites[1]) == (403, "coordinator_only")
    assert hub.refused(post(sites[1], project, "participants"), sites[1]) == (403, "coordinator_only")


def test_a_broadcast_stores_its_body_once(hub: Hub) -> None:
    sites = hub.sites(4)
    project = hub.project(sites)
    hub.ok(post(sites[0], project, "participants", b"to all"), sites[0])
    (message,) = hub.rows(r.Message)
    assert (bytes(message.body), message.recipient_count, message.size_bytes) == (b"to all", 3, 6)
    assert [len(messages(hub, site)) for site in sites] == [0, 1, 1, 1]


def test_many_messages_are_all_sent_or_none(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    stranger = hub.site("stranger")
    both = c.PostMessages(
        sender_site_id=sites[0].id,
        messages=[
            c.NewMessage(project_id=project, to=[sites[1].id], body=b"1"),
            c.NewMessage(project_id=project, to=[stranger.id], body=b"2"),
        ],
    )
    assert hub.refused(both, sites[0]) == (422, "not_a_member")
    assert hub.rows(r.Message) == []


@pytest.mark.parametrize("kind", ["update", "model"])
def test_kinds_that_runs_use_are_reserved(hub: Hub, kind: str) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    assert hub.refused(post(sites[1], project, "coordinator", kind=kind), sites[1]) == (422, "kind_reserved")


def test_a_stranger_may_not_write(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    stranger = hub.site("stranger")
    assert hub.refused(post(stranger, project, "coordinator"), stranger) == (404, "not_found")
    assert hub.refused(post(sites[1], project, "coordinator"), stranger) == (404, "not_found")


def test_the_sequence_of_an_inbox_has_no_gaps(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    for _ in range(3):
        hub.ok(post(sites[1], project, "coordinator"), sites[1])
        hub.ok(post(sites[2], project, "coordinator"), sites[2])
    assert [entry.seq for entry in hub.inbox(sites[0])] == list(range(1, 9))


def test_acknowledging_is_remembered_and_never_taken_back(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    for _ in range(3):
        hub.ok(post(sites[1], project, "coordinator"), sites[1])
    assert hub.ok(c.AcknowledgeInbox(site_id=sites[0].id, through=3), sites[0]) == {"acknowledged_seq": 3}
    assert hub.ok(c.AcknowledgeInbox(site_id=sites[0].id, through=1), sites[0]) == {"acknowledged_seq": 3}
    assert [entry.state for entry in hub.inbox(sites[0])] == ["acknowledged"] * 3 + ["queued"]
    assert hub.refused(c.AcknowledgeInbox(site_id=sites[0].id, through=9), sites[0]) == (409, "history_went_back")
    assert hub.refused(c.AcknowledgeInbox(site_id=sites[0].id, through=4), sites[1]) == (404, "not_found")


def expire(hub: Hub, seconds: float) -> None:
    hub.clock.micros += int(seconds * SECOND)
    with hub.database.connection():
        due = Due(hub.database).expired_messages(hub.clock.now())
    hub.ok(c.ExpireMessages(message_ids=due))


def test_an_expired_message_leaves_a_mark_and_its_sender_is_told(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    sent = hub.ok(post(sites[0], project, "participants", ttl_s=60), sites[0])["ids"][0]
    seen = messages(hub, sites[1])[0].seq
    hub.ok(c.AcknowledgeInbox(site_id=sites[1].id, through=seen), sites[1])
    expire(hub, 61)

    (mark,) = [entry for entry in hub.inbox(sites[2]) if entry.message_id == sent]
    assert (mark.kind, mark.state) == (Notice.EXPIRED, "expired")
    assert messages(hub, sites[1])[0].state == "acknowledged"
    told = hub.inbox(sites[0])[-1]
    assert told.kind == Notice.MESSAGE_EXPIRED
    assert json.loads(told.facts_json) == {"message_id": sent, "recipients": [sites[2].id], "recipient_count": 1}
    assert hub.rows(r.Message)[0].body is None


def test_a_message_does_not_expire_before_its_time_whatever_a_ticker_says(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    sent = hub.ok(post(sites[0], project, "participants", ttl_s=60), sites[0])["ids"][0]
    hub.clock.micros += int(59.9 * SECOND)
    assert hub.ok(c.ExpireMessages(message_ids=[sent])) == {"expired": []}
    hub.clock.micros += SECOND // 5
    assert hub.ok(c.ExpireMessages(message_ids=[sent])) == {"expired": [sent]}


def test_a_message_that_all_have_acknowledged_expires_in_silence(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    hub.ok(post(sites[1], project, "coordinator", ttl_s=60), sites[1])
    hub.ok(c.AcknowledgeInbox(site_id=sites[0].id, through=2), sites[0])
    expire(hub, 61)
    assert Notice.MESSAGE_EXPIRED not in [entry.kind for entry in hub.inbox(sites[1])]


def test_retention_forgets_what_is_settled_and_keeps_global_models(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    run = hub.start(project, sites[0])
    hub.whole_round(run, sites, 1)
    hub.ok(post(sites[1], project, "coordinator"), sites[1])
    for site in sites:
        hub.ok(c.AcknowledgeInbox(site_id=site.id, through=hub.inbox(site)[-1].seq), site)
    hub.ok(c.ForgetHistory())
    assert all(hub.inbox(site) for site in sites)
    hub.clock.micros += int((Rules().keep_inbox_s + 1) * SECOND)
    hub.ok(c.ForgetHistory())
    assert [hub.inbox(site) for site in sites] == [[], []]
    assert [message.kind for message in hub.rows(r.Message)] == ["model"]
    assert len(hub.rows(r.Outcome)) == 1
    assert hub.rows(r.Mailbox)[0].last_seq > 0
