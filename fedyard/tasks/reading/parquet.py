"""A parquet file as columns, by pyarrow (the extra `tables`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedyard.tasks import TaskError
from fedyard.tasks.reading import text as t
from fedyard.tasks.reading.tables import Column, Typed


def read_parquet(path: Path) -> dict[str, Column]:
    """The columns by name. Raises `TaskError`, also where pyarrow is missing."""
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and heavy
        from pyarrow import parquet  # noqa: PLC0415 - as above
    except ImportError:
        raise TaskError(f'{path.name} is a parquet file, which needs pyarrow: pip install "fedyard[tables]"') from None
    try:
        with parquet.ParquetFile(path) as file:
            size = sum(file.metadata.row_group(at).total_byte_size for at in range(file.metadata.num_row_groups))
            if size > t.FILE_LIMIT_BYTES:
                raise TaskError(f"{path.name} unpacks to more than {t.FILE_LIMIT_BYTES} bytes")
            found = file.read()
    except pa.ArrowException:
        raise TaskError(f"{path.name} is no parquet file, or is damaged") from None
    names = [t.plain(name) for name in found.column_names]
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            raise TaskError(f"{path.name}: column {number + 1} has no name of its own: rename it")
    if not names or not found.num_rows:
        raise TaskError(f"{path.name} has no rows")
    columns = zip(names, found.columns, strict=True)
    return {name: Typed(name, _values(column, pa), _missing(column), path.name) for name, column in columns}


def _missing(column: Any) -> NDArray[np.bool_]:
    import pyarrow.compute as pc  # noqa: PLC0415 - as above

    return np.asarray(pc.is_null(column, nan_is_null=True), dtype=np.bool_)


def _values(column: Any, pa: Any) -> NDArray[Any]:
    kind, types = column.type, pa.types
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_timestamp(kind) or types.is_date(kind):
        return np.asarray(column.cast(pa.timestamp("us")), dtype="datetime64[us]")
    if types.is_boolean(kind):
        return np.asarray(column.fill_null(False), dtype=np.bool_)
    if types.is_integer(kind):
        return np.asarray(column.fill_null(0))
    if types.is_floating(kind):
        return np.asarray(column, dtype=np.float64)
    return np.array(column.to_pylist(), dtype=object)
