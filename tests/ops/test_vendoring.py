"""What others made and our pages load is what was pinned, with its licence, and nothing lies beside it."""

from __future__ import annotations

import base64
import hashlib
import tarfile
from pathlib import Path

import msgspec
import pytest

from ops.vendoring import ROOT, Package, VendoredFile, VendoringError, contents, pinned

FOLDERS = ("fedyard/look/vendor", "tests/page/vendor")


def test_each_vendored_file_is_the_pinned_one() -> None:
    for package in pinned():
        for file in package.files:
            assert hashlib.sha256((ROOT / file.to).read_bytes()).hexdigest() == file.sha256, file.to


def test_nothing_else_was_vendored_and_each_package_has_its_licence() -> None:
    there = {str(path.relative_to(ROOT)) for folder in FOLDERS for path in (ROOT / folder).iterdir()}
    assert there == {file.to for package in pinned() for file in package.files}
    assert all(any("LICENSE" in file.source for file in package.files) for package in pinned())


def packed(folder: Path, name: str, content: bytes) -> Package:
    """A package with one file, and what pins it."""
    (folder / name).write_bytes(content)
    with tarfile.open(folder / "made.tgz", "w:gz") as archive:
        archive.add(folder / name, f"package/{name}")
    integrity = base64.b64encode(hashlib.sha512((folder / "made.tgz").read_bytes()).digest()).decode()
    file = VendoredFile(name, f"somewhere/{name}", hashlib.sha256(content).hexdigest())
    return Package("made", "1.0.0", "0BSD", f"sha512-{integrity}", [file])


def test_what_is_not_what_was_pinned_is_refused(tmp_path: Path) -> None:
    package, made = packed(tmp_path, "made.js", b"let a;"), tmp_path / "made.tgz"
    assert contents(package, made) == {"somewhere/made.js": b"let a;"}
    with pytest.raises(VendoringError, match="pinned is sha512-else"):
        contents(msgspec.structs.replace(package, integrity="sha512-else"), made)
    other = msgspec.structs.replace(package.files[0], sha256="0" * 64)
    with pytest.raises(VendoringError, match=r"made\.js of made has SHA-256"):
        contents(msgspec.structs.replace(package, files=[other]), made)
