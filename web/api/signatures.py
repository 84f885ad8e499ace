"""What a site's identity key has signed: its sealing keys, and that it enrols. Checked before it becomes a command."""

from __future__ import annotations

import base64
import struct
import uuid
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.commands import Micros
from domain.ids import Id

_NUMBERS = struct.Struct(">IQQB")


class StatedKey(Protocol):
    """A sealing key, as its site states it. signature: by the site's identity key."""

    @property
    def public_key(self) -> bytes: ...

    @property
    def suite(self) -> int: ...

    @property
    def created_at(self) -> Micros: ...

    @property
    def expires_at(self) -> Micros: ...

    @property
    def signature(self) -> bytes: ...


class EnrollingSite(Protocol):
    """A site that asks to be enrolled. proof: a signature by the identity key that it brings."""

    @property
    def name(self) -> str: ...

    @property
    def identity_key(self) -> str: ...

    @property
    def token_sha256(self) -> str | None: ...

    @property
    def proof(self) -> bytes: ...


def statement(site_id: Id, epoch: int, key: StatedKey) -> bytes:
    """What the site signs of a key: docs/sealing.md has it byte by byte."""
    numbers = _NUMBERS.pack(epoch, key.created_at, key.expires_at, key.suite)
    return b"fedyard key 1\0" + uuid.UUID(site_id).bytes + numbers + key.public_key


def signed(identity_key: str, site_id: Id, epoch: int, key: StatedKey) -> bool:
    """Has the site's identity signed this statement?"""
    return _holds(identity_key, statement(site_id, epoch, key), key.signature)


def proves(site: EnrollingSite, enrolment_sha256: str) -> bool:
    """Does the site that enrols have the identity key that it brings?

    The proof is bound to the enrolment, the name and the token that the site has drawn, so that a hub which was shown
    it can use it neither for another enrolment nor for a site that answers to somebody else's token.
    """
    token = bytes.fromhex(site.token_sha256) if site.token_sha256 is not None else bytes(32)
    said = b"fedyard enrolment 1\0" + bytes.fromhex(enrolment_sha256) + token + site.name.encode()
    return _holds(site.identity_key, said, site.proof)


def _holds(identity_key: str, said: bytes, signature: bytes) -> bool:
    """True for a signature by a key that is fit to be an identity."""
    raw = base64.b64decode(identity_key)
    if base64.b64encode(raw).decode() != identity_key or not _is_fit(raw):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, said)
    except (InvalidSignature, ValueError):
        return False
    return True


_P = 2**255 - 19
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303021722,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)
"""y of the eight points whose order divides the cofactor (RFC 8032): what they sign holds for whatever one likes."""


def _is_fit(raw: bytes) -> bool:
    """One encoding for each point, and no point of small order."""
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    return y < _P and y not in _SMALL_ORDER
