"""Lists of what the hub answers: as any list, and as a table in a notebook or a data frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from fedyard.wire.notebooks import list_html

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")

PANDAS_MISSING = 'data frames need pandas: pip install "fedyard[tables]"'


class MissingExtra(ImportError):
    """An optional package is not installed; the sentence says how to."""


class Listed(list[T]):
    """A list that shows itself as a table."""

    def _repr_html_(self) -> str:
        return list_html(self)

    def frame(self) -> pd.DataFrame:
        """A row for each item, a column for each of its fields. Raises `MissingExtra` without pandas."""
        return frame_of([_plain(one) for one in self])

    to_pandas = frame


def frame_of(rows: list[dict[str, object]], columns: list[str] | None = None) -> pd.DataFrame:
    """A row each. Raises `MissingExtra` without pandas."""
    try:
        import pandas  # noqa: ICN001, PLC0415 - an extra, and heavy
    except ImportError:
        raise MissingExtra(PANDAS_MISSING) from None
    return pandas.DataFrame(rows, columns=columns)


def _plain(item: object) -> dict[str, object]:
    if not isinstance(item, msgspec.Struct):
        return {"value": item}
    if type(item).__repr__ is not msgspec.Struct.__repr__:
        return {"value": repr(item)}
    return msgspec.structs.asdict(item)
