"""The rights matrix: every operation as every kind of caller, on other people's things.

A caller who may not is refused with 401, 403 or 404 and nothing else, whatever state the thing is in; who may not know
of the thing cannot tell it from one that is not there; and what an answer holds is for that caller. An operation that
is missing in the table fails the test.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from actors.running import run_decider
from config.clock import SystemClock
from config.settings import Settings
from devservers.postgres import PrivatePostgres
from devservers.rabbitmq import PrivateRabbitmq
from domain.ids import derive
from tests import streams
from tests.databases import lent_postgres
from tests.seals import enrolling
from tests.waiting import until
from tests.web.network import Caller, Network, network
from tests.web.test_keys import key_of
from web.api.table import operations

METHODS = {operation.name: operation.method for operation in operations()}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


# who

DEAD = {"nobody", "garbage", "revoked", "expired", "retired", "enrolment_used", "enrolment_expired"}
SITES = {"coordinator", "participant", "victim", "pending", "invited", "declined", "past", "outsider"}
PEOPLE = {"admin", "auditor", "auditor_victim", "member_coordinator", "member_victim", "member_other"}
ALIVE = SITES | PEOPLE
CLIENTS = {"client", "client_elsewhere"}
"""Clients of the victim's: of the project, and of another one."""
ALL = DEAD | ALIVE | CLIENTS | {"enrolment", "victim_readonly"}
SEE = {"admin", "auditor", "auditor_victim"}
"""They read every record, and no body."""
VICTIM = {"victim", "member_victim"}
LEAD = {"coordinator", "member_coordinator"}
MEMBERS = LEAD | VICTIM | {"participant"}


@dataclass(frozen=True)
class Row:
    """One request. path: {names} are ids that a stranger must not tell from none. may: who is let through.

    spare: not called by who may, because it would end the scene.
    """

    path: str
    may: set[str]
    body: dict[str, Any] | None = None
    spare: bool = False
    data: bytes | None = None


NONE = "A" * 43 + "="
_DIGEST = hashlib.sha256(b"z").digest()
DECLARED = {"size_bytes": 1, "chunk_digests": text(_DIGEST), "digest": hashlib.sha256(_DIGEST).hexdigest()}
TASK = {"name": "t", "model": "m"}
FEW = {"quorum": 1, "quorum_of": "count"}

SPEC = {"kind": "service", "image": "i", "port": 80}
NET = {"name": "evil", "framework": "tf", "code": "model = 1"}
SET: dict[str, Any] = {"name": "evil", "architecture_ids": []}
SERVE = {
    "result": 99,
    "asked": {"input_format": "RAW", "input_config": "", "input_topic": "in", "output_topic": "out"},
}
HOOK = {"url": "https://hooks.example.org/in", "kinds": ["run.ended"]}

TABLE: dict[str, Row] = {
    "healthz": Row("/healthz", ALL),
    "readyz": Row("/readyz", ALL),
    "metrics": Row("/metrics", ALL),
    "openapi": Row("/openapi.json", ALL),
    "read_me": Row("/v1/me", ALIVE),
    "create_organisation": Row("/v1/organisations", {"admin"}, {"name": "evil"}, spare=True),
    "list_organisations": Row("/v1/organisations?limit=200", ALIVE),
    "read_organisation": Row("/v1/organisations/{house}", SEE | VICTIM),
    "create_account": Row(
        "/v1/accounts", {"admin"}, {"organisation_id": "{house}", "name": "evil", "role": "admin"}, spare=True
    ),
    "list_accounts": Row("/v1/accounts?limit=200", PEOPLE),
    "read_account": Row("/v1/accounts/{account}", SEE | {"member_victim"}),
    "disable_account": Row("/v1/accounts/{account}", {"admin"}, spare=True),
    "issue_token": Row(
        "/v1/tokens",
        VICTIM | {"admin"},
        {"label": "evil", "owner_kind": "site", "owner_id": "{victim}", "scopes": ["write"]},
    ),
    "issue_token: of an account": Row(
        "/v1/tokens",
        {"admin", "member_victim"},
        {"label": "evil", "owner_kind": "account", "owner_id": "{account}"},
    ),
    "list_tokens": Row("/v1/tokens?limit=200", ALIVE),
    "revoke_token": Row("/v1/tokens/{token}", VICTIM | {"admin"}, spare=True),
    "issue_sign_in": Row("/v1/sign-ins", {"admin", "member_victim"}, {"account_id": "{account}"}),
    "end_sessions": Row("/v1/accounts/{account}/sessions", {"admin", "member_victim"}),
    "create_enrolment": Row("/v1/enrolments", {"admin"}, {"organisation_id": "{house}"}),
    "revoke_enrolment": Row("/v1/enrolments/{enrolment}", {"admin"}, spare=True),
    "list_enrolments": Row("/v1/enrolments?limit=200", SEE),
    "enrol_site": Row(
        "/v1/sites", {"enrolment"}, {"name": "evil", "identity_key": "A" * 43 + "=", "proof": "A" * 86 + "=="}
    ),
    "list_sites": Row("/v1/sites?limit=200", ALIVE),
    "list_sites: of the project": Row("/v1/sites?limit=200&project={project}", ALIVE),
    "read_site": Row("/v1/sites/{victim}", SEE | MEMBERS),
    "update_site": Row("/v1/sites/{victim}", VICTIM | {"admin"}, {"description": "evil"}),
    "retire_site": Row("/v1/sites/{victim}", VICTIM | {"admin"}, spare=True),
    "beat": Row("/v1/sites/{victim}/heartbeat", {"victim"}, {}),
    "list_site_events": Row("/v1/sites/{victim}/events", SEE | VICTIM),
    "put_site_key": Row("/v1/sites/{victim}/keys/1", {"victim"}, {"key": "{key}"}),
    "revoke_site_key": Row("/v1/sites/{victim}/keys/1", VICTIM | {"admin"}, {"reason": "evil"}, spare=True),
    "list_site_keys": Row("/v1/sites/{victim}/keys", SEE | MEMBERS),
    "report_conflict": Row("/v1/sites/{victim}/conflicts/{lead}", VICTIM, {"pinned": "a" * 64, "seen": "b" * 64}),
    "recover_site": Row("/v1/sites/{victim}/recovery", {"victim"}, {"last_seq": 0}, spare=True),
    "list_project_keys": Row("/v1/projects/{project}/keys", SEE | MEMBERS),
    "create_project": Row(
        "/v1/projects", VICTIM, {"name": "evil", "tasks": [TASK], "coordinator_site_id": "{victim}"}, spare=True
    ),
    "list_projects": Row("/v1/projects?limit=200", ALIVE),
    "list_projects: of a member": Row("/v1/projects?limit=200&member={victim}", ALIVE),
    "read_project": Row("/v1/projects/{project}", SEE | MEMBERS | {"pending", "invited"}),
    "update_project": Row("/v1/projects/{project}", LEAD | {"admin"}, {"description": "MARK-project"}, spare=True),
    "archive_project": Row("/v1/projects/{project}", LEAD | {"admin"}, spare=True),
    "list_members": Row("/v1/projects/{project}/members", SEE | MEMBERS),
    "put_member": Row("/v1/projects/{project}/members/{stranger}", LEAD, {}, spare=True),
    "remove_member": Row("/v1/projects/{project}/members/{victim}", LEAD | VICTIM, spare=True),
    "say_ready": Row("/v1/projects/{project}/members/{victim}/ready", VICTIM | {"client"}, {}),
    "issue_client_token": Row("/v1/projects/{project}/members/{victim}/client-tokens", VICTIM, {}),
    "read_joining": Row("/v1/projects/{project}/joining", SEE | MEMBERS | {"client"}),
    "read_build_context": Row("/v1/projects/{project}/joining/context", SEE | MEMBERS),
    "list_project_events": Row("/v1/projects/{project}/events", SEE | LEAD),
    "start_run": Row("/v1/projects/{project}/runs", LEAD, {}),
    "list_project_runs": Row("/v1/projects/{project}/runs", SEE | MEMBERS),
    "list_models": Row("/v1/projects/{project}/models", SEE | MEMBERS),
    "list_runs": Row("/v1/runs?project={project}", ALIVE),
    "read_run": Row("/v1/runs/{run}", SEE | MEMBERS | {"past"}),
    "read_run: of a version to come": Row("/v1/runs/{run}?after=99999&wait=0.01", SEE | MEMBERS | {"past"}),
    "stop_run": Row("/v1/runs/{run}/stop", LEAD | {"admin"}, {"reason": "evil"}, spare=True),
    "restart_run": Row("/v1/runs/{run}/restart", LEAD, {}, spare=True),
    "list_run_events": Row("/v1/runs/{run}/events?limit=200", SEE | MEMBERS | {"past"}),
    "list_matches": Row("/v1/runs/{run}/matches", SEE | LEAD),
    "list_model_announcements": Row("/v1/model-announcements", ALIVE),
    "list_data_sources": Row("/v1/data-sources", ALIVE),
    "read_data_source": Row("/v1/data-sources/{source}", SEE | MEMBERS),
    "send_data_source": Row("/v1/data-sources/{source}/send", LEAD | {"admin"}, {"deployment": 98}),
    "read_sending": Row("/v1/sendings/{sending}", SEE | MEMBERS),
    "withdraw_data_source": Row("/v1/data-sources/{source}/withdraw", {"admin"}, spare=True),
    "read_streams": Row("/v1/streams", SEE),
    "list_quarantine": Row("/v1/streams/quarantine", SEE),
    "read_quarantined": Row("/v1/streams/quarantine/{record}", SEE),
    "replay_quarantined": Row("/v1/streams/quarantine/{record}/replay", {"admin"}, spare=True),
    "purge_quarantined": Row("/v1/streams/quarantine/{record}", {"admin"}, spare=True),
    "list_processes": Row("/v1/processes", SEE),
    "list_dead_letters": Row("/v1/dead-letters", SEE),
    "replay_dead_letters": Row("/v1/dead-letters/replay", {"admin"}, {"letter_ids": ["x"]}),
    "purge_dead_letters": Row("/v1/dead-letters/purge", {"admin"}, {"letter_ids": ["x"]}),
    "list_all_deployments": Row("/v1/deployments", ALIVE),
    "list_concerns": Row("/v1/concerns", PEOPLE),
    "read_vitals": Row("/v1/vitals", SEE),
    "report_seat": Row("/v1/runs/{run}/tasks/1/seats/{victim}", VICTIM, {"event": "submit", "seq": 2, "round": 1}),
    "report_aggregated": Row("/v1/runs/{run}/tasks/1/rounds/1/aggregated", LEAD, {"failure": "evil"}, spare=True),
    "report_missing_receipt": Row(
        "/v1/runs/{run}/tasks/1/rounds/1/missing-receipts/{victim}", VICTIM, {"reason": "not_named"}, spare=True
    ),
    "write_log": Row("/v1/runs/{run}/tasks/1/logs/{victim}", VICTIM, {"seq": 1, "pieces": [text(b"evil")]}),
    "read_logs": Row("/v1/runs/{run}/logs", SEE | MEMBERS | {"past"}),
    "read_logs: of a site": Row("/v1/runs/{run}/logs?site={victim}", SEE | MEMBERS | {"past"}),
    "post_messages": Row(
        "/v1/messages",
        {"coordinator", "participant", "victim"},
        {"messages": [{"project_id": "{project}", "to": "coordinator", "body": text(b"x")}]},
    ),
    "post_messages: to the victim": Row(
        "/v1/messages",
        {"coordinator"},
        {"messages": [{"project_id": "{project}", "to": ["{victim}"], "body": text(b"x")}]},
    ),
    "post_messages: with another's artifact": Row(
        "/v1/messages",
        {"victim"},
        {"messages": [{"project_id": "{project}", "to": "coordinator", "artifact_id": "{artifact}"}]},
    ),
    "read_message": Row("/v1/messages/{message}", LEAD | VICTIM),
    "read_message: an update": Row("/v1/messages/{update}", LEAD | VICTIM),
    "declare_artifact": Row(
        "/v1/artifacts",
        {"participant", "victim"} | LEAD,
        {"project_id": "{project}", "kind": "result", **DECLARED},
    ),
    "declare_artifact: in the victim's name": Row(
        "/v1/artifacts",
        VICTIM,
        {"project_id": "{project}", "kind": "result", "owner_site_id": "{victim}", **DECLARED},
    ),
    "declare_artifact: initial files": Row(
        "/v1/artifacts", LEAD, {"project_id": "{project}", "kind": "initial", "owner_site_id": "{lead}", **DECLARED}
    ),
    "list_artifacts": Row("/v1/artifacts?project={project}&limit=200", ALIVE),
    "read_initial_file": Row("/v1/projects/{project}/initial-files/{initial}", MEMBERS | {"client"}),
    "read_artifact": Row("/v1/artifacts/{artifact}", LEAD | VICTIM),
    "read_artifact_about": Row("/v1/artifacts/{artifact}/about", LEAD | VICTIM | SEE),
    "delete_artifact": Row("/v1/artifacts/{artifact}", LEAD | VICTIM | {"admin"}, spare=True),
    "list_chunks": Row("/v1/artifacts/{declared}/chunks", VICTIM),
    "put_chunk": Row("/v1/artifacts/{declared}/chunks/0", VICTIM, data=b"q"),
    "complete_artifact": Row("/v1/artifacts/{declared}/complete", VICTIM),
    "read_inbox": Row("/v1/inbox", SITES),
    "acknowledge_inbox": Row("/v1/inbox/acknowledged", SITES, {"through": 0}),
    "list_heads": Row("/v1/heads?limit=200", ALIVE),
    "create_organisation_webhook": Row("/v1/organisations/{house}/webhooks", {"admin", "member_victim"}, HOOK),
    "list_organisation_webhooks": Row("/v1/organisations/{house}/webhooks", SEE | {"member_victim"}),
    "create_project_webhook": Row("/v1/projects/{project}/webhooks", LEAD | {"admin"}, HOOK),
    "list_project_webhooks": Row("/v1/projects/{project}/webhooks", SEE | LEAD),
    "list_events": Row("/v1/events?limit=200", ALIVE),
    "verify_events": Row("/v1/events/verification", SEE),
    "list_webhooks": Row("/v1/webhooks?limit=200", ALIVE),
    "read_webhook": Row("/v1/webhooks/{hook_house}", SEE | {"member_victim"}),
    "read_webhook: of a project": Row("/v1/webhooks/{hook_project}", SEE | LEAD),
    "delete_webhook": Row("/v1/webhooks/{hook_house}", {"admin", "member_victim"}, spare=True),
    "delete_webhook: of a project": Row("/v1/webhooks/{hook_project}", LEAD | {"admin"}, spare=True),
    "rotate_webhook": Row("/v1/webhooks/{hook_house}/rotate", {"admin", "member_victim"}),
    "rotate_webhook: of a project": Row("/v1/webhooks/{hook_project}/rotate", LEAD | {"admin"}),
    "enable_webhook": Row("/v1/webhooks/{hook_house}/enable", {"admin", "member_victim"}),
    "redeliver_webhook": Row(
        "/v1/webhooks/{hook_house}/redeliver", {"admin", "member_victim"}, {"since": "2026-01-01T00:00:00Z"}
    ),
    "list_deliveries": Row("/v1/webhooks/{hook_house}/deliveries", SEE | {"member_victim"}),
    "list_deliveries: of a project": Row("/v1/webhooks/{hook_project}/deliveries", SEE | LEAD),
    "start_deployment": Row("/v1/projects/{project}/deployments", LEAD | {"admin"}, {"contract": {}}),
    "list_deployments": Row("/v1/projects/{project}/deployments", SEE | MEMBERS),
    "read_deployment": Row("/v1/deployments/{run}", SEE | MEMBERS),
    "stop_deployment": Row("/v1/deployments/{run}/stop", LEAD | {"admin"}, {"reason": "evil"}, spare=True),
    "delete_deployment": Row("/v1/deployments/{run}", LEAD | {"admin"}),
    "read_training_result": Row("/v1/training-results/1", set()),
    "stop_training_result": Row("/v1/training-results/1/stop", set(), {"reason": "evil"}),
    "delete_training_result": Row("/v1/training-results/1", set()),
    "read_door_architecture": Row(f"/w/{'0' * 104}/results/1", set()),
    "read_door_model": Row(f"/w/{'0' * 104}/results/model/1", set()),
    "take_door_metrics": Row(f"/w/{'0' * 104}/results_metrics/1", set(), data=b"data={}"),
    "take_door_result": Row(f"/w/{'0' * 104}/results/1", set(), data=b"{}"),
    "create_architecture": Row("/v1/projects/{project}/architectures", LEAD, NET),
    "list_architectures": Row("/v1/projects/{project}/architectures", SEE | MEMBERS),
    "read_architecture": Row("/v1/projects/{project}/architectures/{architecture}", SEE | MEMBERS),
    "read_architecture_version": Row("/v1/projects/{project}/architectures/{architecture}/versions/1", SEE | MEMBERS),
    "put_model_file": Row(
        "/v1/projects/{project}/architectures/{architecture}/versions/1/file",
        LEAD,
        {"artifact_id": "{artifact}"},
        spare=True,
    ),
    "change_architecture": Row("/v1/projects/{project}/architectures/{architecture}", LEAD, NET, spare=True),
    "delete_architecture": Row("/v1/projects/{project}/architectures/{architecture}", LEAD, spare=True),
    "create_configuration": Row("/v1/projects/{project}/configurations", LEAD, SET),
    "list_configurations": Row("/v1/projects/{project}/configurations", SEE | MEMBERS),
    "read_configuration": Row("/v1/projects/{project}/configurations/{configuration}", SEE | MEMBERS),
    "change_configuration": Row("/v1/projects/{project}/configurations/{configuration}", LEAD, SET, spare=True),
    "delete_configuration": Row("/v1/projects/{project}/configurations/{configuration}", LEAD, spare=True),
    "start_inference": Row("/v1/projects/{project}/inferences", LEAD, SERVE),
    "list_inferences": Row("/v1/projects/{project}/inferences", SEE | MEMBERS),
    "read_inference": Row("/v1/projects/{project}/inferences/{inference}", SEE | MEMBERS),
    "stop_inference": Row("/v1/projects/{project}/inferences/{inference}/stop", LEAD | {"admin"}),
    "delete_inference": Row("/v1/projects/{project}/inferences/{inference}", LEAD | {"admin"}, spare=True),
    "create_workload": Row(
        "/v1/projects/{project}/workloads", LEAD | {"admin"}, {"name": "w", "where": "hub", "spec": SPEC}
    ),
    "start_infrastructure": Row("/v1/projects/{project}/infrastructure/start", LEAD | {"admin"}),
    "scale_selectors": Row("/v1/projects/{project}/infrastructure/selectors", LEAD | {"admin"}, {"selectors": 3}),
    "stop_infrastructure": Row("/v1/projects/{project}/infrastructure/stop", LEAD | {"admin"}),
    "list_workloads": Row("/v1/projects/{project}/workloads", SEE | LEAD),
    "read_workload": Row("/v1/workloads/{workload}", SEE | LEAD | VICTIM),
    "list_workload_attempts": Row("/v1/workloads/{workload}/attempts", SEE | LEAD | VICTIM),
    "read_workload_archive": Row("/v1/workloads/{workload}/archive", set()),
    "read_workload_model": Row("/v1/workloads/{workload}/model", set()),
    "read_workload_input": Row("/v1/workloads/{workload}/inputs/start", set()),
    "declare_workload_output": Row("/v1/workloads/{workload}/outputs/model", set(), DECLARED),
    "put_workload_output_chunk": Row("/v1/workloads/{workload}/outputs/model/chunks/0", set(), data=b"z"),
    "complete_workload_output": Row("/v1/workloads/{workload}/outputs/model/complete", set()),
    "read_workload_log": Row("/v1/workloads/{workload}/log", SEE | LEAD | VICTIM),
    "read_workload_log: live": Row("/v1/workloads/{workload}/log?after=0&wait=0.01", SEE | LEAD | VICTIM),
    "set_secret": Row("/v1/projects/{project}/secrets/db", LEAD, {"value": "evil"}),
    "delete_secret": Row("/v1/projects/{project}/secrets/db", LEAD, spare=True),
    "list_secrets": Row("/v1/projects/{project}/secrets", SEE | LEAD),
    "write_workload_log": Row(
        "/v1/workloads/{workload}/log", {"victim"}, {"attempt": 1, "start": 0, "log": text(b"evil")}
    ),
    "stop_workload": Row("/v1/workloads/{workload}/stop", LEAD | {"admin"}, spare=True),
    "scale_workload": Row("/v1/workloads/{workload}/replicas", LEAD | {"admin"}, {"replicas": 2}),
    "list_site_workloads": Row("/v1/sites/{victim}/workloads", {"victim"}),
    "list_site_places": Row("/v1/sites/{victim}/places", {"victim"}),
    "report_place_gone": Row("/v1/sites/{victim}/places/{project}/gone", {"victim"}, spare=True),
    "report_workload": Row("/v1/workloads/{workload}/report", {"victim"}, {"attempt": 1, "phase": "running"}),
    "report_round": Row("/v1/projects/{project}/rounds", set(), {"number": 0, "stage": "SELECTION"}),
    "list_rounds": Row("/v1/projects/{project}/rounds", SEE | MEMBERS | {"client"}),
    "read_command": Row("/v1/commands/{command}", ALIVE | {"enrolment"}),
}

KNOWN_BY = {
    "/v1/runs/": "read_run",
    "/v1/projects/": "read_project",
    "/v1/sites/": "read_site",
    "/v1/data-sources/": "read_data_source",
    "/v1/deployments/": "read_deployment",
}
"""Who reads a thing may be told 403 of it: nothing new."""


@dataclass
class Scene:
    """Callers by role, ids by name, and what nobody but some may be shown."""

    net: Network
    callers: dict[str, Caller] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    def call(self, name: str, role: str, ids: dict[str, str]) -> TestResponse:
        row = TABLE[name]
        path = row.path.format_map(ids)
        more: dict[str, Any] = {} if row.data is None else {"data": row.data, "wait": False}
        body = _filled(row.body, ids)
        if name == "put_site_key":
            body = key_of(self.ids["victim"], 1)
        return self.callers[role].call(METHODS[name.split(":", maxsplit=1)[0]], path, body, **more)

    def fake(self) -> dict[str, str]:
        return {name: f"00000000-0000-4000-8000-{place:012d}" for place, name in enumerate(self.ids)}


def _filled(body: Any, ids: dict[str, str]) -> Any:
    if isinstance(body, dict):
        return {name: _filled(value, ids) for name, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, ids) for value in body]
    return body.format_map(ids) if isinstance(body, str) and body.startswith("{") else body


def build(net: Network) -> Scene:
    scene, who = Scene(net), {}
    houses = {name: net.organisation(f"house of {name}") for name in ("coordinator", "victim", "outsider")}
    for name in sorted(SITES | {"stranger", "retired"}):
        who[name] = net.site(f"site {name}", houses.get(name))
    who["retired"].ok("DELETE", f"/v1/sites/{who['retired'].id}")
    operators = net.admin.ok("GET", "/v1/me")["organisation_id"]
    who["admin"], who["auditor"] = net.admin, net.account(operators, "auditor")
    who["auditor_victim"] = net.account(houses["victim"], "auditor")
    for name, house in (("coordinator", "coordinator"), ("victim", "victim"), ("other", "outsider")):
        who[f"member_{name}"] = net.account(houses[house], "member")
    lead, victim = who["coordinator"], who["victim"]
    who["nobody"], who["garbage"] = net.stranger(None), net.stranger("fyd_garbage")
    gone = victim.ok("POST", "/v1/tokens", {"label": "gone"})
    victim.ok("DELETE", f"/v1/tokens/{gone['id']}")
    who["revoked"] = net.stranger(gone["token"])
    who["victim_readonly"] = net.stranger(victim.ok("POST", "/v1/tokens", {"label": "ro", "scopes": ["read"]})["token"])
    who["enrolment"] = net.enrolment(houses["outsider"])
    who["enrolment_used"] = net.enrolment(houses["outsider"])
    who["enrolment_used"].ok("POST", "/v1/sites", enrolling(who["enrolment_used"].token, "site of a used enrolment"))
    short = {"organisation_id": houses["outsider"], "expires_in_s": 1}
    who["enrolment_expired"] = net.stranger(net.admin.ok("POST", "/v1/enrolments", short)["token"])
    until(lambda: who["enrolment_expired"].get("/v1/me").status_code == 401)
    soon = SystemClock().now() + 1_500_000
    when = {"label": "soon", "expires_at": _time(soon)}
    who["expired"] = net.stranger(victim.ok("POST", "/v1/tokens", when)["token"])
    until(lambda: who["expired"].get("/v1/me").status_code == 401)
    scene.callers = who
    project = net.project(
        lead, name="MARK-name", joining="approval", description="MARK-project",
        tasks=[{"name": "train", "model": "m", "rounds": 3, "parameters": {"p": "MARK-parameters"}, "contract": FEW}],
    )  # fmt: skip
    members = f"/v1/projects/{project}/members"
    for name in ("participant", "victim", "past", "pending", "declined"):
        who[name].ok("PUT", f"{members}/{who[name].id}", {"notes": f"MARK-note-{name}"})
    for name in ("participant", "victim", "past", "invited"):
        lead.ok("PUT", f"{members}/{who[name].id}", {})
    lead.ok("DELETE", f"{members}/{who['declined'].id}")
    lead.ok("PATCH", f"/v1/projects/{project}", {"joining": "invitation"})
    victim.ok("PUT", f"/v1/sites/{victim.id}/keys/1", key_of(victim.id, 1))
    other = net.project(victim, name="of the victim")
    for name, of in (("client", project), ("client_elsewhere", other)):
        token = victim.ok("POST", f"/v1/projects/{of}/members/{victim.id}/client-tokens", {})["token"]
        who[name] = net.stranger(token)
    run = net.run(lead, project)
    for name in ("coordinator", "participant", "victim", "past"):
        assert net.report(who[name], run, "ready", 1).status_code == 200
    who["past"].ok("DELETE", f"{members}/{who['past'].id}")
    update = net.report(victim, run, "submit", 2, update=text(b"MARK-update"), metrics={"MARK-metric": 1.0})
    assert update.status_code == 200
    victim.ok("POST", f"/v1/runs/{run}/tasks/1/logs/{victim.id}", {"seq": 1, "pieces": [text(b"MARK-log")]})
    sent = victim.call("POST", "/v1/messages", _message(project, "coordinator", b"MARK-message"))
    entries = lead.ok("GET", "/v1/inbox?limit=200")["items"]
    scene.ids = {
        "house": houses["victim"], "account": who["member_victim"].id, "victim": victim.id, "lead": lead.id,
        "enrolment": net.enrolment(houses["victim"]).id, "stranger": who["stranger"].id, "project": project, "run": run,
        "token": victim.ok("POST", "/v1/tokens", {"label": "spare"})["id"],
        "message": sent.get_json()["ids"][0], "command": sent.headers["Fedyard-Command"],
        "update": next(e["message"]["id"] for e in entries if e["message"] and e["message"]["kind"] == "update"),
        "hook_house": who["member_victim"].ok("POST", f"/v1/organisations/{houses['victim']}/webhooks", HOOK)["id"],
        "workload": lead.ok(
            "POST",
            f"/v1/projects/{project}/workloads",
            {"name": "w", "where": f"site:{victim.id}", "spec": SPEC},
        )["id"],
        "architecture": lead.ok(
            "POST", f"/v1/projects/{project}/architectures", {**NET, "name": "net", "code": "model = 'MARK-code'"}
        )["id"],
        "configuration": lead.ok("POST", f"/v1/projects/{project}/configurations", {**SET, "name": "set"})["id"],
        "inference": streams.serving(net.database, project, streams.finished(net.database, project, number=99)),
        "source": streams.announced(net.database, project, run_id=run),
        "sending": streams.sending(net.database, project, derive(project, "announced", 98)),
        "record": streams.quarantined(net.database),
        "hook_project": lead.ok("POST", f"/v1/projects/{project}/webhooks", HOOK)["id"],
        "artifact": _artifact(victim, project, b"MARK-artifact", whole=True),
        "declared": _artifact(victim, project, b"q", whole=False), "key": "",
        "initial": _artifact(lead, project, b"initial", whole=True, kind="initial"),
    }  # fmt: skip
    return scene


def _time(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat().replace("+00:00", "Z")


def _message(project: str, to: Any, body: bytes) -> dict[str, Any]:
    return {"messages": [{"project_id": project, "to": to, "body": text(body)}]}


def _artifact(owner: Caller, project: str, content: bytes, *, whole: bool, kind: str = "result") -> str:
    digest = hashlib.sha256(content).digest()
    declared = {"chunk_digests": text(digest), "digest": hashlib.sha256(digest).hexdigest()}
    about = {"project_id": project, "kind": kind, "size_bytes": len(content), **declared}
    ident = str(owner.ok("POST", "/v1/artifacts", about)["id"])
    if whole:
        assert owner.call("PUT", f"/v1/artifacts/{ident}/chunks/0", data=content).status_code == 204
        owner.ok("POST", f"/v1/artifacts/{ident}/complete")
    return ident


def hidden_from(role: str, scene: Scene) -> set[str]:
    """What no answer to this caller may hold."""
    bodies = {text(b"MARK-message"), text(b"MARK-update"), text(b"MARK-log"), "MARK-artifact"}
    notes = {f"MARK-note-{name}" for name in ("participant", "victim", "past", "pending", "declined")}
    ids = scene.ids
    records = {ids[name] for name in ("message", "update", "artifact", "declared", "account")} | {"MARK-metric"}
    if role in LEAD:
        return {ids["account"]}
    if role in VICTIM | {"victim_readonly", "client"}:
        return notes - {"MARK-note-victim"}
    bodies |= {"MARK-code"} if role not in MEMBERS else set()
    if role in SEE:
        return bodies | notes
    if role == "participant":
        return bodies | records | (notes - {"MARK-note-participant"})
    everything = bodies | records | notes | {ids["run"], "MARK-parameters", "MARK-project", "MARK-name"}
    if role in ("pending", "invited"):
        return everything - {"MARK-parameters", "MARK-project", "MARK-name", f"MARK-note-{role}"}
    return everything - ({ids["run"], "MARK-parameters"} if role == "past" else set())


@pytest.fixture(scope="module")
def scene(shared: Network) -> Scene:
    return build(shared)


def test_every_operation_is_in_the_table() -> None:
    assert {name.split(":")[0] for name in TABLE} == set(METHODS)


SAMPLE = (
    "issue_token",
    "create_enrolment",
    "update_site",
    "put_member",
    "report_seat",
    "stop_run",
    "post_messages: to the victim",
    "delete_artifact",
)
SAMPLE_ROLES = ("revoked", "outsider", "past", "member_other", "auditor_victim", "participant", "victim", "admin")


def test_rights_through_rabbitmq(rabbitmq: PrivateRabbitmq, postgres: PrivatePostgres, tmp_path: Path) -> None:
    """A sample: what is refused or done by a decider of its own, behind real queues, is the same."""
    stop = threading.Event()
    with lent_postgres(postgres) as url:
        broker_url = rabbitmq.vhost()
        decider = threading.Thread(
            target=run_decider, args=(Settings(broker_url=broker_url, database_url=url), stop), name="decider"
        )
        decider.start()
        net = network(url, tmp_path, broker_url=broker_url)
        try:
            until(lambda: net.admin.get("/readyz").get_json()["parts"]["broker"] == "ok")
            scene, faults, refused = build(net), list[str](), 0
            for name in SAMPLE:
                row = TABLE[name]
                for role in sorted(SAMPLE_ROLES, key=lambda one, row=row, name=name: lets(row, one, name)):  # type: ignore[misc]
                    if not lets(row, role, name):
                        _refused(scene, name, role, faults)
                        refused += 1
                    elif not row.spare:
                        faults += _let_through(scene, name, role)
            assert not faults, "\n".join(faults)
            assert refused > len(SAMPLE)
        finally:
            net.close()
            stop.set()
            decider.join()


def lets(row: Row, role: str, name: str) -> bool:
    if role == "victim_readonly":
        return "victim" in row.may and METHODS[name.split(":", maxsplit=1)[0]] == "GET"
    return role in row.may


def seen(response: TestResponse) -> tuple[int, str]:
    """What a caller can compare: the status and the answer, but for the ids that it sent itself."""
    return response.status_code, _UUID.sub("ID", response.get_data(as_text=True))


def known(name: str, role: str) -> bool:
    base = "victim" if role == "victim_readonly" else role
    reads = next((read for start, read in KNOWN_BY.items() if TABLE[name].path.startswith(start)), None)
    if name.startswith("post_messages") and base in MEMBERS:
        return True
    return base == "admin" or (reads is not None and base in TABLE[reads].may) or base in ("auditor", "auditor_victim")


@pytest.mark.parametrize("shared", ["sqlite"], indirect=True, scope="module")
def test_rights(scene: Scene) -> None:
    """Over PostgreSQL the sample above, and all of them among the drills (`test_rights_on_postgres.py`)."""
    holds(scene)


def holds(scene: Scene) -> None:
    """The whole matrix, and the same again when the run has ended and the project is archived: rights come before
    states."""
    faults: list[str] = []
    refused: dict[tuple[str, str], tuple[int, str]] = {}
    for name, row in TABLE.items():
        for role in sorted(ALL, key=lambda one: lets(row, one, name)):
            if lets(row, role, name):
                if not row.spare:
                    faults += _let_through(scene, name, role)
            else:
                refused[name, role] = _refused(scene, name, role, faults)
    scene.callers["coordinator"].ok("POST", f"/v1/runs/{scene.ids['run']}/stop", {})
    scene.callers["coordinator"].ok("DELETE", f"/v1/projects/{scene.ids['project']}")
    for (name, role), before in refused.items():
        after = seen(scene.call(name, role, scene.ids))
        revoked = role == "client" and after[0] == 401  # with the project
        if after != before and not revoked and not (role in DEAD and before[0] == after[0] == 401):
            faults.append(f"ORACLE of state {name} {role}: {before} while it lived, {after} afterwards")
    assert not faults, "\n".join(faults)


TELLS_WHO_ACTED = ("list_events", "list_project_events", "list_site_events", "list_run_events")
"""Who leads a project is told who did something in it, by id."""


def _let_through(scene: Scene, name: str, role: str) -> list[str]:
    response = scene.call(name, role, scene.ids)
    said = response.get_data(as_text=True)
    if role in DEAD | {"enrolment"} and response.status_code in (200, 503):
        return []
    faults = []
    if response.status_code in (401, 403, 404) or response.status_code >= 500:
        faults.append(f"DENIED {name} {role}: {response.status_code} {said}")
    asked = TABLE[name].path.format_map(scene.ids)
    hidden = hidden_from(role, scene)
    if name in TELLS_WHO_ACTED and role in LEAD:
        hidden -= {scene.ids["account"]}
    shown = [mark for mark in hidden if mark in said and mark not in asked]
    if name not in ("enrol_site", "openapi", "metrics") and response.status_code < 300 and shown:
        faults.append(f"LEAK {name} {role}: {shown}")
    if name == "read_command" and role not in ("victim", "victim_readonly", "admin"):
        none = scene.call(name, role, scene.fake())
        if seen(none) != seen(response):
            faults.append(f"ORACLE {name} {role}: {seen(response)}, of none {seen(none)}")
    return faults


def _refused(scene: Scene, name: str, role: str, faults: list[str]) -> tuple[int, str]:
    response = scene.call(name, role, scene.ids)
    found = seen(response)
    if role in DEAD and response.status_code != 401:
        faults.append(f"BREACH {name} {role}: a dead token got {found}")
    elif response.status_code < 300:
        faults.append(f"BREACH {name} {role}: {found}")
    elif response.status_code >= 500:
        faults.append(f"5XX {name} {role}: {found}")
    elif response.status_code not in (401, 403, 404):
        faults.append(f"EARLY {name} {role}: {found}")
    if role not in DEAD and not known(name, role):
        none = seen(scene.call(name, role, scene.fake()))
        if none != found:
            faults.append(f"ORACLE {name} {role}: {found}, of none {none}")
    return found
