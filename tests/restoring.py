"""A store put back to where it was: for tests of a hub whose history goes back."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from devservers.postgres import PrivatePostgres
from domain import commands as c
from domain import records as r
from domain.values import Subject
from storage.database import Database, open_database
from tests.databases import leave
from tests.hub import Hub


class Backups:
    """Copies of a store, whole, as it is when `keep` is called. Each is opened as a store of its own."""

    def __init__(self, database: Database, folder: Path, postgres: PrivatePostgres | None) -> None:
        self._database = database
        self._folder = folder
        self._postgres = postgres
        self._kept = 0

    def keep(self) -> Callable[[], Database]:
        """Copy the store; what opens the copy."""
        self._kept += 1
        if self._postgres is not None:
            self._database.close()
            leave(str(self._database.peewee.database))
            name = str(self._database.peewee.database).rpartition("/")[2]
            kept = self._postgres.database(template=name).rpartition("/")[2]
            postgres = self._postgres
            return lambda: open_database(postgres.database(template=kept))
        path = self._folder / f"backup {self._kept}.sqlite"
        with self._database.connection(), sqlite3.connect(path) as copy:
            self._database.peewee.connection().backup(copy)
        copy.close()
        return lambda: open_database(f"sqlite:///{self._copy(path)}")

    def _copy(self, path: Path) -> Path:
        self._kept += 1
        return Path(shutil.copyfile(path, self._folder / f"restored {self._kept}.sqlite"))


class Holding:
    """What a site keeps of the hub's history: the entries that it got, with their marks."""

    def __init__(self, site: Subject) -> None:
        self.site = site
        self.entries: dict[int, r.InboxEntry] = {}
        self.read_after = 0
        self.mark: str | None = None

    def read(self, hub: Hub) -> list[r.InboxEntry]:
        """Take what is behind the place where it reads."""
        new = [entry for entry in hub.inbox(self.site) if entry.seq > self.read_after]
        for entry in new:
            self.entries[entry.seq] = entry
            self.read_after, self.mark = entry.seq, entry.mark
        return new

    def acknowledgement(self) -> c.AcknowledgeInbox:
        return c.AcknowledgeInbox(site_id=self.site.id, through=self.read_after, mark=self.mark)

    def claim(self, **more: object) -> c.RecoverSite:
        newest = [c.HeldMark(seq=seq, mark=self.entries[seq].mark) for seq in sorted(self.entries, reverse=True)]
        if self.read_after not in self.entries and self.mark is not None:  # where a recovery told it to read on
            newest.insert(0, c.HeldMark(seq=self.read_after, mark=self.mark))
        last_seq = max(self.read_after, *self.entries, 0)
        return c.RecoverSite(site_id=self.site.id, history_id=None, last_seq=last_seq, marks=newest[:1000], **more)  # type: ignore[arg-type]

    def recover(self, hub: Hub, **more: object) -> dict[str, object]:
        answer = hub.ok(self.claim(**more), self.site)
        self.read_after, self.mark = answer["read_after"], answer["mark"]
        return answer
