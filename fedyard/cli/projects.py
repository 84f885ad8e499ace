"""The commands about projects and this site's consent to serve them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from fedyard.agent.consents import UNKNOWN, Consent, Join, Wanted, choose, consent_to, describe, parse_coordinator
from fedyard.agent.contract import task_digest
from fedyard.agent.site import Folder
from fedyard.agent.state import State
from fedyard.cli.common import UsageError, client_of, command, folder_of, joining_of, project_named, projects_called
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.clock import micros_now
from fedyard.sealed.keys import MICROS, fingerprint, hex_groups, words
from fedyard.wire.answers import Project, TaskSpec

NO_ANSWER = 1
"""Exit code of `project leave` where the site has left, and the hub does not know of it."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Put the commands to the others."""
    command(commands, "receipts", "this site's updates that are missing in their models", _receipts)
    command(commands, "consents", "the projects that this site serves, since when, and by whose word", _consents)
    project = commands.add_parser("project", help="create, join, leave, list; members, approve")
    projects = project.add_subparsers(required=True, metavar="COMMAND")
    create = command(projects, "create", "a project with this site as its coordinator", _create)
    create.add_argument("name")
    create.add_argument("--tasks", required=True, help="JSON file with a list of tasks (docs/sites.md)")
    create.add_argument("--description", default="")
    create.add_argument("--joining", choices=("open", "approval", "invitation"), default="approval")
    command(projects, "list", "the projects that this site may see, and which of them it serves", _list)
    join = command(projects, "join", "serve a project: join it, ask to, or accept its invitation", _join)
    join.add_argument("name", help="its name or id")
    join.add_argument(
        "--coordinator",
        nargs="+",
        metavar="WHO",
        help=f"whose project it is: the site's id, its fingerprint (twelve words or hex digits), or {UNKNOWN}",
    )
    join.add_argument("--notes", default="")
    leave = command(projects, "leave", "serve it no longer, from this moment: leave, or decline an invitation", _leave)
    leave.add_argument("name", help="its name or id")
    tasks = command(projects, "tasks", "a project's tasks, and whether they are those that this site gave", _tasks)
    tasks.add_argument("name")
    change = tasks.add_mutually_exclusive_group()
    change.add_argument("--set", metavar="FILE", help="other tasks from the next run on, as in `project create`")
    change.add_argument("--accept", action="store_true", help="what the hub shows is what this site's people want")
    command(projects, "members", "who takes part", _members).add_argument("name")
    approve = command(projects, "approve", "let a site in that has asked", _approve)
    approve.add_argument("name")
    approve.add_argument("site", help="its name or id")


def _receipts(chosen: argparse.Namespace) -> int:
    """1 if there are any. From the agent's own memory: the hub is not asked."""
    folder = folder_of(chosen)
    state = State(folder.path / "state.sqlite")
    missing = state.missing_receipts()
    state.close()
    if not missing:
        print("no update of this site that the hub has accepted is known to be missing in its model")
        return 0
    names = {consent.project_id: consent.name for consent in folder.consents().all().values()}
    table = Listing("run", "task", "round", "why", "project", "since", "the hub was told", ids=("run",))
    for one in missing:
        at = datetime.fromtimestamp(one.at / MICROS, UTC).isoformat(timespec="seconds")
        told = {"": "not yet", "ok": "yes"}.get(one.hub, one.hub)
        project = names.get(one.project_id, one.project_id)
        table.add_row(one.run_id, str(one.task_seq), str(one.round), one.reason, project, at, told)
    table.print()
    return 1


def joins_of(projects: Sequence[str], coordinators: Sequence[str]) -> list[Join]:
    """What --join and --coordinator of `init` mean: one coordinator for all, or one for each project in their order."""
    whose = [*coordinators] or [UNKNOWN]
    if len(whose) == 1:
        whose *= max(1, len(projects))
    if len(whose) != len(projects) and coordinators:
        raise UsageError(f"{len(coordinators)} --coordinator for {len(projects)} --join: say one for all, or one each")
    try:
        return [Join(project=name, coordinator=who) for name, who in zip(projects, whose, strict=False)]
    except ValueError as error:
        raise UsageError(f"--coordinator: {error}") from None


def _create(chosen: argparse.Namespace) -> None:
    tasks = _tasks_in(chosen.tasks, "--tasks")
    folder = folder_of(chosen)
    client = client_of(folder)
    specs = _specs(
        tasks, f"--tasks {chosen.tasks}"
    )  # first: a project whose tasks the agent does not know is of no use
    made = client.create_project(chosen.name, tasks, description=chosen.description, joining=chosen.joining)
    joining_of(folder, client).lead(made, chosen.name)
    _remember(folder, made, specs)
    print(f"project {made}")


def _tasks_in(file: str, option: str) -> list[dict[str, object]]:
    try:
        return msgspec.json.decode(Path(file).read_bytes(), type=list[dict[str, object]])
    except OSError as error:
        raise UsageError(f"{option} {file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{option} {file}: {error}") from None


def _specs(tasks: Sequence[dict[str, object]], where: str) -> list[TaskSpec]:
    """The tasks as the hub will show them: what was not said has its default. Raises `UsageError`."""
    try:
        return msgspec.convert(tasks, list[TaskSpec])
    except msgspec.ValidationError as error:
        raise UsageError(f"{where}: {error}") from None


def _remember(folder: Folder, project_id: str, tasks: Sequence[TaskSpec]) -> None:
    """The agent holds the hub to them."""
    state = State(folder.path / "state.sqlite")
    state.keep_own_tasks(project_id, [(task_digest(task), task.name) for task in tasks])
    state.close()


def _tasks(chosen: argparse.Namespace) -> None:
    """Show a project's tasks; with --set send others, with --accept take what is shown."""
    folder = folder_of(chosen)
    client = client_of(folder)
    project = project_named(client, chosen.name)
    if chosen.set or chosen.accept:
        if project.coordinator_site_id != folder.site_id():
            raise UsageError(f"{chosen.name} is coordinated by another site; its tasks are that site's to give")
        specs = project.tasks
        if chosen.set:
            tasks = _tasks_in(chosen.set, "--set")
            specs = _specs(tasks, f"--set {chosen.set}")
            client.update_project(project.id, tasks=tasks)
        _remember(folder, project.id, specs)
        project = client.project(project.id)
    state = State(folder.path / "state.sqlite")
    ours = state.own_tasks(project.id)
    state.close()
    table = Listing("task", "model", "rounds", "parameters", "contract", "digest", "given by this site")
    for task in project.tasks:
        digest = task_digest(task)
        given = ("yes" if digest in ours else "NO") if ours else "not known"
        contract = f"quorum {task.contract.quorum:g} ({task.contract.quorum_of})"
        parameters = msgspec.json.encode(task.parameters).decode()
        table.add_row(task.name, task.model, str(task.rounds), parameters, contract, digest[:16], given)
    table.print()


def _list(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    consents = folder.consents().all()
    table = Listing("project", "id", "served", "coordinator", "joining", "runs", "tasks", ids=("id",))
    for project in client_of(folder).projects():
        tasks = ", ".join(f"{task.name} ({task.model}, {task.rounds} rounds)" for task in project.tasks)
        table.add_row(
            project.name,
            project.id,
            _served(consents.get(project.id), project),
            project.coordinator_name,
            project.joining,
            str(project.last_run_number),
            tasks,
        )
    table.print()


def _served(consent: Consent | None, project: Project) -> str:
    if consent is None:
        return "no"
    if not consent.live:
        return "left"
    same = (consent.coordinator, consent.identity) == (project.coordinator_site_id, project.coordinator_identity_key)
    return "yes" if same else "NOT UNDER THIS COORDINATOR"


def _consents(chosen: argparse.Namespace) -> None:
    """Without the hub: what is in the folder is what counts."""
    folder = folder_of(chosen)
    pins = folder.trust(folder.settings()).pins()
    for consent in sorted(folder.consents().all().values(), key=lambda one: one.at):
        name = pins[consent.coordinator].name if consent.coordinator in pins else "this site"
        finger = fingerprint(consent.identity)
        until = "" if consent.live else f", left {_time(consent.withdrawn_at)}"
        print(f"{consent.name} ({consent.project_id})\n  served since {_time(consent.at)}, by {consent.by}{until}")
        print(f"  coordinator {name} ({consent.coordinator})\n  {hex_groups(finger)}\n  {words(finger)}")


def _join(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    client = client_of(folder)
    joining = joining_of(folder, client)
    project = _meant(client, chosen)
    own = project.coordinator_site_id == folder.site_id()
    if chosen.coordinator is None and not own:
        raise UsageError(
            f"say whose project it is with --coordinator. The hub shows {describe(project)}: compare these words with "
            f"its people, or say --coordinator {UNKNOWN} to believe the hub this once"
        )
    wanted = Wanted(site_id=folder.site_id()) if own else _wanted(chosen)
    before = joining.consents.all().get(project.id)
    consent = joining.agree(project, wanted, "people")
    try:
        membership = joining.ask(project, chosen.notes)
    except Refused:
        joining.consents.put_back(consent, before)  # what was given for this request alone goes
        raise
    print(f"{project.name}: {membership.state if membership else 'served; this site coordinates it'}")
    print(f"its id is {project.id}; the name is the hub's word: compare the id, or join by it")
    if membership:
        compared = "as you said" if wanted.finger else "nobody has compared it"
        finger = fingerprint(consent.identity)
        print(f"its coordinator is {project.coordinator_name} ({consent.coordinator}), {compared}: {words(finger)}")


def _meant(client: Client, chosen: argparse.Namespace) -> Project:
    project = choose(projects_called(client, chosen.name), chosen.name, _wanted(chosen))
    if project is None:
        raise UsageError(f"there is no project {chosen.name!r}, or this site may not see it")
    return project


def _wanted(chosen: argparse.Namespace) -> Wanted:
    try:
        return parse_coordinator(" ".join(chosen.coordinator)) if chosen.coordinator else Wanted()
    except ValueError as error:
        raise UsageError(f"--coordinator: {error}") from None


def _leave(chosen: argparse.Namespace) -> int:
    """First in the site, then at the hub."""
    folder = folder_of(chosen)
    consents = folder.consents()
    known = consents.named(chosen.name)
    if len(known) > 1:
        known = [one for one in known if one.live] or known[:1]
    if len(known) > 1:
        shown = ", ".join(f"{one.project_id} (coordinator {one.coordinator})" for one in known)
        raise UsageError(f"{len(known)} projects are called {chosen.name!r}: {shown}; say the id")
    for consent in known:
        if consent.live:
            consents.withdraw(consent, micros_now())
            print(f"{consent.name}: this site does not serve it any more")
    client = client_of(folder)
    try:
        project = client.project(known[0].project_id) if known else project_named(client, chosen.name)
        if not known:
            consents.withdraw(consent_to(project, "people", micros_now()), micros_now())
        if project.coordinator_site_id == folder.site_id():
            print(f"{chosen.name}: this site coordinates it; its runs fail from now on. Archive it to end it")
            return 0
        membership = client.remove_member(project.id, folder.site_id())
    except (Refused, Unavailable) as error:
        if not known:
            raise
        print(f"{chosen.name}: the hub has not heard of it: {error}. Say it again later")
        return NO_ANSWER
    print(f"{chosen.name}: {membership.state}")
    return 0


def _members(chosen: argparse.Namespace) -> None:
    client = client_of(folder_of(chosen))
    table = Listing("site", "id", "state", "role", "notes", ids=("id",))
    for member in client.members(project_named(client, chosen.name).id):
        table.add_row(member.site_name or "", member.site_id, member.state, member.role or "", member.notes or "")
    table.print()


def _approve(chosen: argparse.Namespace) -> None:
    client = client_of(folder_of(chosen))
    project = project_named(client, chosen.name)
    found = [m for m in client.members(project.id) if chosen.site in (m.site_id, m.site_name)]
    if not found:
        raise UsageError(f"no site {chosen.site!r} has asked to join {chosen.name}")
    membership = client.put_member(project.id, found[0].site_id)
    print(f"{chosen.site}: {membership.state}")


def _time(micros: int | None) -> str:
    return "" if micros is None else datetime.fromtimestamp(micros / MICROS, UTC).isoformat(timespec="seconds")
