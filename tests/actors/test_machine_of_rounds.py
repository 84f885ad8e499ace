"""A project's own coordinator: reports, starts, ends and deadlines in any order; what must hold of its rounds does."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, get_args

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain import codec, values
from domain import commands as c
from domain import records as r
from domain.commands import AnyCommand, Envelope
from domain.decide import decide
from domain.decisions.draft import Decision, State
from domain.ids import derive, sha256_hex
from domain.rules import Rules
from domain.states import PROJECT_ROUND_FINAL, ProjectRoundState
from domain.values import StageName, Subject
from domain.workloads import is_open
from fedyard.cluster.port import Phase, Reason
from fedyard.wire.times import SECOND
from tests.actors.test_machine import made_id
from tests.hub import KEY, START

STAGES: tuple[StageName, ...] = get_args(StageName)
HUB = Rules(clusters="hub=somewhere")
DIGEST = bytes.fromhex(sha256_hex(b"x"))


class Led(RuleBasedStateMachine):
    """One project at the hub, and whatever its coordinator, the cluster, its people and the ticker may send."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.now = State(), START
        self.sent: list[Envelope] = []
        self.outcomes: dict[str, Decision] = {}
        self.ended: dict[object, str] = {}

    def send(self, command: AnyCommand, by: Subject = codec.THE_HUB) -> Decision:
        envelope = codec.envelope_of(command, id=derive(by.id, f"command {len(self.sent)}"), by=by, at=self.now)
        self.sent.append(envelope)
        return self.deliver(envelope)

    def deliver(self, envelope: Envelope) -> Decision:
        if envelope.id not in self.outcomes:
            self.now += 1000
            decision = self.outcomes[envelope.id] = decide(self.state, envelope, self.now, HUB)
            self.state.apply(decision)
            for follow_up in decision.follow_ups:
                self.deliver(follow_up)
        return self.outcomes[envelope.id]

    def rows(self, kind: type[r.Record]) -> list[Any]:
        return list(self.state.rows[kind].values())

    @initialize()
    def scene(self) -> None:
        organisation = made_id(self.send(c.CreateOrganisation(name="all")))
        enrolment = c.CreateEnrolment(organisation_id=organisation, sha256="e", note="", expires_at=self.now + SECOND)
        by = Subject(kind="enrolment", id=made_id(self.send(enrolment)), organisation_id=organisation)
        enrol = c.EnrolSite(name="lead", description="", identity_key=KEY, token_sha256="t")
        self.site = Subject(kind="site", id=made_id(self.send(enrol, by)), organisation_id=organisation)
        create = c.CreateProject(
            coordinator_site_id=self.site.id,
            name="p",
            sealed="optional",
            tasks=[values.TaskSpec(name="t", model="m", contract=values.Contract(quorum=1, quorum_of="count"))],
            infrastructure=values.Infrastructure(
                coordinator_image="c",
                selector_image="s",
                deadlines=values.StageDeadlines(selection_s=60, configuration_s=60, reporting_s=60),
            ),
        )
        self.project = made_id(self.send(create, self.site))
        self.start(None)

    @property
    def coordinator(self) -> r.Workload:
        """The one that was started last."""
        coordinators = [one for one in self.rows(r.Workload) if one.part == "coordinator"]
        return max(coordinators, key=lambda one: one.created_at)  # type: ignore[no-any-return]

    @rule(version=st.sampled_from([None, None, 1, 2]))
    def start(self, version: int | None) -> None:
        self.send(c.StartInfrastructure(project_id=self.project, model_version=version), self.site)

    @rule(really=st.sampled_from([False, False, True]))
    def stop(self, really: bool) -> None:
        if really:
            self.send(c.StopInfrastructure(project_id=self.project), self.site)

    @rule(
        older=st.sampled_from([0, 0, 0, 0, 1]),
        attempt=st.sampled_from([0, 0, 0, 0, -1, 1]),
        ahead=st.sampled_from([0, 0, 0, 0, 1, 1, 2, -1]),
        stage=st.sampled_from(STAGES),
        start=st.sampled_from([None, None, 0, 1, 2]),
        checkpoint=st.booleans(),
    )
    def report(
        self, older: int, attempt: int, ahead: int, stage: StageName, start: int | None, checkpoint: bool
    ) -> None:
        coordinators = sorted(
            (one for one in self.rows(r.Workload) if one.part == "coordinator"), key=lambda one: -one.created_at
        )
        workload = coordinators[older % len(coordinators)]
        newest = max((one.number for one in self.rows(r.ProjectRound) if one.workload_id == workload.id), default=0)
        artifact = self.checkpoint() if checkpoint and stage == "COMPLETED" else None
        self.send(
            c.ReportRound(
                project_id=self.project,
                workload_id=workload.id,
                attempt=max(1, workload.attempt + attempt),
                number=max(0, newest + ahead),
                stage=stage,
                start=start,
                checkpoint_artifact_id=artifact,
            ),
            self.site,
        )

    def checkpoint(self) -> str:
        declare = c.DeclareArtifact(
            owner_site_id=self.site.id,
            project_id=self.project,
            of_kind="model",
            size_bytes=1,
            digest=sha256_hex(DIGEST),
            chunk_digests=DIGEST,
        )
        artifact: Any = self.send(declare, self.site).answer
        self.send(c.CompleteArtifact(artifact_id=artifact.id, found=DIGEST), self.site)
        return str(artifact.id)

    @rule(phase=st.sampled_from([Phase.RUNNING, Phase.RUNNING, Phase.FAILED]), gone=st.booleans())
    def cluster_reports(self, phase: Phase, gone: bool) -> None:
        workload = self.coordinator
        reason = Reason.SIGNALLED if phase == Phase.FAILED else Reason.NONE
        gone = gone and phase == Phase.FAILED
        report = c.ReportWorkload(
            workload_id=workload.id, attempt=workload.attempt, phase=phase, uid="u", reason=reason, gone=gone
        )
        self.send(report)

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND
        for here in self.rows(r.ProjectRound):
            if here.state not in PROJECT_ROUND_FINAL and here.deadline_at <= self.now:
                self.send(c.PassStageDeadline(self.project, here.epoch, here.number, here.deadline_at))

    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        """Decided anew, as by another hub that does not know the outcome, a report changes at most what it says."""
        envelope = data.draw(st.sampled_from(self.sent))
        if not isinstance(envelope.command, c.ReportRound) or not self.outcomes[envelope.id].accepted:
            return
        before = {key: row.state for key, row in self.state.rows[r.ProjectRound].items()}  # type: ignore[attr-defined]
        newest = max(self.rows(r.ProjectRound), key=lambda one: (one.epoch, one.number))
        said: Any = self.outcomes[envelope.id].answer
        if (said.epoch, said.number, said.stage) == (newest.epoch, newest.number, newest.stage):
            again = decide(
                self.state, msgspec.structs.replace(envelope, id=derive(envelope.id, "again")), self.now, HUB
            )
            self.state.apply(again)
            assert {key: row.state for key, row in self.state.rows[r.ProjectRound].items()} == before  # type: ignore[attr-defined]

    # what must hold

    @invariant()
    def at_most_the_newest_round_goes_on(self) -> None:
        rounds = sorted(self.rows(r.ProjectRound), key=lambda one: (one.epoch, one.number))
        assert all(one.state in PROJECT_ROUND_FINAL for one in rounds[:-1])
        for one in rounds:
            assert (one.ended_at is None) == (one.state not in PROJECT_ROUND_FINAL)
            assert bool(one.reason) == (one.state in (ProjectRoundState.FAILED, ProjectRoundState.CANCELLED))

    @invariant()
    def epochs_have_no_gaps_and_one_start_each(self) -> None:
        rounds = sorted(self.rows(r.ProjectRound), key=lambda one: (one.epoch, one.number))
        starts: dict[int, set[object]] = {}
        for one in rounds:
            starts.setdefault(one.epoch, set()).add((one.workload_id, one.attempt, one.start))
        assert list(starts) == list(range(1, len(starts) + 1))
        assert all(len(whose) == 1 for whose in starts.values())
        assert len(set().union(*starts.values())) == len(starts)
        assert all(one.started_at <= other.started_at for one, other in pairwise(rounds))

    @invariant()
    def stages_come_in_their_order(self) -> None:
        for one in self.rows(r.ProjectRound):
            said = msgspec.json.decode(one.stages_json, type=dict[str, int])
            times = [said[stage] for stage in STAGES if stage in said]
            assert times == sorted(times)
            assert [stage for stage in STAGES if stage in said][-1] == one.stage

    @invariant()
    def a_round_that_goes_on_has_a_coordinator_that_may(self) -> None:
        for one in self.rows(r.ProjectRound):
            if one.state not in PROJECT_ROUND_FINAL:
                attempt = self.state.rows[r.WorkloadAttempt][(one.workload_id, one.attempt)]
                assert isinstance(attempt, r.WorkloadAttempt)
                assert is_open(attempt)

    @invariant()
    def final_stays_final(self) -> None:
        for key, row in self.state.rows[r.ProjectRound].items():
            assert isinstance(row, r.ProjectRound)
            if row.state in PROJECT_ROUND_FINAL:
                assert self.ended.setdefault(key, row.state) == row.state

    @invariant()
    def every_version_is_a_rounds_checkpoint(self) -> None:
        models = {m.version: (m.epoch, m.round, m.artifact_id) for m in self.rows(r.Model)}
        assert sorted(models) == list(range(1, len(models) + 1))
        made = [one for one in self.rows(r.ProjectRound) if one.model_version is not None]
        assert {one.model_version: (one.epoch, one.number, one.checkpoint_artifact_id) for one in made} == models
        assert all(one.state == ProjectRoundState.COMPLETED for one in made)


Led.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestLed = Led.TestCase
