"""The limits of our queues in RabbitMQ. They are policies, since those can be changed while the hub runs.

A full queue refuses (`reject-publish`), which a sender sees as `BrokerUnavailable`; heartbeats drop the oldest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

DEFINITIONS = Path(__file__).with_name("policies.json")
"""Can also be imported by hand on the management UI's overview page (choose the vhost there)."""

Call = Callable[[str, str, object], object]
"""method, path after /api, body."""


def policies() -> Sequence[dict[str, Any]]:
    """Name, pattern, apply-to, priority and definition of each."""
    found: Sequence[dict[str, Any]] = json.loads(DEFINITIONS.read_text())["policies"]
    return found


def apply_policies(call: Call, vhost: str) -> None:
    """Put every policy into `vhost` by way of RabbitMQ's management API; safe to repeat. `call` raises if refused."""
    for policy in policies():
        body = {key: value for key, value in policy.items() if key != "name"}
        call("PUT", f"/policies/{quote(vhost, safe='')}/{quote(policy['name'], safe='')}", body)
