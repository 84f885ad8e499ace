"""`fedyard site`, the verbs about keys and trust: keys, rotate-keys, revoke-key, fingerprint, trust."""

from __future__ import annotations

import click

from fedyard.actions.keys import revoke as revoke_key
from fedyard.actions.keys import rotate as rotate_key
from fedyard.actions.keys import trust as trust_site
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.common import client_of, time_of
from fedyard.cli.listing import Listing
from fedyard.sealed.keys import Epoch, fingerprint, words
from fedyard.sealed.trust import How, named
from fedyard.wire.command_line import JSON, Command, print_json
from fedyard.wire.statements import hex_groups


@click.command("keys", cls=Command)
@JSON
@click.pass_obj
def list_keys(folder: Folder, as_json: bool) -> None:
    """This site's sealing keys."""
    found = folder.keyring().epochs()
    if as_json:
        print_json([_epoch(one) for one in found])
        return
    table = Listing("epoch", "state", "made", "nothing is sealed to it from", "opens until")
    for epoch in found:
        until = time_of(epoch.gone_at) if epoch.state == "superseded" else ""
        state = epoch.state if epoch.published or epoch.revoked else "not published"
        table.add_row(str(epoch.key.epoch), state, time_of(epoch.key.created), time_of(epoch.key.expires), until)
    table.print()


def _epoch(one: Epoch) -> dict[str, object]:
    """What may be seen of a sealing key: never its private part."""
    return {
        "epoch": one.key.epoch,
        "state": one.state,
        "published": one.published,
        "made_at": time_of(one.key.created),
        "expires_at": time_of(one.key.expires),
        "opens_until": time_of(one.gone_at) if one.state == "superseded" else None,
    }


@click.command("rotate-keys", cls=Command)
@click.pass_obj
def rotate(folder: Folder) -> None:
    """Publish a new sealing key now."""
    epoch = rotate_key(folder, client_of(folder))
    print(f"sealing key of epoch {epoch} is published")


@click.command("revoke-key", cls=Command)
@click.argument("epoch", type=int)
@click.pass_obj
def revoke(folder: Folder, epoch: int) -> None:
    """Give the sealing key of an EPOCH up at once: it was stolen."""
    current = revoke_key(folder, client_of(folder), epoch)
    print(f"epoch {epoch} is revoked, and its private key deleted; epoch {current} is current")


# trust


@click.command("fingerprint", cls=Command)
@click.argument("site", required=False)
@JSON
@click.pass_obj
def show_fingerprints(folder: Folder, site: str | None, as_json: bool) -> None:
    """This site's fingerprint, and those that it knows.

    Those of the hub and of the sites that it has met; or that of one SITE, by name or id.
    """
    if as_json:
        print_json(_fingerprints(folder, site))
        return
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


def _fingerprints(folder: Folder, site: str | None) -> list[dict[str, object]]:
    """Of whom, how it is known, and the fingerprint in both ways of writing it. Raises `UsageError`."""
    settings, trust = folder.settings(), folder.trust(folder.settings())
    known = named(trust.pins(), site) if site is not None else [*trust.pins().values()]
    if site is not None and not known:
        raise UsageError(f"this site has not met any site {site!r} yet")
    rows = [("site", pin.name, pin.site_id, pin.how, pin.finger) for pin in known]
    if site is None:
        rows = [row for row in rows if row[2] != folder.site_id()]
        own = fingerprint(folder.keyring().identity_key)
        rows.insert(0, ("this site", settings.name, folder.site_id(), "fingerprint", own))
        hub = trust.hub_pin()
        rows += [] if hub is None else [("hub", settings.hub, "", hub.how, hub.finger)]
    return [
        {"of": of, "name": name, "id": ident, "how": how, "hex": finger.hex(), "words": words(finger)}
        for of, name, ident, how, finger in rows
    ]


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
    pin = trust_site(folder, client_of(folder), site, " ".join(words_or_digits), replace=replace)
    print(f"{pin.name} ({pin.site_id}) is trusted: {words(pin.finger)}")
