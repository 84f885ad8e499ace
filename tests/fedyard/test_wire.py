"""What comes over the wire is held by its types, whatever is said; and where a site goes because of it."""

from __future__ import annotations

import types
import typing
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from fedyard.agent.paths import Outside, under
from fedyard.agent.steps.taking_part import Uninvited
from fedyard.client.addresses import Origin, beside, hub_origin
from fedyard.client.errors import Unacceptable, Unprotected
from fedyard.wire import answers, notices, plurals
from fedyard.wire import types as wire

FREE = {("TaskSpec", "parameters"), ("WrittenTasks", "tasks"), ("Event", "facts")}
"""Objects of the coordinator's or the hub's choosing: looked at by check_shown, or only shown."""
NASTY = ["", ".", "..", "../..", "/etc", "/abs/path", "a/b", "a\\b", "x\0y", "10000000-0000-4000-8000-000000000000\n"]
HUB = Origin("https", "hub.example", 443)


def _structs() -> list[type]:
    found = [kind for kind in vars(answers).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
    return [
        *(kind for kind in found if kind is not answers.Unread),
        Uninvited,
        notices.Invitation,
        notices.Collected,
        notices.Submitted,
        notices.Dropped,
        notices.Excluded,
        notices.MissedBy,
        notices.Ended,
    ]


def _loose(kind: inspect.Type) -> bool:
    """True for a type that holds anything of some sort, however long or large."""
    match kind:
        case inspect.StrType() | inspect.BytesType() | inspect.ListType() if kind.max_length is None:
            return True
        case inspect.IntType():
            return (kind.ge is None and kind.gt is None) or (kind.le is None and kind.lt is None)
        case inspect.DictType():
            return kind.max_length is None or _loose(kind.key_type) or _loose(kind.value_type)
        case inspect.ListType():
            return _loose(kind.item_type)
        case inspect.UnionType():
            return any(_loose(one) for one in kind.types)
        case inspect.Metadata():
            return _loose(kind.type)
    return False


@pytest.mark.parametrize("kind", _structs(), ids=lambda kind: kind.__name__)
def test_every_field_of_an_answer_has_bounds(kind: type) -> None:
    if typing.get_origin(kind) is not None or getattr(kind, "__parameters__", ()):
        kind = types.GenericAlias(kind, (answers.Site,))  # type: ignore[assignment]
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    name = kind.__name__
    assert [f.name for f in info.fields if _loose(f.type) and (name, f.name) not in FREE] == []


@pytest.mark.parametrize("text", NASTY)
def test_an_id_is_one_part_of_a_path(text: str, tmp_path: Path) -> None:
    with pytest.raises(wire.Undecodable):
        wire.decode(msgspec.json.encode(text), wire.Uuid)
    if not text.endswith("\n"):
        with pytest.raises(Outside):
            under(tmp_path, text)
        with pytest.raises(Outside):
            under(tmp_path, "fine", text)
    assert under(tmp_path, "fine", "2") == tmp_path / "fine" / "2"


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"id":' * 5000, b"1" * 5000, b"\xff", b"", b'"\\ud800"', b"1e999", b"nul", b"[1" + b",1" * 99],
)
def test_whatever_comes_is_undecodable_at_worst(content: bytes) -> None:
    for kind in (answers.Me, answers.Inbox, answers.Entry, wire.Uuid, dict[str, object]):
        with pytest.raises(wire.Undecodable):
            wire.decode(content, kind)


@pytest.mark.parametrize(
    "parameters",
    [{"seed": 2**64}, {"seed": -(2**63) - 1}, {"a": [[{"b": 2**70}]]}, {"many": [0] * 100_001}],
)
def test_parameters_that_cannot_travel(parameters: dict[str, object]) -> None:
    spec = {"name": "train", "model": "x", "parameters": parameters}
    with pytest.raises(wire.Undecodable):
        wire.decode(
            msgspec.json.encode(spec) if "many" in parameters else repr(spec).replace("'", '"').encode(),
            answers.TaskSpec,
        )


def test_one_entry_that_cannot_be_read_takes_no_other_with_it() -> None:
    good = {"seq": 7, "kind": "anything", "created_at": "2026-11-28T01:00:00Z"}
    bad = [{**good, "seq": 8, "run_id": "/abs"}, {**good, "seq": 9, "kind": "invited"}, {**good, "seq": "x"}, 5]
    page = {"items": [good, *bad, {**good, "seq": 6}, {**good, "seq": 3}, good], "last_seq": 9, "acknowledged_seq": 0}
    page |= {"history_id": "10000000-0000-4000-8000-000000000000"}
    entries, unread = wire.decode(msgspec.json.encode(page), answers.Inbox).read(3)
    assert [entry.seq for entry in entries] == [6, 7]
    assert [one.seq for one in unread] == [8, 9, None, None]
    assert all("/abs" not in one.fact for one in unread)


@pytest.mark.parametrize(
    "hub",
    ["http://hub.example", "http://10.0.0.1:8080", "http://localhost.example", "http://0x7f.1", "http://[fe80::1]"],
)
def test_a_token_does_not_go_to_another_machine_in_the_clear(hub: str) -> None:
    with pytest.raises(Unprotected, match="allow_plain_http"):
        hub_origin(hub)
    with pytest.raises(Unprotected, match="allow_plain_http"):
        hub_origin(hub, ["hub.example.elsewhere", "hub.example:8080", "10.0.0.1:80"])
    named = hub.removeprefix("http://").partition(":8080")[0].strip("[]")
    hub_origin(hub, [named])


@pytest.mark.parametrize("hub", ["https://hub.example", "http://localhost:1", "http://127.0.0.9", "http://[::1]:8080"])
def test_https_and_this_machine_are_fine(hub: str) -> None:
    hub_origin(hub)


@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.example/x",
        "https://hub.example:8443/x",
        "https://hub.example@elsewhere.example/x",
        "https://hub.example\\@elsewhere.example/x",
        "http://127.0.0.1:9200/x",
        "http://bucket.example/x",
        "https://bucket.example.elsewhere.example/x",
        "ftp://bucket.example/x",
        "file:///etc/passwd",
        "/v1/me",
        "",
    ],
)
def test_payloads_are_not_carried_wherever_the_hub_likes(address: str) -> None:
    with pytest.raises(Unacceptable):
        beside(address, HUB, ["bucket.example", "s3.example:9000"])


@pytest.mark.parametrize(
    "address",
    [
        "https://hub.example/x?y=1",
        "https://bucket.example/x",
        "https://bucket.example:1/x",
        "https://s3.example:9000/x",
    ],
)
def test_payloads_are_carried_to_the_hub_and_to_the_named_hosts(address: str) -> None:
    assert beside(address, HUB, ["bucket.example", "s3.example:9000"]) == address


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (plurals.counted(1, "seat"), "1 seat"),
        (plurals.counted(2, "seat"), "2 seats"),
        (plurals.counted(0, "try", "tries"), "0 tries"),
        (plurals.counted(1, "try", "tries"), "1 try"),
    ],
)
def test_one_is_told_as_one(said: str, words: str) -> None:
    assert said == words
