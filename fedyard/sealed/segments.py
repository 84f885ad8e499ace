"""The body of a sealed payload: AES-256-GCM segments and their tree digest, in constant memory on two cores.

A body is cut into segments of 1 MiB ciphertext; four of them are one chunk, the unit of the tree digest and of an
artifact. Segments and chunks don't depend on each other, so a chunk is one job: the caller's thread reads it, another
one encrypts and digests it segment by segment, while the bytes are still in the cache, and writes it to its place.
AES, SHA-256 and files release the GIL. A few chunks are in memory, whatever the size. docs/sealing.md has the form.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedyard.sealed.errors import Damaged, Truncated
from fedyard.wire.chunks import CHUNK_BYTES, tree_digest
from fedyard.wire.seals import SEGMENT_BYTES, TAG_BYTES, ciphertext_bytes

PLAIN_SEGMENT_BYTES = SEGMENT_BYTES - TAG_BYTES
_SEGMENTS_OF_CHUNK = CHUNK_BYTES // SEGMENT_BYTES
PLAIN_CHUNK_BYTES = _SEGMENTS_OF_CHUNK * PLAIN_SEGMENT_BYTES
_TAGS_BYTES = _SEGMENTS_OF_CHUNK * TAG_BYTES
_THREADS = min(4, os.cpu_count() or 1)


class Source(Protocol):
    """Where a stream of bytes comes from, one after the other: a file, a response, a pipe."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """How many bytes were put into `buffer`; 0 at the end."""


class Sink(Protocol):
    """Where bytes go: called from several threads, each place once."""

    def __call__(self, content: memoryview, offset: int, /) -> None:
        """Keep `content` at `offset`."""


@dataclass(frozen=True)
class Body:
    """What came out of `encrypt`. chunk_digests: raw SHA-256 of every 4 MiB of ciphertext, as artifacts want them."""

    plain_bytes: int
    body_bytes: int
    chunk_digests: bytes

    @property
    def digest(self) -> str:
        """The tree digest, hex."""
        return tree_digest(self.chunk_digests)


class _Cut(Protocol):
    """Turns one chunk into what the sink shall have of it, by way of `scratch`; the digest of its sealed form."""

    def __call__(self, chunk: memoryview, scratch: memoryview, number: int, last: bool, /) -> tuple[memoryview, bytes]:
        """number: of the chunk; last: nothing follows it."""


def encrypt(key: bytes, source: Source | bytes, sink: Sink) -> Body:
    """Encrypt `source` to its end. `key` is used for this body and never again: its nonces are segment numbers."""
    cipher = AESGCM(key)

    def cut(chunk: memoryview, scratch: memoryview, number: int, last: bool) -> tuple[memoryview, bytes]:
        digest, done = hashlib.sha256(), 0
        for segment, start in enumerate(range(0, max(len(chunk), 1), PLAIN_SEGMENT_BYTES), _SEGMENTS_OF_CHUNK * number):
            plain = chunk[start : start + PLAIN_SEGMENT_BYTES]
            out = scratch[done : done + len(plain) + TAG_BYTES]
            cipher.encrypt_into(_nonce(segment, last and start + len(plain) == len(chunk)), plain, None, out)
            digest.update(out)
            done += len(out)
        return scratch[:done], digest.digest()

    chunks = _Chunks(source, PLAIN_CHUNK_BYTES)
    digests = _each(chunks, cut, sink, CHUNK_BYTES)
    return Body(chunks.taken, ciphertext_bytes(chunks.taken), digests)


def decrypt(key: bytes, source: Source | bytes, sink: Sink, size: int) -> Body:
    """Decrypt a body of `size` bytes. What the sink got is not to be trusted before the digest was compared, too.

    Raises `Truncated` if the source ends early, `Damaged` if it goes on or a segment is not what was sealed there.
    """
    cipher = AESGCM(key)
    final = -(-size // SEGMENT_BYTES) - 1

    def cut(chunk: memoryview, scratch: memoryview, number: int, _last: bool) -> tuple[memoryview, bytes]:
        digest, done = hashlib.sha256(), 0
        for segment, start in enumerate(range(0, len(chunk), SEGMENT_BYTES), _SEGMENTS_OF_CHUNK * number):
            part = chunk[start : start + SEGMENT_BYTES]
            if len(part) < min(SEGMENT_BYTES, size - segment * SEGMENT_BYTES):
                raise Truncated(f"the body ends within segment {segment} of {final + 1}")
            out = scratch[done : done + len(part) - TAG_BYTES]
            try:
                cipher.decrypt_into(_nonce(segment, segment == final), part, None, out)
            except InvalidTag:
                raise Damaged(f"segment {segment} of {final + 1} is not what was sealed there") from None
            digest.update(part)
            done += len(out)
        return scratch[:done], digest.digest()

    chunks = _Chunks(source, CHUNK_BYTES, size)
    digests = _each(chunks, cut, sink, PLAIN_CHUNK_BYTES)
    if chunks.taken < size:
        raise Truncated(f"the body ends after {chunks.taken} bytes of {size}")
    return Body(size - TAG_BYTES * (final + 1), size, digests)


def _nonce(segment: int, last: bool) -> bytes:
    return bytes(7) + segment.to_bytes(4) + bytes([last])


class _Chunks:
    """`source` in chunks of `size`, at least one, for several threads; `Damaged` if it goes on after `at_most` bytes.

    Of a stream one chunk is read ahead, so that the last one is known as such. Each thread brings a buffer for what is
    read next, and gets the one that was read before.
    """

    def __init__(self, source: Source | bytes, size: int, at_most: int | None = None) -> None:
        self._source: Source = io.BytesIO(source) if isinstance(source, bytes) else source
        self._whole = memoryview(source) if isinstance(source, bytes) else None
        self.size = size
        self._left = at_most
        self._lock = threading.Lock()
        self._number = 0
        self._ended = False
        self.taken = 0
        self._next = self._read(self.buffer())
        self._longest = len(self._next)

    _nothing = memoryview(b"")

    def buffer(self) -> memoryview:
        """What a thread must bring."""
        return self._nothing if self._whole is not None else memoryview(bytearray(self.size))

    @property
    def longest(self) -> int:
        """The length of the first chunk; none is longer, and no other follows one that is not full."""
        return self._longest

    def take(self, buffer: memoryview) -> tuple[int, memoryview, bool] | None:
        """Number, content, and whether it is the last; None if there are no more. `buffer` is used up."""
        with self._lock:
            if self._ended:
                return None
            here = self._next
            self._next = self._read(buffer) if len(here) == self.size else self._nothing
            self._ended = not self._next
            self._number += 1
            return self._number - 1, here, self._ended

    def stop(self) -> None:
        """There are no more."""
        with self._lock:
            self._ended = True

    def _read(self, buffer: memoryview) -> memoryview:
        if self._whole is not None:
            found = self._whole[self.taken : self.taken + self.size]
        else:
            found = _filled(self._source, buffer)
        self.taken += len(found)
        if self._left is not None and self.taken > self._left:
            raise Damaged("the body is longer than its header says")
        return found


def _filled(source: Source, buffer: memoryview) -> memoryview:
    """As much of `buffer` as there is left in `source`."""
    done = 0
    while done < len(buffer):
        got = source.readinto(buffer[done:])
        if not got:
            break
        done += got
    return buffer[:done]


def _each(chunks: _Chunks, cut: _Cut, sink: Sink, stride: int) -> bytes:
    """Have every chunk cut and given to the sink at `stride` times its number; the digests, joined."""
    digests: dict[int, bytes] = {}
    failures: list[BaseException] = []

    def work() -> None:
        try:
            scratch, buffer = memoryview(bytearray(chunks.longest + _TAGS_BYTES)), chunks.buffer()
            while (taken := chunks.take(buffer)) is not None:
                number, chunk, last = taken
                out, digests[number] = cut(chunk, scratch, number, last)
                sink(out, number * stride)
                buffer = chunk
        except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
            failures.append(error)
            chunks.stop()

    helpers = [
        threading.Thread(target=work, name="segments")
        for _ in range(_THREADS - 1 if chunks.longest == chunks.size else 0)
    ]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]
    return b"".join(digests[number] for number in sorted(digests))
