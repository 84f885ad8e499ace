"""The agent's side of a child process that runs a task's hooks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import TypeAlias

from controller import jobs
from controller.clock import SystemClock
from controller.site import Tasks

ROOT = Path(__file__).resolve().parent.parent
LOOK_EVERY_S = 0.1
"""How often a waiting agent asks whether the result is still wanted; a question to its own memory."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Logged: TypeAlias = Callable[[str], None]


def _nowhere(_text: str) -> None:
    """Let what a hook says go."""


class ChildDied(Exception):
    """The process ended by itself: killed by the system, or crashed."""


class Child:
    """One process; started at the first job. Used by one thread at a time."""

    def __init__(self, folder: Path, threads: int, stop_within_s: float) -> None:
        self._folder = folder
        self._threads = threads
        self._stop_within_s = stop_within_s
        self._clock = SystemClock()
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, job: jobs.Job, unwanted: Callable[[], bool], logged: Logged = _nowhere) -> jobs.Finished | None:
        """The outcome, or None once `unwanted` says so: the hook is asked to stop, and ended if it does not.

        `logged` is called with what the hook says meanwhile. Raises `ChildDied`; the next call starts a new process.
        """
        self._start()
        try:
            self._connection.send_bytes(jobs.encode(job))
            finished = self._next(LOOK_EVERY_S, logged)
            while finished is None:
                if unwanted():
                    self._stop()
                    return None
                finished = self._next(LOOK_EVERY_S, logged)
        except (EOFError, OSError):
            code = self.end()
            raise ChildDied(f"{job.hook}: its process ended with code {code}") from None
        return None if finished.stopped else finished

    def end(self) -> int | None:
        """End the process, if there is one; its exit code."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        self._connection.close()
        try:
            return process.wait(timeout=self._stop_within_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _start(self) -> None:
        if self._process is not None:
            return
        self._connection, theirs = Pipe()
        paths = [str(ROOT), str(self._folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            **dict.fromkeys(_THREADS, str(self._threads)),
            "PYTHONPATH": os.pathsep.join(paths),
        }
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "controller.hooks", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            cwd=self._folder,
            env=environment,
        )
        theirs.close()

    def _stop(self) -> None:
        """Ask, wait, and end it if it does not answer: a hook that ignores `stopping()` takes its process with it."""
        self._connection.send_bytes(jobs.encode(jobs.Stop()))
        end = self._clock.monotonic() + self._stop_within_s
        while self._next(max(0.0, end - self._clock.monotonic()), _nowhere) is None:
            if self._clock.monotonic() >= end:
                assert self._process is not None
                self._process.kill()
                self.end()
                return

    def _next(self, wait_s: float, logged: Logged) -> jobs.Finished | None:
        """How the job ended, if that comes within `wait_s`; what the hook says on the way goes to `logged`."""
        if not self._connection.poll(wait_s):
            return None
        frame = jobs.decode_for_agent(self._connection.recv_bytes(jobs.FRAME_LIMIT_BYTES))
        if isinstance(frame, jobs.Logged):
            logged(frame.text)
            return None
        return frame


class Children:
    """The child processes of a site, one for each task run, of which only so many compute at once."""

    def __init__(self, folder: Path, settings: Tasks) -> None:
        self._folder = folder
        self._settings = settings
        self._lock = threading.Lock()
        self._children: dict[tuple[str, int], Child] = {}
        self._computing = threading.Semaphore(settings.at_once)

    def known(self, run_id: str, task_seq: int) -> bool:
        """True if the task run's hooks have been called since the agent started."""
        return (run_id, task_seq) in self._children

    def call(self, job: jobs.Job, unwanted: Callable[[], bool], logged: Logged = _nowhere) -> jobs.Finished | None:
        """As `Child.call`, in its turn; a process that died is an error like any other."""
        with self._lock:
            child = self._children.get((job.run_id, job.task_seq))
            if child is None:
                child = Child(self._folder, self._settings.threads, self._settings.stop_within_s)
                self._children[job.run_id, job.task_seq] = child
        while not self._computing.acquire(timeout=LOOK_EVERY_S):
            if unwanted():
                return None
        try:
            return None if unwanted() else child.call(job, unwanted, logged)
        except ChildDied as died:
            if unwanted():
                return None
            return jobs.Finished(error=str(died))
        finally:
            self._computing.release()

    def end(self, run_id: str, task_seq: int | None = None) -> None:
        """End the processes of a task run, or of a whole run."""
        with self._lock:
            keys = [key for key in self._children if key[0] == run_id and task_seq in (None, key[1])]
            children = [self._children.pop(key) for key in keys]
        for child in children:
            child.end()

    def end_all(self) -> None:
        """End every process."""
        for run_id, _ in list(self._children):
            self.end(run_id)
