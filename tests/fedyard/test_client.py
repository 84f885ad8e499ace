from __future__ import annotations

import socket
import threading

import pytest

from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unavailable
from fedyard.wire.problems import ProblemType
from tests.fedyard.rude import DROP, Answer, RudeHub, rude_hub, slow

TOKEN = "fyd_the-secret-of-this-test"
SITE, PROJECT, OTHER = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2, 3))
COMMAND = "0b6f6f0e-3a0f-4e39-9d0e-3b0f3a1f6f0e"
ME = Answer(body={"kind": "site", "id": SITE, "name": "north", "scopes": ["read"]})
CREATED = Answer(201, {"id": PROJECT})
PENDING = Answer(202, {}, {"Location": f"/v1/commands/{COMMAND}"})


class QuickClock:
    """Real pauses would only make the test slow: waiting is counted and time moves by it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return event.is_set()


def client_of(hub: RudeHub, clock: QuickClock | None = None, **options: object) -> Client:
    return Client(hub.url, TOKEN, clock=clock or QuickClock(), **options)  # type: ignore[arg-type]


def problem(status: int, slug: str, **headers: str) -> Answer:
    body = {"type": f"/problems/{slug}", "title": "No", "status": status, "detail": "because"}
    return Answer(status, body, headers)


def test_reads_with_its_token() -> None:
    with rude_hub(ME) as hub:
        assert client_of(hub).me().name == "north"
    assert hub.seen[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_repeats_a_write_under_the_same_key() -> None:
    with rude_hub(DROP, DROP, problem(503, "busy"), CREATED) as hub:
        assert client_of(hub).create_project("p", []) == PROJECT
    keys = {seen.headers["idempotency-key"] for seen in hub.seen}
    assert (len(hub.seen), len(keys), len({seen.body for seen in hub.seen})) == (4, 1, 1)


def test_says_once_what_it_waits_for_while_it_tries_again() -> None:
    said: list[str] = []
    with rude_hub(DROP, problem(503, "busy"), ME) as hub:
        assert client_of(hub, waiting=said.append).me().name == "north"
    where = f"no answer from {hub.url} (the connection broke): is the hub up, and is that its address?"
    assert said == [f"GET /v1/me: {where} (trying again for 60 s)"]


def test_different_writes_have_different_keys() -> None:
    with rude_hub(CREATED) as hub:
        client = client_of(hub)
        client.create_project("p", [])
        client.create_project("p", [])
    assert len({seen.headers["idempotency-key"] for seen in hub.seen}) == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_waits_as_long_as_retry_after_says(status: int) -> None:
    clock = QuickClock()
    with rude_hub(problem(status, "busy", **{"Retry-After": "7"}), ME) as hub:
        client_of(hub, clock).me()
    assert len(clock.pauses) == 1
    assert 7 * 0.75 <= clock.pauses[0] <= 7 * 1.25


def test_pauses_grow_and_then_it_gives_up() -> None:
    clock = QuickClock()
    with rude_hub(DROP) as hub, pytest.raises(Unavailable) as caught:
        client_of(hub, clock, give_up_s=30.0).me()
    assert len(clock.pauses) == len(hub.seen) - 1
    assert clock.pauses[-1] > 10 * clock.pauses[0]
    assert clock.now <= 30.0 * 1.25
    assert "/v1/me" in str(caught.value)


def test_gives_up_at_once_if_the_hub_asks_for_more_patience_than_there_is() -> None:
    clock = QuickClock()
    with rude_hub(problem(503, "busy", **{"Retry-After": "100"})) as hub, pytest.raises(Unavailable) as caught:
        client_of(hub, clock, give_up_s=30.0).me()
    assert clock.pauses == []
    assert caught.value.retry_after_s == 100


def test_no_hub_at_all_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unavailable):
        Client(f"http://127.0.0.1:{port}", TOKEN, give_up_s=2.0, clock=QuickClock()).me()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 415, 422])
def test_a_refusal_is_never_repeated(status: int) -> None:
    with rude_hub(problem(status, "not_so")) as hub, pytest.raises(Refused) as caught:
        client_of(hub).start_run("p")
    assert len(hub.seen) == 1
    assert (caught.value.status, caught.value.slug, caught.value.detail) == (status, "not_so", "because")
    assert caught.value.problem is None  # a newer hub's: its status says what to do


def test_a_refusal_without_a_problem_is_one_all_the_same() -> None:
    with rude_hub(Answer(403, raw=b"<html>proxy</html>")) as hub, pytest.raises(Refused) as caught:
        client_of(hub).me()
    assert caught.value.status == 403


def test_follows_a_command_until_it_is_decided() -> None:
    command = {"id": COMMAND, "kind": "create_project", "result": None, "problem": None, "status": None}
    undecided, decided = {**command, "state": "pending"}, {**command, "state": "accepted", "result": {"id": PROJECT}}
    with rude_hub(PENDING, Answer(body=undecided), DROP, Answer(body=undecided), Answer(body=decided)) as hub:
        assert client_of(hub).create_project("p", []) == PROJECT
    assert hub.seen[0].headers["prefer"] == "wait=10"
    assert {seen.path for seen in hub.seen[1:]} == {f"/v1/commands/{COMMAND}?wait=10"}


def test_a_command_that_nobody_decides_is_told_with_its_id_and_what_to_do() -> None:
    command = {"id": COMMAND, "kind": "stop_run", "result": None, "problem": None, "status": None, "state": "pending"}
    with rude_hub(PENDING, Answer(body=command)) as hub, pytest.raises(Unavailable) as caught:
        client_of(hub, give_up_s=15).stop_run(PROJECT)
    assert str(caught.value) == (
        f"POST /v1/runs/{PROJECT}/stop: the hub has this as command {COMMAND} and has not decided it within 15 s;"
        " it still will. Look later whether it was done before you say it again; if it lasts, have the hub's operator"
        " look after its decider (GET /readyz)"
    )


def test_a_command_that_is_rejected_later_is_refused() -> None:
    told = {"type": "/problems/run_live", "title": "A run lives", "status": 409, "detail": "run 7 lives"}
    rejected = {"id": COMMAND, "state": "rejected", "status": 409, "result": None, "problem": told}
    with rude_hub(PENDING, Answer(body=rejected)) as hub, pytest.raises(Refused) as caught:
        client_of(hub).start_run("p")
    assert (caught.value.status, caught.value.slug, caught.value.problem) == (409, "run_live", ProblemType.RUN_LIVE)


def test_follows_a_location_only_if_it_is_a_command_of_the_hub() -> None:
    elsewhere = Answer(202, {}, {"Location": "http://elsewhere.example/v1/commands/1"})
    with rude_hub(elsewhere) as hub, pytest.raises(Unavailable):
        client_of(hub).start_run("p")


def test_a_redirect_is_not_followed_with_the_token() -> None:
    with rude_hub(Answer(307, {}, {"Location": "/v1/elsewhere"})) as hub, pytest.raises(Unavailable, match="307"):
        client_of(hub).me()
    assert {seen.path for seen in hub.seen} == {"/v1/me"}


def test_an_answer_that_is_no_such_thing_is_told_without_its_content() -> None:
    with rude_hub(Answer(raw=b'{"kind": "secret-content"')) as hub, pytest.raises(Unavailable) as caught:
        client_of(hub).me()
    assert "secret-content" not in str(caught.value)


def test_a_slow_answer_is_waited_for() -> None:
    with rude_hub(slow(0.5, ME)) as hub:
        assert client_of(hub).me().id == SITE
    assert len(hub.seen) == 1


def test_walks_through_all_pages() -> None:
    def page(name: str, following: str | None) -> Answer:
        item = {"id": SITE, "organisation_id": OTHER, "name": name, "description": "", "state": "online"}
        return Answer(body={"items": [item], "next": following})

    with rude_hub(page("a", "c1"), page("b", "c2"), page("c", None)) as hub:
        assert [site.name for site in client_of(hub).sites()] == ["a", "b", "c"]
    assert [seen.path.partition("after=")[2] for seen in hub.seen] == ["", "c1", "c2"]


def test_names_in_a_path_cannot_leave_it() -> None:
    with rude_hub(problem(404, "not_found")) as hub, pytest.raises(Refused):
        client_of(hub).project("../me?x=1")
    assert hub.seen[0].path == "/v1/projects/..%2Fme%3Fx%3D1"


def test_stops_waiting_when_it_is_closed() -> None:
    closing = threading.Event()
    closing.set()
    with rude_hub(DROP) as hub, pytest.raises(Unavailable):
        client_of(hub, closing=closing, give_up_s=1000.0).me()
    assert len(hub.seen) == 1


@pytest.mark.parametrize("answer", [DROP, problem(503, "busy"), problem(401, "unauthorized"), Answer(raw=b"{")])
def test_no_error_shows_the_token_or_the_body(answer: Answer) -> None:
    with rude_hub(answer) as hub, pytest.raises((Refused, Unavailable)) as caught:
        client_of(hub, give_up_s=1.0).post_message("p", "coordinator", b"the-plaintext")
    chain = [caught.value, caught.value.__cause__]
    assert not any(secret in repr(error) for error in chain for secret in (TOKEN, "the-plaintext"))
    assert TOKEN not in repr(client_of(hub))


def test_the_address_must_be_one() -> None:
    with pytest.raises(ValueError, match="address"):
        Client("hub.example:8080", TOKEN)


def test_events_that_a_hub_shows_again_and_again_have_an_end() -> None:
    event = {"stream_id": SITE, "seq": 7, "kind": "seat_failed", "at": "2026-03-01T00:00:00Z"}
    with rude_hub(Answer(body={"items": [event], "next": None})) as hub:
        client = client_of(hub)
        assert [one.seq for one in client.events(OTHER)] == [7]
        with pytest.raises(Unavailable, match="number 7 after 7"):
            client.events(OTHER, after=7)
