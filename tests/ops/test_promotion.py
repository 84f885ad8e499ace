"""A replica that lags is promoted below a running hub. Nobody ran `restore`, and no part of the hub was restarted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from actors.deciding import Decider, settle_history
from actors.ticker import Ticker
from config.clock import SystemClock, draw_id
from devservers.postgres import PrivatePostgres
from domain import commands as c
from domain.codec import THE_HUB, envelope_of
from domain.rules import Rules
from storage.database import open_database
from storage.due import Due
from storage.history import Told, read_history
from storage.migrate import migrate
from storage.store import Store
from tests.replica import Replica
from tests.waiting import until
from tests.web.network import Caller, Network, network
from tests.web.test_refusals import slug
from tests.web.test_waiting import message

CLOCK = SystemClock()


class Failover:
    """A hub over a PostgreSQL whose replica has what came before, and not what came after."""

    def __init__(self, folder: Path) -> None:
        self.primary = PrivatePostgres(folder / "primary", durable=False)
        self.primary.start()
        self.url = self.primary.database("hub")
        with_schema = open_database(self.url, pool=1)
        migrate(with_schema)
        with_schema.close()
        self.net: Network = network(self.url, folder)
        self.other = open_database(self.url, pool=2)
        """Of another process: a decider or ticker."""
        settle_history(Store(self.other), CLOCK.now())
        self.one, self.two = self.net.site("one"), self.net.site("two")
        self.project = self.net.project(self.one, self.two)
        self.replica = Replica(self.primary)
        self.replica.start()
        self.one.ok("POST", "/v1/messages", message(self.project))
        self.replica.catch_up()
        self.replica.stop()
        self.one.ok("POST", "/v1/messages", message(self.project))
        self.read_up_to = last_seq(self.two)

    def happens(self) -> Told:
        """What the history was before."""
        before = read_history(self.other)
        self.replica.take_over()
        until(lambda: self.net.admin.get("/v1/me").status_code == 200)
        return before

    def close(self) -> None:
        self.net.close()
        self.other.close()
        self.replica.stop()
        self.primary.stop()


def last_seq(site: Caller) -> int:
    return max(item["seq"] for item in site.ok("GET", "/v1/inbox")["items"])


@pytest.fixture
def failover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Failover]:
    made = Failover(tmp_path_factory.mktemp("failover"))
    yield made
    made.close()


def test_the_hub_notices_by_itself_within_a_tick_and_tells_the_sites(failover: Failover) -> None:
    before = failover.happens()
    ticker = Ticker(Due(failover.other), failover.net.publisher, CLOCK, silent_after_s=90, keep_artifacts_s=60)
    until(lambda: ticker.tick() > 0)
    after = read_history(failover.other)
    assert (after.changes, after.reason) == (before.changes + 1, "its server was promoted or restored")
    assert after.history_id != before.history_id
    beyond = f"/v1/inbox?after={failover.read_up_to}"
    until(lambda: failover.two.get(beyond).status_code == 409)  # the web hears of it by a signal
    assert slug(failover.two.get(beyond), 409) == "history_went_back"
    assert "went back once at" in failover.net.admin.get("/readyz").get_json()["history"]
    ticker.stop()


def test_a_decider_looks_where_it_is_before_it_decides_on_a_new_connection(failover: Failover) -> None:
    """Else a second's worth of entries would get numbers that were given before, under the old history's id."""
    decider = Decider(Store(failover.other), failover.net.publisher, CLOCK, Rules())
    first = envelope_of(c.CreateOrganisation(name="before"), id=draw_id(), by=THE_HUB, at=CLOCK.now())
    decider.decide([first], frozenset())
    before = failover.happens()
    failover.other.close()
    with failover.other.connection():  # what cannot be read is no leave to go on
        known = failover.other.one("SELECT fingerprint FROM history")
        failover.other.execute("UPDATE history SET fingerprint = '{'")
    for number in range(2):
        early = envelope_of(c.CreateOrganisation(name=f"{number}"), id=draw_id(), by=THE_HUB, at=CLOCK.now())
        with pytest.raises(msgspec.DecodeError):
            decider.decide([early], frozenset())
    with failover.other.connection():
        failover.other.execute("UPDATE history SET fingerprint = %s", known)
    second = envelope_of(c.CreateOrganisation(name="after"), id=draw_id(), by=THE_HUB, at=CLOCK.now())
    decider.decide([second], frozenset())
    with failover.other.connection():
        decided_at = failover.other.one("SELECT decided_at FROM commands WHERE id = %s", second.id)
    after = read_history(failover.other)
    assert after.history_id != before.history_id
    assert decided_at is not None
    assert after.since <= decided_at[0]
