"""Real patients' records, as three hospitals could have them: different in number and in who comes there.

The breast-cancer data set of Wisconsin (569 patients, 30 measurements, benign or malignant) comes with scikit-learn.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks.reading.labelled import Labelled

LABEL = "malignant"
TEST_SHARE = 0.3
SEED = 20

SHARES = {"north": (0.10, 0.62), "east": (0.68, 0.08), "south": (0.22, 0.30)}
"""Which share of the malignant and of the benign training records each hospital has."""

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Records:
    """training: hospital -> its records. test: the common held-out ones."""

    training: dict[str, Labelled]
    test: Labelled

    def pooled(self) -> Labelled:
        """Everybody's training records in one place, as nobody has them."""
        tables = list(self.training.values())
        return Labelled(
            rows=np.concatenate([t.rows for t in tables]),
            labels=np.concatenate([t.labels for t in tables]),
            features=self.test.features,
        )


def split() -> Records:
    """The same split each time: 30 % held out for everybody, the rest uneven and label-skewed."""
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - takes a second, and others need SHARES alone

    source = load_breast_cancer()
    rows = np.asarray(source.data, dtype=np.float64)
    labels = 1.0 - np.asarray(source.target, dtype=np.float64)  # there, 0 is malignant
    features = tuple(str(name).replace(" ", "_") for name in source.feature_names)
    order = np.random.default_rng(SEED).permutation(len(labels))
    held_out = round(TEST_SHARE * len(labels))
    test, rest = order[:held_out], order[held_out:]
    malignant, benign = rest[labels[rest] > 0], rest[labels[rest] == 0]

    def table(chosen: Rows) -> Labelled:
        return Labelled(rows=rows[chosen], labels=labels[chosen], features=features)

    training, taken_malignant, taken_benign = {}, 0, 0
    for number, (name, (of_malignant, of_benign)) in enumerate(SHARES.items()):
        last = number == len(SHARES) - 1
        to_malignant = len(malignant) if last else taken_malignant + int(of_malignant * len(malignant))
        to_benign = len(benign) if last else taken_benign + int(of_benign * len(benign))
        theirs = np.concatenate([malignant[taken_malignant:to_malignant], benign[taken_benign:to_benign]])
        training[name] = table(theirs)
        taken_malignant, taken_benign = to_malignant, to_benign
    return Records(training=training, test=table(test))


def write(table: Labelled, path: Path) -> None:
    """A CSV as a hospital could export it: a header, a line for each patient, the label last."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow([*table.features, LABEL])
        for row, label in zip(table.rows, table.labels, strict=True):
            lines.writerow([*(repr(float(value)) for value in row), int(label)])
