"""Why a run has failed: what came first, and not the quorum that fell with it. Pure, and the same for whoever shows it.

It is read off the run and its events, as far as whoever asks may see them: a participant sees its own seat alone, so
that what it is told may be its own seat, or the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fedyard.wire.answers import Run, TaskRun
from fedyard.wire.plurals import counted

TASK_FAILED = "task_failed"
OUT_EVENTS = frozenset({"seat_failed", "seat_dropped", "seat_left_out"})
_OF_QUORUM = "quorum_not_met"
_OF_COORDINATOR = frozenset({"aggregation_failed", "aggregate_deadline"})
_VERBS = {"seat_failed": "failed", "seat_dropped": "was dropped", "seat_left_out": "was left out"}


class Told(Protocol):
    """As much of an event as that takes, in the hub's class and in the site's."""

    @property
    def seq(self) -> int: ...

    @property
    def kind(self) -> str: ...

    @property
    def site_id(self) -> str | None: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Cause:
    """What a task has failed of. site_id: None where it was no site's. others: how many more seats went as well.

    kind: of the event. why: in words. then: what the task itself ended with, where that says more.
    """

    task: str
    round: int
    site_id: str | None
    kind: str
    why: str
    others: int = 0
    then: str = ""

    def sentence(self, names: Mapping[str, str]) -> str:
        """In one sentence, without its full stop. names: of sites, by id."""
        place = f"round {self.round} of task {self.task}"
        if self.site_id is None:
            return f"{place} failed: {self.why}"
        who = names.get(self.site_id, f"site {self.site_id}")
        if self.kind == TASK_FAILED:
            return f"the coordinator {who} made no model in {place}: {self.why}"
        more = f"; {counted(self.others, 'more seat', 'more seats')} went as well" if self.others else ""
        then = f"; then: {self.then}" if self.then else ""
        return f"{who} {_VERBS.get(self.kind, self.kind)} in {place}: {self.why}{more}{then}"


def said_of(event: Told) -> str:
    """Reason and detail of an event, as far as it has them."""
    return ": ".join(str(event.facts[name]) for name in ("reason", "detail") if event.facts.get(name))


def first_cause(run: Run, events: Iterable[Told]) -> Cause | None:
    """What came first, of a run that has failed. None if it has not, or if nothing that is seen says why.

    events: the run's, in any order.
    """
    if run.state != "failed":
        return None
    ordered = sorted(events, key=lambda event: event.seq)
    ended = next((event for event in ordered if event.kind == TASK_FAILED), None)
    name = ended.facts.get("task") if ended is not None else None
    task = next((t for t in run.tasks if t.name == name or (name is None and t.state == "failed")), None)
    if task is None:
        return None
    if task.reason in _OF_COORDINATOR:
        why = said_of(ended) if ended is not None else task.reason
        return Cause(task.name, task.round, run.coordinator_site_id, TASK_FAILED, why)
    until = ended.seq if ended is not None else None
    outs = [
        event
        for event in ordered
        if event.kind in OUT_EVENTS and event.facts.get("task") == task.name and (until is None or event.seq < until)
    ]
    return _of_seats(task, outs, "" if ended is None else said_of(ended))


def _of_seats(task: TaskRun, outs: list[Told], then: str) -> Cause | None:
    """Of the seats that are out of a task, the one that went first in the round that failed, or before it."""
    lost = {seat.site_id for seat in task.seats if seat.state in ("failed", "dropped")}
    lost |= {s.site_id for here in task.rounds if here.number == task.round for s in here.submissions if s.left_out}
    gone: dict[str, Told] = {}
    for event in outs:
        if event.site_id in lost:
            gone[str(event.site_id)] = event  # the last time that it went: it may have been back in between
    if not gone or task.reason != _OF_QUORUM:
        return Cause(task.name, task.round, None, TASK_FAILED, then or task.reason) if then or task.reason else None
    in_order = sorted(gone.values(), key=lambda event: event.seq)
    first = next((event for event in in_order if event.facts.get("round") == task.round), in_order[0])
    number = first.facts.get("round")
    return Cause(
        task.name,
        number if isinstance(number, int) else task.round,
        first.site_id,
        first.kind,
        said_of(first) or "no reason was given",
        others=len(gone) - 1,
        then=then,
    )
