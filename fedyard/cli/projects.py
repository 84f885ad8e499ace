"""`fedyard project`: create, set, files, join, leave, list, members, approve, tasks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from fedyard.actions.naming import place_named, project_named
from fedyard.actions.projects import approve as let_in
from fedyard.actions.projects import changed_tasks, meant, remember, specs_of
from fedyard.actions.projects import create as make
from fedyard.actions.projects import join as serve
from fedyard.actions.projects import leave as leave_project
from fedyard.actions.site import UsageError
from fedyard.agent.consents import UNKNOWN, Consent, Wanted, describe, parse_coordinator
from fedyard.agent.contract import task_digest
from fedyard.agent.site import Folder
from fedyard.agent.state import State
from fedyard.cli.architectures import architecture, configuration
from fedyard.cli.clients import joining, ready
from fedyard.cli.common import FILE, client_of
from fedyard.cli.fields import infrastructure_of, plain_of, project_fields, with_goal
from fedyard.cli.files import files, look_at, upload
from fedyard.cli.inferences import inference
from fedyard.cli.infrastructure import parts, rounds, scale, start, stop
from fedyard.cli.listing import Listing
from fedyard.cli.own import own_fields, own_of
from fedyard.cli.secrets import secret
from fedyard.client.client import Client
from fedyard.sealed.keys import fingerprint, words
from fedyard.wire.answers import Project, TaskSpec
from fedyard.wire.command_line import JSON, Command, Group, Words, print_json
from fedyard.wire.plurals import counted

NO_ANSWER = 1
"""Exit code of `project leave` where the site has left, and the hub does not know of it."""


REQUIRED = ("model.h5", "fl_checkpoint")
"""What the hub asks of the archive of a project with infrastructure that does not say it."""
FEDOTA_TASKS = [{"name": "train", "model": "fedota"}]
"""Of a project whose rounds its own coordinator leads; its sites' agents train nothing."""


@click.command("create", cls=Command)
@click.argument("name")
@click.option("--tasks", "file", metavar="FILE", help="JSON: a list of tasks (docs/sites.md)")
@project_fields
@click.option("--file", "archives", type=FILE, multiple=True, metavar="ARCHIVE", help="initial files: a zip or tar")
@click.pass_obj
def create(folder: Folder, /, name: str, file: str | None, archives: tuple[Path, ...], **said: Any) -> int:
    """Make a project NAME with this site as its coordinator.

    It has tasks, or images of its own coordinator and selectors and a goal count, or both.
    """
    infrastructure = infrastructure_of(said)
    if file is None and (infrastructure is None or said["goal_count"] is None):
        raise UsageError("say --tasks FILE, or --coordinator-image, --selector-image and --goal-count")
    tasks = with_goal(_tasks_in(file, "--tasks") if file else FEDOTA_TASKS, said["goal_count"])
    client = client_of(folder)
    specs = specs_of(tasks, f"--tasks {file}")  # first: a project whose tasks the agent does not know is of no use
    look_at(
        archives, (infrastructure or {}).get("required_files", REQUIRED if infrastructure else ()), said["sealed"] or ""
    )
    made = make(folder, client, name, tasks, f"--tasks {file}", infrastructure=infrastructure, **plain_of(said))
    print(f"project {made}")
    if file:
        _warn_of_unknown(folder, specs)
    return upload(client, made, archives)


@click.command("set", cls=Command)
@click.argument("name")
@project_fields
@own_fields
@click.option("--file", "archives", type=FILE, multiple=True, metavar="ARCHIVE", help="initial files: a zip or tar")
@click.pass_obj
def set_fields(
    folder: Folder,
    /,
    name: str,
    archives: tuple[Path, ...],
    said_of_tasks: tuple[str, ...],
    rounds: tuple[str, ...],
    **said: Any,
) -> int:
    """Change what project NAME says of itself.

    What is left out stays as it is. Another goal count, parameters and rounds hold from the next run on.
    """
    client = client_of(folder)
    project = _own(folder, client, name)
    fields: dict[str, Any] = plain_of(said)
    if said["where"]:
        said["where"] = place_named(client, project.id, said["where"])
    infrastructure = infrastructure_of(said, project.infrastructure)
    if infrastructure is not None:
        fields["infrastructure"] = infrastructure
    specs: list[TaskSpec] = []
    if said["goal_count"] is not None or said_of_tasks or rounds:
        fields["tasks"] = with_goal(
            changed_tasks(folder, client, project, *own_of(project.tasks, said_of_tasks, rounds)), said["goal_count"]
        )
        specs = specs_of(fields["tasks"], "the tasks")
    if not fields and not archives:
        raise UsageError("say what shall change: fedyard project set --help")
    parts = infrastructure or msgspec.to_builtins(project.infrastructure) or {}
    look_at(archives, parts.get("required_files", ()), said["sealed"] or project.sealed)
    if fields:
        client.update_project(project.id, **fields)
    if specs:
        remember(folder, project.id, specs)
    return upload(client, project.id, archives)


def _own(folder: Folder, client: Client, name: str) -> Project:
    """A project that this site coordinates."""
    project = project_named(client, name)
    if project.coordinator_site_id != folder.site_id():
        raise UsageError(f"{name} is coordinated by another site, which alone can change it")
    return project


def _tasks_in(file: str, option: str) -> list[dict[str, object]]:
    try:
        return msgspec.json.decode(Path(file).read_bytes(), type=list[dict[str, object]])
    except OSError as error:
        raise UsageError(f"{option} {file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{option} {file}: {error}") from None


def _warn_of_unknown(folder: Folder, tasks: Sequence[TaskSpec]) -> None:
    """Models that the coordinator's own site would refuse: a typing error, or an entry that site.toml lacks."""
    from fedyard.tasks.registry import why_unknown  # noqa: PLC0415 - numpy is heavy, and other commands need none

    allowed = folder.settings().tasks.allow
    for sentence in dict.fromkeys(why_unknown(task.model, allowed) for task in tasks):
        if sentence:
            print(f"warning: {sentence}; see `allow` in docs/sites.md", file=sys.stderr)


@click.command("tasks", cls=Command)
@click.argument("name")
@click.option("--set", "file", metavar="FILE", help="other tasks from the next run on, as in `project create`")
@click.option("--accept", is_flag=True, help="what the hub shows is what this site's people want")
@JSON
@click.pass_obj
def tasks(folder: Folder, name: str, file: str | None, accept: bool, as_json: bool) -> None:
    """The tasks of project NAME, and whether this site gave them."""
    if file and accept:
        raise click.UsageError("--set FILE and --accept exclude each other.", click.get_current_context())
    client = client_of(folder)
    project = project_named(client, name)
    if file or accept:
        if project.coordinator_site_id != folder.site_id():
            raise UsageError(f"{name} is coordinated by another site; its tasks are that site's to give")
        specs = project.tasks
        if file:
            given = _tasks_in(file, "--set")
            specs = specs_of(given, f"--set {file}")
            client.update_project(project.id, tasks=given)
            _warn_of_unknown(folder, specs)
        remember(folder, project.id, specs)
        project = client.project(project.id)
    state = State(folder.path / "state.sqlite")
    ours = state.runs.own_tasks(project.id)
    state.close()
    if as_json:
        digests = [(one, task_digest(one)) for one in project.tasks]
        print_json([{**msgspec.to_builtins(one), "digest": it, "ours": it in ours} for one, it in digests])
        return
    table = Listing("task", "model", "rounds", "parameters", "contract", "digest", "given by this site")
    for task in project.tasks:
        digest = task_digest(task)
        said = ("yes" if digest in ours else "NO") if ours else "not known"
        contract = f"quorum {task.contract.quorum:g} ({task.contract.quorum_of})"
        parameters = msgspec.json.encode(task.parameters).decode()
        table.add_row(task.name, task.model, str(task.rounds), parameters, contract, digest[:16], said)
    table.print()


@click.command("list", cls=Command)
@JSON
@click.pass_obj
def list_projects(folder: Folder, as_json: bool) -> None:
    """The projects that this site may see, and which of them it serves."""
    consents = folder.consents().all()
    found = client_of(folder).projects()
    if as_json:
        print_json([{**msgspec.to_builtins(one), "served": _served(consents.get(one.id), one)} for one in found])
        return
    table = Listing("project", "id", "served", "coordinator", "joining", "runs", "tasks", ids=("id",))
    for project in found:
        its_tasks = ", ".join(f"{task.name} ({task.model}, {counted(task.rounds, 'round')})" for task in project.tasks)
        table.add_row(
            project.name,
            project.id,
            _served(consents.get(project.id), project),
            project.coordinator_name,
            project.joining,
            str(project.last_run_number),
            its_tasks,
        )
    table.print()


def _served(consent: Consent | None, project: Project) -> str:
    if consent is None:
        return "no"
    if not consent.live:
        return "left"
    same = (consent.coordinator, consent.identity) == (project.coordinator_site_id, project.coordinator_identity_key)
    return "yes" if same else "NOT UNDER THIS COORDINATOR"


@click.command("join", cls=Command)
@click.argument("name")
@click.option(
    "--coordinator",
    cls=Words,
    metavar="WHO...",
    help=f"whose project it is: the site's id, its fingerprint (twelve words or hex digits), or {UNKNOWN}",
)
@click.option("--notes", default="", metavar="TEXT", help="for the coordinator")
@click.pass_obj
def join(folder: Folder, name: str, coordinator: tuple[str, ...], notes: str) -> None:
    """Serve project NAME: join it, ask to, or accept its invitation.

    NAME: its name or id.
    """
    client = client_of(folder)
    said = _wanted(coordinator)
    project = meant(client, name, said)
    own = project.coordinator_site_id == folder.site_id()
    if not coordinator and not own:
        raise UsageError(
            f"say whose project it is with --coordinator. The hub shows {describe(project)}: compare these words with "
            f"its people, or say --coordinator {UNKNOWN} to believe the hub this once"
        )
    consent, membership = serve(folder, client, project, said, notes)
    wanted = Wanted(site_id=folder.site_id()) if own else said
    print(f"{project.name}: {membership.state if membership else 'served; this site coordinates it'}")
    print(f"its id is {project.id}; the name is the hub's word: compare the id, or join by it")
    if membership:
        compared = "as you said" if wanted.finger else "nobody has compared it"
        finger = fingerprint(consent.identity)
        print(f"its coordinator is {project.coordinator_name} ({consent.coordinator}), {compared}: {words(finger)}")


def _wanted(coordinator: Sequence[str]) -> Wanted:
    try:
        return parse_coordinator(" ".join(coordinator)) if coordinator else Wanted()
    except ValueError as error:
        raise UsageError(f"--coordinator: {error}") from None


@click.command("leave", cls=Command)
@click.argument("name")
@click.pass_obj
def leave(folder: Folder, name: str) -> int:
    """Serve project NAME no longer, from this moment.

    Leave, or decline an invitation. NAME: its name or id.
    First in the site, then at the hub; exit code 1 if the hub does not know of it yet.
    """
    left = leave_project(folder, client_of(folder), name)
    for one in left.withdrawn:
        print(f"{one}: this site does not serve it any more")
    if left.unheard:
        print(f"{name}: the hub has not heard of it: {left.unheard}. Say it again later")
        return NO_ANSWER
    if not left.state:
        print(f"{name}: this site coordinates it; its runs fail from now on. Archive it to end it")
        return 0
    print(f"{name}: {left.state}")
    return 0


@click.command("members", cls=Command)
@click.argument("name")
@JSON
@click.pass_obj
def members(folder: Folder, name: str, as_json: bool) -> None:
    """Who takes part in project NAME, or asks to."""
    client = client_of(folder)
    found = client.members(project_named(client, name).id)
    if as_json:
        print_json(found)
        return
    table = Listing("site", "id", "state", "role", "notes", ids=("id",))
    for member in found:
        table.add_row(member.site_name or "", member.site_id, member.state, member.role or "", member.notes or "")
    table.print()


@click.command("approve", cls=Command)
@click.argument("name")
@click.argument("site")
@click.pass_obj
def approve(folder: Folder, name: str, site: str) -> None:
    """Let a SITE that has asked into project NAME.

    SITE: its name or id.
    """
    client = client_of(folder)
    membership = let_in(client, project_named(client, name).id, site, name)
    print(f"{site}: {membership.state}")


project = Group(
    "project",
    help="Projects: make one, serve one, let others in.",
    commands=[
        create,
        set_fields,
        files,
        join,
        leave,
        list_projects,
        members,
        approve,
        tasks,
        joining,
        ready,
        start,
        stop,
        scale,
        parts,
        rounds,
        secret,
        architecture,
        configuration,
        inference,
    ],
)
