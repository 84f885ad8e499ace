"""The deciding worker over its brokers: embedded with SQLite, RabbitMQ with PostgreSQL; killed, cut off, poisoned."""

from __future__ import annotations

import functools
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.deciding import BATCH_BYTES
from actors.running import run_decider, run_relay
from broker.dead_letters import open_dead_letters
from broker.opening import open_publisher, prepare_broker
from broker.port import Publisher
from config.clock import SystemClock
from config.settings import Settings
from devservers.postgres import PrivatePostgres
from domain import codec
from domain import commands as c
from domain import records as r
from domain.commands import Envelope
from domain.ids import derive
from domain.states import Report
from storage.audit import verify
from storage.database import open_database
from storage.migrate import migrate
from tests.hub import Hub
from tests.role import start_role
from tests.vhosts import LendingRabbitmq
from tests.waiting import until

CLOCK = SystemClock()


class Yard:
    """Settings for a hub, a publisher to it, and `hub` to prepare and to look at its store."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = open_database(settings.database_url)
        migrate(self.database)
        self.hub = Hub(self.database)
        self.hub.clock = CLOCK  # type: ignore[assignment]
        prepare_broker(settings, "test")
        self.publisher: Publisher = open_publisher(settings, "test")
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, role: Callable[[Settings, threading.Event], None] = run_decider) -> None:
        thread = threading.Thread(target=role, args=(self.settings, self._stop))
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._stop.clear()

    def reopen(self) -> None:
        """As after a restart of the process: nothing but what is on disk is left."""
        self.stop()
        self.publisher.close()
        self.publisher = open_publisher(self.settings, "test")

    def decided(self, envelopes: list[Envelope]) -> int:
        wanted = {e.id for e in envelopes}
        return sum(outcome.id in wanted for outcome in self.hub.rows(r.Outcome))

    def dead(self) -> list[Any]:
        letters = open_dead_letters(self.settings)
        found = list(letters.list())
        letters.close()
        return found

    def close(self) -> None:
        self.stop()
        self.publisher.close()
        self.database.close()


@contextmanager
def yard_on(rabbitmq: LendingRabbitmq, postgres: PrivatePostgres) -> Iterator[Yard]:
    settings = Settings(broker_url=rabbitmq.vhost(), database_url=postgres.database(), relay_after_s=0.5)
    opened = Yard(settings)
    yield opened
    opened.close()
    rabbitmq.take_back(settings.broker_url)


@pytest.fixture
def rabbit_yard(rabbitmq: LendingRabbitmq, postgres: PrivatePostgres) -> Iterator[Yard]:
    with yard_on(rabbitmq, postgres) as opened:
        yield opened


@pytest.fixture
def embedded_yard(tmp_path: Path) -> Iterator[Yard]:
    opened = Yard(
        Settings(broker_url=f"embedded:///{tmp_path}/journal.sqlite", database_url=f"sqlite:///{tmp_path}/store.sqlite")
    )
    yield opened
    opened.close()


@pytest.fixture(params=["embedded_yard", "rabbit_yard"])
def yard(request: pytest.FixtureRequest) -> Yard:
    found: Yard = request.getfixturevalue(request.param)
    return found


def more_than(yard: Yard, envelopes: list[Envelope], before: int) -> bool:
    return yard.decided(envelopes) > min(before, len(envelopes) - 1)


def organisations(yard: Yard, count: int, start: int = 0) -> list[Envelope]:
    return [yard.hub.envelope(c.CreateOrganisation(name=f"organisation {n}")) for n in range(start, start + count)]


def test_what_waits_is_decided_in_its_order(yard: Yard) -> None:
    sites = yard.hub.sites(2)
    project = yard.hub.project(sites)
    message = [c.NewMessage(project_id=project, to="coordinator", body=b"x")]
    posts = [
        yard.hub.envelope(c.PostMessages(sender_site_id=sites[1].id, messages=message), sites[1]) for _ in range(200)
    ]
    yard.publisher.send(posts)
    yard.start()
    until(lambda: yard.decided(posts) == len(posts))
    entries = [e.message_id for e in yard.hub.inbox(sites[0]) if e.kind == "message"]
    assert entries == [derive(post.id, "message", 0) for post in posts]


def test_large_commands_are_decided_in_small_batches(yard: Yard) -> None:
    sites = yard.hub.sites(2)
    project = yard.hub.project(sites)
    messages = [c.NewMessage(project_id=project, to="coordinator", body=bytes(200_000))] * 3
    posts = [
        yard.hub.envelope(c.PostMessages(sender_site_id=sites[1].id, messages=messages), sites[1]) for _ in range(40)
    ]
    text = len(codec.encode(posts[0]))
    assert text * len(posts) > 3 * BATCH_BYTES
    yard.publisher.send(posts)
    yard.start()
    until(lambda: yard.decided(posts) == len(posts))
    batches = Counter(o.decided_at for o in yard.hub.rows(r.Outcome) if o.kind == "post_messages")
    assert max(batches.values()) <= 1 + BATCH_BYTES // text
    assert len(yard.hub.inbox(sites[0])) >= 3 * len(posts)


def test_a_command_sent_three_times_is_decided_once(yard: Yard) -> None:
    sites = yard.hub.sites(2)
    start = yard.hub.envelope(c.StartRun(project_id=yard.hub.project(sites)), sites[0])
    last = yard.hub.envelope(c.CreateOrganisation(name="last"))
    yard.start()
    for _ in range(3):
        yard.publisher.send([start])
    yard.publisher.send([last])
    until(lambda: yard.decided([start, last]) == 2)
    assert len(yard.hub.rows(r.Run)) == 1


def test_an_early_report_waits_for_the_one_before_it(yard: Yard) -> None:
    sites = yard.hub.sites(2)
    run = yard.hub.start(yard.hub.project(sites), sites[0])
    accept = yard.hub.envelope(yard.hub.reporting(run, sites[1], Report.ACCEPT, seq=1), sites[1])
    ready = yard.hub.envelope(yard.hub.reporting(run, sites[1], Report.READY, seq=2), sites[1])
    lonely = yard.hub.envelope(yard.hub.reporting(run, sites[0], Report.READY, seq=5), sites[0])
    yard.start()
    yard.publisher.send([ready, lonely])
    CLOCK.sleep(0.1)
    yard.publisher.send([accept])
    until(lambda: yard.decided([accept, ready, lonely]) == 3)
    assert yard.hub.seat(run, sites[1]).state == "ready"
    assert yard.hub.rows(r.Outcome, "id = %s", lonely.id)[0].status == 409


def test_a_poison_command_harms_only_itself(yard: Yard) -> None:
    sites = yard.hub.sites(2)
    project = yard.hub.project(sites)
    with yard.database.connection():
        yard.database.execute("DELETE FROM mailboxes WHERE site_id = %s", (sites[0].id,))
    message = [c.NewMessage(project_id=project, to="coordinator", body=b"x")]
    poison = yard.hub.envelope(c.PostMessages(sender_site_id=sites[1].id, messages=message), sites[1])
    neighbours = organisations(yard, 30)
    yard.publisher.send([*neighbours[:15], poison, *neighbours[15:]])
    yard.start()
    until(lambda: yard.decided(neighbours) == 30)
    assert yard.decided([poison]) == 0


def test_heartbeats_take_the_lean_lane(yard: Yard) -> None:
    site = yard.hub.site("one")
    beats = c.RecordHeartbeats(beats=[c.Beat(site.id, 77, 5)], token_uses=[c.TokenUse(site.id, 78)])
    yard.start()
    CLOCK.sleep(0.5)
    yard.publisher.send([yard.hub.envelope(beats)])

    def seen() -> list[Any]:
        with yard.database.connection():
            return yard.database.all("SELECT seen_at, handed_out FROM site_beats")

    until(seen)
    assert seen() == [(77, 5)]


def test_a_restart_goes_on_with_what_was_left(yard: Yard) -> None:
    envelopes = organisations(yard, 40)
    yard.start()
    yard.publisher.send(envelopes[:20])
    yard.reopen()
    yard.publisher.send(envelopes[20:])
    yard.reopen()
    yard.start()
    until(lambda: yard.decided(envelopes) == 40)
    assert len(yard.hub.rows(r.Organisation)) == 40


def test_commands_wait_while_the_database_is_away(rabbit_yard: Yard, postgres: PrivatePostgres) -> None:
    first, later = organisations(rabbit_yard, 10), organisations(rabbit_yard, 30, start=10)
    rabbit_yard.start()
    rabbit_yard.publisher.send(first)
    until(lambda: rabbit_yard.decided(first) == 10)
    rabbit_yard.database.close()
    postgres.kill()
    rabbit_yard.publisher.send(later)
    CLOCK.sleep(2)
    postgres.restart()
    until(lambda: rabbit_yard.decided(later) == 30)
    assert len(rabbit_yard.hub.rows(r.Organisation)) == 40
    assert rabbit_yard.dead() == []


def test_a_decider_killed_at_any_moment_loses_and_doubles_nothing(rabbit_yard: Yard) -> None:
    yard = rabbit_yard
    sites = yard.hub.sites(4)
    project = yard.hub.project(sites, max_live_runs=100)
    message = [c.NewMessage(project_id=project, to="coordinator", body=b"x")]
    envelopes: list[Envelope] = []
    for number in range(60):
        envelopes.append(yard.hub.envelope(c.StartRun(project_id=project), sites[0]))
        sender = sites[1 + number % 3]
        posting = c.PostMessages(sender_site_id=sender.id, messages=message)
        envelopes += [yard.hub.envelope(posting, sender) for _ in range(10)]
    yard.publisher.send(envelopes)
    chance = random.Random(7)
    settings = yard.settings
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("FEDYARD_")},
        "FEDYARD_BROKER_URL": settings.broker_url,
        "FEDYARD_DATABASE_URL": settings.database_url,
        "FEDYARD_DECIDE_AT_MOST": "20",
    }
    for _ in range(6):
        with Path(os.devnull).open("wb") as nowhere:
            decider = start_role("python -m actors.running decider", environment, nowhere)
        before = yard.decided(envelopes)
        until(functools.partial(more_than, yard, envelopes, before))
        CLOCK.sleep(chance.uniform(0, 0.15))
        decider.send_signal(signal.SIGKILL)
        decider.wait()
    yard.start()
    yard.start(run_relay)
    until(lambda: yard.decided(envelopes) == len(envelopes))
    assert sorted(run.number for run in yard.hub.rows(r.Run)) == list(range(1, 61))
    entries = yard.hub.inbox(sites[0])
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert sum(entry.kind == "message" for entry in entries) == 600
    assert len({entry.message_id for entry in entries if entry.kind == "message"}) == 600
    assert list(verify(yard.database)) == []
    assert yard.dead() == []
