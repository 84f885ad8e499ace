"""Where models come from: the rounds of a task in a run are one line, and lines branch off where one began with a
model of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from domain.ids import Id
from storage.views.resources import Model


@dataclass(frozen=True)
class Line:
    """Models of one task of one run (or of one epoch of a project's own coordinator), each begun with the one before.

    models: from the first on. begun_with: the version that the first of them began with, which may be of a page before.
    """

    run_id: Id | None
    task: str | None
    epoch: int | None
    models: tuple[Model, ...]

    @property
    def first(self) -> int:
        return self.models[0].version

    @property
    def last(self) -> int:
        return self.models[-1].version

    @property
    def begun_with(self) -> int | None:
        return self.models[0].begun_with

    @property
    def span(self) -> str:
        """The versions in it, as people say them."""
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Branch:
    """That a line began with a model of another: with `version`, of the line at `source`; `target` is the new one."""

    source: int
    target: int
    version: int


def lines(models: Sequence[Model]) -> list[Line]:
    """The lines of these models, by their first versions. models: by version."""
    found: list[list[Model]] = []
    newest: dict[tuple[Id | None, int | None, int | None], list[Model]] = {}
    for model in models:
        key = (model.run_id, model.task_seq, model.epoch)
        line = newest.get(key)
        if line is None or model.begun_with != line[-1].version:
            newest[key] = line = []
            found.append(line)
        line.append(model)
    return [Line(line[0].run_id, line[0].task, line[0].epoch, tuple(line)) for line in found]


def branches(found: Sequence[Line]) -> list[Branch]:
    """Which line began with a model of which; lines are named by their places."""
    at = {model.version: place for place, line in enumerate(found) for model in line.models}
    return [
        Branch(at[line.begun_with], place, line.begun_with)
        for place, line in enumerate(found)
        if line.begun_with is not None and line.begun_with in at
    ]


def ancestors(models: Sequence[Model], version: int) -> list[int]:
    """The versions that this one comes from, the nearest first, as far as `models` knows them."""
    before = {model.version: model.begun_with for model in models}
    found: list[int] = []
    here = before.get(version)
    while here is not None and here < (found[-1] if found else version):
        found.append(here)
        here = before.get(here)
    return found
