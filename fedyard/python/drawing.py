"""A run drawn: its metrics by round and site, and where the time went. Needs matplotlib; nothing else loads it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fedyard.look.runs.curves import GLOBAL, Chart, charts_of
from fedyard.look.runs.grid import grid_of
from fedyard.look.runs.spans import Timeline, timeline_of
from fedyard.wire import answers as a
from fedyard.wire.shown import shown

MAX_CHARTS = 12
"""Of one picture; name the metrics to have others."""
WIDTH, HEIGHT = 9.0, 2.4
"""Of one chart, in inches."""
_COLOURS: Mapping[str, str] = {
    "submitted": "#3b7dd8",
    "left_out": "#d8903b",
    "failed": "#c43d3d",
    "dropped": "#c43d3d",
    "cancelled": "#8a8a8a",
    "aggregated": "#5b3bd8",
    "aggregating": "#5b3bd8",
    "scored": "#3ba36b",
    "unscored": "#d8903b",
    "scoring": "#3ba36b",
}
_OTHER = "#9bb8dd"


class Plot(Figure):
    """A figure of matplotlib that also shows itself where no backend has been chosen."""

    def _repr_png_(self) -> bytes:
        target = io.BytesIO()
        self.savefig(target, format="png", dpi=100)
        return target.getvalue()


def plot_of(run: a.Run, names: Mapping[str, str], now: datetime, metrics: Sequence[str] | None = None) -> Plot:
    """A chart for each metric of each task, and below those of a task when each site was at work.

    metrics: these alone; `score.` stands before those that sites measured. Raises `ValueError` for one that nobody has.
    """
    charts = [chart for task in run.tasks for chart in charts_of(task, names)]
    if metrics is not None:
        known = sorted({chart.metric for chart in charts})
        for name in metrics:
            if name not in known:
                raise ValueError(f"run {run.number} has no metric {name!r}; it has: {', '.join(known) or 'none'}")
        charts = [chart for chart in charts if chart.metric in metrics]
    hidden, charts = len(charts) - MAX_CHARTS, charts[:MAX_CHARTS]
    times = [(task.name, found) for task in run.tasks if (found := _timeline(task, names, now)) is not None]
    height = sum(_height(found) for _, found in times) + HEIGHT * len(charts)
    figure = Plot(figsize=(WIDTH, max(HEIGHT, height)), layout="constrained")
    ratios = [HEIGHT for _ in charts] + [_height(found) for _, found in times]
    if not ratios:
        figure.text(0.5, 0.5, f"run {run.number} is {run.state}: nothing was measured yet", ha="center")
        return figure
    axes = figure.subplots(len(ratios), 1, squeeze=False, gridspec_kw={"height_ratios": ratios})[:, 0]
    for place, chart in enumerate(charts):
        _draw_chart(axes[place], chart)
    for place, (name, found) in enumerate(times, len(charts)):
        _draw_times(axes[place], name, found)
    more = f"; {hidden} more metrics: name those to draw" if hidden > 0 else ""
    figure.suptitle(f"run {run.number}, attempt {run.attempt}: {run.state}{more}", fontsize=10)
    return figure


def _timeline(task: a.TaskRun, names: Mapping[str, str], now: datetime) -> Timeline | None:
    return timeline_of(grid_of(task, names, rounds=max(1, len(task.rounds))), now)


def _height(found: Timeline) -> float:
    return 0.9 + 0.28 * len(found.lines)


def _draw_chart(axes: Axes, chart: Chart) -> None:
    for curve in chart.curves:
        whole = curve.name == GLOBAL and curve.site_id is None
        points = [(at, value) for at, value in zip(chart.rounds, curve.values, strict=True) if value is not None]
        axes.plot(
            [at for at, _ in points],
            [value for _, value in points],
            label=_plain(curve.name),
            linewidth=2.2 if whole else 1.0,
            color="black" if whole else None,
            marker="o",
            markersize=3,
        )
    axes.set_title(f"{_plain(chart.task)}: {_plain(chart.metric)}", fontsize=9, loc="left")
    axes.set_xlabel("round", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _draw_times(axes: Axes, task: str, found: Timeline) -> None:
    lines = [*reversed(found.lines)]
    used: dict[str, str] = {}
    for place, line in enumerate(lines):
        for span in line.spans:
            colour = used.setdefault(span.state, _COLOURS.get(span.state, _OTHER))
            begin = (span.begin - found.begin).total_seconds()
            took = (span.end - span.begin).total_seconds()
            axes.barh(place, took, left=begin, height=0.7, color=colour, edgecolor="white", linewidth=0.5)
    axes.set_yticks(range(len(lines)), [_plain(line.name) for line in lines], fontsize=8)
    axes.set_title(f"{_plain(task)}: where the time went", fontsize=9, loc="left")
    axes.set_xlabel("seconds since its beginning", fontsize=8)
    axes.tick_params(labelsize=8)
    handles = [axes.barh(0, 0, color=colour, label=state.replace("_", " ")) for state, colour in used.items()]
    axes.legend(handles=handles, fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _plain(text: str) -> str:
    """Others' words, which matplotlib would else read as formulas between two dollars."""
    return shown(text, 40).replace("$", r"\$")
