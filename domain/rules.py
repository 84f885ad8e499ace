"""What the operator's settings say about decisions: limits, quotas, and how long things are kept."""

from __future__ import annotations

from typing import assert_never

import msgspec

from domain.values import ArtifactKind


class Room(msgspec.Struct, frozen=True):
    """Bytes of one artifact, of a project, of one participant in it; what a site may have declared and not stored."""

    artifact_bytes: int
    project_bytes: int
    site_bytes: int
    unfinished_count: int
    unfinished_bytes: int


class StreamCluster(msgspec.Struct, frozen=True):
    """A cluster of Kafka, as decisions know it. workload_bootstrap_servers: as workloads reach it.

    where: what workloads for its data run on: a cluster of the hub's, or site:<id>. models_project: the project that
    gets the runs of models that were announced by somebody else; empty: there are none. worker_gpus: devices that each
    worker on its data is given. written_topics: what the hub tells in, besides.
    """

    name: str
    workload_bootstrap_servers: str = ""
    control_topics: tuple[str, ...] = ()
    model_topics: tuple[str, ...] = ()
    data_topics: tuple[str, ...] = ()
    where: str = "hub"
    models_project: str = ""
    worker_gpus: int = 0
    written_topics: tuple[str, ...] = ()

    def is_the_hubs(self, topic: str) -> bool:
        """Is it one that the hub reads, writes or makes for runs, or Kafka's own? It is no inference's then."""
        named = (*self.control_topics, *self.model_topics, *self.data_topics, *self.written_topics)
        of_runs = tuple(f"{each}." for each in self.control_topics)
        return topic in named or topic.startswith(("__", "FED-", *of_runs))


class StreamRules(msgspec.Struct, frozen=True):
    """What decisions have to know of streams. images: by framework and task, as `tensorflow_training`.

    door_url: where workloads reach the web. cloud: the name of the cluster that deployments use.
    """

    clusters: tuple[StreamCluster, ...] = ()
    images: dict[str, str] = {}
    door_url: str = ""
    cloud: str = "cloud"

    def cluster(self, name: str) -> StreamCluster | None:
        """The one of this name."""
        return next((each for each in self.clusters if each.name == name), None)


class Rules(msgspec.Struct, frozen=True):
    """What the operator's settings say about decisions."""

    message_ttl_s: float = 604_800.0
    log_limit_bytes: int = 16_777_216
    keep_inbox_s: float = 604_800.0
    keep_commands_s: float = 604_800.0
    silent_after_s: float = 90.0
    artifact_limit_bytes: int = 17_179_869_184
    artifact_limit_initial_bytes: int = 17_179_869_184
    artifact_limit_update_bytes: int = 17_179_869_184
    artifact_limit_model_bytes: int = 17_179_869_184
    artifact_limit_log_bytes: int = 1_073_741_824
    artifact_limit_result_bytes: int = 4_294_967_296
    project_quota_bytes: int = 107_374_182_400
    site_quota_bytes: int = 26_843_545_600
    unfinished_artifacts: int = 16
    unfinished_bytes: int = 17_179_869_184
    backlog_messages: int = 1000
    backlog_bytes: int = 67_108_864
    tokens_per_owner: int = 100
    tokens_per_day: int = 200
    sessions_per_account: int = 50
    session_h: float = 12.0
    accounts_per_organisation: int = 1000
    enrolments_per_organisation: int = 1000
    projects_per_coordinator: int = 100
    projects_per_day: int = 200
    live_runs_per_project: int = 100
    keys_per_site: int = 1000
    keys_per_day: int = 50
    keep_artifacts_s: float = 2_592_000.0
    keep_uploads_s: float = 604_800.0
    webhooks_per_owner: int = 20
    webhook_failing_s: float = 432_000.0
    workloads_per_project: int = 200
    workloads_per_day: int = 2000
    project_rounds_per_day: int = 10_000
    site_lost_after_s: float = 600.0
    clusters: str = ""
    webhook_waiting: int = 10_000
    keep_quarantine_s: float = 2_592_000.0
    streams: StreamRules = StreamRules()

    def largest_artifact(self, kind: ArtifactKind) -> int:
        """Bytes that one artifact of this kind may have."""
        match kind:
            case "initial":
                of_kind = self.artifact_limit_initial_bytes
            case "update":
                of_kind = self.artifact_limit_update_bytes
            case "model":
                of_kind = self.artifact_limit_model_bytes
            case "log":
                of_kind = self.artifact_limit_log_bytes
            case "result":
                of_kind = self.artifact_limit_result_bytes
            case _:
                assert_never(kind)
        return min(of_kind, self.artifact_limit_bytes)

    def room(self, kind: ArtifactKind) -> Room:
        """What there is for one more artifact of this kind."""
        return Room(
            artifact_bytes=self.largest_artifact(kind),
            project_bytes=self.project_quota_bytes,
            site_bytes=self.site_quota_bytes,
            unfinished_count=self.unfinished_artifacts,
            unfinished_bytes=self.unfinished_bytes,
        )
