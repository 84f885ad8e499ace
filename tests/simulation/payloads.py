"""What sites send: signed keys, and payloads with seals that are well formed and no more (see tests/seals.py)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.ids import sha256_hex
from fedyard.wire.chunks import tree_digest
from fedyard.wire.statements import key_statement
from fedyard.wire.times import SECOND
from tests.seals import ciphertext, sealed
from tests.simulation.world import START
from web.api.keys import NewKey

IDENTITY = Ed25519PrivateKey.from_private_bytes(bytes(32))
_RAW = IDENTITY.public_key().public_bytes_raw()
KEY = base64.b64encode(_RAW).decode()
"""Every site's identity key."""
SEAL_ANEW = ("key_unusable", "seal_readdressed", "seal_expired")
"""Refusals that another seal helps against."""


@dataclass
class Payload:
    """Bytes that go into a call's body, sealed or not. at: where in the body. to: who has to be able to open them.

    large: they go into an artifact, and the body has no more than their detached seal.
    """

    at: tuple[str | int, ...]
    plain: bytes
    to: str
    place: dict[str, Any] = field(default_factory=dict)
    large: bool = False

    def put(self, body: Any, carried: bytes) -> None:
        for step in self.at[:-1]:
            body = body[step]
        body[self.at[-1]] = base64.b64encode(carried).decode()


@dataclass
class Upload:
    """Content on its way into an artifact. id, put, stored: how far it has come. field: where the body names it."""

    content: bytes
    declared: dict[str, Any]
    field: str
    id: str = ""
    put: bool = False
    stored: bool = False

    def again(self) -> None:
        """From the beginning: the artifact has expired meanwhile."""
        self.id, self.put, self.stored = "", False, False


def upload_of(payload: Payload, project: str, seal: bytes | None, ttl_s: float | None) -> Upload:
    """seal: the detached one, where the content is to be a sealed body."""
    content = payload.plain if seal is None else ciphertext(payload.plain)
    digests = bytes.fromhex(sha256_hex(content))
    place = payload.place
    declared = {
        "project_id": project,
        "kind": place["kind"],
        "run_id": place["run"],
        "task_seq": place["task"],
        "round": place["round"],
        "size_bytes": len(content),
        "digest": tree_digest(digests),
        "chunk_digests": base64.b64encode(digests).decode(),
        "seal": None if seal is None else base64.b64encode(seal).decode(),
        "ttl_s": ttl_s,
    }
    return Upload(content, declared, f"{payload.at[0]}_artifact_id")


def signed_key(site_id: str, epoch: int, grace_s: float) -> dict[str, Any]:
    """The body that puts a site's key of this epoch."""
    public_key = bytes.fromhex(sha256_hex(f"{site_id} {epoch}".encode())) * 38
    key = NewKey(
        public_key=public_key,
        suite=1,
        created_at=START,
        expires_at=START + 10_000 * SECOND,
        signature=bytes(64),
        grace_s=grace_s,
    )
    said = key_statement(site_id, epoch, key.created_at, key.expires_at, key.suite, key.public_key)
    key = msgspec.structs.replace(key, signature=IDENTITY.sign(said))
    body: dict[str, Any] = msgspec.to_builtins(key)
    return body


def seal(payload: Payload, sender: str, project: str, epochs: Mapping[str, int], *, detached: bool = False) -> bytes:
    """epochs: of the recipients' keys."""
    return sealed(
        payload.plain,
        sender=sender,
        recipients=epochs,
        project=project,
        detached=detached,
        identity=sha256_hex(_RAW),
        **payload.place,
    )
