"""Is the database still the one that its history was made in? And what of the revocations is not in the ledger yet.

A fingerprint says where the database is: a restored dump, a promoted replica or a moved file has another one. What it
cannot tell (a cold copy put back where it was) the marks of the inboxes do, site by site.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from domain.commands import ChangeHistory
from domain.ids import Id
from domain.values import Micros
from storage.database import Database, DatabaseUnavailable

_PARTS: dict[str, tuple[str, str]] = {
    "system": ("SELECT system_identifier::text FROM pg_control_system()", "it lies in another PostgreSQL cluster"),
    "timeline": (
        "SELECT CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END",
        "its server was promoted or restored",
    ),
    "database": (
        "SELECT oid::text FROM pg_database WHERE datname = current_database()",
        "it lies in another database of the server",
    ),
    "table": ("SELECT 'history'::regclass::oid::text", "its tables were made anew"),
}
"""What of PostgreSQL tells one from another, each readable by everybody as PostgreSQL comes; and what a change means.
A part that this role may not read, or that a replica cannot tell, is left out and not compared."""
_FILE = "its file was put in the place of another"
MAX_NAMES = 500

_UNWRITTEN = """
SELECT name FROM (
  SELECT 'token-' || sha256 AS name FROM tokens WHERE revoked_at >= %s
  UNION ALL SELECT 'enrolment-' || sha256 FROM enrolments WHERE used_at >= %s
  UNION ALL SELECT 'key-' || CAST(site_id AS TEXT) || '-' || CAST(epoch AS TEXT) || '-' || digest FROM site_keys
    WHERE state = 'revoked' AND revoked_at >= %s
  UNION ALL SELECT 'site-' || CAST(id AS TEXT) FROM sites WHERE state = 'retired' AND state_at >= %s
  UNION ALL SELECT 'account-' || CAST(id AS TEXT) FROM accounts WHERE disabled_at >= %s
) revoked
WHERE NOT EXISTS (SELECT 1 FROM revocations WHERE revocations.name = revoked.name)
ORDER BY name LIMIT %s
"""
"""`since` five times, then how many. What was revoked before it is passed over without a look into `revocations`."""
_WRITTEN = {
    True: "INSERT INTO revocations (name, at) SELECT name, %s FROM unnest(%s::text[]) AS name ON CONFLICT DO NOTHING",
    False: "INSERT INTO revocations (name, at) SELECT value, %s FROM json_each(%s) WHERE true ON CONFLICT DO NOTHING",
}
"""One statement for all names; true for PostgreSQL."""


class Told(NamedTuple):
    """The row of the history, as far as operators want to know it. changes: 0 for a hub that was never restored."""

    history_id: Id
    since: Micros
    changes: int
    reason: str


def read_history(database: Database) -> Told:
    """Raises `DatabaseUnavailable`."""
    with database.connection():
        row = database.one("SELECT history_id, since, changes, reason FROM history")
    assert row is not None, "a migrated store has a history"
    return Told(*row)


def recovered(database: Database) -> tuple[int, int]:
    """How many of the sites that were there when the history changed have recovered, and how many there are."""
    with database.connection():
        row = database.one(
            "SELECT count(recoveries.site_id), count(*) FROM sites JOIN history ON sites.created_at <= history.since"
            " LEFT JOIN recoveries ON recoveries.site_id = sites.id AND recoveries.history_id = history.history_id"
            " WHERE sites.state <> 'retired' AND history.changes > 0"
        )
    return (int(row[0]), int(row[1])) if row else (0, 0)


def fingerprint_of(database: Database) -> dict[str, str]:
    """Where this database is, as far as can be told. Raises `DatabaseUnavailable` if it cannot be asked at all."""
    with database.connection():
        if not database.postgres:
            return {"file": _file(database)}
        database.one("SELECT 1")
        found = {part: _ask(database, sql) for part, (sql, _) in _PARTS.items()}
    return {part: said for part, said in found.items() if said}


def _ask(database: Database, sql: str) -> str | None:
    try:
        row = database.one(sql)
    except DatabaseUnavailable:
        raise
    except Exception:  # noqa: BLE001 - not for this role, or not on a replica: then it tells nothing
        return None
    return None if row is None or row[0] is None else str(row[0])


def _file(database: Database) -> str:
    """The file's number on its disk: another one where a copy was moved here, the same where it was written over."""
    return str(os.stat(Path(str(database.peewee.database))).st_ino)  # noqa: PTH116 - one call, of one file


def finding(database: Database, drawn: Id) -> ChangeHistory | None:
    """What has to be decided on the history; None while the database is where it was. drawn: an id for a new history.

    Raises `DatabaseUnavailable`.
    """
    now = fingerprint_of(database)
    with database.connection():
        row = database.one("SELECT history_id, fingerprint FROM history")
    assert row is not None, "a migrated store has a history"
    before: dict[str, str] = msgspec.json.decode(row[1]) if row[1] else {}
    text = msgspec.json.encode(now, order="deterministic").decode()
    moved = sorted(part for part in before.keys() & now.keys() if before[part] != now[part])
    if not moved and before.keys() >= now.keys():
        return None
    why = "; ".join(_PARTS[part][1] if part in _PARTS else _FILE for part in moved)
    return ChangeHistory(before=row[0], history_id=drawn, fingerprint=text, reason=why, known=not moved)


def unwritten(database: Database, since: Micros = 0, at_most: int = MAX_NAMES) -> list[str]:
    """Names of what was revoked from `since` on and is not known to be in the ledger (domain/ledger.py).

    Tables are scanned, since revoking is too rare to keep an index for it; `since` spares the comparison with all names
    that were ever written, which grows for ever.
    """
    with database.connection():
        return [row[0] for row in database.all(_UNWRITTEN, *[since] * 5, at_most)]


def written(database: Database, names: Iterable[str], at: Micros) -> None:
    """These are in the ledger now."""
    wanted = sorted(set(names))
    if wanted:
        with database.connection():
            database.execute(_WRITTEN[database.postgres], (at, database.many(wanted)))


def unknown(database: Database, names: Iterable[str]) -> list[str]:
    """Those of the ledger's names that this store does not know of."""
    wanted = sorted(set(names))
    with database.connection():
        known = database.all("SELECT name FROM revocations WHERE name {any}", database.many(wanted))
    return sorted(set(wanted) - {row[0] for row in known})
