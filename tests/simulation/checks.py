"""What must hold after every step, and when everything has drained.

The checker keeps a copy of the store, made from the notes that the store's triggers took of each committed change, and
compares it with the story that the events tell.
"""

from __future__ import annotations

import copy
import sqlite3
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from broker.protocol import commands as c
from broker.protocol import records as r
from broker.protocol.chain import hash_of
from broker.protocol.chunks import count_of
from broker.protocol.events import EventKind
from broker.protocol.ledger import read_name
from broker.protocol.records import Record, key_of
from broker.protocol.seals import Seal, is_sealed, read_seal
from broker.protocol.states import (
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
    RoundState,
    SiteState,
)
from config.clock import SECOND
from storage.audit import verify
from tests.simulation.processes import SILENT_AFTER_S
from tests.simulation.story import NoticeKey, Story, Task
from tests.simulation.world import Broken, World

if TYPE_CHECKING:
    from storage.artifacts import Blobs
    from storage.database import Database

R = TypeVar("R", bound=Record)
KINDS: dict[str, type[Record]] = {kind.TABLE: kind for kind in r.RECORDS}
FINAL: dict[type[Record], frozenset[Any]] = {r.Run: RUN_FINAL, r.TaskRun: TASK_RUN_FINAL, r.Round: ROUND_FINAL}
_WRITTEN_ONCE = (
    r.Outcome,
    r.Event,
    r.Organisation,
    r.KeyStatement,
    r.LogPiece,
    r.Model,
    r.ArtifactDeclaration,
)
_SITE_MOVES = {(before, after) for (before, _), after in dict(SITE).items()}
_DELIVERY_MOVES = {(before, after) for (before, _), after in dict(DELIVERY).items()}
_KEY_MOVES = {(before, after) for (before, _), after in dict(KEY).items()}
_ARTIFACT_MOVES = {(before, after) for (before, _), after in dict(ARTIFACT).items()}
_BEFORE_ITS_END = (RoundState.TRAINING, RoundState.AGGREGATING)
_read_seal = read_seal
_chain = hash_of
"""As it was before anybody planted a bug."""


class Checker:
    """See the module. `promised`: commands that the hub answered for, with what was asked."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._connection = sqlite3.connect(world.path, isolation_level=None)
        self._noted = 0
        self.rows: dict[type[Record], dict[tuple[object, ...], Any]] = {kind: {} for kind in r.RECORDS}
        self.story = Story(world.broker.sent)
        self.promised: dict[str, str] = {}
        self.follow_ups: dict[str, r.OutboxRow] = {}
        self._committed_once: set[str] = set()
        self._moved: set[tuple[str, int]] = set()
        """Where recoveries have moved entries to."""
        self.messages_of: dict[str, list[r.InboxEntry]] = defaultdict(list)
        self.seen_at: dict[tuple[str, int], int] = {}
        """When an inbox entry was first there for everybody to see."""
        self._heard_of: dict[str, int] = {}
        """Site -> its newest beat."""
        self._fresh: dict[type[Record], list[Any]] = defaultdict(list)
        self._notices: Counter[NoticeKey] = Counter()
        self._touched: set[str] = set()
        self._artifacts: set[str] = set()
        self._undeclared: list[str] = []
        self._keys_before: dict[tuple[object, ...], r.SiteKey] = {}
        self._given = True
        self.check()
        self._given = False

    def close(self) -> None:
        self._connection.close()

    def snapshot(self) -> Any:
        """What is known now, to go back to when the store does."""
        told = {name: copy.deepcopy(value) for name, value in vars(self.story).items() if name != "_sent"}
        rows = {kind: dict(found) for kind, found in self.rows.items()}
        messages = {key: list(entries) for key, entries in self.messages_of.items()}
        times = dict(self.seen_at), dict(self._heard_of)
        return rows, told, dict(self.follow_ups), messages, times, set(self._moved), self._noted

    def roll_back(self, snapshot: Any) -> None:
        """The store was restored. What was answered since is no promise any more, and causes may be gone.

        Follow-ups that were published and done with after the snapshot are lost with what was decided on them.
        """
        self._committed_once |= self.follow_ups.keys()
        self._connection = sqlite3.connect(self._world.path, isolation_level=None)
        rows, told, follow_ups, messages, times, self._moved, self._noted = snapshot
        self.rows = rows
        vars(self.story).update(told)
        self.messages_of = defaultdict(list, messages)
        self.seen_at, self._heard_of = times
        self.promised.clear()
        kept = (
            self._world.broker.held()
            | {row.id for row in self.every(r.OutboxRow)}
            | {one.id for one in self.every(r.Outcome)}
        )
        self.follow_ups = {ident: row for ident, row in follow_ups.items() if ident in kept}

    def every(self, kind: type[R]) -> list[R]:
        return list(self.rows[kind].values())

    def have(self, kind: type[R], *key: object) -> R | None:
        return self.rows[kind].get(key)

    def log_of(self, run_id: str, task_seq: int, site_id: str) -> list[bytes]:
        """The bodies of a site's log, as they are stored; the notes have none."""
        return [
            bytes(body)
            for (body,) in self._connection.execute(
                "SELECT body FROM log_pieces WHERE run_id = ? AND task_seq = ? AND site_id = ? ORDER BY seq",
                (run_id, task_seq, site_id),
            )
        ]

    def mailboxes(self) -> list[r.Mailbox]:
        return self.every(r.Mailbox)

    def inbox_of(self, site_id: str) -> list[r.InboxEntry]:
        entries = [entry for entry in self.every(r.InboxEntry) if entry.site_id == site_id]
        return sorted(entries, key=lambda entry: entry.seq)

    def concerned(self, message_id: str) -> set[str]:
        """The sender of a message and everybody who has it in the inbox; of a global model every active member too."""
        message = self.have(r.Message, message_id)
        concerned = {entry.site_id for entry in self.every(r.InboxEntry) if entry.message_id == message_id}
        if message is None:
            return concerned
        members = [one for one in self.every(r.Membership) if one.project_id == message.project_id]
        everybodys = {one.site_id for one in members if one.state == "active"} if message.kind == "model" else set()
        return concerned | everybodys | {message.sender_site_id}

    # after every step

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
        self.story.look_again()
        for _, table, old, new in notes:
            if table == "site_beats":
                self._beat(msgspec.json.decode(old), msgspec.json.decode(new))
            else:
                self._take(KINDS[table], _record(table, old), _record(table, new))
        for kind, tell in ((r.Project, self.story.project), (r.Run, self.story.run), (r.TaskRun, self.story.task)):
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

    def _counted(self) -> None:
        """Keys, logs, models and artifacts, where something of them has changed."""
        if self._fresh[r.LogPiece]:
            self._logs({piece.run_id for piece in self._fresh[r.LogPiece]})
        for project_id in sorted(self._artifacts):
            self._room(project_id)
        if self._artifacts:
            self._needed()
        if self._fresh[r.Model] or self._fresh[r.Event]:
            self._models()
        if self._fresh[r.SiteKey]:
            self._keys()

    def _logs(self, runs: set[str]) -> None:
        """The places of a run's log, and the numbers of each site's pieces, are counted without gaps and doubles."""
        for run_id in sorted(runs):
            pieces = [piece for piece in self.every(r.LogPiece) if piece.run_id == run_id]
            head = self.have(r.LogHead, run_id)
            if head is None or sorted(piece.place for piece in pieces) != list(range(1, head.last_place + 1)):
                raise Broken(f"the log of run {run_id} is not numbered without gaps and doubles up to its head")
            for log in (one for one in self.every(r.SiteLog) if one.run_id == run_id):
                mine = [one for one in pieces if (one.site_id, one.task_seq) == (log.site_id, log.task_seq)]
                mine.sort(key=lambda piece: piece.place)
                if [one.seq for one in mine] != list(range(1, log.last_seq + 1)):
                    raise Broken(f"the log of site {log.site_id} in run {run_id} has gaps, doubles or another order")
                if sum(one.size_bytes for one in mine) != log.size_bytes:
                    raise Broken(f"the log of site {log.site_id} in run {run_id} has another size than it says")

    def _room(self, project_id: str) -> None:
        """A project's total is what its artifacts that are not expired add up to."""
        living = [
            one.size_bytes
            for one in self.every(r.Artifact)
            if one.project_id == project_id and one.state != ArtifactState.EXPIRED
        ]
        total = self.have(r.ArtifactTotal, project_id)
        said = (total.live_bytes, total.live_count) if total else None
        if said != (sum(living), len(living)):
            raise Broken(f"the artifacts of project {project_id} are said to be {said}, they are {living}")

    def _needed(self) -> None:
        """No live run has lost its newest model, or an update of a round that is not over."""
        for artifact_id in self._undeclared:
            artifact = self.have(r.Artifact, artifact_id)
            if artifact is None or artifact.state != ArtifactState.EXPIRED:
                raise Broken(f"the digests of artifact {artifact_id} were forgotten before it expired")
        live = {run.id for run in self.every(r.Run) if run.state not in RUN_FINAL}
        needed = {one.model_message_id for one in self.every(r.TaskRun) if one.run_id in live}
        for one in self.every(r.Submission):
            here = self.have(r.Round, one.task_run_id, one.round)
            if one.run_id in live and here is not None and here.state in _BEFORE_ITS_END:
                needed.add(one.update_message_id)
        for message_id in sorted(needed - {None}, key=str):
            message = self.have(r.Message, message_id)
            artifact = self.have(r.Artifact, message.artifact_id) if message is not None else None
            if artifact is not None and artifact.state == ArtifactState.EXPIRED:
                raise Broken(f"artifact {artifact.id} has expired ({artifact.reason}), but a live run needs it")

    def _models(self) -> None:
        """Each completed round with a model is a version of its project, and the versions have no gaps or doubles."""
        for project in self.every(r.Project):
            models = sorted(m.version for m in self.every(r.Model) if m.project_id == project.id)
            if models != list(range(1, project.last_model_version + 1)):
                raise Broken(
                    f"the models of project {project.id} have versions {models}, not 1 to {project.last_model_version}"
                )
        made = {(m.run_id, m.task_seq, m.round, m.message_id) for m in self.every(r.Model)}
        seqs = {task.id: task.seq for task in self.every(r.TaskRun)}
        rounds = {
            (one.run_id, seqs[one.task_run_id], one.number, one.model_message_id)
            for one in self.every(r.Round)
            if one.state == RoundState.COMPLETED and one.model_message_id is not None
        }
        if made != rounds:
            raise Broken(f"models without a completed round, or such rounds without a model: {sorted(made ^ rounds)}")

    def _keys(self) -> None:
        """Epochs are counted without gaps; none but the newest is current."""
        epochs: dict[str, list[r.SiteKey]] = defaultdict(list)
        for key in self.every(r.SiteKey):
            epochs[key.site_id].append(key)
        for site_id, keys in epochs.items():
            keys.sort(key=lambda key: key.epoch)
            if [key.epoch for key in keys] != list(range(1, len(keys) + 1)):
                raise Broken(f"the keys of site {site_id} are not numbered without gaps and doubles")
            if any(key.state == KeyState.CURRENT for key in keys[:-1]):
                raise Broken(f"site {site_id} has a key that was not superseded by the one behind it")

    def _seals(self, outcome: r.Outcome, command: Any) -> None:
        """What was taken is sealed where it has to be, to keys that may be used."""
        answer = msgspec.json.decode(outcome.answer_json)
        if outcome.state != "accepted" or answer.get("duplicate"):
            return
        if isinstance(command, c.ReportAggregated) and answer["state"] == RoundState.FAILED:
            return  # its model, if any, was dropped unread
        for project_id, payload in self._payloads(command):
            if not is_sealed(payload):
                if self._sealed(project_id):
                    raise Broken(f"{outcome.kind} {outcome.id} was accepted without a seal in project {project_id}")
                continue
            seal: Seal = _read_seal(payload)
            for recipient in seal.header.recipients:
                name = f"key {recipient.epoch} of site {recipient.site}"
                if self.have(r.SiteKey, recipient.site, recipient.epoch) is None:
                    raise Broken(f"a seal to {name} was accepted, which does not exist")
                key = self._keys_before.get((recipient.site, recipient.epoch))
                if key is not None and key.state == KeyState.REVOKED:
                    raise Broken(f"a seal to {name} was accepted after that was revoked")
                if key is not None and key.grace_until is not None and key.grace_until <= outcome.decided_at:
                    raise Broken(f"a seal to {name} was accepted after its grace")

    def _sealed(self, project_id: str) -> bool:
        project = self.have(r.Project, project_id)
        return project is not None and project.sealed == "required"

    def _payloads(self, command: Any) -> list[tuple[str, bytes]]:
        """The project and the bytes of each payload that a command carries."""
        if isinstance(command, c.PostMessages):
            return [(one.project_id, one.body) for one in command.messages if one.body is not None]
        carried: list[bytes | None] = []
        if isinstance(command, c.ReportSeat):
            carried = [command.update]
        elif isinstance(command, c.ReportAggregated):
            carried = [command.model]
        elif isinstance(command, c.WriteLog):
            carried = list(command.pieces[-1:])  # those before it may have been there already
        if isinstance(command, c.DeclareArtifact):
            return [] if command.seal is None else [(command.project_id, command.seal)]
        found = [payload for payload in carried if payload is not None]
        run = self.have(r.Run, command.run_id) if found else None
        return [] if run is None else [(run.project_id, payload) for payload in found]

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

    # at the end

    def undone(self) -> str | None:
        """What has not drained yet, or None."""
        live = [run.id for run in self.every(r.Run) if run.state not in RUN_FINAL]
        if live:
            return f"runs {live} are not final"
        late = self._world.micros - 5 * SECOND
        kept = [one.id for one in self.every(r.Message) if one.expired_at is None and one.expires_at < late]
        if kept:
            return f"messages {kept} have not expired"
        if self.rows[r.OutboxRow]:
            return f"the outbox holds {[row.id for row in self.every(r.OutboxRow)]}"
        if self._world.broker.waiting():
            return f"the broker holds {self._world.broker.waiting()} commands"
        undecided = [what for command, what in self.promised.items() if self.have(r.Outcome, command) is None]
        if undecided:
            return f"never decided: {undecided}"
        lost = [row.envelope_json[:300] for id, row in self.follow_ups.items() if self.have(r.Outcome, id) is None]
        return f"follow-ups were lost: {lost}" if lost else None

    def unswept(self, blobs: Blobs) -> str | None:
        """Bytes that are still there and need not be, or None."""
        kept = {one.id for one in self.every(r.Artifact) if one.state != ArtifactState.EXPIRED}
        left = sorted({one.artifact for one in blobs.stored()} - kept)
        if self._world.restores.done:  # what the store forgot stays for an hour
            left = [ident for ident in left if self.have(r.Artifact, ident) is not None]
        return f"chunks of {left} were not swept" if left else None

    def find_every_byte(self, blobs: Blobs) -> None:
        """Every chunk of every stored artifact is there."""
        for one in self.every(r.Artifact):
            before = self._world.restores.kept_at if self._world.restores.done else 0
            if (one.stored_at or 0) < before:  # its bytes may have been swept in the history that is gone
                continue
            if one.state == ArtifactState.STORED and len(blobs.have(one.id)) != count_of(one.size_bytes):
                raise Broken(f"artifact {one.id} is stored, and not all of its chunks are there")

    def still_revoked(self, blobs: Blobs) -> None:
        """Whatever the ledger names is revoked, however often the store was restored."""
        for named in filter(None, map(read_name, blobs.noted())):
            live: list[Any] = []
            if named.kind == "token":
                live = [t for t in self.every(r.Token) if t.sha256 == named.key and t.revoked_at is None]
            elif named.kind == "enrolment":
                live = [e for e in self.every(r.Enrolment) if e.sha256 == named.key and e.used_at is None]
            elif named.kind == "key":
                key = self.have(r.SiteKey, named.key, named.epoch)
                live = [key] if key and key.digest == named.digest and key.state != KeyState.REVOKED else []
            if live:
                raise Broken(f"what was revoked is in force: {live[0]}")

    def audit(self, database: Database) -> None:
        """The hub's own look at its chains agrees."""
        breaks = list(verify(database))
        if breaks:
            raise Broken(f"the audit found {breaks}")


def _record(table: str, noted: str | None) -> Record | None:
    return None if noted is None else KINDS[table](*msgspec.json.decode(noted))
