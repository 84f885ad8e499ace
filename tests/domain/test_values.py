"""Plain values, as tables of examples: ids, links of chains, chunks, names in the ledger. What sites and other versions
rely on is written out: a change of it is a change of the format."""

from __future__ import annotations

import pytest

from domain import codec
from domain import commands as c
from domain import records as r
from domain.chain import hash_of, mark_of
from domain.ids import HUB, derive, is_id, sha256_hex
from domain.ledger import Named, name_of_enrolment, name_of_key, name_of_token, names_of_secret, read_name
from domain.needs import Needs, those
from fedyard.wire.chunks import (
    Chunk,
    belong_together,
    chunk_of,
    chunks_of,
    count_of,
    found_digests,
    size_of,
    tree_digest,
)

ID = "00000000-0000-4000-8000-0000000000c0"


# ids


@pytest.mark.parametrize(
    ("cause", "names", "expected"),
    [
        ("5f1d6a52-0c0e-5e0f-9c54-f3d7a6d7a4b1", ("run",), "fc501c4d-d3a1-5651-bc64-313f7f111dd3"),
        ("a", ("b", 1), "182b9b64-7e49-522f-8cc7-34542de2874b"),
        ("a", ("b", "1"), "182b9b64-7e49-522f-8cc7-34542de2874b"),
        ("a", ("b1",), "80ca9395-f66f-5568-842e-03d9d9025567"),
    ],
)
def test_derive(cause: str, names: tuple[str | int, ...], expected: str) -> None:
    assert derive(cause, *names) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HUB, True),
        ("00000000-0000-0000-0000-000000000000", True),
        (ID, True),
        (ID.upper(), False),
        (ID.replace("-", ""), False),
        (f"{{{ID}}}", False),
        (f"urn:uuid:{ID}", False),
        (f"{ID}\n", False),
        (ID[:-1], False),
        ("", False),
        ("no id", False),
    ],
)
def test_is_id(text: str, *, expected: bool) -> None:
    assert is_id(text) is expected


def test_sha256_hex() -> None:
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# chains


def test_the_mark_of_an_entry_is_over_all_before_it() -> None:
    assert mark_of("", 1, ID, "message") == "5c6de07c0c1ed23be211caa178aa0485"
    assert mark_of("5c6de07c0c1ed23be211caa178aa0485", 2, ID, "moved") == "32eb1ebeb16b4a64b05557e6db55b549"


def test_the_hash_of_an_event_is_over_each_of_its_fields_and_all_before_it() -> None:
    event = r.Event("s", 3, "run_created", 5, "c", "site", "me", None, "x", '{"a":1}', "whatever")
    assert hash_of(event, "before") == "ed6f9c080b2daffefee388b7b4dd9bdb23feaf31d4c53c50d308da94d17aed0a"


# chunks: 4 MiB each, but for the last one


@pytest.mark.parametrize(
    ("size", "sizes"),
    [
        (0, []),
        (1, [1]),
        (4_194_303, [4_194_303]),
        (4_194_304, [4_194_304]),
        (4_194_305, [4_194_304, 1]),
        (8_388_608, [4_194_304, 4_194_304]),
        (8_388_610, [4_194_304, 4_194_304, 2]),
    ],
)
def test_chunks(size: int, sizes: list[int]) -> None:
    digests = b"".join(bytes([n]) * 32 for n in range(len(sizes)))
    assert count_of(size) == len(sizes)
    assert [size_of(number, size) for number in range(len(sizes))] == sizes
    assert chunks_of(size, digests) == [Chunk(n, f"{n:02x}" * 32, one) for n, one in enumerate(sizes)]
    assert [chunk_of(number, size, digests) for number in range(len(sizes))] == chunks_of(size, digests)
    assert [n for n in range(5) if belong_together(size, bytes(32 * n))] == [len(sizes)]
    assert not belong_together(size, digests + b"\0")


def test_the_digest_of_an_artifact_is_that_over_the_digests_of_its_chunks() -> None:
    assert tree_digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert tree_digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("count", "found", "expected"),
    [
        (0, {}, b""),
        (2, {}, bytes(64)),
        (2, {0: "aa" * 32, 1: "bb" * 32}, b"\xaa" * 32 + b"\xbb" * 32),
        (3, {1: "bb" * 32}, bytes(32) + b"\xbb" * 32 + bytes(32)),
        (1, {0: "aa" * 32, 1: "bb" * 32}, b"\xaa" * 32),
    ],
)
def test_found_digests(count: int, found: dict[int, str], expected: bytes) -> None:
    assert found_digests(count, found) == expected


# the ledger

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"token-{HASH}", Named("token", HASH)),
        (f"enrolment-{HASH}", Named("enrolment", HASH)),
        (f"key-{ID}-12-{HASH}", Named("key", ID, 12, HASH)),
        (f"key-{ID}-999999999-{HASH}", Named("key", ID, 999_999_999, HASH)),
        (f"site-{ID}", Named("site", ID)),
        (f"account-{ID}", Named("account", ID)),
        # none of ours
        ("", None),
        (f"token-{HASH[:-1]}", None),
        (f"token-{HASH}0", None),
        (f"token-{HASH}\n", None),
        (f"token-{HASH.upper()}", None),
        (f"token-{ID}", None),
        (f"site-{HASH}", None),
        (f"site-{ID}-1", None),
        (f"project-{ID}", None),
        (f"key-{ID}-{HASH}", None),
        (f"key-{ID}--{HASH}", None),
        (f"key-{ID}-1000000000-{HASH}", None),
        (f"x-token-{HASH}", None),
    ],
)
def test_read_name(name: str, expected: Named | None) -> None:
    assert read_name(name) == expected


def test_names_are_written_as_they_are_read() -> None:
    assert (name_of_token("a"), name_of_enrolment("a")) == ("token-a", "enrolment-a")
    assert names_of_secret("a") == {"token-a", "enrolment-a"}
    assert name_of_key(ID, 12, HASH) == f"key-{ID}-12-{HASH}"


# commands on their way


def test_the_digest_of_a_command_is_that_of_its_wire_form() -> None:
    command = c.StopRun(run_id=ID, reason="why")
    wire = '{"kind":"stop_run","run_id":"00000000-0000-4000-8000-0000000000c0","reason":"why"}'
    assert codec.digest_of(command) == sha256_hex(wire.encode())


def test_needs_are_added_up() -> None:
    needs = Needs(runs={"a"}, keys={("s", 1)})
    needs.add(Needs(runs={"b"}, keys={("s", 2)}, history={"history"}))
    assert needs == Needs(runs={"a", "b"}, keys={("s", 1), ("s", 2)}, history={"history"})
    assert (those(None), those("a")) == (set(), {"a"})


@pytest.mark.parametrize("kind", r.RECORDS)
def test_the_key_of_a_record(kind: type[r.Record]) -> None:
    """In the order of KEY, and a tuple also where it is one field."""
    record = kind(**{name: name for name in kind.__struct_fields__})
    assert r.key_of(record) == kind.KEY
