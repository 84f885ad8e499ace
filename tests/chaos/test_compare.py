"""The comparison must see every way in which the books can disagree; on whole books it must see nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from chaos.compare import Books, Entry, Store, StoredMessage, compare
from chaos.ledger import Answered, AnyLine, Asked, Got, Ledger, read

ANN, BOB = "ann", "bob"
FIRST, SECOND = "sha of the first", "sha of the second"


def whole() -> tuple[dict[str, list[AnyLine]], Store]:
    """Ann starts a run and sends two messages to Bob, the second when the first is decided; he acknowledges both."""
    ann: list[AnyLine] = [
        Asked(at=1, id="start", kind="start_run"),
        Answered(at=2, id="start", status=201, decided=True, made=["run"]),
        Asked(at=3, id="one", kind="post_messages", sha256=FIRST, to=[BOB], ordinal=1),
        Answered(at=4, id="one", status=201, decided=True, made=["m1"]),
        Asked(at=5, id="two", kind="post_messages", sha256=SECOND, to=[BOB], ordinal=2),
        Answered(at=6, id="two", status=202, decided=False),
        Asked(at=7, id="again", kind="start_run"),
        Answered(at=8, id="again", status=409, decided=True, slug="run_live"),
    ]
    bob: list[AnyLine] = [
        Got(at=5, seq=1, kind="message", message_id="m1", sender=ANN, sha256=FIRST),
        Got(at=7, seq=2, kind="message", message_id="m2", sender=ANN, sha256=SECOND),
        Got(at=8, seq=1, kind="message", message_id="m1", sender=ANN, sha256=FIRST),
        Asked(at=9, id="ack", kind="acknowledge_inbox", through=2),
        Answered(at=10, id="ack", status=202, decided=False),
    ]
    store = Store(
        commands={
            "start": ("accepted", 201),
            "one": ("accepted", 201),
            "two": ("accepted", 201),
            "again": ("rejected", 409),
            "ack": ("accepted", 200),
        },
        messages={"m1": StoredMessage(ANN, FIRST), "m2": StoredMessage(ANN, SECOND)},
        inboxes={BOB: [Entry(1, "message", "m1"), Entry(2, "message", "m2")]},
        acknowledged={BOB: 2},
        runs={"run": "succeeded"},
        runs_of_project={"p": 1},
    )
    return {ANN: ann, BOB: bob}, store


def broken(lines: dict[str, list[AnyLine]], store: Store) -> set[str]:
    """Which zeros are none."""
    books = {site: Books.of(iter(written)) for site, written in lines.items()}
    findings = compare(books, store, {"p": {"start", "again"}})
    return {name for name, sentences in findings.items() if sentences}


def without(lines: list[AnyLine], place: int) -> list[AnyLine]:
    return [*lines[:place], *lines[place + 1 :]]


def changed(lines: list[AnyLine], place: int, **facts: object) -> list[AnyLine]:
    return [*lines[:place], msgspec.structs.replace(lines[place], **facts), *lines[place + 1 :]]


def test_whole_books_agree():
    assert broken(*whole()) == set()


IN_THE_STORE: dict[str, tuple[Callable[[Store], Store], set[str]]] = {
    "a 201 without a decision": (
        lambda store: replace(store, commands={k: v for k, v in store.commands.items() if k != "one"}),
        {"commands acknowledged to a client but not applied"},
    ),
    "a 202 without a decision": (
        lambda store: replace(store, commands={k: v for k, v in store.commands.items() if k != "two"}),
        {"commands acknowledged to a client but not applied"},
    ),
    "an accepted message that is nowhere": (
        lambda store: replace(store, messages={"m2": store.messages["m2"]}),
        {"commands acknowledged to a client but not applied"},
    ),
    "an acknowledgement without effect": (
        lambda store: replace(store, acknowledged={BOB: 1}),
        {"commands acknowledged to a client but not applied"},
    ),
    "a run that is gone": (
        lambda store: replace(store, runs={}),
        {"commands acknowledged to a client but not applied"},
    ),
    "an answer that the store contradicts": (
        lambda store: replace(store, commands={**store.commands, "one": ("rejected", 409)}),
        {"answers that differ from the store"},
    ),
    "two messages of one command": (
        lambda store: replace(store, messages={**store.messages, "m3": StoredMessage(ANN, FIRST)}),
        {"commands applied twice", "messages lost"},  # at least one of its copies is in nobody's inbox
    ),
    "two runs of one command": (
        lambda store: replace(store, runs_of_project={"p": 2}),
        {"commands applied twice"},
    ),
    "an event twice": (lambda store: replace(store, doubled_events=["twice"]), {"commands applied twice"}),
    "a message in nobody's inbox": (
        lambda store: replace(store, inboxes={BOB: [Entry(1, "message", "m1"), Entry(2, "task_ended", None)]}),
        {"messages lost", "acknowledged and unseen"},
    ),
    "an entry that was never handed out": (
        lambda store: replace(store, inboxes={BOB: [*store.inboxes[BOB], Entry(3, "run_ended", None)]}),
        {"messages lost"},
    ),
    "a message twice in an inbox": (
        lambda store: replace(store, inboxes={BOB: [*store.inboxes[BOB], Entry(3, "message", "m1")]}),
        {"messages doubled", "messages lost"},
    ),
    "a live run": (lambda store: replace(store, runs={"run": "running"}), {"runs not final"}),
    "a broken chain": (lambda store: replace(store, chain_breaks=["x"]), {"breaks in the chains of events"}),
    "an outbox row": (lambda store: replace(store, outbox=["x"]), {"rows left in the outbox"}),
    "a dead letter": (lambda store: replace(store, dead_letters=["x"]), {"dead letters"}),
    "a queue": (lambda store: replace(store, left_in_queues=["x"]), {"commands left in queues"}),
}


@pytest.mark.parametrize("name", IN_THE_STORE)
def test_the_store_is_wrong(name: str):
    change, expected = IN_THE_STORE[name]
    lines, store = whole()
    assert broken(lines, change(store)) == expected


IN_THE_LEDGERS: dict[str, tuple[Callable[[dict[str, list[AnyLine]]], dict[str, list[AnyLine]]], set[str]]] = {
    "no answer": (lambda lines: {**lines, ANN: without(lines[ANN], 7)}, {"commands never answered"}),
    "an answer of our own fault": (
        lambda lines: {**lines, ANN: changed(lines[ANN], 7, status=500, decided=False)},
        {"answers that no client should get"},
    ),
    "an entry that never came": (
        lambda lines: {**lines, BOB: without(lines[BOB], 1)},
        {"messages lost", "acknowledged and unseen"},
    ),
    "a gap that was filled later": (
        lambda lines: {**lines, BOB: [lines[BOB][1], lines[BOB][0], *lines[BOB][3:]]},
        {"messages out of order"},
    ),
    "numbers that came in the wrong order": (
        lambda lines: {
            **lines,
            BOB: [*changed(changed(lines[BOB], 0, sha256=SECOND), 1, sha256=FIRST)[:2], *lines[BOB][3:]],
        },
        {"messages out of order"},
    ),
    "one message as two entries": (
        lambda lines: {**lines, BOB: changed(lines[BOB], 1, message_id="m1")},
        {"messages doubled", "acknowledged and unseen"},
    ),
    "one number for two entries": (
        lambda lines: {**lines, BOB: changed(lines[BOB], 2, kind="run_ended", message_id=None)},
        {"messages doubled", "acknowledged and unseen"},
    ),
}


@pytest.mark.parametrize("name", IN_THE_LEDGERS)
def test_a_site_saw_something_else(name: str):
    change, expected = IN_THE_LEDGERS[name]
    lines, store = whole()
    assert broken(change(lines), store) == expected


def test_a_ledger_reads_as_it_was_written(tmp_path):
    lines, _ = whole()
    for site, written in lines.items():
        ledger = Ledger(tmp_path / f"{site}.jsonl")
        for line in written:
            ledger.write(line)
        ledger.close()
        assert list(read(tmp_path / f"{site}.jsonl")) == written
