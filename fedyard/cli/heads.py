"""The commands about the hub's chains of events: heads, trust-hub."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from fedyard.actions.keys import trust_hub as trust
from fedyard.actions.site import UsageError
from fedyard.agent.heads import Fault, Head
from fedyard.agent.site import Folder, SiteError
from fedyard.agent.state import State
from fedyard.cli.common import FILE, client_of
from fedyard.sealed.keys import words
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.durable import write_whole
from fedyard.wire.plurals import counted
from fedyard.wire.times import moment


@click.command("heads", cls=Command)
@click.option(
    "--to", type=FILE, metavar="FILE", help="write them there, for `fedyard-hub events verify --against FILE`"
)
@JSON
@click.pass_obj
def heads(folder: Folder, to: Path | None, as_json: bool) -> int:
    """How far the hub says its chains of events have come.

    The heads that it has signed. Exit code 1 if it has contradicted itself.
    """
    path = folder.path / "state.sqlite"
    if not path.exists():
        raise SiteError(f"{path} does not exist: the agent has not run here yet")
    state = State(path)
    kept, faults = state.heads.all(), state.heads.head_faults()
    state.close()
    if as_json:
        print_json({"heads": kept, "faults": faults})
        return 1 if faults else 0
    if to is not None:
        lines = [*kept, *(fault.head for fault in faults if fault.head is not None and fault.head not in kept)]
        if not to.parent.is_dir():
            raise UsageError(f"--to {to}: there is no folder {to.parent}")
        write_whole(to, b"".join(msgspec.json.encode(head) + b"\n" for head in lines))
        many = counted(len(lines), "head is", "heads are")
        print(f"{many} in {to}: the hub's people compare them with events verify --against")
    else:
        print("\n".join(_lines(kept)) or "the hub has shown none yet")
    for line in told(faults):
        print(line)
    return 1 if faults else 0


def told(faults: list[Fault]) -> list[str]:
    """A line for each fault, for people."""
    return [
        f"{moment(fault.at)}  {fault.detail}" + (f" ({fault.count} times)" if fault.count > 1 else "")
        for fault in faults
    ]


def _lines(kept: list[Head]) -> list[str]:
    """The newest head of each chain in each history."""
    newest = {(head.stream_id, head.history_id): head for head in kept}
    return [
        f"{head.kind} {head.stream_id}  {head}  signed {moment(head.at)}  history {head.history_id}"
        for head in newest.values()
    ]


@click.command("trust-hub", cls=Command)
@click.argument("fingerprint", nargs=-1, required=True)
@click.option("--replace", is_flag=True, help="they have told you that it is a new one")
@click.pass_obj
def trust_hub(folder: Folder, fingerprint: tuple[str, ...], replace: bool) -> None:
    """Trust the hub's key: you have compared its FINGERPRINT.

    FINGERPRINT: the twelve words or hex digits that its people told you.
    """
    pin = trust(folder, client_of(folder), " ".join(fingerprint), replace=replace)
    print(f"the hub's key is trusted: {words(pin.finger)}")
