"""A run of a project's tasks without a hub: who takes part in a round, what is enough for a model, what ends it.

Hooks are called by the very code that calls them at a site (fedyard/tasks/hooks.py): arrays are packed and unpacked,
metrics are checked, updates that cannot be used are left out, and the quorum is counted as hub and agents count it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from fedyard.clock import SystemClock
from fedyard.simulating.calling import Call, Caller, InProcess, Processes
from fedyard.simulating.keeping import begin, end
from fedyard.simulating.named import STAND_IN, Meant, Named, importable, named
from fedyard.simulating.network import Faults, Network
from fedyard.simulating.partitions import Split
from fedyard.simulating.placing import Divided, Item, SiteData, files_of, placed
from fedyard.simulating.results import Round, Simulated, SiteRound, TaskRun
from fedyard.tasks import Content, TaskError, jobs
from fedyard.tasks.arrays import CONTENT_LIMIT_BYTES, pack, unpack
from fedyard.wire import scoring
from fedyard.wire.answers import Contract, TaskSpec
from fedyard.wire.own import tasks_of_run
from fedyard.wire.plurals import counted
from fedyard.wire.sampling import drawn, needed_of, size_of

COORDINATOR = "coordinator"
"""The site that aggregates; it trains nothing."""
MIN_UPDATES = 2
"""Of which a model is made: the default of a site's `coordinator.min_updates`."""


def simulate(
    task: Meant,
    data: Item | Sequence[Item] | Mapping[str, Item],
    *,
    rounds: int | None = None,
    parameters: Mapping[str, Any] | None = None,
    sites: int | None = None,
    split: Split = "iid",
    alpha: float = 0.5,
    label: str = "label",
    test: Item | None = None,
    contract: Mapping[str, Any] | None = None,
    seed: int = 0,
    drop_outs: Faults = 0.0,
    stragglers: Faults = 0.0,
    min_updates: int = MIN_UPDATES,
    first_model: Content | None = None,
    processes: bool = False,
    folder: Path | str | None = None,
    told: Callable[[Round], None] | None = None,
) -> Simulated:
    """Run a task (or all tasks of a tasks.json) on many sites' data on this machine, as a federation would.

    task: a `fedyard.Task` class, `"file.py:Class"`, `"package.module:Class"`, a built-in name, a tasks.json or its
    content. data: a list of sites' data, or a mapping of sites' names to them; each a file (its `train`), a folder, a
    mapping of names to files, a data frame, or a mapping of arrays. With `sites` there is one data set, whose `train`
    is divided: `split` "iid", "label" (each label's shares Dirichlet(`alpha`), by the column `label`) or "quantity"
    (the sites' sizes Dirichlet(`alpha`)). test: data that the coordinator, and every site without some of its own, has
    as `test`.

    rounds, parameters, contract: over what tasks.json says of each task; `parameters` of several tasks by their names.
    drop_outs, stragglers: how likely each is for a site in a round, or the sites by round. min_updates: no model is
    made of fewer. first_model: what tasks that come after none begin with. processes: each site in a process of its
    own, as at an agent. folder: where sites keep what outlives a run (default: it goes with the simulation). told:
    called with each round as it ends.

    The same seed gives the same result. What a task raises is in the result, with its traceback; raises `TaskError`
    for what was asked wrongly (no such task, no such file).
    """
    meant = named(task)
    specs = asked(meant, rounds, parameters or {}, contract or {})
    if any(spec.model.startswith(f"{STAND_IN}:") for spec in specs) and processes:
        raise TaskError("sites as processes import their task: put the class into a file, and name file.py:Class")
    network = Network(seed, drop_outs, stragglers)
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedyard-")))
        divided = None if sites is None else Divided(sites, split, alpha, label, seed)
        where = placed(data, room / "data", divided, test)
        network.check({site.name for site in where})
        own = {} if test is None else {"test": files_of({"test": test}, room / "data" / COORDINATOR)["test"]}
        stack.enter_context(importable(meant))
        world = _World(
            meant=meant,
            sites=where,
            coordinator=SiteData(COORDINATOR, own),
            network=network,
            room=room,
            kept=Path(folder).absolute() if folder is not None else room / "kept",
            min_updates=min_updates,
            told=told or _nobody,
            caller=Processes(meant.folder.absolute()) if processes else InProcess(),
        )
        first = None if first_model is None else jobs.packed(pack(first_model, CONTENT_LIMIT_BYTES))
        tasks = _run_all(world, specs, first)
    failed = next((one for one in tasks if one.state == "failed"), None)
    return Simulated(
        state="succeeded" if failed is None else "failed",
        reason="" if failed is None else failed.reason,
        seed=seed,
        sites={site.name: dict(site.files) for site in where},
        tasks=tasks,
    )


def _nobody(_round: Round) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class _World:
    """What all tasks of a simulation have in common."""

    meant: Named
    sites: Sequence[SiteData]
    coordinator: SiteData
    network: Network
    room: Path
    kept: Path
    min_updates: int
    told: Callable[[Round], None]
    caller: Caller


def asked(
    meant: Named, rounds: int | None, parameters: Mapping[str, Any], contract: Mapping[str, Any]
) -> Sequence[TaskSpec]:
    """The tasks with what was asked of them, through JSON, as a run's are that a hub starts. Raises `TaskError`."""
    if unknown := sorted(set(contract) - set(Contract.__struct_fields__)):
        raise TaskError(f"a contract has no {unknown[0]!r}: it has {', '.join(Contract.__struct_fields__)}")
    names = [spec.name for spec in meant.specs]
    own = {names[0]: dict(parameters)} if meant.single else {name: dict(own) for name, own in parameters.items()}
    try:
        own = msgspec.json.decode(msgspec.json.encode(own))
        whole = msgspec.to_builtins(
            tasks_of_run(meant.specs, own, {} if rounds is None else dict.fromkeys(names, rounds))
        )
        specs = msgspec.convert([{**one, "contract": {**one["contract"], **contract}} for one in whole], list[TaskSpec])
    except (TypeError, ValueError, OverflowError) as error:  # msgspec's ValidationError is a ValueError
        raise TaskError(f"{error} (parameters are what JSON can hold)") from None
    for spec in specs:
        for name, words in _CHOICES.items():
            if getattr(spec.contract, name) not in words:
                raise TaskError(f"{name} of a contract is {' or '.join(words)}, not {getattr(spec.contract, name)!r}")
    return specs


_COUNTED = ("fraction", "count")
_CHOICES = {
    "quorum_of": _COUNTED,
    "sample_of": _COUNTED,
    "late": ("drop", "next_round"),
    "too_few": ("fail", "wait"),
}
"""As the hub has them."""


def _run_all(world: _World, specs: Sequence[TaskSpec], first: jobs.Packed | None) -> list[TaskRun]:
    """Each task after those that it comes after; one whose predecessor failed is skipped.

    first: the model of tasks that come after none.
    """
    done: dict[str, TaskRun] = {}
    made: dict[str, jobs.Packed] = {}
    models: dict[str, jobs.Packed] = {}
    for seq, spec in enumerate(_in_order(specs)):
        before = _before(spec, specs)
        if any(done[name].state != "succeeded" for name in before):
            done[spec.name] = TaskRun(spec.name, "skipped", "a task before it did not succeed")
            continue
        begin = first
        if before:
            begin = None if spec.initial else _inherited(before, models)
        run = _Task(world, spec, seq, {name: made[name] for name in _all_before(spec, specs) if name in made}, begin)
        try:
            done[spec.name] = run.run()
        finally:
            world.caller.end()
        if run.model is not None:
            models[spec.name] = run.model
            made |= {spec.name: run.model} if spec.aggregate else {}
    return [done[spec.name] for spec in specs]


def _inherited(before: Sequence[str], models: dict[str, jobs.Packed]) -> jobs.Packed | None:
    """What a task begins with, as at a hub: the model of that one, of those that it follows, which has ended last.

    models: in the order in which their tasks have ended.
    """
    return next((models[name] for name in reversed(models) if name in before), None)


def _before(spec: TaskSpec, specs: Sequence[TaskSpec]) -> list[str]:
    """What it comes after at once: what it says, or the task listed before it."""
    if spec.after is not None:
        return list(spec.after)
    place = [one.name for one in specs].index(spec.name)
    return [specs[place - 1].name] if place else []


def _all_before(spec: TaskSpec, specs: Sequence[TaskSpec]) -> list[str]:
    named_ = {one.name: one for one in specs}
    found: list[str] = []
    ask = _before(spec, specs)
    while ask:
        name = ask.pop()
        if name not in found:
            found.append(name)
            ask.extend(_before(named_[name], specs))
    return found


def _in_order(specs: Sequence[TaskSpec]) -> Iterator[TaskSpec]:
    """Raises `TaskError` for a task that comes after one that is not there, or after itself."""
    names = {spec.name for spec in specs}
    left = list(specs)
    placed_: set[str] = set()
    for spec in specs:
        if unknown := sorted(set(_before(spec, specs)) - names):
            raise TaskError(f"task {spec.name!r} comes after {unknown[0]!r}, and there is no such task")
    while left:
        ready = [spec for spec in left if set(_before(spec, specs)) <= placed_]
        if not ready:
            raise TaskError(f"task {left[0].name!r} comes after itself")
        placed_ |= {spec.name for spec in ready}
        left = [spec for spec in left if spec not in ready]
        yield from ready


class _Task:
    """One task run. model: what the last round made, packed."""

    def __init__(
        self,
        world: _World,
        spec: TaskSpec,
        seq: int,
        results: Mapping[str, jobs.Packed],
        first: jobs.Packed | None,
    ) -> None:
        self._world, self._spec, self._seq = world, spec, seq
        self._results = dict(results)
        self.model = first
        self._out: dict[str, str] = {}
        self._best: tuple[int, jobs.Packed] | None = None
        self._best_value: float | None = None
        self._watched: float | None = None
        self._without = 0
        self._ready: set[str] = set()
        self._last: list[jobs.Job] = []
        self._clock = SystemClock()

    def run(self) -> TaskRun:
        rounds: list[Round] = []
        begin = 0 if self._spec.initial and self.model is None else 1
        for number in range(begin, self._spec.rounds + 1):
            start = self._clock.monotonic()
            one = self._round(number) if number else self._first()
            one = replace(one, seconds=self._clock.monotonic() - start)
            rounds.append(one)
            self._world.told(one)
            if one.state == "failed":
                return self._done("failed", one.reason, rounds)
            why = self._follow(one)
            if why and number < self._spec.rounds:
                return self._done("succeeded", why, rounds)
        return self._done("succeeded", self._never_came(), rounds)

    def _never_came(self) -> str:
        """What `best` and `stop_early` go by and no round had."""
        spec = self._spec
        if spec.best is not None and self._best is None:
            return f"no round had the metric {spec.best.metric!r}, so none is the best one"
        if spec.stop_early is not None and self._watched is None:
            return f"no round had the metric {spec.stop_early.metric!r}, by which it would have stopped early"
        return ""

    def _done(self, state: Literal["succeeded", "failed"], reason: str, rounds: Sequence[Round]) -> TaskRun:
        best, model = self._best if self._best is not None else (None, None)
        return TaskRun(self._spec.name, state, reason, rounds, _content(self.model), best, _content(model))

    def _follow(self, one: Round) -> str:
        """Which round is the best one so far; why the task stops early, if it does."""
        spec = self._spec
        if spec.best is not None and self.model is not None:
            value = scoring.value_of(spec.best.metric, one.metrics, one.score)
            if value is not None and scoring.better(spec.best.mode, value, self._best_value):
                self._best, self._best_value = (one.number, self.model), value
        if spec.stop_early is None:
            return ""
        stop, value = spec.stop_early, scoring.value_of(spec.stop_early.metric, one.metrics, one.score)
        if value is None:
            return ""
        better = scoring.better(stop.mode, value, self._watched, stop.min_delta)
        self._watched = value if better else self._watched
        self._without = 0 if better else self._without + 1
        if self._without < stop.patience:
            return ""
        return f"stopped_early: {counted(self._without, 'round')} without a better {stop.metric!r}"

    def _first(self) -> Round:
        """Round 0: the coordinator's first model."""
        ((finished, log),) = self._called("initial", 0, [self._world.coordinator])
        if _error(finished):
            return self._ended(0, {}, _error(finished), log, trace=finished.trace)
        assert finished.packed is not None
        self.model = finished.packed
        return self._ended(0, {}, "", log, finished.metrics, size_bytes=_bytes(finished.packed))

    def _round(self, number: int) -> Round:
        world, spec = self._world, self._spec
        entries = {site.name: SiteRound(site.name, "out", self._out.get(site.name, "")) for site in world.sites}
        present = []
        free = [site.name for site in world.sites if site.name not in self._out]
        size = size_of(spec.contract, len(world.sites))
        taking = set(drawn(world.network.run_id, self._seq, number, free, size))
        for site in world.sites:
            if site.name in self._out:
                continue
            if site.name not in taking:
                entries[site.name] = SiteRound(site.name, "resting")
                continue
            if world.network.drops_out(self._seq, number, site.name):
                self._missed(entries, site.name, "dropped", "gone for this round")
                continue
            present.append(site)
        present = self._prepared(number, present, entries)
        if refusal := self._too_few(len(present)):
            return self._ended(number, entries, refusal)
        updates = self._trained(number, present, entries)
        if refusal := self._too_few(len(updates)):
            return self._ended(number, entries, self._with_first(refusal, entries))
        if not spec.aggregate:
            return self._ended(number, entries)
        return self._aggregated(number, updates, entries)

    def _prepared(self, number: int, present: Sequence[SiteData], entries: dict[str, SiteRound]) -> list[SiteData]:
        """Those that are ready: each prepares before its first round."""
        new = [site for site in present if site.name not in self._ready]
        self._ready |= {site.name for site in new}
        calls = self._called("prepare", number, new)
        ready = [site for site in present if site not in new]
        for site, (finished, log) in zip(new, calls, strict=True):
            if _error(finished):
                self._failed(entries, site.name, finished, log)
            else:
                ready.append(site)
        return sorted(ready, key=lambda site: site.name)

    def _trained(self, number: int, present: Sequence[SiteData], entries: dict[str, SiteRound]) -> list[jobs.Submitted]:
        """The updates that came in time."""
        updates = []
        calls = self._called("train", number, present, self.model)
        for site, (finished, log) in zip(present, calls, strict=True):
            if _error(finished):
                self._failed(entries, site.name, finished, log)
                continue
            assert finished.packed is not None
            late = self._world.network.is_late(self._seq, number, site.name)
            entries[site.name] = SiteRound(
                site.name,
                "submitted",
                "",
                finished.metrics,
                finished.seconds,
                _bytes(finished.packed),
                finished.norm,
                log,
            )
            if late and self._spec.contract.too_few != "wait":
                self._missed(entries, site.name, "late", "its update came after the round's deadline")
                continue
            updates.append(jobs.Submitted(site.name, finished.packed, finished.metrics))
        return updates

    def _aggregated(self, number: int, updates: Sequence[jobs.Submitted], entries: dict[str, SiteRound]) -> Round:
        if len(updates) < self._world.min_updates:
            return self._ended(
                number,
                entries,
                f"{counted(len(updates), 'update')}: no model is made of fewer than {self._world.min_updates}, since "
                "that would show what a single site has learned; where this is meant, say min_updates",
            )
        ((finished, log),) = self._called("aggregate", number, [self._world.coordinator], self.model, updates)
        for site, why in finished.left_out.items():
            entries[site] = replace(entries[site], outcome="left_out", reason=why)
            self._out[site] = why
        if _error(finished):
            return self._ended(number, entries, _error(finished), log, trace=finished.trace)
        if finished.left_out and (refusal := self._too_few(len(updates) - len(finished.left_out))):
            return self._ended(number, entries, self._with_first(refusal, entries), log)
        (job,) = self._last
        finished = end(self._kept_of(job), job, finished)
        if finished.error:
            return self._ended(number, entries, finished.error, log)
        assert finished.packed is not None
        self.model = finished.packed
        score = self._scored(number, entries)
        size = _bytes(finished.packed)
        one = self._ended(number, entries, "", log, finished.metrics, size_bytes=size, trace=finished.trace)
        return replace(one, score=score)

    def _scored(self, number: int, entries: dict[str, SiteRound]) -> Mapping[str, float]:
        """What the sites that have submitted, or rest, say of the model; who fails says nothing, and stays."""
        spec = self._spec
        if not scoring.wanted(spec.score_every, spec.rounds, number):
            return {}
        asked_ = [site for site in self._world.sites if entries[site.name].outcome in ("submitted", "resting")]
        calls = self._called("score", number, asked_, self.model)
        for site, (finished, _) in zip(asked_, calls, strict=True):
            why = _error(finished)
            entries[site.name] = replace(entries[site.name], score=finished.metrics, score_reason=why)
            if why:
                entries[site.name] = replace(entries[site.name], trace=finished.trace)
        return scoring.mean([entries[site.name].score for site in asked_ if entries[site.name].score])

    def _called(
        self,
        hook: jobs.Hook,
        number: int,
        sites: Sequence[SiteData],
        model: jobs.Packed | None = None,
        updates: Sequence[jobs.Submitted] = (),
    ) -> list[Call]:
        world, spec = self._world, self._spec
        work = []
        for site in sites:
            folder = world.room / "runs" / site.name / str(self._seq)
            work.append(
                jobs.Job(
                    hook=hook,
                    model_name=spec.model,
                    allowed=world.meant.allowed,
                    site_id=site.name,
                    run_id=world.network.run_id,
                    task=spec.name,
                    task_seq=self._seq,
                    round=number,
                    rounds=spec.rounds,
                    parameters=spec.parameters,
                    data=dict(site.files),
                    folder=str(folder),
                    model=model,
                    updates=list(updates),
                    project_id=world.network.project_id,
                    results=self._results,
                )
            )
        self._last = work = [begin(self._kept_of(job), job) for job in work]
        calls = world.caller.call(work)
        if hook == "aggregate":  # counts with the model
            return calls
        return [(end(self._kept_of(job), job, finished), log) for job, (finished, log) in zip(work, calls, strict=True)]

    def _kept_of(self, job: jobs.Job) -> Path:
        return self._world.kept / job.site_id / self._spec.name

    def _failed(self, entries: dict[str, SiteRound], site: str, finished: jobs.Finished, log: Sequence[str]) -> None:
        """A seat that failed is out of the task."""
        self._out[site] = _error(finished)
        entries[site] = SiteRound(site, "failed", _error(finished), log=log, trace=finished.trace)

    def _missed(self, entries: dict[str, SiteRound], site: str, outcome: Any, why: str) -> None:
        """A seat that missed a round comes back with the next one, if the contract says so."""
        entries[site] = replace(entries[site], outcome=outcome, reason=why)
        if self._spec.contract.late == "drop":
            self._out[site] = why

    def _too_few(self, count: int) -> str:
        needed = needed_of(self._spec.contract, len(self._world.sites))
        if count >= needed:
            return ""
        size = size_of(self._spec.contract, len(self._world.sites))
        return f"quorum_not_met: {count} of {counted(size, 'site')}, and {needed} are needed"

    @staticmethod
    def _with_first(refusal: str, entries: Mapping[str, SiteRound]) -> str:
        """Why there are too few, by the first site that is missing."""
        missing = [one for one in entries.values() if one.outcome not in ("submitted", "resting")]
        first = next((one for one in missing if one.reason), None)
        return refusal if first is None else f"{refusal}; {first.site}: {first.reason}"

    def _ended(
        self,
        number: int,
        entries: Mapping[str, SiteRound],
        reason: str = "",
        log: Sequence[str] = (),
        metrics: Mapping[str, float] | None = None,
        *,
        size_bytes: int = 0,
        trace: str = "",
    ) -> Round:
        if reason.startswith("quorum_not_met") and ";" not in reason:
            reason = self._with_first(reason, entries)
        return Round(
            task=self._spec.name,
            number=number,
            state="failed" if reason else "completed",
            reason=reason,
            metrics=metrics or {},
            sites=[entries[site.name] for site in self._world.sites if site.name in entries],
            log=log,
            size_bytes=size_bytes,
            trace=trace,
        )


def _content(model: jobs.Packed | None) -> Content | None:
    return None if model is None else unpack(model.where, CONTENT_LIMIT_BYTES)


def _error(finished: jobs.Finished) -> str:
    return "a hook raised Stopped, and nobody had stopped it" if finished.stopped else finished.error


def _bytes(packed: jobs.Packed) -> int:
    return Path(packed.file).stat().st_size if packed.file else len(packed.content)
