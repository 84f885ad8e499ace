from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import psutil
import pytest

from controller.child import ROOT, Child, ChildDied, Children
from controller.jobs import Job, Packed, Submitted
from controller.site import Tasks
from controller.tasks.arrays import pack, unpack
from tests.controller import tasks_of_tests
from tests.ops.program import gone, until

HERE = "tests.controller.tasks_of_tests"


def job(folder: Path, hook: str, name: str = "Gated", **parameters: object) -> Job:
    return Job(
        hook=hook,
        model_name=f"{HERE}:{name}",
        allowed=[f"{HERE}:{name}"],
        site_id="s",
        run_id="r",
        task="train",
        task_seq=1,
        round=1,
        rounds=2,
        parameters=parameters,
        data={},
        folder=str(folder / "runs" / "r"),
        limit_bytes=1_000_000,
    )


def never() -> bool:
    return False


@pytest.fixture
def child(tmp_path):
    made = Child(tmp_path, threads=1, stop_within_s=0.5)
    yield made
    made.end()


def calls(folder: Path) -> list[str]:
    log = folder / "calls.log"
    return log.read_text().splitlines() if log.exists() else []


def test_hooks_run_in_one_process_that_prepares_once(tmp_path, child) -> None:
    assert child.call(job(tmp_path, "prepare"), never).error == ""
    trained = child.call(job(tmp_path, "train"), never)
    assert float(unpack(trained.packed.where)["total"][0]) == 1.0
    assert trained.metrics == {"samples": 1.0, "started_from": 0.0}
    assert calls(tmp_path) == ["prepare 1", "train 1"]


def test_a_new_process_prepares_by_itself(tmp_path, child) -> None:
    child.call(job(tmp_path, "train"), never)
    assert calls(tmp_path) == ["prepare 1", "train 1"]


def test_aggregates_without_data(tmp_path, child) -> None:
    updates = [
        Submitted(name, Packed(pack({"total": tasks_of_tests.np.array([value])})), {})
        for name, value in (("a", 1.0), ("b", 3.0))
    ]
    done = child.call(msgspec.structs.replace(job(tmp_path, "aggregate"), updates=updates), never)
    assert float(unpack(done.packed.where)["total"][0]) == 2.0
    assert calls(tmp_path) == ["aggregate 1", "aggregated a,b"]


@pytest.mark.parametrize("name", ["Gated", "Stubborn"])
def test_unwanted_work_is_given_up_and_the_next_job_works(tmp_path, child, name) -> None:
    (tmp_path / "hold-train").touch()
    assert child.call(job(tmp_path, "train", name), lambda: "train 1" in calls(tmp_path)) is None
    (tmp_path / "hold-train").unlink()
    assert child.call(job(tmp_path, "train", name), never).error == ""
    assert ("stopped train" in calls(tmp_path)) is (name == "Gated")


def test_a_polite_hook_keeps_its_process(tmp_path, child) -> None:
    (tmp_path / "hold-train").touch()
    child.call(job(tmp_path, "train"), lambda: "train 1" in calls(tmp_path))
    (tmp_path / "hold-train").unlink()
    child.call(job(tmp_path, "train"), never)
    assert calls(tmp_path).count("prepare 1") == 1


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("prepare", "train: the data of this site are too few"),
        ("raise", "train: ValueError at tasks_of_tests.py"),
        ("large", "train: 10000000 bytes are too many"),
        ("nan", "train: metric 'loss' is not a finite number"),
    ],
)
def test_a_failure_tells_a_fact_and_no_data(tmp_path, child, how, reason) -> None:
    finished = child.call(job(tmp_path, "train", "Failing", how=how), never)
    assert finished.error.startswith(reason)
    assert "Smith" not in finished.error


def test_what_a_hook_says_comes_while_it_works(tmp_path, child) -> None:
    said: list[str] = []
    (tmp_path / "hold-train").touch()

    def unwanted() -> bool:
        if "loss" in "".join(said):
            (tmp_path / "hold-train").unlink(missing_ok=True)
        return False

    finished = child.call(job(tmp_path, "train"), unwanted, said.append)
    assert finished.error == ""
    assert said == ["training begins", "loss is fine"]


def test_a_hook_that_never_stops_talking_can_be_stopped(tmp_path, child) -> None:
    said: list[str] = []
    assert child.call(job(tmp_path, "train", "Failing", how="talk"), lambda: len(said) > 20, said.append) is None


def test_a_large_result_comes_as_a_file(tmp_path, child) -> None:
    asked = msgspec.structs.replace(job(tmp_path, "train", "Failing", how="large"), limit_bytes=20_000_000)
    finished = child.call(asked, never)
    assert finished.packed == Packed(file=str(tmp_path / "runs" / "r" / "train-1.packed"))
    assert unpack(finished.packed.where) == bytes(10_000_000)
    again = msgspec.structs.replace(asked, hook="train", model=finished.packed)
    assert child.call(again, never).packed == finished.packed


def test_a_model_that_is_not_allowed_is_not_imported(tmp_path, child) -> None:
    asked = msgspec.structs.replace(job(tmp_path, "prepare"), allowed=[f"{HERE}:Failing"])
    assert "does not know the model" in child.call(asked, never).error


@pytest.mark.parametrize("model", ["os:system", "no.such.module:Task", "tests.controller.rude:RudeHub"])
def test_an_allowed_model_must_be_a_task(tmp_path, child, model) -> None:
    asked = msgspec.structs.replace(job(tmp_path, "prepare"), model_name=model, allowed=[model])
    assert "the model" in child.call(asked, never).error


def test_a_process_that_dies_is_told_and_replaced(tmp_path, child) -> None:
    with pytest.raises(ChildDied, match="code 9"):
        child.call(job(tmp_path, "train", "Failing", how="die"), never)
    assert child.call(job(tmp_path, "train"), never).error == ""


def test_only_so_many_compute_at_once(tmp_path) -> None:
    children = Children(tmp_path, Tasks(at_once=1, stop_within_s=0.5))
    (tmp_path / "hold-train").touch()
    first = threading.Thread(target=children.call, args=(job(tmp_path, "train"), never))
    first.start()
    until(lambda: "train 1" in calls(tmp_path))
    asked: list[int] = []
    other = msgspec.structs.replace(job(tmp_path, "train"), run_id="other")
    assert children.call(other, lambda: asked.append(1) is None and len(asked) > 2) is None
    assert calls(tmp_path).count("train 1") == 1
    (tmp_path / "hold-train").unlink()
    first.join()
    assert children.call(other, never) is not None
    children.end_all()


def test_children_end_with_an_agent_that_is_killed(tmp_path) -> None:
    program = f"""
from pathlib import Path
from controller.child import Child
from tests.controller.test_child import job
child = Child(Path({str(tmp_path)!r}), 1, 1.0)
child.call(job(Path({str(tmp_path)!r}), "train", "Stubborn"), lambda: False)
"""
    (tmp_path / "hold-train").touch()
    agent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    until(lambda: "train 1" in calls(tmp_path))
    children = psutil.Process(agent.pid).children()
    assert len(children) == 1
    agent.kill()
    agent.wait()
    until(lambda: gone(children))
