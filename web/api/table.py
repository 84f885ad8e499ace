"""The table of operations: every call of the API, noun by noun."""

from __future__ import annotations

from types import ModuleType

from web.api import (
    accounts,
    architectures,
    artifacts,
    audit,
    commands,
    concerns,
    configurations,
    data_sources,
    dead_letters,
    deployments,
    description,
    door,
    enrolments,
    heads,
    inbox,
    inferences,
    infrastructure,
    joining,
    keys,
    logs,
    matches,
    me,
    messages,
    model_files,
    operators,
    organisations,
    project_secrets,
    projects,
    recovery,
    rounds,
    runs,
    sendings,
    sign_ins,
    sites,
    streams,
    tokens,
    vitals,
    webhooks,
    workload_files,
    workloads,
)
from web.api.kafka_ml import table as kafka_ml_paths
from web.http.operations import Operation

NOUNS: tuple[ModuleType, ...] = (
    me,
    organisations,
    accounts,
    tokens,
    sign_ins,
    enrolments,
    sites,
    keys,
    recovery,
    projects,
    joining,
    project_secrets,
    infrastructure,
    architectures,
    configurations,
    inferences,
    data_sources,
    sendings,
    streams,
    rounds,
    runs,
    matches,
    logs,
    messages,
    artifacts,
    audit,
    inbox,
    heads,
    webhooks,
    workloads,
    workload_files,
    model_files,
    deployments,
    door,
    commands,
    concerns,
    vitals,
    dead_letters,
    operators,
    description,
)


def operations(*, kafka_ml: bool = False, root: bool = False) -> list[Operation]:
    """Every call of the API. kafka_ml: with the paths of Kafka-ML's back-ends. root: with /, where there is no page."""
    old = kafka_ml_paths.OPERATIONS if kafka_ml else ()
    first = (description.ROOT,) if root else ()
    return [*first, *(operation for noun in NOUNS for operation in noun.OPERATIONS), *old]
