from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from fedyard.agent.contract import Held
from fedyard.agent.state import (
    KEEP_EGRESS,
    KEEP_ENDED_RUNS,
    MAX_HELD,
    Egress,
    LeftOut,
    LogPiece,
    Made,
    Outgoing,
    Receipt,
    Report,
    RunTask,
    Seat,
    State,
    made_of,
)
from fedyard.agent.state.schema import LATER
from fedyard.sealed.sealing import Digests, Origin
from fedyard.wire.answers import Entry, Message

RUN, PROJECT = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000"
AT = datetime(2026, 11, 22, tzinfo=UTC)
DIGESTS = Digests("bb" * 32, "cc" * 32, ["dd" * 16])


def entry(seq: int, kind: str, *, run: str | None = RUN, task: int | None = 1, number: int | None = 1, **more) -> Entry:
    about = {"run_id": run, "task_seq": task, "round": number, "project_id": PROJECT}
    return Entry(seq=seq, kind=kind, created_at=AT, **about, **more)  # type: ignore[arg-type]


def ident(name: str) -> str:
    """The id of a message that a test calls so."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def message(name: str, kind: str = "update") -> Message:
    return Message(id=ident(name), kind=kind, body=name.encode(), size_bytes=len(name))


def report(event: str, seq: int, at: int = 1) -> Report:
    return Report(at, event, RUN, 1, 1, seq, f"key-{at}-{event}", b"{}")


def body(state: State, name: str) -> bytes | None:
    found = state.bodies.get(ident(name))
    return None if found is None else found.body


@pytest.fixture
def state(tmp_path) -> State:
    return State(tmp_path / "state.sqlite")


def test_what_is_settled_is_whole_in_the_file_alone(tmp_path) -> None:
    state = State(tmp_path / "state.sqlite")
    state.approvals.begin("p", "r", 1, None)
    state.settle()
    shutil.copy(tmp_path / "state.sqlite", tmp_path / "copy.sqlite")
    copy = State(tmp_path / "copy.sqlite")
    assert copy.approvals.began("p", 2) == 1
    copy.close()
    state.close()


def test_is_private(tmp_path, state) -> None:
    state.inbox.take([entry(1, "invited")])
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_messages_do_not_stand_before_a_runs_steps(state) -> None:
    first, second, third = (message(name, "note") for name in "abc")
    of_run = {"task": None, "number": None}
    state.inbox.take(
        [entry(1, "message", **of_run, message=first), entry(2, "message", run=None, **of_run, message=second)]
    )
    state.inbox.take([entry(3, "message", **of_run, message=third), entry(4, "invited")])
    assert state.inbox.waiting_runs() == [RUN]
    step = state.inbox.waiting(RUN)
    assert step is not None
    assert step.kind == "invited"
    assert state.inbox.waiting(None) is None
    state.inbox.done(step.seq)
    assert state.inbox.waiting_runs() == []
    came = []
    while (one := state.inbox.waiting_message()) is not None:
        came.append(one.seq)
        state.inbox.done(one.seq)
    assert came == [1, 2, 3]


def test_the_updates_of_a_round_come_before_the_call_to_aggregate_them(state) -> None:
    """Else a list that leaves one out would be believed while that one is not opened yet."""
    state.inbox.take([entry(1, "message", message=message("u1")), entry(2, "message", message=message("u2"))])
    state.inbox.take([entry(3, "aggregate")])
    assert state.inbox.waiting_message() is None
    came = []
    while (one := state.inbox.waiting(RUN)) is not None:
        came.append(one.kind)
        state.inbox.done(one.seq)
    assert came == ["message", "message", "aggregate"]


def test_entries_survive_and_come_oldest_first(tmp_path, state) -> None:
    state.inbox.take([entry(1, "invited"), entry(2, "member_admitted", run=None, task=None, number=None)])
    state.inbox.take([entry(2, "again"), entry(3, "round_started", facts=msgspec.Raw(b'{"seats": 3}'))])
    again = State(tmp_path / "state.sqlite")
    assert again.inbox.taken() == 3
    assert again.inbox.waiting(RUN) == entry(1, "invited", facts=msgspec.Raw(b"{}"))
    again.inbox.done(1)
    found = again.inbox.waiting(RUN)
    assert found is not None
    assert (found.seq, bytes(found.facts)) == (3, b'{"seats": 3}')
    assert again.inbox.waiting_runs() == [RUN]
    without_run = again.inbox.waiting(None)
    assert without_run is not None
    assert without_run.kind == "member_admitted"


def test_bodies_lie_apart_and_go_with_their_round(state) -> None:
    state.inbox.take([entry(1, "message", message=message("u1")), entry(2, "message", message=message("u2"))])
    kept = state.inbox.waiting(RUN)
    assert kept is not None
    assert kept.message is not None
    assert kept.message.body is None
    assert body(state, "u1") == b"u1"
    completed = entry(3, "round_completed", message=message("m1", "model"))
    state.inbox.take([completed, entry(4, "message", number=2, message=message("u3"))])
    state.bodies.forget_round(completed)
    assert [body(state, name) for name in ("u1", "u2", "m1", "u3")] == [None, None, b"m1", b"u3"]


def test_a_plain_message_outlives_its_run(state) -> None:
    state.inbox.take([entry(1, "message", message=message("hello", "message"))])
    state.runs.forget_run(RUN)
    assert body(state, "hello") == b"hello"
    assert state.inbox.waiting(RUN) is None


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
    state.inbox.take([here, later])
    assert state.inbox.overtaken(here, ("run_ended", "task_ended", "seat_dropped")) is overtaken


def test_a_report_counts_once_and_a_refused_one_does_not(tmp_path, state) -> None:
    def counted() -> int:
        seat = State(tmp_path / "state.sqlite").seats.get(RUN, 1)
        assert seat is not None
        return seat.report_seq

    state.seats.keep_seat(Seat(RUN, 1, 0, b"{}", 1, 1))
    state.seats.keep_report(report("accept", 1), 7)
    state.seats.answered(report("accept", 1), "ok")
    state.seats.keep_report(report("ready", 2), 7)
    assert counted() == 2
    state.seats.answered(report("ready", 2), "refused")
    assert counted() == 1
    assert [(r.event, r.outcome) for r in state.seats.reports(1)] == [("accept", "ok"), ("ready", "refused")]


def test_a_repeat_finds_the_report_to_the_byte(tmp_path, state) -> None:
    kept = Report(7, "submit", RUN, 1, 1, 3, "key", b'{"update":"AAA="}')
    state.seats.keep_report(kept, 7)
    assert State(tmp_path / "state.sqlite").seats.report(7, "submit") == kept


def test_a_finished_run_leaves_nothing_to_do(state) -> None:
    state.seats.keep_seat(Seat(RUN, 1, 0, b"{}", 1, 1))
    state.inbox.take([entry(1, "invited"), entry(2, "message", message=message("u1")), entry(3, "run_ended")])
    state.seats.keep_report(report("accept", 1), 7)
    state.runs.forget_run(RUN)
    assert state.inbox.waiting_runs() == []
    assert (state.seats.get(RUN, 1), state.seats.reports(1), state.bodies.get(ident("u1"))) == (None, [], None)
    assert state.inbox.taken() == 3


def test_what_was_opened_stays_opened(tmp_path, state) -> None:
    """Also the same message again does not put the sealed form back; large content lies in a file."""
    first = entry(1, "message", message=message("m1", "model"))
    state.inbox.take([first])
    state.bodies.keep_opened(first.message, first, b"content")
    state.inbox.take([entry(2, "round_completed", message=message("m1", "model"))])
    found = State(tmp_path / "state.sqlite").bodies.get(ident("m1"))
    assert (found.body, found.opened, found.file) == (b"content", True, "")
    state.bodies.keep_opened(message("m2", "model"), first, tmp_path / "large")
    assert state.bodies.get(ident("m2")).file == str(tmp_path / "large")
    assert state.bodies.forget_round(entry(9, "round_completed")) == [str(tmp_path / "large")]


def test_a_seal_is_opened_in_one_place(tmp_path, state) -> None:
    assert state.bodies.first_opened("s1", "message 1", expires=5)
    assert State(tmp_path / "state.sqlite").bodies.first_opened("s1", "message 1", expires=5)
    assert not state.bodies.first_opened("s1", "message 2", expires=5)
    state.bodies.forget_opened(now=4)
    assert not state.bodies.first_opened("s1", "message 2", expires=5)
    state.bodies.forget_opened(now=5)
    assert state.bodies.first_opened("s1", "message 2", expires=5)


def test_a_run_belongs_to_the_project_that_it_was_first_shown_in(tmp_path, state) -> None:
    assert state.seats.project_of(RUN) is None
    state.seats.keep_seat(Seat(RUN, 1, 0, b"{}", 1, 1))
    assert state.seats.project_of(RUN) is None
    state.seats.keep_seat(Seat(RUN, 2, 0, b"{}", 1, 1, project_id="p"))
    assert State(tmp_path / "state.sqlite").seats.project_of(RUN) == "p"


def test_a_seat_that_was_given_up_is_known(state) -> None:
    state.seats.keep_seat(Seat(RUN, 1, 0, b"{}", 1, 1))
    state.seats.keep_report(report("fail", 1), 7)
    assert [state.seats.failed_before(RUN, 1, seq, answered=False) for seq in (1, 2)] == [False, True]
    assert not state.seats.failed_before(RUN, 1, 2, answered=True)
    state.seats.answered(report("fail", 1), "refused")
    assert state.seats.failed_before(RUN, 1, 2, answered=True)


@pytest.mark.parametrize("kind", ["update", "model"])
def test_what_was_not_opened_goes_with_its_entry(state, kind) -> None:
    """A hub may send updates and models of runs without end that it invents; nothing of them opens."""
    state.inbox.take(
        [entry(1, "message", message=message("invented", kind)), entry(2, "message", message=message("m", kind))]
    )
    state.bodies.keep_opened(message("m", kind), entry(2, "message"), b"content")
    state.inbox.done(1)
    state.inbox.done(2)
    assert (body(state, "invented"), body(state, "m")) == (None, b"content")


def test_what_was_made_stays_while_its_report_is_sealed_anew(tmp_path, state) -> None:
    state.seats.keep_seat(Seat(RUN, 1, 0, b"{}", 1, 1))
    made = Made(1, RUN, b"packed", "", {"loss": 0.5}, (LeftOut("east", "seal_damaged", "it is"),))
    state.results.keep_made(made)
    state.results.keep_outgoing(Outgoing(1, RUN, b"seal", "file", "artifact"))
    state.seats.keep_report(report("submit", 1), 7)
    state.seats.seal_anew(report("submit", 1))
    again = State(tmp_path / "state.sqlite")
    assert (again.results.made(1, RUN), again.results.outgoing(1, RUN), again.seats.reports(1)) == (made, None, [])
    assert again.seats.get(RUN, 1).report_seq == 0
    state.results.forget_made(1)
    assert state.results.made(1, RUN) is None


def test_what_was_made_for_one_run_is_nothing_to_another_under_the_same_number(state) -> None:
    """A hub that gives a number again must not have it sealed to another project's coordinator."""
    other = RUN.replace("a", "b") if "a" in RUN else "another"
    state.results.keep_made(Made(1, RUN, b"packed", "", {}))
    state.results.keep_outgoing(Outgoing(1, RUN, b"seal", "file", "artifact"))
    assert state.results.made(1, RUN) is not None
    assert state.results.outgoing(1, RUN) is not None
    assert (state.results.made(1, other), state.results.outgoing(1, other), state.results.made(1, None)) == (
        None,
        None,
        None,
    )


def test_pieces_of_a_log_are_numbered_without_gaps(tmp_path, state) -> None:
    for text in ("one", "two"):
        state.logs.keep_piece(LogPiece(RUN, 1, 0, "p", 1, 7, text))
    assert state.logs.next_piece() == LogPiece(RUN, 1, 1, "p", 1, 7, "one")
    state.logs.forget_pieces(RUN, 1, 1)
    again = State(tmp_path / "state.sqlite")
    again.logs.keep_piece(LogPiece(RUN, 1, 0, "p", 1, 7, "three"))
    assert again.logs.next_piece() == LogPiece(RUN, 1, 2, "p", 1, 7, "two")
    again.logs.forget_pieces(RUN, 1, 2)
    assert again.logs.next_piece() == LogPiece(RUN, 1, 3, "p", 1, 7, "three")


def test_a_file_of_an_older_agent_is_brought_up_to_date(tmp_path) -> None:
    with sqlite3.connect(tmp_path / "old.sqlite") as db:
        db.execute(
            "CREATE TABLE bodies (message_id TEXT PRIMARY KEY, kind TEXT NOT NULL, entry_seq INTEGER NOT NULL,"
            " run_id TEXT, task_seq INTEGER, round INTEGER, body BLOB NOT NULL)"
        )
        db.execute("INSERT INTO bodies VALUES ('m', 'model', 1, 'r', 1, 1, x'00')")
    db.close()
    state = State(tmp_path / "old.sqlite")
    found = state.bodies.get("m")
    assert (found.body, found.opened, found.artifact_id) == (b"\0", False, None)
    State(tmp_path / "old.sqlite")


def test_reprs_show_no_payload(state) -> None:
    shown = repr([entry(1, "message", message=message("the-plaintext")), report("submit", 1)])
    assert "b'the-plaintext'" not in shown
    assert "key-1" not in shown


# what the hub is held to


def test_updates_that_were_opened_are_held_with_what_their_headers_said(state) -> None:
    entries = [entry(n, "message", number=n, message=message(f"m{n}")) for n in (1, 2)]
    state.inbox.take(entries)
    assert state.bodies.held_updates(RUN) == []
    origin = Origin("aa" * 32, RUN, 1, 2, Digests("bb" * 32, None))
    state.bodies.keep_opened(message("m2"), entries[1], b"plain", origin)
    assert state.bodies.held_updates(RUN) == [Held(ident("m2"), None, RUN, 1, 2)]
    found = state.bodies.get(ident("m2"))
    assert found is not None
    assert (found.body, found.origin) == (b"plain", origin)
    assert state.bodies.held_updates("other") == []


def test_what_was_sealed_is_known_by_its_round_until_the_run_ends(state) -> None:
    for number, digest in ((1, "one"), (1, "anew"), (2, "two")):
        state.runs.keep_sealed(entry(9, "aggregate", number=number), "model", digest, DIGESTS)
    state.runs.keep_sealed(entry(9, "round_started", number=3), "update", "", None)
    assert state.runs.sealed(RUN, 1, 1, "model") == {"one": DIGESTS, "anew": DIGESTS}
    assert state.runs.sealed(RUN, 1, 3, "update") == {"": None}
    assert [state.runs.newest_sealed(RUN, 1, below) for below in (1, 2, 3, 9)] == [None, 1, 2, 2]
    assert not state.runs.ended(RUN)
    state.runs.forget_run(RUN)
    assert state.runs.ended(RUN)
    assert state.runs.sealed(RUN, 1, 1, "model") == {}
    assert [state.runs.made_of(RUN, 1, number) for number in (1, 2, 3)] == [made_of(DIGESTS), made_of(DIGESTS), None]


def test_no_number_of_invented_runs_takes_the_place_of_one_with_a_model(tmp_path, state) -> None:
    state.runs.keep_sealed(entry(9, "aggregate"), "model", "one", DIGESTS)
    state.runs.forget_run(RUN)
    for number in range(5):  # runs that nobody here ever had a part in
        state.runs.forget_run(f"invented-{number}")
    assert not any(state.runs.ended(f"invented-{number}") for number in range(5))
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as db, db:  # invitations to runs, and their ends
        db.executemany("INSERT INTO ended_runs VALUES (?)", [(f"early-{n}",) for n in range(KEEP_ENDED_RUNS + 20)])
    state.seats.keep_seat(Seat("invented", 1, 0, b"{}", 1, 1))
    state.runs.forget_run("invented")
    assert [state.runs.ended(run) for run in (RUN, "early-0", "invented")] == [True, False, True]
    assert state.runs.made_of(RUN, 1, 1) == made_of(DIGESTS)


def test_what_an_older_agent_sealed_is_remembered_too(tmp_path, state) -> None:
    state.runs.keep_sealed(entry(9, "aggregate"), "model", "one", DIGESTS)
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as db, db:
        db.execute("DROP TABLE models_made")
    again = State(tmp_path / "state.sqlite")
    assert again.runs.made_of(RUN, 1, 1) == made_of(DIGESTS)
    assert made_of(DIGESTS) != made_of(Digests("bb" * 32, "cc" * 32, ["ee" * 16]))


def test_tasks_are_held_as_they_were_first_shown(state) -> None:
    """Also once the hub has said that their run ended: it may show that run anew, with others."""
    task = RunTask(RUN, 1, "aa" * 32, b"{}", ("east", "north"))
    assert state.runs.run_task(RUN, 1) is None
    state.runs.keep_run_task(task)
    assert state.runs.run_task(RUN, 1) == task
    state.runs.keep_own_tasks("p", [("aa" * 32, "train")])
    state.runs.keep_own_tasks("p", [("bb" * 32, "train")])
    assert state.runs.own_tasks("p") == {"aa" * 32: "train", "bb" * 32: "train"}
    assert state.runs.own_tasks("q") == {}
    state.runs.forget_run(RUN)
    assert state.runs.run_task(RUN, 1) == RunTask(RUN, 1, task.digest, b"", ())


def test_a_receipt_is_settled_once_and_a_missing_one_outlives_its_run(tmp_path, state) -> None:
    for number in (1, 2, 3):
        state.receipts.await_receipt(entry(number, "round_started", number=number))
        state.receipts.await_receipt(entry(number, "round_started", number=number))
    first, second, _ = state.receipts.awaited_receipts(RUN, 1)
    gone = msgspec.structs.replace(second, outcome="missing", reason="not_named", at=7, key="k")
    state.receipts.settle_receipt(msgspec.structs.replace(first, outcome="found"))
    state.receipts.settle_receipt(gone)
    state.receipts.settle_receipt(msgspec.structs.replace(second, outcome="found"))
    assert [one.round for one in state.receipts.awaited_receipts(RUN)] == [3]
    state.runs.forget_run(RUN)
    again = State(tmp_path / "state.sqlite")
    assert again.receipts.missing_receipts(untold=True) == [gone] == again.receipts.missing_receipts()
    assert gone == Receipt(RUN, 1, 2, PROJECT, "missing", "not_named", 7, "k")
    again.receipts.receipt_told(gone, "ok")
    assert again.receipts.missing_receipts(untold=True) == []
    assert [one.hub for one in again.receipts.missing_receipts()] == ["ok"]


def messages(first: int, *names: str) -> list[Entry]:
    nothing = {"run": None, "task": None, "number": None}
    return [
        entry(first + n, "message", **nothing, message=message(name, "message"))  # type: ignore[arg-type]
        for n, name in enumerate(names)
    ]


def test_a_message_that_moved_is_done_once(state) -> None:
    state.inbox.take(messages(1, "a", "b", "c"))
    for seq in (1, 2, 3):
        state.inbox.done(seq)
    state.history.recovered("h2", 1, 1003, "m", b"", 1)
    state.inbox.take(messages(1004, "b", "new"))
    found = state.inbox.waiting_message()
    assert found is not None
    assert found.seq == 1005


def test_a_second_restore_does_not_forget_what_the_first_one_let_come_again(state) -> None:
    state.inbox.take([entry(n, "round_completed", number=n) for n in range(1, 6)])
    for n in range(1, 6):
        state.inbox.done(n)
    state.history.recovered("h2", 1, 1005, "m", b"", 1)
    state.inbox.take([entry(1006, "round_completed", number=2)])
    state.history.recovered("h3", 1006, 1006, "m", b"", 2)  # restored again, and nothing is beyond what both have
    state.inbox.take([entry(1007, "round_completed", number=3)])
    assert state.inbox.waiting(RUN) is None
    state.history.recovered("h4", 1006, 2007, "m", b"", 3)  # and again, with one entry lost
    state.inbox.take([entry(2008, "round_completed", number=3), entry(2009, "round_completed", number=4)])
    assert state.inbox.waiting(RUN) is None
    state.inbox.take([entry(2010, "round_completed", number=6)])
    found = state.inbox.waiting(RUN)
    assert found is not None
    assert found.seq == 2010


ROUND = (("accept", 1, 1), ("ready", 2, 1), ("trained", 3, 2), ("submit", 4, 2))
"""What a site reported of its first round: the event, its number, and the entry that led to it."""


def reported(state: State) -> None:
    """Invited by entry 1, begun by entry 2, all of it answered."""
    state.inbox.take([entry(1, "invited"), entry(2, "round_started")])
    state.seats.keep_seat(Seat(RUN, 1, 0, b"{}", 1, 1))
    for event, seq, at in ROUND:
        assert state.seats.keep_report(report(event, seq, at), 7)
        state.seats.answered(report(event, seq, at), "ok")
    for seq in (1, 2):
        state.inbox.done(seq)


def outcomes(state: State, seq: int) -> dict[str, str]:
    return {one.event: one.outcome for one in state.seats.reports(seq)}


def test_a_report_that_the_hub_lacks_is_owed_once_its_entry_is_there(state) -> None:
    reported(state)
    state.history.recovered("h2", 1, 1002, "m", b"owed", 1)
    assert state.history.owe([(RUN, 1, 1)]) == 3
    assert state.history.position().owed == b""
    first = state.inbox.waiting(RUN)
    assert first is not None
    assert (first.seq, outcomes(state, 1)) == (1, {"accept": "ok", "ready": "owed"})
    state.inbox.done(1)
    assert state.inbox.waiting(RUN) is None  # the hub's run has not come to the round yet
    state.inbox.take([entry(1003, "round_started")])
    again = state.inbox.waiting(RUN)
    assert again is not None
    assert (again.seq, outcomes(state, 1003)) == (1003, {"trained": "owed", "submit": "owed"})
    assert state.seats.reports(2) == []


@pytest.mark.parametrize(("count", "numbers"), [(1, [2, 3, 4]), (4, [5, 6, 7])])
def test_an_owed_report_has_the_next_number_of_its_seat_and_its_own_key(state, count: int, numbers: list[int]) -> None:
    """4: the seat was dropped and came back meanwhile, which the hub has counted."""
    reported(state)
    state.history.recovered("h2", 0, 1002, "m", b"", 1)
    state.history.owe([(RUN, 1, 1)])
    state.inbox.take([entry(1003, "invited"), entry(1004, "round_started")])
    seat = state.seats.get(RUN, 1)
    assert seat is not None
    state.seats.keep_seat(msgspec.structs.replace(seat, report_seq=count))
    owed = [one for seq in (1003, 1004) for one in state.seats.reports(seq) if one.outcome == "owed"]
    due = [state.seats.due(one, "another key") for one in owed]
    assert [one.seq for one in due] == numbers
    assert [one.key for one in due] == [one.key for one in owed]
    assert [msgspec.json.decode(one.body).get("seq", one.seq) for one in due] == numbers
    found = state.seats.get(RUN, 1)
    assert found is not None
    assert found.report_seq == numbers[-1]


def test_what_was_refused_meanwhile_is_asked_under_another_key(state) -> None:
    reported(state)
    state.seats.answered(report("submit", 4, 2), "refused")
    state.history.recovered("h2", 1, 1002, "m", b"", 1)
    state.history.owe([(RUN, 1, 2)])
    state.inbox.take([entry(1003, "round_started")])
    trained, submit = state.seats.reports(1003)
    assert (trained.key, submit.key) == ("key-2-trained", "")
    assert state.seats.due(submit, "another key").key == "another key"


@pytest.mark.parametrize(("outcome", "key"), [("refused", ""), ("ok", "key-2-submit")])
def test_an_answer_that_comes_after_the_recovery_does_not_settle_what_is_owed(state, outcome: str, key: str) -> None:
    """Also if the entry has come again, and the report lies there by now."""
    reported(state)
    state.history.recovered("h2", 1, 1002, "m", b"", 1)
    state.history.owe([(RUN, 1, 2)])
    assert not state.seats.answered(report("submit", 4, 2), outcome)
    assert outcomes(state, 2) == {"trained": "owed", "submit": "owed"}
    state.inbox.take([entry(1003, "round_started")])
    assert not state.seats.answered(report("trained", 3, 2), outcome)
    assert outcomes(state, 1003) == {"trained": "owed", "submit": "owed"}
    assert [one.key for one in state.seats.reports(1003) if one.event == "submit"] == [key]


def test_a_forgotten_entry_is_not_wanted_and_overtakes_nothing(state) -> None:
    kinds = ("round_completed", "run_ended")
    state.inbox.take([entry(1, "round_started"), entry(2, "aggregate"), entry(3, "round_completed")])
    assert state.inbox.overtaken(entry(1, "round_started"), kinds)
    state.history.recovered("h2", 1, 1003, "m", b"", 1)
    assert not state.inbox.overtaken(entry(1, "round_started"), kinds)
    assert state.inbox.overtaken(entry(2, "aggregate"), kinds)
    assert not state.seats.keep_report(report("aggregated", 0, 2), 7)
    waiting = state.inbox.waiting(RUN)
    assert waiting is not None
    assert waiting.seq == 1


@pytest.mark.parametrize(("listed", "kept"), [("one", {"aggregated": "owed"}), ("two", {})])
def test_a_model_is_sent_again_only_for_the_updates_that_it_was_made_of(state, listed: str, kept) -> None:
    calls = {name: call_of(name) for name in ("one", "two")}
    state.inbox.take([entry(1, "aggregate", facts=calls["one"])])
    state.seats.keep_report(report("aggregated", 0, 1), 7)
    state.seats.answered(report("aggregated", 0, 1), "ok")
    state.history.recovered("h2", 0, 1001, "m", b"", 1)
    state.history.owe([])
    state.inbox.take([entry(1002, "aggregate", facts=calls[listed])])
    assert outcomes(state, 1002) == kept
    assert state.inbox.waiting(RUN) is not None


def call_of(update: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"submissions": [{"site_id": "north", "message_id": update}]}))


def test_the_last_model_is_owed_where_the_hub_has_the_call_for_it(state) -> None:
    """Whether or not the coordinator has a seat."""
    for seq in (1, 2):
        state.inbox.take([entry(seq, "aggregate", number=seq)])
        state.seats.keep_report(report("aggregated", 0, seq), 7)
        state.seats.answered(report("aggregated", 0, seq), "ok")
        state.inbox.done(seq)
    state.history.recovered("h2", 2, 2, "m", b"", 1)
    assert state.history.owe([]) == 1
    found = state.inbox.waiting(RUN)
    assert found is not None
    assert found.seq == 2


def test_more_live_seats_than_a_claim_takes_are_said_to_be_cut(state) -> None:
    for n in range(MAX_HELD):
        state.seats.keep_seat(Seat(ident(f"run {n}"), 1, 0, b"{}", 1, 1))
    seats, cut = state.history.held_seats()
    assert (len(seats), cut) == (MAX_HELD, False)
    state.seats.keep_seat(Seat(ident("one more"), 1, 0, b"{}", 1, 1))
    seats, cut = state.history.held_seats()
    assert (len(seats), cut) == (MAX_HELD, True)
    assert seats[0][0] == ident("one more")


@pytest.mark.parametrize("older", [False, True])
def test_a_folder_may_be_opened_by_an_agent_and_commands_at_the_same_moment(tmp_path, older: bool) -> None:
    """A new file, and one of an agent that knew fewer columns. One try shows little: thirty do."""
    together = 4
    for n in range(30):
        path = tmp_path / f"{n}.sqlite"
        if older:
            _write_as_an_older_agent(path)
        gate = threading.Barrier(together)
        with ThreadPoolExecutor(together) as pool:
            opened = [pool.submit(_open_at, gate, path) for _ in range(together)]
        for one in opened:
            one.result().close()


def _open_at(gate: threading.Barrier, path: Path) -> State:
    gate.wait()
    return State(path)


def _write_as_an_older_agent(path: Path) -> None:
    State(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP INDEX lost_entries")
        for table, column, _ in LATER:
            db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")


# what has left this house


def leaving(kind: str, number: int, seal: str = "s1", **more) -> Egress:
    about = {"project_id": PROJECT, "run_id": RUN, "task_seq": 1, "round": number}
    return Egress(at=9, kind=kind, recipients=("east",), size_bytes=40, digest="d", seal=seal, **about, **more)


def test_what_leaves_is_on_record_before_it_does_and_outlives_its_run(state) -> None:
    update = leaving("update", 1, norm=2.5, metrics={"loss": 0.5})
    state.runs.keep_sealed(entry(3, "round_started"), "update", "s1", None, update)
    (kept,) = state.egress.latest(9)
    assert msgspec.structs.replace(kept, id=0) == update
    state.seats.keep_report(report("submit", 1), 7)
    assert state.seats.answered(report("submit", 1), "ok")
    state.runs.forget_run(RUN)
    assert [one.outcome for one in state.egress.latest(9)] == ["ok"]
    assert state.egress.totals() == [(PROJECT, "update", 1, 40, 9)]


def test_what_was_sealed_anew_stands_there_twice_and_only_the_last_one_is_answered(state) -> None:
    for seal in ("s1", "s2"):
        state.runs.keep_sealed(entry(3, "round_started"), "update", seal, None, leaving("update", 1, seal))
    state.seats.keep_report(report("submit", 1), 7)
    state.seats.seal_anew(report("submit", 1))
    state.runs.keep_sealed(entry(3, "round_started"), "update", "s3", None, leaving("update", 1, "s3"))
    assert [(one.seal, one.outcome) for one in state.egress.latest(9)] == [
        ("s3", ""), ("s2", "refused"), ("s1", "superseded"),
    ]  # fmt: skip


def test_a_log_is_one_row_a_round_without_its_text_and_a_reason_is_one_with_it(state) -> None:
    for text in ("one", "zwö mehr"):  # bytes are counted, not letters
        state.logs.keep_piece(LogPiece(RUN, 1, 0, PROJECT, 1, 7, text))
    assert state.egress.totals() == [(PROJECT, "log", 2, 12, 7)]
    state.inbox.take([entry(1, "invited")])
    failed = Report(1, "fail", RUN, 1, 1, 1, "key", b'{"reason": "no such file"}')
    state.seats.keep_report(failed, 8)
    reason, log = state.egress.latest(9)
    assert (log.kind, log.count, log.size_bytes, log.text) == ("log", 2, 12, "")
    assert (reason.kind, reason.text, reason.project_id, reason.at) == ("reason", "no such file", PROJECT, 8)
    assert [one.kind for one in state.egress.latest(9, kind="log")] == ["log"]
    assert state.egress.latest(9, before=log.id) == []


def test_the_oldest_of_what_left_goes(tmp_path, state) -> None:
    state.runs.keep_sealed(entry(3, "round_started"), "update", "s1", None, leaving("update", 1))
    with closing(sqlite3.connect(tmp_path / "state.sqlite")) as db, db:
        db.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'egress'", (KEEP_EGRESS,))
    state.runs.keep_sealed(entry(3, "round_started"), "update", "s1", None, leaving("update", 2))
    assert [one.round for one in state.egress.latest(9)] == [2]
