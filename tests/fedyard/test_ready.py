"""Ready tasks tell of all sites' rows what the same computation tells of the rows in one place, and no small count."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from fedyard.tasks import Arrays, Context, Result, Task, TaskError, Unusable, Update
from fedyard.tasks.arrays import not_finite, pack, unpack
from fedyard.tasks.ready import distributions as d
from fedyard.tasks.ready.cells import RARE, WITH_NEXT, joined, put_together, spread
from fedyard.tasks.ready.common import alike
from fedyard.tasks.registry import task_of

SITES = ("east", "north", "south")
Rows = list[dict[str, Any]]


def text_of(rows: Rows) -> str:
    text = io.StringIO()
    lines = csv.DictWriter(text, list(rows[0]))
    lines.writeheader()
    lines.writerows(rows)
    return text.getvalue()


class Federation:
    """The hooks of a task at sites with these rows, as agents call them. What left is kept."""

    def __init__(
        self, folder: Path, model: str, parameters: Mapping[str, object], rows: Sequence[Rows], *, least: int = 5
    ) -> None:
        self.folder, self.model, self.parameters, self.least = folder, model, parameters, least
        self.files = {}
        for site, own in zip(SITES, rows, strict=False):
            self.files[site] = folder / f"{site}.csv"
            self.files[site].write_text(text_of(own))
        self.left: list[Arrays] = []
        self.said: list[str] = []

    def task(self) -> Task:
        task = task_of(self.model, [])
        task.validate(self.parameters)
        return task

    def context(self, site: str, number: int, rounds: int) -> Context:
        data = {"train": self.files[site]}
        parameters = self.parameters
        return Context(
            site, "run", "t", number, rounds, parameters, data, self.folder, min_count=self.least, log=self.said.append
        )

    def trained(self, rounds: int, model: Any = None) -> Result:
        tasks = {site: self.task() for site in self.files}
        for site, task in tasks.items():
            task.prepare(self.context(site, 1, rounds))
        for number in range(1, rounds + 1):
            updates = []
            for site, task in tasks.items():
                made = task.train(self.context(site, number, rounds), model)
                content = unpack(pack(made.content))
                assert not isinstance(content, bytes)
                self.left.append(content)
                updates.append(Update(site, content, made.metrics))
            task = self.task()
            result = task.aggregate(self.context(max(self.files), number, rounds), updates)
            assert not task.finite or not_finite(result.content) is None
            model = unpack(pack(result.content))
        return Result(model, result.metrics)


def lines(arrays: Arrays, table: str) -> list[dict[str, Any]]:
    """A table of a result, line by line."""
    columns = {name.partition(".")[2]: values for name, values in arrays.items() if name.startswith(f"{table}.")}
    return [
        dict(zip(columns, cells, strict=True)) for cells in zip(*(v.tolist() for v in columns.values()), strict=True)
    ]


def patients(count: int, seed: int) -> Rows:
    drawn = np.random.default_rng(seed)
    rows: Rows = []
    for _ in range(count):
        age, stage = round(float(drawn.normal(60, 10)), 1), ("I", "II", "III")[drawn.integers(3)]
        sex, bmi = "fm"[drawn.integers(2)], round(float(drawn.normal(26 + 0.05 * age, 4)), 2)
        logit = -6 + 0.07 * age + 0.05 * bmi + (0.8 if stage == "III" else 0) - (0.4 if sex == "m" else 0)
        dead = int(drawn.random() < 1 / (1 + np.exp(-logit)))
        pressure = 100 + 0.4 * age + 0.3 * bmi + 5 * (sex == "m") + float(drawn.normal(0, 8))
        row = {"age": age, "sex": sex, "stage": stage, "bmi": bmi, "pressure": pressure, "dead": dead}
        rows.append(row if drawn.random() > 0.06 else {**row, "bmi": "NA" if drawn.random() > 0.5 else ""})
    return rows


PARTS = [patients(130, 1), patients(90, 2), patients(200, 3)]
POOLED = [row for part in PARTS for row in part]
WHOLE = [row for row in POOLED if isinstance(row["bmi"], float)]


def matrix() -> np.ndarray:
    return np.array([
        [1, r["age"], r["bmi"], r["sex"] == "m", r["stage"] == "II", r["stage"] == "III"] for r in WHOLE
    ]).astype(float)  # fmt: skip


# regression

TERMS = {"terms": ["age", "bmi", "sex", "stage"]}


@pytest.mark.parametrize(("model", "outcome", "rounds"), [
    ("linear_regression", "pressure", 2), ("linear_regression", "pressure", 4), ("logistic_glm", "dead", 9),
])  # fmt: skip
def test_a_regression_equals_that_of_all_rows(tmp_path, model: str, outcome: str, rounds: int) -> None:
    federation = Federation(tmp_path, model, {"outcome": outcome, **TERMS}, PARTS)
    result = federation.trained(rounds)
    kind = sm.OLS if model == "linear_regression" else sm.Logit
    options = {} if model == "linear_regression" else {"disp": 0, "tol": 1e-12, "method": "newton"}
    pooled = kind(np.array([float(row[outcome]) for row in WHOLE]), matrix()).fit(**options)
    found = lines(result.content, "coefficients")
    assert [(line["term"], line["label"]) for line in found] == [
        ("(intercept)", ""), ("age", ""), ("bmi", ""), ("sex", "m"), ("stage", "II"), ("stage", "III"),
    ]  # fmt: skip
    for name, expected in (
        ("estimate", pooled.params),
        ("standard_error", pooled.bse),
        ("statistic", pooled.tvalues),
        ("p_value", pooled.pvalues),
        ("low", pooled.conf_int()[:, 0]),
        ("high", pooled.conf_int()[:, 1]),
    ):
        np.testing.assert_allclose([line[name] for line in found], expected, rtol=1e-7, err_msg=name)
    fit = {line["name"]: line["value"] for line in lines(result.content, "fit")}
    assert (fit["rows"], fit["left_out"], fit["converged"]) == (len(WHOLE), len(POOLED) - len(WHOLE), 1)
    np.testing.assert_allclose(fit["log_likelihood"], pooled.llf, rtol=1e-10)
    np.testing.assert_allclose(fit["aic"], pooled.aic, rtol=1e-10)
    if model == "linear_regression":
        np.testing.assert_allclose(fit["r_squared"], pooled.rsquared, rtol=1e-9)
        np.testing.assert_allclose(fit["adjusted_r_squared"], pooled.rsquared_adj, rtol=1e-9)
        np.testing.assert_allclose(fit["residual_sd"], np.sqrt(pooled.mse_resid), rtol=1e-9)
    else:
        np.testing.assert_allclose(fit["pseudo_r_squared"], pooled.prsquared, rtol=1e-9)
        np.testing.assert_allclose([line["odds_ratio"] for line in found], np.exp(pooled.params), rtol=1e-7)


def test_a_task_begins_anew_behind_another_one_and_goes_on_from_its_own_model(tmp_path) -> None:
    """A run hands a task the model of the task before it."""
    pressure = Federation(tmp_path, "linear_regression", {"outcome": "pressure", **TERMS}, PARTS)
    dead = Federation(tmp_path, "logistic_glm", {"outcome": "dead", **TERMS}, PARTS)
    table = Federation(tmp_path, "table_one", {"columns": ["age"]}, PARTS)
    expected = lines(dead.trained(9).content, "coefficients")
    for before in (pressure.trained(2).content, table.trained(2).content, b"of a task of its own", None):
        assert lines(dead.trained(9, before).content, "coefficients") == expected
    begun = dead.trained(3)
    assert lines(dead.trained(6, begun.content).content, "coefficients") == expected
    other = Federation(tmp_path, "table_one", {"columns": ["bmi"]}, PARTS).trained(2).content
    assert "q50" not in lines(table.trained(1, other).content, "numbers")[0]
    assert "q50" in lines(table.trained(1, table.trained(1).content).content, "numbers")[0]


def test_numbers_far_from_nought_lose_no_digits(tmp_path) -> None:
    parts = [[{"year": 2.0e6 + row["age"], "y": row["pressure"]} for row in part] for part in PARTS]
    result = Federation(tmp_path, "linear_regression", {"outcome": "y", "terms": ["year"]}, parts).trained(2)
    pooled = scipy.stats.linregress([row["age"] for row in POOLED], [row["pressure"] for row in POOLED])
    _, slope = lines(result.content, "coefficients")
    np.testing.assert_allclose((slope["estimate"], slope["standard_error"]), (pooled.slope, pooled.stderr), rtol=1e-8)


def test_labels_and_references_are_as_the_parameters_say(tmp_path) -> None:
    parts = [[{**row, "dead": "yes" if row["dead"] else "no", "ward": row["age"] // 30} for row in p] for p in PARTS]
    parameters = {
        "outcome": "dead",
        "positive": "yes",
        "terms": ["stage", "ward"],
        "categorical": ["ward"],
        "reference": {"stage": "III"},
        "min_count": 1,
    }
    result = Federation(tmp_path, "logistic_glm", parameters, parts, least=1).trained(8)
    terms = [(line["term"], line["label"]) for line in lines(result.content, "coefficients")][1:]
    assert terms[:2] == [("stage", "I"), ("stage", "II")]
    assert {label for term, label in terms[2:]} <= {"1", "2", "3"}
    assert len(terms) > 2


def test_what_has_not_converged_says_so(tmp_path) -> None:
    federation = Federation(tmp_path, "logistic_glm", {"outcome": "dead", **TERMS}, PARTS)
    result = federation.trained(3)
    assert result.metrics["converged"] == 0
    assert any("not converged in 3 rounds" in said for said in federation.said)


FAULTS = {
    "constant": ({"terms": ["age", "one"]}, "column one has the same value everywhere"),
    "twice": ({"terms": ["age", "double"]}, "columns depend on each other (age and double)"),
    "separated": ({"terms": ["age", "told"]}, "the coefficient of told grows without end|told"),
    "absent": ({"terms": ["height"]}, "lacks the column `height`"),
    "text": ({"terms": ["age"], "outcome": "stage"}, "neither 0 nor 1, true nor false: name the value"),
    "empty": ({"terms": ["age", "none"]}, "no row of this site has a value in each of the columns"),
    "reference": ({"terms": ["sex"], "reference": {"sex": "d"}}, "no site has the reference"),
}


@pytest.mark.parametrize("which", FAULTS)
def test_what_cannot_be_computed_is_said_with_a_remedy(tmp_path, which: str) -> None:
    parameters, sentence = FAULTS[which]
    parts = [
        [{**r, "one": 1, "double": 2 * r["age"], "told": r["dead"] * 3 + r["age"] / 1e4, "none": ""} for r in p]
        for p in PARTS
    ]
    federation = Federation(tmp_path, "logistic_glm", {"outcome": "dead", **parameters}, parts, least=1)
    with pytest.raises(TaskError, match=sentence.replace("(", r"\(").replace(")", r"\)")):
        federation.trained(30)


@pytest.mark.parametrize(("change", "sentence"), [
    ({"stage": "IV"}, "fewer than 5 people have one of the values of stage"),
    ({"flag": 1}, "fewer than 5 people have one of the values of flag"),
    ({"grade": 2}, "fewer than 5 people have one of the values of grade"),
    ({"pressure": 90.0}, "fewer than 5 people have one of the values of pressure"),
])  # fmt: skip
def test_a_site_with_a_small_cell_takes_no_part_in_a_regression(tmp_path, change, sentence: str) -> None:
    """Numbers, too: count, mean and sum of squares of two or three different ones tell how often each occurs."""
    rows = [{**row, "flag": 0, "grade": n % 2} for n, row in enumerate(PARTS[0])]
    if "pressure" in change:
        rows = [{**row, "pressure": 120.0 + 10 * (n % 2)} for n, row in enumerate(rows)]
    rows[:4] = [{**row, **change} for row in rows[:4]]
    parameters = {"outcome": "pressure", "terms": ["age", "stage", "flag", "grade"], "min_count": 1}
    with pytest.raises(TaskError, match=sentence):
        Federation(tmp_path, "linear_regression", parameters, [rows, rows]).trained(2)
    with pytest.raises(TaskError, match="fewer than 5"):
        Federation(tmp_path, "linear_regression", {**parameters, "min_count": 5}, [rows], least=1).trained(2)


def test_two_columns_together_may_make_a_small_cell(tmp_path) -> None:
    rows = [{"sex": "fm"[n % 2], "ward": "ab"[n // 2 % 2], "y": n % 7} for n in range(40)]
    rows += [{"sex": "f", "ward": "c", "y": n} for n in range(8)] + [{"sex": "m", "ward": "c", "y": 1}] * 3
    parameters = {"outcome": "y", "terms": ["sex", "ward"]}
    with pytest.raises(TaskError, match="one of the values of sex and ward together"):
        Federation(tmp_path, "linear_regression", parameters, [rows]).trained(2)


def test_a_site_needs_rows_for_its_coefficients(tmp_path) -> None:
    parameters = {"outcome": "pressure", "terms": ["age", "bmi"]}
    whole = [[row for row in part if isinstance(row["bmi"], float)] for part in PARTS]
    with pytest.raises(TaskError, match="8 rows for 3 coefficients"):
        Federation(tmp_path, "linear_regression", parameters, [whole[0], whole[1][:8]]).trained(2)


def test_a_site_whose_column_is_of_another_kind_is_left_out_and_told(tmp_path) -> None:
    odd = [{**row, "age": "old" if row["age"] > 60 else "young"} for row in PARTS[1]]
    for model, parameters in (
        ("linear_regression", {"outcome": "pressure", "terms": ["age"]}),
        ("table_one", {"columns": ["age"]}),
    ):
        with pytest.raises(Unusable) as caught:
            Federation(tmp_path, model, parameters, [PARTS[0], odd, PARTS[2]]).trained(2)
        assert list(caught.value.updates) == ["north"]
        assert "its column age holds labels, unlike that of most sites" in caught.value.updates["north"]


@pytest.mark.parametrize(("own", "odd"), [("a", "b"), ("b", "a"), ("z", "b")])
def test_of_as_many_of_either_kind_the_coordinators_own_stay(own: str, odd: str) -> None:
    with pytest.raises(Unusable) as caught:
        alike({"a": 1, "b": 2}, own, lambda part: part, lambda _part, _most: "it is odd")
    assert caught.value.updates == {odd: "it is odd"}


@pytest.mark.parametrize("model", ["linear_regression", "table_one", "kaplan_meier"])
def test_an_update_that_is_none_leaves_its_site_out(tmp_path, model: str) -> None:
    parameters = {
        "linear_regression": {"outcome": "y", "terms": ["x"]},
        "table_one": {"columns": ["x"]},
        "kaplan_meier": {"time": "x", "event": "y"},
    }[model]
    federation = Federation(tmp_path, model, parameters, [PARTS[0]])
    for content in (b"bytes", {"w": np.zeros(3)}, {"score": np.array([np.nan])}):
        with pytest.raises(Unusable):
            federation.task().aggregate(federation.context("east", 2, 2), [Update("east", content, {})])


# table one

COLUMNS = {"columns": ["age", "bmi", "sex", "stage", "dead"], "categorical": ["dead"]}


def test_table_one_equals_that_of_all_rows(tmp_path) -> None:
    federation = Federation(tmp_path, "table_one", COLUMNS | {"by": "sex", "columns": COLUMNS["columns"][:2]}
                            | {"categorical": []}, PARTS)  # fmt: skip
    result = federation.trained(2)
    grid = {line["column"]: line for line in lines(result.content, "grid")}
    for line in lines(result.content, "numbers"):
        rows = [row for row in POOLED if line["group"] in ("(all)", row["sex"])]
        values = np.array([row[line["column"]] for row in rows if isinstance(row[line["column"]], float)])
        assert (line["count"], line["missing"]) == (len(values), len(rows) - len(values))
        np.testing.assert_allclose((line["mean"], line["sd"]), (values.mean(), values.std(ddof=1)), rtol=1e-12)
        for share in (25, 50, 75):
            apart = abs(line[f"q{share}"] - np.quantile(values, share / 100))
            assert apart <= 6 * grid[line["column"]]["resolution"], (line, share)
    groups = {line["group"]: line["rows"] for line in lines(result.content, "groups")}
    assert groups == {
        "(all)": 420,
        "f": sum(r["sex"] == "f" for r in POOLED),
        "m": sum(r["sex"] == "m" for r in POOLED),
    }


def test_quantiles_are_exact_to_a_cell_where_no_count_is_small(tmp_path) -> None:
    result = Federation(tmp_path, "table_one", {"columns": ["age"], "min_count": 1}, PARTS, least=1).trained(2)
    (line,) = lines(result.content, "numbers")
    (grid,) = lines(result.content, "grid")
    values = [row["age"] for row in POOLED]
    for share in (25, 50, 75):
        assert abs(line[f"q{share}"] - np.quantile(values, share / 100)) <= grid["resolution"]


def test_labels_are_counted_with_their_shares(tmp_path) -> None:
    result = Federation(tmp_path, "table_one", COLUMNS, PARTS).trained(1)
    found = {(line["column"], line["label"]): line for line in lines(result.content, "labels")}
    for (column, label), line in found.items():
        expected = sum(str(row[column]) == label for row in POOLED)
        assert (line["count"], line["share"]) == (expected, expected / 420)
    assert len(found) == 2 + 3 + 2
    assert "q50" not in lines(result.content, "numbers")[0]


def test_a_time_that_is_a_whole_step_but_for_rounding_is_in_that_step(tmp_path) -> None:
    """1.1 / 0.1 is 11.000000000000002."""
    rows = [{"years": 1.1, "event": 1}] * 3
    parameters = {"time": "years", "event": "event", "interval": 0.1, "min_count": 1}
    result = Federation(tmp_path, "kaplan_meier", parameters, [rows], least=1).trained(1)
    np.testing.assert_allclose([line["time"] for line in lines(result.content, "curve")], [1.1])


def followed(times: Sequence[float], lost: Sequence[float]) -> Rows:
    return [{"days": day, "event": 1} for day in times] + [{"days": day, "event": 0} for day in lost]


KAPLAN = {"time": "days", "event": "event", "min_count": 1}


def test_a_curves_interval_is_that_of_the_log_of_minus_the_log(tmp_path) -> None:
    """Maintained patients of Miller's leukaemia trial (1981), as R's survfit has them with conf.type="log-log"."""
    rows = followed([9, 13, 18, 23, 31, 34, 48], [13, 28, 45, 161])
    result = Federation(tmp_path, "kaplan_meier", KAPLAN, [rows], least=1).trained(1)
    first = lines(result.content, "curve")[0]
    found = [first[name] for name in ("time", "survival", "standard_error", "low", "high")]
    np.testing.assert_allclose(found, [9, 10 / 11, 0.0867, 0.5081, 0.9867], atol=1e-4)


def test_the_median_is_the_first_time_at_which_no_more_than_half_are_left(tmp_path) -> None:
    result = Federation(tmp_path, "kaplan_meier", KAPLAN, [followed([1, 2, 3, 4], [])], least=1).trained(1)
    assert lines(result.content, "groups")[0]["median"] == 2


@pytest.mark.parametrize(("events", "lost"), [(10, 4), (4, 10)])
def test_a_group_with_few_events_or_few_lost_does_not_count(tmp_path, events: int, lost: int) -> None:
    rows = followed(range(1, events + 1), range(1, lost + 1))
    with pytest.raises(TaskError, match="each group of this site has fewer than 5 patients, or events, or patients"):
        Federation(tmp_path, "kaplan_meier", KAPLAN, [rows]).trained(1)


def small_counts(left: Sequence[Arrays], least: int) -> list[str]:
    """What of all that left the sites may be a count of a few people."""
    told = ("rows", "count", "counts", "events", "lost")
    return [
        f"{name} {value}"
        for arrays in left
        for name, values in arrays.items()
        if name.rpartition(".")[2] in told and not name.startswith("missing.")
        for value in np.ravel(values)
        if 0 < value < least
    ]


def test_no_small_count_leaves_in_table_one(tmp_path) -> None:
    rows = [dict(row) for row in PARTS[0]]
    for number, row in enumerate(rows):
        row["stage"] = ["IV", "V", row["stage"]][min(number // 3, 2)]  # 3 of each
        row["ward"] = "d" if number < 4 else "ab"[number % 2]
        row["few"] = 1 if number < 4 else 0
        row["rare"] = number if number < 4 else ""
    by_ward = {"columns": ["age", "stage", "few", "rare"], "by": "ward"}
    federation = Federation(tmp_path, "table_one", by_ward, [rows])
    result = federation.trained(2)
    assert small_counts(federation.left, 5) == []
    labels = {line["label"] for line in lines(result.content, "labels")}
    assert labels <= {"I", "II", "III", RARE}
    assert {line["group"] for line in lines(result.content, "groups")} == {"(all)", "a", "b"}
    assert {line["column"] for line in lines(result.content, "numbers")} == {"age", "few"}  # constant without ward d
    assert small_counts(Federation(tmp_path, "table_one", by_ward | {"min_count": 2}, [rows]).left, 5) == []
    plain = Federation(tmp_path, "table_one", {"columns": ["few", "rare", "age"]}, [rows])
    assert {line["column"] for line in lines(plain.trained(2).content, "numbers")} == {"age"}
    assert small_counts(plain.left, 5) == []


def test_a_site_of_few_rows_takes_no_part(tmp_path) -> None:
    for model, parameters in (
        ("table_one", {"columns": ["age"]}),
        ("linear_regression", {"outcome": "pressure", "terms": ["age"]}),
        ("kaplan_meier", {"time": "age", "event": "dead"}),
    ):
        with pytest.raises(TaskError, match="fewer than 5 rows"):
            Federation(tmp_path, model, parameters, [PARTS[0][:4]]).trained(2)


def test_cells_are_put_together_until_none_is_small() -> None:
    assert put_together({"a": 9, "b": 3, "c": 4}, 5) == {"a": 9, RARE: 7}
    assert put_together({"a": 9, "b": 6, "c": 4}, 5) == {"a": 9, RARE: 10}
    assert put_together({"a": 9, "b": 0}, 5) == {"a": 9}
    assert put_together({"a": 3}, 5) == {}
    w = WITH_NEXT
    for cells, sent in (
        ([0, 2, 0, 4, 0, 7], [0, w, w, 6, 0, 7]),
        ([6, 0, 1, 0], [w, w, w, 7]),
        ([5, 1, 4, 3], [5, w, w, 8]),
        ([0, 2, 1], None),
        ([0, 0], [0, 0]),
    ):
        made = joined(np.array(cells, dtype=float), 5)
        assert (None if made is None else made.tolist()) == sent
        if made is not None:
            assert spread(made).sum() == pytest.approx(sum(cells))
    assert spread(np.array([0.0, w, 6.0])).tolist() == [0, 3, 3]


# survival

TREATED = [(6, 1)] * 3 + [(t, 1) for t in (7, 10, 13, 16, 22, 23)]
TREATED += [(t, 0) for t in (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)]
PLACEBO = [(t, 1) for t in (1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23)]
"""Weeks of remission with and without 6-mercaptopurine (Freireich et al., Blood 21, 1963)."""


def freireich() -> list[Rows]:
    rows = [
        {"weeks": t, "relapse": e, "arm": arm}
        for arm, told in (("6-MP", TREATED), ("placebo", PLACEBO))
        for t, e in told
    ]
    return [rows[0::3], rows[1::3], rows[2::3]]


def test_a_published_curve_and_test_come_out(tmp_path) -> None:
    parameters = {"time": "weeks", "event": "relapse", "group": "arm", "min_count": 1}
    federation = Federation(tmp_path, "kaplan_meier", parameters, freireich(), least=1)
    result = federation.trained(1)
    curve = [line for line in lines(result.content, "curve") if line["group"] == "6-MP"]
    assert [line["time"] for line in curve] == [6, 7, 10, 13, 16, 22, 23]
    assert [round(line["survival"], 3) for line in curve] == [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert [round(line["standard_error"], 4) for line in curve][:3] == [0.0764, 0.0869, 0.0963]
    assert [line["at_risk"] for line in curve] == [21, 17, 15, 12, 11, 7, 6]
    (test,) = lines(result.content, "log_rank")
    assert round(test["statistic"], 2) == 16.79
    groups = {line["group"]: line for line in lines(result.content, "groups")}
    assert (groups["6-MP"]["median"], groups["placebo"]["median"]) == (23, 8)
    assert (groups["6-MP"]["events"], groups["6-MP"]["rows"]) == (9, 21)


def survivors(count: int, seed: int) -> Rows:
    drawn = np.random.default_rng(seed)
    arms = [str("abc"[drawn.integers(3)]) for _ in range(count)]
    deaths = [float(drawn.exponential({"a": 300, "b": 450, "c": 350}[arm])) for arm in arms]
    ends = drawn.uniform(50, 900, count)
    times = [int(np.ceil(min(pair))) for pair in zip(deaths, ends, strict=True)]
    dead = [death <= end for death, end in zip(deaths, ends, strict=True)]
    return [{"days": t, "dead": e, "arm": arm} for t, e, arm in zip(times, dead, arms, strict=True)]


SURVIVORS = [survivors(400, 1), survivors(300, 2), survivors(250, 3)]


def test_curve_and_test_equal_those_of_all_rows(tmp_path) -> None:
    parameters = {"time": "days", "event": "dead", "group": "arm", "min_count": 1}
    result = Federation(tmp_path, "kaplan_meier", parameters, SURVIVORS, least=1).trained(1)
    pooled = [row for part in SURVIVORS for row in part]
    for arm in "abc":
        own = [row for row in pooled if row["arm"] == arm]
        expected = SurvfuncRight([row["days"] for row in own], [float(row["dead"]) for row in own])
        found = [line for line in lines(result.content, "curve") if line["group"] == arm]
        died = expected.n_events > 0
        np.testing.assert_array_equal([line["time"] for line in found], expected.surv_times[died])
        np.testing.assert_allclose([line["survival"] for line in found], expected.surv_prob[died], rtol=1e-9)
        np.testing.assert_allclose([line["standard_error"] for line in found], expected.surv_prob_se[died], rtol=1e-6)
    times, dead, arms = ([row[name] for row in pooled] for name in ("days", "dead", "arm"))
    statistic, p = survdiff(np.array(times), np.array(dead, dtype=float), np.array(arms))
    (test,) = lines(result.content, "log_rank")
    np.testing.assert_allclose((test["statistic"], test["p_value"]), (statistic, p), rtol=1e-8)


def test_no_small_count_leaves_with_a_curve_that_stays_close(tmp_path) -> None:
    parameters = {"time": "days", "event": "dead", "group": "arm", "interval": 30}
    federation = Federation(tmp_path, "kaplan_meier", parameters, SURVIVORS)
    result = federation.trained(1)
    assert small_counts(federation.left, 5) == []
    exact = Federation(tmp_path, "kaplan_meier", parameters | {"min_count": 1}, SURVIVORS, least=1).trained(1)
    for arm in "abc":
        curves = []
        for made in (result, exact):
            found = [line for line in lines(made.content, "curve") if line["group"] == arm]
            times, chances = [line["time"] for line in found], [line["survival"] for line in found]
            curves.append(np.interp(np.arange(0, 420, 30), [0, *times], [1, *chances]))
        assert np.abs(curves[0] - curves[1]).max() < 0.035
    few = [{"days": 30 * n, "dead": int(n < 3), "arm": "a"} for n in range(20)]
    with pytest.raises(TaskError, match="fewer than 5 patients, or events"):
        Federation(tmp_path, "kaplan_meier", parameters, [few]).trained(1)


def test_a_median_that_is_not_reached_is_infinite(tmp_path) -> None:
    rows = [{"days": n, "dead": int(n < 10)} for n in range(100)]
    federation = Federation(tmp_path, "kaplan_meier", {"time": "days", "event": "dead"}, [rows, rows])
    (group,) = lines(federation.trained(1).content, "groups")
    assert (group["median"], group["events"]) == (np.inf, 20)


def test_a_label_of_the_event_that_no_site_has_is_told(tmp_path) -> None:
    rows = [{"days": n, "dead": ("ja", "nein")[n % 2]} for n in range(40)]
    parameters = {"time": "days", "event": "dead", "positive": "yes"}
    with pytest.raises(TaskError, match="none of 80 rows has the label 'yes' in column `dead`: name it as the files"):
        Federation(tmp_path, "kaplan_meier", parameters, [rows, rows]).trained(1)


@pytest.mark.parametrize(("row", "sentence"), [
    ({"days": -1, "dead": 1}, "line 7, column `days`: a time before 0"),
    ({"days": 1e9, "dead": 1}, "name a longer `interval`"),
    ({"days": 5, "dead": 2}, "line 7, column `dead`: neither 0 nor 1"),
])  # fmt: skip
def test_odd_times_are_refused(tmp_path, row, sentence: str) -> None:
    rows = [{"days": n, "dead": n % 2} for n in range(5)] + [row]
    with pytest.raises(TaskError, match=sentence):
        Federation(tmp_path, "kaplan_meier", {"time": "days", "event": "dead"}, [rows]).trained(1)


def test_tails_and_quantiles_are_scipys() -> None:
    for statistic in (0.0, 0.3, 1.7, 4.2, 30.0):
        np.testing.assert_allclose(d.normal_p(statistic), 2 * scipy.stats.norm.sf(statistic), rtol=1e-12)
        for degrees in (1, 2, 3, 7, 30, 411):
            expected = 2 * scipy.stats.t.sf(statistic, degrees)
            np.testing.assert_allclose(d.student_p(statistic, degrees), expected, rtol=1e-10)
            np.testing.assert_allclose(
                d.chi_squared_p(statistic, degrees), scipy.stats.chi2.sf(statistic, degrees), rtol=1e-10
            )
    for confidence in (0.5, 0.9, 0.95, 0.999):
        np.testing.assert_allclose(
            d.normal_quantile(confidence), scipy.stats.norm.isf((1 - confidence) / 2), rtol=1e-10
        )
        for degrees in (1, 5, 400):
            expected = scipy.stats.t.isf((1 - confidence) / 2, degrees)
            np.testing.assert_allclose(d.student_quantile(confidence, degrees), expected, rtol=1e-9)
