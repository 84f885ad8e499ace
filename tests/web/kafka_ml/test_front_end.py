"""Every call of Kafka-ML's front end, as its services make it: method and path, body, and what it is answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from werkzeug.test import TestResponse

from domain import stream_commands as sc
from domain import stream_records as sr
from domain.codec import THE_HUB, envelope_of
from domain.ids import derive
from storage.views.streams.kafka_ml import MAX_LISTED
from tests import streams
from tests.waiting import until
from tests.web.network import Caller, Network, network
from tests.web.test_rights import _artifact
from web.api.kafka_ml.table import OF_LOGGERS, OF_THE_FRONT_END
from web.api.table import operations
from web.http.routing import routing_of

KERAS = "model = tf.keras.Sequential()"
MODEL = {"name": "cnn", "description": "digits", "imports": "import tensorflow as tf", "code": KERAS, "framework": "tf"}
DEPLOY = {
    "batch": 10,
    "tf_kwargs_fit": "epochs=5",
    "tf_kwargs_val": "",
    "pth_kwargs_fit": "",
    "pth_kwargs_val": "",
    "gpumem": 0,
    "conf_mat_settings": False,
    "stream_timeout": None,
    "monitoring_metric": None,
    "change": None,
    "data_restriction": "{}",
    "incremental": False,
    "federated": False,
    "id": 0,
    "somethingElse": [1],
}
SERVE = {
    "model_result": 7,
    "replicas": 2,
    "input_format": "RAW",
    "input_config": '{"data_type": "uint8"}',
    "input_topic": "in",
    "output_topic": "out",
    "limit": None,
    "output_upper": "",
    "gpumem": 0,
    "token": "",
    "external_host": "",
    "input_kafka_broker": "",
    "output_kafka_broker": "",
    "upper_kafka_broker": "",
}
METRICS = '{"loss":[2.0,1.0],"accuracy":[0.5,0.75]}'
ROUTING = routing_of(operations(kafka_ml=True))
FIELDS = {
    "model": {"id", "code", "name", "description", "imports", "distributed", "father", "framework"},
    "configuration": {"id", "name", "description", "ml_models", "deployments"},
    "result": {
        "id",
        "status",
        "status_changed",
        "deployment",
        "model",
        "train_metrics",
        "val_metrics",
        "test_metrics",
        "confusion_matrix",
        "training_time",
    },
    "source": {
        "input_format",
        "deployment",
        "input_config",
        "description",
        "topic",
        "total_msg",
        "validation_rate",
        "test_rate",
        "time",
    },
    "inference": {
        "id",
        "status",
        "status_changed",
        "model_result",
        "replicas",
        "input_format",
        "input_config",
        "input_topic",
        "output_topic",
        "time",
        "limit",
        "output_upper",
        "token",
        "external_host",
        "input_kafka_broker",
        "output_kafka_broker",
        "upper_kafka_broker",
    },
}
"""What each list has, to the letter."""


@dataclass
class World:
    """One project, with whatever the front end shows."""

    net: Network
    lead: Caller
    member: Caller
    project: str
    numbers: dict[str, int]

    def call(self, method: str, path: str, body: Any = None) -> TestResponse:
        return self.lead.call(method, path.format(**self.numbers), body, wait=False)

    def get(self, path: str) -> Any:
        answered = self.call("GET", path)
        assert answered.status_code == 200, answered.get_data(as_text=True)
        return answered.get_json()

    def number(self, path: str, name: str) -> int:
        return next(one["id"] for one in self.get(path) if one["name"] == name)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = Path(tmp_path_factory.mktemp("kafka_ml"))
    with streams.store_for(request, folder) as url:
        net = network(url, folder, routing=ROUTING, streams=streams.settings_file(folder), kafka_ml_paths="on")
        lead, member = net.site("oslo"), net.site("bergen")
        made = World(net, lead, member, net.project(lead, member), {})
        build(made)
        yield made
        net.close()


def build(world: World) -> None:
    """A single model and a chain, two configurations, a deployment with results, its data, inferences."""
    call, numbers, project, database = world.call, world.numbers, world.project, world.net.database
    assert call("POST", "/models/", MODEL).status_code == 201
    numbers["model"] = world.number("/models/", "cnn")
    for name, father in (("cloud", None), ("edge", "cloud"), ("spare", None)):
        part = {**MODEL, "name": name, "code": "Model()", "distributed": True, "father": numbers.get(str(father))}
        assert call("POST", "/models/", part).status_code == 201
        numbers[name] = world.number("/models/", name)
    for name, models in (("digits", ["model"]), ("chain", ["cloud"]), ("empty", [])):
        said = {"name": name, "description": "", "ml_models": [numbers[one] for one in models]}
        assert call("POST", "/configurations/", said).status_code == 201
        numbers[name] = world.number("/configurations/", name)
    assert call("POST", "/deployments/", {**DEPLOY, "configuration": numbers["digits"]}).status_code == 201
    numbers["deployment"] = world.get("/deployments/")[0]["id"]
    (made,) = world.get("/results/")
    numbers["created"] = made["id"]
    with database.connection():
        columns = ", ".join(sr.TrainingResult.__struct_fields__)
        found = database.all(f"SELECT {columns} FROM training_results WHERE number = %s", made["id"])
    first = sr.TrainingResult(*found[0])
    model = _artifact(world.lead, project, b"weights", whole=True)
    image = _artifact(world.lead, project, b"\x89PNG", whole=True)
    done = {"train_metrics_json": METRICS, "val_metrics_json": '{"loss":[3.0,2.0]}', "test_metrics_json": "{}"}
    done |= {"confusion_matrix_json": "[[1,0],[0,1]]", "training_time": "12.5", "state": "finished"}
    for number, more in (
        (7, {"model_artifact_id": model, "matrix_artifact_id": image, "model_format": "h5"}),
        (8, {"state": "deployed"}),
        (9, {"state": "stopped"}),
    ):
        fields = {**done, "id": derive(project, "result", number), "number": number, **more}
        streams.write(database, msgspec.structs.replace(first, **fields))
    source = {"id": derive(project, "source"), "purpose": "control", "deployment_number": numbers["deployment"]}
    source |= {"cluster": "cloud", "topic": "control", "data_topic": "data:0:0:70", "input_format": "RAW"}
    source |= {"input_config_json": '{"data_type":"uint8"}', "total_msg": 70, "state": "live", "body": b"{}"}
    streams.write(database, row_of(source))
    result = derive(project, "result", 7)
    streams.serving(database, project, result, state="stopped", result_number=7)
    numbers["inference"] = 99


def row_of(fields: dict[str, Any]) -> sr.DataSource:
    blank: dict[str, Any] = {"validation_rate": 0.0, "test_rate": 0.0, "incremental": False, "description": ""}
    for field in msgspec.structs.fields(sr.DataSource):
        if field.required and field.name not in fields and field.name not in blank:
            text = sr.DataSource.__annotations__[field.name]
            blank[field.name] = None if text.endswith("None") else 0 if text in ("int", "Micros") else ""
    return sr.DataSource(**(blank | fields))


# what each call is for, and what it is answered

Check = Callable[[World], None]
CALLS: dict[tuple[str, str], Check] = {}
"""(method, path) -> what is expected of it. The names of services and their methods are Kafka-ML's."""


def of(method: str, path: str) -> Callable[[Check], Check]:
    def put(check: Check) -> Check:
        CALLS[method, path] = check
        return check

    return put


@of("GET", "/models/")
def get_models(world: World) -> None:
    found = {one["name"]: one for one in world.get("/models/")}
    assert found["cnn"] == {
        "id": world.numbers["model"],
        "code": KERAS,
        "name": "cnn",
        "description": "digits",
        "imports": "import tensorflow as tf",
        "distributed": False,
        "father": None,
        "framework": "tf",
    }
    assert found["edge"]["father"] == {"id": world.numbers["cloud"], "name": "cloud"}
    assert all(one.keys() == FIELDS["model"] for one in found.values())


@of("POST", "/models/")
def create_model(world: World) -> None:
    made = world.call("POST", "/models/", {**MODEL, "name": "made", "distributed": False, "father": 12345})
    assert (made.status_code, made.get_data()) == (201, b"")
    assert world.number("/models/", "made")
    for fields in (
        {"framework": "jax"},
        {"code": "model = ("},
        {"code": None},
        {"name": "cnn"},
        {"name": "x", "distributed": True, "code": "M()", "father": 12345},
        {"name": "x", "distributed": True, "code": "M()", "father": world.numbers["cloud"]},
    ):
        before = len(world.get("/models/"))
        assert failure(world.call("POST", "/models/", MODEL | fields))
        assert len(world.get("/models/")) == before


@of("GET", "/models/fathers")
def get_father_models(world: World) -> None:
    assert {one["name"] for one in world.get("/models/fathers")} >= {"cnn", "cloud"}
    assert "edge" not in {one["name"] for one in world.get("/models/fathers")}


@of("GET", "/models/distributed")
def get_distributed_models(world: World) -> None:
    assert {"cloud", "edge"} <= {one["name"] for one in world.get("/models/distributed")}
    assert all(one["distributed"] for one in world.get("/models/distributed"))


@of("GET", "/models/{number}")
def get_model(world: World) -> None:
    assert world.get("/models/{edge}")["father"]["name"] == "cloud"
    gone = world.call("GET", "/models/12345")
    assert (gone.status_code, gone.get_json()) == (404, {"detail": "Not found."})


@of("PUT", "/models/{number}")
def edit_model(world: World) -> None:
    changed = world.call("PUT", "/models/{spare}", {**MODEL, "name": "spare", "code": f"{KERAS}\n"})
    assert (changed.status_code, changed.get_data()) == (200, b"")
    assert world.get("/models/{spare}")["distributed"] is False
    assert "Model not valid." in failure(world.call("PUT", "/models/12345", MODEL))
    circle = {**MODEL, "name": "cloud", "code": "M()", "distributed": True, "father": world.numbers["edge"]}
    assert "feed itself" in failure(world.call("PUT", "/models/{cloud}", circle))


@of("DELETE", "/models/{number}")
def delete_model(world: World) -> None:
    world.call("POST", "/models/", {**MODEL, "name": "going"})
    going = world.number("/models/", "going")
    assert world.call("DELETE", f"/models/{going}").status_code == 200
    assert failure(world.call("DELETE", f"/models/{going}")) == "Model does not exist"
    assert "configuration" in failure(world.call("DELETE", "/models/{model}"))


@of("GET", "/models/result/{number}")
def get_model_result_id(world: World) -> None:
    found = world.get("/models/result/7")
    assert (found["name"], found["distributed"], found["father"], found.keys()) == (
        "cnn",
        False,
        None,
        FIELDS["model"],
    )
    assert failure(world.call("GET", "/models/result/12345"))


@of("GET", "/configurations/")
def get_configurations(world: World) -> None:
    found = {one["name"]: one for one in world.get("/configurations/")}
    assert all(one.keys() == FIELDS["configuration"] for one in found.values())
    assert found["digits"]["ml_models"] == [{"id": world.numbers["model"], "name": "cnn"}]
    assert [one["id"] for one in found["digits"]["deployments"]] == [world.numbers["deployment"]]
    assert [one["name"] for one in found["chain"]["ml_models"]] == ["cloud", "edge"]
    ids = [one["id"] for one in world.get("/configurations/")]
    assert ids == sorted(ids, reverse=True)


@of("POST", "/configurations/")
def create_configuration(world: World) -> None:
    made = world.call("POST", "/configurations/", {"name": "made", "ml_models": []})
    assert (made.status_code, made.get_data()) == (201, b"")
    assert "no model 12345" in failure(world.call("POST", "/configurations/", {"name": "x", "ml_models": [12345]}))
    assert failure(world.call("POST", "/configurations/", {"name": "made", "ml_models": []}))
    assert failure(world.call("POST", "/configurations/", {"ml_models": []}))


@of("GET", "/configurations/{number}")
def get_configuration(world: World) -> None:
    assert world.get("/configurations/{chain}")["name"] == "chain"
    assert world.call("GET", "/configurations/12345").status_code == 404


@of("PUT", "/configurations/{number}")
def edit_configuration(world: World) -> None:
    """Without models it keeps those that it has."""
    said = {"name": "empty", "description": "x", "ml_models": [world.numbers["model"]]}
    assert world.call("PUT", "/configurations/{empty}", said).status_code == 200
    assert world.call("PUT", "/configurations/{empty}", {"name": "empty", "description": "y"}).status_code == 200
    found = world.get("/configurations/{empty}")
    assert (found["description"], [one["name"] for one in found["ml_models"]]) == ("y", ["cnn"])
    assert failure(world.call("PUT", "/configurations/12345", said))


@of("DELETE", "/configurations/{number}")
def delete_configuration(world: World) -> None:
    world.call("POST", "/configurations/", {"name": "going", "ml_models": []})
    going = world.number("/configurations/", "going")
    assert world.call("DELETE", f"/configurations/{going}").status_code == 200
    assert failure(world.call("DELETE", f"/configurations/{going}"))
    assert "deployments" in failure(world.call("DELETE", "/configurations/{digits}"))


@of("GET", "/frameworksInConfiguration/{number}")
def get_frameworks_used_in_configuration(world: World) -> None:
    assert world.get("/frameworksInConfiguration/{digits}") == ["tf"]
    assert failure(world.call("GET", "/frameworksInConfiguration/12345"))


@of("GET", "/distributedConfiguration/{number}")
def get_distributed_configuration(world: World) -> None:
    assert world.get("/distributedConfiguration/{chain}") is True
    assert world.get("/distributedConfiguration/{digits}") is False
    assert failure(world.call("GET", "/distributedConfiguration/12345"))


@of("GET", "/deployments/")
def get_deployments(world: World) -> None:
    found = next(one for one in world.get("/deployments/") if one["id"] == world.numbers["deployment"])
    assert found["configuration"] == {"id": world.numbers["digits"], "name": "digits"}
    assert (found["batch"], found["tf_kwargs_fit"], found["learning_rate"]) == (10, "epochs=5", 0.001)
    assert "gpumem" not in found
    assert {one["id"] for one in found["results"]} >= {7, 8, 9}
    assert {frozenset(one) for one in found["results"]} == {frozenset({"id", "status", "model", "status_changed"})}


@of("POST", "/deployments/")
def deploy(world: World) -> None:
    """What the containers cannot do is said before anything is made; nothing is evaluated."""
    asked = {**DEPLOY, "configuration": world.numbers["digits"]}
    before = world.get("/deployments/")
    for fields in (
        {"configuration": 12345},
        {"configuration": "1"},
        {"batch": 0},
        {"tf_kwargs_fit": ""},
        {"tf_kwargs_fit": "epochs=__import__('os').getpid()"},
        {"agg_strategy": "FedProx"},
        {"federated": True, "agg_strategy": "FedAdam"},
        {"indefinite": True},
        {"federated": True, "blockchain": True},
    ):
        assert failure(world.call("POST", "/deployments/", asked | fields)), fields
    lacking = {name: value for name, value in asked.items() if name != "gpumem"}
    assert failure(world.call("POST", "/deployments/", lacking)) == "gpumem is missing"
    assert world.get("/deployments/") == before


@of("GET", "/deployments/{number}")
def get_deployment_configuration_id(world: World) -> None:
    found = world.get("/deployments/{digits}")
    assert {one["configuration"]["id"] for one in found} == {world.numbers["digits"]}
    assert world.get("/deployments/{chain}") == []
    assert failure(world.call("GET", "/deployments/12345"))


@of("DELETE", "/deployments/{number}")
def delete_deployment(world: World) -> None:
    assert "still has" in failure(world.call("DELETE", "/deployments/{deployment}"))
    assert failure(world.call("DELETE", "/deployments/12345")) == "Deployment does not exist"


@of("GET", "/deployments/results/{number}")
def get_results_deployment_id(world: World) -> None:
    found = world.get("/deployments/results/{deployment}")
    assert {one["id"] for one in found} >= {7, 8, 9}
    assert all(one.keys() == FIELDS["result"] for one in found)
    assert failure(world.call("GET", "/deployments/results/12345"))


@of("GET", "/results/")
def get_results(world: World) -> None:
    found = {one["id"]: one for one in world.get("/results/")}
    assert all(one.keys() == FIELDS["result"] for one in found.values())
    seven = found[7]
    assert (seven["status"], seven["training_time"], seven["confusion_matrix"]) == ("finished", 12.5, [[1, 0], [0, 1]])
    assert (seven["train_metrics"]["loss"], seven["test_metrics"]) == ([2.0, 1.0], {})
    assert seven["deployment"]["id"] == world.numbers["deployment"]


@of("DELETE", "/results/{number}")
def delete_result(world: World) -> None:
    assert "stop it before delete" in failure(world.call("DELETE", "/results/8"))
    assert world.call("DELETE", "/results/9").status_code == 200
    assert failure(world.call("DELETE", "/results/9"))


@of("POST", "/results/stop/{number}")
def stop_training(world: World) -> None:
    """Also of one that was only created; of what has ended there is nothing to stop."""
    assert failure(world.call("POST", "/results/stop/7")) == "Result not found or not running"
    assert failure(world.call("POST", "/results/stop/12345"))
    assert world.call("POST", "/results/stop/{created}").status_code == 200
    status = {one["id"]: one["status"] for one in world.get("/results/")}
    assert status[world.numbers["created"]] == "stopped"


@of("GET", "/results/model/{number}")
def get_trained_model(world: World) -> None:
    found = world.call("GET", "/results/model/7")
    assert (found.status_code, found.get_data()) == (200, b"weights")
    assert found.headers["ML-Framework"] == "tf"
    assert found.headers["Access-Control-Expose-Headers"] == "ML-Framework"
    assert found.headers["Content-Disposition"].endswith("model.h5")
    assert failure(world.call("GET", "/results/model/8"))


@of("GET", "/results/confusion_matrix/{number}")
def get_confusion_matrix(world: World) -> None:
    found = world.call("GET", "/results/confusion_matrix/7")
    assert (found.status_code, found.get_data(), found.content_type) == (200, b"\x89PNG", "image/png")
    assert failure(world.call("GET", "/results/confusion_matrix/8"))


@of("GET", "/results/chart/{number}")
def get_chart_info(world: World) -> None:
    found = world.get("/results/chart/7")
    assert found["conf_mat"] == [[1, 0], [0, 1]]
    lines = {one["name"]: one["series"] for one in found["metrics"]}
    assert list(lines) == ["loss", "accuracy", "loss_val"]
    assert lines["loss_val"] == [{"value": 3.0, "name": 1}, {"value": 2.0, "name": 2}]
    assert failure(world.call("GET", "/results/chart/{created}"))


@of("GET", "/results/inference/{number}")
def get_inference_info(world: World) -> None:
    """As the newest inference reads; without one, as the data source said."""
    assert world.get("/results/inference/7")["input_format"] == "RAW"
    assert world.get("/results/inference/8") == {"input_format": "RAW", "input_config": '{"data_type":"uint8"}'}
    assert failure(world.call("GET", "/results/inference/12345"))


@of("POST", "/results/inference/{number}")
def deploy_inference(world: World) -> None:
    made = world.call("POST", "/results/inference/7", SERVE)
    assert (made.status_code, made.get_data()) == (200, b"")
    found = next(one for one in world.get("/inferences/") if one["id"] != 99)
    assert (found["status"], found["replicas"], found["input_topic"]) == ("deployed", 2, "in")
    for fields in (
        {"replicas": -5},
        {"model_result": 8},
        {"token": "secret", "external_host": "https://far:6443"},
        {"input_kafka_broker": "evil.example.org:9092"},
        {"input_format": "CSV"},
    ):
        assert failure(world.call("POST", "/results/inference/7", SERVE | fields)), fields
    assert failure(world.call("POST", "/results/inference/8", {**SERVE, "model_result": 8}))


@of("GET", "/inferences/")
def get_inferences(world: World) -> None:
    """Nobody is shown a token."""
    found = world.get("/inferences/")
    assert all(one.keys() == FIELDS["inference"] for one in found)
    assert {one["token"] for one in found} == {None}
    assert next(one["status"] for one in found if one["id"] == 99) == "stopped"


@of("POST", "/inferences/{number}")
def stop_inference(world: World) -> None:
    """What has not gone yet is not shown as stopped."""
    world.call("POST", "/results/inference/7", {**SERVE, "input_topic": "stopping"})
    made = next(one for one in world.get("/inferences/") if one["input_topic"] == "stopping")
    prepared(world, made["id"])
    assert world.call("POST", f"/inferences/{made['id']}").status_code == 200
    assert next(one["status"] for one in world.get("/inferences/") if one["id"] == made["id"]) == "deployed"
    assert "please stop it" in failure(world.call("DELETE", f"/inferences/{made['id']}"))
    assert failure(world.call("POST", f"/inferences/{made['id']}")) == "Inference not found or not running"


def prepared(world: World, number: int) -> None:
    with world.net.database.connection():
        (key,) = world.net.database.all("SELECT id FROM inferences WHERE number = %s", number)[0]
    report = sc.ReportStream(purpose="inference", about_id=key, attempt=1)
    world.net.publisher.send([envelope_of(report, id=derive(key, "report"), by=THE_HUB, at=0)])


@of("DELETE", "/inferences/{number}")
def delete_inference(world: World) -> None:
    assert world.call("DELETE", "/inferences/99").status_code == 200
    assert failure(world.call("DELETE", "/inferences/99")) == "Inference does not exist"


@of("GET", "/datasources/")
def get_datasources(world: World) -> None:
    found = world.get("/datasources/")
    assert all(one.keys() == FIELDS["source"] for one in found)
    first = next(one for one in found if one["topic"] == "data:0:0:70")
    assert (first["deployment"], first["total_msg"]) == (str(world.numbers["deployment"]), 70)


@of("POST", "/datasources/kafka")
def deploy_datasource(world: World) -> None:
    """It is sent by the hub, from what was announced, and answered once it is written; what was not announced is
    refused, and so is a deployment of others."""
    again = {**world.get("/datasources/")[-1], "deployment": world.numbers["deployment"]}
    assert failure(world.call("POST", "/datasources/kafka", {**again, "deployment": 12345})) == "Deployment not valid"
    assert "no data source" in failure(world.call("POST", "/datasources/kafka", {**again, "topic": "elsewhere"}))
    assert world.call("POST", "/deployments/", {**DEPLOY, "configuration": world.numbers["digits"]}).status_code == 201
    again["deployment"] = world.get("/deployments/")[0]["id"]
    for reason, expected in (("", 201), ("not_reached", 400)):
        assert sent_once_more(world, again, reason).status_code == expected


def sent_once_more(world: World, again: dict[str, Any], reason: Any) -> TestResponse:
    """The answer, where this becomes of the record."""
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(world.call, "POST", "/datasources/kafka", again)
        until(lambda: sending(world) or sent.done(), 10)
        assert not sent.done(), sent.result().get_data(as_text=True)
        report = sc.ReportStream(purpose="resend", about_id=sending(world), attempt=1, reason=reason)
        key = derive(sending(world), "report")
        world.net.publisher.send([envelope_of(report, id=key, by=THE_HUB, at=0)])
        return sent.result()


def sending(world: World) -> str:
    """The one that is under way."""
    with world.net.database.connection():
        found = world.net.database.all("SELECT id FROM stream_sendings WHERE state = 'sending'")
    return str(found[0][0]) if found else ""


def failure(answered: TestResponse) -> str:
    """The sentence of what failed: a 400 with plain text."""
    assert answered.status_code == 400, answered.get_data(as_text=True)
    assert answered.mimetype == "text/plain"
    return answered.get_data(as_text=True)


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_every_call_of_the_front_end(world: World, call: tuple[str, str]) -> None:
    CALLS[call](world)


def test_a_list_is_bounded_and_what_is_looked_for_is_found_beyond_it(world: World) -> None:
    database, columns = world.net.database, sr.Inference.__struct_fields__
    before = world.get("/results/inference/7")
    with database.connection():
        found = database.all(f"SELECT {', '.join(columns)} FROM inferences ORDER BY number LIMIT 1")
        first = msgspec.structs.replace(sr.Inference(*found[0]), result_number=8, state_at=4_000_000_000_000_000)
        more = [
            msgspec.structs.replace(first, id=derive(first.id, "more", n), number=1000 + n) for n in range(MAX_LISTED)
        ]
        places = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * len(more))
        values = [value for one in more for value in msgspec.structs.astuple(one)]
        database.execute(f"INSERT INTO inferences ({', '.join(columns)}) VALUES {places}", values)
    try:
        assert {one["model_result"] for one in world.get("/inferences/")} == {8}
        assert len(world.get("/inferences/")) == MAX_LISTED
        assert world.get("/results/inference/7") == before
    finally:
        with database.connection():
            database.execute("DELETE FROM inferences WHERE number >= 1000")


def test_they_are_all_in_the_table() -> None:
    assert len(CALLS) == 33
    assert set(CALLS) == {(one.method, one.path) for one in OF_THE_FRONT_END}


def test_they_are_in_the_docs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "streams.md").read_text()
    told = set(re.findall(r"^\| `([A-Z]+) (/[^`]*)` \|", text, re.MULTILINE))
    paths = {(one.method, re.sub(r"{\w+}", "<n>", one.path)) for one in OF_THE_FRONT_END + OF_LOGGERS}
    assert paths <= told


def test_nobody_gets_in_without_a_token_or_from_elsewhere(world: World) -> None:
    far = world.net.site("far")
    for method, path in CALLS:
        where = path.format(number=1)
        assert world.net.stranger(None).call(method, where, {}).status_code == 401
        assert far.call(method, where, {}, wait=False).status_code in (400, 404)
    assert far.get("/models/").get_data(as_text=True).startswith("you coordinate no project")


def test_without_the_operators_word_there_are_no_such_paths(net: Network) -> None:
    oslo = net.site("oslo")
    net.project(oslo)
    for method, path in CALLS:
        assert oslo.call(method, path.format(number=1), {}).status_code == 404
