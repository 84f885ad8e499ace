"""One time for the whole hub: the database's. And how far each process's own clock is from it.

Deadlines, silence, expiry and retention compare times that several processes wrote. So no process uses its own wall
clock for them: it asks the database what time it is, once a second, and goes on from there by its monotonic clock.
With SQLite there is one machine and one clock.

How far the own clock is off is noted in the table `process_clocks`, one row a process, which /readyz and /metrics show:
a wrong clock does no harm to decisions, but it makes logs lie, and it is a machine that somebody has to look at.
With it a process says what it is: its version, since when it runs, and whether it leads (GET /v1/processes).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from config.clock import Clock, SystemClock, wait_for
from config.logs import unit
from config.outages import Outage
from config.processes import LED, process_name
from domain.values import Micros
from fedyard.wire.times import SECOND
from fedyard.wire.version import __version__
from storage.database import Database, DatabaseUnavailable
from storage.presence import REPORT_EVERY_S, clear_away, sign_off

MEASURE_EVERY_S = 1.0
WARN_FROM: Micros = 1 * SECOND
"""From here on a clock that is off is warned of."""
MAX_OFF: Micros = 30 * SECOND
"""A ticker whose clock is further off does not lead, and the hub is not ready."""
REPORTS_COUNT: Micros = 60 * SECOND
"""What a process reported longer ago says nothing of its clock. That it is silent storage/presence.py says."""
_LONGEST_QUESTION_S = 0.5
"""An answer that took longer says too little about the time; the next one is waited for."""
_KEEP_REPORTS: Micros = 3600 * SECOND

_log = logging.getLogger(__name__)

_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_REPORT = (
    "INSERT INTO process_clocks (process, role, offset_us, version, started_at, leads, seen_at)"
    " VALUES {rows} ON CONFLICT (process) DO UPDATE SET offset_us = EXCLUDED.offset_us,"
    " version = EXCLUDED.version, started_at = EXCLUDED.started_at, leads = EXCLUDED.leads, seen_at = EXCLUDED.seen_at"
)
_FORGET = (
    "DELETE FROM process_clocks WHERE seen_at < %s AND EXISTS (SELECT 1 FROM process_clocks AS later"
    " WHERE later.role = process_clocks.role AND later.seen_at > process_clocks.seen_at)"
)


class Reported(NamedTuple):
    """What a process said of itself. offset: its time minus the database's. leads: whether it led the others of its
    role a moment ago; None where all of them act."""

    process: str
    role: str
    offset: Micros
    version: str = ""
    started_at: Micros | None = None
    leads: bool | None = None

    @property
    def wrong(self) -> bool:
        return abs(self.offset) > MAX_OFF


class DatabaseClock:
    """The database's time, as a `Clock`. Safe to use from many threads once `measure` has succeeded.

    ask: the database's time now; raises `DatabaseUnavailable`. own: this process's clock.
    """

    def __init__(self, ask: Callable[[], Micros], own: Clock) -> None:
        self._ask = ask
        self._own = own
        self._base: tuple[Micros, float] | None = None

    def measure(self) -> None:
        """Ask again. While the database is away, time goes on by the monotonic clock. Raises `DatabaseUnavailable`."""
        before = self._own.monotonic()
        answer = self._ask()
        after = self._own.monotonic()
        if self._base is None or after - before < _LONGEST_QUESTION_S:
            self._base = (answer, (before + after) / 2)

    def now(self) -> Micros:
        assert self._base is not None, "nobody has measured yet"
        time, at = self._base
        return time + int((self._own.monotonic() - at) * SECOND)

    def monotonic(self) -> float:
        return self._own.monotonic()

    def sleep(self, seconds: float) -> None:
        self._own.sleep(seconds)

    def offset(self) -> Micros:
        """This process's own time minus the database's."""
        return self._own.now() - self.now()

    def reliable(self) -> bool:
        """Whether this process's own clock is near enough for its process to lead."""
        return abs(self.offset()) <= MAX_OFF


class ClockWatch:
    """Keeps a `DatabaseClock` right and reports on it, in a thread of its own with a connection of its own."""

    def __init__(self, database: Database, clock: DatabaseClock, role: str) -> None:
        self._database = database
        self._role = role
        self._process = process_name(role)
        self._clock = clock
        self._reported_at = float("-inf")
        self._started_at: Micros | None = None
        self._away = Outage(
            _log,
            "the database is away, asked for the time once a second: look whether it runs and can be reached from here",
            "the database tells the time again",
            clock,
        )

    def start(self, stop: threading.Event) -> None:
        """Until `stop`. The clock can be used at once. Raises `DatabaseUnavailable`."""
        self.turn()
        clear_away(self._database, self._role)
        threading.Thread(target=self._run, args=(stop,), name="fedyard-clock", daemon=True).start()

    def turn(self) -> None:
        """Measure, and report if it is time. Raises `DatabaseUnavailable`."""
        self._clock.measure()
        if self._clock.monotonic() - self._reported_at >= REPORT_EVERY_S:
            self._report()
            self._reported_at = self._clock.monotonic()  # one that did not get through is made again the next time

    def _run(self, stop: threading.Event) -> None:
        while not wait_for(stop, MEASURE_EVERY_S):
            try:
                self.turn()
                self._away.over()
            except DatabaseUnavailable as error:
                self._away.lasts(error)
            except Exception:  # noqa: BLE001 - a bug must not leave the hub to a clock that nobody looks after
                _log.exception("the time was not asked for")
        with suppress(DatabaseUnavailable):
            sign_off(self._database, self._process, self._clock.now())

    def _report(self) -> None:
        offset = self._clock.offset()
        if abs(offset) > WARN_FROM:
            _log.warning("this machine's clock is off", extra=unit(ahead_of_the_database_s=round(offset / SECOND, 3)))
        now = self._clock.now()
        self._started_at = self._started_at or now
        said = Reported(self._process, self._role, offset, __version__, self._started_at, self._database.leads)
        report(self._database, said, now)


def open_clock(database: Database, role: str, stop: threading.Event, own: Clock | None = None) -> Clock:
    """The hub's clock for a process of this role. Raises `DatabaseUnavailable` if the database cannot be asked."""
    own = own or SystemClock()
    if not database.postgres:
        return own
    clock = DatabaseClock(lambda: time_of(database), own)
    ClockWatch(database, clock, role).start(stop)
    return clock


def time_of(database: Database) -> Micros:
    """The database's own time; of SQLite there is none. Raises `DatabaseUnavailable`."""
    with database.connection():
        row = database.one(_NOW)
    assert row is not None
    return int(row[0])


def report(database: Database, reported: Reported, now: Micros) -> None:
    """Put a process's report into its row; rows of processes that are gone for long go, but for a role's last one."""
    report_all(database, [reported], now)


def report_all(database: Database, reported: Sequence[Reported], now: Micros) -> None:
    """The same of several, in one statement. Raises `DatabaseUnavailable`."""
    sql = _REPORT.format(rows=", ".join(["(%s, %s, %s, %s, %s, %s, %s)"] * len(reported)))
    with database.connection():
        database.execute(sql, [value for one in reported for value in (*one, now)])
        database.execute(_FORGET, (now - _KEEP_REPORTS,))


def report_together(database: Database, roles: Sequence[str], clock: Clock, stop: threading.Event) -> None:
    """Report for all parts of an embedded hub, every ten seconds until `stop`, in a thread: they live and die together,
    by one clock, and each of them leads. Raises `DatabaseUnavailable`."""
    started_at = clock.now()
    said = [
        Reported(process_name(role), role, 0, __version__, started_at, True if role in LED else None) for role in roles
    ]
    away = Outage(_log, "the store takes no report", "the store takes reports again", clock)

    def run() -> None:
        while True:
            try:
                report_all(database, said, clock.now())
                away.over()
            except DatabaseUnavailable as error:
                away.lasts(error)
            if wait_for(stop, REPORT_EVERY_S):
                break

    for role in roles:
        clear_away(database, role)
    threading.Thread(target=run, name="fedyard-reports", daemon=True).start()


def reports(database: Database, now: Micros) -> list[Reported]:
    """What processes reported lately. Raises `DatabaseUnavailable`."""
    sql = "SELECT process, role, offset_us FROM process_clocks WHERE seen_at >= %s ORDER BY role, process"
    with database.connection():
        return [Reported(*row) for row in database.all(sql, now - REPORTS_COUNT)]


def trouble(found: list[Reported]) -> str | None:
    """One sentence on the clocks that keep the hub from being ready, or None.

    A process that decides or serves must be right; of tickers one that may lead is enough.
    """
    tickers = [one for one in found if one.role == "ticker"]
    wrong = [one for one in found if one.wrong and one.role != "ticker"]
    if tickers and all(one.wrong for one in tickers):
        wrong += tickers
    return sentence(wrong)


def sentence(wrong: list[Reported]) -> str | None:
    """What is said of clocks that are off: by role, since hosts are nobody's business."""
    if not wrong:
        return None
    each = ", ".join(f"{one.role} {abs(one.offset) / SECOND:.0f} s {_way(one)}" for one in wrong)
    return f"clocks differ from the database's by more than {MAX_OFF // SECOND} s: {each}; set them right (NTP)"


def _way(one: Reported) -> str:
    return "ahead" if one.offset > 0 else "behind"
