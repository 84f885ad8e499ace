"""Writes that the database cannot take: nothing of them stays, and who wrote knows that trying again helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from domain import records as r
from domain.commands import Beat
from domain.ids import derive
from storage.database import Database, DatabaseUnavailable, open_database
from storage.migrate import migrate
from storage.store import Changes, Store


@pytest.fixture
def full(tmp_path: Path) -> Any:
    """An SQLite store whose disk is full."""
    database = open_database(f"sqlite:///{tmp_path}/store.sqlite")
    migrate(database)
    database.hold()
    database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0]}")
    yield database
    database.close()


def organisations(count: int) -> list[r.Record]:
    return [
        r.Organisation(id=derive("organisation", n), name=f"organisation {n} " * 40, created_at=n) for n in range(count)
    ]


def test_a_batch_on_a_full_disk_is_to_be_tried_again(full: Database) -> None:
    store = Store(full)
    with pytest.raises(DatabaseUnavailable, match="full"), store.deciding() as transaction:
        transaction.write(Changes(rows={r.Organisation: organisations(200)}))
    with full.connection():
        assert full.one("SELECT count(*) FROM organisations") == (0,)


def test_heartbeats_on_a_full_disk_are_to_be_tried_again(full: Database) -> None:
    store = Store(full)
    beats = [Beat(site_id=derive("site", n), seen_at=n) for n in range(2000)]
    with pytest.raises(DatabaseUnavailable, match="full"):
        store.record_heartbeats(beats, [])
    with full.connection():
        assert full.one("SELECT count(*) FROM site_beats") == (0,)


ODD = ("NULL", "", 'a "quoted" name', "a\\backslash\\", "{x,y}", "it's", "ü€😀", "line\nline\ttab", "%s $1 {any}")


def test_text_comes_back_as_it_was(empty: Database) -> None:
    migrate(empty)
    made: list[r.Record] = [
        r.Organisation(id=derive("organisation", n), name=name, created_at=n) for n, name in enumerate(ODD)
    ]
    tokens: list[r.Record] = [
        r.Token(
            id=derive("token", n),
            owner_kind="site",
            owner_id=derive("owner", n),
            sha256=str(n),
            label=label,
            scopes="read",
            created_at=-n,
            expires_at=None if n % 2 else n,
        )
        for n, label in enumerate(ODD)
    ]
    with Store(empty).deciding() as transaction:
        transaction.write(Changes(rows={r.Organisation: made, r.Token: tokens}))
    with empty.connection():
        for kind, records in ((r.Organisation, made), (r.Token, tokens)):
            found = empty.all(f"SELECT {', '.join(kind.__struct_fields__)} FROM {kind.TABLE}")
            assert {kind(*row) for row in found} == set(records)
