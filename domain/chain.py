"""Two chains: of a stream's events, and of a mailbox's entries. Each link carries the hash of the one before it.

So a change shows: that of an event to who audits, that of a history that went back to the site whose mailbox it is.
"""

from __future__ import annotations

import hashlib

import msgspec

from domain.ids import Id, sha256_hex
from domain.records import Event

_encoder = msgspec.json.Encoder(order="deterministic")


def hash_of(event: Event, previous: str) -> str:
    """SHA-256 (hex) over the event's fields as a JSON list, with the hash before it in place of its own."""
    fields = msgspec.structs.astuple(msgspec.structs.replace(event, hash=previous))
    return sha256_hex(_encoder.encode(fields))


def mark_of(before: str, seq: int, cause: Id, kind: str) -> str:
    """The mark of an inbox entry: 16 bytes of SHA-256, as hexadecimal digits, over the mark before it, its number, the
    id of the command that caused it, and its kind. Two histories that differ once give no number the same mark again.
    """
    return hashlib.sha256(f"{before}\n{seq}\n{cause}\n{kind}".encode()).hexdigest()[:32]
