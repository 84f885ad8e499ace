"""RabbitMQ hands dead letters out to whoever looks at them, so that another finds them only later."""

from __future__ import annotations

import threading
import time

import pika
from dramatiq.common import xq_name

from broker.dead_letters import RabbitDeadLetters
from broker.topology import declare_all
from config.clock import SystemClock
from tests.vhosts import LendingRabbitmq


def test_one_in_the_hand_of_who_looks_at_it_is_thrown_away_a_little_later(rabbitmq: LendingRabbitmq) -> None:
    """As a page is shown anew right after somebody has thrown one away at it."""
    vhost = rabbitmq.vhost()  # of its own: nobody else looks there
    declare_all(vhost, "test")
    looks = pika.BlockingConnection(pika.URLParameters(vhost))
    channel = looks.channel()
    channel.confirm_delivery()
    channel.basic_publish("", xq_name("runs.v1"), b"cannot be read")
    letters = RabbitDeadLetters(vhost)
    (letter,) = letters.list()
    while channel.basic_get(xq_name("runs.v1"))[0] is None:
        time.sleep(0.05)
    purged: list[int] = []
    purging = threading.Thread(target=lambda: purged.append(letters.purge(id=letter.id)))
    purging.start()
    SystemClock().sleep(0.7)
    looks.close()
    purging.join(10)
    assert purged == [1]
    assert letters.list() == []
    letters.close()
    rabbitmq.take_back(vhost)
