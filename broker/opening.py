"""From settings to a broker: RabbitMQ, or the embedded one that a whole process shares.

What speaks AMQP is imported where RabbitMQ is asked for: pika is heavy, and an embedded hub has no use for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from dramatiq import Broker

from broker.depths import Depth, depths_of_journal, depths_of_rabbitmq
from broker.embedded import EmbeddedBroker
from broker.port import Publisher
from config.settings import Settings, url_path
from domain.commands import Letter

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


def dead_letters_of(settings: Settings, at_most: int) -> list[Letter]:
    """The oldest dead letters, as the ticker tells of them. Raises `BrokerUnavailable`."""
    from broker.dead_letters import EmbeddedDeadLetters, RabbitDeadLetters  # noqa: PLC0415 - see above

    if settings.embedded:
        found = EmbeddedDeadLetters(open_embedded(settings).journal).list(limit=at_most)
    else:
        with closing(RabbitDeadLetters(settings.broker_url)) as letters:
            found = letters.list(limit=at_most)
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
