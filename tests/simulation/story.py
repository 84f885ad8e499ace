"""Events, told again: what the rows and the inboxes must be if the events of a project are true.

A second, small account of how runs move, over the tables of `domain/states.py` as they were when this module
was loaded. Every transition is made step by step, also those that one commit made together.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import msgspec

from domain import records as r
from domain import states
from domain.commands import Envelope, PassDeadline
from domain.decisions.progress.stage import INITIAL
from domain.states import RoundState, RunState, SeatState, Step, TaskRunState
from domain.values import Contract, TaskSpec
from domain.workloads import AT_SITE
from fedyard.wire.times import SECOND
from tests.simulation.world import Broken

S = TypeVar("S", bound=StrEnum)

RUN, TASK_RUN, ROUND, SEAT = dict(states.RUN), dict(states.TASK_RUN), dict(states.ROUND), dict(states.SEAT)
SEAT_LIVE = frozenset(states.SEAT_LIVE)
ROUND_DONE = frozenset({SeatState.SUBMITTED, SeatState.RESTING, SeatState.SCORING, SeatState.SCORED})

NoticeKey = tuple[str, str, str | None, int | None, int | None]
"""Site, kind, run, task, round."""

_SEAT_STEPS = {
    "seat_accepted": Step.ACCEPT,
    "seat_ready": Step.READY,
    "seat_trained": Step.TRAINED,
    "seat_submitted": Step.SUBMIT,
    "seat_scored": Step.SCORED,
    "seat_waiting": Step.WAIT,
    "seat_failed": Step.FAIL,
    "seat_dropped": Step.DROP,
    "seat_left_out": Step.FAIL,
    "seat_rejoined": Step.REJOIN,
}
_RUN_STEPS = {
    "run_started": Step.START,
    "run_succeeded": Step.SUCCEED,
    "run_failed": Step.FAIL,
    "run_cancelled": Step.CANCEL,
}
_TASK_STEPS = {
    "task_started": Step.START,
    "task_carried": Step.CARRY,
    "task_skipped": Step.SKIP,
    "task_succeeded": Step.SUCCEED,
    "task_failed": Step.FAIL,
    "task_cancelled": Step.CANCEL,
}
_ROUND_STEPS = {
    "round_started": Step.SELECTED,
    "round_reported": Step.REPORTED,
    "round_scoring": Step.AGGREGATED,
    "round_completed": Step.COMPLETE,
    "round_failed": Step.FAIL,
    "round_cancelled": Step.CANCEL,
}
_SPANS = {
    "round_opened": "select_within_s",
    "round_started": "train_within_s",
    "round_reported": "aggregate_within_s",
    "round_scoring": "score_within_s",
    "round_extended": "",
}
"""What an event gives its round time for; extended is the stage that it is in."""
_STAGES = {RoundState.SELECTING: "select_within_s", RoundState.TRAINING: "train_within_s"}
_ON_RECORD = ("token_issued", "token_revoked", "project_created")
"""In a site's stream: a token of it, or a project that another made in its name. It hears of each."""
_TOLD_BY_OTHERS = ("site_updated", "site_retired")
"""A site hears of these if it was another's doing."""
_WANTS_OTHERWISE = ("workload_created", "workload_retried", "workload_stopping", "workload_scaled")
"""The site that a workload runs at hears of these, unless it has reported what led to it."""
_LET_GO = ("workload_succeeded", "workload_failed", "workload_stopped", "workload_lost")
"""With these an attempt is over, and the site that it was has retired."""
_OF_DEPLOYMENTS = ("data_arrived", "data_not_used", "result_failed", "result_stopped")
"""Of a deployment: these change no row of its run by themselves."""
_MEMBER_KINDS = ("member_invited", "member_requested", "member_admitted", "member_declined", "member_left")


def _could_take_part(seat: Seat, number: int) -> bool:
    return seat.state in ROUND_DONE or (seat.state, seat.round) == (SeatState.INVITED, number)


def _could_score(seat: Seat, number: int) -> bool:
    return seat.state in (SeatState.SUBMITTED, SeatState.RESTING) and seat.round == number


def follow(table: Mapping[tuple[S, Step], S], state: S, step: Step, what: str) -> S:
    """The next state, or the end of the simulation."""
    if (state, step) not in table:
        raise Broken(f"illegal transition: {step} of {what}, which is {state}")
    return table[state, step]


def _in_its_name(event: r.Event, kind: str) -> bool:
    """True for what a site's people hear of, because it was done in the site's name."""
    another = event.subject_id != event.stream_id
    return (kind in _ON_RECORD and event.stream_id == event.site_id) or (kind in _TOLD_BY_OTHERS and another)


@dataclass
class Seat:
    site_id: str
    round: int
    state: SeatState = SeatState.INVITED
    reports: int = 0
    dropped_in: int = 0
    """The round that its task was in then."""


@dataclass
class Task:
    id: str
    seq: int
    state: TaskRunState = TaskRunState.WAITING
    round: int = 0
    deadline_at: int = 0
    contract: Contract = field(default_factory=Contract)
    rounds: dict[int, RoundState] = field(default_factory=dict)
    seats: dict[str, Seat] = field(default_factory=dict)
    held: bool = False
    """Do workloads hold seats of it?"""
    score_every: int = 0
    last: int = 1
    sampled: bool = False
    """Were some of its seats drawn for the present round?"""


@dataclass
class Run:
    project_id: str
    coordinator: str
    deadline_at: int
    state: RunState = RunState.CREATED
    tasks: dict[str, Task] = field(default_factory=dict)
    commands: set[str] = field(default_factory=set)


class Story:
    """All runs as their events tell them, and the notices that must be in the inboxes."""

    def __init__(self, sent: Mapping[str, Envelope]) -> None:
        self._sent = sent
        self._last_command = ""
        self.runs: dict[str, Run] = {}
        self.members: dict[str, set[str]] = {}
        self.present: dict[str, set[str]] = {}
        """Who was a member at some time since the last look."""
        self.coordinators: dict[str, str] = {}
        self.expected: Counter[NoticeKey] = Counter()
        self.may_come: Counter[NoticeKey] = Counter()
        self.causes: set[tuple[str, ...]] = set()
        self.added: set[tuple[str, str, int]] = set()
        """The key of which was told last: command, site, epoch."""
        self.holders: dict[tuple[str, int], str] = {}
        """The sites of attempts at workloads that hold seats, by workload and attempt."""
        self.workloads: dict[str, tuple[str, str, str | None]] = {}
        """Of those and others: project, where it runs, and the run that it is for."""
        self.taking_over: dict[str, tuple[str, str, Seat]] = {}
        """Site -> run, task, and the seat that it has from the event on that says so."""
        self.leaving: list[tuple[str, str, str]] = []
        """Command, project and site of attempts that are over: members until the command is told."""
        self.archived: set[str] = set()
        self.gone: set[str] = set()
        """Sites of attempts that are over."""
        self.mirrored: Counter[tuple[str, str, str]] = Counter()
        """Command, kind and site of what others did with memberships, which must be in the site's stream as well."""

    def look_again(self) -> None:
        """What comes now is a new commit, or several."""
        self.expected.clear()
        self.may_come.clear()
        self.present = {project: set(members) for project, members in self.members.items()}

    def settle(self) -> None:
        """The commits are told; what others did with a site's membership must stand in its own stream, and no more."""
        if left := sorted(key for key, count in self.mirrored.items() if count):
            raise Broken(f"on record for a project or for its site only: {left}")
        self.mirrored.clear()

    # rows that events refer to

    def project(self, row: r.Project) -> None:
        self.coordinators[row.id] = row.coordinator_site_id
        self.members[row.id] = {row.coordinator_site_id}
        self.present[row.id] = set(self.members[row.id])

    def run(self, row: r.Run) -> None:
        self.runs[row.id] = Run(row.project_id, row.coordinator_site_id, row.deadline_at)

    def task(self, row: r.TaskRun) -> None:
        self.runs[row.run_id].tasks[row.name] = Task(
            row.id, row.seq, contract=(spec := msgspec.json.decode(row.spec_json, type=TaskSpec)).contract
        )
        task = self.runs[row.run_id].tasks[row.name]
        task.held, task.score_every, task.last = bool(spec.workloads), spec.score_every, spec.rounds

    def workload(self, row: r.Workload) -> None:
        self.workloads[row.id] = (row.project_id, row.cluster, row.run_id)

    def attempt(self, row: r.WorkloadAttempt) -> None:
        if row.site_id is not None:
            self.holders[row.workload_id, row.attempt] = row.site_id

    def seat(self, row: r.Seat) -> None:
        """A new seat; its first round is that of its task, unless it takes another one over."""
        name, task = next(one for one in self.runs[row.run_id].tasks.items() if one[1].id == row.task_run_id)
        if any(site == row.site_id and attempt > 1 for (_, attempt), site in self.holders.items()):
            self.taking_over[row.site_id] = (row.run_id, name, Seat(row.site_id, row.round))
        else:
            task.seats[row.site_id] = Seat(row.site_id, 0)

    # events

    def take(self, event: r.Event) -> None:
        facts = msgspec.json.decode(event.facts_json)
        kind = str(event.kind)
        self._leave(before=event.command_id)
        if kind.startswith("workload_"):
            self._of_workload(event, kind, facts)
        elif kind in _MEMBER_KINDS:
            self._member(event, kind, facts)
        elif kind == "project_archived":
            self.archived.add(event.stream_id)
        elif event.stream_id in self.gone and kind in _TOLD_BY_OTHERS:
            pass  # nobody is there to hear of it
        elif _in_its_name(event, kind):
            surely = kind != "site_updated"
            self._coalesced(event.stream_id, kind, (event.stream_id, kind), surely=surely)
        elif kind == "message_expired":
            self.expected[event.site_id or "", kind, event.run_id, None, None] += 1
        elif kind in ("key_added", "key_revoked"):
            self._of_key(event, kind, facts["epoch"])
            if kind == "key_revoked" and event.subject_id != event.site_id:
                self.expected[event.site_id or "", "key_changed", None, None, None] += 1
        elif event.run_id is not None and not kind.startswith("artifact_"):
            self._of_run(event, kind, facts)

    def _of_workload(self, event: r.Event, kind: str, facts: dict[str, Any]) -> None:
        """Attempts that hold seats are members as long as they live, and the next one takes the seat over."""
        ident, attempt = facts["workload_id"], facts["attempt"]
        (project, where, run_id), site = self.workloads[ident], self.holders.get((ident, attempt))
        runs_at = where.removeprefix(AT_SITE)
        if kind in _WANTS_OTHERWISE and runs_at not in (where, event.subject_id):
            self.expected[runs_at, "workload_wanted", run_id, None, None] += 1
        if site is None:
            return
        if kind == "workload_created":
            self._admit(project, site)
        elif kind == "workload_retried":
            new = self.holders[ident, attempt + 1]
            self._admit(project, new)
            self._take_over(new, event.command_id)
        if kind in _LET_GO or kind == "workload_retried":
            self.leaving.append((event.command_id, project, site))

    def _admit(self, project: str, site: str) -> None:
        self.members[project].add(site)
        self.present[project].add(site)

    def _take_over(self, site: str, command_id: str) -> None:
        if site not in self.taking_over:  # its task is over
            return
        run_id, name, seat = self.taking_over.pop(site)
        task = self.runs[run_id].tasks[name]
        self.runs[run_id].commands.add(command_id)
        task.seats[site] = seat
        if seat.round == task.round:
            if task.rounds[task.round] not in (RoundState.SELECTING, RoundState.TRAINING):
                raise Broken(f"site {site} takes a seat over in round {task.round}, which is {task.rounds[task.round]}")
            self.expected[site, "invited", run_id, task.seq, task.round] += 1
        elif seat.round != task.round + 1:
            raise Broken(f"site {site} takes a seat over for round {seat.round}, while round {task.round} is open")

    def _leave(self, *, before: str = "") -> None:
        """What attempts were over with another command than this one is told: they are no members any more."""
        for left in [one for one in self.leaving if one[0] != before]:
            self.leaving.remove(left)
            self.members[left[1]].discard(left[2])
            self.gone.add(left[2])

    def _member(self, event: r.Event, kind: str, facts: dict[str, Any]) -> None:
        project, site = event.stream_id, facts["site_id"]
        if project == site:  # on record for the site, too
            self.mirrored[event.command_id, kind, site] -= 1
            return
        if event.subject_id != site and facts["reason"] != "the site has retired":
            self.mirrored[event.command_id, kind, site] += 1
        if kind == "member_admitted":
            self.members[project].add(site)
            self.present[project].add(site)
        elif kind == "member_left":
            self.members[project].discard(site)
        told = {self.coordinators[project], *([] if facts["reason"] == "the site has retired" else [site])}
        for one in told:
            self._coalesced(one, kind, (one, project, site), surely=one == event.subject_id or len(told) == 1)

    def _coalesced(self, reader: str, kind: str, cause: tuple[str, ...], *, surely: bool) -> None:
        """The first notice of a cause surely comes; while it is unread the others may be left out."""
        counted = self.expected if surely or cause not in self.causes else self.may_come
        self.causes.add(cause)
        counted[reader, kind, None, None, None] += 1

    def _of_key(self, event: r.Event, kind: str, epoch: int) -> None:
        """Whoever exchanges payloads with the site hears of it, once for each project.

        Of a key that came back after a restore and is revoked by the same command they need not hear twice.
        """
        site, name = event.site_id or "", (event.command_id, event.site_id or "", epoch)
        counted = self.may_come if kind == "key_revoked" and name in self.added else self.expected
        self.added = {name} if kind == "key_added" else set()
        for project, members in self.members.items():
            if project in self.archived:
                continue
            coordinator = self.coordinators[project]
            told = members - {site} if site == coordinator else {coordinator} if site in members else set[str]()
            for one in told:
                counted[one, "key_changed", None, None, None] += 1

    def _of_run(self, event: r.Event, kind: str, facts: dict[str, Any]) -> None:
        assert event.run_id is not None
        run = self.runs[event.run_id]
        if kind not in _OF_DEPLOYMENTS:
            run.commands.add(event.command_id)
        if kind in _RUN_STEPS:
            run.state = follow(RUN, run.state, _RUN_STEPS[kind], f"run {event.run_id}")
            if kind != "run_started":
                leaving = {site for _, _, site in self.leaving}
                for site in self.members[run.project_id]:
                    counted = self.may_come if site in leaving else self.expected
                    counted[site, "run_ended", event.run_id, None, None] += 1
        first, self._last_command = event.command_id != self._last_command, event.command_id
        if "task" not in facts:
            if first and self._by_deadline(event) and event.at < run.deadline_at:
                raise Broken(f"run {event.run_id} was ended before its deadline")
            return
        task = run.tasks[facts["task"]]
        if first and self._by_deadline(event) and event.at < min(task.deadline_at, run.deadline_at):
            raise Broken(f"round {task.round} of run {event.run_id} was moved on before its deadline")
        if kind in _SPANS:
            first_model = kind == "round_opened" and facts["round"] == INITIAL
            self._set_deadline(event, run, task, "round_reported" if first_model else kind)
        if kind in _TASK_STEPS:
            self._of_task(event.run_id, task, kind, facts)
        elif kind in _ROUND_STEPS or kind == "round_opened":
            self._of_round(event.run_id, run, task, kind, facts)
        elif kind in _SEAT_STEPS:
            self._of_seat(event.run_id, task, task.seats[event.site_id or ""], kind, facts)

    def _by_deadline(self, event: r.Event) -> bool:
        sent = self._sent.get(event.command_id)
        return sent is not None and isinstance(sent.command, PassDeadline)

    def _set_deadline(self, event: r.Event, run: Run, task: Task, kind: str) -> None:
        stage = _SPANS[kind] or _STAGES[task.rounds[task.round]]
        span = int(getattr(task.contract, stage) * SECOND)
        task.deadline_at = min(run.deadline_at, event.at + span)

    def _of_task(self, run_id: str, task: Task, kind: str, facts: dict[str, Any]) -> None:
        step = _TASK_STEPS[kind]
        task.state = follow(TASK_RUN, task.state, step, f"task {task.seq} of run {run_id}")
        if kind == "task_started":
            for seat in task.seats.values():
                seat.round = facts["first_round"]
        if kind in ("task_succeeded", "task_failed", "task_cancelled"):
            for seat in task.seats.values():
                if seat.state in SEAT_LIVE:
                    done = step == Step.SUCCEED and seat.state in ROUND_DONE
                    self._move(run_id, task, seat, Step.TASK_DONE if done else Step.CANCEL)
                self.expected[seat.site_id, "task_ended", run_id, task.seq, None] += 1

    def _of_round(self, run_id: str, run: Run, task: Task, kind: str, facts: dict[str, Any]) -> None:
        number = facts["round"]
        name = f"round {number} of task {task.seq} of run {run_id}"
        if kind == "round_opened":
            if number in task.rounds:
                raise Broken(f"{name} opened twice")
            begun = RoundState.AGGREGATING if number == INITIAL else RoundState.SELECTING
            task.rounds[number], task.round = begun, number
            taking_part = set() if number == INITIAL else self._draw(run_id, task, number, facts)
        else:
            self._scores(task, kind, facts, name)
            task.rounds[number] = follow(ROUND, task.rounds[number], _ROUND_STEPS[kind], name)
        if kind == ("round_opened" if number == INITIAL else "round_reported"):
            self.expected[run.coordinator, "aggregate", run_id, task.seq, number] += 1
        for seat in task.seats.values() if number != INITIAL else ():
            told = kind if kind == "round_completed" else ""
            if kind == "round_opened":
                if seat.site_id in taking_part and seat.state in ROUND_DONE:
                    self._move(run_id, task, seat, Step.NEXT_ROUND)
                    seat.round = number
                elif seat.site_id not in taking_part and _could_take_part(seat, number):
                    self._move(run_id, task, seat, Step.REST)
                    seat.round = number
                told = "invited" if (seat.state, seat.round) == (SeatState.INVITED, number) else ""
            elif kind == "round_started" and (seat.state, seat.round) == (SeatState.READY, number):
                self._move(run_id, task, seat, Step.ROUND_STARTED)
                told = "round_started"
            elif kind == "round_scoring" and _could_score(seat, number):
                self._move(run_id, task, seat, Step.SCORE)
                told = "score"
            if told:
                self.expected[seat.site_id, told, run_id, task.seq, number] += 1

    def _draw(self, run_id: str, task: Task, number: int, facts: dict[str, Any]) -> set[str]:
        """Who takes part, by a draw of our own; the event has to say the same of it."""
        could = {seat.site_id for seat in task.seats.values() if _could_take_part(seat, number)}
        all_of_them, contract = len(task.seats), task.contract
        size = min(all_of_them, max(contract.sample_at_least, math.ceil(round(contract.sample * all_of_them, 9))))
        task.sampled = size < all_of_them and not task.held
        if not task.sampled:
            if "drawn" in facts:
                raise Broken(f"round {number} of run {run_id} drew {facts['drawn']} seats, and all should take part")
            return could
        lots = {
            site: hashlib.sha256(f"fedyard sample 1\0{run_id} {task.seq} {number} {site}".encode()) for site in could
        }
        taking_part = sorted(could, key=lambda site: lots[site].digest())[:size]
        wanted = (len(taking_part), max(1, math.ceil(round(contract.quorum * size, 9))))
        if (facts.get("drawn"), facts["quorum"]) != wanted:
            raise Broken(f"round {number} of run {run_id} says {facts}, and has (drawn, quorum) {wanted}")
        return set(taking_part)

    @staticmethod
    def _scores(task: Task, kind: str, facts: dict[str, Any], name: str) -> None:
        """A round scores if its task says so and somebody is there to be asked; no other one does."""
        number = facts["round"]
        wanted = (
            task.score_every > 0
            and (number % task.score_every == 0 or number == task.last)
            and any(_could_score(seat, number) for seat in task.seats.values())
        )
        if kind == "round_scoring" and not wanted:
            raise Broken(f"{name} is scored, which nobody asked for")
        unscored = kind == "round_completed" and task.rounds[number] != RoundState.SCORING
        if unscored and wanted and facts["model_message_id"] is not None:
            raise Broken(f"{name} is completed, and its model was not scored")

    def _of_seat(self, run_id: str, task: Task, seat: Seat, kind: str, facts: dict[str, Any]) -> None:
        here = task.rounds[task.round]
        if kind == "seat_left_out":
            if seat.state == SeatState.SUBMITTED:
                self._move(run_id, task, seat, Step.FAIL)
                self.expected[seat.site_id, "seat_left_out", run_id, task.seq, task.round] += 1
            return
        if kind == "seat_dropped":
            self._move(run_id, task, seat, Step.DROP)
            self.expected[seat.site_id, "seat_dropped", run_id, task.seq, task.round] += 1
            seat.dropped_in = task.round
            return
        self._of_code(run_id, task, seat, facts)
        if kind == "seat_scored" and here != RoundState.SCORING:
            raise Broken(f"a score was accepted while round {task.round} of run {run_id} was {here}")
        if kind == "seat_scored" and "seq" not in facts:  # nobody is there to say it
            self._move(run_id, task, seat, Step.SCORED)
            return
        if facts["seq"] != seat.reports + 1:
            raise Broken(
                f"report {facts['seq']} of site {seat.site_id} in task {task.seq} of run {run_id} followed report "
                f"{seat.reports}"
            )
        seat.reports += 1
        self._move(run_id, task, seat, _SEAT_STEPS[kind])
        if (kind, here, seat.round) == ("seat_ready", RoundState.TRAINING, task.round) and task.held:
            self._move(run_id, task, seat, Step.ROUND_STARTED)
            self.expected[seat.site_id, "round_started", run_id, task.seq, task.round] += 1
        if kind == "seat_rejoined":
            dropped_here = seat.round == seat.dropped_in == task.round
            selecting = here == RoundState.SELECTING and (dropped_here or not task.sampled)
            seat.round = task.round if selecting else task.round + 1
            if selecting:
                self.expected[seat.site_id, "invited", run_id, task.seq, task.round] += 1
        elif facts["round"] != seat.round:
            raise Broken(f"a report on round {facts['round']} was accepted for round {seat.round} of run {run_id}")
        elif kind == "seat_submitted" and here != RoundState.TRAINING:
            raise Broken(f"an update was accepted while round {task.round} of run {run_id} was {here}")

    def _of_code(self, run_id: str, task: Task, seat: Seat, facts: dict[str, Any]) -> None:
        """A seat with other code than its task's has failed: its site is told so."""
        if facts.get("reason") == "code_differs":
            self.expected[seat.site_id, "seat_left_out", run_id, task.seq, task.round] += 1

    def _move(self, run_id: str, task: Task, seat: Seat, step: Step) -> None:
        seat.state = follow(SEAT, seat.state, step, f"the seat of site {seat.site_id} in task {task.seq} of {run_id}")
