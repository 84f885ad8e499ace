"""The one table: faults by kind, load held, time to the next progress, and the zeros."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from rich.console import Console
from rich.table import Table

from chaos.compare import Books, Findings
from chaos.faults import Injected
from chaos.plan import Held
from chaos.watch import Watch
from config.clock import SECOND, Micros

SEEN_BY_ALL = ("web", "decider", "rabbitmq", "postgres")
"""Their progress is the next command that is asked for and decided."""
SHOWN = 10


class Progress(Protocol):
    """Of one component."""

    def after(self, at: Micros) -> Micros | None:
        """When it did something for the first time after that."""

    def silence(self, begin: Micros, end: Micros) -> Micros | None:
        """The longest time without a sign of life that touches that span."""


def longest_gap(times: Sequence[Micros], begin: Micros, end: Micros) -> Micros | None:
    """Of the gaps between two neighbours in `times` (ascending) that touch the span; None if there is none."""
    first, last = max(bisect_right(times, begin) - 1, 0), bisect_right(times, end)
    return max((after - before for before, after in pairwise(times[first : last + 1])), default=None)


class Signs:
    """The progress of one that the watch looks at. times: ascending."""

    def __init__(self, times: Sequence[Micros]) -> None:
        self._times = times

    def after(self, at: Micros) -> Micros | None:
        place = bisect_right(self._times, at)
        return self._times[place] if place < len(self._times) else None

    def silence(self, begin: Micros, end: Micros) -> Micros | None:
        return longest_gap(self._times, begin, end)


class Decisions:
    """When commands were asked for and when their decision was with the client."""

    def __init__(self, books: Mapping[str, Books]) -> None:
        pairs = sorted(
            (asked.at, book.answered[id].at)
            for book in books.values()
            for id, asked in book.asked.items()
            if id in book.answered and book.answered[id].decided
        )
        self.count = len(pairs)
        self._answered = sorted(answered for _, answered in pairs)
        self._asked = [asked for asked, _ in pairs]
        self._first: list[Micros] = []
        earliest: Micros | None = None
        for _, answered in reversed(pairs):
            earliest = answered if earliest is None else min(earliest, answered)
            self._first.append(earliest)
        self._first.reverse()

    def after(self, at: Micros) -> Micros | None:
        """When the first command that was asked for after that had its decision."""
        place = bisect_right(self._asked, at)
        return self._first[place] if place < len(self._first) else None

    def silence(self, begin: Micros, end: Micros) -> Micros | None:
        """The longest time without a decision that touches that span."""
        return longest_gap(self._answered, begin, end)


@dataclass(frozen=True)
class Recovery:
    """Seconds, each time: from a kill to the next progress; of what lasts, the longest silence that it brought."""

    component: str
    kind: str
    seconds: Sequence[float]

    @property
    def what(self) -> str:
        return "to the next progress" if self.kind == "kill" else "longest silence"


def recoveries(history: Sequence[Injected], decisions: Decisions, watch: Watch) -> list[Recovery]:
    """By component and kind of fault."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in history:
        if not one.component:
            continue
        seconds = _seconds(one, decisions if one.component in SEEN_BY_ALL else Signs(watch.times(one.component)))
        if seconds is not None:
            found[one.component, one.kind].append(seconds)
    return [Recovery(component, kind, seconds) for (component, kind), seconds in sorted(found.items())]


def _seconds(one: Injected, progress: Progress) -> float | None:
    if one.kind == "kill":
        next_ = progress.after(one.at)
        return None if next_ is None else (next_ - one.at) / SECOND
    silence = progress.silence(one.at, one.ended_at)
    return None if silence is None else silence / SECOND


@dataclass(frozen=True)
class Outcome:
    """Everything that the table shows. trouble: what went wrong with the test itself."""

    seconds: float
    seed: int
    history: Sequence[Injected]
    recoveries: Sequence[Recovery]
    held: Held
    decided: int
    runs: Sequence[tuple[str, str, int]]
    drained_s: float | None
    findings: Findings
    trouble: Sequence[str]
    left_out: Sequence[str]

    @property
    def good(self) -> bool:
        return not any(self.findings.values()) and not self.trouble


def show(outcome: Outcome, console: Console) -> None:
    """Print it."""
    table = Table(title=f"{outcome.seconds:.0f} s of faults, seed {outcome.seed}", title_justify="left")
    for name in ("what", "which", "count"):
        table.add_column(name, justify="right" if name == "count" else "left")
    table.add_column("p50 s", justify="right")
    table.add_column("max s", justify="right")
    for (kind, part), count in sorted(Counter((one.kind, one.part) for one in outcome.history).items()):
        table.add_row("fault", f"{kind}: {part}", str(count))
    table.add_section()
    for one in outcome.recoveries:
        p50, worst = statistics.median(one.seconds), max(one.seconds)
        name = f"{one.component} after: {one.kind}"
        table.add_row(one.what, name, str(len(one.seconds)), f"{p50:.2f}", f"{worst:.2f}")
    table.add_section()
    for name, figure in _load(outcome):
        table.add_row("load held", name, figure)
    table.add_section()
    for name, sentences in outcome.findings.items():
        table.add_row("zero" if not sentences else "NOT ZERO", name, str(len(sentences)))
    console.print(table)
    for name, sentences in outcome.findings.items():
        for sentence in sentences[:SHOWN]:
            console.print(f"{name}: {sentence}", markup=False, highlight=False, soft_wrap=True)
    for sentence in outcome.trouble:
        console.print(f"trouble: {sentence}", markup=False, highlight=False, soft_wrap=True)
    for sentence in outcome.left_out:
        console.print(f"left out: {sentence}", markup=False, highlight=False, soft_wrap=True)


def _load(outcome: Outcome) -> list[tuple[str, str]]:
    held, seconds = outcome.held, outcome.held.seconds or 1.0
    none = held.statuses.get("0", 0)
    busy = held.statuses.get("503", 0)
    drained = "never" if outcome.drained_s is None else f"{outcome.drained_s:.1f}"
    return [
        ("requests/s", f"{held.requests / seconds:.0f}"),
        ("of them without an answer", str(none)),
        ("of them answered 503", str(busy)),
        ("commands decided for clients/s", f"{outcome.decided / seconds:.1f}"),
        ("messages sent/s", f"{held.messages_sent / seconds:.1f}"),
        ("inbox entries received/s", f"{held.entries_received / seconds:.1f}"),
        *((f"runs {state}{f' ({reason})' if reason else ''}", str(count)) for state, reason, count in outcome.runs),
        ("s until all had drained", drained),
    ]
