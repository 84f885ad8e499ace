"""The id of a record of Kafka: by all that tells it from any other one, so that it is the same whenever it is read.

A topic that was deleted and made anew begins at offset 0 again; its id tells its records from those before. Where a
cluster gives its topics no ids, what a record says and when it was written take their place.
"""

from __future__ import annotations

import hashlib

from domain import stream_commands as sc
from domain.ids import Id, derive


def id_of(command: sc.TakeRecord) -> Id:
    """Of the command that takes the record, and of the row that it becomes."""
    topic_id = command.topic_id or _told_by(command)
    return derive(command.cluster_id, command.topic, topic_id, command.partition, command.offset)


def _told_by(command: sc.TakeRecord) -> str:
    digest = hashlib.sha256(b"\0".join((command.key or b"", command.value))).hexdigest()
    return f"{command.at}/{digest}"
