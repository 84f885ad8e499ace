"""What a run has of its own, as people say it, and what it comes to."""

from __future__ import annotations

import pytest

from domain import values as v
from fedyard.wire.answers import TaskSpec
from fedyard.wire.comparing import compared, run_settings
from fedyard.wire.own import parameters_said, rounds_said, tasks_of_run, unheard_of

ONE = [TaskSpec(name="train", model="m", parameters={"rate": 0.5, "optimizer": {"name": "sgd", "momentum": {"b": 1}}})]
TWO = [TaskSpec(name="train", model="m"), TaskSpec(name="train.more", model="m", rounds=5, parameters={"a.b": 1})]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (["train.rate=0.1"], {"train": {"rate": 0.1}}),
        (["rate = 0.1"], {"train": {"rate": 0.1}}),
        (["rate=fast"], {"train": {"rate": "fast"}}),
        (['rate="0.1"'], {"train": {"rate": "0.1"}}),
        (["rate="], {"train": {"rate": ""}}),
        (["rate=a=b"], {"train": {"rate": "a=b"}}),
        (["rate=1", "rate=[1,2]"], {"train": {"rate": [1, 2]}}),
        (["train.optimizer.name=adam"], {"train": {"optimizer": {"name": "adam", "momentum": {"b": 1}}}}),
        (
            ["optimizer.momentum.b=2", "optimizer.momentum.c=3"],
            {"train": {"optimizer": {"name": "sgd", "momentum": {"b": 2, "c": 3}}}},
        ),
        (["deep.er.still=true"], {"train": {"deep": {"er": {"still": True}}}}),
        (["train=1"], {"train": {"train": 1}}),
    ],
)
def test_a_parameter_is_said(said: list[str], found: dict[str, dict[str, object]]) -> None:
    assert parameters_said(said, ONE) == found


def test_a_name_with_dots_is_one_where_the_task_has_it_and_the_longest_task_is_meant() -> None:
    assert parameters_said(["train.more.a.b=2", "train.x.y=1"], TWO) == {
        "train.more": {"a.b": 2},
        "train": {"x": {"y": 1}},
    }


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("rate", "say TASK.NAME=VALUE"),
        ("=1", "say TASK.NAME=VALUE"),
        ("rate.of=1", "holds no names"),
        ("optimizer.name.first=1", "holds no names"),
    ],
)
def test_what_is_no_parameter_says_how_it_is_said(said: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parameters_said([said], ONE)


def test_among_several_tasks_one_is_named() -> None:
    with pytest.raises(ValueError, match=r"begins with no task of this project; its tasks: train, train\.more"):
        parameters_said(["rate=1"], TWO)


def test_rounds_are_said_of_the_task_that_has_several() -> None:
    assert rounds_said(["7"], TWO) == {"train.more": 7}
    assert rounds_said(["train=2", "train.more = 3"], TWO) == {"train": 2, "train.more": 3}
    assert rounds_said(["9"], ONE) == {"train": 9}
    with pytest.raises(ValueError, match="say which task"):
        rounds_said(["7"], TWO[:1] * 2)
    for wrong in ("", "0", "-1", "1.5", "train=", "many", "train=x"):
        with pytest.raises(ValueError, match="say how many rounds"):
            rounds_said([wrong], TWO)


@pytest.mark.parametrize("kind", [TaskSpec, v.TaskSpec])
def test_hub_and_site_make_the_same_tasks_of_it(kind: type[TaskSpec]) -> None:
    tasks = [kind(name="a", model="m"), kind(name="b", model="m", parameters={"x": 1, "y": {"z": 2}}, rounds=2)]
    made = tasks_of_run(tasks, {"b": {"x": 3, "y": {}}, "a": {}}, {"a": 4}, ["b"])
    assert made == [
        kind(name="a", model="m", rounds=4),
        kind(name="b", model="m", parameters={"x": 3, "y": {}}, rounds=2, initial=True),
    ]
    assert tasks_of_run(tasks, {}, {}) == tasks
    assert tasks[1].parameters == {"x": 1, "y": {"z": 2}}


@pytest.mark.parametrize(
    ("own", "wrong"),
    [
        (({"c": {}}, {}, ()), "there is no task 'c'"),
        (({}, {"c": 1}, ()), "there is no task 'c'"),
        (({}, {}, ["c"]), "there is no task 'c'"),
        (({}, {}, ["b"]), "aggregates nothing"),
        (({"a": {"x": float("nan")}}, {}, ()), "task 'a': parameters.x: not a finite number"),
    ],
)
def test_what_no_task_can_have_is_said(
    own: tuple[dict[str, dict[str, object]], dict[str, int], list[str]], wrong: str
) -> None:
    tasks = [TaskSpec(name="a", model="m"), TaskSpec(name="b", model="m", aggregate=False)]
    with pytest.raises(ValueError, match=wrong):
        tasks_of_run(tasks, *own)


def test_a_name_that_is_new_is_told() -> None:
    assert unheard_of({"train": {"rate": 1, "raet": 2}}, ONE) == [
        "task 'train' has had no parameter 'raet' so far; it has optimizer, rate"
    ]


def test_runs_beside_each_other_differ_in_what_they_differ() -> None:
    other = tasks_of_run(ONE, {"train": {"rate": 0.1, "optimizer": {"name": "sgd"}}}, {"train": 3})
    rows = {row.text: row.values for row in compared([ONE, other]) if row.differs}
    assert rows == {
        "train.rate": ("0.5", "0.1"),
        "train.optimizer.momentum.b": ("1", ""),
        "train: rounds": ("1", "3"),
    }
    assert {row.text for row in compared([ONE, TWO]) if row.values[0] == ""} >= {"train.more.a.b", "train.more: rounds"}
    assert {row.task for row in run_settings(ONE, TWO)} == {"train"}
    assert not any(row.differs for row in compared([ONE, ONE]))
