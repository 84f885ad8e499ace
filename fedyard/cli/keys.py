"""`fedyard site`, the verbs about keys and trust: keys, rotate-keys, revoke-key, fingerprint, trust."""

from __future__ import annotations

import click

from fedyard.agent.site import Folder
from fedyard.agent.upkeep import EPOCHS_PER_DAY, tend
from fedyard.cli.common import UsageError, client_of, silent, time_of
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.clock import micros_now
from fedyard.sealed.keys import fingerprint, words
from fedyard.sealed.trust import How, Member, Pin, named
from fedyard.wire.command_line import Command
from fedyard.wire.statements import hex_groups


@click.command("keys", cls=Command)
@click.pass_obj
def list_keys(folder: Folder) -> None:
    """This site's sealing keys."""
    table = Listing("epoch", "state", "made", "nothing is sealed to it from", "opens until")
    for epoch in folder.keyring().epochs():
        until = time_of(epoch.gone_at) if epoch.state == "superseded" else ""
        state = epoch.state if epoch.published or epoch.revoked else "not published"
        table.add_row(str(epoch.key.epoch), state, time_of(epoch.key.created), time_of(epoch.key.expires), until)
    table.print()


@click.command("rotate-keys", cls=Command)
@click.pass_obj
def rotate(folder: Folder) -> None:
    """Publish a new sealing key now."""
    ring = folder.keyring()
    before = max((epoch.key.epoch for epoch in ring.epochs()), default=0)
    tend(ring, folder.settings().keys, client_of(folder), micros_now(), log=silent, renew=True)
    if ring.current().epoch <= before:
        raise UsageError(f"{EPOCHS_PER_DAY} keys were begun within a day: begin the next one tomorrow")
    print(f"sealing key of epoch {ring.current().epoch} is published")


@click.command("revoke-key", cls=Command)
@click.argument("epoch", type=int)
@click.pass_obj
def revoke(folder: Folder, epoch: int) -> None:
    """Give the sealing key of an EPOCH up at once: it was stolen."""
    client, ring = client_of(folder), folder.keyring()
    if any(one.key.epoch == epoch for one in ring.epochs()):
        ring.revoke(epoch, micros_now())
    else:
        client.revoke_key(ring.site_id, epoch)
    tend(ring, folder.settings().keys, client, micros_now(), log=silent)
    print(f"epoch {epoch} is revoked, and its private key deleted; epoch {ring.current().epoch} is current")


# trust


@click.command("fingerprint", cls=Command)
@click.argument("site", required=False)
@click.pass_obj
def show_fingerprints(folder: Folder, site: str | None) -> None:
    """This site's fingerprint, and those that it knows.

    Those of the hub and of the sites that it has met; or that of one SITE, by name or id.
    """
    settings = folder.settings()
    pins = folder.trust(settings).pins()
    if site is None:
        _print_fingerprint(f"this site, {settings.name}", fingerprint(folder.keyring().identity_key))
        hub = folder.trust(settings).hub_pin()
        if hub is not None:
            _print_fingerprint(f"the hub, {settings.hub} (its chains of events; {_how(hub.how)})", hub.finger)
        known = sorted((p for p in pins.values() if p.site_id != folder.site_id()), key=lambda pin: pin.name)
    else:
        known = named(pins, site)
        if not known:
            raise UsageError(f"this site has not met any site {site!r} yet")
    for pin in known:
        _print_fingerprint(f"{pin.name} ({pin.site_id}; {_how(pin.how)})", pin.finger)


def _how(how: How) -> str:
    return "compared" if how == "fingerprint" else "seen, nobody has compared it"


def _print_fingerprint(whose: str, finger: bytes) -> None:
    print(f"{whose}\n  {hex_groups(finger)}\n  {words(finger)}")


@click.command("trust", cls=Command)
@click.argument("site")
@click.argument("words_or_digits", nargs=-1, required=True, metavar="FINGERPRINT...")
@click.option("--replace", is_flag=True, help="the site has told you that its identity is a new one")
@click.pass_obj
def trust(folder: Folder, site: str, words_or_digits: tuple[str, ...], replace: bool) -> None:
    """Trust a SITE: you have compared its FINGERPRINT.

    SITE: its name or id. FINGERPRINT: the twelve words or hex digits that its people told you.
    """
    known = folder.trust(folder.settings())
    member = _shown(folder, client_of(folder), site, known.pins())
    try:
        pin = known.confirm(member, " ".join(words_or_digits), micros_now(), replace=replace)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(f"{pin.name} ({pin.site_id}) is trusted: {words(pin.finger)}")


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
