"""The process in which a task's hooks run; the reaper (reaper.py) starts it, and ends it when the agent is gone.

One for each task run, so that training holds up neither heartbeat nor inbox, and can be ended whatever it does. What it
starts has the system's own signals, and not its connection to the agent.
"""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from fedyard.clock import SystemClock
from fedyard.tasks import Content, Context, Metrics, Result, Stopped, Task, TaskError, Unusable, jobs
from fedyard.tasks.arrays import Updates, norm_of, not_finite, pack, unpack
from fedyard.tasks.code import NAMED
from fedyard.tasks.frames import Frames
from fedyard.tasks.kept import copy_to_work
from fedyard.tasks.metrics import finite
from fedyard.tasks.packed import Packed
from fedyard.tasks.privacy import HIDDEN, Filter
from fedyard.tasks.privacy.accounting import BudgetSpent, spent_with
from fedyard.tasks.privacy.noise import filtered
from fedyard.tasks.reasons import MAX_REASON, reason_of, text_of, trace_of
from fedyard.tasks.registry import task_of
from fedyard.tasks.rows import check_rows
from fedyard.tasks.unlike import keep_form, kept_form, unlike
from fedyard.tasks.verified import import_by
from fedyard.wire.forgiving import forgive
from fedyard.wire.shown import shown

MAX_LEFT_OUT = 200
"""Characters of what is said of one update that a task cannot use."""
UNSAID = "the task cannot use it, and why is for its coordinator's own people, since they add noise to what leaves"
LARGE_SUFFIX = ".packed"
KEPT_BEFORE = "keep-before"
"""In the task's folder: what `aggregate` found in `context.keep`, for when it is called again without an update."""
MODEL_FORM = "model-form.json"
"""In the task's folder: the form of the last model, by which updates are judged of which as many are of either kind."""
FOR_EVER_S = 3600.0


class Hooks:
    """The hooks of one task run; the task is made and prepared when it is first needed."""

    def __init__(self, stopping: threading.Event, log: Callable[[str], None] = lambda _text: None) -> None:
        self._stopping = stopping
        self._say = log
        self._task: Task | None = None
        self._prepared = False
        self._looked = False
        self._rows: int | None = None
        self._few: TaskError | None = None
        self._trace = ""

    def run(self, job: jobs.Job) -> jobs.Finished:
        """Never raises: what a hook raises becomes the reason, without anything that may be data."""
        clock = SystemClock()
        start = clock.monotonic()
        self._trace = ""
        try:
            finished = self._call(job)
        except Stopped:
            return jobs.Finished(stopped=True)
        except _ModelWanted:
            return jobs.Finished(wants_model=True)
        except Exception as error:  # noqa: BLE001 - a task may raise anything
            if not isinstance(error, TaskError):
                self._logged(f"{job.hook} ended with a {type(error).__name__}")
            hidden = job.filter is not None and self._task is not None and not isinstance(error, BudgetSpent)
            reason = f"{job.hook}: {HIDDEN}" if hidden else reason_of(error, job.hook)
            return jobs.Finished(error=reason, trace=trace_of(error))
        seconds = clock.monotonic() - start
        return msgspec.structs.replace(finished, seconds=seconds, rows=self._rows, trace=self._trace)

    def _look(self, job: jobs.Job) -> None:
        """What is looked at before any code of the task is here."""
        if job.min_rows:
            try:
                self._rows = check_rows(job.sources, job.min_rows)
            except TaskError as error:
                self._few = error
        if job.code is not None and job.model_name not in NAMED:
            import_by(job.code)
        self._looked = True

    def _call(self, job: jobs.Job) -> jobs.Finished:
        if not self._looked:
            self._look(job)
        if self._few is not None and job.hook in jobs.AT_DATA:
            raise self._few
        context = self._context(job)
        task = self._made(job)
        if job.hook == "aggregate":
            return self._aggregated(job, context, task)
        if job.hook == "initial":
            first = _result(task.initial(context), job.hook)
            _check_finite(task, first)
            if task.alike:
                keep_form(context.folder / MODEL_FORM, first.content)
            return jobs.Finished(
                packed=self._packed(job, context, first),
                metrics=finite(first.metrics, context.log),
                norm=norm_of(first.content),
            )
        spent = None
        if job.filter is not None and job.hook in ("prepare", "train"):
            spent = spent_with(job.filter)  # before any work that could not leave
        if not self._prepared:
            task.prepare(context)
            self._prepared = True
        if job.hook == "prepare":
            return jobs.Finished()
        model = self._model(job, context, task)
        if job.hook == "score":
            if model is None:
                raise TaskError("there is no model to score")
            return jobs.Finished(metrics=finite(task.score(context, model), context.log))
        result = _result(task.train(context, model), job.hook)
        unclipped = None
        if job.filter is not None:
            del model  # the task may have trained its arrays in place
            made = filtered(result.content, self._measure(job, job.filter), job.filter.privacy)
            result, unclipped = Result(made.arrays, result.metrics), made.unclipped
        packed = self._packed(job, context, result)
        return jobs.Finished(
            packed=packed,
            metrics=finite(result.metrics, context.log),
            norm=norm_of(result.content),
            spent=spent,
            unclipped=unclipped,
        )

    @staticmethod
    def _model(job: jobs.Job, context: Context, task: Task) -> Content | None:
        """What `train` and `score` are given; its form is on record for an aggregation at this site."""
        if job.model is None:
            return None
        model = unpack(job.model.where, job.limit_bytes)
        if task.alike and not (context.folder / MODEL_FORM).exists():
            keep_form(context.folder / MODEL_FORM, model)
        return model

    @staticmethod
    def _measure(job: jobs.Job, filter_: Filter) -> Content | None:
        """The model that an update is measured from, read once more, as it came."""
        if job.model is None or not filter_.privacy.from_model:
            return None
        return unpack(job.model.where, job.limit_bytes)

    def _aggregated(self, job: jobs.Job, context: Context, task: Task) -> jobs.Finished:
        """The model out of the updates that the task can use; it says of which it cannot, and is asked again."""
        parts = [(u.site_id, u.packed.where, u.metrics) for u in job.updates]
        left_out: dict[str, str] = {}
        form = context.folder / MODEL_FORM
        asked = task.alike
        before = context.folder / KEPT_BEFORE
        copy_to_work(context.keep, before)
        while True:
            try:
                if asked:
                    asked = False
                    _leave_out_unlike(job, parts, form)
                result = _result(task.aggregate(context, Updates(parts, job.limit_bytes, finite=task.finite)), job.hook)
                break
            except Unusable as error:
                copy_to_work(before, context.keep)
                named = {site_id: shown(text_of(why))[:MAX_LEFT_OUT] for site_id, why in error.updates.items()}
                rest = [part for part in parts if part[0] not in named]
                here = {site_id: why for site_id, why in named.items() if any(site_id == p[0] for p in parts)}
                left_out |= here if job.filter is None else dict.fromkeys(here, UNSAID)
                for site_id, why in named.items():
                    context.log(f"the update of site {site_id} is left out: {why}")
                if not rest or len(rest) == len(parts):
                    first = next(iter(error.updates.items()), ("", ""))
                    error_ = f"aggregate: no update can be used; that of site {first[0]}: {shown(text_of(first[1]))}"
                    said = error_[:MAX_REASON] if job.filter is None else f"aggregate: {HIDDEN}"
                    return jobs.Finished(error=said, left_out=left_out)
                parts = rest
        shutil.rmtree(before, ignore_errors=True)
        _check_finite(task, result)
        if task.alike:
            keep_form(form, result.content)
        packed = self._packed(job, context, result)
        metrics = {**finite(result.metrics, context.log), **self._evaluated(context, task, result.content)}
        return jobs.Finished(
            packed=packed,
            metrics=finite(metrics, context.log),
            left_out=left_out,
            norm=norm_of(result.content),
        )

    def _evaluated(self, context: Context, task: Task, model: Content) -> Metrics:
        """Metrics of a model. They only tell about it, so what goes wrong here is said, and costs no model."""
        try:
            return finite(task.evaluate(context, model), context.log)
        except Stopped:
            raise
        except Exception as error:  # noqa: BLE001 - a task may raise anything
            context.log(reason_of(error, "evaluate"))
            self._trace = trace_of(error)
            return {}

    @staticmethod
    def _packed(job: jobs.Job, context: Context, result: Result) -> jobs.Packed:
        """What a hook hands over; large content lies in the task's folder until the agent has sent it."""
        large = context.folder / f"{job.hook}-{job.round}{LARGE_SUFFIX}"
        return jobs.packed(pack(result.content, job.limit_bytes, large))

    def _made(self, job: jobs.Job) -> Task:
        if self._task is None:
            task = task_of(job.model_name, job.allowed)
            task.validate(job.parameters)
            self._task = task
        return self._task

    def _context(self, job: jobs.Job) -> Context:
        folder = Path(job.folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keep = Path(job.keep) if job.keep else folder / "keep"
        keep.mkdir(parents=True, exist_ok=True, mode=0o700)
        cause = f"{job.run_id}\x1f{job.task_seq}\x1f{job.round}"
        return Context(
            site_id=job.site_id,
            run_id=job.run_id,
            task=job.task,
            round=job.round,
            rounds=job.rounds,
            parameters=job.parameters,
            data={name: Path(file) for name, file in job.data.items()},
            folder=folder,
            seed=_seed(cause),
            site_seed=_seed(f"{cause}\x1f{job.site_id}"),
            stopping=self._stopping.is_set,
            log=self._logged,
            project_id=job.project_id,
            keep=keep,
            sources=job.sources,
            min_count=job.min_count,
            results=Results(job.results, job.limit_bytes, job.missing_results),
            start=Start(job),
        )

    def _logged(self, text: str) -> None:
        """Never raises: a line that cannot be said is no reason to lose the work."""
        try:
            self._say(str(text)[: jobs.MAX_LOG].encode(errors="backslashreplace").decode())
        except Exception:  # noqa: BLE001 - its text may be an object with a fault of its own
            return


class _ModelWanted(BaseException):
    """The hook asked for the model that its round began with, which is not here; no task catches that by accident."""


class Start:
    """The model that a job's round began with; unpacked when it is asked for, and kept then."""

    def __init__(self, job: jobs.Job) -> None:
        self._job = job
        self._model: Content | None = None

    def __call__(self) -> Content | None:
        if self._job.model_on_request:
            raise _ModelWanted
        if self._model is None and self._job.model is not None:
            self._model = unpack(self._job.model.where, self._job.limit_bytes)
        return self._model


class Results(Mapping[str, Content]):
    """What the tasks before made, by their names; unpacked when it is asked for, and kept then.

    Raises `TaskError` for one that cannot be unpacked, and for one that this site could not get. missing: why not.
    """

    def __init__(
        self, results: Mapping[str, jobs.Packed], limit_bytes: int, missing: Mapping[str, str] | None = None
    ) -> None:
        self._packed, self._limit, self._missing = results, limit_bytes, missing or {}
        self._unpacked: dict[str, Content] = {}

    def __getitem__(self, name: str) -> Content:
        if name in self._missing:
            raise TaskError(f"the result of task {name!r} is not to be had at this site: {self._missing[name]}")
        if name not in self._unpacked:
            self._unpacked[name] = unpack(self._packed[name].where, self._limit)
        return self._unpacked[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


def _leave_out_unlike(job: jobs.Job, parts: Sequence[tuple[str, Packed, dict[str, float]]], form: Path) -> None:
    """Raises `Unusable` for updates that are not like most."""
    if odd := unlike([part[:2] for part in parts], job.site_id, kept_form(form), job.limit_bytes):
        raise Unusable(odd)


def _check_finite(task: Task, model: Result) -> None:
    if task.finite and (name := not_finite(model.content)) is not None:
        raise TaskError(f"array {name!r} of the model would hold numbers that are not finite")


def _seed(cause: str) -> int:
    return int.from_bytes(hashlib.sha256(cause.encode()).digest()[:4])


def _result(result: object, hook: str) -> Result:
    if not isinstance(result, Result):
        raise TaskError(f"{hook} gave a {type(result).__name__}, not a Result")
    return result


def serve_on(end: socket.socket) -> NoReturn:
    """Do jobs one after the other until the agent closes the connection."""
    frames = Frames(end)
    _leave_signals_to_the_agent(frames)
    forgive()
    stopping = threading.Event()

    def log(text: str) -> None:
        frames.send(jobs.encode(jobs.Logged(text)))

    waiting: queue.Queue[jobs.Job] = queue.Queue(maxsize=1)
    threading.Thread(target=_listen, args=(frames, waiting, stopping), name="listen", daemon=True).start()
    hooks = Hooks(stopping, log)
    while True:
        frames.send(jobs.encode(hooks.run(waiting.get())))


def _leave_signals_to_the_agent(frames: Frames) -> None:
    """The agent says when it is enough. What the task starts has the system's own signals all the same.

    A handler, unlike SIG_IGN, does not outlive exec; in a plain fork it is taken away, together with the connection to
    the agent. Signals that come in the midst of a fork wait until that is done, since Python forgets them there.
    """
    asked = (signal.SIGINT, signal.SIGTERM)
    masks = threading.local()

    def hold() -> None:
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, asked)

    def go_on() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def let_go() -> None:
        frames.close()
        for number in asked:
            signal.signal(number, signal.SIG_DFL)
        go_on()

    for number in asked:
        signal.signal(number, lambda _number, _frame: None)
        signal.siginterrupt(number, False)
    os.register_at_fork(before=hold, after_in_parent=go_on, after_in_child=let_go)


def _listen(frames: Frames, waiting: queue.Queue[jobs.Job], stopping: threading.Event) -> None:
    while True:
        try:
            content = frames.receive(FOR_EVER_S)
        except (EOFError, OSError):
            os._exit(0)
        if content is None:
            continue
        frame = jobs.decode_for_child(content)
        if isinstance(frame, jobs.Stop):
            stopping.set()
        else:
            stopping.clear()
            waiting.put(frame)
