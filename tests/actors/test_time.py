"""The ticker turns time into commands, once each; the relay publishes what a crash left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from actors.deciding import Decider
from actors.relay import Relay
from actors.ticker import Ticker
from broker.port import BrokerUnavailable, Sending, Sent
from config.clock import SystemClock
from devservers.postgres import PrivatePostgres
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.commands import Envelope
from domain.ids import sha256_hex
from domain.rules import Rules
from fedyard.wire.times import SECOND
from storage.database import open_database
from storage.due import Due
from storage.migrate import migrate
from tests.hub import QUICK, Hub, TestClock
from tests.waiting import until

CLOCK = SystemClock()


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
    ticker = Ticker(Due(hub.database), publisher, hub.clock, silent_after_s=90, keep_artifacts_s=1000)
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
    contract = v.Contract(quorum=0.5, select_within_s=5000, silent_within_s=300)
    run = hub.start(hub.project(sites, tasks=[v.TaskSpec(name="t", model="m", contract=contract)]), sites[0])
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


@pytest.mark.parametrize(("more", "found"), [(-1, []), (0, ["short"])])
def test_a_silence_is_found_when_the_contract_of_its_task_says_so(hub: Hub, more: int, found: list[str]) -> None:
    """To the microsecond, and whatever other contracts say of the same site."""
    sites = hub.sites(2)
    runs = {
        name: hub.start(hub.project(sites, tasks=[v.TaskSpec(name="t", model="m", contract=contract)]), sites[0])
        for name, contract in {
            "short": v.Contract(select_within_s=5000, silent_within_s=300.5),
            "long": v.Contract(select_within_s=5000, silent_within_s=301),
        }.items()
    }
    seen_at = hub.clock.now()
    hub.store.record_heartbeats([c.Beat(site.id, seen_at) for site in sites], [])
    hub.clock.micros += 200 * SECOND
    hub.store.record_heartbeats([c.Beat(sites[0].id, hub.clock.now())], [])
    hub.ok(c.MarkSitesSilent(site_ids=[sites[1].id]))
    now = seen_at + 300_500_000 + more
    assert [(s.run_id, s.site_id, s.seen_at) for s in Due(hub.database).silent_seats(now)] == [
        (runs[name], sites[1].id, seen_at) for name in found
    ]


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


@pytest.mark.parametrize("ahead_s", [8 * 86_400, -8 * 86_400])
def test_what_a_ticker_with_a_wrong_clock_finds_changes_nothing(hub: Hub, ahead_s: int) -> None:
    """A run under way, a site that is silent and one that is not, a message, outcomes: all as they were."""
    sites = hub.sites(3)
    project = hub.project(sites, tasks=[v.TaskSpec(name="t", model="m")])
    hub.start(project, sites[0])
    message = c.NewMessage(project_id=project, to="coordinator", body=b"x", ttl_s=3600)
    hub.ok(c.PostMessages(sender_site_id=sites[1].id, messages=[message]), sites[1])
    hub.clock.micros += 100 * SECOND
    hub.ok(c.MarkSitesSilent(site_ids=[sites[2].id]))
    hub.store.record_heartbeats([c.Beat(site.id, hub.clock.now()) for site in sites[:2]], [])
    publisher = Kept()
    wrong = TestClock()
    ticker = Ticker(Due(hub.database), publisher, wrong, silent_after_s=90, keep_artifacts_s=1000)
    wrong.micros = hub.clock.micros + ahead_s * SECOND
    ticker.tick()
    wrong.micros += 91 * SECOND  # nobody is silent for a ticker that leads since a moment ago
    ticker.tick()
    found = publisher.take()
    kinds = {c.PassDeadline, c.MarkSitesSilent, c.DropSeats, c.ExpireMessages, c.ForgetHistory}
    assert {type(e.command) for e in found} == (kinds if ahead_s > 0 else {c.ForgetHistory})

    def known() -> list[object]:
        return [hub.rows(kind) for kind in (r.Run, r.Round, r.Seat, r.Site, r.Message, r.InboxEntry, r.Event)]

    before, decided_before = known(), len(hub.rows(r.Outcome))
    decided(hub, found)
    assert known() == before
    assert len(hub.rows(r.Outcome)) == decided_before + len(found)


def test_a_site_that_was_heard_of_long_ago_has_not_returned(hub: Hub) -> None:
    site = hub.site("one")
    hub.clock.micros += 100 * SECOND
    hub.ok(c.MarkSitesSilent(site_ids=[site.id]))
    hub.clock.micros += SECOND
    hub.store.record_heartbeats([c.Beat(site.id, hub.clock.now())], [])
    hub.clock.micros += 100 * SECOND
    assert hub.ok(c.MarkSitesReturned(site_ids=[site.id])) == {"site_ids": []}
    hub.store.record_heartbeats([c.Beat(site.id, hub.clock.now())], [])
    assert hub.ok(c.MarkSitesReturned(site_ids=[site.id])) == {"site_ids": [site.id]}


def test_a_site_that_has_called_meanwhile_keeps_its_seat_and_is_not_silent(hub: Hub) -> None:
    """The command waited in its queue while the site came back."""
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    hub.clock.micros += 91 * SECOND
    hub.store.record_heartbeats([c.Beat(sites[1].id, hub.clock.now())], [])
    drop = c.DropSeats(run_id=run, site_id=sites[1].id, reason="site_silent", detail="silent")
    assert hub.ok(drop) == {"dropped": []}
    assert hub.ok(c.MarkSitesSilent(site_ids=[sites[1].id])) == {"site_ids": []}


def test_what_was_found_too_early_is_found_again_under_another_id(hub: Hub) -> None:
    """An outcome stays for ever under its id: a premature finding must not keep the deadline from ever passing."""
    sites = hub.sites(2)
    run = hub.start(hub.project(sites), sites[0])
    publisher = Kept()
    early, right = ticker_of(hub, publisher), ticker_of(hub, publisher)
    hub.clock.micros += 61 * SECOND
    early.tick()
    hub.clock.micros -= 2 * SECOND
    decided(hub, publisher.take())
    assert hub.run(run).state == "running"
    hub.clock.micros += 12 * SECOND
    right.tick()
    decided(hub, publisher.take())
    assert (hub.run(run).state, hub.run(run).reason) == ("failed", "quorum_not_met")


def test_a_ticker_whose_clock_cannot_be_relied_on_does_not_lead(hub: Hub) -> None:
    sites = hub.sites(2)
    hub.start(hub.project(sites), sites[0])
    publisher, fit = Kept(), [True]
    ticker = Ticker(
        Due(hub.database), publisher, hub.clock, silent_after_s=90, keep_artifacts_s=1000, may_lead=lambda: fit[0]
    )
    ticker.tick()
    publisher.take()
    hub.clock.micros += 61 * SECOND
    fit[0] = False
    assert ticker.tick() == 0
    fit[0] = True
    assert ticker.tick() == 1


def test_a_beat_from_the_future_counts_as_one_of_now(hub: Hub) -> None:
    site = hub.sites(1)[0]
    decider = Decider(hub.store, Kept(), hub.clock, Rules())
    beats = c.RecordHeartbeats(beats=[c.Beat(site.id, hub.clock.now() + 8 * 86_400 * SECOND)], token_uses=[])
    decider.decide([hub.envelope(beats)], frozenset())
    with hub.database.connection():
        assert hub.database.all("SELECT seen_at FROM site_beats") == [(hub.clock.now(),)]


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


def test_retention_that_could_not_be_sent_comes_with_the_next_tick(hub: Hub) -> None:
    publisher = Kept()
    ticker = ticker_of(hub, publisher)
    hub.clock.micros += 601 * SECOND
    publisher.down = True
    assert ticker.tick() == 0
    publisher.down = False
    hub.clock.micros += SECOND
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
    task = v.TaskSpec(name="t", model="m", contract=QUICK)
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
