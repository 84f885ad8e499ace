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

from fedyard.agent import contract
from fedyard.agent.courier import SEAL_ANEW, Courier
from fedyard.agent.joining import NOT_NOW, Joining
from fedyard.agent.logs import Logs
from fedyard.agent.notices import told
from fedyard.agent.paths import Outside, under
from fedyard.agent.patience import Halted, Overtaken, Patience
from fedyard.agent.payloads import Payloads
from fedyard.agent.receipts import NO_MODEL, Receipts
from fedyard.agent.recovery import went_back
from fedyard.agent.room import Room
from fedyard.agent.site import Folder, Settings
from fedyard.agent.state import LeftOut, Made, Report, RunTask, Seat, State, made_of
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unacceptable, Unavailable
from fedyard.clock import Clock, draw_key, micros_now
from fedyard.sealed.errors import (
    Expired,
    Gone,
    NoKey,
    NotConsented,
    NotRecipient,
    OlderModel,
    SealError,
    TaskDiffers,
    WrongEpoch,
)
from fedyard.sealed.sealing import Digests, Origin
from fedyard.sealed.trust import Changed
from fedyard.tasks import jobs
from fedyard.tasks.child import Children
from fedyard.tasks.packed import save
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.notices import Collected, Dropped, Ended, Excluded, Invitation, MissedBy, Submitted
from fedyard.wire.problems import ProblemType
from fedyard.wire.types import Seq, Undecodable, decode

SEAL_TRIES = 5
"""How often a payload is sealed anew because a key changed in between."""
REASON_AT_MOST = 500
DISK = (OSError, sqlite3.OperationalError)
PLACES = 4
BY_THE_CLOCK = (Expired, NoKey, WrongEpoch)
"""What a site whose clock is wrong meets with."""
NOT_SO_FAR = (
    ProblemType.TOO_EARLY,
    ProblemType.ROUND_AHEAD,
    ProblemType.NOT_NOW,
    ProblemType.NOT_AGGREGATING,
    ProblemType.TASK_WAITING,
)
"""How a hub refuses a report that its run has not come to: that is so where its history went back."""
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


class Uninvited(msgspec.Struct, frozen=True):
    """What of an invitation is needed to refuse it."""

    report_seq: Seq
    number: Seq = 0
    attempt: Seq = 0


class Aggregated(msgspec.Struct, frozen=True):
    """How an aggregation went at the coordinator. digests: what its model was made of."""

    finished: jobs.Finished
    left_out: Sequence[LeftOut] = ()
    digests: Digests | None = None


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
        room = Room(folder.path / "messages", settings.messages)
        room.forget_old(micros_now())
        self._payloads = Payloads(folder.path, state, client, courier, self._patience, room, log)
        self.receipts = Receipts(site_id, state, client, clock=clock, log=log)
        self._log = log
        self._steps: dict[str, Callable[[Entry], None]] = {
            "invited": self._invited,
            "round_started": self._round_started,
            "aggregate": self._aggregate,
            "round_completed": self._round_completed,
            "seat_dropped": self._seat_dropped,
            "seat_left_out": self._seat_left_out,
            "receipt_missing": self._receipt_missing,
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
        except (Undecodable, Outside, Unacceptable, msgspec.DecodeError) as error:
            fact = (
                str(error) if not isinstance(error, msgspec.DecodeError) else "its facts are not of the form they have"
            )
            self._log("not understood", entry=entry.seq, kind=entry.kind, detail=fact)
            why = f"this site's agent does not understand {entry.kind!r}: {fact}"
            return self._given_up(entry, "not understood", why[:REASON_AT_MOST])
        except Exception as error:  # noqa: BLE001 - an entry must not end the agent
            fault = type(error).__name__
            self._log("entry failed", entry=entry.seq, kind=entry.kind, error=fault, at=place_of(error))
            why = "its disk is full or failed" if isinstance(error, DISK) else "the agent's log at the site says where"
            return self._given_up(entry, "failed", f"this site's agent could not do what {entry.kind} asks for: {why}")

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
            if error.token_unknown:
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
            if isinstance(error, Refused) and error.token_unknown:
                raise
            self._log("seat not failed", entry=entry.seq, error=type(error).__name__, at=place_of(error))
        return outcome

    # consent

    def _consented(self, entry: Entry) -> None:
        """Raises `NotConsented` unless this site serves the entry's project, under the coordinator of its consent."""
        consent = self.courier.consented(entry.project_id)
        if entry.run_id is not None:
            known = self.state.seats.project_of(entry.run_id)
            if known not in (None, entry.project_id):
                raise NotConsented(
                    f"run {entry.run_id} belongs to project {known}, and the hub now shows it in {entry.project_id}"
                )
        if entry.kind == "invited":
            said = decode(entry.facts, Invitation[TaskSpec]).coordinator_site_id
            if said not in (None, consent.coordinator):
                raise NotConsented(
                    f"project {consent.name!r} ({consent.project_id}) was joined under the coordinator "
                    f"{consent.coordinator}, and the hub invites to it under {said}"
                )

    def _not_served(self, entry: Entry, refusal: NotConsented) -> str:
        """Fail the seat, or the coordinator's round, once; nothing else follows from such an entry.

        A lying hub may invite to one seat for ever: it is told once, and so are this site's people.
        """
        try:
            if entry.kind in ("invited", "round_started"):
                if not self.state.seats.failed_before(*_task(entry), entry.seq, answered=False):
                    self._log("not served", project=entry.project_id, run=entry.run_id, detail=str(refusal))
                if not self.state.seats.failed_before(*_task(entry), entry.seq, answered=True):
                    self._refuse_seat(entry, _reason(refusal))
            elif entry.kind == "aggregate":
                self._log("not served", project=entry.project_id, run=entry.run_id, detail=str(refusal))
                self._send(entry, self._keep(entry, _NO_MODEL, {"failure": _reason(refusal)}))
        except Overtaken:
            pass
        except Refused as error:
            if error.token_unknown:
                raise
        return f"not served: {refusal.slug}"

    def _refuse_seat(self, entry: Entry, reason: str) -> None:
        run_id, task_seq = _task(entry)
        if entry.kind == "invited" and not self.state.seats.reports(entry.seq):
            facts = decode(entry.facts, Uninvited)
            seat = Seat(run_id, task_seq, facts.report_seq, b"{}", facts.number, facts.attempt)
            self.state.seats.keep_seat(seat)
        self._report(entry, "fail", reason=reason)

    # what a kind of entry leads to

    def _invited(self, entry: Entry) -> None:
        """Check the site's data and say that it is ready; it may take long at first, so accept is said before."""
        run_id, task_seq = _task(entry)
        facts = decode(entry.facts, Invitation[TaskSpec])
        known = self.state.seats.get(run_id, task_seq)
        made = self.state.seats.reports(entry.seq)
        self.receipts.over(entry, before=entry.round)
        seat = Seat(
            run_id=run_id,
            task_seq=task_seq,
            report_seq=known.report_seq if known and made else facts.report_seq,
            task_json=msgspec.json.encode(facts.task),
            number=facts.number,
            attempt=facts.attempt,
            model_id=known.model_id if known else None,
            project_id=entry.project_id,
        )
        self.state.seats.keep_seat(seat)
        for report in made:  # before a crash; nothing may come in between their numbers
            self._send(entry, report)
            if report.event != "accept":
                return
        if not made and not self.children.known(run_id, task_seq):
            self._report(entry, "accept")
        try:
            self._hold(entry, facts.task)
            if entry.message is not None:
                shown = self._payloads.model(entry, entry.message.id, start=True).origin
                self._check_start(entry, shown, self._payloads.model_origin(seat.model_id))
                seat = msgspec.structs.replace(self._seat(entry), model_id=entry.message.id)
                self.state.seats.keep_seat(seat)
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
        begun = self.state.seats.reports(entry.seq)
        try:
            if not begun and self.state.results.made(entry.seq, entry.run_id) is None:
                finished = self._computed(entry, "train", decode(seat.task_json, TaskSpec), seat)
                if finished.error:
                    self._report(entry, "fail", reason=finished.error)
                    return
                self._keep_made(entry, finished, digests=self._of_update(seat), seconds=round(finished.seconds, 6))
            for report in begun:  # before a crash
                if report.event == "fail":
                    self._send(entry, report)
                    return
            self._report(entry, "trained")
            self._deliver(entry, "submit", self._payloads.sealed_update)
            if decode(seat.task_json, TaskSpec).aggregate:
                self.receipts.submitted(entry)
            self._payloads.forget(entry)
        except SealError as error:
            self._refuse_payload(entry, error)
        except Refused as error:
            if error.token_unknown or error.status in NOT_NOW:
                raise
            self._report(entry, "fail", reason=f"the hub refused the update: {error.slug}")

    def _aggregate(self, entry: Entry) -> None:
        """The coordinator's part. Updates that cannot be opened are left out, and named to the hub."""
        failure: str = ""
        left_out: Sequence[LeftOut] = ()
        try:
            if not self.state.seats.reports(entry.seq) and self.state.results.made(entry.seq, entry.run_id) is None:
                done = self._aggregated(entry)
                failure, left_out = done.finished.error, done.left_out
                if not failure:
                    self._keep_made(entry, done.finished, left_out, digests=done.digests)
            if not failure and self.state.seats.report(entry.seq, _NO_MODEL) is None:
                self._deliver(entry, _MODEL, self._payloads.sealed_model)
                self._payloads.forget(entry)
                return
        except contract.ListRefused as error:
            failure = str(error)[:REASON_AT_MOST]
            self._log("aggregation refused", entry=entry.seq, run=entry.run_id, reason=error.slug, detail=str(error))
        except SealError as error:
            failure = self._why(error)
            if isinstance(error, Changed):
                raise
        except Refused as error:
            if error.token_unknown or error.status in NOT_NOW:
                raise
            failure = f"the hub refused the model: {error.slug}"
        self._send(entry, self._keep(entry, _NO_MODEL, {"failure": failure, **_without(left_out)}))

    def _aggregated(self, entry: Entry) -> Aggregated:
        """The model of a round, made of the updates that the hub lists, if that list can be believed.

        Below the quorum, which is this site's own count, the hook is not called. Raises `ListRefused`.
        """
        run_id, task_seq = _task(entry)
        assert entry.round is not None
        facts = decode(entry.facts, Collected)
        here = contract.Place(run_id, task_seq, entry.round)
        if self.state.runs.ended(run_id):
            raise contract.ListRefused("run_over", f"run {run_id} is over, as this coordinator was told before")
        known, spec, start = self._coordinated(entry)
        self._check_list(entry, here, facts.submissions)
        usable = self._payloads.updates(entry, facts.submissions, known.digest, start)
        if refusal := self._too_few(entry, here, len(usable.updates), known, spec):
            return Aggregated(jobs.Finished(error=refusal), usable.left_out)
        seat = self.state.seats.get(run_id, task_seq)
        finished = self._computed(entry, "aggregate", spec, seat, usable.updates)
        unfit = [LeftOut(site_id, UNUSABLE, why) for site_id, why in sorted(finished.left_out.items())]
        left_out = (*usable.left_out, *unfit)
        if unfit and not finished.error:
            refusal = self._too_few(entry, here, len(usable.updates) - len(unfit), known, spec)
            if refusal:
                named = "; ".join(f"{one.site_id}: {one.detail}" for one in left_out)
                return Aggregated(jobs.Finished(error=f"{refusal}: {named}"[:REASON_AT_MOST]), left_out)
        receipts = [receipt for site_id, receipt in usable.receipts.items() if site_id not in finished.left_out]
        digests = Digests(known.digest, _one(start), sorted(set(receipts)))
        if not finished.error:
            self._check_same(here, digests)
        return Aggregated(finished, left_out, digests)

    def _too_few(self, entry: Entry, here: contract.Place, usable: int, known: RunTask, spec: TaskSpec) -> str:
        """Why so many updates are too few for a model; empty if they are enough."""
        try:
            contract.check_count(here, usable, spec.contract, len(known.seats), self.settings.coordinator.min_updates)
        except contract.ListRefused as error:
            self._log("aggregation refused", entry=entry.seq, run=here.run_id, reason=error.slug, detail=str(error))
            return str(error)[:REASON_AT_MOST]
        return ""

    def _check_list(self, entry: Entry, here: contract.Place, submissions: Sequence[Submitted]) -> None:
        """The hub's list against the updates that are here. Raises `ListRefused`.

        One that is here and not listed is explained only by its site having left the project.
        """
        listed = [(s.site_id, s.message_id) for s in submissions]
        held = self.state.bodies.held_updates(here.run_id)
        contract.check_list(here, listed, held)
        missing = contract.not_listed(here, listed, held)
        if missing:
            members = self._payloads.members(entry)
            missing = [site_id for site_id in missing if site_id in members]
        if missing:
            raise contract.list_shortened(here, missing)

    def _check_same(self, here: contract.Place, digests: Digests) -> None:
        """A round has one model: of other updates than before none is made. Raises `ListRefused`."""
        before = self.state.runs.made_of(here.run_id, here.task_seq, here.round)
        if before and before != made_of(digests):
            raise contract.ListRefused(
                "aggregated_before", f"a model of {here} was sealed before, of other updates than the hub lists now"
            )

    def _coordinated(self, entry: Entry) -> tuple[RunTask, TaskSpec, set[str | None]]:
        """The task that an aggregation is of, with its seats; and the model that its round starts from.

        The task is the one that was seen first, and one that this site's people gave, if they gave any. The model is
        the one that this site has sealed last in this task run; before there is one, the hub says which, but it has to
        be one of this site's and project's, and every update of the round has to agree. Raises `SealError`.
        """
        run_id, task_seq = _task(entry)
        assert entry.round is not None
        known = self.state.runs.run_task(run_id, task_seq)
        before = self.state.runs.newest_sealed(run_id, task_seq, below=entry.round)
        if known is not None and known.seats and before is not None:
            spec = decode(known.task_json, TaskSpec)
            return known, spec, _digests(self.state.runs.sealed(run_id, task_seq, before, "model"))
        run = self._patience.asked(entry, lambda: self.client.run(run_id))
        task = next((task for task in run.tasks if task.seq == task_seq), None)
        if task is None:
            raise contract.ListRefused("no_such_task", f"run {run_id}, as the hub shows it, has no task {task_seq}")
        known = self._hold(entry, task.spec, seats=[seat.site_id for seat in task.seats])
        if before is not None:
            return known, task.spec, _digests(self.state.runs.sealed(run_id, task_seq, before, "model"))
        return known, task.spec, {self._payloads.start_of(entry, task.model_message_id)}

    def _hold(self, entry: Entry, spec: TaskSpec, seats: Sequence[str] = ()) -> RunTask:
        """Hold the hub to a task of a run as it was first shown, and to the tasks of this site's people.

        Raises `TaskDiffers`.
        """
        run_id, task_seq = _task(entry)
        digest = contract.task_digest(spec)
        known = self.state.runs.run_task(run_id, task_seq)
        if known is not None and known.digest != digest:
            raise TaskDiffers(f"task {spec.name!r} of run {run_id} is not as it was when the run began")
        ours = self.state.runs.own_tasks(entry.project_id or "")
        if ours and digest not in ours:
            raise TaskDiffers(
                f"task {spec.name!r} of run {run_id} is none of those that this site gave to project {entry.project_id}"
            )
        before = known.seats if known is not None else ()
        held = RunTask(run_id, task_seq, digest, msgspec.json.encode(spec), sorted({*before, *seats}))
        if held != known:
            self.state.runs.keep_run_task(held)
        return held

    @staticmethod
    def _check_start(entry: Entry, shown: Origin | None, newest: Origin | None) -> None:
        """Is the model that a seat is to start with newer than what it has, and of its task? Raises `SealError`.

        Before this site has seen a model of the task run, the hub says which one it starts from.
        """
        if shown is None:
            return
        task_run = (entry.run_id, entry.task_seq)
        here = (shown.run, shown.task) == task_run
        if here and (shown.round or 0) >= (entry.round or 1):
            raise OlderModel(f"round {entry.round} cannot start from the model of round {shown.round}")
        if newest is None or (newest.run, newest.task) != task_run:
            return
        if not here or (shown.round or 0) < (newest.round or 0):
            raise OlderModel(
                f"round {entry.round} is to start from a model of round {shown.round} in run {shown.run}, and this "
                f"site has that of round {newest.round} in run {newest.run}"
            )

    def _of_update(self, seat: Seat) -> Digests:
        """What an update of this seat says of its task and of the model that it starts from."""
        origin = self._payloads.model_origin(seat.model_id)
        spec = decode(seat.task_json, TaskSpec)
        return Digests(contract.task_digest(spec), None if origin is None else origin.digest)

    def _round_completed(self, entry: Entry) -> None:
        """Keep the new global model: for the next round, and as a file for people. Look for our update in it."""
        try:
            origin = None if entry.message is None else self._take_model(entry, entry.message.id)
        except SealError as error:
            if not isinstance(error, Changed):
                self.receipts.completed(entry, None, f"seal_{error.slug}")
            raise
        self.receipts.completed(entry, origin, NO_MODEL if entry.message is None else "")
        for file in self.state.bodies.forget_round(entry):
            Path(file).unlink(missing_ok=True)

    def _take_model(self, entry: Entry, message_id: str) -> Origin | None:
        """What the header of a round's model says; the model is there for the next round. Raises `SealError`."""
        seat = self.state.seats.get(*_task(entry))
        if seat is None:
            return None
        model = self._payloads.model(entry, message_id)
        digests = None if model.origin is None else model.origin.digests
        spec = decode(seat.task_json, TaskSpec)
        if digests is not None and digests.task != contract.task_digest(spec):
            raise TaskDiffers(f"the model of round {entry.round} in run {entry.run_id} was made of another task")
        self.state.seats.keep_seat(msgspec.structs.replace(seat, model_id=message_id))
        folder = self.folder.path / "models"
        folder.mkdir(mode=0o700, exist_ok=True)
        save(model.content, under(folder, f"run-{seat.number}.{seat.attempt}-{spec.name}-{seat.run_id[:8]}"))
        return model.origin

    def _seat_dropped(self, entry: Entry) -> None:
        """Come back if that is allowed and wanted; the hub is asked how many reports it has counted."""
        facts = decode(entry.facts, Dropped)
        self.receipts.told(entry)
        seat = self._seat(entry)
        if not (facts.may_rejoin and self.settings.rejoin):
            return
        if self.state.seats.report(entry.seq, "rejoin") is None:
            run = self._patience.asked(entry, lambda: self.client.run(seat.run_id))
            ours = [s for s in run.task(seat.task_seq).seats if s.site_id == self.site_id]
            if not ours or ours[0].state != "dropped":
                return
            self.state.seats.keep_seat(msgspec.structs.replace(seat, report_seq=ours[0].report_seq))
        self._report(entry, "rejoin")

    def _seat_left_out(self, entry: Entry) -> None:
        """Nothing to do: the seat has failed, and the run shows the coordinator's sentence."""
        facts = decode(entry.facts, Excluded)
        self.receipts.told(entry)
        self._log("our update was not used", run=entry.run_id, round=entry.round, reason=facts.reason)

    def _receipt_missing(self, entry: Entry) -> None:
        """To the coordinator: a participant says that it does not find its update in the model."""
        facts = decode(entry.facts, MissedBy)
        self._log(
            "a site misses its update", run=entry.run_id, round=entry.round, about=facts.site_id, why=facts.reason
        )

    def _task_ended(self, entry: Entry) -> None:
        if decode(entry.facts, Ended).state == "succeeded":
            self.receipts.over(entry)
        self.children.end(*_task(entry))

    def _run_ended(self, entry: Entry) -> None:
        """Everything of the run goes, but for its last models."""
        assert entry.run_id is not None
        if decode(entry.facts, Ended).state == "succeeded":
            self.receipts.over(entry)
        self.forget_run(entry.run_id)

    def lose_run(self, run_id: str) -> None:
        """A run that the hub has forgotten. Of updates that it had accepted people are told."""
        self.receipts.forgotten(run_id)
        self.forget_run(run_id)

    def forget_run(self, run_id: str) -> None:
        """Its processes end; what its hooks kept and what was opened goes. Harmless when repeated."""
        self.children.end(run_id)
        shutil.rmtree(under(self._runs(), run_id), ignore_errors=True)
        self.state.runs.forget_run(run_id)  # last: the entry that led here is done with it

    def _member_invited(self, entry: Entry) -> None:
        """Accept an invitation to a project that this site serves, or is configured to join."""
        project_id = entry.project_id
        assert project_id is not None
        project = self._patience.asked(entry, lambda: self.client.project(project_id))
        self._patience.asked(entry, lambda: self.joining.invited(project, self.settings.join))

    # how

    def _message(self, entry: Entry) -> None:
        """Open what another site has sent, while the key is there; people read it with `fedyard site inbox`."""
        self._payloads.arrived(entry)

    def _keep_made(
        self,
        entry: Entry,
        finished: jobs.Finished,
        left_out: Sequence[LeftOut] = (),
        *,
        digests: Digests | None,
        **more: float,
    ) -> None:
        """What a hook made, on disk until the hub has it. digests: what it was made of."""
        packed = finished.packed
        assert packed is not None
        assert entry.run_id is not None
        metrics = {**finished.metrics, **more}
        self.state.results.keep_made(
            Made(entry.seq, entry.run_id, packed.content, packed.file, metrics, left_out, digests)
        )

    def _deliver(self, entry: Entry, event: str, seal: Callable[[Entry, Made], dict[str, object]]) -> None:
        """Seal and report what was made; sealed anew if a key was revoked or superseded on the way."""
        for last in (*[False] * (SEAL_TRIES - 1), True):
            report = self.state.seats.report(entry.seq, event)
            if report is None:
                made = self.state.results.made(entry.seq, entry.run_id)
                if made is None:  # the hub had it, and has forgotten it
                    raise Gone(f"what was made for round {entry.round} is not kept any more, and cannot be sealed anew")
                carried = {"metrics": made.metrics, **_without(made.left_out), **seal(entry, made)}
                report = self._keep(entry, event, carried)
            try:
                self._send(entry, report)
            except Refused as error:
                if error.problem not in SEAL_ANEW or last:
                    raise
                self._log("sealed anew", entry=entry.seq, reason=error.slug, detail=error.detail)
                self._payloads.renew(entry)
                continue
            return

    def _refuse_payload(self, entry: Entry, error: SealError) -> None:
        """A payload that cannot be opened or sealed fails the seat, with its reason."""
        if isinstance(error, Changed):
            raise error
        self._report(entry, "fail", reason=self._why(error))

    def _why(self, error: SealError) -> str:
        """The reason of a failed seal; with both clocks, if they are far apart and it may come of that."""
        off = self.client.clock_off() if isinstance(error, BY_THE_CLOCK) else None
        return _reason(error) if off is None else f"{off}; {_reason(error)}"[:REASON_AT_MOST]

    def _computed(
        self, entry: Entry, hook: str, spec: TaskSpec, seat: Seat | None, updates: list[jobs.Submitted] | None = None
    ) -> jobs.Finished:
        """A hook's outcome; a crash of its process is one, too. Raises `Overtaken` or `Halted` if it is not wanted."""
        run_id, task_seq = _task(entry)
        self._patience.go_on(entry)
        model = None
        if hook == "train" and seat and seat.model_id:
            model = jobs.packed(self._payloads.model(entry, seat.model_id, start=True).content)
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
            folder=str(under(self._runs(), run_id, str(task_seq))),
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
        seat = self.state.seats.get(*_task(entry))
        if seat is None:  # the site's memory was lost after the invitation; the hub will find the seat silent or late
            raise Overtaken
        return seat

    def _report(self, entry: Entry, event: str, *, reason: str = "") -> None:
        """Report an event of the seat once, however often this is called for the same entry."""
        if event == "fail" and self.state.seats.report(entry.seq, event) is None:
            self._log(
                "seat failed", entry=entry.seq, run=entry.run_id, task=entry.task_seq, round=entry.round, reason=reason
            )
        self._send(entry, self._keep(entry, event, {"reason": reason} if reason else {}))

    def _keep(self, entry: Entry, event: str, more: dict[str, object]) -> Report:
        """A report on disk, with its number, its key and its exact body; the one that is there already, if it is."""
        run_id, task_seq = _task(entry)
        assert entry.round is not None
        before = self.state.seats.report(entry.seq, event)
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
        if not self.state.seats.keep_report(report):
            raise Overtaken
        return report

    def _send(self, entry: Entry, report: Report) -> None:
        """Send a report unless it was answered before. Raises `Refused` if the hub does not take it."""
        if report.outcome == "ok":
            return
        if report.outcome == "refused":
            raise Overtaken
        if report.outcome == "owed":
            self._patience.go_on(entry)
            report = self.state.seats.due(report, draw_key())
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
            if error.problem in NOT_SO_FAR and self._forgotten(entry):
                self.state.seats.ask_anew(report, draw_key())
                raise Unavailable(f"the hub's history went back: {error.detail}") from None
            if error.problem in SEAL_ANEW:
                self.state.seats.seal_anew(report)
            else:
                self._answered(report, "refused")
            raise
        self._answered(report, "ok")

    def _answered(self, report: Report, outcome: str) -> None:
        if not self.state.seats.answered(report, outcome):
            raise Unavailable(f"the hub's history went back while it answered a report of run {report.run_id}")

    def _forgotten(self, entry: Entry) -> bool:
        """Has the hub forgotten what led to this entry, and this site not heard of it yet?"""
        try:
            return self._patience.asked(entry, lambda: went_back(self.state, self.client))
        except Overtaken:  # it has heard of it just now, or the entry is not wanted for another reason
            return False


def place_of(error: BaseException) -> str:
    """The last lines that an exception went through, for this site's own log: files and numbers, no values."""
    frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))


def _task(entry: Entry) -> tuple[str, int]:
    """The run and the task that an entry is about."""
    assert entry.run_id is not None
    assert entry.task_seq is not None
    return entry.run_id, entry.task_seq


def _digests(sealed: dict[str, Digests | None]) -> set[str | None]:
    """The seal digests of one model, sealed anew or not; None where it went unsealed."""
    return {digest or None for digest in sealed}


def _one(start: set[str | None]) -> str | None:
    """The model that is named as the start: the same one for every coordinator that seals it anew."""
    return min((digest for digest in start if digest is not None), default=None)


def _without(left_out: Sequence[LeftOut]) -> dict[str, object]:
    """The fields of a report that name who was left out."""
    return {"left_out": left_out} if left_out else {}


def _reason(error: SealError) -> str:
    """What the coordinator is told of a payload that could not be sealed or opened: a code, and the fact."""
    code = error.slug if isinstance(error, NotConsented) else f"seal_{error.slug}"
    return f"{code}: {error.fact}"[:REASON_AT_MOST]
