"""The inbox: a site's only window."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import AcknowledgeInbox
from domain.results import AcknowledgedResult
from domain.values import Mark
from fedyard.wire.problems import ProblemType
from storage.views import messages as views
from storage.views.resources import Inbox
from web.http.answers import answer
from web.http.auth import SITES
from web.http.bodies import Body, Position, Query, Wait
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.writing import write
from web.live.inbox_tips import Known
from web.problems import Refused, not_found


class Acknowledged(Body, frozen=True):
    """mark: of the entry `through`, as the site got it: so nothing is acknowledged that the site never saw."""

    through: Position
    mark: Mark | None = None


class InboxQuery(Query, frozen=True):
    """mark: of the entry `after`, as the site got it."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    after: Position | UnsetType = UNSET
    mark: Mark | UnsetType = UNSET
    wait: Wait = 0.0


def read(call: Call) -> Response:
    """Entries behind `after`; with `wait` as soon as there are some."""
    site = call.caller.subject.id
    first = _read(call, None, None) if given(call.query.after) is None else None
    after = call.query.after if first is None else first.acknowledged_seq
    mark = given(call.query.mark) if first is None else None

    def some() -> Inbox | None:
        found = _remembered(call, after, mark) or _read(call, after, mark)
        return found if found.items else None

    found = first
    if found is None or not found.items:
        found = call.web.waiters.until(("inbox", site), call.query.wait, some, by=call.waiter)
    found = found or _remembered(call, after, mark) or _read(call, after, mark)
    handed_out = found.items[-1].seq if found.items else 0
    call.web.heartbeats.note(call.caller, handed_out)
    return answer(found)


def _remembered(call: Call, after: int, mark: str | None) -> Inbox | None:
    """The empty answer, if memory knows that nothing is new, and that this is where the caller is."""
    known = call.web.tips.known(call.caller.subject.id)
    if known is None or known.last_seq != after or (mark is not None and known.mark not in ("", mark)):
        return None
    return Inbox(
        items=[], last_seq=known.last_seq, acknowledged_seq=known.acknowledged_seq, history_id=known.history_id
    )


def _read(call: Call, after: int | None, mark: str | None) -> Inbox:
    site, tips = call.caller.subject.id, call.web.tips
    generation = tips.generation
    found = call.web.inboxes.read(views.Wanted(site, after, call.query.limit, mark))
    if found is None:
        raise not_found("mailbox of site", site)
    inbox = found.inbox
    tips.learn(site, Known(inbox.last_seq, found.mark, found.acknowledged_seq, inbox.history_id), generation)
    if isinstance(inbox, views.WentBack):
        raise Refused(
            ProblemType.HISTORY_WENT_BACK,
            f"the inbox of site {site} ends at {inbox.last_seq}, or has something else at {after}: the hub was "
            f"restored from a backup, as a rule; say what the site holds (POST /v1/sites/{site}/recovery), and "
            "read on from where the answer says",
            history_id=inbox.history_id,
            last_seq=inbox.last_seq,
        )
    return msgspec.structs.replace(inbox, heads=call.web.signer.sign(found.heads)) if found.heads else inbox


def acknowledge(call: Call) -> Response:
    site, body = call.caller.subject.id, call.body
    return write(call, AcknowledgeInbox(site_id=site, through=body.through, mark=body.mark))


OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/inbox",
        name="read_inbox",
        about="The site's entries behind `after` (by default behind what it acknowledged)",
        does=read,
        hot=True,
        who=SITES,
        query=InboxQuery,
        long=True,
        answers={200: Inbox},
        problems=(404, 409),
    ),
    Operation(
        method="PUT",
        path="/v1/inbox/acknowledged",
        name="acknowledge_inbox",
        about="The effects of all entries through this one are safely on the site's disk",
        does=acknowledge,
        hot=True,
        who=SITES,
        scope="write",
        body=Acknowledged,
        write=True,
        answers={200: AcknowledgedResult},
    ),
)
