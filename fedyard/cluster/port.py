"""What workloads run on: a cluster of Kubernetes, or this machine's own processes. One port, one contract suite.

A cluster decides nothing. It is told what is wanted, again and again, and tells what it sees; every call may be
repeated, and may come from several callers at once. Who calls keeps the wanted state and draws the conclusions
(plan.py). The hub uses it for its own clusters, a site's agent for the site's.

Everything that is made carries its owner (whose records it is in: one hub, or one site), its workload's whole id and
its attempt. What carries another owner, or none, is never touched.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from fedyard.cluster import conventions
from fedyard.wire.types import Uuid


class Phase(StrEnum):
    """How far one attempt has come, as the cluster shows it."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Reason(StrEnum):
    """Why an attempt does not start or has failed: what people can do something about, each a thing of its own.

    docs/workloads.md says for each what it means and what to do.
    """

    NONE = ""
    # while it starts; each may pass
    IMAGE_NOT_PULLED = "image_not_pulled"
    UNSCHEDULABLE = "unschedulable"
    QUOTA_EXCEEDED = "quota_exceeded"
    NOT_READY = "not_ready"
    SECRET_MISSING = "secret_missing"  # noqa: S105 - a reason; whoever makes it says so, no cluster does
    # final
    NOT_ALLOWED = "not_allowed"  # a site's own rules do not allow it there
    IMAGE_UNUSABLE = "image_unusable"  # its name is none, or the cluster must not pull it
    CONFIG_INVALID = "config_invalid"  # the container could not be made of what was asked for
    COMMAND_NOT_FOUND = "command_not_found"
    EXIT_CODE = "exit_code"
    OUT_OF_MEMORY = "out_of_memory"
    DEADLINE_PASSED = "deadline_passed"
    EVICTED = "evicted"
    NODE_LOST = "node_lost"
    NAMESPACE_GONE = "namespace_gone"
    SIGNALLED = "signalled"  # ended by a signal that was not ours
    SILENT = "silent"  # it runs, and the hub has not heard of it for too long
    INPUTS_UNAVAILABLE = "inputs_unavailable"  # a job's, so its program never began
    OUTPUTS_MISSING = "outputs_missing"  # it ended well, and has not left what it shall
    OUTPUTS_NOT_STORED = "outputs_not_stored"  # it has, and the hub could not take them
    VANISHED = "vanished"  # it was there, and nobody says what became of it
    # as nobody looks after it; no cluster says so
    SITE_SILENT = "site_silent"  # until its site is back, which then says the truth
    SITE_RETIRED = "site_retired"


Text = Annotated[str, Meta(max_length=4096, pattern="^[^\x00]*$")]
EnvText = Annotated[str, Meta(max_length=32_768, pattern="^[^\x00]*$")]
"""The value of a variable: a document of JSON has room in it."""
EnvName = Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*(?!\n)$", max_length=253)]


_SUBDOMAIN = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
LabelKey = Annotated[
    str, Meta(max_length=317, pattern=rf"^({_SUBDOMAIN}/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?(?!\n)$")
]
"""As Kubernetes has it: a name of 63 characters, perhaps with a domain before it."""
LabelValue = Annotated[str, Meta(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?(?!\n)$")]
Labels = Annotated[dict[LabelKey, LabelValue], Meta(max_length=64)]
ObjectName = Annotated[str, Meta(pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?)?(?!\n)$")]
"""A DNS label; empty: none is asked for."""

ResourceName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]*/[A-Za-z0-9][A-Za-z0-9._-]*(?!\n)$", max_length=317)]
"""With its domain: `cpu` and `memory`, which have none, are asked for by name, and limits hold for those."""


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one replica may use. gpus: by resource name (`nvidia.com/gpu`). Memory requested is its limit."""

    cpu_millis: Annotated[int, Meta(ge=1, le=1_024_000)] = 1000
    memory_bytes: Annotated[int, Meta(ge=1_048_576, le=2**50)] = 1_073_741_824
    disk_bytes: Annotated[int, Meta(ge=0, le=2**50)] = 0
    gpus: Annotated[dict[ResourceName, Annotated[int, Meta(ge=1, le=64)]], Meta(max_length=16)] = {}


class Toleration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As Kubernetes has it."""

    key: str = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""


class Placement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """On which nodes. spread: replicas keep apart over this topology key (`kubernetes.io/hostname`), if any.
    runtime_class: that the cluster has (`nvidia`), instead of its default one."""

    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    spread: str = ""
    runtime_class: Annotated[str, Meta(max_length=253, pattern=rf"^({_SUBDOMAIN})?(?!\n)$")] = ""


REPLICA: Final = "{replica}"
"""In a path of a volume: the replica's own name."""
VolumePath = Annotated[str, Meta(max_length=255, pattern=r"^(?!/)(?!(.*/)?\.\.(/|$))[A-Za-z0-9._:{}/-]*(?<!/)(?!\n)$")]
"""In the volume, from its root; `{replica}` in it is the replica's own name. Empty: all of it."""
DialledName = Annotated[str, Meta(pattern=r"^[a-z]([a-z0-9-]{0,50}[a-z0-9])?:[0-9]{1,5}(?!\n)$")]
"""A stable service of the same place, and its port."""
MAX_USER: Final = 9


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the place's volume, at the same path below the root that the workload sees."""

    path: VolumePath = ""
    write: bool = False


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of the volume, made before a replica starts, where it is not there: by that replica's user, with that mode."""

    path: VolumePath
    mode: Annotated[int, Meta(ge=0, le=0o777)] = 0o750
    file: bool = False


class Volume(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a workload sees of the one volume that its place has: the parts that are named, and nothing else.

    variable: in the environment, where the root of what it sees is. parts: those below another one stand in its place.
    made: in this order. files_token: name of a secret with which the project's initial files are fetched from the hub
    and laid into the volume before it starts, where the cluster can do that; the workload itself does not get it.
    """

    variable: EnvName
    parts: Annotated[list[Part], Meta(min_length=1, max_length=16)]
    made: Annotated[list[Made], Meta(max_length=16)] = []
    files_token: EnvName | None = None


class Companion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program of Fedyard's own that runs beside each replica of a service, where the cluster can do that.

    It is told to end with its replica and is gone before the attempt is. When it ends by itself it starts again; the
    workload goes on meanwhile. A cluster runs it as itself, where a site allows a program and no more: so it is one of
    few, and nothing that is asked for here has it do anything else.
    module: run by the Python of the operator's image (as processes: of whoever makes it). paths: its arguments, in the
    volume. secrets: names of those of the Spec that it alone gets; beside them it finds what the workload is told in
    variables that begin with FEDYARD_. parts: of the volume, to be read. user: as of a Spec, another than the
    workload's.
    address: the workload's variable in which it finds where the companion listens, `localhost:<port>`; the companion
    finds its port in PORT. As processes that is a free one.
    """

    module: Literal["fedyard.sidecar"]
    address: EnvName
    port: Annotated[int, Meta(ge=1, le=65535)]
    paths: Annotated[list[VolumePath], Meta(max_length=16)] = []
    secrets: Annotated[list[Annotated[str, Meta(pattern="^FEDYARD_[A-Z_]{1,64}(?!\n)$")]], Meta(max_length=16)] = []
    parts: Annotated[list[VolumePath], Meta(max_length=16)] = []
    user: Annotated[int, Meta(ge=0, le=MAX_USER)] = 0


FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(?!\n)$")]
MAX_FILES: Final = 64


class InputFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What it must be. digest: the tree digest (fedyard/wire/chunks.py)."""

    digest: Annotated[str, Meta(pattern="^[0-9a-f]{64}(?!\n)$")]
    size_bytes: Annotated[int, Meta(ge=0, le=2**40)]


class Files(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a job: what lies in its folder of inputs before its program begins, and what of its folder of outputs the hub
    has when it has succeeded. Programs of Fedyard's own (files.py) see to both; where they do not, the job has failed.

    It finds the two folders, `inputs` and `outputs` below its HOME, in FEDYARD_INPUTS and FEDYARD_OUTPUTS. outputs:
    whether one must be there. token: name of the secret for both at the hub, which the job itself does not get.
    """

    token: EnvName
    inputs: Annotated[dict[FileName, InputFile], Meta(max_length=MAX_FILES)] = {}
    outputs: Annotated[dict[FileName, bool], Meta(max_length=MAX_FILES)] = {}


class AttemptId(msgspec.Struct, frozen=True):
    """Which attempt is meant. It has owner and place, so that a cluster looks in one namespace alone, and so that what
    another owner has under the same id is as good as not there."""

    owner: Uuid
    place: Uuid
    id: Uuid
    attempt: int


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One attempt of a workload, whole: what is made follows from it alone, so that it is the same each time.

    owner: the hub or site in whose records it is. place: what it lives in (a project): a namespace of its own.
    name: what the caller wants it called; empty: derived from the ids. exact: to the letter, which one at a time is in
    its place: an earlier one of that name has to go first. labels: the caller's, beside ours.
    command: empty: the image's own. secrets: environment that is kept by reference, never in a spec that others read.
    kind job: runs once to its end. service: `replicas` behind a stable address on `port`, until stopped; each finds in
    the variable PORT where it has to listen, and is ready when somebody does.
    deadline_s: of a job, from its start. grace_s: between being told to stop and being ended.
    peers: it talks with those of its place that say so, too; whoever does not, talks with the hub alone.
    stable: a service that is called `name` to the letter, which one at a time is in its place. Its replicas are
    `<name>-0`, `<name>-1`, ...; each finds that in HOSTNAME, and keeps it when it starts again.
    dials: variables in which it finds where a stable service of its place is dialled: as said where names are known.
    outside: of a service: it has an address outside, where the cluster gives any.
    user: which of the place's users it runs as. They are of one group; who has another number is another user.
    companion: what runs beside each replica of a service. files: that a job has from the hub, and leaves for it.
    """

    owner: Uuid
    place: Uuid
    id: Uuid
    attempt: Annotated[int, Meta(ge=1, le=2**31 - 1)]
    kind: Literal["job", "service"]
    image: Annotated[str, Meta(max_length=512)]
    name: Annotated[str, Meta(max_length=63)] = ""
    exact: bool = False
    labels: Labels = {}
    command: list[Text] = []
    arguments: list[Text] = []
    environment: dict[EnvName, EnvText] = {}
    secrets: dict[EnvName, EnvText] = {}
    resources: Resources = Resources()
    placement: Placement = Placement()
    replicas: Annotated[int, Meta(ge=0, le=1000)] = 1
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    deadline_s: Annotated[float, Meta(gt=0, le=31_536_000)] | None = None
    grace_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    peers: bool = False
    stable: bool = False
    dials: dict[EnvName, DialledName] = {}
    outside: bool = True
    user: Annotated[int, Meta(ge=0, le=MAX_USER)] = 0
    volume: Volume | None = None
    companion: Companion | None = None
    files: Files | None = None

    @property
    def attempt_id(self) -> AttemptId:
        return AttemptId(self.owner, self.place, self.id, self.attempt)


EXACT_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
STABLE_NAME: Final = re.compile(r"[a-z]([a-z0-9-]{0,50}[a-z0-9])?")


def kept_back(spec: Spec) -> frozenset[str]:
    """Names of the secrets that the workload itself does not get."""
    names = set() if spec.companion is None else set(spec.companion.secrets)
    if spec.volume is not None and spec.volume.files_token is not None:
        names.add(spec.volume.files_token)
    if spec.files is not None:
        names.add(spec.files.token)
    return frozenset(names)


def helpers_own(spec: Spec) -> dict[str, str]:
    """The environment of what fetches and stores for it, or runs beside it, but for tokens, ports and folders."""
    return {key: value for key, value in spec.environment.items() if key.startswith(conventions.OWN)}


def steps_of(files: Files) -> tuple[list[str], list[str]]:
    """The words for files.py after its folder, to fetch and to store. Empty: there is nothing to do."""
    fetched = [word for name, one in sorted(files.inputs.items()) for word in (name, str(one.size_bytes), one.digest)]
    stored = [word for name, must in sorted(files.outputs.items()) for word in (name, ("optional", "required")[must])]
    return fetched, stored


def check_names(spec: Spec) -> None:
    """What only a stable service has, a name that others dial and that stands in paths; what a name is that is to be
    taken to the letter; and what a companion may see. Raises `ValueError`."""
    if spec.exact and not EXACT_NAME.fullmatch(spec.name):
        raise ValueError(f"{spec.name!r} cannot be the name of an object: it is no DNS label that begins with a letter")
    if spec.stable and (spec.kind != "service" or spec.port is None):
        raise ValueError("only a service with a port is stable")
    if spec.stable and not STABLE_NAME.fullmatch(spec.name):
        raise ValueError(f"a stable service is dialled by its name: {spec.name!r} is no DNS label")
    if spec.volume is not None and not spec.stable:
        named = [part.path for part in spec.volume.parts] + [made.path for made in spec.volume.made]
        if any(REPLICA in path for path in named):
            raise ValueError("only replicas of a stable service have names of their own")
    if spec.files is not None and spec.kind != "job":
        raise ValueError("only a job has inputs and outputs: a service has no end at which it leaves any")
    if spec.files is not None and spec.files.token not in spec.secrets:
        raise ValueError("there is no token with which its files could be fetched and stored")
    if spec.companion is not None:
        _check_companion(spec, spec.companion)


def _check_companion(spec: Spec, companion: Companion) -> None:
    if spec.kind != "service":
        raise ValueError("only a service has a companion: a job ends with its own program")
    if companion.port == spec.port:
        raise ValueError(f"the companion cannot listen on {companion.port}, which is the service's own port")
    if (companion.parts or companion.paths) and spec.volume is None:
        raise ValueError("there is no volume of which the companion could see a part")
    if any(REPLICA in path or ":" in path for path in (*companion.parts, *companion.paths)):
        raise ValueError("a companion sees no part of the volume that is one replica's, or has a colon in its path")


class Observed(msgspec.Struct, frozen=True):
    """One attempt as the cluster shows it now. detail: the cluster's own sentence, shown to people.

    uid: of this very object, which another of the same name would not have. ready: of a service's replicas.
    addresses: inside and, where there is one, outside (`host:port`). stopping: its end has been asked for, and it is
    not gone yet. created_s, started_s, ended_s: seconds since the epoch, by the cluster's clock.
    exit_code: of what a signal has ended 128 and its number, as shells and containers have it; such a code is
    `SIGNALLED` whoever says it, for a container's own shell says it for the program that it ran.
    """

    id: Uuid
    attempt: int
    place: Uuid
    phase: Phase
    uid: str
    reason: Reason = Reason.NONE
    detail: str = ""
    exit_code: int | None = None
    ready: int = 0
    replicas: int = 1
    addresses: dict[Literal["inside", "outside"], str] = {}
    stopping: bool = False
    created_s: float = 0.0
    started_s: float | None = None
    ended_s: float | None = None


class Evidence(msgspec.Struct, frozen=True):
    """What is worth keeping of an attempt before it is removed. log: its tail. events: the newest last."""

    log: bytes = b""
    events: list[str] = []


class ClusterError(Exception):
    """fact: a sentence for people, without anything secret."""

    def __init__(self, fact: str) -> None:
        super().__init__(fact)
        self.fact = fact


class Unavailable(ClusterError):
    """It does not answer, or says later. What was asked may have been done: ask again. after_s: when, if it said so."""

    def __init__(self, fact: str, after_s: float | None = None) -> None:
        super().__init__(fact)
        self.after_s = after_s


class Refused(ClusterError):
    """It will not do this, however often it is asked. reason: as an attempt's that has failed of it."""

    def __init__(self, reason: Reason, fact: str) -> None:
        super().__init__(fact)
        self.reason = reason


class Cluster(Protocol):
    """Each call ends within its time-out and raises `Unavailable` where the other side is away."""

    def missing(self) -> list[str]:
        """What it must be allowed and is not, each a sentence ("create jobs.batch in namespace x"); empty: all well."""

    def ensure(self, spec: Spec) -> Observed:
        """Make it unless it is there; what is there now. The same spec may come any number of times, also at once.

        Something of ours under its name with another content is replaced: it is ended first, and shown as `stopping`
        until a later call finds it gone and makes the new one. `replicas` is no content: `scale` changes it. What
        another owner has, the place itself included, is left alone (`Refused`). What has ended is not run again.
        """

    def observe(self, owner: Uuid) -> list[Observed]:
        """All attempts of that owner that are there, in whatever place, finished ones included."""

    def evidence(self, which: AttemptId, *, log_bytes: int) -> Evidence:
        """Of an attempt that is there: the tail of its log, so many bytes at most, and what the cluster said of it.
        Empty if it is not there."""

    def log(self, which: AttemptId, *, after: int, most: int) -> bytes:
        """Its log from byte `after` on, `most` bytes at most; empty if nothing came since, or it is not there."""

    def scale(self, which: AttemptId, replicas: int) -> None:
        """Of a service. Nothing if it is not there."""

    def stop(self, which: AttemptId, *, grace_s: float) -> bool:
        """Ask for its end and removal, with all that belongs to it; True once nothing of it is there any more."""

    def remove_place(self, owner: Uuid, place: Uuid) -> bool:
        """Ask for the end of all that is in it and of itself, its volume too; True once it is gone. A stranger's is
        left alone."""

    def wait(self, seconds: float) -> None:
        """Until something of ours may have changed, so long at most. It may return too early, never needlessly late."""

    def close(self) -> None:
        """Let go of connections and threads. Workloads go on; those that cannot outlive this process end."""
