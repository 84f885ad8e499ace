"""`fedyard`: a site's command line. A site's coordinator and its people speak as the site, with its token."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from fedyard.agent.agent import Agent
from fedyard.agent.consents import UNKNOWN, NotChosen
from fedyard.agent.notices import told
from fedyard.agent.site import Settings, SiteError, client_to
from fedyard.agent.state import KEEP_ENTRIES, State
from fedyard.agent.upkeep import tend
from fedyard.cli import heads, models, sealed
from fedyard.cli import projects as cli_projects
from fedyard.cli.common import (
    UsageError,
    client_of,
    command,
    folder_of,
    names_of,
    project_named,
    run_named,
    silent,
    unexpected,
)
from fedyard.cli.listing import Listing, terminal
from fedyard.cli.projects import joins_of
from fedyard.client.client import Client
from fedyard.client.errors import HubError, Refused
from fedyard.clock import micros_now
from fedyard.sealed.errors import IdentityChanged, SealError
from fedyard.sealed.keys import fingerprint, words
from fedyard.sealed.trust import Changed
from fedyard.wire.forgiving import forgive
from fedyard.wire.shown import plain_output
from fedyard.wire.stopping import on_stop_signal

FOLDER_VARIABLE = "SITE_FOLDER"
TOKEN_VARIABLE = "SITE_ENROLMENT_TOKEN"  # noqa: S105 - a name, no secret


IDENTITY_CHANGED = 3
"""Exit code of an agent that stopped because another site's identity is not the one that was pinned."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done; 1 refused or unavailable; 2 asked wrongly; 3 an identity changed; 70 our fault; 130 interrupted."""
    with plain_output():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        code: int = chosen.do(chosen) or 0
        sys.stdout.flush()
    except (UsageError, SiteError, NotChosen) as error:
        return _complain(2, str(error))
    except IdentityChanged as error:
        return _complain(IDENTITY_CHANGED, f"IDENTITY CHANGED: {error}")
    except (HubError, SealError) as error:
        return _complain(1, str(error))
    except BrokenPipeError:
        forgive()
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - people get a sentence, no traceback
        return _complain(*unexpected(error))
    return code


def _complain(code: int, sentence: str) -> int:
    """Say it, if that can be said: a full disk behind standard output or error is no reason for a traceback."""
    forgive()
    print(f"fedyard: {sentence}", file=sys.stderr)
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
        allow_plain_http=chosen.allow_plain_http,
        join=joins_of(chosen.join, chosen.coordinator),
        data=dict(_named(text) for text in chosen.data),
    )
    try:
        msgspec.convert(msgspec.to_builtins(settings), Settings)
    except msgspec.ValidationError as error:
        raise UsageError(str(error)) from None
    folder = folder_of(chosen)
    client_to(settings, token)  # refuses an unprotected hub before anything is written
    with folder.made_whole():
        folder.create(settings, token)
        if not chosen.later:
            folder.enrol(settings)
    print(f"wrote {folder.path / 'site.toml'}")
    for name, path in folder.data(settings).items():
        if not path.is_file():
            print(f"warning: --data {name}={path}: there is no such file; a task that needs it fails", file=sys.stderr)
    for join in settings.join:
        whose = "the first one that the hub shows is believed" if join.coordinator == UNKNOWN else join.coordinator
        print(f"it will join {join.project}; coordinator: {whose}")
    if not chosen.later:
        print(f"enrolled as site {folder.site_id()}; now: fedyard --folder {chosen.folder} site run")
        tend(folder.keyring(), settings.keys, client_of(folder), micros_now(), log=silent)
        print(f"its fingerprint, to tell others: {words(fingerprint(folder.keyring().identity_key))}")


def _named(text: str) -> tuple[str, str]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise UsageError(f"--data {text}: write NAME=FILE, e.g. train=train.csv")
    return name, str(Path(file).resolve())


def _run_agent(chosen: argparse.Namespace) -> int:
    forgive()
    agent = Agent(folder_of(chosen))
    on_stop_signal(agent.stop)
    try:
        agent.run()
    except Refused as error:
        print(f"fedyard: the hub does not take this site: {error}", file=sys.stderr)
        return 1
    except Changed as changed:
        print(f"fedyard: STOPPED, IDENTITY CHANGED: {changed}", file=sys.stderr)
        return IDENTITY_CHANGED
    return 0


def _whoami(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    me = client_of(folder).me()
    print(f"{me.kind} {me.name} ({me.id}) at {folder.settings().hub}")


def _inbox(chosen: argparse.Namespace) -> None:
    path = folder_of(chosen).path / "state.sqlite"
    if not path.exists():
        raise SiteError(f"{path} does not exist: the agent has not run here yet")
    state = State(path)
    if chosen.read is not None:
        _read(state, chosen.read)
        return
    site_id = folder_of(chosen).site_id()
    table, sentences = Listing("seq", "at", "kind", "run", "round", "message", ids=("seq", "run")), []
    for entry in state.latest(chosen.count):
        message = "" if entry.message is None else f"{entry.message.kind}, {entry.message.size_bytes} bytes"
        if entry.message is not None and (body := state.body(entry.message.id)) is not None:
            if body.artifact_id is not None and not body.opened:
                message += ", still at the hub"
            elif body.file and not Path(body.file).exists():
                message += ", gone"
        at = entry.created_at.isoformat(timespec="seconds")
        table.add_row(str(entry.seq), at, entry.kind, (entry.run_id or "")[:8], str(entry.round or ""), message)
        if (sentence := told(entry, site_id)) is not None:
            sentences.append(f"{entry.seq}  {sentence}")
    recovered_at = state.position().recovered_at
    if recovered_at:
        when = datetime.fromtimestamp(recovered_at / 1_000_000, UTC).isoformat(timespec="seconds")
        sentences.append(f"the hub was restored, and this site recovered, {when}: numbers have jumped since")
    sentences += heads.told(state.head_faults())
    state.close()
    table.print()
    for sentence in sentences:
        print(sentence)


def _read(state: State, seq: int) -> None:
    """What a message holds, as the agent has opened it."""
    found = [e for e in state.latest(KEEP_ENTRIES) if e.seq == seq and e.message is not None]
    body = state.body(found[0].message.id) if found and found[0].message is not None else None
    if body is not None and not body.opened and body.artifact_id is not None:
        raise UsageError(
            f"the message in entry {seq} is large and still at the hub: the agent's log says why (`not opened`)"
        )
    if body is None or not body.opened:
        raise UsageError(f"entry {seq} holds no message that this site has opened")
    if not body.file:
        sys.stdout.buffer.write(body.body)
        return
    if not Path(body.file).exists():
        raise UsageError(f"the message in entry {seq} has lain here for messages.keep_days, and is gone")
    with Path(body.file).open("rb") as stream:
        shutil.copyfileobj(stream, sys.stdout.buffer)


# runs


def _run_start(chosen: argparse.Namespace) -> int:
    folder = folder_of(chosen)
    client = client_of(folder)
    project = project_named(client, chosen.project)
    if project.coordinator_site_id == folder.site_id():
        folder.consents().of(project.id)  # else its own agent would not aggregate
    run = client.start_run(project.id, queue=chosen.queue)
    print(f"run {chosen.project}/{run.number} is {run.state} ({run.id})")
    if run.requests_waiting:
        many = "1 site has" if run.requests_waiting == 1 else f"{run.requests_waiting} sites have"
        print(
            f"{many} asked to join and will take no part until let in: fedyard project approve "
            f"{chosen.project} SITE (who: fedyard project members {chosen.project})"
        )
    return _watched(client, run.id) if chosen.watch else 0


def _run_stop(chosen: argparse.Namespace) -> None:
    client = client_of(folder_of(chosen))
    changed = client.stop_run(run_named(client, chosen.run).id, chosen.reason)
    print(f"run {chosen.run} is {changed.state}")


def _run_restart(chosen: argparse.Namespace) -> int:
    client = client_of(folder_of(chosen))
    run = client.restart_run(run_named(client, chosen.run).id, chosen.start_from)
    print(f"attempt {run.attempt} of run {run.number} is {run.state} ({run.id})")
    return _watched(client, run.id) if chosen.watch else 0


def _run_show(chosen: argparse.Namespace) -> None:
    client = client_of(folder_of(chosen))
    if chosen.run:
        run = client.run(run_named(client, chosen.run).id)
        from fedyard.cli.show import print_run  # noqa: PLC0415 - rich is heavy, and an agent has no use for it

        print_run(client, run, names_of(client), terminal())
        return
    projects = {project.id: project.name for project in client.projects()}
    table = Listing("run", "attempt", "state", "reason", "id", ids=("run", "id"))
    for run in client.runs():
        name = f"{projects.get(run.project_id, run.project_id)}/{run.number}"
        table.add_row(name, str(run.attempt), run.state, run.reason, run.id)
    table.print()


def _run_watch(chosen: argparse.Namespace) -> int:
    client = client_of(folder_of(chosen))
    return _watched(client, run_named(client, chosen.run).id)


def _watched(client: Client, run_id: str) -> int:
    """Show a run until it is finished; 0 if it succeeded."""
    from fedyard.cli.show import watch  # noqa: PLC0415 - as above

    run = watch(client, run_id, names_of(client), terminal())
    return 0 if run.state == "succeeded" else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fedyard", description=__doc__)
    default = os.environ.get(FOLDER_VARIABLE, ".")
    parser.add_argument("--folder", default=default, help=f"the site's folder (default: ${FOLDER_VARIABLE} or here)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_init(commands)
    command(commands, "whoami", "who the hub takes this site for", _whoami)
    inbox = command(commands, "inbox", "what came in lately", _inbox)
    inbox.add_argument("--count", type=int, default=20)
    inbox.add_argument("--read", type=int, metavar="SEQ", help="write what this message holds to standard output")
    sealed.add(commands)
    heads.add(commands)
    models.add(commands)
    cli_projects.add(commands)

    run = command(
        commands, "run", "without more: be this site's agent. Or: start, stop, restart, show, watch", _run_agent
    )
    runs = run.add_subparsers(metavar="COMMAND")
    start = command(runs, "start", "start a run of a project", _run_start)
    start.add_argument("project")
    start.add_argument("--queue", action="store_true", help="wait if another run lives")
    start.add_argument("--watch", action="store_true")
    stop = command(runs, "stop", "stop a run", _run_stop)
    stop.add_argument("run", metavar="RUN", help="PROJECT/NUMBER, the run's id, or how that begins")
    stop.add_argument("--reason", default="")
    restart = command(runs, "restart", "a new attempt of a run", _run_restart)
    restart.add_argument("run", metavar="RUN", help="PROJECT/NUMBER, the run's id, or how that begins")
    restart.add_argument("--from", dest="start_from", choices=("reached", "start"), default="reached")
    restart.add_argument("--watch", action="store_true")
    show = command(runs, "show", "a run, or all of them", _run_show)
    show.add_argument("run", metavar="RUN", nargs="?", help="PROJECT/NUMBER, the run's id, or how that begins")
    command(runs, "watch", "follow a run until it is finished", _run_watch).add_argument("run", metavar="RUN")
    return parser


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    init = command(commands, "init", "make a folder for a new site and enrol it", _init)
    init.add_argument("--hub", required=True, help="address of the hub, e.g. https://hub.example")
    init.add_argument("--name", required=True)
    init.add_argument("--description", default="")
    init.add_argument("--token-file", help=f"file with the enrolment token (or set {TOKEN_VARIABLE})")
    init.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="e.g. train=train.csv")
    init.add_argument(
        "--join", action="append", default=[], metavar="PROJECT", help="its id or name: join it once it exists"
    )
    init.add_argument(
        "--allow-plain-http", action="store_true", help="show the token to whoever is on the way to the hub"
    )
    init.add_argument(
        "--coordinator",
        action="append",
        default=[],
        metavar="WHO",
        help="whose that project is: a site's id, or its fingerprint in quotes; without it the first one is believed",
    )
    init.add_argument("--later", action="store_true", help="enrol at the first `run`")


if __name__ == "__main__":
    sys.exit(main())
