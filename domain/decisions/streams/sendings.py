"""A data source that was announced once is announced again, for another deployment, with all that its record said.

The record goes to the control topic as the first one did, and comes back from there as a data source of its own: what
follows from it is decided then, as of any other. The sending has ended when the record's delivery report is there.
"""

from __future__ import annotations

from domain import results
from domain import stream_commands as sc
from domain import stream_records as sr
from domain.decisions.access import find, known_run, missing, need_coordinator
from domain.decisions.draft import Decision, Draft, Refused
from domain.needs import Needs
from domain.states import RUN_FINAL, SENDING, AnnouncementState, RunState, SendingState, Step, follow
from domain.streams.training import key_of
from fedyard.wire.problems import ProblemType


def needs_of_send_data_source(command: sc.SendDataSource) -> Needs:
    return Needs(data_sources={command.data_source_id}, deployment_numbers={command.deployment_number})


def send_data_source(draft: Draft, command: sc.SendDataSource) -> Decision:
    """By the coordinator of the deployment's project. 422 where its jobs could not read what is announced."""
    number = command.deployment_number
    deployment = next((one for one in draft.every(sr.Deployment) if one.number == number), None)
    if deployment is None:
        raise missing("deployment", number)
    run, project = known_run(draft, deployment.run_id)
    need_coordinator(draft, project)
    source = find(draft, sr.DataSource, "data source", command.data_source_id)
    if RunState(run.state) in RUN_FINAL:
        raise Refused(ProblemType.RUN_FINISHED, f"deployment {number} has {run.state}: make another one for these data")
    topic = _topic_for(draft, source, deployment)
    sending = sr.Sending(
        id=draft.derive("sending"),
        data_source_id=source.id,
        deployment_number=number,
        project_id=project.id,
        cluster=source.cluster,
        topic=topic,
        state=SendingState.SENDING,
        state_at=draft.now,
        created_by=draft.by.id,
        created_at=draft.now,
    )
    draft.put(sending)
    record = sc.NewRecord(topic=topic, key=key_of(number), value=source.body, once=False)
    prepare = sc.PrepareStream(cluster=source.cluster, purpose="resend", about_id=sending.id, records=[record])
    draft.follow_up(prepare, "send")
    return draft.accept(results.Made(id=sending.id), 201)


def _topic_for(draft: Draft, source: sr.DataSource, deployment: sr.Deployment) -> str:
    """The control topic that the hub reads: the one that it came by, if that is still one."""
    if source.purpose != "control":
        raise _impossible(f"data source {source.id} is for federated models, which find their data by themselves")
    if deployment.string_id:
        raise _impossible(f"deployment {deployment.number} is federated: it trains on data at the edge")
    if source.cluster != deployment.cluster:
        raise _impossible(
            f"the data lie in cluster {source.cluster}, and jobs of deployment {deployment.number} read"
            f" {deployment.cluster}"
        )
    if source.state != AnnouncementState.LIVE:
        raise _impossible(f"data source {source.id} is {source.state}")
    cluster = draft.rules.streams.cluster(source.cluster)
    topics = () if cluster is None else cluster.control_topics
    if not topics:
        raise _impossible(f"the hub reads no control topic of cluster {source.cluster} any more")
    return source.topic if source.topic in topics else topics[0]


def _impossible(detail: str) -> Refused:
    return Refused(ProblemType.IMPOSSIBLE, detail)


def needs_of_sent(report: sc.ReportStream) -> Needs:
    return Needs(sendings={report.about_id})


def sent(draft: Draft, report: sc.ReportStream) -> None:
    """sending -> sent, with where the record lies, or failed."""
    sending = draft.get(sr.Sending, report.about_id)
    if sending is None or sending.state != SendingState.SENDING:
        return
    step = Step.FAIL if report.reason else Step.SUCCEED
    where = report.written[0] if report.written else None
    draft.change(
        sending,
        state=follow(SENDING, SendingState.SENDING, step),
        state_at=draft.now,
        reason=report.reason,
        detail=report.detail,
        partition=None if where is None else where.partition,
        log_offset=None if where is None else where.offset,
    )
