"""From a description to a project and its first run: plain steps, whose state travels in the form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response

from fedyard.look.forms import Form
from storage.views import projects as projects_views
from storage.views import sites as sites_views
from storage.views.resources import Site
from storage.views.sight import Paging
from web.api import projects as api
from web.http.calls import Call
from web.page.acting import act, acted_or_shown, sent_on
from web.page.forms import form_of
from web.page.joining import checklist, own_agent
from web.page.plain import at_field
from web.page.projects import (
    LIST,
    contracts_in_words,
    graph_of,
    known,
    members_of,
    seats_needed,
    tasks_in_words,
)
from web.page.rendering import PAGE_TO_COME_BACK_TO, Shown, page, shows, takes
from web.page.wizard_steps import (
    FIELDS,
    STEPS,
    TITLES,
    Step,
    body_of,
    field_of,
    first_form,
    invited,
    moved,
    places,
    step_of,
    tasks_of,
)

HERE = f"{LIST}/new"
SITES_SHOWN = 200
_API = {one.name: one for one in api.OPERATIONS}


def begin(call: Call) -> Response:
    form, own = first_form(), coordinators(call)
    if own:
        form = Form({**form.values, "coordinator_site_id": [own[0].id]})
    return _asked(call, "about", form, own)


def go_on(call: Call) -> Response:
    """One step on, back, or the project is made."""
    form = form_of(call)
    step = next((one for one in STEPS if one == form.value("_step")), STEPS[0])
    there = moved(form, step, form.value("_go", "next"))
    if there.create:
        return _created(call, there.form)
    return _asked(call, there.step, there.form, coordinators(call), status=422 if there.form.errors else 200)


def _created(call: Call, form: Form) -> Response:
    """The project, and then the invitations. What the decision says against it is shown at its field."""
    acted = act(call, _API["create_project"], body=body_of(form))
    if acted.problem is not None:
        field = field_of(acted.field or "")
        step = step_of(field)
        form = form.with_error(field, at_field(acted.problem))
        return _asked(call, step, form, coordinators(call), status=acted.status, problem=acted.problem)
    made = acted.answer.get("id")
    if made is None:
        return sent_on(acted, "{id}")
    for site in invited(form):
        act(call, _API["put_member"], {"project_id": made, "site_id": site}, {})
    return sent_on(acted, f"{LIST}/{{id}}/first-run")


def _asked(call: Call, step: Step, form: Form, own: Sequence[Site], *, status: int = 200, **more: object) -> Response:
    here = FIELDS[step]
    carried = [
        (name, value)
        for name, values in form.values.items()
        if not name.startswith("_") and not any(name == one or name.startswith(f"{one}.") for one in here)
        for value in values
    ]
    facts: dict[str, Any] = {
        "step": step,
        "steps": [(one, TITLES[one]) for one in STEPS],
        "number": STEPS.index(step) + 1,
        "title": TITLES[step],
        "form": form,
        "carried": carried,
        "own": own,
        "places": places(form),
        "sites": _others(call, form) if step == "people" else [],
        "invited": invited(form),
    }
    if step == "review":
        try:
            tasks = tasks_of(form)
        except ValueError:  # said where it is asked for
            tasks = []
        names = {one.id: one.name for one in (*own, *_others(call, form))}
        facts |= {
            "tasks": tasks_in_words(tasks),
            "contracts": contracts_in_words(tasks, None),
            "graph": graph_of(tasks) if tasks else "",
            "names": names,
        }
    return page(call, "wizard/step.html", status=status, **{**facts, **more})


def coordinators(call: Call) -> list[Site]:
    """The sites that the caller acts for: one of them will coordinate."""
    subject = call.caller.subject
    if subject.role not in ("admin", "member"):
        return []
    found = sites_views.sites(
        call.web.database, subject, Paging(SITES_SHOWN), state=None, organisation=subject.organisation_id, project=None
    )
    return [one for one in found.items if one.state != "retired"]


def _others(call: Call, form: Form) -> list[Site]:
    """Who can be invited: those that the caller sees, but for the coordinator."""
    found = sites_views.sites(
        call.web.database, call.caller.subject, Paging(SITES_SHOWN), state=None, organisation=None, project=None
    )
    coordinator = form.value("coordinator_site_id")
    return [one for one in found.items if one.state != "retired" and one.id != coordinator]


def first_run(call: Call) -> Response:
    return _first_run(call, call.id("project_id"))


def _first_run(call: Call, ident: str, *, status: int = 200, **more: object) -> Response:
    web, subject = call.web, call.caller.subject
    project = known(call, ident)
    members = members_of(projects_views.counts(web.database, subject, [ident]).get(ident, []))
    checks = checklist(
        project,
        seats_needed(project.tasks, members),
        participants=members.participants,
        invited=members.invited,
        asking=members.asking,
    )
    facts: dict[str, object] = {
        "project": project,
        "checks": checks,
        "own": own_agent(project),
        "coordinates": projects_views.coordinates(web.database, subject, ident),
        "members": members,
        "form": Form(),
    }
    return page(call, "wizard/first_run.html", status=status, **{**facts, **more})


def start(call: Call) -> Response:
    """The run, or what stands in its way."""
    ident, form = call.id("project_id"), form_of(call)
    acted = act(call, _API["start_run"], {"project_id": ident}, form.body("queue"))
    if acted.ok:
        return acted_or_shown(call, acted, to="/page/runs/{id}", template="")
    assert acted.problem is not None
    return _first_run(call, ident, status=acted.status, problem=acted.problem, form=form)


OPERATIONS = (
    shows("projects/new", "page_new_project", "Begin a project", begin, query=Shown),
    takes("projects/new", "page_new_project_step", "One step on to a project", go_on, kind=PAGE_TO_COME_BACK_TO),
    shows("projects/{project_id}/first-run", "page_first_run", "What a run needs", first_run),
    takes("projects/{project_id}/first-run", "page_start_run", "Start a run", start),
)
