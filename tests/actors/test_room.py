"""Nobody has more than his share of what is stored, and who leaves gives back what he has declared."""

from __future__ import annotations

import json

from actors.deciding import decide_batch, decide_now
from domain import commands as c
from domain import records as r
from domain import values as v
from domain.commands import AnyCommand
from domain.ids import sha256_hex
from domain.rules import Rules
from domain.values import Subject
from fedyard.wire.chunks import CHUNK_BYTES
from fedyard.wire.notices import Notice
from fedyard.wire.times import SECOND
from tests.hub import Hub

DAY = 86_400 * SECOND


def decided(hub: Hub, rules: Rules, *commands: tuple[AnyCommand, Subject]) -> list[str]:
    """The slugs, or "ok", of these in one batch."""
    hub.clock.sleep(0.001)
    outcomes = decide_now(hub.store, [hub.envelope(*one) for one in commands], hub.clock.now(), rules)
    answers = [json.loads(outcome.answer_json) for outcome in outcomes]
    return ["ok" if "type" not in answer else answer["type"].removeprefix("/problems/") for answer in answers]


def declaring(project: str, owner: Subject, size: int = 10) -> c.DeclareArtifact:
    digests = b"".join(bytes([n % 255 + 1]) * 32 for n in range(-(-size // CHUNK_BYTES)))
    return c.DeclareArtifact(
        owner_site_id=owner.id,
        project_id=project,
        of_kind="result",
        size_bytes=size,
        digest=sha256_hex(digests),
        chunk_digests=digests,
    )


def posting(project: str, sender: Subject, body: bytes = b"1234", to: object = "coordinator") -> c.PostMessages:
    message = c.NewMessage(project_id=project, kind="letter", to=to, body=body)  # type: ignore[arg-type]
    return c.PostMessages(sender_site_id=sender.id, messages=[message])


def share(hub: Hub, site: Subject) -> r.ArtifactShare:
    return hub.rows(r.ArtifactShare, "site_id = %s", site.id)[0]


# artifacts


def test_a_site_has_so_many_unfinished_artifacts_and_others_have_theirs(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    rules = Rules(unfinished_artifacts=2)
    many = [(declaring(project, sites[1]), sites[1])] * 3
    assert decided(hub, rules, *many, (declaring(project, sites[2]), sites[2])) == [
        "ok",
        "ok",
        "unfinished_artifacts",
        "ok",
    ]
    artifact = hub.rows(r.Artifact, "owner_site_id = %s", sites[1].id)[0]
    (declared,) = hub.rows(r.ArtifactDeclaration, "artifact_id = %s", artifact.id)
    hub.ok(c.CompleteArtifact(artifact_id=artifact.id, found=bytes(declared.chunk_digests)), sites[1])
    assert decided(hub, rules, *many[:2]) == ["ok", "unfinished_artifacts"]


def test_the_bytes_of_unfinished_artifacts_count_from_the_second_on(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    rules = Rules(unfinished_bytes=100)
    assert decided(hub, rules, (declaring(project, sites[1], 150), sites[1])) == ["ok"]
    assert decided(hub, rules, (declaring(project, sites[1], 1), sites[1])) == ["unfinished_artifacts"]


def test_a_participant_has_a_share_of_the_quota_and_the_coordinator_all_of_it(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    rules = Rules(site_quota_bytes=100)
    sent = [(declaring(project, site, size), site) for site in (sites[1], sites[2], sites[0]) for size in (60, 41)]
    assert decided(hub, rules, *sent) == ["ok", "site_quota_exceeded", "ok", "site_quota_exceeded", "ok", "ok"]


def test_who_leaves_or_is_removed_or_retires_gives_back_what_he_declared(hub: Hub) -> None:
    sites = hub.sites(4)
    project = hub.project(sites)
    for site in sites:
        hub.ok(declaring(project, site, 100), site)
    other = hub.project([sites[0], sites[1]])
    hub.ok(declaring(other, sites[1], 7), sites[1])
    hub.ok(c.RemoveMember(project_id=project, site_id=sites[1].id), sites[1])
    hub.ok(c.RemoveMember(project_id=project, site_id=sites[2].id), sites[0])
    hub.ok(c.RetireSite(site_id=sites[3].id), sites[3])
    totals = {total.project_id: total for total in hub.rows(r.ArtifactTotal)}
    assert (totals[project].live_bytes, totals[project].live_count) == (100, 1)
    assert (totals[other].live_bytes, totals[other].live_count) == (7, 1)
    shares = hub.rows(r.ArtifactShare, "project_id = %s AND site_id <> %s", project, sites[0].id)
    assert {(one.live_bytes, one.declared_bytes, one.declared_count) for one in shares} == {(0, 0, 0)}
    expired = hub.rows(r.Artifact, "state = 'expired'")
    assert {one.owner_site_id for one in expired} == {site.id for site in sites[1:]}
    assert {one.project_id for one in expired} == {project}


def test_what_is_stored_stays_when_its_site_leaves(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    artifact = hub.ok(declaring(project, sites[1]), sites[1])["id"]
    (declared,) = hub.rows(r.ArtifactDeclaration)
    hub.ok(c.CompleteArtifact(artifact_id=artifact, found=bytes(declared.chunk_digests)), sites[1])
    hub.ok(c.RemoveMember(project_id=project, site_id=sites[1].id), sites[1])
    assert hub.rows(r.Artifact)[0].state == "stored"
    assert (share(hub, sites[1]).live_bytes, share(hub, sites[1]).declared_count) == (10, 0)


# messages


def test_a_sender_has_a_backlog_at_each_recipient_until_it_acknowledges(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    rules = Rules(backlog_messages=2)
    sent = [(posting(project, sites[1]), sites[1])] * 3
    assert decided(hub, rules, *sent, (posting(project, sites[2]), sites[2])) == ["ok", "ok", "backlog_full", "ok"]
    through = hub.inbox(sites[0])[-1].seq
    hub.ok(c.AcknowledgeInbox(site_id=sites[0].id, through=through), sites[0])
    assert decided(hub, rules, *sent) == ["ok", "ok", "backlog_full"]


def test_bodies_count_by_their_bytes_and_expired_messages_not_at_all(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    rules = Rules(backlog_bytes=10, message_ttl_s=60)
    assert decided(hub, rules, (posting(project, sites[1], b"1" * 20), sites[1])) == ["ok"]
    assert decided(hub, rules, (posting(project, sites[1], b"1"), sites[1])) == ["backlog_full"]
    hub.clock.micros += 61 * SECOND
    assert decided(hub, rules, (posting(project, sites[1], b"1"), sites[1])) == ["ok"]


def test_a_recipient_that_is_always_a_little_behind_fills_no_backlog(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    rules = Rules(backlog_messages=10)
    for _ in range(50):
        assert decided(hub, rules, (posting(project, sites[1]), sites[1])) == ["ok"]
        through = hub.inbox(sites[0])[-1].seq - 2
        hub.ok(c.AcknowledgeInbox(site_id=sites[0].id, through=through), sites[0])


def test_all_or_none_of_the_messages_of_a_call(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    rules = Rules(backlog_messages=1)
    assert decided(hub, rules, (posting(project, sites[0], to=[sites[1].id]), sites[0])) == ["ok"]
    assert decided(hub, rules, (posting(project, sites[0], to="participants"), sites[0])) == ["backlog_full"]
    assert not [entry for entry in hub.inbox(sites[2]) if entry.kind == Notice.MESSAGE]


# what one owner has


def test_tokens_of_an_owner_at_once_and_in_a_day(hub: Hub) -> None:
    site = hub.site("one")

    def issue(number: int, expires_at: int | None = None) -> tuple[AnyCommand, Subject]:
        secret = sha256_hex(f"secret {number}".encode())
        return (
            c.IssueToken(
                owner_kind="site",
                owner_id=site.id,
                sha256=secret,
                label="x",
                scopes=["read"],
                expires_at=expires_at,
            ),
            site,
        )

    rules = Rules(tokens_per_owner=3, tokens_per_day=4)  # one came with the enrolment
    soon = hub.clock.now() + 60 * SECOND
    assert decided(hub, rules, issue(1, soon), issue(2, soon), issue(3)) == ["ok", "ok", "too_many"]
    hub.clock.micros += 61 * SECOND
    assert decided(hub, rules, issue(4), issue(5)) == ["ok", "too_many"]
    hub.clock.micros += DAY
    assert decided(hub, rules, issue(6), issue(7)) == ["ok", "too_many"]


def test_accounts_and_enrolments_of_an_organisation(hub: Hub) -> None:
    organisation = hub.organisation("one")
    rules = Rules(accounts_per_organisation=1, enrolments_per_organisation=1)
    hub_itself = hub.envelope(c.CreateOrganisation(name="x")).by

    def account(n: int) -> tuple[AnyCommand, Subject]:
        secret = sha256_hex(f"account {n}".encode())
        command = c.CreateAccount(organisation_id=organisation, name="x", role="member", token_sha256=secret)
        return command, hub_itself

    def enrolment(n: int) -> tuple[AnyCommand, Subject]:
        secret, until = sha256_hex(f"enrolment {n}".encode()), hub.clock.now() + 60 * SECOND
        command = c.CreateEnrolment(organisation_id=organisation, sha256=secret, note="", expires_at=until)
        return command, hub_itself

    assert decided(hub, rules, account(1), account(2)) == ["ok", "too_many"]
    hub.ok(c.DisableAccount(account_id=hub.rows(r.Account)[0].id))
    assert decided(hub, rules, account(3), account(4)) == ["ok", "too_many"]
    assert decided(hub, rules, enrolment(1), enrolment(2)) == ["ok", "too_many"]
    hub.clock.micros += 61 * SECOND
    assert decided(hub, rules, enrolment(3)) == ["ok"]


def test_projects_of_a_coordinator_at_once_and_in_a_day(hub: Hub) -> None:
    one, other = hub.sites(2)
    tasks = [v.TaskSpec(name="t", model="m")]

    def create(site: Subject, name: str) -> tuple[AnyCommand, Subject]:
        return c.CreateProject(coordinator_site_id=site.id, name=name, tasks=tasks, sealed="optional"), site

    rules = Rules(projects_per_coordinator=1, projects_per_day=2)
    assert decided(hub, rules, create(one, "a"), create(one, "b"), create(other, "c")) == ["ok", "too_many", "ok"]
    for name in ("d", "e"):
        live = hub.rows(r.Project, "coordinator_site_id = %s AND archived_at IS NULL", one.id)[0]
        hub.ok(c.ArchiveProject(project_id=live.id), one)
        assert decided(hub, rules, create(one, name)) == ["ok" if name == "d" else "too_many"]
    hub.clock.micros += DAY
    assert decided(hub, rules, create(one, "f")) == ["ok"]


def test_queued_and_running_runs_of_a_project(hub: Hub) -> None:
    sites = hub.sites(2)
    project = hub.project(sites)
    start = (c.StartRun(project_id=project, queue=True), sites[0])
    assert decided(hub, Rules(live_runs_per_project=2), start, start, start) == ["ok", "ok", "too_many"]


def test_key_epochs_in_all_and_in_a_day(hub: Hub) -> None:
    site = hub.site("one")
    rules = Rules(keys_per_site=3, keys_per_day=2)
    keys = [(hub.key(site, epoch), site) for epoch in (1, 2, 3, 4)]
    assert decided(hub, rules, *keys[:3], keys[1]) == ["ok", "ok", "too_many", "ok"]
    hub.clock.micros += DAY
    assert decided(hub, rules, *keys[2:]) == ["ok", "too_many"]


# notices of one cause


def test_asking_and_withdrawing_leaves_one_unread_notice(hub: Hub) -> None:
    coordinator, stranger = hub.sites(2)[0], hub.site("stranger")
    project = hub.project([coordinator], joining="approval")
    before = len(hub.inbox(coordinator))
    for _ in range(5):
        hub.ok(c.PutMember(project_id=project, site_id=stranger.id), stranger)
        hub.ok(c.RemoveMember(project_id=project, site_id=stranger.id), stranger)
    hub.ok(c.PutMember(project_id=project, site_id=stranger.id), stranger)
    told = hub.inbox(coordinator)[before:]
    assert [entry.kind for entry in told] == [Notice.MEMBER_REQUESTED]
    hub.ok(c.AcknowledgeInbox(site_id=coordinator.id, through=told[-1].seq), coordinator)
    hub.ok(c.RemoveMember(project_id=project, site_id=stranger.id), stranger)
    for _ in range(5):
        hub.ok(c.PutMember(project_id=project, site_id=stranger.id), stranger)
        hub.ok(c.RemoveMember(project_id=project, site_id=stranger.id), stranger)
    later = hub.inbox(coordinator)[before + 1 :]
    assert [entry.kind for entry in later] == [Notice.MEMBER_LEFT, Notice.MEMBER_REQUESTED]


def test_inviting_and_taking_back_leaves_one_unread_notice(hub: Hub) -> None:
    coordinator, stranger = hub.sites(2)[0], hub.site("stranger")
    project = hub.project([coordinator], joining="invitation")
    for _ in range(5):
        hub.ok(c.PutMember(project_id=project, site_id=stranger.id), coordinator)
        hub.ok(c.RemoveMember(project_id=project, site_id=stranger.id), coordinator)
    assert [entry.kind for entry in hub.inbox(stranger)] == [Notice.MEMBER_INVITED]


def test_who_was_removed_always_hears_of_it(hub: Hub) -> None:
    coordinator, stranger = hub.sites(2)[0], hub.site("stranger")
    project = hub.project([coordinator], joining="invitation")
    hub.ok(c.PutMember(project_id=project, site_id=stranger.id), coordinator)
    hub.ok(c.PutMember(project_id=project, site_id=stranger.id), stranger)
    hub.ok(c.RemoveMember(project_id=project, site_id=stranger.id), coordinator)
    assert [entry.kind for entry in hub.inbox(stranger)][-1] == Notice.MEMBER_LEFT


def test_changes_by_another_leave_one_unread_notice(hub: Hub) -> None:
    site = hub.site("one")
    for n in range(3):
        hub.ok(c.UpdateSite(site_id=site.id, description=f"{n}"))
    assert [entry.kind for entry in hub.inbox(site)] == [Notice.SITE_UPDATED]


def test_conflicts_between_two_are_on_record_once_an_hour(hub: Hub) -> None:
    sites = hub.sites(2)
    hub.project(sites)
    for n in (1, 2, 1, 2):
        seen = f"{n}" * 64
        report = c.ReportConflict(site_id=sites[1].id, about_site_id=sites[0].id, pinned="a" * 64, seen=seen)
        hub.ok(report, sites[1])
    found = hub.rows(r.Event, "stream_id = %s AND kind = 'identity_conflict'", sites[0].id)
    assert len(found) == 2
    hub.clock.micros += 3600 * SECOND
    hub.ok(report, sites[1])
    assert len(hub.rows(r.Event, "stream_id = %s AND kind = 'identity_conflict'", sites[0].id)) == 3


def test_a_batch_of_others_is_decided_beside_what_is_refused(hub: Hub) -> None:
    sites = hub.sites(3)
    project = hub.project(sites)
    flood = [hub.envelope(posting(project, sites[1]), sites[1]) for _ in range(20)]
    quiet = hub.envelope(posting(project, sites[2]), sites[2])
    hub.clock.sleep(0.001)
    batch = decide_batch(hub.store, [*flood, quiet], hub.clock.now(), Rules(backlog_messages=5))
    assert [batch.outcomes[e.id].status for e in flood] == [201] * 5 + [409] * 15
    assert batch.outcomes[quiet.id].status == 201
