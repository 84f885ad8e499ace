"""Commands in any order, repeated and stale, over the pure decisions: what must hold after each step, holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain import codec, values
from domain import commands as c
from domain import records as r
from domain.chain import hash_of
from domain.commands import AnyCommand, Envelope
from domain.decide import decide
from domain.decisions.draft import Decision, State, TooEarly
from domain.ids import derive, sha256_hex
from domain.results import Made
from domain.rules import Rules
from domain.states import (
    ROUND_FINAL,
    RUN_FINAL,
    SEAT_LIVE,
    TASK_RUN_FINAL,
    Report,
    RoundState,
    RunState,
    SeatState,
    TaskRunState,
)
from domain.values import Subject
from fedyard.wire.times import SECOND
from tests.hub import KEY, START

SITES = 4
FINAL: dict[type[r.Record], frozenset[Any]] = {r.Run: RUN_FINAL, r.TaskRun: TASK_RUN_FINAL, r.Round: ROUND_FINAL}
_NEXT = {
    RoundState.SELECTING: Report.READY,
    RoundState.TRAINING: Report.SUBMIT,
    RoundState.SCORING: Report.SCORED,
}
"""What well-behaved sites report in a stage."""


def made_id(decision: Decision) -> str:
    assert isinstance(decision.answer, Made)
    return decision.answer.id


class Yard(RuleBasedStateMachine):
    """Four sites, one project of two tasks, whatever they and the ticker may send."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.now = START
        self.sent: list[Envelope] = []
        self.outcomes: dict[str, Decision] = {}
        self.handled: Counter[str] = Counter()
        self.ended: dict[tuple[str, object], str] = {}
        self.sites: list[Subject] = []

    # the shell that a deciding transaction would be

    def send(self, command: AnyCommand, by: Subject = codec.THE_HUB, key: str | None = None) -> Decision | None:
        envelope = codec.envelope_of(command, id=derive(by.id, key or f"command {len(self.sent)}"), by=by, at=self.now)
        self.sent.append(envelope)
        return self.deliver(envelope)

    def deliver(self, envelope: Envelope) -> Decision | None:
        if envelope.id in self.outcomes:
            return self.outcomes[envelope.id]
        self.now += 1000
        try:
            decision = decide(self.state, envelope, self.now, Rules())
        except TooEarly:
            return None
        self.outcomes[envelope.id] = decision
        if not decision.accepted:
            assert decision.records == ()
        self._count(decision)
        self.state.apply(decision)
        for follow_up in decision.follow_ups:
            self.deliver(follow_up)
        return decision

    def _count(self, decision: Decision) -> None:
        for record in decision.records:
            if isinstance(record, r.Run):
                self.handled[record.id] += 1

    # the scene

    @initialize(
        late=st.sampled_from(["drop", "next_round"]),
        too_few=st.sampled_from(["fail", "wait"]),
        sample=st.sampled_from([1.0, 0.5]),
        score_every=st.sampled_from([0, 1, 2]),
        patience=st.sampled_from([None, 1]),
    )
    def scene(self, late: Any, too_few: Any, sample: float, score_every: int, patience: int | None) -> None:
        organisation = self.send(c.CreateOrganisation(name="all"))
        assert organisation is not None
        contract = values.Contract(
            quorum=0.5,
            select_within_s=60,
            train_within_s=60,
            aggregate_within_s=60,
            silent_within_s=1,
            late=late,
            too_few=too_few,
            sample=sample,
            score_within_s=60,
        )
        stop = None if patience is None or not score_every else values.StopEarly("score.auc", patience=patience)
        for number in range(SITES):
            secret = sha256_hex(f"enrolment {number}".encode())
            expires = self.now + SECOND * 60
            made = self.send(
                c.CreateEnrolment(organisation_id=made_id(organisation), sha256=secret, note="", expires_at=expires)
            )
            assert made is not None
            by = Subject(kind="enrolment", id=made_id(made), organisation_id=made_id(organisation))
            enrol = c.EnrolSite(
                name=f"site {number}", description="", identity_key=KEY, token_sha256=sha256_hex(str(number).encode())
            )
            enrolled = self.send(enrol, by)
            assert enrolled is not None
            self.sites.append(Subject(kind="site", id=made_id(enrolled), organisation_id=by.organisation_id))
        tasks = [
            values.TaskSpec(
                name="one", model="m", rounds=3, contract=contract, score_every=score_every, stop_early=stop
            ),
            values.TaskSpec(name="two", model="m", aggregate=False, who="participants", contract=contract),
        ]
        project = self.send(
            c.CreateProject(
                coordinator_site_id=self.sites[0].id, name="p", tasks=tasks, joining="open", sealed="optional"
            ),
            self.sites[0],
        )
        assert project is not None
        self.project = made_id(project)
        for site in self.sites[1:]:
            self.send(c.PutMember(project_id=self.project, site_id=site.id), site)

    @property
    def runs(self) -> list[Any]:
        return sorted(self.state.rows[r.Run].values(), key=lambda run: (run.number, run.attempt))  # type: ignore[attr-defined]

    def pick(self, index: int) -> Any:
        """The running one if there is one (0), or another."""
        runs = sorted(self.runs, key=lambda run: (run.state != RunState.RUNNING, -run.number, -run.attempt))
        return runs[index % len(runs)] if runs else None

    # what may be sent

    @rule(queue=st.booleans())
    def start(self, queue: bool) -> None:
        self.send(c.StartRun(project_id=self.project, queue=queue), self.sites[0])

    @rule(which=st.integers(0, 1), really=st.sampled_from([False, False, False, True]))
    def stop(self, which: int, really: bool) -> None:
        if really and (run := self.pick(which)):
            self.send(c.StopRun(run_id=run.id), self.sites[0])

    @rule(
        which=st.integers(0, 1),
        start_from=st.sampled_from([None, None, None, "reached", "start"]),
        version=st.sampled_from([None, 1, 2]),
    )
    def restart(self, which: int, start_from: Any, version: int | None) -> None:
        if start_from and (run := self.pick(which)):
            self.send(c.RestartRun(run_id=run.id, start_from=start_from, model_version=version), self.sites[0])

    @rule(
        site=st.integers(0, SITES - 1),
        event=st.sampled_from([*Report, Report.READY, Report.READY, Report.SUBMIT, Report.SUBMIT]),
        task=st.integers(1, 2),
        ahead=st.sampled_from([0, 0, 0, 0, 1, -1]),
        stale=st.sampled_from([0, 0, 0, 0, 1, -1]),
    )
    def report(self, site: int, event: Report, task: int, ahead: int, stale: int) -> None:
        run = self.pick(0)
        if run is None:
            return
        task_run = next(t for t in self.state.rows[r.TaskRun].values() if t.run_id == run.id and t.seq == task)  # type: ignore[attr-defined]
        seat: Any = self.state.rows[r.Seat].get((task_run.id, self.sites[site].id))  # type: ignore[attr-defined]
        seq = (seat.report_seq if seat else 0) + 1 + ahead
        number = (seat.round if seat else 1) + stale
        update = b"u" if event == Report.SUBMIT else None
        self.send(
            c.ReportSeat(
                run_id=run.id,
                task_seq=task,
                site_id=self.sites[site].id,
                event=event,
                seq=max(1, seq),
                round=max(1, number),
                update=update,
                metrics={"auc": 0.5} if event == Report.SCORED else {},
            ),
            self.sites[site],
        )

    @rule(stages=st.integers(1, 7), but=st.integers(0, SITES))
    def go_on(self, stages: int, but: int) -> None:
        """What well-behaved sites would do next, all but one of them."""
        for _ in range(stages):
            active: list[Any] = [t for t in self.state.rows[r.TaskRun].values() if t.state == TaskRunState.ACTIVE]  # type: ignore[attr-defined]
            for task in active:
                here: Any = self.state.rows[r.Round][(task.id, task.round)]
                if here.state == RoundState.AGGREGATING:
                    self.aggregated(task.seq, task.run_id, "")
                else:
                    event = _NEXT[here.state]
                    for site in range(SITES):
                        if site != but:
                            self.report(site, event, task.seq, 0, 0)

    @rule(
        task=st.integers(1, 2),
        failure=st.sampled_from(["", "bad shapes"]),
        without=st.sets(st.integers(0, SITES - 1), max_size=2),
    )
    def coordinator_reports(self, task: int, failure: str, without: set[int]) -> None:
        if run := self.pick(0):
            self.aggregated(task, run.id, failure, without)

    def aggregated(self, task: int, run_id: str, failure: str, without: Iterable[int] = ()) -> None:
        task_run: Any = self.state.rows[r.TaskRun][(derive(run_id, "task", task),)]
        command = c.ReportAggregated(
            run_id=run_id,
            task_seq=task,
            round=max(1, task_run.round),
            model=b"m",
            failure=failure,
            left_out=[c.LeftOut(self.sites[site].id, "seal_damaged") for site in sorted(without)],
        )
        self.send(command, self.sites[0])

    @rule(site=st.integers(1, SITES - 1), reason=st.sampled_from(["site_silent", "member_left"]))
    def lose(self, site: int, reason: Any) -> None:
        if run := self.pick(0):
            self.send(c.DropSeats(run_id=run.id, site_id=self.sites[site].id, reason=reason, detail="lost"))

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND
        rounds: list[Any] = list(self.state.rows[r.Round].values())
        for here in [x for x in rounds if RoundState(x.state) not in ROUND_FINAL and x.deadline_at <= self.now]:
            task: Any = self.state.rows[r.TaskRun][(here.task_run_id,)]
            self.send(
                c.PassDeadline(run_id=here.run_id, task_seq=task.seq, round=here.number, deadline_at=here.deadline_at),
                key=f"deadline {here.task_run_id} {here.number} {here.deadline_at}",
            )

    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        before = {kind: dict(rows) for kind, rows in self.state.rows.items()}
        envelope = data.draw(st.sampled_from(self.sent))
        if envelope.id in self.outcomes:
            self.deliver(envelope)
            assert {kind: dict(rows) for kind, rows in self.state.rows.items()} == before

    @rule(through=st.integers(0, 30), site=st.integers(0, SITES - 1))
    def acknowledge(self, through: int, site: int) -> None:
        self.send(c.AcknowledgeInbox(site_id=self.sites[site].id, through=through), self.sites[site])

    # what must hold

    @invariant()
    def inboxes_are_gapless(self) -> None:
        for box in self.state.rows[r.Mailbox].values():
            assert isinstance(box, r.Mailbox)
            seqs = sorted(e.seq for e in self.state.rows[r.InboxEntry].values() if e.site_id == box.site_id)  # type: ignore[attr-defined]
            assert seqs == list(range(1, box.last_seq + 1))
            assert 0 <= box.acknowledged_seq <= box.last_seq

    @invariant()
    def versions_count_commands(self) -> None:
        for run in self.runs:
            assert run.version == self.handled[run.id]

    @invariant()
    def final_stays_final(self) -> None:
        for kind, final in FINAL.items():
            for key, row in self.state.rows[kind].items():
                name = (kind.__name__, key)
                if name in self.ended:
                    assert row.state == self.ended[name]  # type: ignore[attr-defined]
                elif row.state in final:  # type: ignore[attr-defined]
                    self.ended[name] = row.state  # type: ignore[attr-defined]
                    assert row.reason or kind is r.Round  # type: ignore[attr-defined]

    @invariant()
    def numbers_have_no_gaps_or_doubles(self) -> None:
        firsts = [run.number for run in self.runs if run.attempt == 1]
        assert firsts == list(range(1, len(firsts) + 1))

    @invariant()
    def every_global_model_is_a_version(self) -> None:
        models = self.state.rows[r.Model].values()
        assert sorted(m.version for m in models) == list(range(1, len(models) + 1))  # type: ignore[attr-defined]
        made = {m.id for m in self.state.rows[r.Message].values() if m.kind == "model"}  # type: ignore[attr-defined]
        assert {m.message_id for m in models} == made  # type: ignore[attr-defined]

    @invariant()
    def at_most_one_run_is_running(self) -> None:
        assert sum(run.state == RunState.RUNNING for run in self.runs) <= 1

    @invariant()
    def an_ended_run_has_nothing_alive(self) -> None:
        for run in self.runs:
            tasks: list[Any] = [t for t in self.state.rows[r.TaskRun].values() if t.run_id == run.id]  # type: ignore[attr-defined]
            if RunState(run.state) in RUN_FINAL:
                assert all(TaskRunState(t.state) in TASK_RUN_FINAL for t in tasks)
                seats: list[Any] = [s for s in self.state.rows[r.Seat].values() if s.run_id == run.id]  # type: ignore[attr-defined]
                assert all(SeatState(s.state) not in SEAT_LIVE for s in seats)
            elif run.state == RunState.RUNNING:
                active = [t for t in tasks if t.state == TaskRunState.ACTIVE]
                assert active, "a running run has something under way"
                for task in active:
                    here: Any = self.state.rows[r.Round][(task.id, task.round)]
                    assert RoundState(here.state) not in ROUND_FINAL
                    assert here.deadline_at <= run.deadline_at

    @invariant()
    def only_those_that_were_drawn_take_part(self) -> None:
        rounds: list[Any] = list(self.state.rows[r.Round].values())
        for here in rounds:
            if here.drawn is not None and here.state in (RoundState.SELECTING, RoundState.TRAINING):
                seats: list[Any] = [s for s in self.state.rows[r.Seat].values() if s.task_run_id == here.task_run_id]  # type: ignore[attr-defined]
                part = [s for s in seats if s.round == here.number and SeatState(s.state) in SEAT_LIVE]
                assert sum(s.state != SeatState.RESTING for s in part) <= here.drawn

    @invariant()
    def scores_are_of_rounds_that_have_their_model(self) -> None:
        scores: list[Any] = list(self.state.rows[r.Score].values())
        for score in scores:
            here: Any = self.state.rows[r.Round][(score.task_run_id, score.round)]
            assert here.state in (RoundState.SCORING, RoundState.COMPLETED)
            assert here.model_version is not None

    @invariant()
    def the_chain_is_whole(self) -> None:
        for stream in self.state.rows[r.Stream].values():
            assert isinstance(stream, r.Stream)
            previous = ""
            for seq in range(1, stream.last_seq + 1):
                event = self.state.rows[r.Event][(stream.id, seq)]
                assert isinstance(event, r.Event)
                assert event.hash == hash_of(event, previous)
                previous = event.hash


Yard.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestYard = Yard.TestCase
