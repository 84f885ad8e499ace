"""What the containers of federated workers and of inference are told; the first halves are in contract.py."""

from __future__ import annotations

from typing import Final

import msgspec

from domain.ids import Id, sha256_hex
from domain.stream_values import InferenceAsked
from domain.streams.contract import DOOR, Framework

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
TORCH_GROUP: Final = "group_id"
"""The consumer group of PyTorch's inference container, whatever it is told: two on one topic share its records."""


def string_id_of(cause: Id) -> str:
    """What federated training is known by on the wire: 8 of [0-9a-z], derived from its run."""
    rest = int(sha256_hex(f"string id of {cause}".encode()), 16)
    text = ""
    for _ in range(8):
        rest, digit = divmod(rest, len(_DIGITS))
        text += _DIGITS[digit]
    return text


# federated workers


_WORKER_CASES: dict[tuple[bool, bool], int] = {
    # distributed model, incremental data source
    (False, False): 1,
    (False, True): 2,
    (True, False): 3,
    (True, True): 4,
}


def worker_case(*, distributed: bool, incremental: bool, ledger: bool = False) -> int:
    """Kafka-ML's number of a worker, 1 to 5."""
    return 5 if ledger and not distributed and not incremental else _WORKER_CASES[distributed, incremental]


def worker_job_name(string_id: str, client_id: str) -> str:
    """client_id: 8 hexadecimal digits, derived from the pair."""
    return f"federated-training-{string_id}-worker-{client_id}"


class WorkerData(msgspec.Struct, frozen=True):
    """What a worker trains on, as it was announced. total_msg: None of what goes on."""

    topic: str
    input_format: str
    input_config: str
    validation_rate: float
    test_rate: float
    total_msg: int | None
    unsupervised_topic: str | None = None


def worker_environment(
    *, case: int, string_id: str, client_id: str, data: WorkerData, cloud_servers: str, data_servers: str
) -> dict[str, str]:
    """Of a federated worker. No UNSUPERVISED_TOPIC where there is none: the text None would count as a topic."""
    told = {
        "KML_CLOUD_BOOTSTRAP_SERVERS": cloud_servers,
        "DATA_BOOTSTRAP_SERVERS": data_servers,
        "DATA_TOPIC": data.topic,
        "INPUT_FORMAT": data.input_format,
        "INPUT_CONFIG": data.input_config,
        "VALIDATION_RATE": str(data.validation_rate),
        "TEST_RATE": str(data.test_rate),
        "TOTAL_MSG": str(data.total_msg),
        "FEDERATED_MODEL_ID": string_id,
        "FEDERATED_CLIENT_ID": client_id,
        "NVIDIA_VISIBLE_DEVICES": "all",
        "CASE": str(case),
    }
    if data.unsupervised_topic is not None:
        told["UNSUPERVISED_TOPIC"] = data.unsupervised_topic
    return told


# inference


def flaw_of(asked: InferenceAsked, *, distributed: bool) -> str | None:
    """What cannot be served, and what to do about it."""
    if not distributed and (asked.output_upper or asked.limit is not None):
        return "only a part of a chain hands on to a part above: leave output_upper and limit out"
    if asked.output_upper and asked.limit is None:
        return "a part of a chain hands on what lies below limit: name limit, or leave output_upper out"
    lacking = [name for name in ("input_topic", "output_topic") if not getattr(asked, name)]
    if lacking:
        return f"{lacking[0]} is empty: name a topic"
    outputs = [(asked.output_cluster, asked.output_topic)]
    outputs += [(asked.upper_cluster, asked.output_upper)] if asked.output_upper else []
    if (asked.input_cluster, asked.input_topic) in outputs or len(set(outputs)) < len(outputs):
        return "what is read and what is written are different topics: what is answered would be asked again"
    try:
        msgspec.json.decode(asked.input_config or "{}", type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        return "input_config is no JSON object"
    return None


def clusters_of(asked: InferenceAsked) -> list[str]:
    """In which its topics lie, that of its input first."""
    upper = [asked.upper_cluster] if asked.output_upper else []
    return list(dict.fromkeys([asked.input_cluster, asked.output_cluster, *upper]))


def topics_on(asked: InferenceAsked, cluster: str) -> list[str]:
    """Those of its topics that lie in this cluster."""
    all_of_it = [(asked.input_cluster, asked.input_topic), (asked.output_cluster, asked.output_topic)]
    all_of_it += [(asked.upper_cluster, asked.output_upper)] if asked.output_upper else []
    return [topic for of, topic in all_of_it if of == cluster]


class Serving(msgspec.Struct, frozen=True):
    """What an inference service reads and writes. Servers: as workloads reach them. limit: of the largest value, below
    which a chain's lower model hands on to output_upper."""

    input_format: str
    input_config: str
    input_topic: str
    output_topic: str
    input_servers: str
    output_servers: str
    upper_servers: str = ""
    output_upper: str = ""
    limit: float | None = None


def inference_object_name(number: int) -> str:
    return f"model-inference-{number}"


def inference_labels(number: int) -> dict[str, str]:
    """By which people find its pods today."""
    return {"name": inference_object_name(number), "app": f"inference{number}"}


def inference_group(framework: Framework, *, rid: int, number: int) -> str:
    """The consumer group that its container reads with: of each inference its own, where the container lets us."""
    return TORCH_GROUP if framework == "pth" else f"inf{rid}-{number}"


def inference_environment(
    serving: Serving, *, number: int, rid: int, framework: Framework, distributed: bool
) -> dict[str, str]:
    """Of an inference service. number: its own; rid: of the result that it serves."""
    told = {
        "INPUT_BOOTSTRAP_SERVERS": serving.input_servers,
        "OUTPUT_BOOTSTRAP_SERVERS": serving.output_servers,
        "MODEL_URL": f"{DOOR}/results/model/{rid}",
        "INPUT_FORMAT": serving.input_format,
        "INPUT_CONFIG": serving.input_config,
        "INPUT_TOPIC": serving.input_topic,
        "OUTPUT_TOPIC": serving.output_topic,
        "GROUP_ID": inference_group(framework, rid=rid, number=number),
    }
    if distributed:
        told["UPPER_BOOTSTRAP_SERVERS"] = serving.upper_servers
        told["OUTPUT_UPPER"] = serving.output_upper
        told["LIMIT"] = str(serving.limit)
    else:
        told["MODEL_ARCH_URL"] = f"{DOOR}/results/{rid}"
    return told
