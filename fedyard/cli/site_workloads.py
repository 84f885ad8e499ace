"""`fedyard site workloads`: what runs at this site that others want to have run here."""

from __future__ import annotations

from collections.abc import Mapping

import click

from fedyard.agent.cluster import open_cluster
from fedyard.agent.site import Folder, SiteError
from fedyard.agent.spool import Spool
from fedyard.cli.listing import Listing
from fedyard.cluster.plan import Finding, Key, Wanted, finding_of
from fedyard.cluster.port import ClusterError, Observed
from fedyard.wire.command_line import JSON, Command, print_json


@click.command("workloads", cls=Command)
@JSON
@click.pass_obj
def workloads(folder: Folder, as_json: bool) -> None:
    """What the hub wants to have run here, and what runs.

    From the agent's memory and this site's own cluster: the hub is not asked.
    """
    wanted = {one.key: one for one in Spool(folder.path).wanted()}
    there = {Key(one.id, one.attempt): one for one in _seen(folder)}
    if as_json:
        print_json({"wanted": list(wanted.values()), "there": list(there.values())})
        return
    if not wanted and not there:
        print("nothing runs here, and nothing is wanted")
        return
    names = {consent.project_id: consent.name for consent in folder.consents().all().values()}
    table = Listing("workload", "attempt", "project", "name", "image", "state", "ready", "why", ids=("workload",))
    for key in sorted({*wanted, *there}):
        table.add_row(*_row(key, wanted.get(key), there.get(key), names))
    table.print()


def _seen(folder: Folder) -> list[Observed]:
    settings = folder.settings()
    if settings.cluster is None:
        return []
    try:
        cluster = open_cluster(settings.cluster, folder.path)
        try:
            return cluster.observe(folder.site_id())
        finally:
            cluster.close()
    except (ClusterError, OSError) as error:
        raise SiteError(f"this site's cluster cannot be looked at: {error}") from None


def _row(key: Key, asked: Wanted | None, seen: Observed | None, names: Mapping[str, str]) -> list[str]:
    known = Finding(key.id, key.attempt) if asked is None else asked.known
    known = known if seen is None else finding_of(seen)
    place = seen.place if seen is not None else asked.spec.place if asked is not None else ""
    stays = asked is not None and asked.run
    state = str(known.phase or ("wanted" if stays else "not there"))
    return [
        key.id,
        str(key.attempt),
        names.get(place, place),
        "" if asked is None else asked.spec.name,
        "" if asked is None else asked.spec.image,
        state if stays else f"{state}, is to go",
        str(known.ready or ""),
        ": ".join(filter(None, (known.reason, known.detail))),
    ]
