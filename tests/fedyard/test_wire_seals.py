"""Seals are read strictly, trimmed to one reader, and what is none is refused without being quoted."""

from __future__ import annotations

import hashlib
import json
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from domain.ids import derive
from fedyard.wire import seals as s
from fedyard.wire.chunks import CHUNK_BYTES, digests_of, tree_digest
from tests.seals import assembled, ciphertext, header_of, sealed, wrap

SENDER, PROJECT, RUN = derive("sender"), derive("project"), derive("run")
READERS = sorted(derive("reader", number) for number in range(4))
SEALED = sealed(b"top-secret", sender=SENDER, recipients=READERS, project=PROJECT, run=RUN, task=1, round=2)

ids = st.uuids().map(str)
plains = st.binary(max_size=300)
readers = st.dictionaries(ids, st.integers(1, 4_294_967_295), min_size=1, max_size=9)


def header(**changes: Any) -> dict[str, Any]:
    return header_of(b"top-secret", sender=SENDER, recipients=READERS, project=PROJECT) | changes


def model(**changes: Any) -> dict[str, Any]:
    """The header of a model; its digests are the last three fields."""
    return header_of(b"top-secret", sender=SENDER, recipients=READERS, project=PROJECT, kind="model") | changes


def without(whole: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in whole.items() if name not in names}


DIGESTS = ("task_digest", "model_digest", "receipts")


@given(plain=plains, recipients=readers, detached=st.booleans())
def test_every_part_is_found(plain: bytes, recipients: dict[str, int], detached: bool) -> None:
    blob = sealed(plain, sender=SENDER, recipients=recipients, project=PROJECT, detached=detached)
    seal = s.read_seal(blob)
    assert {one.site: one.epoch for one in seal.header.recipients} == recipients
    assert seal.wraps == tuple(range(len(recipients)))
    assert (seal.detached, seal.size_bytes) == (detached, len(blob))
    assert blob[seal.body_at :] == (b"" if detached else ciphertext(plain))
    assert blob[seal.wraps_at : seal.body_at] == b"".join(map(wrap, seal.wraps))
    assert seal.header.body_digest == tree_digest(digests_of(ciphertext(plain)))


@pytest.mark.parametrize(
    "whole",
    [
        model(),
        model(receipts=[]),
        model(kind="update", receipts=None, model_digest="a" * 64),
        without(model(), *DIGESTS),
    ],
)
def test_what_it_was_made_of_is_said_whole_or_not_at_all(whole: dict[str, Any]) -> None:
    """Of an older sender it is not."""
    found = s.read_seal(assembled(whole)).header
    assert [getattr(found, name) for name in DIGESTS] == [whole.get(name, UNSET) for name in DIGESTS]


def test_two_thousand_recipients_and_as_many_receipts_fit_a_header() -> None:
    sites = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(2000)]
    whole = model(
        recipients=[{"site": site, "epoch": 4_294_967_295} for site in sites],
        receipts=[f"{n:032x}" for n in range(2000)],
    )
    blob = assembled(whole, wraps=[])
    assert len(json.dumps(whole, separators=(",", ":"))) <= s.MAX_HEADER_BYTES
    assert len(s.read_seal(blob).header.receipts or ()) == 2000


@given(plain=plains, recipients=readers, data=st.data())
def test_a_reader_gets_its_own_wrap_and_nothing_else_differs(
    plain: bytes, recipients: dict[str, int], data: st.DataObject
) -> None:
    blob = sealed(plain, sender=SENDER, recipients=recipients, project=PROJECT)
    place = data.draw(st.integers(0, len(recipients) - 1))
    seal = s.read_seal(blob)
    mine = s.trimmed(blob, seal.header.recipients[place].site)
    own = s.read_seal(mine)
    assert (own.header, own.wraps) == (seal.header, (place,))
    assert mine[own.wraps_at : own.body_at] == wrap(place)
    assert mine[: own.wraps_at - 2] == blob[: seal.wraps_at - 2]
    assert mine[own.body_at :] == blob[seal.body_at :]
    assert s.trimmed(mine, seal.header.recipients[place].site) == mine


@pytest.mark.parametrize(
    ("blob", "carried"),
    [
        (SEALED, len(ciphertext(b"top-secret"))),
        (s.trimmed(SEALED, None), len(ciphertext(b"top-secret"))),
        (SEALED[: s.read_seal(SEALED).body_at], 0),
        (b"", 0),
        (b"plain", 5),
        (b"FYS1 but no more", 16),
        (SEALED[:500], 500),
    ],
)
def test_what_is_there_for_the_recipients_sake_does_not_count(blob: bytes, carried: int) -> None:
    assert s.carried_bytes(blob) == carried


@pytest.mark.parametrize("site", [None, SENDER])
def test_who_is_no_recipient_gets_no_wrap(site: str | None) -> None:
    seal = s.read_seal(s.trimmed(SEALED, site))
    assert seal.wraps == ()
    assert seal.header == s.read_seal(SEALED).header


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 9])
def test_the_tree_digest_is_over_the_digests_of_the_chunks(size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    chunks = [content[at : at + 4 * 1024 * 1024] for at in range(0, size, 4 * 1024 * 1024)]
    expected = hashlib.sha256(b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)).hexdigest()
    assert tree_digest(digests_of(content)) == expected


@pytest.mark.parametrize(
    ("plain", "body"), [(0, 16), (1, 17), (1_048_560, 1_048_576), (1_048_561, 1_048_593), (2_097_120, 2_097_152)]
)
def test_the_body_of_so_many_bytes_is_so_large(plain: int, body: int) -> None:
    assert s.ciphertext_bytes(plain) == body


MALFORMED = {
    "nothing": b"",
    "another magic": assembled(header(), magic=b"FYS2"),
    "cut in its fixed bytes": SEALED[:9],
    "cut in its header": SEALED[:50],
    "cut in its signature": assembled(header(), wraps=[])[:-4],
    "cut in its wraps": assembled(header())[:-1],
    "a header of its whole length": s.MAGIC + struct.pack(">BBI", 1, 1, 0xFFFFFFFF) + SEALED[10:],
    "no JSON": assembled(b"top-secret", wraps=[]),
    "no object": assembled(b"[]", wraps=[]),
    "no UTF-8": assembled(b'{"id":"\xff"}', wraps=[]),
    "nested": assembled(b'{"id":' * 30_000, wraps=[]),
    "a field too many": assembled(header(colour="top-secret")),
    "a field twice": assembled(json.dumps(header()).replace('"kind"', '"kind":"x","kind"').encode(), wraps=[]),
    "a field twice, escaped": assembled(
        json.dumps(header()).replace('"kind"', '"\\u006bind":"x","kind"').encode(), wraps=[]
    ),
    "fields in another order": assembled(dict(reversed(header().items()))),
    "white space": assembled(json.dumps(header()).encode(), wraps=[]),
    "a field with its default": assembled(header(task_digest=None), wraps=[]),
    "a body that no numbers of segments reach": assembled(
        header(plain_bytes=2**52 - 2**36 + 1, body_bytes=2**52 + 17), wraps=[]
    ),
    "wraps out of order": assembled(header(), wraps=[1, 0]),
    "a wrap twice": assembled(header(), wraps=[0, 0]),
    "a wrap for nobody": assembled(header(), wraps=[4]),
    "recipients out of order": assembled(header(recipients=header()["recipients"][::-1])),
    "a recipient twice": assembled(header(recipients=header()["recipients"][:1] * 2)),
    "no recipients": assembled(header(recipients=[])),
    "too many recipients": assembled(
        header(recipients=[{"site": f"{n:08x}-0000-4000-8000-000000000000", "epoch": 1} for n in range(2001)]), wraps=[]
    ),
    "an epoch of zero": assembled(header(recipients=[{"site": SENDER, "epoch": 0}])),
    "a recipient with more": assembled(header(recipients=[{"site": SENDER, "epoch": 1, "x": 1}])),
    "an id in capitals": assembled(header(id=SENDER.upper())),
    "an id with a line's end": assembled(header(id=SENDER + "\n")),
    "a kind that is no slug": assembled(header(kind="Top Secret")),
    "a round below zero": assembled(header(round=-1)),
    "a text for a number": assembled(header(created="1")),
    "a yes for a number": assembled(header(task=True)),
    "a short digest": assembled(header(body_digest="0" * 63)),
    "it expires before it is made": assembled(header(expires=1)),
    "sizes that do not fit": assembled(header(plain_bytes=11)),
    **{f"without {name}": assembled(without(model(), name), wraps=[]) for name in s.Header.__struct_fields__},
    "a model without receipts": assembled(model(receipts=None)),
    "an update with receipts": assembled(model(kind="update")),
    "a message with digests": assembled(model(kind="message")),
    "receipts out of order": assembled(model(receipts=model()["receipts"][::-1])),
    "a receipt twice": assembled(model(receipts=model()["receipts"][:1] * 2)),
    "a receipt too long": assembled(model(receipts=["0" * 33])),
    "too many receipts": assembled(model(receipts=[f"{n:032x}" for n in range(2001)])),
    "a digest twice": assembled(
        json.dumps(model()).replace('"receipts"', '"model_digest":null,"receipts"').encode(), wraps=[]
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_malformed_is_refused_and_not_quoted(case: str) -> None:
    with pytest.raises(s.SealMalformed) as caught:
        s.read_seal(MALFORMED[case])
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("length", [4, 9, 50, s.read_seal(SEALED).signed_bytes, s.read_seal(SEALED).body_at - 1])
def test_what_is_cut_off_says_so(length: int) -> None:
    with pytest.raises(s.SealTruncated):
        s.read_seal(SEALED[:length])


def test_what_is_something_else_says_so() -> None:
    with pytest.raises(s.NotSealed):
        s.read_seal(b"top-secret")


def test_its_readers_are_named_without_a_look_at_the_rest() -> None:
    assert s.readers_of(SEALED[: s.read_seal(SEALED).signed_bytes]) == READERS
    for broken in (b"plain", SEALED[:50], assembled(b"[]", wraps=[])):
        with pytest.raises(s.SealMalformed):
            s.readers_of(broken)


def test_what_is_signed_is_the_header_in_its_one_form() -> None:
    seal = s.read_seal(SEALED)
    assert s.signed_part(seal.header) == SEALED[: seal.signed_bytes]


@pytest.mark.parametrize("change", [{"version": 0}, {"version": 2}, {"suite": 0}, {"suite": 2}])
def test_another_version_or_suite_is_not_supported(change: dict[str, int]) -> None:
    for read in (s.read_seal, lambda blob: s.trimmed(blob, SENDER)):
        with pytest.raises(s.SealUnsupported):
            read(assembled(header(), **change))


def test_a_seal_does_not_show_itself() -> None:
    assert "secret" not in repr(s.read_seal(SEALED))
    assert len(repr(s.read_seal(SEALED))) < 100


def _read_or_refused(blob: bytes) -> None:
    for read in (s.read_seal, lambda blob: s.trimmed(blob, READERS[0]), lambda blob: s.trimmed(blob, None)):
        with suppress(s.SealMalformed, s.SealUnsupported):
            read(blob)


@given(st.binary(max_size=200), st.sampled_from([b"", s.MAGIC, s.MAGIC + b"\1\1", SEALED[:200], SEALED[:800]]))
def test_any_bytes_are_read_or_refused(rest: bytes, start: bytes) -> None:
    _read_or_refused(start + rest)


@given(
    st.lists(
        st.tuples(st.sampled_from(["flip", "cut", "insert"]), st.integers(0, 900), st.binary(min_size=1, max_size=5)),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=400)
def test_a_broken_seal_is_read_or_refused(breaks: list[tuple[str, int, bytes]]) -> None:
    blob = SEALED
    for kind, at, content in breaks:
        match kind:
            case "flip":
                blob = blob[:at] + content + blob[at + len(content) :]
            case "cut":
                blob = blob[:at] + blob[at + len(content) :]
            case _:
                blob = blob[:at] + content + blob[at:]
    _read_or_refused(blob)
    _read_or_refused(SEALED[: breaks[0][1]])
