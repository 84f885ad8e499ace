"""Runs beside each other: in what their tasks differ, for the command line, the hub's page and whoever else asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

MAX_SHOWN = 200
"""Characters of one value."""


class Row(msgspec.Struct, frozen=True):
    """One thing that tasks say, and what each of them says of it, as JSON; empty where it says nothing.

    task: its name. name: of a parameter (nested ones with dots), or of another field of the task.
    """

    task: str
    name: str
    parameter: bool
    values: tuple[str, ...]

    @property
    def text(self) -> str:
        """As `run start --set` takes a parameter; other fields stand apart."""
        return f"{self.task}.{self.name}" if self.parameter else f"{self.task}: {self.name}"

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


def compared(runs: Sequence[Sequence[msgspec.Struct]]) -> list[Row]:
    """Every parameter and field of the tasks of each run; tasks of one name stand beside each other.

    runs: of each its tasks (`TaskSpec`s), in their order. A run that has not this task says nothing of it.
    """
    flat = [{task["name"]: _flat(task) for task in map(msgspec.to_builtins, tasks)} for tasks in runs]
    rows: list[Row] = []
    for name in dict.fromkeys(name for tasks in flat for name in tasks):
        sides = [tasks.get(name, {}) for tasks in flat]
        rows += (
            Row(name, key[1], key[0], tuple(side.get(key, "") for side in sides))
            for key in dict.fromkeys(key for side in sides for key in side)
        )
    return rows


def run_settings(run: Sequence[msgspec.Struct], *project: Sequence[msgspec.Struct]) -> list[Row]:
    """Parameters and rounds of a run's tasks; with its project's tasks beside what that has now."""
    names = {getattr(task, "name", "") for task in run}
    rows = compared([run, *project])
    return [row for row in rows if row.task in names and (row.parameter or row.name in ("rounds", "initial"))]


def _flat(task: Mapping[str, Any]) -> dict[tuple[bool, str], str]:
    """(is it a parameter, its name) -> its value."""
    found: dict[tuple[bool, str], str] = {}
    for name, value in [*_leaves(task["parameters"])]:
        found[True, name] = value
    for field, value in task.items():
        if field == "contract":
            found |= {(False, f"contract.{name}"): said for name, said in _leaves(value)}
        elif field not in ("name", "parameters"):
            found[False, field] = _shown(value)
    return found


def _leaves(whole: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    leaves: list[tuple[str, str]] = []
    for name, value in whole.items():
        leaves += (
            _leaves(value, f"{before}{part(name)}.")
            if isinstance(value, dict) and value
            else [(before + part(name), _shown(value))]
        )
    return leaves


def part(name: str) -> str:
    """One of the names that dots are put between: as JSON where it has one itself and could be taken for several."""
    return name if name and not set(name) & {".", '"'} else msgspec.json.encode(name).decode()


def _shown(value: object) -> str:
    """What is too long ends with a digest, so that two values that begin alike differ."""
    text = msgspec.json.encode(value).decode()
    if len(text) <= MAX_SHOWN:
        return text
    end = f"… (SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"
    return text[: MAX_SHOWN - len(end)] + end
