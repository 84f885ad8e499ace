"""`fedyard site status` and `unit`: for whoever looks after the machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from fedyard.actions.status import LEAST_FREE_BYTES, SILENT_AFTER_S, status_of
from fedyard.actions.unit import Service, unit_of
from fedyard.agent.site import Folder, SiteError
from fedyard.clock import micros_now
from fedyard.wire.command_line import JSON, Command, print_json

NEEDS_SOMEBODY = 1


@click.command("status", cls=Command)
@click.option(
    "--silent-after", type=click.FloatRange(1), default=SILENT_AFTER_S, metavar="SECONDS", help="of the hub (300)"
)
@click.option(
    "--least-free", type=click.IntRange(0), default=LEAST_FREE_BYTES, metavar="BYTES", help="on its disk (1 GiB)"
)
@JSON
@click.pass_obj
def status(folder: Folder, silent_after: float, least_free: int, *, as_json: bool) -> int:
    """How this site is; exit code 1 if something needs somebody.

    From the folder alone: the hub is not asked. Last contact, what is owed to the hub, the disk, the sealing key's age.
    """
    found = status_of(folder, micros_now(), silent_after_s=silent_after, least_free_bytes=least_free)
    if as_json:
        print_json(found)
    else:
        contact = "never" if found.last_contact_at is None else found.last_contact_at
        print(f"site {found.site}: agent {found.agent}, version {found.version}")
        print(f"hub {found.hub}: last contact {contact}, version {found.hub_version or 'not known'}")
        print(f"owed reports: {found.owed_reports}, entries that wait: {found.waiting_entries}")
        print(f"free: {found.free_bytes // 2**20} of {found.total_bytes // 2**20} MiB")
        print(
            f"sealing key: {'none' if found.key_epoch is None else f'epoch {found.key_epoch}, of {found.key_made_at}'}"
        )
        for sentence in found.why:
            print(f"LOOK: {sentence}")
    return NEEDS_SOMEBODY if found.why else 0


@click.command("unit", cls=Command)
@click.option("--user", metavar="NAME", help="who owns the folder; without it systemd draws a user (DynamicUser)")
@click.option("--group", "groups", multiple=True, metavar="NAME", help="whose files, data say, it may read besides")
@click.pass_obj
def unit(folder: Folder, user: str | None, groups: Sequence[str]) -> None:
    """A systemd unit for this site's agent, hardened, to standard output.

    Its program is the one that writes it. It may write into the site's folder alone.
    """
    settings = folder.settings() if (folder.path / "site.toml").exists() else None
    cluster = None if settings is None else settings.cluster
    outlived = cluster is not None and cluster.kind == "processes" and not cluster.stop_with_agent
    service = Service(_program(), folder.path, user, tuple(groups), outlived=outlived)
    sys.stdout.write(unit_of(service))


def refuse_elsewhere(platform: str) -> None:
    """platform: as Python names it. Raises `SiteError` where no agent works."""
    if platform == "win32":
        raise SiteError(
            "an agent needs Linux or macOS: it ends what tasks start by means that Windows lacks. Run it in WSL 2; the "
            "other commands, and `from fedyard import Client`, work here"
        )


def _program() -> list[str]:
    """How this program was called, from anywhere."""
    called = Path(sys.argv[0]).absolute()
    if called.name == "fedyard" and called.is_file():
        return [str(called)]
    return [sys.executable, "-P", "-m", "fedyard.cli.main"]
