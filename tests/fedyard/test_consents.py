"""Whom a site serves: given, held to, withdrawn; and which project is meant."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from fedyard.agent.consents import (
    MAX_CONSENTS,
    MAX_WITHDRAWN,
    Consent,
    Consents,
    Join,
    NotChosen,
    Wanted,
    choose,
    consent_to,
    means,
    parse_coordinator,
)
from fedyard.sealed.errors import IdentityChanged, NotConsented
from fedyard.sealed.keys import fingerprint, words
from fedyard.wire.answers import Project
from fedyard.wire.statements import hex_groups
from tests.fedyard.parties import EAST, NORTH, PROJECT

OTHER = "eeeeeeee-0000-4000-8000-000000000000"
KEY, STRANGE = bytes(32), bytes(31) + b"\1"


def project(id: str = PROJECT, name: str = "p", *, whose: str = NORTH, key: bytes = KEY) -> Project:
    return Project(id=id, name=name, coordinator_site_id=whose, coordinator_name="north", coordinator_identity_key=key)


def consent(by: str = "people", at: int = 1, **fields: object) -> Consent:
    return msgspec.structs.replace(consent_to(project(), by, at), **fields)


@pytest.fixture
def consents(tmp_path: Path) -> Consents:
    return Consents(tmp_path)


def test_nothing_is_served_that_nobody_joined(consents: Consents) -> None:
    for unknown in (PROJECT, None, ""):
        assert not consents.serves(unknown)
        with pytest.raises(NotConsented, match="neither the configuration nor the people"):
            consents.of(unknown)


def test_a_consent_is_on_disk_and_private(consents: Consents, tmp_path: Path) -> None:
    assert consents.give(consent()) == consent()
    assert Consents(tmp_path).of(PROJECT) == consent()
    assert (tmp_path / "consents.json").stat().st_mode & 0o777 == 0o600


def test_the_first_of_two_that_agree_stays(consents: Consents) -> None:
    consents.give(consent(at=1))
    assert consents.give(consent("configuration", at=2)).at == 1


@pytest.mark.parametrize("changed", [{"coordinator": EAST}, {"identity": STRANGE}])
def test_another_coordinator_is_another_matter(consents: Consents, changed: dict[str, object]) -> None:
    consents.give(consent())
    with pytest.raises(IdentityChanged, match="was joined under site"):
        consents.give(consent(**changed))
    assert consents.of(PROJECT) == consent()
    assert consents.give(consent(**changed), replace=True) == consent(**changed)


def test_what_people_withdrew_only_people_give_anew(consents: Consents) -> None:
    consents.give(consent("configuration"))
    consents.withdraw(consents.of(PROJECT), 5)
    assert not consents.serves(PROJECT)
    with pytest.raises(NotConsented, match="left project 'p'"):
        consents.of(PROJECT)
    with pytest.raises(NotConsented, match="left project 'p'"):
        consents.give(consent("configuration", at=6))
    assert consents.give(consent(at=7)).at == 7
    assert consents.serves(PROJECT)


def test_configurations_consents_hold_while_it_says_so(consents: Consents) -> None:
    consents.give(consent("configuration"))
    consents.give(consent(project_id=OTHER, name="by hand"))
    for kept in (Join(project="p", coordinator="unknown"), Join(project=PROJECT, coordinator=NORTH)):
        assert consents.keep_configured([kept]) == []
    gone = consents.keep_configured([Join(project="p", coordinator=EAST)])
    assert [one.project_id for one in gone] == [PROJECT]
    assert [*consents.all()] == [OTHER]


def test_many_give_at_once(consents: Consents, tmp_path: Path) -> None:
    ids = [f"{n:08x}-0000-4000-8000-000000000000" for n in range(16)]
    threads = [threading.Thread(target=Consents(tmp_path).give, args=(consent(project_id=id),)) for id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [*consents.all()] == ids


def many(count: int, **fields: object) -> list[Consent]:
    return [consent(project_id=f"{n:08x}-0000-4000-8000-000000000000", **fields) for n in range(count)]


def test_there_is_a_limit(consents: Consents, tmp_path: Path) -> None:
    (tmp_path / "consents.json").write_bytes(msgspec.json.encode(many(MAX_CONSENTS)))
    with pytest.raises(NotChosen, match="which is the most"):
        consents.give(consent())
    assert not consents.serves(PROJECT)


def test_what_was_left_takes_no_place_of_what_is_served(consents: Consents, tmp_path: Path) -> None:
    (tmp_path / "consents.json").write_bytes(msgspec.json.encode(many(MAX_WITHDRAWN, withdrawn_at=3)))
    consents.give(consent("configuration"))
    assert consents.serves(PROJECT)
    assert len(consents.all()) == MAX_WITHDRAWN + 1


def test_the_oldest_that_was_left_is_forgotten_and_never_joined_again_by_itself(
    consents: Consents, tmp_path: Path
) -> None:
    """A hub may show the forgotten project under any name that site.toml joins: so site.toml joins nothing new."""
    left = [msgspec.structs.replace(one, withdrawn_at=n + 10) for n, one in enumerate(many(MAX_WITHDRAWN))]
    served = consent("configuration", project_id=OTHER, name="served")
    (tmp_path / "consents.json").write_bytes(msgspec.json.encode([*left[::-1], served]))
    consents.withdraw(consent(), 5_000)
    assert len(consents.all()) == MAX_WITHDRAWN + 1
    gone = left[0]
    assert gone.project_id not in consents.all()
    assert left[1].project_id in consents.all()
    again = msgspec.structs.replace(gone, by="configuration", name="another name", withdrawn_at=None)
    for one in (consents, Consents(tmp_path)):
        with pytest.raises(NotConsented, match="may be one of them"):
            one.give(again)
        assert not one.serves(gone.project_id)
        assert one.give(served) == served, "what is served goes on"
    consents.give(consent(at=6_000))  # fewer than the most again: it is forgotten all the same
    with pytest.raises(NotConsented, match="may be one of them"):
        consents.give(again)
    assert consents.give(msgspec.structs.replace(again, by="people")).live
    assert consents.serves(gone.project_id)


def test_a_coordinator_is_a_site_a_fingerprint_or_unknown() -> None:
    finger = fingerprint(KEY)
    assert parse_coordinator(" unknown ") == Wanted()
    assert parse_coordinator(NORTH.upper()) == Wanted(site_id=NORTH)
    assert parse_coordinator(words(finger)) == parse_coordinator(hex_groups(finger)) == Wanted(finger=finger)
    for wrong in ("", "north", "first_sight", words(finger).rpartition(" ")[0]):
        with pytest.raises(ValueError, match="neither a site's id nor a fingerprint"):
            parse_coordinator(wrong)


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (Wanted(), True),
        (Wanted(site_id=NORTH), True),
        (Wanted(site_id=EAST), False),
        (Wanted(finger=fingerprint(KEY)), True),
        (Wanted(finger=fingerprint(STRANGE)), False),
    ],
)
def test_a_strangers_project_of_that_name_is_not_meant(wanted: Wanted, meant: bool) -> None:
    assert choose([], "p", wanted) is None
    assert choose([project(name="pp")], "p", wanted) is None
    if meant:
        assert choose([project()], "p", wanted) == project()
    else:
        with pytest.raises(NotChosen, match="the hub shows project"):
            choose([project()], "p", wanted)


def test_of_two_projects_of_one_name_the_coordinator_decides() -> None:
    both = [project(), project(OTHER, whose=EAST, key=STRANGE)]
    with pytest.raises(NotChosen) as caught:
        choose(both, "p", Wanted())
    for one in both:
        assert one.id in str(caught.value)
        assert words(fingerprint(one.coordinator_identity_key)) in str(caught.value)
    assert choose(both, "p", Wanted(site_id=EAST)) == both[1]
    assert choose(both, "p", Wanted(finger=fingerprint(KEY))) == both[0]
    assert choose(both, OTHER, Wanted()) == both[1]


def test_an_archived_project_is_not_meant() -> None:
    over = msgspec.structs.replace(project(), archived_at="2026-01-01T00:00:00Z")
    assert choose([over], "p", Wanted()) is None


def test_what_another_process_gave_or_withdrew_is_seen(consents: Consents, tmp_path: Path) -> None:
    other = Consents(tmp_path)
    assert not consents.serves(PROJECT)
    other.give(consent())
    assert consents.serves(PROJECT)
    other.withdraw(consent(), 2)
    assert not consents.serves(PROJECT)


def test_consents_are_not_read_from_disk_while_nothing_changed(consents: Consents) -> None:
    consents.give(consent())
    assert consents.of(PROJECT) is consents.of(PROJECT)


@pytest.mark.parametrize(
    "before", [None, consent(at=1), consent(at=1, coordinator=EAST), consent(at=1, withdrawn_at=2)]
)
def test_what_was_before_a_refused_request_is_put_back_exactly(consents: Consents, before: Consent | None) -> None:
    if before is not None:
        consents.give(before)
    given = consents.give(consent(at=3), replace=True)
    consents.put_back(given, before)
    assert consents.all().get(PROJECT) == before


def test_an_id_means_the_project_with_that_id_whatever_another_is_called() -> None:
    wanted, other = "aaaaaaaa-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000002"
    assert means(wanted, wanted, "any name")
    assert not means(wanted, other, wanted)
    assert not Join(project=wanted, coordinator="unknown").names(other, wanted)
    assert means("breast-cancer", other, "breast-cancer")
