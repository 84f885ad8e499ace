"""What notices say, and that events say to the byte what they always said: their chain is over it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from domain import commands as c
from domain import records as r
from domain.decisions.draft import Decision
from domain.states import Report
from fedyard.wire.notices import NOTICES, Notice
from tests.domain.scenes import DAY, NOW, PROJECT, RUN, SITES, by_account, by_site, decided, project, row, run, written

TOKEN = "00000000-0000-4000-8000-0000000000d0"
MESSAGE = "00000000-0000-4000-8000-0000000000e0"


def _stopped() -> Decision:
    return decided(c.StopRun(run_id=RUN, reason="enough"), run(["ready", "invited"]), by_site(0))


def _removed() -> Decision:
    return decided(c.RemoveMember(project_id=PROJECT, site_id=SITES[1], reason="enough"), project(), by_site(0))


def _issued() -> Decision:
    by, account = by_account("member")
    command = c.IssueToken(
        owner_kind="site", owner_id=SITES[1], sha256="5" * 64, label="spare", scopes=["read"], expires_at=NOW + DAY
    )
    return decided(command, [*project(), account], by)


def _revoked() -> Decision:
    token = row(r.Token, id=TOKEN, owner_id=SITES[1], label="spare", sha256="6" * 64)
    return decided(c.RevokeToken(token_id=TOKEN), [*project(), token], by_site(1))


def _dropped() -> Decision:
    command = c.DropSeats(run_id=RUN, site_id=SITES[1], reason="member_left", detail="it left")
    return decided(command, run(["training", "training"], "training"))


def _expired() -> Decision:
    message = row(r.Message, id=MESSAGE, sender_site_id=SITES[0], run_id="", expires_at=NOW - 1)
    entry = row(r.InboxEntry, site_id=SITES[1], seq=1, message_id=MESSAGE)
    return decided(c.ExpireMessages(message_ids=[MESSAGE]), [*project(), message, entry])


def _invited() -> Decision:
    command = c.PutMember(project_id=PROJECT, site_id=SITES[1])
    rows = [one for one in project() if not (isinstance(one, r.Membership) and one.site_id == SITES[1])]
    return decided(command, rows, by_site(0))


def _started() -> Decision:
    command = c.ReportSeat(run_id=RUN, task_seq=1, site_id=SITES[1], round=1, seq=1, event=Report.READY)
    return decided(command, run(["ready", "invited"], quorum=2), by_site(1))


def _described() -> Decision:
    by, account = by_account("member")
    return decided(c.UpdateSite(site_id=SITES[1], description="mine"), [*project(), account], by)


HEADS: dict[Callable[[], Decision], list[str]] = {
    _described: ["d7af156d94bc7754fa42280231714d72b8983c45ce5a32773559db8a4c294ddc"],
    _dropped: ["9e4de53ee9d71ef8f1d75fcfe5c5efbc12acb4d9ad269927de9c48875534a2f6"],
    _expired: ["1d6fb8cd80f8b48529260dcb7fbcc194ca080b6f371db01a15dbaadce5b90637"],
    _invited: [
        "7b76da9a8d0412b14ab692de9e45d8fb4cfd3eebbaf562054b72fc9b2b3878f9",
        "f2dde0689a2f4dc996acb2c81124e2e0116979764e106c0fd724bd546f222191",
    ],
    _issued: [
        "5e8b4238b962114ef8d5e0ac62c06a0e3450f269f98b17132c096953c99685d2",
        "8f7eaf83a65afbf4afcd557842e8e2b234aef9c921185c284765a9a921bc9bee",
    ],
    _removed: [
        "5248fed028ced7e56cb49420398f49ecabb93f50d9a0a9e789256de037a93177",
        "550714b5fca6a92531355615442d61179c841a1e9c2a3cabfc6061e4e3c65aca",
    ],
    _revoked: [
        "abc557057f79cd70fbad6b9541a26a9cb6578cb7aa4abbe61cc863aaf6000dea",
        "c1e6f24da2d66ede63f7aa18ed6ea8b678f8318bcf77e0d6724382ea8af468c6",
    ],
    _started: ["05a3f490e2cb7063d0fdc213cf18227714965c9a47c75e9585652078e4314494"],
    _stopped: ["e90b5ea6ec5ba322e6600bb99790c671afc782b0ca9b366f44f76ed5e277a976"],
}
"""The hash of the last event of each stream, as it was when facts were written down as dicts."""


@pytest.mark.parametrize("scene", HEADS, ids=lambda scene: scene.__name__.strip("_"))
def test_events_keep_their_bytes(scene: Callable[[], Decision]) -> None:
    assert [stream.last_hash for stream in written(scene(), r.Stream)] == HEADS[scene]


BY = {"id": "d9f399e6-3f12-52ce-b28e-d894c622e64d", "kind": "account", "name": "", "role": "member"}
SAID: dict[Callable[[], Decision], list[tuple[str, dict[str, object]]]] = {
    _stopped: [
        ("task_ended", {"reason": "stopped", "state": "cancelled"}),
        ("run_ended", {"attempt": 1, "detail": "enough", "number": 1, "reason": "stopped", "state": "cancelled"}),
    ],
    _removed: [
        (
            "member_left",
            {"by": {"id": SITES[0], "kind": "site", "name": "site 0"}, "reason": "enough", "site_id": SITES[1]},
        )
    ],
    _issued: [
        (
            "token_issued",
            {
                "by": BY,
                "expires_at": 1_800_086_400_000_000,
                "label": "spare",
                "owner_id": SITES[1],
                "scopes": "read",
                "token_id": "8f343c34-babe-5271-9929-0ed02a689c38",
            },
        )
    ],
    _dropped: [("seat_dropped", {"detail": "it left", "may_rejoin": False, "reason": "member_left"})],
    _expired: [("expired", {"message_id": MESSAGE})],
    _started: [("round_started", {"deadline_at": 1_800_086_400_000_000, "seats": 2})],
    _described: [("site_updated", {"by": BY, "description": "mine"})],
}
"""What the second site is told."""


@pytest.mark.parametrize("scene", SAID, ids=lambda scene: scene.__name__.strip("_"))
def test_what_a_notice_says(scene: Callable[[], Decision]) -> None:
    told = [one for one in written(scene(), r.InboxEntry) if one.site_id == SITES[1]]
    assert [(one.kind, json.loads(one.facts_json)) for one in told] == SAID[scene]


def test_every_kind_of_entry_has_its_facts() -> None:
    assert set(NOTICES) == set(Notice)
    assert {kind: facts.__name__ for kind, facts in NOTICES.items()} == {
        kind: "MessageArrived" if kind == "message" else kind.title().replace("_", "") for kind in Notice
    }
