"""Adaptive steps against Algorithm 2 of Reddi et al. 2021, written out here once more, number by number."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest

from fedyard.tasks import TaskError
from fedyard.tasks.arrays import pack, unpack
from fedyard.tasks.strategies import FedAdagrad, FedAdam, FedYogi
from tests.fedyard.strategies.made import context, update

RANDOM = np.random.default_rng(3)
OF = {FedAdagrad: (0.0, 0.0), FedAdam: (0.9, 0.99), FedYogi: (0.9, 0.99)}


def algorithm_2(kind, x: float, means: list[float], eta: float, tau: float = 1e-3) -> list[float]:
    """One coordinate's course; `means` are the sites' means of each round."""
    (beta_1, beta_2), m, v, course = OF[kind], 0.0, tau * tau, []
    for mean in means:
        delta = mean - x
        m = beta_1 * m + (1 - beta_1) * delta
        if kind is FedAdagrad:
            v = v + delta * delta
        elif kind is FedAdam:
            v = beta_2 * v + (1 - beta_2) * delta * delta
        else:
            v = v - (1 - beta_2) * delta * delta * math.copysign(1.0, v - delta * delta)
        x = x + eta * m / (math.sqrt(v) + tau)
        course.append(x)
    return course


def test_the_first_step_worked_out_by_hand(tmp_path) -> None:
    """delta = 1: Adagrad 0.1/(sqrt(1.000001)+0.001), Adam and Yogi 0.01/(sqrt(v)+0.001) of v = 0.01000099, 0.010001."""
    for kind, expected in {FedAdagrad: 0.09990005, FedAdam: 0.09900505, FedYogi: 0.09900500}.items():
        zero = {"w": np.zeros(1)}
        result = kind(0.1).aggregate(context(tmp_path, model=zero), [update("a", w=[1.0])])
        assert result.content["w"][0] == pytest.approx(expected, abs=2e-8)


@pytest.mark.parametrize("kind", OF)
def test_every_coordinate_goes_as_the_algorithm_says(tmp_path, kind) -> None:
    x = {"w": RANDOM.normal(size=(2, 3)), "b": RANDOM.normal(size=1)}
    start, means, course = {name: array.copy() for name, array in x.items()}, [], []
    for number in range(1, 7):
        updates = [
            update(site, rows, **{name: array + RANDOM.normal(size=array.shape) for name, array in x.items()})
            for site, rows in (("a", 10), ("b", 30))
        ]
        means.append({name: (updates[0].content[name] + 3 * updates[1].content[name]) / 4 for name in x})
        result = kind(0.3).aggregate(context(tmp_path, number, x), updates)
        x = unpack(pack(result.content))  # as it comes back to the coordinator
        course.append(x)
        assert result.metrics == {"samples": 40.0, "sites": 2.0}
    for name, array in start.items():
        for place in np.ndindex(array.shape):
            expected = algorithm_2(kind, float(array[place]), [float(mean[name][place]) for mean in means], 0.3)
            np.testing.assert_allclose([float(each[name][place]) for each in course], expected, rtol=1e-12)


def test_where_there_is_no_model_yet_the_mean_is_the_first_one(tmp_path) -> None:
    result = FedAdam(0.1).aggregate(context(tmp_path), [update("a", 1, w=[2.0]), update("b", 3, w=[6.0])])
    assert result.content["w"].tolist() == [5.0]
    assert not list(tmp_path.iterdir())


def rounds(keep, numbers, x, run="r", log=None):
    for number in numbers:
        updates = [update("a", w=np.full(3, float(number)))]
        x = FedAdam(0.5).aggregate(context(keep, number, x, run, log), updates).content
    return x


def test_a_repeated_round_gives_the_same(tmp_path) -> None:
    """What a call has kept does not count before its result does: the next one finds the folder as it was."""
    x = rounds(tmp_path, (1, 2), {"w": np.zeros(3)})
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    first = rounds(tmp_path, (3,), x)
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    assert rounds(tmp_path, (3,), x)["w"].tolist() == first["w"].tolist()
    assert list(before) == ["fedadam.npz"]


def test_a_task_may_change_the_model_after_its_strategy(tmp_path) -> None:
    """The moments of the round before are known by run and round, too."""
    said: list[str] = []
    x = rounds(tmp_path, (1,), {"w": np.zeros(3)})
    rounds(tmp_path, (2,), {"w": np.round(x["w"], 2)}, log=said.append)
    assert said == []


def test_a_run_that_goes_on_from_a_model_has_the_moments_of_the_run_that_made_it(tmp_path) -> None:
    said: list[str] = []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = rounds(tmp_path / "b", (1, 2, 3), {"w": np.zeros(3)})
    reached = rounds(tmp_path / "a", (1, 2), {"w": np.zeros(3)})
    shutil.copytree(tmp_path / "a", tmp_path / "again")
    again = rounds(tmp_path / "again", (1,), reached, "again", said.append)
    assert again["w"].tolist() != reached["w"].tolist()
    assert rounds(tmp_path / "a", (3,), reached, "another", said.append)["w"].tolist() == whole["w"].tolist()
    assert said == ["fedadam: goes on with the moments of the run that made this model"] * 2
    other = rounds(tmp_path / "a", (3,), {"w": reached["w"] + 1}, "other", said.append)
    assert other["w"].tolist() != whole["w"].tolist()
    assert said[2:] == [
        "fedadam: its moments begin anew: what is kept here is of another model than this round begins with"
    ]


def test_what_is_kept_and_cannot_be_read_is_said(tmp_path) -> None:
    x = rounds(tmp_path, (1,), {"w": np.zeros(3)})
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(TaskError, match=r"fedadam\.npz in context\.keep is damaged, or of other arrays: without it"):
        rounds(tmp_path, (2,), x)


def test_running_statistics_counters_and_names_are_averaged_alone(tmp_path) -> None:
    model = {"w": np.zeros(1), "bn.running_var": np.ones(1), "steps": np.array(1), "k": np.array(["x"])}
    sent = {"w": [1.0], "bn.running_var": [0.5], "steps": np.array(9), "k": ["x"]}
    result = FedYogi(0.1).aggregate(context(tmp_path, 1, model), [update("a", **sent)])
    assert (result.content["bn.running_var"][0], int(result.content["steps"])) == (0.5, 9)
    assert 0 < result.content["w"][0] < 1
    assert result.content["k"].tolist() == ["x"]


def test_single_precision_stays_single(tmp_path) -> None:
    x = {"w": np.zeros(2, dtype=np.float32)}
    for number in (1, 2):
        sent = update("a", w=np.ones(2, dtype=np.float32))
        x = FedAdam(0.5).aggregate(context(tmp_path, number, x), [sent]).content
        assert x["w"].dtype == np.float32


@pytest.mark.parametrize("model", [b"bytes", {"v": np.zeros(1)}, {"w": np.zeros(2)}, {"w": np.zeros(1) * 1j}])
def test_a_model_unlike_the_updates_is_refused(tmp_path, model) -> None:
    with pytest.raises(TaskError, match=r"the model that the round began|complex"):
        FedAdam(0.1).aggregate(context(tmp_path, 2, model), [update("a", w=[1.0])])


def test_the_model_of_the_task_before_is_none_to_go_on_from(tmp_path) -> None:
    said: list[str] = []
    model = {"mean": np.zeros(1)}
    result = FedAdam(0.1).aggregate(context(tmp_path, 1, model, log=said.append), [update("a", w=[1.0])])
    assert result.content["w"].tolist() == [1.0]
    assert said[0].startswith("FedAdam: the sites' mean is the first model: the updates have an array 'w'")


def test_a_mean_that_would_end_all_steps_is_refused(tmp_path) -> None:
    with pytest.raises(TaskError, match=r"the sites' mean of w is more than 1e\+17 away"):
        FedAdagrad(0.1).aggregate(context(tmp_path, 2, {"w": np.zeros(2)}), [update("a", w=[0.0, -1e18])])
    assert not list(tmp_path.iterdir())


def test_settings_that_mean_nothing_are_refused() -> None:
    for setting in ({"learning_rate": 0.0}, {"learning_rate": -1.0}, {"beta_1": 1.0}, {"beta_2": -0.1}, {"tau": 0.0}):
        with pytest.raises(ValueError, match=f"{next(iter(setting))} is "):
            FedAdam(**{"learning_rate": 0.1, **setting})
