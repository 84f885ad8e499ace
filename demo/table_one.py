"""Table one of three hospitals' patients, by a ready task, and the same of all patients in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table as Rows

from demo.federation import CONTRACT, Federation
from demo.patients import BY_BMI, GROUPS, LABELS, NUMBERS, STYLES, Patients, pooled, split, write
from demo.secrecy import short
from fedyard.tasks.tabular import tabular

ALL = "(all)"
QUANTILES = (0.25, 0.5, 0.75)
PARAMETERS: Mapping[str, object] = {
    "columns": [*NUMBERS, LABELS],
    "categorical": [LABELS],
    "by": GROUPS,
    "bins": 50,
}
EXACT = 1e-9
"""How far a count, a share, a mean or a deviation may be off, of itself: what sums in another order differ in."""
CLOSE = 0.25
"""How far a quantile may be off, in standard deviations: it comes from a histogram without small counts."""

Line = Mapping[str, object]
Tables = Mapping[str, Sequence[Line]]


@dataclass(frozen=True)
class Compared:
    """exact: so many figures that equal those of the rows in one place. furthest: of the quantiles, in standard
    deviations. wrong: figures that are not what they should be."""

    exact: int
    quantiles: int
    furthest: float
    wrong: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.wrong and self.exact > 0 and self.quantiles > 0


class TableOneDemo(Federation):
    """One telling of the story."""

    project_name = "diabetes"
    data = {"train": "patients.csv"}
    about = "Who are our patients?"
    data_format = f"a table: {', '.join([*NUMBERS, LABELS, GROUPS])}"

    def tell(self) -> bool:
        """True if the run succeeded, and its table is that of all patients in one place."""
        start = self.clock.monotonic()
        self._empty_folder()
        self._start_hub()
        parts = split()
        for name, part in parts.items():
            style = STYLES[name]
            self._say(
                f"{name:10s} {len(part):3d} patients, {part.missing:3d} values missing; a file with "
                f"`{style.separator}` and decimal `{style.decimal}`, `{style.missing}` where nothing is known"
            )
        admin = self._let_in()

        def settled(folder: Path, name: str) -> None:
            write(parts[name], STYLES[name], folder / "patients.csv")

        task = {"name": "patients", "model": "table_one", "rounds": 2, "parameters": PARAMETERS, "contract": CONTRACT}
        project_id = self._federated(admin, list(parts), settled, [task])
        run = self._trained(project_id)
        good = run.state == "succeeded"
        if good:
            tables = tabular(self._newest(project_id)).tables
            self._say("")
            self.console.print(table_of(tables))
            good = self._told(compared(tables, pooled(parts)))
            self._say_where(project_id)
        return self._ended(start, good=good)

    def _told(self, found: Compared) -> bool:
        said = "equal" if not found.wrong else "DO NOT EQUAL"
        self._say(
            f"\ncompared   {found.exact} counts, shares, means and deviations {said} those of all patients in one"
        )
        self._say(
            f"           place; of {found.quantiles} quantiles the furthest is {found.furthest:.2f} deviations off"
        )
        for wrong in found.wrong:
            self._say(f"           {wrong}")
        self._say("small      counts of 1 to 4 patients have left no hospital: what is rare was put together")
        return found.good

    def _say_where(self, project_id: str) -> None:
        folder = short(self.folders["north"].path)
        version = max(model.version for model in self.coordinator.models(project_id))
        self._say(f"\nThe same table, with every digit, while a hub runs on {short(self.hub_folder)}:\n")
        self._say(f"  bin/fedyard --folder {folder} models {self.project_name}{self.mark} --show {version}")


def table_of(tables: Tables) -> Rows:
    """As a paper has it: a column for each group, mean (deviation) and median [quartiles], counts (shares)."""
    groups = [str(line["group"]) for line in tables["groups"]]
    rows = {str(line["group"]): _number(line, "rows") for line in tables["groups"]}
    table = Rows(title="table one, by weight (body mass index)", title_justify="left")
    table.add_column("")
    for group in groups:
        table.add_column(f"{'all' if group == ALL else group}\n{rows[group]:.0f} patients", justify="right")
    for column in NUMBERS:
        at = {str(line["group"]): line for line in tables["numbers"] if line["column"] == column}
        table.add_row(column, *("" for _ in groups), style="bold")
        table.add_row("  mean (deviation)", *(_cell(at.get(g), "{mean:.1f} ({sd:.1f})") for g in groups))
        table.add_row("  median [quartiles]", *(_cell(at.get(g), "{q50:.0f} [{q25:.0f}, {q75:.0f}]") for g in groups))
        table.add_row("  missing", *(_cell(at.get(g), "{missing:.0f}") for g in groups))
    table.add_row(LABELS, *("" for _ in groups), style="bold")
    labels = [line for line in tables["labels"] if line["column"] == LABELS]
    for label in sorted({str(line["label"]) for line in labels}):
        at = {str(line["group"]): line for line in labels if line["label"] == label}
        shares = (_number(at[g], "share") if g in at else 0.0 for g in groups)
        table.add_row(
            f"  {label}",
            *(f"{_cell(at.get(g), '{count:.0f}')} ({share:.0%})" for g, share in zip(groups, shares, strict=True)),
        )
    gone = {str(line["group"]): line for line in tables["missing"] if line["column"] == LABELS}
    table.add_row("  missing", *(_cell(gone.get(g), "{missing:.0f}") for g in groups))
    return table


def compared(tables: Tables, patients: Patients) -> Compared:
    """What the run has found, against plain numpy over all rows."""
    groups = {ALL: np.full(len(patients), fill_value=True)}
    groups |= {group: patients.weight == group for _, group in BY_BMI}
    exact, quantiles, furthest, wrong = 0, 0, 0.0, list[str]()

    def hold(what: str, line: Line, name: str, expected: float) -> None:
        nonlocal exact
        if np.isclose(_number(line, name), expected, rtol=EXACT, atol=0.0):
            exact += 1
        else:
            wrong.append(f"{what}: {name} is {_number(line, name):.10g}, and {expected:.10g} in one place")

    for group, chosen in groups.items():
        line = _line(tables["groups"], group=group)
        hold(group, line, "rows", float(chosen.sum()))
        for column, values in patients.numbers.items():
            here = values[chosen]
            known = here[~np.isnan(here)]
            line, what = _line(tables["numbers"], column=column, group=group), f"{column} of {group}"
            hold(what, line, "count", float(len(known)))
            hold(what, line, "missing", float(len(here) - len(known)))
            hold(what, line, "mean", float(known.mean()))
            hold(what, line, "sd", float(known.std(ddof=1)))
            for share in QUANTILES:
                off = abs(_number(line, f"q{100 * share:g}") - float(np.quantile(known, share))) / float(known.std())
                quantiles, furthest = quantiles + 1, max(furthest, off)
                if not off <= CLOSE:
                    wrong.append(f"{what}: quantile {share} is {off:.2f} deviations off")
        sexes = patients.sex[chosen]
        hold(
            f"{LABELS} of {group}",
            _line(tables["missing"], column=LABELS, group=group),
            "missing",
            float((sexes == "").sum()),
        )
        for label in sorted(set(patients.sex) - {""}):
            line, what = (
                _line(tables["labels"], column=LABELS, label=str(label), group=group),
                f"{LABELS} {label} of {group}",
            )
            hold(what, line, "count", float((sexes == label).sum()))
            hold(what, line, "share", float((sexes == label).sum() / (sexes != "").sum()))
    return Compared(exact, quantiles, furthest, tuple(wrong))


def _line(lines: Sequence[Line], **cells: str) -> Line:
    """That with these cells; one without figures where there is none."""
    return next((line for line in lines if all(line.get(name) == cell for name, cell in cells.items())), {})


def _number(line: Line, name: str) -> float:
    value = line.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def _cell(line: Line | None, form: str) -> str:
    return "-" if line is None else form.format(**line)
