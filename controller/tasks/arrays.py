"""Updates and models as bytes: four bytes that say what it is, then numpy's npz or the task's own bytes.

What arrives comes from another site, so nothing in it is trusted: no pickle, no objects, and every declared size
is checked before memory is taken for it. The npz form is numpy.lib.format, version 1 to 3.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from controller.tasks import Arrays, Content, TaskError

PACKED_LIMIT_BYTES = 262_144
"""What the hub carries inline; a larger update or model is refused here already."""
UNPACKED_LIMIT_BYTES = 16_777_216
ARRAYS_AT_MOST = 256
NAME_AT_MOST = 200
KINDS = "biufcUS"

UNREADABLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ValueError, EOFError, OSError)
"""What zipfile and numpy raise for broken content; RuntimeError is for an encrypted entry."""

_ARRAYS = b"FYa1"
_BYTES = b"FYb1"
_TAG = len(_ARRAYS)
_SUFFIX = ".npy"


def pack(content: Content, limit_bytes: int = PACKED_LIMIT_BYTES) -> bytes:
    """The wire form; the same content gives the same bytes. Raises `TaskError`."""
    packed = _BYTES + content if isinstance(content, bytes) else _ARRAYS + _npz(content)
    if len(packed) > limit_bytes:
        raise TaskError(f"{len(packed)} bytes are too many: the hub carries {limit_bytes}; send less or smaller arrays")
    return packed


def unpack(packed: bytes, limit_bytes: int = UNPACKED_LIMIT_BYTES) -> Content:
    """The content back. Raises `TaskError` for what `pack` would not make."""
    if not packed:
        raise TaskError("a model or an update is gone: it expired, or was never stored")
    tag, rest = packed[:_TAG], packed[_TAG:]
    if tag == _BYTES:
        return rest
    if tag != _ARRAYS:
        raise TaskError("neither arrays nor bytes of a task: it was not packed by a site's agent")
    try:
        return _arrays(rest, limit_bytes)
    except UNREADABLE as error:
        raise TaskError(f"the arrays cannot be read ({type(error).__name__})") from None


def file_form(packed: bytes) -> tuple[str, bytes]:
    """Suffix and content for a file that other tools can open: .npz or .bin."""
    return (".npz" if packed[:_TAG] == _ARRAYS else ".bin"), packed[_TAG:]


def _npz(arrays: Arrays) -> bytes:
    if len(arrays) > ARRAYS_AT_MOST:
        raise TaskError(f"{len(arrays)} arrays; {ARRAYS_AT_MOST} at most")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression=zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name in sorted(arrays):
            array = np.asarray(arrays[name])
            _check(name, array.dtype)
            with archive.open(zipfile.ZipInfo(name + _SUFFIX), "w") as entry:
                npy.write_array(entry, array, allow_pickle=False)
    return out.getvalue()


def _arrays(content: bytes, limit_bytes: int) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        if len(entries) > ARRAYS_AT_MOST:
            raise TaskError(f"{len(entries)} arrays; {ARRAYS_AT_MOST} at most")
        if sum(entry.file_size for entry in entries) > limit_bytes:
            raise TaskError(f"more than {limit_bytes} bytes when unpacked")
        names = [entry.filename.removesuffix(_SUFFIX) for entry in entries]
        if len(set(names)) != len(names):
            raise TaskError("two arrays have the same name")
        arrays = {}
        for name, entry in zip(names, entries, strict=True):
            with archive.open(entry) as stream:
                arrays[name] = _array(name, io.BytesIO(stream.read(limit_bytes)))
        return arrays


def _array(name: str, stream: IO[bytes]) -> NDArray[Any]:
    """One array, after its header promised no more than is there: numpy takes the memory first."""
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    _check(name, dtype)
    start = stream.tell()
    size = stream.seek(0, io.SEEK_END) - start
    if math.prod(shape) * dtype.itemsize != size or any(length < 0 for length in shape):
        raise TaskError(f"array {name[:NAME_AT_MOST]!r} is not as large as its header says")
    stream.seek(0)
    array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
    return array


def _check(name: str, dtype: np.dtype[Any]) -> None:
    if not 1 <= len(name) <= NAME_AT_MOST or "\x00" in name or not name.isprintable():
        raise TaskError("an array's name must have 1 to 200 printable characters")
    if dtype.kind not in KINDS or dtype.hasobject:
        raise TaskError(f"array {name!r} holds {dtype.kind!r} values; numbers and text only")
