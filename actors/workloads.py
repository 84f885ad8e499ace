"""The doing actors of workloads: each touches one cluster once, and reports what it saw of it.

What is asked may be asked again: ensuring makes nothing twice, ending ends what is there, and who asks (the reconciler)
asks until the cluster shows what is wanted. Therefore a cluster that is away costs nothing here: what was asked of it
is let go, as is what has waited for too long, for it may be wanted no more.

A queue may deliver twice and late. Ending twice does no harm; making twice would, of a job that has been ended and
removed meanwhile: it would run again. So the records are asked, right before something is made, whether it still is to
be.
"""

from __future__ import annotations

import msgspec

from config.clock import Clock
from config.secret_box import NotOpenedError, SecretBox, Shut
from domain.commands import (
    AnyCommand,
    CollectWorkload,
    EndPlace,
    EndWorkload,
    EnsureWorkload,
    Envelope,
    ReportPlaceGone,
    WriteWorkloadLog,
)
from domain.streams.door import unsaid, with_door
from domain.values import LOG_TAIL_BYTES
from domain.workloads import report_of, token_of, with_own_tokens, with_token
from fedyard.cluster.doing import collected, ended, ensured, read_on, refused
from fedyard.cluster.plan import Finding
from fedyard.cluster.port import Reason, Refused, Spec, Unavailable
from fedyard.wire.times import SECOND
from k8s.clusters import Clusters, HubCluster
from storage.wanted import WantedWorkloads

LEASE_S = 20
"""From then on the reconciler asks anew for what is still wanted."""
AWAY_S = 5.0
"""So long a cluster that did not answer is not asked again: the others' commands wait in the same queue."""


class WorkloadDoer:
    """Carries out `EnsureWorkload`, `CollectWorkload`, `EndWorkload` and `EndPlace`."""

    def __init__(
        self,
        clusters: Clusters,
        wanted: WantedWorkloads,
        clock: Clock,
        key: bytes,
        hub_url: str,
        box: SecretBox,
        door_url: str = "",
    ) -> None:
        """key: what one-time tokens are derived from. hub_url: where workloads call back. box: opens secrets.
        door_url: where Kafka-ML's containers do; empty: at the same address."""
        self._clusters = clusters
        self._wanted = wanted
        self._key = key
        self._hub_url = hub_url
        self._door_url = door_url or hub_url
        self._box = box
        self._clock = clock
        self._away_until: dict[str, float] = {}

    def __call__(self, envelope: Envelope) -> list[AnyCommand]:
        """Do it; the report. Raises nothing that a cluster can bring about; `DatabaseUnavailable` where nobody says
        whether something is still to be made."""
        command = envelope.command
        assert isinstance(command, EnsureWorkload | CollectWorkload | EndWorkload | EndPlace), (
            "this actor looks after workloads"
        )
        place = self._clusters.get(command.cluster)
        late = self._clock.now() >= envelope.at + LEASE_S * SECOND
        if place is None or late or self._clock.monotonic() < self._away_until.get(command.cluster, 0.0):
            return []
        try:
            match command:
                case EnsureWorkload():
                    still = self._wanted.is_to_be_made(command.spec.id, command.spec.attempt)
                    return [self._ensure(place, command)] if still else []
                case CollectWorkload(which=which):
                    if self._wanted.is_kept(which.id, which.attempt):  # asked for again while it waited in the queue
                        return []
                    return [*_rest_of_log(place, command), _collected(place, command)]
                case EndWorkload():
                    return _ended(place, command)
                case EndPlace():
                    return _place_ended(place, command)
        except Unavailable as error:
            away_s = AWAY_S if error.after_s is None else error.after_s
            self._away_until[command.cluster] = self._clock.monotonic() + away_s
            return []

    def _ensure(self, place: HubCluster, command: EnsureWorkload) -> AnyCommand:
        try:
            spec = with_own_tokens(self._with_secrets(command), self._key, self._hub_url)
        except Refused as error:
            return report_of(refused(command.spec, error))
        if not command.enrols:
            return report_of(_ensured(place, spec))
        token = token_of(self._key, spec.id, spec.attempt)
        return report_of(_ensured(place, with_token(spec, token, self._hub_url)))

    def _with_secrets(self, command: EnsureWorkload) -> Spec:
        """With those of its project that it names, opened here and nowhere before. Raises `Refused` where one lacks."""
        spec, names = with_door(command.spec, self._key, self._door_url), command.secret_names
        if not names:
            return spec
        there = self._wanted.secrets(spec.place, names.values())
        values = {}
        for variable, name in names.items():
            if name not in there:
                fact = f"project {spec.place} has no secret {name}: set it, and it is begun"
                raise Refused(Reason.SECRET_MISSING, fact)
            try:
                values[variable] = self._box.open(spec.place, name, Shut(there[name].key_id, there[name].content))
            except NotOpenedError:
                fact = f"secret {name} was set under another key of the hub's: set it again, and it is begun"
                raise Refused(Reason.SECRET_MISSING, fact) from None
        return msgspec.structs.replace(spec, secrets=spec.secrets | values)


def _ensured(place: HubCluster, spec: Spec) -> Finding:
    if place.allows(spec.image):
        return ensured(place.cluster, spec)
    fact = f"the hub's operator does not allow {spec.image}: name it by its digest, or ask for the image"
    return refused(spec, Refused(Reason.IMAGE_UNUSABLE, fact))


def _collected(place: HubCluster, command: CollectWorkload) -> AnyCommand:
    """What was found, with the evidence, if that can be had."""
    evidence = collected(place.cluster, command.which, log_bytes=LOG_TAIL_BYTES)
    if evidence is None:
        return report_of(command.finding)
    return report_of(command.finding, log=unsaid(evidence.log), events=evidence.events)


def _rest_of_log(place: HubCluster, command: CollectWorkload) -> list[AnyCommand]:
    """Before the evidence, with which nothing more of it is taken."""
    if command.log_from is None:
        return []
    which = command.which
    return [
        WriteWorkloadLog(workload_id=which.id, attempt=which.attempt, start=start, body=unsaid(body))
        for start, body in read_on(place.cluster, which, command.log_from)
    ]


def _ended(place: HubCluster, command: EndWorkload) -> list[AnyCommand]:
    if not ended(place.cluster, command.which, grace_s=command.grace_s):
        return []
    return [report_of(Finding(id=command.which.id, attempt=command.which.attempt, gone=True))]


def _place_ended(place: HubCluster, command: EndPlace) -> list[AnyCommand]:
    """Asked again every minute until it is gone; a stranger's is none of ours."""
    try:
        gone = place.cluster.remove_place(command.owner, command.place)
    except Refused:
        gone = True
    return [ReportPlaceGone(cluster=command.cluster, project_id=command.place)] if gone else []
