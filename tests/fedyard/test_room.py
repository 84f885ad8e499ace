from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedyard.agent.room import Messages, Room
from fedyard.clock import micros_now
from fedyard.sealed.errors import NoRoom
from fedyard.wire.times import DAY_S, SECOND

NORTH, EAST = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"
NOW = micros_now()


def put(room: Room, sender: str, message: str, size: int, now: int = NOW) -> Path:
    with room.place(sender, message, size, now) as path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    return path


def test_a_sender_has_so_much_room_and_all_together(tmp_path) -> None:
    room = Room(tmp_path / "messages", Messages(limit_bytes=150, sender_limit_bytes=100))
    put(room, NORTH, "1", 60)
    with pytest.raises(NoRoom, match="sender_limit_bytes allows, 100"):
        put(room, NORTH, "2", 41)
    put(room, NORTH, "2", 40)
    put(room, NORTH, "2", 40)  # again, after a crash
    with pytest.raises(NoRoom, match=r"messages\.limit_bytes allows, 150"):
        put(room, EAST, "3", 51)
    put(room, EAST, "3", 50)


def test_what_is_on_its_way_counts(tmp_path) -> None:
    room = Room(tmp_path / "messages", Messages(limit_bytes=150, sender_limit_bytes=100))
    with room.place(NORTH, "1", 60, NOW):
        with pytest.raises(NoRoom), room.place(NORTH, "2", 60, NOW):
            pass
        with room.place(EAST, "3", 60, NOW):
            pass
    put(room, NORTH, "2", 60)


def test_old_messages_go_and_make_room(tmp_path) -> None:
    room = Room(tmp_path / "messages", Messages(sender_limit_bytes=100, keep_days=30.0))
    old, young = put(room, NORTH, "1", 60), put(room, NORTH, "2", 30)
    then = NOW / SECOND - 31 * DAY_S
    os.utime(old, (then, then))
    put(room, NORTH, "3", 60)
    assert [old.exists(), young.exists()] == [False, True]
