"""Streams: how the bridge to Kafka does, what came of what was announced, and what nobody understood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec
from flask import Response

from config.streams import open_streams
from domain.states import QuarantineState
from fedyard.look.drawing.graph import Edge, Node, graph
from fedyard.look.forms import Form
from fedyard.wire.plurals import counted
from fedyard.wire.problems import ProblemType
from storage.views import projects
from storage.views.sight import Paging, sees_everything
from storage.views.streams import bridges, data_sources, deployments, matches, quarantine
from storage.views.streams.data_sources import DataSource
from storage.views.streams.deployments import Deployment, DeploymentHead, TrainingResult
from storage.views.streams.matches import Match, ModelAnnouncement
from web.api import data_sources as sources_api
from web.api import deployments as deployments_api
from web.api import streams as api
from web.http.calls import Call
from web.http.operations import Operation
from web.page.acting import act, acted_or_shown
from web.page.forms import form_of
from web.page.rendering import WHERE, ShownList, page, shows, takes
from web.problems import Refused, not_found

HREF = f"{WHERE}/streams"
AT_ONCE = 30
"""Models, deployments and data that the overview shows; lists of their own have all."""
MATCHED_AT_ONCE = 20
"""Of one model's data."""
TEXT_SHOWN = 4096
"""Characters of what a record holds."""
QuarantineStates: TypeAlias = Literal["", "waiting", "replayed", "purged"]
AnnouncementStates: TypeAlias = Literal["", "live", "superseded", "withdrawn", "expired"]
_OF = {one.name: one for noun in (api, sources_api, deployments_api) for one in noun.OPERATIONS}


class QuarantineQuery(ShownList, frozen=True):
    """state: empty, as a form sends it: of any."""

    state: QuarantineStates = "waiting"


class SourcesQuery(ShownList, frozen=True):
    state: AnnouncementStates = ""


def overview(call: Call) -> Response:
    web, subject = call.web, call.caller.subject
    database, operates = web.database, sees_everything(subject)
    images = open_streams(web.hub.settings).images.keys()
    models = matches.announcements(database, subject, Paging(AT_ONCE), images, state=None).items
    paired = {one.id: [] if one.run_id is None else _matches(call, one.run_id, images) for one in models}
    sources = data_sources.data_sources(database, subject, Paging(AT_ONCE), deployment=None, state=None).items
    deployed = deployments.everywhere(database, subject, Paging(AT_ONCE)).items
    status = bridges.status(database, web.hub.clock.now()) if operates else None
    return page(
        call,
        "streams/streams.html",
        own=f"{counted(len(deployed), 'deployment')}, {counted(len(sources), 'announcement')} of data for you.",
        on=bool(web.hub.settings.streams),
        operates=operates,
        bridge=status,
        waiting=sorted(quarantine.waiting_by_reason(database).items()) if operates else [],
        models=models,
        paired=paired,
        sources=sources,
        deployments=deployed,
        names=projects.names_of(database, subject, {one.project_id for one in deployed}),
        drawn=graph("Announcements and what came of them", *what_came(models, paired, sources, deployed)),
        lag=0 if status is None else sum(one.lag_decided or 0 for one in status.partitions),
        at_once=AT_ONCE,
    )


def _matches(call: Call, run: str, images: Any) -> list[Match]:
    found = matches.of_run(call.web.database, call.caller.subject, run, Paging(MATCHED_AT_ONCE), images)
    return [] if found is None else found.items


def what_came(
    models: list[ModelAnnouncement],
    paired: dict[str, list[Match]],
    sources: list[DataSource],
    deployed: list[DeploymentHead],
) -> tuple[list[Node], list[Edge]]:
    """Data, the deployments that are trained on them, the models that they were matched with, and their workers."""
    nodes: dict[str, Node] = {}
    edges: list[Edge] = []
    for source in sources:
        nodes[source.id] = Node(source.id, source.data_topic or source.topic, "data", source.state, f"{HREF}/data")
    for one in deployed:
        about = f"{one.cluster}, run {one.run_state}"
        nodes[one.id] = Node(one.id, f"deployment {one.number}", about, one.state, f"{HREF}/deployments/{one.id}")
        if one.data_source_id in nodes:
            edges.append((one.data_source_id, one.id))
    for source in sources:
        edges += [
            (source.id, one.id)
            for one in deployed
            if one.number == source.deployment_number and one.cluster == source.cluster
        ]
    for model in models:
        href = f"{WHERE}/runs/{model.run_id}" if model.run_id else ""
        nodes[model.id] = Node(model.id, model.string_id, f"model, {model.framework}", model.state, href)
        for match in paired[model.id]:
            if match.id is None:
                continue
            nodes.setdefault(match.source_id, Node(match.source_id, match.data_topic or "data", "data"))
            edges += [(match.source_id, match.id), (model.id, match.id)]
            work = f"{WHERE}/workloads/{match.workload_id}" if match.workload_id else ""
            state = match.workload_state or match.state or ""
            nodes[match.id] = Node(match.id, f"match {match.client_id}".strip(), match.reason, state, work)
    return list(nodes.values()), edges


def records(call: Call) -> Response:
    _need_sight(call)
    state = call.query.state
    found = quarantine.quarantined(call.web.database, call.paging, state=state or None)
    return page(
        call,
        "streams/quarantine.html",
        records=found.items,
        next=f"{HREF}/quarantine?after={found.next}&state={state}" if found.next else "",
        form=Form.of(state=state),
        state=state,
        states=[("", "any state"), *((one.value, one.value) for one in QuarantineState)],
    )


def record(call: Call) -> Response:
    _need_sight(call)
    return page(call, "streams/record.html", **_record(call))


def replay(call: Call) -> Response:
    form = form_of(call)
    return _of_record(call, _OF["replay_quarantined"], form.body("deployment"), f"{HREF}/quarantine", form)


def purge(call: Call) -> Response:
    return _of_record(call, _OF["purge_quarantined"], {}, f"{HREF}/quarantine", form_of(call))


def _of_record(call: Call, operation: Operation, body: dict[str, Any], to: str, form: Form) -> Response:
    acted = act(call, operation, {"record_id": call.id("record_id")}, body)
    if acted.ok:
        return acted_or_shown(call, acted, to=to, template="")
    _need_sight(call)
    return acted_or_shown(call, acted, to=to, template="streams/record.html", form=form, **_record(call))


def _record(call: Call) -> dict[str, Any]:
    subject = call.caller.subject
    found = quarantine.content(call.web.database, call.id("record_id"), shown=subject.role == "admin")
    if found is None:
        raise not_found("quarantined record", call.id("record_id"))
    return {
        "record": found,
        "key_held": held(found.key),
        "value_held": held(found.value),
        "headers": [(one.name, held(one.value)) for one in found.headers or []],
        "shown": subject.role == "admin",
        "waits": found.state == QuarantineState.WAITING,
    }


@dataclass(frozen=True)
class Held:
    """Bytes as people read them. how: what has become of them; empty: nothing."""

    text: str
    how: str = ""


def held(content: bytes | None) -> Held | None:
    """As text where it is some, else in hexadecimal; of much its beginning."""
    if content is None:
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    how = ""
    if not text.replace("\n", "").replace("\t", "").replace("\r", "").isprintable() or (content and not text):
        text, how = content.hex(" "), "in hexadecimal"
    if len(text) > TEXT_SHOWN:
        text, how = text[:TEXT_SHOWN], ", ".join(filter(None, (how, f"the first {TEXT_SHOWN:,} characters")))
    return Held(text, how)


def sources(call: Call) -> Response:
    subject, state = call.caller.subject, call.query.state
    found = data_sources.data_sources(call.web.database, subject, call.paging, deployment=None, state=state or None)
    return page(
        call,
        "streams/data.html",
        sources=found.items,
        next=f"{HREF}/data?after={found.next}&state={state}" if found.next else "",
        form=Form.of(state=state),
        state=state,
        states=[("", "any state"), "live", "superseded", "withdrawn", "expired"],
        acts=subject.role == "admin",
    )


def withdraw(call: Call) -> Response:
    acted = act(call, _OF["withdraw_data_source"], {"data_source_id": call.id("data_source_id")})
    if acted.ok:
        return acted_or_shown(call, acted, to=f"{HREF}/data", template="")
    return acted_or_shown(call, acted, to="", template="streams/refused.html", back=f"{HREF}/data")


def deployment(call: Call) -> Response:
    return page(call, "streams/deployment.html", **_deployment(call))


def stop(call: Call) -> Response:
    ident, form = call.id("deployment_id"), form_of(call)
    acted = act(call, _OF["stop_deployment"], {"deployment_id": ident}, form.body("reason"))
    if acted.ok:
        return acted_or_shown(call, acted, to=f"{HREF}/deployments/{ident}", template="")
    return acted_or_shown(call, acted, to="", template="streams/deployment.html", form=form, **_deployment(call))


def _deployment(call: Call) -> dict[str, Any]:
    subject, ident = call.caller.subject, call.id("deployment_id")
    found = deployments.deployment(call.web.database, subject, ident)
    if found is None:
        raise not_found("deployment", ident)
    names = projects.names_of(call.web.database, subject, {found.project_id})
    return {
        "deployment": found,
        "project": names.get(found.project_id),
        "asked": asked_of(found),
        "metrics": {one.id: metrics_of(one) for one in found.results},
        "may_stop": subject.role != "auditor" and found.ended_at is None,
    }


def asked_of(found: Deployment) -> list[tuple[str, str]]:
    """The contract in Kafka-ML's words, as far as it says anything."""
    said = msgspec.to_builtins(found.contract)
    return [
        (name, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        for name, value in said.items()
        if value not in (None, "", [], {})
    ]


def metrics_of(found: TrainingResult) -> str:
    """The newest values that its job said, in words."""
    said = []
    for word, metrics in (("train", found.train_metrics), ("val", found.val_metrics), ("test", found.test_metrics)):
        if isinstance(metrics, dict):
            said += [f"{word} {name} {_newest(value)}" for name, value in metrics.items()]
    return ", ".join(said)


def _newest(value: Any) -> Any:
    return value[-1] if isinstance(value, list) and value else value


def _need_sight(call: Call) -> None:
    if not sees_everything(call.caller.subject):
        raise Refused(ProblemType.FORBIDDEN, "records that nobody understood are for admins and auditors to see")


_RECORD = "streams/quarantine/{record_id}"
_DEPLOYMENT = "streams/deployments/{deployment_id}"

OPERATIONS = (
    shows("streams", "page_streams", "How the bridge to Kafka does, and what was announced", overview),
    shows("streams/data", "page_data_sources", "Data that were announced", sources, query=SourcesQuery),
    takes(
        "streams/data/{data_source_id}/withdraw", "page_withdraw_data_source", "Begin nothing more with it", withdraw
    ),
    shows("streams/quarantine", "page_quarantine", "Records that nobody understood", records, query=QuarantineQuery),
    shows(_RECORD, "page_quarantined", "One of them", record),
    takes(f"{_RECORD}/replay", "page_replay_quarantined", "Read it once more", replay),
    takes(f"{_RECORD}/purge", "page_purge_quarantined", "Have what it holds go", purge),
    shows(_DEPLOYMENT, "page_deployment", "A deployment and its results", deployment),
    takes(f"{_DEPLOYMENT}/stop", "page_stop_deployment", "End it and its jobs", stop),
)
