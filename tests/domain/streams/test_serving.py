"""What the containers of federated workers and of inference are told."""

from __future__ import annotations

import re

import msgspec
import pytest

from domain.ids import derive
from domain.streams.serving import (
    Serving,
    WorkerData,
    inference_environment,
    inference_group,
    inference_labels,
    inference_object_name,
    string_id_of,
    worker_case,
    worker_environment,
    worker_job_name,
)
from tests.domain.test_callers import INFERENCE, UPPER, WORKER

SERVING = Serving(
    input_format="RAW",
    input_config="{}",
    input_topic="in",
    output_topic="out",
    input_servers="a:9092",
    output_servers="b:9092",
    upper_servers="c:9092",
    output_upper="upper",
)
DATA = WorkerData(
    topic="data:0:0:70", input_format="RAW", input_config="{}", validation_rate=0.1, test_rate=0.0, total_msg=70
)


def worker(**fields) -> dict[str, str]:
    said = {"case": 1, "string_id": "x4f2", "client_id": "a1b2c3d4", "data": DATA} | fields
    return worker_environment(**said, cloud_servers="cloud:9092", data_servers="edge:9092")


def test_a_string_id_is_derived_and_fits_the_wire() -> None:
    ids = [string_id_of(derive("run", number)) for number in range(50)]
    assert all(re.fullmatch("[0-9a-z]{8}", one) for one in ids)
    assert len(set(ids)) == 50
    assert ids[3] == string_id_of(derive("run", 3))


@pytest.mark.parametrize(
    ("distributed", "incremental", "ledger", "case"),
    [
        (False, False, False, 1),
        (False, True, False, 2),
        (True, False, False, 3),
        (True, True, False, 4),
        (False, False, True, 5),
        (False, True, True, 2),
        (True, False, True, 3),
    ],
)
def test_a_workers_case(*, distributed, incremental, ledger, case) -> None:
    assert worker_case(distributed=distributed, incremental=incremental, ledger=ledger) == case


def test_a_worker_finds_what_its_container_reads() -> None:
    found = worker()
    assert found.keys() == WORKER.keys() | {"CASE"}
    assert (found["DATA_TOPIC"], found["TOTAL_MSG"], found["TEST_RATE"]) == ("data:0:0:70", "70", "0.0")
    assert worker_job_name("x4f2", "9f3a77c1") == "federated-training-x4f2-worker-9f3a77c1"


def test_a_worker_on_what_goes_on_has_no_total_and_one_without_unlabelled_data_no_topic_of_it() -> None:
    online = msgspec.structs.replace(DATA, topic="data", total_msg=None, unsupervised_topic="more:0:0:9")
    found = worker(case=2, data=online)
    assert (found["TOTAL_MSG"], found["UNSUPERVISED_TOPIC"]) == ("None", "more:0:0:9")
    assert "UNSUPERVISED_TOPIC" not in worker()


def test_inference_of_one_model_and_of_a_part_of_a_chain() -> None:
    single = inference_environment(SERVING, number=4, rid=7, framework="tf", distributed=False)
    assert single.keys() == INFERENCE.keys()
    assert (single["MODEL_URL"], single["MODEL_ARCH_URL"]) == ("{door}/results/model/7", "{door}/results/7")
    part = inference_environment(SERVING, number=4, rid=7, framework="tf", distributed=True)
    assert part.keys() == (INFERENCE.keys() - {"MODEL_ARCH_URL"}) | UPPER.keys()
    assert (part["LIMIT"], part["OUTPUT_UPPER"]) == ("None", "upper")


def test_two_inferences_of_one_result_do_not_share_a_group_where_the_container_lets_us() -> None:
    assert inference_group("tf", rid=7, number=4) != inference_group("tf", rid=7, number=5)
    assert inference_group("pth", rid=7, number=4) == inference_group("pth", rid=8, number=5) == "group_id"


def test_its_pods_are_found_as_before() -> None:
    assert inference_object_name(4) == "model-inference-4"
    assert inference_labels(4) == {"name": "model-inference-4", "app": "inference4"}
