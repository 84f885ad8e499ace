"""From settings to a broker: RabbitMQ, or the embedded one that a whole process shares.

What speaks AMQP is imported where RabbitMQ is asked for: pika is heavy, and an embedded hub has no use for it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

from dramatiq import Broker

from broker.embedded import EmbeddedBroker
from broker.port import Publisher
from config.settings import Settings, url_path

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
