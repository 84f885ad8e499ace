from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from demo.hospitals import LABEL, split, write
from fedyard.tasks import TaskError
from fedyard.tasks.reading.labelled import read_labelled

CSV = "age,label,dose\n30,0,1.5\n40,1,2.5\n"


def file(folder: Path, text: str) -> Path:
    path = folder / "train.csv"
    path.write_text(text)
    return path


def test_reads_a_csv(tmp_path) -> None:
    table = read_labelled(file(tmp_path, CSV), "label")
    assert table.features == ("age", "dose")
    np.testing.assert_array_equal(table.rows, [[30, 1.5], [40, 2.5]])
    np.testing.assert_array_equal(table.labels, [0, 1])


def test_picks_and_orders_features(tmp_path) -> None:
    table = read_labelled(file(tmp_path, CSV), "label", ["dose"])
    np.testing.assert_array_equal(table.rows, [[1.5], [2.5]])


def test_reads_an_npz(tmp_path) -> None:
    path = tmp_path / "train.npz"
    np.savez(path, X=np.eye(2), y=np.array([0, 1]), features=np.array(["a", "b"]))
    table = read_labelled(path, "malignant")
    assert table.features == ("a", "b")
    np.testing.assert_array_equal(table.rows, np.eye(2))


def test_what_the_demo_writes_comes_back(tmp_path) -> None:
    table = split().training["east"]
    write(table, tmp_path / "east.csv")
    back = read_labelled(tmp_path / "east.csv", LABEL)
    np.testing.assert_array_equal(back.rows, table.rows[:, [table.features.index(name) for name in back.features]])
    np.testing.assert_array_equal(back.labels, table.labels)
    assert list(back.features) == sorted(table.features)


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
        read_labelled(file(tmp_path, text), "label")
    assert "4711" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_file_and_missing_columns_are_named(tmp_path) -> None:
    with pytest.raises(TaskError, match=r"absent\.csv"):
        read_labelled(tmp_path / "absent.csv", "label")
    with pytest.raises(TaskError, match="weight"):
        read_labelled(file(tmp_path, CSV), "label", ["weight"])


def test_an_npz_with_objects_is_refused(tmp_path) -> None:
    path = tmp_path / "train.npz"
    np.savez(path, X=np.array([[object()]]), y=np.array([0]), features=np.array(["a"]))
    with pytest.raises(TaskError, match="without objects"):
        read_labelled(path, "label")


PLAIN = "age,bmi,label\n61,24.5,1\n47,31.0,0\n"
ROWS = [[61, 24.5], [47, 31]]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(PLAIN.encode("utf-8-sig"), mtime=0),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        PLAIN.replace("\n", "\r\r\n").encode(),
        PLAIN.replace("\n", "\n\n").encode(),
        PLAIN.replace("\n", ",\n").encode(),
        PLAIN.replace(",", ", ").encode(),
        PLAIN.replace(",", " ,").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", ";").replace(".", ",").encode(),
        PLAIN.replace(",", "\t").replace(".", ",").encode(),
        b"sep=,\r\n" + PLAIN.encode(),
        b"\xef\xbb\xbfsep=;\r\n" + PLAIN.replace(",", ";").encode(),
        b"sep=|\n" + PLAIN.replace(",", "|").encode(),
        b'"age","bmi","label"\n"61","24.5","1"\n"47","31.0","0"\n',
        b"age,bmi,label\n61,24.5,True\n47,31.0,FALSE\n",
        b"label,bmi,age\n1,24.5,61\n0,3.10e1,+47\n",
        PLAIN.removesuffix("\n").encode(),
    ],
)
def test_reads_what_programs_write_as_the_same_rows(tmp_path, content: bytes) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    table = read_labelled(tmp_path / "train.csv", "label")
    assert table.features == ("age", "bmi")
    np.testing.assert_array_equal(table.rows, ROWS)
    np.testing.assert_array_equal(table.labels, [1, 0])


def test_a_packed_file_may_be_called_so(tmp_path) -> None:
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress(PLAIN.encode(), mtime=0))
    np.testing.assert_array_equal(read_labelled(tmp_path / "train.csv.gz", "label").rows, ROWS)


def test_names_with_accents_are_the_same_in_both_forms(tmp_path) -> None:
    table = read_labelled(file(tmp_path, "gro\u0308\u00dfe,label\n1.7,1\n"), "label", ["gr\u00f6\u00dfe"])
    np.testing.assert_array_equal(table.rows, [[1.7]])


def test_columns_that_nobody_asked_for_may_hold_anything(tmp_path) -> None:
    text = 'name,age,label,note\n"Smith, John",61,1,# see file 9\nJones,47,0,\n'
    np.testing.assert_array_equal(read_labelled(file(tmp_path, text), "label", ["age"]).rows, [[61], [47]])


SAYS = {
    "hash row": ("age,label\n#61,1\n47,0\n", "line 2, column `age`: no number: it begins with `#`"),
    "hash behind": ("age,label\n61,1 # sure\n", "line 2, column `label`: no number: `#` and what stands behind"),
    "hash line": ("# of 2019\nage,label\n61,1\n", "lacks the column `label`"),
    "missing": ("age,label\n\n61,1\n,0\n", "line 4, column `age`: the value is missing"),
    "NA": ("age,label\n61,NA\n", "line 2, column `label`: the value is missing"),
    "nan": ("age,label\n61,1\nnan,0\nnan,0\n", r"line 3, column `age`: a missing or infinite value.* \(2 of them\)"),
    "huge": ("age,label\n61,1\n1e200,0\n", r"line 3, column `age`: a value beyond 1e\+100"),
    "overflow": ("age,label\n1e999,1\n", "line 2, column `age`: a missing or infinite value"),
    "label": ("age,label\n61,1\n47,2\n", "line 3, label `label`: neither 0 nor 1"),
    "underscore": ("age,label\n6_1,1\n", "line 2, column `age`: no number"),
    "other digits": ("age,label\n\u0666\u0661,1\n", "line 2, column `age`: no number"),
    "comma": ('age,label\n"61,5",1\n', "line 2, column `age`: no number: it has a comma"),
    "thousands": ("age;dose;label\n61;1,234;1\n", "line 2, column `dose`: a comma before three digits"),
    "two marks": ("age;dose;label\n61,5;1.5;1\n", "a decimal point in line 2, column `dose`, a comma in line 2"),
    "grouped": ("age;label\n1.234,5;1\n", "line 2, column `age`: no number: it has both a comma and a point"),
    "too few": ("age,dose,label\n61,1\n", "line 2 has 2 fields, the first line 3 names"),
    "too many": ("age,label\n61,1,\n", "line 2 has 3 fields, the first line 2 names"),
    "value without a name": ("age,label,\n61,1,\n47,0,9\n", "line 3 has a value in a column without a name"),
    "index": (",age,label\n0,61,1\n", "line 1: column 1 has no name"),
    "twice": ("age,age,label\n61,62,1\n", "line 1: column `age` is there twice"),
    "spaces twice": ("age, age,label\n61,62,1\n", "line 1: column `age` is there twice"),
    "case": ("age,Label\n61,1\n", "lacks the column `label`.* it has `Label`"),
    "no names": ("61,24.5,1\n47,31,0\n", "its first line holds numbers"),
    "no rows": ("age,label\n\n", "has no rows"),
    "empty": ("", "is empty"),
    "only sep": ("sep=;\n", "nothing but a line `sep=`"),
    "only labels": ("label\n1\n", "no columns but the label's"),
    "open quote": ('age,label\n"61,1\n47,0\n', "line 3: its quotes do not close"),
    "NUL": ("age,label\n6\x001,1\n", "line 2 holds NUL"),
}


@pytest.mark.parametrize("which", SAYS)
def test_says_line_column_and_remedy(tmp_path, which: str) -> None:
    text, sentence = SAYS[which]
    with pytest.raises(TaskError, match=sentence):
        read_labelled(file(tmp_path, text), "label")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("gr\u00f6\u00dfe,label\n1.7,1\n".encode("latin-1"), "no UTF-8 text near line 1.*save it as CSV UTF-8"),
        (PLAIN.encode("utf-16-le"), "line 1 holds NUL"),
        (gzip.compress(PLAIN.encode() + b"61,24.5,1\n" * 500, mtime=0)[:-9], "cut off or damaged"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-8] + bytes(8), "cut off or damaged"),
        (b"PK\x03\x04 a workbook", "Excel workbook"),
        (PLAIN.encode("utf-16")[:-1], "no UTF-16-LE text near line 3"),
    ],
)
def test_says_what_kind_of_file_it_is(tmp_path, content: bytes, sentence: str) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(TaskError, match=sentence):
        read_labelled(tmp_path / "train.csv", "label")


def test_a_file_that_may_not_be_read_says_so(tmp_path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(TaskError, match="no data file loop at this site"):
        read_labelled(tmp_path / "loop", "label")


X, Y, NAMES = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1]), np.array(["a", "b"])


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"X": X, "y": Y, "features": NAMES[:1]}, "X has 2 columns, features names 1"),
        ({"X": X, "y": Y, "features": np.array(["a", "a"])}, "`a` is there twice"),
        ({"X": X, "y": Y, "features": np.array([1, 2])}, "name each of them"),
        ({"X": X, "y": Y, "features": np.array(["a", "label"])}, "`label` is there twice"),
        ({"X": X * 1j, "y": Y, "features": NAMES}, "X holds values of the type complex128"),
        ({"X": X, "y": Y * 1j, "features": NAMES}, "y holds values of the type complex128"),
        ({"X": X.astype("M8[s]"), "y": Y, "features": NAMES}, "X holds values of the type datetime64"),
        ({"X": X.astype(str), "y": Y, "features": NAMES}, "X holds values of the type <U32"),
        ({"X": (X * 2.0**60).astype("i8"), "y": Y, "features": NAMES}, "beyond 2\\^53"),
        ({"X": X, "y": Y[:1], "features": NAMES}, r"y \(1,\)"),
        ({"X": X, "y": np.array([[0], [1]]), "features": NAMES}, r"y \(2, 1\)"),
        ({"X": X[0], "y": Y, "features": NAMES}, r"shape \(2,\)"),
        ({"X": X, "y": Y, "features": NAMES, "mask": X > 1}, "has the array `mask` as well"),
        ({"X": X, "y": Y}, "needs the arrays X"),
        ({"X": X * np.nan, "y": Y, "features": NAMES}, "row 1 of X, column `a`: a missing or infinite value"),
        ({"X": X, "y": Y + 1, "features": NAMES}, "row 2 of X, label `label`: neither 0 nor 1"),
    ],
)
def test_an_npz_whose_arrays_do_not_fit_is_refused(tmp_path, arrays, sentence: str) -> None:
    np.savez(tmp_path / "train.npz", **arrays)
    with pytest.raises(TaskError, match=sentence):
        read_labelled(tmp_path / "train.npz", "label")


def test_an_npz_that_is_none_says_what_it_must_be(tmp_path) -> None:
    (tmp_path / "train.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(TaskError, match="needs the arrays X"):
        read_labelled(tmp_path / "train.npz", "label")


def test_names_of_an_npz_may_be_bytes_and_its_columns_are_taken_by_name(tmp_path) -> None:
    np.savez(tmp_path / "train.npz", X=X, y=Y.astype(bool), features=np.array([b"b", b"a"]))
    table = read_labelled(tmp_path / "train.npz", "label")
    assert table.features == ("a", "b")
    np.testing.assert_array_equal(table.rows, X[:, ::-1])
