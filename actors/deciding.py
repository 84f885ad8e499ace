"""The batch: one shell around every decision, and the worker thread that forms it.

Whatever waits in the work queue is decided together, in one transaction. Nobody waits for company: an idle
hub decides one command at a time, a busy one hundreds. A batch that fails goes through one by one, so that a
poison command harms only itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty
from typing import TYPE_CHECKING, Any

import msgspec
from dramatiq.errors import Retry
from dramatiq.worker import Worker, WorkerThread

from actors.fairness import FairQueue
from actors.packed import TAKING_IN
from actors.pulse import Pulse
from broker.messages import envelope_in
from broker.port import BrokerUnavailable, Publisher
from broker.routes import queues_of
from config.clock import Clock, draw_id
from config.faults import fault
from config.logs import info_each, unit
from config.outages import Outage
from domain import codec
from domain import records as r
from domain.commands import Command, Envelope
from domain.decide import decide, needs_of
from domain.decisions.draft import Decision, State, TooEarly, rejected
from domain.ids import Id, derive
from domain.records import Record, key_of
from domain.rules import Rules
from domain.sweeps import RevokeClientTokens, RevokeIssuedBy, RevokeTokensOf, Sweep
from domain.table import TABLE, Kind
from domain.values import Micros
from fedyard.wire.problems import ProblemType
from storage.database import DatabaseUnavailable
from storage.history import finding
from storage.signals import Announcement, Decided, Tip
from storage.store import Changes, Store

if TYPE_CHECKING:
    from dramatiq import Broker
    from dramatiq.broker import MessageProxy

EARLY_AGAIN_MS = 200
"""An early report is tried again after this."""
EARLY_TRIES = 5
"""So often; then it is rejected: what it waits for is not coming."""
BATCH_BYTES = 8_388_608
"""Commands with so much text together wait for no more. The driver keeps a buffer as large as the largest batch."""
DATABASE_AGAIN_S = 0.5
DECIDERS = queues_of(Kind.DECIDED, Kind.PACKED)
"""The queues that deciders consume."""

_encoder = msgspec.json.Encoder(order="deterministic")
_log = logging.getLogger(__name__)


@dataclass
class Batch:
    """What became of a batch.

    outcomes: by command id, the repeated ones' too. decided: those made just now. early: to be tried again.
    """

    outcomes: dict[Id, r.Outcome] = field(default_factory=dict)
    decided: list[r.Outcome] = field(default_factory=list)
    early: dict[Id, TooEarly] = field(default_factory=dict)
    follow_ups: list[Envelope] = field(default_factory=list)


class Refolder:
    """Gathers what accepted decisions changed: the newest version of each row, sweeps in order."""

    def __init__(self) -> None:
        self.rows: dict[type[Record], dict[tuple[object, ...], Record]] = {kind: {} for kind in r.RECORDS}
        self.sweeps: list[Sweep] = []

    def take(self, decision: Decision) -> None:
        for record in decision.records:
            self.rows[type(record)][key_of(record)] = record
        self.sweeps.extend(decision.sweeps)

    def changes(self, batch: Batch, waited: set[Id], now: Micros) -> Changes:
        """Everything to be written and announced."""
        rows = {kind: list(found.values()) for kind, found in self.rows.items() if found}
        rows[r.Outcome] = list(batch.decided)
        rows[r.OutboxRow] = [
            r.OutboxRow(id=e.id, envelope_json=codec.encode(e), created_at=now) for e in batch.follow_ups
        ]
        return Changes(rows=rows, sweeps=self.sweeps, announcement=self._announcement(batch, waited))

    def _announcement(self, batch: Batch, waited: set[Id]) -> Announcement:
        mailboxes = self.rows[r.Mailbox].values()
        runs = self.rows[r.Run].values()
        logs = self.rows[r.LogHead].values()
        followed = self.rows[r.WorkloadLogHead].values()
        attempts = self.rows[r.WorkloadAttempt].values()
        rights = any(
            isinstance(sweep, RevokeTokensOf | RevokeIssuedBy | RevokeClientTokens) for sweep in self.sweeps
        ) or any(token.revoked_at is not None for token in self.rows[r.Token].values() if isinstance(token, r.Token))
        return Announcement(
            decided=[
                Decided(o.id, o.state, o.status, o.answer_json, o.digest, o.decided_at)
                for o in batch.outcomes.values()
                if o.id in waited
            ],
            inboxes={box.site_id: Tip(box.last_seq, box.mark) for box in mailboxes if isinstance(box, r.Mailbox)},
            runs={run.id: run.version for run in runs if isinstance(run, r.Run)},
            logs={head.run_id: head.last_place for head in logs if isinstance(head, r.LogHead)}
            | {one.workload_id: 0 for one in attempts if isinstance(one, r.WorkloadAttempt) and one.kept_at is not None}
            | {head.workload_id: head.size_bytes for head in followed if isinstance(head, r.WorkloadLogHead)},
            tokens=rights,
            history=bool(self.rows[r.History]),
            workloads=bool(self.rows[r.Workload] or self.rows[r.WorkloadAttempt] or self.rows[r.WorkloadFollow]),
        )


def decide_batch(
    store: Store, envelopes: Sequence[Envelope], now: Micros, rules: Rules, last_try: frozenset[Id] = frozenset()
) -> Batch:
    """Decide these commands in one transaction, in their order; committed when this returns.

    A command that is decided already answers with its first outcome. last_try: those that shall be rejected, not
    postponed, if they are too early. Raises `DatabaseUnavailable` (nothing is decided) or whatever a bug raises.
    """
    batch = Batch()
    gathered = Refolder()
    with store.deciding(e.id for e in envelopes) as transaction:
        batch.outcomes.update(transaction.decided)
        fresh = [e for e in envelopes if e.id not in batch.outcomes]
        loaded = transaction.load(needs_of(fresh), now)
        state = State(loaded.records, loaded.seated, loaded.seen, loaded.counts)
        waiting = fresh
        while waiting:
            for envelope in waiting:
                if envelope.id not in batch.outcomes:
                    _decide_one(state, envelope, now, rules, batch, gathered, last=envelope.id in last_try)
            still = [e for e in waiting if e.id in batch.early]
            waiting = still if len(still) < len(waiting) else []
        changes = gathered.changes(batch, {e.id for e in envelopes if e.waited}, now)
        transaction.write(changes)
    store.announce(changes.announcement)
    return batch


def _decide_one(
    state: State, envelope: Envelope, now: Micros, rules: Rules, batch: Batch, gathered: Refolder, *, last: bool
) -> None:
    try:
        decision = decide(state, envelope, now, rules)
    except TooEarly as early:
        if not last:
            batch.early[envelope.id] = early
            return
        decision = _came_too_early(early)
    batch.early.pop(envelope.id, None)
    state.apply(decision)
    gathered.take(decision)
    batch.follow_ups.extend(decision.follow_ups)
    outcome = r.Outcome(
        id=envelope.id,
        kind=type(envelope.command).__struct_config__.tag,  # type: ignore[arg-type]
        subject_kind=envelope.by.kind,
        subject_id=envelope.by.id,
        state="accepted" if decision.accepted else "rejected",
        status=decision.status,
        answer_json=_encoder.encode(decision.answer).decode(),
        digest=envelope.digest,
        decided_at=now,
    )
    batch.outcomes[envelope.id] = outcome
    batch.decided.append(outcome)


def _came_too_early(early: TooEarly) -> Decision:
    return rejected(ProblemType.TOO_EARLY, f"{early.detail}; it was waited for, and did not come")


def decide_now(store: Store, envelopes: Sequence[Envelope], now: Micros, rules: Rules | None = None) -> list[r.Outcome]:
    """Decide in this process and answer with the outcomes, in order; follow-ups are left to the relay."""
    batch = decide_batch(store, envelopes, now, rules or Rules(), frozenset(e.id for e in envelopes))
    return [batch.outcomes[e.id] for e in envelopes]


def settle_history(store: Store, now: Micros) -> None:
    """If the database is not where its history was made, its history gets another id, before anything is decided on it.

    A replica that lags is promoted below a running hub, and its connections then lead there. Raises
    `DatabaseUnavailable`.
    """
    command = finding(store.database, draw_id())
    if command is None:
        return
    ident = derive("change_history", command.before, command.fingerprint)
    decide_now(store, [codec.envelope_of(command, id=ident, by=codec.THE_HUB, at=now)], now)
    if command.known:
        _log.info("first start: where this store lies is noted", extra=unit())
    else:
        _log.warning("the history of this store went back", extra=unit(reason=command.reason))


class Decider:
    """Decides what a worker hands it: commands in batches, packed ones by the lean lane, follow-ups published."""

    def __init__(
        self, store: Store, publisher: Publisher, clock: Clock, rules: Rules, pulse: Pulse | None = None
    ) -> None:
        self._pulse = pulse
        self._store = store
        self._publisher = publisher
        self._clock = clock
        self._rules = rules
        self.away = Outage(_log, "the database is away; commands wait", "the database is back; they are decided", clock)

    def decide(self, envelopes: Sequence[Envelope], last_try: frozenset[Id]) -> dict[Id, TooEarly]:
        """Decide; those to be tried again. Raises `DatabaseUnavailable`, or what a bug raises."""
        commands = []
        packed: dict[type[Command], list[Command]] = {}
        for envelope in envelopes:
            if TABLE[type(envelope.command)].kind is Kind.PACKED:
                packed.setdefault(type(envelope.command), []).append(envelope.command)
            else:
                commands.append(envelope)
        for kind, those in packed.items():
            TAKING_IN[kind](self._store, those, self._clock.now())
        if not commands:
            return {}
        started = self._clock.monotonic()
        now = self._clock.now()
        with self._store.database.connection():
            with self._store.database.first_seen() as first:
                if first:
                    settle_history(self._store, now)
            batch = decide_batch(self._store, commands, now, self._rules, last_try)
        self._publish(batch.follow_ups)
        if self._pulse is not None:
            self._pulse.took(commands, now)
        spent_ms = round((self._clock.monotonic() - started) * 1000, 2)
        info_each(_log, lambda envelope: _told(envelope, batch, len(commands), spent_ms, now), commands)
        return batch.early

    def _publish(self, follow_ups: list[Envelope]) -> None:
        """After the commit. What cannot be published now lies in the outbox, and the relay will."""
        if not follow_ups:
            return
        try:
            self._publisher.send(follow_ups)
            self._store.forget_outbox(e.id for e in follow_ups)
        except (BrokerUnavailable, DatabaseUnavailable) as error:
            _log.warning("follow-ups left to the relay", extra=unit(count=len(follow_ups), error=str(error)))


def _told(envelope: Envelope, batch: Batch, size: int, spent_ms: float, now: Micros) -> tuple[str, dict[str, object]]:
    """What the log says of a command."""
    outcome = batch.outcomes.get(envelope.id)
    return "decided" if outcome else "postponed", {
        "actor": type(envelope.command).__struct_config__.tag,
        "command": envelope.id,
        "by": envelope.by.id,
        "outcome": f"{outcome.state} {outcome.status}" if outcome else "too early",
        "batch": size,
        "waited_ms": round((now - envelope.at) / 1000, 1),
        "ms": spent_ms,
    }


def _length(message: MessageProxy) -> int:
    """Of the command's text, as far as it has one."""
    return sum(len(text) for text in message.args if isinstance(text, str))


class DecidingWorker(Worker):
    """A Dramatiq worker with one deciding thread in place of many that each run an actor."""

    def __init__(self, broker: Broker, decider: Decider, clock: Clock, *, at_most: int) -> None:
        super().__init__(broker, queues=set(DECIDERS), worker_threads=1, worker_timeout=100)
        self.work_queue = FairQueue()  # type: ignore[assignment] # by subject: no actor has priority over another
        self._decider = decider
        self._clock = clock
        self._at_most = at_most

    def _add_worker(self) -> None:
        thread = DecidingThread(self, self._decider, self._clock, self._at_most)
        thread.start()
        self.workers.append(thread)


class DecidingThread(WorkerThread):
    """Takes what waits, decides it in one transaction, then settles each message by itself."""

    def __init__(self, worker: Worker, decider: Decider, clock: Clock, at_most: int) -> None:
        super().__init__(
            broker=worker.broker,
            consumers=worker.consumers,
            work_queue=worker.work_queue,
            worker_timeout=worker.worker_timeout,
        )
        self.name = "fedyard-deciding"
        self._decider = decider
        self._clock = clock
        self._at_most = at_most

    def process_message(self, message: MessageProxy) -> None:
        """Called by the base class with the first message; takes the others that wait behind it."""
        messages, size = [message], _length(message)
        while len(messages) < self._at_most and size < BATCH_BYTES:
            try:
                messages.append(self.work_queue.get_nowait().message)
            except Empty:
                break
            size += _length(messages[-1])
        self._process(messages)

    def _process(self, messages: list[MessageProxy]) -> None:
        readable: list[tuple[MessageProxy, Envelope]] = []
        for message in messages:
            self.broker.emit_before("process_message", message)
            try:
                readable.append((message, envelope_in(message)))
            except codec.Undecodable as error:
                self._settle(message, error)
        if readable:
            self._decide(readable)

    def _decide(self, readable: list[tuple[MessageProxy, Envelope]]) -> None:
        """All at once, or one by one if that fails; waits while the database is away."""
        while self.running:
            try:
                early = self._decider.decide([e for _, e in readable], _on_last_try(readable))
            except DatabaseUnavailable as error:
                self._decider.away.lasts(error, waiting=len(readable))
                self._clock.sleep(DATABASE_AGAIN_S)
                continue
            except Exception as error:  # noqa: BLE001 - our bug: it must not take its neighbours along
                if len(readable) > 1:
                    _log.warning("a batch failed; one by one", extra=unit(batch=len(readable), **fault(error)))
                    for pair in readable:
                        self._decide([pair])
                else:
                    _log.error("a command failed", extra=unit(command=readable[0][1].id, **fault(error)))
                    self._settle(readable[0][0], error)
                return
            self._decider.away.over()
            for message, envelope in readable:
                self._settle(message, _again(early.get(envelope.id)))
            return
        for message, _ in readable:
            self._give_back(message)

    def _settle(self, message: MessageProxy, error: BaseException | None) -> None:
        """Acknowledge, retry or bury, by the broker's middleware; then on to the consumer."""
        try:
            self.broker.emit_after("process_message", message, exception=error)
        finally:
            self.consumers[message.queue_name].post_process_message(message)
            self.work_queue.task_done()

    def _give_back(self, message: MessageProxy) -> None:
        """Stopping with the database away: back to the queue, untouched."""
        self.consumers[message.queue_name].requeue_messages([message])
        self.work_queue.task_done()


def _again(early: TooEarly | None) -> Retry | None:
    return None if early is None else Retry(early.detail, delay=EARLY_AGAIN_MS)


def _on_last_try(readable: list[tuple[MessageProxy, Envelope]]) -> frozenset[Id]:
    return frozenset(envelope.id for message, envelope in readable if _tries(message.options) >= EARLY_TRIES)


def _tries(options: dict[str, Any]) -> int:
    return int(options.get("retries") or 0)
