"""Announcements of models and data, as the records say them: with what a test does not care about filled in."""

from __future__ import annotations

from typing import Any

from domain import stream_records as sr
from domain.ids import derive
from domain.streams.restrictions import canonical
from tests.domain.scenes import NOW


def model(name: str = "a model", *, restriction: object = "{}", **fields: Any) -> sr.ModelAnnouncement:
    """A single classic model of digits for TensorFlow that asks for 1,000 records."""
    usual: dict[str, Any] = {
        "id": derive("model", name),
        "cluster": "cloud",
        "topic": "FEDERATED_MODEL_CONTROL_TOPIC",
        "partition": 0,
        "log_offset": 0,
        "string_id": "i1ewgcrt",
        "input_shape": "28 28",
        "output_shape": "10",
        "restriction_json": canonical(restriction),
        "min_data": 1000,
        "framework": "tf",
        "distributed": False,
        "incremental": False,
        "blockchain": False,
        "announced_at": NOW,
        "taken_at": NOW,
        "body": b"{}",
        "state": "live",
        "state_at": NOW,
    }
    return sr.ModelAnnouncement(**(usual | fields))


def data(name: str = "some data", *, restrictions: object = "{}", **fields: Any) -> sr.DataSource:
    """1,000 digits, RAW."""
    usual: dict[str, Any] = {
        "id": derive("data", name),
        "cluster": "edge",
        "topic": "FEDERATED_DATA_CONTROL_TOPIC",
        "partition": 0,
        "log_offset": 0,
        "purpose": "data",
        "deployment_number": None,
        "data_topic": "digits:0:0:1000",
        "unsupervised_topic": None,
        "input_format": "RAW",
        "input_config_json": '{"data_type":"uint8","label_type":"uint8","data_reshape":"28 28","label_reshape":"1"}',
        "description": "",
        "restrictions_json": canonical(restrictions),
        "shape": "28 28",
        "validation_rate": 0.2,
        "test_rate": 0.1,
        "total_msg": 1000,
        "incremental": False,
        "announced_at": NOW,
        "taken_at": NOW,
        "body": b"{}",
        "state": "live",
        "state_at": NOW,
    }
    return sr.DataSource(**(usual | fields))
