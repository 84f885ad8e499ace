"""What is found of announcements, as tables: records and rows in, sentences out."""

from __future__ import annotations

import pytest

from chaos.announcing import body, findings
from domain.streams.announcements import AnnouncedData, read
from fedyard.wire.times import SECOND

LOST, DOUBLED = "announcements lost", "announcements doubled"
STRANGE, ODD = "announcements that nobody wrote", "announcements not understood"
AT = 1_000 * SECOND


@pytest.mark.parametrize(
    ("promised", "taken", "restores", "expected"),
    [
        ({"a": AT, "b": AT}, ["a", "b"], [], {}),
        ({"a": AT, "b": AT}, ["a"], [], {LOST: ["b was written, and the hub does not know it"]}),
        ({"a": AT}, ["a", "a"], [], {DOUBLED: ["a is there 2 times"]}),
        ({}, ["b"], [], {}),
        ({}, ["c"], [], {STRANGE: ["c is there"]}),
        ({"a": AT}, [], [(AT + 59 * SECOND, AT + 90 * SECOND)], {}),
        (
            {"a": AT},
            [],
            [(AT + 61 * SECOND, AT + 90 * SECOND)],
            {LOST: ["a was written, and the hub does not know it"]},
        ),
        ({"a": AT}, [], [(AT - 9, AT - 1)], {LOST: ["a was written, and the hub does not know it"]}),
    ],
)
def test_what_was_promised_is_there_once_unless_a_restore_took_it_back(promised, taken, restores, expected) -> None:
    found = findings(promised, ["a", "b"], taken, [], restores)
    assert found == {LOST: [], DOUBLED: [], STRANGE: [], ODD: [], **expected}


def test_what_was_not_understood_is_found() -> None:
    assert findings({}, [], [], ["not_json: it is no JSON"])[ODD] == ["not_json: it is no JSON"]


def test_what_it_writes_is_understood() -> None:
    found = read("control", b"\1\0", body("data-7"))
    assert isinstance(found, AnnouncedData)
    assert (found.data_topic, found.deployment_number, found.total_msg) == ("data-7:0:0:9", 256, 9)
