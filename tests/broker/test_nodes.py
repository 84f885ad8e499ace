"""A broker URL that names several nodes: whoever answers will do."""

from __future__ import annotations

import pytest

from broker.dead_letters import RabbitDeadLetters
from broker.port import BrokerUnavailable
from broker.publisher import GroupPublisher
from broker.rabbitmq import RabbitBroker
from broker.topology import declare_all, parameters_of
from config.settings import Settings, SettingsError
from devservers.ports import free_port
from tests.broker.proxy import Proxy
from tests.broker.worlds import RUNS, stop_run
from tests.waiting import until


@pytest.fixture
def nodes(rabbit, rabbitmq):
    """Two ways to one RabbitMQ, which is a cluster as far as a client can tell, and the URL of both."""
    ways = [Proxy(rabbitmq.port), Proxy(rabbitmq.port)]
    yield ways, ",".join(rabbit.url.replace(f":{rabbitmq.port}/", f":{way.port}/") for way in ways)
    for way in ways:
        way.close()


def test_parameters_are_bounded_for_every_node():
    found = parameters_of("amqp://hub:a@one:1/v,amqp://hub:b%2Cc@two:2/v", "web")
    assert [(node.host, node.port, node.virtual_host) for node in found] == [("one", 1, "v"), ("two", 2, "v")]
    assert found[1].credentials.password == "b,c"
    assert all(node.socket_timeout < 1 and node.connection_attempts == 1 for node in found)


def test_a_message_goes_to_the_next_node_when_one_is_gone(rabbit, nodes):
    (first, second), url = nodes
    declare_all(url, "test")
    publisher = GroupPublisher(url, "web")
    publisher.send([stop_run()])
    assert (first.accepted > 0, second.accepted) == (True, 0)
    first.close()
    until(lambda: publisher.ready() is None)
    for _ in range(3):
        publisher.send([stop_run()])
    assert second.accepted == 1
    publisher.close()


def test_a_message_in_hand_survives_a_node_that_falls_silent(nodes):
    (first, second), url = nodes
    declare_all(url, "test")
    publisher = GroupPublisher(url, "web")
    publisher.send([stop_run()])
    first.mode = "silent"
    publisher.send([stop_run()])
    assert second.accepted == 1
    publisher.close()


def test_the_first_node_is_down_from_the_beginning(rabbit, rabbitmq):
    down = rabbit.url.replace(f":{rabbitmq.port}/", f":{free_port()}/")
    url = f"{down},{rabbit.url}"
    declare_all(url, "test")
    publisher = GroupPublisher(url, "web")
    message = stop_run()
    publisher.send([message])
    publisher.close()
    broker = RabbitBroker(url, "decider", prefetch=1)
    consumer = broker.consume(RUNS, timeout=1000)
    found = []
    until(lambda: found.extend(filter(None, [next(consumer)])) or found)
    (delivery,) = found
    assert delivery.message_id == message.id
    consumer.ack(delivery)
    consumer.close()
    broker.close()
    letters = RabbitDeadLetters(url)
    assert letters.list() == []
    letters.close()


def test_all_nodes_are_down():
    url = ",".join(f"amqp://hub:hidden@127.0.0.1:{free_port()}/v" for _ in range(2))
    publisher = GroupPublisher(url, "web")
    with pytest.raises(BrokerUnavailable) as caught:
        publisher.send([stop_run()])
    assert "hidden" not in str(caught.value)
    publisher.close()
    with pytest.raises(BrokerUnavailable):
        declare_all(url, "test")


def test_nodes_of_one_url_share_a_vhost():
    with pytest.raises(SettingsError, match="several nodes"):
        Settings(broker_url="amqp://a:b@one/v,amqp://a:b@two/w", database_url="postgresql://a:b@c/d")
    with pytest.raises(SettingsError, match="several nodes"):
        Settings(broker_url="amqp://a:b@one/v,two/v", database_url="postgresql://a:b@c/d")
    Settings(broker_url="amqp://a:b@one/v,amqp://a:b@two/v", database_url="postgresql://a:b@c/d")
