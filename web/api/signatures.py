"""What a site's identity key has signed: its sealing keys, and that it enrols. Checked before it becomes a command."""

from __future__ import annotations

import base64
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from domain.ids import Id
from domain.values import Micros
from fedyard.wire.statements import enrolment_statement, key_statement

_NO_TOKEN = "0" * 64


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


def signed(identity_key: str, site_id: Id, epoch: int, key: StatedKey) -> bool:
    """Has the site's identity signed this statement?"""
    said = key_statement(site_id, epoch, key.created_at, key.expires_at, key.suite, key.public_key)
    return _holds(identity_key, said, key.signature)


def proves(site: EnrollingSite, enrolment_sha256: str) -> bool:
    """Does the site that enrols have the identity key that it brings?"""
    said = enrolment_statement(enrolment_sha256, site.token_sha256 or _NO_TOKEN, site.name)
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
