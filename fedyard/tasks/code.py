"""The code of a task at this site: which files it is made of, and a digest of them all.

It is found without being run: the model's module, and what that imports by statements, as far as it lies in the site's
folder (or, where the module lies elsewhere, in its own package). What other packages do is not in it. The hooks'
process imports these files by their digests (`verified.py`), so what was digested is what runs.
"""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import CodeType
from typing import Any, Final

import msgspec

MAX_FILES: Final = 2000
MAX_FILE_BYTES: Final = 16 * 2**20
SUFFIX: Final = ".py"
NAMED: Final = {
    "kaplan_meier": "fedyard.tasks.ready.survival",
    "linear_regression": "fedyard.tasks.ready.regression",
    "logistic_glm": "fedyard.tasks.ready.regression",
    "logistic_regression": "fedyard.tasks.logistic_regression",
    "table_one": "fedyard.tasks.ready.table_one",
}
"""The modules of the models that come with Fedyard (`registry.BUILT_IN`); digested with what is beside them."""
_OURS = "fedyard.tasks"
_CONTEXT = b"fedyard code 1\0"
_INIT = "__init__"


MAX_KNOWN: Final = 4096
"""Files whose imports are remembered, by their digests: each hook asks for them."""


class CodeFile(msgspec.Struct, frozen=True):
    """A module: the file that holds it, and its SHA-256 (hex); empty of a package without a file, whose folder it is.

    package: others lie below it.
    """

    module: str
    file: str
    digest: str
    package: bool = False


_KNOWN: dict[CodeFile, tuple[str, ...]] = {}


class Code(msgspec.Struct, frozen=True):
    """What a task's code is made of. digest: of all; empty where the module is not found here.

    only: of `folder`, the site's, nothing else may be imported, nor below a package that is among the files.
    """

    digest: str
    files: Sequence[CodeFile] = ()
    folder: str = ""
    only: bool = False


class CodeError(Exception):
    """The files cannot be digested; the sentence says why."""


def module_of(model: str) -> str:
    """The module of a model, `package.module:Class` or a name of one that comes with Fedyard."""
    return NAMED.get(model) or model.partition(":")[0]


def code_of(module: str, folder: Path, path: Sequence[str] = ()) -> Code:
    """The code of a module as it lies on disk now. path: where else modules are looked for, after the site's folder.

    Raises `CodeError` for what is too large or cannot be read.
    """
    found: dict[str, CodeFile] = {}
    top = module.partition(".")[0]
    here = _found(top, [folder]) is not None
    places = [folder] if here else [Path(place) for place in path if place]
    within = _OURS if module.startswith(_OURS) else top
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or not (here or f"{name}.".startswith(f"{within}.")):
            continue
        for part in _with_parents(name):
            if part in found:
                continue
            one = _module(part, found, places)
            if one is None:
                break
            found[part] = one
            if len(found) > MAX_FILES:
                raise CodeError(f"the code of {module} has more than {MAX_FILES} files")
            waiting += _imported(one)
    files = tuple(found[name] for name in sorted(found))
    return Code(_digest(files) if module in found else "", files, str(folder))


def _digest(files: Sequence[CodeFile]) -> str:
    """By modules' names and files' digests, so that it is the same wherever a site's folder lies."""
    said = "".join(f"{one.module}\0{one.digest}\n" for one in files)
    return hashlib.sha256(_CONTEXT + said.encode("utf-8", "surrogatepass")).hexdigest()


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def _module(name: str, found: dict[str, CodeFile], places: Sequence[Path]) -> CodeFile | None:
    """A module whose parents are found."""
    parent, _, last = name.rpartition(".")
    if parent:
        above = found[parent]
        if not above.package:
            return None
        places = [Path(above.file) if not above.digest else Path(above.file).parent]
    file = _found(last, places)
    if file is None:
        return None
    if file.is_dir():
        return CodeFile(name, str(file), "", package=True)
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise CodeError(f"{file.name} has more than {MAX_FILE_BYTES} bytes")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CodeError(f"{file.name} cannot be read: {error.strerror}") from None
    return CodeFile(name, str(file), digest, package=file.name.partition(".")[0] == _INIT)


def _found(name: str, places: Sequence[Path]) -> Path | None:
    """As Python finds it: a package, a compiled module, a file; else a folder without a file of its own."""
    without = None
    for place in places:
        for stem in (place / name / _INIT, place / name):
            for suffix in (*EXTENSION_SUFFIXES, SUFFIX):
                file = stem.with_name(stem.name + suffix)
                if file.is_file():
                    return file
        if without is None and (place / name).is_dir():
            without = place / name
    return without


def _imported(one: CodeFile) -> Sequence[str]:
    """The modules that a file may import by its statements; some of these names are no modules."""
    if not one.file.endswith(SUFFIX) or not one.digest:
        return ()
    known = _KNOWN.get(one)
    if known is not None:
        return known
    content = Path(one.file).read_bytes()
    names = tuple(_names_in(content, one))
    if hashlib.sha256(content).hexdigest() == one.digest:  # it may have been written meanwhile
        if len(_KNOWN) >= MAX_KNOWN:
            _KNOWN.clear()
        _KNOWN[one] = names
    return names


def _names_in(content: bytes, one: CodeFile) -> Iterator[str]:
    try:
        code = compile(content, one.file, "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError):  # the import says what is wrong with it
        return
    package = one.module if one.package else one.module.rpartition(".")[0]
    for name, level, asked in _import_statements(code):
        base = name
        if level:
            parts = package.split(".") if package else []
            above = parts[: len(parts) - level + 1]
            base = ".".join(filter(None, [*above, base]))
        if base:
            yield base
            yield from (f"{base}.{each}" for each in asked if each != "*")


def _import_statements(code: CodeType) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Module, level (0: absolute) and names of every import in it, in functions and classes, too.

    Read off what Python compiles: `ast.parse` is not safe in threads in Python 3.11 (it raises SystemError).
    """
    waiting = [code]
    while waiting:
        part = waiting.pop()
        waiting += (const for const in part.co_consts if isinstance(const, CodeType))
        loaded: list[Any] = [0, None]
        for instruction in dis.get_instructions(part):
            if instruction.opname == "IMPORT_NAME":
                level, asked = loaded[-2:]
                yield instruction.argval, level, asked or ()
            elif instruction.opname.startswith("LOAD_"):
                loaded = [loaded[-1], instruction.argval]
