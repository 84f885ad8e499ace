"""Calls about how the hub does, and about workloads, deployments and streams, beyond those that agents make."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from fedyard.client.calls import Calls, page_of
from fedyard.client.listed import Listed
from fedyard.client.streams import Announced, Results, Streams
from fedyard.wire import answers as a
from fedyard.wire import network_answers as n
from fedyard.wire import stream_answers as s


class OperatorsCalls(Calls):
    """What is asked of a hub by who runs it, or trains over streams. Raises as `Calls` does.

    key: as drawn before, for a repeat after a restart.
    """

    # how the hub does

    def processes(self) -> list[n.HubProcess]:
        """This list has no pages, as those below."""
        return Listed(self.read("/v1/processes", page_of(n.HubProcess)).items)

    def vitals(self, span_s: int = 3600) -> n.Vitals:
        """span_s: how far back curves go, a day at most."""
        return self.read("/v1/vitals", n.Vitals, {"span_s": span_s})

    def dead_letters(self, queue: str | None = None) -> list[n.DeadLetter]:
        return Listed(self.read("/v1/dead-letters", page_of(n.DeadLetter), {"queue": queue}).items)

    def replay_dead_letters(self, letter_ids: Sequence[str], *, key: str | None = None) -> n.DeadLettersSettled:
        """Give them back to their queues."""
        body = {"letter_ids": list(letter_ids)}
        return self.write("POST", "/v1/dead-letters/replay", body, n.DeadLettersSettled, key=key)

    def purge_dead_letters(self, letter_ids: Sequence[str], *, key: str | None = None) -> n.DeadLettersSettled:
        """Throw them away."""
        body = {"letter_ids": list(letter_ids)}
        return self.write("POST", "/v1/dead-letters/purge", body, n.DeadLettersSettled, key=key)

    # workloads

    def workload_attempts(self, workload_id: str) -> list[n.WorkloadAttempt]:
        return Listed(self.read(f"/v1/workloads/{_part(workload_id)}/attempts", page_of(n.WorkloadAttempt)).items)

    # training over streams

    def streams_of(self, project_id: str) -> Streams:
        """A project's architectures, configurations and inferences."""
        return Streams(self, project_id)

    @property
    def announced(self) -> Announced:
        """Data that were announced."""
        return Announced(self)

    @property
    def results(self) -> Results:
        """Training results, by number."""
        return Results(self)

    def all_deployments(self) -> list[a.Deployment]:
        """Of all projects that the caller may see."""
        return Listed(self.every("/v1/deployments", {}, a.Deployment))

    def model_announcements(self, *, state: str | None = None) -> list[s.ModelAnnouncement]:
        return Listed(self.every("/v1/model-announcements", {"state": state}, s.ModelAnnouncement))

    def streams_status(self) -> s.StreamsStatus:
        """How the bridge to Kafka does: for admins and auditors."""
        return self.read("/v1/streams", s.StreamsStatus)

    def quarantine(self, *, state: str | None = None) -> list[s.Quarantined]:
        """Records that nobody understood."""
        return Listed(self.every("/v1/streams/quarantine", {"state": state}, s.Quarantined))

    def quarantined(self, record_id: str) -> s.QuarantinedContent:
        return self.read(f"/v1/streams/quarantine/{_part(record_id)}", s.QuarantinedContent)

    def replay_quarantined(
        self, record_id: str, *, deployment: int | None = None, key: str | None = None
    ) -> s.RecordReplayed:
        """deployment: its number, in the place of what the record's key says."""
        body = {} if deployment is None else {"deployment": deployment}
        path = f"/v1/streams/quarantine/{_part(record_id)}/replay"
        return self.write("POST", path, body, s.RecordReplayed, key=key)

    def purge_quarantined(self, record_id: str, *, key: str | None = None) -> s.RecordsPurged:
        return self.write("DELETE", f"/v1/streams/quarantine/{_part(record_id)}", None, s.RecordsPurged, key=key)


def _part(text: str) -> str:
    return quote(text, safe="")
