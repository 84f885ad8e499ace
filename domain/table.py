"""The table of commands: one row for each, and no other list of them.

The law:

- A *decided* command is decided in the batch: `needs` says what the store loads first, `decision` what becomes of it.
- A *done* command is carried out by a doing actor, which touches one outside system and decides nothing: it does it,
  then reports by a decided command. It may be done twice; its report counts once, since its id derives from its cause.
- A *packed* command is news that the next news makes old, of many at once: transient, without outcome or events,
  and taken in by the store without a decision.

Queue, actor, retries and limits follow from a row's subject and kind (broker/routes.py), and who consumes the queue
from its kind. What a process does with a done or a packed command it is given where it is wired; here nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from domain import commands as c
from domain import stream_commands as sc
from domain.decisions import (
    archives,
    artifacts,
    clients,
    dead_letters,
    history,
    infrastructure,
    keys,
    logs,
    messages,
    people,
    project_rounds,
    projects,
    recovery,
    runs,
    seats,
    secrets,
    sessions,
    sites,
    webhooks,
    workload_files,
    workload_logs,
    workloads,
)
from domain.decisions.draft import Decision, Draft
from domain.decisions.streams import (
    adopting,
    architectures,
    configurations,
    data_sources,
    deployments,
    inference,
    matching,
    model_files,
    quarantine,
    reports,
    sendings,
    settling,
    training_results,
)
from domain.decisions.streams import records as stream_records
from domain.needs import Needs

C = TypeVar("C", bound=c.Command)


class Kind(StrEnum):
    """How a command is carried out."""

    DECIDED = "decided"
    DONE = "done"
    PACKED = "packed"


@dataclass(frozen=True)
class About:
    """What the commands of one queue are about. meaning: one sentence for the operator."""

    subject: str
    meaning: str


@dataclass(frozen=True)
class Row:
    """All that is to be said of a command beside its fields. decision and needs: of a decided one alone."""

    command: type[c.Command]
    about: About
    kind: Kind
    decision: Callable[[Draft, Any], Decision] | None = None
    needs: Callable[[Any], Needs] | None = None

    @property
    def name(self) -> str:
        """Of the command's actor, and in logs and outcomes: `start_run`."""
        return str(self.command.__struct_config__.tag)


def decided(
    command: type[C], decision: Callable[[Draft, C], Decision], needs: Callable[[C], Needs], about: About
) -> Row:
    """Decision and needs are this very command's: the types see to that."""
    return Row(command, about, Kind.DECIDED, decision, needs)


def done(command: type[c.Command], about: About) -> Row:
    return Row(command, about, Kind.DONE)


def packed(command: type[c.Command], about: About) -> Row:
    return Row(command, about, Kind.PACKED)


SITES = About(
    "sites", "organisations, accounts, tokens, enrolments, sites and their keys; what becomes of dead letters"
)
HEARTBEATS = About("heartbeats", "packed heartbeats of all sites; transient, oldest dropped first")
PROJECTS = About("projects", "projects and memberships")
RUNS = About("runs", "runs, rounds and the sites' reports on their seats")
ARTIFACTS = About("artifacts", "declared, completed, deleted and expired artifacts; never their bytes")
ARCHIVES = About("archives", "archives of initial files, which the doer reads and checks")
MESSAGES = About("messages", "messages between sites, acknowledgements, logs of runs, expiry")
WEBHOOKS = About("webhooks", "webhooks, what they are to be told, and what became of it")
DELIVERIES = About("deliveries", "requests to the receivers of webhooks, made by the doer")
DEAD_LETTERS = About("letters", "dead letters that are given back to their queues or thrown away, by the doer")
WORKLOADS = About("workloads", "workloads that shall run, and what was seen of them")
TOPICS = About("topics", "topics and records that are made in Kafka, by the doer")
CLUSTERS = About("clusters", "what is made, collected and ended at the hub's clusters, by the doer")
STREAMS = About("streams", "records of Kafka's control topics, and what follows from them")

ROWS: tuple[Row, ...] = (
    decided(c.CreateOrganisation, people.create_organisation, people.needs_of_create_organisation, SITES),
    decided(c.CreateAccount, people.create_account, people.needs_of_create_account, SITES),
    decided(c.DisableAccount, people.disable_account, people.needs_of_disable_account, SITES),
    decided(c.IssueToken, people.issue_token, people.needs_of_issue_token, SITES),
    decided(c.RevokeToken, people.revoke_token, people.needs_of_revoke_token, SITES),
    decided(c.IssueSignIn, sessions.issue_sign_in, sessions.needs_of_issue_sign_in, SITES),
    decided(c.OpenSession, sessions.open_session, sessions.needs_of_open_session, SITES),
    decided(c.EndSessions, sessions.end_sessions, sessions.needs_of_end_sessions, SITES),
    decided(c.CreateEnrolment, sites.create_enrolment, sites.needs_of_create_enrolment, SITES),
    decided(c.RevokeEnrolment, sites.revoke_enrolment, sites.needs_of_revoke_enrolment, SITES),
    decided(c.EnrolSite, sites.enrol_site, sites.needs_of_enrol_site, SITES),
    decided(c.UpdateSite, sites.update_site, sites.needs_of_update_site, SITES),
    decided(c.RetireSite, sites.retire_site, sites.needs_of_retire_site, SITES),
    decided(c.PutSiteKey, keys.put_site_key, keys.needs_of_put_site_key, SITES),
    decided(c.RevokeSiteKey, keys.revoke_site_key, keys.needs_of_revoke_site_key, SITES),
    decided(c.ReportConflict, keys.report_conflict, keys.needs_of_report_conflict, SITES),
    decided(c.RecoverSite, recovery.recover_site, recovery.needs_of_recover_site, SITES),
    decided(c.ChangeHistory, history.change_history, history.needs_of_change_history, SITES),
    decided(c.RevokeAgain, history.revoke_again, history.needs_of_revoke_again, SITES),
    decided(c.MarkSitesSilent, sites.mark_sites_silent, sites.needs_of_mark_sites_silent, SITES),
    decided(c.MarkSitesReturned, sites.mark_sites_returned, sites.needs_of_mark_sites_returned, SITES),
    packed(c.RecordHeartbeats, HEARTBEATS),
    decided(c.CreateProject, projects.create_project, projects.needs_of_create_project, PROJECTS),
    decided(c.UpdateProject, projects.update_project, projects.needs_of_update_project, PROJECTS),
    decided(c.ArchiveProject, projects.archive_project, projects.needs_of_archive_project, PROJECTS),
    decided(c.PutMember, projects.put_member, projects.needs_of_put_member, PROJECTS),
    decided(c.RemoveMember, projects.remove_member, projects.needs_of_remove_member, PROJECTS),
    decided(c.SayReady, projects.say_ready, projects.needs_of_say_ready, PROJECTS),
    decided(
        sc.CreateArchitecture, architectures.create_architecture, architectures.needs_of_create_architecture, PROJECTS
    ),
    decided(
        sc.ChangeArchitecture, architectures.change_architecture, architectures.needs_of_change_architecture, PROJECTS
    ),
    decided(
        sc.DeleteArchitecture, architectures.delete_architecture, architectures.needs_of_delete_architecture, PROJECTS
    ),
    decided(
        sc.CreateConfiguration,
        configurations.create_configuration,
        configurations.needs_of_create_configuration,
        PROJECTS,
    ),
    decided(
        sc.ChangeConfiguration,
        configurations.change_configuration,
        configurations.needs_of_change_configuration,
        PROJECTS,
    ),
    decided(
        sc.DeleteConfiguration,
        configurations.delete_configuration,
        configurations.needs_of_delete_configuration,
        PROJECTS,
    ),
    decided(sc.StartInference, inference.start_inference, inference.needs_of_start_inference, WORKLOADS),
    decided(sc.StopInference, inference.stop_inference, inference.needs_of_stop_inference, WORKLOADS),
    decided(sc.DeleteInference, inference.delete_inference, inference.needs_of_delete_inference, WORKLOADS),
    decided(c.IssueClientToken, clients.issue_client_token, clients.needs_of_issue_client_token, PROJECTS),
    decided(c.StartRun, runs.start_run, runs.needs_of_start_run, RUNS),
    decided(c.BeginRun, runs.begin_run, runs.needs_of_begin_run, RUNS),
    decided(c.StopRun, runs.stop_run, runs.needs_of_stop_run, RUNS),
    decided(c.RestartRun, runs.restart_run, runs.needs_of_restart_run, RUNS),
    decided(c.ReportSeat, seats.report_seat, seats.needs_of_report_seat, RUNS),
    decided(c.ReportAggregated, seats.report_aggregated, seats.needs_of_report_aggregated, RUNS),
    decided(c.ReportMissingReceipt, seats.report_missing_receipt, seats.needs_of_report_missing_receipt, RUNS),
    decided(c.DropSeats, seats.drop_seats, seats.needs_of_drop_seats, RUNS),
    decided(c.PassDeadline, seats.pass_deadline, seats.needs_of_pass_deadline, RUNS),
    decided(c.ReportRound, project_rounds.report_round, project_rounds.needs_of_report_round, RUNS),
    decided(c.PassStageDeadline, project_rounds.pass_stage_deadline, project_rounds.needs_of_pass_stage_deadline, RUNS),
    decided(c.EndRestored, recovery.end_restored, recovery.needs_of_end_restored, RUNS),
    decided(c.DeclareArtifact, artifacts.declare_artifact, artifacts.needs_of_declare_artifact, ARTIFACTS),
    decided(c.CompleteArtifact, artifacts.complete_artifact, artifacts.needs_of_complete_artifact, ARTIFACTS),
    decided(c.DeleteArtifact, artifacts.delete_artifact, artifacts.needs_of_delete_artifact, ARTIFACTS),
    decided(c.ExpireArtifacts, artifacts.expire_artifacts, artifacts.needs_of_expire_artifacts, ARTIFACTS),
    done(c.CheckArchive, ARCHIVES),
    decided(c.ReportArchive, archives.report_archive, archives.needs_of_report_archive, ARTIFACTS),
    decided(c.PostMessages, messages.post_messages, messages.needs_of_post_messages, MESSAGES),
    decided(c.AcknowledgeInbox, messages.acknowledge_inbox, messages.needs_of_acknowledge_inbox, MESSAGES),
    decided(c.WriteLog, logs.write_log, logs.needs_of_write_log, MESSAGES),
    decided(c.ExpireMessages, messages.expire_messages, messages.needs_of_expire_messages, MESSAGES),
    decided(c.ForgetHistory, messages.forget_history, messages.needs_of_forget_history, MESSAGES),
    decided(c.CreateWebhook, webhooks.create_webhook, webhooks.needs_of_create_webhook, WEBHOOKS),
    decided(c.DeleteWebhook, webhooks.delete_webhook, webhooks.needs_of_delete_webhook, WEBHOOKS),
    decided(c.RotateWebhook, webhooks.rotate_webhook, webhooks.needs_of_rotate_webhook, WEBHOOKS),
    decided(c.EnableWebhook, webhooks.enable_webhook, webhooks.needs_of_enable_webhook, WEBHOOKS),
    decided(c.RedeliverWebhook, webhooks.redeliver_webhook, webhooks.needs_of_redeliver_webhook, WEBHOOKS),
    decided(c.QueueDeliveries, webhooks.queue_deliveries, webhooks.needs_of_queue_deliveries, WEBHOOKS),
    decided(c.BeginDeliveries, webhooks.begin_deliveries, webhooks.needs_of_begin_deliveries, WEBHOOKS),
    decided(c.ReportDelivery, webhooks.report_delivery, webhooks.needs_of_report_delivery, WEBHOOKS),
    decided(c.ReportDeadLetters, webhooks.report_dead_letters, webhooks.needs_of_report_dead_letters, WEBHOOKS),
    done(c.DeliverWebhook, DELIVERIES),
    decided(c.SetSecret, secrets.set_secret, secrets.needs_of_set_secret, PROJECTS),
    decided(c.DeleteSecret, secrets.delete_secret, secrets.needs_of_delete_secret, PROJECTS),
    decided(c.CreateWorkload, workloads.create_workload, workloads.needs_of_create_workload, WORKLOADS),
    decided(c.StopWorkload, workloads.stop_workload, workloads.needs_of_stop_workload, WORKLOADS),
    decided(c.LoseWorkloads, workloads.lose_workloads, workloads.needs_of_lose_workloads, WORKLOADS),
    decided(c.ScaleWorkload, workloads.scale_workload, workloads.needs_of_scale_workload, WORKLOADS),
    decided(
        c.StartInfrastructure,
        infrastructure.start_infrastructure,
        infrastructure.needs_of_start_infrastructure,
        WORKLOADS,
    ),
    decided(
        c.StopInfrastructure, infrastructure.stop_infrastructure, infrastructure.needs_of_stop_infrastructure, WORKLOADS
    ),
    decided(c.ScaleSelectors, infrastructure.scale_selectors, infrastructure.needs_of_scale_selectors, WORKLOADS),
    decided(c.ReportWorkload, workloads.report_workload, workloads.needs_of_report_workload, WORKLOADS),
    decided(c.FollowWorkload, workload_logs.follow_workload, workload_logs.needs_of_follow_workload, WORKLOADS),
    decided(c.WriteWorkloadLog, workload_logs.write_workload_log, workload_logs.needs_of_write_workload_log, WORKLOADS),
    decided(c.GiveUpAttempt, workloads.give_up_attempt, workloads.needs_of_give_up_attempt, WORKLOADS),
    decided(c.DeclareOutput, workload_files.declare_output, workload_files.needs_of_declare_output, WORKLOADS),
    decided(c.CompleteOutput, workload_files.complete_output, workload_files.needs_of_complete_output, WORKLOADS),
    decided(c.StopHolders, workloads.stop_holders, workloads.needs_of_stop_holders, WORKLOADS),
    decided(c.ReportPlaceGone, workloads.report_place_gone, workloads.needs_of_report_place_gone, WORKLOADS),
    done(c.EnsureWorkload, CLUSTERS),
    done(c.CollectWorkload, CLUSTERS),
    done(c.EndWorkload, CLUSTERS),
    done(c.EndPlace, CLUSTERS),
    decided(sc.TakeRecord, stream_records.take_record, stream_records.needs_of_take_record, STREAMS),
    decided(sc.MatchModel, matching.match_model, matching.needs_of_match_model, STREAMS),
    decided(sc.MatchData, matching.match_data, matching.needs_of_match_data, STREAMS),
    decided(sc.AdoptModel, adopting.adopt_model, adopting.needs_of_adopt_model, STREAMS),
    decided(sc.SettleWorkers, settling.settle_workers, settling.needs_of_settle_workers, STREAMS),
    decided(sc.SendDataSource, sendings.send_data_source, sendings.needs_of_send_data_source, STREAMS),
    decided(sc.ReportGap, stream_records.report_gap, stream_records.needs_of_report_gap, STREAMS),
    decided(sc.ReplayRecord, quarantine.replay_record, quarantine.needs_of_replay_record, STREAMS),
    decided(sc.PurgeRecords, quarantine.purge_records, quarantine.needs_of_purge_records, STREAMS),
    decided(sc.ForgetRecords, quarantine.forget_records, quarantine.needs_of_forget_records, STREAMS),
    decided(
        sc.WithdrawDataSource, data_sources.withdraw_data_source, data_sources.needs_of_withdraw_data_source, STREAMS
    ),
    done(sc.PrepareStream, TOPICS),
    decided(c.ReplayDeadLetters, dead_letters.replay_dead_letters, dead_letters.needs_of_replay_dead_letters, SITES),
    decided(c.PurgeDeadLetters, dead_letters.purge_dead_letters, dead_letters.needs_of_purge_dead_letters, SITES),
    done(c.SettleDeadLetters, DEAD_LETTERS),
    decided(sc.ReportStream, reports.report_stream, reports.needs_of_report_stream, STREAMS),
    decided(sc.StartDeployment, deployments.start_deployment, deployments.needs_of_start_deployment, STREAMS),
    decided(sc.PutModelFile, model_files.put_model_file, model_files.needs_of_put_model_file, STREAMS),
    decided(sc.EndDeployment, deployments.end_deployment, deployments.needs_of_end_deployment, STREAMS),
    decided(sc.DeleteDeployment, deployments.delete_deployment, deployments.needs_of_delete_deployment, STREAMS),
    decided(sc.StopResult, training_results.stop_result, training_results.needs_of_stop_result, STREAMS),
    decided(sc.DeleteResult, training_results.delete_result, training_results.needs_of_delete_result, STREAMS),
    decided(sc.TakeMetrics, training_results.take_metrics, training_results.needs_of_take_metrics, STREAMS),
    decided(sc.RefuseResult, training_results.refuse_result, training_results.needs_of_refuse_result, STREAMS),
    decided(sc.TakeResult, training_results.take_result, training_results.needs_of_take_result, STREAMS),
)

TABLE: Mapping[type[c.Command], Row] = {row.command: row for row in ROWS}
