"""The federated worker: `python -m demo.kafkaml.worker`. It trains every model that it is sent on the data it is at."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from demo.kafkaml import expression, kafka, network
from demo.kafkaml.federation import DATA, LAST, Topics, read_weights, write_weights
from demo.kafkaml.framework import FRAMEWORKS
from demo.kafkaml.kafka import Record
from demo.kafkaml.said import ended, say
from demo.kafkaml.samples import samples

CLASSIC = "1"


def work(environment: Mapping[str, str]) -> None:
    """Until the last model is trained and sent back."""
    if environment["CASE"] != CLASSIC:
        raise ValueError(f"case {environment['CASE']} is none of this program's")
    servers, client = environment["KML_CLOUD_BOOTSTRAP_SERVERS"], environment["FEDERATED_CLIENT_ID"]
    topics = Topics(environment["FEDERATED_MODEL_ID"])
    kafka.make(servers, {topics.updates(client): DATA})
    read = kafka.between(environment["DATA_BOOTSTRAP_SERVERS"], expression.read(environment["DATA_TOPIC"]))
    given = samples(read, environment["INPUT_FORMAT"], json.loads(environment["INPUT_CONFIG"]))
    total = int(environment["TOTAL_MSG"])
    trained_on = int((1 - float(environment["VALIDATION_RATE"])) * total)
    say(f"read {len(given)} records; takes part in {environment['FEDERATED_MODEL_ID']}")
    models = kafka.Group(servers, topics.model_control, topics.worker(client))
    try:
        while True:
            body = json.loads(models.next().value)
            models.commit()
            models.skip()  # whoever was away for some rounds takes part in the newest
            settings = body["training_settings"]
            done = network.trained(
                read_weights(servers, body["topic"]),
                given.part(0, trained_on),
                given.part(trained_on, len(given)),
                int(settings["kwargs_fit"].get("epochs", 1)),
                int(settings["batch"]),
                FRAMEWORKS["tensorflow"].accuracy,
            )
            version = int(body["version"])
            answer = {
                "topic": write_weights(servers, topics.updates(client), done.weights),
                "version": LAST if version == LAST else version + 1,
                "metrics": {"training": done.training, "validation": done.validation},
                "num_data": total,
            }
            record = Record(topics.worker(client).encode(), json.dumps(answer).encode())
            kafka.write(servers, topics.updates_control, [record])
            say(f"trained version {version}: loss {done.training['loss'][-1]:.3f}")
            if version == LAST:
                return
    finally:
        models.close()


if __name__ == "__main__":
    sys.exit(ended(work))
