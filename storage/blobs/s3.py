"""Chunks as objects of an S3 bucket: `<prefix>/<first two of the id>/<id>/<number>-<sha256>`; and
the ledger of revocations: `<prefix>/ledger/<name>`, empty.

Each is put with its SHA-256, which the server checks before it keeps it; presigned addresses are bound to that sum.
An object is whole or not there, so a chunk that was cut off begins anew. Credentials come from AWS_ variables.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import IO, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from config.clock import Clock
from config.faults import of_the_system
from domain.ids import Id, is_id
from fedyard.wire.chunks import Chunk
from fedyard.wire.times import SECOND
from storage.blobs.port import (
    BLOCK_BYTES,
    INTAKE_BYTES,
    NO_ROOM,
    DigestMismatch,
    OffsetMismatch,
    Reader,
    StorageFull,
    StorageUnavailable,
    Stored,
    name_of,
    whole_among,
)

PRESIGNED_FOR_S = 3600
_LEDGER = "ledger/"
_NO_ROOM = ("InsufficientStorage", "QuotaExceeded", "ServiceQuotaExceeded", "XMinioStorageFull", "507")
_NOT_THERE = ("NoSuchKey", "404")
_OPTIONS = Config(
    connect_timeout=3,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=32,
    signature_version="s3v4",
    s3={"addressing_style": "path"},
)
_SOON = _OPTIONS.merge(Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}))
"""For who asks whether the bucket answers: an answer that takes long is one as well."""


class S3Blobs:
    """The port over a bucket. presign: owners and readers may be sent to the bucket itself."""

    keeps_parts = False

    def __init__(
        self, bucket: str, prefix: str, *, clock: Clock, endpoint: str | None, region: str, presign: bool
    ) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._presign = presign
        self._clock = clock
        session = boto3.session.Session()
        self._s3: Any = session.client("s3", endpoint_url=endpoint, region_name=region, config=_OPTIONS)
        self._asked: Any = session.client("s3", endpoint_url=endpoint, region_name=region, config=_SOON)

    def put(self, artifact: Id, chunk: Chunk, content: Reader, *, start: int, length: int) -> int:
        if start:
            raise OffsetMismatch(0)
        with _spooled() as file:
            if _spool(content, file, length) < chunk.size_bytes:
                return 0
            if _digest(file) != chunk.sha256:
                raise DigestMismatch
            with _told():
                self._s3.put_object(
                    Bucket=self._bucket,
                    Key=self._key(artifact, chunk),
                    Body=file,
                    ContentLength=chunk.size_bytes,
                    ChecksumSHA256=_sum(chunk),
                )
        return chunk.size_bytes

    def have(self, artifact: Id) -> dict[int, str]:
        return whole_among(key.rpartition("/")[2] for key, _ in self._listed(self._folder(artifact)))

    def parts(self, artifact: Id) -> dict[int, int]:  # noqa: ARG002 - the port
        return {}

    def read(self, artifact: Id, chunk: Chunk, start: int, end: int) -> Iterator[bytes]:
        with _told():
            try:
                found = self._s3.get_object(
                    Bucket=self._bucket, Key=self._key(artifact, chunk), Range=f"bytes={start}-{end - 1}"
                )
            except ClientError as error:
                if _code(error) in _NOT_THERE:
                    raise KeyError(chunk.number) from None
                raise
        return _blocks(found["Body"])

    def uploads(self, artifact: Id, chunks: Iterable[Chunk]) -> dict[int, str] | None:
        return self._addresses("put_object", artifact, chunks, sums=True)

    def downloads(self, artifact: Id, chunks: Iterable[Chunk]) -> dict[int, str] | None:
        return self._addresses("get_object", artifact, chunks, sums=False)

    def ready(self) -> str | None:
        """The bucket answers: by a list, which the sweeper may ask for too. Nobody says how much room there is."""
        try:
            with _told():
                self._asked.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        except (StorageUnavailable, StorageFull) as error:
            return str(error)
        return None

    def stored(self) -> Iterator[Stored]:
        keys = ((key.rpartition("/")[0].rpartition("/")[2], at) for key, at in self._listed(self._prefix))
        for artifact, group in itertools.groupby(keys, key=itemgetter(0)):  # keys are listed in their order
            if is_id(artifact):
                yield Stored(artifact, max(at for _, at in group))

    def delete(self, artifact: Id) -> None:
        keys = [key for key, _ in self._listed(self._folder(artifact))]
        for at in range(0, len(keys), 1000):
            with _told():
                wanted = {"Objects": [{"Key": key} for key in keys[at : at + 1000]], "Quiet": True}
                errors = self._s3.delete_objects(Bucket=self._bucket, Delete=wanted).get("Errors")
            if errors:
                raise StorageUnavailable(f"the bucket of artifacts: {errors[0].get('Code')}")

    def note(self, name: str) -> None:
        with _told():
            self._s3.put_object(Bucket=self._bucket, Key=f"{self._prefix}{_LEDGER}{name}", Body=b"", ContentLength=0)

    def noted(self) -> Iterator[str]:
        return (key.rpartition("/")[2] for key, _ in self._listed(f"{self._prefix}{_LEDGER}"))

    def delete_parts(self, artifact: Id) -> None:
        """There are none."""

    def _folder(self, artifact: Id) -> str:
        return f"{self._prefix}{artifact[:2]}/{artifact}/"

    def _key(self, artifact: Id, chunk: Chunk) -> str:
        return self._folder(artifact) + name_of(chunk)

    def _listed(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys, and when they were written (microseconds)."""
        with _told():
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            for page in pages:
                for found in page.get("Contents", ()):
                    yield found["Key"], int(found["LastModified"].timestamp() * SECOND)

    def _addresses(self, call: str, artifact: Id, chunks: Iterable[Chunk], *, sums: bool) -> dict[int, str] | None:
        if not self._presign:
            return None
        found: dict[int, str] = {}
        with _told():
            for chunk in chunks:
                wanted = {"Bucket": self._bucket, "Key": self._key(artifact, chunk)}
                if sums:
                    wanted["ChecksumSHA256"] = _sum(chunk)
                found[chunk.number] = self._s3.generate_presigned_url(call, Params=wanted, ExpiresIn=PRESIGNED_FOR_S)
        return found


@contextmanager
def _told() -> Iterator[None]:
    """What boto3 and the server say, in the words of the port. Presigned addresses are no part of it."""
    try:
        yield
    except ClientError as error:
        if _code(error) in _NO_ROOM:
            raise StorageFull(f"the bucket of artifacts: {_code(error)}") from None
        if _code(error) == "BadDigest":
            raise DigestMismatch from None
        raise StorageUnavailable(f"the bucket of artifacts: {_code(error)}") from None
    except BotoCoreError as error:
        said = f"{type(error).__name__} ({_first_line(error)})"
        raise StorageUnavailable(f"the bucket of artifacts: {said}") from None


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _sum(chunk: Chunk) -> str:
    return base64.b64encode(bytes.fromhex(chunk.sha256)).decode()


def _first_line(error: BotoCoreError) -> str:
    """Without a query, which may hold a signature."""
    return (str(error).strip().splitlines() or [""])[0].partition("?")[0][:200]


def _spooled() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _not_spooled(error) from None


def _not_spooled(error: OSError) -> StorageFull | StorageUnavailable:
    """The hub's own disk: a chunk passes over it on its way to the bucket."""
    if error.filename is None:
        error.filename = tempfile.gettempdir()
    said = f"the temporary folder of the hub: {of_the_system(error)}"
    return (StorageFull if error.errno in NO_ROOM else StorageUnavailable)(said)


def _spool(content: Reader, file: IO[bytes], length: int) -> int:
    """Onto the disk first: the upload needs its sum before it begins, and memory is for many."""
    taken = 0
    while taken < length:
        try:
            block = content.read(min(INTAKE_BYTES, length - taken))
        except ConnectionError:  # some servers raise where others end
            break
        if not block:
            break
        try:
            file.write(block)
            file.flush()
        except OSError as error:
            raise _not_spooled(error) from None
        taken += len(block)
    return taken


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return found


def _blocks(body: Any) -> Iterator[bytes]:
    try:
        with _told():
            yield from body.iter_chunks(BLOCK_BYTES)
    finally:
        body.close()
