"""RabbitMQ's limits, as policies: an operator may change them while everything runs, unlike a queue's arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from broker.protocol.routes import QUEUES
from ops.management import Management, part


@dataclass(frozen=True)
class Policy:
    """queues: a pattern of names.

    A full queue of commands refuses (the web answers 503); one of heartbeats drops the oldest.
    """

    name: str
    queues: str
    definition: Mapping[str, object]

    @property
    def body(self) -> dict[str, object]:
        """As the management API takes it."""
        return {"pattern": self.queues, "definition": dict(self.definition), "apply-to": "queues", "priority": 10}


def _pattern(*, durable: bool) -> str:
    names = "|".join(re.escape(queue.name) for queue in QUEUES if queue.durable == durable)
    return f"^({names})(\\.DQ)?$"


POLICIES = (
    Policy(
        "fedyard-commands",
        _pattern(durable=True),
        {"max-length": 200_000, "max-length-bytes": 1_073_741_824, "overflow": "reject-publish"},
    ),
    Policy(
        "fedyard-heartbeats",
        _pattern(durable=False),
        {"max-length": 10_000, "message-ttl": 30_000, "overflow": "drop-head"},
    ),
)


def apply(management: Management, vhost: str) -> None:
    """Set them in a vhost; again does no harm. Raises `ManagementError`."""
    for policy in POLICIES:
        management.call("PUT", f"/policies/{part(vhost)}/{part(policy.name)}", policy.body)
