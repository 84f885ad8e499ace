"""Sites that seal to each other, and payloads that an adversary has changed."""

from __future__ import annotations

import os
import struct
import traceback
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedyard.sealed import errors, sealing
from fedyard.sealed.keys import Key, Keyring
from fedyard.sealed.sealing import Address, Opener

NOW = 1_800_000_000_000_000
HOUR = 3_600_000_000
NORTH, EAST, SOUTH, MALLORY = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3, 9))
PROJECT, RUN = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"
DIGESTS = sealing.Digests("ab" * 32, "cd" * 32)
ADDRESS = Address(sender=NORTH, project=PROJECT, run=RUN, task=1, round=3, kind="update")


@dataclass
class Party:
    """A site with its keyring, and the ids that it has opened."""

    site_id: str
    ring: Keyring
    opened: set[str] = field(default_factory=set)

    @property
    def key(self) -> Key:
        return self.ring.current()

    def opener(self, *others: Party, now: int = NOW) -> Opener:
        def first_time(id: str, _expires: int) -> bool:
            new = id not in self.opened
            self.opened.add(id)
            return new

        return Opener(self.ring, {p.site_id: p.ring.identity_key for p in others}, now, first_time)


def party(folder: Path, site_id: str) -> Party:
    (folder / site_id).mkdir()
    ring = Keyring(folder / site_id, site_id, Ed25519PrivateKey.generate())
    renew(ring)
    return Party(site_id, ring)


def renew(ring: Keyring) -> None:
    ring.published(ring.renew(NOW - HOUR, valid_s=86400, grace_s=3600).key.epoch, NOW)


def seal(content: bytes, sender: Party, *to: Party, address: Address = ADDRESS, id: str | None = None, **times: int):
    drawn = id or "cccccccc-0000-4000-8000-" + os.urandom(6).hex()
    times = {"created": NOW, "expires": NOW + HOUR, **times}
    digests = DIGESTS if address.kind == "update" else None
    return sealing.seal(content, address, [p.key for p in to], sender.ring.identity, id=drawn, digests=digests, **times)


def refused(kind: type[errors.SealError], sealed: bytes, to: Party, *known: Party, address=ADDRESS, **more) -> None:
    """The payload is refused for this reason, and the reason tells nothing of it."""
    with pytest.raises(errors.SealError) as caught:
        sealing.open(sealed, address, to.opener(*known, **more))
    assert type(caught.value) is kind
    assert "patient" not in "".join(traceback.format_exception(caught.value))


def forged(sealed: bytes, sender: Party, **fields: object) -> bytes:
    """The payload with other header fields, signed anew by its own sender."""
    found, _ = sealing.read_seal(sealed)
    text = msgspec.json.encode(msgspec.structs.replace(found.header, **fields))
    signed = b"FYS1\x01\x01" + struct.pack(">I", len(text)) + text
    signature = sender.ring.identity.sign(b"fedyard seal 1\0" + signed)
    return signed + signature + sealed[len(found.signed) + 64 :]


def with_header(sealed: bytes, text: bytes) -> bytes:
    found, _ = sealing.read_seal(sealed)
    return b"FYS1\x01\x01" + struct.pack(">I", len(text)) + text + sealed[len(found.signed) :]


def with_body(sealed: bytes, body: bytes) -> bytes:
    _, old = sealing.read_seal(sealed)
    return sealed[: len(sealed) - len(old)] + body


def header_of(address: Address) -> dict[str, object]:
    """As the second program takes it."""
    return {
        "id": "dddddddd-0000-4000-8000-" + os.urandom(6).hex(),
        "sender": address.sender,
        "project": address.project,
        "run": address.run,
        "task": address.task,
        "round": address.round,
        "kind": address.kind,
        "created": NOW,
        "expires": NOW + HOUR,
    }


def forgetful(one: Party, *others: Party) -> Opener:
    """An opener to which every payload is new."""
    return replace(one.opener(*others), first_time=lambda _id, _expires: True)
