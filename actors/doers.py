"""Which function carries out which command: the doing actors of the hub, one for each row of kind `done`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actors.archives import ArchiveDoer
from actors.dead_letters import DeadLetterDoer
from actors.doing import Doing
from actors.requests import Allowed, Requests
from actors.streams import StreamDoer
from actors.webhooks import WebhookDoer
from actors.workloads import WorkloadDoer
from broker.kafka_writing import KafkaTopics
from broker.opening import opened_dead_letters
from broker.streams import Topics
from config.clock import Clock
from config.key_files import webhook_key, workload_key
from config.secret_box import secret_box
from config.settings import Settings
from config.stream_properties import properties_of
from config.streams import door_url, open_streams
from domain.commands import (
    CheckArchive,
    CollectWorkload,
    Command,
    DeliverWebhook,
    EndPlace,
    EndWorkload,
    EnsureWorkload,
    SettleDeadLetters,
)
from domain.stream_commands import PrepareStream
from k8s.clusters import open_clusters
from storage.blobs.opening import open_blobs
from storage.database import Database
from storage.wanted import WantedWorkloads


@dataclass(frozen=True)
class Tools:
    """What a doing function may be made of. database: to be read alone."""

    settings: Settings
    database: Database
    clock: Clock


def doing_functions(tools: Tools) -> Mapping[type[Command], Doing]:
    """By class of command; a test compares them with the table of commands. Raises `SettingsError`."""
    settings = tools.settings
    requests = Requests(Allowed.of(settings.webhook_allow), tools.clock.now, at_once=settings.do_at_once)
    key = webhook_key(Path(settings.webhook_key_file))
    own = workload_key(Path(settings.workload_key_file))
    wanted = WantedWorkloads(tools.database, own)
    workloads = WorkloadDoer(
        open_clusters(settings),
        wanted,
        tools.clock,
        own,
        settings.callback_url,
        secret_box(settings),
        door_url(settings),
    )
    return {
        DeliverWebhook: WebhookDoer(key, requests.post, tools.clock),
        EnsureWorkload: workloads,
        CollectWorkload: workloads,
        EndWorkload: workloads,
        EndPlace: workloads,
        PrepareStream: StreamDoer(_topics(settings), tools.clock),
        SettleDeadLetters: DeadLetterDoer(partial(opened_dead_letters, settings)),
        CheckArchive: ArchiveDoer(open_blobs(settings.artifacts_url, tools.clock)),
    }


def _topics(settings: Settings) -> Mapping[str, Callable[[], Topics]]:
    """By the clusters' names; a client is made when it is first needed. Raises `SettingsError`."""
    clusters = open_streams(settings).clusters
    return {name: partial(KafkaTopics, properties_of(name, cluster)) for name, cluster in clusters.items()}
