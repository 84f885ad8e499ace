"""Updates that are not like the others, and those that hold nonsense: who stays, and what is said of who does not."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import ml_dtypes
import numpy as np
import pytest

from fedyard.simulating.simulation import simulate
from fedyard.tasks import Content, Result, Task, jobs
from fedyard.tasks.arrays import FILE_FROM_BYTES, MAX_TOGETHER_BYTES, not_finite, pack, unpack
from fedyard.tasks.hooks import MODEL_FORM, Hooks
from fedyard.tasks.unlike import UNKNOWN, Form, form_of, keep_form, kept_form, unlike

W = {"w": np.ones(2)}
LONG = {"w": np.ones(3)}


def odd(own: str = "z", model: Form = UNKNOWN, **updates: Content) -> dict[str, str]:
    return unlike([(site, pack(content)) for site, content in updates.items()], own, model, 10**6)


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (LONG, "its array 'w' has the shape (3,), and that of others (2,)"),
        ({"w": np.ones((2, 1))}, "its array 'w' has the shape (2, 1), and that of others (2,)"),
        ({}, "it has no array 'w', and others do"),
        ({"v": np.ones(2)}, "it has no array 'w', and others do"),
        ({**W, "v": np.ones(2)}, "it has an array 'v', and others do not"),
        ({"w": np.array(["a", "b"])}, "its array 'w' holds text, and that of others numbers"),
        ({"w": np.ones(2, dtype=complex)}, "its array 'w' holds complex numbers, and that of others numbers"),
        (b"bytes", "it is bytes, and others are arrays"),
    ],
)
def test_who_is_not_like_most_is_told_in_what(other: Content, why: str) -> None:
    assert odd(a=other, b=W, c=W) == {"a": why}


def test_numbers_are_alike_whatever_their_type_is() -> None:
    kinds = [np.float32, np.int64, bool, np.float16, ml_dtypes.bfloat16, np.dtype(">f8")]
    assert odd(**{f"s{number}": {"w": np.ones(2, dtype=kind)} for number, kind in enumerate(kinds)}) == {}
    assert odd(a={"w": np.array("x")}, b={"w": np.array("longer")}) == {}
    assert odd(a=b"some", b=b"bytes") == {}
    assert odd(a=W) == odd() == {}


def test_of_as_many_those_stay_that_are_like_the_model_then_the_coordinators_own_then_the_first_site() -> None:
    assert list(odd(a=W, b=LONG)) == list(odd(b=LONG, a=W)) == ["b"]
    assert list(odd(a=W, b=LONG, own="b")) == ["a"]
    assert list(odd(a=W, b=LONG, own="a", model=form_of(LONG))) == ["a"]
    assert list(odd(a=W, b=b"bytes", model=None)) == ["a"]
    assert list(odd(a=W, b=b"bytes")) == ["b"]
    assert list(odd(a=W, b=W, c=LONG, own="c", model=form_of(LONG))) == ["c"]


def test_what_cannot_be_read_counts_for_nobody() -> None:
    broken = pack(LONG)
    assert isinstance(broken, bytes)
    parts = [("a", broken[:50]), ("b", broken[:50]), ("c", pack(W))]
    assert unlike(parts, "z", UNKNOWN, 10**6) == dict.fromkeys(
        "ab", "the arrays cannot be read: they are damaged, or were packed by another program"
    )


def test_the_form_of_a_model_is_kept_for_the_next_round(tmp_path) -> None:
    file = tmp_path / "form"
    assert kept_form(file) == UNKNOWN
    for content in ({"w": np.ones((2, 3)), "t": np.array(["x"])}, b"bytes", {}):
        keep_form(file, content)
        assert kept_form(file) == form_of(content)
    file.write_text("[1")
    assert kept_form(file) == UNKNOWN


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"a": np.ones(2), "b": np.array([1.0, np.nan])}, "b"),
        ({"a": np.array([np.inf], dtype=np.float16)}, "a"),
        ({"a": np.array(-np.inf)}, "a"),
        ({"a": np.array([complex(0, np.nan)])}, "a"),
        ({"a": np.array([np.nan], dtype=ml_dtypes.bfloat16)}, "a"),
        ({"a": np.full(3, 1e308), "t": np.array(["nan"]), "n": np.array([1])}, None),
        ({"a": np.zeros((0, 2))}, None),
        (b"nan", None),
    ],
)
def test_numbers_that_are_not_finite_are_found(content: Content, name: str | None) -> None:
    assert not_finite(content) == name


class Mean(Task):
    """The mean of updates, which are what the parameter of their site's name says."""

    def train(self, context, model) -> Result:
        return Result(made(str(context.parameters.get(context.site_id, "good"))))

    def aggregate(self, context, updates) -> Result:
        return Result({"w": np.mean([update.content["w"] for update in updates], axis=0)}, {"sites": len(updates)})


class Free(Mean):
    """Takes whatever comes."""

    alike = False
    finite = False

    def aggregate(self, context, updates) -> Result:
        return Result({f"{update.site_id}": update.content["w"] for update in updates})


def made(how: str) -> Mapping[str, np.ndarray]:
    return {"good": W, "nan": {"w": np.array([1.0, np.nan])}, "names": {"v": np.ones(2)}, "long": LONG}[how]


def run(task: type[Task], rounds: int = 2, **how: str):
    data = {name: {"x": np.ones(1)} for name in ("a", "b", "c", "d")}
    contract = {"quorum": 2, "quorum_of": "count"}
    return simulate(task, data, rounds=rounds, parameters=how, contract=contract)


def test_a_site_with_nonsense_is_left_out_and_the_run_goes_on() -> None:
    found = run(Mean, b="nan", c="names")
    assert (found.state, found.metrics["sites"]) == ("succeeded", 2.0)
    assert [(site.outcome, site.reason) for site in found.rounds[0].sites][1:3] == [
        ("left_out", "its array 'w' holds numbers that are not finite"),
        ("left_out", "it has no array 'w', and others do"),
    ]
    assert [site.outcome for site in found.rounds[1].sites] == ["submitted", "out", "out", "submitted"]
    below = run(Mean, a="nan", b="nan", c="nan")
    assert below.state == "failed"
    assert "1 of 4 sites, and 2 are needed; a: its array 'w' holds numbers" in below.reason
    assert "no update can be used; that of site a: " in run(Mean, **dict.fromkeys("abcd", "nan")).reason


def test_a_task_may_take_whatever_comes() -> None:
    found = run(Free, rounds=1, b="nan", c="long")
    assert {name: array.shape for name, array in found.model.items()} == {"a": (2,), "b": (2,), "c": (3,), "d": (2,)}


class Overflowing(Mean):
    def aggregate(self, context, updates) -> Result:
        return Result({"w": np.array([np.inf])})


def test_a_model_of_other_numbers_is_none() -> None:
    assert run(Overflowing).reason.startswith(
        "aggregate: array 'w' of the model would hold numbers that are not finite"
    )


def job(folder, updates: list[tuple[str, Content]], **more: object) -> jobs.Job:
    return jobs.Job(
        hook="aggregate",
        model_name=f"{__name__}:Mean",
        allowed=[f"{__name__}:Mean"],
        site_id="z",
        run_id="r",
        task="t",
        task_seq=1,
        round=2,
        rounds=2,
        parameters={},
        data={},
        folder=str(folder),
        updates=[
            jobs.Submitted(site, jobs.packed(pack(content, large=folder / site)), {}) for site, content in updates
        ],
    )


def test_a_tie_is_decided_by_the_model_that_this_coordinator_made_before_it_started_again(tmp_path) -> None:
    tie: list[tuple[str, Content]] = [("a", W), ("b", LONG)]
    assert list(Hooks(threading.Event()).run(job(tmp_path, tie)).left_out) == ["b"]
    keep_form(tmp_path / MODEL_FORM, LONG)
    assert list(Hooks(threading.Event()).run(job(tmp_path, tie)).left_out) == ["a"]


def test_a_tie_is_decided_by_the_model_of_the_round_before(tmp_path) -> None:
    assert not Hooks(threading.Event()).run(job(tmp_path, [("b", LONG)])).error
    assert list(Hooks(threading.Event()).run(job(tmp_path, [("a", W), ("b", LONG)])).left_out) == ["a"]


def test_nonsense_in_large_updates_is_found_when_they_are_asked_for(tmp_path) -> None:
    size = MAX_TOGETHER_BYTES // 8 // 2 + FILE_FROM_BYTES
    bad = np.zeros(size)
    bad[-1] = np.nan
    finished = Hooks(threading.Event()).run(job(tmp_path, [("a", {"w": bad}), ("b", {"w": np.ones(size)})]))
    assert (finished.error, list(finished.left_out)) == ("", ["a"])
    assert finished.packed is not None
    assert np.all(unpack(finished.packed.where)["w"] == 1.0)  # type: ignore[index, call-overload]
