"""The two ways in which stock Dramatiq 2.2.1 loses messages: each shown with the stock broker, then with ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from dramatiq import Actor, Broker, Worker
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.middleware import Retries

from broker.messages import message_of
from broker.rabbitmq import PREFETCH_DELAYED, RabbitBroker
from domain import codec
from tests.broker.worlds import QUICK, RUNS, RabbitWorld, stop_run
from tests.waiting import until


def stock(world: RabbitWorld) -> Broker:
    return RabbitmqBroker(
        url=world.url, confirm_delivery=True, middleware=[Retries(max_retries=3, min_backoff=50, max_backoff=80)]
    )


def ours(world: RabbitWorld) -> Broker:
    return RabbitBroker(world.url, "decider", prefetch=2, routes=QUICK)


@pytest.fixture
def actors():
    """Started workers, stopped in the end whatever became of the test."""
    started: list[Worker] = []
    yield started
    for worker in started:
        worker.stop(5000)
        worker.broker.close()


def start(broker: Broker, body: Callable[[str], None], actors: list[Worker], threads: int) -> Worker:
    Actor(body, actor_name="stop_run", queue_name=RUNS, broker=broker, priority=0, options={})
    worker = Worker(broker, worker_threads=threads, worker_timeout=100)
    worker.start()
    actors.append(worker)
    return worker


# A retry cannot be published


def refuse_delays(world: RabbitWorld) -> None:
    """The delay queue is full, so every retry is refused."""
    limit = json.dumps({"max-length": 0, "overflow": "reject-publish"})
    world.ctl("set_policy", "-p", world.vhost, "full", r"^runs\.v1\.DQ$", limit, "--apply-to", "queues")


@dataclass
class Failing:
    """An actor that fails while `broken`."""

    broken: bool = True
    tries: int = 0
    done: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> None:
        self.tries += 1
        if self.broken:
            raise ValueError
        self.done.append(codec.decode(text).id)


def dead(world: RabbitWorld) -> int:
    with world.channel() as channel:
        return channel.queue_declare("runs.v1.XQ", passive=True).method.message_count


def test_stock_dramatiq_loses_a_message_whose_retry_cannot_be_published(rabbit, actors):
    refuse_delays(rabbit)
    actor, broker = Failing(), stock(rabbit)
    start(broker, actor, actors, threads=1)
    broker.enqueue(message_of(stop_run()))
    until(lambda: actor.tries and rabbit.unfinished(RUNS) == 0)
    assert actor.done == []
    assert dead(rabbit) == 0, "neither decided, nor waiting, nor dead: lost"


def test_ours_gives_a_message_back_whose_retry_cannot_be_published(rabbit, actors):
    actor, broker, sent = Failing(), ours(rabbit), stop_run()
    start(broker, actor, actors, threads=1)
    later = message_of(stop_run()).copy(queue_name=f"{RUNS}.DQ", options={"eta": 4_102_444_800_000})
    filling = PREFETCH_DELAYED + 10
    rabbit.publisher.publish([later] * filling)
    refuse_delays(rabbit)
    broker.enqueue(message_of(sent))
    until(lambda: actor.tries >= 5)
    assert rabbit.unfinished(RUNS) == filling + 1
    actor.broken = False
    until(lambda: actor.done == [sent.id])
    until(lambda: rabbit.unfinished(RUNS) == filling)
    assert dead(rabbit) == 0


# The connection is lost while actors run


class Gated:
    """An actor whose every message waits for its own gate. Notes what has begun and what is done, in order."""

    def __init__(self, ids: list[str]) -> None:
        self.gates = {id: threading.Event() for id in ids}
        self.begun: list[str] = []
        self.done: list[str] = []

    def __call__(self, text: str) -> None:
        id = codec.decode(text).id
        self.begun.append(id)
        self.gates[id].wait(300)
        self.done.append(id)


def lose_the_connection_while_two_of_three_are_in_hand(world: RabbitWorld, broker: Broker, actors: list[Worker]):
    """Afterwards the second is done; the third was begun, and nobody has finished it."""
    sent = [stop_run() for _ in range(3)]
    first, second, third = (each.id for each in sent)
    actor = Gated([first, second, third])
    actor.gates[first].set()
    worker = start(broker, actor, actors, threads=2)
    consumer = worker.consumers[RUNS]
    world.publisher.send(sent)
    until(lambda: set(actor.begun) == {first, second, third})
    until(lambda: world.unfinished(RUNS) == 2)
    before = consumer.consumer
    world.close_connections()
    until(lambda: consumer.consumer is not before and worker.work_queue.qsize() == 2, 30)
    actor.gates[second].set()
    until(lambda: actor.done.count(second) == 2)
    return actor, third, worker


def test_stock_dramatiq_acknowledges_another_message_after_a_reconnect(rabbit, actors):
    broker = stock(rabbit)
    for name, arguments in (("runs.v1", {}), ("runs.v1.DQ", {})):
        with rabbit.channel() as channel:
            dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "runs.v1.XQ"}
            channel.queue_declare(name, durable=True, arguments=arguments | dead_letters)
    actor, third, _ = lose_the_connection_while_two_of_three_are_in_hand(rabbit, broker, actors)
    until(lambda: rabbit.unfinished(RUNS) == 0)
    assert third not in actor.done, "RabbitMQ has forgotten it, nobody has done it: a kill -9 now and it is lost"
    actor.gates[third].set()


def test_ours_acknowledges_only_what_its_own_channel_delivered(rabbit, actors):
    actor, third, worker = lose_the_connection_while_two_of_three_are_in_hand(rabbit, ours(rabbit), actors)
    assert third not in actor.done
    until(lambda: actor.begun.count(third) == 2 and worker.work_queue.qsize() == 0)
    before = worker.consumers[RUNS].consumer
    rabbit.close_connections()
    until(lambda: worker.consumers[RUNS].consumer is not before and worker.work_queue.qsize() == 1, 30)
    (again,) = worker.work_queue.queue
    assert again.message.message_id == third, "the process may die now: RabbitMQ still has it"
    actor.gates[third].set()
    until(lambda: actor.done.count(third) == 3)
    until(lambda: rabbit.unfinished(RUNS) == 0)
