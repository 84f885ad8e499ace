"""Drawings: what is in them, in which order, and that others' text is text."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from markupsafe import Markup

from fedyard.look.drawing.graph import Node, graph
from fedyard.look.drawing.matrix import Cell, Heading, matrix
from fedyard.look.drawing.timeline import Line, Span, timeline
from fedyard.wire.times import SECOND

EVIL = """'"><script>alert(1)</script>"""


def parsed(markup: str) -> ET.Element:
    return ET.fromstring(f"<all>{markup}</all>")  # noqa: S314 - made here


def text_of(markup: Markup) -> str:
    """All that is read, of well-formed markup."""
    return " ".join(" ".join(parsed(markup).itertext()).split())


def test_a_matrix_is_read_as_a_table() -> None:
    drawn = matrix(
        "Rounds",
        [Heading("1"), Heading("2")],
        [(Heading("oslo"), [Cell("submitted", "3.2 s", straggler=True), None])],
        corner="Site",
    )
    assert text_of(drawn) == "Rounds Site 1 2 oslo submitted 3.2 s , the straggler no part"
    assert drawn.count('scope="col"') == 3
    assert drawn.count('scope="row"') == 1


@pytest.mark.parametrize(
    "drawn",
    [
        matrix(EVIL, [Heading(EVIL, about=EVIL)], [(Heading(EVIL, href=EVIL), [Cell(EVIL, EVIL, EVIL, href=EVIL)])]),
        timeline(EVIL, [Line(EVIL, [Span(0, SECOND, EVIL, EVIL)], href=EVIL)]),
        graph(EVIL, [Node("a", EVIL, EVIL, EVIL, EVIL), Node("b", EVIL)], [("a", "b")]),
    ],
)
def test_what_others_wrote_is_text(drawn: Markup) -> None:
    assert "<script" not in drawn
    parsed(drawn)


def test_a_timeline_has_every_span_as_a_bar_and_as_a_row() -> None:
    drawn = timeline(
        "Seats", [Line("oslo", [Span(0, 5 * SECOND, "training", "round 1"), Span(5 * SECOND, 6 * SECOND, "submitted")])]
    )
    assert re.findall(r'class="bar (\w+)"', drawn) == ["live", "good"]
    assert "oslo round 1 training 1970-01-01 00:00:00 5 s" in text_of(drawn)
    assert timeline("Seats", [Line("oslo", [])]) == ""


def places(drawn: Markup) -> dict[str, tuple[int, int]]:
    found = re.findall(r'<title>(\w+)</title><rect x="(\d+)" y="(\d+)"', drawn)
    return {name: (int(x), int(y)) for name, x, y in found}


def test_what_follows_stands_to_the_right() -> None:
    nodes = [Node(one, one) for one in "dcba"]
    at = places(graph("Tasks", nodes, [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "d"), ("a", "nobody")]))
    assert at["a"][0] < at["b"][0] == at["c"][0] < at["d"][0]
    assert at["b"][1] != at["c"][1]


def test_a_circle_and_a_long_chain_are_drawn() -> None:
    circle = places(graph("Circle", [Node("a", "a"), Node("b", "b")], [("a", "b"), ("b", "a"), ("a", "a")]))
    assert len(set(circle.values())) == 2
    chain = [Node(f"n{number}", f"n{number}") for number in range(2000)]
    at = places(graph("Chain", chain, [(f"n{number}", f"n{number + 1}") for number in range(1999)]))
    assert at["n0"][0] < at["n1000"][0] < at["n1999"][0]
    assert graph("Nothing", [], []) == ""
