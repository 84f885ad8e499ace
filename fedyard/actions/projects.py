"""Projects: made, joined, left; their tasks remembered, so that the agent holds the hub to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fedyard.actions.naming import project_named, projects_called
from fedyard.actions.site import UsageError, joining_of
from fedyard.agent.consents import Consent, Wanted, choose, consent_to
from fedyard.agent.contract import task_digest
from fedyard.agent.site import Folder
from fedyard.agent.state import State
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.clock import micros_now
from fedyard.wire.answers import Membership, Project, TaskSpec
from fedyard.wire.own import tasks_of_run


def specs_of(tasks: Sequence[Mapping[str, object]], where: str) -> list[TaskSpec]:
    """The tasks as the hub will show them: what was not said has its default. Raises `UsageError`."""
    try:
        return msgspec.convert(tasks, list[TaskSpec])
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}") from None


def remember(folder: Folder, project_id: str, tasks: Sequence[TaskSpec]) -> None:
    """The agent holds the hub to them."""
    state = State(folder.path / "state.sqlite")
    state.runs.keep_own_tasks(project_id, [(task_digest(task), task.name) for task in tasks])
    state.close()


def create(
    folder: Folder, client: Client, name: str, tasks: Sequence[Mapping[str, object]], where: str, **said: Any
) -> str:
    """Make a project with this site as its coordinator; its id. where: what `tasks` are called if they are wrong.

    said: as `Client.create_project` takes it. Raises `UsageError` for tasks that the agent would not know.
    """
    specs = specs_of(tasks, where)
    made = client.create_project(name, tasks, **said)
    joining_of(folder, client).lead(made, name)
    remember(folder, made, specs)
    return made


def meant(client: Client, name: str, wanted: Wanted) -> Project:
    """The project of that name or id, under a coordinator as it is wanted. Raises `NotChosen`, `UsageError`."""
    project = choose(projects_called(client, name), name, wanted)
    if project is None:
        raise UsageError(f"there is no project {name!r}, or this site may not see it")
    return project


def join(
    folder: Folder, client: Client, project: Project, wanted: Wanted, notes: str
) -> tuple[Consent, Membership | None]:
    """Serve a project: consent here, then join it, ask to, or accept its invitation.

    The consent, and the membership, None if this site coordinates it. Raises as `Joining.agree`.
    """
    joining = joining_of(folder, client)
    if project.coordinator_site_id == folder.site_id():
        wanted = Wanted(site_id=folder.site_id())
    before = joining.consents.all().get(project.id)
    consent = joining.agree(project, wanted, "people")
    try:
        membership = joining.ask(project, notes)
    except Refused:
        joining.consents.put_back(consent, before)  # what was given for this request alone goes
        raise
    return consent, membership


class Left(msgspec.Struct, frozen=True):
    """How leaving went. withdrawn: names of projects that are not served any more.

    state: what the hub answered, "" if this site coordinates the project; unheard: why the hub does not know of it yet.
    """

    withdrawn: list[str]
    state: str = ""
    unheard: str = ""


def leave(folder: Folder, client: Client, name: str) -> Left:
    """Serve a project (name or id) no longer: first here, then at the hub. Raises `UsageError`."""
    consents = folder.consents()
    known = consents.named(name)
    if len(known) > 1:
        known = [one for one in known if one.live] or known[:1]
    if len(known) > 1:
        shown = ", ".join(f"{one.project_id} (coordinator {one.coordinator})" for one in known)
        raise UsageError(f"{len(known)} projects are called {name!r}: {shown}; say the id")
    withdrawn = [one for one in known if one.live]
    for consent in withdrawn:
        consents.withdraw(consent, micros_now())
    names = [one.name for one in withdrawn]
    try:
        project = client.project(known[0].project_id) if known else project_named(client, name)
        if not known:
            consents.withdraw(consent_to(project, "people", micros_now()), micros_now())
        if project.coordinator_site_id == folder.site_id():
            return Left(names)
        return Left(names, client.remove_member(project.id, folder.site_id()).state)
    except (Refused, Unavailable) as error:
        if not known:
            raise
        return Left(names, unheard=str(error))


def approve(client: Client, project_id: str, site: str, where: str) -> Membership:
    """Let a site (name or id) in that has asked. Raises `UsageError` if it has not."""
    found = [m for m in client.members(project_id) if site in (m.site_id, m.site_name)]
    if not found:
        raise UsageError(f"no site {site!r} has asked to join {where}")
    return client.put_member(project_id, found[0].site_id)


def changed_tasks(
    folder: Folder,
    client: Client,
    project: Project,
    parameters: Mapping[str, Mapping[str, object]],
    rounds: Mapping[str, int],
) -> list[dict[str, object]]:
    """The project's tasks with other parameters and rounds, as a caller writes them, with what agents do not look at.

    Raises `UsageError` for what no task of it can have, and where the hub shows tasks that this site did not give:
    nothing is built on them.
    """
    check_given(folder, project)
    try:
        changed = tasks_of_run(project.tasks, parameters, rounds)
    except ValueError as error:
        raise UsageError(str(error)) from None
    written = client.written_tasks(project.id)
    if specs_of(written, "the project's tasks") != list(project.tasks):
        raise UsageError(f"the tasks of project {project.name!r} were changed just now: look at them, and say it again")
    return [
        {**task, "parameters": spec.parameters, "rounds": spec.rounds}
        for task, spec in zip(written, changed, strict=True)
    ]


def check_given(folder: Folder, project: Project, tasks: Sequence[TaskSpec] | None = None) -> None:
    """Raises `UsageError` where this site gave tasks to the project, and not these (all of it, if none are named)."""
    state = State(folder.path / "state.sqlite")
    ours = state.runs.own_tasks(project.id)
    state.close()
    for task in project.tasks if tasks is None else tasks:
        if ours and task_digest(task) not in ours:
            raise UsageError(
                f"task {task.name!r} of project {project.name!r}, as the hub shows it, is none that this site gave, so "
                f"nothing is built on it: look at it with `fedyard project tasks {project.name}`; --accept accepts it"
            )
