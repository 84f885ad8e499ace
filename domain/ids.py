"""Ids are derived from their cause, so that a second delivery makes the same id and nothing twice.

An id is the canonical text of a UUID: 36 characters, lower case.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated, TypeAlias

import msgspec

Id: TypeAlias = str
Uuid: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
"""An id as a field of what is described to others."""

_SPACE = uuid.UUID("5f1d6a52-0c0e-5e0f-9c54-f3d7a6d7a4b1")
"""Name space of every derived id; a constant of the wire format, never changed."""

HUB: Id = str(uuid.UUID(int=0))
"""The subject id under which the hub itself (ticker, follow-ups) sends commands."""


def derive(cause: str, *names: str | int) -> Id:
    """The id of a consequence: UUIDv5 over its cause and what tells it from its siblings."""
    return str(uuid.uuid5(_SPACE, "\x1f".join((cause, *map(str, names)))))


def is_id(text: str) -> bool:
    """True if `text` is an id in canonical form."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def sha256_hex(content: bytes) -> str:
    """The SHA-256 of `content`, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
