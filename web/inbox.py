"""The inbox: a site's only window."""

from __future__ import annotations

from flask import Response

from broker.protocol.commands import AcknowledgeInbox
from storage.views import messages as views
from storage.views.resources import Inbox
from web.bodies import Acknowledged, InboxQuery
from web.calls import Call, answer, given
from web.errors import not_found
from web.operations import SITES, Operation
from web.results import AcknowledgedResult
from web.writing import write


def read(call: Call) -> Response:
    """Entries behind `after`; with `wait` as soon as there are some."""
    site = call.caller.subject.id
    first = _read(call, given(call.query.after)) if given(call.query.after) is None else None
    after = call.query.after if first is None else first.acknowledged_seq

    def some() -> Inbox | None:
        found = _remembered(call, after) or _read(call, after)
        return found if found.items else None

    found = first
    if found is None or not found.items:
        found = call.web.waiting.until(("inbox", site), call.query.wait, some)
    found = found or _remembered(call, after) or _read(call, after)
    handed_out = found.items[-1].seq if found.items else 0
    call.web.beats.note(call.caller, handed_out)
    return answer(found)


def _remembered(call: Call, after: int) -> Inbox | None:
    """The empty answer, if memory knows that nothing is new."""
    known = call.web.newest.known(call.caller.subject.id)
    if known is None or known[0] > after:
        return None
    return Inbox(items=[], last_seq=known[0], acknowledged_seq=known[1])


def _read(call: Call, after: int | None) -> Inbox:
    site, newest = call.caller.subject.id, call.web.newest
    generation = newest.generation
    found = call.web.inboxes.read(views.Wanted(site, after, call.query.limit))
    if found is None:
        raise not_found("mailbox of site", site)
    newest.learn(site, found.last_seq, found.acknowledged_seq, generation)
    return found


def acknowledge(call: Call) -> Response:
    return write(call, AcknowledgeInbox(site_id=call.caller.subject.id, through=call.body.through))


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
        problems=(404,),
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
