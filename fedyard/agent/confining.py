"""What the process of a task run may reach, as paths, of what a site's people say of its project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fedyard.tasks.code import Code
from fedyard.tasks.confined import Confine, Confinement
from fedyard.tasks.sources import Source, is_url

_BESIDE = ("", "-wal", "-shm", "-journal")


def confinement_of(
    said: Confine, site: Path, sources: Mapping[str, Source], code: Code | None, write: Iterable[str]
) -> Confinement | None:
    """None where it shall not be confined. site: the site's folder. code: the task's. write: what is the task's own."""
    if said.on == "never":
        return None
    return Confinement(
        site=str(site),
        read=sorted({*_places(sources), *_modules(code), *_whole(site, said.read)}),
        write=sorted({*write} | _whole(site, said.write)),
        modules=code is None or not code.only,
        network=said.network,
        workers=said.workers,
        environment=said.environment,
        memory_bytes=said.memory_bytes,
        cpu_s=said.cpu_s,
        required=said.on == "always",
    )


def why_unreachable(said: Confine, name: str, source: Source) -> str:
    """Why a task cannot read one of the data that it is shown; empty if it can."""
    if said.on == "never" or said.network or not is_url(source.where) or _is_sqlite(source.where):
        return ""
    return (
        f"data {name}: it lies in a database, and this site lets the tasks of this project open no connection; its "
        "people can, with network = true in the project's confine"
    )


def _places(sources: Mapping[str, Source]) -> Iterator[str]:
    for source in sources.values():
        if not is_url(source.where):
            yield source.where
        elif _is_sqlite(source.where):
            file = source.where.partition(":///")[2].partition("?")[0]
            yield from (file + beside for beside in _BESIDE)


def _modules(code: Code | None) -> Iterator[str]:
    """Its files; where no other modules of the site's folder are read, what lies beside them in its packages, too."""
    for one in () if code is None else code.files:
        if one.file:
            yield one.file
        if code is not None and code.only and one.package and one.digest and "." not in one.module:
            yield str(Path(one.file).parent)


def _is_sqlite(where: str) -> bool:
    return where.lower().startswith("sqlite") and ":///" in where


def _whole(site: Path, paths: Iterable[str]) -> set[str]:
    return {str(site / path) for path in paths}
