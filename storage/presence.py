"""Which processes of the hub are there: each reports every ten seconds (storage/clocks.py), and one that is frozen,
dead or cut off from the database does not.

An idle hub decides nothing, so that from outside a frozen decider looks like a well one; its reports tell.
With SQLite all parts are threads of one process, which nobody has to be told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from config.processes import WORKERS, has_ended
from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.database import Database

REPORT_EVERY_S = 10.0
SILENT_AFTER: Micros = int(3 * REPORT_EVERY_S) * SECOND
"""Who has not reported for three times its span is silent."""
NAMED_FOR: Micros = 600 * SECOND
"""A silent process beside one of its role that works is named so long; then it is taken for one that was taken away."""
STAND_BY = "stand_by"


class Heard(NamedTuple):
    """When a process reported last."""

    process: str
    role: str
    seen_at: Micros


def heard(database: Database) -> list[Heard]:
    """The last report of each process that is remembered. Raises `DatabaseUnavailable`."""
    with database.connection():
        return [Heard(*row) for row in database.all("SELECT process, role, seen_at FROM process_clocks")]


def clear_away(database: Database, role: str) -> None:
    """Forget processes of this role that ended on this machine, however they did. Raises `DatabaseUnavailable`."""
    gone = [one.process for one in heard(database) if one.role == role and has_ended(one.process)]
    if gone:
        with database.connection():
            database.execute("DELETE FROM process_clocks WHERE process {any}", (database.many(gone),))


def sign_off(database: Database, process: str, now: Micros) -> None:
    """Forget a process that ends in order, if another one of its role goes on; the last one's silence shall show.

    Raises `DatabaseUnavailable`.
    """
    with database.connection():
        database.execute(
            "DELETE FROM process_clocks WHERE process = %s AND EXISTS (SELECT 1 FROM process_clocks AS other"
            " WHERE other.role = process_clocks.role AND other.process <> process_clocks.process"
            " AND other.seen_at >= %s)",
            (process, now - SILENT_AFTER),
        )


def silent(
    found: Iterable[Heard], now: Micros, begun_at: Micros, workers: Sequence[str] = WORKERS
) -> Mapping[str, str]:
    """What is wrong, by part: a role of a worker of which nobody reports, and `STAND_BY`: those beside one that works.

    begun_at: since when somebody has looked; a role that nobody has reported of is missed only some time later.
    workers: the roles that this hub has.
    """
    by_role: dict[str, list[Heard]] = {role: [] for role in workers}
    for one in sorted(found):
        by_role.setdefault(one.role, []).append(one)
    wrong: dict[str, str] = {}
    beside: list[str] = []
    for role, those in by_role.items():
        quiet = [one for one in those if now - one.seen_at > SILENT_AFTER]
        if len(quiet) < len(those):
            beside += [_named(one, now) for one in quiet if now - one.seen_at <= NAMED_FOR]
        elif role in workers and quiet:
            last = max(quiet, key=lambda one: one.seen_at)
            wrong[role] = f"no {role} reports; the last one, {_named(last, now)}: {_REMEDY}"
        elif role in workers and now - begun_at > SILENT_AFTER:
            wrong[role] = f"no {role} has ever reported: {_REMEDY}"
    if beside:
        wrong[STAND_BY] = f"silent while another one of the role works: {', '.join(beside)}; {_REMEDY}"
    return wrong


_REMEDY = "look whether it runs, is frozen, or cannot reach the database"


def _named(one: Heard, now: Micros) -> str:
    return f"{one.process}, was heard of {(now - one.seen_at) // SECOND} s ago"
