"""`fedyard workload`: what runs for projects at the hub's clusters and at sites: list, start, stop, what it left."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import click
import msgspec

from fedyard.actions.naming import ID_LENGTH, place_named, project_named
from fedyard.actions.site import UsageError
from fedyard.agent.paths import under
from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, LIVE, client_of, state_told
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.client.transfer import Transfer
from fedyard.wire import answers as a
from fedyard.wire.command_line import JSON, Command, Group, print_json
from fedyard.wire.shown import MAX_LINE, shown

WAIT_S = 20
"""How long a call waits for more of a log that is followed."""


@click.command("list", cls=Command)
@click.argument("project")
@click.option("--state", metavar="STATE", help="only those in this state, e.g. running")
@JSON
@click.pass_obj
def listed(folder: Folder, project: str, state: str | None, as_json: bool) -> None:
    """The workloads of a PROJECT, from old to new."""
    client = client_of(folder)
    found = client.workloads(project_named(client, project).id, state=state)
    if as_json:
        print_json(found)
        return
    table = Listing("workload", "where", "state", "attempt", "reason", "address", "id", ids=("id",))
    for one in found:
        told = state_told(one.state, one.stop_at)
        address = one.addresses.get("outside") or one.addresses.get("inside") or ""
        reason = one.reason if one.exit_code is None else f"{one.reason} {one.exit_code}".strip()
        table.add_row(one.name, one.where, told, str(one.attempt), reason, address, one.id)
    table.print()


@click.command("start", cls=Command)
@click.argument("project")
@click.argument("name")
@click.option("--spec", "file", type=FILE, required=True, help="what to run: a file of JSON, as docs/workloads.md says")
@click.option(
    "--where",
    default="hub",
    metavar="WHERE",
    help="a cluster of the hub's, or site: and a member's name or id (default: hub)",
)
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="a variable; may be repeated")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="a label; may be repeated")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=WHAT",
    help="a file: an artifact's id, a version of a model, or @ and a file of yours, which is uploaded",
)
@click.option("--output", "outputs", multiple=True, metavar="NAME", help="a file that it must leave; may be repeated")
@click.option("--object-name", metavar="NAME", help="what it is called in its cluster, to the letter")
@click.pass_obj
def start(
    folder: Folder,
    project: str,
    name: str,
    *,
    file: Path,
    where: str,
    environment: tuple[str, ...],
    labels: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    object_name: str | None,
) -> None:
    """Have a workload of this NAME run for a PROJECT. What options say counts besides --spec, and before it."""
    client = client_of(folder)
    spec = _spec_in(file)
    _add(spec, "environment", _pairs("--env", environment))
    _add(spec, "labels", _pairs("--label", labels))
    named = {one: str(what) for one, what in _pairs("--input", inputs).items()}
    _files_there(named)
    ident = project_named(client, project).id
    where = place_named(client, ident, where)
    _add(spec, "inputs", {one: _input(client, ident, where, what) for one, what in named.items()})
    _add(spec, "outputs", {one: {} for one in outputs})
    if object_name is not None:
        spec["object_name"] = object_name
    made = client.start_workload(ident, name, where, spec)
    print(f"workload {project}/{name} is {made.state} ({made.id})")


@click.command("stop", cls=Command)
@click.argument("workload")
@click.option("--reason", default="", metavar="TEXT", help="for the record")
@click.pass_obj
def stop(folder: Folder, workload: str, reason: str) -> None:
    """Stop a WORKLOAD: it is stopped when its cluster says that nothing of it is there.

    WORKLOAD: PROJECT/NAME (of several the newest that goes on), or its id.
    """
    client = client_of(folder)
    changed = client.stop_workload(_named(client, workload), reason)
    print(f"workload {workload} is {changed.state}" + (", and is to go" if changed.state in LIVE else ""))


@click.command("scale", cls=Command)
@click.argument("workload")
@click.argument("replicas", type=click.IntRange(0, 1000))
@click.pass_obj
def scale(folder: Folder, workload: str, replicas: int) -> None:
    """So many REPLICAS of a WORKLOAD that is a service.

    WORKLOAD: PROJECT/NAME (of several the newest that goes on), or its id.
    """
    client = client_of(folder)
    client.scale_workload(_named(client, workload), replicas)
    print(f"workload {workload} is to have {replicas} replicas")


@click.command("log", cls=Command)
@click.argument("workload")
@click.option("--attempt", type=click.IntRange(1), help="which; the newest one, if it is left out")
@click.option("--follow", is_flag=True, help="what it writes from its beginning on, until it has ended")
@click.pass_obj
def log(folder: Folder, workload: str, attempt: int | None, follow: bool) -> int:
    """What an attempt at a WORKLOAD left: its log's tail; what the cluster said, and how the workload is, goes to
    standard error.

    WORKLOAD: PROJECT/NAME (of several the newest that goes on), or its id.
    """
    client = client_of(folder)
    ident = _named(client, workload)
    if follow:
        return _follow(client, workload, ident, attempt)
    left = client.workload_log(ident, attempt)
    for event in left.events:
        print(shown(event), file=sys.stderr)
    if left.log is None:
        return _none_to_read(client, workload, ident, left)
    for line in left.log.decode(errors="replace").splitlines():
        print(shown(line))
    _say_how_it_is(workload, client.workload(ident))
    return 0


def _follow(client: Client, workload: str, ident: str, attempt: int | None) -> int:
    """Until it has ended; where no attempt was named, until the newest one has."""
    left = client.workload_log(ident, attempt, after=0)
    after, begun = 0, b""
    while True:
        if left.log is None or left.next is None:
            return _none_to_read(client, workload, ident, left)
        if left.after is not None and left.after > after:
            print(f"{left.after - after} bytes of its log are not kept", file=sys.stderr)
        *lines, begun = (begun + left.log).split(b"\n")
        for line in [*lines, begun] if left.over and begun else lines:
            print(shown(line.decode(errors="replace"), MAX_LINE), flush=True)
        number, after = left.attempt, left.next
        if left.over:
            for event in left.events:
                print(shown(event), file=sys.stderr)
            newest = client.workload(ident)
            if attempt is not None or newest.attempt == number:
                _say_how_it_is(workload, newest)
                return 0
            number, after, begun = newest.attempt, 0, b""
            print(f"attempt {number}", file=sys.stderr)
        left = client.workload_log(ident, number, after=after, wait=WAIT_S)


def _none_to_read(client: Client, workload: str, ident: str, left: a.WorkloadLog) -> int:
    found = client.workload(ident)
    goes_on = found.state in LIVE and found.attempt == left.attempt
    more = "; --follow shows what it writes while it runs" if goes_on else ""
    print(f"attempt {left.attempt} at {workload} has no log yet, or it is not yours to read{more}", file=sys.stderr)
    _say_how_it_is(workload, found)
    return 1


def _say_how_it_is(workload: str, found: a.Workload) -> None:
    """Where there is something to say of it beside its log."""
    if found.reason or found.detail:
        said = ": ".join(one for one in (found.reason, found.detail) if one)
        print(shown(f"{workload}, attempt {found.attempt}: {found.state}, {said}"), file=sys.stderr)


@click.command("files", cls=Command)
@click.argument("workload")
@click.option("--to", type=click.Path(path_type=Path, file_okay=False), help="a folder that its outputs are put into")
@JSON
@click.pass_obj
def files(folder: Folder, workload: str, to: Path | None, as_json: bool) -> None:
    """What a WORKLOAD that is a job finds, and what it has left.

    WORKLOAD: PROJECT/NAME (of several the newest that goes on), or its id.
    """
    client = client_of(folder)
    found = client.workload(_named(client, workload))
    if as_json:
        print_json({"inputs": found.inputs, "outputs": found.outputs})
    else:
        _print_files(found)
    for name, left in sorted(found.outputs.items()) if to is not None else ():
        if left.stored_at and to is not None:
            to.mkdir(parents=True, exist_ok=True)
            Transfer(client).download(left.artifact_id, under(to, name), digest=left.digest)


def _print_files(found: a.Workload) -> None:
    table = Listing("file", "bytes", "digest", "artifact", ids=("artifact",))
    for name, one in sorted(found.inputs.items()):
        table.add_row(f"inputs/{name}", str(one.size_bytes), one.digest[:12], one.artifact_id)
    for name, left in sorted(found.outputs.items()):
        told = str(left.size_bytes) if left.stored_at else f"{left.size_bytes}, not stored yet"
        table.add_row(f"outputs/{name}", told, left.digest[:12], left.artifact_id)
    table.print()


def _named(client: Client, text: str) -> str:
    """Its id. Raises `UsageError`."""
    project, slash, name = text.rpartition("/")
    if not slash:
        if len(text) != ID_LENGTH:
            raise UsageError(f"{text!r} names no workload: say PROJECT/NAME, or its id")
        return text.lower()
    found = [one for one in client.workloads(project_named(client, project).id) if one.name == name]
    if not found:
        raise UsageError(f"project {project!r} has no workload {name!r}, or this site may not see it")
    going_on = [one for one in found if one.state in LIVE]
    return (going_on or found)[-1].id


def _pairs(option: str, said: tuple[str, ...]) -> dict[str, object]:
    """Raises `UsageError`."""
    found: dict[str, object] = {}
    for one in said:
        name, equals, value = one.partition("=")
        if not (name and equals):
            raise UsageError(f"{option} {one}: write a name, =, and a value")
        found[name] = value
    return found


def _files_there(named: dict[str, str]) -> None:
    """Before anything is uploaded. Raises `UsageError`."""
    for one, what in named.items():
        if what.startswith("@") and not Path(what[1:]).is_file():
            raise UsageError(f"--input {one}={what}: there is no file {what[1:]}")


def _input(client: Client, project_id: str, where: str, what: str) -> dict[str, object]:
    """A file becomes an artifact; the same file again is the same one. For the hub's clusters the project's coordinator
    reads it; another site can only read what all members may."""
    if what.startswith("@"):
        kind, archive = ("initial", False) if where.startswith("site:") else ("result", None)
        path = Path(what[1:])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        key = f"input-{kind}-{project_id}-{digest}"
        ident = Transfer(client).upload(path, project_id=project_id, kind=kind, key=key, archive=archive)
        return {"artifact_id": ident}
    return {"model_version": int(what)} if what.isdecimal() else {"artifact_id": what}


def _add(spec: dict[str, object], field: str, more: dict[str, object]) -> None:
    """To what the file says there. Raises `UsageError`."""
    if not more:
        return
    there = spec.get(field, {})
    if not isinstance(there, dict):
        raise UsageError(f"--spec: {field} is no object of JSON")
    spec[field] = {**there, **more}


def _spec_in(file: Path) -> dict[str, object]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, object])
    except OSError as error:
        raise UsageError(f"--spec {file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"--spec {file}: {error}") from None


workload = Group(
    "workload",
    help="What runs for projects at the hub's clusters and at sites.",
    commands=[listed, start, stop, scale, files, log],
)
