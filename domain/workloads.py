"""Workloads: where they may be, which failures another attempt can heal, and what a cluster is told of an attempt."""

from __future__ import annotations

import base64
import hmac
import uuid
from typing import Literal

import msgspec

from domain.commands import ReportWorkload
from domain.ids import Id, sha256_hex
from domain.infrastructure import PARTS, shaped
from domain.records import Workload, WorkloadAttempt
from domain.states import WORKLOAD_LIVE, WorkloadState
from domain.streams import door
from domain.values import Micros, WorkloadSpec
from domain.workload_files import files_of, flaw_of_files
from fedyard.cluster import conventions
from fedyard.cluster.conventions import ENROLMENT_TOKEN, HUB_URL, ROUNDS_TOKEN
from fedyard.cluster.names import flaw_of_labels, flaw_of_object_name
from fedyard.cluster.plan import Finding, Side, Wanted
from fedyard.cluster.port import Phase, Reason, Spec
from fedyard.wire.times import SECOND

AT_SITE = "site:"
"""Before the id of the site whose agent looks after a workload."""
HEALED_BY_REPETITION = frozenset(
    {
        Reason.EVICTED,
        Reason.NODE_LOST,
        Reason.VANISHED,
        Reason.NAMESPACE_GONE,
        Reason.IMAGE_NOT_PULLED,
        Reason.QUOTA_EXCEEDED,
        Reason.SIGNALLED,
        Reason.SILENT,
        Reason.INPUTS_UNAVAILABLE,
        Reason.OUTPUTS_NOT_STORED,
    }
)
"""What may be otherwise the next time. What the task itself did, or the request was, stays as it is."""
OF_A_SERVICE = frozenset({Reason.EXIT_CODE, Reason.OUT_OF_MEMORY, Reason.DEADLINE_PASSED})
"""Besides, of what shall go on until it is stopped."""
NOBODY_KNOWS = frozenset({Reason.VANISHED, Reason.NODE_LOST})
"""Nobody saw how it ended: such an attempt is lost rather than failed."""
MAX_SPEC_BYTES = 65_536
"""All specs of a cluster are in the memory of who looks after it, and of each answer that lists them."""
FOLLOWED_S = 60
"""So long the log of an attempt is read for somebody who has asked for more of it: longer than such a call may wait."""
RETRY_AFTER_S = (5, 30, 120, 300, 600)
"""From the end of one attempt to the next one; the last span for all further ones."""

OWN_VARIABLES = (conventions.OWN, ENROLMENT_TOKEN)
"""Beginnings of names that no caller gives a variable."""

_spec_decoder = msgspec.json.Decoder(WorkloadSpec)
_addresses_decoder = msgspec.json.Decoder(dict[Side, str])


def flaw_of(spec: WorkloadSpec) -> str | None:
    """What cannot be run as it is asked for, whatever the cluster is, and what to do; None: it can."""
    size_bytes = len(msgspec.json.encode(spec))
    if size_bytes > MAX_SPEC_BYTES:
        return (
            f"the spec has {size_bytes} bytes, {MAX_SPEC_BYTES} are allowed: put what is large into the image, or have "
            "the program fetch it"
        )
    own = sorted(name for name in (*spec.environment, *spec.secrets) if name.startswith(OWN_VARIABLES))
    if own:
        return f"the variable {own[0]} is Fedyard's own, and is set by it: name yours differently"
    twice = sorted(spec.environment.keys() & spec.secrets.keys())
    if twice:
        return f"the variable {twice[0]} is in environment and in secrets: name it once"
    flaw = flaw_of_labels(spec.labels) or flaw_of_object_name(spec.object_name)
    if flaw is None and spec.object_name in PARTS:
        flaw = f"the name {spec.object_name} is of a part of the project's infrastructure: name the object differently"
    if flaw is not None:
        return flaw
    flaw = flaw_of_files(spec)
    if flaw is not None:
        return flaw
    if spec.kind == "job" and spec.replicas != 1:
        return "a job has one replica: start several jobs, or a service"
    if spec.kind == "service" and spec.port is None:
        return "a service listens on a port: name it"
    if spec.kind == "service" and spec.deadline_s is not None:
        return "a service goes on until it is stopped: it has no deadline"
    return None


def spec_of(workload: Workload) -> WorkloadSpec:
    """What was asked for; `replicas` as they are wanted now."""
    return msgspec.structs.replace(_spec_decoder.decode(workload.spec_json), replicas=workload.replicas)


def site_of(where: str) -> Id | None:
    """The site whose agent looks after what is there; None: it is a cluster of the hub's."""
    return where.removeprefix(AT_SITE) if where.startswith(AT_SITE) else None


def files_owner_of(workload: Workload, coordinator_site_id: Id) -> Id:
    """For whom a job's inputs are read, and whose its outputs are: the site that it runs at, or the coordinator."""
    return site_of(workload.cluster) or coordinator_site_id


def addresses_of(attempt: WorkloadAttempt) -> dict[Side, str]:
    return _addresses_decoder.decode(attempt.addresses_json)


def may_heal(kind: Literal["job", "service"], reason: Reason) -> bool:
    """Whether another attempt could go otherwise."""
    return reason in HEALED_BY_REPETITION or (kind == "service" and reason in OF_A_SERVICE)


def retry_after_s(attempt: int) -> int:
    """Seconds between the end of this attempt, from 1, and the next one."""
    return RETRY_AFTER_S[min(attempt, len(RETRY_AFTER_S)) - 1]


def owner_of(key: bytes) -> Id:
    """Under which id clusters know this hub's workloads: it goes where the key goes, also into a restored hub."""
    return str(uuid.UUID(bytes=hmac.digest(key, b"fedyard workloads' owner 1", "sha256")[:16], version=5))


def is_open(attempt: WorkloadAttempt) -> bool:
    """Is it still to be heard how it goes? Of what was lost as its site was silent, too: that may be back any day."""
    silent = attempt.state == WorkloadState.LOST and attempt.reason == Reason.SITE_SILENT
    return attempt.state in WORKLOAD_LIVE or (silent and attempt.gone_at is None)


def wanted_of(workload: Workload, attempt: WorkloadAttempt, owner: Id) -> Wanted:
    """An attempt as its cluster is compared with. Only the newest one is to run, and only while it shall."""
    spec = spec_of(workload)
    state = WorkloadState(attempt.state)
    over = attempt.ended_at if attempt.ended_at is not None and not is_open(attempt) else workload.stop_at
    told, kept = door.apart(spec.environment) if workload.purpose else (spec.environment, {})
    asked = Spec(
        owner=owner,
        place=workload.project_id,
        id=workload.id,
        attempt=attempt.attempt,
        kind=spec.kind,
        image=spec.image,
        name=spec.object_name or workload.name[:52],
        exact=bool(spec.object_name),
        labels=spec.labels,
        command=spec.command,
        arguments=spec.arguments,
        environment=told | _told(workload, attempt),
        secrets=kept,
        resources=spec.resources,
        placement=spec.placement,
        replicas=spec.replicas,
        port=spec.port,
        deadline_s=spec.deadline_s,
        grace_s=spec.grace_s,
        files=files_of(workload, spec),
    )
    return Wanted(
        spec=shaped(asked, workload.part) if workload.part in PARTS else asked,
        run=workload.stop_at is None and attempt.attempt == workload.attempt,
        known=Finding(
            id=workload.id,
            attempt=attempt.attempt,
            phase=None if is_open(attempt) and state == WorkloadState.LOST else _PHASES[state],
            uid=attempt.uid,
            reason=Reason(attempt.reason),
            detail=attempt.detail,
            exit_code=attempt.exit_code,
            ready=attempt.ready,
            addresses=addresses_of(attempt),
        ),
        kept=attempt.kept_at is not None,
        enrols=attempt.site_id is not None,
        introduced=bool(attempt.token_sha256),
        secret_names=spec.secrets,
        not_before_s=(workload.next_at or 0) / SECOND,
        over_s=None if over is None else over / SECOND,
    )


def _told(workload: Workload, attempt: WorkloadAttempt) -> dict[str, str]:
    """What every workload finds of itself in its environment."""
    told = {
        conventions.PROJECT_ID: workload.project_id,
        conventions.WORKLOAD_ID: workload.id,
        conventions.WORKLOAD_ATTEMPT: str(attempt.attempt),
    }
    if workload.run_id is not None:
        told[conventions.RUN_ID] = workload.run_id
    if workload.model_version is not None:
        told[conventions.MODEL_VERSION] = str(workload.model_version)
    return told


def token_of(key: bytes, workload_id: Id, attempt: int) -> str:
    """The one-time token of an attempt, the same whoever derives it: no store holds one."""
    about = b"fedyard workload token 1\0" + uuid.UUID(workload_id).bytes + attempt.to_bytes(4, "big")
    return "fyd_" + base64.urlsafe_b64encode(hmac.digest(key, about, "sha256")).decode().rstrip("=")


def files_token_of(key: bytes, workload_id: Id, attempt: int) -> str:
    """With which an attempt is given its files, its project's initial ones or its own inputs, and stores its outputs,
    while it is the newest; it can do nothing else."""
    about = b"fedyard workload files 1\0" + uuid.UUID(workload_id).bytes + attempt.to_bytes(4, "big")
    return base64.urlsafe_b64encode(hmac.digest(key, about, "sha256")).decode().rstrip("=")


ROUNDS_PREFIX = "fyr_"
_ROUNDS_TOKEN_BYTES = 16 + 4 + 32


def rounds_token_of(key: bytes, workload_id: Id, attempt: int) -> str:
    """With which an attempt at a project's coordinator reports its rounds, and uploads their checkpoints, while it is
    the newest. It says whose it is, so that it can be derived again from that."""
    named = uuid.UUID(workload_id).bytes + attempt.to_bytes(4, "big")
    proof = hmac.digest(key, b"fedyard workload rounds 1\0" + named, "sha256")
    return ROUNDS_PREFIX + base64.urlsafe_b64encode(named + proof).decode().rstrip("=")


def named_in(token: str) -> tuple[Id, int] | None:
    """Whose a rounds token says that it is: workload and attempt. None: it is none."""
    text = token.removeprefix(ROUNDS_PREFIX)
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    if not token.startswith(ROUNDS_PREFIX) or len(raw) != _ROUNDS_TOKEN_BYTES:
        return None
    return str(uuid.UUID(bytes=raw[:16])), int.from_bytes(raw[16:20], "big")


def with_own_tokens(spec: Spec, key: bytes, hub_url: str = "") -> Spec:
    """What is given the project's initial files, or reports its rounds: it is told where the hub is, and who fetches
    or reports for it gets the token by reference.

    hub_url: empty where whoever makes it knows that.
    """
    tokens = {}
    if spec.volume is not None and spec.volume.files_token is not None:
        tokens[spec.volume.files_token] = files_token_of(key, spec.id, spec.attempt)
    if spec.files is not None:
        tokens[spec.files.token] = files_token_of(key, spec.id, spec.attempt)
    if spec.companion is not None and ROUNDS_TOKEN in spec.companion.secrets:
        tokens[ROUNDS_TOKEN] = rounds_token_of(key, spec.id, spec.attempt)
    if not tokens:
        return spec
    where = {HUB_URL: hub_url} if hub_url else {}
    return msgspec.structs.replace(spec, environment=spec.environment | where, secrets=spec.secrets | tokens)


def token_sha256(key: bytes, workload_id: Id, attempt: int) -> str:
    """What the hub knows of it."""
    return sha256_hex(token_of(key, workload_id, attempt).encode())


def with_token(spec: Spec, token: str, hub_url: str) -> Spec:
    """What calls back: it is told where, and gets its token by reference."""
    environment = spec.environment | {HUB_URL: hub_url}
    return msgspec.structs.replace(spec, environment=environment, secrets=spec.secrets | {ENROLMENT_TOKEN: token})


_PHASES: dict[WorkloadState, Phase | None] = {
    WorkloadState.WANTED: None,
    WorkloadState.STARTING: Phase.STARTING,
    WorkloadState.RUNNING: Phase.RUNNING,
    WorkloadState.SUCCEEDED: Phase.SUCCEEDED,
    WorkloadState.FAILED: Phase.FAILED,
    WorkloadState.STOPPED: Phase.FAILED,
    WorkloadState.LOST: Phase.FAILED,
}


def report_of(
    finding: Finding, *, log: bytes | None = None, events: list[str] | None = None, token_sha256: str | None = None
) -> ReportWorkload:
    """As it is decided. log and events: the evidence, where it is reported with. token_sha256: of what it was given."""
    known = msgspec.structs.asdict(finding)
    return ReportWorkload(workload_id=known.pop("id"), **known, log=log, events=events or [], token_sha256=token_sha256)


def cluster_names(clusters: str) -> list[str]:
    """The names in FEDYARD_CLUSTERS: `hub=...,edge=...`."""
    return [one.partition("=")[0].strip() for one in clusters.split(",") if one.strip()]


def ended_at(state: WorkloadState, now: Micros) -> Micros | None:
    """When it ended, if that is an end."""
    return None if state in (WorkloadState.WANTED, WorkloadState.STARTING, WorkloadState.RUNNING) else now
