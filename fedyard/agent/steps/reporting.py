"""Reports of an entry: on disk with key and number, then sent, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from fedyard.agent.courier import SEAL_ANEW
from fedyard.agent.patience import Overtaken
from fedyard.agent.recovery import went_back
from fedyard.agent.state import LeftOut, Made, Report, Seat
from fedyard.agent.steps.common import Common, task_of
from fedyard.client.errors import Refused, Unavailable
from fedyard.clock import draw_key, micros_now
from fedyard.sealed.errors import Expired, Gone, NoKey, NotConsented, SealError, WrongEpoch
from fedyard.sealed.trust import Changed
from fedyard.wire.answers import Entry
from fedyard.wire.problems import ProblemType

SEAL_TRIES = 5
"""How often a payload is sealed anew because a key changed in between."""
MAX_REASON = 500
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
SUBMIT = "submit"
AGGREGATED, AGGREGATION_FAILED = "aggregated", "aggregation_failed"
"""What a coordinator reports; everything else is about its own seat and counted there."""


class _Why(msgspec.Struct):
    """What of a report says that something failed."""

    reason: str = ""
    failure: str = ""

    @property
    def sentence(self) -> str:
        return self.reason or self.failure


class Reporting:
    """Reports of an entry: on disk with key and number, then sent, each once."""

    def __init__(self, common: Common) -> None:
        self._at = common
        self._failed: dict[int, str] = {}

    def deliver(self, entry: Entry, event: str, seal: Callable[[Entry, Made], dict[str, object]]) -> None:
        """Seal and report what was made; sealed anew if a key was revoked or superseded on the way."""
        for last in (*[False] * (SEAL_TRIES - 1), True):
            report = self._at.state.seats.report(entry.seq, event)
            if report is None:
                made = self._at.state.results.made(entry.seq, entry.run_id)
                if made is None:  # the hub had it, and has forgotten it
                    raise Gone(f"what was made for round {entry.round} is not kept any more, and cannot be sealed anew")
                said = {"code": made.code} if event == SUBMIT and made.code else {}
                carried = {"metrics": made.metrics, **said, **naming(made.left_out), **seal(entry, made)}
                report = self.keep(entry, event, carried)
            try:
                self.send(entry, report)
            except Refused as error:
                if error.problem not in SEAL_ANEW or last:
                    raise
                self._at.log("sealed anew", entry=entry.seq, reason=error.slug, detail=error.detail)
                self._at.payloads.renew(entry)
                continue
            return

    def fail_payload(self, entry: Entry, error: SealError) -> None:
        """A payload that cannot be opened or sealed fails the seat, with its reason."""
        if isinstance(error, Changed):
            raise error
        self.report(entry, "fail", reason=self.why(error))

    def why(self, error: SealError) -> str:
        """The reason of a failed seal; with both clocks, if they are far apart and it may come of that."""
        off = self._at.client.clock_off() if isinstance(error, BY_THE_CLOCK) else None
        return reason_of(error) if off is None else f"{off}; {reason_of(error)}"[:MAX_REASON]

    def seat(self, entry: Entry) -> Seat:
        seat = self._at.state.seats.get(*task_of(entry))
        if seat is None:  # the site's memory was lost after the invitation; the hub will find the seat silent or late
            raise Overtaken
        return seat

    def report(self, entry: Entry, event: str, *, reason: str = "", code: str = "") -> None:
        """Report an event of the seat once, however often this is called for the same entry. code: its digest."""
        if event == "fail" and self._at.state.seats.report(entry.seq, event) is None:
            self._at.log(
                "seat failed", entry=entry.seq, run=entry.run_id, task=entry.task_seq, round=entry.round, reason=reason
            )
        said = {"reason": reason, "code": code}
        self.send(entry, self.keep(entry, event, {name: text for name, text in said.items() if text}))

    def keep(self, entry: Entry, event: str, more: dict[str, object]) -> Report:
        """A report on disk, with its number, its key and its exact body; the one that is there already, if it is."""
        run_id, task_seq = task_of(entry)
        assert entry.round is not None
        before = self._at.state.seats.report(entry.seq, event)
        if before is not None:
            return before
        seq, body = 0, more
        if event not in (AGGREGATED, AGGREGATION_FAILED):
            seq = self.seat(entry).report_seq + 1
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
        if not self._at.state.seats.keep_report(report, micros_now()):
            raise Overtaken
        return report

    def note_failed(self, entry: Entry, reason: str) -> None:
        """What an entry asks for could not be done: that is how it went."""
        self._failed[entry.seq] = reason

    def outcome(self, entry: Entry) -> str:
        """How an entry went that was followed to its end."""
        reason = self._failed.get(entry.seq)
        return "done" if reason is None else f"failed: {reason}"

    def forget_outcome(self, entry: Entry) -> None:
        """It was asked for, or another one is told."""
        self._failed.pop(entry.seq, None)

    def send(self, entry: Entry, report: Report) -> None:
        """Send a report unless it was answered before. Raises `Refused` if the hub does not take it."""
        if report.event in ("fail", AGGREGATION_FAILED):
            self.note_failed(entry, msgspec.json.decode(report.body, type=_Why).sentence)
        if report.outcome == "ok":
            return
        if report.outcome == "refused":
            raise Overtaken
        if report.outcome == "owed":
            self._at.patience.go_on(entry)
            report = self._at.state.seats.due(report, draw_key())
        try:
            if report.event in (AGGREGATED, AGGREGATION_FAILED):
                self._at.patience.asked(
                    entry,
                    lambda: self._at.client.aggregated(
                        report.run_id, report.task_seq, report.round, report.body, key=report.key
                    ),
                )
            else:
                answer = self._at.patience.asked(
                    entry,
                    lambda: self._at.client.report(
                        report.run_id, report.task_seq, self._at.site_id, report.body, key=report.key
                    ),
                )
                if answer.reason:
                    self._at.log(
                        "seat failed", entry=entry.seq, run=entry.run_id, where="the hub", reason=answer.reason
                    )
        except Refused as error:
            if error.problem in NOT_SO_FAR and self._forgotten(entry):
                self._at.state.seats.ask_anew(report, draw_key())
                raise Unavailable(f"the hub's history went back: {error.detail}") from None
            if error.problem in SEAL_ANEW:
                self._at.state.seats.seal_anew(report)
            else:
                self._answered(report, "refused")
            raise
        self._answered(report, "ok")

    def _answered(self, report: Report, outcome: str) -> None:
        if not self._at.state.seats.answered(report, outcome):
            raise Unavailable(f"the hub's history went back while it answered a report of run {report.run_id}")

    def _forgotten(self, entry: Entry) -> bool:
        """Has the hub forgotten what led to this entry, and this site not heard of it yet?"""
        try:
            return self._at.patience.asked(entry, lambda: went_back(self._at.state, self._at.client))
        except Overtaken:  # it has heard of it just now, or the entry is not wanted for another reason
            return False


def naming(left_out: Sequence[LeftOut]) -> dict[str, object]:
    """The fields of a report that name who was left out."""
    return {"left_out": left_out} if left_out else {}


def reason_of(error: SealError) -> str:
    """What the coordinator is told of a payload that could not be sealed or opened: a code, and the fact."""
    code = error.slug if isinstance(error, NotConsented) else f"seal_{error.slug}"
    return f"{code}: {error.fact}"[:MAX_REASON]
