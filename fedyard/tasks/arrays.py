"""Updates and models as bytes: four bytes that say what it is, then numpy's npz or the task's own bytes.

What arrives comes from another site, so nothing in it is trusted: no pickle, no objects, and every declared size
is checked before memory is taken for it. The npz form is numpy.lib.format, version 1 to 3; an entry whose name ends in
.bfloat16 instead of .npy holds the bits of such values. Small content is bytes in memory; large content goes straight
to a file and is read straight from it, one array after the other.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, overload

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from fedyard.tasks import Content, TaskError, Unusable, Update
from fedyard.tasks.bfloat16 import BITS, NAME, bits_of, is_bfloat16, of_bits
from fedyard.tasks.packed import ARRAYS, BYTES, TAG, Packed, source_of
from fedyard.wire.durable import whole

CONTENT_LIMIT_BYTES = 1_073_741_824
"""What an update or a model may have by default, packed and unpacked."""
FILE_FROM_BYTES = 1_048_576
"""Larger content is packed into a file, and not compressed: who reads it never takes more memory than it is long."""
SAMPLE_BYTES = 16_384
WORTH_IT = 0.8
"""Arrays of smaller content are compressed (zlib, level 1) if a sample becomes smaller than this share of itself. Dense
weights become 0.93 to 0.96 of themselves at 40 MB/s, which no network is worth; 90 % zeros 0.16 at 220 MB/s, counts
0.18 at 180 MB/s, single precision kept in doubles 0.60 at 60 MB/s. Level 6 gains a few percent for twice to seven times
the time. A task with large sparse content packs it itself, and hands over bytes."""
MAX_TOGETHER_BYTES = 67_108_864
"""Updates that have no more in all are unpacked once; larger ones one by one, each time they are asked for."""
MAX_ARRAYS = 4096
"""A deep network has some hundreds."""
MAX_NAME = 200
MAX_DIRECTORY_BYTES = 4_194_304
"""Of an archive: so many arrays whose names have 200 characters of four bytes, and 224 bytes more for each."""
_ENTRY = b"PK\x01\x02"
"""How each entry of a directory begins."""
KINDS = "biufcUS"
NUMBERS = "biufc"
_BLOCK = 1_048_576
"""Numbers that are looked at together, lest a copy of all of them be made."""

UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    tokenize.TokenError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    OverflowError,
    MemoryError,
    EOFError,
    OSError,
)
"""What zipfile and numpy raise for broken content; RuntimeError is for an encrypted entry."""

_DAMAGED = "the arrays cannot be read: they are damaged, or were packed by another program"
_SUFFIX = ".npy"
_BITS_SUFFIX = f".{NAME}"
_ADDED = 2
"""What numpy says of types that another package has added; some call themselves floats."""


def pack(content: Content, limit_bytes: int = CONTENT_LIMIT_BYTES, large: Path | None = None) -> Packed:
    """The wire form; the same content gives the same bytes. `large` is where large content goes, if it is given.

    Raises `TaskError` for more than `limit_bytes`, and for what is neither arrays nor bytes.
    """
    size = _size(content)
    if size > limit_bytes:
        raise TaskError(f"{size} bytes are too many: this site's tasks.content_limit_bytes is {limit_bytes}")
    if large is None or size <= FILE_FROM_BYTES:
        out = io.BytesIO()
        _write(out, content, size)
        return out.getvalue()
    with whole(large) as handle, open(handle, "wb", closefd=False) as stream:
        _write(stream, content, size)
    return large


def read_file(path: Path) -> Content:
    """A file as content: the arrays of an .npz, or the bytes of any other. Raises `OSError`, `ValueError`."""
    if path.suffix != ".npz":
        return path.read_bytes()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is no .npz, or damaged: {error}") from None


def unpack(packed: Packed, limit_bytes: int = CONTENT_LIMIT_BYTES) -> Content:
    """The content back. Raises `TaskError` for what `pack` would not make."""
    if isinstance(packed, bytes):
        return _unpacked(io.BytesIO(packed), len(packed), limit_bytes)
    with packed.open("rb") as stream:
        return _unpacked(stream, packed.stat().st_size, limit_bytes)


class Updates(Sequence[Update]):
    """Updates of (site, packed, metrics), unpacked when they are asked for, so that large ones need not fit at once.

    Raises `Unusable` for those that cannot be unpacked, at once or when one is asked for. finite: also for one that
    holds other numbers.
    """

    def __init__(
        self, parts: Sequence[tuple[str, Packed, dict[str, float]]], limit_bytes: int, *, finite: bool = False
    ) -> None:
        self._parts = parts
        self._limit = limit_bytes
        self._finite = finite
        together = sum(unpacked_bytes(packed) for _, packed, _ in parts)
        self._ready = self._all() if together <= MAX_TOGETHER_BYTES else None

    def __len__(self) -> int:
        return len(self._parts)

    @overload
    def __getitem__(self, place: int) -> Update: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Update]: ...
    def __getitem__(self, place: int | slice) -> Update | Sequence[Update]:
        if self._ready is not None:
            return self._ready[place]
        if isinstance(place, slice):
            return Updates(self._parts[place], self._limit, finite=self._finite)
        return self._update(self._parts[place])

    def _update(self, part: tuple[str, Packed, dict[str, float]]) -> Update:
        site_id, packed, metrics = part
        try:
            content = unpack(packed, self._limit)
        except TaskError as error:
            raise Unusable({site_id: str(error)}) from None
        if self._finite and (name := not_finite(content)) is not None:
            raise Unusable({site_id: f"its array {name!r} holds numbers that are not finite"})
        return Update(site_id, content, metrics)

    def _all(self) -> list[Update]:
        ready: list[Update] = []
        odd: dict[str, str] = {}
        for part in self._parts:
            try:
                ready.append(self._update(part))
            except Unusable as error:
                odd |= error.updates
        if odd:
            raise Unusable(odd)
        return ready


def norm_of(content: Content) -> float | None:
    """The Euclidean norm over all numbers of the arrays, in double precision; None without any, or if it is not finite.

    For people, to see what leaves their house: an update whose norm jumps is not like those before.
    """
    if isinstance(content, bytes):
        return None
    squares, found = 0.0, False
    for array in content.values():
        flat = np.asarray(array).reshape(-1)
        if flat.dtype.kind not in NUMBERS and not is_bfloat16(flat.dtype):
            continue
        for start in range(0, len(flat), _BLOCK):
            block = np.abs(flat[start : start + _BLOCK].astype(np.complex128 if flat.dtype.kind == "c" else np.float64))
            with np.errstate(all="ignore"):
                squares += float(np.dot(block, block))
            found = True
    norm = math.sqrt(squares) if squares >= 0 else math.nan
    return norm if found and math.isfinite(norm) else None


def not_finite(content: Content) -> str | None:
    """The name of the first array that holds NaN or an infinity; None if there is none."""
    for name, array in ({} if isinstance(content, bytes) else content).items():
        flat = np.asarray(array).reshape(-1)
        if flat.dtype.kind not in "fc" and not is_bfloat16(flat.dtype):
            continue
        if not all(np.isfinite(flat[start : start + _BLOCK]).all() for start in range(0, len(flat), _BLOCK)):
            return name
    return None


def _length(packed: Packed) -> int:
    return len(packed) if isinstance(packed, bytes) else packed.stat().st_size


def _size(content: Content) -> int:
    """Bytes of the content itself. Raises `TaskError` for what cannot be packed."""
    if isinstance(content, bytes):
        return len(content)
    if len(content) > MAX_ARRAYS:
        raise TaskError(f"{len(content)} arrays; {MAX_ARRAYS} at most: put some together")
    for name, array in content.items():
        if not isinstance(name, str):
            raise TaskError(f"arrays are called by text, and one is called by a value of type {type(name).__name__}")
        if np.ma.isMaskedArray(array):
            raise TaskError(f"array {name[:MAX_NAME]!r} is masked, and masks do not travel: fill it, or send both")
    arrays = {name: np.asarray(array) for name, array in content.items()}
    for name, array in arrays.items():
        _check(name, array.dtype)
    return sum(array.nbytes for array in arrays.values())


def _write(out: IO[bytes], content: Content, size: int) -> None:
    if isinstance(content, bytes):
        out.write(BYTES)
        out.write(content)
        return
    out.write(ARRAYS)
    with zipfile.ZipFile(_After(out), "w") as archive:  # type: ignore[call-overload]
        for name in sorted(content):
            array = np.asarray(content[name])
            about = zipfile.ZipInfo(name + (_BITS_SUFFIX if is_bfloat16(array.dtype) else _SUFFIX))
            if is_bfloat16(array.dtype):
                array = bits_of(array)
            if size <= FILE_FROM_BYTES and _is_worth_it(array):
                about.compress_type, about._compresslevel = zipfile.ZIP_DEFLATED, 1  # type: ignore[attr-defined]  # noqa: SLF001 - its only way
            with archive.open(about, "w", force_zip64=size > FILE_FROM_BYTES) as entry:
                npy.write_array(entry, array, allow_pickle=False)


def _is_worth_it(array: NDArray[Any]) -> bool:
    """True if a sample of the array, from its beginning, middle and end, is much smaller when it is compressed."""
    flat = array.ravel(order="K")
    count = max(1, SAMPLE_BYTES // 3 // max(1, array.itemsize))
    places = (0, max(0, len(flat) // 2 - count // 2), max(0, len(flat) - count))
    sample = b"".join(flat[place : place + count].tobytes() for place in sorted(set(places)))
    return len(zlib.compress(sample, 1)) < WORTH_IT * len(sample)


class _After:
    """A file that begins behind the tag, so that what follows the tag is a file of its own."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.write: Callable[[bytes], int] = stream.write
        self.flush = stream.flush

    def tell(self) -> int:
        return self._stream.tell() - TAG

    def seek(self, place: int, how: int = io.SEEK_SET) -> int:
        return self._stream.seek(place + TAG if how == io.SEEK_SET else place, how) - TAG


def _unpacked(stream: IO[bytes], size: int, limit_bytes: int) -> Content:
    tag = stream.read(TAG)
    if not tag:
        raise TaskError("a model or an update is gone: it expired, or was never stored")
    if tag == BYTES:
        if size - TAG > limit_bytes:
            raise TaskError(f"more than {limit_bytes} bytes when unpacked")
        return stream.read()
    if tag != ARRAYS:
        raise TaskError("neither arrays nor bytes of a task: it was not packed by a site's agent")
    try:
        return _arrays(stream, limit_bytes)
    except UNREADABLE:
        raise TaskError(_DAMAGED) from None


def headers_of(packed: Packed, limit_bytes: int) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]] | None:
    """Shape and type of each array, without what it holds; None for bytes. Raises `TaskError` as `unpack`."""
    with source_of(packed) as stream:
        if stream.read(TAG) != ARRAYS:
            return None
        try:
            with zipfile.ZipFile(directory := _Directory(stream)) as archive:
                directory.done()
                return {name: _header(archive, name, entry) for name, entry in _entries(archive, limit_bytes)}
        except UNREADABLE:
            raise TaskError(_DAMAGED) from None


def unpacked_bytes(packed: Packed) -> int:
    """What packed content says that it takes in memory; of what cannot be read, its own length."""
    with source_of(packed) as stream:
        if stream.read(TAG) == ARRAYS:
            try:
                with zipfile.ZipFile(_Directory(stream)) as archive:
                    return sum(entry.file_size for entry in archive.infolist())
            except (*UNREADABLE, TaskError):
                pass
    return _length(packed)


def _arrays(stream: IO[bytes], limit_bytes: int) -> dict[str, NDArray[Any]]:
    directory = _Directory(stream)
    with zipfile.ZipFile(directory) as archive:
        directory.done()
        arrays = {}
        for name, entry in _entries(archive, limit_bytes):
            _header(archive, name, entry)
            with archive.open(entry) as content:
                array = npy.read_array(content, allow_pickle=False)
                if content.read(1):
                    raise TaskError(f"array {name[:MAX_NAME]!r} is not as large as its header says")
            arrays[name] = of_bits(name, array) if entry.filename.endswith(_BITS_SUFFIX) else array
        return arrays


def _entries(archive: zipfile.ZipFile, limit_bytes: int) -> list[tuple[str, zipfile.ZipInfo]]:
    """The arrays by their names, if there are not too many, and none is larger than it may be. Raises `TaskError`."""
    entries = archive.infolist()
    if len(entries) > MAX_ARRAYS:
        raise TaskError(f"{len(entries)} arrays; {MAX_ARRAYS} at most")
    _check_sizes(entries, limit_bytes)
    names = [_name(entry.filename) for entry in entries]
    if len(set(names)) != len(names):
        raise TaskError("two arrays have the same name")
    return list(zip(names, entries, strict=True))


def _header(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
    only = BITS if entry.filename.endswith(_BITS_SUFFIX) else None
    with archive.open(entry) as content:
        return _check_header(name, content, entry.file_size, only)


def _name(file: str) -> str:
    return file.removesuffix(_BITS_SUFFIX) if file.endswith(_BITS_SUFFIX) else file.removesuffix(_SUFFIX)


def _check_sizes(entries: Sequence[zipfile.ZipInfo], limit_bytes: int) -> None:
    """Before anything is unpacked: no more than is allowed, and no more than `pack` would make of so few bytes."""
    headers = len(entries) * _MAX_HEADER_BYTES
    size = sum(entry.file_size for entry in entries)
    if size > limit_bytes + headers:
        raise TaskError(f"more than {limit_bytes} bytes when unpacked")
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if stored and any(entry.file_size != entry.compress_size for entry in entries):
        raise TaskError("an array has another size than is stored of it")
    if not stored and size > FILE_FROM_BYTES + headers:
        raise TaskError(f"compressed arrays of {size} bytes; {FILE_FROM_BYTES} at most are compressed")


class _Directory:
    """A stream of which no more is read at once than a directory of `MAX_ARRAYS` arrays has, until `done`.

    Whoever parses a directory of a million entries has spent their time and memory before they can be counted.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._open = True
        self.seek, self.tell, self.seekable, self.close = stream.seek, stream.tell, stream.seekable, stream.close

    def done(self) -> None:
        self._open = False

    def read(self, size: int = -1) -> bytes:
        if not self._open:
            return self._stream.read(size)
        if size > MAX_DIRECTORY_BYTES:
            raise TaskError(f"a directory of {size} bytes; {MAX_ARRAYS} arrays at most")
        found = self._stream.read(MAX_DIRECTORY_BYTES + 1 if size < 0 else size)
        if len(found) > MAX_DIRECTORY_BYTES:
            raise TaskError(f"a directory that does not end; {MAX_ARRAYS} arrays at most")
        if found.count(_ENTRY) > MAX_ARRAYS:
            raise TaskError(f"a directory of {found.count(_ENTRY)} entries; {MAX_ARRAYS} arrays at most")
        return found


_MAX_HEADER_BYTES = 1024
"""Of one array; numpy's own take 128 bytes, and more with many dimensions."""


def _check_header(
    name: str, stream: IO[bytes], size: int, only: np.dtype[Any] | None
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """A header promises no more than is there, before numpy takes the memory for it. only: of no other type."""
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    _check(name, dtype)
    if only is not None and dtype != only:
        raise TaskError(f"array {name!r} has an entry for bfloat16, and holds {dtype} values")
    promised = math.prod(shape) * dtype.itemsize
    if promised != size - stream.tell() or any(length < 0 for length in shape):
        raise TaskError(f"array {name[:MAX_NAME]!r} is not as large as its header says")
    return shape, dtype


def _check(name: str, dtype: np.dtype[Any]) -> None:
    if not 1 <= len(name) <= MAX_NAME or "\x00" in name or not name.isprintable():
        raise TaskError("an array's name must have 1 to 200 printable characters")
    if dtype.itemsize == 0:
        raise TaskError(f"array {name!r} holds values of no bytes")
    foreign = dtype.kind not in KINDS or dtype.isbuiltin == _ADDED
    if (foreign and not is_bfloat16(dtype)) or dtype.hasobject:
        raise TaskError(f"array {name!r} holds {dtype.name} values; numbers and text only")
