"""fedyard-hub events verify, and key: whether what happened is still told as it was."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import click

from fedyard.wire.command_line import Command, Group
from fedyard.wire.plurals import counted
from ops.cli.asked import FILE, Unfit, database_of, settings_of
from storage.audit import verify as faults_of


@click.command("verify", cls=Command)
@click.option(
    "--against",
    type=FILE,
    metavar="FILE",
    help="heads that were noted before: the heads.jsonl of a backup, or what `fedyard site heads --to FILE` wrote",
)
@click.pass_obj
def verify(data: Path, against: Path | None) -> int:
    """Walk every stream's chain of hashes; exit code 1 if one is broken."""
    broken = 0
    database = database_of(data)
    noted: Iterator[str] = iter(())
    ends = "an end that was cut off shows only against heads that were kept (--against FILE)"
    if against is not None:
        from ops import heads  # noqa: PLC0415 - the web, whose key it is, is heavy

        ends = f"all pass through the {counted(heads.count_heads(against), 'head')} in {against}"
        noted = heads.against(database, settings_of(data), against)
    for fault in chain(faults_of(database), noted):
        print(fault)
        broken += 1
    if broken:
        print(f"{broken} fault{'s' * (broken > 1)}")
        return 1
    print(f"every stream is whole: nothing was changed, removed or put in between; {ends}")
    return 0


@click.command("key", cls=Command)
@click.pass_obj
def show_key(data: Path) -> None:
    """The fingerprint of the key that signs the heads of the chains."""
    from ops.heads import public_key_in, shown_key  # noqa: PLC0415 - the web, whose key it is, is heavy

    path = Path(settings_of(data).head_key_file)
    key = public_key_in(path)
    if key is None:
        raise Unfit(f"there is no key in {path} yet: the hub makes it when it starts first")
    print("\n".join(shown_key(key)))


events = Group("events", help="What happened.", commands=[verify, show_key])
