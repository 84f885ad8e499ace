"""A streaming replica of a private PostgreSQL, that is promoted in its place."""

from __future__ import annotations

import shutil

from devservers.postgres import PrivatePostgres
from tests.waiting import until


class Replica(PrivatePostgres):
    """Follows `of` until it is stopped; then `take_over` makes it the server on the port of the one that was lost."""

    def __init__(self, of: PrivatePostgres) -> None:
        self._of = of
        folder = of.folder.with_name(f"{of.folder.name}-replica")
        folder.mkdir()
        shutil.copyfile(of.folder / "password", folder / "password")
        super().__init__(folder, durable=False)
        target = str(self.folder / "data")
        of._must("pg_basebackup", "-D", target, "-X", "stream", "-R", "-c", "fast")

    def catch_up(self) -> None:
        """Wait until it has all that the other one has."""
        wanted = self._of.sql("postgres", "SELECT pg_current_wal_lsn()").strip()
        asked = f"SELECT pg_last_wal_replay_lsn() >= '{wanted}'::pg_lsn"
        until(lambda: self.sql("postgres", asked).strip() == "t")

    def take_over(self) -> None:
        """The other one is lost, with what came after this one stopped."""
        self._of.kill()
        self._ports = dict(self._of._ports)
        self.start()
        self.sql("postgres", "SELECT pg_promote()")
