"""A hub that says that its history went back when it did not, or answers a recovery as no hub does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from chaos.liar import Asked, Forward, Told, liar_before
from chaos.lies import Json, edited
from fedyard.agent.recovery import MAX_COPIES, Recovery
from fedyard.agent.state import Seat, State
from fedyard.client.client import Client
from fedyard.client.errors import Unavailable
from fedyard.clock import SystemClock, micros_now, utc_now
from tests.fedyard.test_recovery import Site, lost
from tests.fedyard.world import World, project_of
from tests.liar.agents import AgentThread, at_work
from tests.waiting import until

RECOVERY = "/v1/sites/[^/]+/recovery"
RUN = "aaaaaaaa-0000-4000-8000-000000000000"
OTHER_RUN = "bbbbbbbb-0000-4000-8000-000000000000"


class Hurried(SystemClock):
    """Long waits are short here, and remembered."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        return super().wait(event, min(seconds, 0.02))


def test_a_hub_that_goes_back_again_and_again_is_believed_ever_later(world: World, tmp_path: Path) -> None:
    """Each time would cost a copy of the memory, a new key, and all that is sent again."""

    def back(asked: Asked, forward: Forward) -> Told:
        if asked.to("GET", "/v1/inbox"):
            nothing = {"items": [], "last_seq": 0, "acknowledged_seq": 0}
            return Told().but({**nothing, "history_id": str(uuid4())})
        if asked.to("POST", "/v1/sites/") and asked.path.endswith("/recovery"):
            at = json.loads(asked.body)["last_seq"]
            told = {"common_seq": at, "read_after": at, "mark": None, "seats": [], "keys_conflicting": [1]}
            return Told().but({**told, "history_id": str(uuid4())})
        return forward(asked)

    clock = Hurried()
    with liar_before(world.hub, back) as liar:
        (site,) = world.sites(tmp_path, "east", hub=liar.url)
        agent = AgentThread(site, clock).start()
        try:
            until(lambda: len(agent.lines("recovered")) >= 40)
        finally:
            agent.stop()
    assert [pause for pause in clock.waits if 200 < pause < 400], "the pauses between recoveries do not grow"
    assert len(site.folder.keyring().epochs()) <= 24


@pytest.fixture
def site(world: World, tmp_path: Path) -> Site:
    (process,) = world.sites(tmp_path, "east")
    site = Site(process, tmp_path / "memory")
    common = site.takes_what_there_is()
    site.takes_lost(*(lost(common + n, "site_updated") for n in range(1, 9)))
    return site


def through(hub: str, site: Site) -> tuple[State, Recovery]:
    """The site's memory, and a recovery at that hub."""
    state, _ = site.open()
    client = Client(hub, site.process.folder.token())
    ring = site.process.folder.keyring()
    return state, Recovery(site.process.site_id, site.folder, state, ring, client, lambda *_, **__: None)


@pytest.mark.parametrize(
    "lie",
    [
        lambda answer: {**answer, "common_seq": 0, "read_after": 1},
        lambda answer: {**answer, "read_after": answer["common_seq"] + 7},
        lambda answer: {**answer, "common_seq": answer["read_after"] + 1},
        lambda answer: {**answer, "read_after": 2**53 - 1},
    ],
    ids=["the beginning", "just below", "common beyond", "the end of numbers"],
)
def test_no_number_comes_again(world: World, site: Site, lie: Callable[[Json], Json]) -> None:
    """What a site made because of an entry lies under its number."""
    with liar_before(world.hub, edited("POST", RECOVERY, lie)) as liar:
        state, recovery = through(liar.url, site)
        before = state.history.position()
        with pytest.raises(Unavailable, match="which no hub does"):
            recovery.begin(utc_now())
        after = state.history.position()
        assert (after.taken, after.mark, after.history_id) == (before.taken, before.mark, before.history_id)
        liar.rules.clear()
        recovery.begin(utc_now())
        assert state.history.position().taken > before.taken
        state.close()


def test_a_run_that_was_not_claimed_is_not_forgotten(world: World, site: Site) -> None:
    def gone(answer: Json) -> Json:
        seats = [{"run_id": run, "task_seq": 1, "run_state": None, "report_seq": 0} for run in (RUN, OTHER_RUN)]
        return {**answer, "seats": seats}

    with liar_before(world.hub, edited("POST", RECOVERY, gone)) as liar:
        state, recovery = through(liar.url, site)
        state.seats.keep_seat(Seat(RUN, 1, 1, b"{}", 1, 1))
        recovery.begin(utc_now())
        forgotten: list[str] = []
        recovery.pay(micros_now(), forgotten.append)
        assert forgotten == [RUN]
        state.close()


def test_the_memory_of_before_the_lies_is_kept(site: Site) -> None:
    """A month later the first copy goes, too."""
    state, recovery = site.open()
    start = utc_now()

    def again(at: timedelta) -> list[str]:
        state.inbox.take([lost(state.inbox.taken() + 1, "site_updated")])
        recovery.begin(start + at)
        return sorted(path.name for path in site.folder.glob("state-*.sqlite"))

    (first,) = again(timedelta())
    for n in range(1, MAX_COPIES + 3):
        copies = again(timedelta(seconds=n))
    assert (copies[0], len(copies)) == (first, MAX_COPIES)
    copies = again(timedelta(days=40))
    assert first not in copies
    assert len(copies) == MAX_COPIES
    state.close()


def test_an_update_of_a_run_that_the_hub_says_it_forgot_is_on_record(world: World, tmp_path: Path) -> None:
    """It has accepted the update; then its history went back, it says, and there is no such run."""
    lies: list[int] = []

    def back(asked: Asked, forward: Forward) -> Told:
        told = forward(asked)
        if asked.to("GET", "/v1/inbox") and told.status == 200 and lies and len(told.json["items"]) and lies[0] == 1:
            lies[0] = 2
            return told.but({**told.json, "history_id": str(uuid4())})
        if asked.path.endswith("/recovery") and told.status == 200:
            lies[0] = 3
            gone = [{**seat, "run_state": None, "state": None, "report_seq": 0} for seat in told.json["seats"]]
            return told.but({**told.json, "seats": gone})
        return told

    with (
        liar_before(world.hub, back) as liar,
        at_work(world, tmp_path, honest="north", lied_to="east", hub=liar.url) as (north, east),
    ):
        project = project_of([north.site, east.site], rounds=1)
        north.site.hold("aggregate")
        run = project.start()
        until(lambda: east._agent.state.receipts.awaited_receipts(run))
        lies.append(1)
        world.admin.write("PATCH", f"/v1/sites/{east.site.site_id}", {"description": "anew"}, dict, key=None)
        until(lambda: east.lines("our update is missing in the model"))
        (line,) = east.lines("our update is missing in the model")
        assert (line["run"], line["reason"]) == (run, "run_forgotten")
        assert [one.reason for one in east._agent.state.receipts.missing_receipts()] == ["run_forgotten"]
        north.site.release("aggregate")
