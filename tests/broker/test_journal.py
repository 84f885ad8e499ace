"""The embedded broker's promise: what was accepted is on disk until it is decided, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actors.deciding import DECIDERS
from broker import journal as module
from broker.dead_letters import EmbeddedDeadLetters, open_dead_letters
from broker.embedded import TRANSIENT_LIMIT, EmbeddedBroker
from broker.journal import Journal, JournalLocked, entry_of
from broker.messages import envelope_in, message_in, message_of
from broker.opening import open_embedded, open_publisher, open_worker_broker
from broker.port import BrokerUnavailable
from broker.publisher import GroupPublisher
from broker.rabbitmq import RabbitBroker
from config.settings import Settings
from tests.broker.worlds import CLOCK, HEARTBEATS, RUNS, EmbeddedWorld, heartbeats, stop_run
from tests.waiting import until

ROOT = Path(__file__).parents[2]


def killed_after(path: Path, lines: int) -> list[tuple[str, str]]:
    """Let a victim run until it has said so much, then kill -9; everything that it said."""
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.broker.victim", str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert victim.stdout is not None
    said = [victim.stdout.readline() for _ in range(lines)]
    os.kill(victim.pid, signal.SIGKILL)
    said += victim.stdout.readlines()
    victim.stdout.close()
    assert victim.wait() == -signal.SIGKILL
    return [(line.split()[0], line.split()[1]) for line in said if line.endswith("\n")]


@pytest.mark.parametrize("lines", [50, 400, 1500])
def test_kill_9_loses_nothing_that_was_accepted(tmp_path, lines):
    path = tmp_path / "journal.sqlite"
    said = killed_after(path, lines)
    accepted = {id for word, id in said if word == "accepted"}
    done = {id for word, id in said if word == "done"}
    broker = EmbeddedBroker(path)
    alive = {id for _, id, _, _ in broker.journal.live()}
    dead = {letter.id for letter in EmbeddedDeadLetters(broker.journal).list(limit=100_000)}
    broker.close()
    assert accepted
    assert accepted <= done | alive | dead
    assert not alive & dead


def test_what_a_killed_process_left_is_decided_by_the_next(tmp_path):
    said = killed_after(tmp_path / "journal.sqlite", 300)
    world = EmbeddedWorld(tmp_path)
    left = {id for _, id, _, _ in world.broker.journal.live()}
    world.work(actors=["stop_run"])
    until(lambda: left <= set(world.decided.ids))
    until(lambda: world.left(RUNS) == 0)
    assert {id for word, id in said if word == "accepted"}
    world.close()


def test_a_second_hub_on_the_same_journal_is_told_who_has_it(tmp_path):
    path = tmp_path / "journal.sqlite"
    first = EmbeddedBroker(path)
    with pytest.raises(JournalLocked) as caught:
        EmbeddedBroker(path)
    assert str(os.getpid()) in str(caught.value)
    with pytest.raises(JournalLocked):
        open_dead_letters(Settings(broker_url=f"embedded:///{path}"))
    first.send([stop_run()])
    first.close()
    EmbeddedBroker(path).close()


def test_dead_letters_while_no_hub_runs_then_the_next_one_decides_them(embedded):
    embedded.decided.failing = lambda _: ValueError()
    embedded.work()
    sent = stop_run()
    embedded.publisher.send([sent])
    until(lambda: embedded.dead_letters().list())
    embedded.rest()
    embedded.broker.close()
    letters = open_dead_letters(Settings(broker_url=f"embedded:///{embedded.path}"))
    assert [letter.id for letter in letters.list()] == [sent.id]
    assert letters.replay() == 1
    letters.close()
    embedded.decided.failing = lambda _: None
    embedded.broker = embedded._open()
    embedded.work()
    until(lambda: embedded.decided.ids == [sent.id])


def test_a_retry_that_waits_survives_the_process(embedded):
    sent = stop_run()
    embedded.decided.failing = lambda _: ValueError()
    embedded.work()
    embedded.publisher.send([sent])
    until(lambda: embedded.decided.tries)
    embedded.rest()
    until(lambda: [queue for _, _, queue, _ in embedded.broker.journal.live()] != [RUNS])
    embedded.broker.close()
    embedded.decided.failing = lambda _: None
    embedded.broker = embedded._open()
    embedded.work()
    until(lambda: embedded.decided.ids == [sent.id] or embedded.dead_letters().list())


def test_heartbeats_are_never_on_disk_and_the_oldest_are_dropped(embedded):
    embedded.publisher.send([heartbeats()])
    beats = [heartbeats() for _ in range(TRANSIENT_LIMIT + 5)]
    embedded.publisher.send(beats)
    assert embedded.broker.journal.live() == []
    assert embedded.broker.queues[HEARTBEATS].qsize() == TRANSIENT_LIMIT
    embedded.work()
    until(lambda: len(embedded.decided.ids) == TRANSIENT_LIMIT)
    assert embedded.decided.ids[-1] == beats[-1].id
    assert beats[0].id not in embedded.decided.ids


def test_a_disk_that_takes_nothing_is_told_and_recovers(embedded):
    db = embedded.broker.journal._db
    embedded.publisher.send([stop_run()])
    embedded.broker.journal.run(lambda _: db.execute("SELECT 1")).result()
    db.execute("PRAGMA query_only = 1")
    with pytest.raises(BrokerUnavailable):
        embedded.publisher.send([stop_run()])
    db.execute("PRAGMA query_only = 0")
    sent = stop_run()
    embedded.publisher.send([sent])
    assert [id for _, id, _, _ in embedded.broker.journal.live()][-1] == sent.id
    assert len(embedded.broker.journal.live()) == 2


def test_acknowledgements_that_could_not_be_written_are_written_later(embedded):
    db = embedded.broker.journal._db
    embedded.publisher.send([stop_run()])
    embedded.broker.journal.run(lambda _: None).result()
    db.execute("PRAGMA query_only = 1")
    embedded.work()
    until(lambda: embedded.decided.ids)
    CLOCK.sleep(0.5)
    db.execute("PRAGMA query_only = 0")
    assert embedded.left(RUNS) <= 1
    until(lambda: embedded.left(RUNS) == 0)


def test_a_full_journal_refuses(tmp_path):
    kept = Journal(tmp_path / "journal.sqlite", CLOCK)
    entry = entry_of(message_of(stop_run()))
    kept._live = module.LIVE_LIMIT
    with pytest.raises(BrokerUnavailable) as caught:
        kept.add([entry], lambda _: None)
    assert "full" in str(caught.value)
    kept._live = 0
    (row,) = kept.add([entry], lambda _: None).result()
    kept.remove(row, entry.size_bytes)
    kept.close()
    assert (kept._live, kept._live_bytes) == (0, 0)


def test_only_the_newest_dead_letters_are_kept(tmp_path):
    kept = Journal(tmp_path / "journal.sqlite", CLOCK)
    entries = [entry_of(message_of(stop_run())) for _ in range(module.DEAD_LIMIT + 7)]
    rows = kept.add(entries, lambda _: None).result()
    for row, entry in zip(rows, entries, strict=True):
        kept.bury(row, entry, 1, "ValueError")
    ids = [id for _, id, *_ in kept.dead()]
    assert ids == [entry.id for entry in entries[7:]]
    kept.close()


def test_the_journal_is_private(tmp_path):
    EmbeddedBroker(tmp_path / "deep" / "journal.sqlite").close()
    assert (tmp_path / "deep" / "journal.sqlite").stat().st_mode & 0o077 == 0


def test_what_is_on_disk_is_the_same_as_on_the_wire(embedded):
    sent = stop_run()
    embedded.publisher.send([sent])
    ((_, id, queue, body),) = embedded.broker.journal.live()
    assert (id, queue) == (sent.id, RUNS)
    assert envelope_in(message_in(body, queue)) == sent


def test_an_embedded_hub_shares_one_broker(tmp_path):
    settings = Settings(broker_url=f"embedded:///{tmp_path}/journal.sqlite")
    publisher = open_publisher(settings, "web")
    worker = open_worker_broker(settings, "decider", 400, DECIDERS)
    assert publisher is worker is open_embedded(settings)
    assert {open_embedded(settings).prefetch_of[queue] for queue in DECIDERS} == {400}
    publisher.close()
    again = open_embedded(settings)
    assert again is not publisher
    again.close()


def test_a_full_hub_has_a_broker_for_each_role(rabbitmq):
    settings = Settings(broker_url=rabbitmq.vhost(), database_url="postgresql://a:b@127.0.0.1/c")
    publisher = open_publisher(settings, "web")
    worker = open_worker_broker(settings, "decider", 400, DECIDERS)
    assert isinstance(publisher, GroupPublisher)
    assert isinstance(worker, RabbitBroker)
    assert worker.prefetch == 400
    publisher.send([stop_run()])
    letters = open_dead_letters(settings)
    assert letters.list() == []
    letters.close()
    publisher.close()
    worker.close()
