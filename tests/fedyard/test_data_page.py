"""What docs/data.md shows is what works."""

from __future__ import annotations

import re
import sqlite3
import sys
import types
from pathlib import Path

import numpy as np

from fedyard.agent.site import Folder, Settings
from fedyard.tasks import Context, Update, reading
from fedyard.tasks.reading.tables import Table
from fedyard.tasks.sources import Reading
from tests.ops.program import ROOT

PAGE = (ROOT / "docs" / "data.md").read_text()


def block(language: str) -> str:
    return str(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0])


def test_its_data_are_read_as_it_says(tmp_path) -> None:
    folder = Folder(tmp_path)
    folder.create(Settings(hub="http://hub.example", name="north"), "one-time")
    settings = (tmp_path / "site.toml").read_text()
    tables = block("toml").removeprefix("[data]\n")
    (tmp_path / "site.toml").write_text(settings.replace("[data]", f"[data]\n{tables.split('[reading', 1)[0]}", 1))
    with (tmp_path / "site.toml").open("a") as file:
        file.write("\n[reading" + tables.split("[reading", 1)[1])
    (tmp_path / "train.csv").write_bytes("größe,age\n-9,61\n".encode("cp1252"))
    (tmp_path / "wards.password").write_text("s3cret\n")
    (tmp_path / "visits").mkdir()
    (tmp_path / "visits" / "2025.csv").write_text("ward\nA\n")
    (tmp_path / "visits" / "2026.csv").write_text("ward\nB\n")
    made = sqlite3.connect(tmp_path / "old-records.sqlite")
    made.executescript("CREATE TABLE patients (age INTEGER); INSERT INTO patients VALUES (47);")
    made.close()
    sources = folder.sources(folder.settings())
    assert np.isnan(reading.read(sources["train"]).numbers("größe")[0])
    assert reading.read(sources["visits"]).texts("ward") == ["A", "B"]
    assert reading.read(sources["old"]).numbers("age").tolist() == [47.0]
    assert sources["wards"].password == "s3cret"
    assert folder.data(folder.settings())["visits"] == tmp_path / "visits"


def test_its_task_works(tmp_path) -> None:
    module = types.ModuleType("ages")
    sys.modules["ages"] = module
    exec(block("python"), vars(module))  # noqa: S102 - the page's own words
    updates = []
    for site, text in (("a", "age,sex\n61,f\n47,m\n,m\n"), ("b", "sex;age\nf;31\nd;20\n")):
        (tmp_path / f"{site}.csv").write_text(text)
        task = module.Ages()
        context = Context(site, "run", "ages", 1, 1, {}, {"train": tmp_path / f"{site}.csv"}, Path())
        task.prepare(context)
        result = task.train(context, None)
        updates.append(Update(site, result.content, result.metrics))
    made = module.Ages().aggregate(context, updates).content
    assert dict(zip(made["means.sex"], made["means.age"], strict=True)) == {"d": 20.0, "f": 46.0, "m": 47.0}


def test_it_names_every_key_and_every_call() -> None:
    assert [key for key in Reading.__struct_fields__ if f"`{key}`" not in PAGE] == []
    calls = {name for name in vars(Table) if not name.startswith("_")} - {"labels"}
    assert {name for name in calls if f"`table.{name}(" not in PAGE and f"table.{name}(" not in PAGE} == set()
