"""Every figure's code works, in tiny sizes; nothing is said about speed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.__main__ import CASES, chosen
from benchmarks.board import TINY, Board
from benchmarks.cases.growth import TURNS_EACH
from benchmarks.figures import REACHES, Figure, median_figure, percentile, read_figures, write_figures
from benchmarks.report import draw, ratio_of, score, table
from benchmarks.yard import Yard
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from tests.role import start_role

MADE = {
    "part_per_s": 5,
    "seal_mb_per_s": 5,
    "rss_mb idle": 7,
    "decided_per_s": 3,
    "reports_per_s": 2,
    "decision_ms": 4,
    "trip_ms": 4,
    "forwards_per_s": 2,
    "run_s": 4,
    "heartbeats_per_s": 2,
    "polls_per_s": 2,
    "artifact_mb_per_s": 9,
    "resume_overhead": 1,
    "broadcast_cost": 2,
    "waiting_polls": 4,
    "rss_mb after": 7,
    "trust_us": 4,
    "victim_p99": 6,
    "spawn_ms": 8,
    "kubernetes": 8,
    "streams": 10,
    "page": 22,
    "sites": 13,
    "growth": 2,
    "start_s": 2,
}
"""How many figures each case makes in tiny sizes."""


@pytest.fixture(scope="module")
def board(servers_folder: Path, rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres) -> Iterator[Board]:
    yard = Yard(servers_folder / "bench", rabbitmq, postgres, start_role)
    with yard.hub().running() as hub:
        yield Board(yard, hub, TINY)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
def test_every_case_measures(board: Board, case: str) -> None:
    before = len(board.figures)
    CASES[case](board)
    made = board.figures[before:]
    assert len(made) == MADE[case]
    assert {one.runs for one in made} == {TURNS_EACH if case == "growth" else 1}
    assert all(one.min <= one.value <= one.max and one.unit for one in made)


def some_figures() -> list[Figure]:
    return [median_figure(name, case, [1.0, 3.0, 2.0], {"web": 0.5}) for name, case in REACHES]


def test_a_figure_is_the_median_with_its_range() -> None:
    figure = median_figure("run_s", "50", [3.0, 3.3, 3.1])
    assert figure == Figure(name="run_s", case="50", value=3.1, unit="s", runs=3, min=3.0, max=3.3)


def test_percentiles() -> None:
    assert percentile(range(1, 101), 0.5) == 51
    assert percentile(range(1, 101), 0.99) == 100
    assert percentile([7.0], 0.99) == 7.0


def test_a_file_keeps_what_was_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    write_figures(path, [median_figure("run_s", "50", [3.0]), median_figure("run_s", "2", [1.0])])
    write_figures(path, [median_figure("run_s", "50", [2.0])])
    assert [(one.case, one.value) for one in read_figures(path)] == [("2", 1.0), ("50", 2.0)]


@pytest.mark.parametrize(
    ("name", "case", "value", "holds"),
    [
        ("decided_per_s", "10x5", 5000, True),
        ("decided_per_s", "10x5", 4999, False),
        ("run_s", "200", 3.5, True),
        ("run_s", "200", 3.6, False),
        ("waiting_polls", "1000 idle cpu", 0.5, True),
        ("waiting_polls", "1000 idle cpu", 2.0, False),
    ],
)
def test_a_reach_holds_or_not(name: str, case: str, value: float, *, holds: bool) -> None:
    figure = median_figure(name, case, [value])
    ratio = ratio_of(figure, [figure])
    assert ratio is not None
    assert (ratio >= 1) == holds


def test_the_table_names_every_figure() -> None:
    text = table(some_figures(), "on this machine")
    assert all(f"| {name} | {case}" in text for name, case in REACHES)


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    draw(some_figures(), tmp_path / "board.png")
    assert (tmp_path / "board.png").read_bytes().startswith(b"\x89PNG")
    held, wanted = score(some_figures())
    assert 0 < held < wanted


def test_cases_are_chosen_by_the_beginning_of_their_names() -> None:
    assert list(chosen(["rss"])) == ["rss_mb idle", "rss_mb after"]
    assert chosen([]) == CASES
    with pytest.raises(SystemExit, match="no such figure"):
        chosen(["nonsense"])
