"""Chunks for tests, and what brings them."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import boto3
from botocore.config import Config

from config.clock import SystemClock, draw_id
from devservers.seaweed import PrivateSeaweed
from fedyard.wire.chunks import CHUNK_BYTES, Chunk, count_of, tree_digest
from storage.blobs.opening import open_blobs
from storage.blobs.port import Blobs


def noise(size: int, seed: int = 7) -> bytes:
    return random.Random(seed).randbytes(size)


def digests_of(content: bytes) -> bytes:
    """Of all chunks, as an artifact declares them."""
    starts = range(0, len(content), CHUNK_BYTES)
    return b"".join(sha256(content[at : at + CHUNK_BYTES]).digest() for at in starts)


def digest_of(content: bytes) -> str:
    return tree_digest(digests_of(content))


def pieces_of(content: bytes) -> list[bytes]:
    return [content[n * CHUNK_BYTES : (n + 1) * CHUNK_BYTES] for n in range(count_of(len(content)))]


def chunk(content: bytes, number: int = 0) -> Chunk:
    return Chunk(number, sha256(content).hexdigest(), len(content))


@dataclass
class Cut:
    """A connection that ends after so many bytes; `told` when they have come."""

    content: bytes
    after: int
    raises: bool = False
    at: int = field(default=0)

    def read(self, size: int) -> bytes:
        block = self.content[self.at : min(self.at + size, self.after)]
        self.at += len(block)
        if not block and self.raises:
            raise ConnectionResetError
        return block


def whole(blobs: Blobs, artifact: str, content: bytes, number: int = 0) -> None:
    length = len(content)
    assert blobs.put(artifact, chunk(content, number), BytesIO(content), start=0, length=length) == length


def folder_blobs(root: Path) -> Blobs:
    return open_blobs(f"file:///{root}", SystemClock())


def s3_url(server: PrivateSeaweed, *, presign: bool = False) -> str:
    """Of a prefix of its own in the server's one bucket: SeaweedFS takes 15 buckets at most, each has seven volumes."""
    options = Config(s3={"addressing_style": "path"})
    client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1", config=options)
    with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket="artifacts")
    return f"s3://artifacts/{draw_id()[:13]}/there?endpoint={server.endpoint}&presign={int(presign)}"
