"""One upload: the hub says which chunks it needs, a few are on their way at once, each until it is there.

A chunk that is cut off goes on where the hub's part of it ends. Some servers and proxies hand a request on only when
it is whole: then nothing of a cut one is kept. Who sees that sends pieces, small against what goes through between two
cuts, so that little is lost.
"""

from __future__ import annotations

import hashlib
import os
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from fedyard.client.calls import PAUSES
from fedyard.client.client import Client
from fedyard.client.errors import Passing, Refused, Unacceptable, Unavailable
from fedyard.wire import answers as a
from fedyard.wire.chunks import CHUNK_BYTES, count_of, size_of, tree_digest
from fedyard.wire.plurals import counted
from fedyard.wire.problems import ProblemType

BLOCK_BYTES = 65_536
PIECE_BYTES = (65_536, 1_048_576)
"""The smallest and the largest piece."""
PIECES_BETWEEN_CUTS = 50
"""Of each of the chunks that are on their way; a cut is seen by all of them."""
TELLING_BYTES = 1_048_576
"""Where so much was sent of a request that was cut, and nothing is kept, something on the way holds requests back."""
COMPLETE_TRIES = 3
EXPIRED_TRIES = 3
VAIN_TRIES = 5
"""How often chunks are sent of which none arrives, as the hub says."""
MISMATCHES = 3
"""A chunk that was gone on with and has other bytes at its end begins anew: a crash of the hub may be behind that."""


class Unreadable(Exception):
    """What is to be sent cannot be read, or became shorter meanwhile."""


class Content:
    """What is sent: a file or bytes, measured once. The file must stay as it is until all is sent."""

    def __init__(self, source: Path | bytes) -> None:
        self._bytes = source if isinstance(source, bytes) else None
        self._file = source.open("rb", buffering=0) if isinstance(source, Path) else None
        self.size_bytes = len(source) if isinstance(source, bytes) else os.fstat(self._descriptor).st_size
        self.count = count_of(self.size_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def digests(self) -> list[bytes]:
        """SHA-256 of every chunk."""
        return [self._digest(number) for number in range(self.count)]

    def size_of(self, number: int) -> int:
        return size_of(number, self.size_bytes)

    def blocks(self, number: int, start: int, length: int) -> Iterator[bytes]:
        """A part of a chunk. Raises `Unreadable`."""
        at = number * CHUNK_BYTES + start
        end = at + length
        while at < end:
            block = self._read(at, min(BLOCK_BYTES, end - at))
            if not block:
                raise Unreadable("the file became shorter while it was sent")
            at += len(block)
            yield block

    @property
    def _descriptor(self) -> int:
        assert self._file is not None
        return self._file.fileno()

    def _read(self, at: int, size: int) -> bytes:
        if self._bytes is not None:
            return self._bytes[at : at + size]
        try:
            return os.pread(self._descriptor, size, at)
        except OSError as error:
            raise Unreadable(f"the file cannot be read ({error.strerror})") from None

    def _digest(self, number: int) -> bytes:
        found = hashlib.sha256()
        for block in self.blocks(number, 0, self.size_of(number)):
            found.update(block)
        return found.digest()


class _Body:
    """Bytes of a chunk on their way."""

    def __init__(self, upload: Upload, content: Content, number: int, start: int, length: int) -> None:
        self._upload, self._content = upload, content
        self.number, self.start, self.length = number, start, length
        self.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._content.blocks(self.number, self.start, self.length):
            self.sent += len(block)
            self._upload.sent(len(block))
            yield block


class Upload:
    """place: what else is declared of the artifact."""

    def __init__(self, client: Client, content: Content, place: Mapping[str, object], in_flight: int) -> None:
        self._client = client
        self._content = content
        self._place = {name: value for name, value in place.items() if value is not None}
        self._in_flight = in_flight
        self._digests = content.digests()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._progressed_at = client.monotonic()
        self._held_back = False
        self._kept_bytes = 0
        self._cuts = 0
        self.sent_bytes = 0

    def run(self, key: str) -> str:
        """The id of the stored artifact."""
        for again in range(EXPIRED_TRIES):
            artifact_id = self._client.declare_artifact(self._declared(), key=f"{key}-{again}" if again else key)
            chunks = self._client.artifact_chunks(artifact_id)
            if chunks.state != "expired":
                return self._bring(artifact_id, chunks)
        raise Unavailable(f"artifact {artifact_id} expired before it was whole")

    def _declared(self) -> dict[str, object]:
        digests = b"".join(self._digests)
        size, digest = self._content.size_bytes, tree_digest(digests)
        return {**self._place, "size_bytes": size, "digest": digest, "chunk_digests": digests}

    def _bring(self, artifact_id: str, chunks: a.Chunks) -> str:
        for again in range(COMPLETE_TRIES):
            chunks = self._put_every(artifact_id, chunks)
            try:
                self._client.complete_artifact(artifact_id)
                return artifact_id
            except Refused as refused:
                if refused.problem is not ProblemType.CHUNKS_MISSING or again + 1 == COMPLETE_TRIES:
                    raise
                chunks = self._client.artifact_chunks(artifact_id)
        raise AssertionError("the last try has returned or raised")

    def _put_every(self, artifact_id: str, chunks: a.Chunks) -> a.Chunks:
        """Addresses beside the hub are good for a while, and for some chunks at a time.

        Raises `Unacceptable` for a hub that needs the same chunks whatever it is sent, or chunks that are none.
        """
        refusals, in_vain, least = 0, 0, self._content.count + 1
        while chunks.need:
            if max(chunks.need) >= self._content.count:
                raise Unacceptable(f"artifact {artifact_id} has {self._content.count} chunks; the hub asks for others")
            in_vain = 0 if len(chunks.need) < least else in_vain + 1
            least = min(least, len(chunks.need))
            if in_vain > VAIN_TRIES:
                raise Unacceptable(
                    f"artifact {artifact_id}: the hub still needs {counted(least, 'chunk')} that it was sent"
                )
            if in_vain and self._client.pause(PAUSES.after(in_vain + 1)):
                raise Unavailable("upload: the client is closing")
            try:
                self._put_all(artifact_id, chunks)
            except Refused as refused:
                refusals += 1
                if chunks.uploads is None or not refused.forbidden or refusals > COMPLETE_TRIES:
                    raise
                self._ended.clear()
            chunks = self._client.artifact_chunks(artifact_id)
        return chunks

    def _put_all(self, artifact_id: str, chunks: a.Chunks) -> None:
        """Every needed chunk that this answer lets us send; the first failure ends them all."""
        numbers = [n for n in chunks.need if chunks.uploads is None or str(n) in chunks.uploads]
        with ThreadPoolExecutor(self._in_flight, thread_name_prefix="upload") as threads:
            running = [threads.submit(self._put, artifact_id, chunks, number) for number in numbers]
            try:
                for one in running:
                    one.result()
            except BaseException:
                self._ended.set()
                for one in running:
                    one.cancel()
                raise

    def _put(self, artifact_id: str, chunks: a.Chunks, number: int) -> None:
        """One chunk, until it is there."""
        size = self._content.size_of(number)
        there = self._begun(chunks, number)
        failures, mismatches, elsewhere = 0, 0, 0
        while there < size and not self._ended.is_set():
            body = self._next(chunks, number, there)
            try:
                self._send(artifact_id, chunks, body)
                there += body.length
                failures = 0
            except Passing as passing:
                failures += 1
                self._wait(passing, PAUSES.after(failures))
                before, there = there, self._there(artifact_id, number)
                self._learn(there - before, body)
                failures = 0 if there > before else failures
            except Refused as refused:
                mismatches += refused.problem is ProblemType.DIGEST_MISMATCH
                begins_anew = refused.problem is ProblemType.DIGEST_MISMATCH and there > 0 and mismatches < MISMATCHES
                if refused.problem is not ProblemType.WRONG_OFFSET and not begins_anew:
                    raise
                before, there = there, self._there(artifact_id, number)
                elsewhere = elsewhere + 1 if there <= before else 0
                if elsewhere > VAIN_TRIES:
                    raise Unacceptable(
                        f"chunk {number} of artifact {artifact_id}: the hub takes it up nowhere"
                    ) from None
                self._client.pause(PAUSES.first)

    def _next(self, chunks: a.Chunks, number: int, there: int) -> _Body:
        """What to send of a chunk: the rest, or a piece of it."""
        rest = self._content.size_of(number) - there
        in_pieces = self._held_back and chunks.partial is not None
        return _Body(self, self._content, number, there, min(rest, self._piece()) if in_pieces else rest)

    def _send(self, artifact_id: str, chunks: a.Chunks, body: _Body) -> None:
        """One request. A presigned address takes a whole chunk, with its sum."""
        size, headers = self._content.size_of(body.number), {}
        where = f"/v1/artifacts/{artifact_id}/chunks/{body.number}"
        if chunks.uploads is not None:
            where = chunks.uploads[str(body.number)]
            headers = {"x-amz-checksum-sha256": b64encode(self._digests[body.number]).decode()}
        elif body.length < size:
            where += f"?from={body.start}"
        self._client.carry("PUT", where, headers=headers, body=body, length=body.length).close()
        self._progressed(body.length)

    def sent(self, count: int) -> None:
        """So much is on its way, perhaps in vain."""
        with self._lock:
            self.sent_bytes += count

    def _there(self, artifact_id: str, number: int) -> int:
        """How much of a chunk the hub has."""
        chunks = self._client.artifact_chunks(artifact_id)
        if number in chunks.have:
            return self._content.size_of(number)
        return self._begun(chunks, number)

    def _begun(self, chunks: a.Chunks, number: int) -> int:
        """How much of a needed chunk the hub has; one byte at least is missing."""
        return min((chunks.partial or {}).get(str(number), 0), self._content.size_of(number) - 1)

    def _piece(self) -> int:
        smallest, largest = PIECE_BYTES
        return max(smallest, min(largest, self._kept_bytes // max(1, self._cuts) // PIECES_BETWEEN_CUTS))

    def _learn(self, kept: int, body: _Body) -> None:
        """From a request that was cut: is what arrived of it kept? (All of it was if only the answer was lost.)"""
        with self._lock:
            self._cuts += 1
            if 0 < kept < body.length:
                self._held_back = False
            elif kept == 0 and body.sent >= TELLING_BYTES:
                self._held_back = True
        if kept > 0:
            self._progressed(kept)

    def _progressed(self, count: int) -> None:
        with self._lock:
            self._kept_bytes += count
            self._progressed_at = self._client.monotonic()

    def _wait(self, passing: Passing, pause: float) -> None:
        """Before the next try. Raises `Unavailable` if nothing got through for too long, or the client is closing."""
        idle = self._client.monotonic() - self._progressed_at
        rest = pause if passing.pause_s is None else passing.pause_s
        if idle + rest > self._client.give_up_s or self._client.pause(rest):
            raise Unavailable(f"upload: {passing}; nothing got through for {idle:.0f} s", passing.pause_s or 0.0)
