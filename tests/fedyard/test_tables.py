"""What `context.table` makes of files, folders and databases, as people's programs write them."""

from __future__ import annotations

import datetime as dt
import gzip
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2
import pyarrow as pa
import pytest
from pyarrow import parquet

from fedyard.agent.policy import ProjectPolicy
from fedyard.agent.site import Folder, Settings, SiteError
from fedyard.tasks import TaskError, reading
from fedyard.tasks.reading.tables import Table
from fedyard.tasks.sources import Reading, Source
from tests.databases import lent_postgres

NAN = np.nan
PLAIN = "age,bmi,sex\n61,24.5,f\n47,31.0,m\n"


def read(folder: Path, content: str | bytes, name: str = "train.csv", **how) -> Table:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return reading.read(Source(str(folder / name), Reading(**how)))


@pytest.mark.parametrize(
    ("content", "how"),
    [
        (PLAIN, {}),
        (PLAIN.encode("utf-8-sig"), {}),
        (PLAIN.encode("utf-16"), {}),
        (PLAIN.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (gzip.compress(PLAIN.encode(), mtime=0), {}),
        (PLAIN.replace("\n", "\r\n"), {}),
        (PLAIN.replace("\n", "\r\r\n"), {}),
        (PLAIN.replace("sex\n", "sex\n\n") + ",,\n\n", {}),
        (PLAIN.replace("\n", ",\n"), {}),
        (PLAIN.replace(",", " , "), {}),
        (PLAIN.replace(",", "\t").replace(".", ","), {}),
        (PLAIN.replace(",", ";").replace(".", ","), {}),
        ("sep=;\n" + PLAIN.replace(",", ";"), {}),
        (PLAIN.replace(",", "|"), {"separator": "|"}),
        ('"age","bmi","sex"\n"61","24,5","f"\n"47","31,0","m"\n', {"decimal": ","}),
    ],
)
def test_reads_what_programs_write_as_the_same_table(tmp_path, content, how) -> None:
    table = read(tmp_path, content, **how)
    assert table.names == ("age", "bmi", "sex")
    np.testing.assert_array_equal(table.matrix(["bmi", "age"]), [[24.5, 61], [31, 47]])
    assert table.texts("sex") == ["f", "m"]
    assert (len(table), [table.kind(name) for name in table]) == (2, ["number", "number", "text"])


def test_missing_values_stay_missing(tmp_path) -> None:
    table = read(tmp_path, "age,sex,seen\n61,f,2026-03-31\n,NA,\nNA,none,2026-04-01T08:30:00+02:00\n", "x.csv")
    np.testing.assert_array_equal(table.numbers("age"), [61, NAN, NAN])
    assert table.texts("sex") == ["f", None, "none"]
    assert table.missing("sex").tolist() == [False, True, False]
    levels, codes = table.categories("sex")
    assert (levels, codes.tolist()) == (("f", "none"), [0, -1, 1])
    times = table.times("seen")
    assert str(times[0]) == "2026-03-31T00:00:00.000000"
    assert np.isnat(times[1])
    assert str(times[2]) == "2026-04-01T06:30:00.000000"
    assert [table.kind(name) for name in table] == ["number", "text", "time"]


def test_a_site_says_what_stands_for_a_missing_value(tmp_path) -> None:
    table = read(tmp_path, "age,country\n-9,NA\n61,DE\n", missing=["-9"])
    np.testing.assert_array_equal(table.numbers("age"), [NAN, 61])
    assert table.texts("country") == ["NA", "DE"]


def test_labels_of_several_forms_agree(tmp_path) -> None:
    table = read(tmp_path, "sex,smoker,zip\n1.0,TRUE,0450\n2.,false,1230\n,NA,\n")
    assert table.labels("sex") == ["1", "2", None]
    assert table.labels("smoker") == ["true", "false", None]
    assert table.labels("zip") == ["0450", "1230", None]
    assert table.kind("smoker") == "truth"
    np.testing.assert_array_equal(table.numbers("smoker"), [1, 0, NAN])


def test_what_a_comma_is_another_column_may_tell(tmp_path) -> None:
    table = read(tmp_path, "dose;bmi\n1,234;24,5\n")
    np.testing.assert_array_equal(table.numbers("dose"), [1.234])
    with pytest.raises(TaskError, match="line 2, column `dose`: a comma before three digits"):
        read(tmp_path, "dose;age\n1,234;61\n").numbers("dose")
    np.testing.assert_array_equal(read(tmp_path, "dose;age\n1,234;61\n", decimal=",").numbers("dose"), [1.234])


SAYS = {
    "#": ("age,sex\n#61,f\n", "train.csv, line 2, column `age`: no number: it begins with `#`"),
    "text": ("age,sex\n61,f\nSmith-4711,m\n", "line 3, column `age`: no number: put one there"),
    "comma": ('age,sex\n"61,5",f\n', "line 2, column `age`: no number: it has a comma"),
    "huge": ("age,sex\n1e200,f\n", r"line 2, column `age`: infinite, or beyond 1e\+100"),
    "infinite": ("age,sex\ninf,f\n", "line 2, column `age`: an infinite value"),
    "marks": ("age;bmi\n61,5;1\n47.5;2\n", "a decimal point in line 3, column `age`, a comma in line 2"),
    "twice": ("age,age\n61,62\n", "line 1: column `age` is there twice"),
    "no name": (",age\n0,61\n", "line 1: column 1 has no name"),
    "no names": ("61,24.5\n47,31\n", "its first line holds numbers"),
    "too few": ("age,sex\n61\n", "line 2 has 1 fields, the first line 2 names"),
    "no rows": ("age,sex\n\n", "has no rows below its names"),
    "empty": ("", "is empty"),
    "latin": ("größe,sex\n61,f\n".encode("latin-1"), 'no UTF-8 text near line 1.*encoding = "cp1252"'),
    "workbook": (b"PK\x03\x04 a workbook", "Excel workbook"),
    "cut": (gzip.compress(PLAIN.encode() * 500, mtime=0)[:-9], "cut off or damaged"),
    "lacks": ("Age,sex\n61,f\n", "lacks the column `age`.* it has `Age`"),
}


@pytest.mark.parametrize("which", SAYS)
def test_says_line_column_and_remedy_and_no_value(tmp_path, which: str) -> None:
    content, sentence = SAYS[which]
    with pytest.raises(TaskError, match=sentence) as caught:
        read(tmp_path, content).numbers("age")
    assert "4711" not in str(caught.value)


def test_says_where_a_time_is_none(tmp_path) -> None:
    with pytest.raises(TaskError, match="line 3, column `seen`: no time that can be read: write it as 2026-03-31"):
        read(tmp_path, "seen\n2026-03-31\n31.03.2026\n").times("seen")


def test_a_named_encoding_is_read(tmp_path) -> None:
    assert read(tmp_path, "größe\n1.7\n".encode("latin-1"), encoding="latin-1").names == ("größe",)
    with pytest.raises(TaskError, match=r"an encoding for train\.csv that Python does not know"):
        read(tmp_path, PLAIN, encoding="latin-0")


def test_many_rows_come_as_they_are(tmp_path) -> None:
    rows = 40_000
    lines = "".join(f"{row},{row / 8},{'mf'[row % 2]}\n" for row in range(rows))
    table = read(tmp_path, "age,bmi,sex\n" + lines)
    np.testing.assert_array_equal(table.numbers("bmi"), np.arange(rows) / 8)
    assert table.place(rows - 1) == f"train.csv, line {rows + 1}"


def test_a_folder_is_its_files_below_each_other(tmp_path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "b.csv").write_text("sex,age\nf,61\nm,x\n")
    (folder / "a.csv").write_text("age,sex\n47,m\n")
    (folder / ".hidden").write_text("nothing")
    table = reading.read(Source(str(folder)))
    assert table.texts("sex") == ["m", "f", "m"]
    with pytest.raises(TaskError, match=r"b\.csv, line 3, column `age`"):
        table.numbers("age")
    (folder / "c.csv").write_text("age,smoker\n47,1\n")
    with pytest.raises(TaskError, match=r"c\.csv has other columns than a\.csv of the same folder: sex, smoker"):
        reading.read(Source(str(folder)))


def test_a_parquet_file(tmp_path) -> None:
    columns = {
        "age": pa.array([61, None, 47]),
        "bmi": pa.array([24.5, float("nan"), None]),
        "sex": pa.array(["f", "m", None]).dictionary_encode(),
        "smoker": pa.array([True, None, False]),
        "seen": pa.array([dt.date(2026, 3, 31), None, None]),
        "big": pa.array([2**60, 1, 2]),
    }
    parquet.write_table(pa.table(columns), tmp_path / "train.parquet")
    table = reading.read(Source(str(tmp_path / "train.parquet")))
    np.testing.assert_array_equal(table.numbers("age"), [61, NAN, 47])
    np.testing.assert_array_equal(table.numbers("bmi"), [24.5, NAN, NAN])
    assert table.labels("sex") == ["f", "m", None]
    assert table.labels("smoker") == ["true", None, "false"]
    assert table.texts("age") == ["61", None, "47"]
    assert str(table.times("seen")[0]) == "2026-03-31T00:00:00.000000"
    assert [table.kind(name) for name in table][:5] == ["number", "number", "text", "truth", "time"]
    with pytest.raises(TaskError, match="column `big`: whole numbers beyond 2\\^53"):
        table.numbers("big")
    with pytest.raises(TaskError, match=r"train\.parquet, .*column `sex`: no number"):
        table.numbers("sex")
    with pytest.raises(TaskError, match="no parquet file, or is damaged"):
        read(tmp_path, b"PAR1 and no more", "odd.parquet")


def test_an_npz_has_a_column_for_each_array_or_those_of_x(tmp_path) -> None:
    np.savez(tmp_path / "a.npz", age=np.array([61, 47]), sex=np.array(["f", "m"]))
    table = reading.read(Source(str(tmp_path / "a.npz")))
    assert (table.numbers("age").tolist(), table.texts("sex")) == ([61, 47], ["f", "m"])
    np.savez(tmp_path / "b.npz", X=np.eye(2), features=np.array(["a", "b"]), y=np.array([0, 1]))
    assert reading.read(Source(str(tmp_path / "b.npz"))).names == ("a", "b", "y")
    np.savez(tmp_path / "c.npz", a=np.eye(2), b=np.array([1]))
    with pytest.raises(TaskError, match="arrays of one length"):
        reading.read(Source(str(tmp_path / "c.npz")))


@pytest.fixture
def records(tmp_path) -> Path:
    with sqlite3.connect(tmp_path / "records.sqlite") as made:
        made.execute("CREATE TABLE patients (age INTEGER, bmi REAL, sex TEXT, seen TEXT)")
        rows = [(61, 24.5, "f", "2026-03-31"), (None, None, None, None), (47, 31.0, "m", "x")]
        made.executemany("INSERT INTO patients VALUES (?, ?, ?, ?)", rows)
    made.close()
    return tmp_path / "records.sqlite"


def test_a_database_by_table_or_query(records: Path) -> None:
    where = f"sqlite:///{records}"
    table = reading.read(Source(where, Reading(table="patients")))
    np.testing.assert_array_equal(table.numbers("age"), [61, NAN, 47])
    np.testing.assert_array_equal(table.numbers("bmi"), [24.5, NAN, 31])
    assert table.labels("sex") == ["f", None, "m"]
    with pytest.raises(TaskError, match="row 3, column `seen`: no time"):
        table.times("seen")
    query = "SELECT count(*) AS many, avg(age) AS mean FROM patients"
    assert reading.read(Source(where, Reading(query=query))).numbers("mean").tolist() == [54.0]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({}, "which `table` of it, or what `query`"),
        ({"table": "patients", "query": "SELECT 1"}, "which `table` of it, or what `query`"),
        ({"table": "patient"}, "the database does not answer as it should"),
        ({"query": "DELETE FROM patients"}, "the database does not answer as it should"),
        ({"query": "SELECT age FROM patients WHERE age > 100"}, "gives no rows"),
        ({"query": "SELECT age, age FROM patients"}, "column 2 has no name of its own"),
    ],
)
def test_what_a_database_does_not_give_is_said_without_what_is_in_it(records: Path, how, sentence: str) -> None:
    with pytest.raises(TaskError, match=sentence):
        reading.read(Source(f"sqlite:///{records}", Reading(**how)))
    with sqlite3.connect(records) as made:
        assert made.execute("SELECT count(*) FROM patients").fetchone() == (3,)
    made.close()


def test_a_database_that_is_not_there_does_not_show_its_account(tmp_path) -> None:
    with pytest.raises(TaskError) as caught:
        reading.read(Source("postgresql://ada@127.0.0.1:1/records", Reading(table="patients"), "s3cret"))
    assert "postgresql://127.0.0.1:1/records: the database does not answer" in str(caught.value)
    assert "s3cret" not in repr(Source("postgresql://ada@h/r", password="s3cret"))
    with pytest.raises(TaskError, match="no URL of a database"):
        reading.read(Source("odd://", Reading(table="patients")))


def test_a_postgresql_database_is_read_by_its_password(postgres) -> None:
    with lent_postgres(postgres) as url:
        with psycopg2.connect(url) as made, made.cursor() as cursor:
            cursor.execute("CREATE TABLE doses_read (dose numeric, at timestamptz)")
            cursor.execute("INSERT INTO doses_read VALUES (1.5, '2026-03-31T08:00:00+02'), (NULL, NULL)")
        made.close()
        try:
            table = reading.read(Source(url, Reading(table="public.doses_read")))
            np.testing.assert_array_equal(table.numbers("dose"), [1.5, NAN])
            assert str(table.times("at")[0]) == "2026-03-31T06:00:00.000000"
            with pytest.raises(TaskError, match="the database"):
                reading.read(Source(url, Reading(query="INSERT INTO doses_read VALUES (2) RETURNING dose")))
        finally:
            with psycopg2.connect(url) as made, made.cursor() as cursor:
                cursor.execute("DROP TABLE doses_read")
            made.close()


def test_a_data_frame_has_what_the_columns_are(tmp_path) -> None:
    frame = read(tmp_path, "age,sex,smoker,seen\n61,f,true,2026-03-31\n,,,\n47,m,false,2026-04-01\n").to_pandas()
    expected = pd.DataFrame({"age": [61.0, 47.0], "sex": ["f", "m"], "smoker": [True, False]})
    pd.testing.assert_frame_equal(frame[["age", "sex", "smoker"]], expected)
    assert str(frame["seen"].dtype).startswith("datetime64")


# what site.toml says


def test_a_site_says_where_its_data_lie_and_where_the_password_stands(tmp_path) -> None:
    folder = Folder(tmp_path)
    data = {"train": "train.csv", "old": "sqlite:///old.sqlite", "wards": "postgresql://ada@db/records"}
    how = {
        "train": Reading(decimal=","),
        "old": Reading(table="t", password_file="absent"),
        "wards": Reading(table="t", password_env="WARDS_PASSWORD"),
    }
    settings = Settings(hub="http://hub.example", name="x", data=data, reading=how)
    assert folder.data(settings) == {"train": tmp_path / "train.csv"}
    found = folder.sources(settings)
    assert found["train"] == Source(str(tmp_path / "train.csv"), how["train"])
    assert found["old"].where == f"sqlite:///{tmp_path / 'old.sqlite'}"
    assert "password_file" in found["old"].fault
    assert "WARDS_PASSWORD" in found["wards"].fault
    with pytest.raises(TaskError, match="no WARDS_PASSWORD"):
        reading.read(found["wards"])
    (tmp_path / "absent").write_text("0ther\n")
    own = ProjectPolicy(data={"old": "sqlite:////srv/old", "wards": data["wards"]})
    found = folder.sources(settings, own, {"WARDS_PASSWORD": "s3cret"})
    assert {name: source.password for name, source in found.items()} == {"old": "0ther", "wards": "s3cret"}
    assert found["old"].where == "sqlite:////srv/old"


def test_a_password_does_not_stand_in_site_toml(tmp_path) -> None:
    folder = Folder(tmp_path)
    folder.create(Settings(hub="http://hub.example", name="x", data={"train": "postgresql://ada:s3cret@db/r"}), "once")
    with pytest.raises(SiteError, match=r"URL of data 'train' has a password in it.*\[reading\.train\]") as caught:
        folder.settings()
    assert "s3cret" not in str(caught.value)
