"""How what we make in a cluster is called and labelled: from whole ids alone, the same each time, and never twice.

A name is a DNS label (at most 63 characters); a workload's leaves room for what its pods append. An id stands in it
whole, as base32 (26 characters), so that two ids never share a name. People and selectors find the ids in the labels,
and what the caller calls it in an annotation.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from collections.abc import Mapping
from typing import Final

import msgspec

from fedyard.cluster.port import Spec

MAX_NAME: Final = 63
MAX_NAMED: Final = 52
"""Of a workload: a job appends 6 characters to name its pod, a deployment 11 to name its replica set."""

CONTAINER: Final = "workload"
"""Of a pod's containers the workload's own."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
COMPONENT: Final = "app.kubernetes.io/component"
US: Final = "fedyard"
OWNER: Final = "fedyard/owner"
PLACE: Final = "fedyard/place"
WORKLOAD: Final = "fedyard/workload"
ATTEMPT: Final = "fedyard/attempt"
PEERS: Final = "fedyard/peers"
SPEC_HASH: Final = "fedyard/spec-sha256"
"""Annotation: what the object was made of."""
NAME: Final = "fedyard/name"
"""Annotation: what the caller calls it, whole."""

_OURS = ("fedyard/", MANAGED_BY, COMPONENT)
_CALLERS: Final = "app.kubernetes.io/"
"""Of Kubernetes' own prefixes the one that is meant for callers."""
_OF_KUBERNETES: Final = ("kubernetes.io/", "k8s.io/")
_OF_CONTROLLERS: Final = {"job-name", "controller-uid", "controller-revision-hash", "pod-template-hash"}
TAKEN: Final = frozenset({"nothing", "names", "hub", "peers", "quota", "containers", "workload", "volume", "default"})
"""Names of what is in a place besides workloads."""
_OUTSIDE: Final = "-outside"
"""Ends the name of the Service by which a stable service is reached from outside."""


def short(id: str) -> str:
    """The whole UUID in 26 characters of a DNS label."""
    return base64.b32encode(uuid.UUID(id).bytes).decode().rstrip("=").lower()


def place_name(place: str) -> str:
    """Of the namespace. It has one owner, which its labels tell."""
    return f"fy-{short(place)}"


def workload_name(spec: Spec) -> str:
    """What its caller calls it, as far as there is room and in a label's letters, then what makes it unique.

    A stable service has the caller's name alone, for others dial it; so has what is called exactly so.
    """
    if spec.stable or spec.exact:
        return spec.name
    unique = f"-{short(spec.id)}-{spec.attempt}"
    return slug(spec.name or spec.kind, MAX_NAMED - len(unique)) + unique


def slug(text: str, most: int) -> str:
    """So many characters of a text at most, as the beginning of a DNS label."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower())[:most].strip("-")
    return plain if plain[:1].isalpha() else f"w{plain}"[:most].rstrip("-")


def spec_hash(spec: Spec) -> str:
    """SHA-256 in hex of what is asked for, to tell whether an object is what it should be.

    Without the number of replicas, which is scaled while it lives; without the secrets' values, which a hash that
    anybody can read would give away to whoever can guess them: those are compared in the Secret itself.
    """
    plain = msgspec.structs.replace(spec, replicas=0, secrets=dict.fromkeys(spec.secrets, ""))
    return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()


def place_labels(owner: str, place: str) -> dict[str, str]:
    """What all objects of a place carry."""
    return {MANAGED_BY: US, OWNER: owner, PLACE: place}


def identity(spec: Spec) -> dict[str, str]:
    """The labels by which an attempt's objects are found; nothing else has all of them."""
    return {**place_labels(spec.owner, spec.place), WORKLOAD: spec.id, ATTEMPT: str(spec.attempt)}


def labels(spec: Spec) -> dict[str, str]:
    """The caller's and ours. Raises `ValueError` where the caller's would stand for ours."""
    flaw = flaw_of_labels(spec.labels)
    if flaw is not None:
        raise ValueError(flaw)
    peers = {PEERS: "yes"} if spec.peers else {}
    return {**spec.labels, **identity(spec), COMPONENT: spec.kind, **peers}


def flaw_of_labels(labels: Mapping[str, str]) -> str | None:
    """Which of a caller's labels would stand for one of ours, or of the cluster's, in words; None: all are free."""
    for key in sorted(labels):
        domain = key.partition("/")[0] + "/" if "/" in key else ""
        kubernetes = any(domain == one or domain.endswith(f".{one}") for one in _OF_KUBERNETES)
        if key.startswith(_OURS) or key in _OF_CONTROLLERS or (kubernetes and domain != _CALLERS):
            return f"label {key} is the cluster's own: name yours differently"
    return None


def flaw_of_object_name(name: str) -> str | None:
    """Why nothing that a caller wants to be called exactly so can be, in words; None: it can."""
    if name in TAKEN or name.endswith(_OUTSIDE):
        return f"the name {name} is the place's own: name the object differently"
    return None


def selector(wanted: dict[str, str]) -> str:
    """As the API's lists and watches take it."""
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))
