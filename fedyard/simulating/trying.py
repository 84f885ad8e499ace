"""One site's hooks on its own data, and what would leave it: before anybody else sees anything."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedyard.simulating.calling import InProcess
from fedyard.simulating.keeping import begin, end
from fedyard.simulating.named import Meant, importable, named
from fedyard.simulating.network import Network
from fedyard.simulating.simulation import asked
from fedyard.tasks import Content, jobs
from fedyard.tasks.arrays import CONTENT_LIMIT_BYTES, pack, unpack
from fedyard.tasks.privacy import Filter, Privacy, Released, Spent, may_leave
from fedyard.tasks.settings import Tasks
from fedyard.tasks.sources import Source
from fedyard.wire.answers import TaskSpec

VALUES_SHOWN = 4
ROUNDS = 2
"""So many are tried, if the task has as many: what leaves in the first one is often of another kind."""
SITE = "this-site"
MIN_COUNT = Tasks().min_count


@dataclass(frozen=True)
class Leaving:
    """An array that would leave the site. first: how it begins, as text."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    first: str


@dataclass(frozen=True)
class Step:
    """A hook as it went. leaves: the arrays (none if it hands over bytes, whose number is `size_bytes`).

    reason: what the coordinator would be told. trace: the whole traceback, which stays here. log: goes sealed to him,
    unless the site says that it stays. metrics: those that would leave. stay: the names of the others. unclipped: the
    norm of an update before it was clipped and had noise. spent: what it would cost, all before it included.
    """

    hook: str
    round: int
    reason: str = ""
    seconds: float = 0.0
    size_bytes: int = 0
    norm: float | None = None
    leaves: Sequence[Leaving] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    log: Sequence[str] = ()
    trace: str = ""
    stay: Sequence[str] = ()
    unclipped: float | None = None
    spent: Spent | None = None


@dataclass(frozen=True)
class Word:
    """What a site says of the project whose task it tries. released: updates that left for the project before.

    metrics: names of those that may leave; None: all may. held_back: what the coordinator is told in place of a hook's
    own sentence; empty: he is told that.
    """

    privacy: Privacy | None = None
    released: Sequence[Released] = ()
    metrics: Sequence[str] | None = None
    held_back: str = ""

    @property
    def logs_stay(self) -> bool:
        """True if what a hook says is for this site's own log."""
        return self.privacy is not None or bool(self.held_back)

    def leaving(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """As many of the metrics as may leave."""
        named = {name: value for name, value in metrics.items() if self.metrics is None or name in self.metrics}
        return may_leave(named, self.privacy)

    def filter(self, made: int) -> Filter | None:
        """What is done to the next update. made: how many were made in this trial before."""
        if self.privacy is None:
            return None
        tried_before = [Released(self.privacy.noise, made)] if made else []
        return Filter(self.privacy, [*self.released, *tried_before])


@dataclass(frozen=True)
class Tried:
    """What a task did at one site. data: the names and places of what it could read. logs_stay: see `Word`."""

    task: str
    data: Mapping[str, str]
    steps: Sequence[Step]
    logs_stay: bool = False

    @property
    def reason(self) -> str:
        """Why it failed; empty if all went well."""
        return next((step.reason for step in self.steps if step.reason), "")


def tried(
    task: Meant,
    data: Mapping[str, str],
    *,
    parameters: Mapping[str, Any] | None = None,
    rounds: int | None = None,
    model: Content | None = None,
    site_id: str = SITE,
    limit_bytes: int = CONTENT_LIMIT_BYTES,
    word: Word | None = None,
    sources: Mapping[str, Source] | None = None,
    min_count: int = MIN_COUNT,
) -> Tried:
    """Call prepare, train and aggregate (of this site's update alone) as an agent would; nothing is sent or kept.

    task: as `simulate` has it; of several tasks the first one. data: name -> file, as in site.toml. rounds: how many
    are tried (default: two, or as many as the task has). model: what round 1 begins with. word: what the site says of
    the project; updates are filtered as they would be, and no budget is spent. sources: how the site has data read.
    min_count: its smallest count for ready tasks. Raises `TaskError` for what was asked wrongly; what goes wrong in the
    task is a step's `reason`.
    """
    meant = named(task)
    spec = asked(meant, None, parameters or {}, {})[0]
    number = min(spec.rounds, ROUNDS) if rounds is None else rounds
    if meant.single and rounds is None:
        number = ROUNDS
    word = word or Word()
    steps: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="fedyard-") as room, importable(meant):
        caller, packed = InProcess(), None if model is None else jobs.packed(pack(model, limit_bytes))
        trial = _Trial(
            spec,
            meant.allowed,
            number,
            dict(data),
            site_id,
            Path(room),
            limit_bytes,
            caller,
            word,
            dict(sources or {}),
            min_count,
        )
        step, _ = trial.step("prepare", 1)
        steps.append(step)
        for one in range(1, number + 1):
            if steps[-1].reason:
                break
            step, update = trial.step("train", one, model=packed)
            steps.append(step)
            if update is None or not spec.aggregate:
                continue
            step, made = trial.step("aggregate", one, packed, [jobs.Submitted(site_id, update, dict(step.metrics))])
            steps.append(step)
            packed = made
    return Tried(spec.name, dict(data), steps, word.logs_stay)


@dataclass(frozen=True)
class _Trial:
    """What all steps have in common."""

    spec: TaskSpec
    allowed: list[str]
    rounds: int
    data: dict[str, str]
    site_id: str
    room: Path
    limit_bytes: int
    caller: InProcess
    word: Word
    sources: dict[str, Source]
    min_count: int

    def step(
        self,
        hook: jobs.Hook,
        number: int,
        model: jobs.Packed | None = None,
        updates: Sequence[jobs.Submitted] = (),
    ) -> tuple[Step, jobs.Packed | None]:
        network = Network()
        job = jobs.Job(
            hook=hook,
            model_name=self.spec.model,
            allowed=self.allowed,
            site_id=self.site_id,
            run_id=network.run_id,
            task=self.spec.name,
            task_seq=0,
            round=number,
            rounds=max(self.rounds, self.spec.rounds),
            parameters=self.spec.parameters,
            data=self.data,
            sources=self.sources,
            min_count=self.min_count,
            folder=str(self.room / "run"),
            model=model,
            updates=list(updates),
            limit_bytes=self.limit_bytes,
            project_id=network.project_id,
            filter=self.word.filter(number - 1),
        )
        job = begin(self.room / "kept", job)
        ((finished, log),) = self.caller.call([job])
        finished = end(self.room / "kept", job, finished)
        packed, metrics = finished.packed, self.word.leaving(finished.metrics)
        held_back = finished.error and self.word.held_back
        step = Step(
            hook=hook,
            round=number,
            reason=f"{hook}: {held_back}" if held_back else finished.error,
            seconds=finished.seconds,
            size_bytes=0 if packed is None else _bytes(packed),
            norm=finished.norm,
            leaves=() if packed is None else _leaving(unpack(packed.where, self.limit_bytes)),
            metrics=metrics,
            log=log,
            trace=finished.trace,
            stay=sorted(set(finished.metrics) - set(metrics)),
            unclipped=finished.unclipped,
            spent=finished.spent,
        )
        return step, packed


def _bytes(packed: jobs.Packed) -> int:
    return Path(packed.file).stat().st_size if packed.file else len(packed.content)


def _leaving(content: Content) -> list[Leaving]:
    if isinstance(content, bytes):
        return []
    return [
        Leaving(name, str(array.dtype), tuple(array.shape), int(array.nbytes), _first(np.asarray(array)))
        for name, array in sorted(content.items())
    ]


def _first(array: np.ndarray[Any, Any]) -> str:
    some = [_value(one) for one in array.reshape(-1)[:VALUES_SHOWN].tolist()]
    return ", ".join(some) + (", ..." if array.size > VALUES_SHOWN else "")


def _value(one: object) -> str:
    return f"{one:.6g}" if isinstance(one, float) else str(one)
