"""A site's fingerprint as its people read it to each other: the same words and digits that `fedyard site` prints."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

from fedyard.wire.statements import hex_groups, identity_fingerprint
from fedyard.wire.words import to_words


@dataclass(frozen=True)
class Fingerprint:
    """words: twelve; digits: the same in hex, in groups of four."""

    words: str
    digits: str


def fingerprint_of(identity_key: str) -> Fingerprint | None:
    """Of an identity key in base64; None for an attempt at a workload that has not enrolled, and has none."""
    if not identity_key:
        return None
    finger = identity_fingerprint(b64decode(identity_key))
    return Fingerprint(to_words(finger), hex_groups(finger))
