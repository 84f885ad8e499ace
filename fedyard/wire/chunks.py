"""A hash list: an artifact's bytes in chunks, and what there is to know of them without seeing one.

The digests of all chunks, raw and one after the other, are what an artifact declares; the SHA-256 over them is its
own digest, the tree digest. Nothing has the digest of nothing. A sealed body has its digest in the same way.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

CHUNK_BYTES = 4_194_304
"""All but the last have so many bytes."""
DIGEST_BYTES = 32
MAX_CHUNKS = 32_768
"""Of one artifact: so many digests fit into a declaration."""
_ABSENT = bytes(DIGEST_BYTES)


class Chunk(NamedTuple):
    """One chunk: its number from 0, its SHA-256 (hex), its size."""

    number: int
    sha256: str
    size_bytes: int


def count_of(size_bytes: int) -> int:
    """How many chunks so many bytes have."""
    return -(-size_bytes // CHUNK_BYTES)


def size_of(number: int, size_bytes: int) -> int:
    """The size of a chunk of an artifact of so many bytes."""
    return min(CHUNK_BYTES, size_bytes - number * CHUNK_BYTES)


def chunk_of(number: int, size_bytes: int, digests: bytes) -> Chunk:
    """The chunk of this number; the digests are all of the artifact's."""
    at = number * DIGEST_BYTES
    return Chunk(number, digests[at : at + DIGEST_BYTES].hex(), size_of(number, size_bytes))


def chunks_of(size_bytes: int, digests: bytes) -> list[Chunk]:
    """Every chunk of an artifact, in order."""
    return [chunk_of(number, size_bytes, digests) for number in range(count_of(size_bytes))]


def belong_together(size_bytes: int, digests: bytes) -> bool:
    """True if there is one digest for each chunk of so many bytes."""
    return len(digests) == count_of(size_bytes) * DIGEST_BYTES


def tree_digest(digests: bytes) -> str:
    """The artifact's digest (hex) from the digests of its chunks."""
    return hashlib.sha256(digests).hexdigest()


def digests_of(content: bytes | memoryview) -> bytes:
    """The digests of the chunks of this content."""
    view = memoryview(content)
    chunks = (view[at : at + CHUNK_BYTES] for at in range(0, len(view), CHUNK_BYTES))
    return b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)


def found_digests(count: int, found: dict[int, str]) -> bytes:
    """The digests of what was found, as an artifact declares them; zeros where there is nothing."""
    return b"".join(bytes.fromhex(found[n]) if n in found else _ABSENT for n in range(count))
