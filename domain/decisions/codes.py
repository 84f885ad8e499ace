"""The code that a task's sites run, by the digest that each says of its own: which seats may take part with it.

The hub sees no code. A site that lies about its digest is not found out here; one that was not updated is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from domain import commands as c
from domain import records as r
from domain.states import Report
from domain.values import ANY_CODE, SAME_CODE, TaskSpec
from fedyard.wire.plurals import counted

DIFFERS = "code_differs"
"""The reason of a seat that failed of it."""
SAID_IN = (Report.READY, Report.SUBMIT)
"""Reports that say the digest: before the site computes anything of a round, and with what it made."""


def reference(task: r.TaskRun, spec: TaskSpec, said: str | None) -> str:
    """The digest that all seats of a task are held to; empty for none. said: by a seat that comes now.

    With `same` it is the first one that was said in the run; the task remembers it.
    """
    if spec.code == ANY_CODE:
        return ""
    return (task.code or said or "") if spec.code == SAME_CODE else spec.code


def why_refused(task: r.TaskRun, spec: TaskSpec, command: c.ReportSeat, seats: Iterable[r.Seat]) -> str:
    """Why a seat does not take part with the code that its site says it runs; empty if it does. seats: the task's.

    Its site reads this, which may know how many seats run which code, and not whose they are: no other site is named.
    """
    if spec.code == ANY_CODE or command.event not in SAID_IN:
        return ""
    wanted = reference(task, spec, command.code)
    if command.code == wanted:
        return ""
    here = f"has the digest {command.code}" if command.code else "has no digest that it says"
    first = (
        "the seat that was ready first in this run (its coordinator sees whose it is) has"
        if spec.code == SAME_CODE
        else "the task names"
    )
    return (
        f"the code of {spec.model!r} at site {command.site_id} {here}, and all sites of task {task.name!r} are to run "
        f"the same; {first} {wanted or 'none yet'}{_remedies(command, wanted, seats)}"
    )


def _remedies(command: c.ReportSeat, wanted: str, seats: Iterable[r.Seat]) -> str:
    """How many seats say which digest, and what either of the two sides can do."""
    if not command.code:
        return ": have the site run an agent that says its digest, then restart the run"
    said = Counter(seat.code for seat in seats if seat.code and seat.site_id != command.site_id)
    said[command.code] += 1
    others = said.total() - said[wanted] - said[command.code]
    more = f", {others} with another" if others else ""
    return (
        f". {counted(said.total(), 'seat has', 'seats have')} said a digest so far, {said[wanted]} with that one, "
        f"{said[command.code]} with this site's{more}: bring this site's code to that one, then restart the run; or, "
        f'if that one is the odd one, have the project name the digest in its task ("code": "{command.code}"), then '
        "start a new run"
    )
