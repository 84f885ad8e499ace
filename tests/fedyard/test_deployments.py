"""`fedyard deployment` as people mistype it; what it does is shown in tests/ops/test_deployments.py."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fedyard.actions.site import UsageError
from fedyard.cli.deployments import _contract_in, _field, _logs, _measured
from fedyard.wire.answers import TrainingResult

UUID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("batch=32", ("batch", 32)),
        ("federated=true", ("federated", True)),
        ("pth_kwargs_fit=max_epochs=5, shuffle=true", ("pth_kwargs_fit", "max_epochs=5, shuffle=true")),
        ("optimizer=adam", ("optimizer", "adam")),
        ("tf_kwargs_val=", ("tf_kwargs_val", "")),
    ],
)
def test_a_field_is_json_or_text(text: str, field: tuple[str, object]) -> None:
    assert _field(text) == field


@pytest.mark.parametrize("text", ["batch", "=32", ""])
def test_a_field_has_a_name_and_a_value(text: str) -> None:
    with pytest.raises(UsageError, match="write a name, =, and a value"):
        _field(text)


def test_a_contract_is_a_file_of_json(tmp_path: Path) -> None:
    (tmp_path / "contract").write_text("[]")
    for name in ("contract", "none"):
        with pytest.raises(UsageError, match="--contract"):
            _contract_in(tmp_path / name)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b'{"loss": [1.5, 0.25], "accuracy": [0.98765]}', "loss 0.25 (2 values), accuracy 0.9877"),
        (b'{"loss": [1.5, null], "none": []}', "loss None (2 values)"),
        (b"null", ""),
        (b'[{"loss": 1}]', ""),
    ],
)
def test_of_metrics_the_newest_is_shown(said: bytes, told: str) -> None:
    assert _measured(msgspec.Raw(said)) == told


def test_a_log_of_several_results_is_shown_once() -> None:
    def result(number: int, log_tail: str | None) -> TrainingResult:
        about = {"number": number, "deployment_id": UUID, "architecture_id": UUID, "state": "failed"}
        return msgspec.convert(about | {"detail": "why", "log_tail": log_tail}, TrainingResult)

    found = _logs([result(7, "same"), result(8, "same"), result(9, "other"), result(10, None)])
    assert found == {("why", "same"): [7, 8], ("why", "other"): [9]}
