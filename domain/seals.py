"""Sealed payloads as the hub sees them: a header to check, wraps to hand out, a body to keep shut. No key is here.

Format 1, all numbers big-endian:

    4  magic "FYS1"        1  version = 1        1  suite = 1        4  length H of the header
    H  header: JSON, exactly the fields of `Header` (the last three are an update's or a model's alone)
       10 + H bytes up to here are what is signed
    64 signature by the sender's identity key
    2  number of wraps, then for each: 2 place in header.recipients, 1168 the content key for that recipient
    .. body: the ciphertext, to the end; none where it lies elsewhere (a detached seal)

Wraps are not part of what is signed, so the hub hands each reader its own alone (`trimmed`). docs/adr/0009 says why.
"""

from __future__ import annotations

import hashlib
import struct
from itertools import pairwise
from typing import Annotated, TypeAlias

import msgspec

from domain import chunks
from domain.commands import Micros, Sha256, Slug
from domain.ids import Id

MAGIC = b"FYS1"
VERSION = 1
SUITE = 1
WRAP_BYTES = 1168
"""In suite 1: 1120 bytes encapsulated key, 32 bytes content key, 16 bytes tag."""
SIGNATURE_BYTES = 64
SEGMENT_BYTES = 1_048_576
TAG_BYTES = 16
"""The last bytes of each segment of the body; all others hold one byte of plaintext each."""
MOST_RECIPIENTS = 2000
MOST_RECEIPTS = 2000
MOST_HEADER_BYTES = 262_144
WITH_DIGESTS = ("update", "model")
"""Kinds whose header says what they were made of."""

_FIXED = struct.Struct(">4sBBI")
_PLACE = struct.Struct(">H")
_WRAP = _PLACE.size + WRAP_BYTES

Uuid: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?!\n)$", max_length=36)
]
_Time: TypeAlias = Annotated[Micros, msgspec.Meta(ge=0, le=9_000_000_000_000_000_000)]
_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000_000)]
_Epoch: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=4_294_967_295)]
_Receipt: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}(?!\n)$", max_length=32)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class SealMalformed(Exception):
    """The bytes are no seal of format 1. Says the rule, never the content."""


class SealUnsupported(Exception):
    """A seal of a version or suite that this hub does not know."""


class Recipient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who can open it, and with which of its keys."""

    site: Uuid
    epoch: _Epoch


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the sender says of a payload, and signs.

    id: drawn by the sender, never used twice. recipients: by site, each once. identity: SHA-256 of the sender's
    identity key. body_bytes, body_digest: of the ciphertext (`tree_digest`); plain_bytes: of what is inside.
    task_digest, model_digest, receipts: what an update or a model was made of; all there or, of an older sender, none.
    """

    id: Uuid
    sender: Uuid
    recipients: Annotated[list[Recipient], msgspec.Meta(min_length=1, max_length=MOST_RECIPIENTS)]
    project: Uuid
    run: Uuid | None
    task: _Count | None
    round: _Count | None
    kind: Slug
    identity: Sha256
    key_commitment: Sha256
    created: _Time
    expires: _Time
    body_bytes: _Size
    body_digest: Sha256
    plain_bytes: _Size
    task_digest: Sha256 | msgspec.UnsetType = msgspec.UNSET
    model_digest: Sha256 | msgspec.UnsetType | None = msgspec.UNSET
    receipts: Annotated[list[_Receipt], msgspec.Meta(max_length=MOST_RECEIPTS)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )


class Seal(msgspec.Struct, frozen=True):
    """Where the parts of a sealed payload lie.

    wraps: the places (in header.recipients) of those whose wrap is here, ascending. wraps_at: where they begin, counted
    from the payload's start; body_at: where the body does. size_bytes: of all.
    """

    header: Header
    wraps: tuple[int, ...]
    wraps_at: int
    body_at: int
    size_bytes: int

    @property
    def detached(self) -> bool:
        """True if the body lies elsewhere; every body has one byte at least."""
        return self.body_at == self.size_bytes

    def __repr__(self) -> str:
        return f"Seal({self.header.id}, {self.size_bytes} bytes, {len(self.wraps)} wraps)"


_DIGESTS = 3
_header_decoder = msgspec.json.Decoder(Header)


class _Reader(msgspec.Struct, frozen=True):
    site: str


class _Readers(msgspec.Struct, frozen=True):
    """As much of a header as trimming asks for: it is read often, and was checked when it came."""

    recipients: list[_Reader]


_readers_decoder = msgspec.json.Decoder(_Readers)


def is_sealed(blob: bytes) -> bool:
    """True if it claims to be a sealed payload."""
    return blob.startswith(MAGIC)


def read_seal(blob: bytes) -> Seal:
    """The parts of a sealed payload or of a detached seal. Raises `SealMalformed` or `SealUnsupported`."""
    signed = _signed_bytes(blob)
    header = _header(blob[_FIXED.size : signed])
    wraps_at, body_at = _wraps(blob, signed)
    places = tuple(_PLACE.unpack_from(blob, at)[0] for at in range(wraps_at, body_at, _WRAP))
    if any(behind <= before for before, behind in pairwise(places)):
        raise SealMalformed("the wraps are not in the order of their recipients, each once")
    if places and places[-1] >= len(header.recipients):
        raise SealMalformed("a wrap is for nobody among the recipients")
    return Seal(header, places, wraps_at, body_at, len(blob))


def _signed_bytes(blob: bytes) -> int:
    """How many bytes the signature is over: the fixed ones and the header."""
    if not is_sealed(blob):
        raise SealMalformed("a sealed payload begins with FYS1")
    if len(blob) < _FIXED.size:
        raise SealMalformed("it ends before its header")
    _, version, suite, length = _FIXED.unpack_from(blob)
    if version != VERSION:
        raise SealUnsupported(f"version {version} is not known here; this hub knows version {VERSION}")
    if suite != SUITE:
        raise SealUnsupported(f"suite {suite} is not known here; this hub knows suite {SUITE}")
    if length > MOST_HEADER_BYTES:
        raise SealMalformed(f"its header has more than {MOST_HEADER_BYTES} bytes")
    return _FIXED.size + int(length)


def _wraps(blob: bytes, signed: int) -> tuple[int, int]:
    """Where the wraps begin and where they end."""
    counted_at = signed + SIGNATURE_BYTES
    if len(blob) < counted_at + _PLACE.size:
        raise SealMalformed("it ends before its wraps")
    begin = counted_at + _PLACE.size
    end = begin + _PLACE.unpack_from(blob, counted_at)[0] * _WRAP
    if len(blob) < end:
        raise SealMalformed("it ends within its wraps")
    return begin, end


def _header(text: bytes) -> Header:
    try:
        header = _header_decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SealMalformed("its header is not what format 1 says") from None
    # No value holds a colon or needs an escape, so this finds a field that is there twice.
    if b"\\" in text or text.count(b":") != _fields(header) + 2 * len(header.recipients):
        raise SealMalformed("a field of its header is there twice, or written with escapes")
    sites = [recipient.site for recipient in header.recipients]
    if any(behind <= before for before, behind in pairwise(sites)):
        raise SealMalformed("its recipients are not sorted by site, each once")
    if header.expires <= header.created:
        raise SealMalformed("it expires before it was made")
    if header.body_bytes != ciphertext_bytes(header.plain_bytes):
        raise SealMalformed("body_bytes and plain_bytes do not belong together")
    _check_digests(header)
    return header


def _digests_there(header: Header) -> int:
    return sum(v is not msgspec.UNSET for v in (header.task_digest, header.model_digest, header.receipts))


def _fields(header: Header) -> int:
    return len(Header.__struct_fields__) - _DIGESTS + _digests_there(header)


def _check_digests(header: Header) -> None:
    """All of them or none, for those kinds alone; receipts are a model's, sorted, each once."""
    there = _digests_there(header)
    if there not in (0, _DIGESTS) or (there and header.kind not in WITH_DIGESTS):
        raise SealMalformed("task_digest, model_digest and receipts belong together, to an update or a model")
    if not there:
        return
    receipts = header.receipts
    if (header.kind == "model") != isinstance(receipts, list):
        raise SealMalformed("receipts are a model's; an update has null in their place")
    if isinstance(receipts, list) and any(behind <= before for before, behind in pairwise(receipts)):
        raise SealMalformed("its receipts are not sorted, each once")


def ciphertext_bytes(plain_bytes: int) -> int:
    """The size of the body around so many bytes: a tag for each segment, and one segment at least."""
    segments = max(1, -(-plain_bytes // (SEGMENT_BYTES - TAG_BYTES)))
    return plain_bytes + segments * TAG_BYTES


def carried_bytes(blob: bytes) -> int:
    """How large the payload is without what is there for its recipients' sake: the body of a sealed one."""
    try:
        _, body_at = _wraps(blob, _signed_bytes(blob))
    except (SealMalformed, SealUnsupported):
        return len(blob)
    return len(blob) - body_at


def trimmed(blob: bytes, site_id: Id | None) -> bytes:
    """The same payload with the wrap of this site alone, or with none. Raises `SealMalformed` or `SealUnsupported`."""
    signed = _signed_bytes(blob)
    begin, end = _wraps(blob, signed)
    mine = _place_of(blob[_FIXED.size : signed], site_id)
    ats = (at for at in range(begin, end, _WRAP) if _PLACE.unpack_from(blob, at)[0] == mine)
    found = next((blob[at : at + _WRAP] for at in ats), b"")
    return b"".join((blob[: begin - _PLACE.size], _PLACE.pack(len(found) // _WRAP), found, blob[end:]))


def _place_of(header: bytes, site_id: Id | None) -> int | None:
    if site_id is None:
        return None
    try:
        recipients = _readers_decoder.decode(header).recipients
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SealMalformed("its header is not what format 1 says") from None
    return next((place for place, recipient in enumerate(recipients) if recipient.site == site_id), None)


def tree_digest(content: bytes | memoryview) -> str:
    """The digest (hex) of an artifact of this content: see `chunks.tree_digest`."""
    view = memoryview(content)
    chunks_ = (view[at : at + chunks.CHUNK_BYTES] for at in range(0, len(view), chunks.CHUNK_BYTES))
    return chunks.tree_digest(b"".join(hashlib.sha256(chunk).digest() for chunk in chunks_))
