"""`fedyard project architecture` and `configuration`: models that can be trained over streams, and sets of them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import click

from fedyard.actions.naming import project_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import FILE, client_of
from fedyard.cli.listing import Listing
from fedyard.client.streams import Streams
from fedyard.wire.command_line import JSON, Command, Group, print_json
from fedyard.wire.stream_answers import Architecture, Configuration

T = TypeVar("T", Architecture, Configuration)


def streams_of(folder: Folder, project: str) -> Streams:
    client = client_of(folder)
    return Streams(client, project_named(client, project).id)


@click.command("put", cls=Command)
@click.argument("project")
@click.argument("name")
@click.argument("code", type=FILE)
@click.option("--framework", type=click.Choice(["tf", "pth"]), required=True, help="TensorFlow or PyTorch")
@click.option("--imports", type=FILE, help="what comes before the code; PyTorch's jobs are not given it")
@click.option("--description", default="", metavar="TEXT")
@click.option("--distributed", is_flag=True, help="a part of a chain; its last line is the model")
@click.option("--feeds", metavar="NAME", help="the architecture of the chain that it feeds")
@click.pass_obj
def put_architecture(
    folder: Folder,
    /,
    project: str,
    name: str,
    code: Path,
    framework: str,
    imports: Path | None,
    description: str,
    *,
    distributed: bool,
    feeds: str | None,
) -> None:
    """Put architecture NAME of a PROJECT, Python in the file CODE; other code is another version of it.

    The hub parses the code, and executes it nowhere.
    """
    source = _text_in(code)
    if not source:
        raise UsageError(f"{code}: that is empty; it has to bind `model`")
    streams = streams_of(folder, project)
    there = {one.name: one for one in streams.architectures()}
    fields: dict[str, object] = {
        "name": name,
        "framework": framework,
        "code": source,
        "imports": "" if imports is None else _text_in(imports),
        "description": description,
        "distributed": distributed or feeds is not None,
    }
    if feeds is not None:
        fields["father_id"] = named(there, feeds, "architecture").id
    made = streams.put_architecture(fields, there[name].id if name in there else None)
    print(f"architecture {name} is number {made.number}, version {made.version}")


@click.command("list", cls=Command)
@click.argument("project")
@JSON
@click.pass_obj
def list_architectures(folder: Folder, project: str, as_json: bool) -> None:
    """Which architectures a PROJECT has."""
    found = streams_of(folder, project).architectures()
    if as_json:
        print_json(found)
        return
    names = {one.id: one.name for one in found}
    table = Listing("number", "name", "framework", "version", "feeds", "description")
    for one in found:
        feeds = names.get(one.father_id or "", "") or ("the end of a chain" if one.distributed else "")
        table.add_row(str(one.number), one.name, one.framework, str(one.version), feeds, one.description)
    table.print()


@click.command("show", cls=Command)
@click.argument("project")
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="left out: the newest")
@JSON
@click.pass_obj
def show_architecture(folder: Folder, project: str, name: str, version: int | None, as_json: bool) -> None:
    """Print the code of architecture NAME of a PROJECT."""
    streams = streams_of(folder, project)
    one = named({each.name: each for each in streams.architectures()}, name, "architecture")
    found = streams.architecture_version(one.id, version or one.version)
    if as_json:
        print_json(found)
        return
    if found.code is None:
        raise UsageError(f"the code of {name} is for members of the project")
    print("\n".join(filter(None, (found.imports, found.code))))


@click.command("delete", cls=Command)
@click.argument("project")
@click.argument("name")
@click.pass_obj
def delete_architecture(folder: Folder, project: str, name: str) -> None:
    """Delete architecture NAME of a PROJECT; what was trained keeps its version."""
    streams = streams_of(folder, project)
    one = named({each.name: each for each in streams.architectures()}, name, "architecture")
    streams.delete_architecture(one.id)
    print(f"architecture {name} is deleted")


@click.command("put", cls=Command)
@click.argument("project")
@click.argument("name")
@click.argument("architectures", nargs=-1)
@click.option("--description", default="", metavar="TEXT")
@click.pass_obj
def put_configuration(
    folder: Folder, project: str, name: str, architectures: tuple[str, ...], description: str
) -> None:
    """Put configuration NAME of a PROJECT: ARCHITECTURES that are trained together, and what feeds them."""
    streams = streams_of(folder, project)
    if not architectures:
        raise UsageError("say which ARCHITECTURES are trained together: one, at least")
    there = {one.name: one for one in streams.architectures()}
    ids = [named(there, each, "architecture").id for each in architectures]
    before = {one.name: one.id for one in streams.configurations()}
    made = streams.put_configuration(name, ids, description, before.get(name))
    print(f"configuration {name} is number {made.number}")


@click.command("list", cls=Command)
@click.argument("project")
@JSON
@click.pass_obj
def list_configurations(folder: Folder, project: str, as_json: bool) -> None:
    """Which configurations a PROJECT has."""
    streams = streams_of(folder, project)
    found = streams.configurations()
    if as_json:
        print_json(found)
        return
    names = {one.id: one.name for one in streams.architectures()}
    table = Listing("number", "name", "architectures", "description")
    for one in found:
        inside = ", ".join(names.get(each, each) for each in one.architecture_ids)
        table.add_row(str(one.number), one.name, inside, one.description)
    table.print()


@click.command("delete", cls=Command)
@click.argument("project")
@click.argument("name")
@click.pass_obj
def delete_configuration(folder: Folder, project: str, name: str) -> None:
    """Delete configuration NAME of a PROJECT, of which there are no deployments any more."""
    streams = streams_of(folder, project)
    one = named({each.name: each for each in streams.configurations()}, name, "configuration")
    streams.delete_configuration(one.id)
    print(f"configuration {name} is deleted")


def named(there: dict[str, T], name: str, what: str) -> T:
    """That one; by its name, else by its number or id. Raises `UsageError`."""
    found = [one for one in there.values() if name in (str(one.number), one.id)]
    if name not in there and not found:
        raise UsageError(f"the project has no {what} {name!r}; it has {', '.join(sorted(there)) or 'none'}")
    return there[name] if name in there else found[0]


def _text_in(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file}: that is no text in UTF-8") from None


architecture = Group(
    "architecture",
    help="Models that can be trained over streams.",
    commands=[put_architecture, list_architectures, show_architecture, delete_architecture],
)
configuration = Group(
    "configuration",
    help="Architectures that are trained together.",
    commands=[put_configuration, list_configurations, delete_configuration],
)
