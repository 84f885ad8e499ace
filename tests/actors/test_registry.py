"""What the table of commands names is there: an actor for each row, whoever does it, and somebody who consumes it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from dramatiq.brokers.stub import StubBroker

from actors.deciding import DECIDERS, Decider
from actors.doers import Tools, doing_functions
from actors.doing import DOERS, Doer
from actors.packed import TAKING_IN
from actors.registry import register_deciding, register_doing
from actors.running import ROLES
from broker.policies import policies
from broker.routes import QUEUES, ROUTES
from broker.topology import declarations
from config.processes import STREAM_WORKERS, WORKERS
from config.settings import Settings
from domain.commands import EnsureWorkload
from domain.rules import Rules
from domain.table import ROWS, Kind
from storage.database import open_database
from storage.store import Store
from tests.actors.test_time import Kept
from tests.databases import fresh_sqlite
from tests.hub import TestClock


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    database = open_database(fresh_sqlite(tmp_path / "store.sqlite"))
    return Tools(Settings(webhook_key_file=str(tmp_path / "webhook.key")), database, TestClock())


def of_kind(kind: Kind) -> set[type]:
    return {row.command for row in ROWS if row.kind is kind}


def test_what_is_done_has_exactly_one_doing_function_and_what_is_packed_somebody_who_takes_it_in(tools: Tools) -> None:
    assert set(doing_functions(tools)) == of_kind(Kind.DONE)
    assert set(TAKING_IN) == of_kind(Kind.PACKED)


@pytest.mark.parametrize(("said", "door"), [('door_url = "http://door:1"', "http://door:1"), ("", "http://hub:2")])
def test_who_makes_workloads_knows_where_their_door_is(tools: Tools, tmp_path: Path, said: str, door: str) -> None:
    (tmp_path / "streams.toml").write_text(said)
    more = {"streams": str(tmp_path / "streams.toml"), "workload_hub_url": "http://hub:2"}
    settings = msgspec.structs.replace(tools.settings, **more)
    doer = doing_functions(Tools(settings, tools.database, tools.clock))[EnsureWorkload]
    assert vars(doer)["_door_url"] == door


def test_every_command_has_one_actor_in_one_kind_of_process(tools: Tools) -> None:
    decider = Decider(Store(tools.database), Kept(), tools.clock, Rules())
    doer = Doer(doing_functions(tools), Kept(), tools.clock)
    deciding, doing = register_deciding(StubBroker(), decider), register_doing(StubBroker(), doer)
    assert sorted([*deciding, *doing]) == sorted(row.name for row in ROWS)
    assert sorted(doing) == sorted(ROUTES[command].actor for command in of_kind(Kind.DONE))


def test_every_queue_is_consumed_by_one_kind_of_process() -> None:
    assert not DECIDERS & DOERS
    assert {queue.name for queue in QUEUES} == DECIDERS | DOERS


def test_the_workers_are_named_once() -> None:
    assert tuple(ROLES) == (*WORKERS, *STREAM_WORKERS)


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_every_queue_has_its_limits(queue: object) -> None:
    """A policy of RabbitMQ's; of those that match the one with the highest priority counts."""
    assert queue in QUEUES
    for each in declarations(queue.name):  # type: ignore[attr-defined]
        matching = [policy for policy in policies() if re.search(policy["pattern"], each.name)]
        chosen = max(matching, key=lambda policy: policy["priority"])
        wanted = "drop-head" if not queue.durable else "reject-publish"  # type: ignore[attr-defined]
        assert chosen["definition"]["overflow"] == wanted
        assert [policy["priority"] for policy in matching].count(chosen["priority"]) == 1
