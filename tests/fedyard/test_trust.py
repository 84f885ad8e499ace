"""Pins: what the hub says counts only as long as it agrees with what was seen before."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedyard.sealed import errors
from fedyard.sealed.keys import Key, Keyring, fingerprint, words
from fedyard.sealed.trust import MAX_PINS, Changed, Member, Trust, TrustSettings, named
from fedyard.wire.statements import hex_groups
from fedyard.wire.times import SECOND

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


def refused(kind: type[errors.SealError], trust: Trust, member: Member, now: int = NOW) -> None:
    """Nothing is sealed to the member, for this reason; others are not concerned."""
    assert type(trust.verify([member], now)[member.site_id]) is kind


@pytest.fixture
def east(tmp_path: Path) -> Site:
    return Site(tmp_path / "east")


@pytest.fixture
def trust(tmp_path: Path) -> Trust:
    return Trust(tmp_path, TrustSettings())


def test_the_first_sight_is_kept(tmp_path: Path, trust: Trust, east: Site) -> None:
    assert trust.verify([east.member()], NOW) == {EAST: east.member().key}
    again = Trust(tmp_path, TrustSettings())
    assert again.signers() == {EAST: east.ring.identity_key}
    (pin,) = again.pins().values()
    assert (pin.name, pin.how, pin.at, pin.epoch) == ("east", "first_sight", NOW, 1)
    assert stat.S_IMODE((tmp_path / "pins.json").stat().st_mode) == 0o600
    before = (tmp_path / "pins.json").stat().st_mtime_ns
    again.verify([east.member()], NOW + 1)
    assert (tmp_path / "pins.json").stat().st_mtime_ns == before


def test_hub_swapped_key(tmp_path: Path, trust: Trust, east: Site) -> None:
    """The hub shows an identity of its own with a key that is well signed by it; nothing is pinned or used."""
    trust.verify([east.member()], NOW)
    swapped = Site(tmp_path / "mallory").member()
    other = Site(tmp_path / "other", MALLORY, "new").member()
    with pytest.raises(Changed) as caught:
        trust.verify([other, swapped], NOW)
    assert (caught.value.pinned, caught.value.seen) == (east.ring.identity_key, swapped.identity)
    assert hex_groups(fingerprint(east.ring.identity_key)) in str(caught.value)
    assert hex_groups(fingerprint(swapped.identity)) in str(caught.value)
    assert trust.signers() == {EAST: east.ring.identity_key}


def test_hub_swapped_sealing_key(tmp_path: Path, trust: Trust, east: Site) -> None:
    """The identity stays, but the sealing key is the hub's."""
    trust.verify([east.member()], NOW)
    swapped = Site(tmp_path / "mallory").member()
    refused(errors.BadSignature, trust, east.member(key=swapped.key))


def test_a_key_of_another_site(tmp_path: Path, trust: Trust, east: Site) -> None:
    other = Site(tmp_path / "mallory", MALLORY).member()
    trust.verify([east.member(), other], NOW)
    refused(errors.BadSignature, trust, east.member(key=other.key))


def test_an_older_epoch_is_refused_for_ever(tmp_path: Path, trust: Trust, east: Site) -> None:
    east.ring.renew(NOW, valid_s=100, grace_s=10)
    trust.verify([east.member(1)], NOW)
    trust.verify([east.member(2)], NOW)
    refused(errors.RolledBack, Trust(tmp_path, TrustSettings()), east.member(1))
    assert trust.pins()[EAST].epoch == 2


def test_no_key_an_expired_key_a_revoked_key(trust: Trust, east: Site) -> None:
    trust.verify([east.member()], NOW)
    refused(errors.NoKey, trust, east.member(0))
    refused(errors.Expired, trust, east.member(), NOW + 100 * SECOND)
    refused(errors.KeyRevoked, trust, east.member(key_state="revoked"))


def strict(folder: Path, **fingerprints: str) -> Trust:
    return Trust(folder, TrustSettings(pin="fingerprint", fingerprints=fingerprints))


def test_fingerprint_mode_waits_for_a_person(tmp_path: Path, east: Site) -> None:
    trust = strict(tmp_path)
    trust.verify([east.member()], NOW)
    assert trust.signers() == {}
    refused(errors.Unverified, trust, east.member())
    trust.confirm(east.member(), words(fingerprint(east.ring.identity_key)), NOW)
    assert isinstance(trust.verify([east.member()], NOW)[EAST], Key)
    assert trust.signers() == {EAST: east.ring.identity_key}
    assert trust.pins()[EAST].how == "fingerprint"


@pytest.mark.parametrize("name", ["east", EAST, "any name, since the fingerprint is what counts"])
def test_a_configured_fingerprint_is_a_person_too(tmp_path: Path, east: Site, name: str) -> None:
    trust = strict(tmp_path, **{name: hex_groups(fingerprint(east.ring.identity_key))})
    assert isinstance(trust.verify([east.member()], NOW)[EAST], Key)


def test_a_fingerprint_configured_later_confirms_a_first_sight(tmp_path: Path, trust: Trust, east: Site) -> None:
    trust.verify([east.member()], NOW)
    strict(tmp_path, east=words(fingerprint(east.ring.identity_key))).verify([east.member()], NOW + 1)
    assert trust.pins()[EAST].how == "fingerprint"


def test_another_fingerprint_than_the_configured_one(tmp_path: Path, east: Site) -> None:
    mallory = Site(tmp_path / "mallory")
    trust = Trust(tmp_path, TrustSettings(fingerprints={"east": words(fingerprint(east.ring.identity_key))}))
    with pytest.raises(errors.IdentityChanged):
        trust.verify([mallory.member()], NOW)
    assert trust.pins() == {}


def test_a_configured_fingerprint_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="east"):
        strict(tmp_path, east="twelve words would be good")


def test_a_person_refuses_what_does_not_match(tmp_path: Path, trust: Trust, east: Site) -> None:
    trust.verify([east.member()], NOW)
    mallory = Site(tmp_path / "mallory")
    with pytest.raises(errors.IdentityChanged):
        trust.confirm(east.member(), words(fingerprint(mallory.ring.identity_key)), NOW)
    with pytest.raises(ValueError):
        trust.confirm(east.member(), "yes, that is right", NOW)
    assert trust.pins()[EAST].how == "first_sight"


def test_a_new_identity_takes_a_person_and_a_word_more(tmp_path: Path, trust: Trust, east: Site) -> None:
    east.ring.renew(NOW, valid_s=100, grace_s=10)
    trust.verify([east.member(2)], NOW)
    anew = Site(tmp_path / "anew").member()
    text = words(fingerprint(anew.identity))
    with pytest.raises(Changed):
        trust.confirm(anew, text, NOW)
    trust.confirm(anew, text, NOW, replace=True)
    assert isinstance(trust.verify([anew], NOW)[EAST], Key)


def test_pins_are_found_by_name_and_id(trust: Trust, east: Site) -> None:
    trust.verify([east.member()], NOW)
    assert [pin.site_id for pin in named(trust.pins(), "east")] == [EAST]
    assert [pin.site_id for pin in named(trust.pins(), EAST)] == [EAST]
    assert named(trust.pins(), "west") == []


def test_of_sites_without_end_so_many_are_pinned(trust: Trust, east: Site) -> None:
    """A hub may invent them. Who is known stays so."""
    trust.verify([east.member()], NOW)
    invented = [
        Member(site_id=f"{n:08x}-0000-4000-8000-000000000000", name="x", role="participant", identity=n.to_bytes(32))
        for n in range(MAX_PINS)
    ]
    trust.verify(invented, NOW)
    assert len(trust.pins()) == MAX_PINS
    refused(errors.Unverified, trust, invented[-1])
    assert trust.verify([east.member()], NOW) == {EAST: east.member().key}
