"""The audit trail: who did what, to what, and when; whether it is whole; and all of it to take along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.events import EventKind
from domain.ids import Id, is_id
from fedyard.look.forms import Form
from fedyard.wire.plurals import counted
from storage.audit import Place, verify_part
from storage.views import events as views
from storage.views import people
from storage.views.resources import Event
from storage.views.sight import Cursor, sees_everything
from web.api.audit import EVENTS_AT_ONCE, SPAN, BehindText
from web.api.secret import micros_of
from web.http.answers import API
from web.http.auth import PEOPLE
from web.http.bodies import CursorText, Query, Time, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.parsing import malformed
from web.page import sessions
from web.page.downloads import download
from web.page.links import href, utc_text
from web.page.rendering import WHERE, page, part, shows
from web.problems import Refused, not_found

AUDIT = f"{WHERE}/audit"
AT_ONCE = 50
EXPORTED_AT_ONCE = 1000
MAX_EXPORTED = 1_000_000
TRAIL = "audit/trail.html"
ACTORS = {"account": f"{WHERE}/people/{{}}", "site": f"{WHERE}/sites/{{}}"}
THINGS = {
    "project": f"{WHERE}/projects/{{}}",
    "site": f"{WHERE}/sites/{{}}",
    "organisation": f"{WHERE}/people?organisation={{}}",
}
"""Where one looks at them."""
KINDS = (("", "anything"), *((kind, kind.replace("_", " ")) for kind in sorted(EventKind)))


class AuditQuery(Query, frozen=True):
    """As a form sends it: what is empty was not asked for. since and until: as `datetime-local` has them, in UTC."""

    actor: str = ""
    about: str = ""
    kind: str = ""
    since: str = ""
    until: str = ""
    after: BehindText | UnsetType = UNSET
    command: Uuid | UnsetType = UNSET


class VerificationQuery(Query, frozen=True):
    """after: where the walk goes on. streams, events, faults: that it has come by before."""

    after: CursorText | UnsetType = UNSET
    streams: int = 0
    events: int = 0
    faults: int = 0
    command: Uuid | UnsetType = UNSET


@dataclass(frozen=True)
class Told:
    """An event as a table shows it. actor and thing: their names, and where they are looked at; "" where nowhere is."""

    event: Event
    actor: str
    actor_href: str
    thing: str
    thing_href: str
    facts: list[tuple[str, str]]


def trail(call: Call) -> Response:
    query: AuditQuery = call.query
    asked = {name: getattr(query, name) for name in ("actor", "about", "kind", "since", "until")}
    form, after, everything = Form.of(**asked), given(query.after), sees_everything(call.caller.subject)
    try:
        wanted = _wanted(call)
    except Refused as refused:
        form = form.with_error(refused.detail.partition(":")[0], refused.detail)
        status = refused.problem.status
        return page(call, TRAIL, status=status, form=form, told=None, kinds=KINDS, everything=everything)
    behind = None if after is None else views.Behind.of(after)
    found = views.sought(call.web.database, call.caller.subject, wanted, after=behind, limit=AT_ONCE)
    return page(
        call,
        TRAIL,
        form=form,
        told=_told(call, found.items),
        kinds=KINDS,
        everything=everything,
        first=href(AUDIT, **asked) if after else "",
        next=href(AUDIT, **asked, after=found.next) if found.next else "",
        export=href(f"{AUDIT}/export", **asked),
        since=None if query.since else wanted.since,
    )


def export(call: Call) -> Response:
    """All that was asked for, one event a line, the newest first; it ends where the caller's right to read does."""
    return download(call, "events.ndjson", "application/x-ndjson", _lines(call, _wanted(call)))


def _lines(call: Call, wanted: views.Sought) -> Iterator[bytes]:
    after: views.Behind | None = None
    for _ in range(MAX_EXPORTED // EXPORTED_AT_ONCE):
        found = views.sought(call.web.database, call.caller.subject, wanted, after=after, limit=EXPORTED_AT_ONCE)
        yield b"".join(msgspec.json.encode(event) + b"\n" for event in found.items)
        if found.next is None:
            return
        after = views.Behind.of(found.next)


def verification(call: Call) -> Response:
    return page(call, "audit/verification.html", **_walked(call))  # type: ignore[arg-type]


def verification_goes_on(call: Call) -> Response:
    return part(call, "audit/walk.html", **_walked(call))


def _walked(call: Call) -> dict[str, object]:
    """One part of the walk more. It stops by itself where something is broken."""
    if not sees_everything(call.caller.subject):
        raise not_found("page", f"{AUDIT}/verification")
    query: VerificationQuery = call.query
    after = given(query.after)
    cursor = None if after is None else Cursor.of(after)
    place = None if cursor is None else Place(cursor.id, cursor.at)
    found = verify_part(call.web.database, place, EVENTS_AT_ONCE)
    streams, events = query.streams + found.streams, query.events + found.events
    faults = query.faults + len(found.faults)
    behind = None if found.next is None else Cursor(found.next.seq, found.next.stream_id).text
    counts = {"streams": str(streams), "events": str(events), "faults": str(faults)}
    return {
        "said_of": f"{counted(events, 'event')} of {counted(streams, 'stream')}",
        "faults": found.faults,
        "faults_before": query.faults,
        "next": href(f"{AUDIT}/verification", after=behind, **counts) if behind else "",
        "live": href(f"{AUDIT}/verification/part", after=behind, **counts) if behind and not found.faults else "",
    }


def _wanted(call: Call) -> views.Sought:
    """What was asked for. Raises 400, with the name of the field first."""
    query: AuditQuery = call.query
    since, until = _moment("since", query.since), _moment("until", query.until)
    until = call.web.hub.clock.now() + 1 if until is None else until
    if query.kind not in dict(KINDS):
        raise malformed("kind", ValueError("no kind of event"))
    return views.Sought(
        since=max(0, until - SPAN) if since is None else since,
        until=until,
        subject=_named(call, "actor", query.actor),
        about=_named(call, "about", query.about),
        kind=query.kind or None,
    )


def _moment(name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return micros_of(msgspec.convert(utc_text(text), Time))
    except msgspec.ValidationError as error:
        raise malformed(name, error) from None


def _named(call: Call, field: str, text: str) -> Id | None:
    """The id, or that of the one whose name it is."""
    text = text.strip()
    if not text or is_id(text):
        return text or None
    found = people.found(call.web.database, call.caller.subject, text)
    if found is None:
        raise malformed(field, ValueError("nobody and nothing of this name; take its id"))
    return found


def _told(call: Call, found: list[Event]) -> list[Told]:
    database, subject = call.web.database, call.caller.subject
    streams = views.kinds_of_streams(database, [one.stream_id for one in found])
    ids = {one.stream_id for one in found} | {one.subject.id for one in found}
    names = people.names_seen(database, subject, ids)
    return [_event(one, streams.get(one.stream_id, ""), names) for one in found]


def _event(event: Event, kind: str, names: Mapping[Id, str]) -> Told:
    actor = ACTORS.get(event.subject.kind, "")
    return Told(
        event,
        "the hub" if event.subject.kind == "hub" else names.get(event.subject.id, event.subject.id),
        actor.format(event.subject.id) if event.subject.id in names else "",
        f"{kind} {names.get(event.stream_id, event.stream_id)}",
        THINGS.get(kind, "").format(event.stream_id),
        [(name, _text(value)) for name, value in event.facts.items()],
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


OPERATIONS = (
    shows("audit", "page_audit", "What happened, by who did it, what it is about and when", trail, query=AuditQuery),
    Operation(
        method="GET",
        path=f"{AUDIT}/export",
        name="export_audit",
        about="The same, one event a line",
        does=export,
        kind=API,
        authentication=sessions.SESSION,
        who=PEOPLE,
        query=AuditQuery,
        answers={200: None},
    ),
    shows(
        "audit/verification", "page_verification", "Whether the chains are whole", verification, query=VerificationQuery
    ),
    shows(
        "audit/verification/part",
        "page_verification_part",
        "The next part of it",
        verification_goes_on,
        query=VerificationQuery,
        long=True,
    ),
)
