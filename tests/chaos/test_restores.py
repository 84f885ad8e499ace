"""After a restore the books may lack what was decided since the backup and nobody sends again, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from chaos.compare import Books, Entry, Store, StoredMessage, Undone, compare, undone
from chaos.ledger import Answered, AnyLine, Asked, Got, Recovered
from chaos.memory import Memory, Sent
from chaos.report import site_recoveries

ANN, BOB = "ann", "bob"
ONE, TWO = "sha of one", "sha of two"
BACKUP, READY = 20, 30
NOT_APPLIED = "commands acknowledged to a client but not applied"

Lines = dict[str, list[AnyLine]]


def restored() -> tuple[Lines, Store]:
    """Between backup and stop Ann sends a message, which she sends again, and a run is started, which is gone.

    Bob has acknowledged the message in the history that is gone, and gets it again under another number.
    """
    ann: list[AnyLine] = [
        Asked(at=3, id="one", kind="post_messages", sha256=ONE, to=[BOB], ordinal=1),
        Answered(at=4, id="one", status=201, decided=True, made=["m1"]),
        Asked(at=21, id="two", kind="post_messages", sha256=TWO, to=[BOB], ordinal=2),
        Answered(at=22, id="two", status=201, decided=True, made=["m2"]),
        Asked(at=23, id="start", kind="start_run"),
        Answered(at=24, id="start", status=201, decided=True, made=["run"]),
        Answered(at=35, id="two", status=201, decided=True, made=["m2"]),
    ]
    bob: list[AnyLine] = [
        Got(at=5, seq=1, kind="message", message_id="m1", sender=ANN, sha256=ONE),
        Got(at=23, seq=2, kind="message", message_id="m2", sender=ANN, sha256=TWO),
        Asked(at=23, id="ack 2", kind="acknowledge_inbox", through=2),
        Answered(at=24, id="ack 2", status=202, decided=False),
        Recovered(at=31, history_id="h2", common_seq=1, read_after=1002),
        Got(at=36, seq=1003, kind="message", message_id="m2", sender=ANN, sha256=TWO),
    ]
    store = Store(
        commands={"one": ("accepted", 201), "two": ("accepted", 201)},
        messages={"m1": StoredMessage(ANN, ONE), "m2": StoredMessage(ANN, TWO)},
        inboxes={BOB: [Entry(1, "message", "m1"), Entry(2, "moved", None), Entry(1003, "message", "m2")]},
        acknowledged={BOB: 1003},
        runs={},
        undone={id: Undone(status, BACKUP) for id, status in (("two", 201), ("start", 201), ("ack 2", 200))},
        restores=[(BACKUP, READY)],
    )
    return {ANN: ann, BOB: bob}, store


def books_of(lines: Lines) -> dict[str, Books]:
    return {site: Books.of(iter(written)) for site, written in lines.items()}


def broken(lines: Lines, store: Store) -> set[str]:
    return {name for name, sentences in compare(books_of(lines), store, {}).items() if sentences}


def test_books_of_a_restored_hub_agree():
    lines, store = restored()
    assert broken(lines, store) == set()
    assert undone(books_of(lines), store) == {"start_run": 1, "acknowledge_inbox": 1}


def changed(lines: Lines, site: str, place: int, **facts: object) -> Lines:
    found = list(lines[site])
    found[place] = msgspec.structs.replace(found[place], **facts)
    return {**lines, site: found}


def without_two(lines: Lines, store: Store) -> tuple[Lines, Store]:
    return {**lines, ANN: lines[ANN][:-1]}, replace(
        store, commands={"one": ("accepted", 201)}, messages={"m1": store.messages["m1"]}
    )


WRONG: dict[str, tuple[Callable[[Lines, Store], tuple[Lines, Store]], set[str]]] = {
    "a message that was not sent again": (without_two, {NOT_APPLIED}),
    "a run that was started before the backup": (
        lambda lines, store: (changed(lines, ANN, 5, at=BACKUP - 1), store),
        {NOT_APPLIED},
    ),
    "an answer of which nobody ever decided": (
        lambda lines, store: (lines, replace(store, undone={k: v for k, v in store.undone.items() if k != "start"})),
        {NOT_APPLIED},
    ),
    "what was forgotten has not come again": (
        lambda lines, store: ({**lines, BOB: lines[BOB][:-1]}, store),
        {"messages lost", "acknowledged and unseen"},
    ),
    "a number that was given twice": (
        lambda lines, store: (
            lines,
            replace(store, inboxes={BOB: [Entry(1, "message", "m1"), Entry(2, "run_ended", None)]}),
        ),
        {"messages lost", "acknowledged and unseen"},
    ),
    "it came twice in the new history": (
        lambda lines, store: (
            {**lines, BOB: [*lines[BOB], Got(at=37, seq=1004, kind="message", message_id="m2", sender=ANN)]},
            store,
        ),
        {"messages doubled"},
    ),
    "a gap behind the recovery": (
        lambda lines, store: (
            changed(lines, BOB, 5, seq=1004),
            replace(store, inboxes={BOB: [Entry(1, "message", "m1"), Entry(1004, "message", "m2")]}),
        ),
        {"messages lost", "messages out of order"},
    ),
    "a token that is good again": (
        lambda lines, store: (
            changed(lines, BOB, 1, kind="token_revoked", message_id=None, token_id="t"),
            replace(store, live_tokens=frozenset({"t"})),
        ),
        {"revocations not in force"},
    ),
    "a key that is good again": (
        lambda lines, store: (lines, replace(store, forgotten_keys=["x"])),
        {"revocations not in force"},
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_restore_excuses_is_bounded(name: str):
    change, expected = WRONG[name]
    assert broken(*change(*restored())) == expected


def test_reports_of_a_run_that_is_gone_are_refused_until_the_site_knows():
    lines, store = restored()
    asked = Asked(at=28, id="report", kind="report_seat")
    for at, found in ((30, set()), (31, set()), (32, {"answers that no client should get"})):
        answered = Answered(at=at, id="report", status=404, decided=True, slug="not_found")
        assert broken({**lines, BOB: [*lines[BOB], asked, answered]}, store) == found


def test_recoveries_are_measured_from_when_the_hub_was_ready():
    lines, _ = restored()
    assert site_recoveries(books_of(lines), [READY]) == [1e-6]
    assert site_recoveries(books_of(lines), []) == []


# what a site of the load keeps


def entry(seq: int, kind: str, run: str = "r", round_: int | None = 1) -> dict[str, object]:
    return {"seq": seq, "mark": f"m{seq}", "kind": kind, "run_id": run, "task_seq": 1, "round": round_, "facts": {}}


def test_a_site_does_not_twice_what_comes_again():
    memory = Memory()
    assert [memory.take(entry(seq, kind)) for seq, kind in ((1, "invited"), (2, "round_started"))] == [True, True]
    memory.recovered("h2", 1, 1002, "end")
    assert not memory.take(entry(1003, "round_started"))
    assert memory.take(entry(1004, "round_started", round_=2))
    memory.recovered("h3", 1002, 2004, "end")
    memory.not_had("r", 1)
    assert memory.take(entry(2005, "round_started", round_=2))


def test_a_claim_names_where_the_site_is_and_what_it_had():
    memory = Memory()
    for seq, kind in ((1, "invited"), (2, "message")):
        memory.take(entry(seq, kind))
    memory.invited(("r", 1), 0)
    assert memory.claim()["marks"] == [{"seq": 2, "mark": "m2"}, {"seq": 1, "mark": "m1"}]
    memory.recovered("h2", 1, 1002, "end")
    memory.run_ended("r")
    claim = memory.claim()
    assert claim["marks"] == [{"seq": 1002, "mark": "end"}, {"seq": 1, "mark": "m1"}]
    assert (claim["last_seq"], claim["history_id"]) == (1002, "h2")
    assert claim["seats"] == [{"run_id": "r", "task_seq": 1, "report_seq": 0, "state": "ended"}]


def test_messages_are_sent_again_for_a_while():
    second = 1_000_000
    memory = Memory()
    for at in (1, 100, 200):
        message = Asked(at=at, id=str(at), kind="post_messages")
        memory.sent(Sent(at * second, "POST", "/v1/messages", b"", str(at), message))
    assert [one.key for one in memory.to_send_again(200 * second)] == ["100", "200"]
    assert list(memory.to_send_again(200 * second)) == []
