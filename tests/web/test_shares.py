"""What one caller may have: rates, places, and how a refusal is told."""

from __future__ import annotations

import io
import timeit
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from werkzeug.test import TestResponse

from config.clock import SystemClock
from domain.ids import derive
from domain.values import Subject
from fedyard.wire.problems import ProblemType
from tests.hub import TestClock
from tests.seals import enrolling
from tests.web.network import Caller, Network
from tests.web.test_refusals import slug
from web.http.parsing import THROWN_AWAY_BYTES
from web.live.shares import (
    MAX_NAMED,
    MAX_REMEMBERED,
    NAMED_EVERY_S,
    ROWS_PER_WRITE,
    Places,
    Rate,
    Refusals,
    Tarpit,
    weight,
)
from web.live.waiters import Waiter, Waiters
from web.problems import Refused, busy
from web.serving.app import web_of

NAMESPACE = "00000000-0000-4000-8000-000000000000"


def subject(name: str, kind: str = "site") -> Subject:
    return Subject(kind=kind, id=derive(NAMESPACE, name))  # type: ignore[arg-type]


OSLO, BERGEN, ADA = subject("oslo"), subject("bergen"), subject("ada", "account")


def calls(rate: Rate, count: int, by: Subject = OSLO) -> int:
    """How many of them were refused."""
    refused = 0
    for _ in range(count):
        try:
            rate.take(by.id)
        except Refused:
            refused += 1
    return refused


class TestRate:
    def test_who_was_quiet_may_call_for_ten_seconds_at_once(self) -> None:
        clock = TestClock()
        rate = Rate("writes", 5.0, clock)
        assert calls(rate, 60) == 10
        clock.sleep(1)
        assert calls(rate, 10) == 5
        clock.sleep(3600)
        assert calls(rate, 60) == 10
        assert rate.refused == 25

    def test_others_have_their_own(self) -> None:
        rate = Rate("writes", 5.0, TestClock())
        assert calls(rate, 51) == 1
        assert calls(rate, 50, BERGEN) == 0

    def test_who_keeps_to_the_rate_never_notices(self) -> None:
        clock = TestClock()
        rate = Rate("reads", 10.0, clock)
        for _ in range(1000):
            assert calls(rate, 1) == 0
            clock.sleep(0.1)

    def test_the_refusal_says_how_long(self) -> None:
        rate = Rate("writes", 50.0, TestClock())
        calls(rate, 500)
        with pytest.raises(Refused) as caught:
            rate.take(OSLO.id)
        headers = caught.value.headers
        assert (caught.value.problem.status, caught.value.problem.slug) == (429, "rate_exceeded")
        assert headers["RateLimit-Policy"] == '"writes";q=500;w=10'
        assert headers["RateLimit"] == f'"writes";r=0;t={headers["Retry-After"]}'
        assert int(headers["Retry-After"]) == 1

    def test_a_call_that_writes_much_costs_much(self) -> None:
        clock = TestClock()
        rate = Rate("writes", 5.0, clock)
        rate.take(OSLO.id)
        rate.charge(OSLO.id, 39)
        with pytest.raises(Refused):
            rate.charge(OSLO.id, 11)
        assert calls(rate, 20) == 10

    def test_more_than_a_burst_is_paid_for_afterwards(self) -> None:
        clock = TestClock()
        rate = Rate("writes", 5.0, clock)
        rate.take(OSLO.id)
        rate.charge(OSLO.id, 199)
        clock.sleep(29)
        assert calls(rate, 1) == 1
        clock.sleep(2)
        assert calls(rate, 1) == 0
        with pytest.raises(Refused):
            rate.charge(OSLO.id, 199)

    def test_rows_that_are_written_together_weigh_less(self) -> None:
        assert [weight(rows) for rows in (0, 1, ROWS_PER_WRITE, ROWS_PER_WRITE + 1, 10_000)] == [1, 1, 1, 2, 500]

    def test_memory_has_an_end(self) -> None:
        clock = TestClock()
        rate = Rate("reads", 1.0, clock)
        for number in range(MAX_REMEMBERED):
            rate.take(str(number))
        assert calls(rate, 11) == 1
        clock.sleep(20)
        for number in range(MAX_REMEMBERED):
            rate.take(str(number))
        assert len(rate._full_at) <= MAX_REMEMBERED

    def test_it_costs_next_to_nothing(self) -> None:
        """Microseconds of a call, the best of many: far above what is measured, for machines that are busy."""
        rate = Rate("reads", 1e9, SystemClock())
        assert min(timeit.repeat(lambda: rate.take(OSLO.id), number=1000, repeat=50)) / 1000 < 20e-6


class TestPlaces:
    def places(self, total: int = 16, each: int = 4) -> Places:
        return Places("transfers", total, each, lambda: busy(ProblemType.TOO_MANY_TRANSFERS, "all are taken", 1))

    def test_one_subject_has_its_share(self) -> None:
        places = self.places()
        for _ in range(4):
            places.enter(OSLO)
        with pytest.raises(Refused) as caught:
            places.enter(OSLO)
        assert caught.value.problem.slug == "share_exceeded"
        assert caught.value.headers["RateLimit-Policy"] == '"transfers";q=4;qu="concurrent-requests"'
        places.enter(BERGEN)
        places.leave(OSLO)
        places.enter(OSLO)
        assert (places.open, places.refused) == (5, 1)

    def test_some_are_kept_back_for_people_and_secrets(self) -> None:
        places = self.places()
        sites = [subject(str(number)) for number in range(20)]
        for site in sites[:14]:
            places.enter(site)
        with pytest.raises(Refused) as caught:
            places.enter(sites[14])
        assert caught.value.problem.status == 503
        places.enter(ADA)
        places.enter(sites[15], kept_back=True)
        with pytest.raises(Refused):
            places.enter(ADA)
        assert places.open == 16

    def test_a_place_is_given_back_however_it_ends(self) -> None:
        places = self.places()
        with pytest.raises(ValueError, match="cut"), places.place(OSLO):
            raise ValueError("cut")
        assert places.open == 0


class TestPolls:
    def test_one_more_ends_the_callers_oldest(self) -> None:
        waiting = Waiters(16, SystemClock(), each=2)
        with (
            waiting.place(("inbox", OSLO.id), Waiter(OSLO)) as first,
            waiting.place(("inbox", OSLO.id), Waiter(OSLO)) as second,
            waiting.place(("inbox", BERGEN.id), Waiter(BERGEN)) as other,
            waiting.place(("run", OSLO.id), Waiter(OSLO)) as third,
        ):
            assert [place.let_go for place in (first, second, other, third)] == [True, False, False, False]
            assert first.wait(0)
            assert not second.wait(0)
        assert (waiting.open, waiting.ended_early) == (0, 1)

    def test_who_ends_more_than_can_end_is_refused(self) -> None:
        waiting = Waiters(16, SystemClock(), each=1)
        with (
            waiting.place(("inbox", OSLO.id), Waiter(OSLO)),
            waiting.place(("inbox", OSLO.id), Waiter(OSLO)) as second,
        ):
            second.let_go = True
            with pytest.raises(Refused) as caught, waiting.place(("inbox", OSLO.id), Waiter(OSLO)):
                pass
            assert caught.value.problem.status == 429
        assert (waiting.ended_early, waiting.over_share) == (1, 1)

    def test_polls_that_do_not_end_are_no_more_than_another_share(self) -> None:
        """Streams that nobody reads, or polls in the tarpit: each has a place, and a thread, of everybody."""
        waiting = Waiters(64, SystemClock(), each=4, tarpit=released(64))
        with ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(waiting.place(("run", OSLO.id), Waiter(OSLO)))
            for _ in range(20):
                with pytest.raises(Refused) as caught, waiting.place(("run", OSLO.id), Waiter(OSLO)):
                    pass
                assert caught.value.problem.status == 429
            assert waiting.open == 8
            with waiting.place(("inbox", BERGEN.id), Waiter(BERGEN)) as other:
                assert not other.let_go
        with waiting.place(("run", OSLO.id), Waiter(OSLO)):
            assert waiting.open == 1

    def test_a_hang_up_ends_it(self) -> None:
        told: list[Callable[[], None]] = []
        waiting = Waiters(16, SystemClock())
        with waiting.place(("inbox", OSLO.id), Waiter(OSLO, told.append)) as place:
            told[0]()
            assert place.let_go
        told[0]()
        assert waiting.gone == 1

    def test_some_are_kept_back(self) -> None:
        waiting = Waiters(8, SystemClock())
        sites = [Waiter(subject(str(number))) for number in range(8)]
        held = [waiting.place(("inbox", site.subject.id), site) for site in sites]
        for one in held[:7]:
            one.__enter__()
        with pytest.raises(Refused):
            held[7].__enter__()
        with waiting.place(("run", ADA.id), Waiter(ADA)):
            assert waiting.open == 8

    def test_polls_that_end_each_other_do_not_do_so_without_a_pause(self) -> None:
        tarpit = released(4)
        waiting = Waiters(16, SystemClock(), each=1, tarpit=tarpit)
        polls = [waiting.place(("inbox", OSLO.id), Waiter(OSLO)) for _ in range(4)]
        with polls[0], polls[1]:
            assert tarpit.held == 0
        with polls[2], polls[3]:
            assert tarpit.held == 1


class TestTarpit:
    def test_who_comes_again_too_early_is_held(self) -> None:
        clock = TestClock()
        tarpit = released(4, clock)
        tarpit.refused(OSLO.id, 2.0)
        tarpit.refused(BERGEN.id, 2.0)
        assert tarpit.held == 0
        clock.sleep(1)
        tarpit.refused(OSLO.id, 2.0)
        assert tarpit.held == 1
        clock.sleep(2)
        tarpit.refused(OSLO.id, 2.0)
        assert (tarpit.held, tarpit.open) == (1, 0)

    def test_only_so_many_are_held_and_none_once_the_server_stops(self) -> None:
        tarpit = Tarpit(4, TestClock())
        tarpit.refused(OSLO.id, 2.0)
        with ThreadPoolExecutor() as threads:
            held = [threads.submit(tarpit.refused, OSLO.id, 2.0) for _ in range(4)]
            while tarpit.open < 4:
                assert not any(one.done() for one in held), "each is held for a second"
            tarpit.refused(OSLO.id, 2.0)
            assert tarpit.held == 4
            tarpit.release()
        assert tarpit.open == 0

    def test_memory_has_an_end(self) -> None:
        clock = TestClock()
        tarpit = released(1, clock)
        for number in range(MAX_REMEMBERED + 10):
            tarpit.refused(str(number), 1.0)
        assert len(tarpit._early_until) == MAX_REMEMBERED
        clock.sleep(2)
        tarpit.refused(OSLO.id, 1.0)
        assert list(tarpit._early_until) == [OSLO.id]


class TestRefusals:
    def test_a_caller_is_named_once_a_minute_with_what_was_refused_before(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        clock = TestClock()
        refusals = Refusals(clock)
        for _ in range(3):
            refusals.note(OSLO, "more than 10 writes")
        refusals.note(ADA, "more than 10 writes")
        assert named(caplog) == [(OSLO.id, 0), (ADA.id, 0)]
        clock.sleep(NAMED_EVERY_S)
        refusals.note(OSLO, "more than 10 writes")
        assert named(caplog)[2:] == [(OSLO.id, 3)]
        clock.sleep(3 * NAMED_EVERY_S)
        refusals.note(OSLO, "more than 10 writes")
        assert named(caplog)[3:] == [(OSLO.id, 0)], "what was long ago is not of the minute before"

    def test_the_log_has_an_end(self, caplog: pytest.LogCaptureFixture) -> None:
        refusals = Refusals(TestClock())
        for number in range(MAX_NAMED + 10):
            refusals.note(subject(f"site {number}"), "more than 10 writes")
        assert len(named(caplog)) == MAX_NAMED


def named(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    """Callers in the log, each with its refusals of the minute before."""
    units = [record.__dict__["unit"] for record in caplog.records if record.msg == "a caller is beyond its share"]
    return [(unit["caller"], unit["refused_before"]) for unit in units]


def released(places: int, clock: TestClock | None = None) -> Tarpit:
    """One that holds nobody for long, and counts."""
    tarpit = Tarpit(places, clock or TestClock())
    tarpit.release()
    return tarpit


class TestOverHttp:
    def test_beyond_the_rate_a_write_is_429_and_done_later(
        self, make_net: Callable[..., Network], caplog: pytest.LogCaptureFixture
    ) -> None:
        net = make_net(writes_per_s=0.5)
        site, other = net.site("oslo"), net.site("bergen")
        answers = [site.call("POST", "/v1/tokens", {"label": "x", "sha256": f"{n:064d}"}) for n in range(7)]
        assert [answer.status_code for answer in answers[:5]] == [201] * 5
        assert slug(answers[-1], 429) == "rate_exceeded"
        assert answers[-1].headers["RateLimit-Policy"] == '"writes";q=5;w=10'
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert site.get("/v1/me").status_code == 200
        assert other.call("POST", "/v1/tokens", {"label": "x"}).status_code == 201
        text = net.stranger(None).get("/metrics").get_data(as_text=True)
        assert 'fedyard_over_share_total{limit="writes"} 2.0' in text
        assert "fedyard_refusals_held_total 1.0" in text
        assert named(caplog) == [(site.id, 0)]

    def test_each_message_counts(self, make_net: Callable[..., Network]) -> None:
        net = make_net(writes_per_s=4.5)
        oslo, bergen = net.site("oslo"), net.site("bergen")
        project = net.project(oslo, bergen, sealed="optional")
        one = {"project_id": project, "to": "coordinator", "body": "eA=="}
        answers = [bergen.call("POST", "/v1/messages", {"messages": [one] * 20}) for _ in range(4)]
        assert [answer.status_code for answer in answers[:2]] == [201, 201]
        assert [slug(answer, 429) for answer in answers[2:]] == ["rate_exceeded"] * 2

    def test_a_clients_token_takes_nothing_of_its_sites_share(self, make_net: Callable[..., Network]) -> None:
        net = make_net(writes_per_s=0.5)
        oslo, bergen = net.site("oslo"), net.site("bergen")
        projects = [net.project(oslo, bergen, name=name) for name in ("one", "other")]
        paths = [f"/v1/projects/{one}/members/{bergen.id}" for one in projects]
        clients = [net.stranger(bergen.ok("POST", f"{path}/client-tokens", {})["token"]) for path in paths]
        answers = [client.call("PUT", f"{path}/ready", {}) for client, path in zip(clients, paths, strict=True)]
        assert answers[0].status_code == 200
        assert slug(answers[1], 429) == "rate_exceeded", "all clients of a site have one, and pay dearly"
        bergen.ok("POST", "/v1/tokens", {"label": "x"})

    @pytest.mark.parametrize("token", [None, "fyd_unknown"])
    def test_no_body_is_read_of_who_has_no_token(self, net: Network, token: str | None) -> None:
        body = Unread()
        assert sending(net.stranger(token), body, 100_000).status_code == 401
        assert body.asked == 0

    def test_a_used_enrolment_reads_no_body(self, net: Network) -> None:
        enrolment = net.enrolment(net.organisation("oslo"))
        enrolment.ok("POST", "/v1/sites", enrolling(enrolment.token, "oslo"))
        body = Unread()
        assert sending(enrolment, body, 100_000, "/v1/sites").status_code == 401
        assert body.asked == 0

    def test_a_body_that_is_cut_off_is_408(self, net: Network) -> None:
        assert slug(sending(net.admin, io.BytesIO(b'{"na'), 100, "/v1/organisations"), 408) == "too_slow"

    def test_what_is_thrown_away_is_small(self, make_net: Callable[..., Network]) -> None:
        net = make_net(writes_per_s=0.3)
        site = net.site("oslo")
        for number in range(3):
            site.call("POST", "/v1/tokens", {"label": "x", "sha256": f"{number:064d}"})
        for length, asked in ((THROWN_AWAY_BYTES + 1, False), (THROWN_AWAY_BYTES, True)):
            body = Unread()
            assert slug(sending(site, body, length), 429) == "rate_exceeded"
            assert (body.asked > 0) is asked

    def test_every_place_is_given_back(self, net: Network) -> None:
        net.site("oslo").call("POST", "/v1/messages", {"messages": "none"})
        shares = web_of(net.app).shares
        assert (shares.under_way.open, shares.bodies.open) == (0, 0)


def sending(caller: Caller, body: io.IOBase, length: int, path: str = "/v1/messages") -> TestResponse:
    """The answer to a body that is announced with this length."""
    more = {"wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_LENGTH": str(length)}
    headers = {"Content-Type": "application/json"}
    return caller.call("POST", path, headers=headers, environ_overrides=more)


class Unread(io.RawIOBase):
    """A body that tells whether anybody asked for it."""

    def __init__(self) -> None:
        self.asked = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.asked += 1
        return b""

    def readinto(self, buffer: object) -> int:
        self.asked += 1
        return 0
