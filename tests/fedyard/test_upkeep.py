"""Sealing keys against a real hub: published, renewed, given up; whatever was lost in between."""

from __future__ import annotations

import shutil

import pytest

from fedyard.agent.site import Keys
from fedyard.agent.upkeep import due, tend
from fedyard.clock import micros_now
from fedyard.sealed.keys import Keyring
from fedyard.wire.times import DAY_S, SECOND
from tests.fedyard.world import SiteProcess, World

KEYS = Keys(rotate_every_days=10, grace_days=1)


class Tended:
    """A site whose keys are tended by hand."""

    def __init__(self, site: SiteProcess) -> None:
        self.site, self.now = site, micros_now()
        self.said: list[str] = []

    @property
    def ring(self) -> Keyring:
        return self.site.folder.keyring()

    def tend(self, *, renew: bool = False) -> None:
        tend(self.ring, KEYS, self.site.client, self.now, log=lambda what, **_: self.said.append(what), renew=renew)
        assert not due(self.ring, KEYS, self.now)

    def later(self, days: float) -> None:
        self.now += int(days * DAY_S * SECOND)

    def here(self) -> list[str]:
        return [epoch.state for epoch in self.ring.epochs()]

    def there(self) -> list[str]:
        return [key.state for key in self.site.client.site_keys(self.site.site_id)]


@pytest.fixture
def north(world: World, tmp_path) -> Tended:
    return Tended(world.sites(tmp_path, "north")[0])


def test_a_key_is_published_once_and_renewed_in_time(north: Tended) -> None:
    assert due(north.ring, KEYS, north.now)
    for _ in range(2):
        north.tend()
        assert (north.here(), north.there()) == (["current"], ["current"])
    north.later(9.9)
    assert not due(north.ring, KEYS, north.now)
    north.later(0.1)
    assert due(north.ring, KEYS, north.now)
    north.tend()
    assert north.here() == north.there() == ["superseded", "current"]
    north.later(1)
    north.tend()
    assert north.here() == ["gone", "current"]


def test_a_key_whose_publication_got_lost_is_published_later(north: Tended) -> None:
    north.tend()
    north.ring.renew(north.now, valid_s=100_000, grace_s=10)
    assert due(north.ring, KEYS, north.now)
    assert north.ring.current().epoch == 1
    north.tend()
    assert north.ring.current().epoch == 2
    assert north.there() == ["superseded", "current"]


def test_a_revoked_key_is_withdrawn_and_replaced(north: Tended) -> None:
    north.tend()
    north.ring.revoke(1, north.now)
    assert due(north.ring, KEYS, north.now)
    north.tend()
    assert north.here() == north.there() == ["revoked", "current"]


def test_a_key_revoked_before_anybody_heard_of_it_leaves_no_gap(north: Tended) -> None:
    north.tend()
    north.ring.renew(north.now, valid_s=100_000, grace_s=10)
    north.ring.revoke(2, north.now)
    north.tend()
    assert (north.here(), north.there()) == (["current"], ["current"])


def test_a_key_revoked_at_the_hub_goes_here_too(world: World, north: Tended) -> None:
    north.tend()
    world.admin.revoke_key(north.site.site_id, 1, "stolen")
    north.tend()
    assert north.here() == north.there() == ["revoked", "current"]


def test_a_folder_restored_without_its_keys_goes_on_after_them(north: Tended) -> None:
    north.tend()
    north.tend(renew=True)
    shutil.rmtree(north.site.path / "keys")
    north.tend()
    assert north.ring.current().epoch == 3
    assert north.there() == ["superseded", "superseded", "current"]


def test_a_copy_of_the_folder_makes_a_key_of_its_own(north: Tended, tmp_path) -> None:
    north.tend()
    shutil.copytree(north.site.path / "keys", tmp_path / "copy")
    north.tend(renew=True)
    shutil.rmtree(north.site.path / "keys")
    shutil.copytree(tmp_path / "copy", north.site.path / "keys")
    north.ring.renew(north.now, valid_s=100_000, grace_s=10)  # an epoch 2 that is not the hub's
    north.tend()
    assert north.ring.current().epoch == 3
    assert north.there() == ["superseded", "superseded", "current"]
