"""Migrations: from empty and from the version before, on both databases; the tables are what the records say."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.clock import draw_id
from domain.records import RECORDS
from storage.database import Database, DatabaseUnavailable, open_database
from storage.migrate import MIGRATIONS, migrate, missing
from storage.tables import COLUMNS

TABLES = {
    record.TABLE: [(name, null) for name, (_, null) in columns.items()] for record, columns in COLUMNS.items()
} | {
    "site_beats": [("site_id", False), ("seen_at", False), ("handed_out", False)],
    "site_agents": [("site_id", False), ("version", False), ("said_at", False)],
    "token_uses": [("token_id", False), ("used_at", False)],
    "process_clocks": [
        ("process", False),
        ("role", False),
        ("offset_us", False),
        ("seen_at", False),
        ("version", False),
        ("started_at", True),
        ("leads", True),
    ],
    "samples": [("name", False), ("at", False), ("process", False), ("value", False)],
    "readings": [("kind", False), ("name", False), ("read_at", False), ("text", False)],
}
"""Table -> its columns, and whether each may be NULL. Of the last ones no decision writes: they hold times only."""
NAMES = sorted(path.stem for path in Path(MIGRATIONS).glob("[0-9]*.py"))


def columns_of(database: Database, table: str) -> list[tuple[str, bool]]:
    with database.connection():
        return [(column.name, column.null) for column in database.peewee.get_columns(table)]


def test_numbers_run_without_gaps() -> None:
    assert [int(name[:4]) for name in NAMES] == list(range(1, len(NAMES) + 1))


def test_a_store_is_for_its_owner_only(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/store.sqlite")
    migrate(database)
    files = list(tmp_path.glob("store.sqlite*"))
    assert {file.name: file.stat().st_mode & 0o777 for file in files} == {file.name: 0o600 for file in files}
    database.close()


def test_a_place_where_no_store_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
        open_database(f"sqlite:///{tmp_path}/file/store.sqlite")


def test_an_empty_database_is_brought_up_to_date_once(empty: Database) -> None:
    assert missing(empty) == NAMES
    assert migrate(empty) == NAMES
    assert migrate(empty) == []
    assert missing(empty) == []


def test_the_tables_are_what_the_records_say(empty: Database) -> None:
    migrate(empty)
    for table, wanted in TABLES.items():
        assert columns_of(empty, table) == wanted


def test_rows_of_an_earlier_version_survive(empty: Database) -> None:
    """Of each: a row is written before each migration, and all are there after the last."""
    names = []
    for version in NAMES:
        assert migrate(empty, version) == [version]
        names.append(f"of {version}")
        with empty.connection():
            empty.execute("INSERT INTO organisations (id, name, created_at) VALUES (%s, %s, 1)", (draw_id(), names[-1]))
            assert {name for (name,) in empty.all("SELECT name FROM organisations")} == set(names)


def test_an_early_version_is_brought_up_to_date_at_once(empty: Database) -> None:
    assert migrate(empty, NAMES[1]) == NAMES[:2]
    assert migrate(empty) == NAMES[2:]


def test_every_record_has_a_table(empty: Database) -> None:
    migrate(empty)
    with empty.connection():
        assert {record.TABLE for record in RECORDS} <= set(empty.peewee.get_tables())
