"""Training over streams: the tasks that a deployment's run has, the topics that its jobs find, the one record in them.

A job reads its control topic from the first record on and takes the first one whose key is its deployment's number.
So each run has a topic of its own with one record, made of the announced one: without empty ranges, for PyTorch's
trainer waits at those for ever, and with the number as the fewest bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from domain.ids import Id, sha256_hex
from domain.rules import StreamCluster
from domain.stream_commands import NewRecord, NewTopic, Range
from domain.stream_records import ArchitectureVersion, DataSource
from domain.streams import contract
from domain.streams.contract import JobPlan, Servers
from domain.streams.expressions import StreamRange, expression_of, ranges_of
from domain.values import Contract, Holder, TaskSpec, WorkloadOutput, WorkloadSpec
from fedyard.cluster.port import Placement, Resources

TRAINING: Final = "training"
WORKER: Final = "worker"
INFERENCE: Final = "inference"
BUILD: Final = "build"
"""What a workload is for streams; the last one makes a model file."""
CONTROL_BYTES, WEIGHTS_BYTES = 50_000, 10_000_000
"""Largest records of the topics that a federated controller and its workers talk over, as Kafka-ML makes them."""
MAX_LABEL: Final = 63
_NVIDIA: Final = "nvidia.com/gpu"


class Unfit(Exception):
    """Data that no job of the deployment can be trained on. reason: a code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


# tasks


class Job(msgspec.Struct, frozen=True):
    """One job: what it trains, and by which numbers its results are known."""

    plan: JobPlan
    rids: tuple[int, ...]

    @property
    def name(self) -> str:
        """Of its task, its workload, and of the object at its cluster: a DNS label."""
        name = contract.job_name(self.plan.case, self.rids)
        return (
            name if len(name) <= MAX_LABEL else f"{name[: MAX_LABEL - 9].rstrip('-')}-{sha256_hex(name.encode())[:8]}"
        )


class Setting(msgspec.Struct, frozen=True):
    """Where and how the jobs of a deployment run. attempts: at each job. resources: of each, but for devices."""

    number: int
    string_id: str
    servers: Servers
    images: dict[str, str]
    location: str
    attempts: int
    resources: Resources


def image_of(images: dict[str, str], framework: str) -> str | None:
    """The trainer's; None: the operator has named none."""
    return images.get({"tf": "tensorflow_training", "pth": "pytorch_training"}[framework])


def devices_of(count: int) -> tuple[dict[str, int], Placement]:
    """So many of NVIDIA's: what a workload has to ask for, and in which runtime it finds them."""
    return ({_NVIDIA: count}, Placement(runtime_class="nvidia")) if count else ({}, Placement())


def task_of(deployment: contract.Deployment, job: Job, setting: Setting) -> TaskSpec:
    """The task of a run whose one workload is this job. No site takes part in it."""
    image = image_of(setting.images, job.plan.framework)
    assert image is not None, "asked before"
    environment = contract.environment(
        deployment,
        job.plan,
        number=setting.number,
        rids=job.rids,
        servers=setting.servers,
        string_id=setting.string_id,
    )
    devices, placement = devices_of(deployment.gpumem)
    spec = WorkloadSpec(
        kind="job",
        image=image,
        environment=environment,
        object_name=job.name,
        resources=msgspec.structs.replace(setting.resources, gpus=setting.resources.gpus | devices),
        placement=placement,
        attempts=setting.attempts,
    )
    return TaskSpec(
        name=job.name,
        model=f"kafka-ml case {job.plan.case}",
        aggregate=False,
        who="participants",
        after=[],
        contract=Contract(),
        workloads=[Holder(name=job.name, spec=spec, where=setting.location)],
    )


# model files

MODEL_FILE: Final = "model.h5"
BUILD_WITHIN_S: Final = 900.0
BUILD_MEMORY_BYTES: Final = 4_294_967_296
_PIECE: Final = 30_000
"""Characters of a program in one variable."""
_BUILDS: Final = "builds"
_BUILD: Final = """
import ast, os
pieces = int(os.environ["PIECES"])
tree = ast.parse("".join(os.environ[f"CODE_{n}"] for n in range(pieces)), "model")
if os.environ["DISTRIBUTED"] == "1" and isinstance(tree.body[-1], ast.Expr):
    tree.body[-1] = ast.Assign([ast.Name("model", ast.Store())], tree.body[-1].value)
space = {"__name__": "model"}
exec(compile(os.environ["IMPORTS"], "imports", "exec"), space)
exec(compile(ast.fix_missing_locations(tree), "model", "exec"), space)
space["model"].save(os.path.join(os.environ["FEDYARD_OUTPUTS"], "model.h5"))
"""
"""Kafka-ML's executor did so in a process of its own that lived for long; this one is a job, with limits."""


class Builds(msgspec.Struct, frozen=True):
    """Of which version of an architecture a task makes the file."""

    architecture_id: Id
    version: int


def build_task(of: ArchitectureVersion, number: int, image: str, location: str) -> TaskSpec:
    """The task of a run that makes a model file, in the trainer's own image. number: of the architecture."""
    pieces = [of.code[start : start + _PIECE] for start in range(0, len(of.code), _PIECE)]
    environment = {f"CODE_{n}": piece for n, piece in enumerate(pieces)}
    environment |= {"PIECES": str(len(pieces)), "IMPORTS": of.imports, "DISTRIBUTED": str(of.distributed)}
    name = f"model-file-{number}-{of.version}"
    spec = WorkloadSpec(
        kind="job",
        image=image,
        command=["python3", "-c", _BUILD],
        environment=environment,
        resources=Resources(memory_bytes=BUILD_MEMORY_BYTES),
        deadline_s=BUILD_WITHIN_S,
        attempts=3,
        outputs={MODEL_FILE: WorkloadOutput()},
    )
    return TaskSpec(
        name=name,
        model="a model file",
        parameters={_BUILDS: msgspec.to_builtins(Builds(of.architecture_id, of.version))},
        aggregate=False,
        who="participants",
        after=[],
        workloads=[Holder(name=name, spec=spec, where=location)],
    )


def builds_of(task: TaskSpec) -> Builds | None:
    """None: it trains."""
    said = task.parameters.get(_BUILDS)
    return None if said is None else msgspec.convert(said, Builds)


# topics and records


def own_control_topic(cluster: StreamCluster, run_id: Id, number: int) -> str:
    """In which a deployment's jobs find its data source. After a restore the same run may have another number, which
    the record in the topic of before does not name."""
    return f"{cluster.control_topics[0]}.{run_id}.{number}"


def key_of(number: int) -> bytes:
    """A deployment's number as the fewest bytes, the largest first: programs read the whole key so."""
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def federated_topics(string_id: str, client_id: str = "") -> list[NewTopic]:
    """What a controller talks to its workers over, there before both begin. client_id: with what this worker answers
    in."""
    control, weights = {"max.message.bytes": str(CONTROL_BYTES)}, {"max.message.bytes": str(WEIGHTS_BYTES)}
    topics = {"model_control_topic": control, "model_data_topic": weights, "agg_control_topic": control}
    if client_id:
        topics[f"agg_data_topic-{client_id}"] = weights
    return [NewTopic(f"FED-{string_id}-{name}", config=config) for name, config in topics.items()]


class Ground(msgspec.Struct, frozen=True):
    """What a deployment's jobs are trained on: topics and ranges that must be there, and the record that says so."""

    topics: list[str]
    ranges: list[Range]
    record: NewRecord


def ground_of(deployment: contract.Deployment, number: int, control_topic: str, source: DataSource) -> Ground:
    """Raises `Unfit`."""
    batch = not deployment.incremental or deployment.unsupervised
    said = ranges_of(source.data_topic)
    if batch and said is None:
        raise Unfit("data_unfit", f"{source.data_topic} is a topic without ranges: batch training needs a batch")
    if not batch and said is not None:
        raise Unfit("data_unfit", f"incremental training follows a topic, and {source.data_topic} are ranges")
    ranges, total = filled(source, said)
    unlabelled = None if source.unsupervised_topic is None else ranges_of(source.unsupervised_topic)
    more = [each for each in unlabelled or [] if each.count]
    value = _corrected(source, ranges, more, total, plain=said is None, unlabelled=unlabelled is not None)
    names = {each.topic for each in (*ranges, *more)}
    names |= {source.data_topic} if said is None else set()
    if source.unsupervised_topic is not None and unlabelled is None:
        names.add(source.unsupervised_topic)
    return Ground(
        topics=sorted(names),
        ranges=[Range(each.topic, each.partition, each.start, each.end) for each in (*ranges, *more)],
        record=NewRecord(control_topic, key_of(number), value),
    )


def filled(source: DataSource, said: Sequence[StreamRange] | None) -> tuple[list[StreamRange], int | None]:
    """What is said of its data without empty ranges, and how many records there are; None: nobody knows.

    said: None of a topic alone. Raises `Unfit`.
    """
    if said is None:
        return [], source.total_msg
    ranges = [each for each in said if each.count]
    total, there = source.total_msg, sum(each.count for each in ranges)
    if not there:
        raise Unfit("data_empty", f"no range of {source.data_topic} has a record")
    if total not in (None, there):
        fact = f"the announcement says {total} records, and {source.data_topic} has {there}"
        raise Unfit("data_inconsistent", fact)
    return ranges, there


def _corrected(
    source: DataSource,
    ranges: Sequence[StreamRange],
    more: Sequence[StreamRange],
    total: int | None,
    *,
    plain: bool,
    unlabelled: bool,
) -> bytes:
    """The record as it was announced, what nobody knows of too, without empty ranges."""
    said = msgspec.json.decode(source.body, type=dict[str, object])
    said["topic"] = source.data_topic if plain else expression_of(list(ranges))
    said["total_msg"] = total
    if unlabelled:
        said["unsupervised_topic"] = expression_of(list(more)) or None
    return msgspec.json.encode(said)
