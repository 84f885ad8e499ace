"""Which data fit which federated model: the rule as a table, and against a slow form of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.states import RunState
from domain.streams.matching import (
    Misfit,
    case_of,
    key_of_data,
    key_of_model,
    match_id,
    misfits,
    newest_of,
    sentence,
    stream_of,
)
from tests.domain.streams.announced import data, model
from tests.domain.streams.test_restrictions import deeply_equal

BOTH = ("tensorflow_federated", "pytorch_federated")
ONLINE: dict[str, Any] = {"incremental": True, "total_msg": None, "data_topic": "digits"}

FITS = [
    ("as they are", {}, {}),
    ("more than enough", {}, {"total_msg": 70_000}),
    ("nothing asked for, nothing there", {"min_data": 0}, {"total_msg": 0}),
    ("for ever", {"incremental": True}, ONLINE),
    ("for ever, and as many as nobody has", {"incremental": True, "min_data": 10**9}, ONLINE),
    ("for ever, with an amount", {"incremental": True}, ONLINE | {"total_msg": 1}),
    ("distributed, two dimensions", {"distributed": True}, {}),
    ("distributed, the last of three left out", {"distributed": True, "input_shape": "28 28 1"}, {}),
    (
        "distributed, the last of four left out",
        {"distributed": True, "input_shape": "3 28 28 1"},
        {"shape": "3 28 28"},
    ),
    (
        "distributed for ever, the last of three left out",
        {"distributed": True, "incremental": True, "input_shape": "28 28 1"},
        ONLINE,
    ),
    ("one dimension", {"input_shape": "784"}, {"shape": "784"}),
    ("an object and its repr", {"restriction": "{'a': [1, None]}"}, {"restrictions": {"a": [1, None]}}),
    ("a text in a text", {"restriction": '"{}"'}, {"restrictions": "{}"}),
    ("PyTorch", {"framework": "pth"}, {}),
]
MISFITS: list[tuple[str, dict[str, Any], dict[str, Any], set[Misfit]]] = [
    ("withdrawn", {}, {"state": "withdrawn"}, {Misfit.DATA_GONE}),
    ("expired", {}, {"state": "expired"}, {Misfit.DATA_GONE}),
    ("superseded", {}, {"state": "superseded"}, {Misfit.DATA_GONE}),
    ("model withdrawn", {"state": "withdrawn"}, {}, {Misfit.MODEL_GONE}),
    ("model superseded", {"state": "superseded"}, {}, {Misfit.MODEL_GONE}),
    ("one too few", {}, {"total_msg": 999}, {Misfit.AMOUNT}),
    ("nobody knows how many", {}, {"total_msg": None}, {Misfit.AMOUNT}),
    ("AVRO", {}, {"input_format": "AVRO", "shape": ""}, {Misfit.FORMAT}),
    ("JSON, with a shape", {}, {"input_format": "JSON"}, {Misfit.FORMAT}),
    ("no shape on either side", {"input_shape": ""}, {"shape": ""}, {Misfit.SHAPE}),
    ("another shape", {}, {"shape": "28 28 1"}, {Misfit.SHAPE}),
    ("the same shape, written otherwise", {}, {"shape": "28  28"}, {Misfit.SHAPE}),
    ("three dimensions", {"input_shape": "28 28 1"}, {}, {Misfit.SHAPE}),
    (
        "distributed, all of three",
        {"distributed": True, "input_shape": "28 28 1"},
        {"shape": "28 28 1"},
        {Misfit.SHAPE},
    ),
    (
        "a part of the restrictions",
        {"restriction": {"a": 1}},
        {"restrictions": {"a": 1, "b": 2}},
        {Misfit.RESTRICTIONS},
    ),
    ("true is not 1", {"restriction": {"a": True}}, {"restrictions": {"a": 1}}, {Misfit.RESTRICTIONS}),
    ("no list is no object", {"restriction": "[]"}, {}, {Misfit.RESTRICTIONS}),
    ("for ever, for a model that ends", {}, ONLINE, {Misfit.KIND}),
    ("data that end, for a model that does not", {"incremental": True}, {}, {Misfit.KIND}),
    ("a ledger", {"blockchain": True}, {}, {Misfit.LEDGER}),
    ("another framework", {"framework": "jax"}, {}, {Misfit.FRAMEWORK}),
    ("PyTorch for ever", {"framework": "pth", "incremental": True}, ONLINE, {Misfit.FRAMEWORK}),
    ("PyTorch distributed", {"framework": "pth", "distributed": True}, {}, {Misfit.FRAMEWORK}),
    (
        "much at once",
        {"min_data": 2000, "restriction": "[]"},
        {"shape": "", "total_msg": 1},
        {Misfit.SHAPE, Misfit.RESTRICTIONS, Misfit.AMOUNT},
    ),
]


@pytest.mark.parametrize(("announced", "found"), [(m, d) for _, m, d in FITS], ids=[name for name, *_ in FITS])
def test_what_fits(announced: dict[str, Any], found: dict[str, Any]) -> None:
    assert misfits(model(**announced), data(**found), RunState.RUNNING, BOTH) == ()
    assert key_of_model(model(**announced)) == key_of_data(data(**found)) != ""


@pytest.mark.parametrize(
    ("announced", "found", "why"), [row[1:] for row in MISFITS], ids=[name for name, *_ in MISFITS]
)
def test_what_does_not_fit_and_what_is_said(announced: dict[str, Any], found: dict[str, Any], why: set[Misfit]) -> None:
    a, b = model(**announced), data(**found)
    assert set(misfits(a, b, RunState.RUNNING, BOTH)) == why
    assert all(sentence(misfit, a, b) for misfit in why)


@pytest.mark.parametrize(
    ("run", "images", "why"),
    [
        (RunState.CREATED, BOTH, ()),
        (None, BOTH, (Misfit.NO_RUN,)),
        (RunState.SUCCEEDED, BOTH, (Misfit.RUN_ENDED,)),
        (RunState.FAILED, BOTH, (Misfit.RUN_ENDED,)),
        (RunState.CANCELLED, BOTH, (Misfit.RUN_ENDED,)),
        (RunState.RUNNING, ("pytorch_federated", "tensorflow_training"), (Misfit.FRAMEWORK,)),
    ],
)
def test_the_run_and_the_images_count(run: RunState | None, images: tuple[str, ...], why: tuple[Misfit, ...]) -> None:
    assert misfits(model(), data(), run, images) == why


@pytest.mark.parametrize(
    ("facts", "case"),
    [({}, 1), ({"incremental": True}, 2), ({"distributed": True}, 3), ({"distributed": True, "incremental": True}, 4)],
)
def test_the_case_that_a_worker_is_told(facts: dict[str, bool], case: int) -> None:
    assert case_of(model(**facts)) == case
    assert case_of(model(blockchain=True)) == 5


def test_what_fits_nothing_whatever_comes_is_not_looked_for() -> None:
    assert [key_of_model(model(**facts)) for facts in ({"blockchain": True}, {"framework": "jax"})] == ["", ""]
    assert [key_of_data(data(**facts)) for facts in ({"input_format": "AVRO"}, {"total_msg": None})] == ["", ""]
    assert (key_of_model(model(input_shape="")), key_of_data(data(shape=""))) == ("", "")


def test_how_much_is_missing_is_said() -> None:
    assert sentence(Misfit.AMOUNT, model(), data(total_msg=400)) == (
        "600 records are missing: there are 400, the model asks for 1000"
    )
    assert "AVRO" in sentence(Misfit.FORMAT, model(), data(input_format="AVRO"))


def test_a_pair_is_one_however_often_it_is_announced() -> None:
    again = data("again", log_offset=7, description="once more", validation_rate=0.5)
    assert match_id(model(), data()) == match_id(model("restarted", log_offset=3), again)
    others = [
        (model(string_id="00000000"), data()),
        (model(cluster="another cloud"), data()),
        (model(), data(data_topic="digits:0:0:2000")),
        (model(), data(unsupervised_topic="more:0:0:5")),
        (model(), data(cluster="another edge")),
    ]
    assert len({match_id(model(), data()), *(match_id(*pair) for pair in others)}) == 1 + len(others)


def test_the_newest_announcement_counts_in_whichever_order_they_came() -> None:
    old, new = data("old", announced_at=1, log_offset=9), data("new", announced_at=2)
    assert newest_of([old, new]) == newest_of([new, old]) == new
    assert stream_of(old) == stream_of(new)


_restrictions = st.sampled_from(["{}", "None", '{"a": 1}', "{'a': 1.0}", {"a": 1}, {"a": True}, '"{}"', "[]"])
_live = st.sampled_from(["live", "live", "live", "withdrawn", "expired", "superseded"])
_shapes = st.sampled_from(["", "28", "28 28", "28 28 1", "2 28 28 1"])
_often = st.sampled_from([False, False, True])
_models = st.fixed_dictionaries(
    {
        "state": _live,
        "input_shape": _shapes,
        "min_data": st.integers(0, 3),
        "framework": st.sampled_from(["tf", "tf", "pth", "jax"]),
        "distributed": st.booleans(),
        "incremental": st.booleans(),
        "blockchain": _often,
    }
)
_data = st.fixed_dictionaries(
    {
        "state": _live,
        "shape": _shapes,
        "total_msg": st.none() | st.integers(0, 3),
        "input_format": st.sampled_from(["RAW", "RAW", "AVRO", "JSON"]),
        "incremental": st.booleans(),
    }
)


@settings(max_examples=400, deadline=None)
@given(
    _models, _restrictions, _data, _restrictions, st.none() | st.sampled_from(RunState), st.sets(st.sampled_from(BOTH))
)
def test_the_rule_is_the_slow_form_of_it(
    m: dict[str, Any], wanted: object, d: dict[str, Any], given: object, run: RunState | None, images: set[str]
) -> None:
    one, other = model(restriction=wanted, **m), data(restrictions=given, **d)
    fits = not misfits(one, other, run, images)
    assert fits == slowly(m, wanted, d, given, run, images)
    if fits:  # what the index finds has to be all that fits
        assert key_of_model(one) == key_of_data(other) != ""


def slowly(
    m: dict[str, Any], wanted: object, d: dict[str, Any], given: object, run: RunState | None, images: set[str]
) -> bool:
    """The same, from what was announced, step by step."""
    if m["state"] != "live" or d["state"] != "live":
        return False
    if run not in (RunState.CREATED, RunState.RUNNING):
        return False
    if m["blockchain"]:
        return False
    if not _can_be_trained(m, images):
        return False
    if d["input_format"] != "RAW":
        return False
    dimensions = m["input_shape"].split(" ")
    if m["distributed"] and len(dimensions) > 2:
        dimensions.pop()
    if " ".join(dimensions) != d["shape"] or d["shape"] == "":
        return False
    if not deeply_equal(_said(wanted), _said(given)):
        return False
    if m["incremental"] or d["incremental"]:
        return bool(m["incremental"] and d["incremental"])
    return d["total_msg"] is not None and d["total_msg"] >= m["min_data"]


def _can_be_trained(m: dict[str, Any], images: set[str]) -> bool:
    if m["framework"] == "tf":
        return "tensorflow_federated" in images
    if m["framework"] == "pth":
        return "pytorch_federated" in images and not m["distributed"] and not m["incremental"]
    return False


def _said(announced: object) -> object:
    while isinstance(announced, str):
        announced = json.loads(announced.replace("None", "null").replace("'", '"'))
    return {} if announced is None else announced
