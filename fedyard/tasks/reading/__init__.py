"""Ways to a site's own data: what files, folders and databases hold, by the names of columns. They stay here."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fedyard.tasks import TaskError
from fedyard.tasks.sources import Source, is_url

if TYPE_CHECKING:
    from fedyard.tasks.reading.tables import Column, Table

MAX_FILES: Final = 10_000
"""Of one folder."""
_PARQUET: Final = b"PAR1"
_ZIP: Final = b"PK\x03\x04"


def read(source: Source) -> Table:
    """The table of a file, a folder's files, or a database. Raises `TaskError`: line, column, remedy; no value."""
    from fedyard.tasks.reading.tables import Table  # noqa: PLC0415 - numpy is heavy; the agent has no use for it

    if source.fault:
        raise TaskError(source.fault)
    if is_url(source.where):
        from fedyard.tasks.reading.databases import read_database  # noqa: PLC0415 - an extra

        return Table([read_database(source)], "the query's result")
    path = Path(source.where)
    if path.is_dir():
        return _folder(path, source)
    return Table([_file(path, source)], path.name)


def _folder(path: Path, source: Source) -> Table:
    """Its files one below the other; they must have the same columns."""
    from fedyard.tasks.reading.tables import Table  # noqa: PLC0415 - as above

    try:
        files = sorted(file for file in path.iterdir() if not file.name.startswith((".", "_")))
    except OSError as error:
        raise TaskError(f"the folder {path.name} cannot be read by this site's agent ({error.strerror})") from None
    if not files:
        raise TaskError(f"the folder {path.name} is empty: put the data's files into it")
    if len(files) > MAX_FILES:
        raise TaskError(f"the folder {path.name} has {len(files)} files, {MAX_FILES} at most: put some together")
    parts = [_file(file, source) for file in files]
    for file, part in zip(files[1:], parts[1:], strict=True):
        if set(part) != set(parts[0]):
            odd = sorted(set(part) ^ set(parts[0]))
            raise TaskError(
                f"{file.name} has other columns than {files[0].name} of the same folder: {', '.join(odd[:5])[:200]}"
            )
    return Table(parts, f"the folder {path.name}")


def _file(path: Path, source: Source) -> dict[str, Column]:
    from fedyard.tasks.reading import text  # noqa: PLC0415 - as above
    from fedyard.tasks.reading.arrays import read_arrays  # noqa: PLC0415 - as above
    from fedyard.tasks.reading.delimited import read_delimited  # noqa: PLC0415 - as above
    from fedyard.tasks.reading.parquet import read_parquet  # noqa: PLC0415 - as above

    try:
        if not path.is_file():
            raise TaskError(f"there is no data file {path.name} at this site: name it in the [data] of site.toml")
        if path.stat().st_size > text.FILE_LIMIT_BYTES:
            raise TaskError(f"the data file {path.name} has more than {text.FILE_LIMIT_BYTES} bytes")
        with path.open("rb") as stream:
            start = stream.read(len(_PARQUET))
        if start == _PARQUET:
            return read_parquet(path)
        if start == _ZIP and path.suffix == ".npz":
            return read_arrays(path)
        return read_delimited(path, source.reading)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise TaskError(f"{path.name} is cut off or damaged: it cannot be unpacked to its end") from None
    except OSError as error:
        raise TaskError(f"{path.name} cannot be read by this site's agent ({error.strerror})") from None
