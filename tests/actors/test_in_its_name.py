"""What is done in a site's name by others stands in its stream, and its people are told, with who did it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from domain import commands as c
from domain import records as r
from domain import stream_commands as sc
from domain import stream_records as sr
from domain import values as v
from domain.events import EventKind
from domain.ids import sha256_hex
from domain.rules import Rules
from domain.states import Report
from domain.stream_values import Deployment, InferenceAsked
from domain.values import Subject
from fedyard.wire.notices import Notice
from tests import streams
from tests.hub import Hub
from web.api.table import operations

SECRET = "5" * 64


def told(hub: Hub, site: Subject) -> list[tuple[str, dict[str, Any]]]:
    return [(entry.kind, json.loads(entry.facts_json)) for entry in hub.inbox(site)]


def on_record(hub: Hub, site: Subject) -> list[str]:
    """The kinds of events in the site's stream, its enrolment left out."""
    return [str(e.kind) for e in hub.rows(r.Event, "stream_id = %s ORDER BY seq", site.id)][1:]


@pytest.fixture
def site(hub: Hub) -> Subject:
    return hub.site("one")


@pytest.fixture
def admin(hub: Hub) -> Subject:
    return hub.account(hub.organisation("network"), "admin", "Operator")


@pytest.fixture
def colleague(hub: Hub, site: Subject) -> Subject:
    return hub.account(site.organisation_id or "", "member", "Colleague")


def test_what_was_told_long_ago_is_forgotten_but_for_what_is_unread(hub: Hub, site: Subject, admin: Subject) -> None:
    """Each thing that an account does to each run is a cause of its own."""
    other = hub.site("two")
    for one in (site, other):
        hub.ok(c.UpdateSite(site_id=one.id, description="as the admin says"), admin)
    hub.ok(c.AcknowledgeInbox(site_id=site.id, through=hub.inbox(site)[-1].seq), site)
    hub.ok(c.ForgetHistory())
    assert {row.site_id for row in hub.rows(r.Told)} == {site.id, other.id}
    hub.clock.sleep(Rules().keep_inbox_s + 1)
    hub.ok(c.ForgetHistory())
    assert {row.site_id for row in hub.rows(r.Told)} == {other.id}
    before = len(hub.inbox(other))
    hub.ok(c.UpdateSite(site_id=other.id, description="and says again"), admin)
    assert len(hub.inbox(other)) == before


def test_a_token_that_an_admin_issued_and_revoked(hub: Hub, site: Subject, admin: Subject) -> None:
    expires = hub.clock.now() + 10**9
    issue = c.IssueToken(
        owner_kind="site", owner_id=site.id, sha256=SECRET, label="spare", scopes=["read", "write"], expires_at=expires
    )
    token = hub.ok(issue, admin)["id"]
    hub.ok(c.RevokeToken(token_id=token), admin)
    by = {"kind": "account", "id": admin.id, "role": "admin"}
    token_facts = {"token_id": token, "owner_id": site.id, "label": "spare"}
    assert told(hub, site) == [
        ("token_issued", {**token_facts, "scopes": "read write", "expires_at": expires, "by": by}),
        ("token_revoked", {**token_facts, "by": by}),
    ]
    assert on_record(hub, site) == ["token_issued", "token_revoked"]
    assert SECRET not in str(hub.inbox(site))


def test_a_token_of_the_site_is_told_whoever_asked(hub: Hub, site: Subject, colleague: Subject) -> None:
    """Who holds a stolen token acts as the site."""
    for number, by in enumerate((site, colleague)):
        secret = str(number) * 64
        hub.ok(c.IssueToken(owner_kind="site", owner_id=site.id, sha256=secret, label="x", scopes=["read"]), by)
    assert [facts["by"].get("name") for _, facts in told(hub, site)] == ["one", "Colleague"]


def test_a_persons_token_is_no_matter_of_a_site(hub: Hub, site: Subject, colleague: Subject) -> None:
    issue = c.IssueToken(owner_kind="account", owner_id=colleague.id, sha256=SECRET, label="x", scopes=["read"])
    hub.ok(issue, colleague)
    assert (told(hub, site), on_record(hub, site)) == ([], [])


@pytest.mark.parametrize("how", ["the first is revoked", "its owner is disabled"])
def test_tokens_that_go_with_the_one_that_they_were_issued_with(
    hub: Hub, site: Subject, admin: Subject, colleague: Subject, how: str
) -> None:
    """Somebody's account issues one for a site, and with that another is issued: both are told, and on record."""
    issued: list[str] = []
    owners = [("account", colleague.id), ("site", site.id), ("site", site.id)]
    for number, (kind, owner) in enumerate(owners):
        issue = c.IssueToken(
            owner_kind=kind,
            owner_id=owner,
            sha256=str(number) * 64,
            label=f"token {number}",
            scopes=["read"],
            issued_by=issued[-1] if issued else None,
        )
        issued.append(hub.ok(issue, colleague)["id"])
    other = c.IssueToken(owner_kind="site", owner_id=site.id, sha256="9" * 64, label="of another", scopes=["read"])
    stays = hub.ok(other, admin)["id"]
    if how == "the first is revoked":
        hub.ok(c.RevokeToken(token_id=issued[0]), admin)
    else:
        hub.ok(c.DisableAccount(account_id=colleague.id), admin)
    gone = [facts for kind, facts in told(hub, site) if kind == "token_revoked"]
    assert [(facts["token_id"], facts["by"]["id"]) for facts in gone] == [(one, admin.id) for one in issued[1:]]
    assert on_record(hub, site).count("token_revoked") == 2
    assert [hub.rows(r.Token, "id = %s", one)[0].revoked_at is None for one in (*issued, stays)] == [False] * 3 + [True]


def test_another_description(hub: Hub, site: Subject, admin: Subject) -> None:
    hub.ok(c.UpdateSite(site_id=site.id, description="by itself"), site)
    hub.ok(c.UpdateSite(site_id=site.id, description="by another"), admin)
    assert [(kind, facts["description"]) for kind, facts in told(hub, site)] == [("site_updated", "by another")]
    assert on_record(hub, site) == ["site_updated", "site_updated"]


def test_a_key_that_another_revoked(hub: Hub, site: Subject, admin: Subject) -> None:
    hub.ok(hub.key(site, 1), site)
    hub.ok(c.RevokeSiteKey(site_id=site.id, epoch=1, reason="stolen"), admin)
    ((kind, facts),) = told(hub, site)
    assert (kind, facts["reason"], facts["by"]["id"]) == ("key_changed", "stolen", admin.id)


def test_a_retirement_is_the_last_that_a_site_hears(hub: Hub, site: Subject, admin: Subject) -> None:
    hub.ok(c.RetireSite(site_id=site.id), admin)
    hub.ok(c.UpdateSite(site_id=site.id, description="too late"), admin)
    assert [kind for kind, _ in told(hub, site)] == ["site_retired"]


def test_a_membership_that_somebody_took_for_the_site(hub: Hub, site: Subject, colleague: Subject) -> None:
    (boss,) = hub.sites(1)
    project = hub.project([boss], joining="open")
    hub.ok(c.PutMember(project_id=project, site_id=site.id), colleague)
    hub.ok(c.RemoveMember(project_id=project, site_id=site.id, reason="enough"), boss)
    said = [(kind, facts["by"]["kind"], facts["by"].get("name")) for kind, facts in told(hub, site)]
    assert said == [("member_admitted", "account", "Colleague"), ("member_left", "site", "site 0")]
    assert on_record(hub, site) == ["member_admitted", "member_left"]
    event = hub.rows(r.Event, "stream_id = %s AND kind = %s", site.id, EventKind.MEMBER_LEFT)[0]
    assert json.loads(event.facts_json) == {"site_id": site.id, "reason": "enough", "project_id": project}
    others = [facts["by"] for kind, facts in told(hub, boss) if kind == Notice.MEMBER_ADMITTED]
    assert others == [{"kind": "account", "id": colleague.id, "role": "member"}]


def test_what_a_site_does_itself_stands_in_its_projects_stream_alone(hub: Hub, site: Subject) -> None:
    (boss,) = hub.sites(1)
    project = hub.project([boss], joining="open")
    hub.ok(c.PutMember(project_id=project, site_id=site.id), site)
    hub.ok(c.RemoveMember(project_id=project, site_id=site.id), site)
    assert on_record(hub, site) == []
    assert [kind for kind, _ in told(hub, site)] == ["member_admitted", "member_left"]


def test_a_project_that_somebody_created_in_the_sites_name(hub: Hub, site: Subject, colleague: Subject) -> None:
    task = v.TaskSpec(name="t", model="m")
    own = hub.ok(c.CreateProject(coordinator_site_id=site.id, name="own", tasks=[task]), site)["id"]
    anothers = hub.ok(c.CreateProject(coordinator_site_id=site.id, name="another's", tasks=[task]), colleague)["id"]
    assert own != anothers
    ((kind, facts),) = told(hub, site)
    assert (kind, facts["name"], facts["by"]["name"]) == ("project_created", "another's", "Colleague")
    assert [entry.project_id for entry in hub.inbox(site)] == [anothers]
    assert on_record(hub, site) == ["project_created"]


def test_a_conflict_that_somebody_put_on_record(hub: Hub, site: Subject, colleague: Subject) -> None:
    (boss,) = hub.sites(1)
    hub.project([boss, site])
    before = len(told(hub, site))
    conflict = c.ReportConflict(site_id=site.id, about_site_id=boss.id, pinned="1" * 64, seen="2" * 64)
    hub.ok(conflict, colleague)
    ((kind, facts),) = told(hub, site)[before:]
    assert (kind, facts["about_site_id"], facts["by"]["id"]) == ("identity_conflict", boss.id, colleague.id)


# every command, by a person


DATA = b'{"topic":"data:0:0:5","input_format":"RAW","input_config":{"data_reshape":"5"}}'
"""As a record of a control topic announces them."""


class Stage:
    """A project of `boss` with `site` as a member, a run under way, an artifact; and people who act for either."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.boss, self.site = hub.site("boss"), hub.site("one")
        self.admin = hub.account(hub.organisation("network"), "admin", "Operator")
        self.of_boss = hub.account(self.boss.organisation_id or "", "member", "Of the coordinator")
        self.of_site = hub.account(self.site.organisation_id or "", "member", "Of the site")
        self.project = hub.project([self.boss, self.site], joining="approval")
        if not hub.rows(r.Membership, "site_id = %s AND state = 'active'", self.site.id):
            hub.ok(c.PutMember(project_id=self.project, site_id=self.site.id), self.boss)
        hub.ok(hub.key(self.site, 1), self.site)

    def run(self) -> str:
        return self.hub.start(self.project, self.boss)

    def aggregating(self) -> str:
        run = self.run()
        self.hub.ready_all(run, [self.boss, self.site])
        self.hub.submit_all(run, [self.boss, self.site])
        return run

    def over(self) -> str:
        run = self.run()
        self.hub.ok(c.StopRun(run_id=run), self.boss)
        return run

    def token(self, owner: Subject) -> str:
        issue = c.IssueToken(owner_kind=owner.kind, owner_id=owner.id, sha256=SECRET, label="x", scopes=["read"])
        return str(self.hub.ok(issue, owner)["id"])

    def hooking(self, kind: v.WebhookOwner, owner: str) -> c.CreateWebhook:
        url = "https://hooks.example.org/in"
        return c.CreateWebhook(owner_kind=kind, owner_id=owner, url=url, kinds=["run.ended"])

    def hook(self, kind: v.WebhookOwner = "project", owner: str = "") -> str:
        return str(self.hub.ok(self.hooking(kind, owner or self.project), self.admin)["id"])

    def working(self) -> c.CreateWorkload:
        spec = v.WorkloadSpec(kind="service", image="example.org/x@sha256:" + "0" * 64, port=80)
        return c.CreateWorkload(project_id=self.project, name="w", where=f"site:{self.site.id}", spec=spec)

    def setting(self) -> c.SetSecret:
        return c.SetSecret(project_id=self.project, name="key", key_id="0" * 16, content=b"shut")

    def secret(self) -> str:
        return str(self.hub.ok(self.setting(), self.boss)["name"])

    def workload(self) -> str:
        return str(self.hub.ok(self.working(), self.boss)["id"])

    def drawing(self) -> sc.CreateArchitecture:
        return sc.CreateArchitecture(project_id=self.project, name="net", framework="tf", code="model = 1")

    def architecture(self) -> str:
        return str(self.hub.ok(self.drawing(), self.boss)["id"])

    def grouping(self) -> sc.CreateConfiguration:
        return sc.CreateConfiguration(project_id=self.project, name="set", architecture_ids=[self.architecture()])

    def configuration(self) -> str:
        return str(self.hub.ok(self.grouping(), self.boss)["id"])

    def serving(self) -> sc.StartInference:
        self.hub.rules = msgspec.structs.replace(self.hub.rules, streams=streams.RULES)
        streams.finished(self.hub.database, self.project)
        asked = InferenceAsked(input_format="RAW", input_config="{}", input_topic="in", output_topic="out")
        return sc.StartInference(project_id=self.project, result=7, asked=asked)

    def inference(self) -> str:
        return str(self.hub.ok(self.serving(), self.boss)["id"])

    def training(self) -> sc.StartDeployment:
        self.hub.rules = msgspec.structs.replace(self.hub.rules, streams=streams.RULES)
        contract = Deployment(tf_kwargs_fit="epochs=1")
        return sc.StartDeployment(project_id=self.project, contract=contract, architecture_ids=[self.architecture()])

    def deployment(self) -> tuple[str, int]:
        """Its run, and its number; it has one result, of the same number."""
        made = self.hub.ok(self.training(), self.boss)
        return str(made["id"]), int(made["number"])

    def ended_deployment(self) -> str:
        """Without results."""
        run, number = self.deployment()
        self.hub.ok(c.StopRun(run_id=run), self.boss)
        self.hub.ok(sc.DeleteResult(number=number), self.boss)
        return run

    def filing(self) -> sc.PutModelFile:
        made = self.artifact()
        self.hub.ok(c.CompleteArtifact(artifact_id=made, found=bytes(32)), self.site)
        return sc.PutModelFile(
            project_id=self.project, architecture_id=self.architecture(), version=1, artifact_id=made
        )

    def sending(self) -> sc.SendDataSource:
        _, number = self.deployment()
        source = streams.announced(self.hub.database, self.project)
        return sc.SendDataSource(data_source_id=source, deployment_number=number)

    def stopped_inference(self) -> str:
        made = self.inference()
        self.hub.ok(sc.StopInference(project_id=self.project, inference_id=made), self.boss)
        return made

    def problem(self) -> str:
        """The project, with what its own coordinator and selectors are made of."""
        parts = v.Infrastructure(coordinator_image="c:1", selector_image="s:1", where=f"site:{self.boss.id}")
        task = v.TaskSpec(name="t", model="fedota", contract=v.Contract(quorum=1, quorum_of="count"))
        self.hub.ok(c.UpdateProject(project_id=self.project, tasks=[task], infrastructure=parts), self.boss)
        return self.project

    def declaring(self) -> c.DeclareArtifact:
        return c.DeclareArtifact(
            owner_site_id=self.site.id, project_id=self.project, of_kind="result", size_bytes=1,
            digest=sha256_hex(bytes(32)), chunk_digests=bytes(32),
        )  # fmt: skip

    def artifact(self) -> str:
        return str(self.hub.ok(self.declaring(), self.site)["id"])


Does = tuple[c.AnyCommand, Subject, Subject | None]
"""A command, the person who sends it, and the site that it concerns; None: a person or an organisation."""


def _token_of(stage: Stage, owner: Subject, by: Subject) -> c.AnyCommand:
    assert by.kind == "account"
    return c.RevokeToken(token_id=stage.token(owner))


def _spec(name: str) -> list[v.TaskSpec]:
    return [v.TaskSpec(name=name, model="m")]


def _enrolment_of(stage: Stage) -> c.AnyCommand:
    expires, organisation = stage.hub.clock.now() + 10**9, stage.site.organisation_id or ""
    command = c.CreateEnrolment(organisation_id=organisation, sha256=SECRET, note="", expires_at=expires)
    return c.RevokeEnrolment(enrolment_id=stage.hub.ok(command, stage.admin)["id"])


def _session_of(stage: Stage) -> c.AnyCommand:
    account = stage.of_site.id
    stage.hub.ok(c.IssueSignIn(account_id=account, sha256=SECRET), stage.admin)
    stage.hub.ok(c.OpenSession(account_id=account, sha256=sha256_hex(b"session"), proof_sha256=SECRET), stage.of_site)
    return c.EndSessions(account_id=account)


ACTS: dict[str, Callable[[Stage], Does]] = {
    "create_organisation": lambda s: (c.CreateOrganisation(name="new"), s.admin, None),
    "create_account": lambda s: (
        c.CreateAccount(organisation_id=s.site.organisation_id or "", name="x", role="member", token_sha256=SECRET),
        s.admin,
        None,
    ),
    "disable_account": lambda s: (c.DisableAccount(account_id=s.of_site.id), s.admin, None),
    "issue_token": lambda s: (
        c.IssueToken(owner_kind="site", owner_id=s.site.id, sha256=SECRET, label="x", scopes=["read"]),
        s.admin,
        s.site,
    ),
    "revoke_token": lambda s: (_token_of(s, s.site, s.admin), s.admin, s.site),
    "create_enrolment": lambda s: (
        c.CreateEnrolment(
            organisation_id=s.site.organisation_id or "", sha256=SECRET, note="", expires_at=s.hub.clock.now() + 10**9
        ),
        s.admin,
        None,
    ),
    "revoke_enrolment": lambda s: (_enrolment_of(s), s.admin, None),
    "issue_sign_in": lambda s: (c.IssueSignIn(account_id=s.of_site.id, sha256=SECRET), s.admin, None),
    "end_sessions": lambda s: (_session_of(s), s.admin, None),
    "update_site": lambda s: (c.UpdateSite(site_id=s.site.id, description="x"), s.admin, s.site),
    "retire_site": lambda s: (c.RetireSite(site_id=s.site.id), s.admin, s.site),
    "revoke_site_key": lambda s: (c.RevokeSiteKey(site_id=s.site.id, epoch=1), s.admin, s.site),
    "report_conflict": lambda s: (
        c.ReportConflict(site_id=s.site.id, about_site_id=s.boss.id, pinned="1" * 64, seen="2" * 64),
        s.of_site,
        s.site,
    ),
    "create_project": lambda s: (
        c.CreateProject(coordinator_site_id=s.site.id, name="new", tasks=_spec("t")),
        s.of_site,
        s.site,
    ),
    "update_project": lambda s: (c.UpdateProject(project_id=s.project, description="x"), s.admin, s.boss),
    "archive_project": lambda s: (c.ArchiveProject(project_id=s.project), s.admin, s.boss),
    "put_member": lambda s: (
        c.PutMember(project_id=s.project, site_id=s.hub.site("third").id),
        s.of_boss,
        s.boss,
    ),
    "remove_member": lambda s: (c.RemoveMember(project_id=s.project, site_id=s.site.id), s.of_boss, s.boss),
    "remove_member: the site": lambda s: (
        c.RemoveMember(project_id=s.project, site_id=s.site.id),
        s.of_boss,
        s.site,
    ),
    "start_run": lambda s: (c.StartRun(project_id=s.project), s.of_boss, s.boss),
    "stop_run": lambda s: (c.StopRun(run_id=s.run()), s.admin, s.boss),
    "restart_run": lambda s: (c.RestartRun(run_id=s.over()), s.of_boss, s.boss),
    "report_seat": lambda s: (s.hub.reporting(s.run(), s.site, Report.READY), s.of_site, s.site),
    "report_aggregated": lambda s: (
        c.ReportAggregated(run_id=s.aggregating(), task_seq=1, round=1, model=b"model"),
        s.of_boss,
        s.boss,
    ),
    "report_missing_receipt": lambda s: (_missing(s), s.of_site, s.site),
    "write_log": lambda s: (
        c.WriteLog(run_id=s.run(), task_seq=1, site_id=s.site.id, seq=1, pieces=[b"x"]),
        s.of_site,
        s.site,
    ),
    "create_organisation_webhook": lambda s: (s.hooking("organisation", s.site.organisation_id or ""), s.of_site, None),
    "create_project_webhook": lambda s: (s.hooking("project", s.project), s.of_boss, s.boss),
    "delete_webhook": lambda s: (c.DeleteWebhook(webhook_id=s.hook()), s.of_boss, s.boss),
    "delete_webhook: an organisation's": lambda s: (
        c.DeleteWebhook(webhook_id=s.hook("organisation", s.site.organisation_id or "")),
        s.of_site,
        None,
    ),
    "rotate_webhook": lambda s: (c.RotateWebhook(webhook_id=s.hook()), s.admin, s.boss),
    "enable_webhook": lambda s: (c.EnableWebhook(webhook_id=s.hook()), s.admin, s.boss),
    "redeliver_webhook": lambda s: (c.RedeliverWebhook(webhook_id=s.hook(), since=0), s.of_boss, s.boss),
    "create_workload": lambda s: (s.working(), s.of_boss, s.boss),
    "scale_workload": lambda s: (c.ScaleWorkload(workload_id=s.workload(), replicas=2), s.of_boss, s.boss),
    "stop_workload": lambda s: (c.StopWorkload(workload_id=s.workload()), s.admin, s.boss),
    "start_infrastructure": lambda s: (c.StartInfrastructure(project_id=s.problem()), s.of_boss, s.boss),
    "scale_selectors": lambda s: (c.ScaleSelectors(project_id=s.problem(), selectors=3), s.admin, s.boss),
    "stop_infrastructure": lambda s: (c.StopInfrastructure(project_id=s.problem()), s.admin, s.boss),
    "set_secret": lambda s: (s.setting(), s.of_boss, s.boss),
    "delete_secret": lambda s: (c.DeleteSecret(project_id=s.project, name=s.secret()), s.of_boss, s.boss),
    "create_architecture": lambda s: (s.drawing(), s.of_boss, s.boss),
    "change_architecture": lambda s: (
        sc.ChangeArchitecture(
            project_id=s.project, architecture_id=s.architecture(), name="b", framework="tf", code="model = 2"
        ),
        s.of_boss,
        s.boss,
    ),
    "delete_architecture": lambda s: (
        sc.DeleteArchitecture(project_id=s.project, architecture_id=s.architecture()),
        s.of_boss,
        s.boss,
    ),
    "create_configuration": lambda s: (s.grouping(), s.of_boss, s.boss),
    "change_configuration": lambda s: (
        sc.ChangeConfiguration(project_id=s.project, configuration_id=s.configuration(), name="b", architecture_ids=[]),
        s.of_boss,
        s.boss,
    ),
    "delete_configuration": lambda s: (
        sc.DeleteConfiguration(project_id=s.project, configuration_id=s.configuration()),
        s.of_boss,
        s.boss,
    ),
    "start_deployment": lambda s: (s.training(), s.of_boss, s.boss),
    "stop_deployment": lambda s: (c.StopRun(run_id=s.deployment()[0]), s.admin, s.boss),
    "delete_deployment": lambda s: (sc.DeleteDeployment(run_id=s.ended_deployment()), s.of_boss, s.boss),
    "stop_training_result": lambda s: (sc.StopResult(number=s.deployment()[1]), s.admin, s.boss),
    "delete_training_result": lambda s: (sc.DeleteResult(number=s.deployment()[1]), s.of_boss, s.boss),
    "put_model_file": lambda s: (s.filing(), s.of_boss, s.boss),
    "send_data_source": lambda s: (s.sending(), s.of_boss, s.boss),
    "withdraw_data_source": lambda s: (
        sc.WithdrawDataSource(data_source_id=streams.announced(s.hub.database, s.project)),
        s.admin,
        None,
    ),
    "replay_quarantined": lambda s: (
        sc.ReplayRecord(record_id=streams.quarantined(s.hub.database, value=DATA), deployment_number=7),
        s.admin,
        None,
    ),
    "purge_quarantined": lambda s: (
        sc.PurgeRecords(record_ids=[streams.quarantined(s.hub.database)]),
        s.admin,
        None,
    ),
    "replay_dead_letters": lambda s: (
        c.ReplayDeadLetters(organisation_id=s.admin.organisation_id or "", letter_ids=["x"]),
        s.admin,
        None,
    ),
    "purge_dead_letters": lambda s: (
        c.PurgeDeadLetters(organisation_id=s.admin.organisation_id or "", letter_ids=["x"]),
        s.admin,
        None,
    ),
    "start_inference": lambda s: (s.serving(), s.of_boss, s.boss),
    "stop_inference": lambda s: (
        sc.StopInference(project_id=s.project, inference_id=s.inference()),
        s.admin,
        s.boss,
    ),
    "delete_inference": lambda s: (
        sc.DeleteInference(project_id=s.project, inference_id=s.stopped_inference()),
        s.of_boss,
        s.boss,
    ),
    "issue_client_token": lambda s: (
        c.IssueClientToken(project_id=s.project, site_id=s.site.id, sha256=SECRET),
        s.of_site,
        s.site,
    ),
    "say_ready": lambda s: (c.SayReady(project_id=s.project, site_id=s.site.id), s.of_site, s.site),
    "declare_artifact": lambda s: (s.declaring(), s.of_site, s.site),
    "complete_artifact": lambda s: (
        c.CompleteArtifact(artifact_id=s.artifact(), found=bytes(32)),
        s.of_site,
        s.site,
    ),
    "delete_artifact": lambda s: (c.DeleteArtifact(artifact_id=s.artifact()), s.admin, s.site),
}
"""One for each operation that a person may write with. Of those on people the organisation's stream tells."""


def _missing(stage: Stage) -> c.AnyCommand:
    run = stage.aggregating()
    stage.hub.aggregate(run, stage.boss, 1)
    return c.ReportMissingReceipt(run_id=run, task_seq=1, round=1, site_id=stage.site.id, reason="not_named")


def test_every_operation_that_a_person_may_write_with_is_here() -> None:
    writes = {operation.name for operation in operations() if operation.write and "account" in operation.who}
    assert writes == {name.partition(":")[0] for name in ACTS}


@pytest.mark.parametrize("act", ACTS)
def test_what_a_person_does_is_on_record_and_told(hub: Hub, act: str) -> None:
    stage = Stage(hub)
    command, by, concerned = ACTS[act](stage)
    before = len(told(hub, concerned)) if concerned else 0
    id = hub.envelope(command, by, key="the act").id
    hub.ok(command, by, key="the act")
    events = hub.rows(r.Event, "command_id = %s", id)
    assert events
    assert {event.subject_id for event in events} == {by.id}
    if concerned is None:
        others = {row.id for row in (*hub.rows(r.Organisation), *hub.rows(sr.KafkaCluster))}
        assert {e.stream_id for e in events} & others
        return
    assert concerned.id in {event.stream_id for event in events}
    facts = [facts for _, facts in told(hub, concerned)[before:]]
    assert any(one.get("by", {}).get("id") == by.id for one in facts), facts


def test_acts_of_one_kind_are_told_once_until_that_is_read(hub: Hub) -> None:
    stage = Stage(hub)
    for number in range(3):
        hub.ok(c.UpdateProject(project_id=stage.project, description=str(number)), stage.admin)
    assert [kind for kind, _ in told(hub, stage.boss)].count("acted_for") == 1
    seq = hub.inbox(stage.boss)[-1].seq
    hub.ok(c.AcknowledgeInbox(site_id=stage.boss.id, through=seq), stage.boss)
    hub.ok(c.UpdateProject(project_id=stage.project, description="again"), stage.admin)
    assert [facts["act"] for kind, facts in told(hub, stage.boss) if kind == "acted_for"] == ["update_project"] * 2


def test_what_was_refused_is_not_told(hub: Hub) -> None:
    stage = Stage(hub)
    assert hub.refused(c.StartRun(project_id=stage.project), stage.of_site)[0] == 403
    assert hub.refused(c.StopRun(run_id=stage.over()), stage.admin)[0] == 409
    assert "acted_for" not in [kind for kind, _ in told(hub, stage.boss)]
