"""What a record of a control topic says: the form of Kafka-ML's programs, and everything that is odd about it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.streams.announcements import AnnouncedData, AnnouncedModel, Flaw, read

DATA: dict[str, Any] = {
    "topic": "automl:0:0:70000",
    "unsupervised_topic": None,
    "input_format": "RAW",
    "input_config": {"data_type": "uint8", "label_type": "uint8", "data_reshape": "28 28", "label_reshape": ""},
    "description": "digits",
    "dataset_restrictions": {},
    "validation_rate": 0.2,
    "test_rate": 0.1,
    "total_msg": 70_000,
    "incremental": False,
}
MODEL: dict[str, Any] = {
    "model_format": {"input_shape": "28 28", "output_shape": "10"},
    "federated_params": {"federated_string_id": "i1ewgcrt", "data_restriction": "{}", "min_data": 1000},
    "framework": "tf",
    "distributed": False,
    "incremental": False,
}


def data(purpose: str = "control", key: bytes | None = b"\x07", **fields: Any) -> AnnouncedData | AnnouncedModel | Flaw:
    return read(purpose, key, msgspec.json.encode(DATA | fields))


def model(**fields: Any) -> AnnouncedData | AnnouncedModel | Flaw:
    return read("model", None, msgspec.json.encode(MODEL | fields))


def test_the_record_of_a_sink() -> None:
    assert data() == AnnouncedData(
        deployment_number=7,
        data_topic="automl:0:0:70000",
        unsupervised_topic=None,
        input_format="RAW",
        input_config_json='{"data_reshape":"28 28","data_type":"uint8","label_reshape":"","label_type":"uint8"}',
        description="digits",
        restrictions_json="{}",
        shape="28 28",
        validation_rate=0.2,
        test_rate=0.1,
        total_msg=70_000,
        incremental=False,
    )


def test_the_record_of_a_federated_training() -> None:
    blockchain = {"rpc_url": "http://ledger", "contract_address": "0x0", "contract_abi": []}
    assert model(blockchain=blockchain, later="?") == AnnouncedModel(
        string_id="i1ewgcrt",
        input_shape="28 28",
        output_shape="10",
        restriction_json="{}",
        min_data=1000,
        framework="tf",
        distributed=False,
        incremental=False,
        blockchain=True,
    )


@pytest.mark.parametrize(
    ("key", "number"),
    [(b"\x01", 1), (b"\x01\x2c", 300), (b"\x00\x01", 1), (b"7x", 0x3778), (b"\x7f" + b"\xff" * 7, 2**63 - 1)],
)
def test_the_whole_key_is_a_big_endian_number(key: bytes, number: int) -> None:
    found = data(key=key)
    assert isinstance(found, AnnouncedData)
    assert found.deployment_number == number


@pytest.mark.parametrize("key", [None, b"", b"\x07"])
def test_at_the_edge_the_key_says_nothing(key: bytes | None) -> None:
    found = data("data", key)
    assert isinstance(found, AnnouncedData)
    assert found.deployment_number is None


@pytest.mark.parametrize(
    ("fields", "change"),
    [
        ({"topic": "automl", "total_msg": None, "incremental": True}, {"data_topic": "automl"}),
        ({"input_format": "AVRO", "input_config": {"data_scheme": "{}"}}, {"input_format": "AVRO", "shape": ""}),
        ({"input_config": '{"data_reshape":"8 8"}'}, {"input_config_json": '{"data_reshape":"8 8"}', "shape": "8 8"}),
        ({"unsupervised_topic": "more:0:0:9"}, {"unsupervised_topic": "more:0:0:9"}),
        ({"dataset_restrictions": '{"a": [1]}'}, {"restrictions_json": '{"a":[1]}'}),
        (
            {"description": None, "validation_rate": None, "incremental": None},
            {"description": "", "validation_rate": 0.0},
        ),
        ({"a field of tomorrow": [1]}, {}),
    ],
)
def test_other_records_that_are_fine(fields: dict[str, Any], change: dict[str, Any]) -> None:
    found = data(**fields)
    assert isinstance(found, AnnouncedData)
    said = msgspec.structs.asdict(found)
    assert {name: said[name] for name in change} == change


@pytest.mark.parametrize(
    ("flaw", "code"),
    [
        (data(key=None), "no_key"),
        (data(key=b""), "no_key"),
        (data(key=b"a key of a text"), "bad_key"),
        (read("control", b"\x01", b""), "no_value"),
        (read("control", b"\x01", b"{'topic'"), "not_json"),
        (read("control", b"\x01", b"\xff\xfe"), "not_json"),
        (read("data", None, b'{"topic":"t","dataset_restrictions":' + b"[" * 100_000), "wrong_types"),
        (read("data", None, b'{"topic":"t","nobody knows":' + b"[" * 65 + b"]" * 65 + b"}"), "wrong_types"),
        (data(input_config='{"a":' + "[" * 65 + "]" * 65 + "}"), "wrong_types"),
        (read("control", b"\x01", b"[]"), "wrong_types"),
        (data(topic=7), "wrong_types"),
        (data(topic=""), "wrong_types"),
        (data(topic="automl:0:5:1"), "wrong_types"),
        (data(topic="automl:0:0"), "wrong_types"),
        (data(topic="not a topic"), "wrong_types"),
        (data(unsupervised_topic="x:0:0:a"), "wrong_types"),
        (data(topic=",".join(f"t{n}:0:0:1" for n in range(101))), "wrong_types"),
        (data(total_msg=-1), "wrong_types"),
        (data(total_msg=2**63), "wrong_types"),
        (data(total_msg=1.5), "wrong_types"),
        (data(validation_rate=2), "wrong_types"),
        (data(validation_rate=0.7, test_rate=0.7), "wrong_types"),
        (data(input_format="XML"), "wrong_types"),
        (data(input_config="no JSON"), "wrong_types"),
        (data(input_config={"a": "x" * 16_384}), "wrong_types"),
        (data(input_config={"data_reshape": [28, 28]}), "wrong_types"),
        (data(description="\0"), "wrong_types"),
        (data(dataset_restrictions="open("), "wrong_types"),
        (data(dataset_restrictions="{'\\ud800': 1}"), "wrong_types"),
        (data(dataset_restrictions="['\\ud800']"), "wrong_types"),
        (model(model_format={}), "wrong_types"),
        (model(federated_params={"federated_string_id": "a b"}), "wrong_types"),
        (model(federated_params={"federated_string_id": "a\n"}), "wrong_types"),
        (model(distributed="no"), "wrong_types"),
    ],
)
def test_what_cannot_be_understood_is_told_by_a_code(flaw: object, code: str) -> None:
    assert isinstance(flaw, Flaw)
    assert flaw.code == code


def test_a_record_is_as_deep_wherever_it_is_read() -> None:
    """What was understood where its rows were asked for would else be another thing where it is decided."""

    def below(frames: int, value: bytes) -> object:
        return below(frames - 1, value) if frames else read("data", None, value)

    for depth in (60, 61, 62, 63, 64, 100, 500, 900):
        texts = (
            '{"topic":"t","x":%s}',
            '{"topic":"t","input_config":{"x":%s}}',
            '{"topic":"t","dataset_restrictions":%s}',
        )
        nested = "[" * depth + "]" * depth
        for value in [text % nested for text in texts] + [texts[2] % f'"\\"{nested}\\""', texts[0] % f'"{nested}"']:
            assert below(0, value.encode()) == below(300, value.encode()) == below(700, value.encode())


def test_a_flaw_quotes_nothing_of_the_content() -> None:
    for flaw in (
        data(total_msg="a secret"),
        data(input_format="a secret"),
        data(input_format="no - at `$a secret"),
        data(topic="a secret"),
        data(topic="a secret:0"),
        data(topic="t:0:0:1", unsupervised_topic="t:0:5:1,a secret:0:0:0"),
        model(framework={"a secret": 1}),
    ):
        assert isinstance(flaw, Flaw)
        assert flaw.detail
        assert "a secret" not in flaw.detail
