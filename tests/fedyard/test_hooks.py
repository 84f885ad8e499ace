"""Hooks as the process calls them, without the process."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import numpy as np

from fedyard.tasks import Context, Result, Task, jobs
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.hooks import Hooks

HERE = __name__


class Plain(Task):
    """Adds the model of the task before it to the one that it is given."""

    def train(self, context: Context, model: object) -> Result:
        before = context.results["statistics"]
        assert not isinstance(before, bytes)
        start = 0.0 if model is None else float(model["w"][0])  # type: ignore[index]
        (context.keep / "rounds").open("a").write(f"{context.round} ")
        return Result({"w": before["mean"] + start}, {"seeds": float(context.common_seed == context.seed)})

    def initial(self, context: Context) -> Result:
        return Result({"w": np.array([7.0])}, {"round": context.round})

    def evaluate(self, context: Context, model: object) -> dict[str, float]:
        return {"w": float(model["w"][0])}  # type: ignore[index]


class Scoring(Plain):
    def score(self, context: Context, model: object) -> dict[str, float]:
        return {"scored": 1.0}


def job(folder: Path, hook: str, name: str = "Plain", **changes: object) -> jobs.Job:
    asked = jobs.Job(
        hook=hook,  # type: ignore[arg-type]
        model_name=f"{HERE}:{name}",
        allowed=[f"{HERE}:{name}"],
        site_id="s",
        run_id="r",
        task="train",
        task_seq=1,
        round=1,
        rounds=2,
        parameters={},
        data={},
        folder=str(folder / "runs" / "r"),
        project_id="p",
        keep=str(folder / "kept" / "p" / "train"),
        results={"statistics": jobs.packed(pack({"mean": np.array([1.5])}))},
    )
    return msgspec.structs.replace(asked, **changes)


def run(asked: jobs.Job) -> jobs.Finished:
    return Hooks(threading.Event()).run(asked)


def made(finished: jobs.Finished) -> object:
    assert finished.error == ""
    assert finished.packed is not None
    return unpack(finished.packed.where)


def test_a_task_gets_what_the_tasks_before_it_made(tmp_path) -> None:
    finished = run(job(tmp_path, "train", model=jobs.packed(pack({"w": np.array([2.0])}))))
    assert made(finished) == {"w": np.array([3.5])}
    assert finished.metrics == {"seeds": 1.0}


class Asking(Plain):
    """Its update is the model that the round began with."""

    def train(self, context: Context, model: object) -> Result:
        if model is None:
            return Result(b"none" if context.model is None else b"some")
        model["w"] += 1.0  # type: ignore[index]
        return Result(context.model)  # type: ignore[arg-type]

    def aggregate(self, context: Context, updates: object) -> Result:
        try:
            return Result(context.model)  # type: ignore[arg-type]
        except Exception:  # noqa: BLE001 - as some tasks are written
            return Result(b"caught")


def test_a_hook_is_given_the_model_that_the_round_began_with_when_it_asks(tmp_path) -> None:
    start = jobs.packed(pack({"w": np.array([2.0])}))
    for hook in ("train", "aggregate"):
        assert made(run(job(tmp_path, hook, "Asking", model=start))) == {"w": np.array([2.0])}
    assert made(run(job(tmp_path, "train", "Asking"))) == b"none"
    assert run(job(tmp_path, "aggregate", "Asking", model_on_request=True)) == jobs.Finished(wants_model=True)


def test_of_a_task_before_it_that_made_nothing_it_hears_when_it_asks(tmp_path) -> None:
    assert "something that the task looks up by name is not there" in run(job(tmp_path, "train", results={})).error
    assert run(job(tmp_path, "initial", results={"statistics": jobs.Packed(b"odd")})).error == ""
    gone = run(job(tmp_path, "train", results={"statistics": jobs.Packed(b"")}))
    said = "train: a model or an update is gone: it expired, or was never stored"
    assert gone.error.startswith(f"{said} (line ")
    assert gone.error.endswith(" of the task's test_hooks.py, in train)")


def test_what_makes_a_first_model_is_a_hook(tmp_path) -> None:
    finished = run(job(tmp_path, "initial", round=0))
    assert made(finished) == {"w": np.array([7.0])}
    assert finished.metrics == {"round": 0.0}


def test_a_model_is_scored_by_a_hook_of_its_own_or_as_it_is_evaluated(tmp_path) -> None:
    model = jobs.packed(pack({"w": np.array([2.0])}))
    assert run(job(tmp_path, "score", model=model)).metrics == {"w": 2.0}
    assert run(job(tmp_path, "score", "Scoring", model=model)).metrics == {"scored": 1.0}
    assert run(job(tmp_path, "score")).error == "score: there is no model to score"
