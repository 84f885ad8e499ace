"""Answers kept by version: never an old one, never too many."""

from __future__ import annotations

from web.live.response_cache import Kept


def test_an_answer_holds_for_its_version_and_viewer_only() -> None:
    kept = Kept()
    kept.put(("run", "site"), 3, b"three")
    assert kept.get(("run", "site"), 3) == b"three"
    assert kept.get(("run", "site"), 4) is None
    assert kept.get(("run", "other"), 3) is None
    assert kept.get(("run", None), 3) is None


def test_a_newer_answer_takes_the_place_of_the_older() -> None:
    kept = Kept()
    kept.put(("run", None), 3, b"three")
    kept.put(("run", None), 4, b"four")
    assert kept.get(("run", None), 3) is None
    assert kept.get(("run", None), 4) == b"four"


def test_what_was_not_asked_for_goes_first() -> None:
    kept = Kept(most_bytes=10)
    kept.put(("a", None), 1, b"12345")
    kept.put(("b", None), 1, b"12345")
    assert kept.get(("a", None), 1) is not None
    kept.put(("c", None), 1, b"12345")
    assert kept.get(("b", None), 1) is None
    assert kept.get(("a", None), 1) is not None
    assert kept.get(("c", None), 1) is not None


def test_an_answer_larger_than_all_room_is_not_kept() -> None:
    kept = Kept(most_bytes=10)
    kept.put(("a", None), 1, b"x" * 11)
    assert kept.get(("a", None), 1) is None
