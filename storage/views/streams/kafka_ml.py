"""What Kafka-ML's front end shows, in its words and with its numbers: of one project, to its members.

It knows no pages: of what can be many, the newest are shown (`MAX_LISTED`); what is looked for is asked
for by name.
"""

from __future__ import annotations

from typing import Any

import msgspec

from domain.ids import Id
from domain.states import WORKLOAD_LIVE
from domain.stream_values import Deployment, InferenceAsked
from domain.values import Subject
from fedyard.wire.times import time_text
from storage.database import Database, Row
from storage.views.sight import Clause, acting_member_of, own, row, rows

Old = dict[str, Any]
"""As Kafka-ML has it as JSON."""
_ids = msgspec.json.Decoder(list[Id])
_asked = msgspec.json.Decoder(InferenceAsked)
_contract = msgspec.json.Decoder(Deployment)
_SHOWN = Clause("deleted_at IS NULL")
MAX_LISTED = 1000
"""Of each list."""


def projects_of(database: Database, subject: Subject) -> list[Id]:
    """Those that the caller coordinates, and that are not archived; two at most."""
    mine = [own("coordinator_site_id", subject), Clause("archived_at IS NULL")]
    return [found[0] for found in rows(database, "SELECT id FROM projects", mine, "ORDER BY created_at LIMIT 2")]


def is_member(database: Database, subject: Subject, project: Id) -> bool:
    wanted = [Clause("projects.id = %s", (project,)), acting_member_of("projects.id", subject)]
    return row(database, "SELECT 1 FROM projects", wanted) is not None


def coordinates(database: Database, subject: Subject, project: Id) -> bool:
    wanted = [Clause("id = %s", (project,)), own("coordinator_site_id", subject)]
    return row(database, "SELECT 1 FROM projects", wanted) is not None


def id_of(database: Database, table: str, project: Id, number: int) -> Id | None:
    """Of what is shown under this number. table: of `architectures` and the like."""
    found = row(database, _ID_OF[table], [Clause("project_id = %s AND number = %s", (project, number)), _SHOWN])
    return None if found is None else found[0]


_ID_OF = {
    "architectures": "SELECT id FROM architectures",
    "configurations": "SELECT id FROM configurations",
    "deployments": "SELECT run_id FROM deployments",
    "training_results": "SELECT id FROM training_results",
    "inferences": "SELECT id FROM inferences",
}


# models and configurations


_MODEL = (
    "SELECT one.id, one.number, one.name, one.description, one.framework, one.distributed, imports, code,"
    " father.number, father.name, one.father_id FROM architectures one"
    " JOIN architecture_versions ON architecture_id = one.id AND architecture_versions.version = one.version"
    " LEFT JOIN architectures father ON father.id = one.father_id"
)


def models(database: Database, project: Id) -> list[Old]:
    """Of each also its `key`, and that of its father, which are no part of what is shown."""
    wanted = Clause("one.project_id = %s AND one.deleted_at IS NULL", (project,))
    return [_model(one) for one in rows(database, _MODEL, [wanted], "ORDER BY one.number")]


def _model(one: Row) -> Old:
    key, number, name, about, framework, distributed, imports, code, father, father_name, father_key = one
    return {
        "key": key,
        "father_key": father_key,
        "id": number,
        "code": code,
        "name": name,
        "description": about,
        "imports": imports,
        "distributed": bool(distributed),
        "father": None if father is None else {"id": father, "name": father_name},
        "framework": framework,
    }


def shown(model: Old) -> Old:
    """Without what the front end does not know."""
    return {name: value for name, value in model.items() if not name.endswith("key")}


def configurations(database: Database, project: Id) -> list[Old]:
    """The newest first. `keys`: of its models, no part of what is shown."""
    of_project = [Clause("project_id = %s", (project,)), _SHOWN]
    named = {key: {"id": of, "name": name} for key, of, name in rows(database, _NAMED, of_project)}
    deployed: dict[Id, list[Old]] = {}
    sql = "SELECT configuration_id, number, created_at FROM deployments"
    for key, number, at in rows(database, sql, of_project, f"ORDER BY number DESC LIMIT {MAX_LISTED}"):
        deployed.setdefault(key, []).append({"id": number, "time": time_text(at)})
    sql = "SELECT id, number, name, description, architectures_json FROM configurations"
    return [
        {
            "key": key,
            "id": number,
            "name": name,
            "description": about,
            "ml_models": [named[one] for one in _ids.decode(ids) if one in named],
            "deployments": deployed.get(key, []),
        }
        for key, number, name, about, ids in rows(database, sql, of_project, "ORDER BY number DESC")
    ]


_NAMED = "SELECT id, number, name FROM architectures"


# deployments and results


def deployments(database: Database, project: Id, configuration: int | None = None) -> list[Old]:
    """The newest first. configuration: of that number alone."""
    sql = (
        "SELECT deployments.run_id, deployments.number, contract_json, deployments.created_at, configurations.number,"
        " configurations.name FROM deployments LEFT JOIN configurations ON configurations.id = configuration_id"
    )
    wanted = [Clause("deployments.project_id = %s AND deployments.deleted_at IS NULL", (project,))]
    wanted += [] if configuration is None else [Clause("configurations.number = %s", (configuration,))]
    found = rows(database, sql, wanted, f"ORDER BY deployments.number DESC LIMIT {MAX_LISTED}")
    by_run: dict[Id, list[Old]] = {}
    for run, number, state, at, model, name in _briefs(database, project, found[-1][1] if found else 0):
        brief = {"id": number, "status": state, "model": {"id": model, "name": name}, "status_changed": time_text(at)}
        by_run.setdefault(run, []).append(brief)
    return [
        {
            "id": number,
            "configuration": {"id": configuration, "name": name},
            "results": by_run.get(run, []),
            "time": time_text(at),
            **_fields_of(contract),
        }
        for run, number, contract, at, configuration, name in found
    ]


def _briefs(database: Database, project: Id, since: int) -> list[Row]:
    """Of the results of deployments from this number on; without what they measured, which is most of a result."""
    sql = (
        "SELECT training_results.run_id, training_results.number, training_results.state, training_results.state_at,"
        " architectures.number, architectures.name FROM training_results"
        " JOIN deployments ON deployments.run_id = training_results.run_id"
        " JOIN architectures ON architectures.id = training_results.architecture_id"
    )
    wanted = [
        Clause("training_results.project_id = %s AND training_results.deleted_at IS NULL", (project,)),
        Clause("deployments.number >= %s", (since,)),
    ]
    return rows(database, sql, wanted, "ORDER BY training_results.state_at DESC, training_results.number DESC")


def _fields_of(contract: str) -> Old:
    found: Old = msgspec.to_builtins(_contract.decode(contract))
    found.pop("gpumem")
    return found


_RESULT = (
    "SELECT training_results.id, training_results.number, training_results.state, training_results.state_at,"
    " training_results.run_id, deployments.number, deployments.created_at, architectures.number, architectures.name,"
    " training_results.architecture_id, training_results.version, train_metrics_json, val_metrics_json,"
    " test_metrics_json, confusion_matrix_json, training_time, model_format, model_artifact_id, matrix_artifact_id,"
    " architecture_versions.framework FROM training_results"
    " JOIN deployments ON deployments.run_id = training_results.run_id"
    " JOIN architectures ON architectures.id = training_results.architecture_id"
    " JOIN architecture_versions ON architecture_versions.architecture_id = training_results.architecture_id"
    " AND architecture_versions.version = training_results.version"
)


def results(database: Database, project: Id, run: Id | None = None) -> list[Old]:
    """Newest change first; each with keys that are no part of what is shown. run: of that alone."""
    wanted = [Clause("training_results.project_id = %s AND training_results.deleted_at IS NULL", (project,))]
    wanted += [] if run is None else [Clause("training_results.run_id = %s", (run,))]
    tail = f"ORDER BY training_results.state_at DESC, training_results.number DESC LIMIT {MAX_LISTED}"
    return [_result(one) for one in rows(database, _RESULT, wanted, tail)]


def result(database: Database, project: Id, number: int) -> Old | None:
    wanted = Clause(
        "training_results.project_id = %s AND training_results.number = %s AND training_results.deleted_at IS NULL",
        (project, number),
    )
    found = row(database, _RESULT, [wanted])
    return None if found is None else _result(found)


def _result(one: Row) -> Old:
    key, number, state, at, run, deployment, deployed_at, model, name, architecture, version, *rest = one
    train, val, test, matrix, time, of_format, artifact, image, framework = rest
    return {
        "key": key,
        "run_key": run,
        "architecture_key": architecture,
        "version_key": version,
        "format_key": of_format,
        "artifact_key": artifact,
        "matrix_key": image,
        "framework_key": framework,
        "id": number,
        "status": state,
        "status_changed": time_text(at),
        "deployment": {"id": deployment, "time": time_text(deployed_at)},
        "model": {"id": model, "name": name},
        "train_metrics": _json(train),
        "val_metrics": _json(val),
        "test_metrics": _json(test),
        "confusion_matrix": _json(matrix),
        "training_time": float(time) if time else None,
    }


def _json(text: str) -> Any:
    return msgspec.json.decode(text) if text else None


def code_of(database: Database, result: Old) -> Old | None:
    """The model that a result is of, as it was trained."""
    wanted = Clause("architecture_id = %s AND architecture_versions.version = %s", _trained(result))
    sql = (
        "SELECT one.id, one.number, one.name, one.description, architecture_versions.framework,"
        " architecture_versions.distributed, imports, code, father.number, father.name, one.father_id"
        " FROM architecture_versions JOIN architectures one ON one.id = architecture_id"
        " LEFT JOIN architectures father ON father.id = one.father_id"
    )
    found = row(database, sql, [wanted])
    return None if found is None else _model(found)


def _trained(result: Old) -> tuple[Id, int]:
    return result["architecture_key"], result["version_key"]


# data sources and inferences


_SOURCE = (
    "SELECT data_sources.id, input_format, deployment_number, input_config_json, description, data_topic, total_msg,"
    " validation_rate, test_rate, announced_at, taken_at FROM data_sources"
)


def data_sources(database: Database, project: Id, *, of: int | None = None, topic: str | None = None) -> list[Old]:
    """Announced for the project's deployments, the newest first; each with its `key`, which is not shown.

    of: that deployment's alone. topic: what they say of where they lie.
    """
    wanted = [
        Clause(
            "purpose = 'control' AND deployment_number IN (SELECT number FROM deployments WHERE project_id = %s)",
            (project,),
        )
    ]
    wanted += [] if of is None else [Clause("deployment_number = %s", (of,))]
    wanted += [] if topic is None else [Clause("data_topic = %s", (topic,))]
    return [_source(one) for one in rows(database, _SOURCE, wanted, f"ORDER BY taken_at DESC LIMIT {MAX_LISTED}")]


def _source(one: Row) -> Old:
    key, of_format, deployment, config, about, topic, total, validation, test, announced_at, taken_at = one
    return {
        "key": key,
        "input_format": of_format,
        "deployment": str(deployment),
        "input_config": config,
        "description": about,
        "topic": topic,
        "total_msg": total,
        "validation_rate": validation,
        "test_rate": test,
        "time": time_text(announced_at or taken_at),
    }


_INFERENCE = (
    "SELECT inferences.id, number, result_number, inferences.state, inferences.state_at, asked_json,"
    " inferences.created_at, workloads.state, workloads.replicas FROM inferences"
    " LEFT JOIN workloads ON workloads.id = workload_id"
)


def inferences(database: Database, project: Id, *, number: int | None = None, result: int | None = None) -> list[Old]:
    """Newest change first; `key` is not shown. One is `deployed` until it is gone, whoever has stopped it.

    number: that one alone. result: of that alone.
    """
    wanted = [Clause("inferences.project_id = %s AND deleted_at IS NULL", (project,))]
    wanted += [] if number is None else [Clause("number = %s", (number,))]
    wanted += [] if result is None else [Clause("result_number = %s", (result,))]
    tail = f"ORDER BY inferences.state_at DESC, number DESC LIMIT {MAX_LISTED}"
    return [_inference(one) for one in rows(database, _INFERENCE, wanted, tail)]


def _inference(one: Row) -> Old:
    key, number, result, state, state_at, asked_json, at, workload, replicas = one
    asked = _asked.decode(asked_json)
    there = workload in WORKLOAD_LIVE
    return {
        "key": key,
        "state_key": state,
        "id": number,
        "status": "deployed" if there or state == "preparing" else "stopped",
        "status_changed": time_text(state_at),
        "model_result": result,
        "replicas": asked.replicas if replicas is None else replicas,
        "input_format": asked.input_format,
        "input_config": asked.input_config,
        "input_topic": asked.input_topic,
        "output_topic": asked.output_topic,
        "time": time_text(at),
        "limit": asked.limit,
        "output_upper": asked.output_upper,
        "token": None,
        "external_host": None,
        "input_kafka_broker": asked.input_cluster,
        "output_kafka_broker": asked.output_cluster,
        "upper_kafka_broker": asked.upper_cluster,
    }


# of the federated back-end


def federated_data(database: Database) -> list[Old]:
    """The newest."""
    sql = (
        "SELECT input_format, input_config_json, incremental, data_topic, unsupervised_topic, total_msg,"
        " validation_rate, test_rate, description, restrictions_json, announced_at, taken_at FROM data_sources"
    )
    live = [Clause("purpose = 'data' AND state = 'live'")]
    found = rows(database, sql, live, f"ORDER BY taken_at DESC LIMIT {MAX_LISTED}")
    return [
        {
            "input_format": one[0],
            "input_config": one[1],
            "incremental": bool(one[2]),
            "topic": one[3],
            "unsupervised_topic": one[4],
            "total_msg": one[5],
            "validation_rate": one[6],
            "test_rate": one[7],
            "description": one[8],
            "dataset_restrictions": one[9],
            "time": time_text(one[10] or one[11]),
        }
        for one in found
    ]


def federated_models(database: Database) -> list[Old]:
    """The newest."""
    sql = (
        "SELECT string_id, input_shape, output_shape, restriction_json, min_data, framework, distributed, announced_at,"
        " taken_at FROM model_announcements"
    )
    found = rows(database, sql, [Clause("state = 'live'")], f"ORDER BY taken_at DESC LIMIT {MAX_LISTED}")
    return [
        {
            "federated_string_id": one[0],
            "input_shape": one[1],
            "output_shape": one[2],
            "data_restriction": one[3],
            "min_data": one[4],
            "framework": one[5],
            "distributed": bool(one[6]),
            "time": time_text(one[7] or one[8]),
        }
        for one in found
    ]
