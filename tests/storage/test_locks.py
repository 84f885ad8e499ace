"""SQLite's locks belong to the process: a file that is open must never be opened and closed beside SQLite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from storage.database import open_database

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
