"""The group publisher when RabbitMQ, or the way to it, is out of order."""

from __future__ import annotations

import json
import os
import threading

import pika
import pytest

from broker.policies import apply_policies, policies
from broker.port import BrokerUnavailable
from broker.publisher import GroupPublisher
from broker.routes import QUEUES, ROUTES
from devservers.ports import free_port
from tests.broker.proxy import Proxy
from tests.broker.worlds import CLOCK, RUNS, heartbeats, stop_run
from tests.waiting import until


@pytest.fixture
def proxy(rabbitmq):
    between = Proxy(rabbitmq.port)
    yield between
    between.close()


@pytest.fixture
def through(rabbit, proxy):
    """A publisher that reaches RabbitMQ by way of the proxy."""
    url = pika.URLParameters(rabbit.url)
    login = f"{url.credentials.username}:{url.credentials.password}"
    publisher = GroupPublisher(f"amqp://{login}@127.0.0.1:{proxy.port}/{rabbit.vhost}", "web")
    yield publisher
    publisher.close()


def sends(publisher: GroupPublisher) -> bool:
    try:
        publisher.send([stop_run()])
    except BrokerUnavailable:
        return False
    return True


def refused(publisher: GroupPublisher) -> str:
    with pytest.raises(BrokerUnavailable) as caught:
        publisher.send([stop_run()])
    assert caught.value.retry_after_s >= 1
    return str(caught.value)


def test_nobody_listens():
    publisher = GroupPublisher(f"amqp://hub:hidden@127.0.0.1:{free_port()}/v", "web")
    text = refused(publisher)
    assert "cannot be reached" in text
    assert "hidden" not in text
    assert "cannot be reached" in (publisher.ready() or "")
    publisher.send([heartbeats()])
    publisher.close()


def test_a_wrong_password_is_told_without_the_password(rabbit):
    url = rabbit.url.split("@")[1]
    publisher = GroupPublisher(f"amqp://fedyard:hidden@{url}", "web")
    assert "hidden" not in refused(publisher)
    publisher.close()


def test_for_a_second_after_a_failure_nobody_tries(through, proxy):
    proxy.mode = "silent"
    refused(through)
    tried = proxy.accepted
    for _ in range(20):
        refused(through)
    assert proxy.accepted == tried
    proxy.mode = "ok"
    until(lambda: sends(through))


def test_a_host_that_accepts_and_says_nothing(through, proxy):
    proxy.mode = "silent"
    refused(through)
    assert proxy.accepted <= 2
    assert through.ready() is not None
    proxy.mode = "ok"
    until(lambda: through.ready() is None)
    through.send([stop_run()])


def test_a_connection_that_falls_silent(through, proxy):
    through.send([stop_run()])
    proxy.mode = "silent"
    refused(through)
    proxy.mode = "ok"
    until(lambda: sends(through))


def test_a_cut_connection_is_not_even_noticed(through, proxy):
    for _ in range(5):
        through.send([stop_run()])
        proxy.drop()
    through.send([stop_run()])


def test_threads_that_wait_when_it_falls_silent_are_all_told(through, proxy):
    through.send([stop_run()])
    proxy.mode = "silent"
    told: list[bool] = []
    threads = [threading.Thread(target=lambda: told.append(sends(through))) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [False] * 32


def test_what_was_confirmed_is_there_however_often_the_connection_is_cut(rabbit, through, proxy):
    confirmed: list[str] = []

    def send():
        for _ in range(200):
            command = stop_run()
            try:
                through.send([command])
            except BrokerUnavailable:
                CLOCK.sleep(0.02)
            else:
                confirmed.append(command.id)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        CLOCK.sleep(0.2)
        proxy.drop()
    rabbit.work()
    until(lambda: set(confirmed) <= set(rabbit.decided.ids))
    assert confirmed


def test_memory_alarm(rabbitmq, rabbit):
    publisher = rabbit.publisher
    publisher.send([stop_run()])
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        until(lambda: not sends(publisher))
        assert "memory or disk alarm" in refused(publisher)
        assert "memory or disk alarm" in (publisher.ready() or "")
        publisher.send([heartbeats()])
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
    until(lambda: publisher.ready() is None)
    publisher.send([stop_run()])


def test_closing_under_memory_alarm(rabbitmq, rabbit):
    publisher = GroupPublisher(rabbit.url, "web")
    publisher.send([stop_run()])
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        until(lambda: not sends(publisher))
        publisher.close()
        assert "closed" in (publisher.ready() or "")
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")


def test_a_missing_queue_is_declared_and_the_message_is_in_it(rabbit):
    rabbit.publisher.send([stop_run()])
    with rabbit.channel() as channel:
        channel.queue_delete(RUNS)
        channel.queue_delete(f"{RUNS}.XQ")
    sent = [stop_run() for _ in range(50)]
    rabbit.publisher.send(sent)
    rabbit.work()
    until(lambda: len(rabbit.decided.ids) >= 50)
    assert sorted(rabbit.decided.ids) == sorted(each.id for each in sent)


def test_a_full_queue_refuses_and_the_others_go_on(rabbit):
    rabbit.publisher.send([stop_run()])
    limit = json.dumps({"max-length": 3, "overflow": "reject-publish"})
    rabbit.ctl("set_policy", "-p", rabbit.vhost, "full", r"^runs\.v1$", limit, "--apply-to", "queues")
    until(lambda: not sends(rabbit.publisher))
    assert "full" in refused(rabbit.publisher)
    rabbit.publisher.send([heartbeats()])
    assert rabbit.publisher.ready() is None
    rabbit.work()
    until(lambda: sends(rabbit.publisher))


def test_closing_sends_what_was_accepted(rabbit):
    publisher = GroupPublisher(rabbit.url, "web")
    publisher.send([stop_run()])
    publisher.send([heartbeats() for _ in range(200)])
    publisher.close()
    rabbit.work()
    until(lambda: len(rabbit.decided.ids) == 201)


def test_a_forked_child_has_a_connection_of_its_own(rabbit):
    rabbit.publisher.send([stop_run()])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for _ in range(20):
                rabbit.publisher.send([stop_run()])
            code = 0
        finally:
            os._exit(code)
    for _ in range(20):
        rabbit.publisher.send([stop_run()])
    assert os.waitpid(child, 0)[1] == 0
    rabbit.publisher.send([stop_run()])
    rabbit.work()
    until(lambda: len(rabbit.decided.ids) == 42)


def test_connections_say_who_they_are(rabbit):
    rabbit.publisher.send([stop_run()])
    rabbit.work()
    until(lambda: rabbit.decided.ids)
    listed = rabbit.ctl("-q", "list_connections", "client_properties")
    assert "fedyard web@" in listed
    assert "fedyard decider runs.v1@" in listed


def test_the_policies_are_in_force_for_every_queue(rabbitmq, rabbit):
    rabbit.work(actors=list({route.queue: route.actor for route in ROUTES.values()}.values()))
    apply_policies(rabbitmq.management.call, rabbit.vhost)
    apply_policies(rabbitmq.management.call, rabbit.vhost)

    durable = [queue.name for queue in QUEUES if queue.durable]
    expected = {
        **dict.fromkeys((f"{name}{suffix}" for name in durable for suffix in ("", ".DQ")), "fedyard-commands"),
        **dict.fromkeys((f"{name}.XQ" for name in durable), "fedyard-dead-letters"),
        "heartbeats.v1": "fedyard-heartbeats",
    }
    until(lambda: rabbit.facts("policy") == expected)
    assert {policy["name"] for policy in policies()} == set(expected.values())
