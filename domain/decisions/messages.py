"""Messages between sites, acknowledgements, expiry, retention."""

from __future__ import annotations

import msgspec

from domain import commands as c
from domain import records as r
from domain import results
from domain.decisions import sealing
from domain.decisions.access import active_members, missing, need_hub, own_site
from domain.decisions.artifacts import Place, carry
from domain.decisions.backlog import add_to_backlog
from domain.decisions.draft import Decision, Draft, Refused
from domain.events import EventKind
from domain.ids import Id, sha256_hex
from domain.needs import Needs
from domain.states import DELIVERY, DeliveryState, MemberState, Step, follow
from domain.sweeps import AcknowledgeEntries, ForgetBefore
from fedyard.wire import notices as n
from fedyard.wire.problems import ProblemType
from fedyard.wire.times import SECOND

RESERVED_KINDS = ("update", "model")
"""Payloads that the hub itself posts in a run."""
_MAX_NAMED = 100
"""Recipients named in one notice of expiry; the rest are counted."""


def needs_of_post_messages(command: c.PostMessages) -> Needs:
    site, messages = command.sender_site_id, command.messages
    return Needs(
        sites={site},
        members_of={message.project_id for message in messages},
        mentioned_runs={message.run_id for message in messages if message.run_id is not None},
        keys=sealing.keys_in(message.body for message in messages),
        artifacts={message.artifact_id for message in messages if message.artifact_id is not None},
        senders={site},
    )


def post_messages(draft: Draft, command: c.PostMessages) -> Decision:
    """All of them or none: each body once, one inbox entry for each recipient."""
    site = own_site(draft, command.sender_site_id)
    ids = [_post(draft, site, index, message) for index, message in enumerate(command.messages)]
    return draft.accept(results.Sent(ids=ids), 201)


def _post(draft: Draft, sender: r.Site, index: int, new: c.NewMessage) -> Id:
    project = draft.get(r.Project, new.project_id)
    membership = draft.get(r.Membership, new.project_id, sender.id)
    if project is None or membership is None or membership.state != MemberState.ACTIVE:
        raise missing("project", new.project_id)
    if new.kind in RESERVED_KINDS:
        raise Refused(
            ProblemType.KIND_RESERVED, f"messages of kind {new.kind!r} come from runs alone; choose another kind"
        )
    if new.run_id is not None:
        run = draft.get(r.Run, new.run_id)
        if run is None or run.project_id != project.id:
            raise missing("run", f"{new.run_id} in project {project.id}")
    if new.body is None and new.artifact_id is None:
        raise Refused(ProblemType.NO_PAYLOAD, f"message {index} has neither a body nor an artifact; send one")
    recipients = _recipients(draft, project, sender, new)
    readers = frozenset(recipients)
    message_id = draft.derive("message", index)
    body, artifact = new.body or b"", None
    if new.artifact_id is not None:
        artifact = carry(draft, new.artifact_id, Place(project.id, sender.id, new.run_id), message_id)
    if project.archived_at is not None:
        raise Refused(ProblemType.PROJECT_ARCHIVED, f"project {project.id} is archived")
    sealed_for = sealing.Place(project, sender, new.kind, readers, readers, new.run_id)
    sealing.checked(draft, sealed_for, new.body, sealing.outside(artifact))
    expires_at = draft.now + int((new.ttl_s if new.ttl_s is not None else draft.rules.message_ttl_s) * SECOND)
    draft.put(
        r.Message(
            id=message_id,
            sender_site_id=sender.id,
            project_id=project.id,
            run_id=new.run_id,
            task_seq=None,
            round=None,
            kind=new.kind,
            body=new.body,
            size_bytes=len(body) if artifact is None else artifact.size_bytes,
            sha256=sha256_hex(body) if artifact is None else artifact.digest,
            recipient_count=len(recipients),
            sent_at=draft.now,
            expires_at=expires_at,
            artifact_id=new.artifact_id,
        )
    )
    for site_id in recipients:
        add_to_backlog(draft, sender.id, site_id, len(body), expires_at)
        draft.notify(site_id, n.MessageArrived(), project_id=project.id, run_id=new.run_id, message_id=message_id)
    return message_id


def _recipients(draft: Draft, project: r.Project, sender: r.Site, new: c.NewMessage) -> list[Id]:
    """Participant <-> coordinator; coordinator -> all or some. Never participant to participant."""
    active = active_members(draft, project.id)
    coordinator = project.coordinator_site_id
    if new.to == "coordinator":
        return [coordinator]
    if sender.id != coordinator:
        if isinstance(new.to, list) and set(new.to) == {coordinator}:
            return [coordinator]
        raise Refused(
            ProblemType.COORDINATOR_ONLY,
            f"site {sender.id} is a participant of project {project.id} and may write to its coordinator only",
        )
    if new.to == "participants":
        recipients = [site_id for site_id in active if site_id != coordinator]
    else:
        recipients = sorted(set(new.to))
        strangers = sorted(set(recipients) - set(active))
        if strangers:
            raise Refused(
                ProblemType.NOT_A_MEMBER,
                f"site {strangers[0]} is no active member of project {project.id}; nothing was sent to anybody",
            )
    if not recipients:
        raise Refused(ProblemType.NO_RECIPIENTS, f"project {project.id} has no participants yet")
    return recipients


def needs_of_acknowledge_inbox(command: c.AcknowledgeInbox) -> Needs:
    site = command.site_id
    held = set() if command.mark is None else {(site, command.through)}
    return Needs(sites={site}, marks=held, history={"history"})


def acknowledge_inbox(draft: Draft, command: c.AcknowledgeInbox) -> Decision:
    """Everything up to `through` has had its effect at the site; a smaller number than before changes nothing."""
    site = own_site(draft, command.site_id)
    box = draft.have(r.Mailbox, site.id)
    if went_back(draft, box, command.through, command.mark):
        raise Refused(
            ProblemType.HISTORY_WENT_BACK,
            f"the inbox of site {site.id} ends at {box.last_seq}, or had something else at {command.through}: the hub "
            "was restored from a backup, as a rule; say what the site holds (POST /v1/sites/<id>/recovery), and read "
            "on from where the answer says",
            **whereabouts(draft, box),
        )
    if command.through > box.acknowledged_seq:
        box = draft.change(box, acknowledged_seq=command.through)
        draft.sweep(AcknowledgeEntries(site.id, command.through, draft.now))
    return draft.accept(results.AcknowledgedResult(acknowledged_seq=box.acknowledged_seq))


def went_back(draft: Draft, box: r.Mailbox, seq: int, mark: str | None) -> bool:
    """Is entry `seq` not what its site says that it holds? Without a mark only the end of the inbox tells.

    What was acknowledged before the site recovered, or comes late, changes nothing and is not asked for.
    """
    if seq > box.last_seq:
        return True
    if mark is None or seq <= box.acknowledged_seq:
        return False
    entry = draft.get(r.InboxEntry, box.site_id, seq)
    known = box.mark if seq == box.last_seq else "" if entry is None else entry.mark
    return known not in ("", mark)


def whereabouts(draft: Draft, box: r.Mailbox) -> dict[str, object]:
    """What a site has to know when the history went back."""
    history = next(iter(draft.every(r.History)), None)
    return {"history_id": None if history is None else history.history_id, "last_seq": box.last_seq}


def needs_of_expire_messages(command: c.ExpireMessages) -> Needs:
    return Needs(messages=set(command.message_ids))


def expire_messages(draft: Draft, command: c.ExpireMessages) -> Decision:
    """Who has not acknowledged by now will not get it; the sender is told who. Global models keep their body.

    What has not expired by this decision's time is left alone: the ticker finds it again, under another id.
    """
    need_hub(draft.by)
    expired = []
    for message in filter(None, (draft.get(r.Message, message_id) for message_id in command.message_ids)):
        if message.expired_at is not None or message.expires_at > draft.now:
            continue
        expired.append(message.id)
        unread = [e for e in draft.group(r.InboxEntry, message.id) if e.state == DeliveryState.QUEUED]
        draft.change(message, expired_at=draft.now)
        for entry in unread:
            draft.change(
                entry,
                kind=n.Expired.KIND,
                state=follow(DELIVERY, DeliveryState.QUEUED, Step.EXPIRE),
                state_at=draft.now,
                facts_json=n.Expired(message_id=message.id).json(),
            )
        if unread:
            _tell_sender(draft, message, [entry.site_id for entry in unread])
    return draft.accept(results.Expired(expired=expired))


def _tell_sender(draft: Draft, message: r.Message, unread: list[Id]) -> None:
    facts = n.MessageExpired(message_id=message.id, recipients=unread[:_MAX_NAMED], recipient_count=len(unread))
    draft.event(
        ("project", message.project_id),
        EventKind.MESSAGE_EXPIRED,
        msgspec.to_builtins(facts),
        run_id=message.run_id,
        site_id=message.sender_site_id,
    )
    draft.notify(
        message.sender_site_id,
        facts,
        project_id=message.project_id,
        run_id=message.run_id,
    )


def needs_of_forget_history(_: c.ForgetHistory) -> Needs:
    return Needs()


def forget_history(draft: Draft, _: c.ForgetHistory) -> Decision:
    """By this decision's time, not by that of who asked for it: a clock that is ahead would end exactly-once."""
    need_hub(draft.by)
    rules = draft.rules
    draft.sweep(
        ForgetBefore(draft.now - int(rules.keep_commands_s * SECOND), draft.now - int(rules.keep_inbox_s * SECOND))
    )
    return draft.accept(results.Done())
