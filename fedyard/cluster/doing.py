"""One thing done to a cluster, and what is to be recorded of it: the same for the hub's doer and for a site's agent."""

from __future__ import annotations

from collections.abc import Iterator

from fedyard.cluster.plan import Finding, finding_of, said
from fedyard.cluster.port import AttemptId, Cluster, Evidence, Phase, Reason, Refused, Spec, Unavailable

PASSING = frozenset({Reason.QUOTA_EXCEEDED, Reason.IMAGE_NOT_PULLED, Reason.NOT_READY, Reason.SECRET_MISSING})
"""Refusals after which the attempt is wanted as before. `UNSCHEDULABLE` is none: a cluster that has nodes takes the
workload and lets it wait for one; who refuses it has none to wait for."""
MAX_EVENTS = 50
PIECE_BYTES = 65_536
"""Of a log in one report, as the hub takes it."""
PIECES_AT_ONCE = 16
"""As much as the hub keeps of a log that is followed."""
MAX_DETAIL, MAX_EVENT = 1000, 500
"""Characters."""


def ensured(cluster: Cluster, spec: Spec) -> Finding:
    """Make it, or make it as it is wanted; what is there then, or why it is not. Raises `Unavailable`."""
    try:
        observed = cluster.ensure(spec)
        if spec.kind == "service" and observed.replicas != spec.replicas:
            cluster.scale(spec.attempt_id, spec.replicas)
    except Refused as error:
        return refused(spec, error)
    return finding_of(observed)


def refused(spec: Spec, error: Refused) -> Finding:
    """An attempt that is not made: it has failed of that, unless it may pass."""
    phase = None if error.reason in PASSING else Phase.FAILED
    detail = said(error.fact, MAX_DETAIL)
    return Finding(id=spec.id, attempt=spec.attempt, phase=phase, reason=error.reason, detail=detail)


def collected(cluster: Cluster, which: AttemptId, *, log_bytes: int) -> Evidence | None:
    """Its evidence, as large as records take it; None where that cannot be had now: a minute later it goes without."""
    try:
        evidence = cluster.evidence(which, log_bytes=log_bytes)
    except (Unavailable, Refused):
        return None
    events = [said(event, MAX_EVENT) for event in evidence.events[-MAX_EVENTS:]]
    return Evidence(evidence.log[-log_bytes:] if log_bytes else b"", events)


def read_on(cluster: Cluster, which: AttemptId, start: int) -> Iterator[tuple[int, bytes]]:
    """What its log has from byte `start` on, piece by piece with the byte that each begins at, `PIECES_AT_ONCE` at
    most; less where the cluster is away, or has none."""
    for _ in range(PIECES_AT_ONCE):
        try:
            piece = cluster.log(which, after=start, most=PIECE_BYTES)
        except (Unavailable, Refused):
            return
        if piece:
            yield start, piece
        if len(piece) < PIECE_BYTES:
            return
        start += len(piece)


def ended(cluster: Cluster, which: AttemptId, *, grace_s: float) -> bool:
    """Ask for its end; True once nothing of it is there. What is a stranger's stays, and is none of ours."""
    try:
        return cluster.stop(which, grace_s=grace_s)
    except Refused:
        return False
