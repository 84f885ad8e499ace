"""Who may do what, and how many: accounts, tokens, enrolments, sites, keys, as tables of examples."""

from __future__ import annotations

from typing import Any

import pytest

from domain import codec, values
from domain import commands as c
from domain import records as r
from domain.decisions import access
from domain.decisions.draft import Refused
from domain.decisions.keys import digest_of_key, identity_of, usable
from domain.rules import Rules
from domain.values import Subject
from tests.domain.scenes import (
    DAY,
    ELSEWHERE,
    NOW,
    ORGANISATION,
    PROJECT,
    RUN,
    SECOND,
    SITES,
    answer,
    by_account,
    by_site,
    came_to,
    decided,
    detail,
    draft,
    project,
    row,
    site,
    stream,
    written,
)
from tests.seals import IDENTITY

WHO: dict[str, Subject] = {
    "hub": codec.THE_HUB,
    "admin": by_account("admin", ELSEWHERE)[0],
    "own admin": by_account("admin")[0],
    "member": by_account("member")[0],
    "stranger": by_account("member", ELSEWHERE)[0],
    "auditor": by_account("auditor")[0],
    "site": by_site(1),
    "coordinator": by_site(0),
    "other site": by_site(2),
    "enrolment": Subject(kind="enrolment", id="e", organisation_id=ORGANISATION),
}


def who(allowed: Any) -> set[str]:
    """The names of those whom it lets through."""
    found = set()
    for name, by in WHO.items():
        try:
            if allowed(by) is not False:
                found.add(name)
        except Refused:
            continue
    return found


def test_who_is_who() -> None:
    mine = row(r.Site, id=SITES[1])
    assert who(access.is_admin) == {"hub", "admin", "own admin"}
    assert who(access.need_admin) == {"hub", "admin", "own admin"}
    assert who(access.need_hub) == {"hub"}
    assert who(lambda by: access.acts_for(by, mine)) == {"site", "own admin", "member"}


@pytest.mark.parametrize(
    ("by", "state", "expected"),
    [
        ("site", "online", "it"),
        ("site", "silent", "it"),
        ("site", "retired", "site_retired"),
        ("member", "online", "it"),
        ("own admin", "online", "it"),
        ("admin", "online", "forbidden"),
        ("admin", "retired", "forbidden"),
        ("hub", "online", "forbidden"),
        ("stranger", "online", "not_found"),
        ("stranger", "retired", "not_found"),
        ("auditor", "online", "not_found"),
        ("other site", "online", "not_found"),
    ],
)
def test_own_site(by: str, state: str, expected: str) -> None:
    made = draft([row(r.Site, id=SITES[1], state=state)], WHO[by])
    if expected == "it":
        assert access.own_site(made, SITES[1]).id == SITES[1]
        return
    with pytest.raises(Refused) as refused:
        access.own_site(made, SITES[1])
    assert refused.value.problem.name.lower() == expected


def test_what_is_not_there_looks_as_what_is_not_yours() -> None:
    made = draft([*people_of(ELSEWHERE), row(r.Project, joining="invitation"), row(r.Run)], by_site(1))
    said = set()
    for find in (
        lambda: access.find(made, r.Project, "project", "unknown"),
        lambda: access.known_project(made, "unknown"),
        lambda: access.known_project(made, PROJECT),
    ):
        with pytest.raises(Refused) as refused:
            find()
        said.add(refused.value.detail.replace("unknown", PROJECT))
    assert said == {f"there is no project {PROJECT}, or it is not yours to see"}
    with pytest.raises(Refused) as refused:
        access.known_run(made, RUN)
    assert refused.value.detail == f"there is no run {RUN}, or it is not yours to see"
    assert access.find(made, r.Project, "project", PROJECT).id == PROJECT


def people_of(coordinator_of: str = ORGANISATION, **membership: str) -> list[r.Record]:
    """A project coordinated from elsewhere, whose participant is the second site."""
    rows: list[r.Record] = [row(r.Site, id=SITES[0], organisation_id=coordinator_of), row(r.Site, id=SITES[1])]
    rows += [row(r.Site, id=SITES[2], organisation_id=ELSEWHERE)]
    if membership:
        rows.append(row(r.Membership, site_id=SITES[1], **membership))
    return rows


@pytest.mark.parametrize(
    ("joining", "state", "see_it", "see_runs"),
    [
        # whoever may join may know of it; its runs are for its members
        ("open", None, "everybody", set()),
        ("approval", None, "everybody", set()),
        ("invitation", None, set(), set()),
        ("invitation", "active", {"site", "own admin", "member"}, {"site", "own admin", "member"}),
        ("invitation", "invited", {"site", "own admin", "member"}, set()),
        ("invitation", "requested", {"site", "own admin", "member"}, set()),
        ("invitation", "left", set(), set()),
        ("invitation", "declined", set(), set()),
        ("open", "active", "everybody", {"site", "own admin", "member"}),
        ("open", "requested", "everybody", set()),
    ],
)
def test_who_knows_of_a_project_and_of_its_runs(
    joining: str, state: str | None, see_it: set[str] | str, see_runs: set[str]
) -> None:
    """Beside those that always do: admins, and whoever acts for the coordinator."""
    of = row(r.Project, joining=joining)
    rows = people_of(ELSEWHERE, **({"state": state} if state else {}))
    always = {"hub", "admin", "own admin", "coordinator", "stranger"}
    seen = who(lambda by: access.sees(draft(rows, by), of))
    assert seen == (set(WHO) if see_it == "everybody" else always | set(see_it))
    assert who(lambda by: access.sees_runs(draft(rows, by), of)) == always | see_runs


def test_who_coordinates() -> None:
    of = row(r.Project)
    rows = people_of(ELSEWHERE)
    assert who(lambda by: access.is_coordinator(draft(rows, by), of)) == {"coordinator", "admin", "stranger"}
    coordinators = {"coordinator", "admin", "stranger"}
    alone = who(lambda by: access.need_coordinator(draft(rows, by), of, admin_too=False))
    assert alone == coordinators
    assert who(lambda by: access.need_coordinator(draft(rows, by), of)) == coordinators | {"hub", "own admin"}


def test_active_members_in_the_order_of_their_ids() -> None:
    states = {3: "active", 1: "active", 0: "invited", 2: "left", 4: "active"}
    rows = [row(r.Membership, site_id=SITES[n], state=state) for n, state in states.items()]
    assert access.active_members(draft(rows), PROJECT) == [SITES[1], SITES[3], SITES[4]]


@pytest.mark.parametrize(
    ("by", "fields", "expected"),
    [
        ("member", {}, "accepted"),
        ("member", {"disabled_at": NOW}, "forbidden"),
        ("auditor", {}, "forbidden"),
    ],
)
def test_rights_may_have_been_lost_since_the_web_looked(by: str, fields: dict[str, Any], expected: str) -> None:
    account = row(r.Account, id=WHO[by].id, role=WHO[by].role, **fields)
    command = c.UpdateSite(site_id=SITES[1], description="new")
    assert came_to(decided(command, [*project(2), account], WHO[by])) == expected
    assert came_to(decided(command, project(2), WHO[by])) == "forbidden"  # it is gone


# how many: the last one that fits, and the first one that does not

ONE_MORE = c.CreateAccount(organisation_id=ORGANISATION, name="n", role="member", token_sha256="f" * 64)
ENROLMENT = c.CreateEnrolment(organisation_id=ORGANISATION, sha256="f" * 64, note="", expires_at=NOW + 1)
TOKEN = c.IssueToken(owner_kind="site", owner_id=SITES[1], sha256="f" * 64, label="l", scopes=["read"])
NEW_PROJECT = c.CreateProject(coordinator_site_id=SITES[1], name="new", tasks=[values.TaskSpec(name="t", model="m")])


@pytest.mark.parametrize(
    ("command", "what", "owner", "limit"),
    [
        (ONE_MORE, "accounts", ORGANISATION, {"accounts_per_organisation": 3}),
        (ENROLMENT, "enrolments", ORGANISATION, {"enrolments_per_organisation": 3}),
        (TOKEN, "tokens", SITES[1], {"tokens_per_owner": 3}),
        (TOKEN, "tokens of a day", SITES[1], {"tokens_per_day": 3}),
        (NEW_PROJECT, "projects", SITES[1], {"projects_per_coordinator": 3}),
        (NEW_PROJECT, "projects of a day", SITES[1], {"projects_per_day": 3}),
    ],
)
@pytest.mark.parametrize(("there", "expected"), [(0, "accepted"), (2, "accepted"), (3, "too_many"), (4, "too_many")])
def test_how_many_one_owner_may_have(
    command: Any, what: str, owner: str, limit: dict[str, int], there: int, expected: str
) -> None:
    by = by_site(1) if command is NEW_PROJECT else codec.THE_HUB
    decision = decided(command, project(2), by, rules=Rules(**limit), counts={(what, owner): there})
    assert came_to(decision) == expected
    assert ((what, owner) in decision.counted) is (expected == "accepted")


@pytest.mark.parametrize(("live", "expected"), [(0, "accepted"), (2, "accepted"), (3, "too_many")])
def test_how_many_runs_may_be_queued(live: int, expected: str) -> None:
    rows = project(2) + [row(r.Run, id=f"run {n}", number=n, state="created") for n in range(live)]
    command = c.StartRun(project_id=PROJECT, queue=True)
    assert came_to(decided(command, rows, by_site(0), rules=Rules(live_runs_per_project=3))) == expected


# times of tokens and enrolments


@pytest.mark.parametrize(
    ("expires_at", "expected"), [(NOW + 1, "accepted"), (NOW, "already_expired"), (NOW - 1, "already_expired")]
)
def test_what_would_have_expired_is_not_made(expires_at: int, expected: str) -> None:
    enrolment = c.CreateEnrolment(organisation_id=ORGANISATION, sha256="f" * 64, note="", expires_at=expires_at)
    token = c.IssueToken("site", SITES[1], "f" * 64, "l", ["read"], expires_at)
    assert [came_to(decided(one, project(2))) for one in (enrolment, token)] == [expected] * 2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"expires_at": NOW + 1}, "accepted"),
        ({"expires_at": NOW}, "enrolment_expired"),
        ({"expires_at": NOW + DAY, "used_at": NOW}, "enrolment_used"),
        ({"expires_at": NOW, "used_at": NOW}, "enrolment_used"),
    ],
)
def test_when_an_enrolment_is_taken(fields: dict[str, int], expected: str) -> None:
    rows = [row(r.Organisation), stream("organisation", ORGANISATION), row(r.Enrolment, id="e", sha256="e", **fields)]
    command = c.EnrolSite(name="new", description="", identity_key="k", token_sha256="f" * 64)
    assert came_to(decided(command, rows, WHO["enrolment"])) == expected


@pytest.mark.parametrize(
    ("by", "name", "expected"),
    [
        ("enrolment", "new", "accepted"),
        ("enrolment", "site 1", "name_taken"),
        ("site", "new", "forbidden"),
        ("admin", "new", "forbidden"),
        ("hub", "new", "forbidden"),
    ],
)
def test_who_enrols_under_which_name(by: str, name: str, expected: str) -> None:
    enrolment = row(r.Enrolment, id="e", sha256="e", expires_at=NOW + 1)
    rows = [*project(2), enrolment, row(r.Account, id=WHO["admin"].id, role="admin")]
    command = c.EnrolSite(name=name, description="about", identity_key="k", token_sha256="f" * 64)
    decision = decided(command, rows, WHO[by])
    assert came_to(decision) == expected
    if decision.accepted:
        (made,), (token,) = written(decision, r.Site), written(decision, r.Token)
        assert decision.status == 201
        assert (made.organisation_id, made.state, made.created_at) == (ORGANISATION, "online", NOW)
        assert (token.owner_kind, token.owner_id, token.scopes, token.expires_at) == (
            "site",
            made.id,
            "read write",
            None,
        )
        assert written(decision, r.Mailbox) == [r.Mailbox(made.id)]
        assert [(one.used_at, one.site_id) for one in written(decision, r.Enrolment)] == [(NOW, made.id)]


@pytest.mark.parametrize(
    ("by", "expected", "told"),
    [
        ("site", "accepted", []),
        ("member", "accepted", [SITES[1]]),
        ("admin", "accepted", [SITES[1]]),
        ("hub", "accepted", [SITES[1]]),
        ("other site", "not_found", []),
        ("stranger", "not_found", []),
    ],
)
@pytest.mark.parametrize("state", ["online", "silent", "retired"])
def test_who_describes_a_site_and_whether_it_hears_of_that(by: str, expected: str, told: list[str], state: str) -> None:
    account = row(r.Account, id=WHO[by].id, role=WHO[by].role or "")
    rows = [*project(2), *site(2), account, row(r.Site, id=SITES[1], state=state)]
    decision = decided(c.UpdateSite(SITES[1], "new"), rows, WHO[by])
    if by == "site" and state == "retired":
        assert came_to(decision) == "forbidden"
        return
    assert came_to(decision) == expected
    found = [entry.site_id for entry in written(decision, r.InboxEntry)]
    assert found == ([] if state == "retired" else told)


@pytest.mark.parametrize(("read_to", "told"), [(3, True), (2, False), (0, False)])
def test_a_notice_that_is_unread_is_not_sent_again(read_to: int, *, told: bool) -> None:
    """The last one was the third entry of the inbox."""
    rows = [*project(2), row(r.Account, id=WHO["member"].id, role="member")]
    rows += [r.Mailbox(SITES[1], 5, read_to), r.Told(f"updated/{SITES[1]}", SITES[1], 3, NOW - 1)]
    decision = decided(c.UpdateSite(SITES[1], "new"), rows, WHO["member"])
    assert [entry.seq for entry in written(decision, r.InboxEntry)] == ([6] if told else [])
    assert [one.seq for one in written(decision, r.Told)] == ([6] if told else [])


@pytest.mark.parametrize(("state", "changes"), [("online", True), ("silent", True), ("retired", False)])
def test_who_has_retired_stays_so(state: str, *, changes: bool) -> None:
    rows = [*project(2), row(r.Site, id=SITES[1], state=state), row(r.Account, id=WHO["member"].id, role="member")]
    decision = decided(c.RetireSite(SITES[1]), rows, WHO["member"])
    assert answer(decision)["state"] == "retired"
    assert [one.state for one in written(decision, r.Site)] == (["retired"] if changes else [])
    kinds = [(entry.site_id, entry.kind) for entry in written(decision, r.InboxEntry)]
    assert kinds == ([(SITES[0], "member_left"), (SITES[1], "site_retired")] if changes else [])


@pytest.mark.parametrize(
    ("issuer", "scopes", "expires_at", "expected"),
    [
        # as asked for, within what the issuer has
        ({}, ["read"], None, None),
        ({}, ["write", "read"], NOW + DAY, NOW + DAY),
        ({"expires_at": NOW + DAY}, ["read"], None, NOW + DAY),
        ({"expires_at": NOW + DAY}, ["read"], NOW + 1, NOW + 1),
        ({"expires_at": NOW + DAY}, ["read"], NOW + DAY, NOW + DAY),
        ({"expires_at": NOW + DAY}, ["read"], NOW + DAY + 1, "outlives_issuer"),
        ({"scopes": "read"}, ["read"], None, None),
        ({"scopes": "read"}, ["read", "write"], None, "scope_missing"),
        # its issuer is no good any more
        ({"revoked_at": NOW - 1}, ["read"], None, "forbidden"),
        ({"expires_at": NOW}, ["read"], None, "forbidden"),
        ({"expires_at": NOW + 1}, ["read"], None, NOW + 1),
        (None, ["read"], None, "forbidden"),
    ],
)
def test_a_token_that_is_issued_with_another(
    issuer: dict[str, Any] | None, scopes: list[Any], expires_at: int | None, expected: int | str | None
) -> None:
    rows = project(2) + (
        [row(r.Token, id="issuer", owner_id=SITES[1], sha256="i", **issuer)] if issuer is not None else []
    )
    command = c.IssueToken("site", SITES[1], "f" * 64, "label", scopes, expires_at, issued_by="issuer")
    decision = decided(command, rows, by_site(1))
    if isinstance(expected, str):
        assert came_to(decision) == expected
        return
    (token,) = written(decision, r.Token)
    assert (token.expires_at, token.scopes) == (expected, " ".join(sorted(scopes)))


@pytest.mark.parametrize("known", ["token", "enrolment", "token in the ledger", "enrolment in the ledger"])
def test_a_secret_belongs_to_one_token(known: str) -> None:
    secret = "f" * 64
    there: r.Record = {
        "token": row(r.Token, id="t", sha256=secret),
        "enrolment": row(r.Enrolment, id="e", sha256=secret),
        "token in the ledger": r.Revocation(f"token-{secret}", NOW),
        "enrolment in the ledger": r.Revocation(f"enrolment-{secret}", NOW),
    }[known]
    assert [came_to(decided(one, [*project(2), there])) for one in (ONE_MORE, ENROLMENT, TOKEN)] == ["token_taken"] * 3


def test_what_was_issued_with_a_token_goes_with_it() -> None:
    """a issued b, that issued c and e; d was issued by another one, f is revoked already."""
    issued = {"a": None, "b": "a", "c": "b", "d": "x", "e": "b", "f": "a"}
    tokens = [
        row(r.Token, id=key, owner_id=SITES[1], sha256=key, issued_by=by, revoked_at=1 if key == "f" else None)
        for key, by in issued.items()
    ]
    decision = decided(c.RevokeToken(token_id="a"), [*project(2), *tokens], by_site(1))
    assert {one.id: one.revoked_at for one in written(decision, r.Token)} == dict.fromkeys("abce", NOW)


# silence


@pytest.mark.parametrize(
    ("state", "seen", "silent", "returned"),
    [
        # a site that was heard of 90 s ago is silent, and then was marked 50 s ago
        ("online", 90 * SECOND, True, False),
        ("online", 90 * SECOND - 1, False, False),
        ("silent", 90 * SECOND, False, False),
        ("silent", 50 * SECOND, False, False),  # before it was marked
        ("silent", 50 * SECOND - 1, False, True),
        ("retired", 1, False, False),
        ("retired", 900 * SECOND, False, False),
    ],
)
def test_who_is_silent_and_who_is_back(state: str, seen: int, *, silent: bool, returned: bool) -> None:
    rows = site(1, state=state, state_at=NOW - 50 * SECOND)
    for command, marked in ((c.MarkSitesSilent([SITES[1]]), silent), (c.MarkSitesReturned([SITES[1]]), returned)):
        decision = decided(command, rows, seen={SITES[1]: NOW - seen}, rules=Rules(silent_after_s=90))
        assert answer(decision) == {"site_ids": [SITES[1]] if marked else []}


def test_a_beat_of_long_ago_brings_nobody_back() -> None:
    rows = site(1, state="silent", state_at=NOW - 500 * SECOND)
    for seen, back in ((90 * SECOND, False), (90 * SECOND - 1, True)):
        decision = decided(
            c.MarkSitesReturned([SITES[1]]), rows, seen={SITES[1]: NOW - seen}, rules=Rules(silent_after_s=90)
        )
        assert bool(answer(decision)["site_ids"]) is back


# keys


@pytest.mark.parametrize(
    ("state", "grace_until", "expected"),
    [
        ("current", None, True),
        ("current", NOW - 1, True),
        ("superseded", NOW + 1, True),
        ("superseded", NOW, False),
        ("superseded", NOW - 1, False),
        ("superseded", None, False),
        ("revoked", None, False),
        ("revoked", NOW + DAY, False),
    ],
)
def test_what_may_be_sealed_to(state: str, grace_until: int | None, *, expected: bool) -> None:
    assert usable(row(r.SiteKey, state=state, grace_until=grace_until), NOW) is expected


def key(epoch: int, **fields: Any) -> c.PutSiteKey:
    fields = {"public_key": bytes([epoch]) * 1216, "created_at": NOW, "expires_at": NOW + DAY} | fields
    return c.PutSiteKey(site_id=SITES[1], epoch=epoch, suite=1, signature=bytes(64), **fields)


def keys(*ages: int) -> list[r.SiteKey]:
    """Epochs from 1 on, added so many microseconds ago; the last one is current."""
    return [
        row(
            r.SiteKey,
            site_id=SITES[1],
            epoch=n,
            added_at=NOW - age,
            state="current" if n == len(ages) else "superseded",
            digest=digest_of_key(key(n)),
        )
        for n, age in enumerate(ages, start=1)
    ]


@pytest.mark.parametrize(
    ("ages", "command", "expected"),
    [
        ([], key(1), "accepted"),
        ([], key(2), "epoch_not_next"),
        ([1], key(2), "accepted"),
        ([1], key(3), "epoch_not_next"),
        ([1, 1], key(1), "accepted"),  # the same once more
        ([1, 1], key(1, public_key=bytes(1216)), "epoch_taken"),
        ([1], key(2, expires_at=NOW), "already_expired"),
        ([1], key(2, expires_at=NOW + 1), "accepted"),
        ([1], key(2, created_at=NOW + DAY), "already_expired"),
        # four in all, two of a day
        ([3 * DAY, 3 * DAY, 3 * DAY], key(4), "accepted"),
        ([3 * DAY] * 4, key(5), "too_many"),
        ([3 * DAY] * 4, key(4), "accepted"),
        ([3 * DAY, 1], key(3), "accepted"),
        ([1, 1], key(3), "too_many"),
        ([DAY, 1], key(3), "accepted"),
        ([DAY - 1, 1], key(3), "too_many"),
    ],
)
def test_which_key_is_taken(ages: list[int], command: c.PutSiteKey, expected: str) -> None:
    rules = Rules(keys_per_site=4, keys_per_day=2)
    decision = decided(command, [*project(2), *keys(*ages)], by_site(1), rules=rules)
    assert came_to(decision) == expected


def test_a_refused_key_is_told_which_epoch_is_next() -> None:
    rows = [*project(2), *keys(1, 1)]
    assert detail(decided(key(1, public_key=bytes(1216)), rows, by_site(1))).endswith("; its next epoch is 3")
    assert detail(decided(key(5), rows, by_site(1))).endswith(f"the next one of site {SITES[1]} is 3, not 5")
    assert came_to(decided(c.RevokeSiteKey(SITES[1], 3), rows, by_site(1))) == "not_found"


@pytest.mark.parametrize(
    ("by", "put", "revoke"),
    [
        ("site", "accepted", "accepted"),
        ("member", "forbidden", "accepted"),
        ("own admin", "forbidden", "accepted"),
        ("admin", "forbidden", "accepted"),
        ("coordinator", "forbidden", "not_found"),
        ("other site", "forbidden", "not_found"),
    ],
)
def test_who_adds_keys_and_who_revokes_them(by: str, put: str, revoke: str) -> None:
    rows = [*project(3), *keys(1), stream("organisation", ELSEWHERE)]
    rows += [row(r.Account, id=WHO[name].id, role=WHO[name].role) for name in ("member", "own admin", "admin")]
    rows += [row(r.Site, id=SITES[n], organisation_id=ELSEWHERE) for n in (0, 2)]
    assert came_to(decided(key(2), rows, WHO[by])) == put
    assert came_to(decided(c.RevokeSiteKey(SITES[1], 1), rows, WHO[by])) == revoke


@pytest.mark.parametrize(("state", "changes"), [("current", True), ("superseded", True), ("revoked", False)])
def test_a_revoked_key_stays_as_it_is(state: str, *, changes: bool) -> None:
    one = row(r.SiteKey, site_id=SITES[1], epoch=1, state=state, digest="d")
    decision = decided(c.RevokeSiteKey(SITES[1], 1, "lost"), [*project(3), one], by_site(1))
    assert [(k.state, k.revoked_at, k.reason) for k in written(decision, r.SiteKey)] == (
        [("revoked", NOW, "lost")] if changes else []
    )
    told = [entry.site_id for entry in written(decision, r.InboxEntry)]
    assert told == ([SITES[0]] if changes else [])  # its coordinator; its own people did it


@pytest.mark.parametrize(
    ("by", "state", "told"), [("member", "online", True), ("site", "online", False), ("member", "retired", False)]
)
def test_a_site_hears_of_a_key_that_others_revoke(by: str, state: str, *, told: bool) -> None:
    rows = [*project(3), *keys(1), row(r.Site, id=SITES[1], state=state)]
    rows.append(row(r.Account, id=WHO["member"].id, role="member"))
    decision = decided(c.RevokeSiteKey(SITES[1], 1), rows, WHO[by])
    own = [entry.kind for entry in written(decision, r.InboxEntry) if entry.site_id == SITES[1]]
    assert own == (["key_changed"] if told else [])


@pytest.mark.parametrize(("of", "told"), [(0, [1, 2]), (1, [0]), (2, [0])])
def test_who_hears_of_a_new_key(of: int, told: list[int]) -> None:
    rows = [*project(3), *site(3), row(r.Membership, site_id=SITES[3], state="invited")]
    command = c.PutSiteKey(SITES[of], 1, bytes(1216), 1, NOW, NOW + DAY, bytes(64))
    found = [entry.site_id for entry in written(decided(command, rows, by_site(of)), r.InboxEntry)]
    assert found == [SITES[n] for n in told]
    archived = [*rows, row(r.Project, archived_at=NOW)]
    assert written(decided(command, archived, by_site(of)), r.InboxEntry) == []


def test_the_key_before_it_has_its_grace() -> None:
    decision = decided(key(2, grace_s=1.5), [*project(2), *keys(1)], by_site(1))
    assert [(one.epoch, one.state, one.grace_until) for one in written(decision, r.SiteKey)] == [
        (1, "superseded", NOW + 1_500_000),
        (2, "current", None),
    ]


def test_a_key_that_the_ledger_names_is_revoked_at_once() -> None:
    named = r.Revocation(f"key-{SITES[1]}-1-{digest_of_key(key(1))}", NOW)
    (made,) = written(decided(key(1), [*project(2), named], by_site(1)), r.SiteKey)
    assert (made.state, made.revoked_at) == ("revoked", NOW)


def test_the_digest_of_a_key_and_an_identity_are_constants_of_the_format() -> None:
    stated = c.PutSiteKey(SITES[1], 1, bytes(1216), 1, 1000, 2000, bytes(64))
    assert digest_of_key(stated) == "b6110df3e23950f15b6300878d82532be2badd837c2f677627761aae27d6e639"
    assert digest_of_key(stated) == digest_of_key(key(2, public_key=bytes(1216), created_at=1000, expires_at=2000))
    assert identity_of(row(r.Site)) == IDENTITY


@pytest.mark.parametrize(
    ("last_s", "acquainted", "pinned", "expected", "recorded"),
    [
        (None, True, "a", "accepted", True),
        (3600, True, "a", "accepted", True),
        (3599.999999, True, "a", "accepted", False),
        (None, False, "a", "not_found", False),
        (None, True, "b", "no_conflict", False),
    ],
)
def test_a_conflict_is_on_record_once_an_hour(
    last_s: float | None, acquainted: bool, pinned: str, expected: str, recorded: bool
) -> None:
    rows = project(3) if acquainted else [*project(2), *site(2)]
    if last_s is not None:
        cause = f"conflict/{SITES[1]}/{SITES[2]}/bb"
        rows.append(r.Told(cause, SITES[1], 1, NOW - round(last_s * SECOND)))
    command = c.ReportConflict(SITES[1], SITES[2], pinned * 64, "b" * 64)
    decision = decided(command, rows, by_site(1))
    assert came_to(decision) == expected
    assert {one.stream_id for one in written(decision, r.Event)} == ({SITES[1], SITES[2]} if recorded else set())
