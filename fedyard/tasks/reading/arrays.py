"""An NPZ file as columns: one array for each column, or X (rows by columns) with `features` and, if it is there, y."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import TaskError
from fedyard.tasks.reading import text as t
from fedyard.tasks.reading.tables import Column, Typed

LABEL = "y"
"""What the labels' column is called, which has no name in such a file."""


@contextmanager
def opened_npz(path: Path, needs: str) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of a file, each read when it is asked for. needs: what is said of one that holds something else.

    Raises `TaskError`, also where what is done with the arrays fails as a damaged or other file does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > t.FILE_LIMIT_BYTES:
                raise TaskError(f"{path.name} unpacks to more than {t.FILE_LIMIT_BYTES} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except (ValueError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise TaskError(needs) from None


def read_arrays(path: Path) -> dict[str, Column]:
    """The columns by name. Raises `TaskError`."""
    needs = f"{path.name} needs arrays of one length each, without objects, or X, features and y"
    with opened_npz(path, needs) as found:
        arrays = dict(found)
    if "X" in arrays and arrays["X"].ndim == 2:
        names, rows = arrays.pop("features", np.array([])), arrays.pop("X")
        if names.shape != rows.shape[1:]:
            raise TaskError(f"{path.name}: X has {rows.shape[1]} columns, features names {names.size}: name each")
        arrays = {_name(name): rows[:, at] for at, name in enumerate(names)} | arrays
        if len(arrays) < len(names):
            raise TaskError(f"{path.name}: two of the features have the same name")
    lengths = {array.shape for array in arrays.values()}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise TaskError(needs)
    if next(iter(lengths)) == (0,):
        raise TaskError(f"{path.name} has no rows")
    return {t.plain(name): _column(t.plain(name), array, path.name) for name, array in arrays.items()}


def _name(name: Any) -> str:
    return t.plain(name.decode(errors="replace") if isinstance(name, bytes) else str(name))


def _column(name: str, values: NDArray[Any], file: str) -> Column:
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "U":
        values = values.astype(object)
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=np.bool_)
    if values.dtype.kind == "M":
        missing = np.isnat(values)
    return Typed(name, values, missing, file)
