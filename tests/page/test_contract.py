"""Tasks and contracts in words, as tables of examples."""

from __future__ import annotations

from typing import Any

import pytest

from domain.values import Best, Contract, StopEarly
from fedyard.look.contract import measures, percent, promises, what, when


@pytest.mark.parametrize(
    ("who", "rounds", "held", "sentence"),
    [
        ("all", 1, 0, "1 round of the model m at every active member, the coordinator's own site among them."),
        (
            "participants",
            20,
            0,
            "20 rounds of the model m at every participant; the coordinator's own site does not train.",
        ),
        (["a"], 2, 1, "2 rounds of the model m at 1 named site, and in 1 workload that holds a seat."),
        (["a", "b"], 2, 3, "2 rounds of the model m at 2 named sites, and in 3 workloads that hold seats."),
    ],
)
def test_what_is_trained(who: str | list[str], rounds: int, held: int, sentence: str) -> None:
    assert what("m", rounds, who, held) == sentence


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        ([], "It begins with the run."),
        (["a"], "It begins once a has succeeded, with the newest model of that."),
        (["a", "b", "c"], "It begins once a, b and c have succeeded, with the model of whichever ended last."),
    ],
)
def test_when_it_begins(after: list[str], sentence: str) -> None:
    assert when(after) == sentence


@pytest.mark.parametrize(
    ("said", "seats", "sentence"),
    [
        ({}, None, "It needs every seat."),
        ({"quorum": 0.5}, None, "It needs 50 % of the seats, rounded up."),
        ({"quorum": 0.5}, 5, "It needs 50 % of the seats, rounded up: 3 of 5 now."),
        ({"quorum": 0.5}, 0, "It needs 50 % of the seats, rounded up."),
        ({"quorum": 1, "quorum_of": "count"}, None, "It needs 1 seat."),
        ({"quorum": 4, "quorum_of": "count"}, 3, "It needs 4 seats; there would be 3 now."),
    ],
)
def test_what_a_round_needs(said: dict[str, Any], seats: int | None, sentence: str) -> None:
    assert promises(Contract(**said), aggregate=True, seats=seats)[0].endswith(sentence)


@pytest.mark.parametrize(
    ("said", "seats", "draws", "needs"),
    [
        (
            {"sample": 0.2, "quorum": 0.5},
            None,
            "Each round draws 20 % of the seats, rounded up; the others rest in it.",
            "It needs 50 % of the seats that it draws, rounded up.",
        ),
        (
            {"sample": 0.2, "sample_at_least": 3, "quorum": 0.5},
            10,
            "Each round draws 20 % of the seats, rounded up and 3 at least: 3 of 10 now; the others rest in it.",
            "It needs 50 % of the seats that it draws, rounded up: 2 of 3 now.",
        ),
        (
            {"sample": 4, "sample_of": "count"},
            None,
            "Each round draws 4 seats; the others rest in it.",
            "It needs every seat that it draws.",
        ),
    ],
)
def test_which_seats_a_round_draws(said: dict[str, Any], seats: int | None, draws: str, needs: str) -> None:
    first, second, *_ = promises(Contract(**said), aggregate=True, seats=seats)
    assert first == draws
    assert second.endswith(needs)


def test_what_models_are_measured_by() -> None:
    assert measures(Contract(), 0, 9, None, None) == []
    stop = StopEarly("score.auc", patience=3, min_delta=0.01)
    assert measures(Contract(score_within_s=90), 5, 9, Best("loss", "min"), stop) == [
        (
            "The sites score the model of every 5th round and of the last one on their own data; a round waits for "
            "that for 1 min 30 s at most."
        ),
        "Its best model is that of the round with the lowest loss.",
        (
            "It ends before round 9 once 3 rounds in a row had no higher score.auc by more than 0.01 than the best "
            "one before."
        ),
    ]
    assert measures(Contract(), 1, 9, None, None)[0].startswith("The sites score the model of each round on")


def test_a_contract_in_words() -> None:
    said = promises(Contract(train_within_s=5400, late="drop", too_few="wait"), aggregate=True)
    assert said == [
        "A round is done with the coordinator's model. It needs every seat.",
        "Sites have 1 h to get ready and 1 h 30 min to train; the coordinator has 1 h to aggregate.",
        "A site that is waited for and not heard of for 10 min is left out of the round.",
        "A site that misses a deadline is out of the task.",
        "With fewer at a deadline it waits for as long once more, until the run's own deadline.",
    ]
    alone = promises(Contract(), aggregate=False)
    assert alone[:2] == [
        "A round is done with the reports of its sites. It needs every seat.",
        "Sites have 1 h to get ready and 1 d to train.",
    ]
    assert alone[3:] == [
        "A site that misses a deadline may come back with the next round.",
        "With fewer at a deadline the round fails, and with it the task.",
    ]


@pytest.mark.parametrize(
    ("fraction", "said"),
    [(0.07, "7 %"), (0.5, "50 %"), (1 / 3, "33.33333333333333 %"), (0.001, "0.1 %"), (1.0, "100 %")],
)
def test_percentages_have_all_their_digits(fraction: float, said: str) -> None:
    assert percent(fraction) == said
