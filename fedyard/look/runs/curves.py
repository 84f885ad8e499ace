"""Metrics of a task by round, as curves: of the global model, and of what each site reported."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedyard.look.runs.grid import seconds_of
from fedyard.wire.answers import Round, Run, TaskRun
from fedyard.wire.scoring import OF_SCORES

GLOBAL = "global model"
MAX_LINES = 16
"""Lines of one chart: nobody tells more apart. The file of metrics has them all."""
MAX_POINTS = 1500
"""Of one chart, which is a table as well. With many rounds it has fewer lines, and the newest rounds alone."""
MIN_LINES = 4


@dataclass(frozen=True)
class Curve:
    """values: one for each of the chart's rounds, None where nothing was reported. site_id: None of a global model.

    run_id: of another run that is compared with.
    """

    name: str
    values: tuple[float | None, ...]
    site_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Chart:
    """One metric. hidden: how many sites that report it have no line here."""

    task: str
    metric: str
    rounds: tuple[int, ...]
    curves: tuple[Curve, ...]
    hidden: int = 0

    @property
    def names(self) -> list[str]:
        return [one.name for one in self.curves]

    @property
    def rows(self) -> list[tuple[int, list[float | None]]]:
        """As a table: each round with a value for each name."""
        return [(number, [one.values[place] for one in self.curves]) for place, number in enumerate(self.rounds)]


def room(rounds: int) -> tuple[int, int]:
    """How many rounds, and how many lines, a chart of so many rounds has."""
    shown = min(rounds, MAX_POINTS // MIN_LINES)
    return shown, max(MIN_LINES, min(MAX_LINES, MAX_POINTS // max(1, shown)))


def measured_of(here: Round) -> dict[str, float]:
    """What was measured of a round's model: by its coordinator, and with `score.` before the name at the sites."""
    return {**here.metrics, **{OF_SCORES + metric: value for metric, value in here.score.items()}}


def charts_of(task: TaskRun, names: Mapping[str, str]) -> list[Chart]:
    """One for each metric, in the order of their names; those of the global model first."""
    many, lines = room(len(task.rounds))
    newest = task.rounds[-many:] if many else []
    rounds = tuple(each.number for each in newest)
    made: dict[str, dict[int, float]] = defaultdict(dict)
    told: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for here in newest:
        for metric, value in measured_of(here).items():
            made[metric][here.number] = value
        for score in here.scores:
            for metric, value in score.metrics.items():
                told[OF_SCORES + metric][score.site_id][here.number] = value
        for submission in here.submissions:
            for metric, value in submission.metrics.items():
                told[metric][submission.site_id][here.number] = value
    charts = []
    for metric in [*sorted(made), *sorted(told.keys() - made.keys())]:
        whole = [Curve(GLOBAL, _along(rounds, made[metric]))] if metric in made else []
        by_name = sorted(told.get(metric, {}), key=lambda site: (names.get(site, site).casefold(), site))
        shown = by_name[: lines - len(whole)]
        sites = [Curve(names.get(site, site), _along(rounds, told[metric][site]), site_id=site) for site in shown]
        charts.append(Chart(task.name, metric, rounds, (*whole, *sites), len(by_name) - len(shown)))
    return charts


def compared(runs: Sequence[tuple[str, Run]]) -> list[Chart]:
    """Global models of several runs, each with its name: one chart for each task and metric that any of them has."""
    found: dict[tuple[str, str], dict[int, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for place, (_, run) in enumerate(runs):
        for task in run.tasks:
            for here in task.rounds:
                for metric, value in measured_of(here).items():
                    found[task.name, metric][place][here.number] = value
    return [_compared(task, metric, of_runs, runs) for (task, metric), of_runs in sorted(found.items())]


def _compared(
    task: str, metric: str, of_runs: Mapping[int, Mapping[int, float]], runs: Sequence[tuple[str, Run]]
) -> Chart:
    rounds = tuple(sorted({number for values in of_runs.values() for number in values}))
    curves = [
        Curve(name, _along(rounds, of_runs[place]), run_id=run.id)
        for place, (name, run) in enumerate(runs)
        if place in of_runs
    ]
    return Chart(task, metric, rounds, tuple(curves))


def _along(rounds: Sequence[int], values: Mapping[int, float]) -> tuple[float | None, ...]:
    return tuple(values.get(number) for number in rounds)


HEADINGS = ("task", "round", "site_id", "site", "metric", "value", "seconds", "left_out")


def metrics_csv(run: Run, names: Mapping[str, str], *, headings: bool = True) -> str:
    """Every metric of every round and site that the run shows, as RFC 4180 has it. site: empty of the global model.

    Names come from other people: one that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    lines = [*([HEADINGS] if headings else []), *_lines(run, names)]
    return "".join(f"{','.join(map(_quoted, line))}\r\n" for line in lines)


def _quoted(value: object) -> str:
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if any(one in text for one in ',"\r\n') else text


def _lines(run: Run, names: Mapping[str, str]) -> Iterator[tuple[object, ...]]:
    for task in run.tasks:
        for here in task.rounds:
            for metric, value in sorted(measured_of(here).items()):
                yield task.name, here.number, "", "", _plain(metric), repr(value), "", ""
            for score in here.scores:
                name = _plain(names.get(score.site_id, score.site_id))
                for metric, value in sorted(score.metrics.items()):
                    yield task.name, here.number, score.site_id, name, OF_SCORES + metric, repr(value), "", ""
            for each in here.submissions:
                seconds = seconds_of(each)
                took = "" if seconds is None else repr(seconds)
                name = _plain(names.get(each.site_id, each.site_id))
                for metric, value in sorted(each.metrics.items()):
                    left = each.left_out or ""
                    yield task.name, here.number, each.site_id, name, _plain(metric), repr(value), took, left


def _plain(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
