"""The ticker turns time into commands, once each; the relay publishes what a crash left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from actors.relay import Relay
from actors.ticker import Ticker
from broker.port import BrokerUnavailable, Sending, Sent
from broker.protocol import commands as c
from broker.protocol import records as r
from broker.protocol.commands import Envelope
from broker.protocol.ids import sha256_hex
from config.clock import SystemClock
from ops.servers.postgres import PrivatePostgres
from storage.database import open_database
from storage.due import Due
from storage.migrate import migrate
from tests.hub import QUICK, SECOND, Hub

CLOCK = SystemClock()


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        CLOCK.sleep(0.01)


class Kept:
    """A publisher that keeps what it is given, or is down."""

    def __init__(self) -> None:
        self.sent: list[Envelope] = []
        self.down = False

    def begin(self, envelopes: Sequence[Envelope], failed: Callable[[], None]) -> Sending:
        self.send(envelopes)
        return Sent()

    def send(self, envelopes: Sequence[Envelope]) -> None:
        if self.down:
            raise BrokerUnavailable("down")
        self.sent.extend(envelopes)

    def ready(self) -> str | None:
        return "down" if self.down else None

    def close(self) -> None:
        self.sent.clear()

    def take(self) -> list[Envelope]:
        taken, self.sent = self.sent, []
        return taken


def ticker_of(hub: Hub, publisher: Kept) -> Ticker:
    keep = {"keep_commands_s": 1000, "keep_inbox_s": 1000, "keep_artifacts_s": 1000}
    ticker = Ticker(Due(hub.database), publisher, hub.clock, silent_after_s=90, **keep)
    ticker.tick()
    publisher.take()
    return ticker


def decided(hub: Hub, envelopes: list[Envelope]) -> list[str]:
    batch = hub.batch(envelopes)
    hub.drain()
    return [outcome.kind for outcome in batch.outcomes.values()]


def test_a_deadline_is_passed_once(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    publisher = Kept()
    ticker = ticker_of(hub, publisher)
    hub.clock.micros += 61 * SECOND
    ticker.tick()
    ticker.tick()
    found = publisher.take()
    assert {type(e.command) for e in found} == {c.PassDeadline}
    assert len({e.id for e in found}) == 1
    decided(hub, found)
    assert (hub.run(run).state, hub.run(run).reason) == ("failed", "quorum_not_met")
    ticker.tick()
    assert publisher.take() == []


def test_silence_is_noted_and_drops_the_seat_when_it_has_lasted_too_long(hub: Hub) -> None:
    sites = hub.sites(3)
    contract = c.Contract(quorum=0.5, select_within_s=5000, silent_within_s=300)
    run = hub.start(hub.project(sites, tasks=[c.TaskSpec(name="t", model="m", contract=contract)]), sites[0])
    publisher = Kept()
    ticker = ticker_of(hub, publisher)

    def beat(*who: int) -> None:
        hub.store.record_heartbeats([c.Beat(sites[n].id, hub.clock.now()) for n in who], [])

    beat(0, 1, 2)
    hub.clock.micros += 100 * SECOND
    beat(0, 1)
    ticker.tick()
    assert decided(hub, publisher.take()) == ["mark_sites_silent"]
    assert hub.rows(r.Site, "id = %s", sites[2].id)[0].state == "silent"
    assert hub.seat(run, sites[2]).state == "invited"

    hub.clock.micros += 201 * SECOND
    beat(0, 1)
    ticker.tick()
    assert decided(hub, publisher.take()) == ["drop_seats"]
    assert (hub.seat(run, sites[2]).state, hub.seat(run, sites[2]).reason) == ("dropped", "site_silent")

    beat(0, 1, 2)
    hub.clock.micros += SECOND
    beat(2)
    ticker.tick()
    assert decided(hub, publisher.take()) == ["mark_sites_returned"]
    assert hub.rows(r.Site, "id = %s", sites[2].id)[0].state == "online"
    ticker.tick()
    assert publisher.take() == []


def test_after_the_hub_was_down_itself_nobody_is_silent_at_once(hub: Hub) -> None:
    hub.sites(2)
    hub.clock.micros += 10_000 * SECOND
    publisher = Kept()
    ticker = ticker_of(hub, publisher)
    ticker.tick()
    assert publisher.take() == []
    hub.clock.micros += 91 * SECOND
    ticker.tick()
    assert {type(e.command) for e in publisher.take()} == {c.MarkSitesSilent}


def test_expired_messages_are_found(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    message = c.NewMessage(project_id=project, to="coordinator", body=b"x", ttl_s=10)
    hub.ok(c.PostMessages(sender_site_id=sites[1].id, messages=[message]), sites[1])
    publisher = Kept()
    ticker = ticker_of(hub, publisher)
    hub.clock.micros += 11 * SECOND
    ticker.tick()
    assert decided(hub, publisher.take()) == ["expire_messages"]
    ticker.tick()
    assert publisher.take() == []


def test_retention_comes_once_in_a_while(hub: Hub) -> None:
    publisher = Kept()
    ticker = ticker_of(hub, publisher)
    ticker.tick()
    assert publisher.take() == []
    hub.clock.micros += 601 * SECOND
    ticker.tick()
    assert decided(hub, publisher.take()) == ["forget_history"]


def test_artifacts_past_their_time_are_found_with_retention_and_again_while_they_are_left_alone(hub: Hub) -> None:
    sites = hub.sites(2)
    digest = sha256_hex(b"")
    declared = c.DeclareArtifact(
        owner_site_id=sites[1].id,
        project_id=hub.project(sites),
        of_kind="result",
        size_bytes=0,
        digest=digest,
        chunk_digests=b"",
        ttl_s=700,
    )
    artifact = hub.ok(declared, sites[1])["id"]
    hub.ok(c.CompleteArtifact(artifact_id=artifact, found=b""), sites[1])
    publisher = Kept()
    ticker = ticker_of(hub, publisher)
    hub.clock.micros += 1400 * SECOND

    def found() -> list[Envelope]:
        ticker.tick()
        return [e for e in publisher.take() if isinstance(e.command, c.ExpireArtifacts)]

    first = found()
    assert found() == []
    hub.clock.micros += 600 * SECOND
    again = found()
    assert [len(first), len(again), len({e.id for e in first + again})] == [1, 1, 2]
    assert decided(hub, again) == ["expire_artifacts"]
    hub.clock.micros += 600 * SECOND
    assert found() == []


def test_a_ticker_whose_broker_is_down_tries_again(hub: Hub) -> None:
    sites = hub.sites(2)
    hub.start(hub.project(sites), sites[0])
    publisher = Kept()
    ticker = ticker_of(hub, publisher)
    hub.clock.micros += 61 * SECOND
    publisher.down = True
    assert ticker.tick() == 0
    publisher.down = False
    assert ticker.tick() == 1


def test_of_two_tickers_one_leads_and_the_other_takes_over(postgres: PrivatePostgres) -> None:
    url = postgres.database()
    migrate(open_database(url))
    one, other = Due(open_database(url)), Due(open_database(url))
    assert (one.lead(), other.lead(), one.lead()) == (True, False, True)
    one.step_down()
    until(other.lead)
    other.step_down()


@pytest.mark.parametrize("age", [1, 3])
def test_the_relay_leaves_fresh_rows_to_their_decider(hub: Hub, age: int) -> None:
    sites = hub.sites(2)
    task = c.TaskSpec(name="t", model="m", contract=QUICK)
    run = hub.start(hub.project(sites, tasks=[task]), sites[0])
    batch = hub.batch([hub.envelope(c.StopRun(run_id=run), sites[0])])
    publisher = Kept()
    relay = Relay(hub.store, publisher, hub.clock, after_s=2)
    hub.clock.micros += age * SECOND
    assert relay.sweep() == (0 if age == 1 else 1)
    assert [e.id for e in publisher.take()] == [e.id for e in batch.follow_ups][: 0 if age == 1 else 1]
    assert relay.sweep() == 0


def test_the_relay_forgets_nothing_that_was_not_confirmed(hub: Hub) -> None:
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.batch([hub.envelope(c.StopRun(run_id=run), sites[0])])
    publisher = Kept()
    publisher.down = True
    relay = Relay(hub.store, publisher, hub.clock, after_s=2)
    hub.clock.micros += 3 * SECOND
    assert relay.sweep() == 0
    publisher.down = False
    assert relay.sweep() == 1
