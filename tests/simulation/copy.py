"""A copy of the store, made from the notes that the store's triggers took of each committed change."""

from __future__ import annotations

import copy
import sqlite3
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, TypeVar

from domain import records as r
from domain import stream_records as sr
from domain.records import Record
from tests.simulation.story import NoticeKey, Story

if TYPE_CHECKING:
    from tests.simulation.world import World

R = TypeVar("R", bound=Record)


class Copy:
    """What is committed. `promised`: commands that the hub answered for, with what was asked."""

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
        self._moving: set[str] = set()
        """Workloads that have changed."""
        self._begun: list[r.Workload] = []
        """Jobs of deployments that are wanted now."""
        self._finished: list[sr.TrainingResult] = []
        self._kept_once: set[tuple[str, int]] = set()
        """Attempts whose evidence was on record, in whatever history."""
        self._let_go_before: set[str] = set()
        """Sites of attempts that had been let go when it was looked last."""
        self._keys_before: dict[tuple[object, ...], r.SiteKey] = {}

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
        self._world.door.history_went_back(self._world.restores.kept_at)
        kept = (
            self._world.broker.held()
            | {row.id for row in self.every(r.OutboxRow)}
            | {one.id for one in self.every(r.Outcome)}
        )
        self.follow_ups = {ident: row for ident, row in follow_ups.items() if ident in kept}
        self._note_let_go()

    def check(self) -> None:
        """Take in what was committed since."""
        raise NotImplementedError

    def _note_let_go(self) -> None:
        gone = (one.id for one in self.every(r.Site) if one.workload_id is not None and one.state == "retired")
        self._let_go_before = set(gone)

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
