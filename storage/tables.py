"""The tables, as peewee models, made from the records: one column for each field, in the same order.

The schema itself comes from the migrations; a test holds that the two agree. The models are not bound
to a database: run a query with `query.execute(database.peewee)`.
"""

from __future__ import annotations

from typing import Any

import peewee

from domain.records import RECORDS, Record


class IdField(peewee.Field):
    """A UUID as canonical text in Python; `uuid` in PostgreSQL, text in SQLite."""

    field_type = "UUID"


_FIELDS: dict[str, type[peewee.Field]] = {
    "Id": IdField,
    "str": peewee.TextField,
    "int": peewee.BigIntegerField,
    "Micros": peewee.BigIntegerField,
    "bytes": peewee.BlobField,
}


def _columns(record: type[Record]) -> dict[str, tuple[str, bool]]:
    """Column -> (plain type name, may be NULL), read off the record's annotations."""
    texts = {name: str(record.__annotations__[name]) for name in record.__struct_fields__}
    return {name: (text.removesuffix(" | None"), text.endswith(" | None")) for name, text in texts.items()}


COLUMNS: dict[type[Record], dict[str, tuple[str, bool]]] = {record: _columns(record) for record in RECORDS}


def _model(name: str, table: str, columns: dict[str, tuple[str, bool]], key: tuple[str, ...]) -> type[peewee.Model]:
    meta = type("Meta", (), {"table_name": table, "primary_key": peewee.CompositeKey(*key) if len(key) > 1 else None})
    if len(key) == 1:
        del meta.primary_key  # type: ignore[attr-defined]
    fields: dict[str, Any] = {
        column: _FIELDS[kind](null=null, primary_key=key == (column,)) for column, (kind, null) in columns.items()
    }
    return type(name, (peewee.Model,), {"Meta": meta, **fields})


TABLES: dict[type[Record], type[peewee.Model]] = {
    record: _model(record.__name__, record.TABLE, COLUMNS[record], record.KEY) for record in RECORDS
}

SiteBeat = _model(
    "SiteBeat",
    "site_beats",
    {"site_id": ("Id", False), "seen_at": ("Micros", False), "handed_out": ("int", False)},
    ("site_id",),
)
"""When a site was last heard of, and how far its inbox was handed out; written by the lean lane only."""

TokenUse = _model("TokenUse", "token_uses", {"token_id": ("Id", False), "used_at": ("Micros", False)}, ("token_id",))
"""When a token was last used; written by the lean lane only."""

ProcessClock = _model(
    "ProcessClock",
    "process_clocks",
    {"process": ("str", False), "role": ("str", False), "offset_us": ("int", False), "seen_at": ("Micros", False)},
    ("process",),
)
"""How far a process's own clock is off; written by that process (storage/clocks.py)."""

EVERY_TABLE: tuple[type[peewee.Model], ...] = (*TABLES.values(), SiteBeat, TokenUse, ProcessClock)
