"""Tar archives: ustar, GNU and pax, as today's programs write them. Files and folders; everything else is refused.

Read forward, header by header. What a header says of lengths is bounded before it is believed.
"""

from __future__ import annotations

from collections.abc import Iterator

from fedyard.cluster.archives.entries import Member, Source, read_exactly
from fedyard.cluster.archives.limits import BLOCK_BYTES, ArchiveError, Flaw, Limits, damaged, quoted
from fedyard.cluster.archives.paths import Paths

RECORD = 512
_EMPTY = bytes(RECORD)
_MAX_TEXT = 65_536
"""Bytes of a pax header, or of a long name of GNU's."""
_MAX_TEXTS = 4
_FILES, _FOLDER, _LINKS = (b"0", b"\0"), b"5", (b"1", b"2", b"K")
_TEXTS = (b"L", b"x", b"g")
_DEVICES = (b"3", b"4", b"6")


def begins_tar(head: bytes) -> bool:
    """True if the first record is a header whose sum is right."""
    return len(head) >= RECORD and head[:RECORD] != _EMPTY and _sum_is_right(head[:RECORD])


def tar_members(source: Source, limits: Limits) -> Iterator[Member]:
    """Every file and folder, and then the end of the source. Raises `ArchiveError`."""
    paths = Paths(limits)
    said: dict[str, bytes] = {}
    texts = 0
    while True:
        header = _record(source)
        if header == _EMPTY:
            break
        if not _sum_is_right(header):
            raise damaged("a header of the tar archive is damaged, or its end is missing")
        kind, size = header[156:157], _number(header[124:136])
        if kind in _TEXTS:
            texts += 1
            if texts > _MAX_TEXTS:
                raise ArchiveError(Flaw.TOO_MANY, f"more than {_MAX_TEXTS} headers are about one file of the archive")
            said |= _text(source, kind, size)
            continue
        name = said.get("path", _name_of(header))
        size = int(said["size"]) if "size" in said else size
        said, texts = {}, 0
        folder = kind == _FOLDER or (kind in _FILES and name.endswith(b"/"))
        _check_kind(name, kind, folder=folder)
        if folder and size:
            raise damaged(f"the folder {quoted(name)} has {size} bytes")
        path = paths.take(name, folder=folder)
        blocks = _content(source, size)
        if path:
            yield Member(path, folder, blocks)
        if next(blocks, None) is not None:
            raise AssertionError("a member is read to its end before the next one")
    if said:
        raise damaged("the archive ends behind a header that is about a file")
    _end(source)


def _check_kind(name: bytes, kind: bytes, *, folder: bool) -> None:
    if folder or kind in _FILES:
        return
    if kind in _LINKS:
        raise ArchiveError(Flaw.NOT_A_FILE, f"{quoted(name)} is a link: put the file itself into the archive")
    if kind in _DEVICES:
        raise ArchiveError(Flaw.NOT_A_FILE, f"{quoted(name)} is a device or a pipe: an archive has files and folders")
    raise ArchiveError(Flaw.UNSUPPORTED, f"{quoted(name)} is of a kind that is not taken: an archive has whole files")


def _record(source: Source) -> bytes:
    record = read_exactly(source, RECORD)
    if len(record) < RECORD:
        raise damaged("the tar archive ends too early")
    return record


def _content(source: Source, size: int) -> Iterator[bytes]:
    """The bytes of a file; what fills up its last record is read, too."""
    left = size
    while left:
        block = source.read(min(left, BLOCK_BYTES))
        if not block:
            raise damaged("the tar archive ends within a file")
        left -= len(block)
        yield block
    padding = -size % RECORD
    if len(read_exactly(source, padding)) < padding:
        raise damaged("the tar archive ends too early")


def _end(source: Source) -> None:
    """Behind the first empty record there are empty ones alone."""
    if _record(source) != _EMPTY:
        raise ArchiveError(Flaw.TRAILING, "something lies behind the end of the tar archive")
    while block := source.read(BLOCK_BYTES):
        if block.strip(b"\0"):
            raise ArchiveError(Flaw.TRAILING, "something lies behind the end of the tar archive")


def _text(source: Source, kind: bytes, size: int) -> dict[str, bytes]:
    """What a header of a header says: the next file's path and size; everything else is nothing to us."""
    if size > _MAX_TEXT:
        raise ArchiveError(Flaw.NAME, f"a header of the tar archive has {size} bytes, {_MAX_TEXT} are allowed")
    text = b"".join(_content(source, size))
    if kind == b"L":
        return {"path": text.removesuffix(b"\0")}
    pairs = dict(_pax(text))
    if any(key.startswith("GNU.sparse.") for key in pairs):
        raise ArchiveError(Flaw.UNSUPPORTED, "a file of the tar archive is sparse: pack it whole")
    if "linkpath" in pairs:
        raise ArchiveError(Flaw.NOT_A_FILE, "the tar archive has a link: put the file itself into it")
    told: dict[str, bytes] = {key: pairs[key] for key in ("path", "size") if key in pairs}
    if told and kind == b"g":
        raise ArchiveError(Flaw.UNSUPPORTED, "the tar archive gives all of its files one path or size")
    if "size" in told and not (told["size"].isdigit() and len(told["size"]) <= 20):
        raise damaged("a size in the tar archive is no number")
    return told


def _pax(text: bytes) -> Iterator[tuple[str, bytes]]:
    """`<length> <key>=<value>\\n`, where the length counts all of it."""
    while text:
        digits, space, _ = text.partition(b" ")
        length = int(digits) if space and digits.isdigit() and len(digits) <= 6 else 0
        line, text = text[:length], text[length:]
        key, equals, value = line[len(digits) + 1 :].partition(b"=")
        if not line.endswith(b"\n") or not equals:
            raise damaged("a header of the tar archive is damaged")
        yield key.decode("utf-8", "replace"), value[:-1]


def _name_of(header: bytes) -> bytes:
    name, prefix = _cut(header[:100]), _cut(header[345:500])
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name


def _cut(field: bytes) -> bytes:
    """Up to its zero. What hides behind one is no part of any name."""
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field[0] == 0x80:  # GNU's form for what octal digits cannot say
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not all(0x30 <= digit <= 0x37 for digit in digits):
        raise damaged("a number in the tar archive is none")
    return int(digits or b"0", 8)


def _sum_is_right(header: bytes) -> bool:
    """Signed sums, of programs of the eighties, are not taken."""
    digits = header[148:156].strip(b" \0")
    if not digits or not all(0x30 <= digit <= 0x37 for digit in digits):
        return False
    return int(digits, 8) == sum(header[:148]) + sum(b" " * 8) + sum(header[156:])
