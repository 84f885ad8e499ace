"""The form of a sealed payload: a header to check, wraps to hand out, a body to keep shut. No key is here.

Format 1, all numbers big-endian:

    4  magic "FYS1"        1  version = 1        1  suite = 1        4  length H of the header
    H  header: JSON in its one form, the fields of `Header` (the last three are an update's or a model's alone)
       10 + H bytes up to here are what is signed
    64 signature by the sender's identity key
    2  number of wraps, then for each: 2 place in header.recipients, 1168 the content key for that recipient
    .. body: the ciphertext, to the end; none where it lies elsewhere (a detached seal)

Wraps are not part of what is signed, so the hub hands each reader its own alone (`trimmed`). docs/sealing.md has the
format byte by byte; docs/adr/0009 says why the hub looks at it. The hub reads seals with nothing else, and a site
before it checks and opens them (fedyard/sealed/sealing.py).
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from fedyard.wire.types import Epoch, Hex32, Slug, Uuid

MAGIC = b"FYS1"
VERSION = 1
SUITE = 1
WRAP_BYTES = 1168
"""In suite 1: 1120 bytes encapsulated key, 32 bytes content key, 16 bytes tag."""
SIGNATURE_BYTES = 64
SEGMENT_BYTES = 1_048_576
TAG_BYTES = 16
"""The last bytes of each segment of the body; all others hold one byte of plaintext each."""
MAX_BODY_BYTES = 2**32 * SEGMENT_BYTES
"""A segment's number, in its nonce, has four bytes."""
MAX_RECIPIENTS = 2000
MAX_RECEIPTS = 2000
MAX_HEADER_BYTES = 262_144
RECEIPT_CHARACTERS = 32
"""16 bytes of an update's seal digest: 2000 of them, and as many recipients, fit a header."""
WITH_DIGESTS = ("update", "model")
"""Kinds whose header says what they were made of."""

FIXED = struct.Struct(">4sBBI")
"""What is in front of the header: magic, version, suite, its length."""
PLACE = struct.Struct(">H")
WRAP = struct.Struct(f">H{WRAP_BYTES}s")

_Time: TypeAlias = Annotated[int, Meta(ge=0, le=9_000_000_000_000_000_000)]
_Size: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_BODY_BYTES)]
_Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000_000)]
_Round: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000_000)]
"""0: of the model that a task begins with."""
_Receipt: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}(?!\n)$", max_length=RECEIPT_CHARACTERS)]


class SealMalformed(Exception):
    """The bytes are no seal of format 1. Says the rule, never the content."""


class NotSealed(SealMalformed):
    """They do not even claim to be one."""


class SealTruncated(SealMalformed):
    """They end before the seal does."""


class SealUnsupported(Exception):
    """A seal of a version or suite that is not known here."""

    def __init__(self, version: int, suite: int) -> None:
        self.version, self.suite = version, suite
        super().__init__(f"version {version}, suite {suite} is not known here; version {VERSION}, suite {SUITE} is")


class Recipient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who can open it, and with which of its keys."""

    site: Uuid
    epoch: Epoch


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the sender says of a payload, and signs. Its fields are in the order in which they are written.

    id: drawn by the sender, never used twice. recipients: by site, each once. identity: SHA-256 of the sender's
    identity key. body_bytes, body_digest: of the ciphertext (chunks.py); plain_bytes: of what is inside.
    task_digest, model_digest, receipts: what an update or a model was made of; all there or, of an older sender, none.
    """

    id: Uuid
    sender: Uuid
    recipients: Annotated[list[Recipient], Meta(min_length=1, max_length=MAX_RECIPIENTS)]
    project: Uuid
    run: Uuid | None
    task: _Count | None
    round: _Round | None
    kind: Slug
    identity: Hex32
    key_commitment: Hex32
    created: _Time
    expires: _Time
    body_bytes: _Size
    body_digest: Hex32
    plain_bytes: _Size
    task_digest: Hex32 | msgspec.UnsetType = msgspec.UNSET
    model_digest: Hex32 | msgspec.UnsetType | None = msgspec.UNSET
    receipts: Annotated[list[_Receipt], Meta(max_length=MAX_RECEIPTS)] | msgspec.UnsetType | None = msgspec.UNSET


class Seal(msgspec.Struct, frozen=True):
    """Where the parts of a sealed payload lie.

    signed_bytes: how many of its first bytes are signed; the signature follows. wraps: the places (in
    header.recipients) of those whose wrap is here, ascending. wraps_at: where they begin, counted from the payload's
    start; body_at: where the body does. size_bytes: of all.
    """

    header: Header
    signed_bytes: int
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
_encoder = msgspec.json.Encoder()


class _Reader(msgspec.Struct, frozen=True):
    site: str


class _Readers(msgspec.Struct, frozen=True):
    """As much of a header as its readers are asked for: it is read often, and was checked when it came."""

    recipients: list[_Reader]


_readers_decoder = msgspec.json.Decoder(_Readers)


def is_sealed(blob: bytes) -> bool:
    """True if it claims to be a sealed payload."""
    return blob.startswith(MAGIC)


def read_seal(blob: bytes) -> Seal:
    """The parts of a sealed payload or of a detached seal: its form is good, and nothing else is known of it yet.

    Raises `SealMalformed` or `SealUnsupported`.
    """
    signed = _signed_bytes(blob)
    header = _header(blob[FIXED.size : signed])
    wraps_at, body_at = _wraps(blob, signed)
    places = tuple(PLACE.unpack_from(blob, at)[0] for at in range(wraps_at, body_at, WRAP.size))
    if any(behind <= before for before, behind in pairwise(places)):
        raise SealMalformed("the wraps are not in the order of their recipients, each once")
    if places and places[-1] >= len(header.recipients):
        raise SealMalformed("a wrap is for nobody among the recipients")
    return Seal(header, signed, places, wraps_at, body_at, len(blob))


def signed_part(header: Header) -> bytes:
    """The first bytes of a payload with this header: what its sender signs."""
    text = _encoder.encode(header)
    return FIXED.pack(MAGIC, VERSION, SUITE, len(text)) + text


def _signed_bytes(blob: bytes) -> int:
    """How many bytes the signature is over: the fixed ones and the header."""
    if not is_sealed(blob):
        raise NotSealed("a sealed payload begins with FYS1")
    if len(blob) < FIXED.size:
        raise SealTruncated("it ends before its header")
    _, version, suite, length = FIXED.unpack_from(blob)
    if version != VERSION or suite != SUITE:
        raise SealUnsupported(version, suite)
    if length > MAX_HEADER_BYTES:
        raise SealMalformed(f"its header has more than {MAX_HEADER_BYTES} bytes")
    signed = FIXED.size + int(length)
    if len(blob) < signed:
        raise SealTruncated("it ends within its header")
    return signed


def _wraps(blob: bytes, signed: int) -> tuple[int, int]:
    """Where the wraps begin and where they end."""
    counted_at = signed + SIGNATURE_BYTES
    if len(blob) < counted_at + PLACE.size:
        raise SealTruncated("it ends before its wraps")
    begin = counted_at + PLACE.size
    end = begin + PLACE.unpack_from(blob, counted_at)[0] * WRAP.size
    if len(blob) < end:
        raise SealTruncated("it ends within its wraps")
    return begin, end


def _header(text: bytes) -> Header:
    """The header, if `text` is the one way to write it, so that nobody can read the same bytes in two ways."""
    try:
        header = _header_decoder.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise SealMalformed("its header is not what format 1 says") from None
    if _encoder.encode(header) != text:
        raise SealMalformed("its header is not in its one form: fields in order, each once, no escapes, no white space")
    sites = [recipient.site for recipient in header.recipients]
    if any(behind <= before for before, behind in pairwise(sites)):
        raise SealMalformed("its recipients are not sorted by site, each once")
    if header.expires <= header.created:
        raise SealMalformed("it expires before it was made")
    if header.body_bytes != ciphertext_bytes(header.plain_bytes):
        raise SealMalformed("body_bytes and plain_bytes do not belong together")
    _check_digests(header)
    return header


def _check_digests(header: Header) -> None:
    """All of them or none, for those kinds alone; receipts are a model's, sorted, each once."""
    there = sum(v is not msgspec.UNSET for v in (header.task_digest, header.model_digest, header.receipts))
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


def readers_of(blob: bytes) -> list[str]:
    """The sites that a sealed payload is for, in their order. Raises `SealMalformed` or `SealUnsupported`."""
    return _readers(blob[FIXED.size : _signed_bytes(blob)])


def trimmed(blob: bytes, site_id: str | None) -> bytes:
    """The same payload with the wrap of this site alone, or with none. Raises `SealMalformed` or `SealUnsupported`."""
    signed = _signed_bytes(blob)
    begin, end = _wraps(blob, signed)
    readers = [] if site_id is None else _readers(blob[FIXED.size : signed])
    mine = readers.index(site_id) if site_id in readers else None
    ats = (at for at in range(begin, end, WRAP.size) if PLACE.unpack_from(blob, at)[0] == mine)
    found = next((blob[at : at + WRAP.size] for at in ats), b"")
    return b"".join((blob[: begin - PLACE.size], PLACE.pack(len(found) // WRAP.size), found, blob[end:]))


def _readers(header: bytes) -> list[str]:
    try:
        return [recipient.site for recipient in _readers_decoder.decode(header).recipients]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SealMalformed("its header is not what format 1 says") from None
