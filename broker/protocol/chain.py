"""The chain of events: each carries the hash of the one before it in its stream, so that a change shows."""

from __future__ import annotations

import msgspec

from broker.protocol.ids import sha256_hex
from broker.protocol.records import Event

_encoder = msgspec.json.Encoder(order="deterministic")


def hash_of(event: Event, previous: str) -> str:
    """SHA-256 (hex) over the event's fields as a JSON list, with the hash before it in place of its own."""
    fields = msgspec.structs.astuple(msgspec.structs.replace(event, hash=previous))
    return sha256_hex(_encoder.encode(fields))
