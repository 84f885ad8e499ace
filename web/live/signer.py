"""The hub's hand: it signs the heads of the chains of events. Who keeps one can tell later that a tail was cut off.

They go to a site with its notices, and to whoever asks (`GET /v1/heads`). The key lies in a file of its own
(FEDYARD_HEAD_KEY_FILE), apart from the records: who can change those cannot sign others. docs/adr/0021 says why so.
"""

from __future__ import annotations

import base64
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from config.clock import Clock
from config.key_files import make_once
from config.settings import SettingsError
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
    return Signer(_key_in(path), clock)


def public_key_in(path: Path) -> bytes | None:
    """The raw public key, None if there is no such file. Raises `SettingsError`."""
    return _read(path).public_key().public_bytes_raw() if path.exists() else None


def _key_in(path: Path) -> Ed25519PrivateKey:
    """Web processes that start at the same time agree on the key: whose file gets the name first has made it."""
    if not path.exists():
        try:
            make_once(path, Ed25519PrivateKey.generate().private_bytes_raw())
        except OSError as error:
            raise SettingsError(
                f"FEDYARD_HEAD_KEY_FILE {path} cannot be made ({error.strerror}): name a file in a folder that the web "
                "may write to, or put the key there"
            ) from None
    return _read(path)


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(path.read_bytes(), validate=False))
    except OSError as error:
        raise SettingsError(f"FEDYARD_HEAD_KEY_FILE {path} cannot be read ({error.strerror})") from None
    except ValueError:
        raise SettingsError(
            f"FEDYARD_HEAD_KEY_FILE {path} is damaged: put the copy of it back; only if there is none, remove it, and "
            "tell the sites that the hub has another key"
        ) from None
