"""Doing: what happens outside of the store. A doing actor touches one outside system, decides nothing, and reports.

At least once, and in this order: do it, have the reports confirmed by the broker, acknowledge the command. Whoever dies
in between does it again; therefore what is done outside has to bear a repetition (an id that the other side knows, a
name that is the same each time), and the ids of reports derive from the command, so that the first one counts.

A doing function raises `broker.port.Temporary` where the other side is away: it is tried again by its route, for hours.
Anything else that it raises is taken for our bug: a few tries, then the dead-letter queue, which says the error's class
and place, never the payload. What an answer of the other side means it does not decide: that goes into the report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from typing import TypeAlias

from dramatiq import Broker, Worker

from broker.port import BrokerUnavailable, Publisher, Temporary
from broker.routes import ROUTES, queues_of
from config.clock import Clock
from config.faults import fault, in_a_line
from config.logs import unit
from domain import codec
from domain.commands import AnyCommand, Command, Envelope, ReportArchive, ReportDelivery
from domain.ids import derive
from domain.stream_commands import ReportStream
from domain.table import Kind
from domain.webhooks import outcome_of
from storage.database import DatabaseUnavailable

Doing: TypeAlias = Callable[[Envelope], Sequence[AnyCommand]]
"""Does what the command says and returns its reports. Called from several threads, and more than once for a command."""

DOERS = queues_of(Kind.DONE)
"""The queues that doers consume."""
REPORT_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
"""Between tries to send reports, since what they are about would have to be done again."""

IDLE_MS = 300
"""So often a thread that has nothing to do looks whether it shall stop. What comes wakes it at once."""

_log = logging.getLogger(__name__)


class Failed(Exception):
    """A doing function raised what it should not. fact: class and place of that, without its text if that may quote."""

    def __init__(self, error: Exception) -> None:
        super().__init__(in_a_line(error))
        self.fact = in_a_line(error)


EXPECTED = (Temporary, Failed, codec.Undecodable)
"""Of these Dramatiq makes no noise: we said it, in one line."""


class Doer:
    """Carries out what a worker hands it, by the functions that it is given where it is wired."""

    def __init__(self, doing: Mapping[type[Command], Doing], publisher: Publisher, clock: Clock) -> None:
        self._doing = dict(doing)
        self._publisher = publisher
        self._clock = clock

    @property
    def commands(self) -> tuple[type[Command], ...]:
        """The classes that it carries out."""
        return tuple(self._doing)

    def do(self, text: str) -> None:
        """Carry out one encoded command; returns when its reports are confirmed. Raises one of `EXPECTED`."""
        envelope = codec.decode(text)
        began = self._clock.monotonic()
        try:
            reports = self._doing[type(envelope.command)](envelope)
            self._send([report_of(envelope, place, report, self._clock) for place, report in enumerate(reports)])
        except (Temporary, DatabaseUnavailable) as error:
            later = error if isinstance(error, Temporary) else Temporary("the database is away")
            _log.warning("to be done later", extra=unit(**_about(envelope), error=later.fact))
            raise later from None
        except Exception as error:  # noqa: BLE001 - our bug, and whatever its text quotes stays here
            _log.error("not done", extra=unit(**_about(envelope), **fault(error)))
            raise Failed(error) from None
        spent_ms = round((self._clock.monotonic() - began) * 1000, 2)
        said = list(map(said_of, reports))
        what = ", ".join(str(each["outcome"]) for each in said if "outcome" in each)
        _log.info(what or "done", extra=unit(**_about(envelope), reports=said, ms=spent_ms))

    def _send(self, reports: Sequence[Envelope]) -> None:
        if not reports:
            return
        for pause_s in (*REPORT_PAUSES_S, None):
            try:
                self._publisher.send(reports)
                return
            except BrokerUnavailable:
                if pause_s is None:
                    raise Temporary("it was done, and the broker does not take the report") from None
                self._clock.sleep(pause_s)


def report_of(cause: Envelope, place: int, report: AnyCommand, clock: Clock) -> Envelope:
    """The report as it travels: its id is the same however often the cause is carried out."""
    return codec.envelope_of(report, id=derive(cause.id, "report", place), by=codec.THE_HUB, at=clock.now())


def said_of(report: AnyCommand) -> dict[str, object]:
    """What the log says of a report: what it is called and, where that says more, what it reports."""
    said: dict[str, object] = {"report": type(report).__struct_config__.tag}
    match report:
        case ReportDelivery():
            said |= {"outcome": outcome_of(report), "attempt": report.attempt}
            said |= {"failure": report.failure} if report.status is None else {"status": report.status}
        case ReportArchive():
            said |= {"outcome": report.flaw or "checked", "files": len(report.files)}
        case ReportStream():
            said |= {"outcome": report.reason or "prepared", "purpose": report.purpose}
        case _:
            pass
    return said


def doing_workers(broker: Broker, doer: Doer, threads: int) -> list[Worker]:
    """A stock Dramatiq worker for each queue of what is done, with threads of its own.

    A bulkhead: an outside system that is slow holds up what is done there, and nothing that is done elsewhere.
    """
    queues = sorted({ROUTES[command].queue for command in doer.commands})
    return [Worker(broker, queues={queue}, worker_threads=threads, worker_timeout=IDLE_MS) for queue in queues]


def stop_all(workers: Sequence[Worker], within_ms: int) -> None:
    """At the same time, so that who waits for one outside system does not take the others' time."""
    stopping = [Thread(target=worker.stop, kwargs={"timeout": within_ms}, daemon=True) for worker in workers]
    for each in stopping:
        each.start()
    for each in stopping:
        each.join()


def _about(envelope: Envelope) -> dict[str, object]:
    return {"actor": type(envelope.command).__struct_config__.tag, "command": envelope.id}
