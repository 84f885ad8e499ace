"""`fedyard deployment` as people mistype it; what it does is shown in tests/ops/test_deployments.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedyard.cli.common import UsageError
from fedyard.cli.deployments import _contract_in, _field


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
