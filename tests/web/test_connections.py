"""Which connections are cut off, decided from what the kernel says of them; and one real one."""

from __future__ import annotations

import socket
from dataclasses import replace

from tests.hub import TestClock
from web.live.connections import IDLE_S, Connections, Judge, Limits, Seen

LIMITS = Limits(request_within_s=45, unread_within_s=20, least_rate_bytes=1000, connections=8)
PEER = ("192.0.2.1", 1)
NOW = Seen(
    peer=PEER,
    sent_ago_s=60,
    came_ago_s=1,
    acknowledged_bytes=500,
    received_bytes=200,
    unread=False,
    answered=True,
)


def judged(*looks: tuple[float, Seen]) -> list[str | None]:
    """What became of PEER at each look."""
    judge = Judge(LIMITS)
    return [judge.verdicts([seen], at).get(PEER) for at, seen in looks]


def test_a_request_that_is_not_answered_for_too_long() -> None:
    looks = [(float(at), replace(NOW, sent_ago_s=60 + at, came_ago_s=1 + at)) for at in (0, 44, 46)]
    assert judged(*looks) == [None, None, "slow_request"]


def test_a_wait_is_counted_from_its_own_beginning() -> None:
    """Not from the last answer, after which nothing was asked for a while."""
    idle = replace(NOW, sent_ago_s=40, came_ago_s=41)
    polls = replace(NOW, sent_ago_s=70, came_ago_s=29)
    assert judged((0, idle), (30, polls), (59, replace(polls, sent_ago_s=99))) == [None] * 3


def test_an_answer_begins_anew() -> None:
    first = replace(NOW, sent_ago_s=60)
    assert judged(
        (0, first), (40, replace(first, sent_ago_s=1, came_ago_s=0.5)), (80, replace(first, sent_ago_s=41))
    ) == [
        None,
        None,
        None,
    ]


def test_bytes_give_time_at_the_least_rate() -> None:
    slow = [(0.0, NOW), (50.0, replace(NOW, sent_ago_s=110, received_bytes=200 + 4_000))]
    fair = [(0.0, NOW), (50.0, replace(NOW, sent_ago_s=110, received_bytes=200 + 6_000))]
    assert judged(*slow) == [None, "slow_request"]
    assert judged(*fair) == [None, None]


def test_between_requests_nothing_is_counted() -> None:
    idle = replace(NOW, sent_ago_s=1, came_ago_s=2)
    silent = replace(NOW, answered=False, received_bytes=0)
    for one in (idle, silent):
        assert judged((0, one), (1000, replace(one, sent_ago_s=1001, came_ago_s=1002))) == [None, None]


def test_a_first_request_is_one_however_soon_it_came() -> None:
    first = replace(NOW, answered=False, sent_ago_s=1, came_ago_s=1)
    assert judged((0, first), (46, replace(first, sent_ago_s=47, came_ago_s=47))) == [None, "slow_request"]


def test_what_the_kernel_cannot_tell_is_cut_off_when_it_would_be_closed_anyway() -> None:
    same = replace(NOW, sent_ago_s=1, came_ago_s=1)
    later = replace(same, sent_ago_s=1 + IDLE_S, came_ago_s=1 + IDLE_S)
    assert judged((0, same), (IDLE_S - 1, later), (IDLE_S + 1, later)) == [None, None, "slow_request"]


def test_an_answer_that_nobody_reads() -> None:
    unread = replace(NOW, unread=True)
    taken = replace(unread, acknowledged_bytes=500 + 30_000)
    assert judged((0, unread), (19, unread), (21, unread)) == [None, None, "unread_answer"]
    assert judged((0, unread), (45, taken), (51, taken)) == [None, None, "unread_answer"]
    assert judged((0, unread), (19, replace(unread, unread=False)), (21, unread), (40, unread)) == [None] * 4


def test_an_address_beyond_half_loses_its_stillest() -> None:
    crowd = [replace(NOW, peer=("192.0.2.9", n), came_ago_s=float(n)) for n in range(1, 7)]
    others = [replace(NOW, peer=(f"192.0.2.{n}", 1)) for n in (20, 21)]
    assert Judge(LIMITS).verdicts([*crowd, *others], 0) == {("192.0.2.9", 6): "crowd", ("192.0.2.9", 5): "crowd"}
    assert Judge(LIMITS).verdicts([*crowd[:4], *others], 0) == {}


def test_a_real_connection_is_seen_and_cut_off_for_reading() -> None:
    clock = TestClock()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        watch = Connections(LIMITS, clock)
        watch._port = server.getsockname()[1]
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"half of a request")
            assert accepted.recv(100) == b"half of a request"
            watch.look()
            assert watch.open == 1
            clock.sleep(46)
            watch.look()
            assert watch.cut["slow_request"] == 1
            assert accepted.recv(100) == b""
            accepted.sendall(b"408")
            assert client.recv(100) == b"408"
