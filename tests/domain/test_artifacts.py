"""Artifacts and their room, as tables of examples: where they belong, who needs them, when their time is over."""

from __future__ import annotations

from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain.rules import Rules
from domain.states import Report
from fedyard.wire.chunks import CHUNK_BYTES, tree_digest
from tests.domain.scenes import (
    DAY,
    NOW,
    PROJECT,
    RUN,
    SECOND,
    SITES,
    answer,
    by_site,
    came_to,
    decided,
    detail,
    project,
    row,
    run,
    site,
    task,
    written,
)

KINDS = ("initial", "update", "model", "log", "result")


def declare(size: int = 10, of: int = 1, **fields: Any) -> c.DeclareArtifact:
    digests = b"d" * 32 * -(-size // CHUNK_BYTES)
    fields = {"of_kind": "result", "digest": tree_digest(digests), "chunk_digests": digests} | fields
    return c.DeclareArtifact(owner_site_id=SITES[of], project_id=PROJECT, size_bytes=size, **fields)


def total(live: int, count: int = 1) -> r.ArtifactTotal:
    return r.ArtifactTotal(PROJECT, live, count)


def share(live: int, declared: int = 0, count: int = 0, of: int = 1) -> r.ArtifactShare:
    return r.ArtifactShare(PROJECT, SITES[of], live, declared, count)


# declaring


@pytest.mark.parametrize(
    ("kind", "place", "expected"),
    [
        ("initial", (), "accepted"),
        ("initial", (RUN,), "accepted"),
        ("initial", (RUN, 1), "accepted"),
        ("result", (RUN, 1, 2), "accepted"),
        ("result", (None, 1), "misplaced"),
        ("result", (RUN, None, 2), "misplaced"),
        ("log", (RUN, 1), "accepted"),
        ("log", (RUN, 1, 2), "accepted"),
        ("log", (RUN,), "misplaced"),
        ("update", (RUN, 1, 2), "accepted"),
        ("update", (RUN, 1), "misplaced"),
        ("update", (), "misplaced"),
        ("model", (RUN, 1, 2), "accepted"),
        ("model", (RUN, 1), "misplaced"),
        ("model", (None, 1, 2), "misplaced"),
        ("update", ("another", 1, 2), "not_found"),
    ],
)
def test_where_an_artifact_says_that_it_belongs(kind: Any, place: tuple[Any, ...], expected: str) -> None:
    run_id, task_seq, number = (*place, None, None, None)[:3]
    command = declare(of=0, of_kind=kind, run_id=run_id, task_seq=task_seq, round=number)
    assert came_to(decided(command, [*project(2), row(r.Run)], by_site(0))) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["created", "running", "succeeded", "failed", "cancelled"])
def test_a_run_that_is_over_takes_only_what_is_not_part_of_it(kind: Any, state: str) -> None:
    command = declare(of=0, of_kind=kind, run_id=RUN, task_seq=1, round=1)
    over = state not in ("created", "running") and kind in ("update", "model", "log")
    came = came_to(decided(command, [*project(2), row(r.Run, state=state)], by_site(0)))
    assert came == ("run_finished" if over else "accepted")


@pytest.mark.parametrize(
    ("kind", "by_coordinator", "by_participant"),
    [
        ("initial", "accepted", "forbidden"),
        ("model", "accepted", "forbidden"),
        ("update", "accepted", "accepted"),
        ("log", "accepted", "accepted"),
        ("result", "accepted", "accepted"),
    ],
)
def test_who_uploads_what(kind: Any, by_coordinator: str, by_participant: str) -> None:
    rows = [*project(2), row(r.Run)]
    place = {"run_id": RUN, "task_seq": 1, "round": 1}
    came = [came_to(decided(declare(of=n, of_kind=kind, **place), rows, by_site(n))) for n in (0, 1)]
    assert came == [by_coordinator, by_participant]


@pytest.mark.parametrize(
    ("size", "chunks", "expected"),
    [
        (0, 0, "accepted"),
        (1, 1, "accepted"),
        (4_194_304, 1, "accepted"),
        (4_194_305, 2, "accepted"),
        (4_194_305, 1, "digest_mismatch"),
        (4_194_304, 2, "digest_mismatch"),
        (0, 1, "digest_mismatch"),
    ],
)
def test_there_is_one_digest_for_each_chunk(size: int, chunks: int, expected: str) -> None:
    digests = b"d" * 32 * chunks
    command = declare(size, chunk_digests=digests, digest=tree_digest(digests))
    assert came_to(decided(command, project(2), by_site(1))) == expected


@pytest.mark.parametrize(
    ("size", "of", "live_total", "live_share", "expected"),
    [
        # of one artifact: 100
        (100, 1, 0, 0, "accepted"),
        (101, 1, 0, 0, "too_large"),
        # of a participant: 150
        (50, 1, 100, 100, "accepted"),
        (51, 1, 100, 100, "site_quota_exceeded"),
        # of the project: 300; its coordinator has no share
        (100, 0, 200, 200, "accepted"),
        (100, 0, 201, 201, "quota_exceeded"),
        (100, 1, 201, 0, "quota_exceeded"),
        (99, 1, 201, 0, "accepted"),
    ],
)
def test_what_there_is_room_for(size: int, of: int, live_total: int, live_share: int, expected: str) -> None:
    rules = Rules(artifact_limit_result_bytes=100, site_quota_bytes=150, project_quota_bytes=300)
    rows = [*project(2), total(live_total), share(live_share, of=of)]
    assert came_to(decided(declare(size, of), rows, by_site(of), rules=rules)) == expected


@pytest.mark.parametrize(
    ("count", "declared", "size", "expected"),
    [
        (0, 0, 500, "accepted"),  # a single one may have any size that its kind may
        (1, 60, 40, "accepted"),
        (1, 60, 41, "unfinished_artifacts"),
        (2, 10, 1, "accepted"),
        (3, 10, 1, "unfinished_artifacts"),
        (3, 0, 0, "unfinished_artifacts"),
    ],
)
def test_what_may_be_declared_and_not_stored(count: int, declared: int, size: int, expected: str) -> None:
    rules = Rules(unfinished_artifacts=3, unfinished_bytes=100)
    rows = [*project(2), total(declared), share(declared, declared, count)]
    assert came_to(decided(declare(size), rows, by_site(1), rules=rules)) == expected


@pytest.mark.parametrize(
    ("kind", "limit"), [("initial", 20), ("update", 30), ("model", 40), ("log", 50), ("result", 60)]
)
def test_each_kind_has_its_limit_and_none_more_than_all(kind: Any, limit: int) -> None:
    limits = {f"artifact_limit_{one}_bytes": 20 + 10 * place for place, one in enumerate(KINDS)}
    assert Rules(**limits).largest_artifact(kind) == limit
    assert Rules(**limits, artifact_limit_bytes=35).largest_artifact(kind) == min(limit, 35)


def test_room_is_taken_and_given_back() -> None:
    rows = [*project(2), total(100, 3), share(50, 20, 2)]
    decision = decided(declare(10), rows, by_site(1))
    assert written(decision, r.ArtifactTotal) == [total(110, 4)]
    assert written(decision, r.ArtifactShare) == [share(60, 30, 3)]
    stored = row(r.Artifact, id="a", size_bytes=10)
    unfinished = row(r.Artifact, id="a", size_bytes=10, state="declared")
    decision = decided(c.DeleteArtifact(artifact_id="a"), [*rows, stored], by_site(1))
    assert written(decision, r.ArtifactTotal) == [total(90, 2)]
    assert written(decision, r.ArtifactShare) == [share(40, 20, 2)]
    decision = decided(c.DeleteArtifact(artifact_id="a"), [*rows, unfinished], by_site(1))
    assert written(decision, r.ArtifactTotal) == [total(90, 2)]
    assert written(decision, r.ArtifactShare) == [share(40, 10, 1)]


@pytest.mark.parametrize(
    ("artifact", "gone"),
    [
        ({"state": "declared"}, True),
        ({"state": "stored"}, False),
        ({"state": "expired"}, False),
        ({"state": "declared", "project_id": "another"}, False),
        ({"state": "declared", "owner_site_id": SITES[0]}, False),
    ],
)
@pytest.mark.parametrize("command", [c.RemoveMember(PROJECT, SITES[1]), c.RetireSite(SITES[1])])
def test_who_leaves_gives_back_what_he_has_not_stored(artifact: dict[str, Any], command: Any, *, gone: bool) -> None:
    rows = [*project(2), row(r.Artifact, **({"id": "a", "size_bytes": 10} | artifact)), total(100, 3), share(50, 20, 2)]
    decision = decided(command, rows, by_site(1))
    found = [(one.state, one.reason) for one in written(decision, r.Artifact)]
    assert found == ([("expired", "its site left the project before it was stored")] if gone else [])
    assert written(decision, r.ArtifactShare) == ([share(40, 10, 1)] if gone else [])


@pytest.mark.parametrize(
    ("kind", "seen_by"),
    [("initial", None), ("model", None), ("update", SITES[1]), ("log", SITES[1]), ("result", SITES[1])],
)
def test_whose_eyes_an_artifacts_event_is_for(kind: str, seen_by: str | None) -> None:
    artifact = row(r.Artifact, id="a", kind=kind, state="declared", run_id=RUN)
    decision = decided(c.DeleteArtifact("a"), [*project(2), artifact, total(0), share(0)], by_site(1))
    assert [(one.kind, one.site_id) for one in written(decision, r.Event)] == [("artifact_expired", seen_by)]


@pytest.mark.parametrize(
    ("digest", "expected"), [(tree_digest(b"d" * 32), "accepted"), (tree_digest(b"e" * 32), "digest_mismatch")]
)
def test_its_digest_is_that_of_its_chunks(digest: str, expected: str) -> None:
    assert came_to(decided(declare(digest=digest), project(2), by_site(1))) == expected


@pytest.mark.parametrize(
    ("project_fields", "membership", "expected"),
    [
        ({}, "active", "accepted"),
        ({}, "invited", "not_found"),
        ({}, "left", "not_found"),
        ({}, None, "not_found"),
        ({"id": "another"}, "active", "not_found"),
        ({"archived_at": NOW}, "active", "project_archived"),
        ({"archived_at": NOW}, "left", "not_found"),
    ],
)
def test_who_may_declare_in_a_project(project_fields: dict[str, Any], membership: str | None, expected: str) -> None:
    rows = [one for one in project(1) if not isinstance(one, r.Project)]
    rows += [*site(1), row(r.Project, **project_fields)]
    rows += [row(r.Membership, site_id=SITES[1], state=membership)] if membership else []
    decision = decided(declare(), rows, by_site(1))
    assert came_to(decision) == expected
    if decision.accepted:
        assert decision.status == 201
        assert answer(decision)["need"] == [0]


@pytest.mark.parametrize(("by", "expected"), [(0, "accepted"), (1, "accepted"), (2, "not_found")])
def test_who_may_delete_an_artifact(by: int, expected: str) -> None:
    rows = [*project(3), row(r.Artifact, id="a"), total(0), share(0)]
    assert came_to(decided(c.DeleteArtifact("a"), rows, by_site(by))) == expected


@pytest.mark.parametrize(("by", "expected"), [(0, "not_found"), (1, "accepted"), (2, "not_found")])
def test_who_may_complete_an_artifact(by: int, expected: str) -> None:
    assert (
        came_to(decided(c.CompleteArtifact("a", b""), [*project(3), row(r.Artifact, id="a")], by_site(by))) == expected
    )


@pytest.mark.parametrize("missing", [1, 10, 12])
def test_which_chunks_are_missing_is_said_of_ten(missing: int) -> None:
    artifact = row(r.Artifact, id="a", size_bytes=13 * CHUNK_BYTES, digest="d", state="declared")
    found = bytes(32) * missing + b"f" * 32 * (13 - missing)
    decision = decided(c.CompleteArtifact("a", found), [*project(2), artifact], by_site(1))
    names = ", ".join(map(str, range(min(missing, 10)))) + (", ..." if missing > 10 else "")
    assert detail(decision).startswith(f"{missing} of 13 chunks of artifact a are not there: {names}; ")


# completing


@pytest.mark.parametrize(("ttl_s", "until"), [(None, None), (1, NOW + SECOND), (86_400, NOW + DAY)])
def test_the_time_that_its_owner_wants_begins_when_it_is_stored(ttl_s: int | None, until: int | None) -> None:
    digests = b"d" * 32
    artifact = row(
        r.Artifact, id="a", size_bytes=1, digest=tree_digest(digests), state="declared", ttl_s=ttl_s, expires_at=NOW - 1
    )
    decision = decided(c.CompleteArtifact("a", digests), [*project(2), artifact, share(1, 1, 1)], by_site(1))
    (stored,) = written(decision, r.Artifact)
    assert (stored.state, stored.stored_at, stored.expires_at) == ("stored", NOW, until)
    assert written(decision, r.ArtifactShare) == [share(1, 0, 0)]


@pytest.mark.parametrize(
    ("state", "found", "expected"),
    [
        ("declared", b"a" * 32 + b"b" * 32, "accepted"),
        ("declared", b"a" * 32 + bytes(32), "chunks_missing"),
        ("declared", b"a" * 32, "chunks_missing"),
        ("declared", b"b" * 32 + b"a" * 32, "chunks_missing"),
        ("declared", b"", "chunks_missing"),
        ("stored", b"", "accepted"),
        ("expired", b"a" * 32 + b"b" * 32, "artifact_expired"),
    ],
)
def test_it_is_stored_once_every_chunk_was_found(state: str, found: bytes, expected: str) -> None:
    digest = tree_digest(b"a" * 32 + b"b" * 32)
    artifact = row(r.Artifact, id="a", size_bytes=CHUNK_BYTES + 1, digest=digest, state=state)
    came = came_to(decided(c.CompleteArtifact("a", found), [*project(2), artifact], by_site(1)))
    assert came == expected


@pytest.mark.parametrize(("ttl_s", "kept"), [(None, None), (1.0, 1), (1.2, 2), (86_400.0, 86_400)])
def test_a_wanted_time_is_kept_in_whole_seconds(ttl_s: float | None, kept: int | None) -> None:
    (artifact,) = written(decided(declare(ttl_s=ttl_s), project(2), by_site(1)), r.Artifact)
    assert (artifact.ttl_s, artifact.expires_at) == (kept, NOW + 7 * DAY)  # until then it is to be completed


# when its time is over, and who needs it

KEEP = Rules(keep_artifacts_s=30 * 86_400.0)


@pytest.mark.parametrize(
    ("fields", "ended_at", "archived_at", "expired"),
    [
        # not completed in time
        ({"state": "declared", "expires_at": NOW}, None, None, True),
        ({"state": "declared", "expires_at": NOW + 1}, None, None, False),
        # what its owner wanted
        ({"ttl_s": 5, "stored_at": NOW - 90 * DAY, "expires_at": NOW}, None, None, True),
        ({"ttl_s": 5, "stored_at": NOW - 90 * DAY, "expires_at": NOW + 1}, None, None, False),
        # of no run: since it was stored
        ({"stored_at": NOW - 30 * DAY}, None, None, True),
        ({"stored_at": NOW - 30 * DAY + 1}, None, None, False),
        # of a run: since that ended, or since it was stored, whichever was later
        ({"run_id": RUN, "stored_at": NOW - 90 * DAY}, NOW - 30 * DAY, None, True),
        ({"run_id": RUN, "stored_at": NOW - 90 * DAY}, NOW - 30 * DAY + 1, None, False),
        ({"run_id": RUN, "stored_at": NOW - 30 * DAY + 1}, NOW - 90 * DAY, None, False),
        ({"run_id": RUN, "stored_at": NOW - 30 * DAY}, NOW - 90 * DAY, None, True),
        # of a live run: never
        ({"run_id": RUN, "stored_at": NOW - 90 * DAY}, None, None, False),
        # a global model: while its project lives
        ({"kind": "model", "message_id": "m", "stored_at": NOW - 90 * DAY}, None, None, False),
        ({"kind": "model", "message_id": "m", "stored_at": NOW - 90 * DAY}, None, NOW - DAY, True),
        ({"kind": "model", "message_id": "m", "ttl_s": 5, "expires_at": NOW}, None, None, False),
        ({"kind": "model", "stored_at": NOW - 90 * DAY}, None, None, True),  # it was never reported
        # once is enough
        ({"state": "expired", "stored_at": NOW - 90 * DAY}, None, None, False),
    ],
)
def test_when_its_time_is_over(
    fields: dict[str, Any], ended_at: int | None, archived_at: int | None, *, expired: bool
) -> None:
    over = row(r.Run, state="succeeded" if ended_at else "running", ended_at=ended_at)
    artifact = row(r.Artifact, **({"id": "a"} | fields))
    rows = [*project(2, archived_at=archived_at), over, artifact, total(0), share(0)]
    decision = decided(c.ExpireArtifacts(["a", "unknown"]), rows, rules=KEEP)
    assert answer(decision) == {"expired": ["a"] if expired else []}
    why = "kept long enough" if artifact.stored_at is not None else "not completed in time"
    assert [one.reason for one in written(decision, r.Artifact)] == ([why] if expired else [])


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        # of the run itself, whose first task is in round 3
        ({"kind": "update", "run_id": RUN, "task_seq": 1, "round": 3}, True),
        ({"kind": "update", "run_id": RUN, "task_seq": 1, "round": 4}, True),
        ({"kind": "update", "run_id": RUN, "task_seq": 1, "round": 2}, False),
        ({"kind": "update", "run_id": RUN, "task_seq": 2, "round": 1}, True),  # that task has not begun
        ({"kind": "log", "run_id": RUN, "task_seq": 1, "round": 1}, True),
        ({"kind": "result", "run_id": RUN}, True),
        ({"kind": "model", "run_id": RUN, "task_seq": 1, "round": 3}, True),  # not reported yet
        ({"kind": "model", "run_id": RUN, "task_seq": 1, "round": 1, "message_id": "old"}, False),
        ({"kind": "model", "run_id": RUN, "task_seq": 1, "round": 2, "message_id": "newest"}, True),
        # of another run, or of none
        ({"kind": "model", "run_id": "before", "task_seq": 1, "round": 2, "message_id": "newest"}, True),
        ({"kind": "result", "run_id": "before"}, False),
        ({"kind": "result"}, False),
        ({"kind": "initial"}, True),
        ({"kind": "initial", "run_id": "before"}, True),
        # what is not stored is needed by nobody
        ({"kind": "initial", "state": "declared"}, False),
    ],
)
@pytest.mark.parametrize("state", ["running", "created", "failed"])
def test_who_needs_it(fields: dict[str, Any], state: str, *, needed: bool) -> None:
    before = row(r.Run, id="before", state="succeeded", number=1)
    live = row(r.Run, state=state, number=2)
    tasks = [task(round=3, model_message_id="newest"), task(seq=2, round=0, state="waiting")]
    artifact = row(r.Artifact, **({"id": "a", "owner_site_id": SITES[0]} | fields))
    rows = [*project(2), before, live, *tasks, artifact, total(0), share(0, of=0)]
    decision = decided(c.DeleteArtifact("a"), rows, by_site(0))
    assert came_to(decision) == ("artifact_needed" if needed and state != "failed" else "accepted")


# carried by a message


@pytest.mark.parametrize(
    ("of_artifact", "run_id", "expected"),
    [
        ({}, None, "accepted"),
        ({}, RUN, "accepted"),
        ({"run_id": RUN}, RUN, "accepted"),
        ({"run_id": RUN}, None, "misplaced"),
        ({"run_id": "another"}, RUN, "misplaced"),
        ({"state": "declared"}, None, "artifact_not_stored"),
        ({"state": "expired"}, None, "artifact_expired"),
        ({"owner_site_id": SITES[0]}, None, "not_found"),
        ({"project_id": "another"}, None, "not_found"),
    ],
)
def test_what_a_message_may_carry(of_artifact: dict[str, Any], run_id: str | None, expected: str) -> None:
    artifact = row(r.Artifact, **({"id": "a"} | of_artifact))
    message = c.NewMessage(project_id=PROJECT, to="coordinator", artifact_id="a", run_id=run_id)
    command = c.PostMessages(sender_site_id=SITES[1], messages=[message])
    assert came_to(decided(command, [*project(2), row(r.Run), artifact], by_site(1))) == expected


@pytest.mark.parametrize(
    ("kind", "bound"), [("result", True), ("initial", True), ("update", False), ("model", False), ("log", False)]
)
def test_what_is_also_sent_as_a_letter_stays_the_runs(kind: str, *, bound: bool) -> None:
    artifact = row(r.Artifact, id="a", kind=kind, run_id=RUN, message_id="of the run", owner_site_id=SITES[0])
    message = c.NewMessage(project_id=PROJECT, to="participants", artifact_id="a", run_id=RUN)
    command = c.PostMessages(sender_site_id=SITES[0], messages=[message])
    decision = decided(command, [*project(2), row(r.Run), artifact], by_site(0))
    (sent,) = written(decision, r.Message)
    assert [one.message_id for one in written(decision, r.Artifact)] == ([sent.id] if bound else [])


@pytest.mark.parametrize(
    ("of_artifact", "expected"),
    [
        ({}, "accepted"),
        ({"kind": "model"}, "misplaced"),
        ({"kind": "result"}, "misplaced"),
        ({"run_id": "another"}, "misplaced"),
        ({"task_seq": 2}, "misplaced"),
        ({"round": 2}, "misplaced"),
        ({"round": None}, "misplaced"),
    ],
)
def test_an_update_is_what_was_declared_as_it(of_artifact: dict[str, Any], expected: str) -> None:
    declared = {"id": "a", "kind": "update", "run_id": RUN, "task_seq": 1, "round": 1, "size_bytes": 7, "digest": "d"}
    rows = [*run(["training", "training"], "training"), row(r.Artifact, **(declared | of_artifact))]
    command = c.ReportSeat(RUN, 1, SITES[1], Report.SUBMIT, seq=1, round=1, update_artifact_id="a")
    decision = decided(command, rows, by_site(1))
    assert came_to(decision) == expected
    if decision.accepted:
        (message,) = written(decision, r.Message)
        assert (message.size_bytes, message.sha256, message.body) == (7, "d", None)
        assert [one.message_id for one in written(decision, r.Artifact)] == [message.id]
