"""The ledger of revocations: written beside the database, read back when the database has forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.deciding import decide_now
from actors.ledger import ALL_EVERY, OVERLAP, Ledger
from domain import commands as c
from domain import records as r
from domain.commands import Envelope
from domain.ids import derive, sha256_hex
from fedyard.wire.times import SECOND
from storage.blobs.port import Blobs, StorageUnavailable
from storage.history import MAX_NAMES, unwritten
from tests.blobs import folder_blobs
from tests.hub import Hub
from tests.restoring import Backups


class Straight:
    """A publisher to a decider that decides at once."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def send(self, envelopes: list[Envelope]) -> None:
        decide_now(self.hub.store, envelopes, self.hub.clock.now())
        self.hub.drain()


def ledger(hub: Hub, blobs: Blobs) -> Ledger:
    return Ledger(blobs, hub.database, Straight(hub), hub.clock)  # type: ignore[arg-type]


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return folder_blobs(tmp_path / "artifacts")


def test_what_is_revoked_is_written_once(hub: Hub, blobs: Blobs) -> None:
    site = hub.site("a site")
    token = hub.rows(r.Token)[0]
    hub.ok(c.RevokeToken(token_id=token.id))
    keeper = ledger(hub, blobs)
    assert keeper.turn() == 2  # and the enrolment, which is used up
    assert f"token-{token.sha256}" in set(blobs.noted())
    assert len(list(blobs.noted())) == 2
    assert keeper.turn() == 0
    hub.ok(hub.key(site), site)
    hub.ok(c.RevokeSiteKey(site_id=site.id, epoch=1), site)
    hub.ok(c.RetireSite(site_id=site.id))
    account = hub.account(site.organisation_id or "", "member")
    hub.ok(c.DisableAccount(account_id=account.id))
    assert keeper.turn() >= 3
    assert unwritten(hub.database) == []
    kinds = {name.partition("-")[0] for name in blobs.noted()}
    assert kinds == {"token", "enrolment", "key", "site", "account"}


def test_a_restored_store_revokes_again(hub: Hub, blobs: Blobs, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Tokens are known to nobody but the hub: they are in the ledger or lost."""
    site = hub.site("a site")
    retired = hub.site("another")
    ledger(hub, blobs).turn()
    postgres = request.getfixturevalue("postgres") if hub.database.postgres else None
    restored = Backups(hub.database, tmp_path, postgres).keep()
    token = hub.rows(r.Token, "owner_id = %s", site.id)[0]
    hub.ok(c.RevokeToken(token_id=token.id))
    hub.ok(c.RetireSite(site_id=retired.id))
    ledger(hub, blobs).turn()
    later = Hub(restored())
    later.sent = 1000
    assert later.rows(r.Token, "id = %s", token.id)[0].revoked_at is None
    keeper = ledger(later, blobs)
    keeper.turn()
    assert later.rows(r.Token, "id = %s", token.id)[0].revoked_at is not None
    assert later.rows(r.Site, "id = %s", retired.id)[0].state == "retired"
    assert keeper.turn() == 0
    later.database.close()


def test_it_is_read_again_when_the_history_changes(hub: Hub, blobs: Blobs) -> None:
    hub.site("a site")
    keeper = ledger(hub, blobs)
    keeper.turn()
    before = hub.rows(r.History)[0]
    token = hub.rows(r.Token)[0]
    blobs.note(f"token-{token.sha256}")  # as if this store had forgotten
    assert keeper.turn() == 0
    changed = c.ChangeHistory(
        before=before.history_id, history_id=derive(before.history_id, "x"), fingerprint="{}", reason="restored"
    )
    hub.ok(changed)
    assert keeper.turn() == 1
    assert hub.rows(r.Token, "id = %s", token.id)[0].revoked_at is not None


def test_without_its_store_it_waits(hub: Hub) -> None:
    class Away:
        def noted(self) -> object:
            raise StorageUnavailable("away")

        def note(self, name: str) -> None:
            raise StorageUnavailable(f"away: {len(name)}")

    hub.site("a site")
    assert ledger(hub, Away()).turn() == 0  # type: ignore[arg-type]
    assert unwritten(hub.database) == [f"enrolment-{sha256_hex(b'enrolment a site')}"]


def test_between_looks_at_everything_only_what_is_new_is_looked_at(hub: Hub, blobs: Blobs) -> None:
    hub.site("old")
    keeper = ledger(hub, blobs)
    assert keeper.turn() == 1
    hub.clock.sleep(2 * OVERLAP / SECOND)
    assert keeper.turn() == 0
    forget(hub)  # as if it had not been written: too old to be looked at in passing
    hub.site("new")
    assert keeper.turn() == 1
    assert unwritten(hub.database, hub.clock.now() - OVERLAP) == []
    assert len(unwritten(hub.database)) == 1
    hub.clock.sleep(ALL_EVERY / SECOND)
    assert keeper.turn() == 1
    assert unwritten(hub.database) == []


def test_more_than_fits_into_a_turn_is_gone_on_with(hub: Hub, blobs: Blobs) -> None:
    names = [f"token-{number:064x}" for number in range(MAX_NAMES + 1)]
    with hub.database.connection():
        for number, name in enumerate(names):
            hub.database.execute(
                "INSERT INTO tokens (id, owner_kind, owner_id, sha256, label, scopes, created_at, revoked_at)"
                " VALUES (%s, 'site', %s, %s, '', '', 0, 1)",
                (derive("x", number), derive("y"), name.removeprefix("token-")),
            )
    keeper = ledger(hub, blobs)
    assert [keeper.turn() for _ in range(3)] == [MAX_NAMES, 1, 0]
    assert set(blobs.noted()) >= set(names)


def forget(hub: Hub) -> None:
    with hub.database.connection():
        hub.database.execute("DELETE FROM revocations")


def test_names_that_are_none_are_left_alone(hub: Hub, blobs: Blobs) -> None:
    blobs.note("something-else")
    assert ledger(hub, blobs).turn() == 0
