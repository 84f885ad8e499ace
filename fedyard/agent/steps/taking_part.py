"""A participant's part: from an invitation to its update, the new model, and coming back after a drop."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fedyard.agent import contract
from fedyard.agent.joining import NOT_NOW
from fedyard.agent.paths import under
from fedyard.agent.state import Seat
from fedyard.agent.state.receipts import NO_MODEL
from fedyard.agent.steps.common import Common, task_of
from fedyard.agent.steps.holding import Holding
from fedyard.agent.steps.hooks import Hooks
from fedyard.agent.steps.reporting import Reporting
from fedyard.agent.steps.waits import is_wait
from fedyard.client.errors import Refused
from fedyard.sealed.errors import NotRecipient, SealError, TaskDiffers
from fedyard.sealed.sealing import Origin
from fedyard.sealed.trust import Changed
from fedyard.tasks.packed import save
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.notices import Dropped, Excluded, Invitation
from fedyard.wire.types import Seq, decode

_MADE_BEFORE = (
    "a model is sealed to the members of its time, so a site that joined later takes part in new runs, or in attempts "
    "that begin without a model (run restart --from start)"
)


class Uninvited(msgspec.Struct, frozen=True):
    """What of an invitation is needed to refuse it."""

    report_seq: Seq
    number: Seq = 0
    attempt: Seq = 0


class TakingPart:
    """A participant's part: from an invitation to its update, the new model, and coming back after a drop."""

    def __init__(self, common: Common, reports: Reporting, hooks: Hooks, holding: Holding) -> None:
        self._at = common
        self._reports, self._hooks, self._holding = reports, hooks, holding

    def refuse(self, entry: Entry, reason: str) -> None:
        run_id, task_seq = task_of(entry)
        if entry.kind == "invited" and not self._at.state.seats.reports(entry.seq):
            facts = decode(entry.facts, Uninvited)
            seat = Seat(run_id, task_seq, facts.report_seq, b"{}", facts.number, facts.attempt)
            self._at.state.seats.keep_seat(seat)
        self._reports.report(entry, "fail", reason=reason)

    def invited(self, entry: Entry) -> None:
        """Check the site's data and say that it is ready; it may take long at first, so accept is said before."""
        run_id, task_seq = task_of(entry)
        facts = decode(entry.facts, Invitation[TaskSpec])
        known = self._at.state.seats.get(run_id, task_seq)
        made = self._at.state.seats.reports(entry.seq)
        self._at.receipts.over(entry, before=entry.round)
        seat = Seat(
            run_id=run_id,
            task_seq=task_seq,
            report_seq=known.report_seq if known and made else facts.report_seq,
            task_json=msgspec.json.encode(facts.task),
            number=facts.number,
            attempt=facts.attempt,
            model_id=known.model_id if known else None,
            project_id=entry.project_id,
            results_json=msgspec.json.encode(known.results if known else facts.results or []),
        )
        self._at.state.seats.keep_seat(seat)
        for report in made:  # before a crash; nothing may come in between their numbers
            self._reports.send(entry, report)
            if report.event in ("ready", "fail"):
                return
        if not made and not self._at.children.known(run_id, task_seq):
            self._reports.report(entry, "accept")
        try:
            self._holding.hold(entry, facts.task)
            self._holding.check_results(entry, facts.results or [], seat)
            if entry.message is not None:
                shown = self._at.payloads.model(entry, entry.message.id, start=True).origin
                self._holding.check_start(entry, shown, self._at.payloads.model_origin(seat.model_id))
                seat = msgspec.structs.replace(self._reports.seat(entry), model_id=entry.message.id)
                self._at.state.seats.keep_seat(seat)
            finished = self._hooks.call(entry, "prepare", facts.task, seat)
        except NotRecipient as error:
            self._reports.fail_payload(entry, NotRecipient(f"{error.fact}; {_MADE_BEFORE}"))
            return
        except SealError as error:
            self._reports.fail_payload(entry, error)
            return
        if finished.error:
            self._reports.report(entry, "fail", reason=finished.error)
        else:
            self._reports.report(entry, "ready", code=finished.code)

    def round_started(self, entry: Entry) -> None:
        """Train; the update is on disk before its first report, so a crash does not train twice once it is there."""
        seat = self._reports.seat(entry)
        begun = [report for report in self._at.state.seats.reports(entry.seq) if not is_wait(report)]
        try:
            if not begun and self._at.state.results.made(entry.seq, entry.run_id) is None:
                finished = self._hooks.call(entry, "train", decode(seat.task_json, TaskSpec), seat)
                if finished.error:
                    self._reports.report(entry, "fail", reason=finished.error)
                    return
                self._hooks.keep_made(
                    entry, finished, digests=self._holding.of_update(seat), seconds=round(finished.seconds, 6)
                )
            for report in begun:  # before a crash
                if report.event == "fail":
                    self._reports.send(entry, report)
                    return
            self._reports.report(entry, "trained")
            self._reports.deliver(entry, "submit", self._at.payloads.sealed_update)
            if decode(seat.task_json, TaskSpec).aggregate:
                self._at.receipts.submitted(entry)
            self._at.payloads.forget(entry)
        except SealError as error:
            self._reports.fail_payload(entry, error)
        except Refused as error:
            if error.token_unknown or error.status in NOT_NOW:
                raise
            self._reports.report(entry, "fail", reason=f"the hub refused the update: {error.slug}")

    def round_completed(self, entry: Entry) -> None:
        """Keep the new global model: for the next round, and as a file for people. Look for our update in it."""
        try:
            origin = None if entry.message is None else self._take_model(entry, entry.message.id)
        except SealError as error:
            if not isinstance(error, Changed):
                self._at.receipts.completed(entry, None, f"seal_{error.slug}")
                self._check_made_of(entry, None)
            raise
        self._at.receipts.completed(entry, origin, NO_MODEL if entry.message is None else "")
        self._check_made_of(entry, origin)
        for file in self._at.state.bodies.forget_round(entry):
            Path(file).unlink(missing_ok=True)

    def seat_dropped(self, entry: Entry) -> None:
        """Come back if that is allowed and wanted; the hub is asked how many reports it has counted."""
        facts = decode(entry.facts, Dropped)
        self._at.receipts.told(entry)
        seat = self._reports.seat(entry)
        if not (facts.may_rejoin and self._at.settings.rejoin):
            return
        if self._at.state.seats.report(entry.seq, "rejoin") is None:
            run = self._at.patience.asked(entry, lambda: self._at.client.run(seat.run_id))
            ours = [s for s in run.task(seat.task_seq).seats if s.site_id == self._at.site_id]
            if not ours or ours[0].state != "dropped":
                return
            self._at.state.seats.keep_seat(msgspec.structs.replace(seat, report_seq=ours[0].report_seq))
        self._reports.report(entry, "rejoin")

    def seat_left_out(self, entry: Entry) -> None:
        """Nothing to do: the seat has failed, and the run shows the coordinator's sentence."""
        facts = decode(entry.facts, Excluded)
        self._at.receipts.told(entry)
        self._at.log("our update was not used", run=entry.run_id, round=entry.round, reason=facts.reason)

    def _check_made_of(self, entry: Entry, origin: Origin | None) -> None:
        """origin: what the header of the round's model says; None where the hub shows none, or none that opens."""
        seat = self._at.state.seats.get(*task_of(entry))
        makes_one = seat is None or decode(seat.task_json, TaskSpec).aggregate
        if entry.round and (makes_one or entry.message is not None):  # round 0 is made of no updates
            receipts = None if origin is None or origin.digests is None else origin.digests.receipts
            self._hooks.policy.check_model(entry, None if receipts is None else len(receipts))

    def _take_model(self, entry: Entry, message_id: str) -> Origin | None:
        """What the header of a round's model says; the model is there for the next round. Raises `SealError`."""
        seat = self._at.state.seats.get(*task_of(entry))
        if seat is None:
            return None
        model = self._at.payloads.model(entry, message_id)
        digests = None if model.origin is None else model.origin.digests
        spec = decode(seat.task_json, TaskSpec)
        if digests is not None and digests.task != contract.task_digest(spec):
            raise TaskDiffers(f"the model of round {entry.round} in run {entry.run_id} was made of another task")
        self._at.state.seats.keep_seat(msgspec.structs.replace(seat, model_id=message_id))
        folder = self._at.folder.path / "models"
        folder.mkdir(mode=0o700, exist_ok=True)
        save(model.content, under(folder, f"run-{seat.number}.{seat.attempt}-{spec.name}-{seat.run_id[:8]}"))
        return model.origin
