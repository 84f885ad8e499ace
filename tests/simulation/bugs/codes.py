"""The code that sites say they run."""

from __future__ import annotations

from typing import Any

import domain.decisions.codes
from domain import commands as c
from domain import records as r
from domain.values import TaskSpec
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World

_codes: Any = domain.decisions.codes


@bug("a seat with other code takes part, where all are to run the same", shown_by=20)
def other_code_takes_part(_: World) -> list[Swap]:
    def content(_task: r.TaskRun, _spec: TaskSpec, _command: c.ReportSeat, _seats: list[r.Seat]) -> str:
        return ""

    return [(_codes, "why_refused", content)]
