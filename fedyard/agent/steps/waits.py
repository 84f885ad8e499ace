"""Telling the hub what a seat waits for at its site: a person, or the hours in which the site computes.

The hub shows it to all who see the run. Nothing here depends on whether it hears of it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from fedyard.agent.state import Report
from fedyard.agent.steps.common import Common, task_of
from fedyard.agent.steps.reporting import Reporting
from fedyard.client.errors import Refused
from fedyard.wire.answers import Entry

WaitsFor: TypeAlias = Literal["approval", "hours"]
WAIT = "wait"
_OVER = f"{WAIT} is over"


def is_wait(report: Report) -> bool:
    """Does it say what is waited for, and not how far the seat is?"""
    return report.event.startswith(WAIT)


class Waits:
    """Of one entry each thing is said once, and then once that nothing is waited for any more."""

    def __init__(self, common: Common) -> None:
        self._at, self._reports = common, Reporting(common)

    def begins(self, entry: Entry, waits_for: WaitsFor, until: int | None = None) -> None:
        """until: microseconds, when the hours begin. Raises `Halted`, `Overtaken`."""
        more = {} if until is None else {"waits_until": until}
        self._say(entry, f"{WAIT} for {waits_for}", {"waits_for": waits_for, **more})

    def over(self, entry: Entry) -> None:
        """Raises `Halted`, `Overtaken`."""
        if any(is_wait(report) for report in self._at.state.seats.reports(entry.seq)):
            self._say(entry, _OVER, {})

    def _say(self, entry: Entry, name: str, more: dict[str, object]) -> None:
        before = self._at.state.seats.report(entry.seq, name)
        if self._at.state.seats.get(*task_of(entry)) is None or (before is not None and before.outcome == "refused"):
            return
        try:
            self._reports.send(entry, self._reports.keep(entry, name, {"event": WAIT, **more}))
        except Refused as error:
            if error.token_unknown:
                raise
            self._at.log("wait not told", entry=entry.seq, reason=error.slug, detail=error.detail)
