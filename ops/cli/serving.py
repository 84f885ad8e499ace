"""fedyard-hub up, embedded, migrate, and policies apply: what makes a hub run."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from broker.management import Management
from broker.policies import apply_policies
from broker.policies import policies as limits
from fedyard.wire.command_line import Command, Group
from ops.cli.asked import FILE, Unfit, settings_of
from ops.place import recall
from storage.database import open_database
from storage.migrate import migrate as bring_up_to_date


@click.command("up", cls=Command)
@click.pass_obj
def up(data: Path) -> int:
    """RabbitMQ, PostgreSQL and the Procfile's processes."""
    os.umask(0o077)  # all that a hub keeps is for its owner only
    from ops.up import run_up  # noqa: PLC0415 - the servers and the supervisor, which no other command has a use for

    return run_up(data, os.environ)


@click.command("embedded", cls=Command)
@click.option("--port", type=int, metavar="N", help="0 lets the system choose (FEDYARD_WEB_PORT, 8080)")
@click.pass_obj
def embedded(data: Path, port: int | None) -> int:
    """The whole hub in one process, on SQLite."""
    os.umask(0o077)
    from ops.embedded import run_embedded  # noqa: PLC0415 - the web is heavy, and no other command has a use for it

    return run_embedded(data, port, os.environ)


@click.command("migrate", cls=Command)
@click.pass_obj
def migrate(data: Path) -> None:
    """Bring the database's schema up to date."""
    applied = bring_up_to_date(open_database(settings_of(data).database_url, pool=1))
    print("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")


@click.command("apply", cls=Command)
@click.option(
    "--management-file",
    type=FILE,
    metavar="FILE",
    help="holds http://user:password@host:15672 of an administrator",
)
@click.option("--vhost", metavar="NAME", help="the one in FEDYARD_BROKER_URL unless said otherwise")
@click.pass_obj
def apply(data: Path, management_file: Path | None, vhost: str | None) -> None:
    """Set them."""
    there = recall(data)
    url = there.management if there else None
    if management_file is not None:  # no argument: those are for every user of the machine to read
        try:
            url = management_file.read_text().strip()
        except OSError as error:
            raise Unfit(f"{management_file} cannot be read ({error.strerror})") from None
    if url is None:
        raise Unfit("say where RabbitMQ's management is: --management-file FILE with http://user:password@host:15672")
    in_url = unquote(urlsplit(settings_of(data).broker_url.split(",")[0]).path.removeprefix("/"))
    chosen = vhost or in_url or "/"
    apply_policies(Management.of(url).call, chosen)
    print(f"applied {', '.join(policy['name'] for policy in limits())} to vhost {chosen}")


policies = Group("policies", help="Limits of RabbitMQ's queues.", commands=[apply])
