"""Projects: the list, one project with all that belongs to it, its members and models, and what its people change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from flask import Response

from domain.decisions.projects import predecessors
from domain.ids import Id
from domain.states import MemberState
from domain.values import TaskSpec
from fedyard.look import contract
from fedyard.look.drawing.graph import Node, graph
from fedyard.look.forms import Form
from fedyard.wire.plurals import counted
from fedyard.wire.sampling import needed_of
from storage.views import models
from storage.views import projects as views
from storage.views.resources import Membership, Project
from storage.views.sight import Paging
from web.api import infrastructure as infrastructure_api
from web.api import joining as joining_api
from web.api import projects as api
from web.http.calls import Call
from web.page.acting import act, acted_or_shown
from web.page.fingerprints import Fingerprint, fingerprint_of
from web.page.forms import form_of
from web.page.joining import Seats, with_agent, with_client_image
from web.page.lineage import branches, lines
from web.page.links import next_page
from web.page.plain import at_field
from web.page.rendering import WHERE, Shown, ShownList, page, shows, takes
from web.problems import not_found

LIST = f"{WHERE}/projects"
MEMBERS_SHOWN = 20
"""On a project's own page; the others are on a page of theirs."""
MODELS_SHOWN = 10
_API = {one.name: one for one in (*api.OPERATIONS, *infrastructure_api.OPERATIONS)}
HOLDER = "workload"
"""The role of a member that is an attempt at a workload of a run: no site of people."""


class ProjectsShown(ShownList, frozen=True):
    """name: of one project, to the letter; empty for all."""

    name: Annotated[str, msgspec.Meta(max_length=100)] = ""


class MembersShown(ShownList, frozen=True):
    """state: empty for every one."""

    state: Literal["", "invited", "requested", "active", "declined", "left"] = ""


@dataclass(frozen=True)
class MemberShown:
    """A member, with the fingerprint that people compare."""

    membership: Membership
    fingerprint: Fingerprint | None


@dataclass(frozen=True)
class TaskShown:
    """A task in words. parameters: as JSON, or empty."""

    spec: TaskSpec
    sentences: Sequence[str]
    parameters: str


@dataclass(frozen=True)
class ContractShown:
    """A contract in words, and the tasks that have it."""

    tasks: Sequence[str]
    sentences: Sequence[str]


@dataclass(frozen=True)
class Members:
    """Of a project, by state; attempts at workloads are not among them."""

    active: int = 0
    participants: int = 0
    asking: int = 0
    invited: int = 0


def listed(call: Call) -> Response:
    web, subject = call.web, call.caller.subject
    name = call.query.name.strip()
    found = views.projects(
        web.database, subject, call.paging, name=name or None, coordinator=None, member=None, newest_first=True
    )
    numbers = views.counts(web.database, subject, [one.id for one in found.items])
    return page(
        call,
        "projects/list.html",
        projects=found.items,
        members={ident: members_of(many) for ident, many in numbers.items()},
        next=next_page(LIST, found.next, name=name),
        first=LIST if call.paging.after is not None or name else "",
        form=Form.of(name=name),
    )


def read(call: Call) -> Response:
    return _shown(call, call.id("project_id"))


def _shown(call: Call, ident: Id, *, status: int = 200, **more: object) -> Response:
    web, subject = call.web, call.caller.subject
    found = api.whole(call, ident)
    seen = views.may_see_members(web.database, subject, ident)
    numbers = members_of(views.counts(web.database, subject, [ident]).get(ident, []))
    asking = members_shown(call, ident, MemberState.REQUESTED, Paging(200)) if seen else []
    newest = models.of_project(web.database, subject, ident, Paging(MODELS_SHOWN), newest_first=True) if seen else None
    finger = fingerprint_of(found.coordinator_identity_key)
    about = joining_api.about(call, found) if seen else None
    facts: dict[str, object] = {
        "project": found,
        "seen": seen,
        "coordinates": views.coordinates(web.database, subject, ident),
        "may_change": views.coordinates(web.database, subject, ident) or subject.role == "admin",
        "members": numbers,
        "asking": asking,
        "some": members_shown(call, ident, MemberState.ACTIVE, Paging(MEMBERS_SHOWN)) if seen else [],
        "finger": finger,
        "tasks": tasks_in_words(found.tasks),
        "contracts": contracts_in_words(found.tasks, numbers if seen else None),
        "graph": graph_of(found.tasks),
        "newest": newest.items if newest is not None else [],
        "about": about,
        "with_agent": with_agent(found, finger.words) if finger is not None else [],
        "with_client": with_client_image(found, about.command) if about is not None and about.command else [],
        "form": None,
    }
    return page(call, "projects/project.html", status=status, **{**facts, **more})


def list_members(call: Call) -> Response:
    ident, state = call.id("project_id"), call.query.state or None
    project = known(call, ident)
    found = views.members(call.web.database, call.caller.subject, ident, call.paging, state=state)
    if found is None:
        raise not_found("project", ident)
    here = f"{LIST}/{ident}/members"
    return page(
        call,
        "projects/members.html",
        project=project,
        coordinates=views.coordinates(call.web.database, call.caller.subject, ident),
        members=[member_shown(one) for one in found.items],
        numbers=members_of(views.counts(call.web.database, call.caller.subject, [ident]).get(ident, [])),
        states=["", *MemberState],
        state=state or "",
        next=next_page(here, found.next, state=state or ""),
        first=here if call.paging.after is not None or state else "",
    )


def list_models(call: Call) -> Response:
    """The newest first; drawn as the lines that they come in."""
    ident = call.id("project_id")
    project = known(call, ident)
    found = models.of_project(call.web.database, call.caller.subject, ident, call.paging, newest_first=True)
    if found is None:
        raise not_found("project", ident)
    here = f"{LIST}/{ident}/models"
    drawn = lines(list(reversed(found.items)))
    nodes = [
        Node(
            id=str(place),
            text=f"{'Model' if line.first == line.last else 'Models'} {line.span}",
            about=line.task or f"epoch {line.epoch}",
            href=f"{WHERE}/runs/{line.run_id}" if line.run_id else "",
        )
        for place, line in enumerate(drawn)
    ]
    edges = [(str(one.source), str(one.target)) for one in branches(drawn)]
    return page(
        call,
        "projects/models.html",
        project=project,
        models=found.items,
        graph=graph("Which models began with which", nodes, edges) if edges else "",
        metrics=sorted({name for one in found.items for name in one.metrics}),
        next=next_page(here, found.next),
        first=here if call.paging.after is not None else "",
    )


def admit(call: Call) -> Response:
    return _of_member(call, "put_member", {})


def decline(call: Call) -> Response:
    return _of_member(call, "remove_member", None)


def _of_member(call: Call, name: str, body: Mapping[str, object] | None) -> Response:
    project, site = call.id("project_id"), call.id("site_id")
    acted = act(call, _API[name], {"project_id": project, "site_id": site}, body)
    if acted.ok:
        return acted_or_shown(call, acted, to=f"{LIST}/{project}", template="")
    return _shown(call, project, status=acted.status, problem=acted.problem)


def invite(call: Call) -> Response:
    """By the site's id: whom the caller may see stands on the page of sites."""
    project, form = call.id("project_id"), form_of(call)
    site = form.value("site_id").strip()
    acted = act(call, _API["put_member"], {"project_id": project, "site_id": site}, {})
    if acted.ok:
        return acted_or_shown(call, acted, to=f"{LIST}/{project}", template="")
    assert acted.problem is not None
    return _shown(call, project, status=acted.status, form=form.with_error("site_id", at_field(acted.problem)))


def archive(call: Call) -> Response:
    return _of_project(call, "archive_project")


def start_parts(call: Call) -> Response:
    return _of_project(call, "start_infrastructure", form_of(call).body("model_version"))


def stop_parts(call: Call) -> Response:
    return _of_project(call, "stop_infrastructure", form_of(call).body("reason"))


def scale_selectors(call: Call) -> Response:
    return _of_project(call, "scale_selectors", form_of(call).body("selectors"))


def _of_project(call: Call, name: str, body: Mapping[str, object] | None = None) -> Response:
    project = call.id("project_id")
    acted = act(call, _API[name], {"project_id": project}, body)
    if acted.ok:
        return acted_or_shown(call, acted, to=f"{LIST}/{project}", template="")
    return _shown(call, project, status=acted.status, problem=acted.problem)


PLAIN = ("name", "description", "data_format", "client_image", "joining", "sealed", "max_live_runs")


def change_form(call: Call) -> Response:
    project = known(call, call.id("project_id"))
    tasks = msgspec.json.format(msgspec.json.encode(project.tasks), indent=2).decode()
    form = Form.of(tasks=tasks, **{name: getattr(project, name) for name in PLAIN})
    return page(call, "projects/change.html", project=project, form=form)


def change(call: Call) -> Response:
    """What was emptied is said as empty: only what is left out stays as it is."""
    project, form = known(call, call.id("project_id")), form_of(call)
    body: dict[str, object] = {name: form.value(name) for name in PLAIN}
    try:
        body["tasks"] = msgspec.json.decode(form.value("tasks"))
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        form = form.with_error("tasks", "write them as JSON, a list of tasks as the API has it")
        return page(call, "projects/change.html", status=422, project=project, form=form)
    acted = act(call, _API["update_project"], {"project_id": project.id}, body)
    if acted.field is not None and acted.field.startswith("tasks."):
        return acted_or_shown(
            call,
            acted,
            to="",
            template="projects/change.html",
            form=form,
            fields={acted.field: "tasks"},
            project=project,
        )
    return acted_or_shown(
        call, acted, to=f"{LIST}/{project.id}", template="projects/change.html", form=form, project=project
    )


# what several pages show


def known(call: Call, ident: Id) -> Project:
    """The project, or 404."""
    found = views.project(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("project", ident)
    return found


def members_of(numbers: Sequence[views.Counted]) -> Members:
    people = [one for one in numbers if one.role != HOLDER]

    def number(state: MemberState, *roles: str) -> int:
        return sum(one.number for one in people if one.state == state and (not roles or one.role in roles))

    return Members(
        active=number(MemberState.ACTIVE),
        participants=number(MemberState.ACTIVE, "participant"),
        asking=number(MemberState.REQUESTED),
        invited=number(MemberState.INVITED),
    )


def members_shown(call: Call, project: Id, state: MemberState, paging: Paging) -> list[MemberShown]:
    """Of one state; none where the caller may not see them."""
    found = views.members(call.web.database, call.caller.subject, project, paging, state=state)
    return [] if found is None else [member_shown(one) for one in found.items if one.role != HOLDER]


def member_shown(one: Membership) -> MemberShown:
    return MemberShown(one, fingerprint_of(one.identity_key))


def tasks_in_words(tasks: Sequence[TaskSpec]) -> list[TaskShown]:
    after = predecessors(list(tasks))
    shown = []
    for task in tasks:
        held = sum(holder.count for holder in task.workloads)
        sentences = [contract.what(task.model, task.rounds, task.who, held), contract.when(after[task.name])]
        parameters = msgspec.json.format(msgspec.json.encode(task.parameters), indent=2).decode()
        shown.append(TaskShown(task, sentences, parameters if task.parameters else ""))
    return shown


def contracts_in_words(tasks: Sequence[TaskSpec], members: Members | None) -> list[ContractShown]:
    """Each contract once, however many tasks have it. members: of the project, if the reader may know them."""
    named: dict[tuple[str, ...], list[str]] = {}
    for task in tasks:
        seats = None if members is None else seats_of(task, members)
        promised = contract.promises(task.contract, aggregate=task.aggregate, seats=seats)
        promised += contract.measures(task.contract, task.score_every, task.rounds, task.best, task.stop_early)
        promised += contract.same_code(task.code)
        named.setdefault(tuple(promised), []).append(task.name)
    return [ContractShown(names, sentences) for sentences, names in named.items()]


def seats_of(task: TaskSpec, members: Members) -> int:
    """How many a task would have now, if every site that it names is a member."""
    held = sum(holder.count for holder in task.workloads)
    sites = members.active if task.who == "all" else members.participants
    return held + (len(task.who) if isinstance(task.who, list) else sites)


def seats_needed(tasks: Sequence[TaskSpec], members: Members) -> list[Seats]:
    """For each task what it would have, and what a round of it needs."""
    there = [(task, seats_of(task, members)) for task in tasks]
    return [Seats(task.name, seats, needed_of(task.contract, seats)) for task, seats in there]


def graph_of(tasks: Sequence[TaskSpec]) -> str:
    """The tasks in the order in which they run; nothing for one alone."""
    nodes = [
        Node(id=task.name, text=task.name, about=counted(task.rounds, "round"), href=f"#task-{task.name}")
        for task in tasks
    ]
    edges = [(before, name) for name, many in predecessors(list(tasks)).items() for before in many]
    return graph("The order of the tasks", nodes, edges) if len(nodes) > 1 else ""


OPERATIONS = (
    shows("projects", "page_projects", "Projects that one may join or is in", listed, query=ProjectsShown),
    shows("projects/{project_id}", "page_project", "A project", read),
    shows("projects/{project_id}/members", "page_members", "Who is in a project", list_members, query=MembersShown),
    shows("projects/{project_id}/models", "page_models", "A project's models", list_models, query=ShownList),
    shows("projects/{project_id}/change", "page_change_project", "Change a project", change_form, query=Shown),
    takes("projects/{project_id}/change", "page_update_project", "Change a project", change),
    takes("projects/{project_id}/members/{site_id}/admit", "page_admit", "Let a site in", admit),
    takes("projects/{project_id}/members/{site_id}/decline", "page_decline", "Decline a site, or remove it", decline),
    takes("projects/{project_id}/invite", "page_invite", "Invite a site", invite),
    takes("projects/{project_id}/archive", "page_archive", "Archive a project", archive),
    takes("projects/{project_id}/infrastructure/start", "page_start_parts", "Start its coordinator", start_parts),
    takes("projects/{project_id}/infrastructure/stop", "page_stop_parts", "Stop its coordinator", stop_parts),
    takes("projects/{project_id}/infrastructure/selectors", "page_scale", "So many selectors", scale_selectors),
)
