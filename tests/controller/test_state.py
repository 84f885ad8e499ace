from __future__ import annotations

import stat
from datetime import UTC, datetime

import msgspec
import pytest

from controller.answers import Entry, Message
from controller.state import Report, Seat, State

AT = datetime(2026, 11, 22, tzinfo=UTC)


def entry(seq: int, kind: str, *, run: str | None = "r", task: int | None = 1, number: int | None = 1, **more) -> Entry:
    return Entry(seq=seq, kind=kind, created_at=AT, run_id=run, task_seq=task, round=number, **more)


def message(name: str, kind: str = "update") -> Message:
    return Message(id=name, kind=kind, body=name.encode(), size_bytes=len(name))


def report(event: str, seq: int, at: int = 1) -> Report:
    return Report(at, event, "r", 1, 1, seq, f"key-{at}-{event}", b"{}")


@pytest.fixture
def state(tmp_path) -> State:
    return State(tmp_path / "state.sqlite")


def test_is_private(tmp_path, state) -> None:
    state.take([entry(1, "invited")])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_entries_survive_and_come_oldest_first(tmp_path, state) -> None:
    state.take([entry(1, "invited"), entry(2, "member_admitted", run=None, task=None, number=None)])
    state.take([entry(2, "again"), entry(3, "round_started", facts=msgspec.Raw(b'{"seats": 3}'))])
    again = State(tmp_path / "state.sqlite")
    assert again.taken() == 3
    assert again.waiting("r") == entry(1, "invited", facts=msgspec.Raw(b"{}"))
    again.done(1)
    found = again.waiting("r")
    assert found is not None
    assert (found.seq, bytes(found.facts)) == (3, b'{"seats": 3}')
    assert again.waiting_runs() == ["r"]
    without_run = again.waiting(None)
    assert without_run is not None
    assert without_run.kind == "member_admitted"


def test_bodies_lie_apart_and_go_with_their_round(state) -> None:
    state.take([entry(1, "message", message=message("u1")), entry(2, "message", message=message("u2"))])
    kept = state.waiting("r")
    assert kept is not None
    assert kept.message is not None
    assert kept.message.body is None
    assert state.body("u1") == b"u1"
    completed = entry(3, "round_completed", message=message("m1", "model"))
    state.take([completed, entry(4, "message", number=2, message=message("u3"))])
    state.forget_round(completed)
    assert [state.body(name) for name in ("u1", "u2", "m1", "u3")] == [None, None, b"m1", b"u3"]


def test_a_plain_message_outlives_its_run(state) -> None:
    state.take([entry(1, "message", message=message("hello", "message"))])
    state.forget_run("r")
    assert state.body("hello") == b"hello"
    assert state.waiting("r") is None


@pytest.mark.parametrize(
    ("later", "overtaken"),
    [
        (entry(6, "run_ended", task=None, number=None), True),
        (entry(6, "task_ended", number=None), True),
        (entry(6, "seat_dropped", number=2), True),
        (entry(6, "seat_dropped", number=3), True),
        (entry(6, "seat_dropped", number=1), False),
        (entry(6, "seat_dropped", task=2), False),
        (entry(6, "seat_dropped", run="other"), False),
        (entry(6, "message"), False),
        (entry(4, "seat_dropped", number=2), False),
    ],
)
def test_what_overtakes_an_entry(state, later: Entry, overtaken: bool) -> None:
    here = entry(5, "round_started", number=2)
    state.take([here, later])
    assert state.overtaken(here, ("run_ended", "task_ended", "seat_dropped")) is overtaken


def test_a_report_counts_once_and_a_refused_one_does_not(tmp_path, state) -> None:
    def counted() -> int:
        seat = State(tmp_path / "state.sqlite").seat("r", 1)
        assert seat is not None
        return seat.report_seq

    state.keep_seat(Seat("r", 1, 0, b"{}", 1, 1))
    state.keep_report(report("accept", 1))
    state.answered(report("accept", 1), "ok")
    state.keep_report(report("ready", 2))
    assert counted() == 2
    state.answered(report("ready", 2), "refused")
    assert counted() == 1
    assert [(r.event, r.outcome) for r in state.reports(1)] == [("accept", "ok"), ("ready", "refused")]


def test_a_repeat_finds_the_report_to_the_byte(tmp_path, state) -> None:
    kept = Report(7, "submit", "r", 1, 1, 3, "key", b'{"update":"AAA="}')
    state.keep_report(kept)
    assert State(tmp_path / "state.sqlite").report(7, "submit") == kept


def test_a_finished_run_leaves_nothing_to_do(state) -> None:
    state.keep_seat(Seat("r", 1, 0, b"{}", 1, 1))
    state.take([entry(1, "invited"), entry(2, "message", message=message("u1")), entry(3, "run_ended")])
    state.keep_report(report("accept", 1))
    state.forget_run("r")
    assert state.waiting_runs() == []
    assert (state.seat("r", 1), state.reports(1), state.body("u1")) == (None, [], None)
    assert state.taken() == 3


def test_reprs_show_no_payload(state) -> None:
    shown = repr([entry(1, "message", message=message("the-plaintext")), report("submit", 1)])
    assert "b'the-plaintext'" not in shown
    assert "key-1" not in shown
