"""What an operator reads when RabbitMQ is away: once, in words, without a password."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pika
import pytest

from broker.causes import cause_of
from broker.rabbitmq import Outage, RabbitBroker
from config.logs import set_up_logs
from devservers.ports import free_port
from devservers.rabbitmq import PrivateRabbitmq


def cause(url: str) -> str:
    parameters = pika.URLParameters(url)
    parameters.connection_attempts = 1
    parameters.stack_timeout = parameters.socket_timeout = 0.5
    with pytest.raises(Exception) as caught:
        pika.BlockingConnection(parameters)
    return cause_of(caught.value)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of somebody who accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_every_way_of_not_getting_in_has_words(rabbitmq: PrivateRabbitmq, silent: int) -> None:
    here = rabbitmq.url.split("@")[1]
    assert cause(f"amqp://a:b@127.0.0.1:{free_port()}/x") == "connection refused"
    assert cause("amqp://a:b@nowhere.invalid:1/x") == "the host's name is not known"
    assert cause(f"amqp://a:b@127.0.0.1:{silent}/x") == "no answer in time"
    assert cause(f"amqp://{rabbitmq.user}:wrong@{here}/x") == "the login was refused"
    assert cause(f"{rabbitmq.url}/no-such") == "there is no such vhost, or it is closed to this user"


def test_an_outage_of_many_queues_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    outage.ends("a")
    for _ in range(3):
        outage.begins("a", "connection refused")
        outage.begins("b", "connection refused")
    outage.ends("a")
    outage.ends("b")
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert "connection refused" in said[0]
    assert "back" in said[1]


def test_a_worker_without_rabbitmq_says_so_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    set_up_logs("decider", "INFO")
    try:
        broker = RabbitBroker(f"amqp://hub:s3cret@127.0.0.1:{free_port()}/x", "decider", prefetch=1)
        for queue in ("runs.v1", "sites.v1", "runs.v1"):
            with pytest.raises(Exception, match="connection refused"):
                broker.consume(queue)
        logging.getLogger("dramatiq.worker.ConsumerThread(runs.v1)").critical(
            "Consumer encountered a connection error: %s", "again"
        )
        broker.close()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        logging.getLogger("pika").setLevel(logging.NOTSET)
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert "RabbitMQ is away (connection refused)" in said[0]
    assert "s3cret" not in said[0]
