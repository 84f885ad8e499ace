"""What happened everywhere is found by who did it, what it is about and when; and walked part by part."""

from __future__ import annotations

from typing import Any

from domain import commands as c
from domain.values import Subject
from fedyard.wire.times import DAY, HOUR
from storage.audit import Place, verify_part
from storage.views import events
from storage.views.events import Behind, Sought
from tests.hub import Hub

ADMIN = Subject(kind="account", id="0" * 8 + "-0000-4000-8000-" + "0" * 12, role="admin")


def found(hub: Hub, by: Subject = ADMIN, **wanted: Any) -> list[str]:
    """Kinds, the newest first."""
    return [one.kind for one in seek(hub, by, **wanted)]


def seek(hub: Hub, by: Subject = ADMIN, limit: int = 100, after: str | None = None, **wanted: Any) -> list[Any]:
    sought = Sought(**{"since": 0, "until": hub.clock.now() + 1, **wanted})
    behind = None if after is None else Behind.of(after)
    return events.sought(hub.database, by, sought, after=behind, limit=limit).items


def test_events_are_found_by_who_did_it_what_it_is_about_and_when(hub: Hub) -> None:
    before = hub.clock.now()
    lead, other = hub.sites(2)
    project = hub.project([lead, other])
    hub.clock.micros += 40 * DAY
    later = hub.clock.now()
    run = hub.start(project, lead)
    hub.clock.micros += 3 * HOUR
    hub.ok(c.StopRun(run_id=run), lead)
    assert found(hub)[0] == "run_cancelled"
    assert set(found(hub, about=run)) == set(found(hub, about=project, since=later))
    assert found(hub, about=run)[-1] == "run_created"
    assert found(hub, subject=other.id) == ["member_admitted"]
    assert found(hub, kind="run_created", until=later) == []
    assert found(hub, kind="run_created") == ["run_created"]
    assert found(hub, since=before, until=before) == []
    assert found(hub, about=other.id, until=later)[-1] == "site_enrolled"


def test_pages_of_them_run_on_without_gap_or_repetition(hub: Hub) -> None:
    lead, other = hub.sites(2)
    hub.start(hub.project([lead, other]), lead)
    hub.clock.micros += 2 * DAY
    hub.site("late")
    whole = [(one.stream_id, one.seq) for one in seek(hub)]
    walked: list[tuple[str, int]] = []
    after: str | None = None
    while True:
        sought = Sought(since=0, until=hub.clock.now() + 1)
        page = events.sought(hub.database, ADMIN, sought, after=None if after is None else Behind.of(after), limit=3)
        walked += [(one.stream_id, one.seq) for one in page.items]
        if page.next is None:
            break
        after = page.next
    assert walked == whole
    assert len(whole) == len(set(whole)) > 10


def test_others_see_what_happens_at_their_sites_and_in_projects_that_they_lead(hub: Hub) -> None:
    lead, other, stranger = hub.sites(3)
    project = hub.project([lead, other])
    member = hub.account(other.organisation_id or "", "member")
    assert {one.stream_id for one in seek(hub, lead)} == {lead.id, project}
    assert {one.stream_id for one in seek(hub, member)} == {lead.id, other.id, stranger.id, project}
    elsewhere = hub.account(hub.organisation("elsewhere"), "member")
    assert seek(hub, elsewhere) == []


def walk(hub: Hub, limit: int) -> tuple[int, int, list[str]]:
    streams = count = 0
    faults: list[str] = []
    place: Place | None = None
    while True:
        part = verify_part(hub.database, place, limit)
        streams, count, faults = streams + part.streams, count + part.events, faults + part.faults
        if part.next is None:
            return streams, count, faults
        place = part.next


def test_chains_are_walked_part_by_part_and_each_break_is_found_once(hub: Hub) -> None:
    lead, other = hub.sites(2)
    project = hub.project([lead, other])
    hub.start(project, lead)
    whole = walk(hub, 1000)
    assert whole == walk(hub, 1) == walk(hub, 3)
    assert whole[2] == []
    with hub.database.connection():
        hub.database.all("UPDATE events SET facts_json = '{}' WHERE stream_id = %s AND seq = 2 RETURNING 1", project)
        hub.database.all("DELETE FROM events WHERE stream_id = %s AND seq = 4 RETURNING 1", project)
        hub.database.all("UPDATE streams SET last_seq = 99 WHERE id = %s RETURNING 1", lead.id)
    for limit in (1, 2, 1000):
        faults = walk(hub, limit)[2]
        said = sorted(fault.partition(": ")[2] for fault in faults)
        assert "event 2 was changed, or the one before it" in said
        assert "event 4 is missing" in said
        assert any(one.endswith("to 99 are missing") for one in said)
        assert len(said) == 4
