"""Names in an archive: each stays below the folder that it is unpacked into, and is one file on every file system."""

from __future__ import annotations

import re
import unicodedata

from fedyard.cluster.archives.limits import ArchiveError, Flaw, Limits, quoted

_DRIVE = re.compile("[A-Za-z]:")
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of what no name has: control characters, surrogates, separators of lines."""
_COMPONENT_BYTES = 255
"""Of file systems."""


class Paths:
    """The paths of one archive, as they come. `.` in them is left out, as `tar` writes it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._spelled: dict[str, str] = {}
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._given: set[str] = set()
        self._count = 0

    def take(self, name: bytes, *, folder: bool) -> str:
        """The path of one more entry, with `/`; empty for the root itself. Raises `ArchiveError`."""
        self._count += 1
        if self._count > self._limits.entries:
            fact = f"the archive has more than {self._limits.entries} files and folders"
            raise ArchiveError(Flaw.TOO_MANY, fact)
        parts = self._parts_of(name, folder=folder)
        if not parts:
            if folder:
                return ""
            raise _bad(name, "is empty")
        path = "/".join(parts)
        parents = ["/".join(parts[:end]) for end in range(1, len(parts))]
        for each in (*parents, path):
            self._spell(each)
        inside = next((parent for parent in parents if parent in self._files), None)
        if inside is not None or (not folder and path in self._folders):
            raise ArchiveError(Flaw.TWICE, f"{quoted(inside or path)} is a file and a folder")
        if path in self._given:
            raise ArchiveError(Flaw.TWICE, f"{quoted(path)} is there twice")
        self._given.add(path)
        self._folders.update(parents)
        if not folder:
            self._files.add(path)
        return path

    def _parts_of(self, name: bytes, *, folder: bool) -> list[str]:
        try:
            text = name.decode("utf-8")
        except UnicodeDecodeError:
            raise _bad(name, "is not UTF-8") from None
        if len(name) > self._limits.path_bytes:
            raise _bad(name, f"has {len(name)} bytes, {self._limits.path_bytes} are allowed")
        if any(unicodedata.category(character) in _UNSEEN for character in text):
            raise _bad(name, "has control characters")
        if "\\" in text:
            raise _bad(name, "has a backslash")
        if text.startswith("/"):
            raise _bad(name, "is absolute")
        said = text.removesuffix("/").split("/") if folder else text.split("/")
        parts = [part for part in said if part != "."]
        for part in parts:
            if part in ("", ".."):
                raise _bad(name, f"has the part {part!r}")
            if _DRIVE.match(part):
                raise _bad(name, "names a drive")
            if len(part.encode()) > _COMPONENT_BYTES:
                raise _bad(name, f"has a part of more than {_COMPONENT_BYTES} bytes")
        if len(parts) > self._limits.depth:
            raise _bad(name, f"is {len(parts)} folders deep, {self._limits.depth} are allowed")
        return parts

    def _spell(self, path: str) -> None:
        """Where a file system takes names alike that differ in case or in how accents are written, they are one."""
        alike = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        before = self._spelled.setdefault(alike, path)
        if before != path:
            fact = f"{quoted(before)} and {quoted(path)} are one name on some file systems"
            raise ArchiveError(Flaw.TWICE, fact)


def _bad(name: bytes, why: str) -> ArchiveError:
    return ArchiveError(Flaw.NAME, f"the name {quoted(name)} {why}")
