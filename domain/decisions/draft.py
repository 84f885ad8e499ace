"""The state that decisions are made on, and the draft that one decision writes.

`State` holds what the store loaded, folded forward decision by decision. A `Draft` sees that state through
what its own decision has changed so far; nothing of it reaches the state unless the decision is accepted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from domain import codec
from domain import records as r
from domain import stream_records as sr
from domain.chain import hash_of, mark_of
from domain.commands import AnyCommand, Envelope
from domain.events import EventKind
from domain.ids import Id, derive
from domain.records import Record, key_of
from domain.results import Result
from domain.rules import Rules
from domain.states import DeliveryState
from domain.sweeps import Sweep
from domain.values import Micros
from fedyard.wire.notices import Facts
from fedyard.wire.problems import ProblemType

R = TypeVar("R", bound=Record)
Key = tuple[object, ...]

_GROUPS: dict[type[Record], str] = {
    r.TaskRun: "run_id",
    r.Seat: "task_run_id",
    r.Membership: "project_id",
    r.Run: "project_id",
    r.InboxEntry: "message_id",
    r.SiteKey: "site_id",
    r.SiteLog: "run_id",
    r.Model: "message_id",
    r.Artifact: "owner_site_id",
    r.Workload: "project_id",
    r.ProjectRound: "project_id",
    sr.Architecture: "project_id",
    sr.Configuration: "project_id",
    sr.TrainingResult: "run_id",
    sr.DataSource: "match_key",
    sr.ModelAnnouncement: "match_key",
    sr.Match: "run_id",
}
"""By what a kind of record is looked up besides its key."""

_OWNERS: dict[str, type[Record]] = {
    "organisation": r.Organisation,
    "site": r.Site,
    "project": r.Project,
    "kafka": sr.KafkaCluster,
}
"""A stream begins in the decision that makes its owner."""

_TOUCHES_RUN = (r.TaskRun, r.Round, r.Seat, r.Run)

_encoder = msgspec.json.Encoder(order="deterministic")


class Refused(Exception):
    """The command is rejected: by the caller's fault or because it may not happen now. Becomes its outcome.

    detail: the fact, the ids and the remedy, for people. members: further ones of the problem, for machines.
    """

    def __init__(self, problem: ProblemType, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.problem, self.detail, self.members = problem, detail, members


class TooEarly(Exception):
    """Not now, but probably in a moment: an earlier report is still on its way. Try again after a short delay."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Decision(msgspec.Struct, frozen=True):
    """What became of a command: its result or problem, the rows that it changes, the sweeps and the follow-ups."""

    accepted: bool
    status: int
    answer: Result | dict[str, object]
    records: tuple[Record, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    follow_ups: tuple[Envelope, ...] = ()
    counted: tuple[tuple[str, Id], ...] = ()


def rejected(problem: ProblemType, detail: str, **members: object) -> Decision:
    """The decision that changes nothing and answers with this problem."""
    return Decision(accepted=False, status=problem.status, answer=problem.body(detail, **members))


class State:
    """Rows by kind and key. Absent means: not there, or not loaded because no decision of the batch needs it.

    seen: site -> when it was last heard of, where that is needed; a site that never called is absent.
    counts: (what, owner) -> how many there are, where that is needed; absent: none.
    """

    def __init__(
        self,
        records: Iterable[Record] = (),
        seated: Iterable[tuple[Id, Id]] = (),
        seen: Mapping[Id, Micros] | None = None,
        counts: Mapping[tuple[str, Id], int] | None = None,
    ) -> None:
        self.rows: dict[type[Record], dict[Key, Record]] = defaultdict(dict)
        self.groups: dict[type[Record], dict[object, dict[Key, None]]] = {kind: defaultdict(dict) for kind in _GROUPS}
        self.seated = list(seated)
        self.seen = dict(seen or {})
        self.counts = dict(counts or {})
        for record in records:
            self.put(record)

    def put(self, record: Record) -> None:
        """Add a row, or replace the one of its key."""
        kind, key = type(record), key_of(record)
        self.rows[kind][key] = record
        if kind in _GROUPS:
            self.groups[kind][getattr(record, _GROUPS[kind])][key] = None

    def apply(self, decision: Decision) -> None:
        """Fold an accepted decision in, so that the next command of the batch sees it."""
        for record in decision.records:
            self.put(record)
        for counted in decision.counted:
            self.counts[counted] = self.counts.get(counted, 0) + 1


class Draft:
    """One decision in the making."""

    def __init__(self, state: State, envelope: Envelope, now: Micros, rules: Rules) -> None:
        self.state = state
        self.rules = rules
        self.envelope = envelope
        self.by = envelope.by
        self.now = now
        self._rows: dict[type[Record], dict[Key, Record]] = defaultdict(dict)
        self._sweeps: list[Sweep] = []
        self._follow_ups: list[Envelope] = []
        self._counted: list[tuple[str, Id]] = []

    # reading

    def get(self, kind: type[R], *key: object) -> R | None:
        """The row of this key, or None."""
        return self._rows[kind].get(key) or self.state.rows[kind].get(key)  # type: ignore[return-value]

    def have(self, kind: type[R], *key: object) -> R:
        """The row of this key, which must be there: its absence would be a bug of ours."""
        found = self.get(kind, *key)
        assert found is not None, f"{kind.__name__} was not loaded"
        return found

    def group(self, kind: type[R], value: object) -> list[R]:
        """The rows of a kind that hang on `value` (seats of a task run, members of a project, ...), in key order."""
        name, known = _GROUPS[kind], self.state.rows[kind]
        found = {key: known[key] for key in self.state.groups[kind][value]}
        found.update((key, row) for key, row in self._rows[kind].items() if getattr(row, name) == value)
        return [found[key] for key in sorted(found)]  # type: ignore[misc]

    def unordered(self, kind: type[R], value: object) -> Iterator[R]:
        """The same rows in no order, for who only counts them: cheaper, since it is asked for after every report."""
        name, known, own = _GROUPS[kind], self.state.rows[kind], self._rows[kind]
        keys = self.state.groups[kind][value]
        if own.keys().isdisjoint(keys):
            yield from map(known.__getitem__, keys)
        else:
            yield from (own.get(key) or known[key] for key in keys)  # type: ignore[misc]
        yield from (row for key, row in own.items() if key not in keys and getattr(row, name) == value)  # type: ignore[misc]

    def every(self, kind: type[R]) -> list[R]:
        """All known rows of a kind."""
        return list({**self.state.rows[kind], **self._rows[kind]}.values())  # type: ignore[arg-type]

    def count(self, what: str, owner: Id) -> int:
        """How many of these its owner has, those of the batch's earlier decisions and of this one among them."""
        return self.state.counts.get((what, owner), 0) + self._counted.count((what, owner))

    # writing

    def add_to(self, what: str, owner: Id) -> None:
        """One more that this decision, and the next ones of the batch, count."""
        self._counted.append((what, owner))

    def put(self, record: Record) -> None:
        """Write a row."""
        self._rows[type(record)][key_of(record)] = record

    def change(self, record: R, **fields: Any) -> R:
        """Write a row with other values in some fields; the new row."""
        changed = msgspec.structs.replace(record, **fields)
        self.put(changed)
        return changed

    def sweep(self, sweep: Sweep) -> None:
        """A change to many rows that need not be loaded."""
        self._sweeps.append(sweep)

    def follow_up(self, command: AnyCommand, *names: str | int) -> None:
        """A command to be sent once this decision is committed; its id derives from this command's."""
        self._follow_ups.append(
            codec.envelope_of(command, id=self.derive("follow-up", *names), by=codec.THE_HUB, at=self.now)
        )

    def derive(self, *names: str | int) -> Id:
        """The id of a consequence of this command."""
        return derive(self.envelope.id, *names)

    def event(
        self,
        stream: tuple[str, Id],
        kind: EventKind,
        facts: dict[str, Any] | None = None,
        *,
        run_id: Id | None = None,
        site_id: Id | None = None,
    ) -> None:
        """Append to a stream (kind of its owner, id of its owner); chained by hash to the event before it."""
        stream_kind, stream_id = stream
        head = self.get(r.Stream, stream_id)
        if head is None:
            assert (stream_id,) in self._rows[_OWNERS[stream_kind]], f"the stream of a {stream_kind} was not loaded"
            head = r.Stream(id=stream_id, kind=stream_kind, last_seq=0, last_hash="")
        event = r.Event(
            stream_id=stream_id,
            seq=head.last_seq + 1,
            kind=kind,
            at=self.now,
            command_id=self.envelope.id,
            subject_kind=self.by.kind,
            subject_id=self.by.id,
            run_id=run_id,
            site_id=site_id,
            facts_json=_encoder.encode(facts or {}).decode(),
            hash="",
        )
        event = msgspec.structs.replace(event, hash=hash_of(event, head.last_hash))
        self.put(event)
        self.change(head, last_seq=event.seq, last_hash=event.hash)

    def notify(
        self,
        site_id: Id,
        facts: Facts,
        *,
        project_id: Id | None = None,
        run_id: Id | None = None,
        task_seq: int | None = None,
        round: int | None = None,
        message_id: Id | None = None,
    ) -> None:
        """Put an entry at the end of a site's inbox, under the next number of its mailbox."""
        box = self.have(r.Mailbox, site_id)
        seq = box.last_seq + 1
        box = self.change(box, last_seq=seq, mark=mark_of(box.mark, seq, self.envelope.id, facts.KIND))
        self.put(
            r.InboxEntry(
                site_id=site_id,
                seq=box.last_seq,
                kind=facts.KIND,
                state=DeliveryState.QUEUED,
                created_at=self.now,
                message_id=message_id,
                project_id=project_id,
                run_id=run_id,
                task_seq=task_seq,
                round=round,
                facts_json=facts.json(),
                mark=box.mark,
            )
        )

    # ending

    def accept(self, answer: Result, status: int = 200) -> Decision:
        """The decision, whole. Every run that it touched counts one version up."""
        touched = {row.run_id if not isinstance(row, r.Run) else row.id for row in self._runs_rows()}
        for run_id in touched:
            run = self.get(r.Run, run_id)
            before = self.state.rows[r.Run].get((run_id,))
            if run is not None and isinstance(before, r.Run):
                self.change(run, version=before.version + 1)
        return Decision(
            accepted=True,
            status=status,
            answer=answer,
            records=tuple(row for rows in self._rows.values() for row in rows.values()),
            sweeps=tuple(self._sweeps),
            follow_ups=tuple(self._follow_ups),
            counted=tuple(self._counted),
        )

    def _runs_rows(self) -> list[Any]:
        return [row for kind in _TOUCHES_RUN for row in self._rows[kind].values()]
