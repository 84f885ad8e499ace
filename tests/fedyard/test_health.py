"""What an agent says of itself, and how old that may be."""

from __future__ import annotations

import stat
from pathlib import Path

from fedyard.agent.health import EVERY_S, KEEP_LINES, NAME, HealthFile, Line, read
from fedyard.wire.times import SECOND


class Now:
    def __init__(self) -> None:
        self.at = 1_000_000 * SECOND

    def __call__(self) -> int:
        return self.at

    def go_on(self, seconds: float) -> None:
        self.at += int(seconds * SECOND)


def test_it_is_written_every_few_seconds_and_says_what_was_logged(tmp_path: Path) -> None:
    now = Now()
    file = HealthFile(tmp_path, now)
    file.said("started", {"hub": "http://hub", "nothing": None})
    file.write()
    file.missed("no route")
    file.write()
    first = read(tmp_path)
    assert first is not None
    assert (first.trouble, first.beat_at) == ("", 0)
    assert first.lines == [Line(now.at, "started", {"hub": "http://hub"})]
    assert stat.S_IMODE((tmp_path / NAME).stat().st_mode) == 0o600
    now.go_on(EVERY_S)
    file.write()
    later = read(tmp_path)
    assert later is not None
    assert (later.trouble, later.at) == ("no route", now.at)


def test_who_was_killed_does_not_live_and_who_ended_says_so(tmp_path: Path) -> None:
    now = Now()
    file = HealthFile(tmp_path, now)
    file.beaten("")
    file.write()
    health = read(tmp_path)
    assert health is not None
    assert health.lives(now())
    now.go_on(3 * EVERY_S)
    assert not health.lives(now())
    file.write(ended=True)
    ended = read(tmp_path)
    assert ended is not None
    assert (ended.lives(now()), ended.ended_at) == (False, now())


def test_a_full_disk_and_a_damaged_file_cost_nothing(tmp_path: Path) -> None:
    file = HealthFile(tmp_path / "not there", Now())
    file.write()
    assert read(tmp_path / "not there") is None
    (tmp_path / NAME).write_text("{")
    assert read(tmp_path) is None


def test_it_keeps_the_last_lines_alone(tmp_path: Path) -> None:
    file = HealthFile(tmp_path, Now())
    for number in range(KEEP_LINES + 5):
        file.said(f"line {number}", {})
    file.write()
    health = read(tmp_path)
    assert health is not None
    assert [health.lines[0].what, len(health.lines)] == ["line 5", KEEP_LINES]
