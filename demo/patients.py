"""Real patients' records with gaps, as three hospitals could have them: each in files of its own kind.

The diabetes data set (442 patients; Efron, Hastie, Johnstone and Tibshirani, "Least Angle Regression", 2004) comes with
scikit-learn. Which values are missing is drawn here, from a seed: the set itself has no gaps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 7
NUMBERS: Mapping[str, str] = {
    "age": "age",
    "blood_pressure": "bp",
    "cholesterol": "s1",
    "glucose": "s6",
    "progression": "",
}
"""Columns with numbers, as they are called in the source; progression is what it predicts."""
LABELS = "sex"
"""1 and 2 in the source, which does not say what they stand for."""
GROUPS = "weight"
BY_BMI = ((26.0, "up to 26"), (np.inf, "above 26"))
"""Groups of about the same size; what is small in a hospital would be put together."""
WITH_GAPS = ("blood_pressure", "cholesterol", "glucose", LABELS)
WORN_AGE = 12.0
"""How much chance is in who goes to which hospital; the rest is age, in years."""


@dataclass(frozen=True)
class Style:
    """How a hospital's programs save a table, and how much they miss."""

    patients: int
    gaps: float
    missing: str
    separator: str = ","
    decimal: str = "."
    line_end: str = "\n"
    encoding: str = "utf-8"


STYLES: Mapping[str, Style] = {
    "north": Style(110, 0.05, ""),
    "east": Style(190, 0.12, "NA", separator=";", decimal=","),
    "south": Style(142, 0.2, "n/a", line_end="\r\n", encoding="utf-8-sig"),
}


@dataclass(frozen=True)
class Patients:
    """numbers: NaN where a value is missing. sex: empty where it is. weight: the group, which everybody has."""

    numbers: dict[str, NDArray[np.float64]]
    sex: NDArray[np.str_]
    weight: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.weight)

    def of(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Patients:
        return Patients({name: v[chosen] for name, v in self.numbers.items()}, self.sex[chosen], self.weight[chosen])

    @property
    def missing(self) -> int:
        """Values that are not there."""
        return int(sum(np.isnan(values).sum() for values in self.numbers.values()) + (self.sex == "").sum())


def split() -> dict[str, Patients]:
    """Hospital -> its patients, the same ones each time: the younger ones in the north, with fewer gaps."""
    from sklearn.datasets import load_diabetes  # noqa: PLC0415 - takes a second, and others need the names alone

    source = load_diabetes(scaled=False)
    at = {name: np.asarray(source.data[:, place]) for place, name in enumerate(source.feature_names)}
    drawn = np.random.default_rng(SEED)
    order = np.argsort(at["age"] + drawn.normal(0.0, WORN_AGE, len(at["age"])), kind="stable")
    numbers = {
        name: (at[known] if known else np.asarray(source.target)).astype(float) for name, known in NUMBERS.items()
    }
    weight = np.array([next(group for most, group in BY_BMI if bmi <= most) for bmi in at["bmi"]])
    whole = Patients(numbers, np.array([f"{sex:g}" for sex in at["sex"]]), weight).of(order)
    parts, first = {}, 0
    for name, style in STYLES.items():
        part = whole.of(np.arange(first, first + style.patients))
        parts[name], first = _with_gaps(part, style.gaps, drawn), first + style.patients
    return parts


def pooled(parts: Mapping[str, Patients]) -> Patients:
    """Everybody's patients in one place, as nobody has them."""
    return Patients(
        {name: np.concatenate([part.numbers[name] for part in parts.values()]) for name in NUMBERS},
        np.concatenate([part.sex for part in parts.values()]),
        np.concatenate([part.weight for part in parts.values()]),
    )


def write(patients: Patients, style: Style, path: Path) -> None:
    """A file as this hospital's programs save it."""
    header = [*NUMBERS, LABELS, GROUPS]
    lines = [style.separator.join(header)]
    for row in range(len(patients)):
        numbers = [_written(patients.numbers[name][row], style) for name in NUMBERS]
        lines.append(style.separator.join([*numbers, patients.sex[row] or style.missing, patients.weight[row]]))
    path.write_bytes("".join(line + style.line_end for line in lines).encode(style.encoding))


def _written(value: float, style: Style) -> str:
    return style.missing if np.isnan(value) else repr(float(value)).replace(".", style.decimal)


def _with_gaps(part: Patients, share: float, drawn: np.random.Generator) -> Patients:
    gaps = {name: drawn.random(len(part)) < share for name in WITH_GAPS}
    numbers = {
        name: np.where(gaps[name], np.nan, values) if name in gaps else values for name, values in part.numbers.items()
    }
    return Patients(numbers, np.where(gaps[LABELS], "", part.sex), part.weight)
