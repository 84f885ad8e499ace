"""What an inbox entry leads to: hooks are called, reports are made, each once however often an entry is taken up.

`Steps.take` is called by one thread for a run at a time, and again with the same entry after a crash. A report is on
disk, with its key, before it is sent. Work that a later entry has overtaken (the run ended, the seat was dropped, the
round went on) is interrupted or skipped.
"""

from __future__ import annotations

import shutil
import sqlite3
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from controller import jobs
from controller.answers import Entry, TaskSpec
from controller.child import Children
from controller.client import Client
from controller.clock import Clock, draw_key
from controller.courier import SEAL_ANEW, Courier
from controller.hub_errors import Refused, Unavailable
from controller.joining import NOT_NOW, Joining
from controller.logs import Logs
from controller.notices import told
from controller.patience import Halted, Overtaken, Patience
from controller.payloads import Payloads, Submission
from controller.seal_errors import NotConsented, NotRecipient, SealError
from controller.site import Folder, Settings
from controller.state import LeftOut, Made, Report, Seat, State
from controller.tasks.arrays import save
from controller.trust import Changed

UNAUTHORIZED = 401
SEAL_TRIES = 5
"""How often a payload is sealed anew because a key changed in between."""
REASON_AT_MOST = 500
DISK = (OSError, sqlite3.OperationalError)
PLACES = 4
UNUSABLE = "task_unusable"
"""Why a site is left out whose update the task itself named: its sentence is the detail."""

_MADE_BEFORE = (
    "a model is sealed to the members of its time, so a site that joined later takes part in new runs, or in attempts "
    "that begin without a model (run restart --from start)"
)

_MODEL, _NO_MODEL = "aggregated", "aggregation_failed"
"""What a coordinator reports; everything else is about its own seat and counted there."""


_SERVED = ("invited", "round_started", "aggregate", "round_completed", "seat_dropped", "message")
"""Entries that lead to something only in a project that this site serves; of others nothing is opened or computed."""


class Invited(msgspec.Struct, frozen=True):
    """The facts of an invitation."""

    attempt: int
    number: int
    report_seq: int
    task: TaskSpec
    coordinator_site_id: str | None = None


class Uninvited(msgspec.Struct, frozen=True):
    """What of an invitation is needed to refuse it."""

    report_seq: int
    number: int = 0
    attempt: int = 0


class Aggregate(msgspec.Struct, frozen=True):
    """The facts of a call to aggregate."""

    submissions: list[Submission]
    quorum: int = 0


class Dropped(msgspec.Struct, frozen=True):
    """The facts of a seat that was dropped, or left out."""

    reason: str
    may_rejoin: bool = False


class Steps:
    """The effects of entries for one site. halting: set once the agent does not wait for anything any more."""

    def __init__(
        self,
        site_id: str,
        folder: Folder,
        settings: Settings,
        state: State,
        client: Client,
        courier: Courier,
        joining: Joining,
        *,
        halting: threading.Event,
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        self.site_id, self.folder, self.settings = site_id, folder, settings
        self.state, self.client, self.courier, self.joining = state, client, courier, joining
        self.children = Children(folder.path, settings.tasks)
        self.logs = Logs(courier, state, client, log)
        self._patience = Patience(state, halting=halting, clock=clock, log=log)
        self._payloads = Payloads(folder.path, state, client, courier, self._patience, log)
        self._log = log
        self._steps: dict[str, Callable[[Entry], None]] = {
            "invited": self._invited,
            "round_started": self._round_started,
            "aggregate": self._aggregate,
            "round_completed": self._round_completed,
            "seat_dropped": self._seat_dropped,
            "seat_left_out": self._seat_left_out,
            "task_ended": self._task_ended,
            "run_ended": self._run_ended,
            "member_invited": self._member_invited,
            "message": self._message,
        }

    def take(self, entry: Entry) -> str:
        """Do what follows from an entry; one word or two on how it went. Then the entry is done, whatever the word.

        Raises `Halted` when the agent stops first, `Unavailable` (then the entry is taken up again), `Refused` (401)
        when the hub no longer knows the site, and `trust.Changed` when another site's identity was swapped: the agent
        must not go on then. Whatever else goes wrong fails the seat that the entry is about.
        """
        if (sentence := told(entry, self.site_id)) is not None:
            self._log("told", entry=entry.seq, kind=entry.kind, detail=sentence)
        try:
            return self._followed(entry)
        except (Halted, Unavailable, Changed, Refused):
            raise
        except msgspec.DecodeError:
            return self._given_up(entry, "not understood", f"this site's agent does not understand {entry.kind!r}")
        except Exception as error:  # noqa: BLE001 - an entry must not end the agent
            fault = type(error).__name__
            self._log("entry failed", entry=entry.seq, kind=entry.kind, error=fault, at=place_of(error))
            why = "this site's disk is full or failed" if isinstance(error, DISK) else "its log says where"
            return self._given_up(entry, f"failed: {fault}", f"agent: {entry.kind} went wrong ({fault}): {why}")

    def _followed(self, entry: Entry) -> str:
        step = self._steps.get(entry.kind)
        if step is None:
            return "kept"
        try:
            if entry.kind in _SERVED:
                self._consented(entry)
            step(entry)
        except NotConsented as refusal:
            return self._not_served(entry, refusal)
        except Overtaken:
            return "overtaken"
        except Changed as changed:
            self.courier.record_conflict(changed)
            raise
        except SealError as error:
            self._log("not opened", entry=entry.seq, reason=error.slug, detail=error.fact)
            return f"not opened: {error.slug}"
        except Refused as error:
            if error.status == UNAUTHORIZED:
                raise
            return f"refused: {error.slug}"
        return "done"

    def _given_up(self, entry: Entry, outcome: str, reason: str) -> str:
        """Fail the seat, or the coordinator's round, that an entry is about, as far as that can be done."""
        try:
            if entry.kind in ("invited", "round_started"):
                self._refuse_seat(entry, reason)
            elif entry.kind == "aggregate":
                self._send(entry, self._keep(entry, _NO_MODEL, {"failure": reason}))
        except Overtaken:
            return outcome
        except (Halted, Unavailable, Changed):
            raise
        except Exception as error:
            if isinstance(error, Refused) and error.status == UNAUTHORIZED:
                raise
            self._log("seat not failed", entry=entry.seq, error=type(error).__name__, at=place_of(error))
        return outcome

    # consent

    def _consented(self, entry: Entry) -> None:
        """Raises `NotConsented` unless this site serves the entry's project, under the coordinator of its consent."""
        consent = self.courier.consented(entry.project_id)
        if entry.run_id is not None:
            known = self.state.project_of(entry.run_id)
            if known not in (None, entry.project_id):
                raise NotConsented(
                    f"run {entry.run_id} belongs to project {known}, and the hub now shows it in {entry.project_id}"
                )
        if entry.kind == "invited":
            said = msgspec.json.decode(entry.facts, type=Invited).coordinator_site_id
            if said not in (None, consent.coordinator):
                raise NotConsented(
                    f"project {consent.name!r} ({consent.project_id}) was joined under the coordinator "
                    f"{consent.coordinator}, and the hub invites to it under {said}"
                )

    def _not_served(self, entry: Entry, refusal: NotConsented) -> str:
        """Fail the seat, or the coordinator's round, once; nothing else follows from such an entry."""
        try:
            if entry.kind in ("invited", "round_started") and not self._refused_before(entry):
                self._log("not served", project=entry.project_id, run=entry.run_id, detail=str(refusal))
                self._refuse_seat(entry, _reason(refusal))
            elif entry.kind == "aggregate":
                self._log("not served", project=entry.project_id, run=entry.run_id, detail=str(refusal))
                self._send(entry, self._keep(entry, _NO_MODEL, {"failure": _reason(refusal)}))
        except Overtaken:
            pass
        except Refused as error:
            if error.status == UNAUTHORIZED:
                raise
        return f"not served: {refusal.slug}"

    def _refused_before(self, entry: Entry) -> bool:
        """A lying hub may invite to the same seat for ever; it is told once."""
        return self.state.failed_before(*_task(entry), entry.seq)

    def _refuse_seat(self, entry: Entry, reason: str) -> None:
        run_id, task_seq = _task(entry)
        if entry.kind == "invited" and not self.state.reports(entry.seq):
            facts = msgspec.json.decode(entry.facts, type=Uninvited)
            seat = Seat(run_id, task_seq, facts.report_seq, b"{}", facts.number, facts.attempt)
            self.state.keep_seat(seat)
        self._report(entry, "fail", reason=reason)

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
            project_id=entry.project_id,
        )
        self.state.keep_seat(seat)
        for report in made:  # before a crash; nothing may come in between their numbers
            self._send(entry, report)
            if report.event != "accept":
                return
        if not made and not self.children.known(run_id, task_seq):
            self._report(entry, "accept")
        try:
            if entry.message is not None:
                self._payloads.model(entry, entry.message.id, start=True)
        except NotRecipient as error:
            self._refuse_payload(entry, NotRecipient(f"{error.fact}; {_MADE_BEFORE}"))
            return
        except SealError as error:
            self._refuse_payload(entry, error)
            return
        finished = self._computed(entry, "prepare", facts.task, seat)
        if finished.error:
            self._report(entry, "fail", reason=finished.error)
        else:
            self._report(entry, "ready")

    def _round_started(self, entry: Entry) -> None:
        """Train; the update is on disk before its first report, so a crash does not train twice once it is there."""
        seat = self._seat(entry)
        begun = self.state.reports(entry.seq)
        try:
            if not begun and self.state.made(entry.seq) is None:
                finished = self._computed(entry, "train", msgspec.json.decode(seat.task_json, type=TaskSpec), seat)
                if finished.error:
                    self._report(entry, "fail", reason=finished.error)
                    return
                self._keep_made(entry, finished, seconds=round(finished.seconds, 6))
            for report in begun:  # before a crash
                if report.event == "fail":
                    self._send(entry, report)
                    return
            self._report(entry, "trained")
            self._deliver(entry, "submit", self._payloads.sealed_update)
        except SealError as error:
            self._refuse_payload(entry, error)
        except Refused as error:
            if error.status in (*NOT_NOW, UNAUTHORIZED):
                raise
            self._report(entry, "fail", reason=f"the hub refused the update: {error.slug}")

    def _aggregate(self, entry: Entry) -> None:
        """The coordinator's part. Updates that cannot be opened are left out, and named to the hub."""
        failure, left_out = "", tuple[LeftOut, ...]()
        try:
            if not self.state.reports(entry.seq) and self.state.made(entry.seq) is None:
                finished, left_out = self._aggregated(entry)
                failure = finished.error
                if not failure:
                    self._keep_made(entry, finished, left_out)
            if not failure and self.state.report(entry.seq, _NO_MODEL) is None:
                self._deliver(entry, _MODEL, self._payloads.sealed_model)
                return
        except SealError as error:
            failure = _reason(error)
            if isinstance(error, Changed):
                raise
        except Refused as error:
            if error.status in (*NOT_NOW, UNAUTHORIZED):
                raise
            failure = f"the hub refused the model: {error.slug}"
        self._send(entry, self._keep(entry, _NO_MODEL, {"failure": failure, **_without(left_out)}))

    def _aggregated(self, entry: Entry) -> tuple[jobs.Finished, tuple[LeftOut, ...]]:
        """How the hook ended, and who was left out; below the quorum it is not called."""
        run_id, task_seq = _task(entry)
        facts = msgspec.json.decode(entry.facts, type=Aggregate)
        updates, left_out = self._payloads.updates(entry, facts.submissions)
        usable = len(facts.submissions) - len(left_out)
        if left_out and usable < max(1, facts.quorum):
            error = f"{len(left_out)} of {len(facts.submissions)} updates cannot be opened, {usable} are too few"
            return jobs.Finished(error=error), left_out
        seat = self.state.seat(run_id, task_seq)
        if seat is not None:
            spec = msgspec.json.decode(seat.task_json, type=TaskSpec)
        else:  # it coordinates without taking part, so nobody told it the task
            spec = self._patience.asked(entry, lambda: self.client.run(run_id)).tasks[task_seq - 1].spec
        finished = self._computed(entry, "aggregate", spec, seat, updates)
        left_out = (*left_out, *(LeftOut(site_id, UNUSABLE, why) for site_id, why in sorted(finished.left_out.items())))
        usable = len(facts.submissions) - len(left_out)
        if not finished.error and finished.left_out and usable < max(1, facts.quorum):
            named = "; ".join(f"{one.site_id}: {one.detail}" for one in left_out)
            error = f"{len(left_out)} of {len(facts.submissions)} updates cannot be used, {usable} are too few: {named}"
            return jobs.Finished(error=error[:REASON_AT_MOST]), left_out
        return finished, left_out

    def _round_completed(self, entry: Entry) -> None:
        """Keep the new global model: for the next round, and as a file for people."""
        seat = self.state.seat(*_task(entry))
        if entry.message is not None and seat is not None:
            self.state.keep_seat(msgspec.structs.replace(seat, model_id=entry.message.id))
            spec = msgspec.json.decode(seat.task_json, type=TaskSpec)
            content = self._payloads.model(entry, entry.message.id)
            folder = self.folder.path / "models"
            folder.mkdir(mode=0o700, exist_ok=True)
            save(content, folder / f"run-{seat.number}.{seat.attempt}-{spec.name}-{seat.run_id[:8]}")
        for file in self.state.forget_round(entry):
            Path(file).unlink(missing_ok=True)

    def _seat_dropped(self, entry: Entry) -> None:
        """Come back if that is allowed and wanted; the hub is asked how many reports it has counted."""
        facts = msgspec.json.decode(entry.facts, type=Dropped)
        seat = self._seat(entry)
        if not (facts.may_rejoin and self.settings.rejoin):
            return
        if self.state.report(entry.seq, "rejoin") is None:
            run = self._patience.asked(entry, lambda: self.client.run(seat.run_id))
            ours = [s for s in run.tasks[seat.task_seq - 1].seats if s.site_id == self.site_id]
            if not ours or ours[0].state != "dropped":
                return
            self.state.keep_seat(msgspec.structs.replace(seat, report_seq=ours[0].report_seq))
        self._report(entry, "rejoin")

    def _seat_left_out(self, entry: Entry) -> None:
        """Nothing to do: the seat has failed, and the run shows the coordinator's sentence."""
        facts = msgspec.json.decode(entry.facts, type=Dropped)
        self._log("our update was not used", run=entry.run_id, round=entry.round, reason=facts.reason)

    def _task_ended(self, entry: Entry) -> None:
        self.children.end(*_task(entry))

    def _run_ended(self, entry: Entry) -> None:
        """Everything of the run goes, but for its last models."""
        assert entry.run_id is not None
        self.children.end(entry.run_id)
        self.state.forget_run(entry.run_id)
        shutil.rmtree(self._runs() / entry.run_id, ignore_errors=True)

    def _member_invited(self, entry: Entry) -> None:
        """Accept an invitation to a project that this site serves, or is configured to join."""
        project_id = entry.project_id
        assert project_id is not None
        project = self._patience.asked(entry, lambda: self.client.project(project_id))
        self._patience.asked(entry, lambda: self.joining.invited(project, self.settings.join))

    # how

    def _message(self, entry: Entry) -> None:
        """Open what another site has sent, while the key is there; people read it with `fedyard-site inbox`."""
        self._payloads.arrived(entry)

    def _keep_made(
        self, entry: Entry, finished: jobs.Finished, left_out: Sequence[LeftOut] = (), **more: float
    ) -> None:
        """What a hook made, on disk until the hub has it."""
        packed = finished.packed
        assert packed is not None
        assert entry.run_id is not None
        metrics = {**finished.metrics, **more}
        self.state.keep_made(Made(entry.seq, entry.run_id, packed.content, packed.file, metrics, left_out))

    def _deliver(self, entry: Entry, event: str, seal: Callable[[Entry, Made], dict[str, object]]) -> None:
        """Seal and report what was made; sealed anew if a key was revoked or superseded on the way."""
        for last in (*[False] * (SEAL_TRIES - 1), True):
            report = self.state.report(entry.seq, event)
            if report is None:
                made = self.state.made(entry.seq)
                if made is None:  # the agent of before knew no such rows
                    raise Overtaken
                carried = {"metrics": made.metrics, **_without(made.left_out), **seal(entry, made)}
                report = self._keep(entry, event, carried)
            try:
                self._send(entry, report)
            except Refused as error:
                if error.slug not in SEAL_ANEW or last:
                    raise
                self._log("sealed anew", entry=entry.seq, reason=error.slug, detail=error.detail)
                self._payloads.renew(entry)
                continue
            self._payloads.forget(entry)
            return

    def _refuse_payload(self, entry: Entry, error: SealError) -> None:
        """A payload that cannot be opened or sealed fails the seat, with its reason."""
        if isinstance(error, Changed):
            raise error
        self._report(entry, "fail", reason=_reason(error))

    def _computed(
        self, entry: Entry, hook: str, spec: TaskSpec, seat: Seat | None, updates: list[jobs.Submitted] | None = None
    ) -> jobs.Finished:
        """A hook's outcome; a crash of its process is one, too. Raises `Overtaken` or `Halted` if it is not wanted."""
        run_id, task_seq = _task(entry)
        self._patience.go_on(entry)
        model = None
        if hook == "train" and seat and seat.model_id:
            model = jobs.packed(self._payloads.model(entry, seat.model_id, start=True))
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
            limit_bytes=self.settings.tasks.content_limit_bytes,
        )
        project_id, number = entry.project_id or "", entry.round or 1
        finished = self.children.call(
            job,
            lambda: self._patience.unwanted(entry) or not self.courier.consents.serves(entry.project_id),
            lambda text: self.logs.add(project_id, run_id, task_seq, number, text),
        )
        if finished is None:
            self._patience.go_on(entry)
            self._consented(entry)
            raise Overtaken
        return finished

    def _runs(self) -> Path:
        return self.folder.path / "runs"

    def _seat(self, entry: Entry) -> Seat:
        seat = self.state.seat(*_task(entry))
        if seat is None:  # the site's memory was lost after the invitation; the hub will find the seat silent or late
            raise Overtaken
        return seat

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
            raise Overtaken
        try:
            if report.event in (_MODEL, _NO_MODEL):
                self._patience.asked(
                    entry,
                    lambda: self.client.aggregated(
                        report.run_id, report.task_seq, report.round, report.body, key=report.key
                    ),
                )
            else:
                self._patience.asked(
                    entry,
                    lambda: self.client.report(
                        report.run_id, report.task_seq, self.site_id, report.body, key=report.key
                    ),
                )
        except Refused as error:
            if error.slug in SEAL_ANEW:
                self.state.seal_anew(report)
            else:
                self.state.answered(report, "refused")
            raise
        self.state.answered(report, "ok")


def place_of(error: BaseException) -> str:
    """The last lines that an exception went through, for this site's own log: files and numbers, no values."""
    frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def _task(entry: Entry) -> tuple[str, int]:
    """The run and the task that an entry is about."""
    assert entry.run_id is not None
    assert entry.task_seq is not None
    return entry.run_id, entry.task_seq


def _without(left_out: Sequence[LeftOut]) -> dict[str, object]:
    """The fields of a report that name who was left out."""
    return {"left_out": left_out} if left_out else {}


def _reason(error: SealError) -> str:
    """What the coordinator is told of a payload that could not be sealed or opened: a code, and the fact."""
    code = error.slug if isinstance(error, NotConsented) else f"seal_{error.slug}"
    return f"{code}: {error.fact}"[:REASON_AT_MOST]
