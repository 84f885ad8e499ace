"""A hub whose history went back: what sites are told, and what is in force again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from domain import commands as c
from domain import records as r
from domain.chain import mark_of
from domain.decisions.recovery import GAP, MAX_MOVED
from domain.events import EventKind
from domain.ids import derive, sha256_hex
from domain.ledger import name_of_enrolment, name_of_key, name_of_token
from domain.states import Report, RunState, SeatState
from domain.values import Subject
from fedyard.wire.notices import Notice
from fedyard.wire.times import SECOND
from storage.database import Database
from storage.tables import COLUMNS
from tests.actors.test_messages import post
from tests.hub import Hub
from tests.restoring import Backups, Holding

Backup = Callable[[], Callable[[], Hub]]


@pytest.fixture
def keep(database: Database, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Backup]:
    """Keeps the store as it is; what it gives opens a hub on that, ten seconds later."""
    backups = Backups(database, tmp_path, request.getfixturevalue("postgres") if database.postgres else None)
    opened: list[Database] = []

    def kept() -> Callable[[], Hub]:
        copy = backups.keep()

        def restored() -> Hub:
            hub = Hub(copy())
            opened.append(hub.database)
            hub.clock.sleep(10)
            hub.sent = 10_000  # other commands than those that are lost
            return hub

        return restored

    yield kept
    for one in opened:
        one.close()


def problem(hub: Hub, command: c.AnyCommand, by: Subject) -> dict[str, Any]:
    outcome = hub.send(command, by)
    assert outcome.state == "rejected"
    found: dict[str, Any] = json.loads(outcome.answer_json)
    return found


def box(hub: Hub, site: Subject) -> r.Mailbox:
    return hub.rows(r.Mailbox, "site_id = %s", site.id)[0]


def events(hub: Hub, kind: EventKind) -> list[r.Event]:
    return hub.rows(r.Event, "kind = %s", kind)


class Scene:
    """A coordinator and a participant, and what the participant holds."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.sites = hub.sites(2)
        self.project = hub.project(self.sites)
        self.holding = Holding(self.sites[1])

    def write(self, hub: Hub, body: bytes) -> None:
        hub.ok(post(self.sites[0], self.project, "participants", body), self.sites[0])

    def read(self, hub: Hub) -> list[bytes]:
        """Bodies of the messages that come, as the participant reads on."""
        messages = [entry.message_id for entry in self.holding.read(hub) if entry.kind == Notice.MESSAGE]
        return [bytes(hub.rows(r.Message, "id = %s", ident)[0].body) for ident in messages]


@pytest.fixture
def scene(hub: Hub) -> Scene:
    return Scene(hub)


def astray(site: Subject, number: int) -> c.RecoverSite:
    """A claim without a mark, of something far beyond the end."""
    return c.RecoverSite(site_id=site.id, history_id=None, last_seq=number * 10_000_000, marks=[])


def moved_before(hub: Hub, site: Subject, count: int) -> None:
    """So many more entries that an earlier recovery has moved."""
    columns = ", ".join(name for name in COLUMNS[r.InboxEntry] if name != "seq")
    with hub.database.connection():
        hub.database.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %s)"
            f" INSERT INTO inbox (seq, {columns}) SELECT 1000000 + n.i, {columns} FROM n, inbox"
            " WHERE site_id = %s AND seq = (SELECT min(seq) FROM inbox WHERE site_id = %s AND state = 'moved')",
            (count, site.id, site.id),
        )


class TestMarks:
    def test_entries_are_a_chain(self, hub: Hub, scene: Scene) -> None:
        for number in range(3):
            scene.write(hub, b"%d" % number)
        entries = hub.inbox(scene.sites[1])
        before = ""
        for entry in entries:
            assert len(entry.mark) == 32
            assert entry.mark != before
            before = entry.mark
        assert box(hub, scene.sites[1]).mark == before

    def test_a_mark_says_what_was_before(self) -> None:
        one = mark_of("", 1, "a", "message")
        assert one == mark_of("", 1, "a", "message")
        others = {mark_of("", 1, "b", "message"), mark_of("", 2, "a", "message"), mark_of("", 1, "a", "invited")}
        assert len(others | {one, mark_of(one, 1, "a", "message")}) == 5

    def test_the_same_number_has_another_mark_in_another_history(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        restored = keep()
        scene.write(hub, b"lost")
        scene.read(hub)
        later = restored()
        scene.write(later, b"another")
        assert later.inbox(scene.sites[1])[-1].seq == scene.holding.read_after
        assert later.inbox(scene.sites[1])[-1].mark != scene.holding.mark


class TestAcknowledging:
    def test_beyond_the_end_the_history_went_back(self, hub: Hub, scene: Scene) -> None:
        last_seq = box(hub, scene.sites[1]).last_seq
        said = problem(hub, c.AcknowledgeInbox(site_id=scene.sites[1].id, through=last_seq + 1), scene.sites[1])
        history = hub.rows(r.History)[0].history_id
        assert said["type"] == "/problems/history_went_back"
        assert (said["status"], said["history_id"], said["last_seq"]) == (409, history, last_seq)

    def test_what_the_site_never_saw_is_not_acknowledged(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        restored = keep()
        for body in (b"lost", b"lost too"):
            scene.write(hub, body)
        scene.read(hub)
        later = restored()
        for body in (b"new", b"newer", b"newest"):
            scene.write(later, body)
        assert problem(later, scene.holding.acknowledgement(), scene.sites[1])["type"].endswith("history_went_back")
        assert [e.state for e in later.inbox(scene.sites[1]) if e.kind == Notice.MESSAGE] == ["queued"] * 3

    def test_with_its_marks_it_is(self, hub: Hub, scene: Scene) -> None:
        for number in range(3):
            scene.write(hub, b"%d" % number)
        scene.holding.read(hub)
        middle = sorted(scene.holding.entries)[-2]
        earlier = c.AcknowledgeInbox(site_id=scene.sites[1].id, through=middle, mark=scene.holding.entries[middle].mark)
        assert hub.ok(earlier, scene.sites[1])["acknowledged_seq"] == middle
        wrong = c.AcknowledgeInbox(site_id=scene.sites[1].id, through=middle + 1, mark="0" * 32)
        assert hub.refused(wrong, scene.sites[1]) == (409, "history_went_back")
        hub.ok(scene.holding.acknowledgement(), scene.sites[1])
        hub.ok(earlier, scene.sites[1])  # late: changes nothing
        assert box(hub, scene.sites[1]).acknowledged_seq == scene.holding.read_after


class TestInbox:
    def test_what_came_since_comes_again_under_other_numbers(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        scene.write(hub, b"kept")
        restored = keep()
        for body in (b"lost", b"lost too"):
            scene.write(hub, body)
        assert scene.read(hub) == [b"kept", b"lost", b"lost too"]
        later = restored()
        for body in (b"new", b"newer", b"newest"):
            scene.write(later, body)
        highest = max(scene.holding.entries)
        common = highest - 2
        end = box(later, scene.sites[1]).last_seq
        answer = scene.holding.recover(later)
        assert (answer["common_seq"], answer["read_after"]) == (common, max(highest, end) + GAP)
        assert scene.read(later) == [b"new", b"newer", b"newest"]
        later.ok(scene.holding.acknowledgement(), scene.sites[1])
        scene.write(later, b"then")
        assert scene.read(later) == [b"then"]
        moved = [entry for entry in later.inbox(scene.sites[1]) if common < entry.seq <= end]
        assert {(entry.kind, entry.state, entry.message_id) for entry in moved} == {("moved", "moved", None)}
        assert len(events(later, EventKind.SITE_RECOVERED)) == 1

    def test_claims_of_one_site_have_the_hub_write_so_much_anew_in_a_day(self, hub: Hub, scene: Scene) -> None:
        """A site that says again and again that it holds what the hub does not have."""
        for number in range(5):
            scene.write(hub, b"%d" % number)
        one, two = scene.sites
        before = len(hub.inbox(two))
        for number in (1, 2):
            hub.ok(astray(two, number), two)
        assert len(hub.inbox(two)) == 3 * before
        moved_before(hub, two, MAX_MOVED - 3 * before)
        hub.ok(astray(two, 3), two)
        assert hub.refused(astray(two, 4), two) == (409, "too_many")
        hub.ok(astray(one, 1), one)  # another's day is its own
        hub.clock.sleep(86_401)
        hub.ok(astray(two, 4), two)

    def test_the_chain_goes_on(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        restored = keep()
        scene.write(hub, b"lost")
        scene.read(hub)
        later = restored()
        scene.write(later, b"new")
        scene.holding.recover(later)
        scene.read(later)
        assert box(later, scene.sites[1]).mark == scene.holding.mark
        later.ok(scene.holding.acknowledgement(), scene.sites[1])

    def test_nothing_new_at_the_hub(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        restored = keep()
        scene.write(hub, b"lost")
        scene.read(hub)
        later = restored()
        answer = scene.holding.recover(later)
        assert answer["read_after"] == max(scene.holding.entries) + GAP
        scene.write(later, b"new")
        assert later.inbox(scene.sites[1])[-1].seq == answer["read_after"] + 1
        assert scene.read(later) == [b"new"]

    def test_a_site_that_had_not_read_what_was_lost_reads_on(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        scene.write(hub, b"kept")
        scene.read(hub)
        restored = keep()
        scene.write(hub, b"lost")
        later = restored()
        scene.write(later, b"new")
        answer = scene.holding.recover(later)
        assert answer["read_after"] == answer["common_seq"] == max(scene.holding.entries)
        assert scene.read(later) == [b"new"]
        assert box(later, scene.sites[1]).acknowledged_seq == answer["common_seq"]

    def test_recovering_again_changes_nothing(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        restored = keep()
        scene.write(hub, b"lost")
        scene.read(hub)
        later = restored()
        scene.write(later, b"new")
        claim = scene.holding.claim()
        first = later.ok(claim, scene.sites[1], key="one")
        before = later.inbox(scene.sites[1])
        assert later.ok(claim, scene.sites[1], key="one") == first
        assert later.ok(claim, scene.sites[1], key="another") == first
        assert later.inbox(scene.sites[1]) == before
        assert len(events(later, EventKind.SITE_RECOVERED)) == 1

    def test_restored_twice(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        """Also to before a recovery: numbers are new each time."""
        restored = keep()
        scene.write(hub, b"lost")
        scene.read(hub)
        later = restored()
        scene.write(later, b"new")
        scene.holding.recover(later)
        assert scene.read(later) == [b"new"]
        latest = restored()
        scene.write(latest, b"newest")
        used = set(scene.holding.entries)
        scene.holding.recover(latest)
        assert scene.read(latest) == [b"newest"]
        assert max(scene.holding.entries) > max(used) + GAP

    def test_restored_again_before_anything_came(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        """Where a site was told to read on is a number that was used, too."""
        restored = keep()
        scene.write(hub, b"lost")
        scene.read(hub)
        first = scene.holding.recover(restored())
        second = scene.holding.recover(restored())
        assert second["read_after"] == first["read_after"] + GAP  # type: ignore[operator]

    def test_of_marks_that_reach_not_far_enough_nothing_is_missed(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        """Then what was acknowledged is what is sure."""
        scene.write(hub, b"acknowledged")
        scene.read(hub)
        hub.ok(scene.holding.acknowledgement(), scene.sites[1])
        scene.write(hub, b"kept")
        restored = keep()
        for number in range(3):
            scene.write(hub, b"lost %d" % number)
        scene.read(hub)
        later = restored()
        claim = scene.holding.claim()
        answer = later.ok(
            c.RecoverSite(site_id=claim.site_id, history_id=None, last_seq=claim.last_seq, marks=claim.marks[:2]),
            scene.sites[1],
        )
        scene.holding.read_after = answer["read_after"]
        assert scene.read(later) == [b"kept"]

    def test_what_a_site_has_lost_is_not_shown_as_acknowledged(self, hub: Hub, scene: Scene) -> None:
        """The site's own disk went back, not the hub."""
        scene.write(hub, b"one")
        scene.read(hub)
        older = Holding(scene.sites[1])
        older.entries, older.read_after = dict(scene.holding.entries), scene.holding.read_after
        scene.write(hub, b"two")
        scene.read(hub)
        hub.ok(scene.holding.acknowledgement(), scene.sites[1])
        answer = older.recover(hub)
        assert answer["read_after"] == max(older.entries)
        assert [entry.state for entry in hub.inbox(scene.sites[1])][-1] == "queued"
        assert len(older.read(hub)) == 1

    def test_an_expired_message_of_the_new_history_is_told_once(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        restored = keep()
        scene.write(hub, b"lost")
        scene.read(hub)
        later = restored()
        later.ok(post(scene.sites[0], scene.project, "participants", b"short", ttl_s=5), scene.sites[0])
        scene.holding.recover(later)
        later.clock.sleep(60)
        ids = [message.id for message in later.rows(r.Message)]
        later.ok(c.ExpireMessages(message_ids=ids))
        told = [entry for entry in later.inbox(scene.sites[0]) if entry.kind == Notice.MESSAGE_EXPIRED]
        assert json.loads(told[0].facts_json)["recipients"] == [scene.sites[1].id]

    def test_only_the_site_itself_recovers(self, hub: Hub, scene: Scene) -> None:
        member = hub.account(scene.sites[1].organisation_id or "", "member")
        assert hub.refused(scene.holding.claim(), member)[0] == 403
        assert hub.refused(scene.holding.claim(), scene.sites[0])[0] in (403, 404)


def held_key(command: c.PutSiteKey, **more: Any) -> c.HeldKey:
    return c.HeldKey(
        epoch=command.epoch,
        public_key=command.public_key,
        suite=command.suite,
        created_at=command.created_at,
        expires_at=command.expires_at,
        signature=command.signature,
        **more,
    )


class TestKeys:
    def test_later_epochs_are_put_again_and_revoked_stays_revoked(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        site = scene.sites[1]
        first, second, third = (hub.key(site, epoch) for epoch in (1, 2, 3))
        hub.ok(first, site)
        restored = keep()
        hub.ok(second, site)
        hub.ok(c.RevokeSiteKey(site_id=site.id, epoch=1, reason="stolen"), site)
        hub.ok(c.RevokeSiteKey(site_id=site.id, epoch=2), site)
        hub.ok(third, site)
        later = restored()
        keys = [held_key(first, revoked=True, reason="stolen"), held_key(second, revoked=True), held_key(third)]
        answer = scene.holding.recover(later, keys=keys)
        found = {key.epoch: (key.state, key.reason) for key in later.rows(r.SiteKey)}
        assert answer["keys_conflicting"] == []
        assert found[1] == ("revoked", "stolen")
        assert (found[2][0], found[3][0]) == ("revoked", "current")

    def test_another_key_of_the_same_epoch_is_told(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        site = scene.sites[1]
        restored = keep()
        lost = hub.key(site, 1)
        hub.ok(lost, site)
        later = restored()
        later.ok(later.key(site, 1, public_key=b"\7" * 1216), site)
        assert scene.holding.recover(later, keys=[held_key(lost)])["keys_conflicting"] == [1]

    def test_they_are_no_way_around_the_limits_of_keys(self, hub: Hub, scene: Scene) -> None:
        """Nothing went back: a site claims epochs that it never stated, and whoever seals to it is told of each."""
        site = scene.sites[1]
        claimed = [held_key(hub.key(site, epoch)) for epoch in range(1, 101)]
        assert scene.holding.recover(hub, keys=claimed)["keys_conflicting"] == list(range(51, 101))
        assert len(hub.rows(r.SiteKey)) == 50
        assert hub.refused(hub.key(site, 51), site) == (409, "too_many")

    def test_what_the_ledger_names_is_revoked_when_it_comes_back(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        """An administrator had revoked it, and the site was not told."""
        site = scene.sites[1]
        key = hub.key(site, 1)
        restored = keep()
        hub.ok(key, site)
        digest = hub.rows(r.SiteKey)[0].digest
        hub.ok(c.RevokeSiteKey(site_id=site.id, epoch=1))
        later = restored()
        later.ok(c.RevokeAgain(names=[name_of_key(site.id, 1, digest)]))
        scene.holding.recover(later, keys=[held_key(key)])
        assert later.rows(r.SiteKey)[0].state == "revoked"


class TestRevocations:
    def test_tokens_enrolments_keys_sites_and_accounts(self, hub: Hub, keep: Backup) -> None:
        organisation = hub.organisation("hospital")
        site, account = hub.site("a site", organisation), hub.account(organisation, "member")
        stays = hub.site("another", organisation)
        hub.ok(hub.key(stays, 1), stays)
        secret, enrolment = sha256_hex(b"a token"), sha256_hex(b"an enrolment")
        issue = c.IssueToken(owner_kind="site", owner_id=stays.id, sha256=secret, label="spare", scopes=["read"])
        token = hub.ok(issue, stays)["id"]
        expires = hub.clock.now() + 3600 * SECOND
        hub.ok(c.CreateEnrolment(organisation_id=organisation, sha256=enrolment, note="", expires_at=expires))
        restored = keep()
        digest = hub.rows(r.SiteKey)[0].digest
        later = restored()
        names = [
            name_of_token(secret),
            name_of_enrolment(enrolment),
            name_of_key(stays.id, 1, digest),
            f"site-{site.id}",
            f"account-{account.id}",
            f"token-{'0' * 64}",
            "token-12",
        ]
        assert later.ok(c.RevokeAgain(names=names))["revoked"] == names[:5]
        assert later.rows(r.Token, "id = %s", token)[0].revoked_at is not None
        assert later.rows(r.Enrolment, "sha256 = %s", enrolment)[0].used_at is not None
        assert later.rows(r.SiteKey)[0].state == "revoked"
        assert later.rows(r.Site, "id = %s", site.id)[0].state == "retired"
        assert later.rows(r.Account, "id = %s", account.id)[0].disabled_at is not None
        assert later.ok(c.RevokeAgain(names=names))["revoked"] == []

    def test_a_revoked_secret_cannot_be_registered_again(self, hub: Hub) -> None:
        """A site repeats the request that the restored hub has forgotten; the token was revoked since."""
        site = hub.site("a site")
        secret = sha256_hex(b"a token")
        hub.ok(c.RevokeAgain(names=[name_of_token(secret)]))
        issue = c.IssueToken(owner_kind="site", owner_id=site.id, sha256=secret, label="spare", scopes=["read"])
        assert hub.refused(issue, site) == (409, "token_taken")

    def test_tokens_that_the_site_was_told_of(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        site, other = scene.sites[1], scene.sites[0]
        tokens = []
        for owner in (site, other):
            secret = sha256_hex(f"spare of {owner.id}".encode())
            issue = c.IssueToken(owner_kind="site", owner_id=owner.id, sha256=secret, label="spare", scopes=["read"])
            tokens.append(hub.ok(issue, owner)["id"])
        restored = keep()
        later = restored()
        scene.holding.recover(later, revoked_tokens=tokens)
        assert later.rows(r.Token, "id = %s", tokens[0])[0].revoked_at is not None
        assert later.rows(r.Token, "id = %s", tokens[1])[0].revoked_at is None

    def test_with_a_token_goes_what_was_issued_with_it(self, hub: Hub, scene: Scene) -> None:
        site, issuer = scene.sites[1], None
        tokens: list[str] = []
        for name in ("first", "issued with the first", "issued with that"):
            issue = c.IssueToken(
                owner_kind="site",
                owner_id=site.id,
                sha256=sha256_hex(name.encode()),
                label="spare",
                scopes=["read"],
                issued_by=issuer,
            )
            issuer = hub.ok(issue, site)["id"]
            tokens.append(issuer)
        scene.holding.recover(hub, revoked_tokens=tokens[:1])
        assert [hub.rows(r.Token, "id = %s", one)[0].revoked_at is None for one in tokens] == [False] * 3

    def test_only_the_hub_itself(self, hub: Hub, scene: Scene) -> None:
        assert hub.refused(c.RevokeAgain(names=[f"site-{scene.sites[0].id}"]), scene.sites[1])[0] == 403


class TestRuns:
    def started(self, scene: Scene, hub: Hub) -> str:
        run = hub.start(scene.project, scene.sites[0])
        hub.ready_all(run, scene.sites)
        return run

    def test_reports_that_were_lost_come_again(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        run = self.started(scene, hub)
        restored = keep()
        lost = hub.reporting(run, scene.sites[1], Report.SUBMIT, update=b"update")
        hub.ok(lost, scene.sites[1])
        scene.read(hub)
        later = restored()
        held = c.HeldSeat(run_id=run, task_seq=1, report_seq=2)
        answer = scene.holding.recover(later, seats=[held])
        assert answer["seats"] == [
            {
                "run_id": run,
                "task_seq": 1,
                "run_state": "running",
                "state": "training",
                "round": 1,
                "report_seq": 1,
            }
        ]
        later.ok(lost, scene.sites[1])
        assert later.seat(run, scene.sites[1]).state == SeatState.SUBMITTED

    def test_a_run_that_is_gone_is_told(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        restored = keep()
        run = self.started(scene, hub)
        scene.read(hub)
        later = restored()
        answer = scene.holding.recover(later, seats=[c.HeldSeat(run_id=run, task_seq=1, report_seq=1)])
        assert answer["seats"][0]["run_state"] is None  # type: ignore[index]

    @pytest.mark.parametrize("state", ["ended", "lost"])
    def test_what_the_coordinator_has_seen_end_or_lost_ends(
        self, hub: Hub, scene: Scene, keep: Backup, state: Any
    ) -> None:
        run = self.started(scene, hub)
        restored = keep()
        later = restored()
        coordinator = Holding(scene.sites[0])
        coordinator.read(hub)
        coordinator.recover(later, seats=[c.HeldSeat(run_id=run, task_seq=1, report_seq=1, state=state)])
        ended = later.run(run)
        assert (ended.state, ended.reason) == (RunState.FAILED, "hub_restored")
        assert later.inbox(scene.sites[1])[-1].kind == Notice.RUN_ENDED

    def test_a_participants_word_ends_a_run_only_if_the_hub_knows(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        run = self.started(scene, hub)
        restored = keep()
        ended = [c.HeldSeat(run_id=run, task_seq=1, report_seq=1, state="ended")]
        later = restored()
        scene.holding.read(hub)
        scene.holding.recover(later, seats=ended)
        assert later.run(run).state == RunState.RUNNING or later.run(run).reason != "hub_restored"
        assert (later.seat(run, scene.sites[1]).state, later.seat(run, scene.sites[1]).reason) == (
            SeatState.DROPPED,
            "hub_restored",
        )
        known = restored()
        known.ok(change(known))
        known.clock.sleep(1)
        again = Holding(scene.sites[1])
        again.read(hub)
        again.recover(known, seats=ended)
        assert known.run(run).reason == "hub_restored"

    def test_a_seat_that_the_site_does_not_know_is_dropped(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        run = self.started(scene, hub)
        restored = keep()
        later = restored()
        scene.holding.read(hub)
        scene.holding.recover(later)
        assert later.seat(run, scene.sites[1]).reason == "hub_restored"

    def test_a_claim_that_was_cut_drops_nothing(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        run = self.started(scene, hub)
        restored = keep()
        later = restored()
        scene.holding.read(hub)
        scene.holding.recover(later, seats_cut=True)
        assert later.seat(run, scene.sites[1]).reason != "hub_restored"

    def test_a_seat_that_the_site_will_hear_of_is_not(self, hub: Hub, scene: Scene, keep: Backup) -> None:
        scene.holding.read(hub)
        restored = keep()
        scene.write(hub, b"lost")
        scene.holding.read(hub)
        later = restored()
        run = later.start(scene.project, scene.sites[0])
        scene.holding.recover(later)
        assert later.seat(run, scene.sites[1]).state == SeatState.INVITED
        assert scene.holding.read(later)[-1].kind == Notice.INVITED

    def test_only_the_hub_ends_such_a_run(self, hub: Hub, scene: Scene) -> None:
        run = self.started(scene, hub)
        assert hub.refused(c.EndRestored(run_id=run, detail=""), scene.sites[0])[0] == 403
        hub.ok(c.EndRestored(run_id=run, detail="it cannot go on"))
        assert hub.ok(c.EndRestored(run_id=run, detail="it cannot go on"))["ended"] is False


def change(hub: Hub, *, known: bool = False) -> c.ChangeHistory:
    before = hub.rows(r.History)[0]
    return c.ChangeHistory(
        before=before.history_id,
        history_id=derive(before.history_id, "next"),
        fingerprint='{"system":"2"}',
        reason="it lies elsewhere",
        known=known,
    )


class TestHistory:
    def test_it_changes_once_for_each_finding(self, hub: Hub) -> None:
        command = change(hub)
        assert hub.ok(command) == {"history_id": command.history_id}
        hub.ok(command)
        found = hub.rows(r.History)[0]
        assert (found.history_id, found.changes, found.reason) == (command.history_id, 1, "it lies elsewhere")
        assert any(announcement.history for announcement in hub.heard)

    def test_where_it_is_for_the_first_time_is_no_change(self, hub: Hub) -> None:
        before = hub.rows(r.History)[0]
        hub.ok(change(hub, known=True))
        after = hub.rows(r.History)[0]
        assert (after.history_id, after.changes, after.fingerprint) == (before.history_id, 0, '{"system":"2"}')

    def test_only_the_hub_itself(self, hub: Hub) -> None:
        site = hub.site("a site")
        assert hub.refused(change(hub), site)[0] == 403
