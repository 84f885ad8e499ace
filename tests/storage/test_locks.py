"""SQLite's locks belong to the process: a file that is open must never be opened and closed beside SQLite."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

from storage.database import open_database
from tests.hub import TestClock
from tests.ops.program import Program, call, create_account, fedyard
from web.live.connections import Connections, Limits

LOOK = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT count(*) FROM t'); db.close()"


def test_another_process_that_looks_and_leaves_does_not_take_the_log_away(tmp_path: Path) -> None:
    url, path = f"sqlite:///{tmp_path}/store.sqlite", tmp_path / "store.sqlite"
    first = open_database(url)
    with first.connection():
        first.execute("CREATE TABLE t (a)")
        with open_database(url).connection():  # as the hub's other parts do
            pass
        before = path.with_name("store.sqlite-wal").stat().st_ino
        subprocess.run([sys.executable, "-c", LOOK, str(path)], check=True)
        assert path.with_name("store.sqlite-wal").stat().st_ino == before
        first.execute("INSERT INTO t VALUES (1)")
    first.close()
    assert path.read_bytes().startswith(b"SQLite format 3")


def test_a_look_at_the_connections_leaves_the_locks_of_files_alone(tmp_path: Path) -> None:
    database, path = open_database(f"sqlite:///{tmp_path}/store.sqlite"), tmp_path / "store.sqlite"
    with database.connection():
        database.execute("CREATE TABLE t (a)")
        before = path.with_name("store.sqlite-wal").stat().st_ino
        Connections(Limits(45, 20, 1000, 8), TestClock()).look()
        subprocess.run([sys.executable, "-c", LOOK, str(path)], check=True)
        assert path.with_name("store.sqlite-wal").stat().st_ino == before
    database.close()


def test_a_hub_at_work_loses_nothing_while_commands_run_beside_it(tmp_path: Path) -> None:
    data, done, made = tmp_path / "hub", threading.Event(), list[str]()
    hub = Program(tmp_path / "log", "embedded", "--data", data, "--port", "0", FEDYARD_WRITES_PER_S="100000")
    try:
        api = hub.ready()
        token = create_account(data)

        def write() -> None:
            while not done.is_set():
                name = f"Number {len(made)}"
                status, answer = call(api, "/v1/organisations", token, {"name": name}, wait=20)
                assert status == 201, answer
                made.append(name)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(2):
                create_account(data, f"account {number}")
                kept = fedyard("backup", "--to", tmp_path / f"kept{number}", "--data", data)
                assert kept.returncode == 0, kept.stderr
        finally:
            done.set()
            writer.join()
        assert "disk I/O" not in hub.output
    finally:
        hub.end(signal.SIGKILL)
    with sqlite3.connect(data / "store.sqlite") as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        names = {row[0] for row in store.execute("SELECT name FROM organisations")}
        accounts = {row[0] for row in store.execute("SELECT name FROM accounts")}
    assert made
    assert names >= set(made)
    assert accounts >= {"ada", *(f"account {number}" for number in range(2))}
