"""The ticker: turns time into commands. Deadlines, silence, expiry, retention.

It decides nothing: each finding becomes a command whose id derives from what was found, so that two tickers, or one
that is killed in between, do no harm. Several may run; the one that holds the lock acts.

Nor is it believed: its clock may be wrong, and what it found may have passed. The decision looks again, by the
database's time, and leaves alone what is not so. Therefore an id derives also from the span of time in which a thing
was found: a finding that was left alone does not stand in the way of the same one later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from broker.port import BrokerUnavailable, Publisher
from config.clock import Clock, draw_id
from config.logs import unit
from config.outages import Outage
from domain import codec
from domain import commands as c
from domain import stream_commands as sc
from domain.commands import AnyCommand, Envelope
from domain.ids import derive
from domain.values import Micros
from fedyard.wire.times import SECOND
from storage.database import DatabaseUnavailable
from storage.due import Due

RETENTION_EVERY_S = 600
FOUND_AGAIN_S = 10
"""From when the same finding is another command."""
_MESSAGES_AT_ONCE = 100
_ARTIFACTS_AT_ONCE = 100
_DELIVERIES_AT_ONCE = 100
LETTERS_EVERY_S = 60
"""How often it looks for dead letters, if somebody wants to be told: RabbitMQ has to hand them out for it."""
_LETTERS_AT_ONCE = 100

_log = logging.getLogger(__name__)


class Ticker:
    """silent_after_s: from when a site counts as silent; keep_artifacts_s: retention, in seconds.

    may_lead: whether this process's clock can be relied on. dead_letters: the oldest ones, so many at most. streams:
    whether the hub has any.
    """

    def __init__(
        self,
        due: Due,
        publisher: Publisher,
        clock: Clock,
        *,
        silent_after_s: float,
        keep_artifacts_s: float,
        site_lost_after_s: float = 600.0,
        may_lead: Callable[[], bool] = lambda: True,
        dead_letters: Callable[[int], list[c.Letter]] = lambda _: [],
        streams: bool = False,
    ) -> None:
        self._due = due
        self._publisher = publisher
        self._clock = clock
        self._silent_after = int(silent_after_s * SECOND)
        self._may_lead = may_lead
        self._keep_artifacts = int(keep_artifacts_s * SECOND)
        self._streams = streams
        self._site_lost_after = int(site_lost_after_s * SECOND)
        self._led_since: Micros | None = None
        self._waits = Outage(
            _log,
            "time waits: no deadline is kept, no silence found",
            "deadlines and silence are watched again",
            clock,
        )
        self._retained_in = -1
        self._dead_letters = dead_letters
        self._letters_at: Micros = 0

    def tick(self) -> int:
        """Look once and send what is due; how many commands. Raises nothing: the next tick looks again."""
        try:
            if not self._may_lead():
                self.stop()
                return 0
            if not self._due.lead():
                self._led_since = None
                self._waits.over()
                return 0
            now = self._clock.now()
            if self._led_since is None:
                self._led_since = now
                _log.info("leads", extra=unit())
            span = now // (FOUND_AGAIN_S * SECOND)
            envelopes = [self._envelope(command, (*names, span), now) for command, names in self._found(now)]
            if envelopes:
                self._publisher.send(envelopes)
                _log.info("ticked", extra=unit(count=len(envelopes)))
            self._retained_in = self._span_of_retention(now)
            self._waits.over()
            return len(envelopes)
        except (BrokerUnavailable, DatabaseUnavailable) as error:
            self._waits.lasts(error)
            if isinstance(error, DatabaseUnavailable):
                self.stop()
            return 0

    def stop(self) -> None:
        """Let another ticker lead."""
        self._due.step_down()
        self._led_since = None

    def _envelope(self, command: AnyCommand, names: tuple[str | int, ...], now: Micros) -> Envelope:
        kind = str(type(command).__struct_config__.tag)
        return codec.envelope_of(command, id=derive(kind, *names), by=codec.THE_HUB, at=now)

    def _found(self, now: Micros) -> list[tuple[AnyCommand, tuple[str | int, ...]]]:
        """Commands, each with the names that its id derives from."""
        return [
            *self._history(),
            *self._deadlines(now),
            *self._silence(now),
            *self._expiry(now),
            *self._webhooks(now),
            *self._workers(now),
            *self._retention(now),
        ]

    def _history(self) -> list[tuple[AnyCommand, tuple[str | int, ...]]]:
        """A database may become another one below a running hub: a replica is promoted, a dump restored into it."""
        command = self._due.history(draw_id())
        return [] if command is None else [(command, (command.before, command.fingerprint))]

    def _deadlines(self, now: Micros) -> list[tuple[AnyCommand, tuple[str | int, ...]]]:
        return [
            (
                c.PassDeadline(run_id=run_id, deadline_at=deadline_at, task_seq=task_seq, round=number),
                (run_id, task_seq or 0, number or 0, deadline_at),
            )
            for run_id, task_seq, number, deadline_at in self._due.deadlines(now)
        ] + [
            (
                c.PassStageDeadline(project_id=project, epoch=epoch, number=number, deadline_at=deadline_at),
                (project, epoch, number, deadline_at),
            )
            for project, epoch, number, deadline_at in self._due.stage_deadlines(now)
        ]

    def _silence(self, now: Micros) -> list[tuple[AnyCommand, tuple[str | int, ...]]]:
        found: list[tuple[AnyCommand, tuple[str | int, ...]]] = []
        horizon = now - self._silent_after
        assert self._led_since is not None
        if self._led_since < horizon:  # a hub that was down itself has heard of nobody: give the sites time to call
            found += [
                (c.MarkSitesSilent(site_ids=[site_id]), (site_id, since, seen_at))
                for site_id, since, seen_at in self._due.gone_silent(horizon)
            ]
        found += [
            (c.MarkSitesReturned(site_ids=[site_id]), (site_id, since, seen_at))
            for site_id, since, seen_at in self._due.returned(horizon)
        ]
        found += [
            (
                c.DropSeats(run_id=seat.run_id, site_id=seat.site_id, reason="site_silent"),
                (seat.task_run_id, seat.site_id, seat.round, seat.seen_at),
            )
            for seat in self._due.silent_seats(now)
        ]
        if self._led_since < horizon:
            found += [
                (c.LoseWorkloads(site_id=site_id), (site_id, seen_at))
                for site_id, seen_at in self._due.silent_places(now - self._site_lost_after)
            ]
        return found

    def _expiry(self, now: Micros) -> list[tuple[AnyCommand, tuple[str | int, ...]]]:
        ids = self._due.expired_messages(now)
        slices = [ids[start : start + _MESSAGES_AT_ONCE] for start in range(0, len(ids), _MESSAGES_AT_ONCE)]
        return [(c.ExpireMessages(message_ids=part), tuple(part)) for part in slices]

    def _webhooks(self, now: Micros) -> list[tuple[AnyCommand, tuple[str | int, ...]]]:
        """Events that somebody wants to be told of, deliveries that are due, and now and then dead letters."""
        found: list[tuple[AnyCommand, tuple[str | int, ...]]] = [
            (c.QueueDeliveries(stream_kind=kind, stream_id=stream, after=after, seqs=seqs), (stream, after, seqs[-1]))
            for kind, stream, after, seqs in self._due.untold()
        ]
        due = self._due.deliveries(now)
        for start in range(0, len(due), _DELIVERIES_AT_ONCE):
            part = due[start : start + _DELIVERIES_AT_ONCE]
            names = tuple(name for one in part for name in one)
            found.append((c.BeginDeliveries(delivery_ids=[one for one, _ in part]), names))
        if now >= self._letters_at + LETTERS_EVERY_S * SECOND and self._due.wants_dead_letters():
            self._letters_at = now
            letters = self._dead_letters(_LETTERS_AT_ONCE)
            if letters:
                found.append((c.ReportDeadLetters(letters=letters), tuple(letter.id for letter in letters)))
        return found

    def _workers(self, now: Micros) -> list[tuple[AnyCommand, tuple[str | int, ...]]]:
        """Federated runs whose workers are gone: has their controller had its last word?"""
        if not self._streams:
            return []
        return [(sc.SettleWorkers(run_id=run), (run, since)) for run, since in self._due.last_words(now)]

    def _retention(self, now: Micros) -> list[tuple[AnyCommand, tuple[str | int, ...]]]:
        """Once for each span of time."""
        span = self._span_of_retention(now)
        if span == self._retained_in:
            return []
        ids = self._due.expired_artifacts(now, now - self._keep_artifacts)
        found: list[tuple[AnyCommand, tuple[str | int, ...]]] = [(c.ForgetHistory(), (span,))]
        for start in range(0, len(ids), _ARTIFACTS_AT_ONCE):
            part = ids[start : start + _ARTIFACTS_AT_ONCE]
            found.append((c.ExpireArtifacts(artifact_ids=part), tuple(part)))
        return found

    @staticmethod
    def _span_of_retention(now: Micros) -> int:
        return now // (RETENTION_EVERY_S * SECOND)
