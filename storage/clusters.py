"""How the reconciler finds the hub's clusters, told to the web: a row for each, of now."""

from __future__ import annotations

from collections.abc import Mapping

from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.database import Database

HEARD_WITHIN: Micros = 60 * SECOND
"""What was told longer ago tells nothing: then the reconciler itself is missed, which is a part of its own."""
_TELL = (
    "INSERT INTO cluster_states (cluster, trouble, at) VALUES (%s, %s, %s)"
    " ON CONFLICT (cluster) DO UPDATE SET trouble = EXCLUDED.trouble, at = EXCLUDED.at"
)


def tell(database: Database, troubles: Mapping[str, str], now: Micros) -> None:
    """By cluster, what is wrong with it; empty: nothing. Raises `DatabaseUnavailable`."""
    with database.connection():
        for cluster, trouble in sorted(troubles.items()):
            database.execute(_TELL, (cluster, trouble[:1000], now))


def told(database: Database, now: Micros) -> dict[str, str]:
    """What is wrong with those of which was told lately. Raises `DatabaseUnavailable`."""
    with database.connection():
        rows = database.all(
            "SELECT cluster, trouble FROM cluster_states WHERE trouble <> '' AND at > %s ORDER BY cluster",
            now - HEARD_WITHIN,
        )
    return {row[0]: row[1] for row in rows}
