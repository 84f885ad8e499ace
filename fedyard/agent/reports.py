"""What the hub is told of workloads at this site."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from fedyard.client.client import Client
from fedyard.client.errors import Refused as HubRefused
from fedyard.clock import Clock, draw_key
from fedyard.cluster.doing import read_on
from fedyard.cluster.plan import Finding, Side
from fedyard.cluster.port import AttemptId, Cluster, Phase, Reason

SAID_AGAIN_S = 15.0
"""So long what was reported is not reported again."""
_encoder = msgspec.json.Encoder(order="deterministic")


class _Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """As the hub takes it."""

    attempt: int
    phase: Phase | None = None
    uid: str = ""
    reason: Reason = Reason.NONE
    detail: str = ""
    exit_code: int | None = None
    ready: int = 0
    addresses: dict[Side, str] = {}
    gone: bool = False
    log: bytes | None = None
    events: list[str] = []
    token_sha256: str | None = None


class _LogPiece(msgspec.Struct, frozen=True):
    """As the hub takes it."""

    attempt: int
    start: int
    log: bytes


class Reports:
    """Used by one thread. told: something was, since somebody has set it to False."""

    def __init__(self, client: Client, clock: Clock, log: Callable[..., None]) -> None:
        self._client, self._clock, self._log = client, clock, log
        self._said: dict[str, float] = {}
        self.told = False

    def tell(
        self,
        finding: Finding,
        *,
        log: bytes | None = None,
        events: list[str] | None = None,
        token_sha256: str | None = None,
    ) -> bool:
        """Tell the hub, unless that was said just now; False if it does not take it. Raises `Unavailable`.

        A report may be repeated: the decision changes nothing that is so already.
        """
        known = msgspec.structs.asdict(finding)
        del known["id"]
        report = _Report(**known, log=log, events=events or [], token_sha256=token_sha256)
        now = self._clock.monotonic()
        mark = hashlib.sha256(finding.id.encode() + _encoder.encode(report)).hexdigest()
        self._said = {mark: at for mark, at in self._said.items() if now < at + SAID_AGAIN_S}
        if mark in self._said:
            return True
        try:
            self._client.write("POST", f"/v1/workloads/{finding.id}/report", report, dict, key=draw_key())
        except HubRefused as error:
            if error.token_unknown:
                raise
            self._log("workload report refused", workload=finding.id, attempt=finding.attempt, reason=error.slug)
            self._said[mark] = now
            return False
        self._said[mark] = now
        self.told = True
        self._log(
            "workload",
            workload=finding.id,
            attempt=finding.attempt,
            phase=finding.phase,
            reason=finding.reason or None,
            exit_code=finding.exit_code,
            gone=finding.gone or None,
        )
        return True

    def tell_log(self, cluster: Cluster, which: AttemptId, start: int) -> None:
        """What the hub has not of a log that somebody follows. Raises `Unavailable` if the hub is away."""
        for begins, piece in read_on(cluster, which, start):
            body = _LogPiece(which.attempt, begins, piece)
            try:
                self._client.write("POST", f"/v1/workloads/{which.id}/log", body, dict, key=draw_key())
            except HubRefused as error:
                if error.token_unknown:
                    raise
                self._log("workload log refused", workload=which.id, attempt=which.attempt, reason=error.slug)
                return
