"""Polls, waits, caps, and the end of waiting."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from config.clock import SystemClock
from devservers.postgres import PrivatePostgres
from storage.signals import Announcement, Decided, Tip
from tests.databases import fresh_postgres
from tests.hub import TestClock
from tests.seals import enrolling
from tests.waiting import until
from tests.web.network import Caller, Network, network
from tests.web.test_refusals import slug
from web.live.inbox_tips import InboxTips, Known
from web.live.undecided import Undecided
from web.live.waiters import BETWEEN_SLICES_S, SLICE, Waiters
from web.problems import Refused
from web.serving.app import release, web_of

SITE = "00000000-0000-4000-8000-000000000001"
HISTORY = "00000000-0000-4000-8000-000000000002"
OTHER_HISTORY = "00000000-0000-4000-8000-000000000003"


@pytest.fixture
def threads() -> Any:
    with ThreadPoolExecutor(40) as pool:
        yield pool


def message(project: str, to: Any = "participants", body: bytes = b"hello") -> dict[str, Any]:
    return {"messages": [{"project_id": project, "to": to, "body": base64.b64encode(body).decode()}]}


class TestPolls:
    def test_an_inbox_poll_wakes_when_something_comes(self, net: Network, threads: ThreadPoolExecutor) -> None:
        oslo, bergen = net.site("oslo"), net.site("bergen")
        project = net.project(oslo, bergen)
        after = bergen.ok("GET", "/v1/inbox")["last_seq"]
        poll = threads.submit(bergen.get, f"/v1/inbox?after={after}&wait=30")
        until(lambda: web_of(net.app).waiters.open == 1)
        oslo.ok("POST", "/v1/messages", message(project))
        answer = poll.result(20).get_json()
        assert [entry["seq"] for entry in answer["items"]] == [after + 1]
        assert base64.b64decode(answer["items"][0]["message"]["body"]) == b"hello"
        assert web_of(net.app).waiters.open == 0

    def test_only_who_waits_for_it_wakes(self, net: Network, threads: ThreadPoolExecutor) -> None:
        oslo, bergen, tromso = net.site("oslo"), net.site("bergen"), net.site("tromso")
        project = net.project(oslo, bergen, tromso)
        polls = {}
        for site in (bergen, tromso):
            after = site.ok("GET", "/v1/inbox")["last_seq"]
            polls[site.id] = threads.submit(site.get, f"/v1/inbox?after={after}&wait=30")
        until(lambda: web_of(net.app).waiters.open == 2)
        oslo.ok("POST", "/v1/messages", message(project, [bergen.id]))
        assert len(polls[bergen.id].result(20).get_json()["items"]) == 1
        until(lambda: web_of(net.app).waiters.open == 1)
        assert not polls[tromso.id].done()
        release(net.app)
        assert polls[tromso.id].result(20).get_json()["items"] == []

    def test_a_run_poll_wakes_with_its_version(self, net: Network, threads: ThreadPoolExecutor) -> None:
        oslo, bergen = net.site("oslo"), net.site("bergen")
        run = net.run(oslo, net.project(oslo, bergen))
        version = oslo.ok("GET", f"/v1/runs/{run}")["version"]
        poll = threads.submit(oslo.get, f"/v1/runs/{run}?after={version}&wait=30")
        until(lambda: web_of(net.app).waiters.open == 1)
        assert net.report(bergen, run, "ready", 1).status_code == 200
        assert poll.result(20).get_json()["version"] == version + 1

    def test_an_event_poll_wakes(self, net: Network, threads: ThreadPoolExecutor) -> None:
        oslo, bergen = net.site("oslo"), net.site("bergen")
        run = net.run(oslo, net.project(oslo, bergen))
        last = oslo.ok("GET", f"/v1/runs/{run}/events?limit=200")["items"][-1]["seq"]
        poll = threads.submit(oslo.get, f"/v1/runs/{run}/events?after={last}&wait=30")
        until(lambda: web_of(net.app).waiters.open == 1)
        net.report(bergen, run, "ready", 1)
        assert poll.result(20).get_json()["items"][0]["kind"] == "seat_ready"

    def test_nothing_new_answers_empty_and_costs_no_query(self, net: Network, caplog: pytest.LogCaptureFixture) -> None:
        site = net.site("oslo")
        last = site.ok("GET", "/v1/inbox")["last_seq"]
        with caplog.at_level("DEBUG", "peewee"):
            answer = site.ok("GET", f"/v1/inbox?after={last}&wait=0.01")
        asked = [record.getMessage() for record in caplog.records if "inbox" in record.getMessage()]
        history = answer.pop("history_id")
        assert answer == {"items": [], "last_seq": last, "acknowledged_seq": 0}
        assert history == site.ok("GET", "/v1/inbox")["history_id"]
        assert [line for line in asked if "SELECT" in line] == []

    def test_a_wait_for_a_command_that_nobody_waited_for(self, net: Network, threads: ThreadPoolExecutor) -> None:
        net.publisher.held = True
        sent = net.admin.call("POST", "/v1/organisations", {"name": "x"}, wait=False)
        assert sent.status_code == 202
        href = sent.get_json()["command"]["href"]
        assert sent.headers["Location"] == href
        assert net.admin.ok("GET", href)["state"] == "pending"
        poll = threads.submit(net.admin.get, f"{href}?wait=30")
        until(lambda: web_of(net.app).waiters.open == 1)
        net.publisher.go_on()
        answer = poll.result(20).get_json()
        assert (answer["state"], answer["status"], answer["kind"]) == ("accepted", 201, "create_organisation")
        assert answer["result"]["id"]
        assert answer["problem"] is None

    def test_a_rejected_command_shows_its_problem(self, net: Network) -> None:
        member = net.account(net.organisation("oslo"), "member")
        sent = member.call("POST", "/v1/organisations", {"name": "x"}, wait=False)
        shown = member.ok("GET", sent.headers["Location"])
        assert (shown["state"], shown["status"], shown["result"]) == ("rejected", 403, None)
        assert shown["problem"]["type"] == "/problems/forbidden"
        assert net.admin.ok("GET", sent.headers["Location"]) == shown


class TestPrefer:
    def test_a_write_waits_for_its_decision(self, net: Network, threads: ThreadPoolExecutor) -> None:
        net.publisher.held = True
        write = threads.submit(net.admin.call, "POST", "/v1/organisations", {"name": "x"})
        until(lambda: len(net.publisher.waiting) == 1)
        net.publisher.go_on()
        answer = write.result(20)
        assert answer.status_code == 201
        assert answer.headers["Location"] == f"/v1/organisations/{answer.get_json()['id']}"
        assert answer.headers["Preference-Applied"] == "wait"
        assert answer.headers["Fedyard-Command"] == net.publisher.sent[-1].id

    def test_what_is_not_decided_in_time_is_202(self, net: Network) -> None:
        net.publisher.held = True
        answer = net.admin.call("POST", "/v1/organisations", {"name": "x"}, headers={"Prefer": "wait=0.1, wait=1"})
        assert answer.status_code == 202
        net.publisher.go_on()
        assert net.admin.ok("GET", answer.headers["Location"])["state"] == "accepted"

    @pytest.mark.parametrize("prefer", ["", "respond-async", "wait", "wait=x", "wait=-1", "handling=lenient"])
    def test_other_preferences_are_none_of_ours(self, net: Network, prefer: str) -> None:
        answer = net.admin.call("POST", "/v1/organisations", {"name": "x"}, headers={"Prefer": prefer})
        assert answer.status_code == 202


class TestFull:
    def test_polls_over_the_cap_are_503(self, make_net: Callable[..., Network], threads: ThreadPoolExecutor) -> None:
        net = make_net(waiting_polls=4)
        oslo, bergen = net.site("oslo"), net.site("bergen")
        project = net.project(oslo, bergen)
        last = oslo.ok("GET", "/v1/inbox")["last_seq"]
        path = f"/v1/inbox?after={last}&wait=30"
        polls = [threads.submit(oslo.get, path) for _ in range(4)]
        until(lambda: web_of(net.app).waiters.open == 4)
        refused = oslo.get(path)
        assert slug(refused, 503) == "too_many_polls"
        assert int(refused.headers["Retry-After"]) >= 1
        assert oslo.get(f"/v1/inbox?after={last}").status_code == 200
        write = bergen.call("POST", "/v1/messages", message(project, "coordinator"))
        assert write.status_code == 202
        assert [len(poll.result(20).get_json()["items"]) for poll in polls] == [1, 1, 1, 1]

    def test_a_secret_that_could_not_be_shown_is_not_made(
        self, make_net: Callable[..., Network], threads: ThreadPoolExecutor
    ) -> None:
        net = make_net(waiting_polls=4)
        site = net.site("oslo")
        last = site.ok("GET", "/v1/inbox")["last_seq"]
        polls = [threads.submit(site.get, f"/v1/inbox?after={last}&wait=30") for _ in range(4)]
        until(lambda: web_of(net.app).waiters.open == 4)
        sent = len(net.publisher.sent)
        assert slug(site.call("POST", "/v1/tokens", {"label": "x"}, wait=False), 503) == "too_many_polls"
        assert len(net.publisher.sent) == sent
        release(net.app)
        assert [poll.result(20).status_code for poll in polls] == [200] * 4


class TestDown:
    def test_without_the_broker_a_write_is_503_at_once(self, net: Network) -> None:
        site = net.site("oslo")
        net.publisher.down = True
        refused = net.admin.call("POST", "/v1/organisations", {"name": "x"})
        assert slug(refused, 503) == "broker_unavailable"
        assert int(refused.headers["Retry-After"]) >= 1
        assert net.admin.get("/v1/organisations").status_code == 200
        ready = net.admin.get("/readyz")
        assert ready.status_code == 503
        assert ready.get_json()["parts"]["broker"] == "the broker does not answer"
        for stranger in (net.stranger(None), net.stranger("unknown"), site):
            told = stranger.get("/readyz")
            assert (told.status_code, told.get_json()["parts"]["broker"]) == (503, "down")
        assert ready.get_json()["parts"]["database"] == "ok"
        net.publisher.down = False
        assert net.admin.call("POST", "/v1/organisations", {"name": "x"}).status_code == 201
        assert net.admin.get("/readyz").get_json()["status"] == "ready"

    def test_the_release_at_the_end(self, net: Network, threads: ThreadPoolExecutor) -> None:
        oslo, bergen = net.site("oslo"), net.site("bergen")
        run = net.run(oslo, net.project(oslo, bergen))
        last = oslo.ok("GET", "/v1/inbox")["last_seq"]
        version = oslo.ok("GET", f"/v1/runs/{run}")["version"]
        net.publisher.held = True
        waiting: list[Any] = [
            threads.submit(oslo.get, f"/v1/inbox?after={last}&wait=30"),
            threads.submit(oslo.get, f"/v1/runs/{run}?after={version}&wait=30"),
            threads.submit(oslo.call, "POST", "/v1/tokens", {"label": "x", "sha256": "0" * 64}),
        ]
        until(lambda: web_of(net.app).waiters.open == 3)
        release(net.app)
        assert [one.result(20).status_code for one in waiting] == [200, 200, 202]
        assert oslo.get(f"/v1/inbox?after={last}&wait=30").status_code == 200


class TestRoom:
    """The waiting room by itself."""

    def test_a_place_is_woken_once_however_often_it_is_called(self) -> None:
        waiting = Waiters(4, SystemClock())
        heard = Announcement(inboxes={SITE: Tip(1)})
        with waiting.place(("inbox", SITE)) as place:
            waiting.heard(heard)
            waiting.heard(heard)
            assert place.wait(10)
            assert not place.wait(0)

    def test_what_came_before_the_wait_is_not_missed(self) -> None:
        waiting = Waiters(4, SystemClock())
        with waiting.place(("command", SITE)) as place:
            waiting.heard(Announcement(decided=[Decided(SITE, "accepted", 200, "{}", "")]))
            waiting.sleep(place, 10)
            assert place.decided is not None

    def test_a_lost_announcement_holds_nobody_up_for_long(self) -> None:
        waiting = Waiters(4, SystemClock())
        looks = iter([None, None, None, "found"])
        assert waiting.until(("run", SITE), 10, lambda: next(looks), again_s=0.01) == "found"

    def test_many_wake_in_slices(self) -> None:
        clock = TestClock()
        before = clock.micros
        waiting = Waiters(1000, clock)
        woken = []
        asleep = threading.Barrier(2 * SLICE + 2)

        def wait() -> None:
            with waiting.place(("run", SITE)) as place:
                asleep.wait(20)
                woken.append(place.wait(20))

        crowd = [threading.Thread(target=wait) for _ in range(2 * SLICE + 1)]
        for one in crowd:
            one.start()
        asleep.wait(20)
        waiting.heard(Announcement(runs={SITE: 2}))
        for one in crowd:
            one.join(20)
        assert woken == [True] * (2 * SLICE + 1)
        assert clock.micros - before == 2 * round(1_000_000 * BETWEEN_SLICES_S)

    def test_over_the_cap(self) -> None:
        waiting = Waiters(1, SystemClock())
        with waiting.place(("run", SITE)), pytest.raises(Refused), waiting.place(("run", SITE)):
            pass
        assert (waiting.open, waiting.refused) == (0, 1)
        with waiting.place(("run", SITE)):
            assert waiting.open == 1


def known(last_seq: int, acknowledged_seq: int, mark: str = "", history: str = HISTORY) -> Known:
    return Known(last_seq, mark, acknowledged_seq, history)


class TestNewest:
    def test_a_history_that_went_back_is_believed_once_what_was_remembered_has_faded(self) -> None:
        clock = TestClock()
        newest = InboxTips(clock)
        newest.learn(SITE, known(46, 46, "a"), newest.generation)
        for _ in range(3):  # also where it is read again and again
            clock.sleep(2)
            newest.learn(SITE, known(30, 28, "b", OTHER_HISTORY), newest.generation)
        assert newest.known(SITE) == known(30, 28, "b", OTHER_HISTORY)

    def test_the_mark_comes_with_the_newest_entry(self) -> None:
        newest = InboxTips(TestClock())
        newest.learn(SITE, known(5, 3, "a"), newest.generation)
        newest.heard(Announcement(inboxes={SITE: Tip(6, "b")}))
        assert newest.known(SITE) == known(6, 3, "b")

    def test_announcements_move_it_on(self) -> None:
        newest = InboxTips(TestClock())
        newest.learn(SITE, known(5, 3), newest.generation)
        assert newest.known(SITE) == known(5, 3)
        newest.heard(Announcement(inboxes={SITE: Tip(6)}))
        assert newest.known(SITE) == known(6, 3)
        newest.learn(SITE, known(5, 4), newest.generation)
        assert newest.known(SITE) == known(6, 4)

    def test_an_announcement_between_a_read_and_its_learning_is_kept(self) -> None:
        newest = InboxTips(TestClock())
        generation = newest.generation
        newest.heard(Announcement(inboxes={SITE: Tip(6)}))
        assert newest.known(SITE) is None
        newest.learn(SITE, known(5, 3), generation)
        assert newest.known(SITE) == known(6, 3)

    def test_a_read_from_before_a_gap_is_not_believed(self) -> None:
        newest = InboxTips(TestClock())
        generation = newest.generation
        newest.void()
        newest.learn(SITE, known(5, 3), generation)
        assert newest.known(SITE) is None

    def test_it_is_trusted_for_seconds_only(self) -> None:
        clock = TestClock()
        newest = InboxTips(clock)
        newest.learn(SITE, known(5, 3), newest.generation)
        clock.sleep(6)
        assert newest.known(SITE) is None


class TestUndecided:
    def test_a_silent_decider_is_noticed(self) -> None:
        clock = TestClock()
        undecided = Undecided(clock)
        undecided.asked(SITE)
        assert undecided.trouble() is None
        clock.sleep(11)
        assert "none was decided meanwhile: look whether a decider runs" in str(undecided.trouble())
        undecided.heard(Announcement(decided=[Decided(SITE, "accepted", 200, "{}", "")]))
        assert undecided.trouble() is None

    def test_one_that_is_postponed_while_others_are_decided_is_no_trouble(self) -> None:
        clock = TestClock()
        undecided = Undecided(clock)
        undecided.asked(SITE)
        clock.sleep(11)
        undecided.heard(Announcement(runs={SITE: 1}))
        assert undecided.trouble() is None

    def test_readyz_names_the_decider(self, make_net: Callable[..., Network]) -> None:
        clock = TestClock()
        net = make_net(clock=clock)
        web_of(net.app).undecided.asked(SITE)
        clock.sleep(11)
        ready = net.admin.get("/readyz")
        assert ready.status_code == 503
        assert "none was decided" in ready.get_json()["parts"]["decider"]


class TestIdempotency:
    def create(self, caller: Caller, key: str, name: str = "x", **more: Any) -> TestResponse:
        headers = {"Idempotency-Key": key}
        return caller.call("POST", "/v1/organisations", {"name": name}, headers=headers, **more)

    def test_a_repeat_is_the_same_command(self, net: Network) -> None:
        first, second = self.create(net.admin, "k"), self.create(net.admin, "k")
        assert first.status_code == second.status_code == 201
        assert first.get_json() == second.get_json()
        assert first.headers["Fedyard-Command"] == second.headers["Fedyard-Command"]

    def test_a_rejection_is_repeated_too(self, net: Network) -> None:
        self.create(net.admin, "a")
        first, second = self.create(net.admin, "b"), self.create(net.admin, "b")
        assert slug(first, 409) == slug(second, 409) == "name_taken"
        assert first.headers["Fedyard-Command"] == second.headers["Fedyard-Command"]

    @pytest.mark.parametrize("wait", [True, False])
    def test_another_request_under_the_key_is_422(self, net: Network, wait: bool) -> None:
        self.create(net.admin, "k")
        assert slug(self.create(net.admin, "k", "y", wait=wait), 422) == "idempotency_key_reused"
        assert self.create(net.admin, "k", wait=wait).status_code == (201 if wait else 202)

    def test_keys_are_the_callers_own(self, net: Network) -> None:
        other = net.account(net.organisation("oslo"), "admin")
        assert self.create(net.admin, "k").status_code == 201
        assert self.create(other, "k", "y").status_code == 201

    @pytest.mark.parametrize("key", ["", "a b", "x" * 201, "ü"])
    def test_a_key_that_is_none_is_400(self, net: Network, key: str) -> None:
        assert slug(self.create(net.admin, key), 400) == "malformed"

    def test_a_drawn_secret_is_shown_once(self, net: Network) -> None:
        body = {"organisation_id": net.organisation("oslo"), "name": "x", "role": "member"}
        headers = {"Idempotency-Key": "k"}
        first = net.admin.ok("POST", "/v1/accounts", body, headers=headers)
        second = net.admin.ok("POST", "/v1/accounts", body, headers=headers)
        assert first["id"] == second["id"]
        assert second["token"] is None
        assert net.stranger(first["token"]).get("/v1/me").get_json()["id"] == first["id"]

    def test_an_enrolments_secret_too(self, net: Network) -> None:
        body = {"organisation_id": net.organisation("oslo")}
        headers = {"Idempotency-Key": "k"}
        first = net.admin.ok("POST", "/v1/enrolments", body, headers=headers)
        second = net.admin.ok("POST", "/v1/enrolments", body, headers=headers)
        assert (second["id"], second["token"]) == (first["id"], None)
        assert first["token"].startswith("fyd_")

    def test_a_secret_of_ones_own_may_be_sent_again_and_again(self, net: Network) -> None:
        enrolment = net.enrolment(net.organisation("oslo"))
        body = enrolling(enrolment.token, "oslo", token_sha256="a" * 64)
        headers = {"Idempotency-Key": "k"}
        first = enrolment.ok("POST", "/v1/sites", body, headers=headers)
        assert first["token"] is None
        assert enrolment.call("POST", "/v1/sites", body, headers=headers).status_code == 401
        admin = {"organisation_id": net.organisation("bergen"), "name": "x", "role": "member", "token_sha256": "b" * 64}
        again = [net.admin.ok("POST", "/v1/accounts", admin, headers=headers) for _ in range(2)]
        assert again[0] == again[1]
        assert again[0]["token"] is None

    def test_a_report_sent_twice_is_told_apart_by_its_seq(self, net: Network) -> None:
        oslo, bergen = net.site("oslo"), net.site("bergen")
        run = net.run(oslo, net.project(oslo, bergen))
        first, second = (net.report(bergen, run, "ready", 1).get_json() for _ in range(2))
        assert (first["duplicate"], second["duplicate"]) == (False, True)
        assert first["report_seq"] == second["report_seq"] == 1


def test_without_the_database_reads_are_503_until_it_is_back(
    postgres: PrivatePostgres, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    net = network(fresh_postgres(postgres), tmp_path)
    oslo, bergen = net.site("oslo"), net.site("bergen")
    project = net.project(oslo, bergen)
    postgres.kill()
    try:
        refused = oslo.get("/v1/inbox")
        assert slug(refused, 503) == "database_unavailable"
        assert int(refused.headers["Retry-After"]) >= 1
        assert slug(net.stranger("unknown").get("/v1/me"), 503) == "database_unavailable"
        until(lambda: oslo.get("/readyz").get_json()["parts"]["signals"] != "ok")
        ready = oslo.get("/readyz")
        assert ready.status_code == 503
        assert ready.get_json()["parts"]["database"] != "ok"
        assert oslo.get("/healthz").status_code == 200
        assert oslo.get("/metrics").status_code == 503
    finally:
        postgres.start()
    until(lambda: oslo.get("/readyz").status_code == 200, 30)
    last = bergen.ok("GET", "/v1/inbox")["last_seq"]
    poll = threads.submit(bergen.get, f"/v1/inbox?after={last}&wait=30")
    until(lambda: web_of(net.app).waiters.open == 1)
    oslo.ok("POST", "/v1/messages", message(project))
    assert len(poll.result(20).get_json()["items"]) == 1
    net.close()
