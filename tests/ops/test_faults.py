"""What the log says of an error that nobody expected: enough to find it, and nothing that somebody sent."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import peewee
import pytest

from broker.port import BrokerUnavailable
from config.clock import SystemClock
from config.faults import fault, in_a_line
from config.logs import JsonLines
from devservers.postgres import PrivatePostgres
from storage.database import open_database
from tests.databases import lent_postgres
from web.problems import Problems

SENT = "the-patients-name"


def attempt(does: Callable[[], object]) -> dict[str, object]:
    with pytest.raises(Exception) as caught:
        does()
    assert SENT not in in_a_line(caught.value)
    return fault(caught.value)


def doubled() -> None:
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE runs (name TEXT UNIQUE)")
    for _ in range(2):
        base.execute("INSERT INTO runs VALUES (?)", (SENT,))


def broken() -> None:
    raise BrokerUnavailable("the journal is full")


def no_method() -> None:
    getattr(SENT, "decide")()  # noqa: B009


@pytest.mark.parametrize(
    ("does", "error", "said"),
    [
        (lambda: Path("/nowhere/x").read_bytes(), "FileNotFoundError", "No such file or directory: /nowhere/x"),
        (doubled, "IntegrityError", "UNIQUE constraint failed: runs.name"),
        (broken, "BrokerUnavailable", "the journal is full"),
        (no_method, "AttributeError", "'str' object has no attribute 'decide'"),
        (lambda: {}[SENT], "KeyError", None),
        (lambda: float(SENT), "ValueError", None),
        (lambda: json.loads(SENT), "JSONDecodeError", None),
    ],
)
def test_class_text_and_place(does: Callable[[], object], error: str, said: str | None) -> None:
    told = attempt(does)
    assert (told["error"], told.get("said")) == (error, said)
    assert "tests/ops/test_faults.py:" in json.dumps(told["at"])


def test_a_database_is_quoted_without_its_rows(postgres: PrivatePostgres) -> None:
    with lent_postgres(postgres) as url:
        database = open_database(url, pool=1)
        with database.connection():
            database.execute("CREATE TEMPORARY TABLE notes (text TEXT UNIQUE)")
            database.execute("INSERT INTO notes VALUES (%s)", (SENT,))
            doubled = attempt(lambda: database.execute("INSERT INTO notes VALUES (%s)", (SENT,)))
            database.peewee.rollback()
            odd = attempt(lambda: database.execute("SELECT %s::uuid", (SENT,)))
        database.close()
    assert doubled["error"] == peewee.IntegrityError.__name__
    assert doubled["said"] == '23505 duplicate key value violates unique constraint "notes_text_key"'
    assert "said" not in odd


def test_the_log_of_a_bug_says_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """By the web's own catch, and wherever something is logged with its traceback."""
    with pytest.raises(OSError, match="No such") as caught:
        Path("/nowhere/x").read_bytes()
    assert Problems(SystemClock()).answer_to(caught.value).status_code == 500
    logging.getLogger("ops.embedded").error("a part failed; the hub stops", exc_info=caught.value)
    web, embedded = (json.loads(JsonLines("embedded").format(record)) for record in caplog.records)
    for line in (web, embedded):
        assert (line["error"], line["said"]) == ("FileNotFoundError", "No such file or directory: /nowhere/x")
        assert "tests/ops/test_faults.py" in line["at"][0]


def test_a_journal_that_cannot_be_written_says_why_in_the_log(tmp_path: Path) -> None:
    program = """
import logging, sys
from pathlib import Path
from broker.journal import Journal
from broker.port import BrokerUnavailable
from config.clock import SystemClock
from config.logs import set_up_logs
set_up_logs("embedded", "INFO")
journal = Journal(Path(sys.argv[1]), SystemClock())
try:
    journal.run(lambda db: db.execute("SELECT * FROM absent")).result(10)
except BrokerUnavailable as error:
    print(error, flush=True)
journal.close()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "journal")], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "the journal cannot be written; the hub's log says why"
    [line] = ran.stderr.splitlines()
    assert "OperationalError (no such table: absent) at" in json.loads(line)["what"]
