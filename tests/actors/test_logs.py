"""Logs of runs: numbered twice, bounded, sealed where that is required, and kept as long as their run wants."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.deciding import decide_batch
from domain import commands as c
from domain import records as r
from domain.ids import Id, derive
from domain.rules import Rules
from domain.values import Subject
from fedyard.wire.times import SECOND
from tests.actors.test_sealing import Yard
from tests.hub import Hub
from tests.seals import sealed

KEPT_S = 604_800
NOWHERE = derive("nobody", "made", "this")


class Logged:
    """A run of three sites in a project where payloads need not be sealed."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.sites = hub.sites(3)
        self.coordinator, self.one, self.two = self.sites
        self.project = hub.project(self.sites)
        self.run = hub.start(self.project, self.coordinator)

    def writing(self, site: Subject, seq: int, *pieces: bytes, **more: Any) -> c.WriteLog:
        fields = {"run_id": self.run, "task_seq": 1, "site_id": site.id, "round": 1, **more}
        return c.WriteLog(seq=seq, pieces=list(pieces), **fields)

    def write(self, site: Subject, seq: int, *pieces: bytes, **more: Any) -> dict[str, Any]:
        return self.hub.ok(self.writing(site, seq, *pieces, **more), site)

    def pieces(self) -> list[tuple[int, Id, int, int, bytes]]:
        found = self.hub.rows(r.LogPiece, "run_id = %s ORDER BY place", self.run)
        return [(one.place, one.site_id, one.task_seq, one.seq, bytes(one.body)) for one in found]


@pytest.fixture
def scene(hub: Hub) -> Logged:
    return Logged(hub)


# what passes


def test_pieces_are_numbered_for_their_site_and_for_their_run(scene: Logged) -> None:
    one, two = scene.one, scene.two
    assert scene.write(one, 1, b"a", b"b") == {"seq": 2, "duplicate": False}
    assert scene.write(two, 1, b"c") == {"seq": 1, "duplicate": False}
    assert scene.write(one, 3, b"d") == {"seq": 3, "duplicate": False}
    assert scene.pieces() == [
        (1, one.id, 1, 1, b"a"),
        (2, one.id, 1, 2, b"b"),
        (3, two.id, 1, 1, b"c"),
        (4, one.id, 1, 3, b"d"),
    ]
    (head,) = scene.hub.rows(r.LogHead)
    assert head.last_place == 4
    logs = {log.site_id: (log.last_seq, log.size_bytes) for log in scene.hub.rows(r.SiteLog)}
    assert logs == {one.id: (3, 3), two.id: (1, 1)}


def test_known_pieces_change_nothing_and_what_is_new_behind_them_is_added(scene: Logged) -> None:
    scene.write(scene.one, 1, b"a", b"b")
    assert scene.write(scene.one, 1, b"A", b"B") == {"seq": 2, "duplicate": True}
    assert scene.write(scene.one, 1, b"A") == {"seq": 2, "duplicate": True}
    assert scene.write(scene.one, 2, b"B", b"c") == {"seq": 3, "duplicate": False}
    assert [body for *_, body in scene.pieces()] == [b"a", b"b", b"c"]


def test_a_log_changes_nothing_of_its_run(scene: Logged) -> None:
    before = scene.hub.run(scene.run), scene.hub.rows(r.Event), scene.hub.rows(r.InboxEntry)
    scene.write(scene.one, 1, b"a")
    assert (scene.hub.run(scene.run), scene.hub.rows(r.Event), scene.hub.rows(r.InboxEntry)) == before


def test_who_reads_hears_of_the_last_place(scene: Logged) -> None:
    scene.write(scene.one, 1, b"a", b"b")
    assert scene.hub.heard[-1].logs == {scene.run: 2}
    assert scene.hub.heard[-1].runs == {}
    scene.write(scene.one, 1, b"a", b"b")
    assert scene.hub.heard[-1].logs == {}


def test_a_batch_orders_pieces_that_overtook_each_other(scene: Logged) -> None:
    hub = scene.hub
    later = hub.envelope(scene.writing(scene.one, 2, b"b"), scene.one)
    other = hub.envelope(scene.writing(scene.two, 1, b"x"), scene.two)
    first = hub.envelope(scene.writing(scene.one, 1, b"a"), scene.one)
    batch = hub.batch([later, other, first])
    assert {outcome.state for outcome in batch.outcomes.values()} == {"accepted"}
    assert [(place, seq, body) for place, _, _, seq, body in scene.pieces()] == [
        (1, 1, b"x"),
        (2, 1, b"a"),
        (3, 2, b"b"),
    ]


def test_a_log_in_one_batch_with_a_report_of_its_run(scene: Logged) -> None:
    hub = scene.hub
    stopping = hub.envelope(c.StopRun(run_id=scene.run), scene.coordinator)
    batch = hub.batch([hub.envelope(scene.writing(scene.one, 1, b"a"), scene.one), stopping])
    assert {outcome.state for outcome in batch.outcomes.values()} == {"accepted"}
    assert {seat.state for seat in hub.rows(r.Seat)} == {"cancelled"}


def test_a_member_writes_for_its_site(scene: Logged) -> None:
    member = scene.hub.account(scene.one.organisation_id or "", "member")
    assert scene.hub.ok(scene.writing(scene.one, 1, b"a"), member)["seq"] == 1


def test_late_pieces_are_welcome_while_the_log_is_kept(scene: Logged) -> None:
    scene.write(scene.one, 1, b"a")
    scene.hub.ok(c.StopRun(run_id=scene.run), scene.coordinator)
    scene.hub.clock.micros += (KEPT_S - 1) * SECOND
    assert scene.write(scene.one, 2, b"b")["seq"] == 2
    assert scene.write(scene.two, 1, b"c")["seq"] == 1


def test_a_site_that_was_removed_still_says_what_happened(scene: Logged) -> None:
    scene.hub.ok(c.RemoveMember(project_id=scene.project, site_id=scene.one.id), scene.coordinator)
    assert scene.write(scene.one, 1, b"a")["seq"] == 1


def test_retention_forgets_the_logs_of_runs_that_ended_long_ago(scene: Logged) -> None:
    hub = scene.hub
    scene.write(scene.one, 1, b"a")
    hub.ok(c.StopRun(run_id=scene.run), scene.coordinator)
    old, scene.run = scene.run, hub.start(scene.project, scene.coordinator)
    scene.write(scene.one, 1, b"b")
    ended = hub.run(old).ended_at
    hub.clock.micros = ended + int(Rules().keep_inbox_s * SECOND) - 1000  # a thousandth passes with each command
    hub.ok(c.ForgetHistory())
    assert len(hub.rows(r.LogPiece)) == 2
    hub.ok(c.ForgetHistory())
    for kind in (r.LogPiece, r.SiteLog, r.LogHead):
        assert [row.run_id for row in hub.rows(kind)] == [scene.run]


# what is refused


def test_a_piece_after_a_gap_is_too_early(scene: Logged) -> None:
    scene.write(scene.one, 1, b"a")
    assert scene.hub.refused(scene.writing(scene.one, 3, b"c"), scene.one) == (409, "too_early")
    batch = scene.hub.batch([scene.hub.envelope(scene.writing(scene.one, 3, b"c"), scene.one)])
    assert len(batch.early) == 1


def test_another_participant_may_not_know_of_it(scene: Logged) -> None:
    assert scene.hub.refused(scene.writing(scene.one, 1, b"a"), scene.hub.site("stranger")) == (404, "not_found")
    other = Hub.account(scene.hub, scene.hub.organisation("elsewhere"), "member")
    assert scene.hub.refused(scene.writing(scene.one, 1, b"a"), other) == (404, "not_found")
    assert scene.hub.refused(scene.writing(scene.one, 1, b"a"), scene.two) == (404, "not_found")


def test_the_coordinator_and_the_admin_do_not_write_in_its_name(scene: Logged) -> None:
    admin = scene.hub.account(scene.hub.organisation("operators"), "admin")
    for by in (scene.coordinator, admin):
        assert scene.hub.refused(scene.writing(scene.one, 1, b"a"), by) == (403, "forbidden")


def test_a_site_without_a_seat_has_no_log(scene: Logged) -> None:
    stranger = scene.hub.site("stranger")
    for by, more in ((stranger, {}), (scene.one, {"task_seq": 2}), (scene.one, {"run_id": NOWHERE})):
        assert scene.hub.refused(scene.writing(by, 1, b"a", **more), by) == (404, "not_found")


def test_a_retired_site_writes_no_more(scene: Logged) -> None:
    member = scene.hub.account(scene.one.organisation_id or "", "member")
    scene.hub.ok(c.RetireSite(site_id=scene.one.id), scene.one)
    assert scene.hub.refused(scene.writing(scene.one, 1, b"a"), member) == (409, "site_retired")


def test_a_log_is_closed_when_it_would_be_forgotten(scene: Logged) -> None:
    scene.hub.ok(c.StopRun(run_id=scene.run), scene.coordinator)
    scene.hub.clock.micros += KEPT_S * SECOND
    assert scene.hub.refused(scene.writing(scene.one, 1, b"a"), scene.one) == (409, "run_finished")


def test_a_full_log_takes_no_more_but_knows_what_it_has(scene: Logged) -> None:
    hub = scene.hub

    def said(site: Subject, seq: int, *pieces: bytes) -> Any:
        envelope = hub.envelope(scene.writing(site, seq, *pieces), site)
        batch = decide_batch(hub.store, [envelope], hub.clock.now(), Rules(log_limit_bytes=10))
        answer = json.loads(batch.outcomes[envelope.id].answer_json)
        return answer.get("type", answer.get("seq"))

    assert said(scene.one, 1, b"12345", b"12345") == 2
    assert said(scene.one, 3, b"1") == "/problems/log_full"
    assert said(scene.one, 2, b"12345") == 2
    assert said(scene.two, 1, b"1234567890") == 1
    assert said(scene.coordinator, 1, b"12345678901") == "/problems/log_full"
    assert len(scene.pieces()) == 3


# sealed


@pytest.fixture
def yard(hub: Hub) -> Yard:
    return Yard(hub)


def piece(yard: Yard, **fields: Any) -> bytes:
    fields = {
        "sender": yard.one.id,
        "recipients": [yard.coordinator.id, yard.one.id],
        "project": yard.project,
        **fields,
    }
    return sealed(**{"run": yard.run, "task": 1, "round": 1, "kind": "log", **fields})


def writing(yard: Yard, *pieces: bytes, **more: Any) -> c.WriteLog:
    return c.WriteLog(
        **{"run_id": yard.run, "task_seq": 1, "site_id": yard.one.id, "seq": 1, "pieces": list(pieces), **more}
    )


def test_sealed_pieces_say_their_round_themselves(yard: Yard) -> None:
    pieces = [piece(yard), piece(yard, round=2), piece(yard, round=None, recipients=[yard.coordinator.id])]
    yard.hub.ok(writing(yard, *pieces), yard.one)
    stored = yard.hub.rows(r.LogPiece, "1 = 1 ORDER BY place")
    assert [one.round for one in stored] == [1, 2, None]
    assert [bytes(one.body) for one in stored] == pieces


def test_a_round_that_the_call_names_is_that_of_the_seal(yard: Yard) -> None:
    assert yard.hub.refused(writing(yard, piece(yard), round=2), yard.one) == (422, "seal_readdressed")
    yard.hub.ok(writing(yard, piece(yard), round=1), yard.one)


def test_a_piece_that_is_not_sealed_is_refused_with_all_of_its_call(yard: Yard) -> None:
    assert yard.hub.refused(writing(yard, piece(yard), b"plain"), yard.one) == (422, "unsealed")
    assert yard.hub.rows(r.LogPiece) == []


def test_a_malformed_seal_is_refused_even_where_none_is_needed(hub: Hub) -> None:
    yard = Yard(hub, sealed="optional")
    assert hub.refused(writing(yard, b"FYS1 and nothing"), yard.one) == (422, "seal_unsupported")
    assert hub.refused(writing(yard, b"FYS1\1\1"), yard.one) == (422, "seal_malformed")


def test_a_piece_for_somebody_else_is_refused(yard: Yard) -> None:
    for readers in ([yard.coordinator.id, yard.two.id], [yard.one.id]):
        assert yard.hub.refused(writing(yard, piece(yard, recipients=readers)), yard.one) == (422, "seal_readdressed")


@pytest.mark.parametrize("field", ["sender", "run", "task", "kind", "project"])
def test_a_piece_of_another_place_is_refused(yard: Yard, field: str) -> None:
    wrong: dict[str, Any] = {"sender": yard.two.id, "run": NOWHERE, "task": 2, "kind": "update", "project": NOWHERE}
    assert yard.hub.refused(writing(yard, piece(yard, **{field: wrong[field]})), yard.one) == (422, "seal_readdressed")


def test_a_piece_without_its_body_is_refused(yard: Yard) -> None:
    assert yard.hub.refused(writing(yard, piece(yard, detached=True)), yard.one) == (422, "seal_mismatch")


def test_a_piece_to_a_revoked_key_is_refused(yard: Yard) -> None:
    yard.hub.ok(c.RevokeSiteKey(site_id=yard.coordinator.id, epoch=1), yard.coordinator)
    assert yard.hub.refused(writing(yard, piece(yard)), yard.one) == (409, "key_unusable")


def test_an_expired_piece_is_refused(yard: Yard) -> None:
    assert yard.hub.refused(writing(yard, piece(yard, expires=yard.hub.clock.now())), yard.one) == (409, "seal_expired")
