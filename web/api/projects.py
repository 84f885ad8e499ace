"""Projects and their members."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from flask import Response
from msgspec import UNSET, UnsetType

from domain.commands import ArchiveProject, CreateProject, PutMember, RemoveMember, StartRun, UpdateProject
from domain.results import Changed, Made, MemberResult, StartedRun
from domain.states import MemberState, RunState
from domain.values import (
    MAX_TASKS,
    Image,
    Infrastructure,
    Joining,
    Name,
    OwnParameters,
    OwnRounds,
    Sealed,
    Slug,
    Span,
    TaskSpec,
    Text,
)
from fedyard.wire.parameters import check_written
from fedyard.wire.problems import ProblemType
from storage.views import artifacts, events, models, rounds, runs, workloads
from storage.views import projects as views
from storage.views.resources import Event, Membership, Model, Project, ProjectRoom, RunHead
from storage.views.sight import Listed
from web.http.answers import answer
from web.http.bodies import Body, Count, EventsQuery, PageQuery, Uuid
from web.http.calls import Call, given
from web.http.operations import Operation
from web.http.texts import Unfit
from web.http.writing import write
from web.problems import Refused, not_found


class NewTask(TaskSpec, frozen=True, forbid_unknown_fields=True):
    """A task as a caller writes it: ids are checked, and whether its parameters can travel to every site."""

    who: Literal["all", "participants"] | Annotated[list[Uuid], msgspec.Meta(min_length=1, max_length=1000)] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_written(self.parameters)
        except ValueError as error:
            raise Unfit(str(error)) from None


Tasks: TypeAlias = Annotated[list[NewTask], msgspec.Meta(min_length=1, max_length=100)]
LiveRuns: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=100)]


class NewProject(Body, frozen=True):
    """coordinator_site_id: left out by a site, which then is the coordinator itself. sealed: must payloads be?"""

    name: Name
    tasks: Tasks
    coordinator_site_id: Uuid | None = None
    description: Text = ""
    data_format: Text = ""
    client_image: Image = ""
    joining: Joining = "approval"
    max_live_runs: LiveRuns = 1
    sealed: Sealed = "required"
    infrastructure: Infrastructure | None = None


class ProjectChange(Body, frozen=True):
    """What is left out (or null) stays."""

    name: Name | None = None
    tasks: Tasks | None = None
    description: Text | None = None
    data_format: Text | None = None
    client_image: Image | None = None
    joining: Joining | None = None
    max_live_runs: LiveRuns | None = None
    sealed: Sealed | None = None
    infrastructure: Infrastructure | None = None


class NewMember(Body, frozen=True):
    notes: Text = ""


class NewRun(Body, frozen=True):
    """Of this run alone, by the names of tasks: parameters (each takes the place of the project's of its name), rounds.

    initial: tasks whose first model the coordinator gives, in a round 0. model_version: of the project's models, to
    begin with in the task that made it.
    """

    queue: bool = False
    finish_within_s: Span = 604_800.0
    parameters: OwnParameters = {}
    rounds: OwnRounds = {}
    initial: Annotated[list[Slug], msgspec.Meta(max_length=MAX_TASKS)] = []
    model_version: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            check_written(dict(self.parameters))
        except ValueError as error:
            raise Unfit(str(error)) from None


class ProjectsQuery(PageQuery, frozen=True):
    name: Name | UnsetType = UNSET
    coordinator: Uuid | UnsetType = UNSET
    member: Uuid | UnsetType = UNSET


class MembersQuery(PageQuery, frozen=True):
    state: MemberState | UnsetType = UNSET


class ProjectRunsQuery(PageQuery, frozen=True):
    state: RunState | UnsetType = UNSET


def create(call: Call) -> Response:
    body: NewProject = call.body
    subject = call.caller.subject
    coordinator = body.coordinator_site_id or (subject.id if subject.kind == "site" else None)
    if coordinator is None:
        raise Refused(ProblemType.IMPOSSIBLE, "coordinator_site_id is missing: name the site that shall coordinate")
    return write(
        call,
        CreateProject(
            coordinator_site_id=coordinator,
            name=body.name,
            tasks=list[TaskSpec](body.tasks),
            description=body.description,
            data_format=body.data_format,
            client_image=body.client_image,
            joining=body.joining,
            max_live_runs=body.max_live_runs,
            sealed=body.sealed,
            infrastructure=body.infrastructure,
        ),
        made="/v1/projects/{id}",
    )


def listed(call: Call) -> Response:
    return answer(
        views.projects(
            call.web.database,
            call.caller.subject,
            call.paging,
            name=given(call.query.name),
            coordinator=given(call.query.coordinator),
            member=given(call.query.member),
        )
    )


def read(call: Call) -> Response:
    return answer(whole(call, call.id("project_id")))


def whole(call: Call, ident: str) -> Project:
    """A project with all that its reader may know of it, or 404."""
    found = views.project(call.web.database, call.caller.subject, ident)
    if found is None:
        raise not_found("project", ident)
    files = artifacts.initial_files(call.web.database, call.caller.subject, found.id)
    seen = views.may_see_members(call.web.database, call.caller.subject, found.id)
    parts = workloads.parts(call.web.database, found.id) if seen else None
    newest = rounds.newest(call.web.database, found.id) if seen else None
    room = _room(call, found.id) if seen else None
    return msgspec.structs.replace(found, initial_files=files, parts=parts, round=newest, room=room)


def _room(call: Call, project: str) -> ProjectRoom:
    settings = call.web.hub.settings
    live_bytes, live_count = views.taken(call.web.database, project)
    return ProjectRoom(
        live_bytes=live_bytes,
        live_count=live_count,
        quota_bytes=settings.project_quota_bytes,
        site_quota_bytes=settings.site_quota_bytes,
    )


def update(call: Call) -> Response:
    body: ProjectChange = call.body
    return write(
        call,
        UpdateProject(
            project_id=call.id("project_id"),
            name=body.name,
            tasks=None if body.tasks is None else list[TaskSpec](body.tasks),
            description=body.description,
            data_format=body.data_format,
            client_image=body.client_image,
            joining=body.joining,
            max_live_runs=body.max_live_runs,
            sealed=body.sealed,
            infrastructure=body.infrastructure,
        ),
    )


def archive(call: Call) -> Response:
    return write(call, ArchiveProject(project_id=call.id("project_id")))


def list_members(call: Call) -> Response:
    state = given(call.query.state)
    found = views.members(call.web.database, call.caller.subject, call.id("project_id"), call.paging, state=state)
    if found is None:
        raise not_found("project", call.id("project_id"))
    return answer(found)


def put_member(call: Call) -> Response:
    project_id, site_id = call.id("project_id"), call.id("site_id")
    return write(call, PutMember(project_id=project_id, site_id=site_id, notes=call.body.notes))


def remove_member(call: Call) -> Response:
    return write(call, RemoveMember(project_id=call.id("project_id"), site_id=call.id("site_id")))


def read_events(call: Call) -> Response:
    if not views.may_see_project_events(call.web.database, call.caller.subject, call.id("project_id")):
        raise not_found("project", call.id("project_id"))
    return answer(
        events.of_stream(call.web.database, call.id("project_id"), after=call.query.after, limit=call.query.limit)
    )


def start_run(call: Call) -> Response:
    body: NewRun = call.body
    return write(
        call,
        StartRun(
            project_id=call.id("project_id"),
            queue=body.queue,
            finish_within_s=body.finish_within_s,
            parameters=body.parameters,
            rounds=body.rounds,
            initial=body.initial,
            model_version=body.model_version,
        ),
        made="/v1/runs/{id}",
    )


def list_runs(call: Call) -> Response:
    ident = call.id("project_id")
    if not views.may_see_members(call.web.database, call.caller.subject, ident):
        raise not_found("project", ident)
    return answer(
        runs.runs(call.web.database, call.caller.subject, call.paging, state=given(call.query.state), project=ident)
    )


def list_models(call: Call) -> Response:
    found = models.of_project(call.web.database, call.caller.subject, call.id("project_id"), call.paging)
    if found is None:
        raise not_found("project", call.id("project_id"))
    return answer(found)


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/projects",
        name="create_project",
        about="Create a project; its coordinator is the calling site, or the one that is named",
        does=create,
        scope="write",
        body=NewProject,
        write=True,
        answers={201: Made},
    ),
    Operation(
        method="GET",
        path="/v1/projects",
        name="list_projects",
        about="Projects that one may join or is in",
        does=listed,
        query=ProjectsQuery,
        answers={200: Listed[Project]},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}",
        name="read_project",
        about="A project",
        does=read,
        answers={200: Project},
    ),
    Operation(
        method="PATCH",
        path="/v1/projects/{project_id}",
        name="update_project",
        about="Change a project; live runs keep the tasks that they started with (coordinator, admin)",
        does=update,
        scope="write",
        body=ProjectChange,
        optional=True,
        write=True,
        answers={200: Changed},
    ),
    Operation(
        method="DELETE",
        path="/v1/projects/{project_id}",
        name="archive_project",
        about="Archive a project; refused while a run lives (coordinator, admin)",
        does=archive,
        scope="write",
        write=True,
        answers={200: Made},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/members",
        name="list_members",
        about="Who is in, asks to be, or is invited (members, admin, auditor)",
        does=list_members,
        query=MembersQuery,
        answers={200: Listed[Membership]},
    ),
    Operation(
        method="PUT",
        path="/v1/projects/{project_id}/members/{site_id}",
        name="put_member",
        about="The site joins; the coordinator invites or approves",
        does=put_member,
        scope="write",
        body=NewMember,
        optional=True,
        write=True,
        answers={200: MemberResult},
    ),
    Operation(
        method="DELETE",
        path="/v1/projects/{project_id}/members/{site_id}",
        name="remove_member",
        about="The site leaves or declines; the coordinator removes or declines",
        does=remove_member,
        scope="write",
        write=True,
        answers={200: MemberResult},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/events",
        name="list_project_events",
        about="What happened in a project (coordinator, admin, auditor)",
        does=read_events,
        query=EventsQuery,
        answers={200: Listed[Event]},
    ),
    Operation(
        method="POST",
        path="/v1/projects/{project_id}/runs",
        name="start_run",
        about="Start a run (coordinator)",
        does=start_run,
        scope="write",
        body=NewRun,
        optional=True,
        write=True,
        answers={201: StartedRun},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/runs",
        name="list_project_runs",
        about="A project's runs (members, admin, auditor)",
        does=list_runs,
        query=ProjectRunsQuery,
        answers={200: Listed[RunHead]},
    ),
    Operation(
        method="GET",
        path="/v1/projects/{project_id}/models",
        name="list_models",
        about="Every global model that was made in a project, as versions (members, admin, auditor)",
        does=list_models,
        query=PageQuery,
        answers={200: Listed[Model]},
    ),
)
