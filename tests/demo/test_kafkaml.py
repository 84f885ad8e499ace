"""The stand-ins for Kafka-ML's programs: what they write, read and upload, on a Kafka, at a stand-in for the door."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from demo.kafkaml import arrays, expression, kafka, network, sink
from demo.kafkaml.controller import control
from demo.kafkaml.digits import SHAPE, digits
from demo.kafkaml.door import Door as Caller
from demo.kafkaml.door import DoorError
from demo.kafkaml.expression import Range
from demo.kafkaml.federation import Topics
from demo.kafkaml.framework import FRAMEWORKS
from demo.kafkaml.samples import UnknownFormatError, samples
from demo.kafkaml.training import run
from demo.kafkaml.worker import work
from tests.demo.door import Door

ROOT = Path(__file__).parents[2]
SOURCE = b"import torch\n\nHIDDEN = 24\n\nmodel = Net(HIDDEN)\n"


@pytest.fixture
def door() -> Iterator[Door]:
    one = Door({"/results/7": SOURCE})
    yield one
    one.close()


@pytest.fixture(scope="module")
def source() -> Any:
    return digits()


def job(servers: str, door: Door, topic: str, **more: str) -> dict[str, str]:
    return {
        "BOOTSTRAP_SERVERS": servers, "RESULT_URL": f"{door.url}/results/7", "RESULT_ID": "7", "CONTROL_TOPIC": topic,
        "DEPLOYMENT_ID": "300", "BATCH": "32", "KWARGS_FIT": json.dumps({"max_epochs": 6}), "KWARGS_VAL": "{}",
        "CONF_MAT_CONFIG": "true", **more,
    }  # fmt: skip


def started(program: str, framework: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", f"demo.kafkaml.{program}", framework], cwd=ROOT, env=os.environ | environment,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


# ranges, keys, announcements


def test_an_expression_has_its_ends_exclusive() -> None:
    ranges = [Range("automl", 0, 0, 70000), Range("automl", 1, 5, 5)]
    text = "automl:0:0:70000,automl:1:5:5"
    assert (expression.written(ranges), expression.read(text), expression.total(ranges)) == (text, ranges, 70000)


@pytest.mark.parametrize("text", ["", "automl", "automl:0:0", "automl:0:0:x", "automl:0:0:1,"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|invalid literal"):
        expression.read(text)


@pytest.mark.parametrize(("number", "key"), [(0, b"\0"), (1, b"\1"), (255, b"\xff"), (256, b"\1\0"), (300, b"\1,")])
def test_a_key_is_the_id_big_endian_in_as_few_bytes_as_it_takes(number: int, key: bytes) -> None:
    assert sink.key_of(number) == key


def test_an_announcement_has_the_fields_of_a_sinks_and_an_online_one_no_total() -> None:
    config = {"data_type": "float32", "label_type": "int64", "data_reshape": "8 8", "label_reshape": "1"}
    body = json.loads(sink.Announcement("t", [Range("t", 0, 3, 9)], config, "digits", "{}", 0.1, 0.2).body())
    assert body == {
        "topic": "t:0:3:9", "unsupervised_topic": None, "input_format": "RAW", "description": "digits",
        "dataset_restrictions": "{}", "input_config": config, "validation_rate": 0.1, "test_rate": 0.2, "total_msg": 6,
        "incremental": False,
    }  # fmt: skip
    online = json.loads(sink.Announcement("t", [], config).body())
    assert (online["topic"], online["total_msg"], online["incremental"]) == ("t", None, True)


# what is pickled


NUMBERS = hn.arrays(st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_]), hn.array_shapes())


@given(NUMBERS)
def test_an_array_is_read_as_pickle_has_written_it_and_written_so_that_pickle_reads_it(array: Any) -> None:
    for content in (arrays.dumped(array), pickle.dumps(array, protocol=3), pickle.dumps(np.asfortranarray(array))):
        found = arrays.loaded(content)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
        np.testing.assert_array_equal(pickle.loads(content), array)  # noqa: S301 - our own, a line before


class Planted:
    """A command that would leave a file at the place."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.place}",)


class Vast:
    """An array that would take a terabyte, and no bytes on the wire."""

    def __reduce__(self) -> Any:
        return np.ndarray, ((2**40,),)


REFUSED = {
    "a size": Vast(), "objects": np.array([object], dtype=object), "a text": "weights",
    "a list": [np.zeros(2)], "a class": np.ndarray, "texts": np.array(["a"]), "a record": np.zeros(2, "f4,i4"),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_nothing_else_that_was_pickled_is_read(protocol: int) -> None:
    for other in REFUSED.values():
        with pytest.raises(arrays.NotAnArrayError):
            arrays.loaded(pickle.dumps(other, protocol=protocol))


def test_nothing_that_was_pickled_is_run(tmp_path: Path) -> None:
    content = pickle.dumps(Planted(str(tmp_path / "planted")))
    with pytest.raises(arrays.NotAnArrayError, match="system was pickled"):
        arrays.loaded(content)
    assert not list(tmp_path.iterdir())
    pickle.loads(content)  # noqa: S301 - it would have been
    assert (tmp_path / "planted").exists()


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_an_array(content: bytes) -> None:
    with suppress(arrays.NotAnArrayError):
        assert isinstance(arrays.loaded(content), np.ndarray)


def test_more_bytes_than_a_record_may_have_are_refused() -> None:
    with pytest.raises(arrays.NotAnArrayError, match="more than a record"):
        arrays.loaded(bytes(arrays.LARGEST_BYTES + 1))


# what is trained


def test_of_a_models_source_a_number_is_read_and_nothing_is_run() -> None:
    assert network.hidden_in("raise SystemExit\nHIDDEN = 7\n") == 7
    assert network.hidden_in("HIDDEN = size()\nOTHER = 3\n") == network.HIDDEN
    with pytest.raises(SyntaxError):
        network.hidden_in("def model(:")


def test_a_model_is_read_as_it_was_written_with_the_shape_of_its_samples() -> None:
    weights = network.begun(network.Shape(64, hidden=5))
    content = network.packed(weights, SHAPE)
    assert [one.tolist() for one in network.unpacked(content)] == [one.tolist() for one in weights]
    assert (network.sample_in(content), network.shape_of(weights).hidden) == (SHAPE, 5)
    with pytest.raises(ValueError, match="no model of these programs"):
        network.unpacked(b"PK\3\4 and nothing")


def test_a_format_or_a_type_that_is_not_read_is_named() -> None:
    record = kafka.Record(b"1", b"2")
    with pytest.raises(UnknownFormatError, match="AVRO"):
        samples([record], "AVRO", {})
    with pytest.raises(UnknownFormatError, match="string"):
        samples([record], "RAW", {"data_type": "string", "label_type": "int8"})
    with pytest.raises(UnknownFormatError, match="no record"):
        samples([], "RAW", {})


# the door


def test_only_200_is_a_success_and_ten_tries_are_all(door: Door) -> None:
    caller = Caller(f"{door.url}/results/7", between_s=0)
    door.refusals = [202, 503, 404]
    caller.result({"training_time": 0.1}, b"model", "trained_model.pt")
    assert (door.answered, len(door.uploads)) == ([202, 503, 404, 200], 1)
    door.refusals = [202] * 11
    with pytest.raises(DoorError, match="10 times: it answers 202"):
        caller.result({}, b"model", "trained_model.pt")
    assert door.refusals == [202]


def test_metrics_are_a_form_at_the_url_with_every_results_replaced(door: Door) -> None:
    Caller(f"{door.url}/results/7", between_s=0).metrics({"loss": [0.5]}, {})
    (told,) = door.metrics
    data = {"train_metrics": {"loss": [0.5]}, "val_metrics": {}}
    assert told == ("/results_metrics/7", "application/x-www-form-urlencoded", data)


def test_a_result_has_a_part_without_a_type_and_a_picture_only_where_one_was_made(door: Door) -> None:
    caller = Caller(f"{door.url}/results/7", between_s=0)
    caller.result({"a": 1}, b"weights", "trained_model.h5")
    caller.result({}, b"", "trained_model.h5", b"\x89PNG")
    (path, contents, headers), (_, pictured, _) = door.uploads
    assert (path, contents) == ("/results/7", {"data": b'{"a": 1}', "trained_model": b"weights"})
    assert headers == {
        "data": 'Content-Disposition: form-data; name="data"',
        "trained_model": 'Content-Disposition: form-data; name="trained_model"; filename="trained_model.h5"',
    }
    assert pictured["confussion_matrix"] == b"\x89PNG"


# on a Kafka


def test_a_job_takes_the_first_record_of_its_deployment_and_its_ranges_alone(noida, door: Door, source: Any) -> None:
    servers, topic, data = noida.bootstrap_servers, "kml-control", "kml-data"
    kafka.make(servers, {topic: {}, data: {}})
    kafka.write(servers, data, [kafka.Record(b"no", b"sample")])
    announcement = sink.of_digits(servers, data, source.part(0, 400), validation_rate=0.1, test_rate=0.2)
    assert announcement.ranges == [Range(data, 0, 1, 401)]
    kafka.write(servers, data, [kafka.Record(b"nor", b"this")])
    sink.announce(servers, topic, 44, announcement)  # 44 is the second byte of 300
    kafka.write(servers, topic, [kafka.Record(b"", announcement.body())])
    sink.announce(servers, topic, 300, announcement)
    sink.announce(servers, topic, 300, sink.Announcement(data, [Range(data, 0, 0, 1)], announcement.input_config))
    run(job(servers, door, topic), FRAMEWORKS["pytorch"], between_s=0)
    ((path, contents, _),) = door.uploads
    result = json.loads(contents["data"])
    assert path == "/results/7"
    assert [len(data["train_metrics"]["loss"]) for _, _, data in door.metrics] == [1, 2, 3, 4, 5, 6]
    assert set(result) == {"train_metrics", "val_metrics", "test_metrics", "training_time", "confusion_matrix"}
    assert [len(result[kind]["accuracy"]) for kind in ("train_metrics", "val_metrics", "test_metrics")] == [6, 6, 1]
    assert result["test_metrics"]["accuracy"][0] > 0.8
    assert sum(map(sum, result["confusion_matrix"])) == 80
    weights = network.unpacked(contents["trained_model"])
    assert network.shape_of(weights) == network.Shape(64, hidden=24)
    right = network.predicted(weights, source.images[1400:].reshape(-1, 64)).argmax(axis=1) == source.labels[1400:]
    assert right.mean() > 0.8


def test_several_partitions_are_read_and_empty_ranges_are_no_reason_to_wait(noida, source: Any) -> None:
    servers = noida.bootstrap_servers
    ranges = sink.send(servers, "kml-parts", source.images[:30], source.labels[:30])
    assert expression.total(ranges) == 30
    ranges.append(Range(ranges[0].topic, ranges[0].partition, 0, 0))
    found = samples(kafka.between(servers, ranges), "RAW", sink.config_of(source.images[0], source.labels[0]))
    assert sorted(found.labels) == sorted(source.labels[:30])


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_inference_answers_each_record_and_goes_on_after_one_that_it_cannot_read(
    noida, door: Door, source: Any, name: str
) -> None:
    servers, here, there = noida.bootstrap_servers, f"kml-in-{name}", f"kml-out-{name}"
    kafka.make(servers, {here: {}, there: {}})
    weights = network.begun(network.Shape(64))
    door.models["/results/model/7"] = network.packed(weights, SHAPE)
    environment = {
        "INPUT_BOOTSTRAP_SERVERS": servers, "OUTPUT_BOOTSTRAP_SERVERS": servers,
        "MODEL_URL": f"{door.url}/results/model/7", "MODEL_ARCH_URL": f"{door.url}/results/7",
        "INPUT_FORMAT": "RAW", "INPUT_TOPIC": here, "OUTPUT_TOPIC": there,
        "INPUT_CONFIG": json.dumps({"data_type": "float32", "data_reshape": "8 8"}), "GROUP_ID": f"inf-{name}",
    }  # fmt: skip
    program = started("inference", name, environment)
    good = [kafka.Record(b"", one.tobytes(), [("trace", b"7")]) for one in source.images[:3]]
    kafka.write(servers, here, [kafka.Record(b"", b"short"), *good])
    answers = list(kafka.between(servers, [Range(there, 0, 0, 3)]))
    expected = network.predicted(weights, source.images[:3].reshape(-1, 64).astype(float))
    program.terminate()
    assert program.wait(20) == 0
    np.testing.assert_allclose([json.loads(one.value)["values"] for one in answers], expected)
    assert [list(one.headers) for one in answers] == [[("trace", b"7")] if name == "tensorflow" else []] * 3


def test_a_controller_and_its_worker_train_in_rounds_and_say_what_the_edge_needs(
    noida, door: Door, source: Any
) -> None:
    servers, topics = noida.bootstrap_servers, Topics("i1ewgcrt")
    door.models["/results/7"] = network.packed(network.begun(network.Shape(64)), SHAPE)
    federated = {
        "CASE": "5", "FEDERATED_STRING_ID": "i1ewgcrt", "AGGREGATION_ROUNDS": "4", "MIN_DATA": "200",
        "AGG_STRATEGY": "FedAvg", "DATA_RESTRICTION": "{}", "MODEL_LOGGER_TOPIC": "kml-models",
        "KWARGS_FIT": json.dumps({"epochs": 3}),
    }  # fmt: skip
    controller = threading.Thread(target=control, args=(job(servers, door, "none", **federated), 0.0), daemon=True)
    controller.start()
    announcement = json.loads(next(kafka.everything(servers, "kml-models")).value)
    assert announcement == {
        "model_format": {"input_shape": "8 8", "output_shape": "10"},
        "federated_params": {"federated_string_id": "i1ewgcrt", "data_restriction": "{}", "min_data": 200},
        "framework": "tf", "distributed": False, "incremental": False,
    }  # fmt: skip
    data = sink.of_digits(servers, "kml-edge", source.part(0, 300), dataset_restrictions="{}")
    work(
        {
            "KML_CLOUD_BOOTSTRAP_SERVERS": servers, "DATA_BOOTSTRAP_SERVERS": servers, "CASE": "1",
            "DATA_TOPIC": expression.written(data.ranges), "INPUT_FORMAT": "RAW", "TOTAL_MSG": "300",
            "INPUT_CONFIG": json.dumps(data.input_config), "VALIDATION_RATE": "0.2", "TEST_RATE": "0",
            "FEDERATED_MODEL_ID": "i1ewgcrt", "FEDERATED_CLIENT_ID": "c0ffee00",
        }
    )  # fmt: skip
    controller.join(60)
    assert not controller.is_alive()
    models = list(kafka.between(servers, [Range(topics.model_control, 0, 0, 4)]))
    said = [json.loads(one.value) for one in models]
    assert [one["version"] for one in said] == [0, 1, 2, -1]
    assert {one.key for one in models} == {b"7"}
    assert said[0]["training_settings"] == {
        "batch": 32, "kwargs_fit": {"epochs": 3}, "kwargs_val": {}, "unsupervised": False
    }  # fmt: skip
    updates = list(kafka.between(servers, [Range(topics.updates_control, 0, 0, 4)]))
    assert {one.key for one in updates} == {b"FED-MODEL-i1ewgcrt-CLIENT-c0ffee00"}
    assert [json.loads(one.value)["version"] for one in updates] == [1, 2, 3, -1]
    assert [path for path, _, _ in door.metrics] == ["/results_metrics/7"] * 4
    ((_, contents, _),) = door.uploads
    result = json.loads(contents["data"])
    assert (result["test_metrics"], result["indefinite"]) == ([], False)
    assert len(result["val_metrics"]["sparse_categorical_accuracy"]) == 4
    weights = network.unpacked(contents["trained_model"])
    right = network.predicted(weights, source.images[1400:].reshape(-1, 64)).argmax(axis=1) == source.labels[1400:]
    assert right.mean() > 0.8


def test_a_program_ends_with_code_0_whatever_went_wrong() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo.kafkaml.training", "pytorch"],
        cwd=ROOT, env={"PATH": os.defpath}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "KeyError: 'BOOTSTRAP_SERVERS'")
