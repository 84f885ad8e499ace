"""Messages, their bytes, and the delays between their tries."""

from __future__ import annotations

import dataclasses

import pytest
from dramatiq import Message
from dramatiq.errors import Retry

from broker.messages import Delivery, Unreadable, envelope_in, message_in, message_of, reason_of, wire_of
from broker.retries import LONGEST_DELAY_MS, delay_ms
from broker.routes import ROUTES, Route, route_of
from broker.topology import declarations
from tests.broker.worlds import heartbeats, stop_run

ROUTE = Route(queue="runs.v1", actor="stop_run", retries=8, min_backoff_ms=200, max_backoff_ms=30_000)


def test_a_message_is_named_by_its_route_and_carries_one_argument():
    sent = stop_run()
    message = message_of(sent)
    route = route_of(sent.command)
    assert (message.queue_name, message.actor_name, message.message_id) == (route.queue, route.actor, sent.id)
    assert message.message_timestamp == sent.at // 1000
    assert (len(message.args), message.kwargs, message.options) == (1, {}, {})
    assert envelope_in(message) == sent


def test_stock_dramatiq_reads_our_bytes_and_we_read_its():
    message = message_of(stop_run())
    assert Message.decode(wire_of(message)) == message
    assert message_in(message.encode(), "runs.v1") == message


def test_options_come_back_as_they_were():
    message = message_of(stop_run()).copy(options={"eta": 5, "retries": 2, "reason": "ValueError", "failed_at": 4})
    assert message_in(wire_of(message), "runs.v1") == message


@pytest.mark.parametrize(
    "broken",
    [
        {"options": {"traceback": "secret"}},
        {"options": {"retries": -1}},
        {"options": {"eta": "secret"}},
        {"kwargs": {"secret": "1"}},
        {"args": ()},
        {"args": (1,)},
        {"queue_name": "runs.v1.XQ"},
    ],
)
def test_odd_messages_are_refused_without_being_quoted(broken):
    message = dataclasses.replace(message_of(stop_run()), **broken)
    with pytest.raises(Unreadable) as caught:
        message_in(wire_of(message), "runs.v1")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_delivery_prints_without_its_payload():
    sent = stop_run("canary")
    delivery = Delivery(message_of(sent))
    assert "canary" not in f"{delivery} {delivery!r}"
    assert sent.id in str(delivery)


def test_reasons_are_our_own_words_only():
    class Fact(Exception):
        fact = "run 7 is finished"

    assert reason_of(ValueError("a secret row")) == "ValueError"
    assert reason_of(Retry("report 3 is missing")) == "Retry: report 3 is missing"
    assert reason_of(Fact("a secret row")) == "Fact: run 7 is finished"


def test_delays_double_up_to_the_route_s_limit_moved_by_a_quarter():
    for failures in range(1, 60):
        middle = min(200 * 2 ** (failures - 1), 30_000)
        assert 0.75 * middle - 1 <= delay_ms(ROUTE, failures, ValueError()) <= 1.25 * middle


def test_a_retry_says_its_own_delay_within_ten_minutes():
    assert delay_ms(ROUTE, 1, Retry("too early", delay=70)) == 70
    assert delay_ms(ROUTE, 1, Retry("too early", delay=10**9)) == LONGEST_DELAY_MS
    assert delay_ms(ROUTE, 1, Retry("too early")) <= 250


def test_queues_survive_with_their_messages_but_for_heartbeats():
    for route in ROUTES.values():
        declared = declarations(route.queue)
        kinds = {each.name: each.arguments["x-queue-type"] for each in declared}
        if route.durable:
            assert kinds == dict.fromkeys((f"{route.queue}.XQ", f"{route.queue}.DQ", route.queue), "quorum")
        else:
            assert kinds == {route.queue: "classic"}
    assert message_of(heartbeats()).queue_name == "heartbeats.v1"
