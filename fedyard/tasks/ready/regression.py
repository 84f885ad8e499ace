"""Linear and logistic regression with standard errors, equal to those of all sites' rows in one place.

Logistic regression by Fisher scoring (iteratively reweighted least squares, McCullagh and Nelder 1989, 2.5): in each
round a site sends the score and the information of its rows at the present coefficients, and the coordinator adds them
up and takes one step, which is that of the pooled rows. Linear regression is the same with one step. Round 1 finds what
all must agree in: the labels of columns of text, and means and spreads, by which columns are scaled while it computes.
So linear regression takes 2 rounds, logistic regression some 6 to 10: once it has converged further rounds change
nothing, and what it has come to by the last round is the result (`converged` in it says whether).

Rows with a missing value in a column that is used are left out. A column of text, of true and false, or one that
`categorical` names enters as one 0/1 column for each of its labels but the reference, which is the first of the sorted
labels unless `reference` names another.

Parameters: outcome (a must), terms (columns; a must), categorical, reference (column -> label), positive (which label
of the outcome counts as 1; else it is 0/1 or true/false), confidence (0.95), tolerance (1e-8, of the step, in standard
deviations), min_count (5), data ("train").

What leaves a site: sums over its rows (means, squares, score, information, log likelihood) and its labels. A site takes
no part, and says why, if any of these would tell a count of 1 to `min_count` - 1 people: of a label, of a value of a
column (or outcome) of two or three different ones, or of two labels or values together, where the columns have two; or
if it has fewer than 3 rows for each coefficient (the rules of DataSHIELD: nfilter.tab and nfilter.glm, and more). The
site's own `tasks.min_count` holds if it is larger.
Metrics: samples; of a result rows, sites, change (of the step), converged, log_likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import Arrays, Content, Context, Result, Task, TaskError, Update
from fedyard.tasks.reading.tables import Table
from fedyard.tasks.ready import common as c
from fedyard.tasks.ready import distributions as d
from fedyard.tasks.ready.cells import FEW, small
from fedyard.wire.plurals import counted

INTERCEPT: Final = "(intercept)"
ROWS_EACH: Final = 3
"""Rows for each coefficient, at least: DataSHIELD's nfilter.glm is 0.33 coefficients for each row."""
SINGULAR: Final = 1e-9
"""Smallest eigenvalue of the scaled information; below it columns depend on each other."""
SEPARATED: Final = 25.0
"""A coefficient of so many per standard deviation has no maximum to go to."""


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a project may choose."""

    outcome: c.Column
    terms: Annotated[list[c.Column], msgspec.Meta(min_length=1, max_length=200)]
    categorical: Annotated[list[c.Column], msgspec.Meta(max_length=200)] = []
    reference: dict[str, str] = {}
    positive: str | None = None
    confidence: c.Share = 0.95
    tolerance: c.Share = 1e-8
    min_count: c.Least = 5
    data: str = "train"


@dataclass(frozen=True)
class _Rows:
    """A site's complete rows: the outcome, and of each term numbers, or labels."""

    outcome: c.Floats
    numbers: Mapping[str, c.Floats]
    labels: Mapping[str, Sequence[str]]
    left_out: int


@dataclass(frozen=True)
class _Design:
    """The columns of the model matrix behind the intercept. label: empty for a column of numbers."""

    terms: tuple[str, ...]
    labels: tuple[str, ...]
    mean: c.Floats
    scale: c.Floats
    outcome: tuple[float, float, float]
    """Count, mean, and sum of squares about it, of all sites."""

    @property
    def count(self) -> int:
        """Coefficients, with the intercept."""
        return len(self.terms) + 1

    def matrix(self, rows: _Rows) -> c.Floats:
        columns = [np.ones(len(rows.outcome))]
        for term, label, mean, scale in zip(self.terms, self.labels, self.mean, self.scale, strict=True):
            if label:
                columns.append(np.array([float(found == label) for found in rows.labels[term]]))
            else:
                columns.append((rows.numbers[term] - mean) / scale)
        return np.column_stack(columns)

    def packed(self) -> dict[str, NDArray[Any]]:
        return {
            "design.term": c.text_array(self.terms),
            "design.label": c.text_array(self.labels),
            "design.mean": self.mean,
            "design.scale": self.scale,
            "outcome": np.array(self.outcome),
        }

    @classmethod
    def of(cls, arrays: Arrays) -> _Design:
        """Raises `TaskError`."""
        terms, labels = c.words(arrays, "design.term"), c.words(arrays, "design.label")
        mean, scale = (c.floats(arrays, f"design.{name}", (len(terms),)) for name in ("mean", "scale"))
        outcome = c.floats(arrays, "outcome", (3,))
        if len(labels) != len(terms) or (scale <= 0).any():
            raise TaskError("it holds no model matrix of a regression")
        return cls(tuple(terms), tuple(labels), mean, scale, (float(outcome[0]), float(outcome[1]), float(outcome[2])))


@dataclass(frozen=True)
class _Sums:
    """What a site tells at given coefficients, and all of it together. squares: of the residuals."""

    design: _Design
    beta: c.Floats
    rows: float
    left_out: float
    score: c.Floats
    information: c.Floats
    log_likelihood: float
    squares: float


class Regression(Task):
    """What both kinds have in common; `logistic` says which it is."""

    alike = False
    logistic = False
    model = "linear_regression"
    least_rounds = 2

    def __init__(self) -> None:
        self.chosen = Parameters(outcome="-", terms=["-"])
        self.rows: _Rows | None = None

    def validate(self, parameters: Mapping[str, object]) -> None:
        self.chosen = chosen = c.chosen(parameters, Parameters, self.model)
        if chosen.outcome in chosen.terms or len(set(chosen.terms)) != len(chosen.terms):
            raise TaskError(f"parameters of {self.model}: `terms` names the outcome, or a column twice")
        if odd := sorted((set(chosen.categorical) | set(chosen.reference)) - set(chosen.terms)):
            raise TaskError(f"parameters of {self.model}: {', '.join(odd[:5])} is none of the `terms`")

    def prepare(self, context: Context) -> None:
        if context.rounds < self.least_rounds:
            raise TaskError(f"{self.model} needs {self.least_rounds} rounds at least: the first one finds the scale")
        table = context.table(self.chosen.data)
        table.need([self.chosen.outcome, *self.chosen.terms])
        least = c.least_of(context, self.chosen.min_count)
        c.enough(table, least)
        self.rows = self._complete(table)
        self._check_cells(self.rows, least)

    def train(self, context: Context, model: Content | None) -> Result:
        rows = self.rows
        assert rows is not None
        count = float(len(rows.outcome))
        arrays = c.own(model, self._mark())
        if arrays is None:
            return Result(_survey(rows), {"samples": count})
        design = _Design.of(arrays)
        self._check_design(design, rows)
        beta = c.floats(arrays, "beta", (design.count,))
        sums = self._sums(design, beta, rows)
        context.log(f"{counted(design.count, 'coefficient')}, {counted(int(count), 'row')}")
        return Result(_packed(sums), {"samples": count})

    def aggregate(self, context: Context, updates: Sequence[Update]) -> Result:
        """Raises `Unusable` for updates that are none, or at another model than those of most sites."""
        if not any("score" in update.content for update in updates if not isinstance(update.content, bytes)):
            return self._begun(context, updates)
        parts = c.usable(updates, _unpacked)
        c.alike(parts, context.site_id, _kind, lambda _part, _most: "it was not made from the same model as most are")
        first = parts[min(parts)]
        whole = _Sums(
            design=first.design,
            beta=first.beta,
            rows=sum(part.rows for part in parts.values()),
            left_out=sum(part.left_out for part in parts.values()),
            score=np.sum([part.score for _, part in sorted(parts.items())], axis=0),
            information=np.sum([part.information for _, part in sorted(parts.items())], axis=0),
            log_likelihood=sum(part.log_likelihood for _, part in sorted(parts.items())),
            squares=sum(part.squares for _, part in sorted(parts.items())),
        )
        step, inverse = self._step(whole)
        beta = whole.beta + step
        change = float(np.abs(step).max())
        if self.logistic and np.abs(beta[1:]).max() > SEPARATED:
            at = int(np.argmax(np.abs(beta[1:])))
            raise TaskError(
                f"the coefficient of {_said(whole.design, at)} grows without end: it tells the outcome by "
                "itself, or nearly so; leave it out, or put its labels together"
            )
        converged = not self.logistic or change <= self.chosen.tolerance
        if not converged and context.round == context.rounds:
            context.log(f"not converged in {counted(context.rounds, 'round')}: the last step is {change:.2g}")
        result = self._result(whole, step, inverse, len(parts), converged=converged)
        metrics = {
            "rows": whole.rows,
            "sites": float(len(parts)),
            "change": change,
            "converged": float(converged),
            "log_likelihood": dict(zip(result["fit.name"], result["fit.value"], strict=True))["log_likelihood"],
        }
        mark = {c.MADE_FOR: c.text_array([self._mark()])}
        return Result({**whole.design.packed(), "beta": beta, **mark, **result}, metrics)

    def _mark(self) -> str:
        return c.mark_of(self.model, self.chosen)

    # a site's rows

    def _complete(self, table: Table) -> _Rows:
        chosen = self.chosen
        name = chosen.outcome
        outcome = c.truth(table, name, chosen.positive) if self.logistic else table.numbers(name)
        numbers: dict[str, c.Floats] = {}
        labels: dict[str, list[str | None]] = {}
        whole = ~np.isnan(outcome)
        for term in chosen.terms:
            if term in chosen.categorical or table.kind(term) not in ("number", "empty"):
                labels[term] = table.labels(term)
                whole &= np.array([label is not None for label in labels[term]])
            else:
                numbers[term] = table.numbers(term)
                whole &= ~np.isnan(numbers[term])
        if not whole.any():
            raise TaskError("no row of this site has a value in each of the columns: leave out the one that is empty")
        return _Rows(
            outcome=outcome[whole],
            numbers={term: values[whole] for term, values in numbers.items()},
            labels={term: [found[at] or "" for at in np.flatnonzero(whole)] for term, found in labels.items()},
            left_out=int((~whole).sum()),
        )

    def _check_cells(self, rows: _Rows, least: int) -> None:
        """Raises `TaskError` where a sum would tell a small count: of a value, or of two of them together."""
        ones: list[tuple[str, c.Floats]] = []
        columns: dict[str, Sequence[object]] = dict(rows.labels)
        columns |= {name: list(values) for name, values in rows.numbers.items() if len(np.unique(values)) == 2}
        columns |= {self.chosen.outcome: list(rows.outcome)} if len(np.unique(rows.outcome)) <= 2 else {}
        for name, values in columns.items():
            texts = [*map(str, values)]
            ones += [(name, np.array([float(text == value) for text in texts])) for value in sorted(set(texts))]
        if small(len(rows.outcome), least):
            raise TaskError(f"this site has fewer than {least} rows with a value in each of the columns")
        for name, numbers in {**rows.numbers, self.chosen.outcome: rows.outcome}.items():
            distinct, times = np.unique(numbers, return_counts=True)
            if len(distinct) <= FEW and small(int(times.min()), least):  # its moments would tell
                raise TaskError(_too_few([name], least))
        if not ones:
            return
        matrix = np.column_stack([column for _, column in ones])
        together = matrix.T @ matrix
        for at, row in enumerate(together):
            for other, count in enumerate(row[: at + 1]):
                if small(int(count), least):
                    raise TaskError(_too_few(sorted({ones[at][0], ones[other][0]}), least))

    def _check_design(self, design: _Design, rows: _Rows) -> None:
        if len(rows.outcome) < ROWS_EACH * design.count:
            raise TaskError(
                f"this site has {counted(len(rows.outcome), 'row')} for {counted(design.count, 'coefficient')}, and "
                f"{ROWS_EACH} for each are needed: name fewer terms"
            )
        known = set(rows.numbers) | set(rows.labels)
        if odd := [term for term in design.terms if term not in known]:
            raise TaskError(f"the model has the column {odd[0][:60]}, this site's rows do not")
        for term, label in zip(design.terms, design.labels, strict=True):
            if bool(label) != (term in rows.labels):
                what = "numbers" if label else "labels"
                raise TaskError(
                    f"column {term[:60]} holds {what} at this site, unlike at most: name it in `categorical`, or "
                    "correct the file"
                )

    def _sums(self, design: _Design, beta: c.Floats, rows: _Rows) -> _Sums:
        matrix = design.matrix(rows)
        fitted = matrix @ beta
        if self.logistic:
            chance = 0.5 * (1.0 + np.tanh(0.5 * fitted))
            weight, residual = chance * (1.0 - chance), rows.outcome - chance
            likelihood = float((rows.outcome * fitted - np.logaddexp(0.0, fitted)).sum())
        else:
            weight, residual, likelihood = np.ones(len(fitted)), rows.outcome - fitted, 0.0
        return _Sums(
            design=design,
            beta=beta,
            rows=float(len(fitted)),
            left_out=float(rows.left_out),
            score=matrix.T @ residual,
            information=(matrix * weight[:, None]).T @ matrix,
            log_likelihood=likelihood,
            squares=float((residual**2).sum()),
        )

    # all sites together

    def _begun(self, context: Context, updates: Sequence[Update]) -> Result:
        """The model of round 1: what the columns of the model matrix are, and coefficients of 0."""
        parts = c.usable(updates, _surveyed)
        kind_of = {site: tuple(sorted(part.moments)) for site, part in parts.items()}
        c.alike(
            {site: (kind_of[site], part) for site, part in parts.items()},
            context.site_id,
            lambda pair: pair[0],
            lambda pair, most: _other_kinds(pair[0], most[0]),
        )
        moments: dict[str, tuple[float, float, float]] = {}
        labels: dict[str, set[str]] = {}
        for _, part in sorted(parts.items()):
            for name, found in part.moments.items():
                moments[name] = c.combined(moments[name], found) if name in moments else found
            for name, label in part.labels:
                labels.setdefault(name, set()).add(label)
        outcome = moments[OUTCOME]
        columns: list[tuple[str, str, float, float]] = []
        for term in self.chosen.terms:
            if term in moments:
                count, mean, squares = moments[term]
                scale = float(np.sqrt(squares / count))
                if scale <= 1e-12 * max(abs(mean), 1.0):
                    raise TaskError(f"column {term[:60]} has the same value everywhere: leave it out of the `terms`")
                columns.append((term, "", mean, scale))
                continue
            levels = sorted(labels.get(term, set()))
            first = self.chosen.reference.get(term, levels[0] if levels else "")
            if first not in levels:
                raise TaskError(f"no site has the reference that the parameters name for {term[:60]}")
            if len(levels) < 2:
                raise TaskError(f"column {term[:60]} has the same label everywhere: leave it out of the `terms`")
            columns += [(term, level, 0.0, 1.0) for level in levels if level != first]
        if self.logistic and not 0 < outcome[1] < 1:
            raise TaskError(f"the outcome {self.chosen.outcome[:60]} is the same everywhere: nothing to explain")
        design = _Design(
            terms=tuple(column[0] for column in columns),
            labels=tuple(column[1] for column in columns),
            mean=np.array([column[2] for column in columns]),
            scale=np.array([column[3] for column in columns]),
            outcome=outcome,
        )
        content = {**design.packed(), "beta": np.zeros(design.count), c.MADE_FOR: c.text_array([self._mark()])}
        return Result(content, {"rows": outcome[0], "sites": float(len(parts)), "converged": 0.0})

    def _step(self, whole: _Sums) -> tuple[c.Floats, c.Floats]:
        """The step, and the inverse of the information; both by way of the scaled one, which is better conditioned."""
        roots = np.sqrt(np.diag(whole.information))
        if not (roots > 0).all():
            at = int(np.argmin(roots))
            what = _said(whole.design, at - 1) if at else "the intercept"
            raise TaskError(f"the rows tell nothing of {what}: leave it out, or put its labels together")
        scaled = whole.information / np.outer(roots, roots)
        values, vectors = np.linalg.eigh(scaled)
        if values[0] < SINGULAR:
            one, two = sorted(np.argsort(-np.abs(vectors[:, 0]))[:2])
            names = " and ".join(_said(whole.design, int(at) - 1) if at else "the intercept" for at in (one, two))
            raise TaskError(f"columns depend on each other ({names}): leave one of them out")
        inverse = (vectors / values) @ vectors.T / np.outer(roots, roots)
        return inverse @ whole.score, inverse

    def _result(
        self, whole: _Sums, step: c.Floats, inverse: c.Floats, sites: int, *, converged: bool
    ) -> dict[str, NDArray[Any]]:
        """Coefficients, of the columns as they are in the files, and how well they fit: two tables."""
        design, count = whole.design, whole.rows
        back = np.eye(design.count)
        back[1:, 1:] = np.diag(1 / design.scale)
        back[0, 1:] = -design.mean / design.scale
        degrees = count - design.count
        estimate = back @ (whole.beta + step)
        variance = np.diag(back @ inverse @ back.T)
        total = float(design.outcome[2])
        if self.logistic:
            rate = design.outcome[1]
            null = design.outcome[0] * (rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
            fit: dict[str, float] = {
                "log_likelihood": whole.log_likelihood,
                "log_likelihood_null": null,
                "deviance": -2 * whole.log_likelihood,
                "aic": -2 * whole.log_likelihood + 2 * design.count,
                "pseudo_r_squared": 1 - whole.log_likelihood / null,
            }
            quantile = d.normal_quantile(self.chosen.confidence)
        else:
            squares = float(whole.squares - 2 * step @ whole.score + step @ whole.information @ step)
            squares = max(0.0, squares)
            variance = variance * squares / degrees
            likelihood = -count / 2 * (np.log(2 * np.pi * squares / count) + 1) if squares else 0.0
            fit = {
                "log_likelihood": likelihood,
                "residual_sd": float(np.sqrt(squares / degrees)),
                "r_squared": 1 - squares / total if total else 0.0,
                "adjusted_r_squared": 1 - (squares / degrees) / (total / (count - 1)) if total else 0.0,
                "aic": -2 * likelihood + 2 * design.count,
            }
            quantile = d.student_quantile(self.chosen.confidence, degrees)
        error = np.sqrt(variance)
        statistic = estimate / np.where(error > 0, error, 1.0)
        p = [d.normal_p(z) if self.logistic else d.student_p(z, degrees) for z in statistic]
        fit = {"rows": count, "left_out": whole.left_out, "sites": float(sites), "degrees": degrees, **fit}
        fit["converged"] = float(converged)
        table = {
            "term": c.text_array([INTERCEPT, *design.terms]),
            "label": c.text_array(["", *design.labels]),
            "estimate": estimate,
            "standard_error": error,
            "statistic": statistic,
            "p_value": np.array(p),
            "low": estimate - quantile * error,
            "high": estimate + quantile * error,
        }
        if self.logistic:
            table["odds_ratio"] = np.exp(np.clip(estimate, -700, 700))
        named = {"fit.name": c.text_array(list(fit)), "fit.value": np.array([float(value) for value in fit.values()])}
        return {f"coefficients.{name}": values for name, values in table.items()} | named


class LinearRegression(Regression):
    """See the module's docstring."""


class LogisticGlm(Regression):
    """See the module's docstring."""

    logistic = True
    model = "logistic_glm"
    least_rounds = 3


# round 1

OUTCOME: Final = "\x00outcome"
"""Its place among the moments; no column is called so."""


@dataclass(frozen=True)
class _Survey:
    moments: dict[str, tuple[float, float, float]]
    labels: list[tuple[str, str]]


def _survey(rows: _Rows) -> Arrays:
    moments = {name: _moments(values) for name, values in rows.numbers.items()}
    labels = [(term, label) for term, found in rows.labels.items() for label in sorted(set(found))]
    return {
        "moments.column": c.text_array(list(moments)),
        "moments": np.array([_moments(rows.outcome), *moments.values()]),
        "labels.column": c.text_array([term for term, _ in labels]),
        "labels.label": c.text_array([label for _, label in labels]),
    }


def _moments(values: c.Floats) -> tuple[float, float, float]:
    mean = float(values.mean())
    return float(len(values)), mean, float(((values - mean) ** 2).sum())


def _surveyed(arrays: Arrays) -> _Survey:
    names = [OUTCOME, *c.words(arrays, "moments.column")]
    lines = c.floats(arrays, "moments", (len(names), 3))
    if (lines[:, 0] < 1).any() or (lines[:, 2] < 0).any() or (np.abs(lines) > 1e220).any():
        raise TaskError("its moments are none of any numbers")
    terms, labels = c.words(arrays, "labels.column"), c.words(arrays, "labels.label")
    if len(terms) != len(labels):
        raise TaskError("its labels are of no columns")
    moments = {name: (float(a), float(b), float(q)) for name, (a, b, q) in zip(names, lines, strict=True)}
    return _Survey(moments, list(zip(terms, labels, strict=True)))


def _other_kinds(part: tuple[str, ...], most: tuple[str, ...]) -> str:
    odd = sorted(set(part) ^ set(most))
    what = "numbers" if odd[0] in part else "labels"
    return f"its column {odd[0][:60]} holds {what}, unlike that of most sites: name it in `categorical`, or correct it"


# the rounds behind it


def _packed(sums: _Sums) -> Arrays:
    return {
        **sums.design.packed(),
        "beta": sums.beta,
        "rows": np.array([sums.rows, sums.left_out]),
        "score": sums.score,
        "information": sums.information,
        "fit": np.array([sums.log_likelihood, sums.squares]),
    }


def _unpacked(arrays: Arrays) -> _Sums:
    design = _Design.of(arrays)
    rows, left_out = c.counts(arrays, "rows", (2,))
    fit = c.floats(arrays, "fit", (2,))
    information = c.floats(arrays, "information", (design.count, design.count))
    if rows < 1 or not np.allclose(information, information.T) or (np.diag(information) < 0).any():
        raise TaskError("its information is none of any rows")
    return _Sums(
        design=design,
        beta=c.floats(arrays, "beta", (design.count,)),
        rows=float(rows),
        left_out=float(left_out),
        score=c.floats(arrays, "score", (design.count,)),
        information=information,
        log_likelihood=float(fit[0]),
        squares=float(fit[1]),
    )


def _kind(sums: _Sums) -> tuple[object, ...]:
    """What all must agree in: the model matrix, and where they were."""
    design = sums.design
    return design.terms, design.labels, design.mean.tobytes(), design.scale.tobytes(), sums.beta.tobytes()


def _too_few(names: Sequence[str], least: int) -> str:
    return (
        f"at this site fewer than {least} people have one of the values of {' and '.join(names)}"
        f"{' together' if len(names) > 1 else ''}: put labels together, or leave a column out"
    )


def _said(design: _Design, at: int) -> str:
    return f"{design.terms[at][:60]}{' ' + design.labels[at][:60] if design.labels[at] else ''}"
