"""A compressed tar as the bytes that are in it: gzip, bzip2, xz; one stream after the other, and nothing behind them.

What comes out at a time is bounded, so that a few bytes that stand for gigabytes never lie in memory.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Protocol

from fedyard.cluster.archives.entries import Source
from fedyard.cluster.archives.limits import BLOCK_BYTES, ArchiveError, Flaw, Meter, damaged

_MAX_MEMORY_BYTES = 134_217_728
"""A dictionary of xz at its best (`-9`) fits, with room to spare."""
_MAX_STREAMS = 300_000
"""Each begins a decompressor anew; who writes in blocks makes one of every 64 KiB."""


class _Engine(Protocol):
    """One stream. given: what it has not taken yet. ended: its end was read, `rest` is what came behind it."""

    def more(self, given: bytes) -> bytes: ...
    @property
    def hungry(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    @property
    def rest(self) -> bytes: ...


class _Gzip:
    def __init__(self) -> None:
        self._one = zlib.decompressobj(31)

    def more(self, given: bytes) -> bytes:
        return self._one.decompress(self._one.unconsumed_tail + given, BLOCK_BYTES)

    @property
    def hungry(self) -> bool:
        return not self._one.unconsumed_tail

    @property
    def ended(self) -> bool:
        return self._one.eof

    @property
    def rest(self) -> bytes:
        return self._one.unused_data


class _Buffered:
    """bzip2 and xz have one interface."""

    def __init__(self, one: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._one = one

    def more(self, given: bytes) -> bytes:
        return self._one.decompress(given, BLOCK_BYTES)

    @property
    def hungry(self) -> bool:
        return self._one.needs_input

    @property
    def ended(self) -> bool:
        return self._one.eof

    @property
    def rest(self) -> bytes:
        return self._one.unused_data


_ENGINES: dict[bytes, Callable[[], _Engine]] = {
    b"\x1f\x8b": _Gzip,
    b"BZh": lambda: _Buffered(bz2.BZ2Decompressor()),
    b"\xfd7zXZ\x00": lambda: _Buffered(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_MEMORY_BYTES)),
}
LONGEST_MAGIC = 6


def engine_of(head: bytes) -> Callable[[], _Engine] | None:
    """By the first bytes of an archive; None if they are of no compression that is known here."""
    return next((engine for magic, engine in _ENGINES.items() if head.startswith(magic)), None)


def decompressed(source: Source, engine: Callable[[], _Engine], meter: Meter) -> Iterator[bytes]:
    """The bytes in blocks. Raises `ArchiveError`."""
    given = source.read(BLOCK_BYTES)
    for number in range(_MAX_STREAMS):
        if number and engine_of(given) is not engine:
            raise ArchiveError(Flaw.TRAILING, "something else lies behind the archive's compressed bytes")
        given = yield from _stream(source, engine(), given, meter)
        if not given:
            return
    raise ArchiveError(Flaw.BOMB, f"the archive has more than {_MAX_STREAMS} compressed streams")


def _stream(source: Source, one: _Engine, given: bytes, meter: Meter) -> Generator[bytes, None, bytes]:
    """One stream; returns what is read of the next one, empty where nothing follows."""
    while not one.ended:
        try:
            block = one.more(given)
        except (zlib.error, OSError, EOFError, lzma.LZMAError):
            raise damaged("the archive's compressed bytes are damaged") from None
        meter.take(len(block))
        if block:
            yield block
        given = b""
        if one.ended or not one.hungry:
            continue
        given = source.read(BLOCK_BYTES)
        if not given and not block:
            raise damaged("the archive ends within its compressed bytes")
    rest = one.rest
    return rest + source.read(BLOCK_BYTES) if len(rest) < LONGEST_MAGIC else rest


class Joined:
    """Blocks as a source to read from, forward alone."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._left = memoryview(b"")

    def peek(self, size: int) -> bytes:
        """The next bytes, so many if there are, which stay there."""
        while len(self._left) < size and (block := next(self._blocks, b"")):
            self._left = memoryview(bytes(self._left) + block)
        return bytes(self._left[:size])

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        if not self._left:
            self._left = memoryview(next(self._blocks, b""))
        part, self._left = self._left[:size], self._left[size:]
        return bytes(part)
