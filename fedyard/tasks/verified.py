"""Importing a task's code by its digests: what the agent has digested is what runs, whatever becomes of the files.

A file is read once, compared and compiled from what was read; compiled files that lie beside it are not used.
"""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

from fedyard.tasks import TaskError
from fedyard.tasks.code import SUFFIX, Code, CodeFile

_OURS = Path(__file__).absolute().parents[1]


class _Source(SourceFileLoader):
    def __init__(self, one: CodeFile) -> None:
        super().__init__(one.module, one.file)
        self._digest = one.digest

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - of the interface
        content = self.get_data(self.path)
        if hashlib.sha256(content).hexdigest() != self._digest:
            raise changed(self.path)
        return self.source_to_code(content, self.path)


class Verified(MetaPathFinder):
    """Finds the modules of a task's code, before any other finder does."""

    def __init__(self, code: Code) -> None:
        self._files = {one.module: one for one in code.files}
        self._tops = {name.partition(".")[0] for name in self._files}
        self._only = code.only
        self._folder = Path(code.folder).resolve()

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,  # noqa: ARG002 - of the interface
    ) -> ModuleSpec | None:
        """None for what is none of the task's. Raises `TaskError` for a file that is not as it was digested."""
        one = self._files.get(fullname)
        if one is None:
            if self._only and (fullname.partition(".")[0] in self._tops or self._is_of_the_site(fullname, path)):
                raise ModuleNotFoundError(
                    f"{fullname} is not among the files that are allowed here by a digest", name=fullname
                )
            return None
        if not one.digest:
            spec = ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [one.file]
            return spec
        below = [str(Path(one.file).parent)] if one.package else None
        loader: SourceFileLoader | ExtensionFileLoader
        if one.file.endswith(SUFFIX):
            loader = _Source(one)
        else:
            if hashlib.sha256(Path(one.file).read_bytes()).hexdigest() != one.digest:
                raise changed(one.file)
            loader = ExtensionFileLoader(fullname, one.file)
        return spec_from_file_location(fullname, one.file, loader=loader, submodule_search_locations=below)

    def _is_of_the_site(self, fullname: str, path: Sequence[str] | None) -> bool:
        """True for a module that would be found in the site's folder, as where code has put that on `sys.path`."""
        found = PathFinder.find_spec(fullname, path)
        if found is None:
            return False
        files = [found.origin] if found.has_location and found.origin else found.submodule_search_locations or ()
        where = [Path(file).resolve() for file in files]
        return any(
            file.is_relative_to(self._folder) and not any(file.is_relative_to(other) for other in _NOT_THE_SITES)
            for file in where
        )


_NOT_THE_SITES = frozenset(
    Path(place).resolve() for place in (sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), _OURS)
)
"""Python, its packages and ours, should they lie below a site's folder."""


def changed(file: str) -> TaskError:
    return TaskError(f"{Path(file).name} was changed while it was about to be imported: nothing of it ran")


def import_by(code: Code) -> None:
    """From now on this process imports the task's modules by their digests."""
    sys.meta_path.insert(0, Verified(code))
