"""Sealed payloads for tests of the hub: well formed, and no more. Nobody could open them, and nobody signed them."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Collection, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from domain.ids import Id, derive, sha256_hex
from fedyard.wire import seals as s
from fedyard.wire.chunks import digests_of, tree_digest

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
"""Of every site, unless the test says otherwise."""
_RAW = PRIVATE.public_key().public_bytes_raw()
KEY = base64.b64encode(_RAW).decode()
IDENTITY = sha256_hex(_RAW)
"""Of the identity key that the sites of tests have."""


def enrolling(token: str | None, name: str, by: Ed25519PrivateKey = PRIVATE, **more: Any) -> dict[str, Any]:
    """The body with which a site of this name enrols. token: the enrolment's. by: whose signature the proof is."""
    assert token is not None
    own = bytes.fromhex(more.get("token_sha256") or "0" * 64)
    said = b"fedyard enrolment 1\0" + bytes.fromhex(sha256_hex(token.encode())) + own + name.encode()
    key = base64.b64encode(by.public_key().public_bytes_raw()).decode()
    return {"name": name, "identity_key": key, "proof": base64.b64encode(by.sign(said)).decode(), **more}


CREATED = 1_700_000_000_000_000
EXPIRES = 4_000_000_000_000_000


def ciphertext(plain: bytes) -> bytes:
    """A body as large as one of these bytes would be. It is the plaintext itself, between tags of zeros."""
    step = s.SEGMENT_BYTES - s.TAG_BYTES
    return b"".join(plain[at : at + step] + bytes(s.TAG_BYTES) for at in range(0, max(1, len(plain)), step))


def header_of(
    plain: bytes, *, sender: Id, recipients: Mapping[Id, int] | Collection[Id], project: Id, **fields: Any
) -> dict[str, Any]:
    """The header's fields; recipients: site -> epoch, or sites in epoch 1."""
    epochs = recipients if isinstance(recipients, Mapping) else dict.fromkeys(recipients, 1)
    body = ciphertext(plain)
    header = {
        "id": derive(sender, "seal", sha256_hex(plain)),
        "sender": sender,
        "recipients": [{"site": site, "epoch": epochs[site]} for site in sorted(epochs)],
        "project": project,
        "run": None,
        "task": None,
        "round": None,
        "kind": "message",
        "identity": IDENTITY,
        "key_commitment": sha256_hex(b"commitment"),
        "created": CREATED,
        "expires": EXPIRES,
        "body_bytes": len(body),
        "body_digest": tree_digest(digests_of(body)),
        "plain_bytes": len(plain),
    }
    if fields.get("kind") in s.WITH_DIGESTS:
        header |= {"task_digest": sha256_hex(b"task"), "model_digest": None, "receipts": None}
        if fields["kind"] == "model":
            header["receipts"] = sorted({sha256_hex(site.encode())[:32] for site in epochs})
    assert fields.keys() <= header.keys(), fields
    return header | fields


def wrap(place: int) -> bytes:
    """What would be the content key for the recipient at this place."""
    return struct.pack(">H", place) + bytes([1 + place % 255]) * s.WRAP_BYTES


def assembled(
    header: dict[str, Any] | bytes,
    body: bytes = b"",
    *,
    wraps: Collection[int] | None = None,
    magic: bytes = s.MAGIC,
    version: int = s.VERSION,
    suite: int = s.SUITE,
) -> bytes:
    """The parts put together, however wrong; wraps: places of recipients, all of the header's by default."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    if wraps is None:
        wraps = range(len(json.loads(text)["recipients"]))
    fixed = magic + struct.pack(">BBI", version, suite, len(text))
    signature = b"s" * s.SIGNATURE_BYTES
    return b"".join((fixed, text, signature, struct.pack(">H", len(wraps)), *map(wrap, wraps), body))


def sealed(
    plain: bytes = b"payload",
    *,
    sender: Id,
    recipients: Mapping[Id, int] | Collection[Id],
    project: Id,
    detached: bool = False,
    **fields: Any,
) -> bytes:
    """A well-formed sealed payload, or its detached seal; fields: of the header, in place of what it would have."""
    header = header_of(plain, sender=sender, recipients=recipients, project=project, **fields)
    return assembled(header, b"" if detached else ciphertext(plain))
