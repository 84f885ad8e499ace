"""The transaction, exactly once, and the outbox."""

from __future__ import annotations

from typing import Any

import config.clock
import domain.decisions.runs
import storage.store
import web.http.writing
from actors.deciding import Decider, DecidingThread, Refolder
from actors.relay import Relay
from broker.messages import Delivery
from domain import codec
from domain import records as r
from domain.decisions.draft import Draft
from storage.database import Database
from storage.store import Changes, Store, Transaction
from tests.simulation.broker import SimulatedPublisher
from tests.simulation.bugs.planting import Swap, bug
from tests.simulation.world import World


def _drawn(*_: object) -> str:
    return config.clock.draw_id()


@bug("each statement is committed by itself", shown_by=5)
def no_transaction(_: World) -> list[Swap]:
    execute = Database.execute

    def without(self: Database, sql: str, params: Any = ()) -> Any:
        return execute(self, "SELECT 1" if sql in ("BEGIN IMMEDIATE", "COMMIT", "ROLLBACK") else sql, params)

    return [(Database, "execute", without)]


def _begin_unlocked(self: Transaction, ids: object) -> Any:
    """Reads before the transaction, as PostgreSQL would without the advisory lock."""
    return self._database.all(storage.store._OUTCOMES, ids)


def _write_at_the_end(self: Transaction, changes: Changes) -> None:
    self._database.execute("BEGIN IMMEDIATE")
    _write(self, changes)


_write = Transaction.write
_UNLOCKED: list[Swap] = [(Transaction, "_begin", _begin_unlocked), (Transaction, "write", _write_at_the_end)]


@bug("no lock: two deciders decide on what the other is changing", shown_by=2)
def no_deciding_lock(_: World) -> list[Swap]:
    return _UNLOCKED


@bug("no lock, and an event may be overwritten", shown_by=2)
def no_deciding_lock_and_events_overwritten(_: World) -> list[Swap]:
    clash = " ON CONFLICT (stream_id, seq) DO UPDATE SET hash = EXCLUDED.hash"
    return [*_UNLOCKED, (storage.store._SQLITE, r.Event, storage.store._SQLITE[r.Event] + clash)]


@bug("notices are written in a transaction of their own, after the decision's", shown_by=5)
def notices_outside_the_transaction(_: World) -> list[Swap]:
    def write(self: Transaction, changes: Changes) -> None:
        notices: dict[type[r.Record], list[r.Record]] = {
            kind: changes.rows.pop(kind, []) for kind in (r.Mailbox, r.InboxEntry)
        }
        _write(self, changes)
        self._database.execute("BEGIN IMMEDIATE")
        self.written = False
        _write(self, Changes(rows=notices))

    return [(Transaction, "write", write)]


@bug("no row says that a command is decided", shown_by=2)
def no_command_row(_: World) -> list[Swap]:
    changes = Refolder.changes

    def without(self: Refolder, *args: Any) -> Changes:
        made = changes(self, *args)
        made.rows.pop(r.Outcome)
        return made

    return [(Refolder, "changes", without)]


_NOT_LOOKED_UP: Swap = (storage.store, "_OUTCOMES", f"{storage.store._OUTCOMES} AND 1 = 0")
_UPSERTED = " ON CONFLICT (id) DO UPDATE SET answer_json = EXCLUDED.answer_json"


@bug("a repeated command is not looked up; only the primary key of its row is left", shown_by=12)
def commands_not_looked_up(_: World) -> list[Swap]:
    return [_NOT_LOOKED_UP]


def _decided_again() -> list[Swap]:
    upsert = storage.store._SQLITE[r.Outcome] + _UPSERTED
    return [_NOT_LOOKED_UP, (storage.store._SQLITE, r.Outcome, upsert)]


@bug("a repeated command is not looked up, and its row may be overwritten", shown_by=2)
def commands_decided_again(_: World) -> list[Swap]:
    return _decided_again()


@bug("consequences get drawn ids, and a repeated command is decided again", shown_by=2)
def drawn_ids_of_consequences(_: World) -> list[Swap]:
    return [*_decided_again(), (Draft, "derive", _drawn)]


@bug("the web draws a command's id although there is an Idempotency-Key", shown_by=4)
def drawn_ids_of_commands(_: World) -> list[Swap]:
    return [(web.http.writing, "derive", _drawn)]


@bug("a restarted run gets a drawn id, so that a run can be restarted twice", shown_by=26)
def drawn_ids_of_attempts(_: World) -> list[Swap]:
    return [(domain.decisions.runs, "next_attempt", _drawn)]


@bug("a message is acknowledged before its command is decided", shown_by=3)
def acknowledged_before_effect(_: World) -> list[Swap]:
    decide = DecidingThread._decide

    def hasty(self: DecidingThread, readable: list[Any]) -> None:
        for message, _ in readable:
            self.consumers[message.queue_name].post_process_message(message)
        decide(self, readable)

    return [(DecidingThread, "_decide", hasty)]


@bug("a retry that could not be published is acknowledged all the same", shown_by=25)
def failed_retry_acknowledged(_: World) -> list[Swap]:
    return [(Delivery, "to_return", property(lambda _: False, lambda *_: None))]


@bug("follow-ups are published before the commit", shown_by=3)
def published_before_commit(world: World) -> list[Swap]:
    def write(self: Transaction, changes: Changes) -> None:
        process = next(one for one in world.processes if one.database is self._database)
        rows: Any = changes.rows.get(r.OutboxRow, [])
        SimulatedPublisher(world, process).send([codec.decode(row.envelope_json) for row in rows])
        _write(self, changes)

    return [(Transaction, "write", write)]


@bug("the relay never sweeps", shown_by=4)
def relay_never_sweeps(_: World) -> list[Swap]:
    return [(Relay, "sweep", lambda _: 0)]


@bug("the decider forgets its outbox rows before it publishes them", shown_by=4)
def outbox_forgotten_first(_: World) -> list[Swap]:
    publish = Decider._publish

    def hasty(self: Decider, follow_ups: list[Any]) -> None:
        if follow_ups:
            self._store.forget_outbox(one.id for one in follow_ups)
        publish(self, follow_ups)

    return [(Decider, "_publish", hasty)]


@bug("the relay forgets rows before it publishes them", shown_by=33)
def relay_forgets_first(_: World) -> list[Swap]:
    outbox = Store.outbox

    def hasty(self: Store, older_than: int, at_most: int) -> list[r.OutboxRow]:
        rows = outbox(self, older_than, at_most)
        self.forget_outbox(row.id for row in rows)
        return rows

    return [(Store, "outbox", hasty)]
