from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from controller.tasks import TaskError
from controller.tasks.tables import read_table
from demo.hospitals import LABEL, split, write

CSV = "age,label,dose\n30,0,1.5\n40,1,2.5\n"


def file(folder: Path, text: str) -> Path:
    path = folder / "train.csv"
    path.write_text(text)
    return path


def test_reads_a_csv(tmp_path) -> None:
    table = read_table(file(tmp_path, CSV), "label")
    assert table.features == ("age", "dose")
    np.testing.assert_array_equal(table.rows, [[30, 1.5], [40, 2.5]])
    np.testing.assert_array_equal(table.labels, [0, 1])


def test_picks_and_orders_features(tmp_path) -> None:
    table = read_table(file(tmp_path, CSV), "label", ["dose"])
    np.testing.assert_array_equal(table.rows, [[1.5], [2.5]])


def test_reads_an_npz(tmp_path) -> None:
    path = tmp_path / "train.npz"
    np.savez(path, X=np.eye(2), y=np.array([0, 1]), features=np.array(["a", "b"]))
    table = read_table(path, "malignant")
    assert table.features == ("a", "b")
    np.testing.assert_array_equal(table.rows, np.eye(2))


def test_what_the_demo_writes_comes_back(tmp_path) -> None:
    table = split().training["east"]
    write(table, tmp_path / "east.csv")
    back = read_table(tmp_path / "east.csv", LABEL)
    np.testing.assert_array_equal(back.rows, table.rows)
    np.testing.assert_array_equal(back.labels, table.labels)
    assert back.features == table.features


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age,dose\n1,2\n",
        "label,label\n1,2\n",
        "age,label\n",
        "age,label\nSmith-4711,1\n",
        "age,label\n4711,1,9\n",
        "age,label\n4711\n",
        "age,label\nnan,1\n",
        "age,label\ninf,0\n",
        "age,label\n4711,2\n",
    ],
)
def test_says_what_is_wrong_without_a_value(tmp_path, text: str) -> None:
    with pytest.raises(TaskError) as caught:
        read_table(file(tmp_path, text), "label")
    assert "4711" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_file_and_missing_columns_are_named(tmp_path) -> None:
    with pytest.raises(TaskError, match=r"absent\.csv"):
        read_table(tmp_path / "absent.csv", "label")
    with pytest.raises(TaskError, match="weight"):
        read_table(file(tmp_path, CSV), "label", ["weight"])


def test_an_npz_with_objects_is_refused(tmp_path) -> None:
    path = tmp_path / "train.npz"
    np.savez(path, X=np.array([[object()]]), y=np.array([0]), features=np.array(["a"]))
    with pytest.raises(TaskError, match="without objects"):
        read_table(path, "label")
