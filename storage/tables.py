"""The columns of the tables that hold records: one for each field, in the same order; and what reads them.

The schema itself comes from the migrations; a test holds that the two agree.
"""

from __future__ import annotations

from domain.records import RECORDS, Record


def _columns(record: type[Record]) -> dict[str, tuple[str, bool]]:
    """Column -> (plain type name, may be NULL), read off the record's annotations."""
    texts = {name: str(record.__annotations__[name]) for name in record.__struct_fields__}
    return {name: (text.removesuffix(" | None"), text.endswith(" | None")) for name, text in texts.items()}


COLUMNS: dict[type[Record], dict[str, tuple[str, bool]]] = {record: _columns(record) for record in RECORDS}


def select(kind: type[Record], prefix: str = "") -> str:
    """All columns of a record's table, in the order of its fields. prefix: of the columns, where another is joined."""
    return f"SELECT {', '.join(prefix + name for name in COLUMNS[kind])} FROM {kind.TABLE}"
