"""The client asks for everything that the hub's table of operations has, or the reason why not stands here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from fedyard import Client
from web.api.table import operations
from web.http.operations import Operation

ID = "0a000000-0000-4000-8000-00000000000a"
OTHER = "0b000000-0000-4000-8000-00000000000b"

ASKED: dict[str, Callable[[Client], object]] = {
    "read_me": lambda c: c.me(),
    "create_organisation": lambda c: c.create_organisation("Oslo"),
    "list_organisations": lambda c: c.organisations(),
    "read_organisation": lambda c: c.organisation(ID),
    "create_account": lambda c: c.create_account(ID, "Somebody", "member"),
    "list_accounts": lambda c: c.accounts(),
    "read_account": lambda c: c.account(ID),
    "disable_account": lambda c: c.disable_account(ID),
    "issue_token": lambda c: c.issue_token("notebook"),
    "list_tokens": lambda c: c.tokens(ID),
    "revoke_token": lambda c: c.revoke_token(ID),
    "issue_sign_in": lambda c: c.issue_sign_in(),
    "end_sessions": lambda c: c.end_sessions(ID),
    "create_enrolment": lambda c: c.create_enrolment(ID),
    "revoke_enrolment": lambda c: c.revoke_enrolment(ID),
    "list_enrolments": lambda c: c.enrolments(),
    "enrol_site": lambda c: c.enrol("north", "key", "proof", "0" * 64, "", key="enrol"),
    "list_sites": lambda c: c.sites(),
    "read_site": lambda c: c.site(ID),
    "update_site": lambda c: c.update_site(ID, "what it is"),
    "retire_site": lambda c: c.retire_site(ID),
    "beat": lambda c: c.heartbeat(ID),
    "list_site_events": lambda c: c.site_events(ID),
    "put_site_key": lambda c: c.put_key(ID, 1, {}),
    "revoke_site_key": lambda c: c.revoke_key(ID, 1),
    "list_site_keys": lambda c: c.site_keys(ID),
    "list_project_keys": lambda c: c.project_keys(ID),
    "report_conflict": lambda c: c.report_conflict(ID, OTHER, "0" * 64, "1" * 64),
    "recover_site": lambda c: c.recover(ID, b"{}", key="recover"),
    "create_project": lambda c: c.create_project("study", []),
    "list_projects": lambda c: c.projects(),
    "read_project": lambda c: c.project(ID),
    "update_project": lambda c: c.update_project(ID, description="another"),
    "archive_project": lambda c: c.archive_project(ID),
    "list_members": lambda c: c.members(ID),
    "put_member": lambda c: c.put_member(ID, OTHER),
    "remove_member": lambda c: c.remove_member(ID, OTHER),
    "list_project_events": lambda c: c.project_events(ID),
    "start_run": lambda c: c.start_run(ID),
    "list_models": lambda c: c.models(ID),
    "say_ready": lambda c: c.say_ready(ID, OTHER),
    "issue_client_token": lambda c: c.issue_client_token(ID, OTHER, "0" * 64, for_s=60),
    "read_joining": lambda c: c.joining(ID),
    "read_build_context": lambda c: c.build_context(ID),
    "set_secret": lambda c: c.set_secret(ID, "word", "value"),
    "delete_secret": lambda c: c.delete_secret(ID, "word"),
    "list_secrets": lambda c: c.secrets(ID),
    "start_infrastructure": lambda c: c.start_infrastructure(ID),
    "stop_infrastructure": lambda c: c.stop_infrastructure(ID),
    "scale_selectors": lambda c: c.scale_selectors(ID, 2),
    "create_architecture": lambda c: c.streams_of(ID).put_architecture({}),
    "list_architectures": lambda c: c.streams_of(ID).architectures(),
    "read_architecture": lambda c: c.streams_of(ID).architecture(OTHER),
    "change_architecture": lambda c: c.streams_of(ID).put_architecture({}, OTHER),
    "delete_architecture": lambda c: c.streams_of(ID).delete_architecture(OTHER),
    "read_architecture_version": lambda c: c.streams_of(ID).architecture_version(OTHER, 1),
    "put_model_file": lambda c: c.streams_of(ID).put_model_file(OTHER, 1, ID),
    "create_configuration": lambda c: c.streams_of(ID).put_configuration("pair", [OTHER]),
    "list_configurations": lambda c: c.streams_of(ID).configurations(),
    "read_configuration": lambda c: c.streams_of(ID).configuration(OTHER),
    "change_configuration": lambda c: c.streams_of(ID).put_configuration("pair", [], "", OTHER),
    "delete_configuration": lambda c: c.streams_of(ID).delete_configuration(OTHER),
    "start_inference": lambda c: c.streams_of(ID).start_inference(1, {}),
    "list_inferences": lambda c: c.streams_of(ID).inferences(),
    "read_inference": lambda c: c.streams_of(ID).inference(OTHER),
    "stop_inference": lambda c: c.streams_of(ID).stop_inference(OTHER),
    "delete_inference": lambda c: c.streams_of(ID).delete_inference(OTHER),
    "list_data_sources": lambda c: c.announced.every(),
    "read_data_source": lambda c: c.announced.one(ID),
    "withdraw_data_source": lambda c: c.announced.withdraw(ID),
    "send_data_source": lambda c: c.announced.send(ID, 1),
    "read_sending": lambda c: c.announced.sending(ID),
    "read_streams": lambda c: c.streams_status(),
    "list_quarantine": lambda c: c.quarantine(),
    "read_quarantined": lambda c: c.quarantined(ID),
    "replay_quarantined": lambda c: c.replay_quarantined(ID),
    "purge_quarantined": lambda c: c.purge_quarantined(ID),
    "list_rounds": lambda c: c.rounds(ID),
    "list_runs": lambda c: c.runs(),
    "read_run": lambda c: c.run(ID),
    "stop_run": lambda c: c.stop_run(ID),
    "restart_run": lambda c: c.restart_run(ID),
    "list_run_events": lambda c: c.events(ID),
    "report_seat": lambda c: c.report(ID, 1, OTHER, b"{}", key="report"),
    "report_aggregated": lambda c: c.aggregated(ID, 1, 1, b"{}", key="aggregated"),
    "report_missing_receipt": lambda c: c.report_missing_receipt(ID, 1, 1, OTHER, "absent"),
    "list_model_announcements": lambda c: c.model_announcements(),
    "list_matches": lambda c: c.matches(ID),
    "write_log": lambda c: c.write_log(ID, 1, OTHER, 1, []),
    "read_logs": lambda c: c.logs(ID),
    "post_messages": lambda c: c.post_message(ID, "participants", b""),
    "read_message": lambda c: c.message(ID),
    "declare_artifact": lambda c: c.declare_artifact({}, key="declare"),
    "list_artifacts": lambda c: c.artifacts(),
    "delete_artifact": lambda c: c.delete_artifact(ID),
    "read_artifact_about": lambda c: c.artifact(ID),
    "list_chunks": lambda c: c.artifact_chunks(ID),
    "complete_artifact": lambda c: c.complete_artifact(ID),
    "list_events": lambda c: c.audit(),
    "verify_events": lambda c: c.verify_events(),
    "read_inbox": lambda c: c.inbox(),
    "acknowledge_inbox": lambda c: c.acknowledge(1),
    "list_heads": lambda c: c.hub_key(),
    "create_organisation_webhook": lambda c: c.create_webhook("https://a.example", [], organisation_id=ID),
    "list_organisation_webhooks": lambda c: c.webhooks(organisation_id=ID),
    "create_project_webhook": lambda c: c.create_webhook("https://a.example", [], project_id=ID),
    "list_project_webhooks": lambda c: c.webhooks(project_id=ID),
    "list_webhooks": lambda c: c.webhooks(),
    "read_webhook": lambda c: c.webhook(ID),
    "delete_webhook": lambda c: c.delete_webhook(ID),
    "rotate_webhook": lambda c: c.rotate_webhook(ID),
    "enable_webhook": lambda c: c.enable_webhook(ID),
    "redeliver_webhook": lambda c: c.redeliver_webhook(ID, delivery_id=OTHER),
    "list_deliveries": lambda c: c.deliveries(ID),
    "create_workload": lambda c: c.start_workload(ID, "job", "hub", {}),
    "list_workloads": lambda c: c.workloads(ID),
    "read_workload": lambda c: c.workload(ID),
    "list_workload_attempts": lambda c: c.workload_attempts(ID),
    "read_workload_log": lambda c: c.workload_log(ID),
    "stop_workload": lambda c: c.stop_workload(ID),
    "scale_workload": lambda c: c.scale_workload(ID, 2),
    "start_deployment": lambda c: c.start_deployment(ID, {}),
    "list_deployments": lambda c: c.deployments(ID),
    "list_all_deployments": lambda c: c.all_deployments(),
    "read_deployment": lambda c: c.deployment(ID),
    "stop_deployment": lambda c: c.stop_deployment(ID),
    "delete_deployment": lambda c: c.delete_deployment(ID),
    "read_training_result": lambda c: c.results.one(1),
    "stop_training_result": lambda c: c.results.stop(1),
    "delete_training_result": lambda c: c.results.delete(1),
    "read_command": lambda c: c.command(ID),
    "list_concerns": lambda c: c.concerns(),
    "list_processes": lambda c: c.processes(),
    "read_vitals": lambda c: c.vitals(),
    "list_dead_letters": lambda c: c.dead_letters(),
    "replay_dead_letters": lambda c: c.replay_dead_letters(["letter"]),
    "purge_dead_letters": lambda c: c.purge_dead_letters(["letter"]),
    "openapi": lambda c: c.description(),
}
"""An operation's name -> how the client asks for it."""

_AGENT = "an agent's own, for a workload that it runs at its site"
_JOB = "a job's own, with its attempt's door, as Kafka-ML's programs ask"
_MONITOR = "without a token, for monitors and load balancers; concerns() and vitals() tell people more"
NOT_ASKED: dict[str, str] = {
    "list_project_runs": "runs(project_id=…) asks for the same runs",
    "read_artifact": "download_artifact carries its bytes, in pieces that are checked",
    "put_chunk": "upload_artifact carries them",
    "read_initial_file": "a path without queries for programs of Fedota; download_artifact brings the same bytes",
    "report_round": "a project's own coordinator's, which the sidecar reports for",
    "list_site_workloads": _AGENT,
    "list_site_places": _AGENT,
    "report_place_gone": _AGENT,
    "report_workload": _AGENT,
    "write_workload_log": _AGENT,
    "read_workload_archive": _AGENT,
    "read_workload_model": _AGENT,
    "read_workload_input": _AGENT,
    "declare_workload_output": _AGENT,
    "put_workload_output_chunk": _AGENT,
    "complete_workload_output": _AGENT,
    "read_door_architecture": _JOB,
    "read_door_model": _JOB,
    "take_door_metrics": _JOB,
    "take_door_result": _JOB,
    "healthz": _MONITOR,
    "readyz": _MONITOR,
    "metrics": _MONITOR,
}
"""An operation's name -> why the client has no method for it."""

OPERATIONS = {one.name: one for one in operations()}


class Asked(Exception):
    """What would have been sent."""


class Recording(Client):
    """Asks nobody."""

    def call(self, method: str, path: str, **_: Any) -> tuple[int, bytes, str]:
        raise Asked(method, path.partition("?")[0])


def test_every_operation_is_asked_for_or_says_why_not() -> None:
    assert not ASKED.keys() & NOT_ASKED.keys()
    assert ASKED.keys() | NOT_ASKED.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("name", ASKED)
def test_a_method_makes_the_call_of_its_operation(name: str) -> None:
    with pytest.raises(Asked) as asked:
        ASKED[name](Recording("http://127.0.0.1:1", "token"))
    method, path = asked.value.args
    assert (method, path) == (OPERATIONS[name].method, path_of(OPERATIONS[name], path))


def path_of(operation: Operation, path: str) -> str:
    """The operation's own path, with what stands in the asked one for its parameters."""
    here, there = operation.path.split("/"), path.split("/")
    assert len(here) == len(there), f"{path} is not {operation.path}"
    assert "" not in there[1:], path
    return "/".join(asked if part.startswith("{") else part for part, asked in zip(here, there, strict=True))


def test_no_reason_is_empty() -> None:
    reasons: Mapping[str, str] = NOT_ASKED
    assert all(reasons.values())
