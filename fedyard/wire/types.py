"""The types of what comes over the wire, and the one way in which it is decoded.

Whatever the hub, another site or somebody on the way says is bounded here, before anything looks at it: ids are UUIDs
in canonical text, so that they are one part of a path and of an address; numbers fit into 64 bits and into SQLite;
texts, lists and nesting have an end. docs/api.md says what the hub really sends, which is less.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from fedyard.wire.chunks import DIGEST_BYTES, MAX_CHUNKS
from fedyard.wire.shown import shown

T = TypeVar("T")

UUID_PATTERN = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
"""Canonical text, and no other: an id is a name by which things are compared."""
Uuid = Annotated[str, Meta(pattern=f"^{UUID_PATTERN}(?!\n)$", max_length=36)]
Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}(?!\n)$", max_length=64)]
Digest = Annotated[str, Meta(pattern="^([0-9a-f]{64})?(?!\n)$", max_length=64)]
"""Empty where there is none."""
Mark = Annotated[str, Meta(pattern="^([0-9a-f]{32})?(?!\n)$", max_length=32)]
"""An entry's place in the chain of the inbox; empty where there is none."""
Slug = Annotated[str, Meta(pattern="^[a-z][a-z0-9_.-]{0,63}(?!\n)$", max_length=64)]
Name = Annotated[str, Meta(max_length=200, pattern="^[^\x00]*$")]
"""What others call something: it is shown, compared, and never part of a path."""
Text = Annotated[str, Meta(max_length=4000, pattern="^[^\x00]*$")]
Token = Annotated[str, Meta(min_length=1, max_length=200, pattern="^[!-~]*(?!\n)$")]
Cursor = Annotated[str, Meta(max_length=500)]
Web = Annotated[str, Meta(max_length=4096, pattern="^https?://[!-~]+(?!\n)$")]
"""An address beside the hub; addresses.py says which are gone to."""

Seq = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""A count, a size or a number in a sequence: exact in JSON, and in SQLite."""
Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Epoch = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Micros = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Large = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Span = Annotated[float, Meta(ge=0, le=7_776_000)]
At = Annotated[datetime, Meta(tz=True)]

PublicKey = Annotated[bytes, Meta(min_length=1216, max_length=1216)]
"""Of suite 1: MLKEM768-X25519."""
IdentityKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, Meta(min_length=64, max_length=64)]
Body = Annotated[bytes, Meta(max_length=4_194_304)]
Digests = Annotated[bytes, Meta(max_length=MAX_CHUNKS * DIGEST_BYTES)]
"""Raw SHA-256s of chunks, one after the other."""
Piece = Annotated[bytes, Meta(max_length=131_072)]
Metrics = Annotated[dict[Annotated[str, Meta(max_length=64)], float], Meta(max_length=64)]

ArtifactKind: TypeAlias = Literal["initial", "update", "model", "log", "result"]
Joining: TypeAlias = Literal["open", "approval", "invitation"]
Sealed: TypeAlias = Literal["required", "optional"]

MAX_SITES = 100_000
"""Of one round."""
MAX_FACT = 200
"""Characters of what is said of content that is none."""


class Undecodable(ValueError):
    """What came is not what it should be; the sentence says where, and nothing of what it was."""


def decode(content: bytes | bytearray | memoryview | msgspec.Raw, kind: type[T]) -> T:
    """JSON as a value of that type. Raises `Undecodable`, whatever the content is."""
    try:
        found: T = _decoder(kind).decode(content)  # type: ignore[arg-type]
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise Undecodable(_fact(error)) from None
    return found


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _fact(error: Exception) -> str:
    """Of an error's text what tells nothing of the content."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    text = str(error).split("Invalid value")[0]
    return shown(text, MAX_FACT)
