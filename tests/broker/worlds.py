"""The two brokers as one suite sees them, and a small batching worker of the shape that the decider has."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty
from typing import Any, Protocol, cast

import pika
from dramatiq import Actor, Broker, Worker
from dramatiq.worker import WorkerThread

from broker.dead_letters import DeadLetters, EmbeddedDeadLetters, RabbitDeadLetters
from broker.depths import Depth, depths_of_journal, depths_of_rabbitmq
from broker.embedded import EmbeddedBroker
from broker.management import Management
from broker.messages import envelope_in
from broker.port import Publisher
from broker.publisher import GroupPublisher
from broker.rabbitmq import RabbitBroker
from broker.routes import ROUTES, Route
from broker.topology import declare_all
from config.clock import SystemClock, draw_id
from domain import codec
from domain import commands as c
from domain.commands import Envelope
from tests.waiting import until

CLOCK = SystemClock()
RUNS = "runs.v1"
HEARTBEATS = "heartbeats.v1"

QUICK: dict[str, Route] = {
    route.actor: dataclasses.replace(
        route, retries=min(route.retries, 2), patience=5, min_backoff_ms=50, max_backoff_ms=80
    )
    for route in ROUTES.values()
}
"""The real routes with short back-offs."""


def stop_run(reason: str = "") -> Envelope:
    return envelope(c.StopRun(run_id=draw_id(), reason=reason))


def heartbeats() -> Envelope:
    return envelope(c.RecordHeartbeats(beats=[], token_uses=[]))


def envelope(command: c.AnyCommand) -> Envelope:
    return codec.envelope_of(command, id=draw_id(), by=codec.THE_HUB, at=CLOCK.now())


class Decided:
    """What a worker did: ids in order, one for each time that the body ran through."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.batches: list[int] = []
        self.tries: dict[str, int] = {}
        self.failing: Callable[[Envelope], BaseException | None] = lambda _: None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, text: str) -> None:
        envelope = codec.decode(text)
        self.tries[envelope.id] = self.tries.get(envelope.id, 0) + 1
        self.gate.wait(30)
        error = self.failing(envelope)
        if error is not None:
            raise error
        self.ids.append(envelope.id)


class BatchingThread(WorkerThread):
    """Takes what waits, runs it as one batch, then settles each message by itself."""

    decided: Decided

    def process_message(self, message):
        messages = [message]
        while len(messages) < 500:
            try:
                messages.append(self.work_queue.get_nowait().message)
            except Empty:
                break
        self.decided.batches.append(len(messages))
        for each in messages:
            self.broker.emit_before("process_message", each)
            error: BaseException | None = None
            try:
                envelope_in(each)
                self.decided(each.args[0])
            except Exception as raised:  # noqa: BLE001 - what an actor raises
                error = raised
            self.broker.emit_after("process_message", each, exception=error)
            self.consumers[each.queue_name].post_process_message(each)
            self.work_queue.task_done()


class BatchingWorker(Worker):
    def __init__(self, broker: Broker, decided: Decided) -> None:
        super().__init__(broker, worker_threads=1, worker_timeout=100)
        self.decided = decided

    def _add_worker(self) -> None:
        thread = BatchingThread(
            broker=self.broker,
            consumers=self.consumers,
            work_queue=self.work_queue,
            worker_timeout=self.worker_timeout,
        )
        thread.decided = self.decided
        thread.start()
        self.workers.append(thread)


class Working(Protocol):
    def stop(self, timeout: int = ...) -> None: ...


class World(ABC):
    """One broker with what a hub does to it."""

    def __init__(self) -> None:
        self.decided = Decided()
        self.workers: list[Worker] = []
        self.routes: dict[str, Route] = QUICK

    publisher: Publisher

    def work(self, *, threads: int = 0, actors: Sequence[str] = ("stop_run", "record_heartbeats")) -> Worker:
        """A batching worker; with `threads`, a stock one with so many."""
        broker = self.worker_broker()
        for route in ROUTES.values():
            if route.actor in actors:
                Actor(
                    self.decided, actor_name=route.actor, queue_name=route.queue, broker=broker, priority=0, options={}
                )
        worker = (
            Worker(broker, worker_threads=threads, worker_timeout=100)
            if threads
            else BatchingWorker(broker, self.decided)
        )
        worker.start()
        self.workers.append(worker)
        return worker

    def settled(self, queue: str) -> bool:
        """Whether nothing is left, once the workers rest; else they go on."""
        self.rest()
        if self.left(queue) == 0:
            return True
        self.work()
        CLOCK.sleep(0.2)
        return False

    def rest(self) -> None:
        """Stop the workers in good order."""
        for worker in self.workers:
            worker.stop(5000)
            self.put_down(worker.broker)
        self.workers.clear()

    @abstractmethod
    def worker_broker(self) -> Broker: ...

    @abstractmethod
    def put_down(self, broker: Broker) -> None: ...

    @abstractmethod
    def dead_letters(self) -> DeadLetters: ...

    @abstractmethod
    def depths(self) -> dict[str, Depth]: ...

    @abstractmethod
    def interrupt(self) -> None:
        """What was delivered and not acknowledged loses its way back."""

    @abstractmethod
    def put_raw(self, queue: str, body: bytes) -> None: ...

    @abstractmethod
    def left(self, queue: str) -> int:
        """Messages in the queue and its delay queue. Let the workers rest first: what they hold is not counted."""

    @abstractmethod
    def close(self) -> None: ...


class EmbeddedWorld(World):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = folder / "journal.sqlite"
        self.broker = self._open()

    def _open(self) -> EmbeddedBroker:
        self.publisher = EmbeddedBroker(self.path, routes=self.routes)
        return self.publisher

    def worker_broker(self) -> Broker:
        self.broker.middleware = [m for m in self.broker.middleware if type(m).__name__ != "_WorkerMiddleware"]
        self.broker.actors.clear()
        return self.broker

    def put_down(self, broker: Broker) -> None:
        """The broker goes on: it is the publisher as well."""

    def dead_letters(self) -> DeadLetters:
        return EmbeddedDeadLetters(self.broker.journal, self.broker.put)

    def depths(self) -> dict[str, Depth]:
        return {one.queue: one for one in depths_of_journal(self.broker.journal)}

    def interrupt(self) -> None:
        """As if the process had died: what is on disk is what a new one finds. Its worker works on, in vain."""
        old, workers = self.broker, list(self.workers)
        old.closed = True
        old.journal.close()
        self.workers.clear()
        self.broker = self._open()
        self.decided.gate.set()
        for worker in workers:
            worker.stop(5000)
        self.work()

    def put_raw(self, queue: str, body: bytes) -> None:
        self.broker.close()
        with sqlite3.connect(self.path) as db:
            db.execute(
                "INSERT INTO journal (id, queue, kind, body, size_bytes) VALUES ('x', ?, 'x', ?, 1)", (queue, body)
            )
        db.close()
        self.broker = self._open()

    def left(self, queue: str) -> int:
        return sum(1 for _, _, name, _ in self.broker.journal.live() if name.removesuffix(".DQ") == queue)

    def close(self) -> None:
        self.decided.gate.set()
        self.rest()
        self.broker.close()


class RabbitWorld(World):
    def __init__(self, url: str, ctl: Callable[..., str], management: Management) -> None:
        super().__init__()
        self.url, self.ctl, self.management = url, ctl, management
        self.vhost = url.rsplit("/", 1)[1]
        self.publisher = GroupPublisher(url, "web")
        until(lambda: self.publisher.ready() is None)  # a node that has just started may take its time to declare

    def worker_broker(self) -> Broker:
        return RabbitBroker(self.url, "decider", prefetch=500, routes=self.routes)

    def put_down(self, broker: Broker) -> None:
        broker.close()

    def dead_letters(self) -> DeadLetters:
        return RabbitDeadLetters(self.url)

    def depths(self) -> dict[str, Depth]:
        declare_all(self.url, "test")
        return {one.queue: one for one in depths_of_rabbitmq(self.url)}

    def interrupt(self) -> None:
        self.close_connections()
        self.decided.gate.set()

    def close_connections(self) -> None:
        self.ctl("close_all_connections", "--vhost", self.vhost, "a test")

    def put_raw(self, queue: str, body: bytes) -> None:
        with self.channel() as channel:
            channel.basic_publish("", queue, body)

    def channel(self) -> _Closing:
        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        channel = connection.channel()
        channel.confirm_delivery()
        return _Closing(connection, channel)

    def left(self, queue: str) -> int:
        with self.channel() as channel:
            return sum(channel.queue_declare(n, passive=True).method.message_count for n in (queue, f"{queue}.DQ"))

    def unfinished(self, queue: str) -> int:
        """With what is delivered and not yet acknowledged, but some seconds old; -1 before it was counted."""
        counts = self.facts("messages")
        if any(counts.get(name, 0) is None for name in (queue, f"{queue}.DQ")):
            return -1
        return sum(counts.get(name, 0) for name in (queue, f"{queue}.DQ"))

    def facts(self, fact: str) -> dict[str, Any]:
        """One fact of every queue of ours, as the management API knows it."""
        queues = cast(list[dict[str, Any]], self.management.call("GET", f"/queues/{self.vhost}"))
        return {queue["name"]: queue.get(fact) for queue in queues}

    def close(self) -> None:
        self.decided.gate.set()
        self.rest()
        self.publisher.close()


class _Closing:
    """A channel that takes its connection along."""

    def __init__(self, connection, channel) -> None:
        self.connection, self.channel = connection, channel

    def __enter__(self):
        return self.channel

    def __exit__(self, *_):
        if self.connection.is_open:
            self.connection.close()
