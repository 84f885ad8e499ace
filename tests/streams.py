"""Training over streams for tests: clusters of Kafka that nobody reaches, and results that nobody trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from domain import stream_records as sr
from domain.ids import Id, derive
from domain.record import Record
from domain.rules import StreamCluster, StreamRules
from domain.stream_values import InferenceAsked
from storage.database import Database
from storage.store import Changes, Store
from tests.databases import fresh_sqlite, lent_postgres
from tests.domain.scenes import NOW, row

IMAGES = {
    "tensorflow_training": "kafka-ml/tf-training:1",
    "tensorflow_inference": "kafka-ml/tf-inference:1",
    "pytorch_training": "kafka-ml/pth-training:1",
    "pytorch_inference": "kafka-ml/pth-inference:1",
}
RULES = StreamRules(
    clusters=(StreamCluster(name="cloud", workload_bootstrap_servers="cloud:9092", control_topics=("control",)),),
    images=IMAGES,
    door_url="http://hub:8080",
)


@contextmanager
def store_for(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """The URL of an empty store, of the kind that the fixture's parameter names."""
    if request.param == "postgres":
        with lent_postgres(request.getfixturevalue("postgres")) as url:
            yield url
    else:
        yield fresh_sqlite(folder / "store.sqlite")


def settings_file(folder: Path) -> str:
    """The same as the file that FEDYARD_STREAMS names."""
    path = folder / "streams.toml"
    images = "\n".join(f'{name} = "{image}"' for name, image in IMAGES.items())
    path.write_text(
        f'door_url = "http://hub:8080"\n[clusters.cloud]\nbootstrap_servers = "127.0.0.1:1"\n'
        'workload_bootstrap_servers = "cloud:9092"\ncontrol_topics = ["control"]\n'
        f"[images]\n{images}\n"
    )
    return str(path)


def finished(database: Database, project: Id, *, number: int = 7, framework: str = "tf", **fields: Any) -> Id:
    """A training result that is finished, of an architecture that was deleted since; its id."""
    key, net = derive(project, "result", number), derive(project, "architecture of", number)
    said = {"id": key, "number": number, "project_id": project, "run_id": derive(key, "run"), "state": "finished"}
    said |= {"task_run_id": derive(key, "task"), "architecture_id": net, "version": 1, "created_at": NOW}
    said |= {"model_artifact_id": derive(key, "artifact"), "model_format": "h5"}
    result = row(sr.TrainingResult, **(said | fields))
    code = "model = 1" if framework == "tf" else "class Net: ...\nmodel = Net()"
    version = row(
        sr.ArchitectureVersion, architecture_id=net, version=1, framework=framework, code=code, created_by=project
    )
    with Store(database).deciding() as transaction:
        transaction.write(Changes(rows={sr.TrainingResult: [result], sr.ArchitectureVersion: [version]}))
    return key


def announced(database: Database, project: Id, *, number: int = 98, run_id: Id | None = None) -> Id:
    """Data for a deployment of the project, which is this run; their id."""
    key = derive(project, "announced", number)
    about = {"number": number, "project_id": project, "cluster": "cloud", "state": "training", "contract_json": "{}"}
    about |= {"created_at": NOW, "state_at": NOW}
    deployment = row(sr.Deployment, run_id=run_id or derive(key, "run"), **about)
    said = {"purpose": "control", "deployment_number": number, "data_topic": "data:0:0:5", "input_format": "RAW"}
    said |= {"input_config_json": "{}", "restrictions_json": "{}", "state": "live", "taken_at": NOW, "state_at": NOW}
    source = row(sr.DataSource, id=key, cluster="cloud", topic="control", body=b'{"topic":"data:0:0:5"}', **said)
    with Store(database).deciding() as transaction:
        transaction.write(Changes(rows={sr.Deployment: [deployment], sr.DataSource: [source]}))
    return key


def quarantined(database: Database, *, value: bytes = b"?", reason: str = "not_json", **fields: Any) -> Id:
    """A record that nobody understood; its id."""
    key = derive("quarantined", value.hex(), reason)
    said = {"cluster": "cloud", "topic": "control", "purpose": "control", "headers_json": "[]", "state": "waiting"}
    said |= {"key": b"\x07", "value": value, "reason": reason, "taken_at": NOW, "state_at": NOW}
    with Store(database).deciding() as transaction:
        record = row(sr.QuarantinedRecord, id=key, **(said | fields))
        transaction.write(Changes(rows={sr.QuarantinedRecord: [record]}))
    return key


def write(database: Database, *records: Record) -> None:
    """Rows as they are."""
    with Store(database).deciding() as transaction:
        for one in records:
            transaction.write(Changes(rows={type(one): [one]}))


def serving(database: Database, project: Id, result: Id, *, state: str = "stopped", **fields: Any) -> Id:
    """An inference of it that nobody started; its id."""
    key = derive(result, "inference")
    asked = InferenceAsked(input_format="RAW", input_config="{}", input_topic="in", output_topic="out")
    said = {"id": key, "number": 99, "project_id": project, "result_id": result, "result_number": 99, "state": state}
    said |= {"framework": "tf", "location": "hub", "created_by": project, "created_at": NOW, "input_topic": "in"}
    said |= {"asked_json": msgspec.json.encode(asked).decode()}
    with Store(database).deciding() as transaction:
        transaction.write(Changes(rows={sr.Inference: [row(sr.Inference, **(said | fields))]}))
    return key


def sending(database: Database, project: Id, source: Id, *, number: int = 98) -> Id:
    """That these data are announced once more; its id."""
    key = derive(source, "sending", number)
    said = {"data_source_id": source, "deployment_number": number, "project_id": project, "cluster": "cloud"}
    said |= {"topic": "control", "state": "sent", "created_by": project, "created_at": NOW, "state_at": NOW}
    write(database, row(sr.Sending, id=key, **said))
    return key
