"""A new project from a template: a task, invented data of three sites, a test, and the project's tasks."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from fedyard.tasks import TaskError

_ROUNDS = {"numpy": 5, "sklearn": 5, "pytorch": 5, "statistics": 1}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "numpy": {"learning_rate": 0.5, "steps": 20},
    "sklearn": {"epochs": 5},
    "pytorch": {"learning_rate": 0.5, "epochs": 20},
    "statistics": {"columns": ["age", "dose"], "min_rows": 5},
}
TEMPLATES = tuple(_ROUNDS)
SITES = {"north": 80, "east": 50, "south": 120}
"""Names and rows."""
TEST_ROWS = 100
_HOLDS = {
    "statistics": 'assert run.model["age"][0] == 250  # as many rows as the three files have together',
}


def write(folder: Path, template: str) -> list[Path]:
    """Write the project into `folder`, which is empty or not there yet; the files. Raises `TaskError`."""
    if template not in TEMPLATES:
        raise TaskError(f"there is no template {template!r}: {', '.join(TEMPLATES)}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TaskError(f"{folder} is there already, and not empty: name a new folder")
    holds = _HOLDS.get(template, 'assert run.metrics["accuracy"] > 0.8')
    texts = {
        "my_task.py": _text(f"{template}/my_task.py.in"),
        "tasks.json": json.dumps([_spec(template)], indent=2) + "\n",
        "test_my_task.py": _text("test_my_task.py.in").replace("HOLDS", holds),
        "README.md": _text("README.md.in"),
    }
    generator = np.random.default_rng(1)
    for name, count in {**SITES, "test": TEST_ROWS}.items():
        texts[f"data/{name}.csv"] = _people(generator, count)
    written = []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        written.append(path)
    return written


def _spec(template: str) -> dict[str, Any]:
    return {
        "name": "train",
        "model": "my_task:MyTask",
        "rounds": _ROUNDS[template],
        "parameters": _PARAMETERS[template],
    }


def _text(name: str) -> str:
    return (files("fedyard.simulating") / "templates").joinpath(name).read_text("utf-8")


def _people(generator: np.random.Generator, count: int) -> str:
    """Invented people, as CSV: the older they are and the higher the dose, the likelier is the label 1."""
    age, dose = generator.integers(20, 90, count), generator.uniform(1, 20, count).round(1)
    score = (age - 50) / 10 + (dose - 10) / 2 + generator.normal(0, 1, count)
    rows = zip(age.tolist(), dose.tolist(), (score > 0).astype(int).tolist(), strict=True)
    return "age,dose,label\n" + "".join(f"{a},{d},{y}\n" for a, d, y in rows)
