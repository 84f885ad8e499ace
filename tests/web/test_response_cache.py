"""Answers kept by version: never an old one, never too many."""

from __future__ import annotations

from web.live.response_cache import ResponseCache


def test_an_answer_holds_for_its_version_and_viewer_only() -> None:
    cache = ResponseCache()
    cache.put(("run", "site"), 3, b"three")
    assert cache.get(("run", "site"), 3) == b"three"
    assert cache.get(("run", "site"), 4) is None
    assert cache.get(("run", "other"), 3) is None
    assert cache.get(("run", None), 3) is None


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    cache = ResponseCache()
    cache.put(("run", None), 3, b"three")
    cache.put(("run", None), 4, b"four")
    assert cache.get(("run", None), 3) is None
    assert cache.get(("run", None), 4) == b"four"


def test_what_was_not_asked_for_goes_first() -> None:
    cache = ResponseCache(most_bytes=10)
    cache.put(("a", None), 1, b"12345")
    cache.put(("b", None), 1, b"12345")
    assert cache.get(("a", None), 1) is not None
    cache.put(("c", None), 1, b"12345")
    assert cache.get(("b", None), 1) is None
    assert cache.get(("a", None), 1) is not None
    assert cache.get(("c", None), 1) is not None


def test_an_answer_larger_than_all_room_is_not_kept() -> None:
    cache = ResponseCache(most_bytes=10)
    cache.put(("a", None), 1, b"x" * 11)
    assert cache.get(("a", None), 1) is None
