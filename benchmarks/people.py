"""Sites that seal: an identity and a sealing key each, made as an agent makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.clock import SystemClock, draw_id
from fedyard.sealed.keys import Key, Keyring
from fedyard.sealed.sealing import Address, Opener
from fedyard.wire.times import DAY_S

CLOCK = SystemClock()


@dataclass(frozen=True)
class Person:
    """A site's keys: its id, its keyring on disk, its published key."""

    site_id: str
    ring: Keyring
    key: Key

    def opener(self, *senders: Person) -> Opener:
        """Opens what these have sealed, again and again."""
        signers = {sender.site_id: sender.ring.identity_key for sender in senders}
        return Opener(self.ring, signers, CLOCK.now(), lambda _id, _expires: True)


def person(folder: Path, site_id: str | None = None) -> Person:
    """With a first key in `folder`."""
    site_id = site_id or draw_id()
    own = folder / site_id
    own.mkdir(parents=True)
    ring = Keyring(own, site_id, Ed25519PrivateKey.generate())
    epoch = ring.renew(CLOCK.now(), valid_s=30 * DAY_S, grace_s=7 * DAY_S)
    ring.published(epoch.key.epoch, CLOCK.now())
    return Person(site_id, ring, epoch.key)


def address(sender: Person, kind: str = "update") -> Address:
    """Somewhere."""
    return Address(sender=sender.site_id, project=draw_id(), kind=kind)
