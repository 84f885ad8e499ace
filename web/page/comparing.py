"""Runs beside each other: what their global models measured, round by round."""

from __future__ import annotations

from flask import Response

from fedyard.look.forms import Form
from fedyard.look.runs.curves import MAX_POINTS, compared
from fedyard.wire import answers
from fedyard.wire.comparing import compared as settings
from storage.views import projects, runs
from storage.views.resources import RunHead
from storage.views.sight import Paging
from web.http.calls import Call
from web.page.rendering import WHERE, IdOrNone, Shown, page, shows
from web.page.seen_runs import seen_run

OFFERED = 100
"""Runs of the same project, the newest."""
MEASURED = runs.Window(rounds=MAX_POINTS // 4, sites=())
"""What is drawn: global models alone."""


class CompareQuery(Shown, frozen=True):
    """Runs that are compared with the one of the path; an empty field is as if it were left out."""

    a: IdOrNone = ""
    b: IdOrNone = ""
    c: IdOrNone = ""


def compare(call: Call) -> Response:
    ident = call.id("run_id")
    run = seen_run(call, ident, MEASURED)
    others = _others(call, run)
    known = {one.id: one for one in others}
    asked = [one for one in (call.query.a, call.query.b, call.query.c) if one in known]
    chosen = [run, *(seen_run(call, one, MEASURED) for one in dict.fromkeys(asked))]
    names = {one.id: name_of(one.number, one.attempt) for one in chosen}
    return page(
        call,
        "runs/compare.html",
        run=run,
        runs=chosen,
        names=names,
        heads=[names[one.id] for one in chosen],
        project=projects.names_of(call.web.database, call.caller.subject, [run.project_id]).get(run.project_id),
        charts=compared([(names[one.id], one) for one in chosen]),
        settings=[row for row in settings([[task.spec for task in one.tasks] for one in chosen]) if row.differs],
        others=[("", "none"), *((one.id, f"{name_of(one.number, one.attempt)}: {one.state}") for one in others)],
        form=Form.of(a=call.query.a, b=call.query.b, c=call.query.c),
        at=f"{WHERE}/runs/{ident}",
    )


def name_of(number: int, attempt: int) -> str:
    """Of a run among those of its project."""
    return f"run {number}" if attempt == 1 else f"run {number}, attempt {attempt}"


def _others(call: Call, run: answers.Run) -> list[RunHead]:
    found = runs.runs(
        call.web.database,
        call.caller.subject,
        Paging(OFFERED),
        state=None,
        project=run.project_id,
        newest_first=True,
    )
    return [one for one in found.items if one.id != run.id]


OPERATIONS = (
    shows("runs/{run_id}/compare", "page_run_compare", "Runs beside each other", compare, query=CompareQuery),
)
