"""What an inbox entry leads to: hooks are called, reports are made, each once however often an entry is taken up.

`Steps.take` is called by one thread for a run at a time, and again with the same entry after a crash. A report is on
disk, with its key, before it is sent. Work that a later entry has overtaken (the run ended, the seat was dropped, the
round went on) is interrupted or skipped.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from controller import jobs
from controller.answers import Entry, Project, TaskSpec
from controller.child import Children
from controller.client import Client, Refused, Unavailable
from controller.clock import Clock, draw_key, jitter
from controller.durable import write_whole
from controller.site import Folder, Settings
from controller.state import Report, Seat, State
from controller.tasks.arrays import file_form

UNAUTHORIZED = 401
NOT_NOW = (403, 404, 409)
"""The hub's view has moved on; its notices say how."""
PAUSE_FIRST_S = 1.0
PAUSE_AT_MOST_S = 15.0
"""Between one request's last try and its next first one."""

T = TypeVar("T")

_MODEL, _NO_MODEL = "aggregated", "aggregation_failed"
"""What a coordinator reports; everything else is about its own seat and counted there."""

_OVER = ("task_ended", "run_ended", "round_completed")
_ENDS_SEAT_WORK = (*_OVER, "seat_dropped", "invited")

_OVERTAKERS: dict[str, tuple[str, ...]] = {
    "invited": _ENDS_SEAT_WORK,
    "round_started": _ENDS_SEAT_WORK,
    "aggregate": _OVER,
    "seat_dropped": ("invited", "seat_dropped", "task_ended", "run_ended"),
}
"""Which later entries (of the same run and task, of this round or a later one) take away an entry's reason."""


class Invited(msgspec.Struct, frozen=True):
    """The facts of an invitation."""

    attempt: int
    number: int
    report_seq: int
    task: TaskSpec


class Submission(msgspec.Struct, frozen=True):
    site_id: str
    message_id: str | None = None
    metrics: dict[str, float] = {}


class Aggregate(msgspec.Struct, frozen=True):
    """The facts of a call to aggregate."""

    submissions: list[Submission]


class Dropped(msgspec.Struct, frozen=True):
    """The facts of a dropped seat."""

    reason: str
    may_rejoin: bool = False


class Halted(Exception):
    """The agent stops; the entry is taken up again at the next start."""


class _Overtaken(Exception):
    """Nobody wants the rest of this entry any more; it is done."""


class Steps:
    """The effects of entries for one site. halting: set once the agent does not wait for anything any more."""

    def __init__(
        self,
        site_id: str,
        folder: Folder,
        settings: Settings,
        state: State,
        client: Client,
        *,
        halting: threading.Event,
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        self.site_id, self.folder, self.settings = site_id, folder, settings
        self.state, self.client = state, client
        self.children = Children(folder.path, settings.tasks)
        self._halting = halting
        self._clock = clock
        self._log = log
        self._steps: dict[str, Callable[[Entry], None]] = {
            "invited": self._invited,
            "round_started": self._round_started,
            "aggregate": self._aggregate,
            "round_completed": self._round_completed,
            "seat_dropped": self._seat_dropped,
            "task_ended": self._task_ended,
            "run_ended": self._run_ended,
            "member_invited": self._member_invited,
        }

    def take(self, entry: Entry) -> str:
        """Do what follows from an entry; one word or two on how it went. Then the entry is done, whatever the word.

        Raises `Halted` when the agent stops first, and `Refused` (401) when the hub no longer knows the site.
        """
        step = self._steps.get(entry.kind)
        if step is None:
            return "kept"
        try:
            step(entry)
        except _Overtaken:
            return "overtaken"
        except Refused as error:
            if error.status == UNAUTHORIZED:
                raise
            return f"refused: {error.slug}"
        except msgspec.ValidationError:
            return "not understood"
        return "done"

    def join(self, project: Project) -> None:
        """Join a project, or ask to, or accept its invitation; a repeat changes nothing."""
        if project.coordinator_site_id != self.site_id:
            membership = self.client.put_member(project.id, self.site_id, self.settings.join.notes)
            self._log("joined", project=project.name, state=membership.state)

    # what a kind of entry leads to

    def _invited(self, entry: Entry) -> None:
        """Check the site's data and say that it is ready; it may take long at first, so accept is said before."""
        run_id, task_seq = _task(entry)
        facts = msgspec.json.decode(entry.facts, type=Invited)
        known = self.state.seat(run_id, task_seq)
        made = self.state.reports(entry.seq)
        seat = Seat(
            run_id=run_id,
            task_seq=task_seq,
            report_seq=known.report_seq if known and made else facts.report_seq,
            task_json=msgspec.json.encode(facts.task),
            number=facts.number,
            attempt=facts.attempt,
            model_id=entry.message.id if entry.message else (known.model_id if known else None),
        )
        self.state.keep_seat(seat)
        for report in made:  # before a crash; nothing may come in between their numbers
            self._send(entry, report)
            if report.event != "accept":
                return
        if not made and not self.children.known(run_id, task_seq):
            self._report(entry, "accept")
        finished = self._computed(entry, "prepare", facts.task, seat)
        if finished.error:
            self._report(entry, "fail", reason=finished.error)
        else:
            self._report(entry, "ready")

    def _round_started(self, entry: Entry) -> None:
        """Train; the update is on disk before its first report, so a crash does not train twice once it is there."""
        seat = self._seat(entry)
        if self.state.report(entry.seq, "submit") is None and self.state.report(entry.seq, "fail") is None:
            finished = self._computed(entry, "train", msgspec.json.decode(seat.task_json, type=TaskSpec), seat)
            if finished.error:
                self._keep(entry, "fail", {"reason": finished.error})
            else:
                metrics = {**finished.metrics, "seconds": round(finished.seconds, 6)}
                self._keep(entry, "trained", {})
                self._keep(entry, "submit", {"metrics": metrics, "update": finished.packed})
        failed = self.state.report(entry.seq, "fail")
        try:
            for report in [failed] if failed else self.state.reports(entry.seq):
                self._send(entry, report)
        except Refused as error:
            if error.status in (*NOT_NOW, UNAUTHORIZED):
                raise
            self._report(entry, "fail", reason=f"the hub refused the update: {error.slug}")

    def _aggregate(self, entry: Entry) -> None:
        """The coordinator's part; updates sorted by site, since sums of floats depend on the order."""
        if not self.state.reports(entry.seq):
            finished = self._aggregated(entry)
            if finished.error:
                self._keep(entry, _NO_MODEL, {"failure": finished.error})
            else:
                self._keep(entry, _MODEL, {"metrics": finished.metrics, "model": finished.packed})
        failed = self.state.report(entry.seq, _NO_MODEL)
        try:
            for report in [failed] if failed else self.state.reports(entry.seq):
                self._send(entry, report)
        except Refused as error:
            if failed or error.status in (*NOT_NOW, UNAUTHORIZED):
                raise
            self._send(entry, self._keep(entry, _NO_MODEL, {"failure": f"the hub refused the model: {error.slug}"}))

    def _aggregated(self, entry: Entry) -> jobs.Finished:
        run_id, task_seq = _task(entry)
        facts = msgspec.json.decode(entry.facts, type=Aggregate)
        updates = [
            jobs.Submitted(s.site_id, self._body(entry, s.message_id), s.metrics)
            for s in sorted(facts.submissions, key=lambda s: s.site_id)
            if s.message_id is not None
        ]
        seat = self.state.seat(run_id, task_seq)
        if seat is not None:
            spec = msgspec.json.decode(seat.task_json, type=TaskSpec)
        else:  # it coordinates without taking part, so nobody told it the task
            spec = self._asked(entry, lambda: self.client.run(run_id)).tasks[task_seq - 1].spec
        return self._computed(entry, "aggregate", spec, seat, updates)

    def _round_completed(self, entry: Entry) -> None:
        """Keep the new global model: for the next round, and as a file for people."""
        seat = self.state.seat(*_task(entry))
        if entry.message is not None and seat is not None:
            content = self._body(entry, entry.message.id)
            self.state.keep_seat(msgspec.structs.replace(seat, model_id=entry.message.id))
            spec = msgspec.json.decode(seat.task_json, type=TaskSpec)
            suffix, file = file_form(content)
            folder = self.folder.path / "models"
            folder.mkdir(mode=0o700, exist_ok=True)
            write_whole(folder / f"run-{seat.number}.{seat.attempt}-{spec.name}-{seat.run_id[:8]}{suffix}", file)
        self.state.forget_round(entry)

    def _seat_dropped(self, entry: Entry) -> None:
        """Come back if that is allowed and wanted; the hub is asked how many reports it has counted."""
        facts = msgspec.json.decode(entry.facts, type=Dropped)
        seat = self._seat(entry)
        if not (facts.may_rejoin and self.settings.rejoin):
            return
        if self.state.report(entry.seq, "rejoin") is None:
            run = self._asked(entry, lambda: self.client.run(seat.run_id))
            ours = [s for s in run.tasks[seat.task_seq - 1].seats if s.site_id == self.site_id]
            if not ours or ours[0].state != "dropped":
                return
            self.state.keep_seat(msgspec.structs.replace(seat, report_seq=ours[0].report_seq))
        self._report(entry, "rejoin")

    def _task_ended(self, entry: Entry) -> None:
        self.children.end(*_task(entry))

    def _run_ended(self, entry: Entry) -> None:
        """Everything of the run goes, but for its last models."""
        assert entry.run_id is not None
        self.children.end(entry.run_id)
        self.state.forget_run(entry.run_id)
        shutil.rmtree(self._runs() / entry.run_id, ignore_errors=True)

    def _member_invited(self, entry: Entry) -> None:
        """Accept an invitation to a project that the site's configuration names."""
        project_id = entry.project_id
        assert project_id is not None
        project = self._asked(entry, lambda: self.client.project(project_id))
        if project.name in self.settings.join.projects:
            self._asked(entry, lambda: self.join(project))

    # how

    def _unwanted(self, entry: Entry) -> bool:
        """True once the entry's result is not wanted any more, or the agent stops."""
        return self._halting.is_set() or self._is_overtaken(entry)

    def _is_overtaken(self, entry: Entry) -> bool:
        return self.state.overtaken(entry, _OVERTAKERS.get(entry.kind, ()))

    def _go_on(self, entry: Entry) -> None:
        if self._halting.is_set():
            raise Halted
        if self._is_overtaken(entry):
            raise _Overtaken

    def _computed(
        self, entry: Entry, hook: str, spec: TaskSpec, seat: Seat | None, updates: list[jobs.Submitted] | None = None
    ) -> jobs.Finished:
        """A hook's outcome; a crash of its process is one, too. Raises `_Overtaken` or `Halted` if it is not wanted."""
        run_id, task_seq = _task(entry)
        self._go_on(entry)
        model = self._body(entry, seat.model_id) if hook == "train" and seat and seat.model_id else None
        job = jobs.Job(
            hook=hook,
            model_name=spec.model,
            allowed=self.settings.tasks.allow,
            site_id=self.site_id,
            run_id=run_id,
            task=spec.name,
            task_seq=task_seq,
            round=entry.round or 1,
            rounds=spec.rounds,
            parameters=spec.parameters,
            data={name: str(path) for name, path in self.folder.data(self.settings).items()},
            folder=str(self._runs() / run_id / str(task_seq)),
            model=model,
            updates=updates or [],
        )
        finished = self.children.call(job, lambda: self._unwanted(entry))
        if finished is None:
            self._go_on(entry)
            raise _Overtaken
        return finished

    def _runs(self) -> Path:
        return self.folder.path / "runs"

    def _seat(self, entry: Entry) -> Seat:
        seat = self.state.seat(*_task(entry))
        if seat is None:  # the site's memory was lost after the invitation; the hub will find the seat silent or late
            raise _Overtaken
        return seat

    def _body(self, entry: Entry, message_id: str) -> bytes:
        """A model or an update: from disk, or from the hub; empty if it is gone there, too, which no hook accepts."""
        found = self.state.body(message_id)
        if found is not None:
            return found
        try:
            return self._asked(entry, lambda: self.client.message(message_id)).body or b""
        except Refused as error:
            if error.status == UNAUTHORIZED:
                raise
            return b""

    def _asked(self, entry: Entry, question: Callable[[], T]) -> T:
        """The hub's answer, however long it takes, while it is wanted."""
        pause = PAUSE_FIRST_S
        while True:
            self._go_on(entry)
            try:
                return question()
            except Unavailable as error:
                self._log("hub unavailable", detail=str(error))
                self._clock.wait(self._halting, jitter(max(pause, error.retry_after_s)))
                pause = min(2 * pause, PAUSE_AT_MOST_S)

    def _report(self, entry: Entry, event: str, *, reason: str = "") -> None:
        """Report an event of the seat once, however often this is called for the same entry."""
        self._send(entry, self._keep(entry, event, {"reason": reason} if reason else {}))

    def _keep(self, entry: Entry, event: str, more: dict[str, object]) -> Report:
        """A report on disk, with its number, its key and its exact body; the one that is there already, if it is."""
        run_id, task_seq = _task(entry)
        assert entry.round is not None
        before = self.state.report(entry.seq, event)
        if before is not None:
            return before
        seq, body = 0, more
        if event not in (_MODEL, _NO_MODEL):
            seq = self._seat(entry).report_seq + 1
            body = {"event": event, "seq": seq, "round": entry.round, **more}
        report = Report(
            entry_seq=entry.seq,
            event=event,
            run_id=run_id,
            task_seq=task_seq,
            round=entry.round,
            seq=seq,
            key=draw_key(),
            body=msgspec.json.encode(body),
        )
        self.state.keep_report(report)
        return report

    def _send(self, entry: Entry, report: Report) -> None:
        """Send a report unless it was answered before. Raises `Refused` if the hub does not take it."""
        if report.outcome == "ok":
            return
        if report.outcome == "refused":
            raise _Overtaken
        try:
            if report.event in (_MODEL, _NO_MODEL):
                self._asked(
                    entry,
                    lambda: self.client.aggregated(
                        report.run_id, report.task_seq, report.round, report.body, key=report.key
                    ),
                )
            else:
                self._asked(
                    entry,
                    lambda: self.client.report(
                        report.run_id, report.task_seq, self.site_id, report.body, key=report.key
                    ),
                )
        except Refused:
            self.state.answered(report, "refused")
            raise
        self.state.answered(report, "ok")


def _task(entry: Entry) -> tuple[str, int]:
    """The run and the task that an entry is about."""
    assert entry.run_id is not None
    assert entry.task_seq is not None
    return entry.run_id, entry.task_seq
