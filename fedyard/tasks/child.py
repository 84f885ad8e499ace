"""The agent's side of a child process that runs a task's hooks."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import msgspec

from fedyard.clock import SystemClock
from fedyard.tasks import jobs
from fedyard.tasks.code import Code, code_of, module_of
from fedyard.tasks.confined import Confinement, without_secrets
from fedyard.tasks.confined.entering import held
from fedyard.tasks.frames import Frames
from fedyard.tasks.reaper import END_WITHIN_S, NOT_CONFINED, VARIABLE, end_session
from fedyard.tasks.settings import Tasks

ROOT = Path(__file__).absolute().parents[2]
"""Where this package lies: site-packages, bin/lib of a checkout, or the checkout itself in its tests."""
LOOK_EVERY_S = 0.1
"""How often a waiting agent asks whether the result is still wanted; a question to its own memory."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


Logged: TypeAlias = Callable[[str], None]


def _nowhere(_text: str) -> None:
    """Let what a hook says go."""


def start_reaper(pipe: int, end: int, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """The first process of a task run, in a session of its own; the descriptors keep their numbers there."""
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-P", "-m", "fedyard.tasks.reaper", str(pipe), str(end)],
        pass_fds=[pipe, end],
        stdin=subprocess.DEVNULL,
        stdout=_errors(),
        cwd=folder,
        env=environment,
        start_new_session=True,
    )


def _errors() -> int:
    """Where this process says what is wrong; nowhere, if that is no file of the system's."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # there is none, or it is another program's own
        return subprocess.DEVNULL


class ChildDied(Exception):
    """The process ended by itself: killed by the system, or crashed."""


class Child:
    """One process (below a reaper, reaper.py); started at the first job. Used by one thread at a time."""

    def __init__(self, folder: Path, threads: int, stop_within_s: float) -> None:
        self._folder = folder
        self._threads = threads
        self._stop_within_s = stop_within_s
        self._clock = SystemClock()
        self._process: subprocess.Popen[bytes] | None = None
        self._code: Code | None = None
        self._reach: Reach = (None, ())
        self._blind = False

    def call(self, job: jobs.Job, unwanted: Callable[[], bool], logged: Logged = _nowhere) -> jobs.Finished | None:
        """The outcome, or None once `unwanted` says so: the hook is asked to stop, and ended if it does not.

        `logged` is called with what the hook says meanwhile. Raises `ChildDied`; the next call starts a new process.
        """
        if job.confine is not None and job.confine.required and held().lacks:
            return jobs.Finished(error=f"{job.hook}: this site runs tasks confined alone, and here {held().lacks}")
        try:
            job = _within(job)
            frame = jobs.encode(job)
        except (OverflowError, TypeError, ValueError):
            return jobs.Finished(error=f"{job.hook}: the parameters hold a value that no task can be handed: {_WHICH}")
        self._start(job)
        raised: list[Exception] = []

        def overtaken() -> bool:
            try:
                return unwanted()
            except Exception as error:  # what is wrong with the question is no death of the process
                raised.append(error)
                raise

        try:
            self._frames.send(frame, lambda: self._gone() or overtaken())
            finished, ask_at = self._next(LOOK_EVERY_S, logged), 0.0
            while finished is None:
                if self._clock.monotonic() >= ask_at:  # not for each of a million lines that a hook says
                    if overtaken():
                        self._stop()
                        return None
                    ask_at = self._clock.monotonic() + LOOK_EVERY_S
                finished = self._next(LOOK_EVERY_S, logged)
        except (EOFError, OSError, msgspec.DecodeError) as error:
            if error in raised:
                self.end()
                raise
            raise ChildDied(f"{job.hook}: {_how(self.end())}") from None
        except BaseException:  # in the midst of a job: the next one would be answered with this one's outcome
            self.end()
            raise
        return None if finished.stopped else finished

    def end(self) -> int | None:
        """End the process, if there is one, and all that it has started; its exit code."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        self._frames.close()
        os.close(self._pipe)
        try:
            return process.wait(timeout=self._stop_within_s + END_WITHIN_S)
        except subprocess.TimeoutExpired:
            end_session(process.pid)
            return process.wait()

    def _start(self, job: jobs.Job) -> None:
        reach = _reach_of(job.confine)
        blind = jobs.is_blind(job.hook, job.filter is not None)
        if self._process is not None and (job.code, reach, blind) != (self._code, self._reach, self._blind):
            self.end()  # it has imported what lay here before, may not open the file that lies there now, or has data
        self._code, self._reach, self._blind = job.code, reach, blind
        if self._process is not None:
            return
        ours, theirs = socket.socketpair()
        read, self._pipe = os.pipe()
        # The site's own modules first, and site-packages not before Python's own library. Code that is allowed by a
        # digest is found by that alone.
        found_anyway = Path(sysconfig.get_path("purelib")) == ROOT
        own = "" if self._code is not None and self._code.only else str(self._folder)
        paths = [own, os.environ.get("PYTHONPATH") or "", "" if found_anyway else str(ROOT)]
        environment = {
            **(os.environ if job.confine is None else _confined(job, job.confine)),
            **dict.fromkeys(_THREADS, str(self._threads)),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        try:
            self._process = start_reaper(read, theirs.fileno(), self._folder, environment)
        except BaseException:
            os.close(self._pipe)
            ours.close()
            raise
        finally:
            os.close(read)
            theirs.close()
        self._frames = Frames(ours)

    def _gone(self) -> bool:
        """True if the process has ended; its end of the socket may be held by what it has started."""
        return self._process is None or self._process.poll() is not None

    def _stop(self) -> None:
        """Ask, wait, and end it if it does not answer: a hook that ignores `stopping()` takes its process with it."""
        end = self._clock.monotonic() + self._stop_within_s
        self._frames.send(jobs.encode(jobs.Stop()), lambda: self._gone() or self._clock.monotonic() >= end)
        while self._next(max(0.0, min(LOOK_EVERY_S, end - self._clock.monotonic())), _nowhere) is None:
            if self._clock.monotonic() >= end:
                self.end()
                return

    def _next(self, wait_s: float, logged: Logged) -> jobs.Finished | None:
        """How the job ended, if that comes within `wait_s`; what the hook says on the way goes to `logged`."""
        content = self._frames.receive(wait_s)
        if content is None and self._gone():
            content = self._frames.receive(0.0)
            if content is None:
                raise EOFError
        if content is None:
            return None
        frame = jobs.decode_for_agent(content)
        if isinstance(frame, jobs.Logged):
            logged(frame.text)
            return None
        return frame


Reach: TypeAlias = tuple[Confinement | None, tuple[tuple[int, int] | None, ...]]
"""How a process is confined, and which files lay at its places when it began: it may open these, not their names."""


def _reach_of(confinement: Confinement | None) -> Reach:
    places = () if confinement is None else confinement.read
    return confinement, tuple(_identity(path) for path in places if not path.endswith(_BESIDE))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - as it came
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _confined(job: jobs.Job, confinement: Confinement) -> dict[str, str]:
    """The environment of a confined process, whose own folders are there before it is."""
    temporary = Path(job.folder) / "tmp"
    for path in (Path(job.folder), Path(job.keep or job.folder), temporary):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return {
        **without_secrets(os.environ, confinement.environment),
        **dict.fromkeys(_TEMPORARY, str(temporary)),
        VARIABLE: msgspec.json.encode(confinement).decode(),
    }


def _within(job: jobs.Job) -> jobs.Job:
    """The job of a confined process with its files in the task's own folder, since it may open no others."""
    if job.confine is None:
        return job

    def linked(packed: jobs.Packed) -> jobs.Packed:
        path = Path(packed.file)
        if not packed.file or path.is_relative_to(job.folder):
            return packed
        here = Path(job.folder) / f"{_BROUGHT}{hashlib.sha256(packed.file.encode()).hexdigest()[:32]}"
        here.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            return packed
        if not (here.exists() and here.samefile(path)):
            here.unlink(missing_ok=True)
            try:
                here.hardlink_to(path)
            except OSError:  # another file system, or one without links
                with path.open("rb") as content, here.open("xb") as copy:  # a task may have put a link there again
                    shutil.copyfileobj(content, copy)
        needed.add(here.name)
        return jobs.packed(here)

    needed: set[str] = set()
    within = msgspec.structs.replace(
        job,
        model=None if job.model is None else linked(job.model),
        updates=[msgspec.structs.replace(one, packed=linked(one.packed)) for one in job.updates],
        results={name: linked(one) for name, one in job.results.items()},
    )
    for one in Path(job.folder).glob(f"{_BROUGHT}*"):  # of hooks before: the agent may have no use for it any more
        if one.name not in needed:
            with suppress(OSError):  # a folder that a task calls so
                one.unlink()
    return within


_BROUGHT = "brought-"
"""How files begin that are brought into a task's folder."""


_BESIDE = ("-wal", "-shm", "-journal")
"""What comes and goes beside a database's file."""
_TEMPORARY = ("TMPDIR", "JOBLIB_TEMP_FOLDER", "XDG_CACHE_HOME", "MPLCONFIGDIR")
"""Where libraries write by themselves."""
_WHICH = "a whole number beyond 64 bits, or text that is no Unicode"
_MEANING = {  # by name: other systems lack some
    "SIGKILL": "killed from outside, or by the system for want of memory",
    "SIGSEGV": "it crashed in compiled code",
    "SIGBUS": "it crashed in compiled code, or the disk behind a mapped file is full",
    "SIGABRT": "compiled code gave up",
    "SIGILL": "compiled code was not made for this processor",
    "SIGFPE": "compiled code divided by zero",
    "SIGXCPU": "it took more of the processor's time than its site allows",
}


def _how(code: int | None) -> str:
    """A sentence on how the process ended."""
    if code == NOT_CONFINED:
        return "its process could not be confined; the agent's output says what the system refused"
    if code is None or code >= 0:
        return f"its process ended by itself, with code {code}"
    try:
        number = signal.Signals(-code)
    except ValueError:
        return f"its process was ended by signal {-code}"
    return f"its process was ended by {number.name} ({_MEANING.get(number.name, 'a signal')})"


class Children:
    """The child processes of a site, one for each task run, of which only so many compute at once.

    Of those that live there are `tasks.children` at most: the one that has been idle longest is ended before one more
    is started, and its task is made and prepared anew when it is needed again. As many as may compute at once always
    have a place, so nobody waits for one.
    """

    def __init__(self, folder: Path, settings: Tasks) -> None:
        self._folder = folder
        self._settings = settings
        self._lock = threading.Lock()
        self._children: dict[tuple[str, int], Child] = {}  # the one that was used last at the end
        self._busy: set[tuple[str, int]] = set()
        self._computing = threading.Semaphore(settings.at_once)

    def known(self, run_id: str, task_seq: int) -> bool:
        """True if the task run's hooks have been called since the agent started, and its process is still kept."""
        return (run_id, task_seq) in self._children

    def count(self) -> int:
        """How many processes are kept."""
        return len(self._children)

    def code(self, model: str) -> Code:
        """The code of a model, as its process would find it now. Raises `CodeError`."""
        return code_of(module_of(model), self._folder, [*os.environ.get("PYTHONPATH", "").split(os.pathsep), *sys.path])

    def call(self, job: jobs.Job, unwanted: Callable[[], bool], logged: Logged = _nowhere) -> jobs.Finished | None:
        """As `Child.call`, in its turn; a process that died is an error like any other."""
        while not self._computing.acquire(timeout=LOOK_EVERY_S):
            if unwanted():
                return None
        key = job.run_id, job.task_seq
        try:
            if unwanted():
                return None
            child, idle = self._placed(key)
            for one in idle:
                one.end()
            return child.call(job, unwanted, logged)
        except ChildDied as died:
            if unwanted():
                return None
            return jobs.Finished(error=str(died), died=True)
        finally:
            with self._lock:
                self._busy.discard(key)
            self._computing.release()

    def _placed(self, key: tuple[str, int]) -> tuple[Child, list[Child]]:
        """The child of a task run, which is busy now; and those that have to end first to make room for it."""
        at_most = max(self._settings.most_children, self._settings.at_once)
        with self._lock:
            child = self._children.pop(key, None)
            if child is None:
                child = Child(self._folder, self._settings.threads, self._settings.stop_within_s)
            too_many = len(self._children) + 1 - at_most
            idle = [other for other in self._children if other not in self._busy][: max(0, too_many)]
            self._busy.add(key)
            self._children[key] = child
            return child, [self._children.pop(other) for other in idle]

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
