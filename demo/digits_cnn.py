"""A convolutional network of PyTorch that learns digits of three sites, none of which has seen all ten."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table as Rows

from demo.federation import CONTRACT, Federation
from demo.kafkaml.digits import BRIGHTEST, Digits, digits
from demo.processes import ROOT, DemoError
from fedyard.wire.answers import Run

TASK = ROOT / "demo" / "cnn.py"
NEEDS = "torch"
HAVE: Mapping[str, tuple[int, ...]] = {
    "north": (0, 1, 2, 3, 4, 5, 6),
    "east": (3, 4, 5, 6, 7, 8, 9),
    "south": (0, 1, 2, 7, 8, 9),
}
"""Which digits each site has. What several have is shared out evenly."""
HELD_OUT = 450
GOOD = 0.9
"""The least accuracy of the last round that this is worth showing with; guessing has 0.1."""


class DigitsDemo(Federation):
    """One telling of the story."""

    project_name = "digits"
    allow = (f"{TASK.stem}:DigitsCnn",)
    about = "Which digit is it?"
    data_format = "a table: dot_0 to dot_63, digit"

    def tell(self) -> bool:
        """True if the run succeeded, and its model knows more digits than any of the sites has."""
        needed(NEEDS)
        start = self.clock.monotonic()
        self._empty_folder()
        self._start_hub()
        training, test = split()
        for name, part in training.items():
            self._say(f"{name:10s} {len(part):3d} images, of the digits {' '.join(map(str, HAVE[name]))} alone")
        self._say(f"held out   {len(test):3d} images of all ten, for everybody to test on")
        admin = self._let_in()

        def settled(folder: Path, name: str) -> None:
            write(training[name], folder / "train.csv")
            write(test, folder / "test.csv")
            shutil.copy(TASK, folder)

        task = {
            "name": "digits",
            "model": self.allow[0],
            "rounds": self.chosen.rounds,
            "parameters": {"epochs": 1, "learning_rate": 0.05},
            "contract": CONTRACT,
            "best": {"metric": "accuracy", "mode": "max"},
        }
        project_id = self._federated(admin, list(training), settled, [task])
        run = self._trained(project_id)
        return self._ended(start, good=run.state == "succeeded" and self._told(run, test))

    def _told(self, run: Run, test: Digits) -> bool:
        """True if the last model is good, and better than a site by itself could be."""
        rounds = {one.number: one.metrics.get("accuracy", 0.0) for one in run.tasks[0].rounds}
        table = Rows()
        table.add_column("round", justify="right")
        table.add_column("accuracy", justify="right")
        for number, accuracy in sorted(rounds.items()):
            table.add_row(str(number), f"{accuracy:.3f}")
        self._say(f"\naccuracy on the {len(test)} images held out")
        self.console.print(table)
        best = run.tasks[0].best
        if best is not None:
            self._say(f"best       version {best.model_version}, of round {best.round}: {best.value:.3f}")
        alone = {name: float(np.isin(test.labels, have).mean()) for name, have in HAVE.items()}
        said = ", ".join(f"{name} {share:.3f}" for name, share in alone.items())
        self._say(f"alone      at most {said}: the share of the images whose digit it has ever seen")
        last = rounds[max(rounds)]
        return best is not None and last >= GOOD and last > max(alone.values())


def needed(package: str) -> None:
    """Raises `DemoError` where it is not installed."""
    if find_spec(package) is None:
        raise DemoError(
            f"{package} is not installed: `make demo TASK=digits_cnn` does that, from requirements-torch.txt"
        )


def split() -> tuple[dict[str, Digits], Digits]:
    """Site -> its images, and those that nobody trains on; the same ones each time."""
    every = digits()
    test, rest = every.part(0, HELD_OUT), every.part(HELD_OUT, len(every))
    chosen: dict[str, list[NDArray[np.intp]]] = {name: [] for name in HAVE}
    for digit in range(10):
        owners = [name for name, have in HAVE.items() if digit in have]
        shares = np.array_split(np.flatnonzero(rest.labels == digit), len(owners))
        for name, share in zip(owners, shares, strict=True):
            chosen[name].append(share)
    rows = {name: np.sort(np.concatenate(parts)) for name, parts in chosen.items()}
    return {name: Digits(rest.images[at], rest.labels[at]) for name, at in rows.items()}, test


def write(part: Digits, path: Path) -> None:
    """A column for each dot, as bright as in the source, and the digit."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        lines = csv.writer(stream)
        lines.writerow([*(f"dot_{number}" for number in range(part.images[0].size)), "digit"])
        dots = (part.images.reshape(len(part), -1) * BRIGHTEST).round().astype(int)
        lines.writerows([*row, digit] for row, digit in zip(dots.tolist(), part.labels.tolist(), strict=True))
