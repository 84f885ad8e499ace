"""Sixteen bytes as twelve English words that people can read to each other, as BIP-39 puts it.

The words are the published English list of BIP-39 (bip39_english.txt, byte for byte), in its order. 128 bits and the
first four of their SHA-256 make twelve numbers of eleven bits: so one wrong word, or two that are swapped, shows in
fifteen cases of sixteen. https://github.com/bitcoin/bips/blob/master/bip-0039.mediawiki
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from fedyard.wire.plurals import counted

ENTROPY_BYTES = 16
WORDS = 12
_BITS = 11
_CHECK_BITS = ENTROPY_BYTES * 8 // 32


@cache
def word_list() -> list[str]:
    """All 2048 of them; the number of a word is its place."""
    return Path(__file__).with_name("bip39_english.txt").read_text("ascii").split()


def to_words(entropy: bytes) -> str:
    """Twelve words for 16 bytes."""
    assert len(entropy) == ENTROPY_BYTES
    number = int.from_bytes(entropy) << _CHECK_BITS | _check(entropy)
    places = (number >> _BITS * place & (1 << _BITS) - 1 for place in reversed(range(WORDS)))
    return " ".join(word_list()[place] for place in places)


def from_words(said: Sequence[str]) -> bytes:
    """The 16 bytes back. Raises `ValueError` with what is wrong."""
    if len(said) != WORDS:
        raise ValueError(f"a fingerprint is {WORDS} words or 32 hex digits, not {counted(len(said), 'word')}")
    place_of = {word: place for place, word in enumerate(word_list())}
    number = 0
    for word in said:
        if word not in place_of:
            raise ValueError(f"{word!r} is no word of a fingerprint")
        number = number << _BITS | place_of[word]
    entropy = (number >> _CHECK_BITS).to_bytes(ENTROPY_BYTES)
    if number & (1 << _CHECK_BITS) - 1 != _check(entropy):
        raise ValueError("these words belong together in another way: one is wrong, or two are swapped")
    return entropy


def _check(entropy: bytes) -> int:
    return hashlib.sha256(entropy).digest()[0] >> 8 - _CHECK_BITS
