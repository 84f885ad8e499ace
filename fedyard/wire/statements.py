"""What is signed, byte by byte: of a sealing key, of who enrols, of the head of a chain of events. Signing and checking
are for who has the key. docs/sealing.md and docs/api.md have the same forms for others who want to write them."""

from __future__ import annotations

import hashlib
import struct
from uuid import UUID

FINGERPRINT_BYTES = 16
_KEY = struct.Struct(">IQQB")
_NUMBER = struct.Struct(">Q")


def key_statement(site_id: str, epoch: int, created: int, expires: int, suite: int, public_key: bytes) -> bytes:
    """What a site's identity signs of a sealing key. Times are microseconds. Raises `ValueError` for what is no key."""
    try:
        numbers = _KEY.pack(epoch, created, expires, suite)
    except struct.error as error:
        raise ValueError(str(error)) from None
    return b"fedyard key 1\0" + UUID(site_id).bytes + numbers + public_key


def enrolment_statement(enrolment_sha256: str, token_sha256: str, name: str) -> bytes:
    """What a site that enrols signs to show that it has the identity key that it brings.

    It is bound to the enrolment, the name and the token that the site has drawn, so that a hub which was shown it can
    use it neither for another enrolment nor for a site that answers to somebody else's token. Both digests are hex.
    """
    return b"fedyard enrolment 1\0" + bytes.fromhex(enrolment_sha256) + bytes.fromhex(token_sha256) + name.encode()


def head_statement(history_id: str, stream_id: str, seq: int, digest: str, at: int) -> bytes:
    """What the hub signs of the newest event of a chain. Raises `ValueError` for what is no head."""
    try:
        number, time = _NUMBER.pack(seq), _NUMBER.pack(at)
    except struct.error as error:
        raise ValueError(str(error)) from None
    return b"fedyard head 1\0" + UUID(history_id).bytes + UUID(stream_id).bytes + number + bytes.fromhex(digest) + time


def identity_fingerprint(identity: bytes) -> bytes:
    """16 bytes that stand for a site's identity; `identity` is the raw public key."""
    return hashlib.sha256(b"fedyard identity 1\0" + identity).digest()[:FINGERPRINT_BYTES]


def hub_fingerprint(key: bytes) -> bytes:
    """16 bytes that stand for the key that the hub signs heads with; `key` is the raw public key."""
    return hashlib.sha256(b"fedyard hub 1\0" + key).digest()[:FINGERPRINT_BYTES]


def hex_groups(finger: bytes) -> str:
    """A fingerprint as people compare it: 8 groups of 4 hex digits."""
    text = finger.hex()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))
