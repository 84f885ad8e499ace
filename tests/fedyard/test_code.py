"""The digest of a task's code, and that what was digested is what runs."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fedyard.agent.confining import confinement_of
from fedyard.tasks import jobs
from fedyard.tasks.child import Child, Children
from fedyard.tasks.code import NAMED, CodeError, code_of, module_of
from fedyard.tasks.confined import Confine
from fedyard.tasks.registry import BUILT_IN
from fedyard.tasks.settings import Tasks
from fedyard.tasks.sources import Source
from tests import hooks

TASK = """
import sys
from fedyard import Result, Task, TaskError
import numpy
from near import HERE
from parts.deep import DEEP


class Mine(Task):
    def train(self, context, model):
        if "on_path" in context.parameters:
            sys.path.insert(0, context.parameters["on_path"])
        if context.parameters.get("run"):
            exec(open(context.parameters["run"]).read())
        if context.parameters.get("import"):
            __import__(context.parameters["import"])
        return Result(b"x", {"here": HERE, "deep": DEEP})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A site's folder with a task, what it imports, and what it does not."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("from . import beside\n")
    (tmp_path / "parts" / "beside.py").write_text("")
    (tmp_path / "parts" / "deep.py").write_text("DEEP = 1\n")
    (tmp_path / "near.py").write_text("HERE = 1\n")
    (tmp_path / "far.py").write_text("")
    (tmp_path / "mine.py").write_text(TASK)
    return tmp_path


def digest(folder: Path) -> str:
    return code_of("mine", folder, sys.path).digest


def test_it_is_of_the_module_and_of_what_that_imports_of_the_sites_folder(folder: Path) -> None:
    assert [one.module for one in code_of("mine", folder, sys.path).files] == [
        *("mine", "near", "parts", "parts.beside", "parts.deep")
    ]


@pytest.mark.parametrize("file", ["mine.py", "near.py", "parts/__init__.py", "parts/beside.py", "parts/deep.py"])
def test_a_byte_more_in_any_of_these_files_is_another_digest(folder: Path, file: str) -> None:
    before = digest(folder)
    with (folder / file).open("a") as stream:
        stream.write("\n")
    assert digest(folder) != before


def test_other_files_make_no_difference_and_neither_does_the_place(folder: Path, tmp_path_factory) -> None:
    before = digest(folder)
    (folder / "far.py").write_text("print()")
    assert digest(folder) == before
    assert digest(folder.rename(tmp_path_factory.mktemp("other") / "place")) == before


def test_another_module_with_the_same_content_is_other_code(folder: Path) -> None:
    (folder / "near.py").write_text(
        "try:\n    from far import HERE\nexcept ImportError:\n    from far_away import HERE\n"
    )
    (folder / "far.py").write_text("HERE = 1\n")
    before = digest(folder)
    (folder / "far.py").rename(folder / "far_away.py")
    assert digest(folder) != before


def test_a_compiled_module_goes_before_a_file_of_its_name_as_python_has_it(folder: Path) -> None:
    (folder / f"near{EXTENSION_SUFFIXES[0]}").write_bytes(b"compiled")
    files = {one.module: Path(one.file).name for one in code_of("mine", folder).files}
    assert files["near"] == f"near{EXTENSION_SUFFIXES[0]}"


@pytest.mark.parametrize(
    "said", ["import far", "def f():\n    from far import x", "from far import *", "import far as x"]
)
def test_it_follows_every_statement_that_imports(folder: Path, said: str) -> None:
    (folder / "near.py").write_text(f"HERE = 1\n{said}\n")
    assert "far" in [one.module for one in code_of("mine", folder).files]


def test_a_module_of_the_folder_in_the_place_of_pythons_own_is_in_it(folder: Path) -> None:
    (folder / "near.py").write_text("import random\nHERE = 1\n")
    before = digest(folder)
    (folder / "random.py").write_text("")
    assert digest(folder) != before


def test_there_is_none_of_what_is_not_there(folder: Path) -> None:
    assert code_of("nowhere", folder, sys.path).digest == ""
    assert code_of("mine.inner", folder, sys.path).digest == ""


def test_a_file_that_is_too_large_has_none(folder: Path) -> None:
    with (folder / "near.py").open("w") as stream:
        os.truncate(stream.fileno(), 2**25)
    with pytest.raises(CodeError, match=r"near\.py"):
        digest(folder)


def test_the_models_that_come_with_fedyard_have_their_modules_digest(tmp_path: Path) -> None:
    assert {name: model.__module__ for name, model in BUILT_IN.items()} == NAMED
    assert all(len(code_of(module_of(name), tmp_path, sys.path).digest) == 64 for name in NAMED)


# What runs


def job(folder: Path, **more: object) -> jobs.Job:
    made = jobs.Job(
        hook="train",
        model_name="mine:Mine",
        allowed=["mine:Mine"],
        site_id="s",
        run_id="r",
        task="train",
        task_seq=1,
        round=1,
        rounds=1,
        parameters={},
        data={},
        folder=str(folder / "runs" / "r"),
        code=Children(folder, Tasks()).code("mine:Mine"),
    )
    return msgspec.structs.replace(made, **more)


def pinned(made: jobs.Job) -> jobs.Job:
    assert made.code is not None
    return msgspec.structs.replace(made, code=msgspec.structs.replace(made.code, only=True))


@pytest.fixture
def child(folder: Path) -> Iterator[Child]:
    with hooks.prepared():
        made = Child(folder, threads=1, stop_within_s=0.5)
        yield made
        made.end()


def ran(child: Child, made: jobs.Job) -> jobs.Finished:
    finished = child.call(made, lambda: False)
    assert finished is not None
    return finished


@pytest.mark.parametrize("by_digest", [False, True])
def test_it_runs_as_it_was_digested(folder: Path, child: Child, by_digest: bool) -> None:
    made = pinned(job(folder)) if by_digest else job(folder)
    finished = ran(child, made)
    assert (finished.error, finished.metrics) == ("", {"here": 1.0, "deep": 1.0})


@pytest.mark.parametrize("file", ["mine.py", "near.py", "parts/deep.py"])
def test_a_file_that_was_changed_between_digest_and_import_does_not_run(folder: Path, child: Child, file: str) -> None:
    made = job(folder)
    with (folder / file).open("a") as stream:
        stream.write(f"\nopen({str(folder / 'ran')!r}, 'w')\n")
    finished = ran(child, made)
    assert finished.error.startswith(
        f"train: {Path(file).name} was changed while it was about to be imported: nothing of it ran"
    )
    assert not (folder / "ran").exists()


def test_neither_does_a_compiled_module_that_was_changed(folder: Path, child: Child) -> None:
    compiled = folder / f"near{EXTENSION_SUFFIXES[0]}"
    compiled.write_bytes(b"compiled")
    made = job(folder)
    compiled.write_bytes(b"compiled otherwise")
    assert ran(child, made).error.startswith(f"train: {compiled.name} was changed while it was about to be imported")


def test_a_compiled_file_that_lies_beside_is_not_used(folder: Path, child: Child) -> None:
    import importlib.util  # noqa: PLC0415 - of this test alone
    import py_compile  # noqa: PLC0415 - of this test alone

    other = folder / "other.py"
    other.write_text("HERE = 2\n")
    stale = Path(importlib.util.cache_from_source(str(folder / "near.py")))
    py_compile.compile(str(other), str(stale), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert ran(child, job(folder)).metrics["here"] == 1.0


def test_of_code_that_is_allowed_by_a_digest_nothing_else_of_the_folder_is_imported(folder: Path, child: Child) -> None:
    (folder / "far.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    (folder / "parts" / "more.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    for name in ("far", "parts.more"):
        finished = ran(child, msgspec.structs.replace(pinned(job(folder)), parameters={"import": name}))
        assert finished.error.startswith("train: a Python package is missing")
    (folder / "lib").mkdir()
    (folder / "lib" / "away.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    for name, place in (("far", folder), ("away", folder / "lib"), ("lib.away", folder)):
        asked = {"import": name, "on_path": str(place)}
        finished = ran(child, msgspec.structs.replace(pinned(job(folder)), parameters=asked))
        assert finished.error.startswith("train: a Python package is missing")
    asked = {"import": "xml.dom.minidom", "on_path": str(folder)}
    assert ran(child, msgspec.structs.replace(pinned(job(folder)), parameters=asked)).error == ""
    assert not (folder / "ran").exists()


def test_nor_is_it_read_and_run_where_tasks_are_confined(folder: Path, child: Child) -> None:
    (folder / "far.py").write_text("pass\n")
    (folder / "parts" / "weights.txt").write_text("")
    made = job(folder)

    def error(made: jobs.Job, file: str) -> str:
        confine = confinement_of(Confine(), folder, {}, made.code, [made.folder])
        return ran(child, msgspec.structs.replace(made, confine=confine, parameters={"run": str(folder / file)})).error

    assert error(made, "far.py") == ""
    assert error(pinned(made), "far.py").startswith("train: a file may not be read")
    assert error(pinned(made), "parts/weights.txt") == ""


def test_nothing_of_the_folder_runs_before_what_is_allowed_by_its_digest(folder: Path) -> None:
    for name in ("sitecustomize", "usercustomize", "random"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    own = Child(folder, threads=1, stop_within_s=0.5)
    try:
        assert ran(own, pinned(job(folder))).error == ""
    finally:
        own.end()
    assert not (folder / "ran").exists()


def test_changed_code_gets_a_process_of_its_own(folder: Path, child: Child) -> None:
    assert ran(child, job(folder)).metrics["here"] == 1.0
    (folder / "near.py").write_text("HERE = 2\n")
    assert ran(child, job(folder)).metrics["here"] == 2.0


# Rows


def with_data(made: jobs.Job, file: Path) -> jobs.Job:
    """Of a site that wants three rows."""
    return msgspec.structs.replace(made, sources={"train": Source(str(file))}, min_rows=3)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("few.csv", "a,b\n1,2\n3,4\n"),
        ("few.csv", "a,b\n1,2\n\n\n3,4\n\n"),
        ("few.csv", "\ufeffsep=;\na;b\n1;2\n3;4\n"),
        ("few.tsv", "a\tb\n1\t2\n"),
    ],
)
def test_with_fewer_rows_than_the_site_wants_nothing_of_the_task_is_there(
    folder: Path, child: Child, name: str, content: str
) -> None:
    (folder / name).write_text(content)
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    finished = ran(child, with_data(job(folder), folder / name))
    assert finished.error == "train: policy_min_rows: this site takes part with 3 rows at least, not so train"
    assert not (folder / "ran").exists()


def test_arrays_are_counted_too(folder: Path, child: Child) -> None:
    np.savez(folder / "few.npz", X=np.zeros((2, 9)), names=np.zeros(1))
    assert "policy_min_rows" in ran(child, with_data(job(folder), folder / "few.npz")).error


def test_of_what_is_no_table_nothing_is_said(folder: Path, child: Child) -> None:
    (folder / "scan.dcm").write_bytes(bytes(range(256)))
    finished = ran(child, with_data(job(folder), folder / "scan.dcm"))
    assert (finished.error, finished.rows) == ("", None)


def test_with_enough_rows_it_is_said_how_many(folder: Path, child: Child) -> None:
    (folder / "t.csv").write_text("a,b\n1,2\n3,4\n5,6\n")
    finished = ran(child, with_data(job(folder), folder / "t.csv"))
    assert (finished.error, finished.rows) == ("", 3)


def test_of_several_tables_the_smallest_counts(folder: Path, child: Child) -> None:
    sources = {}
    for name, count in (("small", 3), ("large", 5)):
        (folder / f"{name}.csv").write_text("a\n" + "1\n" * count)
        sources[name] = Source(str(folder / f"{name}.csv"))
    made = msgspec.structs.replace(job(folder), sources=sources)
    assert ran(child, msgspec.structs.replace(made, min_rows=3)).rows == 3


def test_an_aggregation_before_does_not_keep_the_rows_from_being_counted(folder: Path, child: Child) -> None:
    (folder / "t.csv").write_text("a,b\n1,2\n")
    made = with_data(job(folder), folder / "t.csv")
    assert "does not aggregate" in ran(child, msgspec.structs.replace(made, hook="aggregate")).error
    assert "policy_min_rows" in ran(child, made).error


def test_many_threads_find_the_same_imports_at_once(tmp_path: Path) -> None:
    """Agents digest code in threads. While Python 3.11 makes a tree of code another thread must not: `ast.parse` raises
    SystemError where a collection of garbage lets one in between."""

    def let_others_in(_phase: str, _about: dict[str, int]) -> None:
        time.sleep(0)

    (tmp_path / "deep.py").write_text("import near\n" + ("x = " + "(" * 30 + "1 + y" + ")" * 30 + "\n") * 200)
    (tmp_path / "near.py").write_text("")
    threshold = gc.get_threshold()
    gc.callbacks.append(let_others_in)
    gc.set_threshold(20)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: code_of("deep", tmp_path, []), range(8)))
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(let_others_in)
    assert {tuple(file.module for file in one.files) for one in found} == {("deep", "near")}
