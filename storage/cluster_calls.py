"""Calls of the hub's clusters, added up over all processes and their restarts. The rows are few, and stay."""

from __future__ import annotations

from collections.abc import Mapping

from config.cluster_calls import Call, Count
from storage.database import Database

_ADD = (
    "INSERT INTO cluster_calls (cluster, verb, outcome, within_ms, calls, micros) VALUES {rows}"
    " ON CONFLICT (cluster, verb, outcome, within_ms) DO UPDATE SET"
    " calls = cluster_calls.calls + EXCLUDED.calls, micros = cluster_calls.micros + EXCLUDED.micros"
)


def add_calls(database: Database, counted: Mapping[Call, Count]) -> None:
    """In one statement, or not at all. Raises `DatabaseUnavailable`."""
    if not counted:
        return
    values = [value for call, count in sorted(counted.items()) for value in (*call, *count)]
    with database.connection():
        database.execute(_ADD.format(rows=", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(counted))), values)


def read_calls(database: Database) -> dict[Call, Count]:
    """Raises `DatabaseUnavailable`."""
    with database.connection():
        rows = database.all(
            "SELECT cluster, verb, outcome, within_ms, calls, micros FROM cluster_calls"
            " ORDER BY cluster, verb, outcome, within_ms"
        )
    return {Call(*row[:4]): Count(*row[4:]) for row in rows}
