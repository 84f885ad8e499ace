"""What the hub is held to: pure, values in and a refusal out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedyard.agent.contract import (
    Held,
    ListRefused,
    Place,
    check_count,
    check_list,
    list_shortened,
    not_listed,
    seats_of,
    task_digest,
    why_left_out,
)
from fedyard.agent.receipts import missing
from fedyard.sealed.sealing import Digests, Origin, receipt_of
from fedyard.wire.answers import Best, Contract, Seat, StopEarly, TaskSpec
from fedyard.wire.quorum import REPLACED, quorum_of
from tests.fedyard import independent_seal as second

HERE = Place("run", 1, 2)
TASK, MODEL, OTHER = "aa" * 32, "bb" * 32, "cc" * 32

parameters = st.dictionaries(
    st.text(max_size=5).filter(lambda text: text.isprintable()),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.just("größe"),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    ),
    max_size=4,
)


def held(site: str, round: int = 2, message: str | None = None) -> Held:
    return Held(message or f"of {site}", site, "run", 1, round)


def listed(*sites: str) -> list[tuple[str, str | None]]:
    return [(site, f"of {site}") for site in sites]


@given(parameters, st.booleans())
def test_the_digest_of_a_task_is_that_of_the_second_program(parameters: dict[str, object], more: bool) -> None:
    spec = TaskSpec(name="train", model="m", parameters=parameters)
    if more:
        sampled = Contract(sample=0.3, sample_at_least=2)
        best, stop = Best(metric="auc"), StopEarly(metric="score.loss", mode="min", min_delta=0.001)
        spec = msgspec.structs.replace(spec, contract=sampled, score_every=3, best=best, stop_early=stop)
    whole = msgspec.to_builtins(spec)
    assert task_digest(spec) == second.task_digest(whole)
    backwards = dict(reversed(whole.items()))
    assert task_digest(msgspec.convert(backwards, TaskSpec)) == task_digest(spec)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"rate": 0.1000001}},
        {"parameters": {"rate": 1}},
        {"parameters": {"rate": True}},
        {"parameters": {"Rate": 0.1}},
        {"rounds": 3},
        {"aggregate": False},
        {"initial": True},
        {"who": ["aaaaaaaa-0000-4000-8000-000000000000"]},
        {"contract": {"quorum": 0.5}},
        {"contract": {"sample": 0.5}},
        {"contract": {"sample_of": "count"}},
        {"contract": {"sample_at_least": 2}},
        {"contract": {"score_within_s": 60}},
        {"score_every": 1},
        {"code": "same"},
        {"best": {"metric": "auc"}},
        {"stop_early": {"metric": "auc", "patience": 3}},
    ],
)
def test_every_part_of_a_task_counts(change: dict[str, Any]) -> None:
    whole = {"name": "train", "model": "m", "parameters": {"rate": 0.1}}
    one, other = (msgspec.json.decode(json.dumps(each), type=TaskSpec) for each in (whole, {**whole, **change}))
    assert task_digest(one) != task_digest(other)
    assert task_digest(one) == task_digest(msgspec.json.decode(msgspec.json.encode(one), type=TaskSpec))


@pytest.mark.parametrize(
    ("sample", "quorum", "usable", "enough"),
    [(0.5, 1.0, 5, True), (0.5, 1.0, 4, False), (0.5, 0.5, 3, True), (0.5, 0.5, 2, False), (1.0, 1.0, 9, False)],
)
def test_the_quorum_is_of_the_seats_that_a_round_draws(sample: float, quorum: float, usable: int, enough: bool) -> None:
    contract = Contract(quorum=quorum, sample=sample)
    if enough:
        check_count(HERE, usable, contract, 10, 1)
    else:
        with pytest.raises(ListRefused, match="below_quorum"):
            check_count(HERE, usable, contract, 10, 1)


@pytest.mark.parametrize(
    ("quorum", "of", "seats", "needed"),
    [
        (1.0, "fraction", 3, 3),
        (0.6, "fraction", 5, 3),
        (0.34, "fraction", 3, 2),
        (0.01, "fraction", 3, 1),
        (0.7, "fraction", 10, 7),
        (4, "count", 2, 4),
    ],
)
def test_quorum(quorum: float, of: str, seats: int, needed: int) -> None:
    assert quorum_of(Contract(quorum=quorum, quorum_of=of), seats) == needed


@pytest.mark.parametrize(
    ("them", "slug"),
    [
        (listed("a", "b", "a"), "list_doubled"),
        ([*listed("a"), ("b", "of a")], "list_doubled"),
        (listed("a", "old"), "list_of_another_round"),
        ([*listed("a"), ("c", "of b")], "list_of_another_round"),
    ],
)
def test_a_list_that_is_wrong_by_what_is_here_is_refused(them: list[tuple[str, str | None]], slug: str) -> None:
    with pytest.raises(ListRefused) as caught:
        check_list(HERE, them, [held("a"), held("b"), held("old", round=1)])
    assert caught.value.slug == slug


def test_what_is_here_and_not_listed() -> None:
    here = [held("a"), held("b"), held("c"), held("a", round=1, message="before")]
    check_list(HERE, listed("a", "b", "c", "d"), here)
    assert not_listed(HERE, listed("a", "b", "c", "d"), here) == []
    assert not_listed(HERE, [*listed("a"), ("b", None)], here) == ["b", "c"]
    assert "leaves out site b, c," in str(list_shortened(HERE, ["b", "c"]))


@pytest.mark.parametrize(
    ("usable", "least", "slug"), [(3, 2, None), (2, 2, "below_quorum"), (3, 4, "below_min_updates")]
)
def test_too_few_updates(usable: int, least: int, slug: str | None) -> None:
    contract = Contract(quorum=0.75)
    if slug is None:
        check_count(HERE, usable, contract, 4, least)
        return
    with pytest.raises(ListRefused) as caught:
        check_count(HERE, usable, contract, 4, least)
    assert caught.value.slug == slug


def test_a_single_update_is_possible_if_the_coordinator_says_so() -> None:
    one = Contract(quorum=1, quorum_of="count")
    with pytest.raises(ListRefused, match=r"set min_updates = 1 under \[coordinator\]"):
        check_count(HERE, 1, one, 1, 2)
    check_count(HERE, 1, one, 1, 1)
    with pytest.raises(ListRefused, match="0 updates"):
        check_count(HERE, 0, one, 1, 1)


@pytest.mark.parametrize(
    ("digests", "models", "reason"),
    [
        (Digests(TASK, MODEL), {MODEL}, None),
        (Digests(TASK, MODEL), {OTHER, MODEL}, None),
        (Digests(TASK), {None}, None),
        (Digests(TASK), {MODEL}, "model_differs"),
        (Digests(TASK, MODEL), {None}, "model_differs"),
        (Digests(OTHER, MODEL), {MODEL}, "task_differs"),
        (None, {MODEL}, "no_digests"),
    ],
)
def test_an_update_of_another_task_or_model(
    digests: Digests | None, models: set[str | None], reason: str | None
) -> None:
    found = why_left_out(Origin("dd" * 32, "run", 1, 2, digests), TASK, models)
    assert (None if found is None else found[0]) == reason


def test_a_receipt_is_found_by_any_seal_of_the_update() -> None:
    model = Origin(OTHER, "run", 1, 2, Digests(TASK, None, [receipt_of(MODEL)]))
    assert missing(model, [OTHER, MODEL]) == ""
    assert missing(model, [OTHER]) == "not_named"
    assert missing(None, [MODEL]) == "no_receipts"
    assert missing(Origin(OTHER, "run", 1, 2), [MODEL]) == "no_receipts"


def test_of_a_workload_the_seat_of_its_newest_attempt_counts_alone() -> None:
    def seat(site: str, state: str, reason: str = "") -> Seat:
        return Seat(site_id=site, round=1, state=state, report_seq=0, reason=reason)

    shown = [seat("a", "submitted"), seat("b", "dropped", REPLACED), seat("c", "submitted"), seat("d", "failed", "oh")]
    assert seats_of(shown) == ["a", "c", "d"]
