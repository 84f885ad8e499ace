"""The table of the page: everything that people at the hub see and send, noun by noun."""

from __future__ import annotations

from types import ModuleType

from config.settings import Settings
from web.http.operations import Operation
from web.page import (
    audit,
    commands,
    comparing,
    dead_letters,
    describing,
    entry,
    files,
    now,
    people,
    projects,
    runs,
    sites,
    streams,
    webhooks,
    wizard,
    workloads,
)

NOUNS: tuple[ModuleType, ...] = (
    commands,
    comparing,
    describing,
    entry,
    files,
    now,
    dead_letters,
    people,
    projects,
    runs,
    sites,
    streams,
    wizard,
    workloads,
    webhooks,
    audit,
)


def page_operations(settings: Settings) -> list[Operation]:
    """What the page consists of; nothing where it is off."""
    if settings.page == "off":
        return []
    return [operation for noun in NOUNS for operation in noun.OPERATIONS]
