"""A federated pair on the embedded hub: a controller and a worker as Kafka-ML's, matched by what they announced."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from demo.kafkaml import kafka, sink
from demo.kafkaml.digits import digits
from devservers.kafka import PrivateNoida
from tests.ops.program import ROOT, Program, call, create_account
from tests.ops.test_deployments import TENSORFLOW
from tests.ops.test_workloads import TASKS, ok
from tests.seals import enrolling
from tests.waiting import until

STREAMS = """
[clusters.cloud]
bootstrap_servers = "{servers}"
control_topics = ["pair-control"]
model_topics = ["pair-models"]
[clusters.edge]
bootstrap_servers = "{servers}"
data_topics = ["pair-data"]
[images]
tensorflow_training = "kml/tf"
tensorflow_federated = "kml/worker"
"""
PYTHON = f"/usr/bin/env PYTHONPATH={ROOT} OPENBLAS_NUM_THREADS=1 {sys.executable} -m demo.kafkaml"
CONTRACT = {
    "batch": 32,
    "tf_kwargs_fit": "epochs=1",
    "federated": True,
    "agg_rounds": 2,
    "min_data": 200,
    "data_restriction": {"country": "es"},
}


def test_data_at_the_edge_train_a_model_of_the_cloud(noida: PrivateNoida, tmp_path: Path) -> None:
    (tmp_path / "streams.toml").write_text(STREAMS.format(servers=noida.bootstrap_servers))
    servers = noida.bootstrap_servers
    kafka.make(servers, {name: {} for name in ("pair-control", "pair-models", "pair-data", "pair-digits")})
    hub = Program(
        tmp_path / "log", "embedded", "--data", tmp_path / "hub", "--port", "0",
        FEDYARD_STREAMS=str(tmp_path / "streams.toml"),
        FEDYARD_PROCESS_IMAGES=f"kml/tf={PYTHON}.training tensorflow,kml/worker={PYTHON}.worker",
    )  # fmt: skip
    try:
        api = hub.ready()
        admin = create_account(tmp_path / "hub")
        house = ok(call(api, "/v1/organisations", admin, {"name": "Theirs"}, wait=20))["id"]
        token = ok(call(api, "/v1/enrolments", admin, {"organisation_id": house}, wait=20))["token"]
        lead = ok(call(api, "/v1/sites", token, enrolling(token, "lead"), wait=20))["token"]

        def write(path: str, body: dict[str, Any]) -> Any:
            return ok(call(api, path, lead, body, wait=20))

        for first, count in ((0, 300), (300, 400)):  # what fits, and too little
            announced = sink.of_digits(
                servers, "pair-digits", digits().part(first, count), dataset_restrictions='{"country": "es"}'
            )
            sink.announce(servers, "pair-data", 0, announced)
        project = f"/v1/projects/{write('/v1/projects', {'name': 'p', 'tasks': TASKS, 'sealed': 'optional'})['id']}"
        source = {"framework": "tf", "imports": "from demo.kafkaml import network", "code": TENSORFLOW}
        model = write(f"{project}/architectures", {"name": "cnn", **source})["id"]
        deployed = write(f"{project}/deployments", {"contract": CONTRACT, "architecture_ids": [model]})["id"]

        def shown() -> Any:
            return ok(call(api, f"/v1/deployments/{deployed}", lead))

        ended = until(lambda: found if (found := shown())["ended_at"] else None, 60)
        assert (ended["run_state"], ended["reason"]) == ("succeeded", "completed"), (ended, hub.output)
        (result,) = ended["results"]
        assert len(result["train_metrics"]["sparse_categorical_accuracy"]) == 2

        def matches() -> Any:
            return ok(call(api, f"/v1/runs/{deployed}/matches", lead))["items"]

        fits, few = until(lambda: found if (found := matches())[0]["workload_state"] != "running" else None, 30)
        assert (fits["state"], fits["workload_state"]) == ("ended", "succeeded")
        assert [(each["code"], each["detail"]) for each in few["misfits"]][-1] == (
            "amount",
            "100 records are missing: there are 100, the model asks for 200",
        )
        assert hub.end(signal.SIGTERM) == 0, hub.output
    finally:
        hub.end(signal.SIGKILL)
