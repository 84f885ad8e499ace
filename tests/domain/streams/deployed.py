"""A project whose architectures are deployed, in a state that decisions are folded into one after the other."""

from __future__ import annotations

import itertools
from typing import Any, TypeVar

import msgspec

from domain import codec
from domain import commands as c
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.commands import AnyCommand
from domain.decide import decide
from domain.decisions.draft import Decision, State
from domain.ids import Id, derive, sha256_hex
from domain.rules import Rules, StreamCluster, StreamRules
from domain.stream_values import Deployment
from domain.values import Subject
from fedyard.cluster.port import Phase, Reason
from fedyard.wire.chunks import count_of
from tests.domain.scenes import NOW, PROJECT, SECOND, answer, by_site, project, refusal, row

R = TypeVar("R", bound=r.Record)
COORDINATOR = by_site(0)
CLOUD = StreamCluster(
    name="cloud",
    workload_bootstrap_servers="kafka:9092",
    control_topics=("CONTROL",),
    model_topics=("MODELS",),
)
IMAGES = {"tensorflow_training": "kml/tf", "pytorch_training": "kml/pth"}
RULES = Rules(clusters="hub=processes:/nowhere", streams=StreamRules(clusters=(CLOUD,), images=IMAGES))
FIT = {"tf_kwargs_fit": "epochs=2", "pth_kwargs_fit": "max_epochs=2"}
ONE, LOWER, UPPER, TORCH = (derive("architecture", name) for name in ("one", "lower", "upper", "torch"))


def architecture(ident: Id, number: int, **fields: Any) -> list[r.Record]:
    said = {"framework": "tf", "distributed": 0, "version": 1, **fields}
    version = {name: said[name] for name in ("framework", "distributed", "version")}
    return [
        row(sr.Architecture, id=ident, number=number, project_id=PROJECT, name=f"a{number}", **said),
        row(sr.ArchitectureVersion, architecture_id=ident, code="model = 1", imports="", **version),
    ]


class Yard:
    """Decides on a state, and carries decisions' follow-ups out where asked to."""

    def __init__(self, *, files: bool = True, **fields: Any) -> None:
        """files: each TensorFlow architecture has its model file."""
        rows = [
            *project(2, **fields),
            row(r.History, one=1),
            *architecture(ONE, 1),
            *architecture(UPPER, 2, distributed=1),
            *architecture(LOWER, 3, distributed=1, father_id=UPPER),
            *architecture(TORCH, 4, framework="pth"),
        ]
        kept = (ONE, UPPER, LOWER) if files else ()
        rows += [row(sr.ModelFile, architecture_id=one, version=1, artifact_id=derive(one, "file")) for one in kept]
        self.state = State(rows)
        self.now = NOW
        self.asked_before_s = 0
        """So long the next commands have waited."""
        self._ids = itertools.count()

    def decide(self, command: AnyCommand, by: Subject = codec.THE_HUB, rules: Rules = RULES) -> Decision:
        self.now += SECOND
        ident = derive("tests", "command", next(self._ids))
        asked_at = self.now - self.asked_before_s * SECOND
        decision = decide(self.state, codec.envelope_of(command, id=ident, by=by, at=asked_at), self.now, rules)
        if decision.accepted:
            self.state.apply(decision)
        return decision

    def ok(self, command: AnyCommand, by: Subject = codec.THE_HUB) -> dict[str, Any]:
        """Its answer, once what follows from it was decided as well, but for what is done outside."""
        decision = self.decide(command, by)
        found = answer(decision)
        for envelope in decision.follow_ups:
            if isinstance(envelope.command, sc.PrepareStream):
                self.prepare = envelope.command
            elif not isinstance(envelope.command, c.BeginRun | c.DeleteArtifact):
                self.ok(envelope.command)
        return found

    def refused(self, command: AnyCommand, by: Subject = codec.THE_HUB) -> tuple[int, str]:
        return refusal(self.decide(command, by))

    def start(self, *architectures: Id, control: Any = "own", attempts: int = 1, **contract: Any) -> Id:
        command = sc.StartDeployment(
            project_id=PROJECT,
            contract=Deployment(**{**FIT, **contract}),
            architecture_ids=list(architectures or (ONE,)),
            control=control,
            attempts=attempts,
        )
        return str(self.ok(command, COORDINATOR)["id"])

    def announce(self, run: Id | int, *, key: bytes | None = None, cluster: str = "cloud", **said: Any) -> None:
        """For a deployment, or under a number."""
        value = {
            "topic": "data:0:0:5,data:1:0:0,data:2:3:8",
            "unsupervised_topic": None,
            "input_format": "RAW",
            "input_config": {
                "data_type": "float32",
                "label_type": "int64",
                "data_reshape": "28 28",
                "label_reshape": "",
            },
            "description": "",
            "dataset_restrictions": {},
            "validation_rate": 0.1,
            "test_rate": 0.1,
            "total_msg": 10,
            "incremental": False,
            "of_tomorrow": [1],
            **said,
        }
        number = run if isinstance(run, int) else self.deployment(run).number
        self.ok(
            sc.TakeRecord(
                cluster=cluster,
                cluster_id="k",
                topic="CONTROL",
                topic_id="t",
                partition=0,
                offset=next(self._ids),
                at=self.now,
                key=bytes([number]) if key is None else key,
                value=msgspec.json.encode(value),
                purpose="control",
            )
        )

    def prepared(self, run: Id, reason: Any = "", detail: str = "", attempt: int | None = None) -> None:
        attempt = self.deployment(run).attempts if attempt is None else attempt
        self.ok(sc.ReportStream(purpose="training", about_id=run, attempt=attempt, reason=reason, detail=detail))

    def trained(self, *architectures: Id, attempts: int = 1, **contract: Any) -> Id:
        """A deployment whose jobs run."""
        run = self.start(*architectures, attempts=attempts, **contract)
        self.announce(run)
        self.prepared(run)
        return run

    def give(self, number: int, said: bytes = b"data", attempt: int = 1, **more: Any) -> sc.TakeResult:
        result = self.result(number)
        return sc.TakeResult(
            project_id=PROJECT,
            owner_site_id=COORDINATOR.id,
            workload_id=result.workload_id or "",
            attempt=attempt,
            number=number,
            digest=sha256_hex(said),
            model=uploaded(derive("upload", next(self._ids))),
            model_format="h5",
            **more,
        )

    def see(self, workload: r.Workload, phase: Phase, reason: Reason = Reason.NONE, exit_code: int | None = 0) -> None:
        attempt = self.row(r.Workload, workload.id).attempt
        self.ok(
            c.ReportWorkload(
                workload_id=workload.id, attempt=attempt, phase=phase, reason=reason, uid="u", exit_code=exit_code
            )
        )

    # reading

    def row(self, kind: type[R], *key: object) -> R:
        found = self.state.rows[kind][key]
        assert isinstance(found, kind)
        return found

    def rows(self, kind: type[R]) -> list[R]:
        return [one for one in self.state.rows[kind].values() if isinstance(one, kind)]

    def deployment(self, run: Id) -> sr.Deployment:
        return self.row(sr.Deployment, run)

    def run(self, run: Id) -> tuple[str, str]:
        found = self.row(r.Run, run)
        return found.state, found.reason

    def result(self, number: int) -> sr.TrainingResult:
        return next(one for one in self.rows(sr.TrainingResult) if one.number == number)

    def results(self) -> list[tuple[int, str, str]]:
        return sorted((one.number, one.state, one.reason) for one in self.rows(sr.TrainingResult))

    def jobs(self) -> list[r.Workload]:
        return sorted(self.rows(r.Workload), key=lambda one: one.name)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(one.facts_json) for one in self.rows(r.Event) if one.kind == kind]


def uploaded(ident: Id, size: int = 5) -> sc.Uploaded:
    digests = b"".join(bytes([n % 250 + 1]) * 32 for n in range(count_of(size)))
    return sc.Uploaded(ident, size, sha256_hex(digests), digests)
