"""Every notice of what others did in a site's name is a sentence, whatever the hub puts into it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from fedyard.agent.notices import IN_ITS_NAME, MAX_SHOWN, Facts, told
from fedyard.wire.answers import Entry
from fedyard.wire.notices import NOTICES
from tests.fedyard.parties import EAST, NORTH, PROJECT

BY = {"kind": "account", "id": "a1", "role": "admin"}


def entry(kind: str, **facts: object) -> Entry:
    return Entry(
        seq=1,
        kind=kind,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        project_id=PROJECT,
        facts=json.dumps(facts).encode(),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("kind", "facts", "sentence"),
    [
        (
            "token_issued",
            {"token_id": "t", "label": "spare", "scopes": "read write", "expires_at": 1_800_000_000_000_000},
            "token 'spare' (t) was issued for this site: read write, until 2027-01-15T08:00:00+00:00",
        ),
        (
            "token_issued",
            {"token_id": "t", "label": "", "scopes": "read"},
            "token '' (t) was issued for this site: read, without an end",
        ),
        ("token_revoked", {"token_id": "t", "label": "spare"}, "token 'spare' (t) of this site was revoked"),
        ("site_updated", {"description": "mine now"}, "this site was described anew: 'mine now'"),
        ("site_retired", {}, "this site was retired: its tokens are revoked, it is in no project any more"),
        ("member_admitted", {"site_id": NORTH, "reason": ""}, f"this site is a member of project {PROJECT}"),
        (
            "member_left",
            {"site_id": NORTH, "reason": "enough"},
            f"this site is no member any more of project {PROJECT} ('enough')",
        ),
        (
            "key_changed",
            {"site_id": NORTH, "epoch": 2, "state": "revoked", "reason": "stolen"},
            "this site's sealing key of epoch 2 is revoked ('stolen')",
        ),
        (
            "acted_for",
            {"act": "stop_run", "run_id": EAST},
            "stop_run was done by a person in this site's name, or with its project, run or artifact",
        ),
        (
            "identity_conflict",
            {"about_site_id": EAST},
            f"it was put on record that this site saw another identity of site {EAST}",
        ),
    ],
)
def test_words(kind: str, facts: dict[str, object], sentence: str) -> None:
    assert told(entry(kind, **facts), NORTH) == sentence
    assert told(entry(kind, **facts, by=BY), NORTH) == f"{sentence}; by account a1, admin"


def test_every_kind_has_words_and_names_who_did_it() -> None:
    for kind in IN_ITS_NAME:
        said = told(entry(kind, site_id=NORTH, by={"kind": "site", "id": EAST, "name": "east"}), NORTH)
        assert said is not None
        assert said.endswith(f"; by site 'east' ({EAST})")


def test_what_is_about_other_sites_is_not_told() -> None:
    for kind in ("member_requested", "member_left", "key_changed"):
        assert told(entry(kind, site_id=EAST, by=BY), NORTH) is None
    for kind in ("invited", "message", "run_ended"):
        assert told(entry(kind), NORTH) is None


def test_odd_facts_neither_reach_the_terminal_nor_end_anything() -> None:
    said = told(entry("site_updated", description="\x1b[2J" + "x" * 10_000, by={**BY, "id": "\x1b]0;\n"}), NORTH)
    assert said is not None
    assert said.isprintable()
    assert len(said) < 2 * MAX_SHOWN + 100
    assert told(entry("token_issued", label=3), NORTH) == "token_issued: the hub's facts cannot be read"
    assert "until 1000000" in (told(entry("token_issued", expires_at=10**30), NORTH) or "")


def test_the_words_are_of_what_the_hub_says() -> None:
    said = {name for kind in IN_ITS_NAME for name in NOTICES[kind].__struct_fields__}
    assert set(Facts.__struct_fields__) <= said
