"""A hub that shows numbers no honest hub would: they must not make a site deaf to the honest one behind it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from chaos.liar import Asked, Forward, Told, liar_before
from fedyard.agent.recovery import MAX_CLAIMED, MAX_JUMP, last_believed
from fedyard.agent.state import Seat
from fedyard.client.client import Client
from fedyard.client.errors import Unavailable
from fedyard.clock import micros_now, utc_now
from tests.fedyard.test_recovery import Site
from tests.fedyard.world import World, project_of
from tests.liar.agents import at_work
from tests.waiting import until

LARGEST = 2**53 - 1
"""What a number on the wire may be at most."""


def test_an_entry_far_beyond_what_is_known_is_not_taken_in(world: World, tmp_path: Path) -> None:
    told: list[int] = []

    def beyond(asked: Asked, forward: Forward) -> Told:
        answer = forward(asked)
        if not asked.to("GET", "/v1/inbox") or answer.status != 200 or not answer.json["items"] or len(told) > 3:
            return answer
        page = answer.json
        told.append(page["items"][0]["seq"])
        mad = {"seq": LARGEST, "kind": "token_issued", "created_at": page["items"][0]["created_at"], "facts": {}}
        unreadable = {"seq": LARGEST - 1, "kind": 5}
        return answer.but({**page, "items": [*page["items"], mad, unreadable], "last_seq": LARGEST})

    with (
        liar_before(world.hub, beyond) as liar,
        at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as (north, east),
    ):
        project = project_of([north.site, east.site], rounds=1)
        until(lambda: told)
        assert project.finished(project.start()).state == "succeeded"
        assert east.failure is None
        until(lambda: east.lines("entry beyond belief"))


def test_a_claim_is_one_that_the_hub_takes_whatever_a_hub_said_before(world: World, tmp_path: Path) -> None:
    (process,) = world.sites(tmp_path, "poisoned")
    process.start()
    until(lambda: process.client.site_keys(process.site_id))
    process.kill()
    site = Site(process, tmp_path / "memory")
    site.takes_what_there_is()
    state, recovery = site.open()
    run = "aaaaaaaa-0000-4000-8000-000000000000"
    state.inbox.take([], through=LARGEST)  # as an agent of before took it in
    state.seats.keep_seat(Seat(run, 1, LARGEST, b"{}", 1, 1))
    state.seats.keep_seat(Seat(run, 2**31 - 1, 1, b"{}", 1, 1))
    recovery.begin(utc_now())
    recovery.pay(micros_now(), state.runs.forget_run)
    position = state.history.position()
    state.close()
    assert MAX_CLAIMED < position.taken < LARGEST
    assert process.client.inbox(after=position.taken, mark=position.mark).history_id == position.history_id


def test_a_list_has_an_end(world: World) -> None:
    """Every page is a good one, and no cursor comes twice; together they would take all memory."""
    items = [{"id": "x" * 8000} for _ in range(1000)]

    def endless(asked: Asked, _: Forward) -> Told:
        return Told().but({"items": items, "next": str(len(asked.path) + len(liar.seen))})

    with liar_before(world.hub, endless, remembers=10_000) as liar, closing(Client(liar.url, "token")) as client:
        with pytest.raises(Unavailable, match="has more than"):
            for _ in client.every("/v1/projects", {}, dict):
                pass
        assert len(liar.seen) < 20


def test_what_is_believed_is_a_bound_above_what_is_known() -> None:
    assert last_believed(17) == 17 + MAX_JUMP
    assert last_believed(0) == MAX_CLAIMED
