"""The doing actors of workloads: each touches one cluster once, and reports what it saw of it.

What is asked may be asked again: ensuring makes nothing twice, ending ends what is there, and who asks (the reconciler)
asks until the cluster shows what is wanted. Therefore a cluster that is away costs nothing here: what was asked of it
is let go, as is what has waited for too long, for it may be wanted no more.
"""

from __future__ import annotations

from config.clock import Clock
from domain.commands import LOG_TAIL_BYTES, AnyCommand, CollectWorkload, EndWorkload, EnsureWorkload, Envelope
from domain.ids import sha256_hex
from domain.workloads import report_of, token_of, with_token
from fedyard.cluster.plan import Finding, finding_of, said
from fedyard.cluster.port import Phase, Reason, Refused, Spec, Unavailable
from fedyard.wire.times import SECOND
from k8s.clusters import Clusters, HubCluster

LEASE_S = 20
"""From then on the reconciler asks anew for what is still wanted."""
AWAY_S = 5.0
"""So long a cluster that did not answer is not asked again: the others' commands wait in the same queue."""
PASSING = frozenset({Reason.QUOTA_EXCEEDED, Reason.UNSCHEDULABLE, Reason.IMAGE_NOT_PULLED, Reason.NOT_READY})
"""Refusals after which the attempt is wanted as before."""
MAX_EVENTS = 50


class WorkloadDoer:
    """Carries out `EnsureWorkload`, `CollectWorkload` and `EndWorkload`."""

    def __init__(self, clusters: Clusters, clock: Clock, key: bytes, hub_url: str) -> None:
        """key: what one-time tokens are derived from. hub_url: where workloads call back."""
        self._clusters = clusters
        self._key = key
        self._hub_url = hub_url
        self._clock = clock
        self._away_until: dict[str, float] = {}

    def __call__(self, envelope: Envelope) -> list[AnyCommand]:
        """Do it; the report. Raises nothing that a cluster can bring about."""
        command = envelope.command
        assert isinstance(command, EnsureWorkload | CollectWorkload | EndWorkload), "this actor looks after workloads"
        place = self._clusters.get(command.cluster)
        late = self._clock.now() >= envelope.at + LEASE_S * SECOND
        if place is None or late or self._clock.monotonic() < self._away_until.get(command.cluster, 0.0):
            return []
        try:
            match command:
                case EnsureWorkload():
                    return [self._ensure(place, command)]
                case CollectWorkload():
                    return [_collected(place, command)]
                case EndWorkload():
                    return _ended(place, command)
        except Unavailable as error:
            away_s = AWAY_S if error.after_s is None else error.after_s
            self._away_until[command.cluster] = self._clock.monotonic() + away_s
            return []

    def _ensure(self, place: HubCluster, command: EnsureWorkload) -> AnyCommand:
        spec = command.spec
        if not command.enrols:
            return report_of(_ensured(place, spec))
        token = token_of(self._key, spec.id, spec.attempt)
        finding = _ensured(place, with_token(spec, token, self._hub_url))
        return report_of(finding, token_sha256=sha256_hex(token.encode()))


def _ensured(place: HubCluster, spec: Spec) -> Finding:
    if not place.allows(spec.image):
        said_of = f"the hub's operator does not allow {spec.image}: name it by its digest, or ask for the image"
        return _refused(spec, Refused(Reason.IMAGE_UNUSABLE, said_of))
    try:
        observed = place.cluster.ensure(spec)
        if spec.kind == "service" and observed.replicas != spec.replicas:
            place.cluster.scale(spec.attempt_id, spec.replicas)
    except Refused as error:
        return _refused(spec, error)
    return finding_of(observed)


def _refused(spec: Spec, error: Refused) -> Finding:
    phase = None if error.reason in PASSING else Phase.FAILED
    return Finding(id=spec.id, attempt=spec.attempt, phase=phase, reason=error.reason, detail=said(error.fact, 1000))


def _collected(place: HubCluster, command: CollectWorkload) -> AnyCommand:
    """What was found, with the evidence; alone where that cannot be had now: a minute later it goes without."""
    try:
        evidence = place.cluster.evidence(command.which, log_bytes=LOG_TAIL_BYTES)
    except (Unavailable, Refused):
        return report_of(command.finding)
    events = [said(event, 500) for event in evidence.events[-MAX_EVENTS:]]
    return report_of(command.finding, log=evidence.log[-LOG_TAIL_BYTES:], events=events)


def _ended(place: HubCluster, command: EndWorkload) -> list[AnyCommand]:
    try:
        gone = place.cluster.stop(command.which, grace_s=command.grace_s)
    except Refused:
        gone = False
    if not gone:
        return []
    return [report_of(Finding(id=command.which.id, attempt=command.which.attempt, gone=True))]
