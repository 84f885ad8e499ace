"""Training over Kafka, told in Kafka-ML's own records: data are announced, a process trains, a service answers, and a
federated pair trains where its data are.

A broker of Kafka's protocol (noida-db) and an embedded hub run here. What they start are demo/kafkaml's stand-ins for
Kafka-ML's programs, which know nothing of Fedyard: they read the environment, records and URLs that they always read.
The data are real: 1,797 handwritten digits.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import TypeVar

import msgspec
import numpy as np

from demo import broker
from demo.clearing import cleared
from demo.kafkaml import kafka
from demo.kafkaml.digits import digits
from demo.kafkaml.expression import Range
from demo.kafkaml.kafka import Record
from demo.kafkaml.samples import config_of
from demo.processes import ROOT, DemoError
from demo.secrecy import short
from demo.stage import COORDINATOR, SOON_S, Stage
from fedyard.agent.site import Folder
from fedyard.clock import draw_key
from fedyard.wire import answers as a

T = TypeVar("T")

PROJECT = "digits"
CONTROL_TOPIC, MODEL_TOPIC, DATA_TOPIC = (
    "KAFKA_ML_CONTROL_TOPIC",
    "FEDERATED_MODEL_CONTROL_TOPIC",
    "FEDERATED_DATA_CONTROL_TOPIC",
)
DIGITS, AT_THE_EDGE, TO_READ, READ = "digits", "digits-edge", "digits-to-read", "digits-read"
IN_CLOUD, AT_EDGE, HELD_OUT = (0, 900), (900, 1500), (1500, 1797)
"""Which digits are announced for the deployment, which at the edge, and which nobody trains on."""
EPOCHS, BATCH, ROUNDS, EPOCHS_OF_A_ROUND = 12, 32, 6, 3
KAFKA_WITHIN_S, TRAINED_WITHIN_S = 30.0, 120.0
GOOD = 0.85
"""The least accuracy that this is worth showing with; guessing has 0.1."""
TOPICS = (CONTROL_TOPIC, MODEL_TOPIC, DATA_TOPIC, DIGITS, AT_THE_EDGE)
SETTINGS = """\
door_url = "{door}"

[images]
{images}

[clusters.cloud]
bootstrap_servers = "{servers}"
control_topics = ["{control}"]
model_topics = ["{models}"]

[clusters.edge]
bootstrap_servers = "{servers}"
data_topics = ["{data}"]
where = "hub"
"""
"""What FEDYARD_STREAMS names. Here one broker is the cloud's, and that of the edge as well."""
SOURCE = """\
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))

    def forward(self, x):
        return self.layers(x)

    def loss_fn(self):
        return nn.CrossEntropyLoss()

    def optimizer(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

    def metrics(self):
        return {"accuracy": Accuracy(), "loss": Loss(self.loss_fn())}


HIDDEN = 24
model = Net()
"""
"""A model as users of Kafka-ML write it for PyTorch. The stand-in reads `HIDDEN` of it and runs none of it."""
FEDERATED_IMPORTS = "from demo.kafkaml.model import Model"
FEDERATED_SOURCE = "model = Model(sample=(8, 8), hidden=24)"
"""A model as for TensorFlow: a job with the trainer's image runs this code, and saves the model into a file."""
PAIR = 2
RESTRICTION = {"hospital": "edge"}
"""What data have to say of themselves to be trained on."""
_PYTHON = f"/usr/bin/env PYTHONPATH={ROOT} OPENBLAS_NUM_THREADS=1 {sys.executable} -m demo.kafkaml"
IMAGES = {
    "pytorch_training": ("demo/pytorch-training", f"{_PYTHON}.training pytorch"),
    "pytorch_inference": ("demo/pytorch-inference", f"{_PYTHON}.inference pytorch"),
    "tensorflow_training": ("demo/tensorflow-training", f"{_PYTHON}.training tensorflow"),
    "tensorflow_federated": ("demo/tensorflow-federated", f"{_PYTHON}.worker"),
}
"""By the name that the settings have for it: an image, and the words that it stands for."""


class Made(msgspec.Struct, frozen=True):
    """What was made: its id, and the number by which Kafka-ML's programs know it."""

    id: str
    number: int


class Result(msgspec.Struct, frozen=True):
    """What a deployment gives for one architecture."""

    id: str
    number: int
    state: str
    reason: str = ""
    detail: str = ""
    train_metrics: dict[str, list[float]] | None = None
    val_metrics: dict[str, list[float]] | None = None
    test_metrics: dict[str, list[float]] | list[object] | None = None


class Deployed(msgspec.Struct, frozen=True):
    """A deployment, as the hub shows it."""

    id: str
    number: int
    state: str
    results: list[Result]


class Served(msgspec.Struct, frozen=True):
    """A service that answers. workload_state: null before it is wanted."""

    workload_state: str | None


class StreamsDemo(Stage):
    """One telling of the story. Embedded alone: the hub's own machine is its cluster."""

    def tell(self) -> bool:
        """True if all of them trained, and answered, well enough."""
        start = self.clock.monotonic()
        self._empty_folder()
        try:
            good = self._told()
        finally:
            self.processes.stop()  # nothing starts a workload any more, and none outlives the demo
            left = cleared([self.hub_folder / "workloads"], self._waited)
        self._say(f"left       {left or 'nothing'}, after the hub has stopped")
        good = good and not left
        took = self.clock.monotonic() - start
        self._say(f"\n{'Done' if good else 'NOT as it should be: exit code 1'}, after {took:.0f} s.")
        return good

    def _told(self) -> bool:
        self.digits = digits()
        self._start_kafka()
        self._start_streams_hub()
        self._lead()
        result = self._deployment()
        trained = self._is_good(result, "accuracy")
        answered = self._inference(result)
        good = all((trained, answered, self._federated()))
        self._look()
        return good

    # what it runs on

    def _start_kafka(self) -> None:
        port = broker.free_port()
        self.servers = f"127.0.0.1:{port}"
        folder = self.chosen.folder / "kafka"
        self.processes.start("Kafka", broker.command(port, folder), self.chosen.folder / "kafka.log")
        self._waited("Kafka listens", lambda: broker.listens(port), KAFKA_WITHIN_S)
        kafka.make(self.servers, {name: {} for name in TOPICS})
        self._say(f"Kafka      {self.servers}: {', '.join(TOPICS)}")

    def _start_streams_hub(self) -> None:
        port = broker.free_port()
        file = self.chosen.folder / "streams.toml"
        file.write_text(
            SETTINGS.format(
                servers=self.servers,
                door=f"http://127.0.0.1:{port}",
                images="\n".join(f'{task} = "{image}"' for task, (image, _) in IMAGES.items()),
                control=CONTROL_TOPIC,
                models=MODEL_TOPIC,
                data=DATA_TOPIC,
            )
        )
        images = ",".join(f"{image}={words}" for image, words in IMAGES.values())
        self._start_hub({"FEDYARD_STREAMS": str(file), "FEDYARD_PROCESS_IMAGES": images}, port)
        self.hub = self._address()
        self._say(f"hub        {self.hub}, told by {short(file)} to listen to Kafka")

    def _lead(self) -> None:
        """A project, led by the site north."""
        admin = self._admin()
        self.folders[COORDINATOR] = Folder(self.chosen.folder / COORDINATOR)
        self._prepare(admin, COORDINATOR, [])
        self._start_agent(COORDINATOR)
        self.coordinator = self._client_of(COORDINATOR)
        task = {"name": "unused", "model": "streams", "rounds": 1}
        self.project = self.coordinator.create_project(PROJECT, [task], sealed="optional")
        self._say_page()
        self._say(f"project    {PROJECT}, led by {COORDINATOR}\n")

    # one model, trained on what is announced for it

    def _deployment(self) -> Result:
        architecture = self._architecture("small", "pth", SOURCE)
        contract = {"batch": BATCH, "pth_kwargs_fit": f"max_epochs={EPOCHS}", "conf_mat_settings": True}
        made = self._deployed([architecture], contract)
        self._say(f"deployment {made.number}: {self._shown(made).state}; no process waits, for there are no data yet")
        self._announce(DIGITS, CONTROL_TOPIC, made.number, IN_CLOUD)
        return self._result(made)

    def _architecture(self, name: str, framework: str, code: str, imports: str = "") -> str:
        body = {"name": name, "framework": framework, "code": code, "imports": imports}
        return self._write(f"/v1/projects/{self.project}/architectures", body, a.Created).id

    def _deployed(self, architectures: list[str], contract: Mapping[str, object]) -> Made:
        body = {"architecture_ids": architectures, "contract": contract}
        return self._write(f"/v1/projects/{self.project}/deployments", body, Made)

    def _write(self, path: str, body: Mapping[str, object], answer: type[T]) -> T:
        return self.coordinator.write("POST", path, body, answer, key=draw_key())

    def _shown(self, made: Made) -> Deployed:
        return self.coordinator.read(f"/v1/deployments/{made.id}", Deployed)

    def _announce(self, topic: str, control: str, number: int, which: tuple[int, int], *more: str) -> None:
        """By the data source, a program of its own."""
        words = ["-m", "demo.kafkaml.sink", self.servers, topic, control, str(number), "--from", str(which[0])]
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, *words, "--to", str(which[1]), *more],
            cwd=ROOT, capture_output=True, text=True, timeout=SOON_S, check=False,
        )  # fmt: skip
        if done.returncode:
            raise DemoError(f"the data source ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
        self._say(f"announced  {which[1] - which[0]} digits in {done.stdout.strip()} on {control}, key {number}")

    def _result(self, made: Made) -> Result:
        """Its only one, once it has ended."""

        def ended() -> Result | None:
            (found,) = self._shown(made).results
            return found if found.state in ("finished", "failed", "stopped") else None

        result = self._waited(f"deployment {made.number} has ended", ended, TRAINED_WITHIN_S)
        assert result is not None
        if result.state != "finished":
            raise DemoError(f"result {result.number} is {result.state} ({result.reason}): {result.detail}")
        return result

    def _is_good(self, result: Result, accuracy: str) -> bool:
        told = (result.train_metrics or {}).get(accuracy, [])
        checked = (result.val_metrics or {}).get(accuracy, [0.0])
        self._say(
            f"result     {result.number}: {result.state}; accuracy {told[0]:.2f} at first, {told[-1]:.2f} in the end,"
            f" {checked[-1]:.2f} on what it was not trained on\n"
        )
        return checked[-1] > GOOD

    # what it has learnt is asked

    def _inference(self, result: Result) -> bool:
        """Whether a service that reads digits nobody trained on knows most of them."""
        held = self.digits.part(*HELD_OUT)
        asked = {
            "input_format": "RAW",
            "input_config": json.dumps(config_of(held.images[0], held.labels[0])),
            "input_topic": TO_READ,
            "output_topic": READ,
        }
        body = {"result": result.number, "asked": asked}
        made = self._write(f"/v1/projects/{self.project}/inferences", body, Made)
        self._say(f"inference  {made.number} reads {TO_READ} and answers in {READ}")
        records = [Record(b"", image.tobytes()) for image in held.images]
        kafka.write(self.servers, TO_READ, records)
        answers = list(kafka.between(self.servers, [Range(READ, 0, 0, len(held))]))
        right = [int(np.argmax(json.loads(one.value)["values"])) for one in answers] == held.labels
        share = float(np.mean(right))
        self._say(f"answers    {len(answers)}, {share:.1%} of them right")
        self._stop(made)
        return share > GOOD

    def _stop(self, inference: Made) -> None:
        path = f"/v1/projects/{self.project}/inferences/{inference.id}"
        self._write(f"{path}/stop", {}, Made)

        def stopped() -> bool:
            return self.coordinator.read(path, Served).workload_state == "stopped"

        self._waited(f"inference {inference.number} has stopped", stopped, SOON_S)
        self._say(f"stopped    inference {inference.number}, and nothing of it is there\n")

    # a federated pair

    def _federated(self) -> bool:
        """Whether a controller and a worker, which the hub finds the data for, have trained in rounds."""
        architecture = self._architecture("federated", "tf", FEDERATED_SOURCE, FEDERATED_IMPORTS)
        contract = {
            "federated": True,
            "agg_rounds": ROUNDS,
            "min_data": AT_EDGE[1] - AT_EDGE[0],
            "batch": BATCH,
            "tf_kwargs_fit": f"epochs={EPOCHS_OF_A_ROUND}",
            "data_restriction": RESTRICTION,
        }
        made = self._deployed([architecture], contract)
        self._say(
            f"deployment {made.number}: federated, {ROUNDS} rounds; a job makes its model's file, then it is announced"
        )
        restriction = json.dumps(RESTRICTION)
        self._announce(AT_THE_EDGE, DATA_TOPIC, 0, AT_EDGE, "--restrictions", restriction, "--test-rate", "0")
        result = self._result(made)
        ended = self._waited("controller and worker have ended", self._federated_ended, SOON_S)
        for one in ended:
            self._say(f"process    {one.name}: {one.state}")
        return self._is_good(result, "sparse_categorical_accuracy") and len(ended) == PAIR

    def _federated_ended(self) -> list[a.Workload]:
        """Controller and worker, once nothing of either runs."""
        found = [one for one in self.coordinator.workloads(self.project) if one.name.startswith("federated-")]
        return found if all(one.state in ("succeeded", "stopped") for one in found) else []
