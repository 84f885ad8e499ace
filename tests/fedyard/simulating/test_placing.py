"""Which files a simulated site has."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedyard.simulating.placing import Divided, placed
from fedyard.tasks import TaskError


def test_a_file_is_a_sites_train_and_a_folder_has_more(tmp_path) -> None:
    (tmp_path / "b.csv").write_text("1")
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "train.csv.gz").write_text("2")
    (folder / "test.npz").write_text("3")
    (folder / "notes.md").write_text("4")
    sites = placed([tmp_path / "b.csv", folder], tmp_path / "room", None, test=tmp_path / "b.csv")
    assert [site.name for site in sites] == ["a", "b"]
    assert {name: Path(file).name for name, file in sites[0].files.items()} == {
        "train": "train.csv.gz",
        "test": "test.npz",
    }
    assert {name: Path(file).name for name, file in sites[1].files.items()} == {"train": "b.csv", "test": "b.csv"}


def test_files_of_one_name_are_numbered_sites(tmp_path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.csv").write_text("1")
    sites = placed([tmp_path / "x" / "data.csv", tmp_path / "y" / "data.csv"], tmp_path, None)
    assert [site.name for site in sites] == ["site-1", "site-2"]


def test_frames_and_arrays_are_written_to_files(tmp_path) -> None:
    frame, arrays = pd.DataFrame({"a": [1, 2]}), {"X": np.eye(2), "y": np.arange(2)}
    (north, south) = placed({"south": {"train": arrays}, "north": frame}, tmp_path, None)
    assert Path(north.files["train"]).read_text() == "a\n1\n2\n"
    assert np.load(south.files["train"])["y"].tolist() == [0, 1]


ODD = {
    "semicolons": b"a;label\n1,5;x\n2,5;y\n3,5;x\n4,5;y\n",
    "utf16": "a,label\r\n1,x\r\n2,y\r\n\r\n3,x\r\n4,y\r\n".encode("utf-16"),
    "mark": b"\xef\xbb\xbfa,label\n1,x\n2,y\n3,x\n4,y\n",
    "sep": b"sep=;\na;label\n1;x\n2;y\n3;x\n4;y\n",
    "quoted": b'"a","label"\n"1,0",x\n"2",y\n"3",x\n"4",y\n',
}


@pytest.mark.parametrize("kind", ODD)
def test_lines_of_odd_files_are_divided_as_they_are(tmp_path, kind) -> None:
    source = tmp_path / "all.csv"
    source.write_bytes(ODD[kind])
    sites = placed(source, tmp_path, Divided(2, "label", alpha=1e5))
    parts = [Path(site.files["train"]).read_text().splitlines() for site in sites]
    assert [part[0] for part in parts] == [parts[0][0]] * 2
    assert {line[-1] for line in parts[0][1:]} == {line[-1] for line in parts[1][1:]} == {"x", "y"}
    assert len({line for part in parts for line in part[1:]}) == 4


def test_arrays_of_the_labels_length_are_divided_and_others_kept(tmp_path) -> None:
    arrays = {"X": np.arange(12).reshape(6, 2), "y": np.array([0, 1] * 3), "features": np.array(["a", "b"])}
    sites = placed(arrays, tmp_path, Divided(3, "iid"))
    found = [np.load(site.files["train"]) for site in sites]
    assert sorted(np.concatenate([one["X"] for one in found])[:, 0].tolist()) == [0, 2, 4, 6, 8, 10]
    assert all(one["features"].tolist() == ["a", "b"] for one in found)
    assert all((one["X"][:, 0] // 2 % 2 == one["y"]).all() for one in found)


@pytest.mark.parametrize(
    ("data", "divided", "said"),
    [
        ("none.csv", None, "there is no data file"),
        ([], None, "there is no data"),
        (["all.csv", "all.csv"], Divided(2), "2 data sets and a number of sites"),
        ("all.csv", Divided(2, "label", label="other"), "no column 'other'"),
        ("empty.csv", Divided(2), "is empty"),
        ("latin.csv", Divided(2), "save it as CSV UTF-8"),
        (3, None, "not a int"),
        ("folder", None, "no data file in"),
    ],
)
def test_what_is_wrong_with_data_is_said(tmp_path, data, divided, said) -> None:
    (tmp_path / "all.csv").write_text("a,label\n1,x\n2,y\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "latin.csv").write_bytes("a,label\nü,x\n".encode("latin-1"))
    (tmp_path / "folder").mkdir()
    with contextlib.chdir(tmp_path), pytest.raises(TaskError, match=said):
        placed([data] if data == 3 else data, tmp_path, divided)
