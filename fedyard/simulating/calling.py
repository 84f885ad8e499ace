"""Where the hooks of simulated sites run: in this process one after the other, or each site's in one of its own."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from fedyard.tasks import jobs
from fedyard.tasks.child import Child, ChildDied
from fedyard.tasks.hooks import Hooks
from fedyard.tasks.reasons import trace_of

MAX_LINES = 1000
"""Of what one hook says."""
STOP_WITHIN_S = 5.0
Call: TypeAlias = "tuple[jobs.Finished, list[str]]"
"""How a hook ended, and what it said."""


class Caller(Protocol):
    """Calls hooks; a site's own state (its task, prepared) lasts until the task run ends."""

    def call(self, work: Sequence[jobs.Job]) -> list[Call]:
        """The outcomes in the order of `work`, whose jobs are of different sites."""

    def end(self) -> None:
        """End the task run."""


class InProcess:
    """All hooks in this process, one after the other: quickest for small tasks, and a debugger sees them.

    Python's, numpy's and (if it is loaded) PyTorch's own generators are seeded before each hook, by run, round and
    site, and afterwards are as they were.
    """

    def __init__(self) -> None:
        self._hooks: dict[str, tuple[Hooks, list[str]]] = {}

    def call(self, work: Sequence[jobs.Job]) -> list[Call]:
        return [self._called(job) for job in work]

    def _called(self, job: jobs.Job) -> Call:
        if job.site_id not in self._hooks:
            said: list[str] = []
            self._hooks[job.site_id] = Hooks(threading.Event(), _into(said)), said
        hooks, lines = self._hooks[job.site_id]
        lines.clear()
        with _seeded(f"{job.run_id}\x1f{job.task_seq}\x1f{job.round}\x1f{job.hook}\x1f{job.site_id}"):
            try:
                return hooks.run(job), list(lines)
            except SystemExit as error:  # at a site it would end the hooks' process
                why = f"{job.hook}: the task ended its own process (SystemExit): raise TaskError with a sentence"
                return jobs.Finished(error=why, trace=trace_of(error)), list(lines)

    def end(self) -> None:
        self._hooks.clear()


class Processes:
    """Each site's hooks in a process of its own, as at an agent; so many of them compute at once."""

    def __init__(self, folder: Path, at_once: int | None = None) -> None:
        self._folder = folder
        self._at_once = at_once or os.cpu_count() or 1
        self._children: dict[str, Child] = {}

    def call(self, work: Sequence[jobs.Job]) -> list[Call]:
        for job in work:
            if job.site_id not in self._children:
                self._children[job.site_id] = Child(self._folder, 1, STOP_WITHIN_S)
        with ThreadPoolExecutor(self._at_once) as pool:
            return list(pool.map(self._called, work))

    def _called(self, job: jobs.Job) -> Call:
        said: list[str] = []
        try:
            finished = self._children[job.site_id].call(job, lambda: False, _into(said))
        except ChildDied as died:
            return jobs.Finished(error=str(died)), said
        return finished or jobs.Finished(error=f"{job.hook}: the hook raised Stopped, and nobody had stopped it"), said

    def end(self) -> None:
        for child in self._children.values():
            child.end()
        self._children.clear()


def _into(said: list[str]) -> Callable[[str], None]:
    def say(text: str) -> None:
        if len(said) < MAX_LINES:
            said.append(text)

    return say


@contextmanager
def _seeded(cause: str) -> Iterator[None]:
    seed = int.from_bytes(hashlib.sha256(cause.encode()).digest()[:4])
    torch: Any = sys.modules.get("torch")
    before = random.getstate(), np.random.get_state()
    torch_before = None if torch is None else torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    if torch is not None:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        if torch is not None and torch_before is not None:
            torch.set_rng_state(torch_before)
