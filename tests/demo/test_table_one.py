"""`make demo TASK=table_one`: its patients, what it compares, and the whole story."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from demo.digits_cnn import HAVE, needed
from demo.digits_cnn import split as split_digits
from demo.patients import NUMBERS, STYLES, pooled, split, write
from demo.processes import DemoError
from demo.table_one import compared, table_of
from fedyard.tasks.reading import read
from fedyard.tasks.sources import Source
from tests.demo.test_demo import Telling
from tests.ops.program import ROOT

Tables = dict[str, list[dict[str, object]]]


@pytest.fixture(scope="module")
def parts():
    return split()


def tables_of(patients) -> Tables:
    """What the run makes, from all rows in one place."""
    tables: Tables = {"groups": [], "numbers": [], "labels": [], "missing": []}
    groups = {"(all)": np.full(len(patients), fill_value=True)}
    for name, chosen in (groups | {name: patients.weight == name for name in sorted(set(patients.weight))}).items():
        tables["groups"].append({"group": name, "rows": float(chosen.sum())})
        for column, values in patients.numbers.items():
            known = values[chosen & ~np.isnan(values)]
            quartiles = dict(zip(("q25", "q50", "q75"), np.quantile(known, [0.25, 0.5, 0.75]).tolist(), strict=True))
            line = {"column": column, "group": name, "count": float(len(known)), "mean": float(known.mean())}
            missing = float(chosen.sum() - len(known))
            tables["numbers"].append({**line, **quartiles, "sd": float(known.std(ddof=1)), "missing": missing})
        sexes = patients.sex[chosen]
        tables["missing"].append({"column": "sex", "group": name, "missing": float((sexes == "").sum())})
        for label in ("1", "2"):
            count = float((sexes == label).sum())
            line = {"column": "sex", "group": name, "label": label, "count": count}
            tables["labels"].append({**line, "share": count / float((sexes != "").sum())})
    return tables


def test_the_hospitals_differ_and_all_have_gaps(parts) -> None:
    assert {name: len(part) for name, part in parts.items()} == {"north": 110, "east": 190, "south": 142}
    assert all(part.missing > 0 for part in parts.values())
    assert parts["north"].numbers["age"].mean() < parts["south"].numbers["age"].mean() - 10
    again = split()
    for name, part in parts.items():
        np.testing.assert_array_equal(again[name].numbers["glucose"], part.numbers["glucose"])


def test_each_file_is_read_as_it_was_meant(parts, tmp_path) -> None:
    for name, part in parts.items():
        write(part, STYLES[name], tmp_path / f"{name}.csv")
        table = read(Source(str(tmp_path / f"{name}.csv")))
        for column in NUMBERS:
            np.testing.assert_array_equal(table.numbers(column), part.numbers[column])
        assert table.labels("sex") == [sex or None for sex in part.sex]


def test_a_right_table_is_found_right(parts) -> None:
    whole = pooled(parts)
    found = compared(tables_of(whole), whole)
    assert found.good, found.wrong
    assert (found.exact, found.quantiles) == (3 * (1 + 5 * 4 + 1 + 2 * 2), 3 * 5 * 3)
    assert table_of(tables_of(whole)).row_count == 5 * 4 + 4


@pytest.mark.parametrize(
    ("table", "cell", "by"),
    [
        ("groups", "rows", 1.0),
        ("numbers", "mean", 1e-6),
        ("numbers", "sd", 1e-6),
        ("numbers", "missing", 1.0),
        ("numbers", "q75", 40.0),
        ("labels", "count", -1.0),
        ("missing", "missing", float("nan")),
    ],
)
def test_one_wrong_figure_is_found(parts, table: str, cell: str, by: float) -> None:
    whole = pooled(parts)
    tables = tables_of(whole)
    line = tables[table][-1]
    line[cell] = float(str(line[cell])) + by
    found = compared(tables, whole)
    assert not found.good
    assert len(found.wrong) == 1


def test_a_table_that_is_not_there_is_no_right_one(parts) -> None:
    assert not compared({"groups": [], "numbers": [], "labels": [], "missing": []}, pooled(parts)).good


def test_it_tells_its_story(tmp_path) -> None:
    telling = Telling(tmp_path / "demo", "--task", "table_one")
    assert telling.process.wait() == 0, telling.output
    assert "compared   78 counts, shares, means and deviations equal those of all patients in one" in telling.output
    assert "│   median [quartiles] │" in telling.output
    assert (telling.folder / "east" / "patients.csv").read_text().splitlines()[0].count(";") == 6


def test_no_site_has_all_digits_and_together_they_have() -> None:
    training, test = split_digits()
    for name, part in training.items():
        assert set(part.labels.tolist()) == set(HAVE[name]) < set(range(10))
    assert sum(map(len, training.values())) + len(test) == 1797
    assert set(test.labels.tolist()) == {digit for have in HAVE.values() for digit in have}


def test_a_demo_without_its_package_says_how_it_is_installed() -> None:
    with pytest.raises(DemoError, match=r"make demo TASK=digits_cnn.*requirements-torch\.txt"):
        needed("a_package_that_nobody_has")
    needed("numpy")


@pytest.mark.parametrize(
    ("options", "why"),
    [(["--workloads"], "have tasks of their own"), (["--rounds", "3"], "table_one has two, whatever is said")],
)
def test_what_does_not_go_with_it_is_refused(options: list[str], why: str) -> None:
    argv = [sys.executable, "-m", "demo", "--task", "table_one", *options]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert why in done.stderr
