"""seal_mb_per_s, open_mb_per_s: a large payload sealed for three recipients, opened by one; the cipher alone beside it.

In memory-backed files, so that it is the cipher that is measured and not the disk. MB are 10^6 bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.board import Board
from benchmarks.people import CLOCK, address, person
from config.clock import draw_id
from fedyard.sealed import sealing
from fedyard.sealed.segments import PLAIN_SEGMENT_BYTES
from fedyard.wire.times import SECOND

RECIPIENTS = 3
MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory


def measure(board: Board) -> None:
    alone, on_files, digested, sealed, opened = [], [], [], [], []
    with memory() as folder:
        source, body, target = folder / "plain", folder / "body", folder / "opened"
        filled(source, board.sizes.payload_bytes)
        sender, *recipients = [person(folder / "people") for _ in range(RECIPIENTS + 1)]
        where = address(sender)
        for _ in range(board.sizes.runs):
            alone.append(_alone(board.sizes.payload_bytes))
            digested.append(_digested(board.sizes.payload_bytes))
            on_files.append(_on_files(source, body))
            body.unlink()
            now = CLOCK.now()
            begun = time.perf_counter()
            made = sealing.seal_file(
                source,
                body,
                where,
                [one.key for one in recipients],
                sender.ring.identity,
                id=draw_id(),
                created=now,
                expires=now + 3_600 * SECOND,
            )
            sealed.append(board.sizes.payload_bytes / 1e6 / (time.perf_counter() - begun))
            target.unlink(missing_ok=True)
            begun = time.perf_counter()
            sealing.open_file(
                made.seal, body, target, where, recipients[0].opener(sender), at_most=board.sizes.payload_bytes
            )
            opened.append(board.sizes.payload_bytes / 1e6 / (time.perf_counter() - begun))
        assert target.stat().st_size == source.stat().st_size
    board.add("part_mb_per_s", "aes-256-gcm", alone)
    board.add("part_mb_per_s", "aes-256-gcm, files", on_files)
    board.add("part_mb_per_s", "sha-256", digested)
    board.add("seal_mb_per_s", "1GiB", sealed)
    board.add("open_mb_per_s", "1GiB", opened)


@contextmanager
def memory() -> Iterator[Path]:
    """A folder in memory, gone afterwards; an ordinary one where there is no such thing."""
    folder = Path(tempfile.mkdtemp(prefix="fedyard-bench-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def filled(path: Path, size: int) -> None:
    """A file of so many bytes that no compression would shorten."""
    block = random_block()
    with path.open("wb") as stream:
        for start in range(0, size, len(block)):
            stream.write(block[: size - start])


def random_block() -> bytes:
    return os.urandom(1_048_576)


def _alone(size: int) -> float:
    """One thread, the same segments, from memory to memory."""
    cipher, segment = AESGCM(AESGCM.generate_key(256)), random_block()[:PLAIN_SEGMENT_BYTES]
    out = bytearray(len(segment) + 16)
    count = max(1, size // len(segment))
    begun = time.perf_counter()
    for number in range(count):
        cipher.encrypt_into(number.to_bytes(12), segment, None, out)
    return count * len(segment) / 1e6 / (time.perf_counter() - begun)


def _digested(size: int) -> float:
    """One thread, from memory."""
    block, digest = random_block(), hashlib.sha256()
    count = max(1, size // len(block))
    begun = time.perf_counter()
    for _ in range(count):
        digest.update(block)
    return count * len(block) / 1e6 / (time.perf_counter() - begun)


def _on_files(source: Path, target: Path) -> float:
    """The cipher in one thread, the same segments, from file to new file, and nothing else."""
    cipher, number = AESGCM(AESGCM.generate_key(256)), 0
    plain, out = bytearray(PLAIN_SEGMENT_BYTES), bytearray(PLAIN_SEGMENT_BYTES + 16)
    begun = time.perf_counter()
    with source.open("rb", buffering=0) as stream, target.open("wb", buffering=0) as sink:
        while count := stream.readinto(plain):
            whole = memoryview(out)[: count + 16]
            cipher.encrypt_into(number.to_bytes(12), memoryview(plain)[:count], None, whole)
            sink.write(whole)
            number += 1
    return source.stat().st_size / 1e6 / (time.perf_counter() - begun)
