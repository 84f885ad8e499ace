"""What a live run waits for, read off the run as it is shown: pure, and the same for whoever shows it.

The law that it follows is the hub's (docs/states.md): a round's stage ends early when nobody is waited for any more
and its quorum is there; at its deadline it goes on without the late if the quorum is there, and if not is extended or
fails. One that is scored is done at its deadline with the scores that have come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from fedyard.wire.answers import Round, Run, Seat, TaskRun

SELECTING, TRAINING, AGGREGATING, SCORING = "selecting", "training", "aggregating", "scoring"
_THERE = {
    SELECTING: frozenset({"ready", "training", "uploading", "submitted"}),
    TRAINING: frozenset({"submitted"}),
    SCORING: frozenset({"scored"}),
}
"""What a stage waits for its seats to reach."""
OUT = frozenset({"done", "failed", "dropped", "cancelled"})
"""States of a seat that nothing waits for."""
NOT_ASKED = frozenset({"resting"})
"""States of a live seat that has no part in the present round."""

_OWN_WORD: Mapping[str, str] = {
    "approval": "What waits for approval waits for its site's people: fedyard site policy there shows them the task, "
    "fedyard site approve or refuse answers.",
    "hours": "What waits for hours goes on by itself when they begin, if that is before the deadline.",
}

AtDeadline: TypeAlias = Literal["goes_on", "is_extended", "fails", "unknown", "takes_scores"]
"""takes_scores: the round is done with the scores that have come."""


@dataclass(frozen=True)
class Waits:
    """An active task's round, and whom it waits for.

    round: None where none is open yet. there: how many seats have done what the stage waits for; late: those that
    have not; out: those that it does not wait for. Those that rest in the round are none of these. Who waits for the
    coordinator's model waits for no seat.
    whole: False for who sees its own seat alone, so that nothing follows from what is not there.
    """

    task: TaskRun
    round: Round | None
    there: int = 0
    late: tuple[Seat, ...] = ()
    out: tuple[Seat, ...] = ()
    whole: bool = True

    @property
    def coordinator(self) -> bool:
        """Is it the coordinator who is waited for?"""
        return self.round is not None and self.round.state == AGGREGATING

    @property
    def waits_for(self) -> int:
        """How many seats it waits for."""
        return len(self.late)

    @property
    def missing(self) -> int:
        """How many seats the quorum still lacks."""
        return 0 if self.round is None or self.scoring else max(0, self.round.quorum - self.there)

    @property
    def scoring(self) -> bool:
        """Is it scores that it waits for?"""
        return self.round is not None and self.round.state == SCORING

    @property
    def wanted(self) -> str:
        """The word for what seats have to reach in this stage."""
        if self.scoring:
            return "scored"
        return "ready" if self.round is not None and self.round.state == SELECTING else "submitted"

    @property
    def at_deadline(self) -> AtDeadline:
        """What becomes of the round if nothing comes until its deadline."""
        if self.scoring:
            return "takes_scores"
        if self.coordinator:
            return "fails"
        if not self.whole:
            return "unknown"
        if not self.missing:
            return "goes_on"
        return "is_extended" if self.task.spec.contract.too_few == "wait" else "fails"

    @property
    def since(self) -> datetime | None:
        return None if self.round is None else self.round.stage_at

    @property
    def deadline(self) -> datetime | None:
        return None if self.round is None else self.round.deadline_at


def waits_of(run: Run, *, whole: bool = True) -> list[Waits]:
    """One for each active task. Empty for a run that is queued, is finished, or waits for what it does not show.

    whole: False if the run is shown to a participant, who sees its own seat alone.
    """
    if run.finished:
        return []
    return [_of_task(task, whole) for task in run.tasks if task.state == "active"]


def _of_task(task: TaskRun, whole: bool) -> Waits:
    here = next((each for each in task.rounds if each.number == task.round), None)
    if here is None:
        return Waits(task, None, whole=whole)
    out = tuple(seat for seat in task.seats if seat.state in OUT)
    if here.state == AGGREGATING:
        return Waits(task, here, len(here.submissions), out=out, whole=whole)
    # a seat that has rejoined for a later round is of no count in this one
    seats = [seat for seat in task.seats if seat.round == here.number and seat.state not in OUT | NOT_ASKED]
    there = [seat for seat in seats if seat.state in _THERE.get(here.state, ())]
    late = tuple(seat for seat in seats if seat not in there)
    return Waits(task, here, len(there), late, out, whole)


def own_word_remedies(waits_for: Iterable[str]) -> list[str]:
    """What people can do about seats that wait by their sites' own word. waits_for: of each seat, or empty."""
    waiting = set(waits_for)
    return [remedy for word, remedy in _OWN_WORD.items() if word in waiting]
