"""Whatever the hub writes, a site can read: each call of the client, held against the operation that answers it.

The two describe an answer apart (docs/adr/0023). Here the hub's class is filled in every way that its types allow, each
field in turn, and the site's class has to take it; and no field that a site reads is one that no hub writes.
"""

from __future__ import annotations

import enum
import inspect
import itertools
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import pytest

from domain import values as v
from fedyard.agent.heads import Head
from fedyard.client.client import Client
from fedyard.wire import answers as a
from fedyard.wire import types as w
from fedyard.wire.chunks import CHUNK_BYTES, MAX_CHUNKS
from storage.views import resources as r
from storage.views.sight import Listed
from web.api.table import operations
from web.http.bodies import PageQuery

ID, OTHER_ID = "10000000-0000-4000-8000-000000000000", "ffffffff-ffff-4fff-bfff-ffffffffffff"
TIMES = ["1970-01-01T00:00:00.000000Z", "2286-11-20T17:46:39.999999Z"]
MICROS = [0, 9_000_000_000_000_000_000]
HEX32, HEX64 = "0123456789abcdef" * 2, "0123456789abcdef" * 4


def most(kind: Any) -> int:
    """How long a text of this type may be."""
    longest = next(meta.max_length for meta in kind.__metadata__ if meta.max_length)
    assert isinstance(longest, int)
    return longest


TEXTS: dict[str, list[str]] = {
    **{name: ["x", "é" * most(v.Name)] for name in ("name", "site_name", "coordinator_name", "model")},
    **{name: ["", "é" * most(v.Text)] for name in ("description", "notes")},
    **{name: ["", "é" * most(v.Reason)] for name in ("reason", "left_out", "missing_receipt", "detail")},
    **{name: ["a", "a" + "_.-9" * 15 + "zzz"] for name in ("kind", "task", "TaskSpec.name", "TaskRun.name")},
    **{name: [HEX64] for name in ("digest", "sha256", "hash")},
    **{name: ["A" * 43 + "="] for name in ("identity_key", "coordinator_identity_key")},
    "mark": ["", HEX32],
    "token": ["fyd_" + "A" * 43],
    "next": ["x", "x" * 200],
    "data_format": ["", "x" * 100],
    "client_image": ["", "x" * most(v.Image)],
    "who": [ID],
    "WorkloadInput.artifact_id": [ID],
    "flaw": ["", "x" * 64],
    "agent_version": ["0.2.0", "x" * 64],
    **{f"JoiningAbout.{name}": ["127.0.0.1:1", "x" * 200] for name in ("addresses", "inside", "outside")},
    "ClientToken.expires_at": TIMES,
    "Token.label": ["x", "é" * most(v.Name)],
    "ArchiveFile.path": ["x", "é" * 500],
    "configuration": ["", "x" * 4000],
    "JoiningAbout.command": ["x" * 4000],
    "ready_until": TIMES,
    **{name: ["x", "x" * most(v.Image)] for name in ("coordinator_image", "selector_image")},
    "required_files": ["model.h5"],
    "after": ["a"],
    **{f"{name}.metric": ["x", "é" * most(v.MetricName)] for name in ("Best", "StopEarly")},
    "where": ["hub", "site:" + ID],
    "image": ["i", "x" * 500],
    **{name: ["", "é" * 4096] for name in ("command", "arguments")},
    "environment": ["", "é" * 32_768],
    **{name: ["", "x" * 63] for name in ("labels", "object_name")},
    "secrets": ["a", "s" * 64],
    "ProjectSecret.name": ["a", "s" * 64],
    "SecretResult.name": ["a", "s" * 64],
    "runtime_class": ["", "x" * 253],
    "cluster": ["c", "c" * 63],
    "control_topic": ["t", "t" * 249],
    "data_topic": ["t:0:0:1", "t" * 32_768],
    "string_id": ["", "x" * 64],
    **{f"{framework}_kwargs_{of}": ["", "x" * 1000] for framework in ("tf", "pth") for of in ("fit", "val")},
    **{name: ["x", "x" * 200] for name in ("optimizer", "loss", "metrics", "monitoring_metric")},
    "data_restriction": ["", "x" * 16_384],
    "model_format": ["", "h5"],
    "log_tail": ["", "x" * 4000],
    "client_id": ["", "x" * 64],
    **{name: ["", "x" * 253] for name in ("node_selector", "spread", "key", "value")},
    "Workload.stop_reason": ["", "é" * most(v.Reason)],
    "addresses": ["h:1", "x" * 300],
    "events": ["", "é" * 500],
    "TaskSpec.code": ["any", "a" * 64],
    "CodeUse.code": ["a" * 64],
    **{f"{name}.code": ["", "a" * 64] for name in ("Seat", "Submission")},
    "Seat.waits_for": ["", "approval"],
    **dict.fromkeys(("Seat.waits_until", "SeatsWaiting.until"), TIMES),
    **{name: ["https://bucket.example/x?y=%2F"] for name in ("downloads", "uploads")},
}
"""By the name of a field: what a text of the hub's may be, from one end to the other."""
NUMBERS: dict[str, list[int]] = {
    "chunk_bytes": [CHUNK_BYTES],
    "size_bytes": [0, MAX_CHUNKS * CHUNK_BYTES],
    **dict.fromkeys(("created_at", "expires_at", "at"), MICROS),
    "LogPiece.at": [1, 2**53 - 1],
    **{
        name: [1, 100_000]
        for name in ("number", "attempt", "version", "task_seq", "epoch", "rounds", "keys_conflicting")
    },
    **{name: [1, 100_000] for name in ("TaskRun.seq", "Model.round")},
    **{name: [1, 100_000] for name in ("sample_at_least", "patience")},
    "BestRound.model_version": [1, 2**31 - 1],
    "Round.model_version": [1, 2**31 - 1],
    "suite": [1],
    "goal_count": [1, 100_000],
    "exit_code": [-(2**31), 2**31 - 1],
    "selectors": [1, 64],
    "have": [0, MAX_CHUNKS - 1],
    "need": [0, MAX_CHUNKS - 1],
    "status": [200, 507],
}
"""Numbers that have other ends than 0 and what JSON and SQLite can hold."""
BYTES: dict[str, list[bytes]] = {
    "public_key": [bytes(1216)],
    "signature": [bytes(64)],
    "key": [bytes(32)],
    "LogPiece.body": [b"x", bytes(65_536)],
    "body": [b"", bytes(1_048_576)],
    "chunk_digests": [b"", bytes(32)],
    "seal": [bytes(262_144)],
    "WorkloadLog.log": [b"", bytes(v.LOG_TAIL_BYTES)],
}
NEVER_EMPTY = {"Sent.ids", "TaskSpec.who"}
Sample = Any
ABSENT = object()


def samples(kind: Any, owner: str, field: str) -> list[Sample]:  # noqa: C901 - one branch a kind of type
    """What JSON may hold in a field of this type."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        form = next((meta.extra_json_schema or {} for meta in kind.__metadata__), {}).get("format")
        if form in ("uuid", "date-time"):
            return [ID, OTHER_ID] if form == "uuid" else TIMES
        return samples(args[0], owner, field)
    if origin in (Union, types.UnionType):
        return [one for part in args for one in samples(part, owner, field)]
    if origin is Literal:
        return list(args)
    if origin is list:
        found = samples(args[0], owner, field)
        return [found] if f"{owner}.{field}" in NEVER_EMPTY else [[], found]
    if origin is dict:
        return [{}, {"key": samples(args[1], owner, field)[-1]}]
    if kind is type(None):
        return [None]
    if kind is msgspec.UnsetType:
        return [ABSENT]
    if kind is bool:
        return [False, True]
    if kind is float:
        return [0.5, 1, 60.0]
    if kind is Any or kind is object:
        return [None, "x", 1, {"x": []}]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return [one.value for one in kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return list(objects(kind))
    known: dict[str, list[Any]] = {str: TEXTS, int: NUMBERS, bytes: BYTES}[kind]  # type: ignore[assignment]
    found = known.get(f"{owner}.{field}", known.get(field, [0, 2**53 - 1] if kind is int else None))
    assert found is not None, f"say what {owner}.{field} may be"
    return found


def objects(kind: type[msgspec.Struct]) -> Iterator[dict[str, Sample]]:
    """The hub's class, with each value of each field."""
    fields = {one.encode_name: samples(one.type, kind.__name__, one.name) for one in msgspec.structs.fields(kind)}
    for name, values in fields.items():
        for value in values:
            whole = {other: alternatives[0] for other, alternatives in fields.items()} | {name: value}
            yield {key: one for key, one in whole.items() if one is not ABSENT}


class Asked(Exception):
    """In place of a request."""


class Asking(Client):
    """Says what each call asks for, and how it reads the answer."""

    def read(self, path, kind, query=None, *, wait_s=0.0):
        raise Asked("GET", path, kind)

    def call(self, method, path, **_more):
        raise Asked(method, path, None)

    def every(self, path, query, kind):
        raise Asked("GET", path, kind)

    def written(self, method, path, body, kind, key):
        raise Asked(method, path, kind)


def asked() -> Iterator[tuple[str, str, type]]:
    """Method, path and class of every call of the client that reads an answer."""
    client = Asking("http://127.0.0.1:1", "token")
    for name, call in inspect.getmembers(Client, inspect.isfunction):
        if name.startswith("_") or name in vars(Client.__mro__[1]):
            continue
        taken = [one for one in inspect.signature(call).parameters.values() if one.name != "self"]
        values = {one.name: value_of(str(one.annotation)) for one in taken if one.default is one.empty}
        try:
            getattr(client, name)(**values)
        except Asked as said:
            method, path, kind = said.args
            if kind not in (None, dict):  # the answer is not looked at
                yield method, path, kind
    yield "PUT", f"/v1/sites/{ID}/heartbeat", a.Beat


def value_of(annotation: str) -> Any:
    return 1 if annotation == "int" else b"{}" if annotation == "bytes" else {} if "Mapping" in annotation else ID


def answer_of(method: str, path: str) -> Any:
    """What the hub says when all is well."""
    parts = path.split("/")
    for one in operations():
        wanted = one.path.split("/")
        fits = all(want == part or want.startswith("{") for want, part in zip(wanted, parts, strict=False))
        if one.method == method and len(wanted) == len(parts) and fits:
            found = next(kind for status, kind in one.answers.items() if status < 300)
            return get_args(found)[0] if get_origin(found) is Listed else found
    raise AssertionError(f"the hub has no {method} {path}")


def pairs() -> list[tuple[type, Any]]:
    """The class that a site reads, and the hub's that it reads."""
    found = {(kind, answer_of(method, path)) for method, path, kind in asked()}
    found = {(get_args(kind)[0] if get_origin(kind) is a.Page else kind, hubs) for kind, hubs in found}
    beside = {(a.Entry, r.InboxEntry), (Head, r.SignedHead)}  # read one by one
    return sorted(found | beside, key=lambda pair: (pair[0].__name__, pair[1].__name__))


PAIRS = pairs()


@pytest.mark.parametrize(("sites", "hubs"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_site_can_read_whatever_the_hub_writes(sites: type, hubs: type[msgspec.Struct]) -> None:
    for whole in objects(hubs):
        w.decode(msgspec.json.encode(whole), sites)


def test_a_site_reads_only_what_a_hub_writes() -> None:
    """Where a class is read in several places, a field may be of one of them alone."""
    written: dict[type[msgspec.Struct], set[type[msgspec.Struct]]] = {}
    for sites, hubs in PAIRS:
        put_together(sites, {hubs}, written)
    unwritten = {
        f"{sites.__name__}.{name}"
        for sites, hubs in written.items()
        for name in types_of(sites).keys() - set().union(*(types_of(one) for one in hubs))
    }
    assert unwritten == set()
    assert {sites.__name__ for sites, hubs in written.items() if not hubs} == set()


def put_together(sites: type, hubs: set[type], written: dict[type, set[type]]) -> None:
    """The site's class and those within it, each with the hub's that stand in the same place."""
    written.setdefault(sites, set()).update(hubs)
    for name, kind in types_of(sites).items():
        for inner in structs_in(kind) - {a.Problem}:  # a command's, which is handed on as it was stored
            here = {one for hub in hubs for one in structs_in(types_of(hub).get(name))}
            put_together(inner, here, written)


def types_of(kind: type) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def structs_in(kind: Any) -> set[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {kind}
    return {one for part in get_args(kind) for one in structs_in(part)}


def test_every_class_of_answers_is_one_that_a_call_reads() -> None:
    """The rest is what is read in other ways: a problem, an entry of which little can be read, or none at all."""
    read = set(itertools.chain.from_iterable(within(site) for site, _ in PAIRS))
    classes = {one for one in vars(a).values() if isinstance(one, type) and issubclass(one, a.Answer)}
    assert {one.__name__ for one in classes - read} == {"Answer", "Page", "Unread", "_Bare"}


def within(kind: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    inner = {one for field in msgspec.structs.fields(kind) for one in structs_in(field.type)}
    return {kind}.union(*(within(one) for one in inner))


def test_no_page_has_more_items_than_a_site_takes() -> None:
    kind = next(field.type for field in msgspec.structs.fields(PageQuery) if field.name == "limit")
    assert next(meta.le for meta in kind.__metadata__) <= a.MAX_ITEMS
