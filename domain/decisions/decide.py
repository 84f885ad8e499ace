"""One command, one decision: the table of who decides what."""

from __future__ import annotations

from typing import assert_never

import msgspec

from domain import commands as c
from domain import records as r
from domain.commands import Envelope, Micros
from domain.decisions import artifacts, history, keys, logs, messages, people, projects, recovery, runs, seats, sites
from domain.decisions.access import forbidden
from domain.decisions.draft import Decision, Draft, Refused, State, rejected
from domain.decisions.room import Room
from domain.decisions.telling import record_act


class Rules(msgspec.Struct, frozen=True):
    """What the operator's settings say about decisions."""

    message_ttl_s: float = 604_800.0
    log_limit_bytes: int = 16_777_216
    keep_inbox_s: float = 604_800.0
    keep_commands_s: float = 604_800.0
    silent_after_s: float = 90.0
    artifact_limit_bytes: int = 17_179_869_184
    artifact_limit_initial_bytes: int = 17_179_869_184
    artifact_limit_update_bytes: int = 17_179_869_184
    artifact_limit_model_bytes: int = 17_179_869_184
    artifact_limit_log_bytes: int = 1_073_741_824
    artifact_limit_result_bytes: int = 4_294_967_296
    project_quota_bytes: int = 107_374_182_400
    site_quota_bytes: int = 26_843_545_600
    unfinished_artifacts: int = 16
    unfinished_bytes: int = 17_179_869_184
    backlog_messages: int = 1000
    backlog_bytes: int = 67_108_864
    tokens_per_owner: int = 100
    tokens_per_day: int = 200
    accounts_per_organisation: int = 1000
    enrolments_per_organisation: int = 1000
    projects_per_coordinator: int = 100
    projects_per_day: int = 200
    live_runs_per_project: int = 100
    keys_per_site: int = 1000
    keys_per_day: int = 50
    keep_artifacts_s: float = 2_592_000.0
    keep_uploads_s: float = 604_800.0

    def largest_artifact(self, kind: c.ArtifactKind) -> int:
        """Bytes that one artifact of this kind may have."""
        match kind:
            case "initial":
                of_kind = self.artifact_limit_initial_bytes
            case "update":
                of_kind = self.artifact_limit_update_bytes
            case "model":
                of_kind = self.artifact_limit_model_bytes
            case "log":
                of_kind = self.artifact_limit_log_bytes
            case "result":
                of_kind = self.artifact_limit_result_bytes
            case _:
                assert_never(kind)
        return min(of_kind, self.artifact_limit_bytes)

    def room(self, kind: c.ArtifactKind) -> Room:
        """What there is for one more artifact of this kind."""
        return Room(
            artifact_bytes=self.largest_artifact(kind),
            project_bytes=self.project_quota_bytes,
            site_bytes=self.site_quota_bytes,
            unfinished_count=self.unfinished_artifacts,
            unfinished_bytes=self.unfinished_bytes,
        )


def decide(state: State, envelope: Envelope, now: Micros, rules: Rules) -> Decision:
    """The decision on one command, given the state. Pure: nothing is read, sent or written.

    Raises `TooEarly` where the same command may well be accepted in a moment.
    """
    draft = Draft(state, envelope, now)
    try:
        _check_subject(draft)
        record_act(draft)
        return _decide(draft, envelope.command, rules)
    except Refused as refused:
        return rejected(refused.problem, refused.detail, **refused.members)


def _check_subject(draft: Draft) -> None:
    """Rights may have been lost between the web's check and now."""
    by = draft.by
    if by.kind == "site":
        site = draft.get(r.Site, by.id)
        if site is None or site.state == "retired":
            raise forbidden(f"site {by.id} has retired")
    elif by.kind == "account":
        account = draft.get(r.Account, by.id)
        if account is None or account.disabled_at is not None:
            raise forbidden(f"account {by.id} is disabled")
        if account.role == "auditor":
            raise forbidden(f"account {by.id} is an auditor; auditors change nothing")


def _decide(draft: Draft, command: c.AnyCommand, rules: Rules) -> Decision:  # noqa: C901, PLR0912 - a flat table
    match command:
        case c.CreateOrganisation():
            return people.create_organisation(draft, command)
        case c.CreateAccount():
            return people.create_account(draft, command, rules.accounts_per_organisation)
        case c.DisableAccount():
            return people.disable_account(draft, command)
        case c.IssueToken():
            return people.issue_token(draft, command, rules.tokens_per_owner, rules.tokens_per_day)
        case c.RevokeToken():
            return people.revoke_token(draft, command)
        case c.CreateEnrolment():
            return sites.create_enrolment(draft, command, rules.enrolments_per_organisation)
        case c.EnrolSite():
            return sites.enrol_site(draft, command)
        case c.UpdateSite():
            return sites.update_site(draft, command)
        case c.RetireSite():
            return sites.retire_site(draft, command)
        case c.PutSiteKey():
            return keys.put_site_key(draft, command, rules.keys_per_site, rules.keys_per_day)
        case c.RevokeSiteKey():
            return keys.revoke_site_key(draft, command)
        case c.ReportConflict():
            return keys.report_conflict(draft, command)
        case c.RecoverSite():
            return recovery.recover_site(draft, command, rules.keys_per_site, rules.keys_per_day)
        case c.ChangeHistory():
            return history.change_history(draft, command)
        case c.RevokeAgain():
            return history.revoke_again(draft, command)
        case c.EndRestored():
            return recovery.end_restored(draft, command)
        case c.MarkSitesSilent():
            return sites.mark_sites_silent(draft, command, rules.silent_after_s)
        case c.MarkSitesReturned():
            return sites.mark_sites_returned(draft, command, rules.silent_after_s)
        case c.CreateProject():
            return projects.create_project(draft, command, rules.projects_per_coordinator, rules.projects_per_day)
        case c.UpdateProject():
            return projects.update_project(draft, command)
        case c.ArchiveProject():
            return projects.archive_project(draft, command)
        case c.PutMember():
            return projects.put_member(draft, command)
        case c.RemoveMember():
            return projects.remove_member(draft, command)
        case c.StartRun():
            return runs.start_run(draft, command, rules.live_runs_per_project)
        case c.BeginRun():
            return runs.begin_run(draft, command)
        case c.StopRun():
            return runs.stop_run(draft, command)
        case c.RestartRun():
            return runs.restart_run(draft, command)
        case c.ReportSeat():
            return seats.report_seat(draft, command)
        case c.ReportAggregated():
            return seats.report_aggregated(draft, command)
        case c.ReportMissingReceipt():
            return seats.report_missing_receipt(draft, command)
        case c.DropSeats():
            return seats.drop_seats(draft, command)
        case c.PassDeadline():
            return seats.pass_deadline(draft, command)
        case c.WriteLog():
            return logs.write_log(draft, command, rules.log_limit_bytes, rules.keep_inbox_s)
        case c.PostMessages():
            limits = (rules.backlog_messages, rules.backlog_bytes)
            return messages.post_messages(draft, command, rules.message_ttl_s, limits)
        case c.DeclareArtifact():
            return artifacts.declare_artifact(draft, command, rules.room(command.of_kind), rules.keep_uploads_s)
        case c.CompleteArtifact():
            return artifacts.complete_artifact(draft, command)
        case c.DeleteArtifact():
            return artifacts.delete_artifact(draft, command)
        case c.ExpireArtifacts():
            return artifacts.expire_artifacts(draft, command, rules.keep_artifacts_s)
        case c.AcknowledgeInbox():
            return messages.acknowledge_inbox(draft, command)
        case c.ExpireMessages():
            return messages.expire_messages(draft, command)
        case c.ForgetHistory():
            return messages.forget_history(draft, rules.keep_commands_s, rules.keep_inbox_s)
        case c.RecordHeartbeats():
            raise AssertionError("heartbeats take the lean lane and are never decided")
        case _:
            assert_never(command)
