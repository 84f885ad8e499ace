"""Planted bugs: one line of production code taken away or made wrong, for the time of one simulation.

The simulation must notice every one of them, or it proves nothing. Where two defences overlap, each bug takes away one
with the other off already; what one of them alone would hold back is said in its sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

import actors.decisions.artifacts
import actors.decisions.draft
import actors.decisions.logs
import actors.decisions.messages
import actors.decisions.needs
import actors.decisions.progress
import actors.decisions.projects
import actors.decisions.recovery
import actors.decisions.room
import actors.decisions.runs
import actors.decisions.sealing
import actors.decisions.seats
import actors.decisions.sites
import actors.sweeper
import broker.protocol.states
import config.clock
import storage.store
import storage.views.artifacts
import storage.views.logs
import storage.views.messages
import storage.views.runs
import web.waiting
import web.writing
from actors.deciding import Decider, DecidingThread, Refolder
from actors.decisions.draft import Draft
from actors.decisions.keys import usable
from actors.ledger import Ledger
from actors.relay import Relay
from actors.sweeper import Sweeper
from broker.messages import Delivery
from broker.protocol import codec
from broker.protocol import records as r
from broker.protocol.chain import hash_of
from broker.protocol.events import Notice
from broker.protocol.states import KeyState, MemberState, RunState, SeatState, Step
from storage.database import Database
from storage.due import Due
from storage.store import Changes, Store, Transaction
from storage.views.artifacts import states_of
from storage.views.sight import Clause
from tests.simulation.broker import SimulatedPublisher
from tests.simulation.processes import DecidingProcess
from tests.simulation.restores import Restores
from tests.simulation.sites import Site
from tests.simulation.world import World
from web.kept import Kept

Swap = tuple[Any, Any, Any]
"""Owner, attribute (or key of a table), the value that it has for the time of the simulation."""


@dataclass(frozen=True)
class Bug:
    """about: what is wrong, in a sentence. swaps: made anew for each world. shown_by: a seed that showed it once."""

    name: str
    about: str
    swaps: Callable[[World], list[Swap]]
    shown_by: int = 1


@contextmanager
def replaced(owner: Any, name: Any, value: Any) -> Iterator[None]:
    """Another value for an attribute (or the entry of a table), for the block."""
    absent = object()
    if isinstance(owner, dict):
        before = owner.get(name, absent)
        owner[name] = value
    else:
        if not _is_there(owner, name):
            raise AttributeError(f"{owner} has no {name} any more, so that nothing would be made wrong")
        before = owner.__dict__.get(name, absent)
        setattr(owner, name, value)
    try:
        yield
    finally:
        if isinstance(owner, dict):
            owner.pop(name)
            owner.update({} if before is absent else {name: before})
        elif before is absent:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _is_there(owner: Any, name: str) -> bool:
    """Also where only instances have it."""
    made_by = owner.__init__.__code__.co_names if isinstance(owner, type) and "__init__" in vars(owner) else ()
    return hasattr(owner, name) or name in made_by


@contextmanager
def planted(bug: Bug, world: World) -> Iterator[None]:
    """The bug is there for the block."""
    with ExitStack() as stack:
        for owner, name, value in bug.swaps(world):
            stack.enter_context(replaced(owner, name, value))
        yield


BUGS: list[Bug] = []


def bug(about: str, shown_by: int = 1) -> Callable[[Callable[[World], list[Swap]]], Callable[[World], list[Swap]]]:
    """Onto the list, under the function's name."""

    def add(swaps: Callable[[World], list[Swap]]) -> Callable[[World], list[Swap]]:
        BUGS.append(Bug(swaps.__name__, about, swaps, shown_by))
        return swaps

    return add


def _drawn(*_: object) -> str:
    return config.clock.draw_id()


def _deciding(world: World) -> object:
    """The decider at work, another one after each start."""
    return next(one.thread for one in world.processes if isinstance(one, DecidingProcess) and one.busy)


# the transaction


@bug("each statement is committed by itself")
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


@bug("no lock: two deciders decide on what the other is changing", shown_by=6)
def no_deciding_lock(_: World) -> list[Swap]:
    return _UNLOCKED


@bug("no lock, and an event may be overwritten", shown_by=6)
def no_deciding_lock_and_events_overwritten(_: World) -> list[Swap]:
    clash = " ON CONFLICT (stream_id, seq) DO UPDATE SET hash = EXCLUDED.hash"
    return [*_UNLOCKED, (storage.store._SQLITE, r.Event, storage.store._SQLITE[r.Event] + clash)]


@bug("notices are written in a transaction of their own, after the decision's")
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


# exactly once


@bug("no row says that a command is decided")
def no_command_row(_: World) -> list[Swap]:
    changes = Refolder.changes

    def without(self: Refolder, *args: Any) -> Changes:
        made = changes(self, *args)
        made.rows.pop(r.Outcome)
        return made

    return [(Refolder, "changes", without)]


_NOT_LOOKED_UP: Swap = (storage.store, "_OUTCOMES", f"{storage.store._OUTCOMES} AND 1 = 0")
_UPSERTED = " ON CONFLICT (id) DO UPDATE SET answer_json = EXCLUDED.answer_json"


@bug("a repeated command is not looked up; only the primary key of its row is left")
def commands_not_looked_up(_: World) -> list[Swap]:
    return [_NOT_LOOKED_UP]


def _decided_again() -> list[Swap]:
    upsert = storage.store._SQLITE[r.Outcome] + _UPSERTED
    return [_NOT_LOOKED_UP, (storage.store._SQLITE, r.Outcome, upsert)]


@bug("a repeated command is not looked up, and its row may be overwritten")
def commands_decided_again(_: World) -> list[Swap]:
    return _decided_again()


@bug("consequences get drawn ids, and a repeated command is decided again")
def drawn_ids_of_consequences(_: World) -> list[Swap]:
    return [*_decided_again(), (Draft, "derive", _drawn)]


@bug("the web draws a command's id although there is an Idempotency-Key")
def drawn_ids_of_commands(_: World) -> list[Swap]:
    return [(web.writing, "derive", _drawn)]


@bug("a restarted run gets a drawn id, so that a run can be restarted twice", shown_by=73)
def drawn_ids_of_attempts(_: World) -> list[Swap]:
    return [(actors.decisions.runs, "next_attempt", _drawn), (actors.decisions.needs, "next_attempt", _drawn)]


@bug("a message is acknowledged before its command is decided")
def acknowledged_before_effect(_: World) -> list[Swap]:
    decide = DecidingThread._decide

    def hasty(self: DecidingThread, readable: list[Any]) -> None:
        for message, _ in readable:
            self.consumers[message.queue_name].post_process_message(message)
        decide(self, readable)

    return [(DecidingThread, "_decide", hasty)]


@bug("a retry that could not be published is acknowledged all the same", shown_by=10)
def failed_retry_acknowledged(_: World) -> list[Swap]:
    return [(Delivery, "to_return", property(lambda _: False, lambda *_: None))]


# the outbox


@bug("follow-ups are published before the commit", shown_by=3)
def published_before_commit(world: World) -> list[Swap]:
    def write(self: Transaction, changes: Changes) -> None:
        process = next(one for one in world.processes if one.database is self._database)
        rows: Any = changes.rows.get(r.OutboxRow, [])
        SimulatedPublisher(world, process).send([codec.decode(row.envelope_json) for row in rows])
        _write(self, changes)

    return [(Transaction, "write", write)]


@bug("the relay never sweeps", shown_by=2)
def relay_never_sweeps(_: World) -> list[Swap]:
    return [(Relay, "sweep", lambda _: 0)]


@bug("the decider forgets its outbox rows before it publishes them")
def outbox_forgotten_first(_: World) -> list[Swap]:
    publish = Decider._publish

    def hasty(self: Decider, follow_ups: list[Any]) -> None:
        if follow_ups:
            self._store.forget_outbox(one.id for one in follow_ups)
        publish(self, follow_ups)

    return [(Decider, "_publish", hasty)]


@bug("the relay forgets rows before it publishes them", shown_by=2)
def relay_forgets_first(_: World) -> list[Swap]:
    outbox = Store.outbox

    def hasty(self: Store, older_than: int, at_most: int) -> list[r.OutboxRow]:
        rows = outbox(self, older_than, at_most)
        self.forget_outbox(row.id for row in rows)
        return rows

    return [(Store, "outbox", hasty)]


# time


@bug("the ticker sees no deadlines")
def ticker_without_deadlines(_: World) -> list[Swap]:
    return [(Due, "deadlines", lambda *_: [])]


@bug("the decision believes a ticker that says that sites are silent")
def silence_believed(_: World) -> list[Swap]:
    return [(actors.decisions.sites, "seen_at", lambda *_: 0)]


@bug("the decision believes a ticker that says that a deadline has passed")
def deadlines_believed(_: World) -> list[Swap]:
    decide = actors.decisions.seats.pass_deadline

    def by_its_clock(draft: Draft, command: Any) -> Any:
        task = next((t for t in draft.group(r.TaskRun, command.run_id) if t.seq == command.task_seq), None)
        here = draft.get(r.Round, task.id, command.round) if task is not None else None
        run = draft.get(r.Run, command.run_id)
        if run is None or task is None or here is None or command.deadline_at <= draft.now:
            return decide(draft, command)
        if here.deadline_at == command.deadline_at and RunState(run.state) == RunState.RUNNING:
            actors.decisions.progress.pass_round_deadline(draft, run, task, here)
        return draft.accept({"passed": True})

    return [(actors.decisions.seats, "pass_deadline", by_its_clock)]


@bug("outcomes of commands are forgotten by the ticker's clock", shown_by=2)
def retention_believed(world: World) -> list[Swap]:
    forget = actors.decisions.messages.forget_history

    def by_its_clock(draft: Draft, *keep: float) -> Any:
        draft.now += max(0, 0 if world.calm else world.astray)
        return forget(draft, *keep)

    return [(actors.decisions.messages, "forget_history", by_its_clock)]


@bug("a deadline is passed without asking whether it is still the one", shown_by=26)
def stale_deadlines_passed(_: World) -> list[Swap]:
    decide = actors.decisions.seats.pass_deadline

    def any_deadline(draft: Draft, command: Any) -> Any:
        run = draft.get(r.Run, command.run_id)
        task = next((t for t in draft.group(r.TaskRun, command.run_id) if t.seq == command.task_seq), None)
        here = draft.get(r.Round, task.id, command.round) if task is not None else None
        if run is None or task is None or here is None or command.deadline_at > draft.now:
            return decide(draft, command)
        actors.decisions.progress.pass_round_deadline(draft, run, task, here)
        return draft.accept({"passed": True})

    return [(actors.decisions.seats, "pass_deadline", any_deadline)]


@bug("a late packet of heartbeats puts back when a site was last heard of")
def heartbeats_go_back(_: World) -> list[Swap]:
    sql = storage.store._BEATS_SQLITE
    return [
        (storage.store, "_BEATS_SQLITE", sql.replace("max(site_beats.seen_at, EXCLUDED.seen_at)", "EXCLUDED.seen_at"))
    ]


# inboxes


@bug("an entry's number comes from the decider's memory, not from the mailbox")
def cursor_from_memory(_: World) -> list[Swap]:
    notify, last = Draft.notify, dict[str, int]()

    def remembered(self: Draft, site_id: str, *args: Any, **more: Any) -> None:
        box = self.have(r.Mailbox, site_id)
        last[site_id] = max(last.get(site_id, 0), box.last_seq) + 1
        self.change(box, last_seq=last[site_id] - 1)
        notify(self, site_id, *args, **more)

    return [(Draft, "notify", remembered)]


@bug("an acknowledgement that was overtaken takes the later one back", shown_by=4)
def acknowledgements_go_back(_: World) -> list[Swap]:
    decide = actors.decisions.messages.acknowledge_inbox

    def lowered(draft: Draft, command: Any) -> Any:
        draft.change(draft.have(r.Mailbox, command.site_id), acknowledged_seq=command.through - 1)
        return decide(draft, command)

    return [(actors.decisions.messages, "acknowledge_inbox", lowered)]


@bug("the web trusts for ever what it remembers of inboxes", shown_by=67)
def memory_never_fades(_: World) -> list[Swap]:
    return [(web.waiting, "TRUST_S", 1e9)]


@bug("a site repeats a request under another key")
def site_draws_another_key(_: World) -> list[Swap]:
    return [(Site, "key_of", lambda self, _: self.draw_key())]


@bug("a site acknowledges entries before it has kept them")
def site_acknowledges_first(_: World) -> list[Swap]:
    take = Site.take

    def hasty(self: Site, entries: list[dict[str, Any]]) -> None:
        if entries:
            self.acknowledge(entries[-1]["seq"])
        take(self, entries)

    return [(Site, "take", hasty)]


# states


@bug("reports do not count a run's version up")
def version_not_counted(_: World) -> list[Swap]:
    return [(actors.decisions.draft, "_TOUCHES_RUN", (r.Run,))]


@bug("the number of a report is not looked at")
def report_numbers_ignored(_: World) -> list[Swap]:
    decide = actors.decisions.seats.report_seat

    def any_number(draft: Draft, command: Any) -> Any:
        task = next((t for t in draft.group(r.TaskRun, command.run_id) if t.seq == command.task_seq), None)
        seat = draft.get(r.Seat, task.id, command.site_id) if task is not None else None
        if seat is not None:
            draft.put(msgspec.structs.replace(seat, report_seq=command.seq - 1))
        return decide(draft, command)

    return [(actors.decisions.seats, "report_seat", any_number)]


@bug("a report on another round, or of a dropped seat, is taken where the table of states lets it", shown_by=2)
def reports_on_any_round(_: World) -> list[Swap]:
    return [(actors.decisions.seats, "_check_round", lambda *_: None)]


@bug("the update of a dropped seat is taken: neither is the seat looked at nor does the table forbid it", shown_by=9)
def late_update_accepted(_: World) -> list[Swap]:
    check = actors.decisions.seats._check_round

    def lenient(run: r.Run, task: r.TaskRun, seat: r.Seat, here: r.Round, command: Any) -> None:
        if seat.state != SeatState.DROPPED:
            check(run, task, seat, here, command)

    row = (SeatState.DROPPED, Step.SUBMIT)
    return [
        (actors.decisions.seats, "_check_round", lenient),
        (broker.protocol.states.SEAT, row, SeatState.SUBMITTED),
    ]


@bug("a finished run can be stopped: neither is it looked at nor does the table forbid it")
def final_state_changed_by_stop(_: World) -> list[Swap]:
    rows: list[Swap] = [
        (broker.protocol.states.RUN, (state, Step.CANCEL), RunState.CANCELLED)
        for state in (RunState.SUCCEEDED, RunState.FAILED)
    ]
    return [(actors.decisions.runs, "RUN_FINAL", frozenset()), *rows]


@bug("a restart opens the finished run again in place of a new attempt")
def final_state_reopened_by_restart(_: World) -> list[Swap]:
    decide = actors.decisions.runs.restart_run

    def reopened(draft: Draft, command: Any) -> Any:
        old = draft.get(r.Run, command.run_id)
        if old is not None and old.ended_at is not None:
            draft.change(old, state=RunState.RUNNING, ended_at=None)
        return decide(draft, command)

    return [(actors.decisions.runs, "restart_run", reopened)]


@bug("an event's hash leaves out the event before it")
def chain_broken(_: World) -> list[Swap]:
    return [(actors.decisions.draft, "hash_of", lambda event, _: hash_of(event, ""))]


# keys


@bug("a seal to a revoked key is accepted", shown_by=6)
def revoked_key_accepted(_: World) -> list[Swap]:
    return [(actors.decisions.sealing, "usable", lambda key, now: key.state == KeyState.REVOKED or usable(key, now))]


@bug("a superseded key is taken for ever")
def grace_never_ends(_: World) -> list[Swap]:
    return [(actors.decisions.sealing, "usable", lambda key, _: key.state != KeyState.REVOKED)]


# logs


@bug("each decider counts a log's places in its memory, and does not look at the head of the log", shown_by=15)
def log_places_from_memory(world: World) -> list[Swap]:
    decide, last = actors.decisions.logs.write_log, dict[tuple[object, str], int]()

    def remembered(draft: Draft, command: Any, *limits: Any) -> Any:
        head, log = draft.get(r.LogHead, command.run_id), (_deciding(world), command.run_id)
        known = last.get(log, head.last_place if head else 0)
        draft.put(r.LogHead(command.run_id, last_place=known))
        decision = decide(draft, command, *limits)
        last[log] = draft.have(r.LogHead, command.run_id).last_place
        return decision

    return [(actors.decisions.logs, "write_log", remembered)]


@bug("pieces of a log that are there are written again", shown_by=8)
def log_pieces_written_again(_: World) -> list[Swap]:
    decide = actors.decisions.logs.write_log

    def again(draft: Draft, command: Any, *limits: Any) -> Any:
        log = draft.get(r.SiteLog, command.run_id, command.site_id, command.task_seq)
        if log is not None and command.seq <= log.last_seq:
            command = msgspec.structs.replace(command, seq=log.last_seq + 1)
        return decide(draft, command, *limits)

    return [(actors.decisions.logs, "write_log", again)]


# artifacts


@bug("the room of an artifact that expires is not given back")
def room_not_given_back(_: World) -> list[Swap]:
    expire = actors.decisions.room.expire

    def kept(draft: Draft, artifact: r.Artifact, reason: str) -> r.Artifact:
        total = draft.have(r.ArtifactTotal, artifact.project_id)
        expired = expire(draft, artifact, reason)
        draft.put(total)
        return expired

    return [(actors.decisions.artifacts, "expire", kept), (actors.decisions.room, "expire", kept)]


@bug("nobody asks whether a live run needs an artifact that is to expire", shown_by=22)
def needed_artifacts_expire(_: World) -> list[Swap]:
    return [(actors.decisions.artifacts, "needed_by", lambda *_: None)]


@bug("the bytes of an artifact that is not stored yet are swept", shown_by=2)
def uploads_swept(_: World) -> list[Swap]:
    def hasty(*args: Any) -> dict[str, str]:
        found = states_of(*args)
        return {id: "expired" if state == "declared" else state for id, state in found.items()}

    return [(actors.sweeper, "states_of", hasty)]


@bug("nothing is swept")
def sweeper_never_sweeps(_: World) -> list[Swap]:
    return [(Sweeper, "turn", lambda _: 0)]


@bug("whoever knows an artifact's id may read it")
def artifacts_open_to_all(_: World) -> list[Swap]:
    return [(storage.views.artifacts, "_meant_for", lambda _: Clause("1 = 1"))]


# models


@bug("a decider counts a project's models itself, knows none when it starts, and may overwrite one", shown_by=9)
def versions_from_memory(world: World) -> list[Swap]:
    keep, last = actors.decisions.progress._keep_model, dict[tuple[object, str], int]()

    def remembered(draft: Draft, run: r.Run, *args: Any) -> int:
        project, decider = draft.have(r.Project, run.project_id), _deciding(world)
        draft.put(msgspec.structs.replace(project, last_model_version=last.get((decider, project.id), 0)))
        last[decider, project.id] = keep(draft, run, *args)
        return last[decider, project.id]

    upsert = f"{storage.store._SQLITE[r.Model]} ON CONFLICT DO UPDATE SET digest = EXCLUDED.digest"
    return [(actors.decisions.progress, "_keep_model", remembered), (storage.store._SQLITE, r.Model, upsert)]


@bug("a round that is completed leaves no model")
def models_forgotten(_: World) -> list[Swap]:
    return [(actors.decisions.progress, "_keep_model", lambda *_: 1)]


# sight


@bug("a participant is shown a run as its coordinator is")
def participants_see_every_seat(_: World) -> list[Swap]:
    return [(storage.views.runs, "_sees_whole", lambda *_: True)]


@bug("the run that was shown to one is shown from memory to everybody", shown_by=2)
def answers_kept_for_all(_: World) -> list[Swap]:
    get, put = Kept.get, Kept.put
    return [
        (Kept, "get", lambda self, key, version: get(self, (key[0], None), version)),
        (Kept, "put", lambda self, key, version, answer: put(self, (key[0], None), version, answer)),
    ]


@bug("a participant may read the log of every site")
def logs_open_to_all(_: World) -> list[Swap]:
    return [(storage.views.logs, "coordinates_run", lambda *_: True)]


@bug("whoever knows a message's id may read it")
def messages_open_to_all(_: World) -> list[Swap]:
    return [(storage.views.messages, "own", lambda *_: Clause("1 = 1"))]


@bug("a participant's message goes to every member")
def letters_to_everybody(_: World) -> list[Swap]:
    def everybody(draft: Draft, project: r.Project, *_: object) -> list[str]:
        return [m.site_id for m in draft.group(r.Membership, project.id) if m.state == MemberState.ACTIVE]

    return [(actors.decisions.messages, "_recipients", everybody)]


# what is done in a site's name


@bug("a site hears nothing of a token that somebody got for it")
def token_in_silence(_: World) -> list[Swap]:
    notify = Draft.notify

    def without(self: Draft, site_id: str, kind: Notice, *more: Any, **facts: Any) -> None:
        if kind != Notice.TOKEN_ISSUED:
            notify(self, site_id, kind, *more, **facts)

    return [(Draft, "notify", without)]


@bug("what a coordinator did with a site's membership stands in the project's stream alone")
def membership_off_the_record(_: World) -> list[Swap]:
    return [(actors.decisions.projects, "by_another", lambda _draft, _site: False)]


# a history that went back


@bug("beyond the end of an inbox there is nothing new, and whatever is acknowledged is", shown_by=26)
def history_id_ignored(_: World) -> list[Swap]:
    return [
        (Restores, "_tell", lambda _: None),
        (storage.views.messages._Head, "went_back", lambda *_: False),
        (actors.decisions.messages, "went_back", lambda *_: False),
    ]


@bug("marks are not compared, only the end of an inbox tells", shown_by=35)
def mark_ignored(_: World) -> list[Swap]:
    return [
        (Restores, "_tell", lambda _: None),
        (storage.views.messages._Head, "went_back", lambda self, wanted: (wanted.after or 0) > self.last_seq),
        (web.waiting.Known, "__getattribute__", _without_mark),
        (actors.decisions.messages, "went_back", lambda _, box, seq, __: seq > box.last_seq),
    ]


def _without_mark(self: Any, name: str) -> Any:
    return "" if name == "mark" else tuple.__getattribute__(self, name)


@bug("numbers go on behind what the hub knows, whatever the site has had", shown_by=26)
def number_given_twice(_: World) -> list[Swap]:
    renumber = actors.decisions.recovery._renumber

    def behind_the_hubs(draft: Draft, box: Any, before: Any, recovery: Any, _: int) -> Any:
        return renumber(draft, box, before, recovery, 0)

    return [
        (actors.decisions.recovery, "_renumber", behind_the_hubs),
        (actors.decisions.recovery, "GAP", 0),
    ]


@bug("the ledger of revocations is written and never read", shown_by=142)
def revocations_forgotten(_: World) -> list[Swap]:
    return [(Ledger, "_read_back", lambda _: 0)]
