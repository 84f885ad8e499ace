"""What callers say of names, labels and environment: every kind of job that Kafka-ML starts can be said."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import msgspec
import pytest

from domain import records as r
from domain import values as v
from domain.workloads import flaw_of, wanted_of
from fedyard.cluster import manifests
from fedyard.cluster.manifests import Rules
from fedyard.cluster.port import Spec

OWNER, PROJECT, WORKLOAD = (f"0c1b7f5e-0000-4000-8000-00000000000{number}" for number in range(3))
RULES = Rules(prepare_image="fedyard:1")
COMMON = {
    "BOOTSTRAP_SERVERS": "kafka:9092",
    "RESULT_URL": "http://backend:8000/results/7",
    "RESULT_ID": "7",
    "DEPLOYMENT_ID": "3",
    "BATCH": "32",
    "KWARGS_FIT": json.dumps({"epochs": 5, "shuffle": True}),
    "KWARGS_VAL": json.dumps({"steps": None}),
    "CONF_MAT_CONFIG": "null",
    "UNSUPERVISED": "False",
    "UNSUPERVISED_ROUNDS": "5",
    "CONFIDENCE": "0.9",
}
CONTROL = {"CONTROL_TOPIC": "control"}
INCREMENTAL = {"STREAM_TIMEOUT": "-1", "IMPROVEMENT": "0.05"}
INDEFINITE = {"MONITORING_METRIC": "accuracy", "CHANGE": "up"}
DISTRIBUTED = {
    "RESULT_URL": "['http://backend:8000/results/12', 'http://backend:8000/results/13']",
    "RESULT_ID": "[12, 13]",
    "OPTIMIZER": "adam",
    "LEARNING_RATE": "0.001",
    "LOSS": "sparse_categorical_crossentropy",
    "METRICS": "sparse_categorical_accuracy",
}
FEDERATED = {
    "AGGREGATION_ROUNDS": "15",
    "MIN_DATA": "1000",
    "AGG_STRATEGY": "FedAvg",
    "DATA_RESTRICTION": json.dumps({"labels": ["$(HOME)", "$$"]}),
    "MODEL_LOGGER_TOPIC": "FEDERATED_MODEL_CONTROL_TOPIC",
    "FEDERATED_STRING_ID": "x4f2",
}
ABI = json.dumps([{"type": "function", "name": f"f{number}", "inputs": [], "outputs": []} for number in range(180)])
"""Of a contract: longer than any word of a command line."""
ETHEREUM = {
    "ETH_RPC_URL": "http://eth:8545",
    "ETH_TOKEN_ADDRESS": "0x0",
    "ETH_TOKEN_ABI": ABI,
    "ETH_CHAIN_ID": "1337",
    "ETH_NETWORK_ID": "1337",
    "ETH_WALLET_ADDRESS": "0x1",
    "ETH_BLOCKSCOUT_URL": "",
}
WORKER = {
    "KML_CLOUD_BOOTSTRAP_SERVERS": "cloud:9092",
    "DATA_BOOTSTRAP_SERVERS": "edge:9092",
    "DATA_TOPIC": "data",
    "INPUT_FORMAT": "RAW",
    "INPUT_CONFIG": json.dumps({"data_type": "uint8", "data_reshape": "28 28"}),
    "VALIDATION_RATE": "0.1",
    "TEST_RATE": "0.1",
    "TOTAL_MSG": "None",
    "FEDERATED_MODEL_ID": "x4f2",
    "FEDERATED_CLIENT_ID": "a1b2c3d4",
    "NVIDIA_VISIBLE_DEVICES": "all",
}
INFERENCE = {
    "INPUT_BOOTSTRAP_SERVERS": "kafka:9092",
    "OUTPUT_BOOTSTRAP_SERVERS": "kafka:9092",
    "MODEL_URL": "http://backend:8000/results/model/7",
    "MODEL_ARCH_URL": "http://backend:8000/results/7",
    "INPUT_FORMAT": "RAW",
    "INPUT_CONFIG": "{}",
    "INPUT_TOPIC": "in",
    "OUTPUT_TOPIC": "out",
    "GROUP_ID": "inf7",
}
UPPER = {"UPPER_BOOTSTRAP_SERVERS": "kafka:9092", "OUTPUT_UPPER": "upper", "LIMIT": "None"}
LONG = "fed-dist-incremental-model-training-controller-12-13-14"

JOBS: dict[str, tuple[str, dict[str, str]]] = {
    "single classic": ("model-training-7", CONTROL),
    "single incremental": ("incremental-model-training-7", CONTROL | INCREMENTAL | INDEFINITE),
    "distributed": ("distributed-model-training-12-13", CONTROL | DISTRIBUTED),
    "distributed incremental": ("distributed-incremental-model-training-12-13", CONTROL | DISTRIBUTED | INCREMENTAL),
    "federated": ("federated-model-training-controller-7", FEDERATED),
    "federated incremental": (
        "federated-incremental-model-training-controller-7",
        CONTROL | INCREMENTAL | INDEFINITE | FEDERATED,
    ),
    "federated distributed": (
        "federated-distributed-model-training-controller-12-13",
        CONTROL | DISTRIBUTED | FEDERATED,
    ),
    "federated distributed incremental": (LONG, CONTROL | DISTRIBUTED | INCREMENTAL | FEDERATED),
    "federated with a blockchain": ("federated-blockchain-model-training-controller-7", FEDERATED | ETHEREUM),
}
"""How each case of a training job is called, and what it finds in its environment beside `COMMON` and `CASE`."""


def attempt(spec: v.WorkloadSpec) -> Spec:
    """What its cluster is asked for, by what was asked of the hub."""
    workload = r.Workload(
        id=WORKLOAD,
        project_id=PROJECT,
        name="train",
        cluster="hub",
        kind=spec.kind,
        spec_json=msgspec.json.encode(spec).decode(),
        replicas=spec.replicas,
        attempts=spec.attempts,
        state="wanted",
        state_at=0,
        created_at=0,
    )
    first = r.WorkloadAttempt(workload_id=WORKLOAD, attempt=1, state="wanted", state_at=0, created_at=0)
    return wanted_of(workload, first, OWNER).spec


def asked(**fields: Any) -> v.WorkloadSpec:
    """As the API takes it. Raises `ValidationError`."""
    return msgspec.convert({"image": "kafka-ml/training:1", **fields}, v.WorkloadSpec)


def found(manifest: dict[str, Any]) -> dict[str, str]:
    """The environment of its container as its program finds it: Kubernetes halves what is doubled."""
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"].replace("$$", "$") for one in container["env"] if "value" in one}


@pytest.mark.parametrize("case", list(JOBS))
def test_every_kind_of_training_job_can_be_said(case) -> None:
    name, own = JOBS[case]
    environment = COMMON | own | {"CASE": str(list(JOBS).index(case) + 1)}
    spec = asked(kind="job", object_name=name, environment=environment)
    assert flaw_of(spec) is None
    job = manifests.workload(attempt(spec), RULES)
    kubernetes_validate.validate(job, "1.36", strict=True)
    assert (job["kind"], job["metadata"]["name"]) == ("Job", name)
    assert environment.items() <= found(job).items()


def test_so_can_a_gpu_and_the_runtime_that_shows_it() -> None:
    spec = asked(
        kind="job",
        object_name="model-training-7",
        environment=COMMON | CONTROL | {"CASE": "1", "NVIDIA_VISIBLE_DEVICES": "all"},
        resources={"gpus": {"nvidia.com/gpu": 2}},
        placement={"runtime_class": "nvidia"},
    )
    assert flaw_of(spec) is None
    pod = manifests.workload(attempt(spec), RULES)["spec"]["template"]["spec"]
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"


@pytest.mark.parametrize("case", range(1, 6))
def test_so_can_a_federated_worker(case) -> None:
    ethereum = {name: value for name, value in ETHEREUM.items() if case == 5 and "CHAIN" not in name}
    spec = asked(
        kind="job",
        object_name="federated-training-x4f2-worker-9f3a77c1",
        environment=WORKER | ethereum | {"CASE": str(case)},
        resources={"gpus": {"nvidia.com/gpu": 1}},
    )
    assert flaw_of(spec) is None
    job = manifests.workload(attempt(spec), RULES)
    assert job["metadata"]["name"] == "federated-training-x4f2-worker-9f3a77c1"
    assert (WORKER | ethereum).items() <= found(job).items()


@pytest.mark.parametrize("more", [{}, UPPER], ids=["single", "distributed"])
def test_so_can_an_inference_service_which_its_labels_find(more) -> None:
    spec = asked(
        kind="service",
        object_name="model-inference-4",
        labels={"name": "model-inference-4", "app": "inference4"},
        environment=INFERENCE | more,
        port=8080,
        replicas=3,
    )
    assert flaw_of(spec) is None
    deployment = manifests.workload(attempt(spec), RULES)
    kubernetes_validate.validate(deployment, "1.36", strict=True)
    assert (deployment["metadata"]["name"], deployment["spec"]["replicas"]) == ("model-inference-4", 3)
    for metadata in (deployment["metadata"], deployment["spec"]["template"]["metadata"]):
        assert spec.labels.items() <= metadata["labels"].items()
    assert (INFERENCE | more).items() <= found(deployment).items()


@pytest.mark.parametrize(
    "fields",
    [
        {"labels": {"a b": "c"}},
        {"labels": {"-a": "c"}},
        {"labels": {"a" * 64: "c"}},
        {"labels": {"Example.org/a": "c"}},
        {"labels": {"/a": "c"}},
        {"labels": {"a": "c" * 64}},
        {"labels": {"a": "c-"}},
        {"labels": {"a": "c\n"}},
        {"labels": {f"a{number}": "" for number in range(65)}},
        {"object_name": "Train"},
        {"object_name": "7-train"},
        {"object_name": "train-"},
        {"object_name": "a" * 64},
        {"object_name": "train\n"},
        {"placement": {"runtime_class": "Nvidia"}},
        {"environment": {"A": "x" * 32_769}},
        {"environment": {"A-B": "x"}},
    ],
)
def test_what_no_cluster_takes_is_refused_at_the_edge(fields) -> None:
    asked(kind="job")
    with pytest.raises(msgspec.ValidationError):
        asked(kind="job", **fields)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"labels": {"fedyard/workload": "x"}}, "fedyard/workload"),
        ({"labels": {"app.kubernetes.io/managed-by": "me"}}, "managed-by"),
        ({"labels": {"app.kubernetes.io/component": "me"}}, "component"),
        ({"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}, "pod-security"),
        ({"labels": {"batch.kubernetes.io/job-name": "x"}}, "job-name"),
        ({"labels": {"k8s.io/x": "x"}}, "k8s.io/x"),
        ({"labels": {"controller-uid": "x"}}, "controller-uid"),
        ({"environment": {"FEDYARD_RUN_ID": "x"}}, "FEDYARD_RUN_ID"),
        ({"environment": {"SITE_ENROLMENT_TOKEN": "x"}}, "SITE_ENROLMENT_TOKEN"),
        ({"object_name": "hub"}, "hub"),
        ({"object_name": "selector"}, "selector"),
        ({"object_name": "selector-outside"}, "selector-outside"),
    ],
)
def test_what_stands_for_something_of_ours_is_refused_with_its_name(fields, names) -> None:
    flaw = flaw_of(asked(kind="job", **fields))
    assert flaw is not None
    assert names in flaw


@pytest.mark.parametrize("key", ["team", "app.kubernetes.io/name", "example.org/kubernetes.io", "notk8s.io/a"])
def test_what_is_the_callers_is_theirs(key) -> None:
    assert flaw_of(asked(kind="job", labels={key: ""})) is None


def test_two_names_of_a_place_are_two_objects() -> None:
    one, other = (attempt(asked(kind="job", object_name=name)) for name in ("", "model-training-7"))
    assert manifests.workload(one, RULES)["metadata"]["name"].startswith("train-")
    assert other.name == "model-training-7"
