"""A round's model on this site's own data: what it is worth here, or why that cannot be said.

Nothing of it costs a seat. A seat that rests in the round may hear of its run by this entry first.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fedyard.agent import contract
from fedyard.agent.state import Seat
from fedyard.agent.steps.common import Common, task_of
from fedyard.agent.steps.holding import Holding
from fedyard.agent.steps.hooks import Hooks
from fedyard.agent.steps.reporting import MAX_REASON, Reporting
from fedyard.agent.steps.taking_part import Uninvited
from fedyard.sealed.errors import Gone, SealError, TaskDiffers
from fedyard.sealed.trust import Changed
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.notices import Invitation
from fedyard.wire.scoring import wanted
from fedyard.wire.types import decode

SCORED = "scored"


class Scoring:
    """A round's model on this site's own data: what it is worth here, or why that cannot be said."""

    def __init__(self, common: Common, reports: Reporting, hooks: Hooks, holding: Holding) -> None:
        self._at = common
        self._reports, self._hooks, self._holding = reports, hooks, holding

    def score(self, entry: Entry) -> None:
        """Call the hook and say what it found; what was said before a crash is sent again."""
        facts = decode(entry.facts, Invitation[TaskSpec])
        before = self._at.state.seats.report(entry.seq, SCORED)
        if before is not None:
            self._reports.send(entry, before)
            return
        seat = self._seated(entry, facts.report_seq, facts.number, facts.attempt, msgspec.json.encode(facts.task))
        try:
            self._holding.hold(entry, facts.task)
            if not wanted(facts.task.score_every, facts.task.rounds, entry.round or 0):
                raise TaskDiffers(
                    f"the hub asks for scores of round {entry.round}; task {facts.task.name!r} has none of that round"
                )
            finished = self._hooks.call(entry, "score", facts.task, self._with_model(entry, facts.task, seat))
        except Changed:
            raise
        except SealError as error:
            self._say(entry, {}, self._reports.why(error))
            return
        if finished.error:
            self._reports.note_failed(entry, finished.error)
        metrics = {} if finished.error else self._hooks.leaving(entry, finished.metrics)
        self._say(entry, metrics, finished.error or ("" if metrics else "the task has no score here"))

    def decline(self, entry: Entry, reason: str) -> None:
        """There is no score, and why."""
        if self._at.state.seats.report(entry.seq, SCORED) is None:
            facts = decode(entry.facts, Uninvited)
            self._seated(entry, facts.report_seq, facts.number, facts.attempt, b"{}")
        self._say(entry, {}, reason)

    def _say(self, entry: Entry, metrics: Mapping[str, float], reason: str) -> None:
        if reason:
            self._at.log("no score", entry=entry.seq, run=entry.run_id, round=entry.round, reason=reason)
        said: dict[str, object] = {"metrics": metrics} | ({"reason": reason[:MAX_REASON]} if reason else {})
        self._reports.send(entry, self._reports.keep(entry, SCORED, said))

    def _seated(self, entry: Entry, report_seq: int, number: int, attempt: int, task: bytes) -> Seat:
        """This site's seat, whether it has heard of it before or not."""
        run_id, task_seq = task_of(entry)
        known = self._at.state.seats.get(run_id, task_seq)
        if known is None:
            seat = Seat(run_id, task_seq, report_seq, task, number, attempt, project_id=entry.project_id)
        else:
            seat = msgspec.structs.replace(known, report_seq=report_seq)
        self._at.state.seats.keep_seat(seat)
        return seat

    def _with_model(self, entry: Entry, spec: TaskSpec, seat: Seat) -> Seat:
        """The seat with the round's model, which is opened here. Raises `SealError`."""
        if entry.message is None:
            raise Gone(f"round {entry.round} shall be scored, and the hub shows no model of it")
        origin = self._at.payloads.model(entry, entry.message.id).origin
        digests = None if origin is None else origin.digests
        if digests is not None and digests.task != contract.task_digest(spec):
            raise TaskDiffers(f"the model of round {entry.round} in run {entry.run_id} was made of another task")
        return msgspec.structs.replace(seat, model_id=entry.message.id)
