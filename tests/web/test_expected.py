"""What a refusal adds to msgspec's sentence, literally."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
import pytest

from web.api.table import operations
from web.http.expected import MAX_NAMES, expected
from web.http.operations import Operation


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Part(msgspec.Struct, forbid_unknown_fields=True):
    batch: int = 1
    optimizer: str = ""


class Body(msgspec.Struct, forbid_unknown_fields=True):
    part: Part | None = None
    parts: Annotated[list[Part], msgspec.Meta(max_length=3)] = []
    named: dict[str, Part] = {}
    colour: Colour = Colour.RED
    how: Literal["open", "closed"] | None = None


def refusal(content: bytes, kind: type[object] = Body) -> str:
    with pytest.raises(msgspec.ValidationError) as raised:
        msgspec.json.decode(content, type=kind)
    text = str(raised.value)
    return expected(kind, text.replace(" 'green'", ""))


@pytest.mark.parametrize(
    ("content", "added"),
    [
        (b'{"part": {"batchh": 1}}', "; is it batch?"),
        (b'{"parts": [{"optimiser": 1}]}', "; is it optimizer?"),
        (b'{"named": {"x": {"xyz": 1}}}', "; there are batch, optimizer"),
        (b'{"xyz": 1}', "; there are colour, how, named, part, parts"),
        (b'{"colour": "green"}', "; it is one of blue, red"),
        (b'{"how": "green"}', "; it is one of closed, open"),
        (b'{"part": {"batch": "x"}}', ""),
    ],
)
def test_a_refusal_says_what_there_is(content: bytes, added: str) -> None:
    assert refusal(content) == added


def test_nothing_is_said_of_long_lists() -> None:
    many = msgspec.defstruct("Many", [f"field_{n}" for n in range(MAX_NAMES + 1)], forbid_unknown_fields=True)
    content = b"{" + b",".join(b'"field_%d": 1' % n for n in range(MAX_NAMES + 1)) + b', "zzz": 1}'
    assert refusal(content, many) == ""


@pytest.mark.parametrize("operation", operations(kafka_ml=True), ids=lambda one: f"{one.method} {one.path}")
def test_whatever_a_call_takes_can_be_looked_at(operation: Operation) -> None:
    for kind in filter(None, (operation.body, operation.query)):
        assert expected(kind, "Object contains unknown field `zzz` - at `$.a[...].b`") == ""
        added = expected(kind, "Object contains unknown field `zzz`")
        assert added.startswith("; there are ") == (0 < len(msgspec.structs.fields(kind)) <= MAX_NAMES)
