"""fedyard-hub dead-letters: list, show, replay, purge."""

from __future__ import annotations

from pathlib import Path

import click

from broker.routes import QUEUES
from fedyard.wire.command_line import JSON, Command, Group, print_json
from ops.cli.asked import Unfit, settings_of
from ops.dead_letters import line, opened, page

_queue = click.option("--queue", type=click.Choice([queue.name for queue in QUEUES if queue.durable]))


@click.command("list", cls=Command)
@_queue
@JSON
@click.pass_obj
def list_letters(data: Path, queue: str | None, as_json: bool) -> None:
    """What lies there."""
    with opened(settings_of(data)) as letters:
        found = letters.list(queue)
    if as_json:
        print_json(found)
        return
    print("\n".join(map(line, found)) or "there are no dead letters")


@click.command("show", cls=Command)
@click.argument("id")
@JSON
@click.pass_obj
def show(data: Path, id: str, as_json: bool) -> None:
    """All that is known of one."""
    with opened(settings_of(data)) as letters:
        letter = letters.show(id)
    if letter is None:
        raise Unfit(f"there is no dead letter {id}; see fedyard-hub dead-letters list")
    if as_json:
        print_json(letter)
        return
    print("\n".join(page(letter)))


@click.command("replay", cls=Command)
@click.argument("id", required=False)
@_queue
@click.pass_obj
def replay(data: Path, id: str | None, queue: str | None) -> None:
    """Give one, or those of a queue, back to their queues, to be tried again."""
    _one_way(id, queue)
    with opened(settings_of(data)) as letters:
        count = letters.replay(id, queue)
    _counted(count, "given back to their queues", id)


@click.command("purge", cls=Command)
@click.argument("id", required=False)
@_queue
@click.pass_obj
def purge(data: Path, id: str | None, queue: str | None) -> None:
    """Throw one away, or those of a queue."""
    _one_way(id, queue)
    with opened(settings_of(data)) as letters:
        count = letters.purge(id, queue)
    _counted(count, "thrown away", id)


def _one_way(id: str | None, queue: str | None) -> None:
    if (id is None) == (queue is None):
        raise click.UsageError("Say either an ID or --queue QUEUE.", click.get_current_context())


def _counted(count: int, what: str, id: str | None) -> None:
    if id and not count:
        raise Unfit(f"there is no dead letter {id} that can be; see fedyard-hub dead-letters list")
    print(f"{count} {what}")


dead_letters = Group(
    "dead-letters", help="Commands that could not be decided.", commands=[list_letters, show, replay, purge]
)
