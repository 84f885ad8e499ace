"""What is found of announcements, as tables: records and rows in, sentences out."""

from __future__ import annotations

import pytest

from chaos.announcing import body, findings, name_in
from domain.streams.announcements import AnnouncedData, read

LOST, DOUBLED, STRANGE = "announcements lost", "announcements doubled", "announcements that nobody wrote"
GONE, ODD = "announcements that Kafka lost", "announcements not understood"
A, B = ((0, 0), "a"), ((2, 7), "b")


@pytest.mark.parametrize(
    ("written", "taken", "expected"),
    [
        ([A, B], [B, A], {}),
        ([A, B], [A], {LOST: ["b lies at chaos-control:2:7, and the hub does not know it"]}),
        ([A, B], [A, A, B], {DOUBLED: ["what lies at chaos-control:0:0 is there 2 times"]}),
        ([A, B, ((1, 0), "a")], [A, B, ((1, 0), "a")], {}),
        ([A, B], [A, B, ((2, 8), "c")], {STRANGE: ["c is there, of chaos-control:2:8"]}),
        ([A, B], [A, ((2, 7), "a")], {STRANGE: ["a is there, of chaos-control:2:7"]}),
        ([A], [A], {GONE: ["b was reported, and does not lie there"]}),
    ],
)
def test_what_lies_in_kafka_is_there_once(written, taken, expected) -> None:
    found = findings(["a", "b"], dict(written), taken, [])
    assert found == {LOST: [], DOUBLED: [], STRANGE: [], GONE: [], ODD: [], **expected}


def test_what_was_not_understood_is_found() -> None:
    assert findings([], {}, [], ["not_json: it is no JSON"])[ODD] == ["not_json: it is no JSON"]


def test_what_it_writes_is_understood() -> None:
    found = read("control", b"\1\0", body("data-7"))
    assert isinstance(found, AnnouncedData)
    assert (name_in(found.data_topic), found.deployment_number, found.total_msg) == ("data-7", 256, 9)
