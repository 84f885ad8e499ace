"""One download: what has come lies in a private file beside the target, and takes its name when it is whole.

Every chunk is compared with its digest as it comes; one that differs is asked for again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import urllib3

from fedyard.client.calls import PAUSES
from fedyard.client.client import Client
from fedyard.client.connections import sort_of
from fedyard.client.errors import HubError, Passing, Refused, Unavailable
from fedyard.wire import answers as a
from fedyard.wire.chunks import CHUNK_BYTES, DIGEST_BYTES, belong_together, tree_digest
from fedyard.wire.durable import PRIVATE, to_disk

BLOCK_BYTES = 262_144
MAX_BYTES = 2**40
CHUNK_TRIES = 3
"""How often a chunk may come with other bytes than declared."""
PARTIAL = 206


class Damaged(HubError):
    """What the hub hands out is not what was declared."""


class Download:
    def __init__(self, client: Client, artifact_id: str, path: Path) -> None:
        self._client = client
        self._id = artifact_id
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self.read_bytes = 0

    def run(self, digest: str | None, at_most: int) -> None:
        """The file, whole, under its name. digest: what it must have, if that is known from elsewhere."""
        about = self._client.artifact(self._id)
        if digest is not None and digest != about.digest:
            raise Damaged(f"artifact {self._id} has another digest than it should have")
        if about.size_bytes > at_most:
            raise Damaged(f"artifact {self._id} has {about.size_bytes} bytes, and {at_most} at most may come here")
        digests = _digests(about)
        part = os.open(self._part, os.O_RDWR | os.O_CREAT, PRIVATE)
        try:
            self._fetch(part, about, digests)
            os.ftruncate(part, about.size_bytes)
            os.fsync(part)
        finally:
            os.close(part)
        self._part.replace(self._path)
        to_disk(self._path.parent)

    def _fetch(self, part: int, about: a.Artifact, digests: list[bytes]) -> None:
        come = _Come(part, about, digests)
        progressed_at, best = self._client.monotonic(), come.at
        failures, refusals = 0, 0
        while come.at < about.size_bytes:
            try:
                self._read(about, come)
            except Refused as refused:  # addresses beside the hub are good for a while
                refusals += 1
                if about.downloads is None or not refused.forbidden or refusals > CHUNK_TRIES:
                    raise
                about = _again(self._client.artifact(self._id), about)
                self._client.pause(PAUSES.first)
            except Passing as passing:
                if come.at > best:
                    failures, progressed_at, best = 0, self._client.monotonic(), come.at
                failures += 1
                idle = self._client.monotonic() - progressed_at
                rest = PAUSES.after(failures) if passing.pause_s is None else passing.pause_s
                if idle + rest > self._client.give_up_s or self._client.pause(rest):
                    fact = f"download of artifact {self._id}: {passing}; nothing came for {idle:.0f} s"
                    raise Unavailable(fact, passing.pause_s or 0.0) from None

    def _read(self, about: a.Artifact, come: _Come) -> None:
        """One request from where we are; to the end, or where chunks lie beside the hub, to the chunk's end."""
        where, start = f"/v1/artifacts/{self._id}", come.at
        if about.downloads is not None:
            where, start = about.downloads.get(str(come.number), ""), come.at - come.number * CHUNK_BYTES
        response = self._client.carry("GET", where, headers={"Range": f"bytes={start}-"})
        try:
            if response.status != PARTIAL and start:
                raise Passing("the answer begins at the beginning, not where it was asked to")
            before, end = come.at, about.size_bytes
            for block in response.stream(BLOCK_BYTES):
                self.read_bytes += len(block)
                come.take(block)
                if come.at >= end:  # there may be more, without an end, that nobody asked for
                    break
            if come.at == before:
                raise Passing("the answer was empty")
        except urllib3.exceptions.HTTPError as error:
            raise Passing(f"the answer ended too early ({sort_of(error)})") from None
        finally:
            response.close()


class _Come:
    """How much has come, to the last byte that is good. at: where to go on; number: of that chunk."""

    def __init__(self, part: int, about: a.Artifact, digests: list[bytes]) -> None:
        self._part = part
        self._about = about
        self._digests = digests
        self._wrong = 0
        self.at = 0
        self._begin()
        self._take_up()

    @property
    def number(self) -> int:
        return self.at // CHUNK_BYTES

    def take(self, block: bytes) -> None:
        """The next bytes. Raises `Passing` where a chunk has to come again, `Damaged` if it will not be right."""
        view = memoryview(block)
        while view and self.at < self._about.size_bytes:
            here = view[: self._end() - self.at]
            view = view[len(here) :]
            _write(self._part, here, self.at)
            self._add(here)

    def _add(self, here: memoryview | bytes) -> None:
        number = self.number
        self._hash.update(here)
        self.at += len(here)
        if self.at < self._until:
            return
        if self._hash.digest() != self._digests[number]:
            self.at = number * CHUNK_BYTES
            self._wrong += 1
            self._begin()
            if self._wrong >= CHUNK_TRIES:
                raise Damaged(f"chunk {number} of artifact {self._about.id} has other bytes than were declared")
            raise Passing(f"chunk {number} came with other bytes than declared")
        self._begin()

    def _take_up(self) -> None:
        """What an earlier try has left: good chunks, and perhaps the beginning of the next one."""
        while block := os.pread(self._part, min(BLOCK_BYTES, self._end() - self.at), self.at):
            try:
                self._add(block)
            except Passing:
                self._wrong = 0
                os.ftruncate(self._part, self.at)

    def _begin(self) -> None:
        self._hash = hashlib.sha256()
        self._until = self._end()

    def _end(self) -> int:
        """Where the present chunk ends."""
        return min((self.number + 1) * CHUNK_BYTES, self._about.size_bytes)


def _again(now: a.Artifact, before: a.Artifact) -> a.Artifact:
    """The artifact as it is shown again. Raises `Damaged` if it is another one meanwhile."""
    if (now.size_bytes, now.digest, now.chunk_digests) != (before.size_bytes, before.digest, before.chunk_digests):
        raise Damaged(f"artifact {before.id} is shown as another one than before")
    return now


def _digests(about: a.Artifact) -> list[bytes]:
    """Of every chunk. Raises `Damaged` if they are not what the artifact's digest is made of."""
    found = about.chunk_digests
    if found is None or not belong_together(about.size_bytes, found) or tree_digest(found) != about.digest:
        raise Damaged(f"artifact {about.id}: the digests of its chunks do not make its own")
    return [found[at : at + DIGEST_BYTES] for at in range(0, len(found), DIGEST_BYTES)]


def _write(part: int, block: memoryview, at: int) -> None:
    while block:
        done = os.pwrite(part, block, at)
        block, at = block[done:], at + done
