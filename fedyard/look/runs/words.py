"""What is the case with a run, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from fedyard.wire.answers import CodeUse, Run, TaskRun
from fedyard.wire.causes import Cause
from fedyard.wire.plurals import counted
from fedyard.wire.waiting import Waits, waits_of

NAMED = 2
"""Sites that a sentence names before it counts the others."""


def headline(run: Run, names: Mapping[str, str], *, whole: bool = True, cause: Cause | None = None) -> str:
    """What it waits for, or how it ended. names: of sites, by id. whole: False for who sees its own seat alone.

    cause: what it has failed of, where that is known.
    """
    if run.state == "created":
        return "It is queued: it begins when a run of its project has ended."
    if run.finished:
        return _ended(run, "" if cause is None else cause.sentence(names))
    waits = waits_of(run, whole=whole)
    if waits:
        return " ".join(waits_sentence(one, run, names) for one in waits)
    if run.kind:
        return "It trains over streams: what its deployment waits for stands there."
    return "No task is active: it waits for the decider to begin."


def _ended(run: Run, cause: str) -> str:
    took = _seconds(run.started_at, run.ended_at)
    after = "" if took is None else f" after {_span(took)}"
    if run.state == "succeeded":
        return f"It succeeded{after}."
    why = (cause or run.detail or run.reason.replace("_", " ")).rstrip(".")
    return f"It {'failed' if run.state == 'failed' else 'was cancelled'}{after}{f': {why}' if why else ''}."


def waits_sentence(one: Waits, run: Run, names: Mapping[str, str]) -> str:
    """Whom the round of an active task waits for, and what sites say that they wait for themselves."""
    return " ".join(filter(None, [_waits_for(one, run, names), own_word(one.task)]))


def own_word(task: TaskRun) -> str:
    """What seats wait for by their sites' own word; empty if nothing."""
    said = {
        "approval": (
            "seat waits for a person at its site to approve",
            "seats wait for people at their sites to approve",
        ),
        "hours": ("seat waits for its site's hours", "seats wait for their sites' hours"),
    }
    return " ".join(f"{counted(each.count, *said[each.waits_for])}." for each in task.waiting if each.waits_for in said)


def code_lines(task: TaskRun, names: Mapping[str, str]) -> list[str]:
    """The code that sites run, by what they say of it: one line where it is the same, else one for each."""
    if not task.codes:
        return []
    if len(task.codes) == 1:
        return [f"{task.name}: {counted(task.codes[0].count, 'seat')} with the code {task.codes[0].code}"]
    return [f"{task.name}: sites run different code", *(f"  {_code_line(task, one, names)}" for one in task.codes)]


def _code_line(task: TaskRun, one: CodeUse, names: Mapping[str, str]) -> str:
    who = sorted(names.get(seat.site_id, seat.site_id) for seat in task.seats if seat.code == one.code)
    return f"{one.code}: {counted(one.count, 'seat')}{f' ({listed(who)})' if who else ''}"


def _waits_for(one: Waits, run: Run, names: Mapping[str, str]) -> str:
    place = f"Round {max(1, one.task.round)} of {one.task.spec.rounds} of {one.task.name}"
    if one.round is None:
        return f"{place} is not opened yet."
    if one.coordinator:
        boss = names.get(run.coordinator_site_id, "its coordinator")
        if one.round.number == 0:
            return f"{one.task.name} waits for the first model, which {boss} gives."
        updates = f" of {counted(one.there, 'update')}" if one.whole else ""
        return f"{place} waits for the global model that {boss} makes{updates}."
    if not one.whole:
        mine = listed([names.get(seat.site_id, seat.site_id) for seat in one.late])
        yours = f"it waits for {mine}" if mine else "your own part of it is done"
        return f"{place} is {one.round.state}: {yours}. Other sites' seats are not yours to see."
    if not one.late:
        return f"{place} waits for nobody: it goes on in a moment."
    those = listed([names.get(seat.site_id, seat.site_id) for seat in one.late])
    verb = "is" if one.wanted == "ready" else "has"
    there = counted(one.there, f"seat {verb}", f"seats {'are' if verb == 'is' else 'have'}")
    lack = f", {one.missing} more for the quorum" if one.missing else ""
    return f"{place} waits for {those}: {there} {one.wanted}{lack}."


def told(facts: Mapping[str, object]) -> str:
    """The facts of an event, one after the other; what is empty is left out."""
    return "; ".join(f"{_words(name)} {_value(value)}" for name, value in facts.items() if value not in ("", None, {}))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value)
    return str(value)


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and 3 others`."""
    if not names:
        return ""
    more = len(names) - NAMED
    if more > 1:
        return f"{', '.join(names[:NAMED])} and {more} others"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _seconds(begin: datetime | None, end: datetime | None) -> float | None:
    return None if begin is None or end is None else max(0.0, (end - begin).total_seconds())


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
