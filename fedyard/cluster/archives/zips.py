"""Zip archives: stored and deflated files. The directory at the end and each file's own header must say the same.

Files lie one behind the other without gaps, from the first byte up to the directory, so that no byte is used twice
(an overlapping bomb), and none is hidden.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from fedyard.cluster.archives.entries import Member, Seekable, read_exactly
from fedyard.cluster.archives.limits import BLOCK_BYTES, ArchiveError, Flaw, Limits, Meter, damaged, quoted
from fedyard.cluster.archives.paths import Paths

ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")
_LOCAL, _CENTRAL, _DESCRIPTOR = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_END_FORM, _END64_FORM = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q")
_LOCATOR_FORM = struct.Struct("<4sLQL")
_CENTRAL_FORM, _LOCAL_FORM = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _DESCRIBED, _PATCHED = 0x2041, 0x0008, 0x0020
"""Flags: of the three ways to encrypt; of sizes that stand behind the file; of what is no file but a change of one."""
_STORED, _DEFLATED = 0, 8
_REPARSE_POINT = 0x400
"""Windows' links, in what DOS had as attributes."""


@dataclass(frozen=True)
class _Entry:
    """A file as the directory has it."""

    name: bytes
    path: str
    folder: bool
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


@dataclass(frozen=True)
class _Directory:
    count: int
    size: int
    offset: int


def zip_members(source: Seekable, size_bytes: int, limits: Limits, meter: Meter) -> Iterator[Member]:
    """Every file and folder, in the order in which they lie. Raises `ArchiveError`."""
    directory = _directory_of(source, size_bytes)
    if directory.count > limits.entries:
        raise ArchiveError(Flaw.TOO_MANY, f"the archive has {directory.count} entries, {limits.entries} are allowed")
    entries = sorted(_entries(source, directory, limits), key=lambda one: one.offset)
    at = 0
    for entry in entries:
        begins = _header_of(source, entry, at)
        ends = begins + entry.packed
        if ends > directory.offset:
            raise ArchiveError(Flaw.OVERLAPPING, f"{quoted(entry.name)} reaches into the archive's directory")
        blocks = _content(source, entry, begins, meter)
        if entry.path:
            yield Member(entry.path, entry.folder, blocks)
        if next(blocks, None) is not None:
            raise AssertionError("a member is read to its end before the next one")
        at = ends + _descriptor(source, entry, ends)
    if at != directory.offset:
        raise ArchiveError(Flaw.OVERLAPPING, "there is something between the files of the archive and its directory")


def _directory_of(source: Seekable, size_bytes: int) -> _Directory:
    """Of the record at the very end, which has no comment but one that ends there."""
    tail_bytes = min(size_bytes, _END_FORM.size + _FULL16)
    source.seek(-tail_bytes, os.SEEK_END)
    tail = read_exactly(source, tail_bytes)
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_FORM.size:
        raise damaged("the zip archive ends too early: its directory is missing")
    _, disk, first_disk, here, count, size, offset, comment = _END_FORM.unpack_from(tail, place)
    if len(tail) - place - _END_FORM.size != comment:
        raise ArchiveError(Flaw.TRAILING, "something lies behind the end of the zip archive, or its end is cut")
    ends = size_bytes - tail_bytes + place
    if offset + size == ends:
        if disk or first_disk or here != count:
            raise ArchiveError(Flaw.UNSUPPORTED, "the zip archive has several parts")
        return _Directory(count, size, offset)
    return _directory64(source, ends, (count, size, offset))


def _directory64(source: Seekable, ends: int, classic: tuple[int, int, int]) -> _Directory:
    """What the larger record before the end says. Where the classic one has room, both say the same."""
    begins = ends - _LOCATOR_FORM.size - _END64_FORM.size
    source.seek(max(0, begins))
    record = read_exactly(source, _LOCATOR_FORM.size + _END64_FORM.size)
    if begins < 0 or record[_END64_FORM.size :][:4] != _LOCATOR64:
        raise ArchiveError(Flaw.OVERLAPPING, "the zip archive has something before it, or around its directory")
    magic, length, _, _, disk, first_disk, here, count, size, offset = _END64_FORM.unpack_from(record)
    _, locator_disk, at, disks = _LOCATOR_FORM.unpack_from(record, _END64_FORM.size)
    if magic != _END64 or at != begins or length != _END64_FORM.size - 12:
        raise damaged("the zip64 record is damaged")
    if disk or first_disk or locator_disk or disks > 1 or here != count:
        raise ArchiveError(Flaw.UNSUPPORTED, "the zip archive has several parts")
    for said, full, meant in zip(classic, (_FULL16, _FULL32, _FULL32), (count, size, offset), strict=True):
        if said not in (full, meant):
            raise damaged("the two ends of the zip archive contradict each other")
    if offset + size != begins:
        raise ArchiveError(Flaw.OVERLAPPING, "the zip archive has something before it, or around its directory")
    return _Directory(count, size, offset)


def _entries(source: Seekable, directory: _Directory, limits: Limits) -> list[_Entry]:
    """As the directory lists them; it holds nothing else."""
    source.seek(directory.offset)
    paths, found, left = Paths(limits), [], directory.size
    for _ in range(directory.count):
        fixed = read_exactly(source, min(left, _CENTRAL_FORM.size))
        if len(fixed) < _CENTRAL_FORM.size or fixed[:4] != _CENTRAL:
            raise damaged("the directory of the zip archive is damaged")
        fields = _CENTRAL_FORM.unpack(fixed)
        lengths = fields[10:13]
        left -= len(fixed) + sum(lengths)
        rest = read_exactly(source, sum(lengths)) if left >= 0 else b""
        if len(rest) < sum(lengths):
            raise damaged("the directory of the zip archive is damaged")
        found.append(_entry_of(fields, rest[: lengths[0]], rest[lengths[0] : lengths[0] + lengths[1]], paths))
    if left:
        raise damaged("the directory of the zip archive has another size than it says")
    return found


def _entry_of(fields: tuple[int, ...], name: bytes, extra: bytes, paths: Paths) -> _Entry:
    flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
    disk, attributes, offset = fields[13], fields[15], fields[16]
    packed, size, offset = _resolved(extra, (size, packed, offset), name)
    folder = name.endswith(b"/")
    if flags & _ENCRYPTED:
        raise ArchiveError(Flaw.ENCRYPTED, f"{quoted(name)} is encrypted: pack it without a password")
    if method not in (_STORED, _DEFLATED) or flags & _PATCHED:
        raise ArchiveError(
            Flaw.UNSUPPORTED, f"{quoted(name)} is packed in a way that is not taken: store or deflate it"
        )
    if disk not in (0, _FULL16):
        raise ArchiveError(Flaw.UNSUPPORTED, "the zip archive has several parts")
    mode = attributes >> 16
    if stat.S_ISLNK(mode) or attributes & _REPARSE_POINT:
        raise ArchiveError(Flaw.NOT_A_FILE, f"{quoted(name)} is a link: put the file itself into the archive")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR) or (stat.S_ISDIR(mode) and not folder):
        raise ArchiveError(Flaw.NOT_A_FILE, f"{quoted(name)} is a device or a pipe: an archive has files and folders")
    if folder and (size or packed > 2):  # two bytes are what nothing is when it is deflated
        raise damaged(f"the folder {quoted(name)} has {size} bytes")
    path = paths.take(name, folder=folder)
    return _Entry(name, path, folder, flags, method, crc, packed, size, offset)


def _resolved(extra: bytes, said: tuple[int, int, int], name: bytes) -> tuple[int, int, int]:
    """packed, size, offset: what has no room in 32 bits stands in a field of zip64, in this order."""
    large = _zip64_field(extra, name)
    size, packed, offset = said
    values = []
    for value in (size, packed, offset):
        if value == _FULL32:
            if len(large) < 8:
                raise damaged(f"the zip64 field of {quoted(name)} is missing")
            value, large = int.from_bytes(large[:8], "little"), large[8:]  # noqa: PLW2901 - the larger one in its place
        values.append(value)
    return values[1], values[0], values[2]


def _zip64_field(extra: bytes, name: bytes) -> bytes:
    found = None
    while extra:
        if len(extra) < 4:
            raise damaged(f"what the zip archive says of {quoted(name)} is damaged")
        kind, length = struct.unpack_from("<2H", extra)
        if length > len(extra) - 4 or (kind == 1 and found is not None):
            raise damaged(f"what the zip archive says of {quoted(name)} is damaged")
        if kind == 1:
            found = extra[4 : 4 + length]
        extra = extra[4 + length :]
    return found or b""


def _header_of(source: Seekable, entry: _Entry, at: int) -> int:
    """Where the file's bytes begin. Its own header lies right behind the file before, and is as the directory says."""
    if entry.offset != at:
        fact = f"{quoted(entry.name)} does not begin where the file before it ends"
        raise ArchiveError(Flaw.OVERLAPPING, fact)
    source.seek(at)
    fixed = read_exactly(source, _LOCAL_FORM.size)
    if len(fixed) < _LOCAL_FORM.size or fixed[:4] != _LOCAL:
        raise damaged(f"the header of {quoted(entry.name)} is damaged")
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = _LOCAL_FORM.unpack(fixed)
    name, extra = read_exactly(source, name_bytes), read_exactly(source, extra_bytes)
    if len(name) + len(extra) < name_bytes + extra_bytes:
        raise damaged(f"the header of {quoted(entry.name)} is cut")
    said = (name, method, flags & _DESCRIBED)
    if said != (entry.name, entry.method, entry.flags & _DESCRIBED) or flags & (_ENCRYPTED | _PATCHED):
        raise damaged(f"the header of {quoted(entry.name)} contradicts the directory")
    if not flags & _DESCRIBED:
        packed, size, _ = _resolved(extra, (size, packed, 0), name)
        if (crc, packed, size) != (entry.crc, entry.packed, entry.size):
            raise damaged(f"the header of {quoted(entry.name)} contradicts the directory")
    return at + _LOCAL_FORM.size + len(name) + len(extra)


def _content(source: Seekable, entry: _Entry, at: int, meter: Meter) -> Iterator[bytes]:
    """What comes out, counted. Raises `ArchiveError` where it is not what the directory says."""
    source.seek(at)
    crc, size = 0, 0
    packed = _packed(source, entry)
    for block in packed if entry.method == _STORED else _inflated(packed, entry):
        size += len(block)
        meter.take(len(block))
        if size > entry.size:
            raise damaged(f"{quoted(entry.name)} has more bytes than it says")
        crc = zlib.crc32(block, crc)
        yield block
    if (size, crc) != (entry.size, entry.crc):
        raise damaged(f"{quoted(entry.name)} is not what the directory says: {size} bytes of {entry.size}")


def _packed(source: Seekable, entry: _Entry) -> Iterator[bytes]:
    left = entry.packed
    while left:
        block = source.read(min(left, BLOCK_BYTES))
        if not block:
            raise damaged(f"the zip archive ends within {quoted(entry.name)}")
        left -= len(block)
        yield block


def _inflated(packed: Iterator[bytes], entry: _Entry) -> Iterator[bytes]:
    one = zlib.decompressobj(-15)
    given = next(packed, b"")
    while not one.eof:
        try:
            block = one.decompress(given, BLOCK_BYTES)
        except zlib.error:
            raise damaged(f"the bytes of {quoted(entry.name)} are damaged") from None
        if block:
            yield block
        given = one.unconsumed_tail or next(packed, b"")
        if not given and not block and not one.eof:
            raise damaged(f"the bytes of {quoted(entry.name)} end too early")
    if one.unused_data or next(packed, b""):
        raise damaged(f"the bytes of {quoted(entry.name)} have something behind them")


def _descriptor(source: Seekable, entry: _Entry, at: int) -> int:
    """How many bytes repeat sum and sizes behind the file: with or without their own magic, in 32 or 64 bits."""
    if not entry.flags & _DESCRIBED:
        return 0
    source.seek(at)
    found = read_exactly(source, 24)
    for form in ("<LLL", "<LQQ"):
        for magic in (_DESCRIPTOR, b""):
            if max(entry.packed, entry.size) > _FULL32 and form == "<LLL":
                continue
            meant = magic + struct.pack(form, entry.crc, entry.packed, entry.size)
            if found.startswith(meant) and _goes_on(found[len(meant) :], source, at + len(meant)):
                return len(meant)
    raise damaged(f"what stands behind {quoted(entry.name)} contradicts the directory")


def _goes_on(behind: bytes, source: Seekable, at: int) -> bool:
    """Does another file begin there, or the directory?"""
    if len(behind) < 4:
        source.seek(at)
        behind = read_exactly(source, 4)
    return behind[:4] in (_LOCAL, _CENTRAL)
