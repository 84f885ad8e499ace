"""A hub that says what it likes of a site's own keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.liar import Rule, liar_before
from chaos.lies import Json, edited
from fedyard.agent.site import Keys
from fedyard.agent.upkeep import EPOCHS_PER_DAY, tend
from fedyard.client.client import Client
from fedyard.clock import micros_now
from tests.fedyard.world import SiteProcess, World

KEYS = Keys()
SITE_KEYS = "/v1/sites/[^/]+/keys"


def tended(site: SiteProcess, hub: str) -> list[str]:
    """What was said while the keys were tended."""
    said: list[str] = []
    client = Client(hub, site.folder.token())
    tend(site.folder.keyring(), KEYS, client, micros_now(), log=lambda what, **_: said.append(what))
    return said


@pytest.mark.parametrize("epoch", [2, 1000, 2**32 - 2, 2**32 - 1])
def test_an_epoch_that_the_site_has_not_signed_is_none_of_it(world: World, tmp_path: Path, epoch: int) -> None:
    """It would go on behind that one, where no honest hub and no other site follows."""

    def invented(page: Json) -> Json:
        return {**page, "items": [*page["items"], *({**one, "epoch": epoch} for one in page["items"])]}

    (site,) = world.sites(tmp_path, "east")
    tended(site, world.hub)
    with liar_before(world.hub, edited("GET", SITE_KEYS, invented)) as liar:
        assert tended(site, liar.url) == ["key not ours"]
    assert [one.key.epoch for one in site.folder.keyring().epochs()] == [1]
    assert tended(site, world.hub) == []


def test_an_epoch_behind_a_gap_that_nobody_has_is_given_up(world: World, tmp_path: Path) -> None:
    """A site that once believed such a hub goes on with its next one."""
    (site,) = world.sites(tmp_path, "east")
    tended(site, world.hub)
    ring = site.folder.keyring()
    ring.renew(micros_now(), valid_s=1000, grace_s=10, after=2**32 - 2)
    assert tended(site, world.hub) == []
    assert [one.key.epoch for one in ring.epochs()] == [1]


def test_keys_that_are_revoked_one_after_the_other_are_replaced_so_often_in_a_day(world: World, tmp_path: Path) -> None:
    (site,) = world.sites(tmp_path, "east")

    def revoked(page: Json) -> Json:
        return {**page, "items": [{**one, "state": "revoked"} for one in page["items"]]}

    rule: Rule = edited("GET", SITE_KEYS, revoked)
    with liar_before(world.hub, rule) as liar:
        for _ in range(EPOCHS_PER_DAY):
            tended(site, liar.url)
        assert "no new key" in tended(site, liar.url)
    epochs = site.folder.keyring().epochs()
    assert len(epochs) == EPOCHS_PER_DAY
