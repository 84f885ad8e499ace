"""What Kafka-ML's three loggers post: stored, once, whatever the bridge has seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import streams
from tests.databases import fresh_sqlite
from tests.web.network import Caller, Network, network
from web.api.table import operations
from web.http.routing import routing_of

DATA = {
    "topic": "data:0:0:70",
    "unsupervised_topic": None,
    "input_format": "RAW",
    "input_config": '{"data_type": "uint8", "data_reshape": "28 28"}',
    "description": "digits",
    "dataset_restrictions": "{}",
    "validation_rate": 0.1,
    "test_rate": 0.1,
    "total_msg": 70,
    "incremental": False,
    "time": "2026-11-28T20:00:00",
}
MODEL = {
    "model_format": {"input_shape": "28 28", "output_shape": "10"},
    "federated_params": {"federated_string_id": "i1ewgcrt", "data_restriction": "{}", "min_data": 10},
    "framework": "tf",
    "distributed": False,
    "incremental": False,
    "time": "2026-11-28T20:00:00",
}
DEPLOY = {"batch": 1, "tf_kwargs_fit": "epochs=1", "tf_kwargs_val": "", "pth_kwargs_fit": "", "pth_kwargs_val": ""}


class Scene:
    def __init__(self, net: Network) -> None:
        self.net, self.lead, self.member = net, net.site("oslo"), net.site("bergen")
        self.project = net.project(self.lead, self.member)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = Path(tmp_path_factory.mktemp("loggers"))
    edge = '[clusters.edge]\nbootstrap_servers = "127.0.0.1:1"\ndata_topics = ["data"]\nmodel_topics = ["models"]\n'
    file = Path(streams.settings_file(folder))
    file.write_text(f"{file.read_text()}{edge}")
    routing = routing_of(operations(kafka_ml=True))
    with streams.store_for(request, folder) as url:
        net = network(url, folder, routing=routing, streams=str(file))
        yield Scene(net)
        net.close()


def post(by: Caller, path: str, body: Any) -> tuple[int, str]:
    answered = by.call("POST", path, body, wait=False)
    return answered.status_code, answered.get_data(as_text=True)


def test_what_the_control_logger_posts_is_stored_once_and_written_to_no_topic(scene: Scene) -> None:
    lead = scene.lead
    model = {"name": "cnn", "framework": "tf", "code": "model = 1"}
    assert post(lead, "/models/", model)[0] == 201
    assert post(lead, "/configurations/", {"name": "digits", "ml_models": [1]})[0] == 201
    assert post(lead, "/deployments/", {**DEPLOY, "gpumem": 0, "configuration": 1})[0] == 201
    for _ in range(2):
        assert post(lead, "/datasources/", {**DATA, "deployment": "1"})[0] == 201
    (one,) = lead.get("/datasources/").get_json()
    assert one["time"] == "2026-11-28T20:00:00.000000Z"
    assert (one["topic"], one["deployment"], one["total_msg"], one["description"]) == ("data:0:0:70", "1", 70, "digits")
    assert post(lead, "/datasources/", {**DATA, "deployment": "12345"}) == (400, "Deployment not valid")
    assert post(lead, "/datasources/", {**DATA, "deployment": "1", "total_msg": "many"})[0] == 400


@contextmanager
def named(scene: Scene) -> Iterator[None]:
    """The operator has named the scene's project for these paths."""
    settings = scene.net.app.extensions["fedyard"].hub.settings
    msgspec.structs.force_setattr(settings, "kafka_ml_project", scene.project)
    yield
    msgspec.structs.force_setattr(settings, "kafka_ml_project", "")


def test_what_the_federated_loggers_post_is_taken_once(scene: Scene) -> None:
    with named(scene):
        take_what_federated_loggers_post(scene.lead)
    # of no project: what is announced concerns all, and so it is an admin's
    for path, body in (("/federated-datasources/", DATA), ("/model-control-logger/", MODEL)):
        assert post(scene.lead, path, body)[0] == 400
        assert scene.lead.get(path).status_code == 400
        assert post(scene.net.admin, path, body)[0] == 201


def take_what_federated_loggers_post(lead: Caller) -> None:
    for _ in range(2):
        assert post(lead, "/federated-datasources/", DATA) == (201, "")
        assert post(lead, "/model-control-logger/", MODEL) == (201, "")
    (data,) = lead.get("/federated-datasources/").get_json()
    assert (data["topic"], data["dataset_restrictions"], data["total_msg"]) == ("data:0:0:70", "{}", 70)
    (model,) = lead.get("/model-control-logger/").get_json()
    assert (model["federated_string_id"], model["input_shape"], model["min_data"]) == ("i1ewgcrt", "28 28", 10)
    assert post(lead, "/model-control-logger/", {**MODEL, "time": "2026-11-28T20:00:01"}) == (201, "")
    assert post(lead, "/model-control-logger/", {**MODEL, "time": "soon"})[0] == 400
    assert post(lead, "/model-control-logger/", {"framework": "tf"}) == (406, "Deployment not valid")
    assert post(lead, "/federated-datasources/", {**DATA, "topic": 7}) == (406, "Deployment not valid")


def test_who_coordinates_nothing_here_announces_nothing(scene: Scene) -> None:
    far = scene.net.site("far")
    for path, body in (("/federated-datasources/", DATA), ("/model-control-logger/", MODEL)):
        assert post(far, path, body)[0] == 400
        assert far.get(path).status_code == 400


def test_a_member_announces_nothing_in_the_coordinators_name(scene: Scene) -> None:
    with named(scene):
        for path, body in (("/datasources/", {**DATA, "deployment": "1"}), ("/federated-datasources/", DATA)):
            assert post(scene.member, path, body)[0] == 400
            assert "only the coordinator" in post(scene.member, path, body)[1]


def test_where_the_operator_names_the_project_its_members_read(scene: Scene, tmp_path: Path) -> None:
    """Who coordinates several, or none, is told that it has to be named."""
    assert scene.member.get("/models/").status_code == 400
    net = network(fresh_sqlite(tmp_path / "store.sqlite"), tmp_path, routing=None, kafka_ml_paths="on")
    try:
        lead, member, far = net.site("oslo"), net.site("bergen"), net.site("far")
        project = net.project(lead, member)
        net.project(lead, name="another")
        assert "several projects" in lead.get("/models/").get_data(as_text=True)
        msgspec.structs.force_setattr(net.app.extensions["fedyard"].hub.settings, "kafka_ml_project", project)
        assert [one.get("/models/").status_code for one in (lead, member, far)] == [200, 200, 400]
        model = {"name": "cnn", "framework": "tf", "code": "model = 1"}
        assert [post(one, "/models/", model)[0] for one in (lead, member, far)] == [201, 400, 400]
        assert [one["name"] for one in member.get("/models/").get_json()] == ["cnn"]
    finally:
        net.close()
