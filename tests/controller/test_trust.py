"""Pins: what the hub says counts only as long as it agrees with what was seen before."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller import seal_errors as errors
from controller.keys import MICROS, Key, Keyring, fingerprint, hex_groups, words
from controller.trust import Changed, Member, Trust, TrustSettings, named

NOW = 1_800_000_000_000_000
EAST = "20000000-0000-4000-8000-000000000000"
MALLORY = "90000000-0000-4000-8000-000000000000"


class Site:
    def __init__(self, folder: Path, site_id: str = EAST, name: str = "east") -> None:
        folder.mkdir(exist_ok=True)
        self.ring = Keyring(folder, site_id, Ed25519PrivateKey.generate())
        self.site_id, self.name = site_id, name
        self.ring.renew(NOW, valid_s=100, grace_s=10)

    def member(self, epoch: int = 1, **changes: object) -> Member:
        key = self.ring.epochs()[epoch - 1].key if epoch else None
        made = Member(
            site_id=self.site_id, name=self.name, role="participant", identity=self.ring.identity_key, key=key
        )
        return msgspec.structs.replace(made, **changes)


@pytest.fixture
def east(tmp_path: Path) -> Site:
    return Site(tmp_path / "east")


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path, TrustSettings())


def test_the_first_sight_is_kept(tmp_path: Path, trust: Trust, east: Site) -> None:
    trust.meet([east.member()], NOW)
    assert trust.usable(east.member(), NOW) == east.member().key
    again = Trust(tmp_path, TrustSettings())
    assert again.signers() == {EAST: east.ring.identity_key}
    (pin,) = again.pins().values()
    assert (pin.name, pin.how, pin.at, pin.epoch) == ("east", "first_sight", NOW, 1)
    assert stat.S_IMODE((tmp_path / "pins.json").stat().st_mode) == 0o600
    before = (tmp_path / "pins.json").stat().st_mtime_ns
    again.meet([east.member()], NOW + 1)
    assert (tmp_path / "pins.json").stat().st_mtime_ns == before


def test_hub_swapped_key(tmp_path: Path, trust: Trust, east: Site) -> None:
    """The hub shows an identity of its own with a key that is well signed by it; nothing is pinned or used."""
    trust.meet([east.member()], NOW)
    swapped = Site(tmp_path / "mallory").member()
    other = Site(tmp_path / "other", MALLORY, "new").member()
    with pytest.raises(Changed) as caught:
        trust.meet([other, swapped], NOW)
    assert (caught.value.pinned, caught.value.seen) == (east.ring.identity_key, swapped.identity)
    assert hex_groups(fingerprint(east.ring.identity_key)) in str(caught.value)
    assert hex_groups(fingerprint(swapped.identity)) in str(caught.value)
    assert trust.signers() == {EAST: east.ring.identity_key}


def test_hub_swapped_sealing_key(tmp_path: Path, trust: Trust, east: Site) -> None:
    """The identity stays, but the sealing key is the hub's."""
    trust.meet([east.member()], NOW)
    swapped = Site(tmp_path / "mallory").member()
    with pytest.raises(errors.BadSignature):
        trust.usable(east.member(key=swapped.key), NOW)


def test_a_key_of_another_site(tmp_path: Path, trust: Trust, east: Site) -> None:
    other = Site(tmp_path / "mallory", MALLORY).member()
    trust.meet([east.member(), other], NOW)
    with pytest.raises(errors.BadSignature):
        trust.usable(east.member(key=other.key), NOW)


def test_an_older_epoch_is_refused_for_ever(tmp_path: Path, trust: Trust, east: Site) -> None:
    east.ring.renew(NOW, valid_s=100, grace_s=10)
    trust.meet([east.member(2)], NOW)
    trust.usable(east.member(1), NOW)
    trust.usable(east.member(2), NOW)
    with pytest.raises(errors.RolledBack):
        Trust(tmp_path, TrustSettings()).usable(east.member(1), NOW)


def test_no_key_an_expired_key_a_revoked_key(trust: Trust, east: Site) -> None:
    trust.meet([east.member()], NOW)
    with pytest.raises(errors.NoKey):
        trust.usable(east.member(0), NOW)
    with pytest.raises(errors.Expired):
        trust.usable(east.member(), NOW + 100 * MICROS)
    with pytest.raises(errors.KeyRevoked):
        trust.usable(east.member(key_state="revoked"), NOW)


def strict(folder: Path, **fingerprints: str) -> Trust:
    return Trust(folder, TrustSettings(pin="fingerprint", fingerprints=fingerprints))


def test_fingerprint_mode_waits_for_a_person(tmp_path: Path, east: Site) -> None:
    trust = strict(tmp_path)
    trust.meet([east.member()], NOW)
    assert trust.signers() == {}
    with pytest.raises(errors.Unverified, match="fedyard-site trust"):
        trust.usable(east.member(), NOW)
    trust.confirm(east.member(), words(fingerprint(east.ring.identity_key)), NOW)
    trust.usable(east.member(), NOW)
    assert trust.signers() == {EAST: east.ring.identity_key}
    assert trust.pins()[EAST].how == "fingerprint"


@pytest.mark.parametrize("name", ["east", EAST, "any name, since the fingerprint is what counts"])
def test_a_configured_fingerprint_is_a_person_too(tmp_path: Path, east: Site, name: str) -> None:
    trust = strict(tmp_path, **{name: hex_groups(fingerprint(east.ring.identity_key))})
    trust.meet([east.member()], NOW)
    trust.usable(east.member(), NOW)


def test_a_fingerprint_configured_later_confirms_a_first_sight(tmp_path: Path, trust: Trust, east: Site) -> None:
    trust.meet([east.member()], NOW)
    strict(tmp_path, east=words(fingerprint(east.ring.identity_key))).meet([east.member()], NOW + 1)
    assert trust.pins()[EAST].how == "fingerprint"


def test_another_fingerprint_than_the_configured_one(tmp_path: Path, east: Site) -> None:
    mallory = Site(tmp_path / "mallory")
    trust = Trust(tmp_path, TrustSettings(fingerprints={"east": words(fingerprint(east.ring.identity_key))}))
    with pytest.raises(errors.IdentityChanged):
        trust.meet([mallory.member()], NOW)
    assert trust.pins() == {}


def test_a_configured_fingerprint_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="east"):
        strict(tmp_path, east="twelve words would be good")


def test_a_person_refuses_what_does_not_match(tmp_path: Path, trust: Trust, east: Site) -> None:
    trust.meet([east.member()], NOW)
    mallory = Site(tmp_path / "mallory")
    with pytest.raises(errors.IdentityChanged):
        trust.confirm(east.member(), words(fingerprint(mallory.ring.identity_key)), NOW)
    with pytest.raises(ValueError):
        trust.confirm(east.member(), "yes, that is right", NOW)
    assert trust.pins()[EAST].how == "first_sight"


def test_a_new_identity_takes_a_person_and_a_word_more(tmp_path: Path, trust: Trust, east: Site) -> None:
    east.ring.renew(NOW, valid_s=100, grace_s=10)
    trust.meet([east.member(2)], NOW)
    trust.usable(east.member(2), NOW)
    anew = Site(tmp_path / "anew").member()
    text = words(fingerprint(anew.identity))
    with pytest.raises(Changed):
        trust.confirm(anew, text, NOW)
    trust.confirm(anew, text, NOW, replace=True)
    trust.meet([anew], NOW)
    assert isinstance(trust.usable(anew, NOW), Key)


def test_pins_are_found_by_name_and_id(trust: Trust, east: Site) -> None:
    trust.meet([east.member()], NOW)
    assert [pin.site_id for pin in named(trust.pins(), "east")] == [EAST]
    assert [pin.site_id for pin in named(trust.pins(), EAST)] == [EAST]
    assert named(trust.pins(), "west") == []
