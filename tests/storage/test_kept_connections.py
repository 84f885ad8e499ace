"""Connections to SQLite that stay open between their threads' turns."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from storage.database import Database, DatabaseUnavailable, open_database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    opened = open_database(f"sqlite:///{tmp_path}/store.sqlite", kept=1)
    with opened.connection():
        opened.execute("CREATE TABLE things (name TEXT)")
    return opened


def connection_of(database: Database) -> Any:
    with database.connection():
        return database.peewee.connection()


def test_one_thread_after_another_has_the_same_connection(database: Database) -> None:
    found: list[Any] = [connection_of(database)]
    other = threading.Thread(target=lambda: found.append(connection_of(database)))
    other.start()
    other.join()
    assert found[0] is found[1]


def test_two_at_once_have_two_and_one_of_them_is_kept(database: Database) -> None:
    with database.connection():
        mine, theirs = database.peewee.connection(), []
        other = threading.Thread(target=lambda: theirs.append(connection_of(database)))
        other.start()
        other.join()
    assert theirs[0] is not mine
    assert connection_of(database) is theirs[0]
    with pytest.raises(Exception, match="closed database"):
        mine.execute("SELECT 1")


def test_a_connection_that_failed_is_not_kept(database: Database) -> None:
    before = connection_of(database)
    with pytest.raises(DatabaseUnavailable), database.connection():
        raise DatabaseUnavailable("the disk is gone")
    assert connection_of(database) is not before


def test_one_that_somebody_left_in_a_transaction_is_not_kept(database: Database) -> None:
    with database.connection():
        before = database.peewee.connection()
        before.execute("BEGIN")
        before.execute("INSERT INTO things VALUES ('half')")
    assert connection_of(database) is not before
    with database.connection():
        assert database.all("SELECT name FROM things") == []


def test_what_others_write_is_seen_and_nothing_stays_open_at_the_end(database: Database, tmp_path: Path) -> None:
    other = open_database(f"sqlite:///{tmp_path}/store.sqlite")
    with other.connection():
        other.execute("INSERT INTO things VALUES ('theirs')")
    with database.connection():
        assert database.all("SELECT name FROM things") == [("theirs",)]
    database.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.sqlite"]  # who closes last leaves no log
