"""Messages, inboxes and what a site still holds of them, as tables of examples."""

from __future__ import annotations

from typing import Any

import pytest

from domain import codec
from domain import commands as c
from domain import records as r
from domain.chain import mark_of
from domain.decisions.backlog import add_to_backlog
from domain.decisions.draft import Refused
from domain.decisions.recovery import GAP, MAX_MOVED, MOVED
from domain.rules import Rules
from domain.sweeps import AcknowledgeEntries, ForgetBefore, QueueEntries
from fedyard.wire.problems import ProblemType
from tests.domain.scenes import (
    CAUSE,
    DAY,
    NOW,
    PROJECT,
    RUN,
    SECOND,
    SITES,
    answer,
    by_account,
    by_site,
    came_to,
    decided,
    draft,
    project,
    row,
    site,
    written,
)

# who may write to whom


@pytest.mark.parametrize(
    ("sender", "to", "expected"),
    [
        (0, "coordinator", [0]),
        (1, "coordinator", [0]),
        (0, "participants", [1, 2]),
        (1, "participants", "coordinator_only"),
        (0, [1], [1]),
        (0, [2, 1, 2], [1, 2]),
        (0, [0, 2], [0, 2]),
        (1, [0], [0]),
        (1, [0, 0], [0]),
        (1, [2], "coordinator_only"),
        (1, [0, 2], "coordinator_only"),
        (0, [1, 4], "not_a_member"),
        (4, "coordinator", "not_found"),
    ],
)
def test_who_gets_a_message(sender: int, to: Any, expected: list[int] | str) -> None:
    rows = [*project(3), *site(4)]
    message = c.NewMessage(project_id=PROJECT, to=to if isinstance(to, str) else [SITES[n] for n in to], body=b"hello")
    decision = decided(c.PostMessages(sender_site_id=SITES[sender], messages=[message]), rows, by_site(sender))
    if isinstance(expected, str):
        assert came_to(decision) == expected
    else:
        assert [entry.site_id for entry in written(decision, r.InboxEntry)] == [SITES[n] for n in expected]
        assert [one.recipient_count for one in written(decision, r.Message)] == [len(expected)]


def test_nobody_is_no_recipient() -> None:
    message = c.NewMessage(project_id=PROJECT, to="participants", body=b"hello")
    decision = decided(c.PostMessages(sender_site_id=SITES[0], messages=[message]), project(1), by_site(0))
    assert came_to(decision) == "no_recipients"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("message", "accepted"), ("update", "kind_reserved"), ("model", "kind_reserved"), ("models", "accepted")],
)
def test_what_comes_from_runs_alone(kind: str, expected: str) -> None:
    message = c.NewMessage(project_id=PROJECT, to="coordinator", body=b"", kind=kind)
    decision = decided(c.PostMessages(sender_site_id=SITES[1], messages=[message]), project(2), by_site(1))
    assert came_to(decision) == expected


@pytest.mark.parametrize(
    ("fields", "archived_at", "expected"),
    [
        ({"body": b""}, None, "accepted"),
        ({}, None, "no_payload"),
        ({"body": b"hello", "run_id": RUN}, None, "accepted"),
        ({"body": b"hello", "run_id": "unknown"}, None, "not_found"),
        ({"body": b"hello", "run_id": "elsewhere"}, None, "not_found"),
        ({"body": b"hello"}, NOW, "project_archived"),
    ],
)
def test_which_message_is_taken(fields: dict[str, Any], archived_at: int | None, expected: str) -> None:
    rows = [*project(2, archived_at=archived_at), row(r.Run), row(r.Run, id="elsewhere", project_id="another")]
    message = c.NewMessage(project_id=PROJECT, to="coordinator", **fields)
    decision = decided(c.PostMessages(SITES[1], [message]), rows, by_site(1))
    assert came_to(decision) == expected
    if decision.accepted:
        assert decision.status == 201
        assert [(one.body, one.run_id) for one in written(decision, r.Message)] == [
            (fields["body"], fields.get("run_id"))
        ]


@pytest.mark.parametrize(
    ("ttl_s", "default_s", "kept"),
    [(None, 604_800.0, 7 * DAY), (None, 1.5, 1_500_000), (60.0, 604_800.0, 60 * SECOND), (2.25, 1.0, 2_250_000)],
)
def test_how_long_a_message_is_kept(ttl_s: float | None, default_s: float, kept: int) -> None:
    message = c.NewMessage(project_id=PROJECT, to="coordinator", body=b"hello", ttl_s=ttl_s)
    command = c.PostMessages(sender_site_id=SITES[1], messages=[message])
    decision = decided(command, project(2), by_site(1), rules=Rules(message_ttl_s=default_s))
    assert [one.expires_at for one in written(decision, r.Message)] == [NOW + kept]


@pytest.mark.parametrize(
    ("expires_at", "expired_at", "expired"),
    [(NOW, None, True), (NOW - 1, None, True), (NOW + 1, None, False), (NOW - DAY, NOW - DAY, False)],
)
def test_what_expires(expires_at: int, expired_at: int | None, *, expired: bool) -> None:
    message = row(r.Message, id="m", sender_site_id=SITES[0], expires_at=expires_at, expired_at=expired_at)
    entries = [
        row(r.InboxEntry, site_id=SITES[n], seq=1, message_id="m", state=state)
        for n, state in ((1, "queued"), (2, "acknowledged"))
    ]
    decision = decided(c.ExpireMessages(message_ids=["m", "unknown"]), [*project(3), message, *entries])
    assert answer(decision) == {"expired": ["m"] if expired else []}
    found = [(e.site_id, e.kind, e.state) for e in written(decision, r.InboxEntry)]
    assert found == ([(SITES[0], "message_expired", "queued"), (SITES[1], "expired", "expired")] if expired else [])


@pytest.mark.parametrize(
    ("commands_s", "inbox_s", "sweep"),
    [
        (604_800.0, 604_800.0, ForgetBefore(NOW - 7 * DAY, NOW - 7 * DAY)),
        (1.5, 86_400.0, ForgetBefore(NOW - 1_500_000, NOW - DAY)),
        (0.0, 0.0, ForgetBefore(NOW, NOW)),
    ],
)
def test_what_is_forgotten(commands_s: float, inbox_s: float, sweep: ForgetBefore) -> None:
    decision = decided(c.ForgetHistory(), [], rules=Rules(keep_commands_s=commands_s, keep_inbox_s=inbox_s))
    assert decision.sweeps == (sweep,)
    assert decision.records == ()


# backlog: how much of a sender's may lie unread

FEW = Rules(backlog_messages=3, backlog_bytes=100)


def backlog(**fields: Any) -> r.Backlog:
    return r.Backlog(sender_site_id=SITES[0], site_id=SITES[1], **fields)


def later(count: int, size: int, seq: int, until: int = NOW + DAY) -> dict[str, int]:
    return {"later_count": count, "later_bytes": size, "later_seq": seq, "later_until": until}


def earlier(count: int, size: int, seq: int, until: int = NOW + DAY) -> dict[str, int]:
    return {"earlier_count": count, "earlier_bytes": size, "earlier_seq": seq, "earlier_until": until}


@pytest.mark.parametrize(
    ("before", "acknowledged", "after"),
    [
        # the first one
        ({}, 0, later(1, 10, 8)),
        ({}, 7, later(1, 10, 8)),
        # unread: the later span becomes the earlier one, once
        (later(2, 20, 5), 0, earlier(2, 20, 5) | later(1, 10, 8)),
        (later(2, 20, 5), 4, earlier(2, 20, 5) | later(1, 10, 8)),
        (earlier(1, 5, 3) | later(2, 20, 5), 0, earlier(1, 5, 3) | later(3, 30, 8)),
        (earlier(1, 5, 3) | later(2, 20, 5), 2, earlier(1, 5, 3) | later(3, 30, 8)),
        # the earlier span was read
        (earlier(1, 5, 3) | later(2, 20, 5), 3, earlier(2, 20, 5) | later(1, 10, 8)),
        # all was read
        (later(2, 20, 5), 5, later(1, 10, 8)),
        (earlier(1, 5, 3) | later(2, 20, 5), 5, later(1, 10, 8)),
        # or has expired
        (later(2, 20, 5, NOW), 0, later(1, 10, 8)),
        (later(2, 20, 5, NOW + 1), 0, earlier(2, 20, 5, NOW + 1) | later(1, 10, 8)),
        (earlier(1, 5, 3, NOW) | later(2, 20, 5), 0, earlier(2, 20, 5) | later(1, 10, 8)),
        (earlier(1, 5, 3, NOW + 1) | later(2, 20, 5), 0, earlier(1, 5, 3, NOW + 1) | later(3, 30, 8)),
    ],
)
def test_what_is_counted_when_one_more_is_sent(
    before: dict[str, int], acknowledged: int, after: dict[str, int]
) -> None:
    box = r.Mailbox(site_id=SITES[1], last_seq=7, acknowledged_seq=acknowledged)
    made = draft([box, backlog(**before)])
    add_to_backlog(made, SITES[0], SITES[1], 10, NOW + DAY)
    assert made.get(r.Backlog, SITES[0], SITES[1]) == backlog(**after)


@pytest.mark.parametrize(
    ("count", "size", "more", "fits"),
    [
        (0, 0, 10, True),
        (2, 20, 80, True),
        (2, 20, 81, False),
        (3, 20, 1, False),
        (0, 0, 1000, True),  # a single one may have any size
        (1, 1, 100, False),
        (2, 100, 0, True),
    ],
)
def test_how_much_may_lie_unread(count: int, size: int, more: int, *, fits: bool) -> None:
    made = draft([r.Mailbox(site_id=SITES[1], last_seq=7), backlog(**later(count, size, 5))], rules=FEW)
    if fits:
        add_to_backlog(made, SITES[0], SITES[1], more, NOW + DAY)
    else:
        with pytest.raises(Refused) as refused:
            add_to_backlog(made, SITES[0], SITES[1], more, NOW + DAY)
        assert refused.value.problem == ProblemType.BACKLOG_FULL


@pytest.mark.parametrize(
    ("sizes", "more", "fits"), [((10, 20), 70, True), ((10, 20), 71, False), ((50, 50), 0, True), ((0, 60), 41, False)]
)
def test_both_spans_count(sizes: tuple[int, int], more: int, *, fits: bool) -> None:
    one, two = sizes
    for counts in ((1, 1), (2, 1), (1, 2)):
        rows = [
            r.Mailbox(site_id=SITES[1], last_seq=7),
            backlog(**earlier(counts[0], one, 3), **later(counts[1], two, 5)),
        ]
        made = draft(rows, rules=FEW)
        if fits and sum(counts) < 3:
            add_to_backlog(made, SITES[0], SITES[1], more, NOW + DAY)
            assert made.have(r.Backlog, SITES[0], SITES[1]).later_bytes == two + more
        else:
            with pytest.raises(Refused, match=f"^{sum(counts)} messages of {one + two} bytes .* 3 of 100 bytes"):
                add_to_backlog(made, SITES[0], SITES[1], more, NOW + DAY)


def test_a_span_lasts_as_long_as_the_last_of_its_messages() -> None:
    made = draft(
        [r.Mailbox(site_id=SITES[1], last_seq=7), backlog(**earlier(1, 1, 3), **later(1, 1, 5, NOW + 2 * DAY))]
    )
    add_to_backlog(made, SITES[0], SITES[1], 1, NOW + DAY)
    assert made.have(r.Backlog, SITES[0], SITES[1]).later_until == NOW + 2 * DAY
    add_to_backlog(made, SITES[0], SITES[1], 1, NOW + 3 * DAY)
    assert made.have(r.Backlog, SITES[0], SITES[1]).later_until == NOW + 3 * DAY


# acknowledging, and a history that went back

MARKS = {seq: f"{seq:032x}" for seq in range(20)}
OTHER = "f" * 32


def inbox(last: int, acknowledged: int) -> list[r.Record]:
    """The first site's inbox, whose entries are marked with their numbers."""
    rows: list[r.Record] = [*site(0), r.Mailbox(SITES[0], last, acknowledged, MARKS[last])]
    rows += [row(r.InboxEntry, site_id=SITES[0], seq=seq, mark=MARKS[seq]) for seq in range(1, last + 1)]
    return [*rows, r.History(one=1, history_id="now", since=NOW - DAY, fingerprint="f", changes=1, reason="restored")]


@pytest.mark.parametrize(
    ("through", "mark", "expected"),
    [
        (5, MARKS[5], 5),
        (5, None, 5),
        (10, MARKS[10], 10),
        (10, None, 10),
        # what was acknowledged is not asked for again
        (3, MARKS[3], 3),
        (2, OTHER, 3),
        (3, OTHER, 3),
        (0, None, 3),
        # another entry than the hub has, or one that it has not
        (4, OTHER, "history_went_back"),
        (10, OTHER, "history_went_back"),
        (11, None, "history_went_back"),
        (11, MARKS[11], "history_went_back"),
    ],
)
def test_what_is_acknowledged(through: int, mark: str | None, expected: int | str) -> None:
    """Of an inbox with ten entries, three of which are acknowledged."""
    command = c.AcknowledgeInbox(site_id=SITES[0], through=through, mark=mark)
    decision = decided(command, inbox(10, 3), by_site(0))
    if isinstance(expected, str):
        assert came_to(decision) == expected
        return
    assert answer(decision) == {"acknowledged_seq": expected}
    assert decision.sweeps == ((AcknowledgeEntries(SITES[0], expected, NOW),) if expected > 3 else ())


def test_entries_from_before_marks_were_kept_are_believed() -> None:
    rows = [*inbox(10, 3), row(r.InboxEntry, site_id=SITES[0], seq=6, mark="")]
    assert came_to(decided(c.AcknowledgeInbox(SITES[0], 6, OTHER), rows, by_site(0))) == "accepted"
    rows.append(r.Mailbox(SITES[0], 10, 3, ""))
    assert came_to(decided(c.AcknowledgeInbox(SITES[0], 10, OTHER), rows, by_site(0))) == "accepted"


@pytest.mark.parametrize(
    ("last", "marks", "common", "read_after", "moved"),
    [
        # both have the same: nothing moves
        (10, {10: 10}, 10, 10, []),
        (7, {7: 7, 6: 6}, 7, 7, []),
        (2, {2: 2}, 2, 2, []),
        (0, {}, 0, 0, []),
        # the site has more than the hub, or something else: what the hub has behind the common entry comes again
        (14, {14: 14, 10: 10}, 10, 14 + GAP, []),
        (14, {14: 14, 12: 12, 8: 8}, 8, 14 + GAP, [9, 10]),
        (10, {10: 0, 9: 0, 8: 8, 7: 7}, 8, 10 + GAP, [9, 10]),
        (8, {8: 0, 6: 6}, 6, 10 + GAP, [7, 8, 9, 10]),
        # no mark in common: what was acknowledged is sure
        (9, {9: 0}, 3, 10 + GAP, [4, 5, 6, 7, 8, 9, 10]),
        (2, {2: 0}, 2, 2, []),
        (14, {}, 3, 14 + GAP, [4, 5, 6, 7, 8, 9, 10]),
    ],
)
def test_where_a_site_reads_on(
    last: int, marks: dict[int, int], common: int, read_after: int, moved: list[int]
) -> None:
    """Of an inbox with ten entries, three of which are acknowledged."""
    held = [c.HeldMark(seq, MARKS[mark] if mark else OTHER) for seq, mark in marks.items()]
    decision = decided(c.RecoverSite(SITES[0], "before", last, held), inbox(10, 3), by_site(0))
    said = answer(decision)
    assert (said["common_seq"], said["read_after"]) == (common, read_after)
    entries = {entry.seq: entry for entry in written(decision, r.InboxEntry)}
    assert [seq for seq, entry in entries.items() if entry.state == "moved"] == moved
    assert [seq for seq, entry in entries.items() if entry.state == "queued"] == [
        read_after + place for place in range(1, len(moved) + 1)
    ]
    box = next((one for one in written(decision, r.Mailbox)), None)
    if read_after > common:
        assert box is not None
        assert (box.last_seq, box.acknowledged_seq) == (read_after + len(moved), read_after)
    elif common > 3:
        assert decision.sweeps == (AcknowledgeEntries(SITES[0], common, NOW),)
    elif common < 3:
        assert decision.sweeps == (QueueEntries(SITES[0], common),)


def test_the_numbers_left_out_are_a_link_of_the_chain() -> None:
    decision = decided(c.RecoverSite(SITES[0], None, 14, [c.HeldMark(10, MARKS[10])]), inbox(10, 3), by_site(0))
    (recovery,) = written(decision, r.Recovery)
    assert recovery.mark == answer(decision)["mark"] == mark_of(MARKS[10], 14 + GAP, CAUSE, "recovered")


def test_only_the_site_itself_knows_what_it_holds() -> None:
    subject, account = by_account("admin")
    for by in (subject, by_site(1), codec.THE_HUB):
        assert (
            came_to(decided(c.RecoverSite(SITES[0], None, 10), [*inbox(10, 3), *site(1), account], by)) == "forbidden"
        )


def test_the_same_claim_again_has_the_same_answer_and_changes_nothing() -> None:
    command = c.RecoverSite(SITES[0], "before", 14, [c.HeldMark(8, MARKS[8])])
    first = decided(command, inbox(10, 3), by_site(0))
    rows = [*inbox(10, 3), *(one for one in first.records if isinstance(one, r.Mailbox | r.Recovery | r.InboxEntry))]
    again = decided(command, rows, by_site(0))
    assert answer(again) == answer(first)
    assert (again.records, again.sweeps) == ((), ())
    other = decided(c.RecoverSite(SITES[0], "before", 15, [c.HeldMark(8, MARKS[8])]), rows, by_site(0))
    assert answer(other)["read_after"] > answer(first)["read_after"]


@pytest.mark.parametrize(
    ("there", "expected"),
    [(0, "accepted"), (1, "accepted"), (MAX_MOVED - 2, "accepted"), (MAX_MOVED - 1, "too_many")],
)
def test_how_many_entries_move_in_a_day(there: int, expected: str) -> None:
    rows = inbox(10, 3)
    command = c.RecoverSite(SITES[0], None, 14, [c.HeldMark(8, MARKS[8])])  # two entries move
    assert came_to(decided(command, rows, by_site(0), counts={(MOVED, SITES[0]): there})) == expected
