"""A RabbitMQ that is killed under the publisher and the decider, and started again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config.clock import SystemClock
from devservers.postgres import PrivatePostgres
from domain import records as r
from tests.actors.test_deciding import Yard, organisations, yard_on
from tests.broker.test_publisher import sends
from tests.broker.worlds import stop_run
from tests.vhosts import LendingRabbitmq
from tests.waiting import until

CLOCK = SystemClock()


def test_a_crash_of_rabbitmq_loses_nothing_that_was_confirmed(rabbitmq, rabbit):
    confirmed = [stop_run() for _ in range(100)]
    rabbit.decided.gate.clear()
    rabbit.work()
    CLOCK.sleep(3)  # RabbitMQ itself does not know a queue again that was declared right before a kill -9
    rabbit.publisher.send(confirmed)
    rabbitmq.kill()
    assert not sends(rabbit.publisher)
    rabbitmq.start()
    rabbit.decided.gate.set()
    last = stop_run()
    until(lambda: sends(rabbit.publisher), 60)
    rabbit.publisher.send([last])
    until(lambda: {each.id for each in (*confirmed, last)} <= set(rabbit.decided.ids), 60)


@pytest.fixture
def rabbit_yard(rabbitmq: LendingRabbitmq, postgres: PrivatePostgres) -> Iterator[Yard]:
    with yard_on(rabbitmq, postgres) as opened:
        yield opened


def test_commands_survive_a_broker_that_is_killed(rabbit_yard: Yard, rabbitmq: LendingRabbitmq) -> None:
    envelopes = organisations(rabbit_yard, 100)
    rabbit_yard.publisher.send(envelopes)
    CLOCK.sleep(6)  # RabbitMQ 3.10 writes what it knows of a new quorum queue every five seconds; docs/limits.md
    rabbitmq.kill()
    rabbitmq.restart()
    rabbit_yard.start()
    until(lambda: rabbit_yard.decided(envelopes) == 100)
    assert len(rabbit_yard.hub.rows(r.Organisation)) == 100
