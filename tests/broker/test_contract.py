"""One suite for both brokers: what is accepted is decided, fails a bounded number of times, and is never lost."""

from __future__ import annotations

import logging
import threading

import pytest
from dramatiq.errors import Retry

from broker.depths import Depth
from broker.messages import message_of, wire_of
from broker.port import BrokerUnavailable, TooLarge
from domain import commands as c
from domain.codec import encode
from domain.ids import sha256_hex
from tests.broker.worlds import RUNS, envelope, heartbeats, stop_run
from tests.waiting import until


def test_what_is_sent_is_decided_once(world):
    sent = [stop_run() for _ in range(50)]
    world.publisher.send(sent)
    world.work()
    until(lambda: len(world.decided.ids) >= 50)
    assert world.decided.ids == [each.id for each in sent], "one sender's commands come in order"
    world.rest()
    assert world.left(RUNS) == 0


def test_a_stock_worker_decides_too(world):
    world.work(threads=4)
    sent = [stop_run() for _ in range(50)]
    world.publisher.send(sent)
    until(lambda: len(world.decided.ids) >= 50)
    assert sorted(world.decided.ids) == sorted(each.id for each in sent)
    world.rest()
    assert world.left(RUNS) == 0


def test_many_threads_send_at_once(world):
    world.work()
    sent = [[stop_run() for _ in range(20)] for _ in range(16)]

    def send(each):
        for command in each:
            world.publisher.send([command])

    threads = [threading.Thread(target=send, args=(each,)) for each in sent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: len(world.decided.ids) >= 320)
    assert sorted(world.decided.ids) == sorted(command.id for each in sent for command in each)
    for each in sent:
        wanted = {command.id for command in each}
        assert [id for id in world.decided.ids if id in wanted] == [command.id for command in each]


def test_what_waits_becomes_one_batch(world):
    world.decided.gate.clear()
    world.work()
    world.publisher.send([stop_run()])
    until(lambda: world.decided.tries)
    world.publisher.send([stop_run() for _ in range(200)])
    until(lambda: world.workers[0].work_queue.qsize() >= 200)
    world.decided.gate.set()
    until(lambda: len(world.decided.ids) == 201)
    assert world.decided.batches == [1, 200]


def test_what_was_sent_before_a_worker_came_waits_for_it(world):
    world.publisher.send([stop_run()])
    world.work()
    until(lambda: len(world.decided.ids) == 1)
    world.rest()
    assert world.left(RUNS) == 0


def test_what_was_in_hand_when_the_worker_was_cut_off_comes_again(world):
    world.decided.gate.clear()
    world.work()
    sent = [stop_run() for _ in range(20)]
    world.publisher.send(sent)
    until(lambda: world.decided.tries)
    world.interrupt()
    until(lambda: set(world.decided.ids) == {each.id for each in sent})
    until(lambda: world.settled(RUNS))


def test_a_failed_command_is_tried_again_then_a_dead_letter(world):
    world.decided.failing = lambda _: ValueError("a secret of the payload")
    world.work()
    sent = stop_run()
    world.publisher.send([sent])
    until(lambda: world.dead_letters().list())
    (letter,) = world.dead_letters().list()
    assert world.decided.tries == {sent.id: 3}
    assert (letter.id, letter.kind, letter.queue, letter.failures) == (sent.id, "stop_run", RUNS, 3)
    assert letter.reason == "ValueError", "an error's own text may quote a payload"
    assert abs(letter.at - sent.at) < 60_000_000
    assert letter.size_bytes == len(encode(sent))
    assert letter.digest == sha256_hex(encode(sent).encode())
    world.rest()
    assert world.left(RUNS) == 0


def test_a_command_that_succeeds_at_the_second_try_is_done(world):
    sent = stop_run()
    world.decided.failing = lambda e: ValueError() if world.decided.tries[e.id] == 1 else None
    world.work()
    world.publisher.send([sent])
    until(lambda: world.decided.ids == [sent.id])
    world.rest()
    assert world.left(RUNS) == 0
    assert world.dead_letters().list() == []


def test_too_early_says_itself_when_to_try_again(world):
    early, other = stop_run("early"), stop_run()
    world.decided.failing = lambda e: (
        Retry("the report before it is missing", delay=400)
        if e.id == early.id and world.decided.tries[e.id] == 1
        else None
    )
    world.work()
    world.publisher.send([early, other])
    until(lambda: len(world.decided.ids) == 2)
    assert world.decided.ids == [other.id, early.id]


def test_the_reason_of_a_dead_letter_is_in_our_own_words(world):
    world.decided.failing = lambda _: Retry("report 4 of seat 7 is missing " + "x" * 5000, delay=10)
    world.work()
    world.publisher.send([stop_run()])
    until(lambda: world.dead_letters().list())
    (letter,) = world.dead_letters().list()
    assert letter.reason.startswith("Retry: report 4 of seat 7 is missing")
    assert len(letter.reason) <= 300


def test_a_replayed_dead_letter_is_decided_with_its_failures_forgotten(world):
    world.decided.failing = lambda _: ValueError()
    world.work()
    one, other = stop_run(), stop_run()
    world.publisher.send([one, other])
    until(lambda: len(world.dead_letters().list()) == 2)
    world.decided.failing = lambda _: None
    assert world.dead_letters().replay(id=one.id) == 1
    until(lambda: world.decided.ids == [one.id])
    assert [letter.id for letter in world.dead_letters().list(RUNS)] == [other.id]
    assert world.dead_letters().replay() == 1
    until(lambda: world.decided.ids == [one.id, other.id])
    assert world.dead_letters().list() == []
    world.rest()
    assert world.left(RUNS) == 0


def test_a_replayed_one_that_fails_again_is_a_dead_letter_again(world):
    world.decided.failing = lambda _: ValueError()
    world.work()
    sent = stop_run()
    world.publisher.send([sent])
    until(lambda: world.dead_letters().list())
    assert world.dead_letters().replay(queue=RUNS) == 1
    until(lambda: world.decided.tries == {sent.id: 6})
    until(lambda: [letter.failures for letter in world.dead_letters().list()] == [3])


def test_what_waits_in_a_queue_is_counted(world):
    world.decided.failing = lambda _: ValueError()
    world.work()
    world.publisher.send([stop_run()])
    until(lambda: world.dead_letters().list())
    world.rest()
    waiting = [stop_run(), stop_run()]
    world.publisher.send(waiting)
    until(lambda: world.depths()[RUNS].ready == 2)
    found = world.depths()
    assert (found[RUNS].delayed, found[RUNS].dead) == (0, 1)
    assert found[RUNS].oldest_at in (None, waiting[0].at // 1000 * 1000)
    assert found["sites.v1"] == Depth("sites.v1", 0, 0, 0)
    assert "heartbeats.v1" not in found


def test_dead_letters_are_shown_and_purged(world):
    world.decided.failing = lambda _: ValueError()
    world.work()
    sent = [stop_run() for _ in range(3)]
    world.publisher.send(sent)
    until(lambda: len(world.dead_letters().list()) == 3)
    letters = world.dead_letters()
    found = letters.show(sent[1].id)
    assert found is not None
    assert found.digest == sha256_hex(encode(sent[1]).encode())
    assert letters.show("00000000-0000-0000-0000-000000000009") is None
    assert letters.purge(id=sent[1].id) == 1
    assert {letter.id for letter in letters.list()} == {sent[0].id, sent[2].id}
    assert letters.purge(queue="sites.v1") == 0
    assert letters.purge(queue=RUNS) == 2
    assert letters.list() == []


def test_looking_at_dead_letters_often_does_not_use_them_up(world):
    world.decided.failing = lambda _: ValueError()
    world.work()
    world.publisher.send([stop_run(), stop_run()])
    until(lambda: len(world.dead_letters().list()) == 2)
    for _ in range(25):
        assert len(world.dead_letters().list()) == 2
    assert len(world.dead_letters().list(limit=1)) == 1


def test_an_unknown_actor_is_a_dead_letter(world):
    world.work(actors=["start_run"])
    sent = stop_run()
    world.publisher.send([sent])
    until(lambda: world.dead_letters().list())
    (letter,) = world.dead_letters().list()
    assert (letter.id, letter.kind, letter.reason) == (sent.id, "stop_run", "ActorNotFound")


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\xff canary",
        b'{"canary": 1}',
        wire_of(message_of(stop_run("canary"))).replace(b'"args":[', b'"args":["canary",'),
        wire_of(message_of(stop_run("canary"))).replace(b"runs.v1", b"else.v1"),
        wire_of(message_of(stop_run("canary"))).replace(b'"options":{}', b'"options":{"eta":"canary"}'),
    ],
)
def test_a_body_that_is_no_message_is_a_dead_letter_and_nowhere_quoted(world, body, caplog):
    caplog.set_level(logging.DEBUG)
    world.publisher.send([stop_run()])
    world.work()
    until(lambda: world.decided.ids)
    world.rest()
    world.put_raw(RUNS, body)
    world.work()
    until(lambda: world.dead_letters().list())
    (letter,) = world.dead_letters().list()
    assert (letter.kind, letter.size_bytes, letter.digest) == ("unreadable", len(body), sha256_hex(body))
    assert world.dead_letters().replay() == 0
    good = stop_run()
    world.publisher.send([good])
    until(lambda: good.id in world.decided.ids)
    assert "canary" not in caplog.text
    assert "canary" not in repr(letter)
    assert world.dead_letters().purge(id=letter.id) == 1
    assert world.dead_letters().list() == []


def test_a_command_that_cannot_be_decoded_is_not_tried_again(world):
    message = message_of(stop_run())
    text = message.args[0].replace("stop_run", "stop_walking")
    world.publisher.send([stop_run()])
    world.work()
    until(lambda: world.decided.ids)
    world.rest()
    world.put_raw(RUNS, wire_of(message).replace(b"stop_run\\", b"stop_walking\\"))
    assert text != message.args[0]
    world.work()
    until(lambda: world.dead_letters().list())
    (letter,) = world.dead_letters().list()
    assert (letter.kind, letter.failures, letter.reason) == ("stop_run", 1, "Undecodable")


def test_no_payload_in_logs_when_commands_fail(world, caplog):
    caplog.set_level(logging.DEBUG)
    world.decided.failing = lambda _: Retry("too early", delay=10)
    world.work()
    world.publisher.send([stop_run("canary")])
    until(lambda: world.dead_letters().list())
    world.rest()
    assert "canary" not in caplog.text


def test_too_large_is_refused_and_nothing_of_it_is_sent(world):
    large = envelope(
        c.PostMessages(
            sender_site_id="x",
            messages=[c.NewMessage(project_id="x", to="coordinator", body=b"canary" * 300_000)],
        )
    )
    with pytest.raises(TooLarge) as caught:
        world.publisher.send([stop_run(), large])
    assert large.id in str(caught.value)
    assert "2097152" in str(caught.value)
    assert "canary" not in repr(caught.value)
    good = stop_run()
    world.publisher.send([good])
    world.work()
    until(lambda: world.decided.ids)
    assert world.decided.ids == [good.id]


def test_a_large_one_within_the_limit_goes_through(world):
    large = stop_run("r" * 900)
    many = [stop_run("r" * 900) for _ in range(300)]
    world.work()
    world.publisher.send([*many, large])
    until(lambda: len(world.decided.ids) == 301)


def test_heartbeats_arrive_and_are_not_retried(world):
    world.decided.failing = lambda _: ValueError()
    world.work()
    beats = heartbeats()
    world.publisher.send([beats])
    until(lambda: beats.id in world.decided.tries)
    world.publisher.send([stop_run()])
    until(lambda: world.dead_letters().list())
    assert world.decided.tries[beats.id] == 1
    assert [letter.kind for letter in world.dead_letters().list()] == ["stop_run"]
    world.rest()
    world.work()
    world.publisher.send([heartbeats()])
    until(lambda: len(world.decided.tries) == 3)
    assert world.decided.tries[beats.id] == 1


def test_ready_while_open_and_closed_after(world):
    assert world.publisher.ready() is None
    world.publisher.send([stop_run()])
    world.publisher.close()
    assert "closed" in (world.publisher.ready() or "")
    with pytest.raises(BrokerUnavailable):
        world.publisher.send([stop_run()])
    world.publisher.close()
