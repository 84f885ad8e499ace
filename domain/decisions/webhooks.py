"""Webhooks: who is told of what happens, and every delivery exactly once, however often its request is made.

An event becomes deliveries in the decision that moves the stream's cursor past it, so each webhook has one of it. A
delivery is lent to a doing actor for a while, one attempt after the other; what it reports moves the delivery on. A
report that never comes is an attempt that is begun again.
"""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions.access import (
    find,
    forbidden,
    is_admin,
    is_coordinator,
    known_project,
    missing,
    need_coordinator,
    need_hub,
)
from domain.decisions.draft import Decision, Draft, Refused
from domain.decisions.limits import take_one
from domain.events import EventKind
from domain.ids import Id, derive
from domain.needs import Needs, those
from domain.states import (
    WEBHOOK,
    WEBHOOK_DELIVERY,
    MemberState,
    SiteState,
    Step,
    WebhookDeliveryState,
    WebhookState,
    follow,
)
from domain.sweeps import RedeliverFailed
from domain.webhooks import (
    BUSY,
    DEAD_LETTER,
    FEWEST_FAILURES,
    KINDS,
    LEASE_S,
    MAX_ATTEMPTS,
    OF_MEMBERS,
    WAITS_S,
    again_after_s,
    body_of,
    busy_again_s,
    data_of,
    outcome_of,
    signing_versions,
)
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND

GONE = 410


# by people


def needs_of_create_webhook(command: c.CreateWebhook) -> Needs:
    needs = Needs(counts={("webhooks", command.owner_id)})
    if command.owner_kind == "organisation":
        needs.organisations = {command.owner_id}
    else:
        needs.members_of = {command.owner_id}
    return needs


def create_webhook(draft: Draft, command: c.CreateWebhook) -> Decision:
    if command.owner_kind == "organisation":
        _need_organisation(draft, command.owner_id)
    else:
        project = known_project(draft, command.owner_id)
        need_coordinator(draft, project)
        if project.archived_at is not None:
            raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived: nothing happens in it")
    if DEAD_LETTER in command.kinds and not (is_admin(draft.by) and command.owner_kind == "organisation"):
        raise forbidden(
            "dead letters concern the whole hub: only an admin has a webhook of an organisation told of them"
        )
    take_one(draft, "webhooks", command.owner_id, draft.rules.webhooks_per_owner, "delete one that nobody needs")
    webhook = r.Webhook(
        id=draft.derive("webhook"),
        owner_kind=command.owner_kind,
        owner_id=command.owner_id,
        url=command.url,
        kinds=" ".join(sorted(set(command.kinds))),
        description=command.description,
        state=WebhookState.ACTIVE,
        reason="",
        created_at=draft.now,
        since=draft.now,
    )
    draft.put(webhook)
    _event(draft, webhook, EventKind.WEBHOOK_CREATED, kinds=webhook.kinds.split())
    return draft.accept(results.Changed(id=webhook.id, version=webhook.version), 201)


def needs_of_delete_webhook(command: c.DeleteWebhook) -> Needs:
    return Needs(webhooks={command.webhook_id})


def delete_webhook(draft: Draft, command: c.DeleteWebhook) -> Decision:
    """Its address is forgotten at once; what waits for it is given up when its turn comes."""
    webhook = _own(draft, command.webhook_id)
    state = follow(WEBHOOK, WebhookState(webhook.state), Step.DELETE)
    webhook = draft.change(webhook, state=state, url="", description="")
    _event(draft, webhook, EventKind.WEBHOOK_DELETED)
    return draft.accept(results.Made(id=webhook.id))


def needs_of_rotate_webhook(command: c.RotateWebhook) -> Needs:
    return Needs(webhooks={command.webhook_id})


def rotate_webhook(draft: Draft, command: c.RotateWebhook) -> Decision:
    webhook = _own(draft, command.webhook_id)
    webhook = draft.change(webhook, version=webhook.version + 1, rotated_at=draft.now)
    _event(draft, webhook, EventKind.WEBHOOK_ROTATED, version=webhook.version)
    return draft.accept(results.Changed(id=webhook.id, version=webhook.version))


def needs_of_enable_webhook(command: c.EnableWebhook) -> Needs:
    return Needs(webhooks={command.webhook_id})


def enable_webhook(draft: Draft, command: c.EnableWebhook) -> Decision:
    webhook = _own(draft, command.webhook_id)
    if webhook.state == WebhookState.DISABLED:
        state = follow(WEBHOOK, WebhookState.DISABLED, Step.ENABLE)
        webhook = draft.change(
            webhook, state=state, reason="", since=draft.now, failing_since=None, failures=0, dropped=0
        )
        _event(draft, webhook, EventKind.WEBHOOK_ENABLED)
    return draft.accept(results.Made(id=webhook.id))


def needs_of_redeliver_webhook(command: c.RedeliverWebhook) -> Needs:
    return Needs(webhooks={command.webhook_id}, deliveries=those(command.delivery_id))


def redeliver_webhook(draft: Draft, command: c.RedeliverWebhook) -> Decision:
    webhook = _own(draft, command.webhook_id)
    if (command.delivery_id is None) == (command.since is None):
        raise Refused(ProblemType.IMPOSSIBLE, "name either a delivery or the time since when")
    if webhook.state != WebhookState.ACTIVE:
        detail = f"webhook {webhook.id} is disabled ({webhook.reason}); enable it first"
        raise Refused(ProblemType.WEBHOOK_DISABLED, detail)
    if command.since is not None:
        draft.sweep(RedeliverFailed(webhook.id, command.since, draft.now))
    if command.delivery_id is not None:
        delivery = draft.get(r.WebhookDelivery, command.delivery_id)
        if delivery is None or delivery.webhook_id != webhook.id:
            raise missing("delivery", command.delivery_id)
        state = follow(WEBHOOK_DELIVERY, WebhookDeliveryState(delivery.state), Step.REDELIVER)
        draft.change(
            delivery, state=state, state_at=draft.now, next_at=draft.now, failures=0, reported=delivery.attempts
        )
    what = {"delivery_id": command.delivery_id} if command.since is None else {"since": command.since}
    _event(draft, webhook, EventKind.WEBHOOK_REDELIVERED, **what)
    return draft.accept(results.Made(id=webhook.id))


def _need_organisation(draft: Draft, organisation_id: Id) -> None:
    """An admin, or who acts for the organisation's sites: its members."""
    find(draft, r.Organisation, "organisation", organisation_id)
    if not _is_organisations(draft, organisation_id):
        raise missing("organisation", organisation_id)


def _is_organisations(draft: Draft, organisation_id: Id) -> bool:
    by = draft.by
    return is_admin(by) or (by.kind == "account" and by.role == "member" and by.organisation_id == organisation_id)


def _own(draft: Draft, webhook_id: Id) -> r.Webhook:
    """A webhook that is there and the caller's to change, or 404: nobody else knows of it.

    Who has its secret can speak to its receiver in the hub's name, so one that an admin made stays an admin's.
    """
    webhook = find(draft, r.Webhook, "webhook", webhook_id)
    if webhook.owner_kind == "organisation":
        own = _is_organisations(draft, webhook.owner_id)
    else:
        own = is_admin(draft.by) or is_coordinator(draft, draft.have(r.Project, webhook.owner_id))
    if not own or webhook.state == WebhookState.DELETED:
        raise missing("webhook", webhook_id)
    if DEAD_LETTER in webhook.kinds.split() and not is_admin(draft.by):
        raise forbidden(f"webhook {webhook_id} tells of dead letters: only an admin changes it")
    return webhook


def _event(draft: Draft, webhook: r.Webhook, kind: EventKind, **facts: object) -> None:
    """In its owner's stream; never the address, which may hold a secret of the receiver's."""
    draft.event((webhook.owner_kind, webhook.owner_id), kind, {"webhook_id": webhook.id, **facts})


# by the hub


def needs_of_queue_deliveries(command: c.QueueDeliveries) -> Needs:
    return Needs(
        followed={(command.stream_kind, command.stream_id)},
        events={(command.stream_id, seq) for seq in command.seqs},
        members_of={command.stream_id} if command.stream_kind == "project" else set(),
    )


def queue_deliveries(draft: Draft, command: c.QueueDeliveries) -> Decision:
    need_hub(draft.by)
    cursor = draft.get(r.EventCursor, command.stream_id) or r.EventCursor(stream_id=command.stream_id, seq=0)
    if cursor.seq != command.after:
        return draft.accept(results.DeliveriesQueued(queued=0))  # another finding was faster
    queued = 0
    for seq in sorted(command.seqs):
        event = draft.get(r.Event, command.stream_id, seq)
        if event is None or seq <= cursor.seq:
            continue
        cursor = draft.change(cursor, seq=seq)
        for webhook in draft.every(r.Webhook):
            if _wants(draft, webhook, event, command.stream_kind):
                kind = KINDS[EventKind(event.kind)]
                cause = f"{event.stream_id}/{event.seq}"
                ident = derive(webhook.id, event.hash)  # a restored hub may give the number to another event
                body = body_of(kind, event.at, data_of(kind, event))
                if _has_room(draft, webhook):
                    _queue(draft, webhook, ident, kind, cause, body)
                    queued += 1
                else:
                    _drop(draft, webhook)
    return draft.accept(results.DeliveriesQueued(queued=queued))


def _wants(draft: Draft, webhook: r.Webhook, event: r.Event, stream_kind: str) -> bool:
    """Was it asked for, and may its owner see it: as GET /v1/.../events would show it to the owner's people?"""
    kind = KINDS.get(EventKind(event.kind))
    if webhook.state != WebhookState.ACTIVE or event.at < webhook.since or kind not in webhook.kinds.split():
        return False
    owner = webhook.owner_id
    if webhook.owner_kind == "project":
        if draft.have(r.Site, draft.have(r.Project, owner).coordinator_site_id).state == SiteState.RETIRED:
            return False
        if stream_kind == "project":
            return event.stream_id == owner
        member = draft.get(r.Membership, owner, event.stream_id)
        return kind in OF_MEMBERS and member is not None and member.state == MemberState.ACTIVE
    if stream_kind == "site":
        return _is_of(draft, event.stream_id, owner)
    if _is_of(draft, draft.have(r.Project, event.stream_id).coordinator_site_id, owner):
        return True
    if event.site_id is not None:
        return _is_of(draft, event.site_id, owner)
    members = draft.group(r.Membership, event.stream_id)
    return any(m.state == MemberState.ACTIVE and _is_of(draft, m.site_id, owner) for m in members)


def _is_of(draft: Draft, site_id: Id, organisation_id: Id) -> bool:
    site = draft.get(r.Site, site_id)
    return site is not None and site.organisation_id == organisation_id


WAITING = "waiting deliveries"
"""As storage/counting.py counts them, of a webhook."""


def _has_room(draft: Draft, webhook: r.Webhook) -> bool:
    """May one more wait for it? After one that might not, only when half of the room is free again: so people hear of
    that twice, and not with every delivery that is settled."""
    limit = draft.rules.webhook_waiting
    return draft.count(WAITING, webhook.id) < (limit // 2 if webhook.dropped else limit)


def _drop(draft: Draft, webhook: r.Webhook) -> None:
    """This it is not told. That it begins is an event, and that it has caught up another one, with how many it were."""
    if not webhook.dropped:
        _event(draft, webhook, EventKind.WEBHOOK_OVERFLOWED, waiting=draft.count(WAITING, webhook.id))
    draft.change(webhook, dropped=webhook.dropped + 1)


def _queue(draft: Draft, webhook: r.Webhook, ident: Id, kind: str, cause: str, body: str) -> None:
    """Its one delivery of this cause, and the first attempt."""
    draft.add_to(WAITING, webhook.id)
    if webhook.dropped:
        _event(draft, webhook, EventKind.WEBHOOK_CAUGHT_UP, dropped=webhook.dropped)
        webhook = draft.change(webhook, dropped=0)
    delivery = r.WebhookDelivery(
        id=ident,
        webhook_id=webhook.id,
        kind=kind,
        cause=cause,
        body=body,
        state=WebhookDeliveryState.WAITING,
        created_at=draft.now,
        state_at=draft.now,
    )
    _begin(draft, webhook, delivery)


def _begin(draft: Draft, webhook: r.Webhook, delivery: r.WebhookDelivery) -> None:
    """Lend it to a doing actor for a while."""
    delivery = draft.change(delivery, attempts=delivery.attempts + 1, next_at=draft.now + LEASE_S * SECOND)
    command = c.DeliverWebhook(
        organisation_id=_organisation_of(draft, webhook),
        webhook_id=webhook.id,
        delivery_id=delivery.id,
        attempt=delivery.attempts,
        url=webhook.url,
        body=delivery.body,
        versions=signing_versions(webhook, draft.now),
    )
    draft.follow_up(command, delivery.id, delivery.attempts)


def _organisation_of(draft: Draft, webhook: r.Webhook) -> Id:
    if webhook.owner_kind == "organisation":
        return webhook.owner_id
    return draft.have(r.Site, draft.have(r.Project, webhook.owner_id).coordinator_site_id).organisation_id


def needs_of_begin_deliveries(command: c.BeginDeliveries) -> Needs:
    return Needs(deliveries=set(command.delivery_ids))


def begin_deliveries(draft: Draft, command: c.BeginDeliveries) -> Decision:
    need_hub(draft.by)
    begun = 0
    for delivery_id in command.delivery_ids:
        delivery = draft.get(r.WebhookDelivery, delivery_id)
        if delivery is None or delivery.state != WebhookDeliveryState.WAITING or (delivery.next_at or 0) > draft.now:
            continue
        webhook = draft.have(r.Webhook, delivery.webhook_id)
        if webhook.state != WebhookState.ACTIVE:
            _give_up(draft, delivery, failure=f"webhook_{webhook.state}")
        elif delivery.attempts - delivery.reported >= MAX_ATTEMPTS:
            _give_up(draft, delivery, failure="not_reported")
        elif delivery.failure == BUSY and draft.now >= delivery.state_at + WAITS_S * SECOND:
            _give_up(draft, delivery, failure=BUSY)
        else:
            _begin(draft, webhook, delivery)
            begun += 1
    return draft.accept(results.DeliveriesBegun(begun=begun))


def needs_of_report_delivery(command: c.ReportDelivery) -> Needs:
    return Needs(deliveries={command.delivery_id})


def report_delivery(draft: Draft, command: c.ReportDelivery) -> Decision:
    """A success counts whenever it comes, also that of an attempt that was taken for lost; a failure counts once."""
    need_hub(draft.by)
    delivery = draft.get(r.WebhookDelivery, command.delivery_id)
    if delivery is None or delivery.state != WebhookDeliveryState.WAITING:
        return draft.accept(results.Made(id=command.delivery_id))
    webhook = draft.have(r.Webhook, delivery.webhook_id)
    outcome = outcome_of(command)
    if outcome == "delivered":
        state = follow(WEBHOOK_DELIVERY, WebhookDeliveryState.WAITING, Step.DELIVER)
        draft.change(
            delivery,
            state=state,
            state_at=draft.now,
            reported=max(delivery.reported, command.attempt),
            next_at=None,
            status=command.status,
            failure="",
        )
        if webhook.failing_since is not None:
            draft.change(webhook, failing_since=None, failures=0)
    elif command.attempt > delivery.reported:
        delivery = draft.change(delivery, reported=command.attempt)
        if outcome == "busy":
            again = busy_again_s(command.attempt - delivery.failures)
            draft.change(delivery, failure=BUSY, next_at=draft.now + again * SECOND)
        else:
            _fail(draft, webhook, delivery, command)
    return draft.accept(results.Made(id=delivery.id))


def _fail(draft: Draft, webhook: r.Webhook, delivery: r.WebhookDelivery, command: c.ReportDelivery) -> None:
    failures = delivery.failures + 1
    delivery = draft.change(delivery, failures=failures, status=command.status, failure=command.failure)
    since = draft.now if webhook.failing_since is None else webhook.failing_since
    webhook = draft.change(webhook, failing_since=since, failures=webhook.failures + 1)
    if webhook.state == WebhookState.ACTIVE:
        long = draft.now - since >= int(draft.rules.webhook_failing_s * SECOND) and webhook.failures >= FEWEST_FAILURES
        reason = "gone" if command.status == GONE else "failing" if long else ""
        if reason:
            state = follow(WEBHOOK, WebhookState.ACTIVE, Step.DISABLE)
            webhook = draft.change(webhook, state=state, reason=reason)
            facts: dict[str, object] = {"reason": reason, "failing_since": since, "failures": webhook.failures}
            facts |= {"dropped": webhook.dropped} if webhook.dropped else {}
            _event(draft, webhook, EventKind.WEBHOOK_DISABLED, **facts)
    again = again_after_s(delivery.id, failures, command.retry_after_s)
    if again is None or webhook.state != WebhookState.ACTIVE:
        _give_up(draft, delivery, failure=command.failure)
    else:
        draft.change(delivery, next_at=draft.now + int(again * SECOND))


def _give_up(draft: Draft, delivery: r.WebhookDelivery, *, failure: str) -> None:
    state = follow(WEBHOOK_DELIVERY, WebhookDeliveryState.WAITING, Step.GIVE_UP)
    draft.change(delivery, state=state, state_at=draft.now, next_at=None, failure=failure)


def needs_of_report_dead_letters(command: c.ReportDeadLetters) -> Needs:
    return Needs(causes=set(map(letter_cause, command.letters)))


def report_dead_letters(draft: Draft, command: c.ReportDeadLetters) -> Decision:
    """Each is told once, to the webhooks that were there when it was found."""
    need_hub(draft.by)
    told = {(delivery.webhook_id, delivery.cause) for delivery in draft.every(r.WebhookDelivery)}
    queued = 0
    for letter in command.letters:
        cause = letter_cause(letter)
        body = body_of(DEAD_LETTER, draft.now, {"command_id": letter.id, "command": letter.kind, "queue": letter.queue})
        for webhook in draft.every(r.Webhook):
            wants = webhook.state == WebhookState.ACTIVE and DEAD_LETTER in webhook.kinds.split()
            if wants and (webhook.id, cause) not in told and _has_room(draft, webhook):  # else it is found again
                _queue(draft, webhook, derive(webhook.id, cause), DEAD_LETTER, cause, body)
                queued += 1
    return draft.accept(results.DeliveriesQueued(queued=queued))


def letter_cause(letter: c.Letter) -> str:
    return f"dead_letter/{letter.id}"
