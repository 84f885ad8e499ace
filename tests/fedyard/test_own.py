"""What a run has of its own, as people say it, and what it comes to."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from domain import values as v
from fedyard.agent.policy import differences
from fedyard.wire.answers import TaskSpec
from fedyard.wire.comparing import MAX_SHOWN, compared, run_settings
from fedyard.wire.own import parameters_said, rounds_said, tasks_of_run, unheard_of
from web.api.projects import NewTask

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
        ("optimizer..name=1", "a name between its dots is missing"),
        ("train.=1", "a name between its dots is missing"),
        (f"{'a.' * 2000}b=1", "nested 32 levels deep"),
        (f"rate={'[' * 5000}", "nested 32 levels deep"),
        (f"rate={'[' * 99}1{']' * 99}", "nested 32 levels deep"),
        ("rate=\udcff", "train': parameters.rate: a text longer than 65536 characters, or no Unicode"),
        ("rate=18446744073709551616", "train': parameters.rate: a whole number beyond 64 bits"),
        ("rate=1e400", "'rate': its number is too large"),
        ("rate=[1,2", "'rate': its value begins as JSON, and is none"),
        ('rate={"a": 0,5}', "'rate': its value begins as JSON, and is none"),
        ('rate="fast', "is written in double quotes"),
    ],
)
def test_what_is_no_parameter_says_how_it_is_said(said: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as raised:
        tasks_of_run(ONE, parameters_said([said], ONE), {})
    hold_for_a_sentence(str(raised.value))


def hold_for_a_sentence(said: str) -> None:
    assert 10 < len(said) < 400
    assert said.isprintable()


NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=".="), min_size=1, max_size=8)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(NAMES, inside, max_size=3),
    max_leaves=8,
)


@given(st.lists(NAMES, min_size=1, max_size=5), VALUES)
def test_every_value_arrives_where_it_was_said_and_the_rest_stays(names: list[str], value: object) -> None:
    has: dict[str, object] = {"beside": 1}
    for name in reversed(names[1:]):
        has = {name: has, "beside": 1}
    tasks = [TaskSpec(name="train", model="m", parameters={names[0]: has, "other": [2]})]
    said = f"train.{'.'.join(names)}={msgspec.json.encode(value).decode()}"
    (made,) = tasks_of_run(tasks, parameters_said([said], tasks), {})
    expected: object = value
    for depth in reversed(range(1, len(names))):
        inside: object = tasks[0].parameters
        for name in names[:depth]:
            inside = inside[name]
        expected = {**inside, names[depth]: expected}
    assert made.parameters == {"other": [2]} | {names[0]: expected}
    assert msgspec.json.decode(msgspec.json.encode(made), type=NewTask).parameters == made.parameters


@given(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_a_text_that_is_no_json_is_that_text(name: str, text: str) -> None:
    said = text.strip()
    try:
        expected = msgspec.json.decode(said)
    except msgspec.DecodeError as error:
        expected = said
        assume(not isinstance(error, msgspec.ValidationError))  # too large a number
    assume(not isinstance(expected, str) or not said.startswith(("{", "[", '"')))
    assert parameters_said([f"{name}={text}"], ONE[:1]) == {"train": {name: expected}}


@settings(max_examples=60)
@given(
    st.lists(st.text(max_size=40) | st.from_regex(r"[ab.]{1,5}=[\[{\"0-9e.,:}\] -]{0,9}", fullmatch=True), max_size=3),
    st.booleans(),
)
def test_whatever_is_said_is_taken_or_a_sentence_says_what_is_wrong(said: list[str], several: bool) -> None:
    tasks = TWO if several else ONE
    try:
        made = tasks_of_run(tasks, parameters_said(said, tasks), {})
    except ValueError as error:
        hold_for_a_sentence(str(error))
    else:
        sent = msgspec.json.encode(made)
        assert [task.parameters for task in msgspec.json.decode(sent, type=list[NewTask])] == [
            task.parameters for task in made
        ]


@given(st.text(max_size=12) | st.from_regex(r"(train|train\.more|)=?[0-9٣²-]{0,8}", fullmatch=True))
def test_whatever_rounds_are_said_are_taken_or_a_sentence_says_what_is_wrong(said: str) -> None:
    try:
        found = rounds_said([said], TWO)
    except ValueError as error:
        hold_for_a_sentence(str(error))
    else:
        assert all(1 <= count < 10**6 for count in found.values())


def test_among_several_tasks_one_is_named() -> None:
    with pytest.raises(ValueError, match=r"begins with no task of this project; its tasks: train, train\.more"):
        parameters_said(["rate=1"], TWO)


def test_rounds_are_said_of_the_task_that_has_several() -> None:
    assert rounds_said(["7"], TWO) == {"train.more": 7}
    assert rounds_said(["train=2", "train.more = 3"], TWO) == {"train": 2, "train.more": 3}
    assert rounds_said(["9"], ONE) == {"train": 9}
    with pytest.raises(ValueError, match="say which task"):
        rounds_said(["7"], TWO[:1] * 2)
    for wrong in ("", "0", "-1", "1.5", "train=", "many", "train=x", "9" * 5000):
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
    assert {row.text for row in compared([ONE, TWO]) if row.values[0] == ""} >= {
        'train.more."a.b"',
        "train.more: rounds",
    }
    assert {row.task for row in run_settings(ONE, TWO)} == {"train"}
    assert not any(row.differs for row in compared([ONE, ONE]))


def test_what_differs_differs_whatever_it_is_called_and_however_long_it_is() -> None:
    """Nobody hides a change behind another parameter, or behind the end of what is shown."""
    for before, after in (
        ({"a": {"b": 1}}, {"a.b": 1}),
        ({"a": {"b": 1}, "a.b": 1}, {"a": {"b": 2}, "a.b": 1}),
        ({"a": {'"b"': 1}}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": True}),
        ({"a": "x" * 1000 + "1"}, {"a": "x" * 1000 + "2"}),
    ):
        one, two = (TaskSpec(name="t", model="m", parameters=each) for each in (before, after))
        (row, *_) = (row for row in compared([[one], [two]]) if row.differs)
        assert all(len(value) <= MAX_SHOWN for value in row.values)
        assert differences(msgspec.json.encode(one), msgspec.json.encode(two)) != []
        assert differences(msgspec.json.encode(one), msgspec.json.encode(one)) == []
