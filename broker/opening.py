"""From settings to a broker: RabbitMQ, or the embedded one that a whole process shares.

What speaks AMQP is imported where RabbitMQ is asked for: pika is heavy, and an embedded hub has no use for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dramatiq import Broker

from broker.depths import Depth, depths_of_journal, depths_of_rabbitmq
from broker.embedded import EmbeddedBroker
from broker.port import Publisher
from config.settings import Settings, url_path
from domain.commands import Letter

if TYPE_CHECKING:
    from broker.dead_letters import DeadLetter, DeadLetters

_lock = threading.Lock()
_embedded: dict[Path, EmbeddedBroker] = {}


def open_publisher(settings: Settings, role: str) -> Publisher:
    """What the web, the relay and the ticker send with. `role` names the connection, e.g. "web"."""
    if settings.embedded:
        return open_embedded(settings)
    from broker.publisher import GroupPublisher  # noqa: PLC0415 - see above

    return GroupPublisher(settings.broker_url, role)


def open_worker_broker(settings: Settings, role: str, prefetch: int, queues: Iterable[str]) -> Broker:
    """What a Dramatiq worker consumes these queues from. `prefetch`: messages in hand for each of them."""
    if not settings.embedded:
        from broker.rabbitmq import RabbitBroker  # noqa: PLC0415 - see above

        return RabbitBroker(settings.broker_url, role, prefetch=prefetch)
    broker = open_embedded(settings)
    broker.prefetch_of.update(dict.fromkeys(queues, prefetch))
    return broker


def prepare_broker(settings: Settings, role: str) -> None:
    """Have every queue declared before anybody uses one. Raises `BrokerUnavailable`; try again later."""
    if not settings.embedded:
        from broker.topology import declare_all  # noqa: PLC0415 - see above

        declare_all(settings.broker_url, role)


@contextmanager
def opened_dead_letters(settings: Settings) -> Iterator[DeadLetters]:
    """Those of a hub that runs, for a part of it. Raises `BrokerUnavailable`."""
    from broker.dead_letters import EmbeddedDeadLetters, RabbitDeadLetters  # noqa: PLC0415 - see above

    if settings.embedded:
        broker = open_embedded(settings)
        yield EmbeddedDeadLetters(broker.journal, broker.put)
        return
    with closing(RabbitDeadLetters(settings.broker_url)) as letters:
        yield letters


def dead_letters_in(settings: Settings, at_most: int) -> Sequence[DeadLetter]:
    """The oldest dead letters. Raises `BrokerUnavailable`."""
    with opened_dead_letters(settings) as letters:
        return letters.list(limit=at_most)


def dead_letters_of(settings: Settings, at_most: int) -> list[Letter]:
    """The same, as the ticker tells of them."""
    found = dead_letters_in(settings, at_most)
    return [Letter(id=one.id, kind=one.kind, queue=one.queue) for one in found]


def depths_of(settings: Settings) -> list[Depth]:
    """How much waits in each durable queue. Raises `BrokerUnavailable`."""
    if settings.embedded:
        return depths_of_journal(open_embedded(settings).journal)
    return depths_of_rabbitmq(settings.broker_url)


def open_embedded(settings: Settings) -> EmbeddedBroker:
    """The embedded broker of this process: publisher and Dramatiq broker in one, the same for every caller.

    Raises `JournalLocked` if another process has the journal.
    """
    path = Path(url_path(settings.broker_url)).absolute()
    with _lock:
        broker = _embedded.get(path)
        if broker is None or broker.closed:
            broker = _embedded[path] = EmbeddedBroker(path)
        return broker
