"""Training over Kafka on the embedded hub: announced data, real processes, the real door, up to the trained model."""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from config.key_files import workload_key
from demo.kafkaml import kafka, sink
from demo.kafkaml.digits import digits
from demo.kafkaml.network import unpacked
from devservers.kafka import PrivateNoida
from domain.streams.door import secret_of
from fedyard.agent.site import Folder
from fedyard.cli.main import main
from tests.ops.program import ROOT, Program, call, create_account, fedyard
from tests.ops.test_workloads import TASKS, ok
from tests.waiting import until

STREAMS = """
[clusters.cloud]
bootstrap_servers = "{servers}"
control_topics = ["end-to-end-control"]
[images]
pytorch_training = "kml/pth"
tensorflow_training = "kml/tf"
"""
TRAINER = f"/usr/bin/env PYTHONPATH={ROOT} OPENBLAS_NUM_THREADS=1 {sys.executable} -m demo.kafkaml.training"
TORCH = """
class Net:
    def loss_fn(self): ...
    def optimizer(self): ...
    def metrics(self): ...

HIDDEN = 24
model = Net()
"""
TENSORFLOW = """
class Net:
    def save(self, path):
        with open(path, "wb") as file:
            file.write(network.packed(network.begun(network.Shape(64, 24)), (8, 8)))

model = Net()
"""
"""Run by the job that makes its model file, in the trainer's image; the stand-in reads what it has saved."""
CONTRACT = {"batch": 32, "pth_kwargs_fit": "max_epochs=2", "tf_kwargs_fit": "epochs=2", "conf_mat_settings": True}


def test_two_frameworks_train_on_announced_data_and_a_bad_model_fails(
    noida: PrivateNoida, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "streams.toml").write_text(STREAMS.format(servers=noida.bootstrap_servers))
    kafka.make(noida.bootstrap_servers, {"end-to-end-control": {}, "end-to-end-digits": {}})
    hub = Program(
        tmp_path / "log", "embedded", "--data", tmp_path / "hub", "--port", "0",
        FEDYARD_STREAMS=str(tmp_path / "streams.toml"),
        FEDYARD_PROCESS_IMAGES=f"kml/pth={TRAINER} pytorch,kml/tf={TRAINER} tensorflow",
    )  # fmt: skip
    try:
        api = hub.ready()
        admin = create_account(tmp_path / "hub")
        house = ok(call(api, "/v1/organisations", admin, {"name": "Theirs"}, wait=20))["id"]
        token = ok(call(api, "/v1/enrolments", admin, {"organisation_id": house}, wait=20))["token"]
        (tmp_path / "token").write_text(token)
        init = ["site", "init", "--hub", api, "--name", "lead", "--token-file", str(tmp_path / "token")]
        assert main(["--folder", str(tmp_path / "lead"), *init]) == 0
        lead = Folder(tmp_path / "lead").token()

        def write(path: str, body: dict[str, Any]) -> Any:
            return ok(call(api, path, lead, body, wait=20))

        def typed(*words: str) -> str:
            capsys.readouterr()
            code = main(["--folder", str(tmp_path / "lead"), "deployment", *words])
            said = capsys.readouterr()
            assert code == 0, said.err
            return said.out

        def shown(ident: str) -> Any:
            return ok(call(api, f"/v1/deployments/{ident}", lead))

        project = f"/v1/projects/{write('/v1/projects', {'name': 'p', 'tasks': TASKS, 'sealed': 'optional'})['id']}"
        source = {"framework": "tf", "imports": "from demo.kafkaml import network", "code": TENSORFLOW}
        write(f"{project}/architectures", {"name": "torch", "framework": "pth", "code": TORCH})
        tensorflow = write(f"{project}/architectures", {"name": "tensorflow", **source})["id"]
        bad = write(f"{project}/architectures", {"name": "bad", **source, "code": "model = undefined"})["id"]
        settings = [
            "--contract",
            str(tmp_path / "contract.json"),
            "--set",
            "tf_kwargs_fit=epochs=2",
            "--set",
            "batch=32",
        ]
        (tmp_path / "contract.json").write_text(json.dumps(CONTRACT))
        said = typed("start", "p", "--architecture", "torch", "--architecture", tensorflow, *settings)
        assert said.startswith("deployment p/1: waiting\n")
        good = {"number": 1, "id": said.split()[-1]}
        failing = write(f"{project}/deployments", {"contract": CONTRACT, "architecture_ids": [bad]})
        waits = typed("start", "p", "--architecture", "torch", *settings).split()[-1]
        assert shown(good["id"])["state"] == "waiting"
        why = fedyard("why", good["id"], "--data", tmp_path / "hub").stdout
        assert "for data with the key 1 (bytes 01) in cloud" in why
        announcement = sink.of_digits(
            noida.bootstrap_servers, "end-to-end-digits", digits().part(0, 300), validation_rate=0.1, test_rate=0.1
        )
        sink.announce(noida.bootstrap_servers, "end-to-end-control", good["number"], announcement)

        ended = until(lambda: found if (found := shown(good["id"]))["ended_at"] else None, 60)
        assert (ended["run_state"], ended["reason"]) == ("succeeded", "completed"), ended
        of_torch, of_tensorflow = sorted(ended["results"], key=lambda one: one["model_format"], reverse=True)
        assert (of_torch["state"], len(of_torch["train_metrics"]["accuracy"])) == ("finished", 2)
        assert len(of_tensorflow["train_metrics"]["sparse_categorical_accuracy"]) == 2
        for one in ended["results"]:
            assert len(one["confusion_matrix"]) == 10
            about = ok(call(api, f"/v1/artifacts/{one['model_artifact_id']}/about", lead))
            assert about["state"] == "stored"
        assert unpacked(_bytes(api, of_torch["model_artifact_id"], lead))

        failed = until(lambda: found if (found := shown(failing["id"]))["ended_at"] else None, 60)
        assert (failed["reason"], failed["results"][0]["reason"]) == ("not_built", "not_built")
        told = typed("show", "p/2")
        assert all(one in told for one in ("ended, its run failed (not_built", "model-file-3-1"))
        assert f" {good['id']} " in typed("list", "p")
        assert "finished" in typed("show", good["id"])
        assert typed("stop", "p/3", "--reason", "enough") == "p/3: cancelled\n"
        assert shown(waits)["run_state"] == "cancelled"
        key = workload_key(tmp_path / "hub" / "workload.key")
        secrets = [secret_of(key, one["workload_id"], 1).encode() for one in ended["results"]]
        left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        assert not [one for one in left if any(secret in one for secret in secrets)]
        assert hub.end(signal.SIGTERM) == 0, hub.output
    finally:
        hub.end(signal.SIGKILL)


def _bytes(api: str, artifact: str, token: str) -> bytes:
    request = urllib.request.Request(f"{api}/v1/artifacts/{artifact}", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bytes(answer.read())
