"""Twelve words for sixteen bytes: the published list, and what the reference implementation makes of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mnemonic import Mnemonic

from fedyard.wire import words
from fedyard.wire.words import from_words, to_words, word_list

PUBLISHED = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
"""SHA-256 of bip-0039/english.txt."""
VECTORS = {
    "00" * 16: "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
    "7f" * 16: "legal winner thank year wave sausage worth useful legal winner thank yellow",
    "80" * 16: "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
    "ff" * 16: "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
}
"""Those of BIP-39 for 128 bits."""


def test_the_list_is_the_published_one() -> None:
    file = Path(words.__file__).with_name("bip39_english.txt")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == PUBLISHED
    assert word_list() == Mnemonic("english").wordlist


@pytest.mark.parametrize("digits", VECTORS)
def test_the_published_vectors(digits: str) -> None:
    assert to_words(bytes.fromhex(digits)) == VECTORS[digits]
    assert from_words(VECTORS[digits].split()) == bytes.fromhex(digits)


@given(st.binary(min_size=16, max_size=16))
def test_the_reference_implementation_makes_the_same(entropy: bytes) -> None:
    assert to_words(entropy) == Mnemonic("english").to_mnemonic(entropy)
    assert from_words(to_words(entropy).split()) == entropy


@given(st.lists(st.sampled_from(word_list()), min_size=12, max_size=12))
def test_the_reference_implementation_refuses_the_same(said: list[str]) -> None:
    reference = Mnemonic("english")
    if reference.check(" ".join(said)):
        assert from_words(said) == bytes(reference.to_entropy(said))
        return
    with pytest.raises(ValueError, match="one is wrong, or two are swapped"):
        from_words(said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("zoo " * 11, "not 11 words"),
        ("", "not 0 words"),
        ("zoo " * 11 + "fedyard", "'fedyard' is no word of a fingerprint"),
    ],
)
def test_what_is_no_fingerprint_says_why(said: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        from_words(said.split())
