"""This site's sealing keys, and trust in other sites."""

from __future__ import annotations

from fedyard.actions.site import UsageError, silent
from fedyard.agent.site import Folder
from fedyard.agent.upkeep import EPOCHS_PER_DAY, tend
from fedyard.client.client import Client
from fedyard.clock import micros_now
from fedyard.sealed.trust import HubPin, Member, Pin, named


def rotate(folder: Folder, client: Client) -> int:
    """Publish a new sealing key now; its epoch."""
    ring = folder.keyring()
    before = max((epoch.key.epoch for epoch in ring.epochs()), default=0)
    tend(ring, folder.settings().keys, client, micros_now(), log=silent, renew=True)
    if ring.current().epoch <= before:
        raise UsageError(f"{EPOCHS_PER_DAY} keys were begun within a day: begin the next one tomorrow")
    return ring.current().epoch


def revoke(folder: Folder, client: Client, epoch: int) -> int:
    """Give the sealing key of an epoch up at once, and delete it; the epoch that is current then."""
    ring = folder.keyring()
    if any(one.key.epoch == epoch for one in ring.epochs()):
        ring.revoke(epoch, micros_now())
    else:
        client.revoke_key(ring.site_id, epoch)
    tend(ring, folder.settings().keys, client, micros_now(), log=silent)
    return ring.current().epoch


def trust(folder: Folder, client: Client, site: str, finger: str, *, replace: bool = False) -> Pin:
    """Pin a site (name or id) whose fingerprint (words or digits) somebody has compared.

    Raises `UsageError` for a fingerprint that is none, and as `Trust.confirm`.
    """
    known = folder.trust(folder.settings())
    member = _shown(folder, client, site, known.pins())
    try:
        return known.confirm(member, finger, micros_now(), replace=replace)
    except ValueError as error:
        raise UsageError(str(error)) from None


def trust_hub(folder: Folder, client: Client, finger: str, *, replace: bool = False) -> HubPin:
    """Pin the key that the hub shows, whose fingerprint somebody has compared. Raises as `trust`."""
    try:
        return folder.trust(folder.settings()).confirm_hub(client.hub_key(), finger, micros_now(), replace=replace)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _shown(folder: Folder, client: Client, site: str, pins: dict[str, Pin]) -> Member:
    """A site as the hub shows it now, or, if no project has it any more, as it was pinned."""
    found: dict[str, Member] = {}
    for project in client.projects(member=folder.site_id()):
        for item in client.project_keys(project.id):
            if site in (item.site_id, item.site_name):
                found[item.site_id] = Member(
                    site_id=item.site_id, name=item.site_name, role=item.role, identity=item.identity_key
                )
    for pin in named(pins, site):
        found.setdefault(pin.site_id, Member(site_id=pin.site_id, name=pin.name, role="", identity=pin.identity))
    if len(found) != 1:
        many = f"{len(found)} sites are called {site!r}: say the id" if found else f"no project has a site {site!r}"
        raise UsageError(many)
    return next(iter(found.values()))
