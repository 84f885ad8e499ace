"""Table one: who the patients of all sites are, by column and by group, without anybody's rows.

Of a column of numbers: how many values, how many missing, mean, standard deviation and quantiles; of a column of
labels: how many of each, and their share. Counts, means and standard deviations equal those of all rows in one place
(sums of squares about means are combined as by Chan, Golub and LeVeque 1979); quantiles come from a histogram on a grid
that all sites share, so that they are exact to a cell of it (`resolution` in the result).

Round 1 counts and sums; its result tells the grid: `bins` cells from five standard deviations below the mean to five
above. Each later round counts anew, with histograms: so 2 rounds, or 1 without quantiles.

Parameters: columns (which; a must), categorical (those of them whose numbers are labels; text and true/false are by
themselves), by (a column that parts the rows into groups), quantiles (0.25, 0.5, 0.75), bins (200), min_count (5),
data ("train").

What leaves a site: per group and column counts, mean and sum of squares; in later rounds histograms. No count of 1 to
`min_count` - 1 people does, that of missing values excepted, which tells nobody's value: rare labels count as `(rare)`,
neighbouring cells of histograms are put together, a group with fewer rows does not count at that site, nor does a
column with fewer values in a group. The site's own `tasks.min_count` holds if it is larger. No smallest or largest
value leaves. Metrics: samples, columns; of the result groups, rows, sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
import numpy as np

from fedyard.tasks import Arrays, Content, Context, Result, Task, TaskError, Unusable, Update
from fedyard.tasks.reading.tables import Table
from fedyard.tasks.ready import common as c
from fedyard.tasks.ready.cells import FEW, joined, put_together, small, spread
from fedyard.wire.plurals import counted

ALL = "(all)"
"""The group of all rows, where there are others."""
MISSING = "(missing)"
WIDTH = 5.0
"""Standard deviations that the grid reaches to each side of the mean."""


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project may choose."""

    columns: Annotated[list[c.Column], msgspec.Meta(min_length=1, max_length=1000)]
    categorical: Annotated[list[c.Column], msgspec.Meta(max_length=1000)] = []
    by: c.Column | None = None
    quantiles: Annotated[list[c.Share], msgspec.Meta(min_length=1, max_length=20)] = msgspec.field(
        default_factory=lambda: [0.25, 0.5, 0.75]
    )
    bins: Annotated[int, msgspec.Meta(ge=10, le=10_000)] = 200
    min_count: c.Least = 5
    data: str = "train"


@dataclass
class _Group:
    """Rows of one site, or of all: by column. moments: count, mean, sum of squares about it. cells: of a histogram."""

    rows: float = 0.0
    sites: int = 0
    moments: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    labels: dict[tuple[str, str], float] = field(default_factory=dict)
    missing: dict[str, float] = field(default_factory=dict)
    cells: dict[str, c.Floats] = field(default_factory=dict)

    def add(self, other: _Group) -> None:
        """Another site's, or another group's."""
        self.rows, self.sites = self.rows + other.rows, self.sites + other.sites
        for name, moments in other.moments.items():
            self.moments[name] = c.combined(self.moments.get(name, (0.0, 0.0, 0.0)), moments)
        for cell, count in other.labels.items():
            self.labels[cell] = self.labels.get(cell, 0.0) + count
        for name, count in other.missing.items():
            self.missing[name] = self.missing.get(name, 0.0) + count
        for name, cells in other.cells.items():
            self.cells[name] = self.cells[name] + cells if name in self.cells else cells


class TableOne(Task):
    """See the module's docstring."""

    alike = False

    def __init__(self) -> None:
        self.chosen = Parameters(columns=["-"])
        self.table: Table | None = None

    def validate(self, parameters: Mapping[str, object]) -> None:
        self.chosen = c.chosen(parameters, Parameters, "table_one")
        if odd := sorted(set(self.chosen.categorical) - set(self.chosen.columns)):
            raise TaskError(f"parameters of table_one: `categorical` names {', '.join(odd[:5])}, `columns` does not")
        if self.chosen.by in self.chosen.columns:
            raise TaskError("parameters of table_one: `by` is among the `columns`")

    def prepare(self, context: Context) -> None:
        self.table = context.table(self.chosen.data)
        self.table.need([*self.chosen.columns, *([self.chosen.by] if self.chosen.by else [])])
        c.enough(self.table, c.least_of(context, self.chosen.min_count))

    def train(self, context: Context, model: Content | None) -> Result:
        table = self.table
        assert table is not None
        before = c.own(model, c.mark_of("table_one", self.chosen))
        grid = {} if before is None else _grid_of(before)
        groups = self._groups(context, table, grid)
        rows = sum(group.rows for group in groups.values())
        if not rows:
            raise TaskError("no group of this site has enough rows: name another `by`, or none")
        context.log(f"{counted(len(groups), 'group')} of {counted(len(self.chosen.columns), 'column')}")
        return Result(_packed(groups), {"samples": rows, "columns": float(len(self.chosen.columns))})

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        """Raises `Unusable` for updates that are none, or whose columns are of another kind than most sites' are."""
        parts = c.usable(updates, _unpacked)
        _same_kinds(parts, context.site_id)
        groups: dict[str, _Group] = {}
        for _, part in sorted(parts.items()):
            for name, group in part.items():
                groups.setdefault(name, _Group()).add(group)
        whole = _Group()
        for _, group in sorted(groups.items()):
            whole.add(group)
        whole.sites = len(parts)
        shown = {ALL: whole} | (dict(sorted(groups.items())) if self.chosen.by else {})
        metrics = {"groups": float(len(groups)), "rows": whole.rows, "sites": float(len(parts))}
        return Result(self._result(shown, whole), metrics)

    # one site

    def _groups(self, context: Context, table: Table, grid: Mapping[str, c.Floats]) -> dict[str, _Group]:
        least, by = c.least_of(context, self.chosen.min_count), self.chosen.by
        labels = [MISSING if label is None else label for label in table.labels(by)] if by else [ALL] * len(table)
        group_of = np.array(labels)
        chosen = {name: group_of == name for name in sorted(set(labels))}
        chosen = {name: rows for name, rows in chosen.items() if not small(int(rows.sum()), least)}
        groups = {name: _Group(rows=float(rows.sum()), sites=1) for name, rows in chosen.items()}
        for column in self.chosen.columns:
            as_labels = column in self.chosen.categorical or table.kind(column) not in ("number", "empty")
            values = None if as_labels else table.numbers(column)
            texts = np.array(table.labels(column), dtype=object) if as_labels else None
            for name, rows in chosen.items():
                if values is not None:
                    _count_numbers(groups[name], column, values[rows], least, grid.get(column))
                else:
                    assert texts is not None
                    _count_labels(groups[name], column, list(texts[rows]), least)
        return groups

    # the result

    def _result(self, groups: Mapping[str, _Group], whole: _Group) -> Arrays:
        lines: dict[str, list[object]] = {}
        all_have = all(column in group.cells for group in groups.values() for column in group.moments)

        def line(table: str, **cells: object) -> None:
            for name, cell in cells.items():
                lines.setdefault(f"{table}.{name}", []).append(cell)

        for name, group in groups.items():
            line("groups", group=name, rows=group.rows, sites=float(group.sites))
        for column in self.chosen.columns:
            for name, group in groups.items():
                if column in group.moments:
                    line(
                        "numbers", column=column, group=name, **self._numbers(column, group, whole, quantiles=all_have)
                    )
                of = {label: count for (of, label), count in sorted(group.labels.items()) if of == column}
                for label, count in of.items():
                    share = count / sum(of.values())
                    line("labels", column=column, label=label, group=name, count=count, share=share)
                if of:
                    gone = group.missing.get(column, 0.0)
                    line("missing", column=column, group=name, missing=gone, rows=sum(of.values()) + gone)
            if column in whole.moments:
                low, high = _range(whole.moments[column])
                line("grid", column=column, low=low, high=high, resolution=(high - low) / self.chosen.bins)
        return {
            name: c.text_array(list(map(str, cells))) if isinstance(cells[0], str) else np.array(cells, dtype=float)
            for name, cells in lines.items()
        } | {
            "bins": np.array([float(self.chosen.bins)]),
            c.MADE_FOR: c.text_array([c.mark_of("table_one", self.chosen)]),
        }

    def _numbers(self, column: str, group: _Group, whole: _Group, *, quantiles: bool) -> dict[str, float]:
        count, mean, squares = group.moments[column]
        found = {
            "count": count,
            "missing": group.missing.get(column, 0.0),
            "mean": mean,
            "sd": float(np.sqrt(squares / (count - 1))) if count > 1 else 0.0,
        }
        if quantiles:
            edges = _edges(*_range(whole.moments[column]), self.chosen.bins)
            for share in self.chosen.quantiles:
                found[f"q{100 * share:g}"] = _quantile(group.cells[column], edges, share)
        return found


# one site's counts


def _count_numbers(group: _Group, column: str, values: c.Floats, least: int, edges: c.Floats | None) -> None:
    known = values[~np.isnan(values)]
    distinct, times = np.unique(known, return_counts=True)
    if not len(known) or small(len(known), least):
        return
    if len(distinct) <= FEW and small(int(times.min()), least):
        return  # count, mean and sum of squares would tell how often each of so few values occurs
    mean = float(known.mean())
    group.moments[column] = (float(len(known)), mean, float(((known - mean) ** 2).sum()))
    group.missing[column] = float(len(values) - len(known))
    if edges is not None:
        cells = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1).astype(np.float64)
        sent = joined(cells, least)
        if sent is not None:
            group.cells[column] = sent


def _count_labels(group: _Group, column: str, labels: Sequence[str | None], least: int) -> None:
    found: dict[str, int] = {}
    for label in labels:
        if label is not None:
            found[label] = found.get(label, 0) + 1
    kept = put_together(found, least)
    if kept:
        group.labels |= {(column, label): float(count) for label, count in kept.items()}
        group.missing[column] = float(len(labels) - sum(found.values()))


# how it travels: flat lists, a line for each group and column


def _packed(groups: Mapping[str, _Group]) -> Arrays:
    moments = [(name, column, *m) for name, group in groups.items() for column, m in group.moments.items()]
    labels = [(name, *cell, n) for name, group in groups.items() for cell, n in group.labels.items()]
    missing = [(name, column, n) for name, group in groups.items() for column, n in group.missing.items()]
    cells = [(name, column, row) for name, group in groups.items() for column, row in group.cells.items()]
    packed = {
        "groups.group": c.text_array(list(groups)),
        "groups.rows": np.array([group.rows for group in groups.values()]),
        "moments.group": c.text_array([line[0] for line in moments]),
        "moments.column": c.text_array([line[1] for line in moments]),
        "moments.count": np.array([line[2] for line in moments], dtype=float),
        "moments.mean": np.array([line[3] for line in moments], dtype=float),
        "moments.squares": np.array([line[4] for line in moments], dtype=float),
        "labels.group": c.text_array([line[0] for line in labels]),
        "labels.column": c.text_array([line[1] for line in labels]),
        "labels.label": c.text_array([line[2] for line in labels]),
        "labels.count": np.array([line[3] for line in labels], dtype=float),
        "missing.group": c.text_array([line[0] for line in missing]),
        "missing.column": c.text_array([line[1] for line in missing]),
        "missing.count": np.array([line[2] for line in missing], dtype=float),
        "cells.group": c.text_array([line[0] for line in cells]),
        "cells.column": c.text_array([line[1] for line in cells]),
    }
    return packed | ({"cells.counts": np.stack([line[2] for line in cells])} if cells else {})


def _unpacked(arrays: Arrays) -> dict[str, _Group]:
    names = c.words(arrays, "groups.group")
    rows = c.counts(arrays, "groups.rows", (len(names),))
    groups = {name: _Group(rows=float(count), sites=1) for name, count in zip(names, rows, strict=True)}
    places = {table: _places(arrays, table, groups) for table in ("moments", "labels", "missing", "cells")}
    lines = len(places["moments"])
    numbers = [c.floats(arrays, f"moments.{name}", (lines,)) for name in ("count", "mean", "squares")]
    for (name, column), count, mean, squares in zip(places["moments"], *numbers, strict=True):
        if count < 1 or squares < 0 or abs(mean) > 1e101 or squares > 1e220:
            raise TaskError("its moments are none of any numbers")
        groups[name].moments[column] = (float(count), float(mean), float(squares))
    lines = len(places["labels"])
    texts, found = c.words(arrays, "labels.label"), c.counts(arrays, "labels.count", (lines,))
    for (name, column), label, count in zip(places["labels"], texts, found, strict=True):
        groups[name].labels[column, label] = float(count)
    found = c.counts(arrays, "missing.count", (len(places["missing"]),))
    for (name, column), count in zip(places["missing"], found, strict=True):
        groups[name].missing[column] = float(count)
    if places["cells"]:
        shape = arrays["cells.counts"].shape if "cells.counts" in arrays else ()
        if len(shape) != 2:
            raise TaskError("its cells are no histograms")
        for (name, column), row in zip(places["cells"], c.floats(arrays, "cells.counts", shape), strict=True):
            groups[name].cells[column] = spread(row)
    return groups


def _places(arrays: Arrays, table: str, groups: Mapping[str, _Group]) -> list[tuple[str, str]]:
    """Group and column of each line."""
    names, columns = c.words(arrays, f"{table}.group"), c.words(arrays, f"{table}.column")
    if len(names) != len(columns) or not set(names) <= set(groups):
        raise TaskError(f"its {table} are of groups that it does not name")
    return list(zip(names, columns, strict=True))


def _same_kinds(parts: Mapping[str, Mapping[str, _Group]], own: str) -> None:
    """Raises `Unusable` for sites at which a column holds labels, where it holds numbers at most, or the other way."""
    odd: dict[str, str] = {}
    columns = sorted({name for part in parts.values() for group in part.values() for name in group.missing})
    for column in columns:
        numbers = {s for s, part in parts.items() if any(column in group.moments for group in part.values())}
        labels = {s for s, part in parts.items() if any(of == column for g in part.values() for of, _ in g.labels)}
        if numbers and labels:
            right = max(numbers, labels, key=lambda sites: (len(sites), own in sites))
            is_here = "labels" if right is numbers else "numbers"
            remedy = "name it in `categorical`, or correct the file"
            why = f"its column {column[:60]} holds {is_here}, unlike that of most sites: {remedy}"
            odd |= dict.fromkeys((numbers | labels) - right, why)
    if odd:
        raise Unusable(odd)


# what all sites' counts tell


def _range(moments: tuple[float, float, float]) -> tuple[float, float]:
    count, mean, squares = moments
    reach = WIDTH * float(np.sqrt(squares / count)) or max(abs(mean), 1.0)
    return mean - reach, mean + reach


def _edges(low: float, high: float, bins: int) -> c.Floats:
    return np.linspace(low, high, bins + 1)


def _grid_of(model: Arrays) -> dict[str, c.Floats]:
    """The edges of each column's cells, as round 1 has found them."""
    if "grid.column" not in model:
        return {}
    names = c.words(model, "grid.column")
    low, high = (c.floats(model, f"grid.{name}", (len(names),)) for name in ("low", "high"))
    bins = int(c.counts(model, "bins", (1,))[0])
    return {name: _edges(float(low[at]), float(high[at]), bins) for at, name in enumerate(names)}


def _quantile(cells: c.Floats, edges: c.Floats, share: float) -> float:
    """Where so much of the histogram lies below; beyond the grid its end is said."""
    below = np.cumsum(cells)[: len(edges)]
    return float(np.interp(share * cells.sum(), below, edges))
