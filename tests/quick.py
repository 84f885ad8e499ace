"""What `make quick` leaves out: tests that need RabbitMQ, PostgreSQL, S3, Kafka or a browser, or the hub that agents
talk to, and those that take long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
SERVICES = ("rabbit", "rabbitmq", "postgres", "postgresql", "s3", "seaweed", "noida", "tansu", "both")
"""Fixtures, and parameters by which a test asks for one."""
FOLDERS = ("benchmarks", "canary", "chaos", "demo", "liar", "ops", "simulation")
"""Whose tests start programs, or go through long histories."""


def is_quick(item: pytest.Item, long: Sequence[str]) -> bool:
    """True if the test belongs to `make quick`. long: files that take long."""
    within = item.path.relative_to(FOLDER).as_posix()
    if within in long or within.split("/")[0] in FOLDERS:
        return False
    asked = set(getattr(item, "fixturenames", ()))
    if asked & {"servers_folder", "rabbitmq", "postgres", "seaweed", "noida", "tansu", "chromium"} or (
        within.startswith("fedyard/") and "world" in asked
    ):
        return False
    call = getattr(item, "callspec", None)
    return call is None or not any(part in SERVICES for part in call.id.split("-"))
