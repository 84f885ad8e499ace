"""`fedyard-site`: a site's command line. A site's coordinator and its people speak as the site, with its token."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from controller.agent import Agent
from controller.answers import Project, Run
from controller.client import Client, HubError, Refused
from controller.show import run_table, watch
from controller.site import Folder, Join, Settings, SiteError
from controller.state import State

FOLDER_VARIABLE = "SITE_FOLDER"
TOKEN_VARIABLE = "SITE_ENROLMENT_TOKEN"  # noqa: S105 - a name, no secret


class UsageError(Exception):
    """What was asked for cannot be done so; the sentence says how."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done; 1 refused or unavailable; 2 asked wrongly; 130 interrupted."""
    chosen = _parser().parse_args(arguments)
    try:
        code: int = chosen.do(chosen) or 0
    except (UsageError, SiteError) as error:
        print(f"fedyard-site: {error}", file=sys.stderr)
        return 2
    except HubError as error:
        print(f"fedyard-site: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


# the site


def _init(chosen: argparse.Namespace) -> None:
    token = Path(chosen.token_file).read_text("utf-8").strip() if chosen.token_file else os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise UsageError(f"no enrolment token: name a file with --token-file, or set {TOKEN_VARIABLE}")
    settings = Settings(
        hub=chosen.hub.rstrip("/"),
        name=chosen.name,
        description=chosen.description,
        join=Join(projects=chosen.join),
        data=dict(_named(text) for text in chosen.data),
    )
    try:
        msgspec.convert(msgspec.to_builtins(settings), Settings)
    except msgspec.ValidationError as error:
        raise UsageError(str(error)) from None
    folder = Folder(_folder(chosen))
    folder.create(settings, token)
    print(f"wrote {folder.path / 'site.toml'}")
    if not chosen.later:
        print(f"enrolled as site {folder.enrol(settings)}; now: fedyard-site --folder {chosen.folder} run")


def _named(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise UsageError(f"--data {text}: write NAME=FILE, e.g. train=train.csv")
    return name, str(Path(file).resolve())


def _run_agent(chosen: argparse.Namespace) -> int:
    agent = Agent(Folder(_folder(chosen)))
    for asked in (signal.SIGTERM, signal.SIGINT):
        signal.signal(asked, lambda *_: agent.stop())
    try:
        agent.run()
    except Refused as error:
        print(f"fedyard-site: the hub does not take this site: {error}", file=sys.stderr)
        return 1
    return 0


def _whoami(chosen: argparse.Namespace) -> None:
    folder = Folder(_folder(chosen))
    me = _client(folder).me()
    print(f"{me.kind} {me.name} ({me.id}) at {folder.settings().hub}")


def _inbox(chosen: argparse.Namespace) -> None:
    path = _folder(chosen) / "state.sqlite"
    if not path.exists():
        raise SiteError(f"{path} does not exist: the agent has not run here yet")
    state = State(path)
    table = _table("seq", "at", "kind", "run", "round", "message")
    for entry in state.latest(chosen.count):
        message = "" if entry.message is None else f"{entry.message.kind}, {entry.message.size_bytes} bytes"
        at = entry.created_at.isoformat(timespec="seconds")
        table.add_row(str(entry.seq), at, entry.kind, (entry.run_id or "")[:8], str(entry.round or ""), message)
    state.close()
    Console().print(table)


# projects


def _project_create(chosen: argparse.Namespace) -> None:
    try:
        tasks = msgspec.json.decode(Path(chosen.tasks).read_bytes(), type=list[dict[str, object]])
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"--tasks {chosen.tasks}: {error}") from None
    client = _client(Folder(_folder(chosen)))
    made = client.create_project(chosen.name, tasks, description=chosen.description, joining=chosen.joining)
    print(f"project {made}")


def _project_list(chosen: argparse.Namespace) -> None:
    client = _client(Folder(_folder(chosen)))
    names = _names(client)
    table = _table("project", "coordinator", "joining", "tasks", "runs", "id")
    for project in client.projects():
        coordinator = names.get(project.coordinator_site_id, project.coordinator_site_id)
        tasks = ", ".join(f"{task.name} ({task.model}, {task.rounds} rounds)" for task in project.tasks)
        table.add_row(project.name, coordinator, project.joining, tasks, str(project.last_run_number), project.id)
    Console().print(table)


def _project_join(chosen: argparse.Namespace) -> None:
    folder = Folder(_folder(chosen))
    client = _client(folder)
    membership = client.put_member(_project(client, chosen.name).id, folder.site_id(), chosen.notes)
    print(f"{chosen.name}: {membership.state}")


def _project_leave(chosen: argparse.Namespace) -> None:
    folder = Folder(_folder(chosen))
    client = _client(folder)
    membership = client.remove_member(_project(client, chosen.name).id, folder.site_id())
    print(f"{chosen.name}: {membership.state}")


def _project_members(chosen: argparse.Namespace) -> None:
    client = _client(Folder(_folder(chosen)))
    table = _table("site", "role", "state", "notes", "id")
    for member in client.members(_project(client, chosen.name).id):
        table.add_row(member.site_name or "", member.role or "", member.state, member.notes, member.site_id)
    Console().print(table)


def _project_approve(chosen: argparse.Namespace) -> None:
    client = _client(Folder(_folder(chosen)))
    project = _project(client, chosen.name)
    found = [m for m in client.members(project.id) if chosen.site in (m.site_id, m.site_name)]
    if not found:
        raise UsageError(f"no site {chosen.site!r} has asked to join {chosen.name}")
    membership = client.put_member(project.id, found[0].site_id)
    print(f"{chosen.site}: {membership.state}")


# runs


def _run_start(chosen: argparse.Namespace) -> int:
    client = _client(Folder(_folder(chosen)))
    run = client.start_run(_project(client, chosen.project).id, queue=chosen.queue)
    print(f"run {chosen.project}/{run.number} is {run.state} ({run.id})")
    return _watched(client, run.id) if chosen.watch else 0


def _run_stop(chosen: argparse.Namespace) -> None:
    client = _client(Folder(_folder(chosen)))
    changed = client.stop_run(_run(client, chosen.run).id, chosen.reason)
    print(f"run {chosen.run} is {changed.state}")


def _run_restart(chosen: argparse.Namespace) -> int:
    client = _client(Folder(_folder(chosen)))
    run = client.restart_run(_run(client, chosen.run).id, chosen.start_from)
    print(f"attempt {run.attempt} of run {run.number} is {run.state} ({run.id})")
    return _watched(client, run.id) if chosen.watch else 0


def _run_show(chosen: argparse.Namespace) -> None:
    client = _client(Folder(_folder(chosen)))
    if chosen.run:
        run = client.run(_run(client, chosen.run).id)
        Console().print(run_table(run, _names(client)))
        if run.detail:
            print(run.detail)
        return
    projects = {project.id: project.name for project in client.projects()}
    table = _table("run", "attempt", "state", "reason", "id")
    for run in client.runs():
        name = f"{projects.get(run.project_id, run.project_id)}/{run.number}"
        table.add_row(name, str(run.attempt), run.state, run.reason, run.id)
    Console().print(table)


def _run_watch(chosen: argparse.Namespace) -> int:
    client = _client(Folder(_folder(chosen)))
    return _watched(client, _run(client, chosen.run).id)


def _watched(client: Client, run_id: str) -> int:
    """Show a run until it is finished; 0 if it succeeded."""
    run = watch(client, run_id, _names(client), Console())
    return 0 if run.state == "succeeded" else 1


# how


def _folder(chosen: argparse.Namespace) -> Path:
    return Path(chosen.folder)


def _client(folder: Folder) -> Client:
    settings = folder.settings()
    folder.site_id()
    return Client(settings.hub, folder.token(), give_up_s=15.0, ca_file=settings.ca_file)


def _names(client: Client) -> dict[str, str]:
    return {site.id: site.name for site in client.sites()}


def _project(client: Client, name: str) -> Project:
    found = [p for p in client.projects(name=name) if p.name == name]
    if not found:
        raise UsageError(f"there is no project {name!r}, or this site may not see it")
    return next((p for p in found if p.archived_at is None), found[0])


def _run(client: Client, text: str) -> Run:
    """A run by its id, or by its project and number; then its last attempt."""
    name, slash, number = text.rpartition("/")
    if not slash:
        return client.run(text)
    runs = [r for r in client.runs(project_id=_project(client, name).id) if str(r.number) == number]
    if not runs:
        raise UsageError(f"project {name!r} has no run {number}")
    return max(runs, key=lambda run: run.attempt)


def _table(*headings: str) -> Table:
    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fedyard-site", description=__doc__)
    default = os.environ.get(FOLDER_VARIABLE, ".")
    parser.add_argument("--folder", default=default, help=f"the site's folder (default: ${FOLDER_VARIABLE} or here)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = _command(commands, "init", "make a folder for a new site and enrol it", _init)
    init.add_argument("--hub", required=True, help="address of the hub, e.g. https://hub.example")
    init.add_argument("--name", required=True)
    init.add_argument("--description", default="")
    init.add_argument("--token-file", help=f"file with the enrolment token (or set {TOKEN_VARIABLE})")
    init.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="e.g. train=train.csv")
    init.add_argument("--join", action="append", default=[], metavar="PROJECT", help="join it as soon as it exists")
    init.add_argument("--later", action="store_true", help="enrol at the first `run`")

    _command(commands, "whoami", "who the hub takes this site for", _whoami)
    inbox = _command(commands, "inbox", "what came in lately", _inbox)
    inbox.add_argument("--count", type=int, default=20)

    project = commands.add_parser("project", help="create, join, leave, list; members, approve")
    projects = project.add_subparsers(required=True, metavar="COMMAND")
    create = _command(projects, "create", "a project with this site as its coordinator", _project_create)
    create.add_argument("name")
    create.add_argument("--tasks", required=True, help="JSON file with a list of tasks (docs/sites.md)")
    create.add_argument("--description", default="")
    create.add_argument("--joining", choices=("open", "approval", "invitation"), default="approval")
    _command(projects, "list", "the projects that this site may see", _project_list)
    join = _command(projects, "join", "join, or ask to", _project_join)
    join.add_argument("name")
    join.add_argument("--notes", default="")
    _command(projects, "leave", "leave, or decline an invitation", _project_leave).add_argument("name")
    _command(projects, "members", "who takes part", _project_members).add_argument("name")
    approve = _command(projects, "approve", "let a site in that has asked", _project_approve)
    approve.add_argument("name")
    approve.add_argument("site", help="its name or id")

    run = _command(
        commands, "run", "without more: be this site's agent. Or: start, stop, restart, show, watch", _run_agent
    )
    runs = run.add_subparsers(metavar="COMMAND")
    start = _command(runs, "start", "start a run of a project", _run_start)
    start.add_argument("project")
    start.add_argument("--queue", action="store_true", help="wait if another run lives")
    start.add_argument("--watch", action="store_true")
    stop = _command(runs, "stop", "stop a run", _run_stop)
    stop.add_argument("run", metavar="RUN", help="PROJECT/NUMBER or the run's id")
    stop.add_argument("--reason", default="")
    restart = _command(runs, "restart", "a new attempt of a run", _run_restart)
    restart.add_argument("run", metavar="RUN", help="PROJECT/NUMBER or the run's id")
    restart.add_argument("--from", dest="start_from", choices=("reached", "start"), default="reached")
    restart.add_argument("--watch", action="store_true")
    show = _command(runs, "show", "a run, or all of them", _run_show)
    show.add_argument("run", metavar="RUN", nargs="?", help="PROJECT/NUMBER or the run's id")
    _command(runs, "watch", "follow a run until it is finished", _run_watch).add_argument("run", metavar="RUN")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    about: str,
    do: Callable[[argparse.Namespace], int | None],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, description=about)
    parser.set_defaults(do=do)
    return parser


if __name__ == "__main__":
    sys.exit(main())
