"""What people's calls take of an answer is what the hub's operation answers: every field there is, none is made up."""

from __future__ import annotations

import types
import typing

import msgspec
import pytest

from fedyard.wire import network_answers as n
from fedyard.wire import stream_answers as s
from tests.fedyard.python.test_whole_api import OPERATIONS

TAKEN: dict[str, type[msgspec.Struct]] = {
    "read_account": n.Account,
    "list_enrolments": n.Enrolment,
    "issue_sign_in": n.SignIn,
    "end_sessions": n.EndedSessions,
    "read_webhook": n.Webhook,
    "rotate_webhook": n.WebhookSecret,
    "list_deliveries": n.WebhookDelivery,
    "list_workload_attempts": n.WorkloadAttempt,
    "list_concerns": n.Concern,
    "verify_events": n.Verification,
    "list_processes": n.HubProcess,
    "read_vitals": n.Vitals,
    "list_dead_letters": n.DeadLetter,
    "replay_dead_letters": n.DeadLettersSettled,
    "put_model_file": s.ModelFile,
    "read_streams": s.StreamsStatus,
    "list_quarantine": s.Quarantined,
    "read_quarantined": s.QuarantinedContent,
    "replay_quarantined": s.RecordReplayed,
    "purge_quarantined": s.RecordsPurged,
    "list_model_announcements": s.ModelAnnouncement,
}


@pytest.mark.parametrize("name", TAKEN)
def test_taken_fields_are_those_of_the_hub(name: str) -> None:
    answers = OPERATIONS[name].answers
    shown = answers.get(200) or answers[201]
    compare(TAKEN[name], shown, name)


def compare(ours: type[msgspec.Struct], theirs: object, where: str) -> None:
    if getattr(theirs, "__origin__", None) is not None and "items" in theirs.__origin__.__struct_fields__:
        (theirs,) = typing.get_args(theirs)
    fields = {field.encode_name: field for field in msgspec.structs.fields(theirs)}
    for field in msgspec.structs.fields(ours):
        assert field.encode_name in fields, f"{where}: {ours.__name__}.{field.name} is nothing that the hub answers"
        mine, its = inner(field.type), inner(fields[field.encode_name].type)
        may_be_none = type(None) in parts(fields[field.encode_name].type)
        assert not may_be_none or type(None) in parts(field.type), f"{where}: {ours.__name__}.{field.name} may be null"
        if is_struct(mine):
            assert is_struct(its), f"{where}.{field.name}"
            compare(mine, its, f"{where}.{field.name}")


def parts(kind: object) -> tuple[object, ...]:
    bare = plain(kind)
    return typing.get_args(bare) if typing.get_origin(bare) in (typing.Union, types.UnionType) else (bare,)


def plain(kind: object) -> object:
    return plain(typing.get_args(kind)[0]) if typing.get_origin(kind) is typing.Annotated else kind


def inner(kind: object) -> object:
    """What a field holds, or each item of it."""
    (first, *_) = [plain(one) for one in parts(kind) if one is not type(None)] or [None]
    return inner(typing.get_args(first)[0]) if typing.get_origin(first) is list else first


def is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


class Invented(msgspec.Struct):
    id: str
    nickname: str


class Trusting(msgspec.Struct):
    disabled_at: str


@pytest.mark.parametrize(("ours", "fault"), [(Invented, "nothing that the hub answers"), (Trusting, "may be null")])
def test_what_is_not_so_is_seen(ours: type[msgspec.Struct], fault: str) -> None:
    with pytest.raises(AssertionError, match=fault):
        compare(ours, OPERATIONS["read_account"].answers[200], "read_account")
