"""Looks at the store all the time, past every link, for signs of life of those whose work no client sees."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import psycopg2

from config.clock import Micros, wait_for

EVERY_S = 0.2

_SESSIONS = """
SELECT application_name, (extract(epoch FROM max(query_start)) * 1000000)::bigint FROM pg_stat_activity
WHERE query_start IS NOT NULL AND (application_name IN ('fedyard relay', 'fedyard doer', 'fedyard reconciler')
    OR (application_name = 'fedyard ticker' AND pid IN (
    SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted)))
GROUP BY application_name
"""
_BEATS = "SELECT site_id::text, seen_at FROM site_beats WHERE site_id = ANY(%s::uuid[])"


class Sign(NamedTuple):
    """component did something at that time."""

    component: str
    at: Micros


class Watch:
    """A thread that collects signs. sites: component -> the site whose calls are its signs."""

    def __init__(self, database_url: str, sites: Mapping[str, str]) -> None:
        self._url, self._sites = database_url, sites
        self.signs: list[Sign] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join(30)

    def times(self, component: str) -> list[Micros]:
        """When it was seen to have done something, ascending."""
        return sorted({sign.at for sign in self.signs if sign.component == component})

    def _run(self) -> None:
        while not self._ending.is_set():
            with suppress(psycopg2.Error):
                self._look()
            wait_for(self._ending, EVERY_S)

    def _look(self) -> None:
        """Until the database goes away."""
        connection = psycopg2.connect(self._url, connect_timeout=3, application_name="chaos watch")
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            while not wait_for(self._ending, EVERY_S):
                cursor.execute(_SESSIONS)
                found = {str(name).removeprefix("fedyard "): int(at) for name, at in cursor.fetchall()}
                cursor.execute(_BEATS, (list(self._sites.values()),))
                beats = {str(site): int(seen_at) for site, seen_at in cursor.fetchall()}
                found |= {name: beats[site] for name, site in self._sites.items() if site in beats}
                self.signs += [Sign(name, at) for name, at in found.items()]
        finally:
            connection.close()
