"""Callers' secrets at rest: shut by the web before they are on their way, opened by the doer when they are needed.

AES-256-GCM under a key of the hub's, bound to the project and the name: what was copied into another place does not
open there. What is shut says under which key, so that another key is recognised and not taken for damage.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from config.clock import draw_key
from config.key_files import secret_key, workload_key
from config.settings import Settings

NONCE_BYTES = 12
TAG_BYTES = 16


@dataclass(frozen=True)
class Shut:
    """A secret that is shut. key_id: of the key that it was shut with."""

    key_id: str
    content: bytes


class NotOpenedError(Exception):
    """It was shut with another key, for another place, or is damaged."""


@dataclass(frozen=True)
class SecretBox:
    """Shuts and opens with one key; its repr does not show it."""

    key: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """Tells one key from another; says nothing of it."""
        return hashlib.sha256(b"fedyard secret key id 1\0" + self.key).hexdigest()[:16]

    def shut(self, project: str, name: str, value: str) -> Shut:
        """The same value twice looks different."""
        nonce = draw_key(NONCE_BYTES)
        return Shut(self.key_id, nonce + AESGCM(self.key).encrypt(nonce, value.encode(), _about(project, name)))

    def open(self, project: str, name: str, shut: Shut) -> str:
        """Raises `NotOpenedError`."""
        if shut.key_id != self.key_id:
            raise NotOpenedError
        nonce, sealed = shut.content[:NONCE_BYTES], shut.content[NONCE_BYTES:]
        try:
            return AESGCM(self.key).decrypt(nonce, sealed, _about(project, name)).decode()
        except (InvalidTag, ValueError):
            raise NotOpenedError from None

    def mark(self, project: str, name: str, value: str) -> bytes:
        """The same for the same value in the same place; tells nobody anything who has not the key."""
        return hmac.digest(self.key, b"fedyard secret mark 1\0" + _about(project, name) + value.encode(), "sha256")


def secret_box(settings: Settings) -> SecretBox:
    """With the key of its own file, or with one that derives from the workload key. Raises `SettingsError`."""
    if settings.secret_key_file:
        return SecretBox(secret_key(Path(settings.secret_key_file)))
    own = workload_key(Path(settings.workload_key_file))
    return SecretBox(hmac.digest(own, b"fedyard project secrets' key 1", "sha256"))


def _about(project: str, name: str) -> bytes:
    return b"fedyard project secret 1\0" + uuid.UUID(project).bytes + name.encode() + b"\0"
