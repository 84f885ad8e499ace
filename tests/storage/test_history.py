"""Is the database still the one that its history was made in?"""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from actors.deciding import decide_now
from config.clock import draw_id
from devservers.postgres import PrivatePostgres
from domain.codec import THE_HUB, envelope_of
from storage.database import Database, open_database
from storage.history import finding, fingerprint_of, read_history, recovered
from storage.migrate import migrate
from storage.store import Store


def settle(database: Database) -> str:
    """Decide what is found, if something is; why, or empty."""
    command = finding(database, draw_id())
    if command is None:
        return ""
    decide_now(Store(database), [envelope_of(command, id=draw_id(), by=THE_HUB, at=1)], 1)
    assert finding(database, draw_id()) is None
    return command.reason


def test_at_first_it_is_noted_where_the_database_is(database: Database) -> None:
    before = read_history(database)
    assert settle(database) == ""
    assert read_history(database)[:3] == before[:3]
    assert recovered(database) == (0, 0)


def test_a_role_that_may_do_nothing_else_can_tell_all_parts(postgres: PrivatePostgres) -> None:
    url = postgres.database()
    name = f"r_{draw_id().replace('-', '')}"
    postgres.sql("postgres", f"CREATE ROLE {name} LOGIN PASSWORD 'x'")
    postgres.sql(url.rpartition("/")[2], f"GRANT ALL ON SCHEMA public TO {name}")
    database = open_database(url.replace(f"{postgres.user}:{postgres.password}", f"{name}:x"))
    migrate(database)
    assert set(fingerprint_of(database)) == {"system", "timeline", "database", "table"}
    database.close()


@pytest.mark.parametrize("place", ["the same", "another"])
def test_a_dump_that_was_restored(postgres: PrivatePostgres, place: str) -> None:
    """As operators do it: pg_dump of a running hub, then into the same database or into another one."""
    url = postgres.database()
    database = open_database(url)
    migrate(database)
    settle(database)
    history = read_history(database).history_id
    dump = postgres.dump(url.rpartition("/")[2])
    database.close()
    target = url if place == "the same" else postgres.database()
    postgres.restore(target.rpartition("/")[2], dump)
    again = open_database(target)
    assert read_history(again).history_id == history
    assert "tables were made anew" in settle(again)
    assert read_history(again).history_id != history
    assert read_history(again).changes == 1
    again.close()


def test_a_copy_of_a_file_that_was_moved_back(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    settle(database)
    with database.connection(), sqlite3.connect(tmp_path / "copy") as copy:
        database.peewee.connection().backup(copy)
    copy.close()
    database.close()
    shutil.move(tmp_path / "copy", path)
    again = open_database(f"sqlite:///{path}")
    assert settle(again) == "its file was put in the place of another"
    again.close()
