"""fedyard-hub backup, backup check, and restore."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from config.clock import SystemClock, draw_id
from config.settings import Settings, path_url, url_path
from devservers.postgres import PrivatePostgres
from fedyard.wire.command_line import Command, Group
from fedyard.wire.plurals import counted
from fedyard.wire.times import SECOND
from ops.backups.checking import check_backup
from ops.backups.content import About, BackupError, about
from ops.backups.making import Source, make_backup
from ops.backups.restoring import Files, prove_files, restore_chunks, restore_database, restore_files
from ops.cli.asked import FILE, ours
from ops.place import PASSED_THROUGH, InUse, only_hub_in, recall
from storage.blobs.opening import open_blobs
from storage.blobs.port import Blobs
from storage.database import DatabaseUnavailable, open_database
from storage.migrate import missing
from storage.vitals import BackupReading, tell


@dataclass(frozen=True)
class _Hub:
    """Where a hub keeps its data, whether it runs or not."""

    settings: Settings
    data: Path

    @property
    def records(self) -> Path | None:
        """The file of an embedded hub's records."""
        url = self.settings.database_url
        return Path(url_path(url)) if url.startswith("sqlite:") else None

    @property
    def journal(self) -> Path | None:
        return Path(url_path(self.settings.broker_url)) if self.settings.embedded else None

    def blobs(self) -> Blobs:
        return open_blobs(self.settings.artifacts_url, SystemClock())


@click.group("backup", cls=Group, invoke_without_command=True)
@click.option("--to", type=FILE, metavar="FOLDER", help="a new folder (backups/TIME in the hub's folder)")
@click.option("--artifacts", is_flag=True, help="copy the bytes of artifacts, too, not their list alone")
@click.pass_context
def backup(context: click.Context, to: Path | None, artifacts: bool) -> None:
    """Copy a hub's records while it runs. `backup check FOLDER` proves a copy."""
    if context.invoked_subcommand is not None:
        return
    data: Path = context.obj
    now = SystemClock().now()
    target = to or data / "backups" / _stamp()
    with _source_of(data, ours()) as hub:
        database = open_database(hub.settings.database_url, pool=1, name="fedyard backup")
        if hub.records is not None and not hub.records.exists():
            raise BackupError(f"{hub.records} does not exist: no hub was started on {data} yet")
        wanted = missing(database)
        if wanted:
            raise BackupError(f"the schema lacks {', '.join(wanted)}: run fedyard-hub migrate")
        source = Source(database, hub.settings.database_url, hub.records, hub.journal)
        made = make_backup(source, target, now, hub.blobs() if artifacts else None)
        told = BackupReading(made_at=now, folder=str(target), form=made.about.form, copied=made.about.copied)
        with suppress(DatabaseUnavailable):  # it is made, whether or not the hub's page can say so
            tell(database, SystemClock().now(), {"": told})
        database.close()
    print(f"backup        {made.folder}")
    _describe(made.about)
    if made.gone:
        print(f"gone          {counted(made.gone, 'artifact')} went away during the copy")
    print(f"next          fedyard-hub backup check {made.folder}, and a copy of the folder on another machine")


def _describe(found: About) -> None:
    bytes_of = "with their bytes" if found.copied else "without their bytes"
    print(f"made          {found.made_at}, of {found.form}, history {found.history_id}")
    print(f"chains        {found.streams}")
    print(f"artifacts     {found.artifacts} ({found.artifact_bytes} bytes), {bytes_of}")


@backup.command("check")
@click.argument("folder", type=FILE)
@click.pass_obj
def check(data: Path, folder: Path) -> int:
    """Prove a backup, without the hub; exit code 1 if anything is wrong with it."""
    found = about(folder)
    _describe(found)
    hub = _known(data, ours())
    faults = 0
    for fault in check_backup(folder, None if hub is None else hub.blobs()):
        print(fault)
        faults += 1
    if faults:
        print(f"{faults} fault{'s' * (faults > 1)}: make another backup")
        return 1
    print("the backup is good: its files are whole, its records readable, every chain ends at its head")
    if hub is None and not found.copied:
        print(f"the artifacts were not looked for: no hub was started on {data}")
    return 0


@click.command("restore", cls=Command)
@click.argument("folder", type=FILE)
@click.option("--replace", is_flag=True, help="put aside what is there")
@click.pass_obj
def restore(data: Path, folder: Path, replace: bool) -> None:
    """Put a backup back, with the hub stopped."""
    prove_files(folder)
    found, stamp, history_id, now = about(folder), _stamp(), draw_id(), SystemClock().now()
    with _stopped(data, ours(), found) as hub:
        if hub.records is not None:
            files = Files(data, hub.records, hub.journal)
            aside = restore_files(folder, files, stamp, history_id, now, replace=replace)
        else:
            url = hub.settings.database_url
            aside = restore_database(folder, url, stamp, history_id, now, replace=replace)
        chunks = restore_chunks(folder, hub.blobs()) if found.copied else 0
    print(f"restored      the records of {found.made_at}")
    print(f"history       {history_id}, a new one: sites notice, and tell the hub what it has forgotten")
    if found.copied:
        print(f"artifacts     {counted(chunks, 'chunk')} brought back")
    if aside:
        print(f"put aside     {aside}: remove it once all is well")
    print(
        "next          start the hub (make up, or fedyard-hub embedded); then fedyard-hub events verify, and runs list"
    )


def _stamp() -> str:
    return datetime.fromtimestamp(SystemClock().now() / SECOND, UTC).strftime("%Y%m%dT%H%M%SZ")


# where the hub is


def _known(data: Path, environment: Mapping[str, str]) -> _Hub | None:
    """The hub that the environment names, or that was started in the folder last."""
    there = recall(data)
    if there is None and "FEDYARD_DATABASE_URL" not in environment:
        return None
    remembered = there.environment if there is not None else {}
    return _Hub(Settings.read({**remembered, **environment}), data)


@contextmanager
def _source_of(data: Path, environment: Mapping[str, str]) -> Iterator[_Hub]:
    """The hub to copy; its private PostgreSQL is started for the block if the hub does not run."""
    hub = _known(data, environment)
    if hub is None:
        raise BackupError(f"no hub was started on {data} yet: name its folder with --data, or FEDYARD_DATABASE_URL")
    with ExitStack() as stack:
        if _is_private(data, hub, environment):
            try:
                stack.enter_context(only_hub_in(data, PASSED_THROUGH))
            except InUse:  # it runs, and its server with it
                yield hub
                return
            hub = _started(data, hub, stack)
        yield hub


@contextmanager
def _stopped(data: Path, environment: Mapping[str, str], found: About) -> Iterator[_Hub]:
    """The hub to restore to, kept from starting for the block. Raises `BackupError` if it runs."""
    with ExitStack() as stack:
        try:
            mode = 0o700 if found.form == "sqlite" else PASSED_THROUGH
            stack.enter_context(only_hub_in(data, mode, restoring=True))
        except InUse:
            raise BackupError(
                f"a hub runs on {data}: stop it first, with Ctrl-C or SIGTERM to make up or fedyard-hub embedded"
            ) from None
        hub = _known(data, environment) or _fresh(data, environment, found)
        if _is_private(data, hub, environment):
            hub = _started(data, hub, stack)
        yield hub


def _fresh(data: Path, environment: Mapping[str, str], found: About) -> _Hub:
    """A folder in which no hub was started yet, as fedyard-hub embedded or make up would use it."""
    here = data.resolve()
    chosen = {
        "FEDYARD_ARTIFACTS_URL": path_url("file", here / "artifacts"),
        "FEDYARD_HEAD_KEY_FILE": str(here / "head.key"),
        "FEDYARD_WEBHOOK_KEY_FILE": str(here / "webhook.key"),
        "FEDYARD_WORKLOAD_KEY_FILE": str(here / "workload.key"),
        **environment,
    }
    if found.form == "sqlite":
        chosen.setdefault("FEDYARD_BROKER_URL", f"embedded:///{here / 'journal.sqlite'}")
        chosen.setdefault("FEDYARD_DATABASE_URL", f"sqlite:///{here / 'store.sqlite'}")
    else:
        (data / "postgres").mkdir(parents=True, exist_ok=True)
        chosen.setdefault("FEDYARD_DATABASE_URL", "postgresql://private/fedyard")
    return _Hub(Settings.read(chosen), data)


def _is_private(data: Path, hub: _Hub, environment: Mapping[str, str]) -> bool:
    """True if `make up` runs the database by itself, in the hub's folder."""
    return hub.records is None and "FEDYARD_DATABASE_URL" not in environment and (data / "postgres").is_dir()


def _started(data: Path, hub: _Hub, stack: ExitStack) -> _Hub:
    """The hub, with its private PostgreSQL running until the stack ends."""
    server = PrivatePostgres(data / "postgres")
    server.start()
    stack.callback(server.stop)
    values = {"FEDYARD_DATABASE_URL": server.database("fedyard"), "FEDYARD_ARTIFACTS_URL": hub.settings.artifacts_url}
    broker = {} if hub.settings.embedded else {"FEDYARD_BROKER_URL": hub.settings.broker_url}
    return _Hub(Settings.read({**values, **broker}), data)
