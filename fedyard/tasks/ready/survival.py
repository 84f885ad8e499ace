"""Kaplan and Meier's curve with Greenwood's errors, and the log-rank test, of all sites' patients together.

Times are counted in steps of `interval`: a step holds what happened in it, up to its end. With `min_count` 1, and times
that are whole steps (days, with an interval of 1), curve and test equal those of all rows in one place. With a larger
one a step with fewer events than that is put together with those behind it, and its events are spread evenly over them;
so are those whom one lost sight of. How far that is from the exact curve depends on how many patients a site has: a
longer interval (a month) loses less by it than a short one. A patient who is lost sight of in a step was at risk in it.

Parameters: time (column, from 0 on; a must), event (column, 1 or true: it happened; a must), positive (the label of
`event` that says so, where it is none of these), group (column; without it one curve), interval (1.0), confidence
(0.95), min_count (5), data ("train"). One round does.

What leaves a site: for each group how many there are, and for each step, or several together, how many events it had
and of how many one lost sight: nobody, or `min_count` people at least. A group does not count at a site that has fewer
of its patients, fewer events among them (but none), or fewer of whom one lost sight (but none). The site's own
`tasks.min_count` holds if it is larger. Rows with a missing value in one of the columns are left out. A median that a
curve does not come down to is infinite. Metrics: samples; of the result rows, events, sites.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import Arrays, Content, Context, Result, Task, TaskError, Update
from fedyard.tasks.ready import common as c
from fedyard.tasks.ready import distributions as d
from fedyard.tasks.ready.cells import joined, small, spread
from fedyard.wire.plurals import counted

MAX_STEPS: Final = 100_000
ALL: Final = "(all)"
_EXACT: Final = 1e-9
"""Of a step: times that are whole steps but for rounding."""


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project may choose."""

    time: c.Column
    event: c.Column
    positive: str | None = None
    group: c.Column | None = None
    interval: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    confidence: c.Share = 0.95
    min_count: c.Least = 5
    data: str = "train"


@dataclass(frozen=True)
class _Counts:
    """Of a group, by step from 0 on: events, and of how many one lost sight."""

    events: c.Floats
    lost: c.Floats

    @property
    def rows(self) -> float:
        return float(self.events.sum() + self.lost.sum())

    def longer(self, steps: int) -> _Counts:
        more = steps - len(self.events)
        return _Counts(np.pad(self.events, (0, more)), np.pad(self.lost, (0, more)))

    def plus(self, other: _Counts) -> _Counts:
        steps = max(len(self.events), len(other.events))
        one, two = self.longer(steps), other.longer(steps)
        return _Counts(one.events + two.events, one.lost + two.lost)

    def at_risk(self) -> c.Floats:
        """At the beginning of each step."""
        gone = np.cumsum(self.events + self.lost)
        return self.rows - np.concatenate([[0.0], gone[:-1]])


class KaplanMeier(Task):
    """See the module's docstring."""

    alike = False
    finite = False  # a median that is not reached is infinite; updates are looked at by `_unpacked`

    def __init__(self) -> None:
        self.chosen = Parameters(time="-", event="-")
        self.groups: dict[str, _Counts] = {}

    def validate(self, parameters: Mapping[str, object]) -> None:
        self.chosen = c.chosen(parameters, Parameters, "kaplan_meier")

    def prepare(self, context: Context) -> None:
        chosen, table = self.chosen, context.table(self.chosen.data)
        least = c.least_of(context, chosen.min_count)
        table.need([name for name in (chosen.time, chosen.event, chosen.group) if name])
        c.enough(table, least)
        times, events = table.numbers(chosen.time), c.truth(table, chosen.event, chosen.positive)
        labels = table.labels(chosen.group) if chosen.group else [ALL] * len(table)
        whole = ~np.isnan(times) & ~np.isnan(events) & np.array([label is not None for label in labels])
        if (times[whole] < 0).any():
            row = int(np.flatnonzero(whole & (times < 0))[0])
            raise TaskError(f"{table.place(row)}, column `{chosen.time[:60]}`: a time before 0: correct it")
        if not whole.any():
            raise TaskError("no row of this site has a value in each of the columns")
        steps = np.ceil(times[whole] / chosen.interval - _EXACT).astype(np.int64)
        if steps.max() >= MAX_STEPS:
            raise TaskError(f"more than {MAX_STEPS} steps of {chosen.interval:g}: name a longer `interval`")
        group_of = np.array([label for label, used in zip(labels, whole, strict=True) if used])
        happened = events[whole] > 0
        for name in sorted(set(group_of)):
            sent = _sent(steps[group_of == name], happened[group_of == name], least)
            if sent is not None:
                self.groups[str(name)] = sent
        if not self.groups:
            raise TaskError(f"each group of this site has fewer than {least} patients, or events, or patients lost")

    def train(self, context: Context, model: Content | None) -> Result:  # noqa: ARG002 - one round does
        rows = sum(spread(g.events).sum() + spread(g.lost).sum() for g in self.groups.values())
        context.log(f"{counted(len(self.groups), 'group')}, {counted(int(rows), 'patient')}")
        steps = [len(g.events) for g in self.groups.values()]
        content = {
            "groups": c.text_array(list(self.groups)),
            "steps": np.array(steps, dtype=float),
            "events": np.concatenate([g.events for g in self.groups.values()]),
            "lost": np.concatenate([g.lost for g in self.groups.values()]),
            "interval": np.array([self.chosen.interval]),
        }
        return Result(content, {"samples": float(rows)})

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        """Raises `Unusable` for updates that are none, or with steps of another length."""
        parts = c.usable(updates, _unpacked)
        c.alike(parts, context.site_id, lambda part: part[0], lambda _part, _most: "its steps have another interval")
        groups: dict[str, _Counts] = {}
        sites: dict[str, int] = {}
        for _, (_, part) in sorted(parts.items()):
            for name, found in part.items():
                groups[name] = groups[name].plus(found) if name in groups else found
                sites[name] = sites.get(name, 0) + 1
        steps = max(len(found.events) for found in groups.values())
        groups = {name: found.longer(steps) for name, found in sorted(groups.items())}
        rows, events = (
            sum(values) for values in zip(*((g.rows, g.events.sum()) for g in groups.values()), strict=True)
        )
        if not events and self.chosen.positive is not None:
            raise TaskError(
                f"no site has an event: none of {round(rows)} rows has the label {self.chosen.positive[:60]!r} in "
                f"column `{self.chosen.event[:60]}`: name it as the files write it (`positive`)"
            )
        metrics = {"rows": float(rows), "events": float(events), "sites": float(len(parts))}
        content = {**self._curves(groups, sites), **_log_rank(list(groups.values()))}
        return Result({**content, "interval": np.array([self.chosen.interval])}, metrics)

    def _curves(self, groups: Mapping[str, _Counts], sites: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        quantile = d.normal_quantile(self.chosen.confidence)
        lines: dict[str, list[object]] = {}
        for name, group in groups.items():
            curve = _curve(group, quantile)
            steps = np.flatnonzero(group.events > 0)
            below = steps[curve["survival"][steps] <= 0.5 + _EXACT]
            about: dict[str, object] = {
                "group": name,
                "rows": group.rows,
                "events": float(group.events.sum()),
                "sites": float(sites[name]),
                "median": float(below[0]) * self.chosen.interval if len(below) else math.inf,
            }
            for key, value in about.items():
                lines.setdefault(f"groups.{key}", []).append(value)
            for step in steps:
                row: dict[str, object] = {"group": name, "time": float(step) * self.chosen.interval}
                row |= {key: float(values[step]) for key, values in curve.items()}
                for key, value in row.items():
                    lines.setdefault(f"curve.{key}", []).append(value)
        return {
            name: c.text_array(list(map(str, values))) if isinstance(values[0], str) else np.array(values, dtype=float)
            for name, values in lines.items()
        }


def _sent(steps: NDArray[np.int64], happened: NDArray[np.bool_], least: int) -> _Counts | None:
    """A group's counts, small ones put together; None where that does not do."""
    many = int(happened.sum())
    if small(len(steps), least) or small(many, least) or small(len(steps) - many, least):
        return None
    length = int(steps.max()) + 1
    rows = (np.bincount(steps[chosen], minlength=length).astype(float) for chosen in (happened, ~happened))
    events, lost = (joined(row, least) for row in rows)
    assert events is not None
    assert lost is not None
    return _Counts(events, lost)


def _unpacked(arrays: Arrays) -> tuple[float, dict[str, _Counts]]:
    names = c.words(arrays, "groups")
    interval = float(c.floats(arrays, "interval", (1,))[0])
    steps = [int(count) for count in c.counts(arrays, "steps", (len(names),))]
    if not names or len(set(names)) != len(names) or sum(steps) > MAX_STEPS * len(names) or min(steps) < 1:
        raise TaskError("its groups have no steps")
    ends = np.cumsum(steps)[:-1]
    events, lost = (np.split(c.floats(arrays, name, (sum(steps),)), ends) for name in ("events", "lost"))
    groups = {name: _Counts(spread(one), spread(two)) for name, one, two in zip(names, events, lost, strict=True)}
    if any((group.events < 0).any() or (group.lost < 0).any() for group in groups.values()):
        raise TaskError("its events are no counts")
    return interval, groups


def _curve(group: _Counts, quantile: float) -> dict[str, c.Floats]:
    """Survival after each step; errors by Greenwood, the interval by that of log(-log), cut to 0 and 1 at its ends."""
    risk = group.at_risk()
    at_risk = np.where(risk > _EXACT, risk, 1.0)
    share = np.where(risk > _EXACT, group.events / at_risk, 0.0)
    survival = np.cumprod(np.clip(1 - share, 0.0, 1.0))
    left = at_risk - group.events
    terms = np.where(left > _EXACT, group.events / (at_risk * np.where(left > _EXACT, left, 1.0)), 0.0)
    greenwood = np.cumsum(np.where(risk > _EXACT, terms, 0.0))
    inside = (survival > _EXACT) & (survival < 1 - _EXACT)
    log = np.log(np.where(inside, survival, 0.5))
    reach = quantile * np.sqrt(greenwood) / np.abs(log)
    low = np.where(inside, np.exp(log * np.exp(reach)), survival)
    high = np.where(inside, np.exp(log * np.exp(-reach)), survival)
    return {
        "at_risk": risk,
        "events": group.events,
        "survival": survival,
        "standard_error": survival * np.sqrt(greenwood),
        "low": low,
        "high": high,
    }


def _log_rank(groups: Sequence[_Counts]) -> dict[str, NDArray[Any]]:
    """Mantel's test that all groups have the same curve: chi-squared with one degree of freedom less than groups."""
    if len(groups) < 2:
        return {}
    risks = np.stack([group.at_risk() for group in groups])
    happened = np.stack([group.events for group in groups])
    risk, events = risks.sum(axis=0), happened.sum(axis=0)
    counts = (risk > _EXACT) & (events > 0)
    risks, happened, risk, events = risks[:, counts], happened[:, counts], risk[counts], events[counts]
    share = risks / risk
    expected = (share * events).sum(axis=1)
    factor = np.where(risk > 1, events * (risk - events) / np.where(risk > 1, risk - 1, 1.0), 0.0)
    variance = np.diag((share * factor).sum(axis=1)) - (share * factor) @ share.T
    apart = (happened.sum(axis=1) - expected)[:-1]
    degrees = len(groups) - 1
    statistic = float(apart @ np.linalg.pinv(variance[:-1, :-1]) @ apart)
    return {
        "log_rank.statistic": np.array([statistic]),
        "log_rank.degrees": np.array([float(degrees)]),
        "log_rank.p_value": np.array([d.chi_squared_p(statistic, degrees)]),
    }
