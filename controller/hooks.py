"""The child process in which a task's hooks run: `python -m controller.hooks <fd>`.

One for each task run, so that training holds up neither heartbeat nor inbox, and can be ended whatever it does.
It ends itself when the agent is gone, also after a kill -9: the connection is closed then.
"""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from controller import jobs
from controller.clock import SystemClock
from controller.tasks import Context, Result, Stopped, Task, TaskError, finite
from controller.tasks.arrays import Updates, pack, unpack
from controller.tasks.registry import task_of

REASON_AT_MOST = 500
LARGE_SUFFIX = ".packed"


class Hooks:
    """The hooks of one task run; the task is made and prepared when it is first needed."""

    def __init__(self, stopping: threading.Event, log: Callable[[str], None] = lambda _text: None) -> None:
        self._stopping = stopping
        self._log = log
        self._task: Task | None = None
        self._prepared = False

    def run(self, job: jobs.Job) -> jobs.Finished:
        """Never raises: what a hook raises becomes the reason, without anything that may be data."""
        clock = SystemClock()
        start = clock.monotonic()
        try:
            packed, metrics = self._call(job)
        except Stopped:
            return jobs.Finished(stopped=True)
        except Exception as error:  # noqa: BLE001 - a task may raise anything
            return jobs.Finished(error=reason_of(error, job.hook))
        return jobs.Finished(packed=packed, metrics=metrics, seconds=clock.monotonic() - start)

    def _call(self, job: jobs.Job) -> tuple[jobs.Packed | None, dict[str, float]]:
        context = self._context(job)
        task = self._made(job)
        if job.hook == "aggregate":
            parts = [(u.site_id, u.packed.where, u.metrics) for u in job.updates]
            updates = Updates(parts, job.limit_bytes)
            result = task.aggregate(context, updates)
            metrics = {**result.metrics, **task.evaluate(context, result.content)}
            return self._packed(job, context, result), finite(metrics)
        if not self._prepared:
            task.prepare(context)
            self._prepared = True
        if job.hook == "prepare":
            return None, {}
        result = task.train(context, None if job.model is None else unpack(job.model.where, job.limit_bytes))
        if not isinstance(result, Result):
            raise TaskError(f"train gave a {type(result).__name__}, not a Result")
        return self._packed(job, context, result), finite(result.metrics)

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
        cause = f"{job.run_id}\x1f{job.task_seq}\x1f{job.round}\x1f{job.site_id}"
        return Context(
            site_id=job.site_id,
            run_id=job.run_id,
            task=job.task,
            round=job.round,
            rounds=job.rounds,
            parameters=job.parameters,
            data={name: Path(file) for name, file in job.data.items()},
            folder=folder,
            seed=int.from_bytes(hashlib.sha256(cause.encode()).digest()[:4]),
            stopping=self._stopping.is_set,
            log=self._log,
        )


def reason_of(error: BaseException, hook: str) -> str:
    """What may leave the site: a TaskError's own sentence; of anything else its class and where it was raised."""
    if isinstance(error, TaskError):
        told = "".join(c if c.isprintable() else "?" for c in str(error))
        return f"{hook}: {told}"[:REASON_AT_MOST]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{hook}: {type(error).__name__}{place}"[:REASON_AT_MOST]


def serve(connection: Connection) -> None:
    """Do jobs one after the other until the agent closes the connection."""
    stopping, sending = threading.Event(), threading.Lock()

    def log(text: str) -> None:
        with sending:
            connection.send_bytes(jobs.encode(jobs.Logged(str(text)[: jobs.LOG_AT_MOST])))

    waiting: queue.Queue[jobs.Job] = queue.Queue(maxsize=1)
    threading.Thread(target=_listen, args=(connection, waiting, stopping), name="listen", daemon=True).start()
    hooks = Hooks(stopping, log)
    while True:
        finished = hooks.run(waiting.get())
        with sending:
            connection.send_bytes(jobs.encode(finished))


def _listen(connection: Connection, waiting: queue.Queue[jobs.Job], stopping: threading.Event) -> None:
    while True:
        try:
            frame = jobs.decode_for_child(connection.recv_bytes(jobs.FRAME_LIMIT_BYTES))
        except (EOFError, OSError):
            os._exit(0)
        if isinstance(frame, jobs.Stop):
            stopping.set()
        else:
            stopping.clear()
            waiting.put(frame)


if __name__ == "__main__":
    for asked in (signal.SIGINT, signal.SIGTERM):  # meant for the agent, which says when it is enough
        signal.signal(asked, signal.SIG_IGN)
    serve(Connection(int(sys.argv[1])))
