"""Links that are good once, and sessions that end."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fedyard.portal.door import IDLE_S, LINK_WITHIN_S, MAX_SESSIONS, NAME, SESSION_S, Door, Session, opened, read

NOW_S = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    opened(tmp_path, 8437)
    return tmp_path


def code_of(folder: Path, at: float = NOW_S) -> str:
    known = read(folder)
    assert known is not None
    return known.link(at).partition("?code=")[2]


def door_of(folder: Path) -> Door:
    known = read(folder)
    assert known is not None
    return Door(known.secret)


def entered(door: Door, folder: Path, at: float = NOW_S) -> Session:
    session = door.enter(code_of(folder, at), at)
    assert session is not None
    return session


def test_the_link_names_this_machine_and_its_secret_lies_in_a_private_file(folder: Path) -> None:
    known = read(folder)
    assert known is not None
    assert known.link(NOW_S).startswith("http://127.0.0.1:8437/enter?code=")
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600
    assert known.secret not in repr(known)
    assert known.secret not in known.link(NOW_S)


def test_a_link_is_good_once(folder: Path) -> None:
    door, code = door_of(folder), code_of(folder)
    assert door.enter(code, NOW_S) is not None
    assert door.enter(code, NOW_S + 1) is None
    assert door.enter(code_of(folder), NOW_S + 1) is not None


@pytest.mark.parametrize(("later_s", "good"), [(LINK_WITHIN_S - 2, True), (LINK_WITHIN_S + 1, False), (-5, False)])
def test_a_link_is_good_for_ten_minutes(folder: Path, later_s: float, good: bool) -> None:
    assert (door_of(folder).enter(code_of(folder), NOW_S + later_s) is not None) == good


def test_a_spent_link_stays_spent_for_as_long_as_it_would_be_good(folder: Path) -> None:
    door, code = door_of(folder), code_of(folder)
    assert door.enter(code, NOW_S) is not None
    assert door.enter(code, NOW_S + LINK_WITHIN_S - 1) is None


@pytest.mark.parametrize("how", ["", "x", "nonce", "time", "signature", "another portal"])
def test_a_link_that_was_made_up_or_changed_is_not_good(folder: Path, tmp_path_factory, how: str) -> None:
    nonce, at, signed = code_of(folder).split(".")
    code = {
        "nonce": f"{'0' * 32}.{at}.{signed}",
        "time": f"{nonce}.{int(at) + 1}.{signed}",
        "signature": f"{nonce}.{at}.{'0' * 64}",
    }.get(how, how)
    if how == "another portal":
        other = tmp_path_factory.mktemp("other")
        opened(other, 8437)
        code = code_of(other)
    assert door_of(folder).enter(code, NOW_S) is None


def test_a_session_ends_when_nobody_uses_it_and_after_twelve_hours_in_any_case(folder: Path) -> None:
    door = door_of(folder)
    idle = entered(door, folder)
    assert door.session(idle.secret, NOW_S + IDLE_S) is idle
    assert door.session(idle.secret, NOW_S + 2 * IDLE_S + 1) is None
    busy, at = entered(door, folder), NOW_S
    while at < NOW_S + SESSION_S:
        assert door.session(busy.secret, at) is busy
        at += IDLE_S
    assert door.session(busy.secret, NOW_S + SESSION_S + 1) is None


def test_what_a_page_asks_for_by_itself_keeps_no_session_alive(folder: Path) -> None:
    door = door_of(folder)
    session = entered(door, folder)
    assert door.session(session.secret, NOW_S + IDLE_S, by_itself=True) is session
    assert door.session(session.secret, NOW_S + IDLE_S + 1, by_itself=True) is None


def test_one_leaves_or_everybody_does(folder: Path) -> None:
    door = door_of(folder)
    first, second, third = (entered(door, folder) for _ in range(3))
    door.leave(first)
    assert [door.session(one.secret, NOW_S) for one in (first, second, third)] == [None, second, third]
    door.leave(second, everybody=True)
    assert door.count() == 0


def test_there_is_no_end_of_links_but_of_sessions(folder: Path) -> None:
    door = door_of(folder)
    sessions = [entered(door, folder, NOW_S + number) for number in range(MAX_SESSIONS + 1)]
    assert door.count() == MAX_SESSIONS
    assert door.session(sessions[0].secret, NOW_S + MAX_SESSIONS) is None
    assert door.session(sessions[1].secret, NOW_S + MAX_SESSIONS) is sessions[1]


def test_a_forms_token_is_its_sessions(folder: Path) -> None:
    door = door_of(folder)
    first, second = entered(door, folder), entered(door, folder)
    assert first.sent_by(first.csrf)
    assert not first.sent_by(second.csrf)
    assert not first.sent_by("")
    assert first.secret not in first.csrf
    assert first.secret not in repr(first)


def test_nobody_has_a_session_without_its_secret(folder: Path) -> None:
    assert door_of(folder).session("", NOW_S) is None
