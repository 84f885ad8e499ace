"""Commands survive their wire form; what is no command is refused without being quoted."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.routes import QUEUES, ROUTES
from domain import codec, values
from domain import commands as c
from domain.commands import Envelope
from domain.ids import derive, is_id
from domain.records import RECORDS
from domain.states import Report
from domain.table import TABLE
from fedyard.wire.parameters import MAX_NESTED

ids = st.uuids().map(str)
metrics = st.dictionaries(
    st.text("abc_", min_size=1, max_size=8), st.floats(allow_nan=False, allow_infinity=False), max_size=5
)
reports = st.builds(
    c.ReportSeat,
    run_id=ids,
    task_seq=st.integers(1, 9),
    site_id=ids,
    event=st.sampled_from(Report),
    seq=st.integers(1, 10**9),
    round=st.integers(1, 10**5),
    metrics=metrics,
    reason=st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), max_size=50),
    update=st.none() | st.binary(max_size=200),
)
posts = st.builds(
    c.PostMessages,
    sender_site_id=ids,
    messages=st.lists(
        st.builds(
            c.NewMessage,
            project_id=ids,
            to=st.sampled_from(["coordinator", "participants"]) | st.lists(ids, min_size=1, max_size=3),
            body=st.binary(max_size=100),
        ),
        min_size=1,
        max_size=3,
    ),
)


logs = st.builds(
    c.WriteLog,
    run_id=ids,
    task_seq=st.integers(1, 9),
    site_id=ids,
    seq=st.integers(1, 10**9),
    pieces=st.lists(st.binary(min_size=1, max_size=100), min_size=1, max_size=3),
    round=st.none() | st.integers(1, 10**5),
)


@given(command=reports | posts | logs, key=ids, at=st.integers(0, 2**60), waited=st.booleans())
def test_round_trip(command: c.AnyCommand, key: str, at: int, waited: bool) -> None:
    envelope = codec.envelope_of(command, id=key, by=codec.THE_HUB, at=at, waited=waited)
    assert codec.decode(codec.encode(envelope)) == envelope


def _wire(**changes: object) -> bytes:
    command = c.StopRun(run_id=derive("x", "run"), reason="top-secret")
    good = json.loads(codec.encode(codec.envelope_of(command, id=derive("x"), by=codec.THE_HUB, at=1)))
    for path, value in changes.items():
        place = good
        *folders, name = path.split("__")
        for folder in folders:
            place = place[folder]
        place[name] = value
    return json.dumps(good).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"top-secret",
        b"[]",
        b"\xff\xfe top-secret",
        _wire(version=2),
        _wire(unknown="top-secret"),
        _wire(command__unknown="top-secret"),
        _wire(command__kind="top-secret"),
        _wire(command__run_id=7),
        _wire(by__kind="top-secret"),
    ],
)
def test_what_is_no_command_is_refused_and_not_quoted(body: bytes) -> None:
    with pytest.raises(codec.Undecodable) as caught:
        codec.decode(body)
    assert "top-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            values.Name,
            ["a", "St. Olav's", "a b", "\u00e5"],
            ["", " ", " a", "a ", "a\n", "\na", "a\tb", "\x7f", "a\x7f", "a" * 101],
        ),
        (values.Text, ["", "a\nb\n"], ["a\x00", "a" * 4001]),
        (values.Reason, ["", "a\nb\n"], ["\x00", "a" * 1001]),
        (values.Image, ["", "registry.example/x:1"], ["a b", "a\n", "\n", "a" * 501]),
        (values.Sha256, ["0" * 64], ["0" * 64 + "\n", "0" * 63, "A" * 64]),
        (values.Key32, ["A" * 43 + "="], ["A" * 43 + "=\n", "A" * 44]),
        (values.Slug, ["a", "a" * 64], ["a\n", "A", "", "a" * 65]),
    ],
)
def test_words_are_strict_to_their_last_sign(kind: object, good: list[str], bad: list[str]) -> None:
    assert [msgspec.convert(text, kind) for text in good] == good
    for text in bad:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(text, kind)


def nested(levels: int) -> dict[str, object]:
    inner: object = 1
    for _ in range(levels - 1):
        inner = [inner]
    return {"x": inner}


def test_parameters_have_a_depth_that_every_reader_stands() -> None:
    deepest = values.TaskSpec(name="t", model="m", parameters=nested(MAX_NESTED))
    assert msgspec.json.decode(msgspec.json.encode(deepest), type=values.TaskSpec) == deepest
    with pytest.raises(ValueError, match="32 levels"):
        values.TaskSpec(name="t", model="m", parameters=nested(MAX_NESTED + 1))


def test_a_body_nested_beyond_reading_is_undecodable() -> None:
    with pytest.raises(codec.Undecodable):
        codec.decode(b'{"x":' * 100_000)


def test_the_digest_tells_a_repeat_from_another_request() -> None:
    one, same, other = (c.StopRun(run_id=derive("r"), reason=reason) for reason in ("a", "a", "b"))
    assert codec.digest_of(one) == codec.digest_of(same) != codec.digest_of(other)


@pytest.mark.parametrize("kind", TABLE)
def test_every_command_has_a_route_named_after_it(kind: type[c.Command]) -> None:
    route = ROUTES[kind]
    assert route.actor == re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    assert route.queue in {queue.name for queue in QUEUES}
    assert route.durable is (kind is not c.RecordHeartbeats)


@pytest.mark.parametrize("kind", TABLE)
def test_commands_are_frozen_and_refuse_unknown_fields(kind: type[c.Command]) -> None:
    assert kind.__struct_config__.frozen
    assert kind.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("record", RECORDS)
def test_records_are_frozen(record: type[msgspec.Struct]) -> None:
    assert record.__struct_config__.frozen


@given(cause=ids, names=st.lists(st.text(max_size=5) | st.integers(), max_size=3))
def test_ids_are_derived_and_canonical(cause: str, names: list[str | int]) -> None:
    assert derive(cause, *names) == derive(cause, *names)
    assert is_id(derive(cause, *names))


def test_an_id_is_the_same_in_every_version() -> None:
    """Another process, tomorrow's perhaps, makes it of the same cause."""
    assert derive("a cause", "report", 0) == "1aa24754-1565-5960-bec3-7eb536c5e8d6"


@pytest.mark.parametrize(
    "text", ["", "x", "5F1D6A52-0C0E-5E0F-9C54-F3D7A6D7A4B1", "{5f1d6a52-0c0e-5e0f-9c54-f3d7a6d7a4b1}"]
)
def test_what_is_no_id(text: str) -> None:
    assert not is_id(text)


def test_an_envelope_is_strict() -> None:
    assert Envelope.__struct_config__.forbid_unknown_fields
