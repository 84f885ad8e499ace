"""fedyard-hub webhooks: who has an address told of what happens, and what failed once more."""

from __future__ import annotations

from pathlib import Path

import click

from config.clock import SystemClock
from domain.commands import RedeliverWebhook
from domain.ids import is_id
from fedyard.wire.command_line import JSON, Command, Group, print_json
from fedyard.wire.plurals import counted
from fedyard.wire.times import SECOND
from ops.accounts import decided
from ops.cli.asked import Unfit, database_of
from storage.store import Store
from storage.views.webhooks import overview

MAX_HOURS = 8760


@click.command("list", cls=Command)
@JSON
@click.pass_obj
def list_webhooks(data: Path, as_json: bool) -> None:
    """All of them, with the host that they go to and what waits or has failed."""
    found = overview(database_of(data))
    if as_json:
        print_json(found)
        return
    for one in found:
        state = f"{one.state} ({one.reason})" if one.reason else one.state
        owner = f"{one.owner_kind} {one.owner_id}"
        dropped = f"  dropped {one.dropped}" if one.dropped else ""
        print(f"{one.id}  {owner}  {state}  {one.host}  waiting {one.waiting}  failed {one.failed}{dropped}")
    if not found:
        print("there are no webhooks")


@click.command("redeliver", cls=Command)
@click.argument("id")
@click.option(
    "--hours", type=click.IntRange(1, MAX_HOURS), default=24, metavar="N", help="what was made within so many (24)"
)
@click.pass_obj
def redeliver(data: Path, id: str, hours: int) -> None:
    """Tell a webhook again what it could not be told."""
    if not is_id(id):
        raise Unfit(f"{id} is no id of a webhook; see fedyard-hub webhooks list")
    clock = SystemClock()
    command = RedeliverWebhook(webhook_id=id, since=clock.now() - hours * 3600 * SECOND)
    decided(Store(database_of(data)), clock, command)
    print(f"what webhook {id} was not told in the last {counted(hours, 'hour')} waits again")


webhooks = Group("webhooks", help="Addresses that are told of what happens.", commands=[list_webhooks, redeliver])
