"""Why a run does not go on, or has failed, as a site's people see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from fedyard.client.client import Client
from fedyard.client.errors import Refused
from fedyard.look.runs.words import headline, own_word, waits_sentence
from fedyard.wire.answers import Event, Run, Seat
from fedyard.wire.causes import OUT_EVENTS, TASK_FAILED, Cause, first_cause, said_of
from fedyard.wire.notebooks import escaped
from fedyard.wire.plurals import counted
from fedyard.wire.shown import MAX_LINE, shown
from fedyard.wire.waiting import AtDeadline, Waits, waits_of

NAMED = 20
"""Seats that are named of those that a round waits for."""
_OUT = ("failed", "dropped")
_AT_DEADLINE: Mapping[AtDeadline, str] = {
    "goes_on": "then it goes on without who is late, for its quorum is there",
    "is_extended": "then, below its quorum, it waits for another such span",
    "fails": "then the run fails, if what it waits for is not there",
    "takes_scores": "then the round is done with the scores that have come",
    "unknown": "then it goes on or fails, by its quorum",
}


class Heard(msgspec.Struct, frozen=True):
    """A site's state at the hub, and when the hub has last heard of it."""

    state: str
    seen_at: datetime | None


class WaitsFor(msgspec.Struct, frozen=True):
    """An active task's round, and who is waited for: sites by id and name, with their seats' states.

    heard: by site, of those that are named and that who asks may see.
    """

    task: str
    round: int
    stage: str
    sites: list[tuple[str, str, str]]
    there: int
    quorum: int
    until: datetime | None
    at_deadline: AtDeadline
    heard: Mapping[str, Heard] = {}


class Why(msgspec.Struct, frozen=True):
    """sentence: what is the case, in one. cause: what a failed run has failed of. lines: what else went wrong, and why.

    requests_waiting: sites that have asked to join and take no part until they are let in.
    """

    run_id: str
    state: str
    sentence: str
    cause: Cause | None
    waits: list[WaitsFor]
    requests_waiting: int
    lines: list[str]

    def __str__(self) -> str:
        """As it may be printed, whatever others have put into their names and reasons."""
        return "\n".join(shown(line, MAX_LINE) for line in why_lines(self))

    def _repr_html_(self) -> str:
        """In a notebook: the lines, escaped."""
        return "".join(f"<p>{escaped(line)}</p>" for line in why_lines(self))


def why_of(client: Client, run: Run, names: Mapping[str, str], site_id: str) -> Why:
    """names: of sites, by id. site_id: of who asks; a participant sees its own seat alone."""
    whole = site_id == run.coordinator_site_id
    events = _of_failures(client, run)
    cause = first_cause(run, events)
    waits = [_waits(one, run, names) for one in waits_of(run, whole=whole)]
    return Why(
        run_id=run.id,
        state=run.state,
        sentence=headline(run, names, whole=whole, cause=cause),
        cause=cause,
        waits=_with_heard(client, run, waits),
        requests_waiting=_requests(client, run) if whole else 0,
        lines=[*_out(run, names, events, cause)],
    )


def why_lines(why: Why) -> Iterator[str]:
    """All of it, for people."""
    yield why.sentence
    for one in why.waits:
        yield from _until(one)
        for site_id, name, state in one.sites[:NAMED]:
            yield f"  waits for {name} ({site_id}): {state}{_heard(one.heard.get(site_id))}"
        if len(one.sites) > NAMED:
            yield f"  and for {len(one.sites) - NAMED} more"
    yield from requests_lines(why.requests_waiting)
    yield from why.lines


def waiting_lines(run: Run, names: Mapping[str, str], site_id: str) -> dict[tuple[str, int, str], str]:
    """Whom a live run waits for, and until when: by task, round and stage, with what sites wait for themselves, so that
    it is told once of each."""
    whole = site_id == run.coordinator_site_id
    found = {}
    for one in waits_of(run, whole=whole):
        here = _waits(one, run, names)
        found[here.task, here.round, f"{here.stage} {own_word(one.task)}"] = " ".join(
            [waits_sentence(one, run, names), *_until(here)]
        )
    return found


def requests_lines(count: int) -> list[str]:
    if not count:
        return []
    many = counted(count, "site has", "sites have")
    return [f"{many} asked to join and will take no part until let in: fedyard project members, project approve"]


def _until(one: WaitsFor) -> list[str]:
    """Until when it waits, and what comes then, in a sentence."""
    if one.until is None:
        return []
    return [f"Until {one.until.isoformat(timespec='seconds')}; {_AT_DEADLINE[one.at_deadline]}."]


def _waits(one: Waits, run: Run, names: Mapping[str, str]) -> WaitsFor:
    here = one.round
    sites = [(seat.site_id, names.get(seat.site_id, seat.site_id), _state(seat)) for seat in one.late]
    if one.coordinator:
        boss = run.coordinator_site_id
        sites = [(boss, names.get(boss, boss), "aggregating")]
    return WaitsFor(
        task=one.task.name,
        round=one.task.round,
        stage="" if here is None else here.state,
        sites=sites,
        there=one.there,
        quorum=0 if here is None else here.quorum,
        until=one.deadline,
        at_deadline=one.at_deadline,
    )


def _with_heard(client: Client, run: Run, waits: list[WaitsFor]) -> list[WaitsFor]:
    """With when the hub has heard of the sites that are named, by one list."""
    if not any(one.sites for one in waits):
        return waits
    heard = {site.id: Heard(site.state, site.seen_at) for site in client.sites(project_id=run.project_id)}
    return [
        msgspec.structs.replace(one, heard={ident: heard[ident] for ident, *_ in one.sites[:NAMED] if ident in heard})
        for one in waits
    ]


def _heard(heard: Heard | None) -> str:
    """Whether a site that is waited for is there; nothing of one that who asks may not see."""
    if heard is None:
        return ""
    if heard.seen_at is None:
        return "; never heard of"
    at = heard.seen_at.isoformat(timespec="seconds")
    return f"; last heard of at {at}" if heard.state == "online" else f"; {heard.state}, last heard of at {at}"


def _state(seat: Seat) -> str:
    """With what its site has it wait for."""
    if not seat.waits_for:
        return seat.state
    until = "" if seat.waits_until is None else f" until {seat.waits_until.isoformat(timespec='seconds')}"
    return f"{seat.state}, waits for {seat.waits_for}{until}"


def _requests(client: Client, run: Run) -> int:
    try:
        return sum(member.state == "requested" for member in client.members(run.project_id))
    except Refused:
        return 0


def _of_failures(client: Client, run: Run) -> list[Event]:
    """The run's events that say why something is out. None are asked for where nothing is."""
    found: list[Event] = []
    if not any(task.state == "failed" or any(seat.reason for seat in task.seats) for task in run.tasks):
        return found
    after = 0
    while events := client.events(run.id, after=after):
        after = events[-1].seq
        found += [event for event in events if event.kind == TASK_FAILED or event.kind in OUT_EVENTS]
    return found


def _out(run: Run, names: Mapping[str, str], events: Iterable[Event], cause: Cause | None) -> Iterator[str]:
    """Why tasks have failed, and why seats are out, by the newest word of their events; but for the cause itself."""
    whys = {
        (str(event.facts.get("task", "")), None if event.kind == TASK_FAILED else event.site_id): said_of(event)
        for event in events
    }
    said = set() if cause is None else {(cause.task, cause.site_id), (cause.task, None)}
    if run.detail and cause is None and run.state != "succeeded":
        yield run.detail
    for task in run.tasks:
        why = whys.get((task.name, None), "")
        if why not in ("", task.reason) and (task.name, None) not in said:  # `run.detail` has the bare reason
            yield f"{task.name}: failed in round {task.round}: {why}"
        for seat in sorted(task.seats, key=lambda seat: names.get(seat.site_id, seat.site_id)):
            if seat.reason and seat.state in _OUT and (task.name, seat.site_id) not in said:
                why = whys.get((task.name, seat.site_id)) or seat.reason
                name = names.get(seat.site_id, seat.site_id)
                yield f"{task.name}: {name} {seat.state} in round {seat.round}: {why}"
