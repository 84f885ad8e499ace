"""What a deployment waits for: its data, its topics, its model files, its jobs; for `fedyard-hub why`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from domain.ids import Id
from domain.states import WORKLOAD_LIVE, DeploymentState
from domain.streams.training import key_of
from domain.values import Micros
from fedyard.wire.shown import shown
from ops import workloads
from ops.accounts import AT_ONCE, OPERATOR
from ops.spans import ago
from storage import stream_states
from storage.database import Database
from storage.views import workloads as views
from storage.views.sight import Listed, Paging, every
from storage.views.streams import deployments


def numbered(database: Database, project: Id, number: str) -> Id | None:
    """The run of the project's deployment with this number, which is not the run's own."""
    return next(
        (one.id for one in every(partial(_page, database, project), AT_ONCE) if str(one.number) == number), None
    )


def _page(database: Database, project: Id, paging: Paging) -> Listed[deployments.DeploymentHead]:
    found = deployments.deployments_of(database, OPERATOR, project, paging)
    assert found is not None, "the operator sees every project"
    return found


def why(database: Database, run: Id, now: Micros) -> Iterator[str]:
    """Of a run that goes on. Nothing for one that is no deployment."""
    found = deployments.deployment(database, OPERATOR, run)
    if found is None:
        return
    since = ago(found.state_at, now)
    match found.state:
        case DeploymentState.WAITING:
            key = key_of(found.number).hex(" ")
            yield f"It has waited since {since} for data with the key {found.number} (bytes {key}) in {found.cluster}."
            yield from _troubles(database, found.cluster, now)
            yield "  fedyard-hub streams status says how far topics are read, quarantine list what nobody understood."
        case DeploymentState.PREPARING:
            yield f"Its data were announced {since}: topics are made and looked at, and model files made, before jobs."
            yield from _troubles(database, found.cluster, now)
            yield "  Is the doer running, and does it reach Kafka? See fedyard-hub dead-letters list."
        case DeploymentState.TRAINING:
            done = sum(one.state == "finished" for one in found.results)
            yield f"Its jobs train since {since}: {done} of {len(found.results)} results have come."
        case DeploymentState.ENDED:
            return
    for one in views.of_run(database, run):
        if one.state in WORKLOAD_LIVE:
            yield from (f"  {told}" for told in workloads.why(database, one, now))


def _troubles(database: Database, cluster: str, now: Micros) -> Iterator[str]:
    """What is wrong with the cluster that it waits for, as the bridge finds it."""
    told = [one for one in stream_states.bridges(database, now) if one.cluster == cluster]
    if not told:
        yield f"  No bridge has told of {cluster} lately: does it run?"
    for trouble in dict.fromkeys(one.trouble for one in told if one.trouble):
        yield f"  {cluster}: {shown(trouble)}"
