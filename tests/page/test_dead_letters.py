"""What people do with dead letters at the page becomes the commands that the doer carries out."""

from __future__ import annotations

from pathlib import Path

import pytest

from domain.commands import SettleDeadLetters
from tests.page.callers import Browser, signed_in
from tests.page.filling import letters_of
from tests.page.scenes import Scene, opened

HREF = "/page/dead-letters"


def settled(scene: Scene) -> list[SettleDeadLetters]:
    return [one.command for one in scene.net.publisher.done if isinstance(one.command, SettleDeadLetters)]


def test_one_is_tried_again_and_that_is_on_record(scene: Scene, browser_caller: Browser) -> None:
    first = letters_of(scene.clock.now(), str)[1]
    browser_caller.get(HREF)
    answered = browser_caller.post(f"{HREF}/replay", {"letter_ids": first.id}, follow=True)
    assert answered.status_code == 200
    assert "Done: replay dead letters." in browser_caller.shown
    assert settled(scene) == [SettleDeadLetters(letter_ids=[first.id])]
    with scene.net.database.connection():
        told = scene.net.database.all("SELECT stream_id, facts_json FROM events WHERE kind = 'dead_letters_replayed'")
    assert told == [(scene.names["organisation_operators"], f'{{"letter_ids":["{first.id}"]}}')]


def test_all_of_a_list_are_one_command_and_what_is_unreadable_is_left(scene: Scene, browser_caller: Browser) -> None:
    shown = browser_caller.get(HREF).get_data(as_text=True)
    ids = [one.id for one in letters_of(scene.clock.now(), str) if one.kind != "unreadable"]
    assert "Try all 2 again" in shown
    browser_caller.post(f"{HREF}/replay", {"letter_ids": ids})
    assert settled(scene) == [SettleDeadLetters(letter_ids=ids)]


def test_one_is_thrown_away(scene: Scene, browser_caller: Browser) -> None:
    ident = letters_of(scene.clock.now(), str)[2].id
    browser_caller.get(HREF)
    assert browser_caller.post(f"{HREF}/purge", {"letter_ids": ident}).status_code == 303
    assert settled(scene) == [SettleDeadLetters(letter_ids=[ident], purge=True)]


def test_an_auditor_looks_and_does_nothing(scene: Scene) -> None:
    auditor = signed_in(scene.net.app, scene.tokens["auditor"])
    assert "Try again" not in auditor.get(HREF).get_data(as_text=True)
    assert auditor.post(f"{HREF}/replay", {"letter_ids": "x"}).status_code == 403
    assert settled(scene) == []


def test_a_member_sees_none_also_where_its_form_is_refused(scene: Scene) -> None:
    member = signed_in(scene.net.app, scene.tokens["member"])
    member.get("/page/now")
    letters = letters_of(scene.clock.now(), str)
    forms = (member.post(f"{HREF}/{wish}", {"letter_ids": letters[1].id}) for wish in ("replay", "purge"))
    for answer in (member.get(HREF), *forms):
        assert answer.status_code == 403
        assert not any(one.digest in (text := answer.get_data(as_text=True)) or one.reason in text for one in letters)
    assert settled(scene) == []


def test_nothing_is_chosen(scene: Scene, browser_caller: Browser) -> None:
    browser_caller.get(HREF)
    assert browser_caller.post(f"{HREF}/replay", {"letter_ids": []}).status_code in (400, 422)
    assert letters_of(scene.clock.now(), str)[1].reason in browser_caller.shown  # the list again
    assert settled(scene) == []


@pytest.mark.parametrize("kind", ["hostile"])
def test_why_one_died_is_text(kind: str, tmp_path: Path) -> None:
    with opened(kind, tmp_path) as scene:
        browser = signed_in(scene.net.app, scene.tokens["admin"])
        assert "<img" not in browser.get(HREF).get_data(as_text=True).partition("<main")[2]
