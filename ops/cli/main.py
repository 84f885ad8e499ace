"""The operator's command line: fedyard-hub"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

import peewee

from broker.journal import JournalLocked
from broker.management import ManagementError
from broker.port import BrokerUnavailable
from config.settings import SettingsError
from devservers.process import ServerError
from fedyard.wire import command_line
from fedyard.wire.command_line import Group, carry_out, everywhere, tell_version
from ops.accounts import Rejected
from ops.backups.content import BackupError
from ops.cli.asked import Unfit
from ops.cli.backups import backup, restore
from ops.cli.dead_letters import dead_letters
from ops.cli.events import events
from ops.cli.people import account, enrolment, organisation, sign_in
from ops.cli.runs import runs, why, workloads_of_all
from ops.cli.serving import embedded, migrate, policies, up
from ops.cli.streams import streams
from ops.cli.webhooks import webhooks
from ops.place import DEFAULT, InUse, Unusable
from storage.blobs.port import StorageFull, StorageUnavailable
from storage.database import DatabaseUnavailable

HUB = Group(
    "fedyard-hub",
    help="Run and look after a Fedyard hub.",
    commands=[
        up,
        embedded,
        migrate,
        account,
        enrolment,
        organisation,
        sign_in,
        runs,
        workloads_of_all,
        why,
        dead_letters,
        events,
        backup,
        restore,
        webhooks,
        streams,
        policies,
    ],
)

EXPECTED = (
    SettingsError,
    ServerError,
    ManagementError,
    InUse,
    Unusable,
    JournalLocked,
    Unfit,
    BackupError,
    Rejected,
    BrokerUnavailable,
    DatabaseUnavailable,
)
"""Not our bugs: one line for the operator and exit code 2."""


def _data(said: str | None) -> Path:
    return DEFAULT if said is None else Path(said)


everywhere(HUB, "--data", "DIR", "folder of the hub on this machine (./var)", _data)
tell_version(HUB, "fedyard-hub")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. 0 done, 1 found wanting, 2 not possible, 70 our fault, 130 interrupted."""
    return carry_out(HUB, "fedyard-hub", arguments, outcome)


def outcome(error: Exception) -> tuple[int, str]:
    """Exit code and sentence for what a command has raised."""
    if isinstance(error, EXPECTED):
        return 2, f"{error}{_hint(error)}"
    if isinstance(error, (StorageUnavailable, StorageFull)):
        return 2, f"the store of artifacts: {error}"
    if isinstance(error, (sqlite3.DatabaseError, peewee.DatabaseError)):
        return 2, f"the database cannot be used ({_first_line(error)}): is the disk full, or is it damaged?"
    return command_line.unexpected(error)


def _first_line(error: BaseException) -> str:
    """What the driver said, without the statement and its parameters."""
    return (str(error).strip().splitlines() or ["it does not say why"])[0][:100]


def _hint(error: Exception) -> str:
    if isinstance(error, DatabaseUnavailable):
        return "\nIs PostgreSQL running (make up), and is FEDYARD_DATABASE_URL right?"
    if isinstance(error, BrokerUnavailable):
        return "\nIs RabbitMQ running (make up), and is FEDYARD_BROKER_URL right?"
    return ""


if __name__ == "__main__":
    sys.exit(main())
