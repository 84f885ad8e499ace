"""Round 0: the coordinator gives the model that its task begins with, from a file of its people or by its hook."""

from __future__ import annotations

import shutil
from pathlib import Path

from fedyard.agent.contract import ListRefused, Place
from fedyard.agent.paths import agents_own
from fedyard.agent.state import RunTask
from fedyard.agent.steps.common import Common, task_of
from fedyard.agent.steps.hooks import Hooks
from fedyard.clock import micros_now
from fedyard.tasks import jobs
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.notices import Collected

FIRST = 0
"""The round of the first model."""
_NEWER = 2**31


class FirstModels:
    """Round 0: the coordinator gives the model that its task begins with."""

    def __init__(self, common: Common, hooks: Hooks) -> None:
        self._at, self._hooks = common, hooks

    def made(self, entry: Entry, facts: Collected, known: RunTask, spec: TaskSpec) -> jobs.Finished:
        """The first model: what this site's people gave for the run, else what the task's hook makes.

        Raises `ListRefused` where the task, as this coordinator knows it, has none, or goes on already.
        """
        run_id, task_seq = task_of(entry)
        here = Place(run_id, task_seq, FIRST)
        if not spec.initial or facts.submissions:
            raise ListRefused("no_first_model", f"{here} is shown, and the task does not begin with a first model")
        if self._at.state.runs.newest_sealed(run_id, task_seq, below=_NEWER):
            raise ListRefused(
                "aggregated_before", f"a first model is asked for, and a model of a round after {here} was sealed"
            )
        given = self._given(entry, known, spec)
        if given is not None:
            return given
        seat = self._at.state.seats.get(run_id, task_seq)
        return self._hooks.call(entry, "initial", spec, seat, results=facts.results or [])

    def _given(self, entry: Entry, known: RunTask, spec: TaskSpec) -> jobs.Finished | None:
        run = self._at.patience.asked(entry, lambda: self._at.client.run(known.run_id))
        found = self._at.state.first_models.claim(
            entry.project_id or "", spec.name, run.id, run.restart_of, micros_now()
        )
        if found is None:
            return None
        folder = agents_own(self._at.runs, known.run_id, known.task_seq)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy = folder / "first-model.packed"  # what was sent goes, and the file is there for a restart
        shutil.copyfile(Path(found.file), copy)
        return jobs.Finished(packed=jobs.Packed(file=str(copy)), norm=found.norm)
