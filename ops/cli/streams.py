"""fedyard-hub streams: status, models, and quarantine list, show, replay, purge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from config.clock import SystemClock
from config.streams import open_streams
from domain.ids import is_id
from domain.states import AnnouncementState, QuarantineState
from domain.stream_commands import PurgeRecords, ReplayRecord
from fedyard.wire.command_line import JSON, Command, Group, print_json
from fedyard.wire.plurals import counted
from ops import matches
from ops import streams as told
from ops.accounts import answered
from ops.cli.asked import Unfit, database_of, settings_of
from storage.store import Store
from storage.views.streams.quarantine import content

PURGED_AT_ONCE = 500
_all = click.option("--all", "every", is_flag=True, help="every one that waits")


@click.command("status", cls=Command)
@click.pass_obj
def status(data: Path) -> int:
    """What each cluster of Kafka says, and how far its control topics are committed and decided."""
    lines, well = told.status(database_of(data), open_streams(settings_of(data)), SystemClock().now())
    print("\n".join(lines))
    return 0 if well else 1


@click.command("models", cls=Command)
@click.option("--state", type=click.Choice([each.value for each in AnnouncementState]), help="only those in this state")
@JSON
@click.pass_obj
def models(data: Path, state: str | None, as_json: bool) -> None:
    """Federated models that were announced: their run, their workers, and what keeps them from having any."""
    images = open_streams(settings_of(data)).images.keys()
    found = matches.announcements(database_of(data), images, state)
    if as_json:
        print_json(found)
        return
    print("\n".join(map(matches.announced, found)) or "no model was announced")


@click.command("list", cls=Command)
@click.option(
    "--state", type=click.Choice([each.value for each in QuarantineState]), default="waiting", help="(waiting)"
)
@JSON
@click.pass_obj
def list_records(data: Path, state: str, as_json: bool) -> None:
    """Records that nobody understood, without what they hold."""
    found = list(told.quarantined(database_of(data), state))
    if as_json:
        print_json(found)
        return
    print("\n".join(map(told.line, found)) or f"no record is {state} in quarantine")


@click.command("show", cls=Command)
@click.argument("id")
@click.pass_obj
def show(data: Path, id: str) -> None:
    """One of them, with what it holds."""
    found = content(database_of(data), id, shown=True) if is_id(id) else None
    if found is None:
        raise _unknown(id)
    print("\n".join(told.page(found)))


@click.command("replay", cls=Command)
@click.argument("id")
@click.option("--deployment", type=click.IntRange(0, 2**53 - 1), metavar="NUMBER", help="in the place of the key")
@click.pass_obj
def replay(data: Path, id: str, deployment: int | None) -> None:
    """Read one once more, as it is or for another deployment."""
    if not is_id(id):
        raise _unknown(id)
    command = ReplayRecord(record_id=id, deployment_number=deployment)
    made = answered(Store(database_of(data)), SystemClock(), command)
    print(f"record {id} is read once more, and becomes {made['became_id']}")


@click.command("purge", cls=Command)
@click.argument("id", required=False)
@_all
@click.pass_obj
def purge(data: Path, id: str | None, *, every: bool) -> None:
    """Have what one holds, or every one that waits, go."""
    if (id is None) != every:
        raise click.UsageError("Say either an ID or --all.", click.get_current_context())
    if id is not None and not is_id(id):
        raise _unknown(id)
    database = database_of(data)
    ids = [id] if id is not None else [one.id for one in told.quarantined(database, "waiting")]
    purged = sum(_purge(Store(database), ids[at : at + PURGED_AT_ONCE]) for at in range(0, len(ids), PURGED_AT_ONCE))
    if id is not None and not purged:
        raise _unknown(id)
    print(f"{counted(purged, 'record')} purged")


def _purge(store: Store, ids: Sequence[str]) -> int:
    purged = answered(store, SystemClock(), PurgeRecords(record_ids=list(ids)))["purged"]
    assert isinstance(purged, list), "it is a list of ids"
    return len(purged)


def _unknown(id: str) -> Unfit:
    return Unfit(f"no record {id} waits in quarantine; see fedyard-hub streams quarantine list")


quarantine = Group("quarantine", help="Records that nobody understood.", commands=[list_records, show, replay, purge])
streams = Group("streams", help="What comes in Kafka's control topics.", commands=[status, models, quarantine])
