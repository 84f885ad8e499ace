"""Archives: what is in one is told as it is, and whatever else one may be made to say is refused with the reason."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import stat
import struct
import tarfile
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedyard.cluster.archives.checking import File, check
from fedyard.cluster.archives.limits import ArchiveError, Flaw, Limits
from fedyard.cluster.archives.unpacking import unpack

FILES = {"model.h5": b"weights" * 1000, "fl_checkpoint": b"\x00\x01", "more/deep/a b.txt": b"", "more/é.bin": b"e"}
TIGHT = Limits(archive_bytes=10_000_000, total_bytes=2_000_000, entries=20, free_bytes=100_000, ratio=100)
WANTED = [File(path, len(data), hashlib.sha256(data).hexdigest()) for path, data in sorted(FILES.items())]


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, *, streamed: bool = False) -> bytes:
    """streamed: sizes stand behind the files, as who writes into a pipe does it."""
    target = Unseekable() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


class Unseekable(io.BytesIO):
    """As a pipe."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise io.UnsupportedOperation


def tarred(files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, data in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return target.getvalue()


def with_entry(kind: bytes, **fields: object) -> bytes:
    """A tar with one good file and an entry of this kind."""
    target = io.BytesIO(tarred({"good": b"x"}))
    with tarfile.open(fileobj=target, mode="a") as archive:
        about = tarfile.TarInfo("odd")
        about.type = kind
        for name, value in fields.items():
            setattr(about, name, value)
        archive.addfile(about)
    return target.getvalue()


def with_mode(mode: int, *, host: int = 3, attributes: int = 0) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        about = zipfile.ZipInfo("odd")
        about.create_system = host
        about.external_attr = (mode << 16) | attributes
        archive.writestr(about, b"/etc/passwd")
    return target.getvalue()


def with_name(name: str) -> dict[str, bytes]:
    """A zip and a tar with a file of that name. Python's writers would mend it, so it is put there afterwards."""
    encoded = name.encode("utf-8", "surrogateescape")
    stand_in = "Q" * len(encoded)
    packed = zipped({stand_in: b"x"}, zipfile.ZIP_STORED).replace(stand_in.encode(), encoded)
    return {"zip": packed, "tar": renamed(tarred({stand_in: b"x"}, tarfile.USTAR_FORMAT), encoded)}


def renamed(archive: bytes, name: bytes) -> bytes:
    header = bytearray(archive[:512])
    header[:100] = name.ljust(100, b"\0")
    return summed(header) + archive[512:]


def summed(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


GOOD: dict[str, Callable[[], bytes]] = {
    "zip": lambda: zipped(FILES),
    "zip, stored": lambda: zipped(FILES, zipfile.ZIP_STORED),
    "zip, streamed": lambda: zipped(FILES, streamed=True),
    "tar, pax": lambda: tarred(FILES),
    "tar, gnu": lambda: tarred(FILES, tarfile.GNU_FORMAT),
    "tar.gz": lambda: gzip.compress(tarred(FILES)),
    "tar.gz in two streams": lambda: gzip.compress(tarred(FILES)[:700]) + gzip.compress(tarred(FILES)[700:]),
    "tar.bz2": lambda: bz2.compress(tarred(FILES)),
    "tar.xz": lambda: lzma.compress(tarred(FILES)),
}


@pytest.mark.parametrize("form", GOOD)
def test_what_is_in_it_is_told_whatever_it_is_packed_with(form: str, tmp_path: Path):
    assert check(io.BytesIO(GOOD[form]()), ["model.h5", "fl_checkpoint"], TIGHT) == WANTED

    assert unpack(io.BytesIO(GOOD[form]()), tmp_path / "project", ["model.h5"], TIGHT)
    folder = tmp_path / "project" / "initFiles"
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == FILES
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()}
    folders = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "project", folder, folder / "more")}
    assert (modes, folders) == ({0o640}, {0o750})


def test_folders_and_dots_as_tar_writes_them_are_taken():
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in (".", "./empty"):
            about = tarfile.TarInfo(name)
            about.type = tarfile.DIRTYPE
            archive.addfile(about)
        archive.addfile(tarfile.TarInfo("./a"), io.BytesIO())
    assert [file.path for file in check(target)] == ["a"]


def test_long_names_are_taken_up_to_the_limit():
    name = "/".join(["x" * 60] * 4)
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        assert [file.path for file in check(io.BytesIO(tarred({name: b"1"}, form)))] == [name]


def zip64() -> bytes:
    """As a writer makes it that does not know in advance how large a file is."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, archive.open("model.h5", "w", force_zip64=True) as file:
        file.write(b"1")
    return target.getvalue()


def ended_by_zip64(count: int = 1) -> bytes:
    """The end of a zip with more entries than 16 bits hold, though it has one."""
    plain = zipped({"model.h5": b"1"})
    size, offset = struct.unpack_from("<LL", plain, len(plain) - 10)
    begins = len(plain) - 22
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, begins, 1)
    full = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return plain[:begins] + end64 + locator + full


@pytest.mark.parametrize("made", [zip64, ended_by_zip64])
def test_zip64_is_taken(made: Callable[[], bytes]):
    assert [file.path for file in check(io.BytesIO(made()))] == ["model.h5"]


def patched(archive: bytes, place: int, value: bytes) -> bytes:
    return archive[:place] + value + archive[place + len(value) :]


def central(archive: bytes) -> int:
    return archive.index(b"PK\x01\x02")


def lying(field: int, value: int, form: str = "<L", *, local: int | None = None) -> bytes:
    """A zip whose directory says something else of its file; local: its own header as well."""
    archive = zipped({"model.h5": b"weights" * 100})
    archive = patched(archive, central(archive) + field, struct.pack(form, value))
    return archive if local is None else patched(archive, local, struct.pack(form, value))


def overlapping() -> bytes:
    """Two entries of the directory that are one file: the quoted bomb in its smallest form."""
    archive = zipped({"a": b"x" * 1000, "b": b"x" * 1000}, zipfile.ZIP_STORED)
    second = archive.index(b"PK\x01\x02", central(archive) + 4)
    return patched(archive, second + 42, struct.pack("<L", 0))


def hidden() -> bytes:
    """A gap between the file and the directory."""
    archive = zipped({"a": b"x"}, zipfile.ZIP_STORED)
    begins, end = central(archive), len(archive) - 22
    moved = archive[:begins] + b"hidden" + archive[begins:]
    return patched(moved, end + 6 + 16, struct.pack("<L", begins + 6))


def sparse() -> bytes:
    header = bytearray(tarred({"a": b""}, tarfile.GNU_FORMAT)[:512])
    header[156:157] = b"S"
    return summed(header) + bytes(1024)


def long_text() -> bytes:
    header = bytearray(tarred({"a": b""}, tarfile.GNU_FORMAT)[:512])
    header[156:157], header[124:136] = b"L", b"77777777777\0"
    return summed(header) + bytes(1024)


def many_texts() -> bytes:
    target = tarfile.TarInfo("x" * 200).tobuf(tarfile.GNU_FORMAT)
    return target[:1024] * 50 + target


DEFLATED_LIE = zipped({"model.h5": b"weights" * 100})
BAD: dict[str, tuple[Flaw, Callable[[], bytes]]] = {
    "nothing": (Flaw.NOT_AN_ARCHIVE, lambda: b""),
    "text": (Flaw.NOT_AN_ARCHIVE, lambda: b"model.h5 " * 100),
    "an empty tar": (Flaw.NOT_AN_ARCHIVE, lambda: bytes(10240)),
    "a compressed file that is no tar": (Flaw.NOT_AN_ARCHIVE, lambda: gzip.compress(b"x" * 2000)),
    "an empty zip": (Flaw.MISSING, lambda: zipped({})),
    "folders alone": (Flaw.MISSING, lambda: zipped({"a/": b""})),
    "a file in a folder": (Flaw.MISSING, lambda: zipped({"problem/model.h5": b"1"})),
    "too many bytes": (Flaw.TOO_LARGE, lambda: bytes(10_000_001)),
    "too many files": (Flaw.TOO_MANY, lambda: zipped({str(n): b"" for n in range(21)})),
    "too many files in a tar": (Flaw.TOO_MANY, lambda: tarred({str(n): b"" for n in range(21)})),
    "a zip that says it has too many": (Flaw.TOO_MANY, lambda: ended_by_zip64(2**40)),
    "a bomb of zip": (Flaw.BOMB, lambda: zipped({"model.h5": bytes(1_000_000)})),
    "a bomb of gzip": (Flaw.BOMB, lambda: gzip.compress(tarred({"model.h5": bytes(1_000_000)}))),
    "a bomb of bzip2": (Flaw.BOMB, lambda: bz2.compress(tarred({"model.h5": bytes(1_000_000)}))),
    "a bomb of xz": (Flaw.BOMB, lambda: lzma.compress(tarred({"model.h5": bytes(1_000_000)}))),
    "a bomb behind the end of a tar": (Flaw.BOMB, lambda: gzip.compress(tarred({"a": b"1"}) + bytes(1_000_000))),
    "a bomb that is large": (Flaw.TOO_LARGE, lambda: bz2.compress(tarred({"a": bytes(3_000_000)})) + b"x" * 40_000),
    "a tar link": (Flaw.NOT_A_FILE, lambda: with_entry(tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a tar hard link": (Flaw.NOT_A_FILE, lambda: with_entry(tarfile.LNKTYPE, linkname="good")),
    "a tar link with a long name": (Flaw.NOT_A_FILE, lambda: with_entry(tarfile.SYMTYPE, linkname="x" * 200)),
    "a tar device": (Flaw.NOT_A_FILE, lambda: with_entry(tarfile.CHRTYPE)),
    "a tar block device": (Flaw.NOT_A_FILE, lambda: with_entry(tarfile.BLKTYPE)),
    "a tar pipe": (Flaw.NOT_A_FILE, lambda: with_entry(tarfile.FIFOTYPE)),
    "a tar of another kind": (Flaw.UNSUPPORTED, lambda: with_entry(b"7")),
    "a sparse file": (Flaw.UNSUPPORTED, sparse),
    "a sparse file of pax": (Flaw.UNSUPPORTED, lambda: with_entry(b"0", pax_headers={"GNU.sparse.major": "1"})),
    "a header that is too long": (Flaw.NAME, long_text),
    "too many headers": (Flaw.TOO_MANY, many_texts),
    "a zip link": (Flaw.NOT_A_FILE, lambda: with_mode(stat.S_IFLNK | 0o777)),
    "a zip link of another system": (Flaw.NOT_A_FILE, lambda: with_mode(stat.S_IFLNK | 0o777, host=19)),
    "a zip link of Windows": (Flaw.NOT_A_FILE, lambda: with_mode(0, host=0, attributes=0x400)),
    "a zip device": (Flaw.NOT_A_FILE, lambda: with_mode(stat.S_IFBLK)),
    "encrypted": (Flaw.ENCRYPTED, lambda: lying(8, 1, "<H", local=6)),
    "encrypted strongly": (Flaw.ENCRYPTED, lambda: lying(8, 0x41, "<H", local=6)),
    "packed otherwise": (Flaw.UNSUPPORTED, lambda: zipped({"a": b"x" * 100}, zipfile.ZIP_LZMA)),
    "several parts": (Flaw.UNSUPPORTED, lambda: patched(zipped({"a": b"1"}), len(zipped({"a": b"1"})) - 18, b"\1")),
    "overlapping": (Flaw.OVERLAPPING, overlapping),
    "a gap": (Flaw.OVERLAPPING, hidden),
    "a program before it": (Flaw.NOT_AN_ARCHIVE, lambda: b"MZ" + bytes(600) + zipped({"a": b"1"})),
    "a zip before it": (Flaw.OVERLAPPING, lambda: zipped({"b": b"2"}) + zipped({"a": b"1"})),
    "the sum is another": (Flaw.DAMAGED, lambda: lying(16, 1, local=14)),
    "fewer bytes than it says": (Flaw.DAMAGED, lambda: lying(24, 10_000, local=22)),
    "more bytes than it says": (Flaw.DAMAGED, lambda: lying(24, 10, local=22)),
    "the headers contradict each other": (Flaw.DAMAGED, lambda: lying(24, 10_000)),
    "a name of zip64 without its field": (Flaw.DAMAGED, lambda: lying(24, 0xFFFFFFFF, local=22)),
    "two names": (Flaw.DAMAGED, lambda: patched(DEFLATED_LIE, 30, b"MODEL.H5")),
    "cut in the middle": (Flaw.DAMAGED, lambda: zipped(FILES)[:300]),
    "a tar that is cut": (Flaw.DAMAGED, lambda: tarred(FILES)[:3000]),
    "a tar without its end": (Flaw.DAMAGED, lambda: tarred({"a": b"1"})[:1024]),
    "a gzip that is cut": (Flaw.DAMAGED, lambda: gzip.compress(tarred(FILES))[:-20]),
    "a bzip2 that is cut": (Flaw.DAMAGED, lambda: bz2.compress(tarred(FILES))[:-1]),
    "an xz that is cut": (Flaw.DAMAGED, lambda: lzma.compress(tarred(FILES))[:-1]),
    "behind a zip": (Flaw.TRAILING, lambda: zipped(FILES) + b"x"),
    "behind a tar": (Flaw.TRAILING, lambda: tarred(FILES) + b"x"),
    "a tar behind a tar": (Flaw.TRAILING, lambda: tarred(FILES) + tarred({"b": b"2"})),
    "behind a gzip": (Flaw.TRAILING, lambda: gzip.compress(tarred(FILES)) + b"x" * 10),
    "behind a bzip2": (Flaw.TRAILING, lambda: bz2.compress(tarred(FILES)) + b"x"),
    "behind an xz": (Flaw.TRAILING, lambda: lzma.compress(tarred(FILES)) + bytes(8)),
    "twice": (Flaw.TWICE, lambda: tarred({"a": b"1"})[:1024] + tarred({"a": b"2"})),
    "twice but for the case": (Flaw.TWICE, lambda: zipped({"a": b"1", "A": b"2"})),
    "twice but for the accent's form": (Flaw.TWICE, lambda: zipped({"\u00e9": b"1", "e\u0301": b"2"})),
    "folders that differ in case": (Flaw.TWICE, lambda: zipped({"a/1": b"1", "A/2": b"2"})),
    "a file and a folder": (Flaw.TWICE, lambda: zipped({"a": b"1", "a/b": b"2"})),
    "a folder and a file": (Flaw.TWICE, lambda: zipped({"a/b": b"1", "a": b"2"})),
}


@pytest.mark.parametrize("what", BAD)
def test_everything_else_is_refused_with_the_reason(what: str, tmp_path: Path):
    flaw, made = BAD[what]
    content = made()

    with pytest.raises(ArchiveError) as refused:
        check(io.BytesIO(content), ["model.h5"] if flaw == Flaw.MISSING else (), TIGHT)
    assert refused.value.flaw == flaw, refused.value.fact
    assert refused.value.fact.isascii()

    with pytest.raises(ArchiveError):
        unpack(io.BytesIO(content), tmp_path / "project", ["model.h5"], TIGHT)
    assert [path.name for path in (tmp_path / "project").iterdir()] == [".initFiles.lock"]


NAMES = {
    "absolute": "/etc/passwd",
    "escaping": "../../etc/passwd",
    "escaping in the middle": "a/../../b",
    "a backslash": "a\\..\\b",
    "a drive": "C:/a",
    "a drive in the middle": "a/c:x",
    "a line": "a\nb",
    "an escape": "a\x1b[2J",
    "no UTF-8": "a\udcff",
    "empty parts": "a//b",
    "too deep": "/".join("abcdefghijklmnopq"),
}


@pytest.mark.parametrize("form", ["zip", "tar"])
@pytest.mark.parametrize("what", NAMES)
def test_names_stay_below_the_folder(what: str, form: str):
    with pytest.raises(ArchiveError) as refused:
        check(io.BytesIO(with_name(NAMES[what])[form]))
    assert refused.value.flaw == Flaw.NAME, refused.value.fact
    assert refused.value.fact.isprintable()


def test_names_with_a_zero_or_of_too_many_bytes_are_refused():
    for archive in (with_name("a\0b")["zip"], tarred({"x" * 256: b""}), zipped({"y/" * 3 + "x" * 256: b""})):
        with pytest.raises(ArchiveError) as refused:
            check(io.BytesIO(archive))
        assert refused.value.flaw == Flaw.NAME


def test_who_has_packed_the_folder_is_told_so():
    with pytest.raises(ArchiveError, match=r"there is 'problem/model\.h5': pack what is in that folder"):
        check(io.BytesIO(zipped({"problem/model.h5": b"1"})), ["model.h5"])


def test_unpacking_again_leaves_what_was_written_since(tmp_path: Path):
    assert unpack(io.BytesIO(zipped(FILES)), tmp_path / "p")
    (tmp_path / "p" / "initFiles" / "fl_checkpoint").write_bytes(b"round 7")

    assert not unpack(io.BytesIO(zipped(FILES)), tmp_path / "p")
    assert (tmp_path / "p" / "initFiles" / "fl_checkpoint").read_bytes() == b"round 7"


def test_what_a_killed_attempt_left_is_removed(tmp_path: Path):
    left = tmp_path / "p" / ".initFiles.partial" / "more"
    left.mkdir(parents=True)
    (left / "old").write_bytes(b"old")

    assert unpack(io.BytesIO(zipped({"new": b"1"})), tmp_path / "p")
    assert [path.name for path in (tmp_path / "p" / "initFiles").iterdir()] == ["new"]
    assert not (tmp_path / "p" / ".initFiles.partial").exists()


def test_of_several_at_once_one_unpacks(tmp_path: Path):
    done: list[bool] = []
    begin = threading.Barrier(4)

    def one() -> None:
        begin.wait()
        done.append(unpack(io.BytesIO(zipped(FILES)), tmp_path / "p"))

    several = [threading.Thread(target=one) for _ in range(4)]
    for each in several:
        each.start()
    for each in several:
        each.join()
    assert sorted(done) == [False, False, False, True]


@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.integers(0, 20_000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    st.integers(0, 400),
)
@settings(max_examples=150)
def test_damage_is_refused_or_harms_nothing(form: str, changes: list[tuple[int, bytes]], cut: int):
    """Whatever is done to an archive: a list within the limits, or a refusal; never another error."""
    content = GOOD[form]()
    for place, value in changes:
        content = patched(content, place % len(content), value)
    content = content[: len(content) - cut]
    with suppress(ArchiveError):
        files = check(io.BytesIO(content), (), TIGHT)
        assert sum(file.size_bytes for file in files) <= TIGHT.total_bytes
        assert all(not file.path.startswith("/") and ".." not in file.path.split("/") for file in files)


@given(
    st.binary(max_size=2000),
    st.sampled_from([b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0", b""]),
)
@settings(max_examples=100)
def test_bytes_that_only_begin_like_an_archive_are_refused(content: bytes, magic: bytes):
    with pytest.raises(ArchiveError):
        check(io.BytesIO(magic + content), (), TIGHT)


def test_every_flaw_is_explained():
    explained = Path("docs/problems.md").read_text()
    assert [flaw for flaw in Flaw if f"| `{flaw}` |" not in explained] == []
