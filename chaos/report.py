"""The one table: faults by kind, load held, time to the next progress, and the zeros."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.console import Console
from rich.table import Table

from chaos.compare import Books, Findings
from chaos.faults import Injected
from chaos.ledger import Recovered
from chaos.plan import Held
from chaos.watch import Watch
from config.clock import Micros
from fedyard.wire.times import SECOND

SEEN_BY_ALL = ("web", "decider", "rabbitmq", "postgres")
"""Their progress is a decision that a client gets to know."""
UNDER_WAY: Micros = SECOND
SHOWN = 10


class Progress:
    """When one component was seen to do something. times: ascending."""

    def __init__(self, times: Sequence[Micros]) -> None:
        self._times = times

    def after_kill(self, at: Micros) -> Micros | None:
        """From the kill to the next progress. What was under way gets a second: its progress is none."""
        later = self._times[bisect_right(self._times, at) :]
        return longest_gap([at, *later], at, at + UNDER_WAY) if later else None

    def silence(self, begin: Micros, end: Micros) -> Micros | None:
        """The longest time without a sign of life that touches that span."""
        return longest_gap(self._times, begin, end)


def longest_gap(times: Sequence[Micros], begin: Micros, end: Micros) -> Micros | None:
    """Of the gaps between two neighbours in `times` (ascending) that touch the span; None if there is none."""
    first, last = max(bisect_right(times, begin) - 1, 0), bisect_right(times, end)
    return max((after - before for before, after in pairwise(times[first : last + 1])), default=None)


def decided(books: Mapping[str, Books]) -> list[Micros]:
    """When clients got to know decisions, ascending."""
    return sorted(line.at for book in books.values() for line in book.answered.values() if line.decided)


@dataclass(frozen=True)
class Recovery:
    """Seconds, each time: from a kill to the next progress; of what lasts, the longest silence that it brought."""

    component: str
    kind: str
    seconds: Sequence[float]

    @property
    def what(self) -> str:
        return "to the next progress" if self.kind == "kill" else "longest silence"


def recoveries(history: Sequence[Injected], decisions: Sequence[Micros], watch: Watch) -> list[Recovery]:
    """By component and kind of fault."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in history:
        progress = Progress(decisions if one.component in SEEN_BY_ALL else watch.times(one.component))
        kill = one.kind == "kill"
        span = progress.after_kill(one.at) if kill else progress.silence(one.at, one.ended_at)
        if span is not None:
            found[one.component, one.kind].append(span / SECOND)
    return [Recovery(component, kind, seconds) for (component, kind), seconds in sorted(found.items())]


def site_recoveries(books: Mapping[str, Books], ready: Sequence[Micros]) -> list[float]:
    """Seconds until a site had told a restored hub what it holds, for each site and restore. ready: ascending."""
    found = []
    for book in books.values():
        histories: dict[str, Micros] = {}
        for line in book.heard:
            if isinstance(line, Recovered):
                histories.setdefault(line.history_id, line.at)
        found += [max(told - at, 0) / SECOND for at, told in zip(ready, histories.values(), strict=False)]
    return found


@dataclass(frozen=True)
class Outcome:
    """Everything that the table shows. trouble: what went wrong with the test itself.

    attempts: at workloads, by state. recovered: seconds, of each site of the load after each restore. undone: commands
    that a restore took back, and that may be gone, by kind.
    """

    seconds: float
    seed: int
    history: Sequence[Injected]
    recoveries: Sequence[Recovery]
    recovered: Sequence[float]
    undone: Mapping[str, int]
    held: Held
    decided: int
    runs: Sequence[tuple[str, str, int]]
    attempts: Mapping[str, int]
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
    if outcome.recovered:
        p50, worst = statistics.median(outcome.recovered), max(outcome.recovered)
        table.add_row("sites recovered", "after: restore", str(len(outcome.recovered)), f"{p50:.2f}", f"{worst:.2f}")
    for kind, count in sorted(outcome.undone.items()):
        table.add_row("undone by a restore", kind, str(count))
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
        *((f"attempts at workloads {state}", str(count)) for state, count in sorted(outcome.attempts.items())),
        ("s until all had drained", drained),
    ]
