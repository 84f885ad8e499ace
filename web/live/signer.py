"""The hub's hand: it signs the heads of the chains of events. Who keeps one can tell later that a tail was cut off.

They go to a site with its notices, and to whoever asks (`GET /v1/heads`). The key lies in a file of its own
(FEDYARD_HEAD_KEY_FILE), apart from the records: who can change those cannot sign others. docs/adr/0021 says why so.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from config.clock import Clock
from config.key_files import head_key_file
from fedyard.wire.statements import head_statement
from storage.views import heads as views
from storage.views.resources import SignedHead

KEPT = 8192
"""Signatures that are remembered: a head is signed once for all who read it."""


def holds(key: bytes, said: bytes, signature: bytes) -> bool:
    """Is this the signature of the raw public key `key` over `said`?"""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, said)
    except (InvalidSignature, ValueError):
        return False
    return True


class Signer:
    """The hub's hand. Safe to use from many threads."""

    def __init__(self, key: Ed25519PrivateKey, clock: Clock) -> None:
        self._key, self._clock = key, clock
        self.public = key.public_key().public_bytes_raw()
        self._lock = threading.Lock()
        self._signed: OrderedDict[views.Head, SignedHead] = OrderedDict()

    def sign(self, heads: Sequence[views.Head]) -> list[SignedHead]:
        """Each as a statement; `at` is when it was first seen to be the head."""
        return [self._remembered(head) or self._made(head) for head in heads]

    def _remembered(self, head: views.Head) -> SignedHead | None:
        with self._lock:
            found = self._signed.get(head)
            if found is not None:
                self._signed.move_to_end(head)
            return found

    def _made(self, head: views.Head) -> SignedHead:
        at = self._clock.now()
        signed = SignedHead(
            history_id=head.history_id,
            stream_id=head.stream_id,
            kind=head.kind,
            seq=head.seq,
            hash=head.hash,
            at=at,
            key=self.public,
            signature=self._key.sign(head_statement(head.history_id, head.stream_id, head.seq, head.hash, at)),
        )
        with self._lock:
            self._signed[head] = signed
            if len(self._signed) > KEPT:
                self._signed.popitem(last=False)
        return signed


def open_signer(path: Path, clock: Clock) -> Signer:
    """The hub's key, made at the first start. Raises `SettingsError`."""
    return Signer(Ed25519PrivateKey.from_private_bytes(head_key_file(path).key()), clock)


def public_key_in(path: Path) -> bytes | None:
    """The raw public key, None if there is no such file. Raises `SettingsError`."""
    if not path.exists():
        return None
    return Ed25519PrivateKey.from_private_bytes(head_key_file(path).read()).public_key().public_bytes_raw()
