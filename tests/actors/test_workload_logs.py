"""Logs of workloads at the hub's clusters, live: read while somebody follows them, whole when they end, and bounded."""

from __future__ import annotations

from typing import Any

import pytest

from actors.reconciling import SAID_AGAIN_S, Reconciler
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.codec import decode, encode
from domain.ids import Id, derive
from domain.sweeps import ForgetBefore
from domain.workloads import FOLLOWED_S
from fedyard.cluster.doing import PIECE_BYTES, PIECES_AT_ONCE
from storage.store import Changes
from storage.views import workloads as views
from storage.wanted import WantedWorkloads
from tests.actors.test_holders import Held
from tests.actors.test_workloads import Yard
from tests.hub import Hub
from tests.waiting import until


class Followed(Yard):
    """With a job that runs."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.job = self.create()
        self.turn()
        self.which = self.cluster.only()
        self.cluster.runs(self.which)
        self.settle()

    def writes(self, text: bytes) -> None:
        self.cluster.there[self.which].log += text

    def follow(self) -> None:
        self.hub.ok(c.FollowWorkload(workload_id=self.job, attempt=1))

    def read(self) -> int:
        """One turn of what reads logs, decided."""
        followed = self.reconciler.read_logs()
        sent, self.sent = self.sent, []
        for envelope in sent:
            self.hub.ok(decode(encode(envelope)).command)
        return followed

    def pieces(self) -> list[tuple[int, bytes]]:
        return sorted((one.start, one.body) for one in self.hub.rows(r.WorkloadLogPiece))

    def seen(self, after: int, by: v.Subject | None = None) -> views.Followed:
        found = views.log_from(self.hub.database, by or self.site, self.job, None, after)
        assert isinstance(found, views.Followed)
        return found

    def told(self, after: int) -> tuple[bytes | None, int | None, int | None, bool | None]:
        found = self.seen(after).found
        return found.log, found.after, found.next, found.over


@pytest.fixture
def yard(hub: Hub) -> Followed:
    return Followed(hub)


def test_nobody_follows_nothing_is_read(yard: Followed) -> None:
    yard.writes(b"one\n")
    assert yard.read() == 0
    assert "log" not in yard.cluster.calls
    yard.cluster.ends(yard.which)
    yard.settle()
    assert "log" not in yard.cluster.calls
    assert yard.pieces() == []
    assert yard.told(0) == (b"one\n", 0, 4, True)
    assert yard.told(2) == (b"e\n", 2, 4, True)


def test_it_is_read_as_it_is_written_for_a_while_and_to_its_end(yard: Followed) -> None:
    yard.writes(b"one\n")
    yard.follow()
    assert yard.told(0) == (b"", 0, 0, False)
    assert (yard.read(), yard.read()) == (1, 1)
    yard.writes(b"two\n")
    yard.read()
    assert yard.pieces() == [(0, b"one\n"), (4, b"two\n")]
    assert yard.told(0) == (b"one\ntwo\n", 0, 8, False)
    assert yard.told(5) == (b"wo\n", 5, 8, False)
    assert yard.told(8) == (b"", 8, 8, False)
    yard.later(FOLLOWED_S)
    yard.writes(b"three\n")
    assert yard.read() == 0
    yard.cluster.ends(yard.which, log=b"four\n")
    yard.settle()
    assert yard.told(8) == (b"three\nfour\n", 8, 19, True)
    assert yard.told(19) == (b"", 19, 19, True)
    assert yard.read() == 0


def test_a_piece_that_comes_twice_counts_once_and_after_a_gap_nothing_does(yard: Followed) -> None:
    yard.follow()

    def write(start: int, body: bytes) -> dict[str, Any]:
        return yard.hub.ok(c.WriteWorkloadLog(workload_id=yard.job, attempt=1, start=start, body=body))

    assert write(0, b"one") == {"size_bytes": 3, "followed": True}
    assert write(0, b"one") == {"size_bytes": 3, "followed": True}
    assert write(1, b"ne two") == {"size_bytes": 7, "followed": True}
    assert write(9, b"gap") == {"size_bytes": 7, "followed": True}
    assert yard.pieces() == [(0, b"one"), (3, b" two")]
    yard.later(FOLLOWED_S)
    assert write(7, b"!") == {"size_bytes": 8, "followed": False}  # on its way when the last one left


def test_who_does_not_look_after_it_writes_nothing(yard: Followed) -> None:
    yard.follow()
    command = c.WriteWorkloadLog(workload_id=yard.job, attempt=1, start=0, body=b"lie")
    assert yard.hub.refused(command, yard.site)[0] == 404
    assert yard.hub.refused(c.FollowWorkload(workload_id=yard.job, attempt=1), yard.site)[0] == 403
    assert yard.pieces() == []


def test_of_a_long_log_the_end_is_kept_and_its_reader_is_told_from_where(yard: Followed) -> None:
    line = b"x" * 1023 + b"\n"
    yard.writes(line * 64 * (PIECES_AT_ONCE + 4))
    yard.follow()
    yard.read()
    yard.read()
    whole = yard.cluster.there[yard.which].log
    kept = yard.pieces()
    assert kept[0][0] > 0
    assert b"".join(body for _, body in kept) == whole[kept[0][0] :]
    assert sum(len(body) for _, body in kept) <= v.LIVE_LOG_BYTES + 2 * v.LOG_PIECE_BYTES
    log, after, following, over = yard.told(0)
    assert (after, over, len(log or b"")) == (kept[0][0], False, views.LOG_AT_ONCE_BYTES)
    place, read = after or 0, b""
    while place < len(whole):
        log, after, following, over = yard.told(place)
        assert (after, over) == (place, False)
        read += log or b""
        place = following or 0
    assert read == whole[kept[0][0] :]
    assert PIECE_BYTES == v.LOG_PIECE_BYTES


def test_a_cluster_or_a_broker_that_is_away_costs_only_time(yard: Followed) -> None:
    yard.writes(b"one\n")
    yard.follow()
    yard.cluster.away = True
    yard.read()
    yard.cluster.away, yard.broker_away = False, True
    yard.read()
    assert yard.pieces() == []
    yard.broker_away = False
    yard.read()
    assert yard.pieces() == [(0, b"one\n")]


def test_what_was_followed_goes_with_the_evidence(yard: Followed) -> None:
    yard.writes(b"one\n")
    yard.follow()
    yard.read()
    yard.cluster.ends(yard.which)
    yard.settle()
    assert yard.pieces()
    with yard.hub.store.deciding() as transaction:
        transaction.write(Changes(sweeps=[ForgetBefore(0, yard.hub.clock.now() + 1)]))
    for kind in (r.WorkloadLogPiece, r.WorkloadLogHead, r.WorkloadFollow, r.WorkloadEvidence):
        assert yard.hub.rows(kind) == []
    assert yard.told(0) == (b"", 0, 0, True)


def test_a_follower_hears_of_pieces_and_of_the_end(yard: Followed) -> None:
    heard = yard.hub.heard
    yard.follow()
    assert (heard[-1].logs, heard[-1].workloads) == ({}, True)
    yard.writes(b"one\n")
    yard.read()
    assert (heard[-1].logs, heard[-1].workloads) == ({yard.job: 4}, False)
    heard.clear()
    yard.cluster.ends(yard.which)
    yard.settle()
    assert any(yard.job in each.logs and each.workloads for each in heard)


def test_the_log_of_who_holds_a_seat_is_for_those_who_read_the_run_s(hub: Hub) -> None:
    """The coordinator, and the attempt itself of its own; also after it has succeeded."""
    held = Held(hub, count=2)
    other = hub.site("b")
    held.settle()
    one, another = (held.enrol(site) for site in held.holders())
    which = held.which(one.id)
    held.cluster.there[which].log = b"seat\n"
    hub.ok(c.FollowWorkload(workload_id=which.id, attempt=1))
    held.reconciler.read_logs()
    for envelope in held.sent:
        hub.ok(envelope.command)

    def log(by: v.Subject) -> bytes | None:
        found = views.log_from(hub.database, by, which.id, 1, 0)
        return found.found.log if isinstance(found, views.Followed) else b"404" if found is None else None

    auditor = v.Subject(kind="account", id=derive("auditor"), organisation_id=derive("o"), role="auditor")
    people = v.Subject(kind="account", id=derive("people"), organisation_id=held.site.organisation_id, role="member")
    readers: dict[Id, v.Subject] = {held.site.id: held.site, one.id: one, "people": people}
    for state in ("running", "succeeded"):
        if state == "succeeded":
            held.cluster.ends(which)
            held.later(SAID_AGAIN_S)
            held.settle()
            assert [one.state for one in hub.rows(r.Workload, "id = %s", which.id)] == [state]
        assert {name: log(by) for name, by in readers.items()} == dict.fromkeys(readers, b"seat\n")
        assert (log(another), log(other), log(auditor)) == (b"404", b"404", None)


def test_the_reconciler_reads_as_soon_as_somebody_follows(yard: Followed) -> None:
    yard.writes(b"one\n")
    wanted = WantedWorkloads(yard.hub.database, bytes(32))
    reconciler = Reconciler({"hub": yard.place}, wanted, yard, yard.hub.clock, every_s=600)
    reconciler.start()
    try:
        reconciler.lead()
        yard.follow()
        reconciler.wake()
        until(lambda: any(isinstance(one.command, c.WriteWorkloadLog) for one in yard.sent))
    finally:
        reconciler.stop(within_s=10)
