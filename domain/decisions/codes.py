"""The code that a task's sites run, by the digest that each says of its own: which seats may take part with it.

The hub sees no code. A site that lies about its digest is not found out here; one that was not updated is.
"""

from __future__ import annotations

from domain import commands as c
from domain import records as r
from domain.states import Report
from domain.values import ANY_CODE, SAME_CODE, TaskSpec

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


def why_refused(task: r.TaskRun, spec: TaskSpec, command: c.ReportSeat) -> str:
    """Why a seat does not take part with the code that its site says it runs; empty if it does."""
    if spec.code == ANY_CODE or command.event not in SAID_IN:
        return ""
    wanted = reference(task, spec, command.code)
    if command.code == wanted:
        return ""
    first = "the seat that was ready first in this run has" if spec.code == SAME_CODE else "the task names"
    here = f"has the digest {command.code}" if command.code else "has no digest that it says"
    remedy = "bring the site's code to what the others run, then restart the run"
    return (
        f"the code of {spec.model!r} at site {command.site_id} {here}, and all sites of task {task.name!r} are to run "
        f"the same; {first} {wanted or 'none yet'}: {remedy}"
    )
