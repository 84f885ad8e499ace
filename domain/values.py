"""What commands are made of: texts, sizes and spans with their limits, and the parts that several of them have.

Ids are canonical UUID text, times are microseconds since the epoch (UTC), sizes are bytes, spans are seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from domain.ids import Id
from fedyard.cluster.port import (
    MAX_FILES,
    EnvName,
    EnvText,
    FileName,
    Labels,
    ObjectName,
    Placement,
    Resources,
)
from fedyard.cluster.port import Text as ClusterText
from fedyard.wire import types as w
from fedyard.wire.parameters import check_depth

Micros: TypeAlias = int

# Text columns cannot hold U+0000. Patterns end in `(?!\n)$` because `$` alone lets a closing line break through.
# What the web lets in is made of these very types: what it accepts, the decider can read.
Name = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=100,
        pattern=r"^[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?(?!\n)$",
        description="No control characters, no space at either end",
    ),
]
Text = Annotated[str, msgspec.Meta(max_length=4000, pattern=r"^[^\x00]*$")]
Reason = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\x00]*$")]
Image = Annotated[str, msgspec.Meta(max_length=500, pattern=r"^[^\x00-\x20]*(?!\n)$")]
Sha256 = w.Hex32
Key32 = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9+/]{43}=(?!\n)$", max_length=44)]
PublicKey = w.PublicKey
Signature = w.Signature
Grace = Annotated[float, msgspec.Meta(ge=0, le=7_776_000)]
Slug = w.Slug
Span = Annotated[float, msgspec.Meta(ge=1, le=7_776_000)]
Piece = Annotated[bytes, msgspec.Meta(min_length=1, max_length=65_536)]
Pieces = Annotated[list[Piece], msgspec.Meta(min_length=1, max_length=32)]
MAX_MEASURED = 64
"""Names of what was counted, or measured, in one round."""
MetricName = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*(?!\n)$")]
"""As rounds name it; with `score.` before it the mean of the sites' scores."""
Metrics = Annotated[
    dict[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], float], msgspec.Meta(max_length=MAX_MEASURED)
]
RoundNumber = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
"""Of a round that a project's own coordinator leads: it counts from 0."""
RoundStart = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Of such a coordinator's program, within an attempt: a number that only grows, a time perhaps."""
StageName = Literal["SELECTION", "CONFIGURATION", "REPORTING", "COMPLETED"]
"""As Fedota calls the stages of its rounds."""
Counts = Annotated[
    dict[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], Annotated[int, msgspec.Meta(ge=0, le=2**53)]],
    msgspec.Meta(max_length=MAX_MEASURED),
]
Joining = w.Joining
Sealed = w.Sealed
Role = Literal["admin", "member", "auditor"]


MAX_SIGN_IN_S: Final = 3600.0
"""A one-time code is for somebody who is about to sign in."""


class TokenKind(StrEnum):
    """What a secret is good for: as a bearer token; in a browser; to open a session, once."""

    TOKEN = "token"  # noqa: S105 - a name, no secret
    SESSION = "session"
    SIGN_IN = "sign_in"


WebhookOwner = Literal["organisation", "project"]
WebhookKind = Literal[
    "run.ended",
    "seat.left_out",
    "site.silent",
    "site.returned",
    "identity.conflict",
    "dead_letter.found",
    "workload.failed",
    "round.failed",
]
WebhookKinds = Annotated[list[WebhookKind], msgspec.Meta(min_length=1, max_length=8)]
WebhookUrl = Annotated[
    str,
    msgspec.Meta(
        min_length=10,
        max_length=1000,
        pattern=r"^https?://(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
        r"(?:/[!$-;=?-Z_a-z~@%-]*)?(?!\n)$",
        description="http or https, a host, perhaps a port and a path; no login, no fragment",
    ),
]
ArtifactKind = w.ArtifactKind
Size = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000_000)]
Digests = w.Digests
Mark = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}(?!\n)$", max_length=32)]
"""Of an inbox entry: domain/chain.py."""
LedgerName = Annotated[str, msgspec.Meta(pattern=r"^[a-z]+-[0-9a-f-]{1,120}(?!\n)$", max_length=128)]
MAX_MARKS = 1000
MAX_HELD = 200
"""Seats, keys and tokens that a site names when it recovers."""
CLIENT_SCOPE: Final = "client"
"""Of a client's token, which has no other, and is good for one project."""
SubjectKind = Literal["account", "site", "enrolment", "hub"]


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a command."""


class Subject(Value, frozen=True):
    """Who asks. `role` is set for accounts; `organisation_id` is None for the hub itself."""

    kind: SubjectKind
    id: Id
    organisation_id: Id | None = None
    role: Role | None = None


class Contract(Value, frozen=True):
    """What a round promises and how long each stage may take.

    quorum: of the seats of the task, a fraction (rounded up) or a count, as `quorum_of` says.
    late: a seat that missed a deadline or fell silent is out of the task (drop) or may come back with the next round.
    too_few: under quorum at a deadline the round fails, or waits for another such span (until the run's own deadline).
    silent_within_s: a seat that the round waits for is dropped when its site was not heard of for so long.
    sample: how many of the task's seats are drawn for each round, a fraction (rounded up) or a count, as `sample_of`
    says, and never fewer than sample_at_least. The quorum is of those that are drawn.
    score_within_s: how long a round waits for scores. Who is late is not in the mean; nothing fails of it.
    """

    quorum: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 1.0
    quorum_of: Literal["fraction", "count"] = "fraction"
    select_within_s: Span = 3600.0
    train_within_s: Span = 86_400.0
    aggregate_within_s: Span = 3600.0
    silent_within_s: Span = 600.0
    late: Literal["drop", "next_round"] = "next_round"
    too_few: Literal["fail", "wait"] = "fail"
    sample: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 1.0
    sample_of: Literal["fraction", "count"] = "fraction"
    sample_at_least: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1
    score_within_s: Span = 3600.0


class Best(Value, frozen=True):
    """Which of a task's models is its best one: that of the round whose metric is highest, or lowest (`min`).

    metric: of the coordinator's metrics of a round, or with the prefix `score.` of the sites' mean.
    """

    metric: MetricName
    mode: Literal["max", "min"] = "max"


class StopEarly(Value, frozen=True):
    """When a task ends before its last round: after `patience` rounds with this metric, as of `Best`, without one that
    was better than all before them by more than min_delta."""

    metric: MetricName
    mode: Literal["max", "min"] = "max"
    patience: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 5
    min_delta: Annotated[float, msgspec.Meta(ge=0, le=1e15)] = 0.0


UsedImage = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x20]+(?!\n)$")]
Where = Annotated[
    str,
    msgspec.Meta(
        max_length=63,
        pattern=f"^(?:site:{w.UUID_PATTERN}|[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?)(?!\n)$",
        description="hub, a cluster that the hub's settings name, or site:<id>",
    ),
]
Words = Annotated[list[ClusterText], msgspec.Meta(max_length=256)]
LOG_TAIL_BYTES = 65_536
"""Of an attempt's log, kept with its end."""
LOG_PIECE_BYTES = 65_536
"""Of an attempt's log in one report, while somebody follows it."""
LIVE_LOG_BYTES = 1_048_576
"""Of an attempt's log, read while somebody follows it: about so much of its end is kept."""


SecretName = Slug
MAX_SECRETS = 100
"""Of one project."""
MAX_SECRET = 32_768
"""Characters of one."""
MAX_SHUT_BYTES = 4 * MAX_SECRET + 64


class WorkloadInput(Value, frozen=True):
    """What a job finds as a file: an artifact of its project, or the one that a model version lies in. One of both."""

    artifact_id: w.Uuid | None = None
    model_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None


class WorkloadOutput(Value, frozen=True):
    """What becomes of a file that a job leaves: an artifact of this kind. required: without it the job has failed."""

    kind: Literal["result", "initial"] = "result"
    required: bool = True


class WorkloadSpec(Value, frozen=True):
    """What to run. kind `job`: once, to its end; `service`: `replicas` behind an address on `port`, until stopped.

    command: empty: the image's own. environment: may be read by whoever sees the workload, so no secrets.
    secrets: variables that have the value of a secret, by its name: one of the project's, or at a site of that site's.
    labels: the caller's, beside the cluster's own. object_name: of what is made of it, to the letter; empty: derived.
    deadline_s: of a job, from its start. grace_s: between being told to stop and being ended.
    attempts: how many there may be, where another one can help.
    inputs: of a job, files in `inputs/` before it begins; outputs: kept of `outputs/` once it has ended well.
    """

    kind: Literal["job", "service"]
    image: Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x20]*(?!\n)$")]
    command: Words = []
    arguments: Words = []
    environment: Annotated[dict[EnvName, EnvText], msgspec.Meta(max_length=256)] = {}
    secrets: Annotated[dict[EnvName, SecretName], msgspec.Meta(max_length=64)] = {}
    labels: Labels = {}
    object_name: ObjectName = ""
    resources: Resources = Resources()
    placement: Placement = Placement()
    replicas: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 1
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None
    deadline_s: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] | None = None
    grace_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 10.0
    attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    inputs: Annotated[dict[FileName, WorkloadInput], msgspec.Meta(max_length=MAX_FILES)] = {}
    outputs: Annotated[dict[FileName, WorkloadOutput], msgspec.Meta(max_length=MAX_FILES)] = {}


class Asked(Value, frozen=True):
    """What shall run, where, and what it is called."""

    name: Slug
    spec: WorkloadSpec
    where: Where = "hub"


class Holder(Asked, frozen=True):
    """Workloads that hold seats of a task, `count` of them, each a job of its own."""

    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1


ANY_CODE: Final = "any"
SAME_CODE: Final = "same"
CodeRule = Annotated[
    str,
    msgspec.Meta(
        max_length=64,
        pattern=r"^(?:any|same|[0-9a-f]{64})(?!\n)$",
        description="any, same, or the digest of the code that all run (SHA-256, hex)",
    ),
]
WaitsFor = Literal["approval", "hours"]
"""What a site has its seat wait for, by its own word: a person there, or the hours in which it computes."""
WAITS_FOR: Final[tuple[WaitsFor, ...]] = ("approval", "hours")


class TaskSpec(Value, frozen=True):
    """One task of a project.

    after: names of the tasks that must have succeeded first; None means the task listed before it.
    who: all members, the participants without the coordinator, or the ids of named sites.
    rounds: how many; `aggregate`: whether the coordinator aggregates after each.
    parameters: handed to the sites unread. workloads: that hold further seats, beside those of sites.
    initial: a round 0 comes before the first one, in which the coordinator gives the model that round 1 begins with.
    score_every: after so many rounds, and after the last one, the sites score the model; 0: never.
    code: whether all sites have to run the same code; a seat with other code fails (domain/decisions/codes.py).
    """

    name: Slug
    model: Name
    parameters: dict[str, object] = {}
    rounds: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1
    aggregate: bool = True
    who: Literal["all", "participants"] | Annotated[list[Id], msgspec.Meta(min_length=1, max_length=1000)] = "all"
    after: Annotated[list[Slug], msgspec.Meta(max_length=100)] | None = None
    contract: Contract = Contract()
    workloads: Annotated[list[Holder], msgspec.Meta(max_length=20)] = []
    initial: bool = False
    score_every: Annotated[int, msgspec.Meta(ge=0, le=100_000)] = 0
    best: Best | None = None
    stop_early: StopEarly | None = None
    code: CodeRule = ANY_CODE

    def __post_init__(self) -> None:
        check_depth(self.parameters)


MAX_TASKS = 100
"""Of one project."""
Tasks = Annotated[list[TaskSpec], msgspec.Meta(min_length=1, max_length=MAX_TASKS)]
OwnParameters = Annotated[dict[Slug, dict[str, object]], msgspec.Meta(max_length=MAX_TASKS)]
"""Of a run: by the name of a task, what takes the place of the project's parameters of the same name."""
OwnRounds = Annotated[dict[Slug, Annotated[int, msgspec.Meta(ge=1, le=100_000)]], msgspec.Meta(max_length=MAX_TASKS)]
InitialFile = Annotated[
    str,
    msgspec.Meta(
        max_length=200,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*(?!\n)$",
        description="A path in the archive",
    ),
]


class StageDeadlines(Value, frozen=True):
    """How long each stage of a round may take that the project's own coordinator leads, in seconds.

    selection: until as many clients as the goal count have checked in; people agree on when. configuration: until the
    first selector has aggregated what its clients trained; reporting: until the others have, too.
    """

    selection_s: Span = 604_800.0
    configuration_s: Span = 86_400.0
    reporting_s: Span = 86_400.0


class Infrastructure(Value, frozen=True):
    """What a project's own coordinator and selectors are made of, as in Fedota, and where they run.

    where: `hub`, a cluster that the hub's settings name, or `site:<id>`. required_files: at the top of the archive of
    the project's initial files. deadlines: of the stages of its rounds.
    """

    coordinator_image: UsedImage
    selector_image: UsedImage
    selectors: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    where: Where = "hub"
    required_files: Annotated[list[InitialFile], msgspec.Meta(max_length=20)] = msgspec.field(
        default_factory=lambda: ["model.h5", "fl_checkpoint"]
    )
    deadlines: StageDeadlines = StageDeadlines()
