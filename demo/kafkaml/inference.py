"""Inference: `python -m demo.kafkaml.inference pytorch|tensorflow`. For each record of INPUT_TOPIC one of OUTPUT_TOPIC.

As Kafka-ML's, that of PyTorch is in the group `group_id`, whatever GROUP_ID says, and commits after 16 records.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from demo.kafkaml import kafka, network
from demo.kafkaml.door import BETWEEN_S, Door
from demo.kafkaml.framework import FRAMEWORKS, Framework
from demo.kafkaml.kafka import Record
from demo.kafkaml.said import ended, say
from demo.kafkaml.samples import row

COMMIT_EVERY = 16


def serve(environment: Mapping[str, str], framework: Framework, between_s: float = BETWEEN_S) -> None:
    """Until it is stopped."""
    if framework.model_is_source:
        source = Door(environment["MODEL_ARCH_URL"], between_s).model()
        say(f"source of {len(source)} bytes")
    weights = network.unpacked(Door(environment["MODEL_URL"], between_s).model())
    servers, topic = environment["INPUT_BOOTSTRAP_SERVERS"], environment["INPUT_TOPIC"]
    config = json.loads(environment["INPUT_CONFIG"])
    group = kafka.Group(servers, topic, framework.group or environment["GROUP_ID"])
    say(f"answers what comes in {topic}")
    done = 0
    try:
        while True:
            given = group.next()
            try:
                sample = row(given.value, environment["INPUT_FORMAT"], config)
                values = [float(one) for one in network.predicted(weights, sample[None, :])[0]]
            except ValueError as error:
                say(f"a record that cannot be read: {error}")
                continue
            answer = Record(
                b"", json.dumps({"values": values}).encode(), given.headers if framework.copies_headers else ()
            )
            kafka.write(environment["OUTPUT_BOOTSTRAP_SERVERS"], environment["OUTPUT_TOPIC"], [answer])
            done += 1
            if done % COMMIT_EVERY == 0:
                group.commit()
    finally:
        group.close()


if __name__ == "__main__":
    sys.exit(ended(lambda environment: serve(environment, FRAMEWORKS[sys.argv[1]])))
