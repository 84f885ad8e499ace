"""What a job measured is kept as it was said, or so much of it as there is room for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from domain.streams.measured import Measured, Unkept, measured


def loaded(text: str) -> Any:
    return msgspec.json.decode(text)


def test_what_fits_is_kept_whole() -> None:
    said = {"train_metrics": {"loss": [2, 1]}, "test_metrics": [], "confusion_matrix": [[1, 0], [0, 1]], "more": 1}
    assert measured(said, 1000) == Measured('{"loss":[2,1]}', "", "[]", "[[1,0],[0,1]]")


def test_long_lists_are_thinned_alike_and_keep_their_newest_value() -> None:
    said = {"train_metrics": {"loss": list(range(1000)), "lr": [0.1]}, "val_metrics": [{"loss": list(range(1000))}]}
    found = measured(said, 3000)
    train, val = loaded(found.train_metrics), loaded(found.val_metrics)
    assert train["loss"] == val[0]["loss"] == list(range(3, 1000, 4))
    assert train["lr"] == [0.1]
    assert found.note == ("metrics had 7813 bytes: of long lists every 4th value is kept, the newest among them")
    assert len(found.train_metrics) + len(found.val_metrics) <= 3000


def test_a_matrix_of_many_classes_goes_before_metrics_do() -> None:
    found = measured({"train_metrics": {"loss": list(range(100))}, "confusion_matrix": [[0] * 100] * 100}, 1000)
    assert (len(loaded(found.train_metrics)["loss"]), found.confusion_matrix) == (100, "")
    assert "the confusion matrix has 20201 bytes and was left out" in found.note


def test_what_cannot_be_thinned_goes() -> None:
    found = measured({"train_metrics": {f"metric {n}": [1] for n in range(1000)}}, 1000)
    assert (found.train_metrics, found.note.endswith("were left out")) == ("", True)


@pytest.mark.parametrize("value", [3, "x", True, ["\ud800"]])
def test_what_cannot_be_kept_is_refused(value: object) -> None:
    with pytest.raises(Unkept, match="val_metrics"):
        measured({"val_metrics": value}, 1000)
