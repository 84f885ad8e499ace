"""What must hold after every step: the copy of the store, compared with the story that the events tell."""

from __future__ import annotations

from typing import Any

import msgspec

from domain import records as r
from domain.chain import hash_of
from domain.events import EventKind
from domain.records import Record, key_of
from domain.states import (
    ARTIFACT,
    DELIVERY,
    KEY,
    ROUND_FINAL,
    RUN_FINAL,
    SITE,
    TASK_RUN_FINAL,
    ArtifactState,
    DeliveryState,
    KeyState,
    SiteState,
)
from fedyard.wire.times import SECOND
from tests.simulation.bounds import Bounds
from tests.simulation.counts import Counts
from tests.simulation.ending import Ending
from tests.simulation.processes import SILENT_AFTER_S
from tests.simulation.sealing import Seals
from tests.simulation.signed_in import SignedIn
from tests.simulation.story import Task
from tests.simulation.telling import Telling
from tests.simulation.trained import OF_TRAINING, Trained
from tests.simulation.truth import Truth
from tests.simulation.world import Broken, World

KINDS: dict[str, type[Record]] = {kind.TABLE: kind for kind in r.RECORDS}
FINAL: dict[type[Record], frozenset[Any]] = {r.Run: RUN_FINAL, r.TaskRun: TASK_RUN_FINAL, r.Round: ROUND_FINAL}
_WRITTEN_ONCE = (
    r.Outcome,
    r.Event,
    r.Organisation,
    r.KeyStatement,
    r.LogPiece,
    r.Model,
    r.Score,
    r.ArtifactDeclaration,
)
_SITE_MOVES = {(before, after) for (before, _), after in dict(SITE).items()}
_DELIVERY_MOVES = {(before, after) for (before, _), after in dict(DELIVERY).items()}
_KEY_MOVES = {(before, after) for (before, _), after in dict(KEY).items()}
_ARTIFACT_MOVES = {(before, after) for (before, _), after in dict(ARTIFACT).items()}
_chain = hash_of
"""As it was before anybody planted a bug."""


class Checker(Counts, Bounds, SignedIn, Seals, Telling, Truth, Trained, Ending):
    """See the module."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._given = True
        self.check()
        self._given = False

    def check(self) -> None:
        """Take in what was committed since; it must be whole."""
        notes = self._connection.execute(
            "SELECT n, kind, old, new FROM noted WHERE n > ? ORDER BY n", (self._noted,)
        ).fetchall()
        if not notes:
            return
        self._noted = notes[-1][0]
        self._keys_before = dict(self.rows[r.SiteKey])
        self._fresh.clear()
        self._notices.clear()
        self._touched.clear()
        self._artifacts.clear()
        self._undeclared.clear()
        self._moving.clear()
        self.story.look_again()
        for _, table, old, new in notes:
            if table == "site_beats":
                self._beat(msgspec.json.decode(old), msgspec.json.decode(new))
            else:
                self._take(KINDS[table], _record(table, old), _record(table, new))
        for kind, tell in (
            (r.Project, self.story.project),
            (r.Run, self.story.run),
            (r.TaskRun, self.story.task),
            (r.Workload, self.story.workload),
            (r.WorkloadAttempt, self.story.attempt),
        ):
            for row in self._fresh[kind]:
                tell(row)
        for row in self._fresh[r.Seat]:
            self.story.seat(row)
        for event in self._fresh[r.Event]:
            self._event(event)
        self.story.settle()
        self._compare()

    def _take(self, kind: type[Record], old: Any, new: Any) -> None:
        if new is None:
            if kind is r.OutboxRow:
                self._forgotten(old)
            elif kind is r.ArtifactDeclaration:
                self._undeclared.append(old.artifact_id)
            else:
                raise Broken(f"a row of {kind.TABLE} was deleted: {key_of(old)}")
            del self.rows[kind][key_of(old)]
            return
        if kind is r.InboxEntry and old is not None and new.state == DeliveryState.MOVED:
            self._moved.add((new.site_id, msgspec.json.decode(new.facts_json)["seq"]))
        if kind is r.WebhookDelivery and old != new:
            self._delivery(old, new)
        if kind in (r.Workload, r.WorkloadAttempt) and old != new:
            self._looked_after(old, new)
        if kind in OF_TRAINING:
            self._of_training(old, new)
        if old is None:
            self._added(kind, new)
        elif old != new:
            self._changed(kind, old, new)
        if kind is r.Artifact or kind is r.ArtifactTotal:
            self._artifacts.add(new.project_id)
        run_id = new.id if kind is r.Run else getattr(new, "run_id", None)
        if run_id is not None and kind in (r.Run, r.TaskRun, r.Round, r.Seat):
            self._touched.add(run_id)
        self.rows[kind][key_of(new)] = new

    def _added(self, kind: type[Record], new: Any) -> None:
        if kind is r.InboxEntry and self._told_before(new):
            self._in_order(new)
            return
        self._fresh[kind].append(new)
        if kind is r.InboxEntry:
            self._entry(new)
        elif kind is r.OutboxRow:
            self.follow_ups[new.id] = new
        elif kind is r.Event:
            self._silence(new)

    def _changed(self, kind: type[Record], old: Any, new: Any) -> None:
        if kind in _WRITTEN_ONCE:
            raise Broken(f"a row of {kind.TABLE} was written twice: {key_of(new)}")
        if kind is r.Submission and (old.left_out or new != msgspec.structs.replace(old, left_out=new.left_out)):
            raise Broken(f"submission {key_of(new)} was changed, or left out twice")
        if kind in FINAL and old.state in FINAL[kind]:
            raise Broken(f"{kind.__name__} {key_of(old)} was {old.state}, which is final, and is {new.state} now")
        if kind is r.Site and old.state != new.state and (SiteState(old.state), new.state) not in _SITE_MOVES:
            raise Broken(f"illegal transition: site {old.id} went from {old.state} to {new.state}")
        if kind is r.SiteKey:
            self._key_changed(old, new)
        if kind is r.Artifact:
            self._artifact_changed(old, new)
        if kind is r.InboxEntry:
            kept = msgspec.structs.replace(
                new, state=old.state, state_at=old.state_at, kind=old.kind, facts_json=old.facts_json
            )
            expired = new.state in (DeliveryState.EXPIRED, DeliveryState.MOVED)
            if new.state == DeliveryState.MOVED:
                kept = msgspec.structs.replace(kept, message_id=old.message_id)
            if kept != old or (not expired and (new.kind, new.facts_json) != (old.kind, old.facts_json)):
                raise Broken(f"entry {old.seq} of the inbox of site {old.site_id} was overwritten")
            if (DeliveryState(old.state), new.state) not in _DELIVERY_MOVES:
                raise Broken(f"illegal transition: entry {old.seq} went from {old.state} to {new.state}")
        if kind is r.Mailbox and (new.last_seq < old.last_seq or new.acknowledged_seq < old.acknowledged_seq):
            raise Broken(f"the mailbox of site {new.site_id} went back")

    def _key_changed(self, old: r.SiteKey, new: r.SiteKey) -> None:
        if old.state != new.state and (KeyState(old.state), new.state) not in _KEY_MOVES:
            raise Broken(
                f"illegal transition: key {old.epoch} of site {old.site_id} went from {old.state} to {new.state}"
            )
        if old.digest != new.digest or (old.state == new.state and old != new):
            raise Broken(f"key {old.epoch} of site {old.site_id} was overwritten")

    def _artifact_changed(self, old: r.Artifact, new: r.Artifact) -> None:
        if old.state != new.state and (ArtifactState(old.state), new.state) not in _ARTIFACT_MOVES:
            raise Broken(f"illegal transition: artifact {old.id} went from {old.state} to {new.state}")
        moving = ("state", "stored_at", "expires_at", "expired_at", "reason") if old.state != new.state else ()
        as_it_was = {name: getattr(old, name) for name in (*moving, "message_id")}
        if msgspec.structs.replace(new, **as_it_was) != old:
            raise Broken(f"artifact {old.id} was overwritten")

    def _beat(self, old: list[Any], new: list[Any]) -> None:
        if new[1] < old[1] or new[2] < old[2]:
            raise Broken(f"the last sign of life of site {new[0]} went back in time")
        self._heard_of[new[0]] = new[1]

    def _silence(self, event: r.Event) -> None:
        """A site is said to be silent, or back, if that is so by the time of the decision."""
        if event.kind not in (EventKind.SITE_FELL_SILENT, EventKind.SITE_RETURNED):
            return
        site = self.have(r.Site, event.stream_id)
        assert site is not None
        silent = event.at - max(self._heard_of.get(site.id, 0), site.created_at) >= SILENT_AFTER_S * SECOND
        if silent != (event.kind == EventKind.SITE_FELL_SILENT):
            raise Broken(f"{event.kind} of site {site.id}, which was {'' if silent else 'not '}silent then")

    def _entry(self, entry: r.InboxEntry) -> None:
        self._in_order(entry)
        if str(entry.kind) == "message":
            self.messages_of[entry.message_id or ""].append(entry)
        else:
            self._notices[entry.site_id, str(entry.kind), entry.run_id, entry.task_seq, entry.round] += 1

    def _in_order(self, entry: r.InboxEntry) -> None:
        """Behind the entry before it, or where the site's last recovery began."""
        recovery = self.have(r.Recovery, entry.site_id)
        begins = entry.seq == 1 or (recovery is not None and entry.seq == recovery.read_after + 1)
        if not begins and (entry.site_id, entry.seq - 1) not in self.rows[r.InboxEntry]:
            raise Broken(f"the inbox of site {entry.site_id} has a gap before entry {entry.seq}")
        self.seen_at[entry.site_id, entry.seq] = self._world.micros

    def _told_before(self, entry: r.InboxEntry) -> bool:
        """It was moved here by a recovery; or from here, in the very commit that made it: it is told where it is."""
        return entry.state == DeliveryState.MOVED or (entry.site_id, entry.seq) in self._moved

    def _forgotten(self, row: r.OutboxRow) -> None:
        """The outbox may forget what the broker has confirmed."""
        if row.id not in self._world.broker.confirmed:
            raise Broken(f"follow-up {row.id} was forgotten before it was published")

    def _event(self, event: r.Event) -> None:
        before = self.have(r.Event, event.stream_id, event.seq - 1)
        if event.seq > 1 and before is None:
            raise Broken(f"stream {event.stream_id} has a gap before event {event.seq}")
        if event.hash != _chain(event, before.hash if before else ""):
            raise Broken(f"event {event.seq} of stream {event.stream_id} does not carry on its chain")
        if not self._given:
            outcome = self.have(r.Outcome, event.command_id)
            if outcome is None or outcome.state != "accepted":
                raise Broken(f"event {event.kind} of command {event.command_id}, which was not accepted")
            self._silenced(event)
        self.story.take(event)

    def _compare(self) -> None:
        """Rows, inboxes and events must say the same."""
        for outcome in self._fresh[r.Outcome]:
            self._decided(outcome)
        for run_id in sorted(self._touched | {e.run_id for e in self._fresh[r.Event] if e.run_id is not None}):
            self._run(run_id)
        missing = self.story.expected - self._notices
        extra = self._notices - self.story.expected - self.story.may_come
        if missing or extra:
            raise Broken(f"notices missing: {sorted(missing, key=str)}; without a cause: {sorted(extra, key=str)}")
        self._heads()
        self._counted()
        self._bounded()
        self._sessions()
        self._agree()
        if self._moving:
            self._parts()
        self._training()
        if any(one.workload_id for one in self._fresh[r.Site]) or self._moving:
            self._note_let_go()
        posted = {message.id for message in self._fresh[r.Message]}
        for message in self._fresh[r.Message]:
            self._message(message)
        for entry in self._fresh[r.InboxEntry]:
            if str(entry.kind) == "message" and entry.message_id not in posted:
                raise Broken(f"message {entry.message_id} was put into an inbox a second time")

    def _heads(self) -> None:
        """Mailboxes, streams and projects say where their entries, events and runs end."""
        for box in self.every(r.Mailbox):
            if (box.site_id, box.last_seq + 1) in self.rows[r.InboxEntry] or (
                box.last_seq
                and (box.site_id, box.last_seq) not in self.rows[r.InboxEntry]
                and not self._recovered_to(box)
            ):
                raise Broken(f"the mailbox of site {box.site_id} says {box.last_seq}, which is not its last entry")
            if box.acknowledged_seq > box.last_seq:
                raise Broken(f"the mailbox of site {box.site_id} is acknowledged beyond its end")
        for stream in self.every(r.Stream):
            if (stream.id, stream.last_seq) not in self.rows[r.Event] or (
                (stream.id, stream.last_seq + 1) in self.rows[r.Event]
            ):
                raise Broken(f"stream {stream.id} says {stream.last_seq}, which is not its last event")
        for project in self.every(r.Project):
            firsts = [run for run in self.every(r.Run) if run.project_id == project.id and run.attempt == 1]
            if sorted(run.number for run in firsts) != list(range(1, project.last_run_number + 1)):
                raise Broken(f"the runs of project {project.id} are not numbered without gaps and doubles")

    def _recovered_to(self, box: r.Mailbox) -> bool:
        """Nothing has come since the site recovered."""
        recovery = self.have(r.Recovery, box.site_id)
        return recovery is not None and recovery.read_after == box.last_seq

    def _decided(self, outcome: r.Outcome) -> None:
        if self._given:
            return
        sent = self._world.broker.sent.get(outcome.id)
        if sent is None or outcome.id not in self._world.broker.has_had:
            raise Broken(f"command {outcome.id} was decided, but nobody sent it")
        kind = sent.command.__struct_config__.tag
        known = (outcome.id, outcome.digest) in self._world.broker.digests
        if not known or (outcome.kind, outcome.subject_id) != (kind, sent.by.id):
            raise Broken(f"command {outcome.id} was decided as another one")
        caused = outcome.id in self.follow_ups or outcome.id in self._committed_once or kind == "revoke_again"
        if self._world.broker.senders[outcome.id] in ("decider", "relay") and not caused:
            raise Broken(f"{kind} {outcome.id} was decided, but its cause was never committed")
        self._seals(outcome, sent.command)
        if kind == "post_messages" and outcome.state == "accepted":
            for message_id in msgspec.json.decode(outcome.answer_json)["ids"]:
                if self.have(r.Message, message_id) is None:
                    raise Broken(f"message {message_id} was accepted, but it is not there")

    def _run(self, run_id: str) -> None:
        run, told = self.have(r.Run, run_id), self.story.runs.get(run_id)
        if run is None or told is None:
            raise Broken(f"run {run_id} has parts, but no row")
        if run.state != told.state:
            raise Broken(f"run {run_id} is {run.state}, its events say {told.state}")
        if run.version != len(told.commands):
            raise Broken(f"run {run_id} has version {run.version}, but {len(told.commands)} commands changed it")
        for task in told.tasks.values():
            self._task(run_id, task)
        if run.state in RUN_FINAL:
            self._ended(run)
        attempts = [
            one.attempt for one in self.every(r.Run) if (one.project_id, one.number) == (run.project_id, run.number)
        ]
        if sorted(attempts) != list(range(1, len(attempts) + 1)):
            raise Broken(f"run {run.number} of project {run.project_id} has attempts {sorted(attempts)}")

    def _task(self, run_id: str, task: Task) -> None:
        row = self.have(r.TaskRun, task.id)
        if row is None or row.state != task.state:
            raise Broken(f"task {task.seq} of run {run_id} is {row and row.state}, its events say {task.state}")
        for number, state in task.rounds.items():
            here = self.have(r.Round, task.id, number)
            if here is None or here.state != state:
                raise Broken(f"round {number} of run {run_id} is {here and here.state}, its events say {state}")
            if state not in ROUND_FINAL and here.deadline_at != task.deadline_at:
                raise Broken(f"round {number} of run {run_id} has another deadline than its events say")
        for seat in task.seats.values():
            there = self.have(r.Seat, task.id, seat.site_id)
            facts = there and (there.state, there.round, there.report_seq)
            if facts != (seat.state, seat.round, seat.reports):
                raise Broken(f"the seat of site {seat.site_id} in run {run_id} is {facts}, its events say {seat}")

    def _ended(self, run: r.Run) -> None:
        if not run.reason or run.ended_at is None:
            raise Broken(f"run {run.id} is {run.state} without a reason or a time")
        told = self.story.runs[run.id]
        alive = [task.seq for task in told.tasks.values() if task.state not in TASK_RUN_FINAL]
        if alive:
            raise Broken(f"run {run.id} is {run.state}, but its tasks {alive} are not over")

    def _message(self, message: r.Message) -> None:
        recipients = [entry.site_id for entry in self.messages_of[message.id]]
        coordinator = self.story.coordinators[message.project_id]
        kind = str(message.kind)
        wanted = 0 if kind == "model" else message.recipient_count
        if len(recipients) != wanted or len(set(recipients)) != wanted:
            raise Broken(f"message {message.id} has {wanted} recipients, but lies in the inboxes of {recipients}")
        members = self.story.present[message.project_id]
        strangers = set(recipients) - members - {coordinator}
        if message.sender_site_id != coordinator:
            strangers = set(recipients) - {coordinator}
        if strangers:
            raise Broken(f"message {message.id} went to {strangers}, whom it does not concern")


def _record(table: str, noted: str | None) -> Record | None:
    return None if noted is None else KINDS[table](*msgspec.json.decode(noted))
