"""A workload's program that holds a seat of a run calls back: `with Seat() as seat: for work in seat: ...`.

It is a whole agent, in threads beside the program: it enrols with the one-time token that it finds in its environment,
sends heartbeats, keeps its sealing keys for as long as it lives, opens what is sealed to it, and reports. Where a site
would call a task's hooks in a child process, the program is given the work instead, one round after the other.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from fedyard.agent.agent import Agent
from fedyard.agent.consents import UNKNOWN, Join
from fedyard.agent.site import Folder, Settings, SiteError
from fedyard.client.addresses import named
from fedyard.client.transfer import Transfer
from fedyard.clock import Clock, SystemClock, draw_key
from fedyard.cluster.conventions import ENROLMENT_TOKEN, HUB_URL, PROJECT_ID
from fedyard.tasks import Content, Metrics, TaskError, jobs
from fedyard.wire.stopping import on_stop_signal
from fedyard.wire.types import ArtifactKind

LOOK_EVERY_S: Final = 0.1
ENDS_WITHIN_S: Final = 60.0
"""After the last work was handed in; more than an agent takes for what it still has to say."""
PROGRESS_EVERY_S: Final = 1.0


class Work:
    """One round of training. Hand the result in with `submit`, or say with `fail` why there is none.

    round, rounds: from 1. task: its name. parameters: as the project has them. folder: private, kept for the run.
    """

    def __init__(self, job: jobs.Job, logged: Callable[[str], None], clock: Clock) -> None:
        self.run_id, self.task = job.run_id, job.task
        self.round, self.rounds = job.round, job.rounds
        self.parameters: Mapping[str, object] = job.parameters
        self.folder = Path(job.folder)
        self._job, self._logged, self._clock = job, logged, clock
        self._began = clock.monotonic()
        self._progressed = float("-inf")
        self._unwanted = threading.Event()
        self._done = threading.Event()
        self._finished: jobs.Finished | None = None

    @cached_property
    def model(self) -> Content | None:
        """The global model that the round begins with, opened: arrays or bytes. None where there is none yet."""
        from fedyard.tasks.arrays import unpack  # noqa: PLC0415 - numpy is heavy, and the agent has no use for it

        return None if self._job.model is None else unpack(self._job.model.where, self._job.limit_bytes)

    def stopping(self) -> bool:
        """True once the result is not wanted any more: break off, and go on to the next work."""
        return self._unwanted.is_set()

    def log(self, text: str) -> None:
        """Say something to the coordinator, sealed, while the work is done. Never fails."""
        if not self._done.is_set():
            self._logged(str(text)[: jobs.MAX_LOG].encode(errors="backslashreplace").decode())

    def progress(self, done: float, of: float) -> None:
        """So much is done, said in the log once a second at most."""
        now = self._clock.monotonic()
        if done >= of or now - self._progressed >= PROGRESS_EVERY_S:
            self._progressed = now
            self.log(f"progress: {done:g} of {of:g}")

    def submit(self, content: Content, metrics: Metrics | None = None) -> None:
        """The update: arrays or bytes of any size, sealed and sent by the agent; what is large goes as an artifact.

        Raises `TaskError` for what is neither, or too large."""
        from fedyard.tasks.arrays import norm_of, pack  # noqa: PLC0415 - as above
        from fedyard.tasks.metrics import finite  # noqa: PLC0415 - as above

        if not isinstance(content, bytes | Mapping):
            raise TaskError(f"an update is arrays by their names, or bytes, and no {type(content).__name__}")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        packed = pack(content, self._job.limit_bytes, self.folder / f"train-{self.round}.packed")
        seconds = self._clock.monotonic() - self._began
        kept = finite(metrics or {}, self.log)
        self._end(jobs.Finished(packed=jobs.packed(packed), metrics=kept, seconds=seconds, norm=norm_of(content)))

    def fail(self, reason: str) -> None:
        """There will be no result, and why; the sentence travels to the coordinator: no data in it."""
        self._end(jobs.Finished(error=f"train: {reason}"[:500]))

    def _end(self, finished: jobs.Finished) -> None:
        """The first word counts."""
        if self._finished is None:
            self._finished = finished
            self._done.set()

    def give_up(self) -> None:
        """For the seat: no result is waited for much longer."""
        self._unwanted.set()

    def outcome(self, unwanted: Callable[[], bool]) -> jobs.Finished | None:
        """For the agent: wait for it; None once it is not wanted."""
        while not self._done.wait(LOOK_EVERY_S):
            if unwanted():
                self._unwanted.set()
                self._done.set()
                return None
        return self._finished


class WorkQueue:
    """The agent puts its work in, the program takes it out."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._works: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._known: set[tuple[str, int]] = set()

    def take(self) -> Work | None:
        """The next one, as soon as there is one; None: there will be none."""
        return self._works.get()

    def known(self, run_id: str, task_seq: int) -> bool:
        return (run_id, task_seq) in self._known

    def code(self, model: str) -> None:
        """It is the program's, which this agent has not started."""

    def call(self, job: jobs.Job, unwanted: Callable[[], bool], logged: Callable[[str], None]) -> jobs.Finished | None:
        self._known.add((job.run_id, job.task_seq))
        if job.hook == "prepare":
            return jobs.Finished()
        if job.hook != "train":
            return jobs.Finished(error=f"{job.hook}: a seat that a workload holds trains, and does nothing else")
        work = Work(job, logged, self._clock)
        self._works.put(work)
        return work.outcome(unwanted)

    def end(self, run_id: str, task_seq: int | None = None) -> None:
        if any(run == run_id and task_seq in (None, seq) for run, seq in self._known):
            self._works.put(None)

    def end_all(self) -> None:
        self._works.put(None)


class Seat:
    """The seat that this attempt at a workload holds, from enrolling to the end of its task.

    coordinator: whose project it is, site id or fingerprint (twelve words); "unknown" believes whoever is shown first.
    """

    def __init__(
        self,
        *,
        coordinator: str = UNKNOWN,
        allow_plain_http: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """environment: instead of the process's own. Raises `SiteError` where it tells of no seat."""
        told = os.environ if environment is None else environment
        missing = [name for name in (HUB_URL, PROJECT_ID, ENROLMENT_TOKEN) if not told.get(name)]
        if missing:
            raise SiteError(
                f"{', '.join(missing)} is not in the environment: this program holds no seat of a run (it is started "
                "as one of a task's workloads, docs/workloads.md)"
            )
        clock = SystemClock()
        self.project_id = told[PROJECT_ID]
        self._works = WorkQueue(clock)
        folder = Folder(Path(told.get("HOME") or ".") / "site")
        if not (folder.path / "site.toml").exists():
            settings = Settings(
                hub=told[HUB_URL],
                name="a workload's seat",
                allow_plain_http=named(told[HUB_URL]) if allow_plain_http else False,
                join=[Join(project=self.project_id, coordinator=coordinator)],
            )
            folder.create(settings, told[ENROLMENT_TOKEN])
        self._agent = Agent(folder, log=sys.stderr, clock=clock, computing=self._works)
        self._thread = threading.Thread(target=self._run, name="agent", daemon=True)
        self._failure: BaseException | None = None
        self._work: Work | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            on_stop_signal(self.stop)
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[Work]:
        """The rounds' work, one after the other, until the task has ended or this attempt shall end. Raises what made
        it impossible to go on."""
        while (work := self._works.take()) is not None:
            self._work = work
            yield work
            work.fail("the program went on without a result")  # unless it has one
        if self._failure is not None:
            raise self._failure

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._work is not None:
            self._work.fail(_why(error))  # unless it has a result
        self.stop()
        self._thread.join(ENDS_WITHIN_S)

    def stop(self) -> None:
        """Take up nothing more."""
        self._agent.stop()
        if self._work is not None:
            self._work.give_up()
        self._works.end_all()

    def upload(self, source: Path | bytes, *, kind: ArtifactKind = "result") -> str:
        """The id of an artifact of the project, which is not sealed. Raises as `Transfer.upload`."""
        return Transfer(self._agent.client).upload(source, project_id=self.project_id, kind=kind, key=draw_key())

    def download(self, artifact_id: str, path: Path) -> None:
        """An artifact that this seat may read, into a file. Raises as `Transfer.download`."""
        Transfer(self._agent.client).download(artifact_id, path)

    def _run(self) -> None:
        try:
            self._agent.run()
        except BaseException as error:  # noqa: BLE001 - raised where the program waits for work
            self._failure = error
        finally:
            self._works.end_all()


def _why(error: BaseException | None) -> str:
    """What may leave this program of how it ended."""
    if error is None or not isinstance(error, Exception):
        return "the program has ended before it had a result"
    from fedyard.tasks.reasons import reason_of  # noqa: PLC0415 - as above

    return reason_of(error, "train").removeprefix("train: ")


__all__ = ["Seat", "TaskError", "Work"]
