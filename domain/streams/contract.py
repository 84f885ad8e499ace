"""The one contract of training over Kafka: four independent facts, and what Kafka-ML's containers are told of them.

One model or a chain of them; a batch or incremental, for a while or indefinitely; federated or not; with a ledger or
not. Case number, name of the job and environment follow, as the containers know them. What they cannot do is said
before anything is made.

Wherever a job is told an address of the hub, it stands behind `{door}`: the attempt's secret way in, put there when the
attempt is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from domain.ids import Id
from domain.stream_values import Deployment as Deployment  # noqa: PLC0414 - the contract is about it
from domain.stream_values import Framework as Framework  # noqa: PLC0414 - as it is
from domain.streams.arguments import Argument, arguments_of
from domain.streams.nesting import MAX_DEPTH, is_deep

DOOR: Final = "{door}"
"""In the environment of a job, for `BACKEND_URL/w/<secret>`."""
EPOCHS: dict[Framework, str] = {"tf": "epochs", "pth": "max_epochs"}
"""The argument of `fit` that each framework's container cannot do without."""


MAX_RESTRICTION: Final = 16_384
"""Characters of a restriction as JSON: it has to have room in a variable of its job's environment."""


class Architecture(msgspec.Struct, frozen=True):
    """A model to be trained, as far as the contract asks. father_id: of the upper model that it feeds."""

    id: Id
    name: str
    framework: Framework
    distributed: bool = False
    father_id: Id | None = None
    code: str = ""


class JobPlan(msgspec.Struct, frozen=True):
    """One job: a case of Kafka-ML's, and whose models it trains, the lowest of a chain first."""

    case: int
    framework: Framework
    architecture_ids: tuple[Id, ...]


class Servers(msgspec.Struct, frozen=True):
    """Where a job finds Kafka: bootstrap servers as workloads reach them, and the topics that it reads and writes."""

    bootstrap_servers: str
    control_topic: str
    model_topic: str


# what it is


_CASES: dict[tuple[bool, bool, bool], tuple[int, str]] = {
    # chain, incremental, federated: case and the beginning of the job's name
    (False, False, False): (1, "model-training"),
    (False, True, False): (2, "incremental-model-training"),
    (True, False, False): (3, "distributed-model-training"),
    (True, True, False): (4, "distributed-incremental-model-training"),
    (False, False, True): (5, "federated-model-training-controller"),
    (False, True, True): (6, "federated-incremental-model-training-controller"),
    (True, False, True): (7, "federated-distributed-model-training-controller"),
    (True, True, True): (8, "fed-dist-incremental-model-training-controller"),
}
_WITH_A_LEDGER = (9, "federated-blockchain-model-training-controller")
_NAMES = dict([*_CASES.values(), _WITH_A_LEDGER])
_OF_CHAINS = frozenset(case for (chain, _, _), (case, _) in _CASES.items() if chain)
_INCREMENTAL = frozenset(case for (_, incremental, _), (case, _) in _CASES.items() if incremental)
_FEDERATED = frozenset(case for (_, _, federated), (case, _) in _CASES.items() if federated) | {_WITH_A_LEDGER[0]}
_WITHOUT_CONTROL = frozenset({5, 9})
"""They learn of their data from workers alone."""


def case_of(*, chain: bool, incremental: bool, federated: bool, ledger: bool = False) -> int:
    """Kafka-ML's number, 1 to 9. ledger: of one model, in a batch, federated; elsewhere there is no such case."""
    if ledger:
        assert federated, "a ledger is of federated training"
        assert not chain, "no case has a ledger and a chain"
        assert not incremental, "no case has a ledger and is incremental"
        return _WITH_A_LEDGER[0]
    return _CASES[chain, incremental, federated][0]


def job_name(case: int, rids: Sequence[int]) -> str:
    """What the Job is called, by the numbers of its results, the lowest model's first."""
    return "-".join([_NAMES[case], *map(str, rids)])


def flaw_of(deployment: Deployment, architectures: Sequence[Architecture]) -> str | None:
    """What no container can do, and what to do about it; None: it can be trained."""
    if not architectures:
        return "there is no architecture to train: put one into the configuration"
    chain = any(one.distributed for one in architectures)
    torch = [one.name for one in architectures if one.framework == "pth"]
    facts = [
        name
        for name, holds in {
            "a chain": chain,
            "incremental": deployment.incremental,
            "federated": deployment.federated,
            "unsupervised": deployment.unsupervised,
        }.items()
        if holds
    ]
    if torch and facts:
        return (
            f"architecture {torch[0]} is PyTorch, whose container trains one model on a batch of labelled data alone: "
            f"this is {', '.join(facts)}; train it in a configuration and a deployment of its own"
        )
    if deployment.blockchain and (chain or deployment.incremental or not deployment.federated):
        return "a ledger is kept of federated training of one model on a batch alone: leave blockchain out"
    if deployment.federated and deployment.agg_strategy != "FedAvg":
        return (
            f"strategy {deployment.agg_strategy} is none that today's containers finish a round with: use FedAvg, or "
            "an aggregation of your own in a task of the project"
        )
    return (
        _flaw_of_streaming(deployment, architectures, chain=chain)
        or _flaw_of_chains(architectures)
        or _flaw_of_arguments(deployment, architectures)
        or _flaw_of_restriction(deployment)
    )


def unsupported_of(deployment: Deployment) -> str | None:
    """What the contract knows and the hub does not do."""
    if deployment.blockchain:
        return "a ledger of federated training is not kept here: leave blockchain out"
    return None


def _flaw_of_streaming(deployment: Deployment, architectures: Sequence[Architecture], *, chain: bool) -> str | None:
    if not deployment.indefinite:
        if deployment.incremental and deployment.stream_timeout is None:
            return "limited incremental training ends after stream_timeout milliseconds without a record: name them"
        return None
    if not deployment.incremental:
        return "indefinite training is incremental: say so, or leave indefinite out"
    if chain:
        return "indefinite training of a chain is none that today's containers can do: limit it by stream_timeout"
    if not deployment.monitoring_metric or not deployment.change or deployment.improvement is None:
        return "indefinite training reports when a metric has improved: name monitoring_metric, change and improvement"
    lacking = [one.name for one in architectures if deployment.monitoring_metric not in one.code]
    if lacking:
        return (
            f"architecture {lacking[0]} does not name the monitoring metric {deployment.monitoring_metric} in its code"
        )
    return None


def _flaw_of_chains(architectures: Sequence[Architecture]) -> str | None:
    """Whole chains alone: whoever feeds another one is trained with it."""
    by_id = {one.id: one for one in architectures}
    for one in architectures:
        if one.father_id is None:
            continue
        if one.father_id not in by_id:
            return (
                f"architecture {one.name} feeds {one.father_id}, which is not trained with it:"
                " name that one, too, or the uppermost of the chain alone"
            )
        if not one.distributed or not by_id[one.father_id].distributed:
            return f"architecture {one.name} feeds another one: both have to be distributed"
    fathers = [one.father_id for one in architectures if one.father_id is not None]
    forked = next((by_id[key].name for key in fathers if fathers.count(key) > 1), None)
    if forked is not None:
        return f"architecture {forked} is fed by several: a chain has one below each"
    covered = {key for head in _heads(architectures) for key in _chain(head, architectures)}
    if covered != {one.id for one in architectures if one.distributed}:
        return "the chain of the distributed architectures goes in a circle: give one of them no father"
    return None


def _flaw_of_arguments(deployment: Deployment, architectures: Sequence[Architecture]) -> str | None:
    for framework in sorted({one.framework for one in architectures}):
        for part in ("fit", "val"):
            try:
                found = arguments_of(getattr(deployment, f"{framework}_kwargs_{part}"))
            except ValueError as flaw:
                return f"{framework}_kwargs_{part}: {flaw}"
            epochs = found.get(EPOCHS[framework])
            if part == "fit" and (type(epochs) is not int or epochs < 1):
                return f"{framework}_kwargs_fit needs {EPOCHS[framework]}=<how many>, at least 1"
    return None


def _flaw_of_restriction(deployment: Deployment) -> str | None:
    try:
        text = restriction_of(deployment)
    except ValueError as flaw:
        return f"data_restriction: {flaw}"
    if len(text) > MAX_RESTRICTION or is_deep(text.encode()):
        return f"data_restriction: more than {MAX_RESTRICTION} characters of JSON, or nested deeper than {MAX_DEPTH}"
    return None


def restriction_of(deployment: Deployment) -> str:
    """The restriction as canonical JSON, whichever way it was said. Raises ValueError."""
    said = deployment.data_restriction
    if isinstance(said, str):
        try:
            said = msgspec.json.decode(said or "{}", type=dict[str, object])
        except (msgspec.DecodeError, RecursionError):
            raise ValueError("this is no JSON object") from None
    try:
        return _json(said)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


# which jobs it takes


def jobs_of(deployment: Deployment, architectures: Sequence[Architecture]) -> list[JobPlan]:
    """One job for each single architecture, and one for each chain, in the order given. Of what has no flaw."""
    plans = []
    for one in architectures:
        if one.distributed and one.father_id is not None:
            continue
        chain = _chain(one, architectures) if one.distributed else (one.id,)
        case = case_of(
            chain=one.distributed,
            incremental=deployment.incremental,
            federated=deployment.federated,
            ledger=deployment.blockchain,
        )
        plans.append(JobPlan(case=case, framework=one.framework, architecture_ids=chain))
    return plans


def _heads(architectures: Sequence[Architecture]) -> list[Architecture]:
    return [one for one in architectures if one.distributed and one.father_id is None]


def _chain(head: Architecture, architectures: Sequence[Architecture]) -> tuple[Id, ...]:
    """From the lowest to its head."""
    below = {one.father_id: one.id for one in architectures if one.father_id is not None}
    found = [head.id]
    while found[-1] in below and len(found) <= len(architectures):
        found.append(below[found[-1]])
    return tuple(reversed(found))


# what its job is told


def environment(
    deployment: Deployment,
    plan: JobPlan,
    *,
    number: int,
    rids: Sequence[int],
    servers: Servers,
    string_id: str = "",
) -> dict[str, str]:
    """Of a training job. number: of the deployment. rids: of its results, as many and in the order of the plan's
    architectures. string_id: of federated training, as workers know it."""
    assert len(rids) == len(plan.architecture_ids), f"{len(plan.architecture_ids)} results, not {len(rids)}"
    urls, ids = [f"{DOOR}/results/{rid}" for rid in rids], [str(rid) for rid in rids]
    chain = plan.case in _OF_CHAINS
    told = {
        "BOOTSTRAP_SERVERS": servers.bootstrap_servers,
        "RESULT_URL": str(urls) if chain else urls[0],
        "RESULT_ID": str(ids) if chain else ids[0],
        "DEPLOYMENT_ID": str(number),
        "BATCH": str(deployment.batch),
        "KWARGS_FIT": _json(_arguments(deployment, plan.framework, "fit")),
        "KWARGS_VAL": _json(_arguments(deployment, plan.framework, "val")),
        "CONF_MAT_CONFIG": _json(deployment.conf_mat_settings),
        "CASE": str(plan.case),
        "UNSUPERVISED": str(deployment.unsupervised),
        "UNSUPERVISED_ROUNDS": str(deployment.unsupervised_rounds),
        "CONFIDENCE": str(deployment.confidence),
    }
    if plan.case not in _WITHOUT_CONTROL:
        told["CONTROL_TOPIC"] = servers.control_topic
    if plan.case in _INCREMENTAL:
        told["STREAM_TIMEOUT"] = "-1" if deployment.indefinite else str(deployment.stream_timeout)
        told["IMPROVEMENT"] = str(0.05 if deployment.improvement is None else deployment.improvement)
        if not chain:
            told["MONITORING_METRIC"] = deployment.monitoring_metric or ""
            told["CHANGE"] = deployment.change or ""
    if chain:
        told["OPTIMIZER"] = deployment.optimizer
        told["LEARNING_RATE"] = str(deployment.learning_rate)
        told["LOSS"] = deployment.loss
        told["METRICS"] = deployment.metrics
    if plan.case in _FEDERATED:
        told["AGGREGATION_ROUNDS"] = str(deployment.agg_rounds)
        told["MIN_DATA"] = str(deployment.min_data)
        told["AGG_STRATEGY"] = deployment.agg_strategy
        told["DATA_RESTRICTION"] = restriction_of(deployment)
        told["MODEL_LOGGER_TOPIC"] = servers.model_topic
        told["FEDERATED_STRING_ID"] = string_id
    if deployment.gpumem:
        told["NVIDIA_VISIBLE_DEVICES"] = "all"
    return told


def _arguments(deployment: Deployment, framework: Framework, part: Literal["fit", "val"]) -> dict[str, Argument]:
    return arguments_of(getattr(deployment, f"{framework}_kwargs_{part}"))


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
